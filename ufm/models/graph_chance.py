"""How likely a stochastic block model fulfils the condition under which its classes collapse."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

from ufm.errors import InputError, require_count

# Numbers of graphs are counted over partitions of degrees, which grow fast with n.
MAX_NODES = 12


def equal_counts_probability(num_classes: int, n: int, inside: float, outside: float) -> float:
    """P(all nodes of a class have equally many neighbours in every class), two nodes or more.

    [sum_t R(n,t) p^(nt/2) (1-p)^(n(n-1-t)/2)]^K [sum_t B(n,t) q^(nt) (1-q)^(n(n-t))]^(K(K-1)/2)

    with R regular graphs and B biregular 0-1 matrices. Source: derived here (docs/theory.md, GU-5).

    Args:
        num_classes: K, 2 or more.
        n: nodes of every class, at most 12.
        inside: p, of an edge within a class.
        outside: q, of an edge between two classes.

    Raises:
        InputError: sizes out of their domain, or a probability outside [0, 1].

    Example:
        >>> round(equal_counts_probability(2, 3, 0.5, 0.3), 10)
        0.0038082944
    """
    require_count(num_classes, "K", 2, "give two classes or more")
    require_count(n, "n", 1, "give one node or more per class")
    if n > MAX_NODES:
        raise InputError(f"Need n <= {MAX_NODES} to count graphs", n, "use fewer nodes")
    for name, chance in (("inside", inside), ("outside", outside)):
        if not 0 <= chance <= 1:
            raise InputError(f"Need 0 <= {name} <= 1", chance, "give a probability")
    pairs = n * (n - 1) // 2
    own = math.fsum(
        regular_graphs(n, t) * inside ** (n * t // 2) * (1 - inside) ** (pairs - n * t // 2)
        for t in range(n)
    )
    other = math.fsum(
        biregular_matrices(n, t) * outside ** (n * t) * (1 - outside) ** (n * (n - t))
        for t in range(n + 1)
    )
    return float(own**num_classes * other ** (num_classes * (num_classes - 1) // 2))


def regular_graphs(n: int, t: int) -> int:
    """R(n, t): simple graphs on n labelled nodes in which every node has t neighbours.

    Example:
        >>> [regular_graphs(4, t) for t in range(4)]
        [1, 3, 3, 1]
    """
    return _graphs((t,) * n) if n * t % 2 == 0 else 0


def biregular_matrices(n: int, t: int) -> int:
    """B(n, t): 0-1 matrices (n, n) whose rows and columns all add up to t.

    Example:
        >>> [biregular_matrices(3, t) for t in range(4)]
        [1, 6, 6, 1]
    """
    return _matrices((t,) * n, n, t)


@cache
def _graphs(degrees: tuple[int, ...]) -> int:
    """Graphs of given degrees, ascending: the last node chooses its neighbours."""
    if not degrees:
        return 1
    *rest, last = degrees
    return sum(times * _graphs(left) for left, times in _lowered(tuple(rest), last).items())


@cache
def _matrices(columns: tuple[int, ...], rows: int, t: int) -> int:
    """0-1 matrices of given column sums, ascending, whose rows all add up to t."""
    if rows == 0:
        return int(not any(columns))
    ways = _lowered(columns, t)
    return sum(times * _matrices(left, rows - 1, t) for left, times in ways.items())


def _lowered(numbers: tuple[int, ...], many: int) -> Counter[tuple[int, ...]]:
    """What is left, ascending, when so many numbers are lowered by one, and in how many ways.

    Equal numbers are chosen among together.
    """
    found: Counter[tuple[int, ...]] = Counter()
    groups = sorted(Counter(x for x in numbers if x > 0).items())
    zeros = [x for x in numbers if x == 0]

    def choose(i: int, left: int, kept: list[int], ways: int) -> None:
        if i == len(groups):
            if left == 0:
                found[tuple(sorted(zeros + kept))] += ways
            return
        value, size = groups[i]
        for k in range(min(size, left) + 1):
            more = [value - 1] * k + [value] * (size - k)
            choose(i + 1, left - k, kept + more, ways * math.comb(size, k))

    choose(0, many, [], 1)
    return found
