"""Links of a built site: what leads nowhere, and what would be fetched from a network."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value for name, value in attrs if value}
        self.anchors.update(said[name] for name in ("id", "name") if name in said)
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        elif tag == "link" and "href" in said:
            self.loads.append(said["href"])
        if tag != "a" and "src" in said:
            self.loads.append(said["src"])


def complaints(site: Path) -> list[str]:
    """What is wrong with the links of a site, one line each.

    Args:
        site: a folder of HTML pages.

    Returns:
        Lines "page: link: reason": files and anchors that are not there, and anything but a link
        that has an address in a network.
    """
    pages = {}
    for file in sorted(site.rglob("*.html")):
        pages[file.resolve()] = page = _Page()
        page.feed(file.read_text(encoding="utf-8"))
    return [
        f"{file.relative_to(site.resolve())}: {reason}"
        for file, page in pages.items()
        for reason in _of_page(file, page, pages)
    ]


def _of_page(file: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for address in [*page.links, *page.loads]:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            if address in page.loads and parts.scheme != "data":
                yield f"{address}: loaded from a network"
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
        if not target.is_file():
            yield f"{address}: no such file"
        elif parts.fragment and target in pages:
            wanted = unquote(parts.fragment)
            if wanted not in pages[target].anchors:
                yield f"{address}: no such place on that page"
