"""``ufm check``: certificates, proved again by a program that shares nothing with the lab."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.certify import require_rigour
from experiments.cli.flags import Json
from experiments.cli.output import deliver, envelope, show, table
from experiments.cli.waiting import patiently

EXAMPLES = (
    "ufm atlas -K 3 --out my_atlas --certify && ufm check my_atlas/certificates/*.json",
    "ufm check certificate.json --json",
)


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Certificates.")],
    as_json: Json = False,
) -> None:
    """Prove certificates again with their own formulas: VALID, INVALID or UNDECIDED.

    The same as python proofs_check/checker.py FILE..., which imports nothing of the lab. Exit code
    1: one is INVALID; 3: one is UNDECIDED; 2: a file is no certificate.
    """
    require_rigour()
    from proofs_check import checker

    answers = patiently("Checking", lambda: [checker.answer(path) for path in files])
    rows = [
        {"file": str(path), "answer": word, "said": said}
        for path, (word, said) in zip(files, answers, strict=True)
    ]
    document = envelope("check", {"files": [str(path) for path in files]}, {"certificates": rows})
    deliver(document, as_json=as_json, out=None)
    if not as_json:
        made = table(("file", "answer", "what is proved, or why not"))
        for row in rows:
            made.add_row(row["file"], row["answer"], row["said"])
        show(made)
    code = checker.CODES[max((word for word, _ in answers), key=list(checker.CODES).index)]
    if code:
        raise typer.Exit(code)
