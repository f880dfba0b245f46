"""Critical points of rank one: equations for the gaps of the classifier, and their enclosures.

For n samples per class, cross entropy or label smoothing delta and no bias, a critical point of
rank one is (w, h) with sum_j w_j = 0; classes are relabelled so that w_1 >= ... >= w_K, and
u_i = w_i - w_{i+1} >= 0. With x_i = u_i h_k and P_i = sum_{j<=i} softmax(w h_k)_j (which increases
in every x_i), q_ki = P_i - (1 - delta) [k <= i] - delta i / K and A = min(i, l) - i l / K,

    0 = sum_i u_i q_ki + K n lambda_H h_k                      one root h_k(u) for every class,
    0 = g_i(u) = (1/K) sum_k h_k q_ki + lambda_W (A u)_i       K - 1 equations for u.

g is the gradient of min_h f, and its derivative D is a Schur complement.
Derived here: docs/certificates.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from proofs_check.rigorous.intervals import Interval
from ufm.typing import Array

# How far beyond its expected place the end of a root is looked for, in multiples; then nowhere.
REACHES = (1.1, 1.5, 3.0, 8.0, 30.0)
# Parts of a box around a critical point whose derivatives are enclosed one by one.
CELLS = 64
# s from one end of the decays to the other.
WHOLE = Interval.between(-1.0, 1.0)


@dataclass(frozen=True)
class RankOne:
    """The equations of rank one for decays that may be intervals.

    Attributes:
        classes: K.
        lambda_w: decay of the classifier.
        lambda_h: n times the decay of the features, for n samples per class. Where both are
            intervals, the statements are for the pairs on the segment from the lower ends to the
            upper ones.
        smoothing: delta.
    """

    classes: int
    lambda_w: Interval
    lambda_h: Interval
    smoothing: float = 0.0

    name = "rank one"

    # ---- constants of the equations

    @property
    def _own(self) -> Interval:
        """(1 - delta) [k <= i] + delta i / K, (K, K-1)."""
        K, delta = self.classes, Interval.of(self.smoothing)
        below = np.array([[float(k <= i) for i in range(K - 1)] for k in range(K)])
        share = Interval.of(np.arange(1.0, K)) / Interval.of(float(K))
        return (1 - delta) * below + delta * share

    @property
    def _form(self) -> Interval:
        """A, (K-1, K-1)."""
        K = self.classes
        i = np.arange(1.0, K)
        cross = Interval.of(np.outer(i, i)) / Interval.of(float(K))
        return Interval.of(np.minimum.outer(i, i)) - cross

    @property
    def _metric(self) -> Interval:
        """lambda_W A, (K-1, K-1)."""
        return self._form * self.lambda_w

    @cached_property
    def central(self) -> RankOne:
        """The equations for the decays half way from one end to the other."""
        middles = [(Interval.of(x.lo) + x.hi) * 0.5 for x in (self.lambda_w, self.lambda_h)]
        return replace(self, lambda_w=middles[0], lambda_h=middles[1])

    @property
    def _price(self) -> Interval:
        """K n lambda_H."""
        return self.lambda_h * float(self.classes)

    def largest_spread(self) -> float:
        """A bound of w_1 - w_K at every critical point: sqrt(2) |w|, see ``largest_pull``."""
        pull = largest_pull(self.classes, self.smoothing)
        ratio = Interval.of(pull) / self.lambda_w
        # A little more, which coarser roundings of another program stay below.
        return float(np.sqrt(2 * ratio.hi) * (1 + 1e-6))

    def start(self) -> tuple[Array, Array]:
        """Ends of the box that holds all gaps."""
        L = self.classes - 1
        return np.zeros(L), np.full(L, self.largest_spread())

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

    def drift(self, u: Interval, h: Interval) -> Interval:
        """dg/ds (B, K-1), where s from -1 to 1 takes both decays from one end to the other.

        At fixed u, dh_k/ds = -K n (dlambda_H/ds) h_k / (u' C u + K n lambda_H).
        """
        steps = [(Interval.of(x.hi) - x.lo) * 0.5 for x in (self.lambda_w, self.lambda_h)]
        _, q, C = self._slope(u, h)
        mixed = q + h[:, :, None] * (C * u[:, None, None, :]).sum(-1)
        moved = (mixed * (h / self._stiffness(u, C))[:, :, None]).sum(1)
        return (self._form * u[:, None, :]).sum(-1) * steps[0] - moved * steps[1]

    def at_points(self, u: Interval, near: Array) -> tuple[Interval, Interval]:
        """g at points (B, K-1), half way between the ends of the decays, and dg/ds for all of them.

        Where both ends of the decays are one, dg/ds is zero.
        """
        middle = self.central
        g = middle.gradient(u, middle.roots(u, near))
        if self.lambda_w.lo == self.lambda_w.hi and self.lambda_h.lo == self.lambda_h.hi:
            return g, Interval.of(np.zeros(g.lo.shape))
        return g, self.drift(u, self.roots(u, near))

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
            g, drift = self.at_points(at, h_near)
            D = self.derivative(u, h)
            moved = g + drift * WHOLE + (D * (u - at)[:, None, :]).sum(-1)
            inverse = Interval.of(inverses(D.middle()))
            tilted = (inverse * g[:, None, :]).sum(-1)
            tilted = tilted + (inverse * drift[:, None, :]).sum(-1) * WHOLE
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

    def _around(self, centre: Array, half: float) -> Interval:
        """The hull of D over the cells of centre +- half: narrower than D over all of it."""
        low, high = cells(centre, half)
        u = Interval(low, high)
        D = self.derivative(u, self.roots(u, self.approximate_roots(0.5 * low + 0.5 * high)))
        return Interval(D.lo.min(0), D.hi.max(0))

    def at_most_one(self, centre: Array, half: float) -> bool:
        """Whether the box centre +- half is proved to hold no two critical points.

        Two zeros u, v of g have D (u - v) = 0 for a mean D of the derivatives between them, which
        lies in their hull.
        """
        return regular(self._around(centre, half))

    def zero_within(self, centre: Array, half: float) -> bool:
        """Whether a critical point is proved to lie in centre +- half.

        The Krawczyk operator c - Y g(c) + (I - Y D)(u - c) maps the box into its inside.
        """
        at, near = Interval.of(centre[None]), self.approximate_roots(centre[None])
        D = self._around(centre, half)
        inverse = Interval.of(inverses(D.middle()[None])[0])
        slopes = (inverse[:, :, None] * D[None]).sum(1)
        g, drift = (x[0] for x in self.at_points(at, near))
        tilted = (inverse * g).sum(-1) + (inverse * drift).sum(-1) * WHOLE
        reach = ((np.eye(self.classes - 1) - slopes) * Interval.between(-half, half)).sum(-1)
        image = reach - tilted
        return bool(np.all((image.lo > -half) & (image.hi < half)))


def largest_pull(classes: int, smoothing: float) -> float:
    """An upper bound of <tau - p(z), z> over all logits z of a sample.

    For delta = 0 it is sum_j p_j (z_k - z_j). Where that is largest, every gap z_k - z_j of a class
    with p_j > 0 is 1 + S, S the sum itself, hence S e^S = (K - 1) / e; and <1/K - p, z> <= 0, so
    the factor 1 - delta remains. At a critical point lambda_W |w|^2 = -<G, Z> is the mean of it
    over the classes. Derived here.

    Example:
        >>> round(largest_pull(3, 0.0), 6), round(largest_pull(3, 0.5), 6)
        (0.463056, 0.231528)
    """
    root = float(lambertw((classes - 1) / np.e).real) * (1 + 1e-12)
    told = Interval.of(root)
    while (told * (told + 1.0).exp()).lo < classes - 1:
        root *= 1 + 1e-12
        told = Interval.of(root)
    return float((told * (1.0 - Interval.of(smoothing))).hi)


def regular(matrix: Interval) -> bool:
    """Whether no matrix M in an interval matrix (m, m) is singular: |I - Y M| x < x, an x > 0.

    Example:
        >>> regular(Interval.between(np.eye(2) - 0.4, np.eye(2) + 0.4))
        True
        >>> regular(Interval.between(np.eye(2) - 0.6, np.eye(2) + 0.6))
        False
    """
    size = len(matrix.lo)
    inverse = Interval.of(inverses(matrix.middle()[None])[0])
    off = (np.eye(size) - (inverse[:, :, None] * matrix[None]).sum(1)).magnitude()
    weights = np.ones(size)
    for _ in range(30):  # towards the Perron vector; any positive one proves
        weights = off @ weights + 1e-3 * weights.max()
        weights /= weights.max()
    return bool(np.all((Interval.of(off) * weights).sum(-1).hi < weights))


def cells(centre: Array, half: float) -> tuple[Array, Array]:
    """Lower and upper ends (cells, K-1) of equal parts of the box centre +- half.

    Example:
        >>> low, high = cells(np.zeros(2), 1.0)
        >>> low.shape, float(low.min()), float(high.max())
        ((64, 2), -1.0, 1.0)
    """
    parts = round(CELLS ** (1 / len(centre)))
    cuts = np.linspace(-half, half, parts + 1)[None] + centre[:, None]
    cuts[:, 0], cuts[:, -1] = centre - half, centre + half
    low, high = ([*np.meshgrid(*x, indexing="ij")] for x in (cuts[:, :-1], cuts[:, 1:]))
    return np.stack(low, -1).reshape(-1, len(centre)), np.stack(high, -1).reshape(-1, len(centre))


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


def inverses(matrices: Array) -> Array:
    """Approximate inverses; of a singular matrix the identity, which proves nothing wrong."""
    good = abs(np.linalg.det(matrices)) > 1e-250
    safe = np.where(good[:, None, None], matrices, np.eye(matrices.shape[-1]))
    return np.asarray(np.linalg.inv(safe))
