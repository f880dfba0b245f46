"""Every block of code in the documentation is run: Python, TOML, and the commands of ``sh`` blocks.

A block whose first line is a comment with a file name is that file; what follows on the page finds
it. Commands in running text and in indented blocks may take hours, so they are only parsed.
"""

import doctest
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from experiments.cli.app import NAMES, asked_model, commands
from tests.helpers import slow

ROOT = Path(__file__).parents[2]
# The README and CONTRIBUTING have tests of their own, in test_readme.py.
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "site" not in path.parts)
# Every command of fixtures.md is run by test_cli_fixtures.py.
TEXTS = [ROOT / "README.md", *(page for page in PAGES if page.name != "fixtures.md")]


class Block(NamedTuple):
    """A fenced block: its language, and what stands in it."""

    language: str
    text: str

    @property
    def name(self) -> str | None:
        """The file that the block is, if its first line says so."""
        met = re.match(r"# ([\w.-]+\.(?:py|toml))\n", self.text)
        return met[1] if met else None


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page that have a language."""
    return [Block(*met) for met in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)]


def features(space: dict[str, Any], ufm: Any) -> None:
    """What conventions.md leaves to its reader: a last layer, and batches of features."""
    import numpy as np

    random = np.random.default_rng(0)
    labels = np.arange(12) % 3
    space["W"], space["b"] = random.normal(size=(3, 5)), np.zeros(3)
    space["batches"] = [(random.normal(size=(12, 5)), labels)]


def seeds(space: dict[str, Any], ufm: Any) -> None:
    """The commands that sweeps.md gives in running text."""
    (file,) = (block for block in blocks((ROOT / "docs/sweeps.md").read_text()) if block.name)
    Path("seeds.toml").write_text(file.text)
    assert ufm("sweep run seeds.toml").code == 0
    for name in ("seeds.parquet", "seeds.nc"):
        assert ufm("sweep export sweeps/seeds-9b03abcb", name).code == 0


def folder(space: dict[str, Any], ufm: Any) -> None:
    """Where networks.md puts its run."""
    space["folder"] = Path("run")


BEFORE = {"conventions.md": features, "sweeps.md": seeds, "networks.md": folder}
# A second; the others train, sweep or search.
FAST = ("conventions.md",)
# Its commands need nothing of each other, and take two minutes together.
FINDINGS = blocks((ROOT / "docs/findings.md").read_text(encoding="utf-8"))
WITH_CODE = [
    page
    for page in PAGES
    if page.name != "findings.md" and blocks(page.read_text(encoding="utf-8"))
]


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def run(block: Block, space: dict[str, Any], ufm: Any) -> None:
    """Run one block in the folder and the names of its page."""
    if block.name:
        Path(block.name).write_text(block.text, encoding="utf-8")
    if block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "bash":
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    elif block.language == "sh":
        for line in block.text.strip().splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "ufm", line
            ran = ufm("", *words[1:])
            assert ran.code in (0, 3), f"{line}\n{ran.err}"
    elif block.language == "python" and block.text.startswith(">>>"):
        example = doctest.DocTestParser().get_doctest(block.text, space, "page", None, 0)
        assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)[0] == 0
    elif block.language == "python" and not block.name:
        exec(compile(block.text, "page", "exec"), space)
    else:
        assert block.language in ("python", "text"), block.language


@pytest.mark.parametrize(
    "page",
    [page if page.name in FAST else slow(page) for page in WITH_CODE],
    ids=lambda page: page.name,
)
def test_every_block_of_a_page_runs(page, ufm, somewhere):
    if page.name == "measure.md":
        pytest.importorskip("torch")
    space: dict[str, Any] = {}
    if page.name in BEFORE:
        BEFORE[page.name](space, ufm)
    for block in blocks(page.read_text(encoding="utf-8")):
        run(block, space, ufm)


@pytest.mark.slow
@pytest.mark.parametrize("block", FINDINGS, ids=lambda block: block.text.splitlines()[0][4:40])
def test_a_finding_is_found(block, ufm, somewhere):
    run(block, {}, ufm)


def test_a_block_that_fails_is_seen(ufm, somewhere):
    for wrong in (
        Block("python", "1 / 0\n"),
        Block("python", ">>> 1 + 1\n3\n"),
        Block("sh", "ufm solve -K 1\n"),
        Block("sh", "ls\n"),
        Block("toml", "a = \n"),
        Block("bash", "if then\n"),
        Block("ruby", "1\n"),
    ):
        with pytest.raises(
            (AssertionError, ArithmeticError, ValueError, subprocess.SubprocessError)
        ):
            run(wrong, {}, ufm)


def commands_of(text: str) -> list[str]:
    """Commands in running text and in indented blocks that name no placeholder."""
    spans = re.findall(r"`(ufm [^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    indented = re.findall(r"^    (ufm (?:.*\\\n)*.*)$", text, re.M)
    whole = [re.sub(r"\\\n\s*", " ", each).split(" #")[0].strip() for each in spans + indented]
    return [
        each for each in whole if not re.search(r"\b[A-Z]{2,}\b|\.\.\.|\bmy_|[&…]|\\|10l", each)
    ]


def refused(command: str) -> str | None:
    """Why the command line does not take the words, nothing being run; None where it does.

    Text may name a command without all that it needs, and FILE.py is nobody's file.
    """
    words = shlex.split(command)[1:]
    if words[0] == "--install-completion":
        return None  # it acts while it is read, on the shell of whoever runs the tests
    known = words[:1] and words[0] in NAMES
    try:
        asked = commands(asked_model(words) if known else None, words[0])
        program: Any = typer.main.get_command(asked)
        context = program.make_context("ufm", list(words))
        while hasattr(program, "resolve_command"):
            rest = [*context._protected_args, *context.args]
            _, program, rest = program.resolve_command(context, rest)
            context = program.make_context("ufm", list(rest), parent=context)
    except Exception as error:
        told = str(getattr(error, "message", error))
        name = type(error).__name__
        return told if name == "NoSuchOption" or "No such command" in told else None
    return None


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_the_command_line_takes_every_command_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    wrong = {command: why for command in commands_of(text) if (why := refused(command))}
    assert wrong == {}


def test_recorded_runs_have_their_seeds_and_commands_that_are_taken():
    record = json.loads((ROOT / "docs/data/fashion-mnist.json").read_text())
    page = commands_of((ROOT / "docs/tracks.md").read_text(encoding="utf-8"))
    for run_ in record["runs"].values():
        assert refused(run_["command"]) is None
        assert run_["command"] in page
        cells = {(case, method) for case, method, *_ in run_["rows"]}
        assert [(*cell, s) for cell in sorted(cells) for s in range(3)] == sorted(
            (case, method, seed) for case, method, seed, *_ in run_["rows"]
        )


def test_a_flag_that_is_none_is_seen():
    assert refused("ufm solve -K 3 --lambda 0.1") is None
    assert refused("ufm sweep run losses --threads 2") is None
    assert refused("ufm solve -K 3 --lambada 0.1")
    assert refused("ufm sweep run losses --yarns 2")
    assert refused("ufm sweep stroll losses")
