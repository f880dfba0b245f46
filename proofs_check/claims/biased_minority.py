"""Two class sizes and a bias: when the minority vanishes, and what is left then (X-4)."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
from scipy.optimize import brentq

from landscape.solvers.solve import solve
from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.minority_collapse import SIZES, strength
from proofs_check.hypotheses import CROSS_ENTROPY, ETF_FITS, TWO_SIZES, WITH_BIAS
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.specimens import PlainSpecimen
from ufm.losses import CrossEntropy
from ufm.plain.laws import majority_alone, vanishing_minority
from ufm.plain.model import UFM

SOURCE = "X-4; derived here, after Hong & Ling (2024)"
# Numbers below are zero: descents leave 1e-10, and classifiers a thousandth before the threshold
# are longer than 1e-2.
ZERO = 1e-6
NEAR = 5e-3
GROUPS = ((2, 9, 3, 2), (3, 5, 2, 2), (2, 7, 2, 3))
BIASES = (0.0, 0.05, 1.3)


@cache
def beside_the_threshold(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima with free and regularised biases, N sigma on both sides of where minorities vanish."""
    found = []
    for number, (k_A, n_A, k_B, n_B) in enumerate(GROUPS[: 2 if quick else None]):
        for i, bias in enumerate(BIASES):
            edge = vanishing_minority(k_A, k_B, n_A / n_B, bias) * np.sqrt(n_B)
            for share in (1 - NEAR, 1 + NEAR):
                found.append(_minimum(GROUPS[number], bias, share * edge, number + i))
    return tuple(found)


@cache
def beyond_it(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima between there and the point where the majority vanishes, too."""
    found = []
    for number, (k_A, n_A, k_B, n_B) in enumerate(GROUPS[: 2 if quick else None]):
        for i, bias in enumerate(BIASES):
            edge = vanishing_minority(k_A, k_B, n_A / n_B, bias) * np.sqrt(n_B)
            x = edge + (0.2 + 0.2 * i) * (np.sqrt(n_A) - edge)
            found.append(_minimum(GROUPS[number], bias, x, number + i))
    return tuple(found)


def _minimum(groups: tuple[int, int, int, int], bias: float, x: float, seed: int) -> PlainSpecimen:
    k_A, n_A, k_B, n_B = groups
    counts = (n_A,) * k_A + (n_B,) * k_B
    sigma, ratio = x / sum(counts), (0.63, 1.4, 2.1)[seed % 3]
    model = UFM(
        CrossEntropy(),
        d=len(counts),
        counts=counts,
        lambda_W=sigma * ratio,
        lambda_H=sigma / ratio,
        lambda_b=bias,
    )
    run = solve(model, key=jax.random.key(seed))
    return Specimen(model, run.point.to_numpy(), "minimiser", bool(run.result))


def _vanished(specimen: PlainSpecimen) -> float:
    k_A = specimen.once(SIZES["k_A"])
    return float(np.abs(specimen.point.W[k_A:]).max() <= ZERO)


def _left(specimen: PlainSpecimen) -> tuple[float, float, float]:
    """Own logit less another large one, large bias less small one, length of small classifiers."""
    k_A, (W, H, b) = specimen.once(SIZES["k_A"]), specimen.full_point.to_numpy()
    gap = float(W[0] @ H[:, 0] - W[1] @ H[:, 0])
    return gap, float(b[0] - b[-1]), float(np.abs(W[k_A:]).max())


def _place(k_A: int, k_B: int, R: float, lambda_b: float, x: float) -> float:
    """The a at which N sigma / sqrt(n_B) is x: it falls from sqrt(R) at a = 0 down to zero."""

    def excess(a: float) -> float:
        return majority_alone(k_A, k_B, R, a, lambda_b).strength - x

    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-14))


# ---- formulas


def vanished(
    k_A: int,
    n_A: int,
    k_B: int,
    n_B: int,
    N: int,
    lambda_W: float,
    lambda_H: float,
    lambda_b: float,
) -> float:
    """Whether N sigma is at least the root of X-4 with a bias."""
    edge = vanishing_minority(k_A, k_B, n_A / n_B, lambda_b) * np.sqrt(n_B)
    return float(strength(N, lambda_W, lambda_H) >= edge)


def _vanished_without(
    k_A: int, n_A: int, k_B: int, n_B: int, N: int, lambda_W: float, lambda_H: float
) -> float:
    edge = vanishing_minority(k_A, k_B, n_A / n_B) * np.sqrt(n_B)
    return float(strength(N, lambda_W, lambda_H) >= edge)


def left(
    k_A: int,
    n_A: int,
    k_B: int,
    n_B: int,
    N: int,
    lambda_W: float,
    lambda_H: float,
    lambda_b: float,
) -> tuple[float, float, float]:
    """Gap k_A a of large classes, and the biases' difference, from N sigma; zero for the rest."""
    x, R = strength(N, lambda_W, lambda_H) / np.sqrt(n_B), n_A / n_B
    a = _place(k_A, k_B, R, lambda_b, x)
    return k_A * a, majority_alone(k_A, k_B, R, a, lambda_b).shift, 0.0


def _left_of_free(
    k_A: int, n_A: int, k_B: int, n_B: int, N: int, lambda_W: float, lambda_H: float
) -> tuple[float, float, float]:
    return left(k_A, n_A, k_B, n_B, N, lambda_W, lambda_H, 0.0)


def _between(specimen: PlainSpecimen) -> bool:
    model, (n_A, n_B) = specimen.model, (specimen.once(SIZES[name]) for name in ("n_A", "n_B"))
    k_A, k_B = specimen.once(SIZES["k_A"]), specimen.once(SIZES["k_B"])
    edge = vanishing_minority(k_A, k_B, n_A / n_B, model.lambda_b) * np.sqrt(n_B)
    return bool(edge <= model.num_samples * model.sigma < np.sqrt(n_A))


TWO_LARGE = Hypothesis("two large classes or more", lambda s: s.once(SIZES["k_A"]) >= 2)
BETWEEN = Hypothesis("the minority has vanished, the majority has not", _between)

CLAIMS = (
    Claim(
        id="biased-minority-vanishes",
        title="The minority vanishes, with a bias",
        statement="With a bias, free or regularised, the classifiers of the smaller classes are "
        "zero exactly when N sigma exceeds the root of a scalar equation of its own.",
        latex=r"N^2\sigma^2\ge K(k_Bn_Ar^2+k_An_Bq^2)",
        source=SOURCE,
        hypotheses=(CROSS_ENTROPY, ETF_FITS, TWO_SIZES, TWO_LARGE, WITH_BIAS),
        region=beside_the_threshold,
        check=Law(vanished, _vanished, SIZES),
        tolerance=COUNTING,
        mutant=Mutant("the root without a bias", Law(_vanished_without, _vanished, SIZES)),
        uses=("minority-collapse",),
    ),
    Claim(
        id="majority-beside-a-bias",
        title="What is left of the majority, with a bias",
        statement="Where the minority has vanished the large classes are a simplex, whose gap and "
        "biases two scalar equations give.",
        latex=r"\bar z_k=a(k_Ae_k-\mathbf 1_A),\quad "
        r"k_B(n_Ar-n_Bq)=N\lambda_b\beta_A",
        source=SOURCE,
        hypotheses=(CROSS_ENTROPY, ETF_FITS, TWO_SIZES, TWO_LARGE, WITH_BIAS, BETWEEN),
        region=beyond_it,
        check=Law(left, _left, SIZES),
        tolerance=Tolerance(1e-7, "a gradient of 1e-12 over a curvature of 1e-4 and more"),
        mutant=Mutant("a free bias", Law(_left_of_free, _left, SIZES)),
        uses=("biased-minority-vanishes",),
    ),
)
