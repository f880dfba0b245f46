"""First-order collapse: min (y - 1)^2 + B y^(2/L), the scalar problem of L factors (DL-2)."""

from __future__ import annotations

import scipy


def shrunk_output(price: float, factors: int) -> float:
    """The y >= 0 of least (y - 1)^2 + B y^(2/L): 0, or the largest root of its slope (DL-2).

    Args:
        price: B.
        factors: L, 2 or more.

    Example:
        >>> shrunk_output(0.5, 2), shrunk_output(1.2, 3)
        (0.75, 0.0)
    """
    if factors == 2:
        return max(0.0, 1 - price / 2)
    if price >= collapse_price(factors):
        return 0.0

    def slope(y: float) -> float:
        return (y - 1) + price / factors * y ** (2 / factors - 1)

    # Below the threshold the best output is above its value there.
    return float(
        scipy.optimize.brentq(slope, (factors - 2) / (factors - 1), 1.0, xtol=1e-15, rtol=1e-15)
    )


def collapse_price(factors: int) -> float:
    """B_c = L/(L-1) ((L-2)/(L-1))^((L-2)/L): from here on zero is the global minimum (DL-2).

    Example:
        >>> round(collapse_price(3), 10), collapse_price(2)
        (1.190550789, 2.0)
    """
    L = factors
    return L / (L - 1) * ((L - 2) / (L - 1)) ** ((L - 2) / L)
