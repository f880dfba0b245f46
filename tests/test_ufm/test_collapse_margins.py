"""What margins cost: against CVXPY, which knows no polar factor."""

import math

import cvxpy as cp
import numpy as np
import pytest

from ufm.collapse.margins import margin_excess, margin_excesses, polar_factor, simplex_norm


@pytest.mark.parametrize("counts", [(6, 6, 1, 1), (5, 2, 1), (7, 3)])
def test_no_logits_with_margins_of_one_cost_less(counts):
    K, roots = len(counts), np.sqrt(counts)
    Z = cp.Variable((K, K))
    margins = [Z[k, k] - Z[j, k] >= 1 for k in range(K) for j in range(K) if j != k]
    least = cp.Problem(cp.Minimize(cp.normNuc(Z @ np.diag(roots))), margins).solve(cp.CLARABEL)
    assert simplex_norm(counts) == pytest.approx(least, abs=1e-6)
    assert margin_excess(Z.value, counts) == pytest.approx(0, abs=1e-5)
    assert margin_excess(np.eye(K), counts) > 1e-2


def test_multipliers_are_positive_and_add_up_to_the_norm():
    counts = (5, 2, 1)
    U, roots = polar_factor(counts), np.sqrt(counts)
    np.testing.assert_allclose(U.sum(axis=0), 0, atol=1e-14)
    assert np.linalg.norm(U, 2) == pytest.approx(1, abs=1e-14)
    off = U[~np.eye(3, dtype=bool)]
    assert np.all(off < 0)
    assert float(np.sum(np.diag(U) * roots)) == pytest.approx(simplex_norm(counts), abs=1e-13)


def test_scale_plays_no_part_and_shifts_cost():
    counts, Z = (3, 1, 2), np.random.default_rng(0).normal(size=(3, 3)) + 4 * np.eye(3)
    assert margin_excess(7 * Z, counts) == pytest.approx(margin_excess(Z, counts), abs=1e-13)
    simplex = np.eye(3) - 1 / 3
    assert margin_excess(simplex, counts) == pytest.approx(0, abs=1e-14)
    assert margin_excess(simplex + 0.5, counts) > 0.1


def test_without_a_positive_margin_there_is_no_answer():
    assert math.isnan(margin_excess(np.array([[1.0, 2.0], [0.0, 3.0]]) * -1, (1, 2)))


def test_many_margins_at_once():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4, 3, 3)) + 4 * np.eye(3)
    logits[2], logits[3, 0, 1] = -logits[2], np.nan
    counts = [(3, 1, 2), (1, 1, 5), (1, 1, 5), (3, 1, 2)]
    told = margin_excesses(logits, counts)
    np.testing.assert_allclose(told[:2], [margin_excess(logits[i], counts[i]) for i in (0, 1)])
    assert abs(told[0] / margin_excess(logits[0], counts[1]) - 1) > 1e-3
    assert np.isnan(told[2:]).all()
