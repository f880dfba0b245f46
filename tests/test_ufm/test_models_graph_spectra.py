"""Spectral methods on graphs: matrices, iteration, thresholds and overlap, by other routes."""

import itertools

import networkx as nx
import numpy as np
import pytest

from ufm import InputError
from ufm.models.graph_network import block_model
from ufm.models.graph_spectra import (
    bethe_hessian,
    lowest,
    normalised_laplacian,
    overlap,
    power_iteration,
    recovery_signal,
    signal_to_noise,
    step_growth,
)

SIZES = (7, 5, 4)


@pytest.fixture
def adjacency():
    return block_model(SIZES, 0.7, 0.3, np.random.default_rng(3))


def test_matrices_are_those_of_networkx(adjacency):
    graph = nx.from_numpy_array(adjacency)
    r = adjacency.sum() / len(adjacency)
    found = bethe_hessian(adjacency)
    assert found == pytest.approx(nx.bethe_hessian_matrix(graph, r=r**0.5).toarray(), abs=1e-12)
    # The default of networkx is the ratio of the moments of degrees, not their mean.
    assert np.abs(found - bethe_hessian(adjacency, 1.01 * r**0.5)).max() > 1e-2
    laplacian = nx.normalized_laplacian_matrix(graph).toarray()
    assert normalised_laplacian(adjacency) == pytest.approx(laplacian, abs=1e-12)


def test_the_iteration_ends_at_the_second_eigenvector(adjacency):
    matrix = normalised_laplacian(adjacency)
    values, vectors = np.linalg.eigh(matrix)
    assert lowest(matrix, 2)[0] == pytest.approx(values[:2], abs=1e-12)
    start = np.random.default_rng(0).normal(size=len(matrix))
    assert abs(power_iteration(matrix, start, 3000) @ vectors[:, 1]) == pytest.approx(1, abs=1e-9)
    # A few steps by a power of the matrix, the lowest eigenvector taken off at the end.
    shifted = np.linalg.norm(matrix) * np.eye(len(matrix)) - matrix
    w = np.linalg.matrix_power(shifted, 5) @ start
    w -= vectors[:, 0] * (vectors[:, 0] @ w)
    few = power_iteration(matrix, start, 5)
    assert few == pytest.approx(w / np.linalg.norm(w), abs=1e-12)
    assert np.abs(power_iteration(matrix, start, 4) - few).max() > 1e-3
    mu = np.linalg.norm(matrix) - values
    assert step_growth(matrix) == pytest.approx(mu[1] / mu[2], abs=1e-12)
    with pytest.raises(InputError, match="steps"):
        power_iteration(matrix, start, 0)


def test_overlap_goes_through_all_names():
    rng = np.random.default_rng(5)
    labels, guess = rng.integers(0, 3, 20), rng.integers(0, 3, 20)
    best = max(
        np.mean(np.array(names)[guess] == labels) for names in itertools.permutations(range(3))
    )
    assert overlap(guess, labels, 3) == pytest.approx(1.5 * best - 0.5, abs=1e-12)
    with pytest.raises(InputError, match="one guess for every label"):
        overlap(guess[1:], labels, 3)


def test_thresholds_by_other_forms():
    """The signal is n (s_2 - s_1)^2 over K times the mean degree, of expected degrees."""
    K, n, p, q = 3, 11, 0.6, 0.2
    degree = n * p + (K - 1) * n * q
    assert signal_to_noise(K, n, p, q) == pytest.approx((n * (p - q)) ** 2 / degree, rel=1e-12)
    a, b = (x * K * n / np.log(K * n) for x in (p, q))
    margin = (np.sqrt(a) - np.sqrt(b)) / np.sqrt(K)
    assert recovery_signal(K, n, p, q) == pytest.approx(margin, rel=1e-12)
    assert signal_to_noise(2, 500, 0.025, 0.0017) == pytest.approx(10.2, abs=0.05)
    assert recovery_signal(2, 500, 0.025, 0.0017) * 2**0.5 == pytest.approx(1.406, abs=5e-4)


@pytest.mark.slow
def test_the_numbers_of_the_documentation():
    """Four graphs of a thousand nodes: exact eigenvectors, and 32 steps."""
    labels, seen = np.repeat([0, 1], 500), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        A = block_model((500, 500), 0.025, 0.0017, rng)
        for build in (bethe_hessian, normalised_laplacian):
            matrix = build(A)
            values, vectors = np.linalg.eigh(matrix)
            start = rng.normal(size=1000)
            few = power_iteration(matrix, start, 32)
            told = [overlap((x < 0).astype(int), labels, 2) for x in (vectors[:, 1], few)]
            seen.append((*told, step_growth(matrix), np.sum(values < -1e-9)))
    bethe, laplacian = np.array(seen[::2]), np.array(seen[1::2])
    assert bethe.mean(axis=0) == pytest.approx([0.9995, 0.097, 1.0217, 2], abs=2e-3)
    assert laplacian.mean(axis=0) == pytest.approx([0.9995, 0.047, 1.0116, 0], abs=2e-3)
