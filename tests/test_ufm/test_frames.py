"""Codes by their Gram matrices."""

import numpy as np
import pytest

from ufm import InputError, merged_code, orthogonal_frame, polygon, simplex_etf

TINY = 1e-14  # a few roundings of inner products of size one


@pytest.mark.parametrize(("K", "d"), [(2, 1), (3, 5), (4, 3), (7, 9)])
def test_the_simplex_is_equiangular_and_centred(K, d):
    Q = simplex_etf(K, d)
    assert Q.shape == (K, d)
    np.testing.assert_allclose(Q @ Q.T, np.eye(K) - 1 / K, rtol=0, atol=TINY)
    np.testing.assert_allclose(Q.sum(axis=0), 0, atol=TINY)
    np.testing.assert_allclose(Q[:, : K - 1].T @ Q[:, : K - 1], np.eye(K - 1), atol=TINY)
    assert not Q[:, K - 1 :].any()
    assert simplex_etf(K).shape == (K, K - 1)


@pytest.mark.parametrize(("K", "d"), [(2, 2), (3, 5)])
def test_the_orthogonal_frame_is_not_the_simplex(K, d):
    Q = orthogonal_frame(K, d)
    assert Q.shape == (K, d)
    np.testing.assert_array_equal(Q @ Q.T, np.eye(K))
    assert orthogonal_frame(K).shape == (K, K)
    simplex = simplex_etf(K, d)
    assert np.abs(Q @ Q.T - simplex @ simplex.T).max() >= 1 / K - TINY


@pytest.mark.parametrize(("K", "d"), [(3, 2), (5, 4)])
def test_the_polygon_is_regular(K, d):
    Q = polygon(K, d)
    assert Q.shape == (K, d)
    turns = np.subtract.outer(np.arange(K), np.arange(K))
    np.testing.assert_allclose(Q @ Q.T, np.cos(2 * np.pi * turns / K), atol=TINY)
    assert polygon(K).shape == (K, 2)
    assert np.linalg.matrix_rank(Q) == 2


def test_a_triangle_is_a_simplex_up_to_scale_and_a_pentagon_is_not():
    np.testing.assert_allclose(polygon(3) @ polygon(3).T, 1.5 * (np.eye(3) - 1 / 3), atol=TINY)
    gram = polygon(5) @ polygon(5).T
    assert np.ptp(gram[0, 1:]) > 1


def test_merged_classes_share_a_vertex():
    Q = merged_code((2, 1, 3), 4)
    assert Q.shape == (6, 4)
    group = np.array([0, 0, 1, 2, 2, 2])
    expected = np.equal.outer(group, group) - 1 / 3
    np.testing.assert_allclose(Q @ Q.T, expected, atol=TINY)
    assert merged_code((2, 1, 3)).shape == (6, 2)
    np.testing.assert_array_equal(merged_code((1, 1, 1), 4), simplex_etf(3, 4))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: simplex_etf(5, 3), "Need d >= 4 for a simplex ETF. Got d=3, K=5"),
        (lambda: simplex_etf(1), "Need an integer K >= 2. Got 1"),
        (lambda: simplex_etf(3, 2.5), "Need an integer d >= 1. Got 2.5"),
        (lambda: orthogonal_frame(5, 4), "Need d >= 5 for an OF. Got d=4, K=5"),
        (lambda: orthogonal_frame(0), "Need an integer K >= 1. Got 0"),
        (lambda: polygon(2), "Need an integer K >= 3. Got 2"),
        (lambda: polygon(4, 1), "Need d >= 2 for a polygon. Got d=1, K=4"),
        (lambda: merged_code((3,)), "Need an integer K >= 2. Got 1"),
        (lambda: merged_code((2, 0, 1)), "Need an integer group size >= 1. Got 0"),
        (lambda: merged_code((2, 1, 1), 1), "Need d >= 2"),
    ],
)
def test_impossible_codes_are_refused(make, says):
    with pytest.raises(InputError) as caught:
        make()
    assert says in str(caught.value)
    assert "Remedy: " in str(caught.value)
