"""The command line in this process, so that its tests share what was imported and compiled."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from experiments.cli import main


@dataclass(frozen=True)
class Ran:
    """One run of ``ufm``."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@pytest.fixture
def ufm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """``ufm("solve -K 3", path)``: words, then whole arguments; returns code, stdout, stderr."""
    monkeypatch.delenv("UFM_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(words: str, *arguments: object) -> Ran:
        code = main([*words.split(), *map(str, arguments)])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
