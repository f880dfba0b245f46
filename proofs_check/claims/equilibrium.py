"""Linear equilibrium layers: firm thresholding, and minima that are not attained (DQ-1 to DQ-3)."""

from __future__ import annotations

from functools import cache

import numpy as np

from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from proofs_check.descents import minimised
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import SQUARED
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.losses import MSE, CrossEntropy, Loss
from ufm.models.equilibrium import Equilibrium, Layer, equilibrium
from ufm.typing import Array

SOURCE = "derived here; the setting after Sun & Shi (2024)"
RANK = 1e-4  # singular values; those that are not zero exceed 1e-2

Setting = tuple[tuple[int, ...], int, float, float, float]
# Counts, d, decays of W, V, X: kept, some dropped, and dropped; classes equal and not.
_SQUARED: tuple[Setting, ...] = (
    ((2, 2, 2), 4, 0.02, 1.0, 0.03),
    ((3, 3), 3, 0.05, 0.4, 0.07),
    ((2, 2, 2, 2), 5, 0.03, 0.6, 0.02),
    ((3, 3), 2, 0.5, 3.0, 0.333),
    ((3, 3), 2, 0.5, 3.0, 0.334),
    ((9, 4, 1), 4, 0.04, 2.0, 0.09),
    ((5, 2, 1), 5, 0.07, 1.3, 0.2),
    ((6, 2), 3, 0.06, 0.9, 0.02),
)
_ENTROPY: tuple[Setting, ...] = (
    ((2, 2, 2), 4, 0.02, 1.0, 0.03),
    ((4, 2, 1), 4, 0.01, 2.0, 0.04),
)
# Counts, d and decays where the penalty levels off before the logits are fitted.
_ESCAPED: tuple[Setting, ...] = (
    ((2, 2, 2), 4, 0.4, 0.2, 0.3),
    ((3, 3), 2, 0.3, 0.35, 0.2),
    ((2, 2, 2, 2), 5, 0.7, 0.11, 0.5),
)


def _model(loss: Loss, setting: Setting) -> Equilibrium:
    counts, d, lambda_W, lambda_V, lambda_X = setting
    return equilibrium(loss, 2, d, 1, lambda_W, lambda_V, lambda_X, counts)


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest of descents on all inputs, of squared error and cross entropy."""
    found = []
    for loss, settings in ((MSE(), _SQUARED), (CrossEntropy(), _ENTROPY)):
        for seed, setting in enumerate(settings[: 4 if quick else None]):
            model = _model(loss, setting)
            runs = [_descended(model, loss, 10 * seed + i) for i in range(3)]
            value, point = min(runs, key=lambda run: run[0])
            found.append(Specimen(model, point, "minimiser", note=f"{value:.6g}"))
    return tuple(found)


def _descended(model: Equilibrium, loss: Loss, seed: int) -> tuple[float, Layer]:
    """L-BFGS on a gradient by hand: no program to compile."""
    rng, K, d = np.random.default_rng((23, seed)), model.num_classes, model.d
    Y = np.eye(K)[:, np.asarray(model.labels)]
    N, squared = Y.shape[1], loss.name == "mse"
    decays = [float(x) for x in (model.lambda_W, model.lambda_V, model.lambda_X)]
    starts = [rng.normal(size=(K, d)), 0.1 * rng.normal(size=(d, d)), rng.normal(size=(d, N))]

    def both(W: Array, V: Array, X: Array) -> tuple[float, list[Array]]:
        G = np.linalg.inv(np.eye(d) - V)
        H = G @ X
        Z = W @ H
        if squared:
            value, error = np.sum((Z - Y) ** 2) / (2 * N), (Z - Y) / N
        else:
            top = Z.max(axis=0)
            mass = np.exp(Z - top)
            value = np.sum(np.log(mass.sum(axis=0)) + top - np.sum(Y * Z, axis=0)) / N
            error = (mass / mass.sum(axis=0) - Y) / N
        back = G.T @ W.T @ error
        slopes = [error @ H.T, back @ H.T, back]
        value += sum(c / 2 * np.sum(F**2) for c, F in zip(decays, (W, V, X), strict=True))
        sides = zip(slopes, decays, (W, V, X), strict=True)
        return value, [s + c * F for s, c, F in sides]

    options = {"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-17, "gtol": 1e-11}
    value, parts = minimised(both, starts, **options)
    return value, Layer(*parts)


def _escaping_again(listed: PlainSpecimen, model: Equilibrium, seed: int) -> PlainSpecimen:
    del seed
    return Specimen(model, diverging(model, np.eye(model.num_classes)), listed.kind)


@redrawn_by(_escaping_again)
@cache
def escaping(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Points of diverging scale of squared error that fit every label."""
    found = []
    for setting in _ESCAPED[: 2 if quick else None]:
        model = _model(MSE(), setting)
        point = diverging(model, np.eye(model.num_classes))
        found.append(Specimen(model, point, "closed form"))
    return tuple(found)


def _polygon_again(listed: PlainSpecimen, model: Equilibrium, seed: int) -> PlainSpecimen:
    """Classes on a circle so large that their loss has vanished."""
    del seed
    angles = 2 * np.pi * np.arange(model.num_classes) / model.num_classes
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Specimen(model, diverging(model, 300 * circle @ circle.T), listed.kind)


@redrawn_by(_polygon_again)
@cache
def polygons(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Points of diverging scale of cross entropy: classes on a circle."""
    found = []
    for K, d, decay in ((4, 3, 0.05), (5, 4, 0.2), (6, 4, 0.07)):
        model = equilibrium(CrossEntropy(), K, d, 2, 0.01, decay, 0.02)
        found.append(_polygon_again(Specimen(model, None, "closed form"), model, 0))
    return tuple(found)


def diverging(model: Equilibrium, Z: Array, room: float = 1e-9) -> Layer:
    """Class logits Z with the eigenvalues of V a little below 1: the decay of W and X vanishes."""
    left, values, right = np.linalg.svd(Z * np.sqrt(np.asarray(model.counts_tuple)))
    rank = int(np.sum(values > 1e-9 * values[0]))
    K, size = len(Z), np.sqrt(values[:rank] * room)
    W, V, X = np.zeros((K, model.d)), np.zeros((model.d, model.d)), np.zeros((model.d, K))
    W[:, :rank], X[:rank] = left[:, :rank] * size, size[:, None] * right[:rank]
    V[range(rank), range(rank)] = 1 - room
    columns = X / np.sqrt(np.asarray(model.counts_tuple))
    return Layer(W, V, np.repeat(columns, model.counts_tuple, axis=1))


def height(specimen: PlainSpecimen) -> float:
    """The objective at a specimen, one sample after the other in NumPy."""
    model, (W, V, X) = specimen.model, specimen.point
    Z = W @ np.linalg.solve(np.eye(len(V)) - V, X)
    losses = [float(model.loss(z, k)) for z, k in zip(Z.T, np.asarray(model.labels), strict=True)]
    return float(np.mean(losses)) + decay(specimen)


def decay(specimen: PlainSpecimen) -> float:
    """What all weight decays cost."""
    model = specimen.model
    rates = (model.lambda_W, model.lambda_V, model.lambda_X)
    return sum(c / 2 * float(np.sum(F**2)) for c, F in zip(rates, specimen.point, strict=True))


def _singular_values(specimen: PlainSpecimen) -> Array:
    W, V, X = specimen.point
    values = np.linalg.svd(W @ np.linalg.solve(np.eye(len(V)) - V, X), compute_uv=False)
    return np.asarray(values[values > RANK])


def _spectrum_of_layer(specimen: PlainSpecimen) -> tuple[Array, float]:
    V = np.asarray(specimen.point.V)
    values = np.sort(np.linalg.eigvalsh((V + V.T) / 2))[::-1]
    return values[: len(_singular_values(specimen))], float(np.abs(V - V.T).max())


def _outputs(specimen: PlainSpecimen) -> Array:
    """Mean own logit of every class."""
    model, (W, V, X) = specimen.model, specimen.point
    Z = W @ np.linalg.solve(np.eye(len(V)) - V, X)
    labels = np.asarray(model.labels)
    return np.array([Z[k, labels == k].mean() for k in range(model.num_classes)])


# ---- formulas

GIVEN = {"s": _singular_values, "counts": lambda s: np.array(s.model.counts_tuple, float)}


@formula
def root_of_decays(lambda_W: float, lambda_X: float) -> float:
    """sigma."""
    return float(np.sqrt(lambda_W * lambda_X))


def penalty(lambda_W: float, lambda_V: float, lambda_X: float, s: Array) -> float:
    """The minimax concave penalty below its plateau."""
    sigma = root_of_decays(lambda_W, lambda_X)
    return float(np.sum(sigma * s - sigma**2 * s**2 / (2 * lambda_V)))


def _whole_square(lambda_W: float, lambda_V: float, lambda_X: float, s: Array) -> float:
    return penalty(lambda_W, lambda_V / 2, lambda_X, s)


def layer(lambda_W: float, lambda_V: float, lambda_X: float, s: Array) -> tuple[Array, float]:
    """Eigenvalues of V, and how far it is from symmetric."""
    return root_of_decays(lambda_W, lambda_X) * s / lambda_V, 0.0


def _layer_of_squares(
    lambda_W: float, lambda_V: float, lambda_X: float, s: Array
) -> tuple[Array, float]:
    return lambda_W * lambda_X * s / lambda_V, 0.0


def outputs(N: int, lambda_W: float, lambda_V: float, lambda_X: float, counts: Array) -> Array:
    """Firm thresholding of every class."""
    sigma = root_of_decays(lambda_W, lambda_X)
    kept = np.maximum(1 - N * sigma / np.sqrt(counts), 0)
    return kept / (1 - N * sigma**2 / lambda_V)


def _outputs_of_c(
    N: int, lambda_W: float, lambda_V: float, lambda_X: float, counts: Array
) -> Array:
    sigma = root_of_decays(lambda_W, lambda_X)
    return np.maximum(1 - N * sigma / np.sqrt(counts), 0) / (1 - N * sigma / lambda_V)


def value(K: int, n: int, lambda_W: float, lambda_V: float, lambda_X: float) -> float:
    """(1 - (1 - c)_+^2 / (1 - c^2/m)) / 2."""
    c, m = K * np.sqrt(n) * root_of_decays(lambda_W, lambda_X), K * lambda_V
    return float(1 - max(1 - c, 0) ** 2 / (1 - c**2 / m)) / 2


def _value_of_c(K: int, n: int, lambda_W: float, lambda_V: float, lambda_X: float) -> float:
    c, m = K * np.sqrt(n) * root_of_decays(lambda_W, lambda_X), K * lambda_V
    return float(1 - max(1 - c, 0) ** 2 / (1 - c / m)) / 2


def infimum(K: int, lambda_V: float) -> float:
    """m/2: one saturated direction a class."""
    return K * lambda_V / 2


def _infimum_without_half(K: int, lambda_V: float) -> float:
    return K * lambda_V


def _above_escape(specimen: PlainSpecimen) -> float:
    """How far a point lies below (K-1) lambda_V / 2."""
    model = specimen.model
    return max(0.0, (model.num_classes - 1) * float(model.lambda_V) / 2 - height(specimen))


BALANCED = Hypothesis("equal class sizes", lambda s: "n" in s.columns)
_EXACT = Tolerance(1e-9, "descents to a gradient of 1e-11, values of order one; factor 100")
_POINT = Tolerance(1e-5, "gradient 1e-10 over a curvature above 1e-3, near a threshold 1e-4")

CLAIMS = (
    Claim(
        id="equilibrium-penalty",
        title="Equilibrium layers: the decay levels off",
        statement="At minima all weight decay together is the minimax concave penalty of the "
        "singular values of the logits.",
        latex=r"\sum_j\sigma z_j-\frac{\sigma^2z_j^2}{2\lambda_V}",
        source=f"DQ-1; {SOURCE}",
        region=minima,
        check=Law(penalty, decay, GIVEN),
        tolerance=Tolerance(1e-7, "first order in the distance to the minimum"),
        mutant=Mutant("the square without its half", Law(_whole_square, decay, GIVEN)),
        uses=("identity-minimax-concave-penalty",),
    ),
    Claim(
        id="equilibrium-layer",
        title="Equilibrium layers: V is symmetric and contracts",
        statement="At minima V is symmetric, with an eigenvalue below 1 for every singular value "
        "of the logits.",
        latex=r"V=V^\top,\quad\mathrm{spec}\,V=\{\sigma z_j/\lambda_V\}",
        source=f"DQ-1; {SOURCE}",
        region=minima,
        check=Law(layer, _spectrum_of_layer, GIVEN),
        tolerance=_POINT,
        mutant=Mutant("sigma squared", Law(_layer_of_squares, _spectrum_of_layer, GIVEN)),
        uses=("equilibrium-penalty",),
    ),
    Claim(
        id="equilibrium-firm-thresholding",
        title="Equilibrium layers, squared error: firm thresholding",
        statement="A class is dropped where it is dropped without the layer; what is kept is "
        "amplified.",
        latex=r"w_k\cdot h_k=\frac{(1-N\sigma/\sqrt{n_k})_+}{1-N\sigma^2/\lambda_V}",
        source=f"DQ-2; {SOURCE}",
        hypotheses=(SQUARED,),
        region=minima,
        check=Law(outputs, _outputs, GIVEN),
        tolerance=_POINT,
        mutant=Mutant("amplified by 1 - N sigma / lambda_V", Law(_outputs_of_c, _outputs, GIVEN)),
        uses=("equilibrium-penalty", "identity-firm-threshold"),
    ),
    Claim(
        id="equilibrium-value",
        title="Equilibrium layers, squared error: the minimum",
        statement="With equal classes the minimum lies below that of the plain model by a factor "
        "of what is gained.",
        latex=r"f^*=\tfrac12\Big[1-\frac{(1-c)^2}{1-c^2/m}\Big],\quad m=K\lambda_V",
        source=f"DQ-2; {SOURCE}",
        hypotheses=(SQUARED, BALANCED),
        region=minima,
        check=Law(value, height),
        tolerance=_EXACT,
        mutant=Mutant("c/m for c^2/m", Law(_value_of_c, height)),
        uses=("equilibrium-firm-thresholding",),
    ),
    Claim(
        id="equilibrium-escape",
        title="Equilibrium layers: an infimum that no point attains",
        statement="Where m < 1 and c >= m, points whose V has eigenvalues that approach 1 fit "
        "every label, and the objective tends to m/2.",
        latex=r"\inf f=\tfrac{K\lambda_V}2",
        source=f"DQ-2; {SOURCE}",
        region=escaping,
        check=Law(infimum, height),
        tolerance=Tolerance(1e-6, "1 - V is 1e-9: decays of order 1e-8 remain; factor 100"),
        mutant=Mutant("without the half", Law(_infimum_without_half, height)),
        uses=("equilibrium-penalty",),
    ),
    Claim(
        id="equilibrium-escape-of-cross-entropy",
        title="Refuted: cross entropy escapes at (K-1) lambda_V / 2",
        statement="FALSE: no point lies below (K-1) lambda_V / 2, the decay of K-1 saturated "
        "directions. Classes on a circle need two: their loss and decay tend to lambda_V.",
        latex=r"f\ge\min\{f_{ETF},\tfrac{(K-1)\lambda_V}2\}",
        source=f"DQ-3; {SOURCE}",
        literature="refuted",
        region=polygons,
        check=_above_escape,
        tolerance=Tolerance(1e-6, "1 - V is 1e-9; decays that remain are below 1e-5"),
        mutant=Mutant("twice the value", lambda s: _above_escape(s) + s.model.escape_value),
        holds=False,
    ),
)
