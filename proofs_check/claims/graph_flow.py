"""Graphs: where features that flow downhill end, and how fast classes contract (GU-4)."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.integrate import solve_ivp

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.graph import (
    EQUITABLE,
    PATH,
    SOURCE,
    TRIANGLES,
    averages,
    descended,
)
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.specimens import PlainSpecimen
from ufm.models.graph import graph
from ufm.point import Point
from ufm.typing import Array

# Multiples of 1 / lambda_H between which the spread is measured: faster modes are gone by then.
_LATE = (16.0, 18.0)
# Where flows have ended: the slowest mode falls like e^(-lambda_H t).
_ENDED = (30.0,)


@cache
def flows(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Random features on equitable graphs, of more dimensions than classes, before they flow."""
    settings = (EQUITABLE[0], (4, 4, 6, 3, 1, 0.01, 0.013), (2, 5, 4, 2, 1, 0.008, 0.016))
    found = []
    for seed, setting in enumerate(settings[: 2 if quick else None]):
        model = graph(*setting)
        rng = np.random.default_rng((53, seed))
        H = rng.normal(size=(model.d, len(model.labels)))
        found.append(Specimen(model, Point(np.zeros((model.num_classes, model.d)), H), "random"))
    return tuple(found)


@cache
def uneven_flows(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Random features before they flow on graphs that do not collapse."""
    found = []
    for seed, (counts, edges) in enumerate((("3,3", TRIANGLES), ("2,2", PATH))):
        model = graph(d=3, lambda_W=0.01, lambda_H=0.02, counts=counts, edges=edges)
        H = np.random.default_rng((59, seed)).normal(size=(3, len(model.labels)))
        found.append(Specimen(model, Point(np.zeros((2, 3)), H), "random"))
    return tuple(found)


def _fall(specimen: PlainSpecimen) -> float:
    """Fall of log |H - class means|^2 late in the flow of features under the best classifier."""
    rest = np.eye(len(specimen.model.labels)) - averages(specimen)
    early, late = (float(np.sum((H @ rest) ** 2)) for H in _flowed(specimen, _LATE))
    return float(np.log(early / late))


def _flowed(specimen: PlainSpecimen, multiples: tuple[float, ...]) -> list[Array]:
    """Features at multiples of 1 / lambda_H, flowing downhill under the best classifier."""
    model, Y, means = specimen.model, specimen.model.targets, np.asarray(specimen.model.means)
    N, d, decay = Y.shape[1], model.d, float(model.lambda_H)
    ridge = float(model.lambda_W) * np.eye(d)

    def slope(_: float, x: Array) -> Array:
        H = x.reshape(d, N)
        seen = H @ means
        W = np.linalg.solve(seen @ seen.T / N + ridge, seen @ Y.T / N).T
        return np.asarray(-(W.T @ (W @ seen - Y) @ means.T / N + decay * H).ravel())

    times = np.array(multiples) / decay
    start, options = np.ravel(specimen.point.H), {"rtol": 1e-11, "atol": 1e-15}
    run = solve_ivp(slope, (0, times[-1]), start, "LSODA", t_eval=times, **options)
    return [x.reshape(d, N) for x in run.y.T]


def _plateau(specimen: PlainSpecimen) -> tuple[float, float]:
    """Trace of the scatter within classes per node, and its share of |H|^2, where flows end."""
    return _scatter(specimen, _flowed(specimen, _ENDED)[0])


def _at_the_minimum(specimen: PlainSpecimen) -> tuple[float, float]:
    return _scatter(specimen, np.asarray(descended(specimen.model, 3).point.H))


def _scatter(specimen: PlainSpecimen, H: Array) -> tuple[float, float]:
    within = float(np.sum((H - H @ averages(specimen)) ** 2))
    return within / H.shape[1], within / float(np.sum(H**2))


# ---- formulas


def fall(lambda_H: float, time: float) -> float:
    """2 lambda_H times the time."""
    return 2 * lambda_H * time


def _fall_of_lengths(lambda_H: float, time: float) -> float:
    return lambda_H * time


def plateau(trace: float, share: float) -> tuple[float, float]:
    """Both numbers at the minimum."""
    return trace, share


def _no_plateau(trace: float, share: float) -> tuple[float, float]:
    return 0.99 * trace, 0.99 * share


_MINIMUM = {
    "trace": lambda s: _at_the_minimum(s)[0],
    "share": lambda s: _at_the_minimum(s)[1],
}

CLAIMS = (
    Claim(
        id="graph-flow",
        title="Graphs: classes contract at twice the decay",
        statement="Features of more dimensions than classes that flow downhill under the best "
        "classifier contract within classes at twice their decay, slower directions being gone.",
        latex=r"\tfrac{d}{dt}\log\operatorname{tr}\Sigma_W\to-2\lambda_H",
        source=f"GU-4; {SOURCE}",
        region=flows,
        check=Law(fall, _fall, {"time": lambda s: np.ptp(_LATE) / float(s.model.lambda_H)}),
        tolerance=Tolerance(1e-4, "faster modes that are left and the integration; seen 2e-5"),
        mutant=Mutant(
            "once the decay",
            Law(
                _fall_of_lengths,
                _fall,
                {"time": lambda s: np.ptp(_LATE) / float(s.model.lambda_H)},
            ),
        ),
        uses=("graph-collapse",),
    ),
    Claim(
        id="graph-flow-levels-off",
        title="Graphs: partial collapse belongs to the minimum",
        statement="On graphs that do not collapse the scatter within classes levels off, at its "
        "value at the minimum: partial collapse is not slowness.",
        latex=r"\operatorname{tr}\Sigma_W(t)\to\operatorname{tr}\Sigma_W(H^*)",
        source=f"GU-4; {SOURCE}",
        region=uneven_flows,
        check=Law(plateau, _plateau, _MINIMUM),
        tolerance=Tolerance(1e-8, "descents to 1e-12; e^-30 of the start; the integration"),
        mutant=Mutant("one per cent lower", Law(_no_plateau, _plateau, _MINIMUM)),
        uses=("graph-flow",),
    ),
)
