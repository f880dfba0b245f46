"""The properties of a loss, probed at random logits: a violation is a proof, the rest evidence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ufm.losses.loss import Fact, Properties
from ufm.losses.program import Program
from ufm.precision import require_x64
from ufm.typing import Array

# Probing looks at this many random (logits, label) pairs, a third at each scale of the logits;
# from K = 100 on at fewer, so that their Hessians take no more time or memory.
NUM_PROBES, MAX_ENTRIES = 96, 960_000
SCALES = (0.1, 1.0, 5.0)
# Probed identities hold to rounding of a value of size |L|, with room for a few hundred operations.
RELATIVE_TOLERANCE = 1e-9
# Gaps along the code of a class at which the curve of a loss must be convex.
NUM_GAPS, FARTHEST_GAPS = 401, (20.0, 300.0)
# Lines through the logits: how many, samples on each, and how far they go from their middle.
NUM_LINES, NUM_POINTS = 24, 64
REACHES = (3.0, 30.0, 300.0)
# An interval of a line is halved this often: what a slope still changes by in 1e-11 of a logit is a
# jump, unless the curvature is above 1e5 there.
HALVINGS = 40
JUMP = 1e-6


def probed(program: Program) -> Properties:
    """What random logits say of a loss.

    Example:
        >>> from ufm import UserLoss
        >>> hinge = lambda z, k: jnp.sum(jnp.maximum(0, 1 + z - z[k])) - 1
        >>> bool(UserLoss(hinge).properties(3).convex), bool(UserLoss(hinge).properties(3).smooth)
        (True, False)
    """
    require_x64()  # before what is remembered: nothing is ever probed in float32
    return _probed(program)


def _fact(worst: float, what: str) -> Fact:
    holds = worst <= RELATIVE_TOLERANCE
    return Fact(bool(holds), "probed", "" if holds else f"{what} off by {worst:.1e}")


@lru_cache(maxsize=256)
def _probed(loss: Program) -> Properties:
    """Worst relative violations over random probes (fixed seed, so a probe is repeatable)."""
    K, rng = loss.num_classes, np.random.default_rng(20210602)
    count = max(len(SCALES), min(NUM_PROBES, MAX_ENTRIES // K**2))
    logits = rng.normal(size=(count, K)) * np.resize(SCALES, count)[:, None]
    labels = rng.integers(K, size=count)
    rows = np.arange(count)
    order = np.argsort(rng.normal(size=(count, K)), axis=1)
    moved = np.argmax(order == labels[:, None], axis=1)
    others = (logits.sum(axis=1) - logits[rows, labels]) / (K - 1)
    equalised = np.where(np.arange(K) == labels[:, None], logits, others[:, None])
    code = np.eye(K)[0] - 1 / K
    curves = [np.linspace(0.0, farthest, NUM_GAPS)[:, None] * code for farthest in FARTHEST_GAPS]

    # One program for all of them: compiling takes longer than everything else here.
    at = [logits, logits + rng.normal(size=(count, 1)), np.take_along_axis(logits, order, axis=1)]
    at, at_labels = [*at, equalised], [labels, labels, moved, labels]
    on_curves = np.zeros(len(curves) * NUM_GAPS, dtype=int)
    values = jax.jit(jax.vmap(loss))(
        np.concatenate(at + curves), np.concatenate([*at_labels, on_curves])
    )
    ends = count * np.arange(1, 5)
    base, shifted, permuted, level, rest = np.split(np.asarray(values), ends)
    size = 1 + np.abs(base)
    # Jensen over the other classes: equalising them must not raise the loss.
    contrast = float(np.max((level - base) / size))
    curve = rest.reshape(len(curves), NUM_GAPS)
    bends = -np.diff(curve, n=2, axis=1) / (1 + np.abs(curve[:, 1:-1]))

    # The first probe is the origin: what pulls the other logits there is no isotropic quadratic.
    probes = np.concatenate([np.zeros((1, K)), logits]), np.concatenate([[0], labels])
    gradients, hessians = (np.asarray(x) for x in jax.jit(jax.vmap(_derivatives(loss)))(*probes))
    hessians = hessians[1:]
    if np.isfinite(hessians).all():
        eigenvalues = np.linalg.eigvalsh(hessians)
        curvature = np.max(-eigenvalues[:, 0] / (1 + np.abs(eigenvalues).max(axis=1)))
    else:
        curvature = np.inf
    # Class rotations are a symmetry exactly of kappa |z|^2 / 2 - M kappa z_k + const, for one M.
    isotropic = np.abs(hessians - hessians[0, 0, 0] * np.eye(K)).max()

    lines = _Lines.random(rng, K)
    line_values, slopes, jumps, places = (np.asarray(x) for x in _along_lines(loss, lines))
    isometry = np.maximum(isotropic, np.abs(gradients[0, 1:]).max()) / (1 + np.abs(hessians).max())
    unlike = np.max(np.abs(permuted - base) / size)
    lowest = np.min(line_values, where=np.isfinite(line_values), initial=base.min())

    shift = _fact(np.max(np.abs(shifted - base) / size), "shifted value")
    contrastive = _fact(max(contrast, float(bends.max())), "contrastive bound")
    bent = _fact(float(curvature), "smallest logit-Hessian eigenvalue")
    return Properties(
        convex=_fact(_fall(slopes), "slope along a line") if bent else bent,
        shift_invariant=shift,
        equivariant=_fact(unlike, "permuted value"),
        equalising=_fact(contrast, "equalised value"),
        contrastive=contrastive if shift else Fact(False, "probed", "not shift invariant"),
        isometric=_fact(max(isometry, unlike), "isotropic quadratic"),
        nonnegative=_fact(-lowest, "value below zero"),
        smooth=_smoothness(lines, jumps, places),
    )


def _derivatives(loss: Program) -> Any:
    """Gradient and Hessian of a loss."""

    def gradient(z: Any, label: Any) -> tuple[Any, Any]:
        slope = jax.grad(loss)(z, label)
        return slope, slope

    def both(z: Any, label: Any) -> tuple[Any, Any]:
        hessian, slope = jax.jacfwd(gradient, has_aux=True)(z, label)
        return slope, hessian

    return both


@dataclass(frozen=True)
class _Lines:
    """Lines start + t direction: starts, directions (lines, K), times (lines, points), labels."""

    starts: Array
    directions: Array
    times: Array
    labels: NDArray[np.int64]

    @staticmethod
    def random(rng: Any, K: int) -> _Lines:
        """A third starts at the origin and a third at collapsed logits, where logits tie.

        Of each, some run along the code of a class.
        """
        labels = rng.integers(K, size=NUM_LINES)
        code = np.eye(K)[labels] - 1 / K
        kind = np.arange(NUM_LINES)[:, None]
        starts = rng.normal(size=(NUM_LINES, K))
        collapsed = 3 * starts[:, :1] * code
        starts = np.where(kind % 3 == 0, 0.0, np.where(kind % 3 == 1, collapsed, starts))
        directions = np.where(kind % 4 == 0, code, rng.normal(size=(NUM_LINES, K)))
        directions /= np.abs(directions).max(axis=1, keepdims=True)
        reach = np.repeat(REACHES, NUM_LINES // len(REACHES))[:, None]
        # Never exactly at a start: there a tie may have no derivative at all.
        times = reach * (np.linspace(-1, 1, NUM_POINTS) + 0.01 / NUM_POINTS)
        return _Lines(starts, directions, times, labels)


def _along_lines(loss: Program, lines: _Lines) -> Any:
    """Values and slopes (lines, points); jumps of the slope and where (lines, points - 1).

    Every interval is halved, again and again, to the half in which the slope changes more.
    """

    def at(start: Any, direction: Any, time: Any, label: Any) -> Any:
        return jax.jvp(
            lambda t: loss(start + t * direction, label), (time,), (jnp.ones_like(time),)
        )

    points = jax.vmap(jax.vmap(at, in_axes=(None, None, 0, None)))

    @jax.jit
    def run(starts: Any, directions: Any, times: Any, labels: Any) -> Any:
        def halved(_: int, ends: tuple[Any, ...]) -> tuple[Any, ...]:
            low, at_low, high, at_high = ends
            middle = (low + high) / 2
            at_middle = points(starts, directions, middle, labels)[1]
            left = jnp.abs(at_middle - at_low) >= jnp.abs(at_high - at_middle)
            return (
                jnp.where(left, low, middle),
                jnp.where(left, at_low, at_middle),
                jnp.where(left, middle, high),
                jnp.where(left, at_middle, at_high),
            )

        values, slopes = points(starts, directions, times, labels)
        ends = (times[:, :-1], slopes[:, :-1], times[:, 1:], slopes[:, 1:])
        low, at_low, high, at_high = jax.lax.fori_loop(0, HALVINGS, halved, ends)
        size = 1 + jnp.maximum(jnp.abs(at_low), jnp.abs(at_high))
        return values, slopes, jnp.abs(at_high - at_low) / size, (low + high) / 2

    return run(lines.starts, lines.directions, lines.times, lines.labels)


def _fall(slopes: Array) -> float:
    """The largest relative fall of a slope between neighbours."""
    known = np.where(np.isfinite(slopes), slopes, np.nan)  # far out a loss may overflow
    size = 1 + np.nanmax(np.abs(known), axis=1, keepdims=True, initial=0.0)
    return float(np.nanmax(-np.diff(known, axis=1) / size, initial=0.0))


def _smoothness(lines: _Lines, jumps: Array, places: Array) -> Fact:
    """Whether no slope jumps; else the largest jump and the logits at which it is."""
    jumps = np.where(np.isfinite(jumps), jumps, 0.0)
    line, interval = np.unravel_index(np.argmax(jumps), jumps.shape)
    if jumps[line, interval] <= JUMP:
        return Fact(True, "probed")
    z = lines.starts[line] + places[line, interval] * lines.directions[line]
    shown = ", ".join(f"{x:.4g}" for x in z[:4]) + (", ..." if len(z) > 4 else "")
    label = lines.labels[line]
    jump = f"slope jumps by {jumps[line, interval]:.2g} at logits ({shown}), label {label}"
    return Fact(False, "probed", jump)
