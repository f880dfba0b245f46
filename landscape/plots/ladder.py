"""The saddle ladder: objective against index of every critical point that a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from landscape.critical import find_critical
from landscape.curvature import count_curvature
from landscape.plots.style import FAINT, INK, RANK_COLOURS, RANK_MARKERS, spread
from ufm.errors import InputError
from ufm.model import norm, value_and_gradient
from ufm.plain import UFM
from ufm.point import Point

Array = NDArray[np.float64]
MAX_CLASSES = 6  # stabilisers are counted by trying all K! permutations
TOLERANCE = 1e-12
DIGITS = 7  # a point polished to 1e-12 has its invariants to about 1e-10


@dataclass(frozen=True)
class LadderPoint:
    """One orbit of critical points under rotations and class permutations.

    Attributes:
        objective: value there.
        index: number of negative Hessian eigenvalues in the model's dimension.
        rank: rank of W H.
        count: number of matrices Z = W H in the orbit.
        label: which classes share a code ("2|1|1"), or the name of the code.
        hits: how often the search found it.
    """

    objective: float
    index: int
    rank: int
    count: int
    label: str
    hits: int = 1


def ladder_points(
    model: UFM, *, starts: int = 120, key: jax.Array | None = None
) -> tuple[LadderPoint, ...]:
    """Critical points of a balanced model from random starts in every rank, one per orbit.

    Critical points of the r-dimensional model embed in dimension d (A-2), so the search starts in
    every dimension r = 1..K (K - 1 if shift invariant): in a small one it reaches low-rank saddles
    that a start in R^d would miss. The origin and the closed-form minimiser are put in. Two ends
    are one orbit when objective, singular values and sorted entries of Z and index agree. It is a
    search: what it returns are critical points, but there may be more.

    Args:
        model: a balanced UFM with K <= 6 whose samples merge.
        starts: random starts per rank.
        key: JAX random key, default ``jax.random.key(0)``.

    Returns:
        Orbits in ascending order of objective.

    Raises:
        InputError: K > 6 or imbalanced counts.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02)
        >>> points = ladder_points(model, starts=16)
        >>> points[0].label, points[0].index, points[-1].label
        ('simplex ETF', 0, 'origin')
    """
    K = model.num_classes
    if K > MAX_CLASSES or not model.balanced:
        raise InputError(
            f"A ladder needs balanced counts and K <= {MAX_CLASSES}",
            f"K={K}, counts {model.counts_tuple}",
            "use fewer classes",
        )
    merge = model.merge()
    full = model if merge is None else merge.model
    found: dict[tuple[float, ...], list[Point]] = {}
    origin = Point(np.zeros((K, model.d)), np.zeros((model.d, K)), None)
    ends = [origin if model.lambda_b is None else origin._replace(b=np.zeros(K))]
    minimiser = model.minimiser()
    if minimiser is not None:
        ends.append(minimiser.point)
    highest = K - 1 if model.loss.properties(K).shift_invariant else K
    width = min(model.d, highest)
    ends += _search(full.with_dimension(width), jax.random.key(0) if key is None else key, starts)
    ends = [_embedded(end, model.d) for end in ends]
    counts = {}
    for end in ends:
        value, gradient = value_and_gradient(full, end)
        value = float(value)
        index = count_curvature(full, end, float(norm(gradient))).index or 0
        Z = np.asarray(end.W) @ np.asarray(end.H)
        invariants = (value, *np.linalg.svd(Z, compute_uv=False), *np.sort(Z.ravel()))
        name = (*(round(float(x), DIGITS) + 0.0 for x in invariants), float(index))
        found.setdefault(name, []).append(end)
        counts[name] = (value, index)
    orbits = [_describe(group, *counts[name]) for name, group in found.items()]
    return tuple(sorted(orbits, key=lambda orbit: (orbit.objective, orbit.index)))


def _search(model: UFM, key: jax.Array, starts: int) -> list[Point]:
    """Ends of Levenberg-Marquardt from starts of every rank and of several scales.

    A start whose last coordinates are zero stays in the subspace where they are zero, because a
    reflection of them fixes it: so one compiled program searches every rank.
    """
    scales = jnp.tile(jnp.geomspace(0.7, 5.0, starts), model.d)
    ranks = jnp.repeat(jnp.arange(1, model.d + 1), starts)
    keys = jax.random.split(key, len(ranks))

    def run(key: Any, scale: Any, rank: Any) -> tuple[Any, Any]:
        start = model.random_point(key, scale)
        used = jnp.arange(model.d) < rank
        start = Point(start.W * used, start.H * used[:, None], start.b)
        point, _, size, _ = find_critical(model, start, TOLERANCE, 200)
        return point, size

    points, sizes = jax.vmap(run)(keys, scales, ranks)
    chosen = np.flatnonzero(np.asarray(sizes) <= TOLERANCE)
    return [jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), points) for i in chosen]


def _embedded(point: Point, d: int) -> Point:
    """The point with zeros appended up to dimension d (A-2)."""
    W, H = np.asarray(point.W), np.asarray(point.H)
    extra = d - W.shape[1]
    return Point(np.pad(W, ((0, 0), (0, extra))), np.pad(H, ((0, extra), (0, 0))), point.b)


def _describe(group: Sequence[Point], objective: float, index: int) -> LadderPoint:
    Z = np.asarray(group[0].W) @ np.asarray(group[0].H)
    size = float(np.linalg.norm(Z, 2))
    rank = 0 if size < 1e-6 else int(np.linalg.matrix_rank(Z, tol=1e-6 * size))
    K, close = len(Z), 1e-6 * max(size, 1.0)
    orders = np.array(list(permutations(range(K))))
    moved = Z[orders[:, :, None], orders[:, None, :]]
    fixed = int(np.sum(np.abs(moved - Z).max(axis=(1, 2)) < close))
    return LadderPoint(
        objective, index, rank, factorial(K) // fixed, code_name(Z, rank, fixed), len(group)
    )


def code_name(Z: Array, rank: int, stabiliser: int) -> str:
    """The name of a code, from which classes share a row of Z and how symmetric it is.

    Args:
        Z: W H, (K, K).
        rank: its rank.
        stabiliser: number of class permutations that leave Z unchanged.

    Example:
        >>> code_name(np.eye(3) - 1 / 3, 2, 6), code_name(np.diag([1.0, 0, 0]), 1, 2)
        ('simplex ETF', '2|1')
    """
    K = len(Z)
    if rank == 0:
        return "origin"
    groups: list[int] = []
    left = list(range(K))
    while left:
        same = [k for k in left if np.abs(Z[k] - Z[left[0]]).max() < 1e-6 * np.abs(Z).max()]
        groups.append(len(same))
        left = [k for k in left if k not in same]
    if len(groups) == K and stabiliser == factorial(K):
        return "simplex ETF" if rank == K - 1 else "orthogonal frame"
    if len(groups) == K and rank == 2 and stabiliser == 2 * K:
        return {3: "triangle", 4: "square"}.get(K, f"{K}-gon")
    if len(groups) == K:
        return "mirror" if stabiliser > 1 else "asymmetric"
    return "|".join(str(m) for m in sorted(groups, reverse=True))


def draw_ladder(data: Sequence[LadderPoint], ax: Axes, title: str = "") -> Axes:
    """Objective against index; colour and marker tell the rank, labels the code and orbit size.

    Args:
        data: the orbits.
        ax: where to draw.
        title: heading.
    """
    for rank in sorted({point.rank for point in data}):
        chosen = [point for point in data if point.rank == rank]
        ax.plot(
            [point.index for point in chosen],
            [point.objective for point in chosen],
            RANK_MARKERS[rank % len(RANK_MARKERS)],
            color=RANK_COLOURS[rank % len(RANK_COLOURS)],
            mec=INK,
            mew=0.6,
            ms=7,
            label=f"{rank}",
            zorder=3,
        )
    _label(data, ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("index (negative Hessian eigenvalues)")
    ax.set_ylabel("objective")
    ax.set_title(title)
    ax.legend(title="rank of W H", loc="lower right", title_fontsize=8)
    return ax


def _label(data: Sequence[LadderPoint], ax: Axes) -> None:
    """Labels beside the points: points of similar height send theirs to the left and the right."""
    heights = [point.objective for point in data]
    span = max(heights) - min(heights) or 1.0
    widest = max(point.index for point in data) or 1
    ax.set_ylim(min(heights) - 0.13 * span, max(heights) + 0.1 * span)
    ax.set_xlim(-0.06 * widest, 1.3 * widest)
    gap = 0.06 * span
    clusters: list[list[LadderPoint]] = []
    for point in sorted(data, key=lambda point: point.objective):
        if clusters and point.objective - clusters[-1][-1].objective < 0.6 * gap:
            clusters[-1].append(point)
        else:
            clusters.append([point])
    for cluster in clusters:
        cluster.sort(key=lambda point: (point.index, -point.objective))
        first, last = cluster[0].index, cluster[-1].index
        # The diagram runs from the lower left to the upper right, so above on the left and below
        # on the right there is room; nothing fits to the left of the first rungs.
        half = len(cluster) // 2 if first > 0.2 * widest else 0
        left, right = first - 0.07 * widest, last + 0.07 * widest
        below = 1.3 if first == 0 else 0.6  # the lowest rung has the next one to its right
        for side, members, x, shift in (
            ("right", cluster[:half], left, 0.6 * gap),
            ("left", cluster[half:], right, -below * gap),
        ):
            places = spread([point.objective + shift for point in members], gap)
            for point, height in zip(members, places, strict=True):
                times = f" ×{point.count}" if point.count > 1 else ""
                ax.plot([point.index, x], [point.objective, height], color=FAINT, lw=0.7, zorder=2)
                nudge = -0.01 * widest if side == "right" else 0.01 * widest
                text = f"{point.label}{times}"
                ax.text(x + nudge, height, text, fontsize=8, va="center", ha=side)
