"""Simplex-encoded labels, against CVXPY and the programme in all samples."""

import numpy as np
import pytest

from ufm import InputError, simplex_encoded_labels

cvxpy = pytest.importorskip("cvxpy")


@pytest.mark.parametrize(("counts", "d"), [((6, 6, 1, 1), 3), ((3, 2, 1), 5), ((4, 2, 2, 1, 1), 4)])
def test_the_value_is_that_of_the_nuclear_norm_problem(counts, d):
    K = len(counts)
    Z = cvxpy.Variable((K, K))
    spread = Z @ np.diag(np.sqrt(counts))
    margins = [Z[k, k] - Z[j, k] >= 1 for k in range(K) for j in range(K) if j != k]
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(spread)), margins)
    problem.solve(solver="CLARABEL")
    point, value = simplex_encoded_labels(d=d, counts=counts)
    assert value == pytest.approx(problem.value, abs=1e-6)
    np.testing.assert_allclose(Z.value - Z.value.mean(axis=0), np.eye(K) - 1 / K, atol=1e-4)
    # The point itself: margins of 1 at every sample, at this cost.
    labels = np.repeat(np.arange(K), counts)
    logits = point.W @ point.H
    own = logits[labels, np.arange(len(labels))]
    others = own - logits + 2 * np.eye(K)[:, labels]
    assert others.min() == pytest.approx(1.0, abs=1e-12)
    assert (np.sum(point.W**2) + np.sum(point.H**2)) / 2 == pytest.approx(value, abs=1e-12)
    assert point.W.shape == (K, d)


def test_equal_classes_are_a_simplex():
    point, value = simplex_encoded_labels(3, 4, 5)
    assert value == pytest.approx(2 * np.sqrt(5), abs=1e-12)
    gram = point.W @ point.W.T
    np.testing.assert_allclose(gram, gram[0, 0] * 1.5 * (np.eye(3) - 1 / 3), atol=1e-12)


def test_too_few_dimensions_are_refused():
    with pytest.raises(InputError, match="d >= K - 1 = 3"):
        simplex_encoded_labels(4, 2)
