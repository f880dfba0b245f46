"""Records are frozen, and pytrees whose numbers are leaves."""

import dataclasses

import jax
import numpy as np
import pytest

from ufm import UFM, CrossEntropy, Focal, LabelSmoothing
from ufm.model import norm, value_and_gradient
from ufm.records import pytree_record


@pytree_record(static=("size",))
class Ball:
    radius: float
    size: int

    def __post_init__(self):
        if self.radius < 0:
            raise ValueError("negative radius")


def test_numbers_are_leaves_and_static_fields_are_structure():
    ball = Ball(2.0, 3)
    assert jax.tree.leaves(ball) == [2.0]
    assert jax.tree.map(lambda x: x + 1, ball) == Ball(3.0, 3)
    assert jax.tree.structure(ball) != jax.tree.structure(Ball(2.0, 4))
    assert jax.tree.structure(ball) == jax.tree.structure(Ball(5.0, 3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        ball.radius = 1.0


def test_only_what_a_person_writes_is_validated():
    with pytest.raises(ValueError, match="negative radius"):
        Ball(-1.0, 3)
    assert jax.tree.map(lambda x: -x, Ball(2.0, 3)).radius == -2.0


def test_records_with_arrays_compare_by_identity():
    @pytree_record(eq=False)
    class Cloud:
        points: np.ndarray

    cloud = Cloud(np.ones(3))
    assert cloud == cloud
    assert cloud != Cloud(np.ones(3))
    assert Ball(2.0, 3) == Ball(2.0, 3)


def test_a_written_constructor_is_kept():
    @pytree_record()
    class Doubled:
        value: float

        def __init__(self, value):
            object.__setattr__(self, "value", 2 * value)

    assert Doubled(3.0).value == 6.0
    assert jax.tree.map(lambda x: x, Doubled(3.0)).value == 6.0  # rebuilt from leaves, not doubled


def test_a_model_keeps_its_programs_when_its_numbers_change():
    traced = []

    @jax.jit
    def probe(model, point):
        traced.append(1)
        return model.objective(point)

    sizes = {"num_classes": 3, "d": 2, "lambda_W": 0.1}
    origin = UFM(LabelSmoothing(0.1), **sizes, lambda_H=0.1).origin()
    ones = jax.tree.map(np.ones_like, origin)
    values = [
        float(probe(UFM(LabelSmoothing(delta), **sizes, lambda_H=lh), ones))
        for delta, lh in ((0.1, 0.1), (0.1, 0.2), (0.3, 0.1))
    ]
    assert len(traced) == 1
    assert values[1] - values[0] == pytest.approx(0.1 * 6 / 2, rel=1e-12)
    probe(UFM(CrossEntropy(), **sizes, lambda_H=0.1), ones)
    assert len(traced) == 2
    assert hash(Focal(2.0)) == hash(Focal(2.0))


def test_the_norm_of_a_point_and_the_value_of_a_model():
    assert float(norm((np.array([3.0]), None, np.array([[4.0], [12.0]])))) == 13.0
    model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
    value, gradient = value_and_gradient(model, model.origin())
    assert float(value) == pytest.approx(np.log(3))
    assert float(norm(gradient)) == 0.0
