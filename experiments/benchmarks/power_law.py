"""What a cost grows like: the exponent of a power law through measured costs, with its interval.

A call has a price of its own, whatever its size, so what is fitted is cost = a + b x^p with a and b
not negative, by least squares of relative errors. Where theory says that nothing grows, a and b x^0
are the same thing, and the line through the logarithms is fitted instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as fisher
from scipy.stats import linregress
from scipy.stats import t as student

from ufm.errors import InputError

# Sizes that a law needs: three numbers are fitted, and their interval needs more than one left.
LEAST = 5
# Exponents that are tried, and how finely.
LARGEST, STEP = 6.0, 0.01
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerLaw:
    """cost = constant + factor x^exponent.

    Attributes:
        exponent: the slope on logarithmic axes, once the constant is taken off.
        low, high: its interval of 95 %.
        constant: what a call costs at any size.
        factor: of the power.
        spread: root mean square of the relative errors.
    """

    exponent: float
    low: float
    high: float
    constant: float
    factor: float
    spread: float

    def __call__(self, sizes: Any) -> NDArray[np.float64]:
        """The costs at these sizes."""
        x = np.asarray(sizes, dtype=np.float64)
        found: NDArray[np.float64] = self.constant + self.factor * x**self.exponent
        return found

    def agrees(self, exponent: float) -> bool:
        """Whether the interval has this exponent."""
        return self.low <= exponent <= self.high


def fitted(sizes: Sequence[float], costs: Sequence[float]) -> PowerLaw:
    """Fit a constant and a power to costs; the errors are taken as relative and independent.

    For every exponent p the best (a, b) >= 0 is a linear problem. With RSS(p) its residual, the
    interval is {p : RSS(p) <= RSS_min (1 + F / (m - 3))} for m points, F the quantile of Fisher's
    distribution with 1 and m - 3 degrees of freedom.
    Source: profile of a nonlinear least-squares problem (Bates and Watts, 1988, chapter 6).

    Args:
        sizes: positive, at least five different ones.
        costs: positive, one for each size.

    Raises:
        InputError: fewer than five sizes, or something that is not positive.

    Example:
        >>> law = fitted([1, 2, 4, 8, 16], [5 + 2 * x**3 for x in (1, 2, 4, 8, 16)])
        >>> round(law.exponent, 2), round(law.constant, 2), round(law.factor, 2)
        (3.0, 5.0, 2.0)
    """
    x, y = _positive(sizes, costs)
    tried = np.arange(0.0, LARGEST + STEP / 2, STEP)
    scale = x.max()  # so that no power is out of range
    constants, factors = _best(1 / y, (x / scale) ** tried[:, None] / y)
    errors = constants[:, None] / y + factors[:, None] * (x / scale) ** tried[:, None] / y - 1
    squares = np.sum(errors**2, axis=1)
    best = int(np.argmin(squares))
    free = len(x) - 3
    # Rounding alone leaves residuals of the size of eps.
    least = max(squares[best], len(x) * np.finfo(float).eps ** 2)
    allowed = least * (1 + fisher.ppf(CONFIDENCE, 1, free) / free)
    within = tried[squares <= allowed]
    power = float(tried[best])
    return PowerLaw(
        power,
        float(within.min()),
        float(within.max()),
        float(constants[best]),
        float(factors[best] / scale**power),
        float(np.sqrt(squares[best] / len(x))),
    )


def _best(u: Any, v: Any) -> tuple[Any, Any]:
    """The least squares of a u + b v - 1 over a, b >= 0, for every row of v.

    Both where both are positive; else one of them is zero, whichever leaves less.
    """
    one = np.ones_like(u)
    with np.errstate(divide="ignore", invalid="ignore"):
        across = v - np.outer(v @ u / (u @ u), u)
        b = (across @ one) / np.sum(across**2, axis=1)
        a = (u @ one - b * (v @ u)) / (u @ u)
    inside = np.isfinite(a) & np.isfinite(b) & (a >= 0) & (b >= 0)
    # A projection takes (c . 1)^2 / |c|^2 off the squares.
    alone, other = (u @ one) / (u @ u), (v @ one) / np.sum(v**2, axis=1)
    power = (v @ one) * other >= (u @ one) * alone
    a = np.where(inside, a, np.where(power, 0.0, alone))
    b = np.where(inside, b, np.where(power, other, 0.0))
    return a, b


def line(sizes: Sequence[float], costs: Sequence[float]) -> PowerLaw:
    """Fit a power alone: the line through the logarithms, with Student's interval of its slope.

    Args:
        sizes: positive, at least five different ones.
        costs: positive, one for each size.

    Raises:
        InputError: fewer than five sizes, or something that is not positive.

    Example:
        >>> law = line([1, 2, 4, 8, 16], [3, 3, 3, 3, 3])
        >>> law.exponent, round(law.factor, 9), law.constant
        (0.0, 3.0, 0.0)
    """
    x, y = _positive(sizes, costs)
    found = linregress(np.log(x), np.log(y))
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(x) - 2) * found.stderr)
    factor = float(np.exp(found.intercept))
    errors = factor * x**found.slope / y - 1
    spread = float(np.sqrt(np.mean(errors**2)))
    slope = float(found.slope)
    return PowerLaw(slope, slope - half, slope + half, 0.0, factor, spread)


def _positive(sizes: Sequence[float], costs: Sequence[float]) -> tuple[Any, Any]:
    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if x.shape != y.shape or len(np.unique(x)) < LEAST or min(x.min(), y.min()) <= 0:
        rule = f"A power law needs {LEAST} different positive sizes, and a positive cost of each"
        raise InputError(rule, f"{x.tolist()} and {y.tolist()}", "measure more sizes")
    return x, y
