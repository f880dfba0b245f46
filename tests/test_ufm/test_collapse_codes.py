"""Distances and cosines of codes, against a quadratic programme and by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize

from ufm.collapse.codes import code_measures, one_vs_rest_distances
from ufm.frames import polygon, simplex_etf


def test_distances_of_known_codes():
    """Of a simplex K/(K-1), of polygons 1 - cos(2 pi/K) from five on, of a cross-polytope 1."""
    assert one_vs_rest_distances(simplex_etf(4, 5)) == pytest.approx(4 / 3, abs=1e-12)
    for K in (5, 7):
        told = one_vs_rest_distances(polygon(K, 3))
        assert told == pytest.approx(1 - np.cos(2 * np.pi / K), abs=1e-12)
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    assert one_vs_rest_distances(axes) == pytest.approx(1, abs=1e-12)


def test_distances_are_those_of_a_programme_over_shares():
    W = np.random.default_rng(0).normal(size=(5, 3))
    rows = W / np.linalg.norm(W, axis=1, keepdims=True)
    for k, distance in enumerate(one_vs_rest_distances(W)):
        others = np.delete(rows, k, axis=0)
        run = minimize(
            lambda x, row=rows[k], others=others: np.sum((row - x @ others) ** 2),
            np.full(4, 0.25),
            method="SLSQP",
            bounds=[(0, None)] * 4,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
            options={"ftol": 1e-15, "maxiter": 500},
        )
        assert distance == pytest.approx(np.sqrt(run.fun), abs=1e-6)


def test_lengths_do_not_count_for_distances_and_do_for_norms():
    W = np.diag([1.0, 2.0, 5.0])
    assert one_vs_rest_distances(W) == pytest.approx(one_vs_rest_distances(np.eye(3)))
    assert code_measures(W)["row_norms"] == [1.0, 2.0, 5.0]


def test_rows_without_direction_are_not_measured():
    assert code_measures(np.array([[1.0, 0.0], [0.0, 1e-17]])) == {}
    assert "cosines" not in code_measures(np.eye(7))
    assert code_measures(np.eye(7))["largest_cosine"] == 0.0
