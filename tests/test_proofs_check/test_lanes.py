"""The environment of the processes that many claims run in: lanes.py."""

import os
import subprocess
import sys

import pytest

from proofs_check.lanes import quick_compilation

ASK = "import jax; print(jax.config.values['jax_disable_most_optimizations'])"


@pytest.mark.parametrize(("setting", "quickly"), [(None, "True"), ("0", "False")])
def test_their_programs_are_hardly_optimised_unless_the_environment_says_so(
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
