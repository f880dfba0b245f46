"""Critical points of rank two of four classes: equations for the classifier, and their enclosures.

For n samples per class, cross entropy or label smoothing delta and no bias, W (4, 2) is given by
five unknowns (``rank_two_coordinates``). Features are eliminated: h_k(W) is the one root of
W' q_k + K n lambda_H h_k = 0 with q_k = softmax(W h_k) - tau_k. Then

    0 = g_i = lambda_W <W, W_i> + (1/K) sum_k <q_k, W_i h_k>,      W_i = dW/d(unknown i),

are all equations where x_1 > 0, for f does not see the turn that the choice has fixed.
Derived here: docs/certificates.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs_check.rigorous.affine import Affine, nowhere_zero, side_by_side, softmax
from proofs_check.rigorous.floats import unbounded_is_undecided
from proofs_check.rigorous.intervals import Interval, stack
from proofs_check.rigorous.rank_one import cells, inverses, largest_pull, regular
from proofs_check.rigorous.rank_two_coordinates import (
    CLASSES,
    PLACE,
    ROWS,
    SIDE,
    UNKNOWNS,
    entries,
    gaps,
)
from ufm.typing import Array

# Rounds in which the enclosures of the features are narrowed.
ROUNDS = 3
# Wider boxes are not tried to first order: there products of two errors are all that is left.
FIRST_ORDER = 0.15


@dataclass(frozen=True)
class RankTwo:
    """The equations of rank two.

    Attributes:
        lambda_w: decay of the classifier.
        lambda_h: n times the decay of the features, for n samples per class.
        smoothing: delta.
    """

    lambda_w: Interval
    lambda_h: Any
    smoothing: float = 0.0

    name = "rank two"

    # ---- constants

    @property
    def _price(self) -> Interval:
        return self.lambda_h * float(CLASSES)

    @property
    def _targets(self) -> Interval:
        """tau (K, K)."""
        delta = Interval.of(self.smoothing)
        return (1 - delta) * np.eye(CLASSES) + delta * np.full((CLASSES, CLASSES), 1 / CLASSES)

    def _square(self) -> Interval:
        """A bound of |W|^2: lambda_W |W|^2 is at most the largest pull."""
        return Interval.of(largest_pull(CLASSES, self.smoothing)) / self.lambda_w

    def start(self) -> tuple[Array, Array]:
        """The box that holds all unknowns: x_1^2 + (x_2 + x_3 + x_4)^2 / 3 <= |W|^2."""
        longest = float(np.sqrt(self._square().hi * 0.75) * (1 + 1e-6))
        return (
            np.array([0.0, -longest, -longest, 0.0, -longest / 2]),
            np.array([longest, longest, longest, longest, 0.0]),
        )

    def out_of_domain(self, low: Array, high: Array) -> NDArray[np.bool_]:
        """Boxes without a W of these coordinates, and those beyond the bound of |W|."""
        W = entries(Interval(low, high))
        squares = W.square().sum(-1)
        longer = (squares[:, 1:] - squares[:, :1]).lo > 0
        y2, y3, y4 = (W[:, j, 1] for j in (1, 2, 3))
        unsorted = (y2.hi < y3.lo) | (y3.hi < y4.lo) | (y3.lo > 0)
        beyond = squares.sum(-1).lo > self._square().hi
        return np.asarray(longer.any(-1) | unsorted | beyond)

    # ---- enclosures over boxes: W (B, 5 or 6 unknowns), h (B, K, 2)

    def _softmax(self, unknowns: Any, h: Any) -> list[Any]:
        """p_j, each (B, K), from the differences of logits."""
        apart = gaps(unknowns)
        x: list[list[Any]] = [[None] * CLASSES for _ in range(CLASSES)]
        for i in range(CLASSES):
            for j in range(i + 1, CLASSES):
                x[i][j] = (
                    apart[i][j][:, 0, None] * h[:, :, 0] + apart[i][j][:, 1, None] * h[:, :, 1]
                )
                x[j][i] = -x[i][j]
        if isinstance(h, Affine):
            return softmax(x)
        made = []
        for j in range(CLASSES):
            first, *others = (x[i][j].exp() for i in range(CLASSES) if i != j)
            made.append((sum(others, first) + 1.0).inverse())
        return made

    def _moves(self, p: list[Any]) -> tuple[list[Any], list[list[Any]]]:
        """<q, r> and C r for the three directions r of a column of W, (B, K) each."""
        tau = self._targets
        pulled, bent = [], []
        for r in range(3):
            pulled.append((p[r] - p[3]) - (tau[:, r] - tau[:, 3]))
            # C r = p * (r - <p, r>): entries p_j (r_j - p_r + p_4).
            mean = p[r] - p[3]
            bent.append([p[j] * (float(ROWS[j, r]) - mean) for j in range(CLASSES)])
        return pulled, bent

    def terms(self, unknowns: Any, h: Any) -> dict[str, Any]:
        """What gradients and derivatives are made of, (B, K) each."""
        W = entries(unknowns)
        p = self._softmax(unknowns, h)
        pulled, bent = self._moves(p)
        sides = range(unknowns.lo.shape[1])
        # F = W' q + price h, and its derivatives by h (S) and by the unknowns (mixed).
        columns = [[W[:, r, b, None] for r in range(3)] for b in range(2)]
        force = [
            sum((columns[b][r] * pulled[r] for r in range(1, 3)), columns[b][0] * pulled[0])
            + h[:, :, b] * self._price
            for b in range(2)
        ]
        # C W_b, from C r.
        image = [
            [
                columns[b][0] * bent[0][j] + columns[b][1] * bent[1][j] + columns[b][2] * bent[2][j]
                for j in range(CLASSES)
            ]
            for b in range(2)
        ]
        along = [[image[b][r] - image[b][3] for r in range(3)] for b in range(2)]  # r' C W_b
        stiff = {}
        for b, c in ((0, 0), (0, 1), (1, 1)):
            s = sum((columns[b][r] * along[c][r] for r in range(1, 3)), columns[b][0] * along[c][0])
            stiff[b, c] = s + self._price if b == c else s
            if b == c:
                stiff[b, c] = _at_least(stiff[b, c], self._price.lo)
        mixed = []
        for i in sides:
            b, r = SIDE[i], PLACE[i]
            mixed.append(
                [
                    along[c][r] * h[:, :, b] + pulled[r] if c == b else along[c][r] * h[:, :, b]
                    for c in range(2)
                ]
            )
        return {"pulled": pulled, "bent": bent, "force": force, "stiff": stiff, "mixed": mixed}

    def _solved(self, stiff: dict[tuple[int, int], Any], right: list[Any]) -> list[Any]:
        """S^-1 times a column, S = price + a positive semidefinite matrix."""
        a, b, c = stiff[0, 0], stiff[0, 1], stiff[1, 1]
        det = a * c - b.square()
        # det S >= price (tr S - price), its eigenvalues being at least the price.
        least = ((a + c - self._price) * self._price).lo
        least = np.maximum(least, self._price.square().lo)
        over = det.inverse(least) if isinstance(det, Affine) else _at_least(det, least).inverse()
        return [(c * right[0] - b * right[1]) * over, (a * right[1] - b * right[0]) * over]

    def roots(self, unknowns: Any, centre: Array, near: Array) -> Interval:
        """h_k over boxes, from approximate roots (B, K, 2) at their middles."""
        most = np.sqrt((Interval.of(largest_pull(CLASSES, self.smoothing)) / self._price).hi) * (
            1 + 1e-12
        )
        at, middle = Interval.of(near), Interval.of(centre)
        off = unknowns - middle
        there = self.terms(middle, at)["force"]
        here = self.terms(unknowns, at)
        force = []
        for b in range(2):
            moved = there[b]
            for i in range(unknowns.lo.shape[1]):
                moved = moved + here["mixed"][i][b] * off[:, i, None]
            force.append(moved.meet(here["force"][b]))
        # |h - near| <= |F| / price, whatever S is.
        reach = np.sqrt((force[0].square() + force[1].square()).hi) / self._price.lo * (1 + 1e-12)
        h = Interval(
            np.maximum(near - reach[..., None], -most), np.minimum(near + reach[..., None], most)
        )
        for _ in range(ROUNDS):
            step = self._solved(self.terms(unknowns, _hull(h, near))["stiff"], force)
            h = h.meet(at - stack(step))
        return h

    def followed(self, unknowns: Any, h: Any, centre: Array, near: Array) -> tuple[Any, Any]:
        """Unknowns and features as affine forms over boxes.

        With h' any slopes (those at the middle), h - near - h'(u - centre) = -S^-1 F there.
        """
        u = Affine.of_box(unknowns.lo, unknowns.hi)
        told = self.terms(Interval.of(centre), Interval.of(near))
        slopes = np.zeros((u.middle.shape[1], *near.shape))
        for i in range(u.middle.shape[1]):
            moved = self._solved(told["stiff"], told["mixed"][i])
            for b in range(2):
                slopes[i][..., b] = -moved[b].middle() * u.slopes[i][:, i, None]
        line = Affine(near, slopes, np.zeros(near.shape))
        force = [x.range for x in self.terms(u, line)["force"]]
        held = Interval(np.minimum(h.lo, line.lo), np.maximum(h.hi, line.hi))
        left = self._solved(self.terms(unknowns, held)["stiff"], force)
        return u, line.widened(stack(left).magnitude())

    def gradient(self, unknowns: Any, h: Any, terms: dict[str, Any] | None = None) -> Any:
        """g over boxes (B, unknowns)."""
        pulled = (terms or self.terms(unknowns, h))["pulled"]
        W, made = entries(unknowns), []
        for i in range(unknowns.lo.shape[1]):
            b, r = SIDE[i], PLACE[i]
            total = (h[:, :, b] * pulled[r]).sum(1) * (1 / CLASSES)
            made.append(total + (W[:, r, b] - W[:, 3, b]) * self.lambda_w)
        return side_by_side(made) if isinstance(unknowns, Affine) else stack(made)

    def rows(self, unknowns: Any, h: Any) -> Any:
        """lambda_W w_j + (1/K) sum_k q_kj h_k, zero at every critical point, (B, 8).

        Of five unknowns only their differences are needed; but here a share enters alone, and
        what is enclosed is narrower.
        """
        p, W, made = self._softmax(unknowns, h), entries(unknowns), []
        for j in range(CLASSES):
            for b in range(2):
                total = ((p[j] - self._targets[:, j]) * h[:, :, b]).sum(1) * (1 / CLASSES)
                made.append(total + W[:, j, b] * self.lambda_w)
        return side_by_side(made) if isinstance(unknowns, Affine) else stack(made)

    def _unbalanced(self, unknowns: Any, h: Any) -> NDArray[np.bool_]:
        """Where a row, or the balance of both factors, leaves out zero."""
        found = self.rows(unknowns, h).without_zero().any(-1)
        rest = np.flatnonzero(~found)
        found[rest] = self.balance(unknowns[rest], h[rest]).without_zero().any(-1)
        return np.asarray(found)

    def balance(self, unknowns: Any, h: Any) -> Any:
        """lambda_W W' W - n lambda_H H H', zero at every critical point, (B, 3)."""
        W, made = entries(unknowns), []
        for b, c in ((0, 0), (0, 1), (1, 1)):
            first = W[:, :, b].square() if b == c else W[:, :, 0] * W[:, :, 1]
            second = h[:, :, b].square() if b == c else h[:, :, 0] * h[:, :, 1]
            made.append(first.sum(1) * self.lambda_w - second.sum(1) * self.lambda_h)
        return side_by_side(made) if isinstance(unknowns, Affine) else stack(made)

    def derivative(self, unknowns: Any, h: Any, terms: dict[str, Any] | None = None) -> Interval:
        """What is left of the Hessian without the features, (B, unknowns, unknowns)."""
        told = terms or self.terms(unknowns, h)
        size = unknowns.lo.shape[1]
        lo, hi = np.empty((2, len(unknowns.lo), size, size))
        square: list[list[Any]] = [[None, None], [None, None]]
        square[0][0], square[1][1] = h[:, :, 0].square(), h[:, :, 1].square()
        square[0][1] = square[1][0] = h[:, :, 0] * h[:, :, 1]
        solved = [self._solved(told["stiff"], m) for m in told["mixed"]]
        covariance = {}
        for r in range(3):
            for t in range(r, 3):
                covariance[r, t] = covariance[t, r] = told["bent"][r][t] - told["bent"][r][3]
        for i in range(size):
            for j in range(i, size):
                (b, r), (c, t) = ((SIDE[k], PLACE[k]) for k in (i, j))
                m = told["mixed"][i]
                gone = m[0] * solved[j][0] + m[1] * solved[j][1]
                if i == j:  # positive: m' S^-1 m
                    gone = _at_least(gone, 0.0)
                entry = (square[b][c] * covariance[r, t] - gone).sum(1) * (1 / CLASSES)
                if b == c:
                    entry = entry + self.lambda_w * float(ROWS[:, r] @ ROWS[:, t])
                lo[:, i, j] = lo[:, j, i] = entry.lo
                hi[:, i, j] = hi[:, j, i] = entry.hi
        return Interval(lo, hi)

    # ---- points without rounding control

    def approximate_roots(self, unknowns: Array) -> Array:
        """h (B, K, 2) by damped Newton steps."""
        W = entries(Interval.of(unknowns)).lo
        price, tau = float(self._price.middle()), self._targets.middle()
        h = np.zeros((len(W), CLASSES, 2))

        def value(h: Array) -> Array:
            z = np.einsum("bjc,bkc->bkj", W, h)
            top = z.max(-1)
            log = top + np.log(np.exp(z - top[..., None]).sum(-1))
            return np.asarray(log - (tau * z).sum(-1) + 0.5 * price * (h**2).sum(-1))

        level = value(h)
        for _ in range(60):
            z = np.einsum("bjc,bkc->bkj", W, h)
            p = np.exp(z - z.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            F = np.einsum("bjc,bkj->bkc", W, p - tau) + price * h
            mean = np.einsum("bjc,bkj->bkc", W, p)
            S = np.einsum("bjc,bkj,bjd->bkcd", W, p, W) - mean[..., None] * mean[..., None, :]
            S = S + price * np.eye(2)
            step = np.linalg.solve(S, F[..., None])[..., 0]
            share = np.ones(level.shape)
            for _ in range(30):
                new = h - share[..., None] * step
                after = value(new)
                bad = after > level + 1e-14 * (1 + abs(level))
                if not bad.any():
                    break
                share = np.where(bad, 0.5 * share, share)
            h, level = new, after
            if np.abs(step).max() < 1e-12:
                break
        return h

    def at(self, unknowns: Array) -> tuple[Interval, Interval]:
        """g and D at points."""
        point, near = Interval.of(unknowns), self.approximate_roots(unknowns)
        h = self.roots(point, unknowns, near)
        return self.gradient(point, h), self.derivative(point, h)

    def polished(self, unknowns: Array) -> Array:
        """A critical point near, by Newton steps."""
        u = np.asarray(unknowns, dtype=float)
        for _ in range(30):
            g, D = (x.middle()[0] for x in self.at(u[None]))
            step = np.linalg.lstsq(D, g)[0]
            u = u - step
            if np.abs(step).max() <= 1e-14 * (1 + np.abs(u).max()):
                break
        return u

    # ---- proofs

    @unbounded_is_undecided
    def without_zero(self, low: Array, high: Array) -> NDArray[np.bool_]:
        """Which boxes are proved to hold no critical point."""
        u, middle = Interval(low, high), 0.5 * low + 0.5 * high
        near = self.approximate_roots(middle)
        h = self.roots(u, middle, near)
        proved = self._unbalanced(u, h)
        rest = np.flatnonzero(~proved & ((high - low).max(-1) <= FIRST_ORDER))
        if len(rest):
            forms = self.followed(u[rest], h[rest], middle[rest], near[rest])
            proved[rest] = self._unbalanced(*forms)
            left = np.flatnonzero(~proved[rest])
            if len(left):
                g = self.gradient(*(x[left] for x in forms))
                proved[rest[left]] = nowhere_zero(g)
        return proved

    def _around(self, centre: Array, half: float) -> Interval:
        """The hull of D over the cells of centre +- half: narrower than D over all of it."""
        low, high = cells(centre, half)
        u, middle = Interval(low, high), 0.5 * low + 0.5 * high
        near = self.approximate_roots(middle)
        forms = self.followed(u, self.roots(u, middle, near), middle, near)
        D = self.derivative(*forms)
        return Interval(D.lo.min(0), D.hi.max(0))

    @unbounded_is_undecided
    def at_most_one(self, centre: Array, half: float) -> bool:
        """Whether the box centre +- half is proved to hold no two critical points.

        Around the origin the turn is not fixed, and all six unknowns are moved.
        """
        if not np.any(centre):
            centre = np.zeros(UNKNOWNS + 1)
        return regular(self._around(centre, half))

    @unbounded_is_undecided
    def zero_within(self, centre: Array, half: float) -> bool:
        """Whether a critical point is proved to lie in centre +- half, by Krawczyk's operator."""
        g, _ = self.at(centre[None])
        D = self._around(centre, half)
        inverse = Interval.of(inverses(D.middle()[None])[0])
        slopes = (inverse[:, :, None] * D[None]).sum(1)
        reach = ((np.eye(len(centre)) - slopes) * Interval.between(-half, half)).sum(-1)
        image = reach - (inverse * g[0]).sum(-1)
        return bool(np.all((image.lo > -half) & (image.hi < half)))


def _at_least(x: Any, least: Any) -> Any:
    """Intervals with the lower ends that are known otherwise; affine forms as they are."""
    return x if isinstance(x, Affine) else Interval(np.maximum(x.lo, least), x.hi)


def _hull(h: Any, near: Array) -> Interval:
    """From the features to a point beside them: a segment between both lies inside."""
    return Interval(np.minimum(h.lo, near), np.maximum(h.hi, near))
