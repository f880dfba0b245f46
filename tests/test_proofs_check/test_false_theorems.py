"""Theorems that are false by a little, in place of the lab's own: each must be refuted.

Each was once VERIFIED, or is of the same kind: a constant off by a few per cent or a thousandth, a
parameter written in as a number, another convention, a formula that agrees at one size alone.
"""

from dataclasses import replace

import numpy as np
import pytest

from proofs_check import Status, check_claim, core_claims
from proofs_check.claims import (
    merged_classes,
    minimisers,
    mse,
    regression,
    rescaled,
    thresholds,
)
from proofs_check.claims.minimisers import c_of, code
from proofs_check.claims.minority_collapse import strength, vanishing_point
from proofs_check.claims.thresholds import focal_constant

CLAIMS = {claim.id: claim for claim in core_claims()}


def rank(full_rank, c, constant):
    return full_rank if c < constant else np.zeros(1)


def ce_early(full_rank, c):
    return rank(full_rank, c, 0.97)


def ce_late(full_rank, c):
    return rank(full_rank, c, 1.03)


def ls_other_convention(full_rank, K, c, delta):
    return rank(full_rank, c, 1 - delta * (K - 1) / K)


def ls_late(full_rank, c, delta):
    return rank(full_rank, c, 1.03 * (1 - delta))


def focal_with_gamma_two(full_rank, K, c):
    return rank(full_rank, c, focal_constant(K, 2.0))


def focal_late(full_rank, K, c, gamma):
    return rank(full_rank, c, 1.03 * focal_constant(K, gamma))


def rescaled_with_K_for_kappa(full_rank, K, c, kappa, M, free_bias):
    return rank(full_rank, c, thresholds.rescaled_constant(K, K, M, free_bias))


def rescaled_with_K_minus_one_for_M(full_rank, K, c, kappa, M, free_bias):
    return rank(full_rank, c, thresholds.rescaled_constant(K, kappa, K - 1, free_bias))


def rescaled_late(full_rank, K, c, kappa, M, free_bias):
    return rank(full_rank, c, 1.03 * thresholds.rescaled_constant(K, kappa, M, free_bias))


def switch_late(K, c, lambda_b):
    return K if c < 1.02 * lambda_b / (1 + lambda_b) else K - 1 if c < 1 else 0


def switch_early(K, c, lambda_b):
    return K if c < 0.98 * lambda_b / (1 + lambda_b) else K - 1 if c < 1 else 0


def collapse_late(n_B, N, lambda_W, lambda_H):
    return float(strength(N, lambda_W, lambda_H) >= 1.02 * np.sqrt(n_B))


def collapse_that_agrees_at_one_imbalance(n_A, N, lambda_W, lambda_H):
    return float(strength(N, lambda_W, lambda_H) >= np.sqrt(2 * n_A / 9))


def collapse_of_means(n_B, k_A, k_B, N, lambda_W, lambda_H):
    return float(strength(N, lambda_W, lambda_H) >= np.sqrt(n_B * 2 * k_B / (3 * k_A)))


def vanishing_late(k_A, n_A, k_B, n_B, N, lambda_W, lambda_H):
    return float(strength(N, lambda_W, lambda_H) >= 1.01 * vanishing_point(k_A, n_A, k_B, n_B))


def vanishing_early(k_A, n_A, k_B, n_B, N, lambda_W, lambda_H):
    return float(strength(N, lambda_W, lambda_H) >= 0.99 * vanishing_point(k_A, n_A, k_B, n_B))


def rank_less_for_even_K(K):
    return K - 2 if K % 2 == 0 else K - 1


def index_at_a_thousandth_more(d, lambda_W, lambda_H, r, range_index, couplings):
    outside = np.sum(couplings > 1.001 * np.sqrt(lambda_W * lambda_H))
    return float(range_index + (d - r) * outside)


def mse_bias_with_2c(K, n, lambda_W, lambda_H, lambda_b):
    c = c_of(K, n, lambda_W, lambda_H)
    value, _, _, _, bias = minimisers.mse_with_bias(K, n, lambda_W, lambda_H, lambda_b)
    a, s = max(1 - c, 0.0), max(1 - c - 2 * c, 0.0) if lambda_b else 0.0
    return (value, *code(K, n, lambda_W, lambda_H, a, s), bias)


def rescaled_minimiser_with_K_for_kappa(K, n, lambda_W, lambda_H, kappa, M, free_bias):
    return minimisers.rescaled(K, n, lambda_W, lambda_H, float(K), M, free_bias)


def focal_minimiser_with_gamma_two(K, n, lambda_W, lambda_H, gamma):
    return minimisers.focal(K, n, lambda_W, lambda_H, 2.0)


def mse_index_for_n_two(K, d, n, r):
    return (K - r) * (d - r) * n / 2


def mse_nullity_for_three_classes(d, r):
    return mse.rotations(d, r) + r * (3 - r)


def bifurcation_at_two_per_mille(G, delta):
    return 1.002 * merged_classes.bifurcation(G, delta)


def polygon_index_in_the_fourth_dimension(K, d):
    return (K - 3) * (d - 2) if d != 8 else (K - 3) * (d - 2) + 1


def continua_with_K_for_2r(K, n, lambda_W, lambda_H, kappa, M, r):
    return rescaled.scale_of(2 * r, n, lambda_W, lambda_H, kappa, M, r)


def residual_with_half_trace(lambda_W, lambda_H, Sigma, Y):
    seen, value = regression.residual(lambda_W, lambda_H, Sigma, Y)
    return seen, value * 1.001


def convexity_by_chance(gamma):
    return 0.058 if gamma else 0.0


FALSE = [
    ("threshold-cross-entropy", ce_early),
    ("threshold-cross-entropy", ce_late),
    ("threshold-mse", ce_late),
    ("threshold-label-smoothing", ls_other_convention),
    ("threshold-label-smoothing", ls_late),
    ("threshold-focal", focal_with_gamma_two),
    ("threshold-focal", focal_late),
    ("threshold-rescaled-mse", rescaled_with_K_for_kappa),
    ("threshold-rescaled-mse", rescaled_with_K_minus_one_for_M),
    ("threshold-rescaled-mse", rescaled_late),
    ("mse-bias-switch", switch_late),
    ("mse-bias-switch", switch_early),
    ("minority-collapse", collapse_late),
    ("minority-collapse", collapse_that_agrees_at_one_imbalance),
    ("minority-collapse", collapse_of_means),
    ("minority-vanishes", vanishing_late),
    ("minority-vanishes", vanishing_early),
    ("rank-at-most-k-minus-one", rank_less_for_even_K),
    ("reduced-index", index_at_a_thousandth_more),
    ("minimiser-mse-with-bias", mse_bias_with_2c),
    ("minimiser-rescaled-mse", rescaled_minimiser_with_K_for_kappa),
    ("minimiser-focal", focal_minimiser_with_gamma_two),
    ("mse-index", mse_index_for_n_two),
    ("mse-nullity", mse_nullity_for_three_classes),
    ("merged-class-bifurcation", bifurcation_at_two_per_mille),
    ("polygon-index", polygon_index_in_the_fourth_dimension),
    ("rescaled-mse-continua", continua_with_K_for_2r),
    ("regression-residual", residual_with_half_trace),
    ("focal-convexity", convexity_by_chance),
]


@pytest.mark.slow
@pytest.mark.xdist_group("claims")
@pytest.mark.parametrize(
    ("claim", "predicted"), FALSE, ids=[f"{name}-{f.__name__}" for name, f in FALSE]
)
def test_a_theorem_that_is_false_by_a_little_is_refuted(claim, predicted):
    law = CLAIMS[claim].check
    false = replace(CLAIMS[claim], check=replace(law, predicted=predicted))
    assert check_claim(false).status is Status.COUNTEREXAMPLE


def test_there_are_as_many_as_were_tried():
    assert len(FALSE) == len({(claim, f.__name__) for claim, f in FALSE}) >= 26
