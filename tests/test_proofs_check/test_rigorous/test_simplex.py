"""Enclosed simplices against dense Hessians, the library's closed forms, and other arithmetic."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from landscape.curvature.hessian import dense_hessian
from proofs_check.rigorous.balls import precision
from proofs_check.rigorous.scalar import derivative, number, taylor, traced
from proofs_check.rigorous.simplex import loss_curve, simplex
from ufm import UFM, CrossEntropy, Focal, LabelSmoothing
from ufm.errors import InputError

LOSSES = [
    (CrossEntropy(), {}),
    (LabelSmoothing(0.1), {"smoothing": 0.1}),
    (Focal(2.0), {"gamma": 2}),
    (Focal(1.5), {"gamma": 1.5}),
]
SIZES = [(2, 1, 1), (2, 4, 3), (3, 2, 4), (4, 6, 3), (5, 4, 2)]


def expanded(told):
    values = [float(level.value) for level in told.levels]
    return np.sort(np.repeat(values, [level.multiplicity for level in told.levels]))


def dense(model):
    point = model.minimiser().point
    if point.H.shape[1] != model.num_columns:
        point = model.merge().lift(point)
    return np.linalg.eigvalsh(dense_hessian(model, point)), float(model.objective(point))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("loss", "options"), LOSSES, ids=lambda x: getattr(x, "name", ""))
def test_spectrum_and_value_are_those_of_the_dense_hessian(loss, options, sizes):
    K, d, n = sizes
    told = simplex(K, d, n, lambda_W=0.01, lambda_H=0.02, **options)
    spectrum, value = dense(UFM(loss, K, d, n, lambda_W=0.01, lambda_H=0.02))
    np.testing.assert_allclose(expanded(told), spectrum, atol=1e-14)
    assert float(told.value) == pytest.approx(value, abs=1e-15)
    nullity = (K - 1) * d - K * (K - 1) // 2
    assert told.inertia() == (0, nullity, K * d + K * n * d - nullity)
    # Planted mutants: another decay, another loss parameter, one class more.
    for wrong in (
        simplex(K, d, n, lambda_W=0.0101, lambda_H=0.02, **options),
        simplex(K, d, n, lambda_W=0.01, lambda_H=0.02, **{k: 1.01 * v for k, v in options.items()})
        if options
        else simplex(K, d, n, lambda_W=0.01, lambda_H=0.02, smoothing=0.001),
    ):
        assert np.max(np.abs(expanded(wrong) - spectrum)) > 1e-7


@pytest.mark.parametrize(("loss", "options"), LOSSES, ids=lambda x: getattr(x, "name", ""))
def test_the_curve_is_the_loss_of_the_library_in_balls(loss, options):
    K = 4

    def along(a):
        return loss(a * (jnp.eye(K)[1] - 1 / K), 1)

    with precision():
        ours, theirs = loss_curve(K, **options), traced(along)
        for a in (0.5, 1.75, 6.0):
            pairs = zip(taylor(ours, number(a), 2), taylor(theirs, number(a), 2), strict=True)
            for one, other in pairs:
                assert abs(one - other) < 1e-14


def test_the_second_derivative_across_is_one_formula_for_all_three_losses():
    """s2 = (c + delta)/K at the scale, against the logit Hessian of JAX."""
    for loss, options in LOSSES:
        told = simplex(4, 3, lambda_W=0.02, lambda_H=0.03, **options)
        a, c = float(told.gap), 4 * np.sqrt(0.02 * 0.03)
        S = jax.jit(jax.hessian(lambda z, loss=loss: loss(z, 0)))(a * (jnp.eye(4)[0] - 0.25))
        across = np.array([0, 1, -1, 0]) / np.sqrt(2)
        assert across @ S @ across == pytest.approx(
            (c + options.get("smoothing", 0)) / 4, rel=1e-12
        )


def test_gap_and_value_at_sixty_digits():
    with precision(256):
        told = simplex(7, 6, 3, lambda_W="0.01", lambda_H="0.03", smoothing="0.05", bits=256)
        with mpmath.workdps(60):
            c = 7 * mpmath.sqrt(3 * mpmath.mpf("0.01") * mpmath.mpf("0.03"))
            delta = mpmath.mpf("0.05")
            gap = mpmath.log(7 / (c + delta) - 6)
            value = (
                mpmath.log(mpmath.exp(gap) + 6) - gap * (1 - delta + delta / 7) + c * gap * 6 / 7
            )
            assert abs(mpmath.mpf(told.gap.str(50, radius=False)) - gap) < 1e-25
            assert abs(mpmath.mpf(told.value.str(50, radius=False)) - value) < 1e-25
            wrong = mpmath.log(7 / (c + delta) - mpmath.mpf("6.06"))
            assert abs(wrong - gap) > 1e-3


def test_a_million_classes():
    for options in ({}, {"smoothing": "0.1"}, {"gamma": 2}):
        told = simplex(10**6, 10**6 + 5, 100, lambda_W="1e-8", lambda_H="1e-8", **options)
        assert sum(level.multiplicity for level in told.levels) == 10**6 * (10**6 + 5) * 101
        assert told.inertia()[0] == 0
        positive = [level.value for level in told.levels if level.value > 0]
        assert all(value.rad() / value < 1e-25 for value in positive)


def test_bad_sizes_and_points_that_are_not_there():
    with pytest.raises(InputError, match="rank K - 1"):
        simplex(4, 2, lambda_W=0.1, lambda_H=0.1)
    with pytest.raises(InputError, match="not both"):
        simplex(4, 3, lambda_W=0.1, lambda_H=0.1, smoothing=0.1, gamma=2)
    for name, value in (("lambda_W", 0), ("lambda_H", "-0.1"), ("smoothing", 1), ("gamma", -1)):
        with pytest.raises(InputError, match=rf"{name}.*Got {value}"):
            simplex(4, 3, **{"lambda_W": 0.1, "lambda_H": 0.1, name: value})
    with pytest.raises(InputError, match="below the origin"):
        simplex(4, 3, lambda_W=0.3, lambda_H=0.3)  # c = 1.2
    # In the window of focal loss: below collapse the simplex is best, above it the origin.
    for c, best in ((1.18, True), (1.25, False)):
        decay = c / 50
        if best:
            assert simplex(50, 49, lambda_W=decay, lambda_H=decay, gamma=3).inertia()[0] == 0
        else:
            with pytest.raises(InputError, match="below the origin"):
                simplex(50, 49, lambda_W=decay, lambda_H=decay, gamma=3)


def test_the_derivative_of_the_curve_is_the_scale_equation_of_the_page():
    """FL-1 at one number: -psi' = (1 - u)^g ((1 - u) - g u log u)."""
    with precision():
        K, g = 6, 2
        u = 1 / (1 + 5 * number(-1.5).exp())
        page = (1 - u) * (1 - u) * ((1 - u) - g * u * u.log())
        assert (derivative(loss_curve(K, gamma=g), 1)(number(1.5)) + page).contains(0)
        assert not (derivative(loss_curve(K, gamma="2.02"), 1)(number(1.5)) + page).contains(0)
