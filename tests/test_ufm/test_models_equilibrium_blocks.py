"""Blocks of the Hessian of equilibrium layers, against the dense Hessian of all samples."""

import jax
import numpy as np
import pytest

from landscape import count_curvature, dense_hessian, solve
from ufm import MSE, CrossEntropy, equilibrium

CASES = [
    (MSE(), {"num_classes": 3, "d": 5, "n": 2}, 0.02, 1.0, 0.03),
    (MSE(), {"num_classes": 3, "d": 4, "counts": "3,2,1"}, 0.05, 0.9, 0.06),
    (MSE(), {"num_classes": 2, "d": 3, "n": 3}, 0.05, 0.4, 0.05),
    (CrossEntropy(), {"num_classes": 3, "d": 4, "n": 2}, 0.01, 1.0, 0.012),
    (CrossEntropy(), {"num_classes": 4, "d": 3, "counts": "2,1,1,2"}, 0.01, 2.0, 0.01),
]


@pytest.mark.parametrize("case", CASES)
def test_the_spectrum_is_that_of_the_dense_hessian(case):
    loss, sizes, lambda_W, lambda_V, lambda_X = case
    model = equilibrium(loss, lambda_W=lambda_W, lambda_V=lambda_V, lambda_X=lambda_X, **sizes)
    found = solve(model, key=jax.random.key(1))
    assert found.result
    point = jax.tree.map(np.asarray, found.full_point)
    structure = model.structure(point)
    exact = np.linalg.eigvalsh(dense_hessian(model, point))
    np.testing.assert_allclose(np.sort(structure.levels.expand()), exact, atol=1e-9)
    count = count_curvature(model, point, 0.0)
    assert count.route == "structured"
    assert count.nullity == structure.predicted_nullity == int(np.sum(np.abs(exact) < 1e-8))


def test_it_is_exact_at_points_that_are_not_critical():
    """Only what is unused has to vanish: V need not be symmetric, nor the gradient zero."""
    model = equilibrium(CrossEntropy(), 3, 5, 2, 0.02, 0.3, 0.04)
    small = equilibrium(CrossEntropy(), 3, 2, 1, 0.02, 0.3, 0.04)
    W, V, X = (np.asarray(x) for x in small.random_point(jax.random.key(2)))
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0][:, :2]
    point = type(small.random_point(jax.random.key(0)))(
        W @ Q.T, Q @ V @ Q.T, np.repeat(Q @ X, 2, axis=1)
    )
    structure = model.structure(point)
    exact = np.linalg.eigvalsh(dense_hessian(model, point))
    assert structure.rank == 2
    np.testing.assert_allclose(np.sort(structure.levels.expand()), exact, atol=1e-12)


def test_the_origin_and_features_that_differ_in_a_class():
    model = equilibrium(MSE(), 3, 4, 2, 0.02, 0.5, 0.03)
    origin = model.explicit("origin")
    exact = np.linalg.eigvalsh(dense_hessian(model, origin))
    np.testing.assert_allclose(np.sort(model.structure(origin).levels.expand()), exact, atol=1e-13)
    assert model.structure(model.random_point(jax.random.key(0))) is None
