"""A cache of compiled programs that is no good costs a line and time, never a result."""

import inspect
import os
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import pytest

from experiments.compiled import TROUBLE, _Watch
from tests.helpers import slow

ROOT = Path(__file__).resolve().parents[2]
# As a command begins; a program with a name of its own, and a limit on files where one is given.
PROGRAM = """
import resource, sys
from experiments.compiled import keep_compiled
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
keep_compiled()
import jax
def first(x): return 2 * x + 1
def second(x): return 3 * x + 1
def third(x): return 4 * x + 1
print(*(jax.jit(f)(x) for f, x in ((first, 3.0), (second, 4.0), (third, 5.0))))
"""
RESULT = "7.0 13.0 21.0\n"


def ran(home, *words):
    """What a process with this cache folder printed, and said on stderr."""
    environment = {name: x for name, x in os.environ.items() if "CACHE" not in name}
    environment |= {"XDG_CACHE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, *words]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return found.stdout, found.stderr.splitlines()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A home with all programs, to be damaged."""
    home = tmp_path_factory.mktemp("home")
    assert ran(home) == (RESULT, [])
    assert {x.name.split("-")[0] for x in kept(home)} == {"jit_first", "jit_second", "jit_third"}
    return home


def kept(home):
    return sorted((home / "ufm-lab" / "jax").glob("*-cache"))


DAMAGE = {
    "cut off": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:40] + bytes([content[40] ^ 255]) + content[41:],
    # What another version writes has another name; here it has ours.
    "another version": lambda content: zlib.compress(bytes(4) + b"a program of another version"),
}


def test_damaged_programs_are_said_once_and_made_anew(filled):
    damaged = {}
    for entry, damage in zip(kept(filled), DAMAGE.values(), strict=True):
        damaged[entry] = damage(entry.read_bytes())
        entry.write_bytes(damaged[entry])
    output, told = ran(filled)
    assert output == RESULT
    assert len(told) == 1
    assert told[0].startswith(f"ufm: compiled programs in {filled}")
    assert "damaged, removed and compiled anew" in told[0]
    # What is there now is good.
    assert ran(filled) == (RESULT, [])
    assert set(kept(filled)) == set(damaged)
    for entry, how in zip(kept(filled), DAMAGE, strict=True):
        assert entry.read_bytes() != damaged[entry], how


def test_a_full_folder(tmp_path):
    output, told = ran(tmp_path, "500")  # bytes that a file may have
    assert (output, len(told)) == (RESULT, 1)
    assert "not kept" in told[0]
    assert "XDG_CACHE_HOME" in told[0]
    assert kept(tmp_path) == []  # no halves, which the next run would find


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody writes to")
def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "ufm-lab").mkdir()
    (tmp_path / "ufm-lab" / "jax").symlink_to("/proc")
    output, told = ran(tmp_path)
    assert (output, len(told)) == (RESULT, 1)
    assert "not kept" in told[0]


@pytest.mark.parametrize("place", ["ufm-lab", slow("ufm-lab/jax")])
def test_a_file_in_place_of_the_folder(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    output, told = ran(tmp_path)
    assert (output, len(told)) == (RESULT, 1)
    assert "not kept" in told[0]


def test_other_warnings_are_shown_as_usual(monkeypatch):
    shown = []
    monkeypatch.setattr("experiments.compiled._usual", lambda *words: shown.append(words[0]))
    watch = _Watch()
    watch("Error reading a book", UserWarning, "a.py", 3)
    assert shown == ["Error reading a book"]


def test_jax_still_says_it_in_these_words(monkeypatch):
    from jax._src import compilation_cache, compiler

    def broken(*_):
        raise ValueError("so and\nso")

    monkeypatch.setattr(compilation_cache, "get_executable_and_time", broken)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rest = len(inspect.signature(compiler._cache_read).parameters) - 2  # 3, or 4 from 0.12 on
        compiler._cache_read("jit_f", "key", *[None] * rest)
    match = TROUBLE.fullmatch(str(caught[0].message))
    assert match.groups() == ("reading", "jit_f", "ValueError: so and\nso")
