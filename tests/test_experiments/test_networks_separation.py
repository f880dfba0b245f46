"""Class separation against sums over all pairs."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from experiments.networks.measures.separation import class_separation
from ufm.errors import InputError

K, D, COUNTS = 3, 5, (4, 6, 7)


def sample(seed=0, spread=0.8):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(K), COUNTS))
    return rng.standard_normal((K, D))[y] + spread * rng.standard_normal((y.size, D)), y


def all_pairs(H, y, weigh_classes=True):
    distances = cdist(H, H, "cosine")
    if not weigh_classes:
        same = y[:, None] == y
        return distances[same].mean(), distances.mean()
    blocks = [[distances[np.ix_(y == j, y == k)].mean() for k in range(K)] for j in range(K)]
    return np.mean(np.diag(blocks)), np.mean(blocks)


def test_all_pairs_agree() -> None:
    for seed in range(4):
        H, y = sample(seed)
        made, (within, total) = class_separation(H, y), all_pairs(H, y)
        assert made.within == pytest.approx(within, rel=1e-12)
        assert made.total == pytest.approx(total, rel=1e-12)
        assert made.r_squared == pytest.approx(1 - within / total, rel=1e-11)
        # Mutants: pairs of samples weighing all the same, and centred features.
        within, total = all_pairs(H, y, weigh_classes=False)
        assert abs(made.r_squared - (1 - within / total)) > 1e-4
        within, total = all_pairs(H - H.mean(axis=0), y)
        assert abs(made.r_squared - (1 - within / total)) > 1e-4


def test_collapse_is_exact_and_near_it_no_digit_is_lost() -> None:
    rng = np.random.default_rng(0)
    M, y = rng.standard_normal((K, D)), np.repeat(np.arange(K), COUNTS)
    assert class_separation(M[y], y).within == 0
    assert class_separation(M[y], y).r_squared == 1
    # Lengths do not matter; the directions are then equal up to rounding.
    assert class_separation(M[y] * np.arange(1, y.size + 1)[:, None], y).within < 1e-31
    # To second order the within distance is that of the tangential deviations.
    direction, size = rng.standard_normal((y.size, D)), 1e-9
    norms = np.linalg.norm(M, axis=1)[y]
    tangent = direction - np.sum(direction * M[y], axis=1)[:, None] * M[y] / norms[:, None] ** 2
    tangent /= norms[:, None]
    expected = np.mean([tangent[y == k].var(axis=0).sum() for k in range(K)]) * size**2
    found = class_separation(M[y] + size * direction, y).within
    assert abs(found / expected - 1) < 1e-6
    # Negative control: the distances themselves have lost every digit.
    assert abs(all_pairs(M[y] + size * direction, y)[0] / expected - 1) > 1


def test_rotation_scale_and_extremes() -> None:
    H, y = sample()
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((D, D)))[0]
    value = class_separation(H, y).r_squared
    for changed in (H @ Q, 1e-90 * H, 1e90 * H, H * np.arange(1, y.size + 1)[:, None]):
        assert class_separation(changed, y).r_squared == pytest.approx(value, rel=1e-10)
    assert np.isnan(class_separation(np.ones((4, 2)), [0, 1, 1, 0]).r_squared)
    # An orthogonal frame: every other class is at distance 1, so total = (K - 1)/K.
    assert class_separation(np.eye(3), [0, 1, 2]).total == pytest.approx(2 / 3, rel=1e-15)


def test_bad_arguments_are_refused() -> None:
    H, y = sample()
    with pytest.raises(InputError, match=r"2 zero rows of 17"):
        class_separation(H * (np.arange(17) > 1)[:, None], y)
    with pytest.raises(InputError, match=r"no sample of class 1"):
        class_separation(H, np.where(y == 1, 0, y))
    with pytest.raises(InputError, match=r"K >= 2"):
        class_separation(H, np.zeros(17, int))
    with pytest.raises(InputError, match=r"one label per sample"):
        class_separation(H, y[:-1])
