"""The simplex of neural collapse for any number of classes: scale, value and whole spectrum.

Cross entropy, label smoothing and focal loss, without a bias, equal classes (docs/theory.md, 7.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import flint

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import BITS, precision
from proofs_check.rigorous.scalar import (
    Function,
    checked,
    decays,
    derivative,
    number,
    roots,
    sign,
    smoothed,
)
from ufm.errors import InputError, require_count


class Level(NamedTuple):
    """An eigenvalue in a ball, how often it occurs, and the block that it belongs to."""

    value: Any
    multiplicity: int
    block: str


@dataclass(frozen=True)
class Simplex:
    """The best simplex: what it is and the spectrum of the Hessian there, all in balls.

    Attributes:
        gap: own logit minus any other.
        value: the objective.
        theta, ratio: theta and R of docs/theory.md, section 7.
        levels: all eigenvalues, with multiplicities that add up to K d + d N.
    """

    gap: Any
    value: Any
    theta: Any
    ratio: Any
    levels: tuple[Level, ...]

    def inertia(self) -> tuple[int, int, int]:
        """How many eigenvalues are negative, zero and positive, all proved.

        Raises:
            Undecided: a ball that holds zero and other numbers.
        """
        counts = {-1: 0, 0: 0, 1: 0}
        for value, multiplicity, block in self.levels:
            told = sign(value)
            if not told and not value.is_zero():
                raise Undecided(f"the sign of an eigenvalue is not decided: {block}")
            counts[told] += multiplicity
        return counts[-1], counts[0], counts[1]


def loss_curve(num_classes: int, *, smoothing: Any = 0, gamma: Any = 0) -> Function:
    """psi(a): the loss at the logits a (e_k - 1/K), one formula for three losses.

    psi(a) = -(1 - u)^gamma log u + delta (K - 1)/K a with u = 1/(1 + (K - 1) exp(-a)).

    Example:
        >>> import math
        >>> abs(float(loss_curve(5)(number(0))) - math.log(5)) < 1e-15
        True
    """
    K, delta, power = num_classes, number(smoothing), number(gamma)

    def psi(a: Any) -> Any:
        rest = (-a).exp() * (K - 1)
        told = (1 + rest).log()
        if not power.is_zero():
            told = told * ((rest / (1 + rest)).log() * power).exp()
        return told if delta.is_zero() else told + a * delta * (K - 1) / K

    return psi


def simplex(
    num_classes: int,
    d: int,
    n: int = 1,
    *,
    lambda_W: Any,
    lambda_H: Any,
    smoothing: Any = 0,
    gamma: Any = 0,
    bits: int = BITS,
) -> Simplex:
    """The best simplex of a balanced model without bias, with its spectrum.

    The scale is a root of psi'(a) + c (K - 1)/K, c = K sqrt(n lambda_W lambda_H); all roots with
    a > 0 are isolated, and the one of the lowest value is proved to be lower than the others and
    than the origin. The cost does not depend on K, d or n.

    Args:
        num_classes: K >= 2.
        d: at least K - 1.
        n: samples of each class.
        lambda_W: decay of the classifier: a float, a decimal as text, a fraction.
        lambda_H: decay of the features.
        smoothing: delta of label smoothing, in [0, 1).
        gamma: of focal loss, with smoothing 0.
        bits: inside, at least.

    Raises:
        InputError: d < K - 1, both smoothing and gamma, a number out of its domain, or decays at
            which the origin is the best.
        Undecided: the best of the roots and the origin is not decided.

    Source: derived here (docs/theory.md, 7.1).

    Example:
        >>> told = simplex(1000, 2048, 1281, lambda_W="5e-6", lambda_H="5e-6")
        >>> told.gap.str(20, radius=False), sum(x.multiplicity for x in told.levels)
        ('8.4314147040558207755', 2625536000)
        >>> told.inertia()  # no other flat direction than the rotations
        (0, 1546452, 2623989548)
    """
    K = require_count(num_classes, "K", 2, "a simplex needs two classes")
    n = require_count(n, "n", 1, "samples of each class")
    d = require_count(d, "d", K - 1, "the simplex has rank K - 1")
    with precision(bits):
        (lw, lh), delta = decays(lambda_W, lambda_H), smoothed(smoothing)
        power = checked(gamma, "gamma >= 0", lambda x: bool(x >= 0))
        if not (delta.is_zero() or power.is_zero()):
            raise InputError("Give smoothing or gamma, not both", (smoothing, gamma), "drop one")
        psi = loss_curve(K, smoothing=delta, gamma=power)
        c = K * (n * lw * lh).sqrt()
        gap, value = best_gap(psi, K, c, power)
        rest = (-gap).exp() * (K - 1)
        theta = gap * (c + delta) / (K * c)
        # psi'' = (K - 1)/K s1 along e_k - 1/K, and s2 = (c + delta)/K for all three losses.
        curvature = derivative(psi, 2)(gap) * K / (K - 1)
        ratio = curvature * K / (c + delta)
        if power.is_zero():
            ratio = K / (1 + rest)  # R = K p, the same with fewer roundings
        levels = tuple(level for level in _levels(K, d, n, lw, lh, theta, ratio) if level[1])
        return Simplex(gap, value, theta, ratio, levels)


def best_gap(psi: Function, num_classes: int, c: Any, gamma: Any) -> tuple[Any, Any]:
    """The gap a > 0 that minimises psi(a) + c (K - 1)/K a, and the minimum.

    Beyond the interval that is searched |psi'| <= (1 + gamma) (K - 1) exp(-a) < c (K - 1)/K.

    Raises:
        InputError: none is better than zero.
        Undecided: no gap is proved to be better than all others and than zero.
    """
    K = num_classes
    price = c * (K - 1) / K
    slope = derivative(psi, 1)
    top = ((1 + gamma) * K / c + 1).log() + 1
    found = [(a, psi(a) + price * a) for a in roots(lambda a: slope(a) + price, 0, top)]
    if all(value > psi(number(0)) for _, value in found):
        rule = "A simplex needs decays at which it lies below the origin"
        raise InputError(rule, f"c = {float(c):.6g}", "use smaller decays")
    for a, value in found:
        rivals = [other for b, other in found if b is not a] + [psi(number(0))]
        if all(value < other for other in rivals):
            return a, value
    raise Undecided(f"no simplex is proved to be best, {len(found)} gaps and the origin compared")


def _levels(K: int, d: int, n: int, lw: Any, lh: Any, theta: Any, R: Any) -> Iterator[Level]:
    """The table of 7.1."""
    zero, spare = flint.arb(0), d - K + 1
    yield Level(lh, K * (n - 1) * spare, "within class, outside the row space")
    yield Level(lh * (1 + theta), K * (n - 1) * (K - 2), "within class, across the own direction")
    yield Level(lh * (1 + R * theta), K * (n - 1), "within class, along the own direction")
    yield Level(zero, (K - 1) * spare, "rotation into the complement")
    yield Level(lw + lh, (K - 1) * spare, "its partner")
    yield Level(lw, spare, "common shift of the classifiers, outside")
    yield Level(lh, spare, "common shift of the means, outside")
    yield Level(lw, K - 1, "common shift of the classifiers, inside")
    for value in pair(lw, lh, R * theta):
        yield Level(value, 1, "norms")
    turns = (K - 1) * (K - 2) // 2
    yield Level(zero, turns, "rotation inside the frame")
    yield Level((lw + lh) * (1 + theta), turns, "its partner")
    for value in pair(lw, lh, theta):
        yield Level(value, K * (K - 3) // 2 if K > 3 else 0, "angles")
    for value in _unequal(K, lw, lh, theta, (R - 1) / (K - 1)):
        yield Level(value, K - 1, "unequal norms and common shift of the features")


def pair(lw: Any, lh: Any, strength: Any) -> tuple[Any, Any]:
    """The roots of x^2 - (lw + lh)(1 + s) x + 4 s lw lh, the smaller one without cancellation."""
    total, product = (lw + lh) * (1 + strength), 4 * strength * lw * lh
    # total^2 - 4 product = ((lw - lh)(1 + s))^2 + 4 lw lh (1 - s)^2, which is not negative.
    unlike, apart = (lw - lh) * (1 + strength), 1 - strength
    # Products, not powers: python-flint gives no power of a ball that holds zero.
    square = unlike * unlike + 4 * lw * lh * apart * apart
    large = (total + square.nonnegative_part().sqrt()) / 2
    return product / large, large


def _unequal(K: int, lw: Any, lh: Any, theta: Any, q: Any) -> list[Any]:
    """Eigenvalues of B_3, or its last entry where K = 2."""
    g22 = 1 + q
    if K == 2:
        return [lh * (1 + g22 * theta)]
    g11, g12 = 1 + q * (K - 2), q * flint.arb(K - 2).sqrt()
    G = [
        [1 + g11 * theta, g11 * theta - 1, g12 * theta],
        [g11 * theta - 1, 1 + g11 * theta, g12 * theta],
        [g12 * theta, g12 * theta, 1 + g22 * theta],
    ]
    scale = [lw.sqrt(), lh.sqrt(), lh.sqrt()]
    return symmetric_eigenvalues(
        [[G[i][j] * scale[i] * scale[j] for j in range(3)] for i in range(3)]
    )


def symmetric_eigenvalues(rows: list[list[Any]]) -> list[Any]:
    """Balls that hold one eigenvalue each of every symmetric matrix in a matrix of balls.

    Raises:
        Undecided: eigenvalues that are not told apart.

    Example:
        >>> rows = [[number(2), number(1)], [number(1), number(2)]]
        >>> [round(float(x), 12) for x in symmetric_eigenvalues(rows)]
        [1.0, 3.0]
    """
    matrix = flint.acb_mat(len(rows), len(rows), [flint.acb(x) for row in rows for x in row])
    try:
        return sorted((x.real for x in matrix.eig()), key=float)
    except ValueError as error:
        raise Undecided("eigenvalues are not told apart") from error
