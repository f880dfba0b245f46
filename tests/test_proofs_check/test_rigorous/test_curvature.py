"""Negative curvature by a bounded Rayleigh quotient."""

import jax
import numpy as np
import pytest

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.curvature import negative_curvature
from ufm import UFM, CrossEntropy, Point

MODEL = UFM(CrossEntropy(), 3, 5, 2, lambda_W=0.01, lambda_H=0.02)


def test_the_bound_is_above_the_quotient_and_close():
    rng = np.random.default_rng(0)
    point = MODEL.origin()
    hessian = MODEL.dense_derivatives(point)[2]
    values, vectors = np.linalg.eigh(hessian)
    mixed = vectors[:, 0] + 0.1 * vectors[:, 3] + 0.01 * rng.normal(size=len(values))
    v = Point(mixed[:15].reshape(3, 5), mixed[15:].reshape(5, 6))
    quotient = mixed @ hessian @ mixed / (mixed @ mixed)
    told = negative_curvature(MODEL, point, v)
    assert quotient - 1e-15 <= told <= quotient + 1e-13


def test_a_box_of_any_size_says_the_same_of_all_its_points():
    told = negative_curvature(MODEL, MODEL.origin(), radius=1e-3)
    assert negative_curvature(MODEL, MODEL.origin()) < told < 0
    with pytest.raises(Undecided):
        negative_curvature(MODEL, MODEL.origin(), radius=0.2)


def test_thousands_of_variables_need_no_dense_matrix():
    big = UFM(CrossEntropy(), 30, 40, 10, lambda_W=1e-4, lambda_H=1e-4)
    told = negative_curvature(big, big.origin())
    # CE-5: lambda - s with s = 1 / (K sqrt n).
    assert told == pytest.approx(1e-4 - 1 / (30 * np.sqrt(10)), abs=1e-12)


def test_a_minimum_has_no_direction():
    best = MODEL.merge().lift(MODEL.minimiser().point)
    with pytest.raises(Undecided, match="no direction"):
        negative_curvature(MODEL, best)
    with pytest.raises(Undecided, match="only bounded"):
        negative_curvature(MODEL, best, MODEL.random_point(jax.random.key(0)))
    with pytest.raises(Undecided, match="zero"):
        negative_curvature(MODEL, best, MODEL.origin())
