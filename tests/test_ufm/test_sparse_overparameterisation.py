"""Over-parameterised noise, against an ODE solver, CVXPY and enumeration of signs."""

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ufm.errors import InputError
from ufm.sparse_overparameterisation import (
    flow_limit,
    ratio_at,
    recovery_window,
    sparse_limit,
)

ONES = np.ones((5, 1))


def corrupted(N=7, p=3, seed=0):
    rng = np.random.default_rng(seed)
    J, theta, noise = rng.normal(size=(N, p)), rng.normal(size=p), np.zeros(N)
    noise[[1, 4]] = 2.0, -1.5
    return J, theta, noise


def test_the_flow_ends_where_an_ode_solver_ends():
    J, theta, noise = corrupted()
    y, gamma, ratio = J @ theta + noise, 1e-2, 1.3

    def slope(_, x):
        r = J @ x[:3] + x[3:10] ** 2 - x[10:] ** 2 - y
        return np.concatenate([-J.T @ r, -2 * ratio * x[3:10] * r, 2 * ratio * x[10:] * r])

    begun = np.concatenate([np.zeros(3), np.full(14, gamma)])
    end = solve_ivp(slope, (0, 2e3), begun, "LSODA", rtol=1e-11, atol=1e-13).y[:, -1]
    limit = flow_limit(J, y, gamma, ratio)
    np.testing.assert_allclose(limit.theta, end[:3], atol=1e-9)
    np.testing.assert_allclose(limit.noise, end[3:10] ** 2 - end[10:] ** 2, atol=1e-9)
    np.testing.assert_allclose(J.T @ limit.dual, limit.theta, atol=1e-12)
    # Another ratio, and another start, end elsewhere.
    for other in ((gamma, 1.01 * ratio), (1.01 * gamma, ratio)):
        assert np.abs(flow_limit(J, y, *other).theta - limit.theta).max() > 1e-4


@pytest.mark.parametrize(("gamma", "value"), [(1e-4, 0.990830962628), (1e-8, 0.999900186186)])
def test_one_number_measured_five_times(gamma, value):
    found = flow_limit(ONES, [0, 1, 1, 1, 1], gamma, ratio_at(0.5, gamma)).theta
    assert found[0] == pytest.approx(value, abs=1e-12)
    # As a scalar equation: noise of the clean targets is asinh of what they lack.
    rate = 4 * ratio_at(0.5, gamma)
    own = np.arcsinh((np.array([0, 1, 1, 1, 1]) - found[0]) / (2 * gamma**2)) / rate
    assert own.sum() == pytest.approx(found[0], abs=1e-10)


@pytest.mark.parametrize("penalty", [0.05, 0.2, 0.5, 1.0, 3.0])
def test_the_sparse_limit_is_that_of_cvxpy(penalty):
    cvxpy = pytest.importorskip("cvxpy")
    J, theta, noise = corrupted()
    y = J @ theta + noise
    t, s = cvxpy.Variable(3), cvxpy.Variable(7)
    value = cvxpy.sum_squares(t) / 2 + penalty * cvxpy.norm1(s)
    cvxpy.Problem(cvxpy.Minimize(value), [J @ t + s == y]).solve(solver="CLARABEL")
    found = sparse_limit(J, y, penalty)
    np.testing.assert_allclose(found.theta, t.value, atol=1e-6)
    np.testing.assert_allclose(found.noise, s.value, atol=1e-6)
    np.testing.assert_allclose(J @ found.theta + found.noise, y, atol=1e-9)
    assert np.abs(found.dual).max() <= penalty * (1 + 1e-9)


@pytest.mark.parametrize("beside", [0.0, 1e-12, -1e-12, 1e-9, -1e-7])
def test_the_sparse_limit_where_a_target_is_about_to_turn_clean(beside):
    found = sparse_limit(ONES, [-1, 1, 1, 1, 1], (1 + beside) / 3)
    assert found.theta[0] == pytest.approx(min(1, 1 + beside), abs=1e-9)


def test_small_starts_tend_to_the_sparse_limit_as_one_over_their_logarithm():
    J, theta, noise = corrupted()
    y = J @ theta + noise
    off = [
        np.abs(flow_limit(J, y, g, ratio_at(0.2, g)).theta - sparse_limit(J, y, 0.2).theta).max()
        for g in (1e-30, 1e-60, 1e-120)
    ]
    assert off[0] / off[1] == pytest.approx(2, rel=0.05)
    assert off[1] / off[2] == pytest.approx(2, rel=0.03)
    assert off[2] < 1e-3


def test_windows_of_recovery():
    J, theta, noise = corrupted()
    y, ends = J @ theta + noise, recovery_window(J, theta, np.sign(noise))
    for factor, end, is_inside in ((0.999, 0, 0), (1.001, 0, 1), (0.999, 1, 1), (1.001, 1, 0)):
        off = np.abs(sparse_limit(J, y, factor * ends[end]).theta - theta).max()
        assert (off < 1e-9) == bool(is_inside), (factor, end)
    # Sizes of the noise do not matter, signs do.
    bigger = J @ theta + 7 * noise
    np.testing.assert_allclose(sparse_limit(J, bigger, ends[0] * 1.001).theta, theta, atol=1e-9)
    assert recovery_window(J, theta, -np.sign(noise)) != ends


@pytest.mark.parametrize(
    ("signs", "low"), [("-0000", 1 / 3), ("+0000", 0.2), ("--000", 1.0), ("---00", np.inf)]
)
def test_windows_of_one_number(signs, low):
    found = recovery_window(ONES, [1], [{"-": -1, "0": 0, "+": 1}[sign] for sign in signs])
    assert found[0] == pytest.approx(low, abs=1e-12)
    assert found[1] == np.inf


def test_how_often_the_clean_model_is_returned():
    rng = np.random.default_rng(1)
    shares = []
    for k in (1, 4, 10):
        seen = []
        for _ in range(40):
            J, theta, signs = rng.normal(size=(20, 3)), rng.normal(size=3), np.zeros(20)
            signs[rng.choice(20, k, replace=False)] = rng.choice([-1, 1], k)
            low, high = recovery_window(J, theta, signs)
            assert (low <= high) or np.isinf(low)
            seen.append(np.isfinite(low))
        shares.append(np.mean(seen))
    assert shares[0] == 1
    assert shares[1] >= 0.9
    assert 0.5 < shares[2] < 1


def test_the_ratio_of_a_penalty():
    assert ratio_at(2.0, 1e-4) == pytest.approx(np.log(1e4) / 4, rel=1e-15)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: flow_limit(ONES, [1, 2], 0.1, 1.0), "one number per row"),
        (lambda: flow_limit(ONES, [1, 2, 3, 4, np.nan], 0.1, 1.0), "finite"),
        (lambda: flow_limit(ONES, np.ones(5), 1.0, 1.0), "gamma in"),
        (lambda: flow_limit(ONES, np.ones(5), 0.1, 0.0), "ratio > 0"),
        (lambda: sparse_limit(ONES, np.ones(5), -1.0), "penalty > 0"),
        (lambda: recovery_window(ONES, [1, 2], np.zeros(5)), "1 finite parameters"),
        (lambda: recovery_window(ONES, [1], [0.5, 0, 0, 0, 0]), "signs in -1, 0 and 1"),
    ],
)
def test_bad_input_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_the_flow_is_solved_where_exponents_of_hundreds_are_rounded():
    """The residual stays above a hundred roundings, as exponentials of rounded numbers do."""
    gamma, ratio = 4.947324536032221e-159, 2301.3149113863174
    rng = np.random.default_rng((83, 6, 2, 1, 1836))
    J, theta, noise = rng.normal(size=(6, 2)), rng.normal(size=2), np.zeros(6)
    hit = rng.choice(6, 1, replace=False)
    noise[hit] = rng.choice([-1, 1], 1) * (1 + rng.random(1))
    found = flow_limit(J, J @ theta + noise, gamma, ratio)
    with mpmath.workdps(40):
        matrix, nu = mpmath.matrix(J.tolist()), mpmath.matrix(found.dual.tolist())
        start = mpmath.mpf(gamma)  # its square is below the smallest double
        # Newton from there, in forty digits.
        for _ in range(8):
            slope = matrix * matrix.T
            residual = slope * nu - mpmath.matrix((J @ theta + noise).tolist())
            for i in range(6):
                residual[i] += 2 * start**2 * mpmath.sinh(4 * ratio * nu[i])
                slope[i, i] += 8 * ratio * start**2 * mpmath.cosh(4 * ratio * nu[i])
            nu -= mpmath.lu_solve(slope, residual)
        exact = [float(x) for x in matrix.T * nu]
    np.testing.assert_allclose(found.theta, exact, rtol=1e-13)
