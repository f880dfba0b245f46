"""Eigenvectors where LAPACK's fastest method gives up."""

import numpy as np
import pytest

from ufm.eigen import eigh


def symmetric(*shape: int) -> np.ndarray:
    A = np.random.default_rng(0).normal(size=shape)
    return A + np.swapaxes(A, -1, -2)


@pytest.mark.parametrize("shape", [(5, 5), (3, 4, 4), (2, 3, 6, 6)])
@pytest.mark.parametrize("gives_up", [False, True])
def test_values_and_vectors_are_those_of_the_matrices(shape, gives_up, monkeypatch):
    matrices = symmetric(*shape)
    if gives_up:

        def never(_):
            raise np.linalg.LinAlgError("Eigenvalues did not converge")

        monkeypatch.setattr(np.linalg, "eigh", never)
    values, vectors = eigh(matrices)
    assert values.shape == shape[:-1]
    np.testing.assert_allclose(matrices @ vectors, vectors * values[..., None, :], atol=1e-13)
    gram = np.swapaxes(vectors, -1, -2) @ vectors
    np.testing.assert_allclose(gram - np.eye(shape[-1]), 0.0, atol=1e-13)
    assert np.all(np.diff(values) >= 0)


def test_what_is_not_finite_is_not_decomposed():
    broken = symmetric(2, 3, 3)
    broken[1, 0, 0] = np.nan
    with pytest.raises(np.linalg.LinAlgError):
        eigh(broken)
