"""Rate reduction at fixed energies: objective, bound, ranks and symmetry by brute force."""

import itertools

import jax
import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from landscape import Curvature, Globality, dense_hessian, verdict
from tests.helpers import slow
from ufm import InputError, as_rows, constrained_rate
from ufm.models.rate_reduction import Representation
from ufm.tolerance import generator_rank


def test_the_objective_sees_directions_of_classes_only():
    model = constrained_rate("2,4,3", 5, 0.7)
    Z = np.asarray(model.random_point(jax.random.key(0)).Z)
    rate, labels = 5 / (9 * 0.49), np.repeat([0, 1, 2], [2, 4, 3])
    value, U = 0.0, Z.copy()
    for k, m in enumerate((2, 4, 3)):
        U[:, labels == k] *= np.sqrt(m) / np.linalg.norm(Z[:, labels == k])
        gram = U[:, labels == k] @ U[:, labels == k].T
        value += m / 18 * np.linalg.slogdet(np.eye(5) + rate * 9 / m * gram)[1]
    value -= np.linalg.slogdet(np.eye(5) + rate * U @ U.T)[1] / 2
    longer = Z * np.array([3.0, 0.2, 5.0])[labels]
    for like in (Z, longer):
        told = model.value_and_gradient(Representation(like))[0]
        assert float(told) == pytest.approx(value, abs=1e-13)


@pytest.mark.parametrize(
    ("counts", "d", "eps", "value", "ranks"),
    [
        ("2,2", 4, 1.1, 0.2456708295, [1, 1]),
        ("3,3", 6, 1.05, 0.4037681707, [2, 2]),
        ("4,2,3", 9, 0.6, 2.5250499718, [4, 2, 3]),
    ],
)
def test_the_best_ranks_make_the_minimum(counts, d, eps, value, ranks):
    model = constrained_rate(counts, d, eps)
    best = model.minimiser()
    assert -best.value == pytest.approx(value, abs=1e-10)
    value = model.value_and_gradient(best.point)[0]
    assert float(value) == pytest.approx(best.value, abs=1e-13)
    assert [model.best_rank(k)[0] for k in range(len(ranks))] == ranks
    values = np.linalg.eigvalsh(dense_hessian(model, best.point))
    sizes, R = np.array(model.sizes), sum(ranks)
    flat = len(ranks) + R * d - R * (R + 1) / 2 + np.array(ranks) @ (sizes - ranks)
    assert np.sum(np.abs(values) < 1e-10) == flat
    assert values[0] > -1e-12
    assert generator_rank(as_rows(model.generators(best.point))) == flat


def test_no_uneven_spread_is_better():
    """The rates of a class against a direct maximisation over its energies, also beside a tie."""
    for eps in (1.0, 1.17, 1.18, 1.5):
        model = constrained_rate("3,4", 7, eps)
        for k, m in enumerate(model.sizes):

            def lost(x, model=model, k=k, m=m):
                energies = m * x**2 / np.sum(x**2)
                return -sum(model.direction_rate(k, e) for e in energies)

            starts = np.random.default_rng(k).normal(size=(12, m)) ** 3
            found = min(minimize(lost, x).fun for x in starts)
            assert -found == pytest.approx(model.best_rank(k)[1], abs=1e-8)


def test_the_verdict_knows_the_bound_where_ranks_do_not_fit():
    model = constrained_rate("3,3", 4, 0.5)
    assert model.minimiser() is None
    two = model.orthogonal_point((2, 2))
    told = verdict(model, two)
    assert told.objective == pytest.approx(-1.0216512475, abs=1e-10)
    assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert told.globality is Globality.UNKNOWN
    assert told.certificate.bound < told.objective - 0.1


@slow
def test_a_rank_too_many_is_a_saddle_or_a_worse_minimum():
    model = constrained_rate("2,2", 4, 1.1)
    told = verdict(model, model.orthogonal_point((2, 2)))
    assert told.objective == pytest.approx(-0.2290937, abs=1e-7)
    assert told.globality is Globality.NOT_GLOBAL


def test_ranks_and_classes_out_of_range_are_refused():
    model = constrained_rate("2,2", 3, 1.1)
    for ranks in ((0, 1), (2, 2), (3, 0)):
        with pytest.raises(InputError, match="room for 1 to"):
            model.orthogonal_point(ranks)
    Z = model.minimiser().point.Z.copy()
    Z[:, 2:] = 0
    with pytest.raises(InputError, match="class 1 that are not all zero"):
        model.checked(Representation(Z))


def test_ranks_tie_where_theory_says():
    """M = d sqrt(1/2) / eps^2 at which rank r and r - 1 add the same, two classes of twelve."""
    for r, expected in ((2, 3.0811157111), (3, 5.3240238042), (4, 7.5246844730), (5, 9.7119147050)):

        def gained(M, r=r):
            model = constrained_rate("12,12", 24, (24 * 0.5**0.5 / M) ** 0.5)
            more, less = (x * model.direction_rate(0, 12 / x) for x in (r, r - 1))
            return more - less

        assert brentq(gained, r, 4 * r) == pytest.approx(expected, abs=1e-9)
        model = constrained_rate("12,12", 24, (24 * 0.5**0.5 / (1.001 * expected)) ** 0.5)
        assert model.best_rank(0)[0] == r


def test_the_best_orthogonal_classes_that_fit():
    """Against every choice of ranks; the minimiser's where it has one."""
    model = constrained_rate("4,2,3", 6, 0.6)
    values = {
        ranks: -float(model.objective(model.orthogonal_point(ranks)))
        for ranks in itertools.product(range(1, 5), range(1, 3), range(1, 4))
        if sum(ranks) <= 6
    }
    ranks, value = model.best_fit()
    assert value == pytest.approx(max(values.values()), abs=1e-12)
    assert values[ranks] == pytest.approx(value, abs=1e-12)
    roomy = constrained_rate("3,3", 6, 1.05)
    assert roomy.best_fit() == ((2, 2), pytest.approx(-roomy.minimiser().value, abs=1e-12))
    with pytest.raises(InputError, match="d >= K = 3"):
        constrained_rate("2,2,2", 2, 0.6).best_fit()
