"""The processes that many claims run in: lanes.py."""

import jax
import pytest

from proofs_check.lanes import start


def compiles_quickly():
    return jax.config.values["jax_disable_most_optimizations"]


@pytest.mark.parametrize(("setting", "quickly"), [(None, True), ("0", False)])
def test_their_programs_are_hardly_optimised_unless_the_environment_says_so(
    monkeypatch, setting, quickly
):
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)
    if setting is not None:
        monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", setting)
    with start() as pool:
        assert pool.submit(compiles_quickly).result() is quickly
    assert compiles_quickly() is False  # this process keeps the compiler's usual work
