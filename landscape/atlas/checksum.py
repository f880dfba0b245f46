"""Is a list of critical orbits complete? Topology counts them without having searched.

Signed count 1 (AT-4) and Morse inequalities (AT-5): necessary, not sufficient (docs/atlas.md).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product, zip_longest
from math import comb, isclose

import numpy as np
import scipy

from ufm.errors import InputError, require_count, require_positive


@dataclass(frozen=True)
class Stratum:
    """One critical orbit; for d >= rank its Hessian index is index + (d - rank) overshoot (A-2).

    Attributes:
        count: matrices Z in the orbit; for a degenerate family the Euler characteristic of its
            manifold of Z, which may be <= 0.
        rank: r = rank of Z.
        index: negative eigenvalues of the r-dimensional problem (range index).
        overshoot: b = number of singular values of the logit gradient above sigma.
        betti: mod 2 Betti numbers of that manifold (for AT-5); empty for isolated matrices.
    """

    count: int
    rank: int
    index: int
    overshoot: int
    betti: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require_count(abs(self.count), "|count|", 0, "count the matrices Z")
        _require_dimensions(self.rank, self.index, self.overshoot, *self.betti)
        for name in ("count", "rank", "index", "overshoot"):
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "betti", tuple(int(x) for x in self.betti))
        if self.betti and _alternating(self.betti) != self.count:
            raise InputError("Need count = alternating sum of betti", self, "correct one of them")


def grassmannian_betti(b: int, j: int) -> tuple[int, ...]:
    """Mod 2 Betti numbers of Gr_j(R^b), j-planes in R^b: a Gaussian binomial; empty for j > b.

    [b, j]_t = prod_{i<j} (1 - t^(b-i)) / (1 - t^(i+1)) counts Schubert cells. Source: standard.

    Example:
        >>> grassmannian_betti(4, 2)
        (1, 1, 2, 1, 1)
    """
    _require_dimensions(b, j)
    cells = [1] if j <= b else []
    for i in range(min(j, b - j)):
        cells = _add(cells, [0] * (b - i) + [-x for x in cells])[: (i + 1) * (b - i - 1) + 1]
        for k in range(i + 1, len(cells)):
            cells[k] += cells[k - i - 1]
    return tuple(cells)


def grassmannian_euler(b: int, j: int) -> int:
    """Euler characteristic of the Grassmannian of j-planes in R^b (0 for j > b).

    chi(Gr_j(R^b)) = 0 if b is even and j odd, else binom(floor(b/2), floor(j/2)): the fixed points
    of the rotations in floor(b/2) coordinate planes. Source: standard.

    Example:
        >>> [grassmannian_euler(4, j) for j in range(5)]
        [1, 0, 2, 0, 1]
    """
    _require_dimensions(b, j)
    return 0 if j > b or (b % 2 == 0 and j % 2 == 1) else comb(b // 2, j // 2)


def overshoot_sum(b: int, m: int) -> int:
    """Euler characteristic with compact support of (m x b matrices) / O(m): e(b, m) of AT-4.

    e(b, m) = sum_{j=0}^{min(b,m)} (-1)^{j(j+1)/2} chi(Gr_j(R^b)); e(b, 0) = e(0, m) = 1, and
    e(b, m) = 0 for m >= b >= 1. Here b >= 0 is an overshoot and m = d - r >= 0.
    Source: derived here (docs/atlas.md).

    Example:
        >>> [overshoot_sum(4, m) for m in range(6)]
        [1, 1, -1, -1, 0, 0]
    """
    _require_dimensions(b, m)
    return sum((-1) ** (j * (j + 1) // 2) * grassmannian_euler(b, j) for j in range(min(b, m) + 1))


def euler_sum(strata: Iterable[Stratum], d: int) -> int:
    """The signed count of critical orbits in dimension d: 1 for every d if none is missing.

    sum over r <= d of count (-1)^index e(overshoot, d - r)   (AT-4). In dimension d = 0 it counts
    the points with Z = 0. Source: derived here (docs/atlas.md).

    Example:
        >>> [euler_sum([Stratum(1, 0, 0, 1), Stratum(1, 1, 0, 0)], d) for d in range(3)]
        [1, 1, 1]
    """
    require_count(d, "d", 0, "use a feature dimension of zero or more")
    terms = ((s.count * (-1) ** s.index, s.overshoot, d - s.rank) for s in strata if s.rank <= d)
    return sum(signed * overshoot_sum(b, m) for signed, b, m in terms)


@dataclass(frozen=True)
class Defect:
    """A dimension d in which the signed count, ``value``, is not 1, and what that says.

    Attributes:
        rank: rank of the missing orbits: the smallest dimension that fails.
        size, parity: if one orbit is missing, its number of Z, |1 - sum| at d = rank, and the
            parity (0 or 1) of its range index. Signs of several orbits may have cancelled.
    """

    d: int
    value: int
    rank: int
    size: int
    parity: int

    @property
    def text(self) -> str:
        """One line for a person."""
        head = f"d = {self.d}: the sum is {self.value}, not 1"
        if self.d > self.rank:
            return f"{head}; first settle rank {self.rank}, where it fails already"
        one = f"{self.size} Z, {'odd' if self.parity else 'even'} range index"
        lack = f"the missing orbits of rank {self.rank} have signed count {1 - self.value}"
        return f"{head}: {lack} (if one: {one}), or a listed count, index or orbit is wrong"


def defects(strata: Sequence[Stratum], ds: Iterable[int] | None = None) -> tuple[Defect, ...]:
    """Every dimension whose signed count is not 1 (necessary for completeness: none).

    At the smallest failing d nothing of lower rank shows as missing and e(b, 0) = 1, so the
    missing orbits of rank d have signed count 1 - sum. Source: derived here. Without ``ds``, looks
    at d = 0, ..., max(rank + overshoot) of the list, after which its sum is constant; give ``ds``
    up to the largest possible rank if all orbits of that rank may be missing.

    Example:
        >>> print(defects([Stratum(1, 0, 0, 2), Stratum(3, 1, 1, 1)])[0].text)
        d = 1: the sum is -2, not 1: the missing orbits of rank 1 have signed count 3 (if one: 3 Z,
        even range index), or a listed count, index or orbit is wrong
    """
    last = max((s.rank + s.overshoot for s in strata), default=0)
    chosen = set(range(last + 1) if ds is None else ds)
    values = {d: euler_sum(strata, d) for d in sorted(chosen.union(range(max(chosen, default=0))))}
    failing = [d for d, value in values.items() if value != 1]
    lack = 1 - values[failing[0]] if failing else 0
    found = (Defect(d, values[d], failing[0], abs(lack), int(lack < 0)) for d in failing)
    return tuple(defect for defect in found if defect.d in chosen)


@dataclass(frozen=True)
class MorseBott:
    """The computed coefficients R_0, R_1, ... of ``morse_bott`` in dimension d."""

    d: int
    coefficients: tuple[int, ...]

    @property
    def holds(self) -> bool:
        """Whether no computed coefficient is negative."""
        return min(self.coefficients) >= 0


def morse_bott(strata: Iterable[Stratum], d: int, terms: int | None = None) -> MorseBott:
    """The Morse inequalities of O(d)-equivariant cohomology with coefficients Z/2 (AT-5).

    sum over r <= d of P(t) t^(index + (d-r) overshoot) / prod_{i<=d-r} (1 - t^i)
        - 1 / prod_{i<=d} (1 - t^i) = (1 + t) R(t),   all coefficients of R >= 0,
    P = count for isolated matrices Z, else the Betti polynomial. Coefficients Z/2, because negative
    bundles need not be orientable; 1 / prod_{i<=m} (1 - t^i) is the Poincare series of the
    classifying space BO(m) over Z/2 (polynomials in the Stiefel-Whitney classes w_1, ..., w_m).
    A power series is always divisible by 1 + t: what would be a remainder of polynomials shows as
    coefficients of alternating sign. Source: derived here (docs/atlas.md).

    Args:
        strata: the orbits; a family of Z needs its ``betti`` (count < 1 without is refused).
        d: feature dimension >= 0.
        terms: coefficients to compute, >= 1. Left out: one more than the degree of the numerator
            over prod_{i<=d} (1 - t^i); after it only a linear recurrence goes on. Finitely many
            nonnegative coefficients are evidence, one negative coefficient is a proof.

    Example:
        >>> whole = [Stratum(1, 0, 0, 1), Stratum(1, 1, 0, 0)]
        >>> morse_bott(whole, 1).holds, morse_bott(whole[:1], 1).holds
        (True, False)
    """
    require_count(d, "d", 0, "use a feature dimension of zero or more")
    # Over the common denominator prod_{i<=d} (1 - t^i) a numerator gains the factors it lacks.
    numerator, size = [-1], 1
    for s in (s for s in strata if s.rank <= d):
        if not s.betti and s.count < 1:
            raise InputError("Need Betti numbers for count < 1", s.count, "give betti to Stratum")
        part = [0] * (s.index + (d - s.rank) * s.overshoot) + list(s.betti or [s.count])
        for i in range(d - s.rank + 1, d + 1):
            part = _add(part, [0] * i + [-x for x in part])
        numerator, size = _add(numerator, part), max(size, len(part))
    terms = require_count(size if terms is None else terms, "terms", 1, "compute some")
    series = (numerator + [0] * terms)[:terms]
    for i in range(1, d + 1):
        for k in range(i, terms):
            series[k] += series[k - i]
    for k in range(1, terms):
        series[k] -= series[k - 1]
    return MorseBott(d, tuple(series))


def mse_strata(multiplicities: Sequence[int]) -> tuple[Stratum, ...]:
    """All critical families of squared error, from the multiplicities of its target directions.

    Targets t_1 > t_2 > ... of multiplicities m_1, m_2, ...; Z uses r_g directions of group g:
    prod_g Gr_{r_g}(R^{m_g}), rank sum_g r_g, index sum_{g<h} (m_g - r_g) r_h,
    overshoot sum_g (m_g - r_g). AT-5 holds with R = 0. Source: derived here (docs/atlas.md).

    Args:
        multiplicities: of the targets above N sigma, largest first; bias-free: the numbers of
            classes that share n_k > (N sigma)^2.

    Example:
        >>> [(s.count, s.rank, s.index, s.overshoot) for s in mse_strata([1, 1])]
        [(1, 0, 0, 2), (1, 1, 1, 1), (1, 1, 0, 1), (1, 2, 0, 0)]
    """
    sizes = [require_count(m, "multiplicity", 1, "leave out empty groups") for m in multiplicities]
    strata = []
    for used in product(*(range(m + 1) for m in sizes)):
        factors = [grassmannian_betti(m, r) for m, r in zip(sizes, used, strict=True)]
        # Objects: integers of any size.
        betti = reduce(np.convolve, (np.array(f, dtype=object) for f in factors), np.ones(1, int))
        pairs = combinations(zip(sizes, used, strict=True), 2)
        index = sum((m - r) * r_h for (m, r), (_, r_h) in pairs)
        rest = sum(sizes) - sum(used)
        strata.append(Stratum(_alternating(betti), sum(used), index, rest, tuple(betti)))
    return tuple(strata)


def balanced_mse_strata(K: int, c: float, lambda_b: float | None = None) -> tuple[Stratum, ...]:
    """The critical families of balanced squared error for each treatment of the bias.

    Targets used if c < 1: K equal ones without bias, K - 1 with one (the complement of the
    all-ones vector). If lambda_b > 0, the all-ones vector is a smaller one more, used if
    c < lambda_b / (1 + lambda_b). Source: MSE-2, MSE-3; index derived here (docs/atlas.md).

    Args:
        K: number of classes >= 2.
        c: sqrt(K N lambda_W lambda_H) > 0 (``UFM.c``), away from its thresholds.
        lambda_b: None = no bias, 0 = unregularised, > 0 = regularised.

    Example:
        >>> [s.count for s in balanced_mse_strata(4, 0.1)]
        [1, 0, 2, 0, 1]
    """
    require_count(K, "K", 2, "use two classes or more")
    require_positive(c, "c", "use positive weight decays")
    decay = require_positive(lambda_b, "lambda_b", "use None or 0") if lambda_b else 0.0
    ones = decay / (1 + decay)
    # At a threshold points are degenerate; c and the thresholds carry a few roundings each.
    if any(isclose(c, bound, rel_tol=8 * sys.float_info.epsilon) for bound in (1.0, ones)):
        raise InputError("Need c away from 1 and lambda_b / (1 + lambda_b)", c, "change a decay")
    first = [] if c > 1 else [K] if lambda_b is None else [K - 1]
    return mse_strata([*first, 1] if c < ones else first)


def missing_mass(hits: Iterable[int]) -> float:
    """Good-Turing estimate of the probability that the next run ends in an orbit not seen yet.

    f_1 / n: f_1 orbits were hit exactly once in n = sum(hits) runs. It does not say how many are
    unseen: an orbit that the search never reaches has mass 0. Source: after Good (1953).

    Args:
        hits: runs that ended in each orbit, >= 0 (0: known from elsewhere).

    Example:
        >>> missing_mass([6, 1, 1, 2])
        0.2
    """
    counts = [require_count(h, "hits", 0, "count the runs of each orbit") for h in hits]
    if sum(counts) == 0:
        raise InputError("Need at least one run", counts, "search first")
    return counts.count(1) / sum(counts)


def missing_mass_bound(hits: Iterable[int]) -> float:
    """An upper bound (95 %) for what ``missing_mass`` estimates, the expected mass; never zero.

    f_1 is a sum of negatively associated indicators with expectation n times the unseen mass that
    n - 1 runs are expected to leave, so its lower tail is below Poisson's:
    chi2_{0.95}(2 f_1 + 2) / (2 n), which is 3 / n for f_1 = 0, the rule of three.
    Source: Good (1953); Garwood (1936).

    Args:
        hits: runs that ended in each orbit, >= 0.

    Example:
        >>> round(missing_mass_bound([60, 40]), 3), missing_mass_bound([1])
        (0.03, 1.0)
    """
    counts = [require_count(h, "hits", 0, "count the runs of each orbit") for h in hits]
    if sum(counts) == 0:
        return 1.0
    # chi2_{0.95}(2 a) / 2 by the incomplete gamma function: SciPy's statistics load slowly.
    return min(1.0, float(scipy.special.gammaincinv(counts.count(1) + 1, 0.95)) / sum(counts))


def _alternating(coefficients: Iterable[int]) -> int:
    return sum((-1) ** k * int(x) for k, x in enumerate(coefficients))


def _add(a: list[int], b: list[int]) -> list[int]:
    return [x + y for x, y in zip_longest(a, b, fillvalue=0)]


def _require_dimensions(*values: int) -> None:
    for value in values:
        require_count(value, "dimension", 0, "count from zero")
