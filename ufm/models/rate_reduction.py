"""Maximal coding rate reduction with weight decay: all features spread, every class shrinks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy
from numpy.typing import NDArray

from ufm.answers import Minimiser, Structure
from ufm.counts import parsed_counts, parsed_ranks
from ufm.decay import penalty
from ufm.errors import InputError, require_count, require_decay, require_positive
from ufm.model import Model
from ufm.point import as_rows, gaussian, skew_basis
from ufm.records import pytree_record
from ufm.spectrum import MAX_DIAGONALISED, Spectrum
from ufm.tolerance import RANK, generator_rank
from ufm.typing import Array


class Representation(NamedTuple):
    """Features ``Z`` (d, m), class by class."""

    Z: Any


@pytree_record(static=("d",), eq=False)
class RateReduction(Model[Representation]):
    """Coding rate of every class minus that of all features, with weight decay.

    f(Z) = -1/2 logdet(I + a Z Z^T) + sum_k p_k/2 logdet(I + a/p_k Z_k Z_k^T) + (lambda_Z/2) |Z|^2

    with p_k the share of class k and a the ``rate``, d/(m eps^2) in the original problem. Every
    local minimum has orthogonal classes (docs/theory.md, MCR-1 to MCR-4).
    Source: after Wang et al. 2024 (arXiv 2406.01909).

    Attributes:
        labels: class of every column (m,), ascending.
        shares: p_k (K,).
        rate: a.
        lambda_Z: weight decay.
        d: rows of Z.
    """

    labels: Any
    shares: Any
    rate: Any
    lambda_Z: Any
    d: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Columns of every class."""
        labels = np.asarray(self.labels, dtype=int)
        return tuple(np.bincount(labels, minlength=len(self.shares)).tolist())

    def objective(self, point: Representation) -> Any:
        """f at a point; shape Z (d, m)."""
        Z, eye = point.Z, jnp.eye(self.d)
        members = jnp.arange(len(self.shares))[:, None] == self.labels
        grams = jnp.einsum("im,km,jm->kij", Z, members, Z)
        rates = jnp.asarray(self.rate) / self.shares
        within = jnp.linalg.slogdet(eye + rates[:, None, None] * grams)[1]
        whole = jnp.linalg.slogdet(eye + self.rate * Z @ Z.T)[1]
        return 0.5 * (self.shares @ within - whole) + penalty(self.lambda_Z, (Z**2).sum())

    def random_point(self, key: Any, scale: float = 1.0) -> Representation:
        """Independent N(0, scale^2) entries."""
        (Z,) = gaussian(key, [(self.d, len(self.labels))])
        return Representation(scale * Z)

    def generators(self, point: Representation) -> Representation:
        """Rotations Z -> R Z, and Z_k -> Z_k Q within every class."""
        Z = np.asarray(point.Z)
        moves = [skew_basis(self.d) @ Z]
        for columns in self._columns():
            turned = np.zeros((math.comb(len(columns), 2), *Z.shape), Z.dtype)
            turned[:, :, columns] = Z[:, columns] @ skew_basis(len(columns))
            moves.append(turned)
        return Representation(np.concatenate(moves))

    def structure(self, point: Representation) -> Structure | None:
        """The Hessian at any point from its core and K + 1 small blocks (MCR-2).

        None where the core is too large to diagonalise.
        """
        Z, columns = np.asarray(point.Z), self._columns()
        cut = RANK * (1 + float(np.linalg.norm(Z, 2)))
        left, values, _ = np.linalg.svd(Z, full_matrices=False)
        kept = int(np.sum(values > cut))
        rows, dropped = left[:, :kept].T, float(np.sum(values[kept:] ** 2))
        parts = []
        for chosen in columns:
            _, of_class, right = np.linalg.svd(Z[:, chosen], full_matrices=False)
            parts.append(rows @ Z[:, chosen] @ right[: int(np.sum(of_class > cut))].T)
            dropped += float(np.sum(of_class[parts[-1].shape[1] :] ** 2))
        ranks = [part.shape[1] for part in parts]
        if kept * sum(ranks) > MAX_DIAGONALISED:
            return None
        labels = np.repeat(np.arange(len(ranks)), ranks)
        core = RateReduction(labels, self.shares, self.rate, self.lambda_Z, kept)
        at = Representation(np.concatenate(parts, axis=1))
        levels = [(x, 1, "core") for x in np.linalg.eigvalsh(core.hessian(at))]
        outside = self.d - kept
        levels += [(x, outside, "new rows") for x in np.linalg.eigvalsh(core._new_row(at))]
        spare = [len(k) - r for k, r in zip(columns, ranks, strict=True)]
        levels.append((float(self.lambda_Z), outside * sum(spare), "new rows and columns"))
        for k, free in enumerate(spare):
            new = np.linalg.eigvalsh(core._new_column(at, k))
            levels += [(x, free, f"new columns of class {k}") for x in new]
        moved = sum(r * s for r, s in zip(ranks, spare, strict=True)) + kept * outside
        turned = generator_rank(as_rows(core.generators(at))) if kept else 0
        order = max(kept * sum(ranks), 10)
        return Structure(Spectrum.of(levels), turned + moved, order, kept, moved=math.sqrt(dropped))

    def hessian(self, point: Representation) -> Array:
        """The Hessian (d m, d m), rows of Z one after the other (MCR-2)."""
        Z = np.asarray(point.Z)
        d, m = Z.shape
        whole = np.zeros((d, m, d, m)) - _curvature(Z, float(self.rate))
        for k, columns in enumerate(self._columns()):
            share = float(self.shares[k])
            block = np.ix_(np.arange(d), columns, np.arange(d), columns)
            whole[block] += share * _curvature(Z[:, columns], float(self.rate) / share)
        return whole.reshape(d * m, d * m) + float(self.lambda_Z) * np.eye(d * m)

    def _new_row(self, point: Representation) -> Array:
        """The block of a row that is zero at the point, (m, m)."""
        Z, rate = np.asarray(point.Z), float(self.rate)
        block = float(self.lambda_Z) * np.eye(Z.shape[1]) - rate * _shrunk(Z.T, rate)
        for k, columns in enumerate(self._columns()):
            within = _shrunk(Z[:, columns].T, rate / float(self.shares[k]))
            block[np.ix_(columns, columns)] += rate * within
        return block

    def _new_column(self, point: Representation, k: int) -> Array:
        """The block of a column of class k that is zero at the point, (d, d)."""
        Z, rate = np.asarray(point.Z), float(self.rate)
        within = _shrunk(Z[:, self._columns()[k]], rate / float(self.shares[k]))
        return float(self.lambda_Z) * np.eye(self.d) + rate * (within - _shrunk(Z, rate))

    def _columns(self) -> list[NDArray[np.int64]]:
        labels = np.asarray(self.labels)
        return [np.flatnonzero(labels == k) for k in range(len(self.shares))]

    def minimiser(self) -> Minimiser:
        """The smallest classes at full rank, each while it gains, until d is full (MCR-4)."""
        gains = [self._gain(k) for k in range(len(self.shares))]
        ranks, left = [0] * len(gains), self.d
        for k in np.argsort(self.sizes, kind="stable"):
            ranks[k] = min(left, self.sizes[k]) if gains[k] > 0 else 0
            left -= ranks[k]
        value = 0.0 - sum(r * gain for r, gain in zip(ranks, gains, strict=True))
        point = self.orthogonal_point(ranks)
        return Minimiser(point, value, sum(ranks), None, "the smallest classes (MCR-4)", "proved")

    def _gain(self, k: int) -> float:
        found, rate, decay = self._roots(k), float(self.rate), float(self.lambda_Z)
        if found is None:
            return 0.0
        return max(0.0, direction_gain(float(self.shares[k]), found[1], rate, decay))

    def _roots(self, k: int) -> tuple[float, float] | None:
        return roots(float(self.shares[k]), float(self.rate), float(self.lambda_Z))

    def orthogonal_point(
        self, upper: Sequence[int], lower: Sequence[int] | None = None
    ) -> Representation:
        """The critical point of orthogonal classes with given ranks at the two roots (MCR-1).

        Args:
            upper: directions of every class at the larger root; all of them: a local minimum.
            lower: directions of every class at the smaller root, by default none.

        Raises:
            InputError: more directions than d or a class has, or a class that has no roots.
        """
        below = [0] * len(upper) if lower is None else list(lower)
        Z, row = np.zeros((self.d, len(self.labels))), 0
        for k, (columns, up, down) in enumerate(zip(self._columns(), upper, below, strict=True)):
            found, room = self._roots(k), min(len(columns), self.d - row)
            if up + down > room:
                rule, remedy = f"Class {k} has room for {room} directions", "lower the ranks"
                raise InputError(rule, up + down, f"{remedy}, or raise d or its samples")
            if up + down and found is None:
                rule = f"Class {k} needs lambda_Z <= {existence(self.shares[k], self.rate):.6g}"
                raise InputError(rule, float(self.lambda_Z), "lower lambda_Z, or give it rank 0")
            for i in range(up + down):
                low, high = found or (0.0, 0.0)
                Z[row, columns[i]] = math.sqrt((high if i < up else low) / float(self.rate))
                row += 1
        return Representation(Z)

    def lines_point(self) -> Representation:
        """Equal classes on lines at equal angles in a plane: critical, with tightness 1/2 (MCR-1).

        Raises:
            InputError: fewer than three classes, unequal ones, d = 1, or a decay without roots.
        """
        K, found = len(self.sizes), roots(0.5, float(self.rate), float(self.lambda_Z))
        if K < 3 or len(set(self.sizes)) > 1 or self.d < 2 or found is None:
            most = existence(0.5, self.rate)
            rule = f"Need three equal classes or more, d >= 2 and lambda_Z <= {most:.6g}"
            got = f"counts {self.sizes}, d = {self.d}, lambda_Z = {self.lambda_Z:g}"
            raise InputError(rule, got, "choose other numbers for classes on lines")
        angles = np.pi * np.arange(K) / K
        Z = np.zeros((self.d, len(self.labels)))
        first = [columns[0] for columns in self._columns()]
        size = math.sqrt(2 * found[1] / (K * float(self.rate)))
        Z[:2, first] = size * np.stack([np.cos(angles), np.sin(angles)])
        return Representation(Z)

    def explicit(self, name: str) -> Representation | None:
        """Also "lines", and orthogonal points by their ranks: "2,1" or, upper/lower, "1,1/1,0"."""
        ranks = [parsed_ranks(part) for part in name.split("/")]
        if name == "lines":
            return self.lines_point()
        if len(ranks) > 2 or any(part is None for part in ranks):
            return super().explicit(name)
        K = len(self.sizes)
        if any(part is None or len(part) != K for part in ranks):
            rule = f"Need a rank for each of {K} classes"
            raise InputError(rule, name, f"write for example {','.join('1' * K)}")
        return self.orthogonal_point(*(part or () for part in ranks))

    def measures(self, point: Representation) -> dict[str, Any]:
        """Rank of every class, the largest decay at which it exists, and at which it pays (MCR-4).

        The latter is a share of the former, and depends on the share of the class alone.
        """
        Z, rate = np.asarray(point.Z), float(self.rate)
        cut = RANK * (1 + float(np.linalg.norm(Z, 2)))
        shares = [float(x) for x in self.shares]
        return {
            "ranks": [int(np.linalg.matrix_rank(Z[:, x], tol=cut)) for x in self._columns()],
            "existence": [existence(share, rate) for share in shares],
            "paying_share": [paying_share(share) for share in shares],
        }

    def columns(self) -> dict[str, Any]:
        """K, d, counts, rate and decay."""
        return {
            "K": len(self.shares),
            "d": self.d,
            "counts": self.sizes,
            "rate": float(self.rate),
            "lambda_Z": float(self.lambda_Z),
        }


def _shrunk(Z: Array, rate: float) -> Array:
    """(I + rate Z Z^T)^-1."""
    return np.asarray(np.linalg.inv(np.eye(len(Z)) + rate * Z @ Z.T))


def _curvature(Z: Array, rate: float) -> Array:
    """Hessian of 1/2 logdet(I + rate Z Z^T) as a tensor (d, m, d, m)."""
    outer, inner = _shrunk(Z, rate), _shrunk(Z.T, rate)
    mixed = outer @ Z
    straight = np.einsum("ij,ab->iajb", outer, inner)
    return np.asarray(rate * (straight - rate * np.einsum("ja,ib->iajb", mixed, mixed)))


def existence(share: float, rate: float) -> float:
    """The largest decay at which a direction of tightness A exists: a (1 - sqrt A) / (1 + sqrt A).

    Example:
        >>> existence(0.25, 3.0)
        1.0
    """
    return rate * (1 - math.sqrt(share)) / (1 + math.sqrt(share))


def roots(share: float, rate: float, decay: float) -> tuple[float, float] | None:
    """Both solutions of a (1 - A) v = decay (1 + v)(A + v), or None; their product is A (MCR-1).

    Args:
        share: A, of a class alone its share p_k.
        rate: a.
        decay: lambda_Z.

    Example:
        >>> low, high = roots(0.25, 3.0, 0.9)
        >>> round(low * high, 12)
        0.25
    """
    half = (rate * (1 - share) / decay - 1 - share) / 2
    if half < math.sqrt(share):
        return None
    high = half + math.sqrt((half - math.sqrt(share)) * (half + math.sqrt(share)))
    return share / high, high


def direction_gain(share: float, root: float, rate: float, decay: float) -> float:
    """What one direction takes off f: log(1 + v)/2 - A log(1 + v/A)/2 - decay v/(2 a) (MCR-1).

    Example:
        >>> direction_gain(0.5, 0.0, 3.0, 0.1)
        0.0
    """
    spread = math.log1p(root) - share * math.log1p(root / share)
    return 0.5 * (spread - decay * root / rate)


def paying_share(share: float) -> float:
    """The decay at which a direction of tightness A is worth nothing, over that of ``existence``.

    v = 0 at the larger root: below it a direction lowers f, between the two it is a minimum that
    does not (MCR-4). Whatever the rate is.

    Example:
        >>> round(paying_share(0.5), 10)
        0.8671337848
    """
    last = existence(share, 1.0)

    def gain(part: float) -> float:
        found = roots(share, 1.0, part * last)
        return direction_gain(share, found[1] if found else 0.0, 1.0, part * last)

    return float(scipy.optimize.brentq(gain, 0.1, 1 - 1e-9, xtol=1e-15, rtol=1e-14))


def rate_reduction(
    counts: str | Sequence[int] = "4,2,3", d: int = 4, eps: float = 0.5, lambda_Z: float = 0.1
) -> RateReduction:
    """Maximal coding rate reduction with weight decay, solved exactly for every size.

    f(Z) = -1/2 logdet(I + a Z Z^T) + sum_k p_k/2 logdet(I + a/p_k Z_k Z_k^T) + (lambda_Z/2) |Z|^2

    with a = d / (m eps^2). Public code writes d / (m eps): its eps is the square of this one.

    Args:
        counts: samples of every class, with commas.
        d: feature dimension.
        eps: precision of the code, > 0.
        lambda_Z: weight decay of the features, > 0.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> model = rate_reduction("6,3", 2, 0.5, 0.05)
        >>> round(model.minimiser().value, 10)  # the smaller class alone
        -0.6913090884
    """
    sizes = parsed_counts(counts)
    require_count(d, "d", 1, "use a feature dimension of one or more")
    require_positive(eps, "eps", "use a precision such as 0.5")
    require_decay(lambda_Z, "lambda_Z")
    m = sum(sizes)
    rate = require_decay(d / (m * eps) / eps, "the rate d / (m eps^2)")
    shares = np.array(sizes) / m
    return RateReduction(np.repeat(np.arange(len(sizes)), sizes), shares, rate, lambda_Z, d)
