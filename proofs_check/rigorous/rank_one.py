"""All critical points of rank one, proved: branch and prune over the gaps of the classifier.

For n samples per class, cross entropy or label smoothing delta and no bias, a critical point of
rank one is (w, h) with sum_j w_j = 0; classes are relabelled so that w_1 >= ... >= w_K, and
u_i = w_i - w_{i+1} >= 0. With x_i = u_i h_k and P_i = sum_{j<=i} softmax(w h_k)_j (which increases
in every x_i), q_ki = P_i - (1 - delta) [k <= i] - delta i / K and A = min(i, l) - i l / K,

    0 = sum_i u_i q_ki + K n lambda_H h_k                      one root h_k(u) for every class,
    0 = g_i(u) = (1/K) sum_k h_k q_ki + lambda_W (A u)_i       K - 1 equations for u.

g is the gradient of min_h f, and its derivative D is a Schur complement. A box of u is dropped
where an enclosure of g over it, by itself or from its middle with D, leaves out zero. What is left
must lie in boxes around known orbits that are proved to hold one critical point and no second.
Derived here: docs/certificates.md.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs_check.rigorous.intervals import Interval
from ufm.errors import InputError

Array = NDArray[np.float64]

# Half-widths that are tried for a box without a second point, and shares of it in which a first
# one is looked for: rounding alone, or what decays from an interval leave open.
HALF_WIDTHS = tuple(0.5 ** (i / 4) for i in range(4, 68))
SHARES = (1e-4, 0.25, 0.5, 0.75, 1.0)
# Of the largest box that can be proved to hold no second point this share is claimed: another
# program with other roundings shall prove it too.
ROOM = 0.8
# How far beyond its expected place the end of a root is looked for, in multiples; then nowhere.
REACHES = (1.1, 1.5, 3.0, 8.0, 30.0)
# Marks of a leaf in the tree of boxes.
SETTLED, UNDECIDED = -1, -2
# Boxes evaluated at once: their enclosures take some 30 kB each.
BATCH = 4096


@dataclass(frozen=True)
class RankOne:
    """The equations of rank one for decays that may be intervals.

    Attributes:
        classes: K.
        lambda_w: decay of the classifier.
        lambda_h: n times the decay of the features, for n samples per class.
        smoothing: delta.
    """

    classes: int
    lambda_w: Interval
    lambda_h: Interval
    smoothing: float = 0.0

    # ---- constants of the equations

    @property
    def _own(self) -> Interval:
        """(1 - delta) [k <= i] + delta i / K, (K, K-1)."""
        K, delta = self.classes, Interval.of(self.smoothing)
        below = np.array([[float(k <= i) for i in range(K - 1)] for k in range(K)])
        share = Interval.of(np.arange(1.0, K)) / Interval.of(float(K))
        return (1 - delta) * below + delta * share

    @property
    def _metric(self) -> Interval:
        """lambda_W A, (K-1, K-1)."""
        K = self.classes
        i = np.arange(1.0, K)
        cross = Interval.of(np.outer(i, i)) / Interval.of(float(K))
        return (Interval.of(np.minimum.outer(i, i)) - cross) * self.lambda_w

    @property
    def _price(self) -> Interval:
        """K n lambda_H."""
        return self.lambda_h * float(self.classes)

    def largest_spread(self) -> float:
        """A bound of w_1 - w_K at every critical point.

        lambda_W |w|^2 = -<G, Z> <= g(0) - g(Z) <= log K, because the loss is convex and not
        negative, and w_1 - w_K <= sqrt(2) |w|.
        """
        ratio = Interval.of(math.log(self.classes) * (1 + 1e-15)) / self.lambda_w
        # A little more, which coarser roundings of another program stay below.
        return float(np.sqrt(2 * ratio.hi) * (1 + 1e-6))

    # ---- enclosures over boxes: u (B, K-1), h (B, K)

    def _shares(self, u: Interval, h: Interval) -> tuple[Interval, Interval]:
        """P and 1 - P, (B, K, K-1): monotone in x = u h, so from its ends."""
        x = u[:, None, :] * h[:, :, None]
        low, high = _cumulative(x.lo), _cumulative(x.hi)
        return Interval(low[0].lo, high[0].hi), Interval(high[1].lo, low[1].hi)

    def _slope(self, u: Interval, h: Interval) -> tuple[Interval, Interval, Interval]:
        """sum_i u_i q_ki + K n lambda_H h_k (B, K); q; and P_i (1 - P_l) for i <= l."""
        P, Q = self._shares(u, h)
        q = P - self._own
        return (u[:, None, :] * q).sum(-1) + h * self._price, q, _covariance(P, Q)

    def _stiffness(self, u: Interval, C: Interval) -> Interval:
        """The slope's derivative in h: u' C u + K n lambda_H, at least its second term."""
        uu = u[:, :, None] * u[:, None, :]
        L = self.classes - 1
        diagonal = u.square()
        made = self._price + np.zeros(C.lo.shape[:2])
        for i in range(L):
            made = made + diagonal[:, None, i] * C[:, :, i, i]
            for j in range(i + 1, L):
                made = made + uu[:, None, i, j] * C[:, :, i, j] * 2.0
        return Interval(np.maximum(made.lo, self._price.lo), made.hi)

    def roots(self, u: Interval, near: Array) -> Interval:
        """h_k over boxes of u, from approximate roots (B, K) at points of the boxes."""
        at = Interval.of(near)
        slope, _, C = self._slope(u, at)
        stiff = self._stiffness(u, C)
        # The derivative is at least K n lambda_H, whatever h: this reach always holds the root.
        reach = (Interval.of(slope.magnitude()) / self._price).hi
        expected = slope.magnitude() / stiff.middle()
        below, above = reach.copy(), reach.copy()
        for times in REACHES[::-1]:
            step = np.minimum(times * expected, reach)
            here = self._slope(u, Interval.of(near + step))[0]
            above = np.where(here.lo > 0, np.minimum(above, step), above)
            here = self._slope(u, Interval.of(near - step))[0]
            below = np.where(here.hi < 0, np.minimum(below, step), below)
        h = Interval(np.nextafter(near - below, -np.inf), np.nextafter(near + above, np.inf))
        stiff = self._stiffness(u, self._slope(u, h)[2])
        return h.meet(at - slope / stiff)

    def gradient(self, u: Interval, h: Interval) -> Interval:
        """g over boxes (B, K-1)."""
        q = self._slope(u, h)[1]
        pulled = (h[:, :, None] * q).sum(1) / Interval.of(float(self.classes))
        return pulled + (self._metric * u[:, None, :]).sum(-1)

    def derivative(self, u: Interval, h: Interval) -> Interval:
        """D over boxes (B, K-1, K-1): what is left of the Hessian without the features."""
        L = self.classes - 1
        _, q, C = self._slope(u, h)
        stiff = self._stiffness(u, C)
        mixed = q + h[:, :, None] * (C * u[:, None, None, :]).sum(-1)
        bent = h.square()
        lo, hi = np.empty((2, len(u.lo), L, L))
        for i in range(L):
            for j in range(i, L):
                a, b = mixed[:, :, i], mixed[:, :, j]
                product = a.square() if i == j else a * b
                entry = (bent * C[:, :, i, j] - product / stiff).sum(1)
                entry = entry / Interval.of(float(self.classes)) + self._metric[i, j]
                lo[:, i, j] = lo[:, j, i] = entry.lo
                hi[:, i, j] = hi[:, j, i] = entry.hi
        return Interval(lo, hi)

    def out_of_domain(self, low: Array, high: Array) -> NDArray[np.bool_]:
        """Boxes without u_1 >= u_{K-1}, and those beyond the spread."""
        beyond = Interval(low, low).sum(-1).lo > self.largest_spread()
        return np.asarray((high[:, 0] < low[:, -1]) | beyond)

    # ---- points without rounding control: where to look

    def approximate_roots(self, u: Array) -> Array:
        """h_k for points u (B, K-1), by Newton steps inside a shrinking bracket."""
        own, price = self._own.middle(), float(self._price.middle())
        reach = np.repeat(abs(u).sum(1)[:, None], self.classes, 1) / price
        low, high, h = -reach, reach, np.zeros_like(reach)
        for _ in range(80):
            logs = np.zeros((*h.shape, self.classes))
            logs[..., :-1] = np.cumsum((u[:, None, :] * h[:, :, None])[..., ::-1], -1)[..., ::-1]
            masses = np.exp(logs - logs.max(-1, keepdims=True))
            masses /= masses.sum(-1, keepdims=True)
            P = np.cumsum(masses, -1)[..., :-1]
            value = (u[:, None, :] * (P - own)).sum(-1) + price * h
            # u' C u is the variance of w under the softmax: sum_i u_i [j <= i] is w_j, shifted.
            w = np.zeros((len(u), self.classes))
            w[:, :-1] = np.cumsum(u[:, ::-1], 1)[:, ::-1]
            mean = (masses * w[:, None, :]).sum(-1)
            stiff = (masses * (w[:, None, :] - mean[..., None]) ** 2).sum(-1) + price
            high, low = np.where(value > 0, h, high), np.where(value > 0, low, h)
            step = h - value / stiff
            step = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
            # What is left is enclosed: the last digits cost more steps than they save.
            done, h = np.all(abs(step - h) <= 1e-13 * (1 + abs(h))), step
            if done:
                break
        return h

    def polished(self, u: Array) -> Array:
        """A critical point near u, (K-1,), by Newton steps at the middle of the decays."""
        at = np.asarray(u, dtype=float)
        for _ in range(30):
            point = Interval.of(at[None])
            h = Interval.of(self.approximate_roots(at[None]))
            g, D = self.gradient(point, h).middle()[0], self.derivative(point, h).middle()[0]
            step = np.linalg.lstsq(D, g)[0]
            at = at - step
            if np.abs(step).max() <= 1e-14 * (1 + np.abs(at).max()):
                break
        return at

    # ---- proofs

    def without_zero(self, low: Array, high: Array) -> NDArray[np.bool_]:
        """Which boxes are proved to hold no critical point."""
        u, middle = Interval(low, high), 0.5 * low + 0.5 * high
        h_near = self.approximate_roots(middle)
        h = self.roots(u, h_near)
        proved = np.asarray(self.gradient(u, h).without_zero().any(-1))
        rest = ~proved
        if rest.any():
            u, h, middle, h_near = u[rest], h[rest], middle[rest], h_near[rest]
            at = Interval.of(middle)
            g = self.gradient(at, self.roots(at, h_near))
            D = self.derivative(u, h)
            moved = g + (D * (u - at)[:, None, :]).sum(-1)
            inverse = Interval.of(_inverses(D.middle()))
            tilted = (inverse * g[:, None, :]).sum(-1)
            slopes = (inverse[:, :, :, None] * D[:, None, :, :]).sum(2)
            solved = tilted + (slopes * (u - at)[:, None, :]).sum(-1)
            found = moved.without_zero().any(-1) | solved.without_zero().any(-1)
            proved[rest] = found
        return proved

    def jacobian(self, u: Interval, h: Interval) -> Interval:
        """Derivative of all equations in (u, h), each over K, (B, 2K-1, 2K-1), symmetric."""
        K, L = self.classes, self.classes - 1
        share = Interval.of(1.0) / Interval.of(float(K))
        _, q, C = self._slope(u, h)
        top = (h.square()[:, :, None, None] * C).sum(1) * share + self._metric
        mixed = (q + h[:, :, None] * (C * u[:, None, None, :]).sum(-1)) * share
        stiff = self._stiffness(u, C) * share
        made = np.zeros((2, len(u.lo), L + K, L + K))
        for out, t, m, s in zip(
            made, (top.lo, top.hi), (mixed.lo, mixed.hi), (stiff.lo, stiff.hi), strict=True
        ):
            out[:, :L, :L], out[:, L:, :L], out[:, :L, L:] = t, m, m.swapaxes(1, 2)
            out[:, range(L, L + K), range(L, L + K)] = s
        return Interval(made[0], made[1])

    def at_most_one(self, centre: Array, half: float) -> bool:
        """Whether the box centre +- half is proved to hold no two critical points.

        Two zeros x, y of all equations have J (x - y) = 0 for a mean J of the Jacobians between
        them. With |I - Y J| v < v for a positive v there is no singular one.
        """
        u = Interval((centre - half)[None], (centre + half)[None])
        J = self.jacobian(u, self.roots(u, self.approximate_roots(centre[None])))
        size = J.lo.shape[-1]
        slopes = (Interval.of(_inverses(J.middle()))[:, :, :, None] * J[:, None, :, :]).sum(2)
        off = (np.eye(size) - slopes)[0].magnitude()
        weights = np.ones(size)
        for _ in range(30):  # towards the Perron vector; any positive one proves
            weights = off @ weights + 1e-3 * weights.max()
            weights /= weights.max()
        return bool(np.all((Interval.of(off) * weights).sum(-1).hi < weights))

    def zero_within(self, centre: Array, half: float) -> bool:
        """Whether a critical point is proved to lie in centre +- half.

        The Krawczyk operator c - Y g(c) + (I - Y D)(u - c) maps the box into its inside.
        """
        at = Interval.of(centre[None])
        u = Interval(at.lo - half, at.hi + half)
        near = self.approximate_roots(centre[None])
        g = self.gradient(at, self.roots(at, near))
        D = self.derivative(u, self.roots(u, near))
        inverse = Interval.of(_inverses(D.middle()))
        slopes = (inverse[:, :, :, None] * D[:, None, :, :]).sum(2)
        off = np.eye(self.classes - 1) - slopes
        image = at - (inverse * g[:, None, :]).sum(-1) + (off * (u - at)[:, None, :]).sum(-1)
        return bool(np.all((image.lo > u.lo) & (image.hi < u.hi)))


def _covariance(P: Interval, Q: Interval) -> Interval:
    """P_i (1 - P_l) for i <= l, symmetric, (..., K-1, K-1)."""
    L = P.lo.shape[-1]
    i = np.arange(L)
    return P[..., np.minimum.outer(i, i)] * Q[..., np.maximum.outer(i, i)]


def _cumulative(x: Array) -> tuple[Interval, Interval]:
    """P_i and 1 - P_i (..., K-1) at exact x: shares of e_j = exp(x_j + ... + x_{K-1}), e_K = 1."""
    L = x.shape[-1]
    logs = [Interval.of(np.zeros(x.shape[:-1]))]
    for i in range(L - 1, -1, -1):
        logs.insert(0, logs[0] + x[..., i])
    top = np.max([z.hi for z in logs], axis=0)
    masses = [(z - top).exp() for z in logs]
    heads, tails = masses[:1], masses[-1:]
    for i in range(1, L):
        heads.append(heads[-1] + masses[i])
        tails.insert(0, tails[0] + masses[L - i])
    both = [(a / (a + b), b / (a + b)) for a, b in zip(heads, tails, strict=True)]
    lo = np.stack([np.stack([p.lo for p in pair]) for pair in both], axis=-1)
    hi = np.stack([np.stack([p.hi for p in pair]) for pair in both], axis=-1)
    lo, hi = np.maximum(lo, 0.0), np.minimum(hi, 1.0)
    return Interval(lo[0], hi[0]), Interval(lo[1], hi[1])


def _inverses(matrices: Array) -> Array:
    """Approximate inverses; of a singular matrix the identity, which proves nothing wrong."""
    good = abs(np.linalg.det(matrices)) > 1e-250
    safe = np.where(good[:, None, None], matrices, np.eye(matrices.shape[-1]))
    return np.asarray(np.linalg.inv(safe))


@dataclass(frozen=True)
class Cover:
    """What the search over boxes proved.

    Attributes:
        equations: whose zeros these are.
        orbits: gaps of the critical points of rank one, one of u and reversed u, (K-1,) each.
        within: half-widths of boxes around them in which a critical point is proved to be.
        alone: half-widths of boxes around them that have no second one.
        origin: the same of the box around u = 0.
        splits: the search tree in preorder: an axis where a box was halved (lower half first), -1
            where it was settled, -2 where it is left undecided.
        boxes: evaluated.
        undecided: boxes left over, as (2, m, K-1) lower and upper ends.
    """

    equations: RankOne
    orbits: tuple[Array, ...]
    within: tuple[float, ...]
    alone: tuple[float, ...]
    origin: float
    splits: tuple[int, ...]
    boxes: int
    undecided: Array

    @property
    def complete(self) -> bool:
        """Whether the orbits are proved to be all."""
        return not self.undecided.shape[1]

    def record(self) -> dict[str, Any]:
        """What the certificate claims, and the tree of boxes that proves it."""
        orbits = [
            {"gaps": u.tolist(), "within": within, "alone": alone}
            for u, within, alone in zip(self.orbits, self.within, self.alone, strict=True)
        ]
        spread = self.equations.largest_spread()
        claim = {"orbits": orbits, "origin": self.origin, "spread": spread}
        marks = {SETTLED: ".", UNDECIDED: "?"}
        return {"claim": claim, "tree": "".join(marks.get(x, str(x)) for x in self.splits)}


def prove_rank_one(
    equations: RankOne,
    known: Sequence[Array],
    *,
    smallest: float = 1e-4,
    most_boxes: int = 2_000_000,
    progress: Callable[[int, int], None] = lambda boxes, left: None,
) -> Cover:
    """Prove that the known orbits are all critical points of rank one.

    Args:
        equations: K, decays (intervals where the statement is for all of them) and smoothing.
        known: gaps u >= 0 of the known orbits, (K-1,) each, to a few digits.
        smallest: boxes of less width are left undecided.
        most_boxes: work after which all that is open is left undecided.
        progress: told the boxes evaluated and the boxes left after every round.
    """
    L = equations.classes - 1
    given = [np.asarray(u, dtype=float) for u in known]
    isolated = [_isolated(equations, u) for u in given]
    _require_distinct(given, [within for within, _ in isolated])
    centres, halves = _with_reversed(given, [half for _, half in isolated])
    origin = _alone(equations, np.zeros(L))
    tree, undecided, boxes = _search(
        equations,
        np.array([*centres, np.zeros(L)]),
        np.array([*halves, origin]),
        smallest,
        most_boxes,
        progress,
    )
    within, alone = (tuple(x) for x in zip(*isolated, strict=True)) if isolated else ((), ())
    return Cover(equations, tuple(given), within, alone, origin, tree, boxes, undecided)


def _isolated(equations: RankOne, centre: Array) -> tuple[float, float]:
    """Half-widths of a box with a critical point, and of one that has no second.

    Raises:
        InputError: none is proved to be there.
    """
    alone = _alone(equations, centre)
    tried = [share * alone for share in SHARES if alone]
    within = next((h for h in tried if equations.zero_within(centre, h)), None)
    if within is None:
        raise InputError(
            "Need a nondegenerate critical point of rank one near every given one",
            np.array2string(centre, precision=6),
            "polish it; near a bifurcation take another decay",
        )
    return within, alone


def _require_distinct(orbits: Sequence[Array], within: Sequence[float]) -> None:
    """Refuse a list in which an orbit, the origin included, stands twice.

    Raises:
        InputError: two of them are not proved to be different.
    """
    pairs = combinations(
        [*zip(orbits, within, strict=True), (0.0 * orbits[0], 0.0)] if orbits else [], 2
    )
    for (u, r), (v, s) in pairs:
        # True gaps may be negative by a radius, and sorting moves them by as much for every class.
        if min(abs(u - v).max(), abs(u - v[::-1]).max()) <= 2 * (len(u) + 1) * (r + s):
            raise InputError(
                "Need different orbits of rank one",
                f"{np.array2string(u, precision=6)} and {np.array2string(v, precision=6)}",
                "leave one out",
            )


def _alone(equations: RankOne, centre: Array) -> float:
    # Enclosures grow with the box, so what cannot be proved of one is not proved of a larger one.
    first = bisect_left(HALF_WIDTHS, True, key=lambda h: equations.at_most_one(centre, h))
    return ROOM * HALF_WIDTHS[first] if first < len(HALF_WIDTHS) else 0.0


def _with_reversed(
    centres: Sequence[Array], halves: Sequence[float]
) -> tuple[list[Array], list[float]]:
    """Orbits and their mirror images (w -> -w) where these are others."""
    made = [(u, half) for u, half in zip(centres, halves, strict=True)]
    made += [(u[::-1], half) for u, half in made if not np.array_equal(u, u[::-1])]
    return [u for u, _ in made], [half for _, half in made]


def _search(
    equations: RankOne,
    centres: Array,
    halves: Array,
    smallest: float,
    most_boxes: int,
    progress: Callable[[int, int], None],
) -> tuple[tuple[int, ...], Array, int]:
    """Halve boxes of u until each is settled; the tree in preorder, what is open, and boxes seen.

    The start holds all u >= 0 with u_1 >= u_{K-1} (else w -> -w) and a sum of at most the spread.
    """
    L, spread = equations.classes - 1, equations.largest_spread()
    low, high, nodes = np.zeros((1, L)), np.full((1, L), spread), np.array([0])
    # Node m was halved along axis[m] into child[m] and child[m] + 1.
    axis, child, count, boxes = [SETTLED], [0], 1, 0
    open_low, open_high = [], []
    while len(nodes):
        settled = equations.out_of_domain(low, high)
        for centre, half in zip(centres, halves, strict=True):
            settled |= np.all((low >= centre - half) & (high <= centre + half), axis=1)
        for start in range(0, len(nodes), BATCH):
            chosen = np.flatnonzero(~settled[start : start + BATCH]) + start
            if len(chosen):
                settled[chosen] = equations.without_zero(low[chosen], high[chosen])
                boxes += len(chosen)
        low, high, nodes = low[~settled], high[~settled], nodes[~settled]
        width = high - low
        stuck = (width.max(axis=1, initial=0) < smallest) | (boxes > most_boxes)
        for m in nodes[stuck]:
            axis[m] = UNDECIDED
        open_low.append(low[stuck])
        open_high.append(high[stuck])
        low, high, nodes, width = low[~stuck], high[~stuck], nodes[~stuck], width[~stuck]
        along = np.argmax(width, axis=1)
        for m, i in zip(nodes, along, strict=True):
            axis[m], child[m] = int(i), count
            axis += [SETTLED, SETTLED]
            child += [0, 0]
            count += 2
        rows = np.arange(len(nodes))
        middle = 0.5 * (low[rows, along] + high[rows, along])
        first, second = child_ends(low, high, rows, along, middle)
        new = np.array([child[m] for m in nodes], dtype=int)
        low = np.concatenate([low, second])
        high = np.concatenate([first, high])
        nodes = np.concatenate([new, new + 1])
        progress(boxes, len(nodes))
    order, stack = [], [0]
    while stack:
        m = stack.pop()
        order.append(axis[m])
        if axis[m] >= 0:
            stack += [child[m] + 1, child[m]]
    return tuple(order), np.stack([np.concatenate(open_low), np.concatenate(open_high)]), boxes


def child_ends(
    low: Array, high: Array, rows: NDArray[np.int_], along: NDArray[np.int_], middle: Array
) -> tuple[Array, Array]:
    """Upper ends of the lower halves, and lower ends of the upper ones."""
    first, second = high.copy(), low.copy()
    first[rows, along] = middle
    second[rows, along] = middle
    return first, second
