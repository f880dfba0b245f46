"""A user's file is executed from its bytes."""

import os
import sys

import pytest

from proofs_check import load_claims
from proofs_check.source import execute

CLAIM = """from proofs_check import claim

@claim("norms", "{text}")
def norms(model, point):
    return 0.0
"""


def test_claims_of_equal_size_and_time_are_read_as_they_are_now(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file, texts = tmp_path / "mine.py", []
    for text in ("Norms agree.", "Norms differ"):
        file.write_text(CLAIM.format(text=text))
        os.utime(file, (1_700_000_000, 1_700_000_000))
        (claim,) = load_claims(file)
        texts.append(claim.statement)
    assert texts == ["Norms agree.", "Norms differ"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_the_module_is_known_by_its_name_and_a_failing_one_leaves_what_was(tmp_path):
    path = tmp_path / "mine.py"
    # A data class looks its module up; its annotations are no strings unless the file says so.
    text = b"from dataclasses import dataclass\n@dataclass\nclass Pair:\n    first: int\n"
    try:
        module = execute(path, text, "user_own_pair")
        assert sys.modules["user_own_pair"] is module
        assert (module.__name__, module.__file__) == ("user_own_pair", str(path))
        assert module.Pair.__annotations__ == {"first": int}
        with pytest.raises(ZeroDivisionError):
            execute(path, b"1 / 0", "user_own_pair")
        assert sys.modules["user_own_pair"] is module
    finally:
        del sys.modules["user_own_pair"]
    with pytest.raises(SyntaxError, match=r"mine\.py"):
        execute(path, b"def", "user_own_pair")
    with pytest.raises(ZeroDivisionError):
        execute(path, b"1 / 0", "user_own_pair")
    assert "user_own_pair" not in sys.modules
