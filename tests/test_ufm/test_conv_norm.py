"""Normalised convolutions against matrices filled entry by entry, without any transform."""

import itertools

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power

from ufm import InputError
from ufm.conv_norm import normalised, padded, sampled_norm, spectra, wrapped

K, J, R, N = 3, 2, 4, 7
KERNELS = np.random.default_rng(5).normal(size=(K, J, R))


def dense(kernels, shape):
    """The matrices (K, outputs, J inputs) of circular convolution, from its definition."""
    places = list(itertools.product(*map(range, shape)))
    A = np.zeros((len(kernels), len(places), kernels.shape[1], len(places)))
    for entry in itertools.product(*map(range, kernels.shape)):
        for column, place in enumerate(places):
            moved = tuple((p + s) % n for p, s, n in zip(place, entry[2:], shape, strict=True))
            A[entry[0], places.index(moved), entry[1], column] += kernels[entry]
    return A.reshape(len(kernels), len(places), -1)


def by_roots(A, power=-0.5):
    """(A A^T)^power A, channel by channel: the normaliser without frequencies."""
    return np.stack([fractional_matrix_power(a @ a.T, power).real @ a for a in A])


def columns_of(apply, num, shape):
    """The matrix of a linear map of signals (num, *shape)."""
    basis = np.eye(num * int(np.prod(shape))).reshape(-1, num, *shape)
    return np.stack([apply(signal).ravel() for signal in basis], axis=1)


@pytest.mark.parametrize(
    ("kernels", "shape"),
    [(KERNELS, (N,)), (np.random.default_rng(1).normal(size=(2, 3, 2, 3)), (4, 5))],
    ids=["line", "plane"],
)
def test_channels_are_co_isometries(kernels, shape):
    num = kernels.shape[1]
    A = dense(normalised(kernels, shape), shape)
    for channel in A:
        # Matrices of a few dozen rows, products of numbers of order 1.
        np.testing.assert_allclose(channel @ channel.T, np.eye(len(channel)), atol=1e-13)
        # More channels in than one: no isometry.
        assert np.linalg.norm(channel.T @ channel - np.eye(len(channel.T))) > 1
    np.testing.assert_allclose(A, by_roots(dense(kernels, shape)), atol=1e-12)
    assert np.abs(A - by_roots(dense(kernels, shape), -1.0)).max() > 0.01
    assert np.abs(A - by_roots(dense(kernels, shape), -0.505)).max() > 1e-4
    stacked = np.moveaxis(spectra(normalised(kernels, shape), shape), (0, 1), (-2, -1))
    values = np.linalg.svd(stacked, compute_uv=False)
    whole = columns_of(lambda x: wrapped(normalised(kernels, shape), x), num, shape)
    np.testing.assert_allclose(whole, A.reshape(whole.shape), atol=1e-13)
    singular = np.sort(np.linalg.svd(whole, compute_uv=False))
    np.testing.assert_allclose(np.sort(values, axis=None), singular[-values.size :], atol=1e-12)
    np.testing.assert_allclose((values**2).sum(axis=-1), len(kernels), rtol=1e-13)
    least = np.sqrt(len(kernels) / min(kernels.shape[:2]))
    assert least - 1e-12 <= values.max() <= np.sqrt(len(kernels))


def test_one_channel_by_hand():
    kernel = np.array([[[1.0, 0.5]]])
    energies = np.abs(spectra(kernel, (4,)).ravel()) ** 2
    np.testing.assert_allclose(energies, [9 / 4, 5 / 4, 1 / 4, 5 / 4], rtol=1e-14)
    wanted = [0.9472135955, 0.2236067977, 0.0527864045, -0.2236067977]
    np.testing.assert_allclose(normalised(kernel, (4,)).ravel(), wanted, atol=5e-11)
    (A,) = dense(normalised(kernel, (4,)), (4,))
    np.testing.assert_allclose(A.T @ A, np.eye(4), atol=1e-14)


def test_with_zeros_around_it_is_no_co_isometry():
    grid = (N + R - 1,)
    inputs = np.arange(J * grid[0]).reshape(J, -1)[:, :N].ravel()
    for truncated, rows in ((False, grid[0]), (True, N)):
        found = columns_of(lambda x, t=truncated: padded(KERNELS, x, truncated=t), J, (N,))
        exact = by_roots(dense(KERNELS, grid))[:, :rows, inputs]
        np.testing.assert_allclose(found, exact.reshape(found.shape), atol=1e-12)
    full = by_roots(dense(KERNELS, grid))[:, :, inputs]
    for channel in full:
        values = np.linalg.svd(channel, compute_uv=False)
        kept = np.linalg.svd(channel[:N], compute_uv=False)
        assert values.max() <= 1 + 1e-13
        assert values.min() < 0.9
        # Cauchy's interlacing of the Gram matrices of rows.
        assert np.all(kept <= values[:N] + 1e-13)
        assert np.all(kept >= values[-N:] - 1e-13)


def test_of_one_channel_in_the_full_output_keeps_norms_and_the_truncated_one_does_not():
    one = KERNELS[:1, :1]
    full, cut = (
        columns_of(lambda x, t=truncated: padded(one, x, truncated=t), 1, (N,))
        for truncated in (False, True)
    )
    np.testing.assert_allclose(full.T @ full, np.eye(N), atol=1e-13)
    assert np.linalg.svd(cut, compute_uv=False).min() < 0.99


def test_what_cannot_be_normalised_is_refused():
    with pytest.raises(InputError, match="energy at every frequency"):
        normalised(np.array([[[1.0, -1.0]]]), (5,))
    normalised(np.array([[[1.0, -1.0], [1.0, 0.0]]]), (5,))  # the other channel in has some
    normalised(np.array([[[1.0, -1.0 + 1e-9]]]), (5,))
    with pytest.raises(InputError, match="fit into the grid"):
        normalised(KERNELS, (3,))
    with pytest.raises(InputError, match="fit into the grid"):
        spectra(KERNELS, (7, 7))


@pytest.mark.parametrize(("shape", "stride"), [((6, 4), 2), ((6, 9), 3), ((5, 4), 1)])
def test_norms_with_a_stride_are_those_of_the_rows_that_are_kept(shape, stride):
    kernels = np.random.default_rng(3).normal(size=(2, 3, 2, 3))
    A = dense(kernels, shape).reshape(2, *shape, -1)
    kept = A[:, ::stride, ::stride].reshape(-1, A.shape[-1])
    found = sampled_norm(kernels, shape, stride)
    assert found == pytest.approx(np.linalg.norm(kept, 2), rel=1e-12)
    # Mutant: that of all rows.
    if stride > 1:
        assert sampled_norm(kernels, shape) > 1.01 * found


def test_a_stride_that_does_not_divide_the_grid_has_the_norm_of_all_rows():
    kernels = np.random.default_rng(3).normal(size=(2, 3, 2))
    A = dense(kernels, (5,)).reshape(10, -1)
    assert sampled_norm(kernels, (5,), 2) == pytest.approx(np.linalg.norm(A, 2), rel=1e-12)
