"""Critical points that are proved, and points of which nothing may be said."""

from typing import Any, NamedTuple

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape.verdict import verdict
from proofs_check.rigorous import point as module
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import precision
from proofs_check.rigorous.floats import Floats
from proofs_check.rigorous.point import prove_critical
from proofs_check.rigorous.symmetric import Inertia
from ufm import (
    MSE,
    UFM,
    CrossEntropy,
    InputError,
    LabelSmoothing,
    Model,
    Point,
    pytree_record,
    registered,
)
from ufm.models.rate_reduction import Representation
from ufm.point import flatten, unflatten


def etf(loss=None, d=4, n=1, lam=0.02, **more):
    model = UFM(loss or CrossEntropy(), 3, d, n, lambda_W=lam, lambda_H=lam, **more)
    return model, model.merge().lift(model.minimiser().point)


class Position(NamedTuple):
    x: Any


@pytree_record(eq=False)
class Well(Model[Position]):
    """(x^2 - 1)^2 / 4: the gradient x^3 - x has the zeros -1, 0 and 1."""

    def objective(self, point):
        return (point.x @ point.x - 1) ** 2 / 4

    def random_point(self, key, scale=1.0):
        return Position(scale * jax.random.normal(key, (1,)))

    def generators(self, point):
        return Position(np.zeros((0, 1)))


@pytree_record(eq=False)
class Ring(Well):
    """The same in the plane: a circle of minima, and a maximum in the middle."""

    def random_point(self, key, scale=1.0):
        return Position(scale * jax.random.normal(key, (2,)))

    def generators(self, point):
        x, y = point.x
        return Position(np.array([[-y, x]]))


def test_index_and_nullity_are_those_of_the_theory():
    for d, nullity in ((2, 1), (4, 5)):
        told = prove_critical(*etf(d=d))
        assert (told.index, told.nullity) == (0, nullity)
        assert told.minimum
        assert told.radius == 1e-9
        assert told.distance < 1e-12
    model = etf()[0]
    told = prove_critical(model, model.origin())
    assert (told.index, told.nullity) == (8, 0)  # CE-5: (K - 1) d


def test_the_dense_hessian_of_all_samples_agrees():
    model, point = etf(LabelSmoothing(0.1), d=3, n=2)
    told = prove_critical(model, point)
    values = np.linalg.eigvalsh(model.dense_derivatives(point)[2])
    assert told.nullity == np.sum(np.abs(values) < 1e-12) == 3
    assert told.index == np.sum(values < -1e-12) == 0


def test_a_merged_point_is_proved_in_all_samples():
    model = etf(n=2)[0]
    told = prove_critical(model, model.minimiser().point)
    assert told.point.H.shape == (4, 6)


def test_a_bias_and_its_free_shift_and_rotations_of_classes():
    for loss, bias, extra in ((CrossEntropy(), 0.1, 0), (CrossEntropy(), 0.0, 1)):
        told = prove_critical(*etf(loss, lambda_b=bias))
        assert (told.index, told.nullity) == (0, 5 + extra)
    # Squared error without bias: three orthogonal classes in R^4, a Stiefel manifold.
    told = prove_critical(*etf(MSE()))
    assert (told.index, told.nullity) == (0, 6)


def closed_form(lam):
    """f* of CE-1 in balls: c = 3 lam, alpha = log(3/c - 2)."""
    with precision(200):
        c = 3 * flint.arb(lam)
        alpha = (3 / c - 2).log()
        return (alpha.exp() + 2).log() - alpha + 2 * c * alpha / 3


def test_the_value_is_enclosed_and_another_lambda_is_not():
    told = prove_critical(*etf())
    low, high = (flint.arb(x) for x in told.value)
    with precision(200):
        assert low <= closed_form(0.02) <= high
        assert not closed_form(0.02 * (1 + 1e-6)) <= high
    assert told.value[1] - told.value[0] < 1e-14


@pytest.mark.parametrize("wrong", ["moved", "another lambda"])
def test_a_point_that_is_not_beside_a_critical_one_is_not_proved(wrong):
    model, point = etf()
    assert prove_critical(model, point, newton_steps=0).index == 0
    if wrong == "moved":
        x = flatten(point)
        x[5] += 1e-3
        point = unflatten(x, point)
    else:
        model = etf(lam=0.02 * (1 + 1e-6))[0]
    with pytest.raises(Undecided, match="leaves the box"):
        prove_critical(model, point, newton_steps=0)
    told = prove_critical(model, point)  # Newton's method mends both
    assert np.abs(flatten(told.point) - flatten(point)).max() > 1e-8


def test_the_radius_asked_for_is_the_one_proved():
    assert prove_critical(*etf(), radius=1e-7).radius == 1e-7
    with pytest.raises(Undecided, match="leaves the box"):
        prove_critical(*etf(), radius=1e-17, newton_steps=0)


def test_a_box_with_three_critical_points_is_not_proved():
    """|1 - f''/2| reaches 3 r + 1.5 r^2: Krawczyk's operator stays inside up to r = 0.29."""
    good = prove_critical(Well(), Position(np.ones(1)), radius=0.28)
    assert (good.radius, good.index) == (0.28, 0)
    less = prove_critical(Well(), Position(np.ones(1)), radius=1.0)
    assert less.radius == 0.1
    told = prove_critical(Well(), Position(np.zeros(1)))
    assert (told.index, told.nullity) == (1, 0)


def test_a_quarter_of_the_contraction_would_prove_too_much(monkeypatch):
    """Within 1.2 of the well at 1 lie all three critical points, and one would be claimed."""
    honest = module.distance_to_inverse
    monkeypatch.setattr(module, "distance_to_inverse", lambda M, C: honest(M, C) / 8)
    monkeypatch.setattr(module, "inertia", lambda M, eigen: Inertia(1, 0, "not asked"))
    assert prove_critical(Well(), Position(np.ones(1)), radius=1.2).radius == 1.2


def test_balls_prove_what_float64_leaves_open(monkeypatch):
    def too_coarse(matrix, eigen):
        if isinstance(matrix, Floats):
            raise Undecided("too coarse")
        return honest(matrix, eigen)

    honest = module.inertia
    monkeypatch.setattr(module, "inertia", too_coarse)
    told = prove_critical(*etf(d=2))
    assert (told.index, told.nullity) == (0, 1)
    assert told.route.startswith("LDL^T in balls")
    monkeypatch.setattr(module, "MOST_ROWS", 11)
    with pytest.raises(Undecided, match="too coarse"):
        prove_critical(*etf(d=2))


def test_a_circle_of_minima_is_one_orbit():
    told = prove_critical(Ring(), Position(np.array([0.6, 0.8])))
    assert (told.index, told.nullity) == (0, 1)
    told = prove_critical(Ring(), Position(np.zeros(2)))
    assert (told.index, told.nullity) == (2, 0)


def test_zeros_that_symmetry_does_not_explain_are_undecided():
    @pytree_record(eq=False)
    class Flat(Ring):
        def generators(self, point):
            return Position(np.zeros((0, 2)))

    with pytest.raises(Undecided):
        prove_critical(Flat(), Position(np.array([0.6, 0.8])))

    @pytree_record(eq=False)
    class Unknown(Ring):
        def generators(self, point):
            return None

    with pytest.raises(Undecided, match="symmetry"):
        prove_critical(Unknown(), Position(np.array([0.6, 0.8])))


def test_a_gauge_that_turns_along_within_the_box_is_undecided():
    """On a circle of radius r the tangent turns round within a box of that size."""
    x = np.array([0.6, 0.8])
    at = module._Slice.at(Ring(), Position(x), x, 1e-9)
    module._require_transversal(at, 0.3)
    with pytest.raises(Undecided, match="transversal"):
        module._require_transversal(at, 1.0)


def test_numbers_beyond_float64_are_undecided():
    model, point = etf()
    huge = jax.tree.map(lambda x: 1e200 * x, point)
    with pytest.raises(Undecided):
        prove_critical(model, huge)


def test_kinks_and_sizes_are_refused(monkeypatch):
    def hinge(logits, label):
        return jnp.sum(jnp.maximum(0, 1 + logits - logits[label]))

    model = UFM(hinge, 3, 2, lambda_W=0.1, lambda_H=0.1)
    with pytest.raises(InputError, match="kinks"):
        prove_critical(model, model.origin())
    monkeypatch.setattr(module, "MOST_COORDINATES", 23)
    with pytest.raises(InputError, match="at most 23"):
        prove_critical(*etf())
    with pytest.raises(InputError):
        prove_critical(etf()[0], Point(np.ones((3, 4)), np.ones((2, 3))))


RATE = registered("rate-reduction").build({"counts": "2,2", "d": 3, "eps": 0.5, "lambda_Z": 0.1})
SHORT = registered("constrained-rate").build({"counts": "3,2", "d": 4, "eps": 0.5})
LAYER = registered("equilibrium").build(
    {"num_classes": 3, "d": 4, "n": 1, "lambda_W": 0.02, "lambda_V": 1.0, "lambda_X": 0.02}
)


def uneven():
    """Two singular values of one class, u1 u2 = p and u1 + u2 = a m: the rates' slopes agree."""
    rate, share = float(SHORT.free.rate), 0.6
    u = np.roots([1, -3 * rate, share])
    Z = np.zeros((4, 5))
    Z[0, 0], Z[1, 1] = np.sqrt(u / rate)
    Z[2, 3] = np.sqrt(2.0)
    return Representation(Z)


@pytest.mark.parametrize(
    ("model", "name", "index", "nullity"),
    [
        (RATE, "2,1", 0, 4),
        (RATE, "1,0/1,0", 1, 4),
        (SHORT, "2,2", 0, 10),
        (SHORT, uneven(), 1, 12),
        (LAYER, "minimiser", 0, 5),
        (LAYER, "origin", 8, 0),
    ],
)
def test_models_with_determinants_and_linear_systems(model, name, index, nullity):
    """The null space is that of the symmetry group; the numbers are those of the verdict."""
    point = model.explicit(name) if isinstance(name, str) else name
    told = prove_critical(model, point)
    judged = verdict(model, point).count
    assert (told.index, told.nullity) == (judged.index, judged.predicted_nullity)
    assert (told.index, told.nullity) == (index, nullity)
    assert told.distance < 1e-12


def test_generators_that_turn_balls_into_numbers_are_refused():
    """An array of floats takes balls in silence, and the box would be forgotten."""

    @pytree_record(eq=False)
    class Forgetful(Ring):
        def generators(self, point):
            told = np.zeros((1, 2))
            told[0] = [-point.x[1], point.x[0]]
            return Position(told)

    with pytest.raises(Undecided, match="take numbers only"):
        prove_critical(Forgetful(), Position(np.array([0.6, 0.8])))
