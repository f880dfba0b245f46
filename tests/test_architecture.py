"""The rules of the house, read from the source without running it.

Every rule is a function (path, source) -> complaints. The second half of the file feeds each rule a
source that breaks it and one that does not, so that a rule which sees nothing is noticed.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[1]

# Which of our packages each of them may import: the arrows of CONTRIBUTING.md.
ARROWS = {
    "ufm": {"ufm"},
    "landscape": {"ufm", "landscape"},
    "proofs_check": {"ufm", "landscape", "proofs_check"},
    "experiments": {"ufm", "landscape", "proofs_check", "experiments"},
}

# Mathematics has no pictures, clocks or terminals; evidence is records, and others draw them.
FOREIGN = {
    "ufm": {"matplotlib", "time", "datetime", "rich", "typer", "jinja2"},
    "landscape": {"rich", "typer", "jinja2"},
    "proofs_check": {"matplotlib", "rich", "typer", "jinja2"},
    "experiments": set[str](),
}

# The floors of experiments/networks: what each folder may import of the others.
NETWORKS = "experiments.networks"
# The options of a run: every folder reads them, they read nothing.
BASEMENT = {"options"}
GROUND = {"architectures", "data", "measures"}
FLOORS = {
    **{folder: {folder} for folder in GROUND},
    "theory": {"measures", "theory"},
    "training": GROUND | {"training"},
    "runs": GROUND | {"theory", "training", "runs"},
    "comparison": GROUND | {"theory", "training", "runs", "comparison"},
    "tracks": GROUND | {"theory", "training", "runs", "tracks"},
}

LONGEST_FILE, LONGEST_TEST = 400, 450
# The program that checks certificates is one file: it is read as a whole, and carried elsewhere, by
# people who trust nothing else.
LONGER_FILES = {PurePosixPath("proofs_check/checker.py"): 952}
VAGUE_NAMES = {"utils", "util", "misc", "common", "helpers", "helper"}

# A folder that exists on one machine only. Nothing may stand before the slash, as in a URL.
MACHINE_PATH = re.compile(r"(?<![\w.~>})-])/(?:home|Users|root|tmp|work|mnt|var/folders)/[\w.-]+")

# Bases from which a method cannot inherit its docstring.
BARE_BASES = {"object", "Protocol", "Generic", "NamedTuple", "ABC", "Enum", "Exception"}

Rule = Callable[[PurePosixPath, str], Iterator[str]]


@cache
def parse(source: str) -> ast.Module:
    return ast.parse(source)


def imported_modules(path: PurePosixPath, source: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import, wherever in the file it stands."""
    for node in ast.walk(parse(source)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=module, level=0):
                yield node.lineno, module or ""
            case ast.ImportFrom(module=module, level=level):
                # Both pkg/a.py and pkg/__init__.py live in the package pkg.
                package = path.parent.parts[: len(path.parent.parts) - level + 1]
                yield node.lineno, ".".join([*package, *([module] if module else [])])
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def arrows(path: PurePosixPath, source: str) -> Iterator[str]:
    """Imports among our packages go one way, and foreign ones stay where they belong."""
    room = path.parts[0]
    for line, module in imported_modules(path, source):
        top = module.split(".")[0]
        if top in ARROWS and top not in ARROWS[room]:
            yield f"{path}:{line} imports {module}: {room} must not import {top}"
        if top in FOREIGN[room]:
            yield f"{path}:{line} imports {module}: not in {room}"


def floors(path: PurePosixPath, source: str) -> Iterator[str]:
    """Folders of networks import downwards only; theory needs no network, so it has no training."""
    inside = NETWORKS.split(".")
    if list(path.parts[:2]) != inside or len(path.parts) < 4:
        return
    folder = path.parts[2]
    for line, module in imported_modules(path, source):
        words = module.split(".")
        if words[:2] != inside or len(words) < 3 or words[2] in BASEMENT:
            continue
        if words[2] not in FLOORS.get(folder, set()):
            yield f"{path}:{line} imports {module}: {folder} must not import {words[2]}"


# Upper rooms ask, the model answers; losses answer by properties.
ASKED = {
    *("Model", "UFM", "Regression", "Symmetric", "FixedClassifier", "Nonnegative", "ByRows"),
    *("Loss", "CrossEntropy", "LabelSmoothing", "Focal", "MSE", "RescaledMSE", "UserLoss"),
    "TracedLoss",
}


def asks_no_model(path: PurePosixPath, source: str) -> Iterator[str]:
    """No isinstance on a model or a loss outside ufm."""
    if path.parts[0] == "ufm":
        return
    for node in ast.walk(parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
                words = {x.id for x in ast.walk(kinds) if isinstance(x, ast.Name)}
                words |= {x.attr for x in ast.walk(kinds) if isinstance(x, ast.Attribute)}
                for name in sorted(words & ASKED):
                    yield f"{path}:{node.lineno} asks whether something is a {name}"


def no_fragile_eigenvectors(path: PurePosixPath, source: str) -> Iterator[str]:
    """NumPy's eigh gives up on some harmless matrices; ``ufm.eigen`` has another way for these."""
    for number, line in enumerate(source.splitlines(), start=1):
        if re.search(r"\b(np|numpy)\.linalg\.eigh\(", line) and str(path) != "ufm/eigen.py":
            yield f"{path}:{number} calls NumPy's eigh: use ufm.eigen"


def no_assert(path: PurePosixPath, source: str) -> Iterator[str]:
    """An assert vanishes under python -O; shipped code raises an error that says the way out."""
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Assert):
            yield f"{path}:{node.lineno} asserts"


def names_of(bases: list[ast.expr]) -> set[str]:
    names = set()
    for base in bases:
        inner = base.value if isinstance(base, ast.Subscript) else base
        names.add(inner.attr if isinstance(inner, ast.Attribute) else ast.unparse(inner))
    return names


def has_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    if ast.get_docstring(node):
        return True
    decorators = {ast.unparse(d) for d in node.decorator_list}
    return any(d.endswith(("overload", ".setter", ".register")) for d in decorators)


def docstrings(path: PurePosixPath, source: str) -> Iterator[str]:
    """Modules, public functions and classes, and the methods that have nothing to inherit from."""
    tree = parse(source)
    if not ast.get_docstring(tree):
        yield f"{path}:1 has no docstring"

    def inside(body: list[ast.stmt], owner: str, may_inherit: bool) -> Iterator[str]:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("_"):
                continue
            is_class = isinstance(node, ast.ClassDef)
            if not has_docstring(node) and (is_class or not may_inherit):
                yield f"{path}:{node.lineno} {owner}{node.name} has no docstring"
            if is_class:
                inherits = bool(names_of(node.bases) - BARE_BASES)
                yield from inside(node.body, f"{owner}{node.name}.", inherits)

    yield from inside(tree.body, "", False)


def length(path: PurePosixPath, source: str) -> Iterator[str]:
    """One file, one idea."""
    lines = len(source.splitlines())
    usual = LONGEST_TEST if path.parts[0] == "tests" else LONGEST_FILE
    most = LONGER_FILES.get(PurePosixPath(path), usual)
    if lines > most:
        yield f"{path} has {lines} lines, more than {most}: split it"


def telling_name(path: PurePosixPath, source: str) -> Iterator[str]:
    """A name says what is inside; tests/helpers.py is the one exception."""
    vague = {part.removesuffix(".py") for part in path.parts} & VAGUE_NAMES
    if vague and path != PurePosixPath("tests/helpers.py"):
        yield f"{path} is named {vague.pop()}, which says nothing about it"


def no_machine_path(path: PurePosixPath, source: str) -> Iterator[str]:
    """What is written for one machine does not work on another."""
    for number, line in enumerate(source.splitlines(), start=1):
        match = MACHINE_PATH.search(line)
        if match:
            yield f"{path}:{number} has the machine path {match[0]}"


SHIPPED_RULES: tuple[Rule, ...] = (
    arrows,
    asks_no_model,
    floors,
    no_fragile_eigenvectors,
    no_assert,
    docstrings,
)
PYTHON_RULES: tuple[Rule, ...] = (length, telling_name)
TEXT_RULES: tuple[Rule, ...] = (no_machine_path,)


@cache
def project_files() -> tuple[PurePosixPath, ...]:
    """What git would commit; without git, all that is not hidden."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        names = [PurePosixPath(name) for name in listing.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        everything = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        names = [PurePosixPath(p) for p in everything if not p.parts[0].startswith(".")]
    return tuple(sorted(name for name in names if (ROOT / name).is_file()))


def complaints(rules: tuple[Rule, ...], files: list[PurePosixPath]) -> list[str]:
    found = []
    for path in files:
        try:
            source = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # an image or an archive
        for rule in rules:
            found += rule(path, source)
    return found


def test_shipped_code_keeps_the_rules() -> None:
    shipped = [p for p in project_files() if p.suffix == ".py" and p.parts[0] in ARROWS]
    assert {path.parts[0] for path in shipped} == set(ARROWS)
    assert complaints(SHIPPED_RULES, shipped) == []


def test_python_files_are_short_and_well_named() -> None:
    python = [p for p in project_files() if p.suffix == ".py"]
    assert PurePosixPath("tests/test_architecture.py") in python
    assert complaints(PYTHON_RULES, python) == []


def test_no_file_names_a_machine() -> None:
    files = list(project_files())
    assert PurePosixPath("pyproject.toml") in files
    assert complaints(TEXT_RULES, files) == []


def circles(sources: dict[str, str], *, later: bool) -> list[list[str]]:
    """Modules that import each other in a circle; with ``later`` also inside functions."""
    graph: nx.DiGraph[str] = nx.DiGraph()

    def visit(name: str, body: list[ast.stmt]) -> None:
        for node in body:
            match node:
                case ast.If(test=ast.Name(id="TYPE_CHECKING")) if not later:
                    continue
                case ast.FunctionDef() if not later:
                    continue
                case ast.Import(names=names):
                    found = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module), names=names, level=0):
                    found = [f"{module}.{a.name}" for a in names]
                    found = [x if x in sources else module for x in found]
                case _:
                    for part in ("body", "orelse", "finalbody", "handlers"):
                        visit(name, getattr(node, part, []))
                    continue
            graph.add_edges_from((name, x) for x in found if x in sources and x != name)

    for name, source in sources.items():
        visit(name, parse(source).body)
    return [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]


def test_no_modules_import_each_other_in_a_circle_but_those_of_the_plain_model() -> None:
    shipped = [p for p in project_files() if p.suffix == ".py" and p.parts[0] in ARROWS]
    sources = {
        ".".join(p.with_suffix("").parts).removesuffix(".__init__"): (ROOT / p).read_text()
        for p in shipped
    }
    assert circles(sources, later=False) == []
    for circle in circles(sources, later=True):
        assert all(name.startswith("ufm.plain.") for name in circle), circle


def test_a_circle_is_seen() -> None:
    both = {"a.b": "from a.c import x", "a.c": "def f():\n    import a.b", "a.d": "import a.b"}
    assert circles(both, later=True) == [["a.b", "a.c"]]
    assert circles(both, later=False) == []
    assert circles({**both, "a.c": "from a import b"}, later=False) == [["a.b", "a.c"]]


DOC = '"""Said."""\n'

BROKEN = [
    (arrows, "ufm/a.py", "import landscape.solve", "ufm must not import landscape"),
    (arrows, "ufm/a.py", "from proofs_check import claim", "must not import proofs_check"),
    (arrows, "ufm/losses/a.py", "def f():\n    import experiments", "must not import experiments"),
    (arrows, "landscape/a.py", "from proofs_check.claim import Claim", "must not import proofs"),
    (arrows, "proofs_check/a.py", "import experiments.cli as c", "must not import experiments"),
    (arrows, "landscape/a.py", "import_module('experiments.cli')", "must not import experiments"),
    (arrows, "ufm/losses/a.py", "from ...landscape import solve", "must not import landscape"),
    (arrows, "ufm/a.py", "import matplotlib.pyplot as plt", "not in ufm"),
    (arrows, "ufm/a.py", "from time import monotonic", "not in ufm"),
    (arrows, "proofs_check/a.py", "import jinja2", "not in proofs_check"),
    (floors, "experiments/networks/runs/a.py", "from ..comparison import b", "import comparison"),
    (floors, "experiments/networks/theory/a.py", f"import {NETWORKS}.training", "import training"),
    (floors, "experiments/networks/new/a.py", f"from {NETWORKS}.data import b", "new must not"),
    (asks_no_model, "landscape/a.py", "isinstance(x, UFM)", "a.py:1 asks whether"),
    (asks_no_model, "experiments/a.py", "isinstance(x, int | ufm.Loss)", "is a Loss"),
    (no_fragile_eigenvectors, "ufm/a.py", "w, V = np.linalg.eigh(A)", "use ufm.eigen"),
    (no_assert, "ufm/a.py", "def f(x):\n    assert x", "ufm/a.py:2 asserts"),
    (docstrings, "ufm/a.py", "x = 1", "ufm/a.py:1 has no docstring"),
    (docstrings, "ufm/a.py", DOC + "def f(): ...", "f has no docstring"),
    (docstrings, "ufm/a.py", DOC + "class A: ...", "A has no docstring"),
    (docstrings, "ufm/a.py", DOC + f"class A:\n    {DOC}\n    def f(self): ...", "A.f has no"),
    (docstrings, "ufm/a.py", DOC + f"class A(Protocol):\n    {DOC}\n    def f(self): ...", "A.f"),
    (length, "ufm/a.py", "\n" * (LONGEST_FILE + 1), "401 lines"),
    (length, "tests/a.py", "\n" * (LONGEST_TEST + 1), "451 lines"),
    (telling_name, "ufm/utils.py", "", "named utils"),
    (telling_name, "experiments/common/a.py", "", "named common"),
    (telling_name, "tests/test_ufm/helpers.py", "", "named helpers"),
    (no_machine_path, "README.md", "see /" + "home/ada/data", "README.md:1"),
    (no_machine_path, "a.toml", 'x = "/' + 'tmp/cache"', "machine path"),
]

KEPT = [
    (arrows, "ufm/losses/a.py", "from ..frames import etf\nfrom . import b\nimport jax"),
    (arrows, "landscape/plots/a.py", "import matplotlib\nimport ufm.model\nfrom .. import solve"),
    (arrows, "experiments/a.py", "import ufm, landscape, proofs_check, jinja2, time"),
    (floors, "experiments/networks/runs/a.py", f"from {NETWORKS}.theory import b\nimport jax"),
    (floors, "experiments/cli/a.py", f"from {NETWORKS}.comparison import b"),
    (asks_no_model, "ufm/a.py", "isinstance(x, UFM)"),
    (asks_no_model, "landscape/a.py", "isinstance(x, Point)"),
    (no_fragile_eigenvectors, "ufm/eigen.py", "np.linalg.eigh(A)"),
    (no_fragile_eigenvectors, "ufm/a.py", "eigh(A), np.linalg.eigvalsh(A), jnp.linalg.eigh(A)"),
    (no_assert, "ufm/a.py", "def f(x):\n    if not x:\n        raise ValueError('assert')"),
    (docstrings, "ufm/a.py", DOC + "def _f(): ..."),
    (docstrings, "ufm/a.py", DOC + f"class A(B):\n    {DOC}\n    def f(self): ..."),
    (docstrings, "ufm/a.py", DOC + f"def f():\n    {DOC}\n    def g(): ..."),
    (length, "ufm/a.py", "\n" * LONGEST_FILE),
    (length, "tests/a.py", "\n" * LONGEST_TEST),
    (telling_name, "tests/helpers.py", ""),
    (telling_name, "ufm/minimizers.py", ""),
    (no_machine_path, "a.md", "https://example.org/home/a and $HOME/mnt/a and docs/home/a"),
    (no_machine_path, "a.md", "#!/usr/bin/env bash, ~/mnt/a, {root}/home/a"),
]


@pytest.mark.parametrize(("rule", "path", "source", "says"), BROKEN)
def test_a_broken_rule_is_reported(rule: Rule, path: str, source: str, says: str) -> None:
    found = list(rule(PurePosixPath(path), source))
    assert len(found) == 1
    assert says in found[0]


@pytest.mark.parametrize(("rule", "path", "source"), KEPT)
def test_a_kept_rule_is_not_reported(rule: Rule, path: str, source: str) -> None:
    assert list(rule(PurePosixPath(path), source)) == []


def test_every_rule_has_a_negative_and_a_positive_control() -> None:
    rules = {*SHIPPED_RULES, *PYTHON_RULES, *TEXT_RULES}
    assert {case[0] for case in BROKEN} == rules
    assert {case[0] for case in KEPT} == rules
