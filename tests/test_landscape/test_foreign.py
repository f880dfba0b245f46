"""Models from outside the packages through all that landscape offers, against brute force."""

import jax
import numpy as np
import pytest

from landscape import (
    Curvature,
    atlas,
    dense_hessian,
    escape_direction,
    hessian_operator,
    lanczos,
    minimise_many,
    polished,
    solve,
    verdict,
)
from landscape.branches import Ended, follow_parameter
from landscape.flows import descend
from tests.foreign import GraphPoint, Spheres, TwoGraphs, Vectors
from tests.helpers import slow
from ufm import InputError, Model, flatten, stack, unflatten

MODELS = [TwoGraphs(), Spheres()]
MODEL = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
# Eigenvalues of these Hessians are above 1e-5 in size, or rounding.
ZERO = 1e-8


@jax.jit
def brute_hessian(model, like, x):
    return jax.hessian(lambda y: model.objective(unflatten(y, like)))(x)


def signs(model, point):
    """Index and nullity of the dense Hessian by JAX, which knows nothing of the model."""

    values = np.linalg.eigvalsh(brute_hessian(model, point, flatten(point)))
    return int(np.sum(values < -ZERO)), int(np.sum(np.abs(values) <= ZERO))


@pytest.fixture(scope="module")
def minima():
    return {type(model).__name__: solve(model, key=jax.random.key(1)) for model in MODELS}


def saddle_of(model):
    if isinstance(model, TwoGraphs):
        return jax.tree.map(np.zeros_like, model.random_point(jax.random.key(0)))
    # All features alike, and every classifier opposite or along: a pole.
    return Vectors(np.eye(1, 4).repeat(3, axis=0), -np.eye(4, 1).repeat(3, axis=1))


@MODEL
@pytest.mark.parametrize(
    "method",
    ["newton", slow("lbfgs"), slow("critical"), *(slow(x) for x in ("momentum", "gd"))],
)
def test_every_solver_finds_a_critical_point_of_a_foreign_model(model, method):
    near = solve(model, key=jax.random.key(1)).point if method == "critical" else None
    if near is not None:
        near = jax.tree.map(lambda x: x + 1e-3, near)
    found = solve(model, near, key=jax.random.key(1), method=method, tolerance=1e-8)
    assert found.result, found.gradient_norm
    slope = jax.jit(jax.grad(model.objective))(found.point)
    assert np.linalg.norm(flatten(slope)) < 1e-7


@MODEL
def test_the_verdict_on_a_foreign_minimum_is_that_of_the_dense_hessian(model, minima):
    found = minima[type(model).__name__]
    judged = verdict(model, found.point)
    assert judged.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert (judged.count.index, judged.count.nullity) == signs(model, found.point)
    assert judged.count.predicted_nullity == judged.count.nullity > 0
    assert judged.count.route == "dense"
    assert judged.globality.name == "UNKNOWN"
    assert "no dual bound is known" in judged.globality_reason


@MODEL
def test_the_verdict_on_a_foreign_saddle_is_that_of_the_dense_hessian(model):
    point = saddle_of(model)
    judged = verdict(model, point)
    assert judged.curvature is Curvature.STRICT_SADDLE
    assert judged.count.index == signs(model, point)[0] > 0
    assert judged.lower_objective < judged.objective
    escape = escape_direction(model, point)
    direction = flatten(escape.direction)
    dense = dense_hessian(model, point)
    assert direction @ dense @ direction == pytest.approx(np.linalg.eigvalsh(dense)[0], rel=1e-9)


@MODEL
def test_lanczos_sees_the_extreme_eigenvalues_of_a_foreign_model(model):
    point = saddle_of(model)
    pairs = lanczos(
        hessian_operator(model.objective, point), num_eigenvalues=1, key=jax.random.key(0)
    )
    lowest = np.linalg.eigvalsh(dense_hessian(model, point))[0]
    assert pairs.eigenvalues[0] == pytest.approx(lowest, rel=1e-8)


def test_foreign_models_are_minimised_in_one_batch():
    models = [TwoGraphs(lambda_W=x, lambda_H=0.02) for x in (0.01, 0.05, 0.3)]
    starts = [model.random_point(jax.random.key(i)) for i, model in enumerate(models)]
    found = minimise_many(stack(models), stack(starts), 1e-9, 2000, slots=2)
    for i, (model, start) in enumerate(zip(models, starts, strict=True)):
        alone = solve(model, start, method="newton")
        assert found.gradient_norm[i] < 1e-9
        assert float(found.objective[i]) == pytest.approx(alone.objective, abs=1e-8)


@MODEL
def test_newtons_method_polishes_a_foreign_point_across_its_orbit(model, minima):
    best = minima[type(model).__name__]
    near = jax.tree.map(lambda x: np.asarray(x) + 1e-4, best.point)
    point, value, size = polished(model, near)
    assert size < 1e-13
    assert value == pytest.approx(best.objective, abs=1e-13)
    assert type(point) is type(best.point)


@MODEL
def test_an_atlas_of_a_foreign_model_is_refused_with_the_way_out(model):
    with pytest.raises(InputError, match="method='critical'") as error:
        atlas(model)
    assert type(model).__name__ in str(error.value)


@MODEL
def test_a_flow_of_a_foreign_model_goes_down_to_a_minimum(model):
    start = model.random_point(jax.random.key(5))
    end = descend(model, jax.tree.map(np.asarray, start))
    assert end.arrived
    assert end.objective < float(model.objective(start))
    assert signs(model, end.point)[0] == 0
    assert end.rise < 1e-6


def test_a_branch_of_a_foreign_model_follows_its_minimum(minima):
    def family(decay):
        return TwoGraphs(lambda_W=decay, lambda_H=0.02)

    best = minima["TwoGraphs"]
    path = follow_parameter(family, best.point, 0.05, 0.08)
    assert path.ended is Ended.ARRIVED
    assert [place.index for place in path.places] == [0] * len(path.places)
    last = path.places[-1]
    again = solve(family(0.08), last.point)
    assert last.objective == pytest.approx(again.objective, abs=1e-12)
    assert isinstance(last.point, GraphPoint)


def test_a_branch_along_the_temperature_keeps_the_simplex():
    best = solve(Spheres(), key=jax.random.key(1)).point
    path = follow_parameter(lambda tau: Spheres(tau=tau), best, 2.0, 3.5)
    # Three unit vectors at 120 degrees in both: logits tau and -tau / 2.
    for place in path.places:
        tau = place.parameter
        exact = np.log(1 + 2 * np.exp(-1.5 * tau))
        assert place.objective == pytest.approx(exact, abs=1e-12)


def test_a_path_starts_at_a_critical_point():
    model = TwoGraphs()
    start = model.random_point(jax.random.key(0))
    with pytest.raises(InputError, match=r"critical point of the model at 0\.05"):
        follow_parameter(lambda x: TwoGraphs(lambda_W=x), start, 0.05, 0.06)
    with pytest.raises(InputError, match="two different ends"):
        follow_parameter(lambda x: TwoGraphs(lambda_W=x), start, 0.05, 0.05)


class Shy(Model):
    """A model that answers nothing but what is required."""

    def objective(self, point):
        x, y = point
        return (x @ x - 1) ** 2 + (y @ y) ** 2 / 4 + x @ y

    def random_point(self, key, scale=1.0):
        return tuple(scale * jax.random.normal(key, (2, 3)))


jax.tree_util.register_pytree_node(Shy, lambda _: ((), None), lambda *_: Shy())


def test_a_model_that_says_nothing_of_its_symmetry_is_undecided_and_says_so():
    model = Shy()
    found = solve(model, key=jax.random.key(3))
    judged = verdict(model, found.point)
    assert judged.curvature is Curvature.UNDECIDED
    assert "symmetry" in judged.reason
    # Two zeros and nothing below; without the symmetry nobody says that they are not negative.
    assert signs(model, found.point) == (0, 2)
    assert (judged.count.index_range, judged.count.nullity_range) == ((0, 2), (0, 2))
    assert judged.count.index is judged.count.nullity is None


@MODEL
def test_a_point_of_another_model_is_refused_with_both_shapes(model):
    other = MODELS[1 - MODELS.index(model)]
    with pytest.raises(InputError, match="Need a point of shapes"):
        verdict(model, other.random_point(jax.random.key(0)))
    with pytest.raises(InputError, match="Need a point of shapes"):
        solve(model, other.random_point(jax.random.key(0)))
