"""Thresholds of the theory, each the only root of a scalar equation, in balls.

Where an interval is unbounded, the docstring has the bound that keeps roots out of the rest.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flint

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import BITS, precision
from proofs_check.rigorous.scalar import checked, derivative, number, root, roots, smoothed
from proofs_check.rigorous.simplex import loss_curve
from ufm.errors import require_count


def doubled(condition: Any, start: int = 1) -> Any:
    """The first of start, 2 start, 4 start, ... for which a condition is proved.

    Raises:
        Undecided: none of thirty.
    """
    for step in range(30):
        if condition(end := flint.arb(start * 2**step)):
            return end
    raise Undecided("no end of the interval was found")


# ---- merged saddles


def _merging(beta: Any, groups: int, smoothing: Any, bias: Any) -> Any:
    """(c + beta X)(c + u beta P) - (1 - delta)^2 of CE-6.2 with u = Gamma/(e^beta + Gamma - 1).

    Smoothing None: delta = u, so that c = 0.
    """
    other = 1 / (beta.exp() + groups - 1)
    own, u = beta.exp() * other, groups * other
    delta = u if smoothing is None else smoothing
    c, apart = u - delta, own - other
    if bias is not None:
        apart = apart - apart * apart / (1 + bias)
    along = other + apart * (groups - 1) / groups
    short = 1 - delta
    return (c + beta * along) * (c + u * beta * own) - short * short


def merging_threshold(
    groups: int, *, smoothing: Any = 0, bias: Any = None, bits: int = BITS
) -> Any | None:
    """c* at which the index of the saddle of merged groups drops, or None: it never does.

    The number of solutions of (CE-6.2) is proved to be one or none: in beta the equation has a
    zero at beta = 0 (c = 1 - delta), (1 - delta) (Gamma - 2)/Gamma^2 beta^2 + O(beta^3), which is
    set apart by its second derivative (the third for two groups), and for delta = 0 it is below
    Gamma e^-beta (1 + beta)^2 - 1, which decreases for beta >= 1.

    Args:
        groups: Gamma >= 2.
        smoothing: delta in [0, 1).
        bias: K lambda_b, or None without a bias.
        bits: inside.

    Raises:
        Undecided: the number of solutions is not decided, or is more than one.

    Source: derived here (docs/theory.md, CE-6).

    Example:
        >>> merging_threshold(3).str(21, radius=False), merging_threshold(2)
        ('0.130550650882333570049', None)
    """
    G = require_count(groups, "groups", 2, "two groups at least")
    with precision(bits):
        delta = smoothed(smoothing)
        free = None if bias is None else checked(bias, "bias >= 0", lambda x: bool(x >= 0))
        equation = partial(_merging, groups=G, smoothing=delta, bias=free)
        if delta.is_zero():
            top = doubled(lambda b: G * (-b).exp() * (1 + b) * (1 + b) < 1, 4)
        else:
            top = (G / delta - G + 1).log()
        found = roots(equation, 0, top, order=2 if G > 2 else 3)
        if len(found) > 1:
            raise Undecided(f"{len(found)} solutions")
        return G / (found[0].exp() + G - 1) - delta if found else None


def smoothing_without_drop(groups: int, *, bits: int = BITS) -> Any:
    """delta*(Gamma), at which c* of ``merging_threshold`` reaches zero.

    Beyond it the index is the lower one for every c. For beta >= 4 the equation is below
    beta^2 u - (1 - u)^2 with u <= Gamma e^-beta, and beta^2 e^-beta decreases.

    Source: derived here (docs/theory.md, CE-6).

    Example:
        >>> smoothing_without_drop(3).str(20, radius=False)
        '0.16569265697613911490'
    """
    G = require_count(groups, "groups", 3, "with two groups the index never drops")
    with precision(bits):
        equation = partial(_merging, groups=G, smoothing=None, bias=None)

        def beyond(b: Any) -> bool:
            u = G * (-b).exp()
            return bool(u < 1 and b * b * u < (1 - u) * (1 - u))

        beta = root(equation, 0, doubled(beyond, 4), order=3)
        return G / (beta.exp() + G - 1)


# ---- focal loss


def focal_convexity(gamma: Any, *, bits: int = BITS) -> Any:
    """u*(gamma): focal loss is convex in the logits exactly where the own probability is above it.

    The criterion (FL-2) is negative on (0, u*) and positive on (u*, 1), proved: with t = log u it
    has one root in [-T, -log(1 + gamma)], is at most (2 gamma + 1) + gamma t/2 below -T, and both
    of its terms are nonnegative above.

    Source: derived here (docs/theory.md, FL-2).

    Example:
        >>> focal_convexity(2).str(21, radius=False)
        '0.0578463790860252953162'
    """
    with precision(bits):
        g = checked(
            gamma, "gamma > 0 (without it focal loss is cross entropy)", lambda x: bool(x > 0)
        )
        end = -(1 + g).log()

        def criterion(t: Any) -> Any:
            u = t.exp()
            return (2 * g + 1) * (1 - u) + g * (1 - (g + 1) * u) * t

        # There u <= 1/(2 gamma + 2), and the criterion is negative.
        low = -(1 + 2 * (2 * g + 1) / g).max((2 * (g + 1)).log())
        return root(criterion, low, end).exp()


class Largest(NamedTuple):
    """The largest threshold of focal convexity and the gamma that has it, in balls."""

    u: Any
    gamma: Any


def largest_focal_convexity(*, bits: int = BITS) -> Largest:
    """The largest u*(gamma) over all gamma > 0, and where it is.

    The criterion (FL-2) is -u log u gamma^2 + (1 - u)(2 + log u) gamma + (1 - u). It is negative
    for some gamma > 0 iff log u < -2 and (1 - u)(2 + log u)^2 > -4 u log u: below the u where both
    sides are equal, with gamma the double root.

    Source: derived here (docs/theory.md, FL-3).

    Example:
        >>> u, gamma = largest_focal_convexity()
        >>> u.str(21, radius=False), gamma.str(10, radius=False)
        ('0.0584444332955670832816', '2.381863063')
    """
    with precision(bits):

        def discriminant(t: Any) -> Any:
            u = t.exp()
            return (1 - u) * (2 + t) * (2 + t) + 4 * u * t

        # For t <= -4 it is above (1 - u) 4 + 4 u t >= 4 - 4 e^-4 (1 + 4) > 0.
        t = root(discriminant, -4, -2)
        u = t.exp()
        return Largest(u, (1 - u) * (2 + t) / (2 * u * t))


class Window(NamedTuple):
    """Where focal loss has a spurious minimum at the origin, in balls.

    Attributes:
        origin: c from which the origin is a local minimum.
        collapse: c from which it is the best symmetric point.
        jump: the gap that is lost there.
    """

    origin: Any
    collapse: Any
    jump: Any


def focal_window(num_classes: int, gamma: Any, *, bits: int = BITS) -> Window | None:
    """The window of c with a spurious minimum at the origin, or None: there is none.

    There is one iff 1/K < u*(gamma). The steepest chord of psi from 0 touches where
    h(a) = psi(0) - psi(a) + a psi'(a) vanishes; h' = a psi'' has the sign of u - u*, so it does
    once, at a gap with u > u*. For (K - 1) e^-a <= 1, a >= 1, h is above
    psi(0) - (K - 1) e^-a (1 + (1 + gamma) a), which increases.

    Raises:
        Undecided: 1/K too near to u*(gamma).

    Source: derived here (docs/theory.md, FL-3).

    Example:
        >>> told = focal_window(50, 3)
        >>> told.origin.str(15, radius=False), told.collapse.str(15, radius=False)
        ('1.16661841366479', '1.20758509871108')
        >>> focal_window(17, 2) is None
        True
    """
    K = require_count(num_classes, "K", 2, "two classes at least")
    with precision(bits):
        g = checked(gamma, "gamma > 0", lambda x: bool(x > 0))
        psi = loss_curve(K, gamma=g)
        slope = derivative(psi, 1)
        start = psi(number(0))

        def beyond(a: Any) -> bool:
            rest = (K - 1) * (-a).exp()
            return bool(rest < 1 and rest * (1 + (1 + g) * a) < start)

        bend = focal_convexity(g, bits=bits)
        if not (bend * K < 1 or bend * K > 1):
            raise Undecided(f"1/{K} is too near to u*")
        if bend * K < 1:
            return None
        low = (bend / (1 - bend) * (K - 1)).log()
        jump = root(lambda a: start - psi(a) + a * slope(a), low, doubled(beyond))
        factor = flint.arb(-K) / (K - 1)
        return Window(slope(number(0)) * factor, slope(jump) * factor, jump)


# ---- unequal classes


def vanishing_minority(
    large: int, small: int, n_large: int, n_small: int, *, bits: int = BITS
) -> Any:
    """N sigma at which the common classifier of the small classes becomes zero (cross entropy).

    Beyond the interval, where s >= e^(a (k_A - 1)), the equation is below
    K^3 n_A / s^2 - k_A n_B < 0.

    Args:
        large: how many large classes, at least 2.
        small: how many small ones.
        n_large: samples of a large class.
        n_small: samples of a small one.
        bits: inside.

    Source: derived here, after Hong & Ling (2024) (docs/theory.md, X-4).

    Example:
        >>> vanishing_minority(2, 3, 9, 2).str(21, radius=False)
        '2.37389169282058657202'
    """
    A = require_count(large, "large classes", 2, "the equation is for two large classes or more")
    B = require_count(small, "small classes", 1, "one at least")
    n_B = require_count(n_small, "samples", 1, "of a small class")
    n_A = require_count(n_large, "samples", n_B + 1, "the large classes are larger")
    K = A + B
    with precision(bits):

        def place(a: Any) -> tuple[Any, Any]:
            """(N sigma)^2 and t."""
            away = (-a).exp()
            total = (a * (A - 1)).exp() + away * (A - 1) + B
            x = (away * A + B) / total
            return x * x * n_A, K / total

        def equation(a: Any) -> Any:
            square, t = place(a)
            return square * K - A * n_B - t * t * (B * n_A)

        end = (flint.arb(K**3 * n_A) / (A * n_B)).log() / (2 * (A - 1)) + 1
        return place(root(equation, 0, end))[0].sqrt()
