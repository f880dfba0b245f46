"""A user's own loss: any differentiable function of (logits, label), its properties probed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ufm.errors import InputError
from ufm.losses.loss import Fact, Loss, Properties
from ufm.records import pytree_record

# Probing looks at this many random (logits, label) pairs, a third at each scale of the logits.
NUM_PROBES = 96
SCALES = (0.1, 1.0, 5.0)
# Probed identities hold to rounding of a value of size |L|, with room for a few hundred operations.
RELATIVE_TOLERANCE = 1e-9


@pytree_record(static=("function", "label"))
class UserLoss(Loss):
    """A loss given as ``function(logits, label) -> scalar`` in JAX, treated like any other.

    Convexity, invariance, equivariance and the contrastive property are probed at random points,
    and every result that rests on a probe says so.
    Source: derived here.

    Args:
        function: maps logits (K,) and an integer label to a scalar; differentiable by JAX.
        label: the name shown in results; by default the function's own.

    Raises:
        InputError: the function returns a vector, NaN, or raises on (zeros(3), 0).

    Example:
        >>> hot = UserLoss(lambda z, k: jax.nn.logsumexp(2 * z) - 2 * z[k], "hot ce")
        >>> str(hot.properties(3).convex)
        'yes (probed)'
    """

    function: Callable[[Any, Any], Any]
    label: str = ""

    def __post_init__(self) -> None:
        rule = f"A loss maps (logits, label) to a finite scalar; {self.name} does not"
        remedy = "return one JAX scalar, e.g. logsumexp(logits) - logits[label]"
        if not callable(self.function):
            raise InputError(rule, f"{self.function!r}, not callable", remedy)
        probes = jnp.array([[0.0, 0.0, 0.0], [0.3, -1.0, 2.0]])
        try:  # labels are traced in every computation, so they are traced here
            values = jax.jit(jax.vmap(self.function))(probes, jnp.array([0, 0]))
        except Exception as error:
            message = str(error).splitlines()[0] if str(error) else ""
            raise InputError(rule, f"{type(error).__name__}: {message}", remedy) from error
        if not isinstance(values, jax.Array) or values.shape != (2,):
            raise InputError(rule, f"shape {jnp.shape(values)[1:]}", remedy)
        for value in values:
            if not bool(jnp.isfinite(value)):
                raise InputError(rule, float(value), remedy)

    def __call__(self, logits: Any, label: Any) -> Any:
        """The user's value for logits (K,) and label."""
        return self.function(logits, label)

    def properties(self, num_classes: int) -> Properties:
        """Probed properties at this number of classes (cached)."""
        return _probe(self, num_classes)

    @property
    def name(self) -> str:
        """The given label, or the function's name."""
        return self.label or getattr(self.function, "__name__", "user loss")


def _fact(worst: float, what: str) -> Fact:
    holds = worst <= RELATIVE_TOLERANCE
    return Fact(bool(holds), "probed", "" if holds else f"{what} off by {worst:.1e}")


@lru_cache(maxsize=256)
def _probe(loss: UserLoss, num_classes: int) -> Properties:
    """Worst relative violations over random probes (fixed seed, so a probe is repeatable)."""
    rng = np.random.default_rng(20210602)
    scale = np.resize(SCALES, NUM_PROBES)[:, None]
    logits = jnp.asarray(rng.normal(size=(NUM_PROBES, num_classes)) * scale)
    labels = jnp.asarray(rng.integers(num_classes, size=NUM_PROBES))
    value = jax.jit(jax.vmap(loss))
    base = value(logits, labels)
    size = 1 + jnp.abs(base)

    shift = jnp.asarray(rng.normal(size=(NUM_PROBES, 1)))
    shifted = jnp.max(jnp.abs(value(logits + shift, labels) - base) / size)

    order = np.argsort(rng.normal(size=(NUM_PROBES, num_classes)), axis=1)
    permuted_labels = jnp.asarray(np.argmax(order == np.asarray(labels)[:, None], axis=1))
    permuted = value(jnp.take_along_axis(logits, jnp.asarray(order), axis=1), permuted_labels)
    equivariance = jnp.max(jnp.abs(permuted - base) / size)

    hessians = np.asarray(jax.jit(jax.vmap(jax.hessian(loss)))(logits, labels))
    eigenvalues = np.linalg.eigvalsh(hessians)
    curvature = np.max(-eigenvalues[:, 0] / (1 + np.abs(eigenvalues).max(axis=1)))

    # Class rotations are a symmetry exactly of kappa |z|^2 / 2 - M kappa z_k + const.
    isotropic = np.abs(hessians - hessians[0, 0, 0] * np.eye(num_classes)).max()
    pull = np.asarray(jax.grad(loss)(jnp.zeros(num_classes), 0))[1:]
    isometry = np.maximum(isotropic, np.abs(pull).max()) / (1 + np.abs(hessians).max())
    own = jax.nn.one_hot(labels, num_classes)

    # Jensen over the other classes: equalising them must not raise the loss.
    others = (jnp.sum(logits, axis=1) - logits[jnp.arange(NUM_PROBES), labels]) / (num_classes - 1)
    equalised = jnp.where(own > 0, logits, others[:, None])
    contrast = jnp.max((value(equalised, labels) - base) / size)
    gaps = jnp.linspace(0.0, 20.0, 401)
    code = jax.nn.one_hot(0, num_classes) - 1 / num_classes
    curve = value(gaps[:, None] * code, jnp.zeros(401, dtype=int))
    kink = jnp.max(-(curve[2:] - 2 * curve[1:-1] + curve[:-2])) / (1 + jnp.abs(curve[0]))

    is_shift = _fact(float(shifted), "shifted value")
    contrastive = _fact(float(jnp.maximum(contrast, kink)), "contrastive bound")
    return Properties(
        convex=_fact(float(curvature), "smallest logit-Hessian eigenvalue"),
        shift_invariant=is_shift,
        equivariant=_fact(float(equivariance), "permuted value"),
        equalising=_fact(float(contrast), "equalised value"),
        contrastive=contrastive if is_shift else Fact(False, "probed", "not shift invariant"),
        isometric=_fact(float(isometry), "isotropic quadratic"),
        nonnegative=_fact(float(jnp.max(-base)), "value below zero"),
    )
