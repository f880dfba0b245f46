"""Distances to the global minimisers in balls: the convex problem behind a plain model.

Needs python-flint and nothing else, like the checker's other files. docs/certificates.md, "Distance
to the global minimiser", has the proofs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flint import arb, arb_mat

from proofs_check.checker_algebra import (
    Undecided,
    identity,
    negative_eigenvalues,
    nonsingular,
    size,
    upper_bound,
)

Bounds = tuple[arb, arb, arb, arb]


@dataclass(frozen=True)
class Convex:
    """min g(W H + b 1') + lambda_W |W|^2 / 2 + lambda_H |H|^2 / 2 + lambda_b |b|^2 / 2 at a point.

    Attributes:
        classes: K.
        invariant: whether the loss is the same after a shift of all logits.
        factors: H, W and the bias, where there is one.
        samples: loss, gradient and Hessian in the logits of every sample.
        decays: lambda_H, lambda_W and lambda_b.
        value: the objective.
    """

    classes: int
    invariant: bool
    factors: Sequence[arb_mat]
    samples: Sequence[Any]
    decays: Sequence[arb]
    value: arb

    def _ones(self) -> arb_mat:
        K = self.classes
        return arb_mat([[arb(int(self.invariant))] * K] * K)

    def curved(self, least: arb) -> bool:
        """Whether all logit Hessians are above a number, across the shift."""
        moved = self._ones() - identity(self.classes) * least
        return not any(negative_eigenvalues(arb_mat(S) + moved) for _, _, S in self.samples)

    def beside(self, box: Sequence[arb_mat], drift: arb) -> Bounds:
        """Bounds of a critical point in a box whose rank is full: it is a global minimiser."""
        H, W = self.factors[:2]
        if W.ncols() < self.classes - self.invariant:
            raise Undecided("the rank is below that of a minimiser")
        if not nonsingular(box[1] * box[1].transpose() + self._ones()):
            raise Undecided("the rank is not proved to be full")
        off_H, off_W = size(box[0] - H), size(box[1] - W)
        off = size(W) * off_H + size(H) * off_W + off_H * off_W
        if len(box) > 2:
            off += size(box[2] - self.factors[2]) * arb(len(self.samples)).sqrt()
        gram_W, gram_H = (2 * size(x) * y + y * y for x, y in ((W, off_W), (H, off_H)))
        return drift, upper_bound(off), upper_bound(gram_W), upper_bound(gram_H)

    def by_gap(self, curvature: arb, logits: arb) -> Bounds:
        """Bounds from the duality gap, where the claimed distance of the logits is one."""
        (H, W), N = self.factors[:2], len(self.samples)
        if W.ncols() < self.classes - self.invariant:
            raise Undecided("in so few dimensions the minimum may lie above the convex one")
        gap = upper_bound(self.value - self.dual_bound())
        share = N * gap / curvature
        if self.invariant:
            a = arb(2).sqrt() * logits
            enough = 1 - (1 + a) * (-a).exp() >= 2 * share
        else:
            enough = logits * logits >= 2 * share
        if not enough:
            raise Undecided(f"the logits are not proved to lie within {float(logits):.6g}")
        off = logits
        if len(self.factors) > 2:
            off += (2 * N * gap / self.decays[2]).sqrt()
        if self.invariant:  # the columns of a minimiser sum to zero
            sums = arb_mat([[arb(1)] * self.classes]) * (W * H)
            off += size(sums) / arb(self.classes).sqrt()
        lh, lw = self.decays[:2]
        root = arb(2).sqrt() * off
        gram_W = size(W) * (2 * gap / lw).sqrt() + (lh / lw).sqrt() * root
        gram_H = size(H) * (2 * gap / lh).sqrt() + (lw / lh).sqrt() * root
        return gap, logits, upper_bound(gram_W), upper_bound(gram_H)

    def dual_bound(self) -> arb:
        """A number below the global minimum, by Fenchel's equality and L >= 0."""
        N, K = len(self.samples), self.classes
        biased = len(self.factors) > 2
        if biased and not self.decays[2] > 0:
            raise Undecided("an unregularised bias needs the conjugate of the loss")
        Z = self.factors[1] * self.factors[0]
        G = arb_mat([[self.samples[i][1][k] / N for i in range(N)] for k in range(K)])
        scale = self._scale(G)
        total = arb(0)
        for i, (loss, slope, _) in enumerate(self.samples):
            for k in range(K):
                z = Z[k, i] + (self.factors[2][k, 0] if biased else 0)
                loss -= slope[k] * z
            total += loss / N
        bound = scale * total
        if biased:
            pull = sum((sum(row, arb(0)) ** 2 for row in G.tolist()), arb(0))
            bound -= scale * scale * pull / (2 * self.decays[2])
        return bound

    def _scale(self, G: arb_mat) -> arb:
        """t <= 1 with t |G|_2 <= sigma: where (sigma / t)^2 I - G G' is positive definite."""
        square, gram = self.decays[0] * self.decays[1], G * G.transpose()

        def wide(exponent: float) -> arb:
            return 1 + arb(2) ** arb(exponent)

        def enough(exponent: float) -> bool:
            top = identity(self.classes) * (square * wide(exponent) ** 2)
            try:
                return not negative_eigenvalues(top - gram)
            except Undecided:
                return False

        # By halving the logarithm of 1 / t - 1: what is not enough leaves the scale too small only.
        low, high = -100.0, 1 + math.log2(1 + float(size(G) / square.sqrt()))
        for _ in range(45):
            middle = (low + high) / 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return 1 / wide(high) if enough(high) else arb(0)
