"""What an identity is that computer algebra proves (tier S).

It holds when SymPy reduces the difference of its two sides to zero; a difference that only looks
like zero at some point has not been proved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.computer_algebra import sympy
from proofs_check.instance import Instance
from proofs_check.law import Formula, Law

PROVED = Tolerance(1e-12, "none needed: zero once SymPy has simplified it")
# Rational points at which a false identity shows its size, to thirty digits.
POINTS = ((3, 4, 5, 9), (2, 7, 11, 13))


@dataclass(frozen=True, eq=False)
class Identity(Instance):
    """The one instance of an identity: all values of its symbols at once.

    Attributes:
        domain: the symbols, with their domain.
        kind: "symbolic".
    """

    domain: str
    kind: str = "symbolic"

    @property
    def label(self) -> str:
        """The symbols in words."""
        return f"all {self.domain}"

    def number(self, name: str) -> Any:
        """The positive symbol of this name."""
        return positive(name)


@cache
def positive(names: str) -> Any:
    """Positive symbols of these names, as SymPy makes them."""
    return sympy.symbols(names, positive=True)


def size(left: Any, right: Any) -> float:
    """Zero if SymPy proves two sides equal, else their largest distance, or 1 where that is unseen.

    Example:
        >>> x = positive("x")
        >>> size((x + 1) ** 2, x**2 + 2 * x + 1), size(x + 1, x)
        (0.0, 1.0)
    """
    pairs = zip(left, right, strict=True) if isinstance(left, tuple) else ((left, right),)
    return max(_distance(one - other) for one, other in pairs)


def _distance(difference: Any) -> float:
    difference = sympy.sympify(difference)
    symbols = sorted(difference.free_symbols, key=lambda s: s.name)
    worst = 0.0
    for a, b, p, q in POINTS:
        values = {s: sympy.Rational(a * i + b, p * i + q) for i, s in enumerate(symbols)}
        worst = max(worst, float(sympy.Abs(difference.subs(values)).evalf(30)))
    if worst > PROVED.value:
        return worst
    # Looks like zero: now it has to be proved.
    if difference.is_rational_function():
        return 0.0 if sympy.cancel(difference) == 0 else 1.0
    return 0.0 if sympy.simplify(sympy.expand(sympy.expand_log(difference))) == 0 else 1.0


def identity(
    slug: str,
    title: str,
    statement: str,
    latex: str,
    source: str,
    domain: str,
    left: Callable[..., Any],
    right: Formula,
    wrong: Formula,
    alteration: str,
    uses: tuple[str, ...] = (),
) -> Claim:
    """The claim that a derivation (left) gives a formula (right)."""

    def derived(instance: Identity) -> Any:
        return left()

    def region(quick: bool) -> tuple[Identity, ...]:
        return (Identity(domain),)

    return Claim(
        id=f"identity-{slug}",
        title=title,
        statement=statement,
        latex=latex,
        source=f"{source}; derived here",
        region=region,
        check=Law(right, derived, error=size),
        tolerance=PROVED,
        mutant=Mutant(alteration, Law(wrong, derived, error=size)),
        tier="S",
        uses=uses,
    )
