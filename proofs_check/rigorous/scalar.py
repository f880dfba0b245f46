"""Functions of one variable: all roots on an interval, proved, and inequalities between its ends.

A function is written once, in ``+ - * /``, powers and the methods ``exp``, ``log``, ``sqrt``,
``cos``; python-flint runs it on balls, and on power series of balls, which gives its derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import flint
import jax
import numpy as np

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import BITS, Balls, precision
from proofs_check.rigorous.jaxpr import evaluate
from ufm.errors import InputError

Function = Callable[[Any], Any]
# Bits that a root is given up of those asked for, and bits inside beyond them: its function loses
# some where it is flat, and at the default of 128 its ball is narrower than 1e-25.
SPARE, GUARD = 44, 20
# Pieces that a search may look at before it gives up: a second of a cheap function.
PIECES = 20_000
# Where an interval is halved: off the middle, so that a root in a special place is no end.
SPLITS = (Fraction(31, 64), Fraction(37, 64), Fraction(23, 64))


def number(value: Any) -> Any:
    """A number as a ball: floats exactly, text as the decimal that it writes, fractions.

    Example:
        >>> with precision():
        ...     tenth = number(Fraction(1, 10))
        ...     tenth.overlaps(number("0.1")), tenth.overlaps(number(0.1))
        (True, False)
    """
    if isinstance(value, Fraction):
        return flint.arb(value.numerator) / flint.arb(value.denominator)
    return value if isinstance(value, flint.arb) else flint.arb(value)


def checked(value: Any, rule: str, holds: Callable[[Any], bool]) -> Any:
    """A number as a ball, of which a rule is proved.

    Raises:
        InputError: it is not.

    Example:
        >>> checked("-1", "lambda_W > 0", lambda x: x > 0)
        Traceback (most recent call last):
        ...
        ufm.errors.InputError: Need lambda_W > 0. Got -1. Remedy: choose another value.
    """
    ball = number(value)
    if not holds(ball):
        raise InputError(f"Need {rule}", value, "choose another value")
    return ball


def decays(lambda_W: Any, lambda_H: Any) -> tuple[Any, Any]:
    """Two weight decays as balls; InputError unless both are positive."""
    pairs = (("lambda_W", lambda_W), ("lambda_H", lambda_H))
    one, other = (checked(value, f"{name} > 0", lambda x: bool(x > 0)) for name, value in pairs)
    return one, other


def smoothed(value: Any) -> Any:
    """delta of label smoothing as a ball; InputError unless it lies in [0, 1)."""
    return checked(value, "0 <= smoothing < 1", lambda x: bool(0 <= x < 1))


def taylor(function: Function, x: Any, order: int) -> list[Any]:
    """Enclosures of f, f', f''/2, ... up to an order, over a ball.

    Example:
        >>> [float(c.mid()) for c in taylor(lambda x: x**3, number(2), 2)]
        [8.0, 12.0, 6.0]
    """
    try:
        told = function(flint.arb_series([x, 1], order + 1))
    except ValueError:  # a divisor, or what a logarithm is taken of, that may be zero
        return [flint.arb.nan()] * (order + 1)
    if isinstance(told, flint.arb):  # a constant
        return [told] + [flint.arb(0)] * order
    return [told[k] for k in range(order + 1)]


def derivative(function: Function, order: int) -> Function:
    """The derivative of an order as a function of the same kind.

    Example:
        >>> derivative(lambda x: x**3, 2)(number(2))
        12.0000000000000
    """

    def at(x: Any) -> Any:
        if isinstance(x, flint.arb):
            return taylor(function, x, order)[order] * math.factorial(order)
        told = function(flint.arb_series([x[0], 1], x.prec + order))
        for _ in range(order):
            told = told.derivative()
        return told

    return at if order else function


def traced(function: Callable[[Any], Any]) -> Function:
    """A function of one number that JAX can trace, as one of balls and of x + t.

    Example:
        >>> import jax.numpy as jnp
        >>> with precision():
        ...     slope = taylor(traced(lambda x: jnp.exp(2 * x)), number(0), 1)[1]
        >>> slope.contains(2)
        True
    """

    @cache
    def program(order: int) -> Any:
        told = function
        for _ in range(order):
            told = jax.grad(told)
        return jax.make_jaxpr(told)(0.0)

    def value(x: Any, order: int) -> Any:
        told = evaluate(program(order), Balls, [Balls(np.array(x, dtype=object))])[0]
        return told.array.item() / math.factorial(order)

    def at(x: Any) -> Any:
        if isinstance(x, flint.arb):
            return value(x, 0)
        return flint.arb_series([value(x[0], order) for order in range(x.prec)], x.prec)

    return at


def sign(ball: Any) -> int:
    """1 or -1 where a ball has one sign, else 0 (which says nothing)."""
    if not ball.is_finite():
        return 0
    return 1 if ball > 0 else -1 if ball < 0 else 0


def roots(
    function: Function,
    low: Any,
    high: Any,
    *,
    order: int = 0,
    bits: int = BITS,
) -> tuple[Any, ...]:
    """Every root between two numbers, each in a narrow ball, in ascending order.

    Proved: each ball holds exactly one root, which is simple, and there is none elsewhere in
    [low, high]. The interval is split until on each piece the function has a sign, or a slope of
    one sign and decided signs at the ends; then Newton's interval method narrows the piece.

    Args:
        function: continuous, with a derivative.
        low: a number; a ball is taken with all that it holds.
        high: a greater number.
        order: k where the function and its derivatives below the k-th are known to vanish at low,
            which is then no root: beside it the k-th derivative is shown to have a sign.
        bits: the balls are at most 2^-(bits - 44) wide: 1e-25 at 128.

    Raises:
        Undecided: a piece where neither holds (a double root, a root at an end, an enclosure that
            is too wide), with how many are left.

    Example:
        >>> with precision():
        ...     (root,) = roots(lambda x: x * x - 2, 0, 2)
        >>> root.str(21, radius=False), len(roots(lambda x: x * x + 1, -3, 3))
        ('1.41421356237309504880', 0)
    """
    bits = max(bits, flint.ctx.prec)
    width = flint.arb(2) ** (SPARE - bits)
    with precision(bits + GUARD):
        first, last = _ends(low, high)
        if not (_at(function, last) and (order or _at(function, first))):
            raise Undecided("the function may vanish at an end of the interval")
        bent = derivative(function, order)
        pieces = [(first, last)]
        found: list[tuple[Any, Any]] = []
        for _ in range(PIECES):
            if not pieces:
                narrow = (_narrowed(function, one, other, width) for one, other in found)
                return tuple(sorted(narrow, key=float))
            low, high = pieces.pop()
            beside = bool(order) and low == first
            value, slope = _over(bent if beside else function, low, high)
            if sign(value):
                continue
            if sign(slope) and not beside:
                if _at(function, low) != _at(function, high):
                    found.append((low, high))
                continue
            pieces += _halves(function, low, high)
    raise Undecided(f"{len(pieces)} pieces are undecided, one near {float(low)}")


def root(function: Function, low: Any, high: Any, **options: Any) -> Any:
    """The only root between two numbers, as ``roots`` proves it.

    Raises:
        Undecided: also where the number of roots is not one.
    """
    found = roots(function, low, high, **options)
    if len(found) != 1:
        raise Undecided(f"{len(found)} roots between {float(low)} and {float(high)}, not one")
    return found[0]


def positive(function: Function, low: Any, high: Any, *, order: int = 0, bits: int = BITS) -> bool:
    """Whether a function is positive from one number to another, proved either way.

    Args:
        function: continuous, with a derivative.
        low: a number; a ball is taken with all that it holds.
        high: a greater number.
        order: k where the function and its derivatives below the k-th are known to vanish at low,
            which is then left out.
        bits: inside.

    Returns:
        True, or False where it is not positive at some number met on the way.

    Raises:
        Undecided: neither was proved.

    Example:
        >>> positive(lambda x: x.exp() - x, -3, 3), positive(lambda x: x * x - 1, 0, 3)
        (True, False)
        >>> positive(lambda x: x.exp() - 1 - x, 0, 3, order=2)
        True
    """
    with precision(bits):
        first, last = _ends(low, high)
        bent = derivative(function, order)
        pieces = [(first, last)]
        for _ in range(PIECES):
            if not pieces:
                return True
            low, high = pieces.pop()
            beside = bool(order) and low == first
            value, _ = _over(bent if beside else function, low, high)
            if value > 0:
                continue
            if function(high) <= 0 or (not beside and function(low) <= 0):
                return False
            where = (low + (high - low) * number(SPLITS[0])).mid()
            pieces += [(low, where), (where, high)]
    raise Undecided(f"{len(pieces)} pieces are undecided, one near {float(low)}")


def followed(function: Function, near: Any) -> Any:
    """A ball around a number in which a function has one root, whatever its parameters.

    Where the function holds balls as parameters: for every choice of numbers in them it has exactly
    one root in the ball, and the ball is nearly as narrow as the parameters allow (the interval
    Newton operator maps a wider ball into it).

    Raises:
        Undecided: no ball was found.

    Example:
        >>> with precision():
        ...     parameter = number(2).union(number("2.001"))
        ...     ball = followed(lambda x: x * x - parameter, 1.4)
        >>> ball.contains(number(2).sqrt()), float(ball.rad()) < 0.001
        (True, True)
    """
    inside = number(near)
    for _ in range(40):
        ball = inside + (inside.rad() * 4 + abs(inside.mid()) * flint.arb(2) ** (12 - BITS)) * (
            flint.arb(0, 1)
        )
        image = _newton(function, ball)
        if image is not None and ball.contains_interior(image):
            for _ in range(3):
                narrower = _newton(function, image)
                image = image if narrower is None else image.intersection(narrower)
            return image
        if image is None or not image.is_finite():
            break
        inside = image
    raise Undecided(f"no root could be followed from {float(near)}")


# ---- one piece


def _ends(low: Any, high: Any) -> tuple[Any, Any]:
    return number(low).lower().mid(), number(high).upper().mid()


def _at(function: Function, end: Any) -> int:
    return sign(function(end))


def _over(function: Function, low: Any, high: Any) -> tuple[Any, Any]:
    """The function and its slope over a piece, the former also by the mean-value form."""
    ball = low.union(high)
    value, slope = taylor(function, ball, 1)
    if not sign(value) and slope.is_finite():
        middle = ball.mid()
        centred = function(middle) + slope * (ball - middle)
        value = centred if not value.is_finite() else value.intersection(centred)
    return value, slope


def _halves(function: Function, low: Any, high: Any) -> Iterator[tuple[Any, Any]]:
    """A piece in two, at a number where the function does not vanish."""
    for split in SPLITS:
        where = (low + (high - low) * number(split)).mid()
        if low < where < high and _at(function, where):
            return iter(((low, where), (where, high)))
    raise Undecided(f"the sign of the function near {float(low)} is not decided")


def _newton(function: Function, ball: Any) -> Any:
    """m - f(m) / f'(ball) with m the middle, or None where the slope may vanish."""
    slope = taylor(function, ball, 1)[1]
    return ball.mid() - function(ball.mid()) / slope if sign(slope) else None


def _narrowed(function: Function, low: Any, high: Any, width: Any) -> Any:
    """The one root of a piece on which the function is monotone, in a ball of a width."""
    for _ in range(1000):
        ball = low.union(high)
        if 2 * ball.rad() <= width:
            return ball
        image = _newton(function, ball)
        if image is not None and 4 * image.rad() < high - low:
            ball = ball.intersection(image)
            low, high = ball.lower().mid(), ball.upper().mid()
            continue
        halves = _halves(function, low, high)
        low, high = next(x for x in halves if _at(function, x[0]) != _at(function, x[1]))
    raise Undecided(
        f"the root near {float(low)} is not narrowed down to {width.str(2, radius=False)}"
    )
