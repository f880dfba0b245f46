"""Reference pages: the public names of a package, read from its source without running it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import griffe

from docs.site.claims import plain

# Packages with a page; the modules below one are named on it where they export nothing.
PACKAGES = (
    "ufm", "ufm.losses", "ufm.collapse", "landscape", "landscape.atlas", "landscape.branches",
    "landscape.flows", "landscape.plots", "proofs_check", "proofs_check.rigorous", "experiments",
)  # fmt: skip
ENUMS = ("Enum", "StrEnum")
# What stands around the text of a value in the source.
QUOTED = "\"'() \n"
SECTIONS = {
    "parameters": "Args",
    "returns": "Returns",
    "raises": "Raises",
    "attributes": "Attributes",
}


def api_pages(root: str) -> dict[str, str]:
    """Name of a package -> its page as Markdown.

    Args:
        root: the folder that the packages are in.
    """
    loader = griffe.GriffeLoader(search_paths=[root], docstring_parser="google")
    loaded = {name: loader.load(name) for name in {each.split(".")[0] for each in PACKAGES}}
    loader.resolve_aliases(implicit=True)
    made = {}
    for name in PACKAGES:
        top, _, rest = name.partition(".")
        made[name] = "\n".join(_page(name, loaded[top][rest] if rest else loaded[top]))
    return made


def _page(name: str, package: Any) -> Iterator[str]:
    yield from (f"# {name}", "", *_docstring(package), "")
    exported = [str(each) for each in package.exports or ()]
    for member in exported:
        found = package.members.get(member)
        if found is not None and not found.is_module:
            yield from _member(found.final_target if found.is_alias else found, member)
    modules = [found for _, found in sorted(package.modules.items()) if not _private(found)]
    if modules:
        yield from ("## Modules", "", "| module | what it holds |", "|---|---|")
        for module in modules:
            first = module.docstring.value.split("\n")[0] if module.docstring else ""
            yield f"| `{module.path}` | {plain(first)} |"
        yield ""


def _private(module: Any) -> bool:
    return bool(module.name.startswith("_"))


def _member(found: Any, name: str) -> Iterator[str]:
    yield from (f"## `{name}`", "")
    enumeration = found.is_class and any(str(base) in ENUMS for base in found.bases)
    if found.is_function or (found.is_class and not enumeration):
        signature = _signature(found, name)
        yield from ("```python", signature, "```", "")
    yield from _docstring(found)
    if enumeration:
        for value in found.attributes.values():
            yield f"- `{value.name}`: {plain(str(value.value).strip(QUOTED))}"
        yield ""
    elif found.is_class:
        for method in found.functions.values():
            if not _private(method) and method.docstring:
                yield from (f"**`{name}.{method.name}`**", "")
                yield from _docstring(method)


def _signature(found: Any, name: str) -> str:
    function = found
    if found.is_class:
        function = found.members.get("__init__")
        if function is None:
            fields = [each.name for each in found.parameters if each.name != "self"]
            return f"{name}({', '.join(fields)})"
    parts = []
    star = False
    for each in function.parameters:
        if each.name == "self":
            continue
        kind = each.kind.value if each.kind else ""
        if kind == "keyword-only" and not star:
            parts.append("*")
            star = True
        star = star or kind == "variadic positional"
        mark = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        default = "" if each.default is None or mark else f"={each.default}"
        parts.append(f"{mark}{each.name}{default}")
    return f"{name}({', '.join(parts)})"


def _docstring(found: Any) -> Iterator[str]:
    if not found.docstring:
        return
    for section in found.docstring.parse("google", warnings=False):
        kind = section.kind.value
        if kind == "text":
            yield from _prose(section.value)
        elif kind == "examples":
            for each, code in section.value:
                if each.value == "examples":
                    yield from ("```python", code, "```", "")
                else:
                    yield from _prose(code)
        elif kind in SECTIONS:
            yield from (f"*{SECTIONS[kind]}*", "")
            for item in section.value:
                name = getattr(item, "name", "") or ""
                name = name or (str(item.annotation) if kind == "raises" else "")
                if name.endswith(","):  # several names with one description
                    name = f"{name} {item.annotation}"
                head = f"`{name}`: " if name else ""
                yield f"- {head}{plain(item.description)}"
            yield ""
        elif kind == "admonition":
            yield from (f"*{plain(section.title or '')}*", "", *_prose(section.value.description))


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; those that are indented, which are formulas, as they stand."""
    for paragraph in text.split("\n\n"):
        lines = paragraph.split("\n")
        if all(line.startswith("    ") for line in lines if line.strip()):
            yield from ("```text", *(line[4:] for line in lines), "```", "")
        else:
            yield from (plain(paragraph), "")
