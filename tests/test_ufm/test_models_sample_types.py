"""Samples of several types: objective, spectrum, bound and minimum against NumPy and descents."""

import jax
import numpy as np
import pytest

from landscape import Curvature, Globality, dense_hessian, verdict
from proofs_check.descents import descended
from tests.helpers import slow
from ufm import InputError, Point, as_rows, multilabel, ordinal, soft_labels, tasks
from ufm.model import value_and_gradient
from ufm.models.sample_types import proportional, require_room
from ufm.tolerance import generator_rank

ROWS = "0.8,0.2,0/0,0.7,0.3/0.1,0,0.9/0.5,0.5,0"
# What is small, d beyond the rank, and where the minimum is not known in closed form.
MODELS = {
    "multilabel": multilabel(4, 5, 2, 1, 0, 0.004, 0.006),
    "soft-labels": soft_labels(ROWS, 1, 4, 0.01, 0.02, "2,1,3,2"),
    "two soft classes": soft_labels("1,0/0.3,0.7/0.6,0.4", 1, 3, 0.03, 0.011, "3,2,1"),
    "tasks": tasks("2,3", 2, 4, 0.02, 0.03),
    "ordinal": ordinal("-1,0.3,2", 1, 3, 0.03, 0.007, "2,4,3,1"),
}
every_model = pytest.mark.parametrize("name", MODELS)
# Their machinery is one; ``make test`` goes through it with the first.
some_now = pytest.mark.parametrize("name", [*list(MODELS)[:1], *map(slow, list(MODELS)[1:])])


def losses(name, Z, labels):
    """Loss of every sample, one after the other."""
    found = []
    for z, t in zip(Z.T, labels, strict=True):
        if name == "multilabel":
            p = np.exp(z) / np.exp(z).sum()
            S = MODELS[name].targets[t] > 0
            found.append(-np.log(p[S]).sum())
        elif name == "tasks":
            (a, b), z = MODELS[name].choices[:, t], np.exp(z)
            found.append(-np.log(z[a] / z[:2].sum()) - np.log(z[2 + b] / z[2:].sum()))
        elif name == "ordinal":
            b = [-np.inf, -1, 0.3, 2, np.inf]
            low, high = (1 / (1 + np.exp(z[0] - x)) for x in b[t : t + 2])
            found.append(-np.log(high - low))
        else:
            p = np.exp(z) / np.exp(z).sum()
            found.append(-(MODELS[name].targets[t] * np.log(p)).sum())
    return np.array(found)


@every_model
def test_the_objective_is_the_sum_over_samples(name):
    model = MODELS[name]
    point = model.random_point(jax.random.key(0))
    W, H = np.asarray(point.W), np.asarray(point.H)
    assert H.shape == (model.d, sum(model.counts_tuple))
    labels = np.repeat(np.arange(len(model.counts_tuple)), model.counts_tuple)
    total = losses(name, W @ H, labels).mean()
    total += float(model.lambda_W) / 2 * np.sum(W**2) + float(model.lambda_H) / 2 * np.sum(H**2)
    assert float(value_and_gradient(model, point)[0]) == pytest.approx(total, abs=1e-12)


def lowest(model, name):
    """Descent on all samples with gradients from JAX of the losses alone."""
    each = jax.jit(
        jax.value_and_grad(
            lambda Z: jax.vmap(model.sample_loss, in_axes=(1, 0))(Z, model.labels).mean()
        )
    )

    def loss(Z):
        value, slope = each(Z)
        return float(value), np.asarray(slope)

    shape = (model.num_logits, model.d, len(model.labels))
    return descended(loss, shape, (model.lambda_W, model.lambda_H), 3)


@some_now
def test_descents_end_at_the_minimiser_and_at_the_bound(name):
    model = MODELS[name]
    value, found = lowest(model, name)
    told = model.certificate(found)
    assert told.bound == pytest.approx(value, abs=1e-6)
    assert -1e-12 < told.gap < 1e-6
    assert told.spectral_ratio == pytest.approx(1, abs=1e-6)
    far = model.certificate(model.random_point(jax.random.key(1)))
    assert far.bound < value < value + 0.1 < value + far.gap
    best = model.minimiser()
    if name == "soft-labels":
        assert best is None
        return
    assert best.value == pytest.approx(value, abs=1e-12)
    merge = model.merge()
    assert float(merge.model.objective(best.point)) == pytest.approx(value, abs=1e-12)
    full = merge.lift(best.point)
    np.testing.assert_allclose(full.W @ full.H, found.W @ found.H, atol=1e-4)
    assert model.certificate(best.point).gap == pytest.approx(0, abs=1e-12)
    slope = jax.tree.leaves(model.gradient(full))
    assert max(np.abs(x).max() for x in slope) < 1e-12


@some_now
def test_the_spectrum_is_that_of_the_dense_hessian(name):
    """At the minimum, and where samples of a type agree but nothing is critical."""
    model = MODELS[name]
    merge, best = model.merge(), model.minimiser()
    rng = np.random.default_rng(5)
    W = rng.normal(size=(model.num_logits, 2)) @ rng.normal(size=(2, model.d))
    H = np.linalg.pinv(W) @ rng.normal(size=(model.num_logits, len(model.counts_tuple)))
    points = [merge.lift(Point(W, H))] + ([] if best is None else [merge.lift(best.point)])
    for number, point in enumerate(points):
        told = model.structure(point)
        values = np.concatenate([np.full(m, x) for x, m, _ in told.levels])
        dense = np.linalg.eigvalsh(dense_hessian(model, point))
        np.testing.assert_allclose(np.sort(values), dense, atol=1e-10)
        assert told.rank == np.linalg.matrix_rank(W if number == 0 else best.point.W)
        rotations = generator_rank(as_rows(model.generators(point)))
        assert told.predicted_nullity == rotations
        if number:
            assert np.sum(np.abs(dense) < 1e-9) == rotations
            assert dense[0] > -1e-10
    assert model.structure(model.random_point(jax.random.key(2))) is None
    small = merge.model.structure(merge.reduce(points[0]))
    assert small.levels.size == model.d * (model.num_logits + len(model.counts_tuple))


def test_a_verdict_on_the_minimum():
    model = MODELS["tasks"]
    told = verdict(model, model.merge().lift(model.minimiser().point))
    assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert told.globality is Globality.GLOBAL
    assert told.count.nullity == 6  # r = 1 + 2 in d = 4: 3 + 3


@every_model
def test_zero_is_the_minimum_from_the_collapse_value_on(name):
    model = MODELS[name]
    build = {
        "multilabel": lambda lw, lh: multilabel(4, 5, 2, 1, 0, lw, lh),
        "soft-labels": lambda lw, lh: soft_labels(ROWS, 1, 4, lw, lh, "2,1,3,2"),
        "two soft classes": lambda lw, lh: soft_labels(
            "1,0/0.3,0.7/0.6,0.4", 1, 3, lw, lh, "3,2,1"
        ),
        "tasks": lambda lw, lh: tasks("2,3", 2, 4, lw, lh),
        "ordinal": lambda lw, lh: ordinal("-1,0.3,2", 1, 3, lw, lh, "2,4,3,1"),
    }[name]
    value = model.collapse_value()
    below, above = (build(2 * share * value, share * value / 2) for share in (0.999, 1.001))
    told = above.minimiser()
    assert (told.rank, told.evidence) == (0, "proved")
    assert above.certificate(told.point).gap == pytest.approx(0, abs=1e-14)
    zero = below.certificate(Point(*(0 * np.asarray(x) for x in told.point[:2])))
    assert zero.gap > 1e-7
    if name != "soft-labels":
        assert below.minimiser().rank > 0
        assert below.minimiser().value < told.value


def test_fewer_dimensions_than_the_rank_leave_the_minimum_open():
    assert multilabel(4, 2).minimiser() is None
    assert multilabel(4, 3).minimiser() is not None
    assert tasks("2,3", 2, 2).minimiser() is None


def test_roots_at_one_price():
    target = np.array([1.0, -2.0, 0.5])
    weights = [2.0, 1.0, 3.0]
    z = proportional(lambda g, x: np.tanh(x - target[g]) * (g + 1), weights, 0.3)
    slopes = np.tanh(z - target) * np.arange(1, 4)
    assert weights @ slopes**2 == pytest.approx(0.09, abs=1e-14)
    np.testing.assert_allclose(slopes / z, np.full(3, slopes[0] / z[0]), rtol=1e-12)
    assert slopes[0] / z[0] < 0
    # Just below the slopes at 0 all roots are 0.
    level = np.nextafter(2.0, 0)
    np.testing.assert_allclose(proportional(lambda g, x: x - 2, [1.0], level), [0], atol=1e-14)


@pytest.mark.parametrize("decay", [1e-60, 1e-12, 1e-3])
def test_small_decays_leave_roots_to_be_found(decay):
    model = ordinal("-1,2", 3, 2, decay, 2 * decay)
    assert model.certificate(model.minimiser().point).gap < 1e-12
    many = multilabel(4, 3, 2, 1, 0, decay, 2 * decay)
    gaps = (many.minimiser().point.W @ many.minimiser().point.H)[0]
    assert np.all(np.isfinite(gaps))
    assert many.certificate(many.minimiser().point).gap < 1e-12


@pytest.mark.parametrize("name", ["multilabel", "soft-labels", "ordinal"])
def test_nothing_lies_below_the_floors(name):
    """They are reached by logits that give the targets, and only lift the bound."""
    model = MODELS[name]
    floors = model.floors()
    assert np.any(floors > 0.1)
    reached = {
        "multilabel": lambda t: 60 * model.targets[t],
        "soft-labels": lambda t: np.log(model.targets[t] + 1e-30),
        "ordinal": lambda t: np.array([(-60, -0.35, 1.15, 60)[t]]),
    }[name]
    loss = jax.jit(model.sample_loss)
    for t, floor in enumerate(floors):
        assert float(loss(reached(t), t)) == pytest.approx(floor, abs=1e-9)
    far = model.certificate(model.random_point(jax.random.key(1), 30.0))
    assert far.bound >= np.average(floors, weights=model.counts) - 1e-15 > 0.1


def test_tables_that_are_too_large_are_refused():
    with pytest.raises(InputError, match="at most 10,000,000"):
        require_room(1000, 10_001)
    with pytest.raises(InputError, match="fewer classes"):
        multilabel(1000, pairs=1)
    with pytest.raises(InputError, match="fewer classes"):
        tasks("100,100,100")
