"""Critical points of rank one in balls: the mathematics behind ``checker.py``'s covers.

Needs python-flint and nothing else, like the checker's other files.
docs/certificates.md derives the equations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, combinations, product

from flint import arb, arb_mat

from proofs_check.checker_algebra import upper_bound

# Multiples of its expected size that the error of a root is tried at; halvings beyond the list's.
REACHES, MORE_HALVINGS = (1.1, 1.5, 2.0, 3.0, 5.0, 8.0, 20.0), 10
Shares = tuple[list[arb], list[arb], list[arb]]
Box = tuple[tuple[float, ...], tuple[float, ...]]


def square(x: arb) -> arb:
    """x^2, not below zero where x has both signs."""
    return arb(0).union(upper_bound(x) ** 2) if x.contains(0) else x * x


def times(x: arb, y: arb) -> arb:
    """x y from the ends, which is narrower than the product of balls."""
    low, high = y.lower(), y.upper()
    ends = [a * b for a in (x.lower(), x.upper()) for b in (low, high)]
    return ends[0].union(ends[1]).union(ends[2]).union(ends[3])


class Line:
    """Cross entropy or label smoothing on one feature: equations for the gaps u of the classifier.

    With classes in falling order w_1 >= ... >= w_K, u_i = w_i - w_{i+1}, P_i the softmax of w h_k
    summed up to i and q_ki = P_i - (1 - delta) [k <= i] - delta i / K: h_k(u) is the root of
    sum_i u_i q_ki + K n lambda_H h_k, and critical points are the zeros of
    g_i = sum_k h_k q_ki / K + lambda_W sum_l (min(i, l) - i l / K) u_l.
    """

    def __init__(self, K: int, n: int, decay_w: arb, decay_h: arb, delta: arb) -> None:
        self.classes, self.price = K, K * n * decay_h
        self.gaps = range(K - 1)
        self.own = [
            [(1 - delta) * (k <= i) + delta * (i + 1) / K for i in self.gaps] for k in range(K)
        ]
        self.metric = [
            [decay_w * (min(i, j) + 1 - arb((i + 1) * (j + 1)) / K) for j in self.gaps]
            for i in self.gaps
        ]
        # lambda_W |w|^2 <= log K by convexity, and w_1 - w_K <= sqrt(2) |w|.
        self.spread = arb((2 * arb(K).log() / decay_w).sqrt().upper())

    def shares(self, x: Sequence[arb]) -> tuple[list[arb], list[arb]]:
        """P and 1 - P where every x_i = u_i h_k is exact."""
        logs = [arb(0), *accumulate(reversed(x))]
        top = max(z.mid() for z in logs)
        masses = [(z - top).exp() for z in reversed(logs)]
        heads = list(accumulate(masses))
        tails = [*accumulate(reversed(masses))][-2::-1]
        return [y / heads[-1] for y in heads[:-1]], [y / heads[-1] for y in tails]

    def slope(self, u: Sequence[arb], h: arb, k: int) -> tuple[arb, Shares]:
        """sum_i u_i q_ki + price h, and P, 1 - P and q_k: P increases in every x."""
        x = [times(y, h) for y in u]
        low, high = self.shares([y.lower() for y in x]), self.shares([y.upper() for y in x])
        P, Q = ([*map(arb.union, *pair)] for pair in zip(low, high, strict=True))
        q = [p - o for p, o in zip(P, self.own[k], strict=True)]
        return sum(map(times, u, q), self.price * h), (P, Q, q)

    def spread_of(self, shares: Shares) -> list[list[arb]]:
        """Covariances P_i (1 - P_j) for i <= j."""
        P, Q, _ = shares
        half = {(i, j): times(P[i], Q[j]) for i in self.gaps for j in self.gaps if i <= j}
        return [[half[min(i, j), max(i, j)] for j in self.gaps] for i in self.gaps]

    def stiffness(self, u: Sequence[arb], C: Sequence[Sequence[arb]]) -> arb:
        """Derivative of the slope in h, at least the price: u' C u is a variance."""
        pairs = combinations(self.gaps, 2)
        mixed = sum((times(C[i][j], times(u[i], u[j])) for i, j in pairs), arb(0))
        made = sum((times(C[i][i], square(u[i])) for i in self.gaps), 2 * mixed)
        return self.price + made.max(0)

    def root(self, u: Sequence[arb], k: int) -> arb:
        """h_k over a box of u: around a root at its middle, out to where the slope has a sign."""
        near = arb(self._about([float(y.mid()) for y in u], k))
        value, shares = self.slope(u, near, k)
        most = arb((upper_bound(value) / self.price.lower()).upper())
        if self.price.is_exact() and all(y.is_exact() for y in u):
            return arb(near, most)
        step = upper_bound(value / self.stiffness(u, self.spread_of(shares)).mid())
        ends = []
        for sign in (-1, 1):
            steps = (arb((multiple * step).upper()) for multiple in REACHES)
            good = (x for x in steps if sign * self.slope(u, near + sign * x, k)[0] > 0)
            ends.append(near + sign * next(good, most))
        h = ends[0].union(ends[1])
        stiff = self.stiffness(u, self.spread_of(self.slope(u, h, k)[1]))
        return h.intersection(near - value / stiff)

    def _about(self, u: Sequence[float], k: int) -> float:
        """h_k at a point, in floats: Newton's steps, halving the bracket where they leave it."""
        price, own = float(self.price.mid()), [float(x.mid()) for x in self.own[k]]
        h, ends = 0.0, [-sum(map(abs, u)) / price, sum(map(abs, u)) / price]
        for _ in range(100):
            logs = [0.0, *accumulate(y * h for y in reversed(u))]
            masses = [math.exp(z - max(logs)) for z in reversed(logs)]
            P = [x / sum(masses) for x in accumulate(masses)]
            value = price * h + sum(y * (p - o) for y, p, o in zip(u, P, own, strict=False))
            ends[value > 0] = h
            pairs = product(self.gaps, self.gaps)
            bent = sum(u[i] * u[j] * P[min(i, j)] * (1 - P[max(i, j)]) for i, j in pairs)
            step = h - value / (price + bent)
            if abs(step - h) <= 4e-16 * (1 + abs(h)):
                break
            h = step if ends[0] < step < ends[1] else 0.5 * (ends[0] + ends[1])
        return h

    def equations(self, u: Sequence[arb], roots: Sequence[arb]) -> tuple[arb_mat, arb_mat]:
        """The equations of u and of h, each over K, over a box; and their Jacobian."""
        K, L = self.classes, self.classes - 1
        g = [sum((m * y for m, y in zip(row, u, strict=True)), arb(0)) for row in self.metric]
        J = arb_mat(L + K, L + K)
        for i in self.gaps:
            for j in self.gaps:
                J[i, j] = self.metric[i][j]
        zero = []
        for k, h in enumerate(roots):
            value, shares = self.slope(u, h, k)
            q, C = shares[2], self.spread_of(shares)
            zero.append(value / K)
            J[L + k, L + k] = self.stiffness(u, C) / K
            for i in self.gaps:
                g[i] += times(h, q[i]) / K
                turned = sum((times(c, y) for c, y in zip(C[i], u, strict=True)), arb(0))
                J[i, L + k] = J[L + k, i] = (q[i] + times(h, turned)) / K
                for j in self.gaps:
                    J[i, j] += times(square(h), C[i][j]) / K
        return arb_mat([[x] for x in g + zero]), J

    def derivative(self, J: arb_mat) -> arb_mat:
        """That of g(u): what is left of the Jacobian when the roots follow u."""
        L = self.classes - 1
        follow = [
            [
                J[i, j] - sum((J[i, k] * J[k, j] / J[k, k] for k in range(L, J.nrows())), arb(0))
                for j in self.gaps
            ]
            for i in self.gaps
        ]
        return arb_mat(follow)

    def images(self, u: Sequence[arb]) -> Iterator[tuple[list[arb], list[arb]]]:
        """Enclosures of maps over a box, and what each has to meet where g has a zero in it."""
        zero = [arb(0)] * len(self.gaps)
        over, J = self.equations(u, [self.root(u, k) for k in range(self.classes)])
        yield over.entries()[: len(zero)], zero
        at = [arb(y.mid()) for y in u]
        value, slope = self.equations(at, [self.root(at, k) for k in range(self.classes)])
        g, D = arb_mat([[x] for x in value.entries()[: len(zero)]]), self.derivative(J)
        off = arb_mat([[y - x] for x, y in zip(at, u, strict=True)])
        yield (g + D * off).entries(), zero
        near = self.derivative(slope).mid().inv().mid()
        ones = arb_mat([[arb(i == j) for j in self.gaps] for i in self.gaps])
        moved = (ones - near * D) * off - near * g
        yield [x + y for x, y in zip(at, moved.entries(), strict=True)], [*u]

    def excluded(self, box: Box, halvings: int = MORE_HALVINGS) -> bool:
        """Whether the box is proved to hold no critical point; halved where that helps."""
        low, high = box
        if high[0] < low[-1] or sum(map(arb, low), arb(0)) > self.spread:
            return True
        if self.empty(balls(box)):
            return True
        axis = max(self.gaps, key=lambda i: high[i] - low[i])
        return halvings > 0 and all(self.excluded(x, halvings - 1) for x in halves(box, axis))

    def empty(self, u: Sequence[arb]) -> bool:
        """Whether u holds no critical point: an image of it misses what it would have to meet."""
        try:
            pairs = [zip(*both, strict=True) for both in self.images(u)]
        except ZeroDivisionError:
            return False
        return any(not x.overlaps(y) for pair in pairs for x, y in pair)

    def alone(self, gaps: Sequence[float], half: float) -> bool:
        """Whether gaps +- half holds no two critical points: all Jacobians in it are regular."""
        u, at = [arb(y, half) for y in gaps], [arb(y) for y in gaps]
        slope, J = (
            self.equations(x, [self.root(x, k) for k in range(self.classes)])[1] for x in (at, u)
        )
        size = range(J.nrows())
        off = arb_mat([[arb(i == j) for j in size] for i in size]) - slope.mid().inv().mid() * J
        sizes = [[upper_bound(x) for x in row] for row in off.tolist()]
        weights = [1.0] * len(size)
        for _ in range(30):  # towards the Perron vector; any positive one proves
            rows = [zip(row, weights, strict=True) for row in sizes]
            weights = [math.fsum(float(x.mid()) * w for x, w in row) + 1e-3 for row in rows]
            weights = [w / max(weights) for w in weights]
        totals = (sum((x * w for x, w in zip(row, weights, strict=True)), arb(0)) for row in sizes)
        return all(total < w for total, w in zip(totals, weights, strict=True))

    def within(self, gaps: Sequence[float], half: float) -> bool:
        """Whether a critical point lies in gaps +- half: Krawczyk's image is inside the box."""
        (*_, (image, box)) = self.images([arb(y, half) for y in gaps])
        return all(y.contains_interior(x) for x, y in zip(image, box, strict=True))

    def near(self, box: Box) -> list[float]:
        """Where Newton's steps lead from the middle of a box."""
        gaps = [0.5 * (low + high) for low, high in zip(*box, strict=True)]
        for _ in range(20):
            (*_, (image, _)) = self.images([arb(y) for y in gaps])
            gaps = [float(x.mid()) for x in image]
        return gaps


def balls(box: Box) -> list[arb]:
    """The sides of a box."""
    return [arb(low).union(arb(high)) for low, high in zip(*box, strict=True)]


def halves(box: Box, axis: int) -> tuple[Box, Box]:
    """The lower and the upper half; the cut belongs to both."""
    low, high = box
    middle = 0.5 * (low[axis] + high[axis])
    cut = tuple((*ends[:axis], middle, *ends[axis + 1 :]) for ends in box)
    return (low, cut[1]), (cut[0], high)


def inside(box: Box, gaps: Sequence[float], half: float) -> bool:
    """Whether a box lies in gaps +- half; in balls, for a float64 sum may round towards the box."""
    ends = zip(*box, gaps, strict=True)
    return all(arb(low) >= arb(y) - half and arb(high) <= arb(y) + half for low, high, y in ends)
