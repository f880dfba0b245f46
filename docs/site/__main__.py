"""``python -m docs.site [FOLDER]``: build the site, without a warning or a dead link."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from docs.site.links import complaints
from docs.site.pages import ROOT, stage


def build(out: Path) -> int:
    """Stage the pages, build them into a folder, and check every link of the result.

    Args:
        out: the folder of the site; what was in it goes.

    Returns:
        0, or 1 where there was a warning or a dead link; what it was stands on standard error.
    """
    source, kept = ROOT / "build" / "docs", ROOT / "build" / "doctrees"
    for folder in (source, kept, out):
        shutil.rmtree(folder, ignore_errors=True)
    stage(source)
    settings = str(Path(__file__).parent)
    strict = ["--fail-on-warning", "--keep-going", "--quiet", "--nitpicky"]
    code = build_main(
        ["-b", "html", "-c", settings, "-d", str(kept), *strict, str(source), str(out)]
    )
    if code:
        return 1
    wrong = complaints(out)
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return int(bool(wrong))


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"
    status = build(target)
    if not status:
        print(f"Open {target / 'index.html'}")
    sys.exit(status)
