"""Spectra from the used dimensions, against dense Hessians in all of them."""

import jax
import numpy as np
import pytest

from landscape import Curvature, dense_hessian, verdict
from tests.helpers import slow
from ufm import CrossEntropy, Point, Sphere, as_rows, constrained_rate, contrastive, layer_peeled
from ufm.tolerance import generator_rank

MODELS = {
    "sphere": Sphere(CrossEntropy(), 3, 6, 2, 1.7),
    "layer-peeled": layer_peeled(counts=(3, 1, 1), d=6, energy_W=0.7, energy_H=2.0),
    "contrastive": contrastive(d=6, radius=1.2, counts=(2, 3)),
    "constrained-rate": constrained_rate("3,2", 6, 0.8),
}


def flat_point(model, rank, seed=0):
    """A random point that uses ``rank`` dimensions, turned."""
    start = model.random_point(jax.random.key(seed))
    project = np.linalg.qr(np.random.default_rng(seed).normal(size=(model.d, rank)))[0]
    P = project @ project.T
    if isinstance(start, Point):
        return Point(start.W @ P, P @ start.H)
    return type(start)(P @ start[0])


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("sphere", 1),
        slow("sphere", 3),
        ("layer-peeled", 3),
        ("contrastive", 2),
        slow("contrastive", 4),
        ("constrained-rate", 4),
        slow("constrained-rate", 1),
    ],
)
def test_the_spectrum_is_the_dense_one_at_any_point(name, rank):
    model = MODELS[name]
    point = flat_point(model, rank)
    known = model.structure(point)
    dense = np.linalg.eigvalsh(dense_hessian(model, point))
    np.testing.assert_allclose(known.levels.expand(), dense, atol=1e-10 * (1 + np.abs(dense).max()))
    assert known.rank == rank
    assert known.predicted_nullity == generator_rank(as_rows(model.generators(point)))
    assert known.order < known.levels.size


@pytest.mark.parametrize("name", ["sphere", "contrastive", "constrained-rate"])
def test_minima_are_judged_in_the_dimensions_that_they_use(name):
    wide = {"contrastive": contrastive(3, 6, 2, 1.2)}
    wide["constrained-rate"] = constrained_rate("3,1", 3, 0.8).with_dimension(6)
    model = {**MODELS, **wide}[name]
    best = model.minimiser()
    told = verdict(model, best.point)
    assert told.count.route == "structured"
    assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
    values = np.linalg.eigvalsh(dense_hessian(model, best.point))
    observed = int(np.sum(np.abs(values) < 1e-9 * values[-1]))
    assert told.count.nullity == told.count.predicted_nullity == observed


def test_a_model_of_many_dimensions_costs_what_few_do():
    model = Sphere(CrossEntropy(), 3, 4000, 1, 2.0)
    told = verdict(model, model.minimiser().point)
    assert told.count.route == "structured"
    # Radii, and the rotations of a frame of rank 2.
    assert told.count.nullity == 6 + 1 + 2 * (4000 - 2)


def test_nothing_is_gained_where_all_dimensions_are_used():
    model = MODELS["sphere"]
    assert model.structure(model.random_point(jax.random.key(0))) is None
    assert model.structure(flat_point(model, 5)) is None
    assert contrastive(d=6, nonnegative=True).structure(None) is None
