"""Rate reduction: every critical point, its curvature, and the majority collapse (MCR-1 to 4)."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.mutants import formula
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen, built_on, where
from ufm.models.rate_reduction import RateReduction, Representation, rate_reduction

Array = NDArray[np.float64]
SUBJECT = "rate reduction"
SOURCE = "derived here; the model after Wang et al. (2024)"
ZERO = 1e-9  # share of the largest |eigenvalue|; the others exceed 1e-4 of it
RANK = 1e-5  # singular values; those that are not zero exceed 0.1

# counts, d, eps, lambda_Z, directions of every class at the larger and at the smaller root.
_POINTS: tuple[tuple[tuple[int, ...], int, float, float, tuple[int, ...], tuple[int, ...]], ...] = (
    ((4, 2, 3), 4, 0.5, 0.1, (1, 2, 1), (0, 0, 0)),
    ((1, 6, 2), 4, 0.6, 0.06, (1, 0, 2), (0, 0, 0)),
    ((4, 2, 3), 4, 0.5, 0.1, (1, 0, 0), (1, 2, 0)),
    ((2, 4, 3), 4, 0.6, 0.07, (0, 0, 1), (0, 3, 0)),
    ((5, 3), 5, 0.45, 0.05, (2, 3), (0, 0)),
    ((6, 2), 5, 0.5, 0.08, (3, 1), (0, 0)),
    ((6, 2), 5, 0.6, 0.03, (2, 0), (0, 2)),
    ((3, 5), 5, 0.6, 0.03, (0, 0), (0, 0)),
)
# counts, d, eps, lambda_Z of searches, of one shape: a program is compiled for each shape.
_SEARCHES: tuple[tuple[tuple[int, ...], int, float, float], ...] = (
    ((4, 2, 3), 4, 0.5, 0.1),
    ((1, 6, 2), 4, 0.6, 0.06),
    ((5, 1, 3), 4, 0.7, 0.41),
)


def _orthogonal_again(listed: PlainSpecimen, model: Any, seed: int) -> PlainSpecimen:
    """As many directions of every class at either root, where there are such points."""
    del seed
    *_, upper, lower = _POINTS[int(listed.note)]
    return Specimen(model, model.orthogonal_point(upper, lower), listed.kind, note=listed.note)


@redrawn_by(_orthogonal_again)
@cache
def orthogonal_points(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Critical points with orthogonal classes at both roots, of many ranks; the origin is one."""
    found = []
    for i, (counts, d, eps, decay, upper, lower) in enumerate(_POINTS[: 5 if quick else None]):
        model = rate_reduction(counts, d, eps, decay)
        point = model.orthogonal_point(upper, lower)
        found.append(Specimen(model, point, "closed form", note=str(i)))
    return tuple(found)


@cache
def simplex_points(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Three equal classes on lines at 120 degrees, which is critical at nu_+ of A = 1/2."""
    model = rate_reduction((3, 3, 3), 4, 0.5, 0.05)

    def drawn(size: float) -> Representation:
        Z = np.zeros((4, 9))
        Z[:2, ::3] = size * np.array([f(2 * np.pi * np.arange(3) / 3) for f in (np.cos, np.sin)])
        return Representation(Z)

    def along(size: float) -> float:
        return float(model.value_and_gradient(drawn(size))[0])

    best = minimize_scalar(along, bracket=(0.5, 1.5), options={"xtol": 1e-12})
    return (Specimen(model, drawn(float(best.x)), "closed form"),)


@cache
def descents(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent: a start near every way to share the dimensions out, and blind ones."""
    found = []
    for seed, setting in enumerate(_SEARCHES[: 2 if quick else None]):
        model = rate_reduction(*setting)
        found += [_descended(model, start) for start in _starts(model, seed)]
    return tuple(s for s in found if s.converged)


def _descended(model: RateReduction, start: Array) -> PlainSpecimen:
    """L-BFGS on a gradient by hand: no program to compile."""
    rate, decay, labels = float(model.rate), float(model.lambda_Z), np.asarray(model.labels)
    classes = [(float(p), np.flatnonzero(labels == k)) for k, p in enumerate(model.shares)]
    eye = np.eye(len(start))

    def both(x: Array) -> tuple[float, Array]:
        Z = x.reshape(start.shape)
        whole = eye + rate * Z @ Z.T
        value = -np.log(np.linalg.det(whole)) / 2 + decay / 2 * np.sum(Z**2)
        slope = decay * Z - rate * np.linalg.solve(whole, Z)
        for share, columns in classes:
            part = eye + rate / share * Z[:, columns] @ Z[:, columns].T
            value += share / 2 * np.log(np.linalg.det(part))
            slope[:, columns] += rate * np.linalg.solve(part, Z[:, columns])
        return float(value), slope.ravel()

    options = {"maxiter": 4000, "ftol": 1e-16, "gtol": 1e-9}
    run = minimize(both, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    point = Representation(run.x.reshape(start.shape))
    return Specimen(model, point, "minimiser", float(np.abs(run.jac).max()) < 1e-6)


def _starts(model: RateReduction, seed: int) -> list[Array]:
    rng = np.random.default_rng((17, seed))
    labels, shape = np.asarray(model.labels), (model.d, len(model.labels))
    K = len(model.shares)
    points = []
    for shares in sorted({tuple(sorted(x)) for x in product(range(K + 1), repeat=model.d)}):
        mask = np.array(shares)[:, None] == labels  # K: a row for no class
        points.append(mask * rng.normal(size=shape) + 0.01 * rng.normal(size=shape))
    return [*points, *rng.normal(size=(4, *shape))]


@built_on(descents)
@cache
def lowest_points(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest minimum that descents found of every model."""
    best: dict[str, PlainSpecimen] = {}
    for specimen in descents(quick):
        name = specimen.label
        if name not in best or height(specimen) < height(best[name]):
            best[name] = specimen
    return tuple(best.values())


def height(specimen: PlainSpecimen) -> float:
    """The objective at a specimen."""
    return float(specimen.model.value_and_gradient(specimen.point)[0])


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


def _index(specimen: PlainSpecimen) -> int:
    values = specimen.dense_eigenvalues
    return int(np.sum(values < -ZERO * np.abs(values).max()))


def _nullity(specimen: PlainSpecimen) -> int:
    values = np.abs(specimen.dense_eigenvalues)
    return int(np.sum(values < ZERO * values.max()))


def _overlap(specimen: PlainSpecimen) -> float:
    """The largest entry of Z_j^T Z_k over different classes."""
    Z = blocks(specimen)
    products = [Z[j].T @ Z[k] for k in range(len(Z)) for j in range(k)]
    return max(float(np.abs(x).max()) for x in products)


def _excess(specimen: PlainSpecimen, critical: bool = False) -> float:
    """Height over the closed-form minimum, where the dense Hessian shows no descent."""
    if _index(specimen) and not critical:
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
        subject=SUBJECT,
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
        check=Law(index, _index, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "directions for pairs", Law(lambda low: np.sum(low), _index, GIVEN, miscount)
        ),
        subject=SUBJECT,
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
        check=Law(nullity, _nullity, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant("both roots alike", Law(_nullity_of_one_root, _nullity, GIVEN, miscount)),
        subject=SUBJECT,
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
        subject=SUBJECT,
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
        subject=SUBJECT,
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
        subject=SUBJECT,
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
        subject=SUBJECT,
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
        subject=SUBJECT,
        uses=("rate-reduction-majority-collapse",),
    ),
)
