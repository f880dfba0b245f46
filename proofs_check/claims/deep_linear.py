"""Depth: first-order collapse of squared error, and why cross entropy does not collapse (DL)."""

from __future__ import annotations

from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.descents import minimised
from proofs_check.formula_alterations import formula
from proofs_check.instance import Specimen, nullity_of
from proofs_check.law import Law, miscount
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.losses import MSE, CrossEntropy
from ufm.models.deep_linear import DeepLinear, deep_linear
from ufm.models.factors import Network
from ufm.typing import Array

# K, d, n, depth, lambda_W / lambda_H, and B as a share of B_c: deep inside and on both sides.
_MINIMA: tuple[tuple[int, int, int, int, float, float], ...] = (
    (3, 4, 2, 2, 1.7, 0.5),
    (2, 3, 3, 3, 0.6, 0.7),
    (4, 5, 1, 2, 2.1, 1 - 1e-3),
    (2, 4, 2, 4, 1.3, 1 - 1e-3),
    (3, 5, 3, 2, 0.4, 1 + 1e-3),
    (2, 3, 1, 3, 1.9, 1 + 1e-3),
    (2, 2, 4, 4, 0.8, 1.4),
)
# K, d, n, depth, lambda: whether collapse is optimal depends on all of them.
_COLLAPSED: tuple[tuple[int, int, int, int, float], ...] = (
    (4, 5, 1, 3, 0.01),
    (4, 4, 2, 4, 0.002),
    (6, 7, 1, 2, 0.01),
    (5, 6, 2, 3, 0.004),
    (4, 5, 1, 2, 0.03),
    (4, 5, 1, 2, 0.011),
    (3, 4, 1, 2, 0.01),
    (5, 6, 5, 2, 2.0**-10),
)


def decays(K: int, n: int, depth: int, ratio: float, share: float) -> tuple[float, float]:
    """lambda_W and lambda_H of a given ratio at a share of the threshold; only says where to look.

    The geometric mean of M decays lambda_W and one lambda_H is what counts.
    """
    L = depth + 1
    mean = share * critical_price(L) / (L * K * n ** (1 / L))
    return mean * ratio ** (1 / L), mean * ratio ** (-depth / L)


def _lowest(listed: Any, model: DeepLinear, seed: int) -> PlainSpecimen:
    """The lowest of descents on all features: from near one direction a class, and from zero."""
    del listed
    runs = [_descended(model, near, seed) for near in (1.0, 0.9, 0.0)]
    value, point = min(runs, key=lambda run: run[0])
    return Specimen(model, point, "minimiser", note=str(value))


@redrawn_by(_lowest)
@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest of descents at several sizes, depths and prices."""
    found = []
    for seed, (K, d, n, depth, ratio, share) in enumerate(_MINIMA[:: 2 if quick else 1]):
        lambda_W, lambda_H = decays(K, n, depth, ratio, share)
        model = deep_linear(MSE(), K, d, n, depth, lambda_W, lambda_H)
        found.append(_lowest(None, model, seed))
    return tuple(found)


def _descended(model: DeepLinear, near: float, seed: int) -> tuple[float, Network]:
    """L-BFGS on a gradient by hand: no program to compile."""
    rng, K = np.random.default_rng((19, seed)), model.num_classes
    sides = [len(model.labels), *model.widths, K]
    targets = np.eye(K)[:, np.asarray(model.labels)]
    decays = [float(model.lambda_H)] + [float(model.lambda_W)] * len(model.widths)
    starts = [np.pad(targets, ((0, sides[1] - K), (0, 0)))]
    starts += [np.eye(above, below) for below, above in pairwise(sides[1:])]
    x = [near * F + 0.02 * rng.normal(size=F.shape) for F in starts]

    def both(*factors: Array) -> tuple[float, list[Array]]:
        passed = list(accumulate(factors, lambda below, W: W @ below))
        error = (passed[-1] - targets) / sides[0]
        value = sides[0] * np.sum(error**2) / 2
        slopes = []
        for i in reversed(range(len(factors))):
            value += decays[i] / 2 * np.sum(factors[i] ** 2)
            slope = error if i == 0 else error @ passed[i - 1].T
            slopes.append(slope + decays[i] * factors[i])
            error = factors[i].T @ error
        return value, slopes[::-1]

    options = {"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-17, "gtol": 1e-11}
    value, (H, *weights) = minimised(both, x, **options)
    return value, Network(tuple(weights), H)


@cache
def origins(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The origin of deep models of both losses, and one at which it is a saddle: depth 1."""
    settings = [(3, 4, 2, 2, 0.05, 0.03), (2, 3, 1, 3, 0.02, 0.07)]
    found = []
    for K, d, n, depth, lambda_W, lambda_H in settings:
        for loss in (MSE(), CrossEntropy()):
            model = deep_linear(loss, K, d, n, depth, lambda_W, lambda_H)
            point = Network(
                tuple(np.zeros((K if i == depth - 1 else d, d)) for i in range(depth)),
                np.zeros((d, K * n)),
            )
            found.append(Specimen(model, point, "critical"))
    return tuple(found)


@cache
def full_rank_points(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of squared error with every class kept, all samples, three shapes."""
    found = []
    for K, d, n, depth in ((3, 5, 2, 2), (2, 3, 1, 3), (2, 2, 3, 2))[: 2 if quick else None]:
        lambda_W, lambda_H = decays(K, n, depth, 1.4, 0.6)
        model = deep_linear(MSE(), K, d, n, depth, lambda_W, lambda_H)
        merge: Any = model.merge()
        y = output(K, n, depth, lambda_W, lambda_H)
        point = merge.lift(model.aligned_point(y * np.sqrt(n) * np.eye(K)))
        found.append(Specimen(model, point, "closed form"))
    return tuple(found)


def _redrawn(listed: PlainSpecimen, model: DeepLinear, seed: int) -> PlainSpecimen:
    del seed
    return Specimen(model, _best(model, simplex(model.num_classes)), listed.kind)


@redrawn_by(_redrawn)
@cache
def collapsed_points(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The best simplex of cross entropy at several K, depths and decays."""
    found = []
    for K, d, n, depth, decay in _COLLAPSED[:: 2 if quick else 1]:
        model = deep_linear(CrossEntropy(), K, d, n, depth, decay, decay).merge().model  # type: ignore[union-attr]
        found.append(Specimen(model, _best(model, simplex(K)), "closed form"))
    return tuple(found)


def _best(model: DeepLinear, shape: Array) -> Network:
    """The least objective among aligned points with logits a * shape."""
    L, decay, n = model.num_factors, model.decay, model.counts_tuple[0]
    values = np.linalg.svd(np.sqrt(n) * shape, compute_uv=False)
    values = values[values > 1e-12]
    rest = shape[0] - shape[0, 0]

    def height(a: float) -> float:
        penalty = L * decay / 2 * np.sum((a * values) ** (2 / L))
        return float(np.log(np.sum(np.exp(a * rest))) + penalty)

    grid = np.geomspace(0.1, 40, 60)
    i = int(np.argmin([height(a) for a in grid]))
    ends = (grid[max(i - 1, 0)], grid[min(i + 1, 59)])
    best = minimize_scalar(height, bounds=ends, method="bounded", options={"xatol": 1e-12})
    return model.aligned_point(float(best.x) * np.sqrt(n) * shape)


def simplex(K: int) -> Array:
    """I - J/K."""
    return np.eye(K) - 1 / K


def pairs(K: int) -> Array:
    """Blocks [[1, -1], [-1, 1]]: classes in pairs, of rank K/2; a single 1 for the odd one."""
    made = np.kron(np.eye((K + 1) // 2), np.array([[1.0, -1.0], [-1.0, 1.0]]))
    return np.asarray(made[:K, :K])


def height(specimen: PlainSpecimen) -> float:
    """The objective at a specimen."""
    return float(specimen.model.objective(specimen.point))


def _excess(specimen: PlainSpecimen) -> float:
    """Height of the simplex above the best pairs."""
    return height(specimen) - _pairs(specimen)


def _pairs(specimen: PlainSpecimen) -> float:
    model = specimen.model
    return float(model.objective(_best(model, pairs(model.num_classes))))


# ---- formulas


@formula
def critical_price(L: int) -> float:
    """B_c."""
    return L / (L - 1) * ((L - 2) / (L - 1)) ** ((L - 2) / L)


@formula
def price(K: int, n: int, depth: int, lambda_W: float, lambda_H: float) -> float:
    """B = (M+1) K n^(1/(M+1)) times the geometric mean of the decays."""
    L = depth + 1
    return L * K * n ** (1 / L) * (lambda_W**depth * lambda_H) ** (1 / L)


@formula
def root(B: float, L: int) -> float:
    """The largest root of y - 1 + (B/L) y^(2/L - 1)."""

    def slope(y: float) -> float:
        return y - 1 + B / L * y ** (2 / L - 1)

    return float(brentq(slope, (L - 2) / (2 * L - 2), 1.0, xtol=1e-15))


def output(K: int, n: int, depth: int, lambda_W: float, lambda_H: float) -> float:
    """y: the root below the threshold, 0 from it on."""
    L, B = depth + 1, price(K, n, depth, lambda_W, lambda_H)
    return root(B, L) if critical_price(L) > B else 0.0


def _output_while_it_exists(K: int, n: int, depth: int, lambda_W: float, lambda_H: float) -> float:
    return root(price(K, n, depth, lambda_W, lambda_H), depth + 1)


def value(K: int, n: int, depth: int, lambda_W: float, lambda_H: float) -> float:
    """min(1, (y - 1)^2 + B y^(2/L)) / 2."""
    L, B = depth + 1, price(K, n, depth, lambda_W, lambda_H)
    if critical_price(L) < B:
        return 1 / 2
    y = root(B, L)
    return ((1 - y) ** 2 + B * y ** (2 / L)) / 2


def _value_without_the_features(
    K: int, n: int, depth: int, lambda_W: float, lambda_H: float
) -> float:
    L, B = depth + 1, price(K, n, depth, lambda_W, lambda_H)
    y = root(B, L) if critical_price(L) > B else 0.0
    return ((y - 1) ** 2 + B * y ** (2 / (L - 1))) / 2


def _outputs(specimen: PlainSpecimen) -> float:
    """Mean own logit."""
    Z = np.asarray(specimen.point.logits())
    return float(np.mean(Z[np.asarray(specimen.model.labels), np.arange(Z.shape[1])]))


def nullity(K: int, d: int, depth: int) -> float:
    """Rotations of depth hidden spaces."""
    return depth * (K * (d - K) + K * (K - 1) / 2)


def _nullity_of_all_factors(K: int, d: int, depth: int) -> float:
    return nullity(K, d, depth + 1)


def lowest_curvature(lambda_W: float, lambda_H: float) -> tuple[float, float]:
    """Smallest and largest eigenvalue at the origin: the decays."""
    return min(lambda_W, lambda_H), max(lambda_W, lambda_H)


def _curvatures(specimen: PlainSpecimen) -> tuple[float, float]:
    values = specimen.dense_eigenvalues
    return float(values[0]), float(values[-1])


def _plain_curvature(lambda_W: float, lambda_H: float, K: int, n: int) -> tuple[float, float]:
    half = (lambda_W + lambda_H) / 2
    far = np.sqrt(((lambda_W - lambda_H) / 2) ** 2 + 1 / (n * K**2))
    return half - far, half + far


PROVED_RANGE = Hypothesis(
    "K >= 4 with three weight matrices or more, or K >= 6 with two",
    lambda s: s.number("K") >= (4 if s.number("depth") > 2 else 6),
)
_EXACT = Tolerance(1e-9, "roundings of values of order one, and descents to 1e-11; factor 100")

CLAIMS = (
    Claim(
        id="deep-linear-output",
        title="Deep linear, squared error: first-order collapse",
        statement="At the global minimum every own logit is the largest root of a scalar "
        "equation below the threshold and zero from it on: it jumps.",
        latex=r"y=\arg\min\,(y-1)^2+By^{2/L},\quad y=0\iff B\ge\tfrac L{L-1}"
        r"\big(\tfrac{L-2}{L-1}\big)^{(L-2)/L}",
        source="DL-2; derived here; after Dang et al. (2023)",
        region=minima,
        check=Law(output, _outputs),
        tolerance=Tolerance(1e-6, "gradient 1e-11 over a curvature above 1e-4, and its root"),
        mutant=Mutant("as long as the root exists", Law(_output_while_it_exists, _outputs)),
        uses=("identity-depth-jump",),
    ),
    Claim(
        id="deep-linear-value",
        title="Deep linear, squared error: the minimum",
        statement="The minimum of a network of any depth is that of one scalar function.",
        latex=r"f^*=\tfrac12\min_{y\ge0}(y-1)^2+By^{2/L},\quad B=LK(n\lambda^L)^{1/L}",
        source="DL-2; derived here; after Dang et al. (2023)",
        region=minima,
        check=Law(value, height),
        tolerance=_EXACT,
        mutant=Mutant("exponent 2/(L-1)", Law(_value_without_the_features, height)),
        uses=("deep-linear-output",),
    ),
    Claim(
        id="deep-linear-nullity",
        title="Deep linear: nullity where every class is kept",
        statement="The Hessian is flat along rotations of every hidden space and nowhere else.",
        latex=r"M\,[K(d-K)+K(K-1)/2]",
        source="DL-3; derived here",
        region=full_rank_points,
        check=Law(nullity, nullity_of, error=miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "a space for every factor", Law(_nullity_of_all_factors, nullity_of, error=miscount)
        ),
    ),
    Claim(
        id="deep-linear-origin",
        title="Deep linear: the origin is a local minimum",
        statement="With two weight matrices or more the Hessian at zero is the weight decay alone, "
        "for every loss and decay: not every other critical point is a strict saddle.",
        latex=r"\nabla^2f(0)=\mathrm{diag}(\lambda_W,\ldots,\lambda_H)\succ0",
        source="DL-3; derived here",
        region=origins,
        check=Law(lowest_curvature, _curvatures),
        tolerance=_EXACT,
        mutant=Mutant("that of the plain model", Law(_plain_curvature, _curvatures)),
    ),
    Claim(
        id="deep-linear-pairs",
        title="Deep linear cross entropy: classes in pairs lie below collapse",
        statement="With four classes and three weight matrices, or six and two, no collapsed point "
        "is global: logits of half the rank, classes in opposite pairs, lie lower.",
        latex=r"\lceil K/2\rceil 2^{2/L}\text{ against }K-1:\ f(\text{pairs})<f(\text{simplex})",
        source="DL-4; after Garrod & Keating (2024, arXiv 2410.23169)",
        literature="proved",
        hypotheses=(PROVED_RANGE,),
        region=collapsed_points,
        check=lambda s: max(0.0, -_excess(s)),
        tolerance=Tolerance(1e-10, "values of order one; they differ by 1e-4 or more"),
        mutant=Mutant(
            "at every K and depth", lambda s: max(0.0, -_excess(s)), region=collapsed_points
        ),
    ),
    Claim(
        id="deep-linear-collapse-optimal",
        title="Refuted: deep linear cross entropy collapses",
        statement="FALSE: the best simplex is global at every depth, as for one weight matrix. Two "
        "matrices and four classes suffice, at decays above .0117605.",
        latex=r"f(\text{simplex})\le f(W,H)",
        source="DL-4; derived here; the statement as Garrod & Keating (2024) report it of Dang et "
        "al. (2023)",
        literature="refuted",
        region=collapsed_points,
        check=lambda s: max(0.0, _excess(s)),
        tolerance=Tolerance(1e-10, "values of order one; they differ by 1e-4 or more"),
        mutant=Mutant("the simplex half as large", lambda s: _shrunk(s) - _pairs(s)),
        holds=False,
        uses=("deep-linear-pairs",),
    ),
)


def _shrunk(specimen: PlainSpecimen) -> float:
    half = Network(specimen.point.weights, specimen.point.H / 2)
    return float(specimen.model.objective(half))
