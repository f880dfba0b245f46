"""Where the numbers do not decide: noise, rank cuts, ghosts of folds, small class rotations."""

import jax
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from landscape.verdict import Curvature, Globality, verdict
from tests.helpers import slow
from ufm import MSE, UFM, CrossEntropy, Focal, Point, Sphere, thresholds
from ufm.models.constrained_rate import constrained_rate

NOISE = 2e-9


def noisy(point, size=NOISE, seed=0):
    rng = np.random.default_rng(seed)
    return point._replace(
        **{n: getattr(point, n) + size * rng.standard_normal(getattr(point, n).shape) for n in "WH"}
    )


@pytest.mark.parametrize("below", [1e-3, 1e-6, 1e-7, 1e-10])
def test_a_small_direction_of_a_minimiser_is_not_cut_off(below):
    """sqrt(2) - N lambda = sqrt(2) below: the third singular value; its curvature is about that."""
    decay = 2**0.5 * (1 - below) / 10
    model = UFM(MSE(), counts=(5, 3, 2), d=3, lambda_W=decay, lambda_H=decay)
    exact = verdict(model, model.minimiser().point)
    assert exact.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert (exact.count.rank, exact.count.nullity) == (3, 3)
    assert exact.gamma == pytest.approx(0.2 * 2**0.5 * below, rel=1e-5)
    blurred = verdict(model, noisy(model.minimiser().point))
    known = below > 1e-5  # a Newton step from the noise is |g| / (2 decay below) long
    assert (blurred.curvature is Curvature.MORSE_BOTT_MINIMUM) == known
    assert known or blurred.curvature is Curvature.UNDECIDED


def test_what_a_rank_cut_leaves_out_counts():
    decay = 2**0.5 * (1 - 1e-14) / 10
    model = UFM(MSE(), counts=(5, 3, 2), d=3, lambda_W=decay, lambda_H=decay)
    judged = verdict(model, model.minimiser().point)
    assert judged.curvature is Curvature.UNDECIDED
    assert "rank cut" in judged.reason
    assert (judged.count.index_range, judged.count.nullity_range) == ((0, 1), (3, 4))
    assert judged.count.index is judged.count.nullity is None


@pytest.mark.parametrize(
    ("below", "noise", "expected"),
    [
        (1.5e-3, 0.0, Curvature.STRICT_SADDLE),
        (1.5e-3, NOISE, Curvature.STRICT_SADDLE),
        (1e-6, 0.0, Curvature.STRICT_SADDLE),
        (1e-6, NOISE, Curvature.UNDECIDED),
        (-1e-6, NOISE, Curvature.UNDECIDED),
        (-1.5e-3, NOISE, Curvature.MORSE_BOTT_MINIMUM),
    ],
)
def test_noise_that_hides_a_sign_leaves_a_focal_origin_undecided(below, noise, expected):
    """lambda_min = -below sigma at the origin; a Newton step from the noise is |g| / |it|."""
    loss = Focal(5.0)
    c = thresholds(UFM(loss, 2, 3, lambda_W=0.1, lambda_H=0.1)).origin * (1 - below)
    model = UFM(loss, 2, 3, lambda_W=c / 2, lambda_H=c / 2)
    judged = verdict(model, noisy(model.origin(), noise))
    assert judged.curvature is expected
    index = 3 if below > 0 else 0
    least, most = judged.count.index_range
    assert least <= index <= most
    assert (least == most) == (expected is not Curvature.UNDECIDED)


@pytest.mark.parametrize(("K", "at"), [(20, 0.1476), (30, 0.5705)])
@pytest.mark.parametrize(
    ("beyond", "away"),
    [(1e-10, -1e-5), *(slow(x, y) for x in (1e-12, 1e-8, 1e-7) for y in (0.0, 1e-6, -1e-4, 1e-3))],
)
def test_ghosts_of_a_fold_are_neither_minimum_nor_saddle(beyond, away, K, at):
    """Focal, gamma = 3: beyond c_fold the slope -psi'(a) never reaches the price of a."""
    gamma = 3.0

    def drop(a):
        u = 1 / (1 + (K - 1) * np.exp(-a))
        return u * (1 - u) * ((1 - u) ** gamma / u - gamma * (1 - u) ** (gamma - 1) * np.log(u))

    fold = minimize_scalar(
        lambda a: -drop(a), bounds=(0.01, 5.0), method="bounded", options={"xatol": 1e-12}
    )
    c = -fold.fun * K / (K - 1) * (1 + beyond)
    assert fold.x == pytest.approx(at, abs=1e-4)
    model = UFM(Focal(gamma), K, K - 1, lambda_W=c / K, lambda_H=c / K)
    frame = np.linalg.svd(np.eye(K) - 1 / K)[0][:, : K - 1] * (fold.x + away) ** 0.5
    judged = verdict(model, Point(frame, frame.T))
    assert judged.gradient_norm < 1e-6
    assert judged.curvature in (Curvature.UNDECIDED, Curvature.NOT_CRITICAL)
    assert judged.globality is not Globality.GLOBAL


@pytest.mark.parametrize("below", [1e-4, 1e-9])
def test_class_rotations_of_a_small_minimiser_are_seen(below):
    """W H = t P with t = below: of MSE's equal thresholds, any three of the four directions."""
    frame = np.linalg.svd(np.eye(4) - 1 / 4)[0][:, :3] * below**0.5
    model = UFM(MSE(), 4, 3, lambda_W=(1 - below) / 4, lambda_H=(1 - below) / 4)
    judged = verdict(model, Point(frame, frame.T))
    assert judged.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert judged.count.nullity == 3 + 3  # O(3), and a three-plane in four dimensions


def test_noise_does_not_add_to_the_symmetry():
    """Two classes alike: noise of 6e-7 made a rotation of them, and a curvature its zero mode."""
    decays = {"lambda_W": 0.006240265174167356, "lambda_H": 0.003968920996512625}
    model = UFM(MSE(), counts=(2, 1, 1), d=4, **decays)
    for seed in range(8):
        judged = verdict(model, noisy(model.minimiser().point, 2e-7, seed))
        least, most = judged.count.nullity_range
        assert least <= 6 <= most


@pytest.mark.parametrize(
    "model", [Sphere(CrossEntropy(), 3, 1, 2), constrained_rate("2,3", 1)], ids=["sphere", "rate"]
)
def test_where_symmetry_moves_every_variable_the_objective_is_constant(model):
    point = model.random_point(jax.random.key(3))
    judged = verdict(model, point)
    nearby = jax.tree.map(lambda x: 1.001 * x, point)
    assert float(model.objective(nearby)) == pytest.approx(judged.objective, rel=1e-14, abs=1e-15)
    assert judged.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert "constant" in judged.reason
