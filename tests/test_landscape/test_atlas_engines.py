"""Two searches: derivatives by differences, the same points."""

import numpy as np
import pytest

from landscape.atlas.eliminated import FIRST, TOGETHER, Eliminated, Whole
from landscape.atlas.engines import eliminated_search, joint_search
from landscape.atlas.record import whole
from landscape.atlas.search import Failure, search
from landscape.atlas.starts import aligned_starts, blind_starts
from tests.landscapes import balanced
from ufm import UFM, CrossEntropy, Focal, Point

pytestmark = pytest.mark.xdist_group("atlas")

MODELS = {
    "unequal": UFM(CrossEntropy(), counts=(3, 2, 1), d=2, lambda_W=0.03, lambda_H=0.01),
    "bias": UFM(CrossEntropy(), counts=(4, 2, 1), d=2, lambda_W=0.02, lambda_H=0.05, lambda_b=0.04),
    "focal": UFM(Focal(1.0), counts=(2, 1, 1), d=2, lambda_W=0.01, lambda_H=0.02),
}


def one_start(model, seed=5):
    rng = np.random.default_rng(seed)
    start = blind_starts(rng, 1, 3, 2)._replace(W=rng.normal(size=(1, 3, 2)))
    return start if model.lambda_b is None else start._replace(b=rng.normal(size=(1, 3)))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", [Eliminated, Whole])
def test_derivatives_are_those_of_differences(name, kind):
    """Of the objective at the points themselves, so the elimination is tested, too."""
    model = whole(MODELS[name])
    problem = kind(model)
    state = problem.state(one_start(model))
    size, step = state.gradient.shape[1], 1e-5
    gradient, hessian = np.zeros(size), np.zeros((size, size))
    for i in range(size):
        sides = [problem.moved(state, sign * step * np.eye(size)[[i]]) for sign in (-1, 1)]
        values = [
            float(model.objective(Point(*(None if x is None else x[0] for x in problem.points(s)))))
            for s in sides
        ]
        gradient[i] = (values[0] - values[1]) / (2 * step)  # a step is taken off
        hessian[i] = (sides[0].gradient - sides[1].gradient)[0] / (2 * step)
    np.testing.assert_allclose(state.gradient[0], gradient, atol=1e-8)
    np.testing.assert_allclose(state.hessian[0], hessian, atol=1e-7)


def test_eliminated_features_are_critical_for_their_classifier():
    model = whole(MODELS["unequal"])
    problem = Eliminated(model)
    points = problem.points(problem.state(one_start(model)))
    point = Point(points.W[0], points.H[0])
    assert np.abs(model.value_and_gradient(point)[1].H).max() < 1e-12
    assert FIRST > 5  # from anywhere


def test_searches_find_the_same_points_and_fail_for_reasons():
    model, rng = whole(balanced(4)).with_dimension(2), np.random.default_rng(1)
    starts = aligned_starts(rng, TOGETHER + 13, 4, 2)
    ends = []
    for engine in (joint_search, eliminated_search, search):
        harvest = engine(model, starts)
        assert harvest.starts == TOGETHER + 13 == len(harvest.found) + harvest.failures.total()
        for found in harvest.found:
            value, slope = model.value_and_gradient(found.point)
            assert value == pytest.approx(found.objective, abs=1e-12)
            assert np.sqrt(np.sum(slope.W**2) + np.sum(slope.H**2)) < 2e-12
            assert np.linalg.matrix_rank(found.point.W @ found.point.H, tol=1e-6) == 2
        assert len({found.start for found in harvest.found}) == len(harvest.found)
        assert max(found.start for found in harvest.found) >= TOGETHER
        ends.append({round(found.objective, 8) for found in harvest.found})
    assert ends[0] == ends[1] == ends[2]
    broken = starts._replace(W=np.nan * starts.W)
    for engine in (joint_search, eliminated_search):
        assert engine(model, broken).failures == {Failure.DIVERGED: TOGETHER + 13}


def test_the_features_of_a_start_do_not_matter_where_they_are_eliminated():
    model, rng = whole(balanced(3)), np.random.default_rng(2)
    starts = blind_starts(rng, 24, 3, 2)
    other = starts._replace(H=3 * rng.normal(size=starts.H.shape))
    for engine, same in ((eliminated_search, True), (joint_search, False)):
        ends = [
            {f.start: round(f.objective, 9) for f in engine(model, s).found}
            for s in (starts, other)
        ]
        assert (ends[0] == ends[1]) is same
