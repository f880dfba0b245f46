"""Critical points modulo relabelling: equal orbits, symmetry groups and orbit sizes, exactly.

Up to rotations of the features a point is its matrix Z = W Hbar (rows: classifiers, column k:
class k) and its bias b, if any (A-3). A relabelling is a permutation p of the classes that keeps
their kinds (``UFM.kinds``: size, and how the loss treats them); it turns (Z, b) into (Z[p, p],
b[p]). Energy and spectrum do not tell orbits apart: at K = 4, w ~ (1, -1, 0, 0) and
w ~ (1, 1, -1, -1) agree in both.

Entries are compared by *levels*: sort all, cut where a gap exceeds the tolerance. No grid decides,
as in rounding, and symmetries form a group. All else is exact (``colour_refinement``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import factorial, prod

import numpy as np
from numpy.typing import ArrayLike

from ufm.errors import InputError, require_positive
from ufm.plain.colour_refinement import bijection, group_order, numbered, twin_free
from ufm.typing import Array, Ints

Permutation = tuple[int, ...]
Side = tuple[Array, Array | None]
Item = tuple[float, ArrayLike, ArrayLike | None]

# In units of the largest entry of Z and b, at least 1: logits have no unit, and the origin has no
# size of its own. Points solved to 1e-9 leave a factor 1000 for the sums in Z = W Hbar.
TOLERANCE = 1e-6


def resolution(tolerance: float, *arrays: Array | None) -> float:
    """The absolute tolerance for entries: tolerance * max(1, largest |entry|).

    Example:
        >>> resolution(0.5, np.array([3.0, -4.0]), None)
        2.0
    """
    sizes = [float(np.abs(a).max()) for a in arrays if a is not None]
    return require_positive(tolerance, "tolerance", "use about 1e-6") * max(1.0, *sizes)


def levels(unit: float, *arrays: Array) -> tuple[Ints, ...]:
    """Number the values of all arrays together, upwards; a gap > unit begins a new level.

    Example:
        >>> [a.tolist() for a in levels(0.1, np.array([2.0, 1.0]), np.array([1.05, 3.0]))]
        [[1, 0], [0, 2]]
    """
    flat = np.concatenate([a.ravel() for a in arrays])
    order = np.argsort(flat, kind="stable")
    level = np.empty(len(flat), np.int64)
    level[order] = np.concatenate([[0], np.cumsum(np.diff(flat[order]) > unit)])
    parts = np.split(level, np.cumsum([a.size for a in arrays])[:-1])
    return tuple(part.reshape(a.shape) for part, a in zip(parts, arrays, strict=True))


def checked(Z: ArrayLike, kinds: ArrayLike, b: ArrayLike | None) -> Side:
    """Z and b as float64 arrays.

    Raises:
        InputError: Z is not square, kinds or b have another length, or an entry is not finite.

    Example:
        >>> checked([[1]], [5], None)
        (array([[1.]]), None)
    """
    matrix = np.asarray(Z, np.float64)
    bias = None if b is None else np.asarray(b, np.float64)
    shapes = (matrix.shape, np.shape(kinds), *([] if bias is None else [bias.shape]))
    K = np.size(kinds)
    if K == 0 or shapes != ((K, K), *([(K,)] * (len(shapes) - 1))):
        raise InputError("Need Z (K, K), kinds (K,), b (K,) or None", shapes, "give one per class")
    if not (np.isfinite(matrix).all() and (bias is None or np.isfinite(bias).all())):
        raise InputError("Need finite Z and b", "NaN or inf", "check the point")
    return matrix, bias


def matching(
    Z: ArrayLike,
    other: ArrayLike,
    kinds: ArrayLike,
    b: ArrayLike | None = None,
    other_b: ArrayLike | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> Permutation | None:
    """A relabelling that carries one point into another, or None: whether they are one orbit.

    other[i, j] = Z[p_i, p_j], other_b[i] = b[p_i], kinds[i] = kinds[p_i], to within tolerance.
    Source: derived here; the search is that of McKay & Piperno 2014.

    Args:
        Z: one point (K, K).
        other: the other point (K, K).
        kinds: a number for every class (K,), ``model.kinds``, the same for both.
        b: bias (K,) or None; where a constant may be added to it, centre it first.
        other_b: bias of the other point, None iff b is.
        tolerance: relative, see ``resolution``.

    Example:
        >>> matching(np.diag([1.0, 2, 2]), np.diag([2.0, 1, 2]), [1, 1, 1])
        (1, 0, 2)
        >>> matching(np.diag([1.0, 2, 2]), np.diag([2.0, 1, 2]), [2, 1, 1]) is None
        True
    """
    left, right = checked(Z, kinds, b), checked(other, kinds, other_b)
    if (b is None) != (other_b is None):
        raise InputError("Need a bias for both points or none", "one bias", "give both")
    unit = resolution(tolerance, *left, *right)
    codes, colours, members, _ = twin_free(*_coded(unit, [left, right], kinds))

    found = bijection(codes, colours)
    if found is None:
        return None
    # Twins are interchangeable, so any bijection between corresponding groups will do.
    images = np.concatenate([members[0][image] for image in found])
    p = images[np.argsort(np.concatenate(members[1]))]
    close = np.abs(right[0] - left[0][np.ix_(p, p)]).max() <= unit  # unless steps made a wide level
    if left[1] is not None and right[1] is not None:
        close = close and np.abs(right[1] - left[1][p]).max() <= unit
    return tuple(int(k) for k in p) if close else None


def stabiliser_order(
    Z: ArrayLike,
    kinds: ArrayLike,
    b: ArrayLike | None = None,
    *,
    groups: Sequence[Sequence[int]] | None = None,
    tolerance: float = TOLERANCE,
) -> int:
    """How many relabellings leave a point as it is: the order of its symmetry group.

    |Aut| = prod |twin group|! * |Aut(quotient)|, repeated while there are twins; then by orbits and
    stabilisers, |Aut| = prod_i |orbit of base point i under the stabiliser of the ones before|.
    Source: Schreier & Sims (stabiliser chain); the twin quotient is derived here.

    Args:
        Z: the point (K, K).
        kinds: a number for every class (K,), ``model.kinds``.
        b: bias (K,) or None.
        groups: classes known to have equal rows, columns, kinds and bias, if they are at hand:
            many classes in few groups then cost what the groups cost.
        tolerance: relative, see ``resolution``.

    Example:
        >>> stabiliser_order(np.eye(4), [1, 1, 1, 1]), stabiliser_order(np.eye(4), [2, 2, 1, 1])
        (24, 4)
    """
    matrix, bias = checked(Z, kinds, b)
    unit = resolution(tolerance, matrix, bias)
    number = np.unique(np.asarray(kinds), return_inverse=True)[1]
    merged = 1
    if groups is not None:
        first, sizes = [group[0] for group in groups], [len(group) for group in groups]
        matrix, bias = matrix[np.ix_(first, first)], None if bias is None else bias[first]
        merged = prod(map(factorial, sizes))
        number = numbered(np.stack([number[first], sizes], axis=-1))
    codes, colours, _, order = twin_free(*_coded(unit, [(matrix, bias)], number))
    return merged * order * group_order(codes[0], colours[0])[0]


def orbit_size(kinds: ArrayLike, stabiliser: int) -> int:
    """How many matrices Z an orbit has: prod over kinds (classes that have it)! / stabiliser.

    Raises:
        InputError: the order of the stabiliser does not divide that of the group.

    Example:
        >>> orbit_size([1, 1, 1], 2), orbit_size([2, 1, 1], 2)
        (3, 1)
    """
    group = prod(factorial(m) for m in Counter(np.asarray(kinds).tolist()).values())
    if stabiliser < 1 or group % stabiliser:
        raise InputError(f"Need a divisor of {group}", stabiliser, "use stabiliser_order")
    return group // stabiliser


def invariant(Z: ArrayLike, kinds: ArrayLike, b: ArrayLike | None = None) -> Array:
    """A real vector that relabelling does not change: equal orbits have close ones.

    Singular values of Z; 3-norms of its positive and negative parts; then, sorted within classes of
    one kind, its diagonal, its row norms and b. Each entry moves by at most |dZ|_F or |db|
    (Weyl; norms with p >= 2; sorting). Not complete: a filter before ``matching``.

    Example:
        >>> invariant(np.diag([1.0, -2.0]), [1, 1]).tolist()
        [2.0, 1.0, 1.0, 2.0, -2.0, 1.0, 1.0, 2.0]
    """
    matrix, bias = checked(Z, kinds, b)
    parts = [np.asarray(np.linalg.svd(matrix, compute_uv=False))]
    halves = (np.maximum(matrix, 0.0), np.maximum(-matrix, 0.0))
    parts.append(np.array([np.linalg.norm(half.ravel(), 3) for half in halves]))
    fields = [np.diagonal(matrix), np.linalg.norm(matrix, axis=1)]
    fields += [] if bias is None else [bias]
    parts += [field[np.lexsort((field, np.asarray(kinds)))] for field in fields]
    return np.concatenate(parts)


def distinct(
    items: Iterable[Item], kinds: ArrayLike, *, tolerance: float = TOLERANCE
) -> list[list[int]]:
    """Group critical points (objective, Z, b or None) into orbits; the positions of each in order.

    Only ``matching`` decides; objective and invariant save work. Entries that agree to unit bound
    the invariant by |dZ|_F <= K unit; the objective is stationary, so it agrees better than Z does.

    Example:
        >>> points = [np.diag([1.0, 2.0]), np.diag([2.0, 1.0]), np.diag([2.0, 2.0])]
        >>> distinct([(0.5, Z, None) for Z in points], [1, 1])
        [[0, 1], [2]]
    """
    orbits, first = list[list[int]](), list[Item]()
    for position, (objective, Z, b) in enumerate(items):
        item = float(objective), *checked(Z, kinds, b)
        for orbit, old in zip(orbits, first, strict=True):
            if same_orbit(old, item, kinds, tolerance=tolerance):
                orbit.append(position)
                break
        else:
            orbits.append([position])
            first.append(item)
    return orbits


def same_orbit(
    one: Item,
    other: Item,
    kinds: ArrayLike,
    *,
    tolerance: float = TOLERANCE,
    first: Side | None = None,
) -> bool:
    """Whether two points (objective, Z, b) are one orbit: filters first, then a relabelling.

    Args:
        one: a point.
        other: another.
        kinds: a number for every class (K,), ``model.kinds``.
        tolerance: relative, see ``resolution``.
        first: ``in_order`` of one, if it is at hand.

    Example:
        >>> same_orbit((0.5, np.diag([1.0, 2.0]), None), (0.5, np.diag([2.0, 1.0]), None), [1, 1])
        True
    """
    if abs(one[0] - other[0]) > tolerance * max(1.0, abs(one[0])):
        return False
    (old, old_bias), (new, bias) = (checked(Z, kinds, b) for _, Z, b in (one, other))
    if (old_bias is None) == (bias is None):
        unit = resolution(tolerance, old, old_bias, new, bias)
        ordered = first or in_order(old, kinds, old_bias, tolerance=tolerance)
        if _agree(ordered, in_order(new, kinds, bias, tolerance=tolerance), unit):
            return True
    seen, vector = invariant(old, kinds, old_bias), invariant(new, kinds, bias)
    reach = len(new) * resolution(tolerance, new, bias, old, old_bias)
    if len(seen) == len(vector) and np.abs(seen - vector).max() > reach:
        return False
    return matching(old, new, kinds, old_bias, bias, tolerance=tolerance) is not None


def in_order(
    Z: ArrayLike, kinds: ArrayLike, b: ArrayLike | None = None, *, tolerance: float = TOLERANCE
) -> Side:
    """A point with its classes sorted: points of one orbit mostly become equal, to rounding.

    Quick, and no canonical form: rounding may order classes that are alike, and ``matching`` must
    decide.

    Example:
        >>> in_order(np.diag([2.0, 1.0]), [1, 1])[0].tolist()
        [[1.0, 0.0], [0.0, 2.0]]
    """
    matrix, bias = checked(Z, kinds, b)
    # Coarse, so that rounding seldom orders equal values.
    coarse = np.round(matrix / (100 * resolution(tolerance, matrix, bias)))
    squares = coarse**2
    fields = [coarse.diagonal(), squares.sum(axis=1), squares.sum(axis=0), np.asarray(kinds)]
    # Symmetric classes agree in all of these: tell them by how they stand to the first two.
    for i in (0, 1):
        place = np.lexsort(fields)[i]
        fields = [coarse[place], coarse[:, place], *fields]
    order = np.lexsort(fields)
    return matrix[np.ix_(order, order)], None if bias is None else bias[order]


def _agree(one: Side, other: Side, unit: float) -> bool:
    pairs = [(x, y) for x, y in zip(one, other, strict=True) if x is not None and y is not None]
    return all(bool(np.abs(x - y).max() <= unit) for x, y in pairs)


def _coded(unit: float, sides: Sequence[Side], kinds: ArrayLike) -> tuple[Ints, Ints]:
    """Levels of Z (S, K, K), and class colours (S, K) from count, diagonal and bias."""
    codes = np.stack(levels(unit, *(Z for Z, _ in sides)))
    number = np.unique(np.asarray(kinds), return_inverse=True)[1]
    fields = [np.broadcast_to(number, codes.shape[:2]), np.diagonal(codes, axis1=1, axis2=2)]
    biases = [b for _, b in sides if b is not None]
    fields += [np.stack(levels(unit, *biases))] if biases else []
    return codes, numbered(np.stack(fields, axis=-1))
