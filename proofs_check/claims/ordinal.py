"""Ordered classes: one root per class, and when they collapse (OR-1)."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import expit

from proofs_check.claim import COUNTING, Claim, Mutant, Tolerance
from proofs_check.descents import beside, descended
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen
from ufm.models.ordinal import Ordinal, ordinal
from ufm.typing import Array

SOURCE = "derived here; the model after arXiv 2506.05801"
FAR = 1e3  # stands for infinity: 1 - g(FAR) = 0 in float64

Setting = tuple[str, str, int, float, float]
# Thresholds, samples per class, d, decays of w and H.
_SETTINGS: tuple[Setting, ...] = (
    ("-1.5,-0.5,0.5,1.5", "3,2,1,4,2", 3, 0.01, 0.02),
    ("-1,0.3,2", "2,5,3,1", 4, 0.03, 0.007),
    ("0.4", "2,3", 2, 0.05, 0.02),
)
_COUNTS_OF_TEN = "10,10,10,10,10"


def _ends(model: Ordinal) -> tuple[Array, Array]:
    """Lower and upper threshold of every sample."""
    b = np.concatenate([[-FAR], np.asarray(model.thresholds), [FAR]])
    labels = np.asarray(model.labels)
    return b[labels], b[labels + 1]


def _minimum(setting: Setting, seed: int) -> PlainSpecimen:
    written, counts, d, lambda_W, lambda_H = setting
    model = ordinal(written, 1, d, lambda_W, lambda_H, counts)
    lower, upper = _ends(model)

    def loss(Z: Array) -> tuple[float, Array]:
        high, low = expit(upper - Z), expit(lower - Z)
        share = high - low
        slope = (high * (1 - high) - low * (1 - low)) / share / Z.size
        return float(-np.log(share).mean()), slope

    shape = (1, d, len(lower))
    value, point = descended(loss, shape, (lambda_W, lambda_H), seed)
    return Specimen(model, point, "minimiser", note=f"{value:.6g}")


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent on all samples."""
    return tuple(_minimum(s, seed) for seed, s in enumerate(_SETTINGS[: 2 if quick else None]))


@cache
def near_collapse(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent where decay is a thousandth below and above the pull at zero."""
    found = []
    settings = (*_SETTINGS[: 1 if quick else None], (_SETTINGS[0][0], _COUNTS_OF_TEN, 3, 0.1, 0.1))
    for seed, (written, counts, d, lambda_W, lambda_H) in enumerate(settings):
        lower, upper = _ends(ordinal(written, 1, d, lambda_W, lambda_H, counts))
        threshold = float(np.linalg.norm(1 - expit(lower) - expit(upper))) / len(lower)
        for pair in beside((lambda_W, lambda_H), threshold):
            found.append(_minimum((written, counts, d, *pair), seed))
    return tuple(found)


def _logits(specimen: PlainSpecimen) -> Array:
    return np.asarray(specimen.point.W @ specimen.point.H)[0]


def _kept(specimen: PlainSpecimen) -> float:
    """1 where logits are not zero: a thousandth below the threshold they exceed 1e-2."""
    return float(np.linalg.norm(_logits(specimen)) > 1e-3)


# ---- formulas

GIVEN = {
    "z": _logits,
    "s": lambda s: float(np.linalg.norm(_logits(s))),
    "lower": lambda s: _ends(s.model)[0],
    "upper": lambda s: _ends(s.model)[1],
}


def roots(
    N: int, lambda_W: float, lambda_H: float, z: Array, s: float, lower: Array, upper: Array
) -> Array:
    """Minus the slope of the loss over the common price."""
    pull = expit(lower - z) + expit(upper - z) - 1
    return np.asarray(s * pull / (N * np.sqrt(lambda_W * lambda_H)))


def _roots_of_widths(
    N: int, lambda_W: float, lambda_H: float, z: Array, s: float, lower: Array, upper: Array
) -> Array:
    pull = expit(upper - z) - expit(lower - z)
    return np.asarray(s * pull / (N * np.sqrt(lambda_W * lambda_H)))


def kept(N: int, lambda_W: float, lambda_H: float, lower: Array, upper: Array) -> float:
    """1 below collapse, 0 from there on."""
    pull = 1 - expit(lower) - expit(upper)
    return float(lambda_W * lambda_H < np.sum(pull**2) / N**2)


def _kept_of_mean(N: int, lambda_W: float, lambda_H: float, lower: Array, upper: Array) -> float:
    pull = 1 - expit(lower) - expit(upper)
    return float(lambda_W * lambda_H < np.sum(pull**2) / N)


CLAIMS = (
    Claim(
        id="ordinal-roots",
        title="Ordered classes: one root per class",
        statement="At the minimum the logit of a class is in proportion to the slope of its loss; "
        "s is the singular value of the logits.",
        latex=r"z_q=\frac s{N\sigma}\big(g(b_{q+1}-z_q)+g(b_q-z_q)-1\big),\quad s^2=\sum_qn_qz_q^2",
        source=f"OR-1; {SOURCE}",
        region=minima,
        check=Law(roots, _logits, GIVEN),
        tolerance=Tolerance(1e-5, "gradient 1e-9 over a curvature above 1e-3; factor 10"),
        mutant=Mutant("probabilities for slopes", Law(_roots_of_widths, _logits, GIVEN)),
    ),
    Claim(
        id="ordinal-collapse",
        title="Ordered classes: when everything collapses",
        statement="The minimum is zero from the decay on that the slopes at zero do not exceed; "
        "a class with 0 in its middle pulls nothing.",
        latex=r"\lambda_w\lambda_h\ge N^{-2}\sum_qn_q(1-g(b_q)-g(b_{q+1}))^2",
        source=f"TY-1, OR-1; {SOURCE}",
        region=near_collapse,
        check=Law(kept, _kept, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant("divided by N", Law(_kept_of_mean, _kept, GIVEN, miscount)),
        uses=("collapse-within-classes", "explicit-negative-curvature"),
    ),
)
