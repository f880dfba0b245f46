"""Spurious minima: index 0 is proved, and that another point is lower."""

import math

import jax
import numpy as np
import pytest

from proofs_check import checker
from proofs_check.rigorous.certificate import PointCertificate
from proofs_check.rigorous.lower import prove_lower
from proofs_check.rigorous.point import prove_critical
from ufm import UFM, CrossEntropy, Focal, Point, deep_linear


def spurious(model, point, others=()):
    found = prove_critical(model, point)
    assert found.minimum
    lower = prove_lower(found, others)
    assert lower.value[1] < found.value[0]
    said = checker.check(PointCertificate(found, lower).as_dict())
    assert f"index 0, nullity {found.nullity}, " in said
    assert "not global: another point has a value below" in said
    return found


def test_four_classes_on_a_line():
    """CE-4: without room for the simplex there are two kinds of local minima."""
    model = UFM(CrossEntropy(), 4, 1, lambda_W=0.002, lambda_H=0.002)
    above = Point(
        np.array([[-1.1891], [-1.1891], [4.3136], [-1.9355]]),
        np.array([[-0.3182, -0.3182, 1.3006, -4.8256]]),
    )
    below = Point(
        np.array([[3.4758], [-3.4758], [-2.8484], [2.8484]]),
        np.array([[4.4719, -4.4719, -0.4436, 0.4436]]),
    )
    found = spurious(model, above, [below])
    assert found.value[0] == pytest.approx(0.68208387, abs=1e-8)
    assert found.nullity == 0


def test_the_simplex_of_a_deep_network():
    """DL-4: with two weight matrices and enough decay, opposite pairs are lower (K = 4, L = 3)."""
    model = deep_linear(CrossEntropy(), 4, 4, 1, 2)
    told = spurious(model, model.candidates()["simplex"], [model.candidates()["pairs"]])
    assert told.nullity == 12
    origin = jax.tree.map(np.zeros_like, model.candidates()["simplex"])
    assert spurious(model, origin).nullity == 0


@pytest.mark.slow
def test_the_origin_of_focal_loss_with_many_classes():
    """FL-3: just beyond c_origin the origin is a minimum, and the simplex is lower."""
    K, gamma = 18, 2.5
    u = 1 - 1 / K
    c = u**gamma + gamma * u ** (gamma - 1) * math.log(K) / K
    decay = c * (1 + 1e-5) / K
    model = UFM(Focal(gamma), K, K - 1, lambda_W=decay, lambda_H=decay)
    assert spurious(model, model.origin()).nullity == 0
    below = UFM(Focal(gamma), K, K - 1, lambda_W=decay * 0.999, lambda_H=decay)
    assert prove_critical(below, below.origin()).index == (K - 1) ** 2
