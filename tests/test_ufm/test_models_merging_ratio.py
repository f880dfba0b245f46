"""The ratio of sizes at which small classes merge, against a convex solver without symmetry."""

import cvxpy as cp
import numpy as np
import pytest

from ufm import InputError, merging_ratio


def spread(K, majority, ratio, energy_H):
    """The largest difference of two small classes' rows of logits, by CVXPY."""
    Z = cp.Variable((K, K))
    losses = [cp.log_sum_exp(Z[:, k]) - Z[k, k] for k in range(K)]
    total = sum(losses[:majority]) + sum(losses[majority:]) / ratio
    room = K * np.sqrt(energy_H)
    cp.Problem(cp.Minimize(total), [cp.normNuc(Z) <= room]).solve(solver=cp.CLARABEL)
    rows = Z.value[majority:] - Z.value[majority:].mean(axis=0)
    return float(np.abs(rows).max())


@pytest.mark.parametrize(
    ("K", "majority", "energy_H"), [(4, 2, 1.0), (4, 2, 5.0), (5, 3, 0.5), (6, 2, 0.8)]
)
def test_small_classes_merge_at_the_ratio_and_not_before(K, majority, energy_H):
    ratio = merging_ratio(K, majority, 1.0, energy_H)
    assert spread(K, majority, 1.005 * ratio, energy_H) < 5e-4  # what the solver leaves
    assert spread(K, majority, 0.995 * ratio, energy_H) > 1e-3


@pytest.mark.parametrize(
    ("numbers", "ratio"),
    [((10, 5, 1, 5), 12.1924), ((10, 3, 1, 5), 245.4969), ((10, 5, 1, 10), 81.1022)],
)
def test_numbers_of_the_paper(numbers, ratio):
    assert merging_ratio(*numbers) == pytest.approx(ratio, abs=5e-5)


def test_only_the_product_of_energies_counts():
    assert merging_ratio(6, 2, 2.0, 3.0) == pytest.approx(merging_ratio(6, 2, 6.0, 1.0), rel=1e-12)


def test_without_energy_every_imbalance_merges():
    assert merging_ratio(4, 2, 1.0, 1e-8) == pytest.approx(1, abs=1e-3)
    assert merging_ratio(4, 2, 1.0, 1e-40) == 1.0


def test_energies_beyond_what_floats_hold_are_refused():
    assert np.isfinite(merging_ratio(4, 2, 1e3, 1e1))
    with pytest.raises(InputError, match="less energy"):
        merging_ratio(4, 2, 1e200, 1e100)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [((3, 2), "K >= 4"), ((5, 1), "majority >= 2"), ((5, 4), "K - 2 = 3"), ((5, 2, 0.0), "energy")],
)
def test_other_numbers_are_refused(numbers, says):
    with pytest.raises(InputError, match=says):
        merging_ratio(*numbers)
