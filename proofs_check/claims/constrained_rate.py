"""Rate reduction at fixed energies: even spread, and the rank that pays (MCR-5 and MCR-6)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.descents import lowest
from proofs_check.formula_alterations import formula
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen
from ufm.models.constrained_rate import ConstrainedRate, constrained_rate
from ufm.models.rate_reduction import Representation
from ufm.typing import Array

SOURCE = "derived here; the model after Yu et al. (2020)"
RANK = 1e-4  # singular values; those that are not zero exceed 0.1
STEP = 1e-5  # of central differences: truncation 1e-10, rounding 1e-11

# Two classes of three in six dimensions: M = d sqrt(1/2) / eps^2, and the M at which rank two ties
# with rank one; a thousandth on both sides.
_TIE = 3.0811157111
# counts, d, eps: ranks full and less, of one and of several sizes.
_SETTINGS: tuple[tuple[tuple[int, ...], int, float], ...] = (
    ((2, 2), 4, 1.1),
    ((3, 3), 6, (6 * 0.5**0.5 / _TIE / 0.999) ** 0.5),
    ((3, 3), 6, (6 * 0.5**0.5 / _TIE / 1.001) ** 0.5),
    ((4, 2, 3), 9, 0.6),
    ((5, 2), 7, 1.3),
    ((3, 4), 7, 0.8),
    ((6, 3), 5, 1.2),
)


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest of descents from every rank, blind and with the classes apart."""
    return tuple(_descended(*s) for s in _SETTINGS[: 4 if quick else None])


def value_and_slope(x: Array, model: ConstrainedRate) -> tuple[float, Array]:
    """The negative rate reduction and its gradient by hand, of all coordinates in one vector."""
    labels, rate = np.asarray(model.free.labels), float(model.free.rate)
    Z = x.reshape(model.d, -1)
    U, slope = np.zeros_like(Z), np.zeros_like(Z)
    scales = []
    for k, m in enumerate(model.sizes):
        chosen = labels == k
        scales.append(np.sqrt(m) / np.linalg.norm(Z[:, chosen]))
        U[:, chosen] = scales[k] * Z[:, chosen]
    eye = np.eye(model.d)
    whole = eye + rate * U @ U.T
    value = -np.linalg.slogdet(whole)[1] / 2
    pull = -rate * np.linalg.solve(whole, U)
    for k, m in enumerate(model.sizes):
        chosen, share = labels == k, m / len(labels)
        part = eye + rate / share * U[:, chosen] @ U[:, chosen].T
        value += share * np.linalg.slogdet(part)[1] / 2
        push = pull[:, chosen] + rate * np.linalg.solve(part, U[:, chosen])
        along = np.sum(push * U[:, chosen]) / m
        slope[:, chosen] = scales[k] * (push - along * U[:, chosen])
    return float(value), slope.ravel()


def _descended(counts: tuple[int, ...], d: int, eps: float) -> PlainSpecimen:
    model = constrained_rate(counts, d, eps)
    labels = np.asarray(model.free.labels)
    options = {"maxiter": 4000, "ftol": 0, "gtol": 1e-11}
    starts = []
    for seed in range(10):
        rng = np.random.default_rng((41, seed))
        start = rng.normal(size=(d, len(labels)))
        if seed % 2:  # rows dealt out to the classes, and ever more to none
            rows = rng.permutation(d) % (len(counts) + seed // 2)
            start *= (rows[:, None] == labels) + 0.05
        starts.append(start.ravel())
    best = lowest(value_and_slope, model, starts, **options).reshape(d, -1)
    for k, m in enumerate(counts):
        best[:, labels == k] *= np.sqrt(m) / np.linalg.norm(best[:, labels == k])
    return Specimen(model, Representation(best), "minimiser")


def _height(specimen: PlainSpecimen) -> float:
    return value_and_slope(np.ravel(specimen.point.Z), specimen.model)[0]


def _values(specimen: PlainSpecimen) -> list[Array]:
    labels, Z = np.asarray(specimen.model.free.labels), np.asarray(specimen.point.Z)
    values = [np.linalg.svd(Z[:, labels == k], compute_uv=False) for k in range(labels[-1] + 1)]
    return [np.asarray(s[s > RANK]) for s in values]


def _spread(specimen: PlainSpecimen) -> float:
    """The largest difference of singular values of one class that are not zero."""
    return max(float(np.ptp(s)) for s in specimen.once(_values))


def _ranks(specimen: PlainSpecimen) -> Array:
    return np.array([len(s) for s in specimen.once(_values)])


def _flat(specimen: PlainSpecimen) -> float:
    """Zero eigenvalues of a Hessian from differences of the gradient."""
    x, model = np.ravel(specimen.point.Z), specimen.model
    steps = STEP * np.eye(len(x))
    rows = [value_and_slope(x + e, model)[1] - value_and_slope(x - e, model)[1] for e in steps]
    hessian = np.array(rows) / (2 * STEP)
    return float(np.sum(np.abs(np.linalg.eigvalsh((hessian + hessian.T) / 2)) < 1e-7))


# ---- formulas


@formula
def direction_rate(share: float, energy: float, rate: float) -> float:
    """phi(x): what a direction of a class adds."""
    spread = np.log(1 + rate * energy) - share * np.log(1 + rate * energy / share)
    return float(spread / 2)


@formula
def class_rates(size: int, rate: float, d: int, share: float) -> Array:
    """r phi(m / r) for r = 1, 2, ..."""
    ranks = range(1, min(size, d) + 1)
    return np.array([r * direction_rate(share, size / r, rate) for r in ranks])


def value(sizes: Array, rate: float, d: int) -> float:
    """Minus the sum over classes of the best rank's rate."""
    shares = sizes / np.sum(sizes)
    best = [np.max(class_rates(m, rate, d, p)) for m, p in zip(sizes, shares, strict=True)]
    return -float(np.sum(best))


def _value_at_full_rank(sizes: Array, rate: float, d: int) -> float:
    shares = sizes / np.sum(sizes)
    full = [class_rates(m, rate, d, p)[-1] for m, p in zip(sizes, shares, strict=True)]
    return -float(np.sum(full))


def best_ranks(sizes: Array, rate: float, d: int) -> Array:
    """The rank of every class."""
    shares = sizes / np.sum(sizes)
    rates = [class_rates(m, rate, d, p) for m, p in zip(sizes, shares, strict=True)]
    return np.array([np.argmax(x) + 1 for x in rates])


def recalled_ranks(sizes: Array, rate: float, d: int) -> Array:
    """The largest r with m / r above the energy of steepest rate, sqrt(p) / a."""
    steepest = np.sqrt(sizes / np.sum(sizes)) / rate
    return np.array([min(m, d, max(1, int(m / x))) for m, x in zip(sizes, steepest, strict=True)])


def flat(sizes: Array, ranks: Array, d: int) -> float:
    """Lengths of the classes, rotations of all features and of every class, less what both do."""
    R = np.sum(ranks)
    return float(len(sizes) + R * d - R * (R + 1) / 2 + np.sum(ranks * (sizes - ranks)))


def _flat_without_lengths(sizes: Array, ranks: Array, d: int) -> float:
    return flat(sizes, ranks, d) - len(sizes)


GIVEN: dict[str, Any] = {
    "sizes": lambda s: np.array(s.model.sizes),
    "rate": lambda s: float(s.model.free.rate),
    "d": lambda s: s.model.d,
    "ranks": _ranks,
}
_ROOM = Hypothesis(
    "the best ranks fit into d",
    lambda s: np.sum(best_ranks(GIVEN["sizes"](s), GIVEN["rate"](s), s.model.d)) <= s.model.d,
)
_EXACT = Tolerance(1e-9, "descents to a gradient of 1e-8, values of order one")


def _lengths(specimen: PlainSpecimen) -> float:
    """The largest distance of a feature's length from 1."""
    return float(np.abs(np.linalg.norm(np.asarray(specimen.point.Z), axis=0) - 1).max())


CLAIMS = (
    Claim(
        id="constrained-rate-value",
        title="Constrained rate reduction: the minimum",
        statement="Where there is room, classes are orthogonal, and each adds the best of "
        "r phi(m/r) over its ranks r.",
        latex=r"f^*=-\sum_k\max_{r\le m_k}r\varphi_k(m_k/r),\ "
        r"\varphi_k(x)=\tfrac12\log(1+\alpha x)-\tfrac{\pi_k}2\log(1+\alpha x/\pi_k)",
        source=f"MCR-5; {SOURCE}",
        hypotheses=(_ROOM,),
        region=minima,
        check=Law(value, _height, GIVEN),
        tolerance=_EXACT,
        mutant=Mutant("at full rank", Law(_value_at_full_rank, _height, GIVEN)),
    ),
    Claim(
        id="constrained-rate-even-spread",
        title="Constrained rate reduction: even spread",
        statement="All singular values of a class that are not zero are equal; one smaller one, "
        "as earlier statements allow, is never a maximum.",
        latex=r"\sigma_i(Z_k)\in\{0,\sqrt{m_k/r_k}\}",
        source=f"MCR-5; {SOURCE}",
        hypotheses=(_ROOM,),
        region=minima,
        check=_spread,
        tolerance=Tolerance(1e-5, "gradient norm 1e-8 over a curvature above 1e-2, factor 10"),
        mutant=Mutant("features of equal length too", _lengths),
        uses=("constrained-rate-value",),
    ),
    Claim(
        id="constrained-rate-ranks",
        title="Constrained rate reduction: the rank that pays",
        statement="The rank of a class at the minimum is that of the largest r phi(m/r), also a "
        "thousandth beside a tie.",
        latex=r"r_k=\arg\max_{r\le m_k}r\varphi_k(m_k/r)",
        source=f"MCR-6; {SOURCE}",
        hypotheses=(_ROOM,),
        region=minima,
        check=Law(best_ranks, _ranks, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant("the condition as recalled", Law(recalled_ranks, _ranks, GIVEN, miscount)),
    ),
    Claim(
        id="constrained-rate-nullity",
        title="Constrained rate reduction: flat directions",
        statement="At the minimum the flat directions are those of the symmetry group and the "
        "lengths of the classes.",
        latex=r"K+Rd-\tfrac{R(R+1)}2+\sum_kr_k(m_k-r_k)",
        source=f"MCR-5; {SOURCE}",
        hypotheses=(_ROOM,),
        region=lambda quick: minima(quick)[:: 2 if quick else 1],
        check=Law(flat, _flat, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant("lengths held", Law(_flat_without_lengths, _flat, GIVEN, miscount)),
        uses=("constrained-rate-value",),
    ),
    Claim(
        id="constrained-rate-full-rank",
        title="Refuted: a fine enough code has full rank",
        statement="FALSE: a class fills every dimension whose even share of its energy exceeds "
        "the energy of steepest rate. Two samples a class, d = 4, eps = 1.1: rank one is better.",
        latex=r"m_k/r\gt\sqrt{\pi_k}/\alpha\Rightarrow\operatorname{rank}Z_k\ge r",
        source=f"MCR-6; {SOURCE}; the condition recalled of Yu et al. (2020)",
        literature="refuted",
        hypotheses=(_ROOM,),
        region=minima,
        check=lambda s: float(np.max(_recalled(s) - s.once(_ranks), initial=0)),
        tolerance=COUNTING,
        mutant=Mutant(
            "one dimension more", lambda s: float(np.max(_recalled(s) + 1 - s.once(_ranks)))
        ),
        holds=False,
        uses=("constrained-rate-ranks",),
    ),
)


def _recalled(specimen: PlainSpecimen) -> Array:
    model = specimen.model
    return recalled_ranks(np.array(model.sizes), float(model.free.rate), model.d)
