"""Rate reduction: every critical point, its curvature, and the majority collapse (MCR-1 to 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.rate_reduction_points import (
    descents,
    height,
    lowest_points,
    orthogonal_points,
    simplex_points,
)
from proofs_check.formula_alterations import formula
from proofs_check.instance import index_of, nullity_of
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen, where
from ufm.models.rate_reduction import Representation
from ufm.typing import Array

SOURCE = "derived here; the model after Wang et al. (2024)"
RANK = 1e-5  # singular values; those that are not zero exceed 0.1


# ---- what a point says of itself


def blocks(specimen: PlainSpecimen) -> list[Array]:
    """Z_k of every class."""
    labels = np.asarray(specimen.model.labels)
    return [np.asarray(specimen.point.Z)[:, labels == k] for k in range(len(specimen.model.shares))]


def sizes(specimen: PlainSpecimen) -> Array:
    """m_k."""
    return np.array([Z.shape[1] for Z in blocks(specimen)])


def _values(specimen: PlainSpecimen) -> list[Array]:
    values = [np.asarray(np.linalg.svd(Z, compute_uv=False)) for Z in blocks(specimen)]
    return [s[s > RANK] for s in values]


def ranks(specimen: PlainSpecimen) -> Array:
    """r_k."""
    return np.array([len(s) for s in _values(specimen)])


def low_ranks(specimen: PlainSpecimen) -> Array:
    """Directions of every class below the geometric mean of both roots."""
    model = specimen.model
    pairs = zip(_values(specimen), np.asarray(model.shares), strict=True)
    return np.array([int(np.sum(model.rate * s**2 < np.sqrt(share))) for s, share in pairs])


def _largest_values(specimen: PlainSpecimen) -> Array:
    """One eigenvalue of Z_k Z_k^T of every class, 0 where it has none."""
    return np.array([s[0] ** 2 if len(s) else 0.0 for s in _values(specimen)])


ALL_HIGH = Hypothesis("every direction is at its larger root", lambda s: not low_ranks(s).any())
GIVEN: dict[str, Any] = {
    "sizes": sizes,
    "ranks": ranks,
    "low": low_ranks,
    "shares": lambda s: np.asarray(s.model.shares),
    "x": _largest_values,
}


# ---- formulas


@formula
def upper_root(A: Any, rate: Any, decay: Any) -> Any:
    """nu_+ of a (1 - A) nu = decay (1 + nu)(A + nu)."""
    half = (rate * (1 - A) / decay - 1 - A) / 2
    with np.errstate(invalid="ignore"):
        return half + np.sqrt(half**2 - A)


@formula
def gain(A: Any, nu: Any, rate: Any, decay: Any) -> Any:
    """v: what a direction takes off the objective."""
    return np.log(1 + nu) / 2 - A * np.log(1 + nu / A) / 2 - decay * nu / (2 * rate)


def spectrum(
    d: int, rate: float, lambda_Z: float, sizes: Array, ranks: Array, shares: Array, x: Array
) -> Array:
    """All eigenvalues at a point whose directions are all at nu_+."""
    K, R = len(shares), int(np.sum(ranks))
    M, steep = 1 / (1 + rate * x), rate / shares
    found = [np.zeros(R * (d - R) + R * (R - 1) // 2 + int(ranks @ (sizes - ranks)))]
    found.append(np.full((d - R) * int(np.sum(sizes - ranks)), lambda_Z))
    for k in range(K):
        top = 2 * rate * x[k] * (steep[k] - rate) * (rate * steep[k] * x[k] ** 2 - 1)
        bottom = (1 + rate * x[k]) ** 2 * (1 + steep[k] * x[k]) ** 2
        found.append(np.full(ranks[k] * (ranks[k] + 1) // 2, top / bottom))
        for j in range(K):
            if j < k:
                mixed = rate**2 * M[j] * M[k] * (x[j] + x[k])
                found.append(np.full(ranks[j] * ranks[k], mixed))
            if j != k:
                new = lambda_Z + rate * (1 - M[j])
                found.append(np.full(ranks[j] * int(sizes[k] - ranks[k]), new))
    return np.sort(np.concatenate(found))


def _spectrum_without_decay(
    d: int, rate: float, lambda_Z: float, sizes: Array, ranks: Array, shares: Array, x: Array
) -> Array:
    return spectrum(d, rate, 0.0, sizes, ranks, shares, x)


def index(low: Array) -> float:
    """Pairs of directions of one class at the smaller root, each with itself too."""
    return float(np.sum(low * (low + 1) / 2))


def nullity(d: int, sizes: Array, ranks: Array, low: Array) -> float:
    """Dimension of the orbit: rotations of all features and of every class, less what both do."""
    R, high = np.sum(ranks), ranks - low
    turned = ranks * sizes - ranks * (ranks + 1) / 2
    alike = high * (high - 1) / 2 + low * (low - 1) / 2
    return float(R * d - R * (R + 1) / 2 + np.sum(turned - alike))


def _nullity_of_one_root(d: int, sizes: Array, ranks: Array, low: Array) -> float:
    return nullity(d, sizes, ranks, 0 * low)


def value(rate: float, lambda_Z: float, ranks: Array, shares: Array) -> float:
    """-sum_k r_k v(p_k)."""
    kept = ranks > 0
    A = shares[kept]
    return float(-np.sum(ranks[kept] * gain(A, upper_root(A, rate, lambda_Z), rate, lambda_Z)))


def _value_with_whole_logarithm(rate: float, lambda_Z: float, ranks: Array, shares: Array) -> float:
    kept = ranks > 0
    A = shares[kept]
    more = A * np.log(1 + upper_root(A, rate, lambda_Z) / A) / 2
    return value(rate, lambda_Z, ranks, shares) + float(np.sum(ranks[kept] * more))


def lowest(d: int, rate: float, lambda_Z: float, sizes: Array, shares: Array) -> float:
    """The smallest classes first, each at full rank while it gains."""
    total, left = 0.0, d
    for k in np.argsort(sizes):
        A = shares[k]
        best = gain(A, upper_root(A, rate, lambda_Z), rate, lambda_Z)  # NaN where it has no root
        taken = min(left, sizes[k]) if best > 0 else 0
        total, left = total + (taken * best if taken else 0.0), left - taken
    return -float(total)


def _largest_first(d: int, rate: float, lambda_Z: float, sizes: Array, shares: Array) -> float:
    total, left = 0.0, d
    for k in np.argsort(-sizes):
        taken = min(left, sizes[k])
        total += value(rate, lambda_Z, taken * (np.arange(len(sizes)) == k), shares)
        left -= taken
    return total


def _largest_decay(specimen: PlainSpecimen) -> Array:
    """Of every class alone on one line: the largest decay that some length is critical at."""
    model, found = specimen.model, []
    for k in range(len(model.shares)):
        column = int(np.argmax(np.asarray(model.labels) == k))

        def pull(x: float, column: int = column) -> float:
            Z = np.zeros(specimen.point.Z.shape)
            Z[0, column] = np.exp(x)
            slope = model.value_and_gradient(Representation(Z))[1].Z
            return float(slope[0, column] / np.exp(x)) - float(model.lambda_Z)

        options = {"xatol": 1e-9}
        found.append(-minimize_scalar(pull, bounds=(-6, 3), method="bounded", options=options).fun)
    return np.array(found)


def existence(rate: float, shares: Array) -> Array:
    """a (1 - sqrt A) / (1 + sqrt A)."""
    return rate * (1 - np.sqrt(shares)) / (1 + np.sqrt(shares))


def _existence_without_root(rate: float, shares: Array) -> Array:
    return rate * (1 - shares) / (1 + shares)


def _overlap(specimen: PlainSpecimen) -> float:
    """The largest entry of Z_j^T Z_k over different classes."""
    Z = blocks(specimen)
    products = [Z[j].T @ Z[k] for k in range(len(Z)) for j in range(k)]
    return max(float(np.abs(x).max()) for x in products)


def _excess(specimen: PlainSpecimen, critical: bool = False) -> float:
    """Height over the closed-form minimum, where the dense Hessian shows no descent."""
    if index_of(specimen) and not critical:
        return 0.0
    return max(0.0, height(specimen) - specimen.model.minimiser().value)


_EXACT = Tolerance(1e-10, "roundings of logarithms and eigenvalues of order one; factor 1e4")

CLAIMS = (
    Claim(
        id="rate-reduction-spectrum",
        title="Rate reduction: the whole spectrum at a local minimum",
        statement="Where every direction of every class is at its larger root, the Hessian has "
        "five kinds of eigenvalues, each in closed form.",
        latex=r"\tfrac{2\alpha x_k(\alpha_k-\alpha)(\alpha\alpha_kx_k^2-1)}"
        r"{(1+\alpha x_k)^2(1+\alpha_kx_k)^2},\ \alpha^2M_jM_k(x_j+x_k),\ "
        r"\lambda+\alpha(1-M_j),\ \lambda,\ 0",
        source=f"MCR-3; {SOURCE}",
        hypotheses=(ALL_HIGH,),
        region=orthogonal_points,
        check=Law(spectrum, lambda s: s.dense_eigenvalues, GIVEN),
        tolerance=_EXACT,
        mutant=Mutant(
            "new rows undecayed", Law(_spectrum_without_decay, lambda s: s.dense_eigenvalues, GIVEN)
        ),
        uses=("identity-rate-reduction-stretch", "rate-reduction-threshold"),
    ),
    Claim(
        id="rate-reduction-index",
        title="Rate reduction: index of orthogonal points",
        statement="The index counts pairs of directions of one class at its smaller root; class "
        "exchanges and unused directions never help.",
        latex=r"\sum_kr_k^-(r_k^-+1)/2",
        source=f"MCR-3; {SOURCE}",
        region=orthogonal_points,
        check=Law(index, index_of, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "directions for pairs", Law(lambda low: np.sum(low), index_of, GIVEN, miscount)
        ),
        uses=("rate-reduction-spectrum",),
    ),
    Claim(
        id="rate-reduction-nullity",
        title="Rate reduction: nullity of orthogonal points",
        statement="Flat directions are those of the symmetry group, rotations of all features and "
        "of the samples of every class.",
        latex=r"Rd-\tfrac{R(R+1)}2+\sum_k\Big[r_km_k-\tfrac{r_k(r_k+1)}2-\tfrac{r_k^+(r_k^+-1)}2"
        r"-\tfrac{r_k^-(r_k^--1)}2\Big]",
        source=f"MCR-3; {SOURCE}",
        region=orthogonal_points,
        check=Law(nullity, nullity_of, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant("both roots alike", Law(_nullity_of_one_root, nullity_of, GIVEN, miscount)),
        uses=("rate-reduction-spectrum",),
    ),
    Claim(
        id="rate-reduction-threshold",
        title="Rate reduction: where a direction exists",
        statement="A class alone on a line is critical at some length up to a decay that falls "
        "with its share: large classes vanish first.",
        latex=r"\lambda\le\alpha\frac{1-\sqrt{\pi_k}}{1+\sqrt{\pi_k}}",
        source=f"MCR-1; {SOURCE}",
        region=where(orthogonal_points, lambda s: s.model.d == 4),
        check=Law(existence, _largest_decay, GIVEN),
        tolerance=Tolerance(1e-9, "a maximum to 1e-9 in its argument; roundings over exp(-6)"),
        mutant=Mutant("shares without root", Law(_existence_without_root, _largest_decay, GIVEN)),
        uses=("identity-rate-reduction-quadratic",),
    ),
    Claim(
        id="rate-reduction-value",
        title="Rate reduction: value of local minima",
        statement="At minima that descents find the objective is a sum over directions of what "
        "each gains at the larger root of its class.",
        latex=r"f=-\sum_kr_k\Big[\tfrac12\log(1+\nu_+)-\tfrac{\pi_k}2\log(1+\nu_+/\pi_k)"
        r"-\tfrac{\lambda\nu_+}{2\alpha}\Big]",
        source=f"MCR-1; {SOURCE}",
        region=descents,
        check=Law(value, height, GIVEN),
        tolerance=_EXACT,
        mutant=Mutant("a second logarithm whole", Law(_value_with_whole_logarithm, height, GIVEN)),
        uses=("identity-rate-reduction-quadratic",),
    ),
    Claim(
        id="rate-reduction-majority-collapse",
        title="Rate reduction: the smallest classes are kept",
        statement="The global minimum gives the smallest class full rank, then the next; when d "
        "is at most the smallest size, every other class vanishes.",
        latex=r"f^*=-\max\Big\{\sum_kr_k\max(v_+(\pi_k),0):\sum_kr_k\le d,\ r_k\le m_k\Big\}",
        source=f"MCR-4; {SOURCE}",
        region=lowest_points,
        check=Law(lowest, height, GIVEN),
        tolerance=_EXACT,
        mutant=Mutant("the largest class first", Law(_largest_first, height, GIVEN)),
    ),
    Claim(
        id="rate-reduction-orthogonal-classes",
        title="Rate reduction: classes are orthogonal at minima",
        statement="At every minimum the features of different classes are orthogonal; at other "
        "critical points they need not be, and three equal classes at 120 degrees are one.",
        latex=r"\nabla f=0,\ \nabla^2f\succeq0\Rightarrow Z_j^\top Z_k=0\ (j\ne k)",
        source=f"MCR-3; {SOURCE}",
        literature="proved",
        region=descents,
        check=_overlap,
        tolerance=Tolerance(1e-4, "gradient norm 1e-6 over a curvature above 1e-2"),
        mutant=Mutant("at every critical point", region=simplex_points, check=_overlap),
    ),
    Claim(
        id="rate-reduction-one-minimum",
        title="Refuted: local minima of rate reduction are global",
        statement="FALSE: every local minimum is global. All ranks at larger roots are local "
        "minima, the origin always among them; benign means strict saddles, and no more.",
        latex=r"\nabla f=0,\ \nabla^2f\succeq0\Rightarrow f=f^*",
        source=f"MCR-4; {SOURCE}",
        literature="refuted",
        region=orthogonal_points,
        check=_excess,
        tolerance=_EXACT,
        mutant=Mutant("every critical point", lambda s: _excess(s, True)),
        holds=False,
        uses=("rate-reduction-majority-collapse",),
    ),
)
