"""Explicit saddles of any size, enclosed: classes merged in groups, and polygons.

Cross entropy, equal classes, no bias (docs/theory.md, CE-6 and CE-7); groups with smoothing, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flint

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import BITS, precision
from proofs_check.rigorous.scalar import checked, decays, root, sign, smoothed
from proofs_check.rigorous.simplex import Level, best_gap, loss_curve
from ufm.errors import InputError, require_count

# K^2 products: ten seconds.
MOST_VERTICES = 2000


@dataclass(frozen=True)
class Saddle:
    """An explicit critical point, in balls.

    Attributes:
        scale: gap of the groups, or the amplitude of the polygon.
        value: the objective.
        levels: the eigenvalues named in the theorem, with multiplicities.
        index: how many of them are negative, proved.
    """

    scale: Any
    value: Any
    levels: tuple[Level, ...]
    index: int


def _saddle(scale: Any, value: Any, levels: tuple[Level, ...]) -> Saddle:
    signs = [sign(level.value) for level in levels]
    if not all(signs):
        raise Undecided("the sign of an eigenvalue is not decided: a bifurcation, or nearly so")
    index = sum(level.multiplicity for level, told in zip(levels, signs, strict=True) if told < 0)
    return Saddle(scale, value, tuple(level for level in levels if level.multiplicity), index)


def merged_saddle(
    num_classes: int,
    groups: int,
    d: int,
    n: int = 1,
    *,
    lambda_W: Any,
    lambda_H: Any,
    smoothing: Any = 0,
    bits: int = BITS,
) -> Saddle:
    """The saddle of classes merged in equal groups: gap, value and all its negative eigenvalues.

    Args:
        num_classes: K, a multiple of the number of groups and greater.
        groups: Gamma >= 2.
        d: at least Gamma - 1.
        n: samples of each class.
        lambda_W: decay of the classifier.
        lambda_H: decay of the features.
        smoothing: delta of label smoothing.
        bits: inside.

    Raises:
        InputError: groups that are not equal, d < Gamma - 1, or no such point (c >= 1 - delta).
        Undecided: an eigenvalue whose sign is not decided.

    Source: derived here (docs/theory.md, CE-6).

    Example:
        >>> told = merged_saddle(6, 3, 3, lambda_W="0.01", lambda_H="0.01")
        >>> told.index, [level.multiplicity for level in told.levels]
        (9, [3, 3, 3, 3, 3, 3])
    """
    G = require_count(groups, "groups", 2, "two groups at least")
    d = require_count(d, "d", G - 1, "the groups are a simplex of rank Gamma - 1")
    K = require_count(num_classes, "K", 2 * G, "merge two classes at least")
    if K % G:
        raise InputError("Need groups of one size", f"{K} classes in {G}", "use a divisor of K")
    with precision(bits):
        (lw, lh), delta = decays(lambda_W, lambda_H), smoothed(smoothing)
        c = K * (n * lw * lh).sqrt()
        curve = loss_curve(G, smoothing=delta)
        beta, value = best_gap(curve, G, c, flint.arb(0))
        other = 1 / (beta.exp() + G - 1)
        own = beta.exp() * other
        pull = (1 - delta) / (K * flint.arb(n).sqrt())
        # beta sqrt(n lh / lw) / N and beta sqrt(n lw / lh) / N
        w2 = beta * (n * lh / lw).sqrt() / (n * K)
        h2 = beta * (n * lw / lh).sqrt() / (n * K)
        along = other + (own - other) * (G - 1) / G
        blocks = (
            (lw, lh, (K - G) * (d - G + 1), "within groups, outside the row space"),
            (lw + h2 * other, lh + w2 * other, (K - G) * (G - 2), "within groups, across"),
            (lw + h2 * along, lh + w2 * G * own * other, K - G, "within groups, along"),
        )
        levels = tuple(
            Level(end, times, block) for p, q, times, block in blocks for end in _ends(p, q, pull)
        )
        return _saddle(beta, value + flint.arb(K // G).log(), levels)


def _ends(p: Any, q: Any, pull: Any) -> tuple[Any, Any]:
    """Eigenvalues of [[p, -pull], [-pull, q]]."""
    apart, square = p - q, pull * pull
    large = (p + q + (apart * apart + 4 * square).sqrt()) / 2
    return (p * q - square) / large, large


def polygon_saddle(
    num_classes: int, d: int, n: int = 1, *, lambda_W: Any, lambda_H: Any, bits: int = BITS
) -> Saddle:
    """The polygon of rank two: amplitude, value, and the eigenvalues outside its plane.

    Args:
        num_classes: K >= 3.
        d: at least 2.
        n: samples of each class.
        lambda_W: decay of the classifier.
        lambda_H: decay of the features.
        bits: inside.

    Returns:
        The point; ``index`` counts outside the plane only, (K - 3)(d - 2).

    Raises:
        InputError: c >= 1, where there is no polygon, or more than MOST_VERTICES.
        Undecided: a sign that is not decided.

    Source: derived here (docs/theory.md, CE-7).

    Example:
        >>> told = polygon_saddle(5, 4, lambda_W="0.02", lambda_H="0.02")
        >>> told.value.str(18, radius=False), told.index
        ('0.516256458462980839', 4)
    """
    K = require_count(num_classes, "K", 3, "a polygon needs three vertices")
    d = require_count(d, "d", 2, "a polygon needs a plane")
    if K > MOST_VERTICES:
        rule = f"Need K <= {MOST_VERTICES}: every eigenvalue is a sum over the vertices"
        raise InputError(rule, K, "use fewer classes")
    with precision(bits):
        lw, lh = decays(lambda_W, lambda_H)
        sigma = (lw * lh).sqrt()
        c = K * sigma * flint.arb(n).sqrt()
        checked(c, "c = K sqrt(n lambda_W lambda_H) < 1 for a polygon", lambda x: bool(x < 1))
        cosines = [flint.arb.cos_pi(flint.arb(2 * j) / K) for j in range(K)]

        def loss(a: Any) -> Any:
            """log sum_j exp(a (cos(2 pi j/K) - 1))."""
            return sum(((a * (x - 1)).exp() for x in cosines[1:]), a * 0 + 1).log()

        def slope(a: Any) -> Any:
            weights = [(a * (x - 1)).exp() for x in cosines]
            total = sum(weights[1:], weights[0])
            away = [w * (x - 1) for w, x in zip(weights[1:], cosines[1:], strict=True)]
            return sum(away[1:], away[0]) / total + c

        top = flint.arb(1)
        while sign(slope(top)) != 1:
            if top > 1e9:
                raise Undecided("no polygon was found: c is too small")
            top = 2 * top
        a = root(slope, 0, top)
        weights = [(a * (x - 1)).exp() for x in cosines]
        total = sum(weights[1:], weights[0])
        levels: list[Level] = []
        for m in range(2, K - 1):
            fourier = sum((w * cosines[j * m % K] for j, w in enumerate(weights)), flint.arb(0))
            pull = sigma * (1 - fourier / total) / c
            levels += (Level(x, d - 2, f"Fourier mode {m}") for x in _ends(lw, lh, pull))
        return _saddle(a, loss(a) + c * a, tuple(levels))
