"""The environment of the processes that many claims run in: parallel_run.py."""

import os
import subprocess
import sys

import pytest

from proofs_check import parallel_run
from proofs_check.parallel_run import OLDER_CODE, quick_compilation

# A process whose XLA does not know a flag ends when it first compiles.
ASK = """
from ufm import Focal, UserLoss
print(UserLoss(lambda z, k: Focal(2.0)(z, k), "own").properties(3).smooth)
"""


def test_their_programs_are_right(monkeypatch):
    """Without any optimisation, the older code for fused loops made a smooth loss jump."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    environment = {**os.environ, **quick_compilation()}
    said = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("yes")


@pytest.mark.parametrize(
    ("jaxlib", "name", "value"),
    [
        ("0.10.2", "XLA_FLAGS", OLDER_CODE),
        ("0.11.0", "JAX_DISABLE_MOST_OPTIMIZATIONS", "1"),
        ("1.10.0", "JAX_DISABLE_MOST_OPTIMIZATIONS", "1"),
    ],
)
def test_a_flag_is_named_only_to_a_compiler_that_knows_it(monkeypatch, jaxlib, name, value):
    monkeypatch.setattr(parallel_run, "version", lambda package: jaxlib)
    for known in ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS"):
        monkeypatch.delenv(known, raising=False)
    assert quick_compilation() == {name: value}
    monkeypatch.setenv(name, "what the environment says")
    assert quick_compilation() == {name: "what the environment says"}
