"""Centred kernel alignment against published values, Gram matrices, and what it must not see."""

import tracemalloc

import numpy as np
import pytest

from experiments.networks.measures.similarity import linear_cka
from ufm.errors import InputError

N, D, E = 9, 3, 5


def published():
    """Inputs of the demo notebook of Kornblith et al. 2019."""
    random = np.random.RandomState(1337)
    X = random.randn(100, 10)
    return X, random.randn(100, 10) + X


def features(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D)) + 2
    return X, rng.standard_normal((N, E)) + X @ rng.standard_normal((D, E))


def gram_cka(K, L, debiased=False):
    """From Gram matrices and the definitions, with an explicit centring matrix and double sums."""
    n = len(K)

    def hsic(A, B):
        if not debiased:
            P = np.eye(n) - 1 / n
            return np.trace(P @ A @ P @ B)
        A, B = (G - np.diag(np.diag(G)) for G in (A, B))
        one = np.ones(n)
        whole = np.trace(A @ B) + (one @ A @ one) * (one @ B @ one) / (n - 1) / (n - 2)
        return whole - 2 / (n - 2) * (one @ A @ B @ one)

    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def test_published_values() -> None:
    """Printed with five digits."""
    X, Y = published()
    assert abs(linear_cka(X, Y) - 0.55761) < 5e-6
    assert abs(linear_cka(X, Y, debiased=True) - 0.51346) < 5e-6
    # Negative control: no other convention has these digits. Only shifted features tell centring,
    # since those of the notebook have a mean near 0.
    P, Q = X + 1, Y + 1
    assert abs(linear_cka(P, Q) - 0.55761) < 5e-6
    uncentred = np.sum((P.T @ Q) ** 2) / np.sqrt(np.sum((P.T @ P) ** 2) * np.sum((Q.T @ Q) ** 2))
    assert abs(uncentred - 0.55761) > 100 * 5e-6
    assert abs(linear_cka(X, Y) - 0.51346) > 100 * 5e-6


@pytest.mark.parametrize("debiased", [False, True])
def test_gram_matrices_agree(debiased) -> None:
    X, Y = features()
    wide = X @ np.random.default_rng(5).standard_normal((D, 70))
    for Z in (Y, wide):  # two routes: 70 columns are more than 2 N^2/d
        expected = gram_cka(X @ X.T, Z @ Z.T, debiased)
        assert linear_cka(X, Z, debiased) == pytest.approx(expected, rel=1e-10)
        assert linear_cka(Z, X, debiased) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("debiased", [False, True])
def test_invariant_to_rotation_scale_and_shift_only(debiased) -> None:
    X, Y = features()
    Q = np.linalg.qr(np.random.default_rng(3).standard_normal((E, E)))[0]
    value = linear_cka(X, Y, debiased=debiased)
    assert linear_cka(X, 1e-40 * Y @ Q, debiased=debiased) == pytest.approx(value, rel=1e-10)
    assert linear_cka(1e40 * X, Y, debiased=debiased) == pytest.approx(value, rel=1e-10)
    # A shift by 10^6 leaves 16 - 6 digits of the differences.
    assert linear_cka(X + 1e6, Y, debiased=debiased) == pytest.approx(value, abs=1e-8)
    assert linear_cka(X, X, debiased=debiased) == pytest.approx(1, rel=1e-12)
    assert abs(linear_cka(X, Y * [1, 1, 1, 1, 9], debiased=debiased) - value) > 1e-3
    assert abs(linear_cka(X, Y[::-1], debiased=debiased) - value) > 1e-3


def test_debiasing_takes_the_bias_away() -> None:
    """Independent features, more of them than samples: 200 draws, five standard errors."""
    rng = np.random.default_rng(0)
    draws = [(rng.standard_normal((11, 20)), rng.standard_normal((11, 30))) for _ in range(200)]
    plain = np.array([linear_cka(X, Y) for X, Y in draws])
    debiased = np.array([linear_cka(X, Y, debiased=True) for X, Y in draws])
    assert plain.min() > 0.5
    assert abs(debiased.mean()) < 5 * debiased.std() / np.sqrt(200)


def test_bad_arguments_are_refused() -> None:
    X, Y = features()
    with pytest.raises(InputError, match=r"same samples in both. Got 9 and 8"):
        linear_cka(X, Y[:8])
    with pytest.raises(InputError, match=r"features Y that differ between samples"):
        linear_cka(X, np.full((N, 2), 1e6 / 3))
    with pytest.raises(InputError, match=r"finite X"):
        linear_cka(X * np.nan, Y)
    with pytest.raises(InputError, match=r"4 samples or more for a debiased"):
        linear_cka(X[:3], Y[:3], debiased=True)
    assert linear_cka(X[:3], Y[:3]) > 0
    # One outlier among equal samples: the unbiased estimate of its norm is 0, up to rounding of
    # either sign.
    for seed in range(12):
        offset, jump = np.random.default_rng(seed).standard_normal((2, D))
        outlier = offset + np.outer(np.arange(N) == seed % N, jump)
        with pytest.raises(InputError, match=r"positive norm"):
            linear_cka(outlier, Y, debiased=True)


def test_neither_wide_features_nor_many_samples_take_a_large_matrix() -> None:
    """3000 x 3000 in float64 would be 72 MB; the features themselves are 0.2 MB."""
    for shape in ((9, 3000), (3000, 9)):
        X = np.random.default_rng(0).standard_normal(shape)
        tracemalloc.start()
        for debiased in (False, True):
            assert linear_cka(X, X, debiased) == pytest.approx(1, rel=1e-12)
        assert tracemalloc.get_traced_memory()[1] < 2**22
        tracemalloc.stop()
