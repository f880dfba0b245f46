"""Rate reduction at a fixed energy per class: features spread evenly, at a rank that pays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from ufm.answers import Certificate, Minimiser, Structure
from ufm.counts import parsed_counts, parsed_ranks
from ufm.errors import InputError, require_count, require_decay, require_positive
from ufm.model import Model
from ufm.models.rate_reduction import RateReduction, Representation
from ufm.models.unused_dimensions import unused_dimensions
from ufm.records import pytree_record


@pytree_record(eq=False)
class ConstrainedRate(Model[Representation]):
    """Coding rate of every class minus that of all features, at |Z_k|^2 = m_k.

    f(Z) = -1/2 logdet(I + a U U^T) + sum_k p_k/2 logdet(I + a/p_k U_k U_k^T),
    U_k = sqrt(m_k) Z_k / |Z_k|

    Free features are normalised inside, class by class, so lengths are among the symmetries.
    Source: after Yu et al. 2020 (arXiv 2006.08558); docs/theory.md, MCR-5 and MCR-6.

    Attributes:
        free: the same problem without the constraint, and without decay.
    """

    free: RateReduction

    @property
    def sizes(self) -> tuple[int, ...]:
        """m_k."""
        return self.free.sizes

    @property
    def d(self) -> int:
        """Rows of Z."""
        return self.free.d

    def objective(self, point: Representation) -> Any:
        """f at a point; shape Z (d, m)."""
        labels = self.free.labels
        members = jnp.arange(len(self.free.shares))[:, None] == labels
        squares = members @ (point.Z**2).sum(axis=0)
        room = self.free.shares * len(labels)
        return self.free.objective(Representation(point.Z * ((room / squares) ** 0.5)[labels]))

    def random_point(self, key: Any, scale: float = 1.0) -> Representation:
        """Independent N(0, scale^2) entries."""
        return self.free.random_point(key, scale)

    def generators(self, point: Representation) -> Representation:
        """Those without the constraint, and the length of every class."""
        members = np.arange(len(self.sizes))[:, None] == np.asarray(self.free.labels)
        grown = members[:, None, :] * np.asarray(point.Z)
        return Representation(np.concatenate([self.free.generators(point).Z, grown]))

    def checked(self, point: Any) -> tuple[Model[Any], Any]:
        """The point as float64 arrays, and this model.

        Raises:
            InputError: shapes or numbers that do not fit, or a class that is zero.
        """
        model, told = super().checked(point)
        squares = np.bincount(self.free.labels, (told.Z**2).sum(axis=0))
        if squares.min() == 0:
            rule = f"Need features of class {int(np.argmin(squares))} that are not all zero"
            raise InputError(rule, 0.0, "move one of them: zero cannot be normalised")
        return model, told

    def with_dimension(self, d: int) -> ConstrainedRate:
        """The same rate, energies and classes with feature dimension ``d``."""
        return ConstrainedRate(replace(self.free, d=d))

    def structure(self, point: Representation) -> Structure | None:
        """The Hessian at any point from the dimensions that it uses (A-8); None where d is few."""
        return unused_dimensions(self, point, Representation(0))

    # ---- what is known

    def direction_rate(self, k: int, energy: float) -> float:
        """phi_k(x) = log(1 + a x)/2 - p_k log(1 + a x/p_k)/2: what a direction of class k adds."""
        rate, share = float(self.free.rate), float(self.free.shares[k])
        spread = math.log1p(rate * energy) - share * math.log1p(rate * energy / share)
        return spread / 2

    def best_rank(self, k: int) -> tuple[int, float]:
        """r <= min(m_k, d) of the largest r phi_k(m_k / r), and that rate (MCR-5)."""
        m = self.sizes[k]
        rates = [r * self.direction_rate(k, m / r) for r in range(1, min(m, self.d) + 1)]
        best = int(np.argmax(rates))
        return best + 1, rates[best]

    def bound(self) -> float:
        """-sum_k max_r r phi_k(m_k / r): nothing is below (MCR-5)."""
        return -math.fsum(self.best_rank(k)[1] for k in range(len(self.sizes)))

    def best_fit(self) -> tuple[tuple[int, ...], float]:
        """The ranks r_k >= 1 with sum at most d of the largest sum r_k phi_k(m_k / r_k), and it.

        Of orthogonal classes the best; the minimum where ``minimiser`` has one, else nobody knows.

        Raises:
            InputError: fewer dimensions than classes.
        """
        K = len(self.sizes)
        if self.d < K:
            raise InputError(f"Need d >= K = {K} for orthogonal classes", self.d, "raise d")
        best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
        for k, m in enumerate(self.sizes):
            rates = [r * self.direction_rate(k, m / r) for r in range(1, min(m, self.d) + 1)]
            longer: dict[int, tuple[float, tuple[int, ...]]] = {}
            for used, (value, ranks) in best.items():
                for r, rate in enumerate(rates, 1):
                    total = used + r
                    if total > self.d - (K - k - 1):
                        break
                    if total not in longer or longer[total][0] < value + rate:
                        longer[total] = value + rate, (*ranks, r)
            best = longer
        value, ranks = max(best.values())
        return ranks, value

    def minimiser(self) -> Minimiser | None:
        """Orthogonal classes, each at its best rank, where they fit into d; else None."""
        ranks = [self.best_rank(k)[0] for k in range(len(self.sizes))]
        if sum(ranks) > self.d:
            return None
        point = self.orthogonal_point(ranks)
        return Minimiser(point, self.bound(), sum(ranks), None, "even spread (MCR-5)", "proved")

    def orthogonal_point(self, ranks: Sequence[int]) -> Representation:
        """Orthogonal classes of given ranks with equal singular values (MCR-5).

        Raises:
            InputError: a rank of 0 or above m_k, or more directions than d.
        """
        Z, row = np.zeros((self.d, sum(self.sizes))), 0
        for k, (m, r) in enumerate(zip(self.sizes, ranks, strict=True)):
            room = min(m, self.d - row)
            if not 1 <= r <= room:
                rule = f"Class {k} has room for 1 to {room} directions"
                raise InputError(rule, r, "change the ranks, or raise d")
            columns = np.flatnonzero(np.asarray(self.free.labels) == k)
            Z[row + np.arange(r), columns[:r]] = math.sqrt(m / r)
            row += r
        return Representation(Z)

    def explicit(self, name: str) -> Representation | None:
        """Also orthogonal classes of equal singular values by their ranks, such as "2,1"."""
        ranks = parsed_ranks(name)
        if ranks is None:
            return super().explicit(name)
        if len(ranks) != len(self.sizes):
            rule = f"Need a rank for each of {len(self.sizes)} classes"
            raise InputError(rule, name, f"write for example {','.join('1' * len(self.sizes))}")
        return self.orthogonal_point(ranks)

    def measures(self, point: Representation) -> dict[str, Any]:
        """M_k = d sqrt(p_k) / eps^2, and that from which class k has full rank (MCR-6)."""
        rate, sizes = float(self.free.rate), np.array(self.sizes)
        shares = [float(x) for x in self.free.shares]
        most = [min(m, self.d) for m in self.sizes]
        return {
            "energy": (rate * sizes / np.sqrt(shares)).tolist(),
            "full_rank_from": [full_rank_from(r, p) for r, p in zip(most, shares, strict=True)],
        }

    def certificate(self, point: Representation) -> Certificate:
        """The bound of MCR-5, valid in every dimension."""
        bound = self.bound()
        gap = float(self.value_and_gradient(point)[0]) - bound
        return Certificate(True, gap, bound, None, "rates of classes alone (MCR-5)", "proved")

    def columns(self) -> dict[str, Any]:
        """K, d, counts and rate."""
        told = self.free.columns()
        del told["lambda_Z"]
        return told


def full_rank_from(rank: int, share: float) -> float:
    """M_c(r, p): the M = d sqrt(p) / eps^2 from which rank r is better than r - 1 (MCR-6).

    r phi(M / r) = (r - 1) phi(M / (r - 1)), phi(x) = log(1 + sqrt(p) x)/2 - p log(1 + x/sqrt(p))/2;
    0 for r = 1.

    Example:
        >>> [round(full_rank_from(r, 0.5), 10) for r in (2, 3)]
        [3.0811157111, 5.3240238042]
    """
    root = math.sqrt(share)

    def worth(r: int, energy: float) -> float:
        x = energy / r
        return r * (math.log1p(root * x) - share * math.log1p(x / root)) / 2

    if rank < 2:
        return 0.0
    # phi is steepest at x = 1: at M = r - 1 an even spread over r is worse, far above it is better.
    ends = (rank - 1.0, 1e3 * rank)
    found = scipy.optimize.brentq(
        lambda M: worth(rank, M) - worth(rank - 1, M), *ends, xtol=1e-14, rtol=1e-14
    )
    return float(found)


def constrained_rate(
    counts: str | Sequence[int] = "3,3", d: int = 6, eps: float = 1.05
) -> ConstrainedRate:
    """Rate reduction at a fixed energy of every class; the best rank of each in closed form.

    f(Z) = -1/2 logdet(I + a U U^T) + sum_k p_k/2 logdet(I + a/p_k U_k U_k^T), |U_k|^2 = m_k

    with a = d / (m eps^2). Public code writes d / (m eps): its eps is the square of this one.

    Args:
        counts: samples of every class, with commas.
        d: feature dimension.
        eps: precision of the code, > 0.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> model = constrained_rate("2,2", 4, 1.1)
        >>> best = model.minimiser()
        >>> round(-best.value, 10), best.rank  # one direction a class, not two
        (0.2456708295, 2)
    """
    sizes = parsed_counts(counts)
    require_count(d, "d", 1, "use a feature dimension of one or more")
    require_positive(eps, "eps", "use a precision such as 0.5")
    m = sum(sizes)
    rate = require_decay(d / (m * eps) / eps, "the rate d / (m eps^2)")
    shares = np.array(sizes) / m
    free = RateReduction(np.repeat(np.arange(len(sizes)), sizes), shares, rate, 0.0, d)
    return ConstrainedRate(free)
