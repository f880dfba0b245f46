"""The c at which the lowest point found becomes the origin, by bisection over a whole batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.sweep.tasks.registry import Columns
from experiments.sweep.work import Work
from landscape.solvers.minimise import Minimised, minimise_many
from ufm.losses.columns import column_gradients
from ufm.plain.minimisers import thresholds
from ufm.point import Point
from ufm.typing import Array

# The objective is a mean of K losses and of 2 K d squares, each known to some units in the last
# place: below this share of it a decrease is rounding.
ROUNDING = 64 * float(np.finfo(np.float64).eps)
# Where the search for a bracket begins: no threshold in closed form is a power of two times it.
START = 0.61803398875
# Halvings or doublings of the start before a bracket is given up: c between 6e-7 and 6e5.
MOST_DOUBLINGS = 20
# Bisections at most: by then a bracket is one unit in the last place wide.
MOST_HALVINGS = 52


@dataclass(frozen=True)
class _Lowest:
    """The lower one of two ends in every cell, and how far it lies below the origin."""

    point: Any
    drop: Array
    gradient_norm: Array
    finite: NDArray[np.bool_]


def threshold(work: Work) -> Columns:
    r"""Where the origin becomes the lowest end of descent, bisected in c at a fixed decay ratio.

    The origin counts as lowest when f(origin) - f(end) <= 64 eps (1 + |f(origin)|), with its best
    bias. Every c is tried from a random start and from the end at the largest c that is known to
    lie below the threshold: the second follows a branch that outlives the stability of the origin,
    so a first-order collapse is found where the objectives cross.

    Resolution, with delta = 1 - c / c^* and m = 2 lambda_W lambda_H / (lambda_W + lambda_H): near a
    second-order collapse the objective is f(origin) - m delta x^2 / 2 + B x^4 along the unstable
    direction, so that the drop is A delta^2 with A = m^2 / (16 B), and the curvature at the end
    2 m delta. A drop is seen from delta_1 = (rounding / A)^(1/2) on. Descent stops at a gradient
    norm g, which leaves the end g^2 / (4 m delta) too high: less than the drop from
    delta_2 = (g^2 / (4 A m))^(1/3) on. A cell whose precision is finer than either is UNDECIDED.
    A first-order collapse has a drop linear in delta, which is seen sooner.
    Source: derived here; the thresholds after CE-1, LS-1, FL-3, MSE-1 and X-4 of docs/theory.md.

    Args:
        work: a batch of cells without decays of their own.

    Returns:
        Columns: result, reason, c_low (an end below the origin), c_high (none found),
        c_measured (midpoint), c_origin (the Hessian at the origin has no negative eigenvalue from
        there on), c_theory (closed form for balanced models, else NaN).

    Example:
        >>> from experiments.sweep.cells import expand
        >>> from experiments.sweep.spec import make_spec
        >>> spec = make_spec({"task": "threshold", "axes": {"K": 3}})
        >>> found = threshold(Work(expand(spec), 3, spec.options, 1, False))
        >>> [round(float(found[x][0]), 2) for x in ("c_measured", "c_theory", "c_origin")]
        [1.0, 1.0, 1.0]
    """
    size, precision = len(work.cells), float(work.options["precision"])
    base = _at_origin(work)
    high = np.full(size, START)
    state = _lowest(work, base, high, work.starts())
    # Downwards from the start to a c that is below the threshold beyond doubt ...
    for _ in range(MOST_DOUBLINGS):
        outside = ~_lower(state, base)
        if not outside.any():
            break
        high = np.where(outside, 0.5 * high, high)
        state = _chosen(outside, _lowest(work, base, high, work.starts()), state)
    low, below, below_found = high, state, _lower(state, base)
    # ... and up again with its end as a start, for the first c was tried without one.
    rising, above = below_found.copy(), state
    for _ in range(2 * MOST_DOUBLINGS):
        if not rising.any():
            break
        high = np.where(rising, 2 * low, high)
        tried = _lowest(work, base, high, below.point)
        up = rising & _lower(tried, base)
        above = _chosen(rising & ~up, tried, above)
        low, below = np.where(up, high, low), _chosen(up, tried, below)
        rising = up
    known = below_found & ~rising
    for _ in range(MOST_HALVINGS):
        wide = known & (high - low > precision * high)
        if not wide.any():
            break
        middle = np.where(wide, 0.5 * (low + high), high)
        tried = _lowest(work, base, middle, below.point)
        up = wide & _lower(tried, base)
        low, below = np.where(up, middle, low), _chosen(up, tried, below)
        high, above = np.where(wide & ~up, middle, high), _chosen(wide & ~up, tried, above)
    columns: Columns = {
        "c_low": np.where(known, low, np.nan),
        "c_high": np.where(known, high, np.nan),
        "c_measured": np.where(known, 0.5 * (low + high), np.nan),
        "c_origin": origins(work, base.point),
        "c_theory": theory(work),
    }
    reasons = _reasons(work, base, below, above, columns)
    results = np.array([told[0] for told in reasons], dtype=object)
    texts = np.array([told[1] for told in reasons], dtype=object)
    return {"result": results, "reason": texts, **columns}


def _at_origin(work: Work) -> Minimised:
    """The origin with its best bias: W = H = 0 is invariant under descent, and only b moves."""
    return _descend(work, work.models, jax.tree.map(np.zeros_like, work.starts()))


def _descend(work: Work, models: Any, starts: Point) -> Minimised:
    tolerance, most = float(work.options["tolerance"]), int(work.options["max_iterations"])
    found = minimise_many(models, starts, tolerance, most, slots=work.slots)
    return jax.tree.map(np.asarray, jax.block_until_ready(found))


def _lowest(work: Work, base: Minimised, c: Array, known: Point) -> _Lowest:
    """The lower end of a random start and of a start that is known, by one compiled program."""
    size, models = len(c), work.models_at(c)
    both = jax.tree.map(lambda x, y: np.concatenate([x, y]), work.starts(), known)
    doubled = jax.tree.map(lambda leaf: np.concatenate([np.asarray(leaf)] * 2), models)
    found = _descend(work, doubled, both)
    drops = np.tile(base.objective, 2) - found.objective
    drops = np.where(np.isfinite(drops), drops, -np.inf)
    best = np.where(drops[:size] >= drops[size:], 0, size) + np.arange(size)
    point = jax.tree.map(lambda leaf: leaf[best], found.point)
    worst = np.maximum(found.gradient_norm[:size], found.gradient_norm[size:])
    return _Lowest(point, drops[best], worst, np.isfinite(drops[best]))


def _lower(state: _Lowest, base: Minimised) -> NDArray[np.bool_]:
    """Whether an end lies below the origin beyond rounding: then the origin is no minimum."""
    return np.asarray(state.drop > ROUNDING * (1 + np.abs(base.objective)))


def _chosen(new: NDArray[np.bool_], one: _Lowest, other: _Lowest) -> _Lowest:
    """``one`` where ``new``, else ``other``."""

    def pick(x: Any, y: Any) -> Any:
        return np.where(new.reshape((-1,) + (1,) * (np.ndim(x) - 1)), x, y)

    return _Lowest(
        jax.tree.map(pick, one.point, other.point),
        pick(one.drop, other.drop),
        pick(one.gradient_norm, other.gradient_norm),
        pick(one.finite, other.finite),
    )


def origins(work: Work, origin: Point) -> Array:
    """The c from which on the origin with its best bias has no negative curvature.

    At W = H = 0 the Hessian is [[lambda_W, G], [G^T, lambda_H]] in every feature dimension (the
    bias decouples), of smallest eigenvalue >= 0 iff sigma_1(G) <= sigma = c / sqrt(K N), with
    G_k = (sqrt(n_k) / N) grad L(b, k): c_origin = sqrt(K N) sigma_1(G).
    Source: CE-5 of docs/theory.md, for any loss and any counts derived here.

    Args:
        work: a batch of cells.
        origin: W = H = 0 and the best bias b of every cell, (size, K), or None.
    """
    found = np.full(len(work.cells), np.nan)
    K = work.first.num_classes
    for i in range(len(work.cells)):
        model = work.cells.model(i)
        bias = np.zeros(K) if origin.b is None else origin.b[i]
        slopes = column_gradients(model.loss, np.tile(bias[:, None], K), np.arange(K))[1]
        counts = np.asarray(model.counts)
        N = float(counts.sum())
        G = np.asarray(slopes) * np.sqrt(counts) / N
        found[i] = np.sqrt(K * N) * float(np.linalg.svd(G, compute_uv=False)[0])
    return found


def theory(work: Work) -> Array:
    """The closed-form threshold of balanced cells with an equivariant loss, else NaN.

    Where the origin turns stable before it is lowest, the bound is attained from d = K - 1 on, and
    nothing is known below.
    """
    found = np.full(len(work.cells), np.nan)
    known: dict[Any, Any] = {}
    K = work.first.num_classes
    for i in range(len(work.cells)):
        model = work.cells.model(i)
        if not (model.balanced and model.loss.properties(K).equivariant):
            continue
        mark = (int(work.cells.which[i]), model.lambda_b)
        if mark not in known:
            known[mark] = thresholds(model)
        edges = known[mark]
        if model.d >= K - 1 or edges.collapse <= edges.origin:
            found[i] = edges.collapse
    return found


def _reasons(
    work: Work, base: Minimised, below: _Lowest, above: _Lowest, columns: Columns
) -> list[tuple[str, str]]:
    """(result, reason) of every cell."""
    tolerance, precision = (float(work.options[name]) for name in ("tolerance", "precision"))
    cells, told = work.cells.columns, []
    harmonic = 2 / (1 / cells["lambda_W"] + 1 / cells["lambda_H"]) / cells["c"]  # at c = 1
    for i in range(len(work.cells)):
        low, high = columns["c_low"][i], columns["c_high"][i]
        if not (np.isfinite(base.objective[i]) and below.finite[i]):
            told.append(("DIVERGED", "the objective stopped being finite"))
        elif np.isnan(low):
            reach = f"{START / 2**MOST_DOUBLINGS:.0e} and {START * 2**MOST_DOUBLINGS:.0e}"
            told.append(("UNDECIDED", f"no threshold between c = {reach}"))
        elif not above.gradient_norm[i] <= tolerance:
            reason = f"gradient norm {above.gradient_norm[i]:.1e} at c = {high:.6g}"
            told.append(("MAX_ITERATIONS", reason))
        else:
            drop, width = float(below.drop[i]), (high - low) / high
            finest = resolution(drop, width, harmonic[i] * high, tolerance, base.objective[i])
            reason = f"descent to {tolerance:.0e} resolves c to {finest:.0e} of it only"
            told.append(("CONVERGED", "") if finest <= precision else ("UNDECIDED", reason))
    return told


def resolution(drop: float, width: float, m: float, tolerance: float, value: float) -> float:
    """The smallest 1 - c / c^* that descent can see: max(delta_1, delta_2) of ``threshold``.

    A >= drop / width^2, because the end that fell by ``drop`` lies within ``width`` of the
    threshold. Source: derived here.

    Args:
        drop: how far the end at c_low lies below the origin.
        width: 1 - c_low / c_high.
        m: harmonic mean of the decays there.
        tolerance: gradient norm at which descent stops.
        value: the objective at the origin.

    Example:
        >>> round(resolution(1e-6, 1e-3, 0.25, 1e-3, 0.0), 6)  # A = 1: (1e-6)^(1/3)
        0.01
    """
    A = max(drop, 0.0) / width**2 + 1e-300
    seen = np.sqrt(ROUNDING * (1 + abs(value)) / A)
    return float(max(seen, (tolerance**2 / (4 * A * m)) ** (1 / 3)))
