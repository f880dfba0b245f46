"""The environment of the processes that many claims run in: lanes.py."""

import os
import subprocess
import sys

import pytest

from proofs_check import lanes
from proofs_check.lanes import quick_compilation

# A process whose XLA does not know a flag ends when it first compiles.
ASK = """
import jax
print(jax.config.values["jax_disable_most_optimizations"], jax.jit(lambda x: x + 1)(2))
"""


@pytest.mark.parametrize(("setting", "quickly"), [(None, "True 3"), ("0", "False 3")])
def test_programs_are_hardly_optimised_unless_the_environment_says_so_and_run(
    monkeypatch, setting, quickly
):
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)
    if setting is not None:
        monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", setting)
    environment = {**os.environ, **quick_compilation()}
    said = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == quickly


@pytest.mark.parametrize(
    ("jaxlib", "named"), [("0.10.2", True), ("0.11.0", False), ("1.10.0", False)]
)
def test_a_flag_is_named_only_to_a_compiler_that_knows_it(monkeypatch, jaxlib, named):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setattr(lanes, "version", lambda package: jaxlib)
    assert ("XLA_FLAGS" in quick_compilation()) is named
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=here")
    assert quick_compilation().get("XLA_FLAGS", "--xla_dump_to=here") == "--xla_dump_to=here"
