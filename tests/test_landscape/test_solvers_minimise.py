"""Many models at once: the queue of descents and the proofs of minima, against one at a time."""

import jax
import numpy as np
import pytest

from landscape.solvers.minimise import minimise_many
from landscape.solvers.solve import solve
from tests.helpers import FAMILY, Problem, slow
from ufm import UFM, CrossEntropy, InputError, LabelSmoothing, Point
from ufm.plain.cholesky_proof import judge_many
from ufm.plain.symmetric_values import symmetric_values
from ufm.stack import stack

LW, LH = 0.02, 0.012
COUNTS = (2, 2, 2, 3)


def merged(name="ce", counts=COUNTS, d=3, lambda_b=None, decays=(LW, LH)):
    lw, lh = decays
    model = UFM(FAMILY[name][0], counts=counts, d=d, lambda_W=lw, lambda_H=lh, lambda_b=lambda_b)
    return model.merge().model


def starts(models, seed=0):
    keys = jax.random.split(jax.random.key(seed), len(models))
    return [model.random_point(key) for model, key in zip(models, keys, strict=True)]


def descended(models, points, *, tolerance=1e-10, most=5000, slots=2):
    found = minimise_many(stack(models), stack(points), tolerance, most, slots=slots)
    return jax.tree.map(np.asarray, found)


def judged(models, points, *, dimensions=None, norms=None, asked=None, **ways):
    d = [model.d for model in models] if dimensions is None else dimensions
    norms = np.full(len(models), 1e-11) if norms is None else norms
    asked = np.ones(len(models), bool) if asked is None else asked
    ways = {"together": False, "shift": False, **ways}
    told = judge_many(stack(models), stack(points), np.array(d), norms, np.array(asked), **ways)
    return jax.tree.map(np.asarray, told)


# ---- descents


@pytest.mark.parametrize(
    ("name", "lambda_b"),
    [
        slow("ce", None),
        slow("focal", 0.05),
        slow("ce", 0.05),
        slow("focal", None),
        ("rescaled", None),
        slow("rescaled", 0.05),
    ],
)
def test_a_queue_ends_where_single_descents_end(name, lambda_b):
    scales = (0.3, 1.0, 2.0, 5.0, 0.7)
    models = [merged(name, lambda_b=lambda_b, decays=(s * LW, s * LH)) for s in scales]
    points = starts(models)
    found = descended(models, points)
    assert found.gradient_norm.max() <= 1e-10
    for i, (model, start) in enumerate(zip(models, points, strict=True)):
        alone = solve(model, start, method="lbfgs", tolerance=1e-10)
        assert found.objective[i] == pytest.approx(alone.objective, abs=1e-13)
        here = jax.tree.map(lambda leaf, i=i: leaf[i], found.point)
        assert float(model.objective(here)) == pytest.approx(found.objective[i], abs=1e-14)


@pytest.mark.slow
def test_neither_slots_nor_company_nor_order_change_an_end():
    scales = (0.3, 1.0, 2.0, 5.0, 0.7)
    models = [merged(decays=(s * LW, s * LH)) for s in scales]
    points = starts(models)
    all_at_once = descended(models, points, slots=7)
    for slots in (1, 2):
        again = descended(models, points, slots=slots)
        assert np.array_equal(again.iterations, all_at_once.iterations)
        close(again, all_at_once)
    order = [3, 0, 4, 2, 1]
    turned = descended([models[i] for i in order], [points[i] for i in order])
    close(turned, jax.tree.map(lambda leaf: leaf[order], all_at_once))


def close(one, other):
    """Ends agree to the gradient norm 1e-10 over the smallest curvature, about 1e-2."""
    assert np.abs(one.point.W - other.point.W).max() < 1e-8
    assert np.abs(one.objective - other.objective).max() < 1e-15 * 20


@pytest.mark.slow
def test_tolerance_and_limit_are_not_ignored():
    models = [merged(), merged(decays=(3 * LW, LH))]
    points = starts(models)
    rough, fine = (descended(models, points, tolerance=x) for x in (1e-3, 1e-9))
    assert np.all(rough.gradient_norm <= 1e-3)
    assert np.all(rough.gradient_norm > 1e-9)
    assert np.all(rough.iterations < fine.iterations)
    short = descended(models, points, most=3)
    assert short.iterations.tolist() == [3, 3]
    assert np.all(short.gradient_norm > 1e-10)


@pytest.mark.slow
def test_a_bad_start_ends_without_holding_up_the_queue():
    models = [merged()] * 3
    points = starts(models)
    points[1] = points[1]._replace(W=np.full_like(points[1].W, np.nan))
    found = descended(models, points, slots=1)
    assert np.isnan(found.gradient_norm[1])
    assert found.iterations[1] == 1
    assert np.all(found.gradient_norm[[0, 2]] <= 1e-10)


@pytest.mark.slow
def test_a_critical_start_stays():
    model = merged()
    found = descended([model], [model.origin()])
    assert not np.any(found.point.W)
    assert found.gradient_norm[0] == 0


@pytest.mark.slow
def test_idle_columns_stay_idle():
    """A start of smaller dimension in a wider program descends as it would in its own."""
    narrow, wide = merged(d=2), merged(d=5)
    start = starts([narrow])[0]
    padded = Point(np.pad(start.W, ((0, 0), (0, 3))), np.pad(start.H, ((0, 3), (0, 0))))
    found = descended([wide], [padded])
    assert not np.any(found.point.W[:, :, 2:])
    alone = descended([narrow], [start])
    assert found.objective[0] == pytest.approx(alone.objective[0], abs=1e-14)


def test_stacks_need_one_shape():
    with pytest.raises(InputError, match="2 kinds"):
        stack([merged(d=2), merged(d=3)])


# ---- proofs


def minimum(model):
    """A point known to 1e-12, with its gradient norm."""
    found = solve(model, tolerance=1e-12)
    assert found.gradient_norm < 1e-11
    return found.point


SETTINGS = [
    ("ce", (1, 1, 1), 2, None, True),
    slow("ce", COUNTS, 3, None, False),
    slow("ce", COUNTS, 3, None, True),
    slow("ce", COUNTS, 6, None, False),
    slow("ls", COUNTS, 5, 0.0, False),
    slow("focal", (1, 1, 1), 4, None, False),
    slow("rescaled", (3, 2, 1), 2, 0.05, True),
]


@pytest.mark.parametrize(("name", "counts", "d", "lambda_b", "together"), SETTINGS)
def test_a_minimum_is_proved_and_its_gap_is_that_of_the_dense_hessian(
    name, counts, d, lambda_b, together
):
    model = merged(name, counts, d, lambda_b)
    point = minimum(model)
    shift = lambda_b == 0.0 and name != "rescaled"
    told = judged([model] * 2, [point] * 2, together=together, shift=shift)
    assert told.minimum.all()
    K = len(counts)
    # The judged problem has at most K dimensions: the dense one, in as many.
    values = dense(name, model, point, lambda_b, min(d, K))
    positive = values[values > 1e-8]
    assert values.min() > -1e-9
    assert told.error[0] < 1e-2
    assert told.gap[0] == pytest.approx(positive.min(), rel=10 * told.error[0] + 1e-6)


def dense(name, model, point, lambda_b, d):
    """Spectrum of the merged problem in d dimensions, in NumPy."""
    W, H, b = point.to_numpy()
    if W.shape[1] > d:
        basis = np.linalg.qr(W.T)[0]
        W, H = W @ basis, basis.T @ H
    brute = Problem.of(FAMILY[name][1], model.counts_tuple, d, LW, LH, lambda_b, merged=True)
    return brute.spectrum(Point(W, H, b))


@pytest.mark.slow
def test_saddles_and_degenerate_points_are_not_proved():
    cross = merged(counts=(1, 1, 1, 1), d=3)
    origin = cross.origin()
    family = merged("mse", (1, 1, 1, 1), 3)  # a Grassmannian of minima, more than rotations
    assert not judged([cross], [origin]).minimum[0]
    assert not judged([family], [minimum(family)]).minimum[0]
    # The same origin is a minimum above the threshold: c = 1.2.
    decay = 1.2 / 4
    assert judged([merged(counts=(1,) * 4, decays=(decay, decay))], [origin]).minimum[0]


@pytest.mark.slow
def test_rounding_left_of_the_origin_hides_nothing():
    """Noise of 1e-10 is no frame that turns: it neither covers a way down nor costs a direction."""
    noise = Point(*(1e-10 * np.asarray(x) for x in starts([merged(counts=(1,) * 4)])[0][:2]))
    decay = 1.2 / 4
    models = [merged(counts=(1,) * 4, decays=(x, x)) for x in (LW, decay)]
    told = judged(models, [noise, noise])
    assert told.minimum.tolist() == [False, True]
    # lambda (1 - 1 / c): the complement block of the origin with sigma_1(G) = 1 / 4.
    assert told.gap[1] == pytest.approx(decay - 0.25, rel=1e-6)


@pytest.mark.slow
def test_the_bias_shift_must_be_named():
    model = merged("ls", COUNTS, 3, 0.0)
    point = minimum(model)
    assert judged([model], [point], shift=True).minimum[0]
    assert not judged([model], [point], shift=False).minimum[0]


@pytest.mark.slow
def test_a_saddle_of_a_larger_dimension_is_a_minimum_of_its_own():
    """K = 4, d = 1 at small decay: minima on a line that have a way down in the plane."""
    model = merged(counts=(1,) * 4, d=1, decays=(5e-4, 5e-4))
    point = minimum(model)
    wide = Point(np.pad(point.W, ((0, 0), (0, 2))), np.pad(point.H, ((0, 2), (0, 0))))
    roomy = model.with_dimension(3)
    told = judged([roomy, roomy], [wide, wide], dimensions=[1, 3])
    assert told.minimum.tolist() == [True, False]


def test_a_point_too_far_from_critical_is_not_proved():
    model = merged(counts=(1, 1, 1), d=2)
    point = model.minimiser().point
    norms = np.array([1e-9, 1e-2])
    assert judged([model] * 2, [point] * 2, norms=norms, together=True).minimum.tolist() == [1, 0]


@pytest.mark.parametrize("together", [False, True])
def test_only_the_points_that_are_asked_for_are_proved(together):
    model = merged(counts=(1, 1, 1), d=2)
    points = [minimum(model) for _ in range(3)]
    every = judged([model] * 3, points, together=together)
    some = judged([model] * 3, points, asked=[False, True, True], together=together)
    assert every.minimum.all()
    assert some.minimum.tolist() == [False, True, True]
    np.testing.assert_allclose(some.gap[1:], every.gap[1:], rtol=1e-12)


# ---- closed forms


@pytest.mark.parametrize("loss", [CrossEntropy(), LabelSmoothing(0.2)])
def test_symmetric_values_are_the_closed_form(loss):
    models = [UFM(loss, 5, 4, 3, lambda_W=x, lambda_H=x) for x in (1e-4, 0.02, 0.05, 0.3)]
    c = np.array([model.c for model in models])
    gaps, values = symmetric_values(stack([loss] * 4), c, num_classes=5)
    for gap, value, model in zip(gaps, values, models, strict=True):
        best = model.minimiser()
        assert float(value) == pytest.approx(best.value, abs=1e-14)
        assert float(gap) == pytest.approx(best.code.a, abs=1e-11)
    assert gaps[3] == 0  # beyond the threshold
