"""Float64, which every statement of the lab is made in."""

from __future__ import annotations

import jax

from ufm.errors import InputError

FLOAT64_REMEDY = (
    "call jax.config.update('jax_enable_x64', True) or import ufm, and use float64 throughout"
)


def require_x64() -> None:
    """Raise InputError unless JAX computes in float64."""
    if not jax.config.read("jax_enable_x64"):
        raise InputError("Need float64", "jax_enable_x64 = False", FLOAT64_REMEDY)
