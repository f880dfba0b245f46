"""Critical points whose features differ within a class: when none can exist, and a search.

For given (W, b) every feature h has a problem of its own, L(W h + b, k) / N + (lambda_H / 2) |h|^2.
For a convex loss it has one critical point (A-1). For focal loss it can have several, but only for
more classes or a wider bias than ``ufm.plain.focal_collapse`` allows. The search is for what is
left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import exp, log
from time import perf_counter

import numpy as np
import scipy

from landscape.atlas.explore import atlas
from landscape.atlas.orbit import BIFURCATION, centred_bias
from landscape.atlas.record import highest_rank
from landscape.atlas.search import Failure, Found, search, together
from landscape.atlas.starts import aligned_starts, gaussian_starts, partition_starts
from landscape.curvature.count import count_curvature
from ufm.eigen import eigh
from ufm.errors import InputError, require_count
from ufm.losses.columns import column_gradients, column_hessians
from ufm.plain.focal_collapse import collapse_theorem
from ufm.plain.model import UFM
from ufm.plain.reduce import COLLAPSED, averaged
from ufm.plain.relabelling import TOLERANCE as SAME
from ufm.plain.relabelling import resolution
from ufm.point import Point
from ufm.typing import Array

# Orbits are compared over all relabellings: 6! = 720.
MAX_CLASSES = 6
# A step takes the eigenvectors of a matrix of this order: about 5 ms.
MAX_VARIABLES = 200
# Share of the budget that the search for collapsed points may take.
COLLAPSED_SHARE = 0.25
# Steps towards a critical point of one sample's own problem: starts need no more digits.
OWN_STEPS = 30


@dataclass(frozen=True, eq=False)
class UncollapsedOrbit:
    """Critical points that differ by rotations and relabellings of classes and of their samples.

    Attributes:
        point: W (K, r), H (r, N), b.
        objective, gradient_norm: there.
        rank: r, of Z = W H.
        spread: largest distance of two features of one class.
        range_index, range_nullity, range_predicted, range_smallest: negative eigenvalues, zero
            ones, those explained by symmetry, and the smallest, in dimension r (dense Hessian).
        overshoot: singular values of the logit gradient (K, N) above sigma, as in A-2.
        hits: how often a search ended here.
    """

    point: Point
    objective: float
    gradient_norm: float
    rank: int
    spread: float
    range_index: int
    range_nullity: int
    range_predicted: int
    range_smallest: float
    overshoot: int
    hits: int = 1

    def index(self, d: int) -> int:
        """Negative Hessian eigenvalues in dimension d >= rank (A-2)."""
        if d < self.rank:
            rule = f"A point of rank {self.rank} needs d >= {self.rank}"
            raise InputError(rule, d, "use a larger dimension")
        return self.range_index + (d - self.rank) * self.overshoot

    def is_minimum(self, d: int) -> bool:
        """Whether it is a Morse-Bott local minimum in dimension d."""
        return self.index(d) == 0 and self.range_nullity == self.range_predicted


@dataclass(frozen=True, eq=False)
class Uncollapsed:
    """What a search among all samples gave.

    Attributes:
        model: the model; its d is the largest rank.
        searches: begun.
        collapsed: how many ended at critical points with equal features in every class.
        orbits: of the others, in ascending order of objective.
        failures: why the remaining searches gave nothing.
        theorem: why there can be none, or None.
        seconds: time spent.
    """

    model: UFM
    searches: int
    collapsed: int
    orbits: tuple[UncollapsedOrbit, ...]
    failures: Counter[Failure]
    theorem: str | None
    seconds: float

    @property
    def found(self) -> int:
        """Searches that ended at a critical point."""
        return self.collapsed + sum(orbit.hits for orbit in self.orbits)

    @property
    def text(self) -> tuple[str, ...]:
        """What was found and what is proved, in lines."""
        counts, d, orbits = self.model.counts_tuple, self.model.d, self.orbits
        size = f"n = {counts[0]}" if len(set(counts)) == 1 else f"counts {counts}"
        lines = [
            f"{size}: {self.searches:,} searches, {self.found:,} critical points, "
            + (f"{self.found - self.collapsed:,} of them" if orbits else "none")
            + " uncollapsed."
        ]
        if orbits:
            minima = sum(orbit.is_minimum(d) for orbit in orbits)
            lines.append(
                f"Uncollapsed orbits: {len(orbits)}, lowest objective {orbits[0].objective:.9f}, "
                f"largest spread {max(orbit.spread for orbit in orbits):.3g}; "
                f"{minima or 'none'} of them a local minimum for d = {d}."
            )
        proved = f"Proved: there is none ({self.theorem})."
        return (*lines, proved if self.theorem else "No theorem excludes them.")


def uncollapsed(
    model: UFM,
    *,
    budget: float = 30.0,
    batch: int = 96,
    seed: int = 0,
    known: Iterable[Point] = (),
) -> Uncollapsed:
    """Critical points with all samples as unknowns, and those that are not collapsed.

    Every rank stratum (A-2, which needs no collapse) is searched from three kinds of starts: random
    ones, collapsed critical points pulled apart along the flattest direction of
    W^T S_k W / N + lambda_H I, and points where every sample sits at a critical point of its own
    problem for the given classifier. A search proves nothing; ``collapse_theorem`` does.
    Source: derived here (docs/atlas.md).

    Args:
        model: a UFM with two samples or more in some class; its d plays no role.
        budget: seconds after which no further round begins.
        batch: starts per rank and round.
        seed: of the random starts.
        known: collapsed critical points to start from, merged columns; by default those of an
            atlas that takes a quarter of the budget.

    Raises:
        InputError: one sample per class, merged columns, a model too large for a dense search,
            or known points of another shape.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, 2, lambda_W=0.02, lambda_H=0.02)
        >>> origin = model.merge().model.origin()
        >>> uncollapsed(model, budget=0.0, batch=12, known=[origin]).orbits
        ()
    """
    began = perf_counter()
    require_count(batch, "batch", 3, "use three starts or more")
    collapsed = [point.to_numpy() for point in known]
    full, rng = _checked(model, collapsed), np.random.default_rng(seed)
    if not collapsed:
        first = atlas(full, budget=COLLAPSED_SHARE * budget, batch=batch, seed=seed)
        collapsed = [orbit.point for orbit in first.orbits]
    made = Uncollapsed(full, 0, 0, (), Counter(), collapse_theorem(full), 0.0)
    while True:
        for rank in range(1, full.d + 1):
            inside = full.with_dimension(rank)
            harvest = search(inside, _starts(inside, collapsed, batch, rng))
            apart = [x for x in harvest.found if averaged(inside, x.point)[2] > COLLAPSED]
            made = replace(
                made,
                searches=made.searches + harvest.starts,
                collapsed=made.collapsed + len(harvest.found) - len(apart),
                orbits=_gathered(made.orbits, inside, apart),
                failures=made.failures + harvest.failures,
            )
        made = replace(made, seconds=perf_counter() - began)
        if made.seconds > budget:
            return made


def _checked(model: UFM, known: Sequence[Point]) -> UFM:
    """The model in its largest rank."""
    K = model.num_classes
    if model.merged or max(model.counts_tuple) < 2:
        rule = "Features differ within a class of two samples or more"
        raise InputError(rule, model.counts_tuple, "give the model with n >= 2")
    top = highest_rank(model)
    size = top * (K + model.num_columns)
    if K > MAX_CLASSES or size > MAX_VARIABLES:
        rule = f"A search needs K <= {MAX_CLASSES} and {MAX_VARIABLES} variables at most"
        raise InputError(rule, f"K = {K}, {size} variables", "use fewer classes or samples")
    for point in known:
        if point.H.shape[1] != K or (point.b is None) != (model.lambda_b is None):
            rule = "Known points need one column per class, and a bias iff the model has one"
            raise InputError(rule, f"H {point.H.shape}", "merge them with ufm.reduce")
    return model.with_dimension(top)


def _starts(model: UFM, known: Sequence[Point], batch: int, rng: np.random.Generator) -> Point:
    """Thirds: random, samples at critical points of their own, collapsed points pulled apart."""
    here = [point for point in known if point.W.shape[1] == model.d and np.any(point.W)]
    third = batch // 3
    random = _random(model, batch - (2 if here else 1) * third, rng)
    bases = _random(model, third, rng)
    for i in range(third):
        if here and rng.random() < 0.5:
            point = here[int(rng.integers(len(here)))]
            bases.W[i] = exp(rng.uniform(log(0.3), log(3.0))) * point.W
            if bases.b is not None:
                bases.b[i] = point.b
    apart = [_pulled_apart(model, here, third, rng)] if here else []
    return together([random, _own_critical(model, bases), *apart])


def _random(model: UFM, count: int, rng: np.random.Generator) -> Point:
    """Gaussian, aligned and symmetric starts with noise of log-uniform size on every sample."""
    K, r, labels = model.num_classes, model.d, np.asarray(model.labels)
    kinds = (gaussian_starts, aligned_starts, partition_starts)
    shares = [count // 3, count // 3, count - 2 * (count // 3)]
    start = together([kind(rng, m, K, r) for kind, m in zip(kinds, shares, strict=True)])
    H = start.H[:, :, labels]
    level = np.exp(rng.uniform(log(1e-2), log(3.0), (count, 1, 1)))
    H = H + level * np.sqrt(np.mean(H**2, axis=(1, 2), keepdims=True)) * rng.normal(size=H.shape)
    if model.lambda_b is None:
        return Point(start.W, H)
    size = np.exp(rng.uniform(log(0.1), log(10.0), (count, 1))) * (rng.random((count, 1)) < 0.5)
    return Point(start.W, H, size * rng.normal(size=(count, K)))


def _pulled_apart(
    model: UFM, known: Sequence[Point], count: int, rng: np.random.Generator
) -> Point:
    """Collapsed points, samples moved along the lowest eigenvectors of their own problem."""
    labels, roots = np.asarray(model.labels), np.sqrt(np.asarray(model.counts))
    chosen = [known[int(i)] for i in rng.integers(len(known), size=count)]
    W = np.stack([point.W for point in chosen])
    F = np.stack([(point.H / roots).T[labels] for point in chosen])
    b = None if model.lambda_b is None else np.stack([point.b for point in chosen])
    lowest = eigh(_own_derivatives(model, W, F, b)[1])[1][..., 0]  # (B, N, r)
    size = np.exp(rng.uniform(log(0.03), log(3.0), (count, 1, 1)))
    size = size * np.sqrt(np.mean(np.sum(F**2, axis=2), axis=1))[:, None, None]
    F = F + size * rng.normal(size=(count, len(labels), 1)) * lowest
    return Point(W, np.swapaxes(F, 1, 2), b)


def _own_derivatives(model: UFM, W: Array, F: Array, b: Array | None) -> tuple[Array, Array]:
    """Gradients (B, N, r) and Hessians (B, N, r, r) of the own problems of features F (B, N, r)."""
    K, labels = model.num_classes, np.tile(np.asarray(model.labels), len(W))
    Z = F @ np.swapaxes(W, 1, 2) + (0.0 if b is None else b[:, None, :])  # (B, N, K)
    columns = Z.reshape(-1, K).T
    G = np.asarray(column_gradients(model.loss, columns, labels)[1]).T.reshape(Z.shape)
    S = np.asarray(column_hessians(model.loss, columns, labels)).reshape(*Z.shape, K)
    N, decay = model.num_columns, float(model.lambda_H)
    hessian = np.einsum("bia,bnij,bjc->bnac", W, S, W, optimize=True) / N
    return G @ W / N + decay * F, hessian + decay * np.eye(W.shape[2])


def _own_critical(model: UFM, points: Point) -> Point:
    """Features moved to critical points of their own problems, whatever the index."""
    W, F, b = points.W, np.swapaxes(points.H, 1, 2), points.b
    state = (F, *_own_derivatives(model, W, F, b))
    damping = np.sum(state[1] ** 2, axis=2)
    for _ in range(OWN_STEPS):
        values, vectors = eigh(state[2])
        along = np.einsum("bnri,bnr->bni", vectors, state[1])
        # Never 0 / 0 at a point that is critical already.
        weights = values / np.maximum(values**2 + damping[..., None], 1e-300)
        trial = state[0] - np.einsum("bnri,bni->bnr", vectors, weights * along)
        new = (trial, *_own_derivatives(model, W, trial, b))
        squared = np.sum(new[1] ** 2, axis=2)
        better = squared < np.sum(state[1] ** 2, axis=2)
        chosen = [better[..., None], better[..., None], better[..., None, None]]
        state = tuple(np.where(*x) for x in zip(chosen, new, state, strict=True))
        damping = np.where(better, np.minimum(damping / 10, squared), 4 * damping)
    return points._replace(H=np.swapaxes(state[0], 1, 2))


def _gathered(
    orbits: Sequence[UncollapsedOrbit], model: UFM, found: Iterable[Found]
) -> tuple[UncollapsedOrbit, ...]:
    """Orbits with new points sorted in."""
    kept = list(orbits)
    for new in found:
        known = next((i for i, old in enumerate(kept) if _is_in(old, model, new)), None)
        if known is None:
            kept.append(_described(model, new))
        else:
            kept[known] = replace(kept[known], hits=kept[known].hits + 1)
    return tuple(sorted(kept, key=lambda orbit: orbit.objective))


def _is_in(orbit: UncollapsedOrbit, model: UFM, new: Found) -> bool:
    """Whether relabelled classes and samples turn Z = W H (and b) of an orbit into that of a point.

    The objective is a filter: it is stationary and agrees better than the points do.
    """
    if orbit.rank != model.d:
        return False
    if abs(orbit.objective - new.objective) > SAME * (1 + abs(new.objective)):
        return False
    K, kinds, labels = model.num_classes, model.kinds, np.asarray(model.labels)
    Z, Y = orbit.point.W @ orbit.point.H, new.point.W @ new.point.H
    biases = [centred_bias(model, point) for point in (orbit.point, new.point)]
    b, beta = [np.zeros(K) if bias is None else bias for bias in biases]
    unit = resolution(SAME, Z, Y, b, beta)
    samples = [np.flatnonzero(labels == k) for k in range(K)]
    for p in map(np.array, permutations(range(K))):
        if (kinds[p] != kinds).any() or np.abs(b[p] - beta).max() > unit:
            continue
        if all(_match(Z[p][:, samples[p[k]]], Y[:, samples[k]], unit) for k in range(K)):
            return True
    return False


def _match(left: Array, right: Array, unit: float) -> bool:
    """Whether the columns of two matrices agree in some order."""
    apart = np.abs(left[:, :, None] - right[:, None, :]).max(axis=0) > unit
    rows, columns = scipy.optimize.linear_sum_assignment(apart)
    return not apart[rows, columns].any()


def _described(model: UFM, found: Found) -> UncollapsedOrbit:
    """Everything about the orbit of an uncollapsed critical point of full rank."""
    point, labels = found.point, np.asarray(model.labels)
    count = count_curvature(model, point, found.gradient_norm)
    if count.nullity_range is None or count.predicted_nullity is None:
        raise InputError("Need a dense Hessian", count.route, "use fewer classes or samples")
    distances = np.linalg.norm(point.H[:, :, None] - point.H[:, None, :], axis=0)
    # r singular values of G are sigma itself; the others lie outside both row spaces.
    G = np.asarray(column_gradients(model.loss, model.column_logits(point), labels)[1])
    left, right = np.linalg.qr(point.W)[0], np.linalg.qr(point.H.T)[0]
    G = (G - left @ (left.T @ G)) / model.num_columns
    couplings = np.linalg.svd(G - (G @ right) @ right.T, compute_uv=False)
    return UncollapsedOrbit(
        point,
        found.objective,
        found.gradient_norm,
        model.d,
        float(distances[labels[:, None] == labels].max()),
        count.index_range[0],
        count.nullity_range[1],  # what is not told from zero counts as zero
        count.predicted_nullity,
        count.smallest,
        int(np.sum(couplings > model.sigma * (1 + BIFURCATION))),
    )
