"""Where depth makes collapse lose: the decay at which classes in pairs reach the simplex.

Deep linear networks, cross entropy, equal classes (docs/theory.md, DL-1 and DL-4).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flint
from scipy.optimize import brentq

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import BITS, precision
from proofs_check.rigorous.scalar import GUARD, derivative, followed, number, roots
from ufm.errors import InputError, require_count


class Crossing(NamedTuple):
    """A decay at which two families of points have one value, in balls.

    Attributes:
        decay: geometric mean of the decays of all factors.
        value: the objective of both.
        simplex, pairs: their scales a.
    """

    decay: Any
    value: Any
    simplex: Any
    pairs: Any


class _Family:
    """Multiples a of one matrix of logits, alike for all classes: f = psi(a) + decay q a^(2/L)."""

    def __init__(self, factors: int, n: int, falls: list[tuple[int, int]], rank: int, size: int):
        # psi(a) = log(1 + sum of times e^(-fall a)); rank singular values size sqrt(n) a.
        self.power = flint.arb(2) / factors
        self.falls = falls
        self.weight = (size * flint.arb(n).sqrt()) ** self.power * rank * factors / 2

    def psi(self, a: Any) -> Any:
        return sum(((a * -fall).exp() * times for fall, times in self.falls), a * 0 + 1).log()

    def slope(self, decay: Any) -> Any:
        """f'(a) a^(1 - 2/L): it vanishes at the critical scales."""
        drop = derivative(self.psi, 1)
        return lambda a: (
            drop(a) * (a.log() * (1 - self.power)).exp() + (decay * self.weight * self.power)
        )

    def scale(self, decay: Any) -> Any:
        """The scale that is a local minimum, for every decay in a ball.

        There is one at most: slope is a constant minus a^(1 - 2/L) (-psi'(a)), which rises and then
        falls, since a (-log(-psi'))' increases (for the simplex it is a u; for four classes in
        pairs a/(1 + e^-a)).
        """
        slope = self.slope(decay.mid())
        high = 64.0
        while slope(number(high)) > 0:
            high *= 0.95
            if high < 1e-3:
                raise Undecided("no multiple is critical: the decay is too large")
        near = brentq(lambda a: float(slope(number(a))), high, high / 0.95, xtol=1e-14)
        ball = followed(self.slope(decay), near)
        if not derivative(self.slope(decay), 1)(ball) > 0:
            raise Undecided("a critical scale is not proved to be a minimum")
        return ball

    def best(self, decay: Any) -> tuple[Any, Any, Any]:
        """Value, its slope in the decay, and scale of the local minimum."""
        a = self.scale(decay)
        price = (a.log() * self.power).exp() * self.weight
        return self.psi(a) + decay * price, price, a

    def require_best(self, decay: Any, scale: Any, value: Any) -> None:
        """Prove that a critical scale minimises f over all a >= 0.

        |psi'| <= sum of fall times e^(-fall a), so f rises for a beyond top; |psi'| <= the largest
        fall everywhere, so it rises up to the scale where the price is as steep.
        """
        slope = self.slope(decay)
        steepest = max(fall for fall, _ in self.falls)
        steep = decay * self.weight * self.power
        low = ((steep / steepest).log() / (1 - self.power)).exp()
        count = sum(fall * times for fall, times in self.falls)
        top = flint.arb(2)
        while not count * (-top).exp() * (top.log() * (1 - self.power)).exp() < steep:
            top = 2 * top
        critical = roots(slope, low / 2, top)
        if len(critical) != 2 or not critical[1].overlaps(scale):
            raise Undecided("critical scales are not those of a barrier and a minimum")
        if not value < self.psi(flint.arb(0)):
            raise Undecided("zero is not proved to be higher")


def pairs_crossing(
    num_classes: int,
    matrices: int,
    n: int = 1,
    *,
    low: Any = "0.001",
    high: Any = "0.03",
    bits: int = BITS,
) -> Crossing | None:
    """The decay at which the best points with classes in pairs reach the best simplex.

    Proved: between low and high it is the only one, pairs are lower above it and the simplex
    below, and at it both are the global minima over multiples of their logits. So above it
    collapse is not optimal. None: pairs are lower all the way.

    Args:
        num_classes: K, even.
        matrices: M >= 2 weight matrices on free features, M + 1 factors.
        n: samples of each class.
        low: a decay, the geometric mean over all factors, from which it is looked for.
        high: the decay up to which it is looked for.
        bits: inside.

    Raises:
        InputError: an odd number of classes.
        Undecided: more than one crossing, the simplex lower at the end, or scales that cannot be
            followed.

    Source: derived here, after Garrod & Keating (2024) (docs/theory.md, DL-4).

    Example:
        >>> pairs_crossing(4, 2).decay.str(21, radius=False)
        '0.0117604980792883941771'
        >>> pairs_crossing(6, 2) is None
        True
    """
    K = require_count(num_classes, "K", 4, "two pairs at least")
    M = require_count(matrices, "weight matrices", 2, "depth is what makes the difference")
    if K % 2:
        raise InputError("Need an even number of classes", K, "an odd one is left over")
    with precision(bits):
        families = (
            _Family(M + 1, n, [(1, K - 1)], K - 1, 1),
            _Family(M + 1, n, [(2, 1), (1, K - 2)], K // 2, 2),
        )

        def lead(decay: Any) -> Any:
            """Simplex minus pairs; the slope is that of the prices (envelope theorem)."""
            ball = decay if isinstance(decay, flint.arb) else decay[0]
            try:
                (one, steep_one, _), (other, steep_other, _) = (x.best(ball) for x in families)
            except Undecided:  # scales that are not followed over so wide a ball
                one = other = steep_one = steep_other = flint.arb.nan()
            if isinstance(decay, flint.arb):
                return one - other
            return flint.arb_series([one - other, steep_one - steep_other], 2)

        if not lead(number(high)) > 0:
            raise Undecided("pairs are not proved to be lower at the upper end")
        # Narrower than the scales that are looked for at it afterwards.
        found = roots(lead, low, high, bits=bits + GUARD)
        if not found:
            return None
        if len(found) > 1:
            raise Undecided(f"{len(found)} crossings")
        (value, _, a), (other, _, b) = (x.best(found[0]) for x in families)
        for family, scale in zip(families, (a, b), strict=True):
            family.require_best(found[0], scale, value)
        return Crossing(found[0], value.intersection(other), a, b)
