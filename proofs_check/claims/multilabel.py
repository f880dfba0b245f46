"""Sets of labels: one simplex, scaled by the number of labels (ML-1)."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np

from proofs_check.claim import COUNTING, Claim, Mutant, Tolerance
from proofs_check.descents import beside, descended, entropy_against
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen
from ufm.models.multilabel import multilabel
from ufm.typing import Array

SOURCE = "derived here; the structure after Li et al. (2023)"

Setting = tuple[int, int, int, int, int, float, float]
# K, d, samples per single label, pair and triple, decays of W and H.
_SETTINGS: tuple[Setting, ...] = (
    (4, 5, 2, 1, 0, 0.004, 0.006),
    (3, 4, 1, 2, 0, 0.02, 0.011),
    (5, 6, 1, 2, 1, 0.003, 0.008),
    (5, 4, 3, 0, 2, 0.012, 0.002),
)


def sets(setting: Setting) -> Array:
    """Labels of all samples as columns of 0 and 1, written out."""
    K, columns = setting[0], []
    for m, n in enumerate(setting[2:5], 1):
        for S in combinations(range(K), m):
            columns += n * [[float(k in S) for k in range(K)]]
    return np.array(columns).T


def _minimum(setting: Setting, seed: int) -> PlainSpecimen:
    members = sets(setting)
    shape = (setting[0], setting[1], members.shape[1])
    value, point = descended(entropy_against(members), shape, setting[5:], seed)
    return Specimen(multilabel(*setting), point, "minimiser", note=f"{value:.6g}")


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent on all samples."""
    return tuple(_minimum(s, seed) for seed, s in enumerate(_SETTINGS[: 2 if quick else None]))


@cache
def near_collapse(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent where decay is a thousandth below and above what the gradient pulls."""
    found = []
    for seed, setting in enumerate(_SETTINGS[: 2 if quick else None]):
        members = sets(setting)
        pull = float(np.linalg.norm(members - members.mean(axis=0), 2))
        for decays in beside((4.0, 1.0), pull / members.shape[1]):
            found.append(_minimum((*setting[:5], *decays), seed))
    return tuple(found)


def _logits(specimen: PlainSpecimen) -> Array:
    return np.asarray(specimen.point.W @ specimen.point.H)


def _setting(specimen: PlainSpecimen) -> Setting:
    told = specimen.columns
    return tuple(told[x] for x in ("K", "d", "n", "pairs", "triples", "lambda_W", "lambda_H"))


def _multiplicities(specimen: PlainSpecimen) -> Array:
    return np.unique(sets(_setting(specimen)).sum(axis=0))


def _gaps(specimen: PlainSpecimen) -> Array:
    """Mean logit of a set's labels less that of the others, one number per size of sets."""
    members, Z = sets(_setting(specimen)), _logits(specimen)
    sizes = members.sum(axis=0)
    inside = (members * Z).sum(axis=0) / sizes
    outside = ((1 - members) * Z).sum(axis=0) / (len(Z) - sizes)
    return np.array([(inside - outside)[sizes == m].mean() for m in np.unique(sizes)])


def _largest(specimen: PlainSpecimen) -> float:
    return float(np.linalg.norm(_logits(specimen), 2))


def _from_scaled_averages(specimen: PlainSpecimen, alike: bool = False) -> float:
    """How far logits are from a_m (1_S - m/K)."""
    members, Z = sets(_setting(specimen)), _logits(specimen)
    sizes, gaps = members.sum(axis=0), _gaps(specimen)
    scale = gaps[np.searchsorted(_multiplicities(specimen), sizes)]
    scale = np.full_like(scale, gaps[0]) if alike else scale
    return float(np.abs(Z - scale * (members - sizes / len(Z))).max())


def _kept(specimen: PlainSpecimen) -> float:
    """1 where logits are not zero: a thousandth below the threshold they exceed 1e-2."""
    return float(_largest(specimen) > 1e-3)


# ---- formulas

GIVEN = {
    "a": _gaps,
    "m": _multiplicities,
    "s": _largest,
    "labels": lambda s: float(sets(_setting(s)).sum()),
}


def gaps(K: int, N: int, lambda_W: float, lambda_H: float, a: Array, m: Array, s: float) -> Array:
    """The condition for a critical point, one equation per size of sets."""
    price = N * np.sqrt(lambda_W * lambda_H) / s
    return np.asarray(K / (m * np.exp(a) + K - m) / price)


def _gaps_per_label(
    K: int, lambda_W: float, lambda_H: float, a: Array, m: Array, s: float, labels: float
) -> Array:
    return gaps(K, labels, lambda_W, lambda_H, a, m, s)  # type: ignore[arg-type]


def kept(
    K: int, n: int, pairs: int, triples: int, N: int, lambda_W: float, lambda_H: float
) -> float:
    """1 below collapse, 0 from there on."""
    pull = n + pairs * (K - 2) + triples * (K - 2) * (K - 3) / 2
    return float(N**2 * lambda_W * lambda_H < pull)


def _kept_of_classes(
    K: int, n: int, pairs: int, triples: int, N: int, lambda_W: float, lambda_H: float
) -> float:
    pull = n + pairs * (K - 1) + triples * (K - 1) * (K - 2) / 2
    return float(N**2 * lambda_W * lambda_H < pull)


CLAIMS = (
    Claim(
        id="multilabel-scaled-averages",
        title="Sets of labels: scaled averages of a simplex",
        statement="At the minimum the logits of a set are those of its labels, added up and "
        "scaled by a factor that depends on the number of labels alone.",
        latex=r"Wh_S=a_m(\mathbf 1_S-\tfrac mK\mathbf 1),\quad m=|S|",
        source=f"ML-1; {SOURCE}",
        region=minima,
        check=_from_scaled_averages,
        tolerance=Tolerance(1e-5, "gradient 1e-10 over a curvature above 1e-4; factor 10"),
        mutant=Mutant("one factor for all", lambda s: _from_scaled_averages(s, alike=True)),
    ),
    Claim(
        id="multilabel-gaps",
        title="Sets of labels: how large the factors are",
        statement="One equation per number of labels couples the factors through the singular "
        "value s of the logits; N counts samples.",
        latex=r"\frac K{me^{a_m}+K-m}=\frac{N\sigma a_m}s,\quad "
        r"s^2=\sum_mn_m\tbinom{K-2}{m-1}a_m^2",
        source=f"ML-1; {SOURCE}",
        region=minima,
        check=Law(gaps, _gaps, GIVEN),
        tolerance=Tolerance(1e-5, "gradient 1e-10 over a curvature above 1e-4; factor 10"),
        mutant=Mutant("N counts labels", Law(_gaps_per_label, _gaps, GIVEN)),
        uses=("multilabel-scaled-averages",),
    ),
    Claim(
        id="multilabel-collapse",
        title="Sets of labels: when everything collapses",
        statement="The minimum is zero from the decay on that the gradient at zero does not "
        "exceed.",
        latex=r"N^2\lambda_W\lambda_H\ge\sum_mn_m\tbinom{K-2}{m-1}",
        source=f"TY-1, ML-1; {SOURCE}",
        region=near_collapse,
        check=Law(kept, _kept, error=miscount),
        tolerance=COUNTING,
        mutant=Mutant("K for K - 1", Law(_kept_of_classes, _kept, error=miscount)),
        uses=("collapse-within-classes", "explicit-negative-curvature"),
    ),
)
