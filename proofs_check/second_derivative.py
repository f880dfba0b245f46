"""Second derivatives of an objective by computer algebra, along two directions at a point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proofs_check.computer_algebra import sympy
from proofs_check.identities import positive

Direction = tuple[Any, Any, Any]


def second_derivative(
    base: tuple[Any, Any],
    decays: tuple[Any, ...],
    first: Direction,
    second: Direction,
    loss: Callable[[list[Any], list[Any], list[Any], list[Any], int], Any],
) -> Any:
    """d^2 f / ds dt at (W, H, 0) + s first + t second, s = t = 0.

    The loss gets, for each column, the logits and their derivatives in s, in t and in both.
    """
    W, H = base
    (A, B, b), (A2, B2, b2) = first, second
    K, columns = W.shape[0], H.shape[1]
    Z, in_s, in_t, in_both = W * H, A * H + W * B, A2 * H + W * B2, A * B2 + A2 * B
    total = 0
    for k in range(columns):
        parts = (
            [Z[j, k] for j in range(K)],
            [in_s[j, k] + b[j] for j in range(K)],
            [in_t[j, k] + b2[j] for j in range(K)],
            [in_both[j, k] for j in range(K)],
        )
        total += loss(*parts, k)
    weights = sum(
        decay * (one.T * other).trace()
        for decay, one, other in zip(decays, first, second, strict=True)
    )
    return total / columns + weights


def of_the_rest(curve: Callable[[Any], Any], slope: Any = 0) -> Callable[..., Any]:
    """The mixed derivative of curve(T) + slope sum_j (z_k - z_j), T = sum_(j != k) e^(z_j - z_k).

    Every logit less the own one is an integer times alpha = a^2, e^alpha = E.
    """
    a, E, T = positive("a E T")
    slopes = [sympy.diff(curve(T), T, order) for order in (1, 2)]

    def mixed(z: list[Any], s: list[Any], t: list[Any], both: list[Any], k: int) -> Any:
        total = in_s = in_t = in_both = linear = sympy.Integer(0)
        for j in range(len(z)):
            if j == k:
                continue
            size = E ** sympy.cancel((z[j] - z[k]) / a**2)
            one, other, pair = s[j] - s[k], t[j] - t[k], both[j] - both[k]
            total, linear = total + size, linear - pair
            in_s, in_t = in_s + size * one, in_t + size * other
            in_both += size * (pair + one * other)
        first, second = (x.subs(T, total) for x in slopes)
        return first * in_both + second * in_s * in_t + slope * linear

    return mixed


def smoothed(K: int) -> Callable[..., Any]:
    """Label smoothing: log(1 + T) and delta/K times the sum of the gaps."""
    return of_the_rest(lambda rest: sympy.log(1 + rest), positive("delta") / K)


def unit(K: int, i: int, j: int) -> Any:
    """e_i - e_j."""
    vector = sympy.zeros(K, 1)
    vector[i], vector[j] = 1, -1
    return vector


def weights_move(K: int, X: Any) -> Direction:
    """A direction of W alone."""
    return X, sympy.zeros(K, K), sympy.zeros(K, 1)


def features_move(K: int, Y: Any) -> Direction:
    """A direction of H alone."""
    return sympy.zeros(K, K), Y, sympy.zeros(K, 1)


def both_moves(K: int, X: Any) -> tuple[Direction, Direction]:
    """One matrix as a direction of W and as one of H."""
    return weights_move(K, X), features_move(K, X)


def trace_and_determinant(matrix: Any) -> tuple[Any, ...]:
    """What a two by two block is compared by."""
    return matrix.trace(), matrix.det()
