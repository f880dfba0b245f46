"""Critical points of rate reduction: orthogonal classes at both roots, and the ends of descents."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from proofs_check.instance import Specimen
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen, built_on
from ufm.models.rate_reduction import RateReduction, Representation, rate_reduction
from ufm.typing import Array

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
