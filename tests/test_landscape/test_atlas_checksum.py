"""Completeness checks against cell counts, recursions, dense Hessians and lists known complete."""

import json
from itertools import combinations, product
from math import comb, factorial, isclose, prod
from pathlib import Path

import jax
import numpy as np
import pytest

from landscape.atlas.checksum import (
    Stratum,
    balanced_mse_strata,
    defects,
    euler_sum,
    grassmannian_betti,
    grassmannian_euler,
    missing_mass,
    missing_mass_bound,
    morse_bott,
    mse_strata,
    overshoot_sum,
)
from landscape.curvature.hessian import dense_hessian
from tests.helpers import slow
from ufm import MSE, UFM, InputError, Point

# Lists of (count, rank, range index, overshoot), found by Newton's method from 600 to 2500 random
# starts per rank, bias-free cross-entropy; the keys are (n_k; lambda_W, lambda_H).
LISTS = {
    "1,1,1; .01, .02": [(1, 0, 0, 2), (6, 1, 0, 1), (3, 1, 1, 1), (3, 1, 1, 1), (1, 2, 0, 0)],
    "1,1,1; .02, .02": [(1, 0, 0, 2), (3, 1, 1, 1), (3, 1, 0, 1), (1, 2, 0, 0)],
    "2,1,1; .02, .02": [(1, 0, 0, 2), (2, 1, 0, 1), (1, 1, 1, 1), (1, 1, 1, 1), (1, 2, 0, 0)],
    "3,2,1; .02, .01": [(1, 0, 0, 2), (1, 1, 1, 1), (1, 1, 0, 1), (1, 2, 0, 0)],
    "1,1,1,1; .02, .02": [
        *[(1, 0, 0, 3), (4, 1, 2, 2), (12, 1, 1, 2), (3, 1, 2, 2), (6, 1, 1, 2), (12, 1, 0, 2)],
        *[(12, 2, 1, 1), (4, 2, 2, 1), (6, 2, 2, 1), (3, 2, 0, 1), (1, 3, 0, 0)],
    ],
}
COMPLETE = {name: [Stratum(*row) for row in rows] for name, rows in LISTS.items()}
SQUARED = [(1,), (2,), (5,), (2, 1), (4, 1), (1, 1, 1), (2, 2, 1), (1, 3, 2), (1, 1, 1, 1)]

names = pytest.mark.parametrize("name", LISTS)


# ---- Grassmannians and e(b, m)


@pytest.mark.parametrize("b", range(8))
def test_grassmannians_against_their_schubert_cells(b):
    """A cell for every j-subset S, of dimension sum(S) - j(j-1)/2."""
    for j in range(b + 2):
        cells = [sum(S) - j * (j - 1) // 2 for S in combinations(range(b), j)]
        by_dimension = np.bincount(cells) if cells else []
        assert grassmannian_betti(b, j) == tuple(by_dimension)
        assert grassmannian_euler(b, j) == sum((-1) ** dimension for dimension in cells)


def test_the_overshoot_sum_from_a_recursion_that_knows_no_grassmannian():
    """Imbalanced squared error has isolated critical points (MSE-3): every set S of targets.

    Their signed count is 1 in every dimension, which determines e without its formula.
    """

    def e(b, m):
        rest = 0
        for S in (S for j in range(1, min(b, m) + 1) for S in combinations(range(b), j)):
            index = sum(i < s for s in S for i in range(b) if i not in S)
            rest += (-1) ** index * e(b - len(S), m - len(S))
        return 1 - rest

    for b, m in product(range(6), repeat=2):
        assert overshoot_sum(b, m) == e(b, m)


def test_the_overshoot_sum_where_the_quotient_is_known():
    for size in range(1, 9):
        assert overshoot_sum(size, 0) == overshoot_sum(0, size) == 1
        # R^b / +-1 is a cone over a projective space.
        assert overshoot_sum(size, 1) == 1 - sum((-1) ** i for i in range(size))
        # All positive semidefinite matrices: a closed half space.
        assert [overshoot_sum(size, m) for m in (size, size + 1, size + 4)] == [0, 0, 0]


# ---- AT-4 on complete lists


@names
def test_complete_lists_have_signed_count_one(name):
    K = name.split(";")[0].count(",") + 1
    assert [euler_sum(COMPLETE[name], d) for d in range(K + 4)] == [1] * (K + 4)
    assert defects(COMPLETE[name]) == defects(COMPLETE[name], range(K + 4)) == ()


@names
def test_one_missing_orbit_is_seen_and_named(name):
    for missing in COMPLETE[name]:
        first = defects([s for s in COMPLETE[name] if s is not missing])[0]
        assert first.d == first.rank == missing.rank
        assert (first.size, first.parity) == (missing.count, missing.index % 2)
        assert f"(if one: {missing.count} Z" in first.text


@names
def test_a_wrong_parity_is_seen(name):
    for k, s in enumerate(COMPLETE[name]):
        wrong = Stratum(s.count, s.rank, s.index + 1, s.overshoot)
        found = defects([*COMPLETE[name][:k], wrong, *COMPLETE[name][k + 1 :]])
        assert found[0].size == 2 * s.count


def test_for_one_dimension_it_is_the_ordinary_morse_count_over_points():
    """A matrix Z of rank one is two points +-(W, H); the origin is one point of index b."""
    for strata in COMPLETE.values():
        points = [(2 if s.rank else 1, s) for s in strata if s.rank <= 1]
        index = [s.index + (1 - s.rank) * s.overshoot for _, s in points]
        assert sum(m * s.count * (-1) ** i for (m, s), i in zip(points, index, strict=True)) == 1


def test_a_missing_origin_needs_dimension_zero():
    without = COMPLETE["1,1,1,1; .02, .02"][1:]
    assert euler_sum(without, 1) == 1  # e(3, 1) = 0: not seen
    assert [(x.d, x.rank, x.size, x.parity) for x in defects(without)] == [
        (0, 0, 1, 0),
        (2, 0, 1, 0),
    ]
    # Asked for d = 2 only, the rank is still the right one.
    assert [(x.d, x.rank) for x in defects(without, [2])] == [(2, 0)]
    assert "settle rank 0" in defects(without)[1].text
    assert [x.rank for x in defects([])] == [0]


def test_large_dimensions_see_only_orbits_without_overshoot():
    saddles = [s for s in COMPLETE["1,1,1,1; .02, .02"] if s.overshoot]
    assert {euler_sum(saddles, d) for d in range(3, 9)} == {0}
    assert euler_sum([COMPLETE["1,1,1,1; .02, .02"][-1]], 3) == 1


# ---- what AT-4 cannot see, and what AT-5 adds


@names
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_fold_pair_is_seen_by_neither(name, index):
    """The complete list with a fold passes, and passes again when both of its orbits are lost."""
    fold = [Stratum(6, 1, index, 1), Stratum(6, 1, index + 1, 1)]
    for strata in (COMPLETE[name] + fold, COMPLETE[name]):
        assert defects(strata, range(8)) == ()
        assert all(morse_bott(strata, d).holds for d in range(1, 8))
    assert defects(COMPLETE[name] + fold[:1]) != ()
    assert defects(COMPLETE[name] + fold[1:]) != ()


def test_the_inequalities_see_a_cancelling_set_that_the_count_does_not():
    """All saddles of rank one of K = 3 cancel: 6 - 3 - 3 = 0."""
    strata = [s for s in COMPLETE["1,1,1; .01, .02"] if s.rank != 1]
    assert len(strata) == 2
    assert defects(strata, range(9)) == ()
    assert morse_bott(strata, 1).coefficients[0] == -1


def test_the_power_of_both_checks_on_every_part_of_a_complete_list():
    """Of the 2047 proper parts of the eleven orbits of K = 4 one has every sum 1.

    It lacks two orbits of equal count, rank and overshoot. They are no fold: without them no
    minimum is left for d = 1, which the inequalities notice.
    """
    whole = COMPLETE["1,1,1,1; .02, .02"]
    parts = [part for size in range(len(whole)) for part in combinations(whole, size)]
    passing = [part for part in parts if all(euler_sum(part, d) == 1 for d in range(4))]
    assert len(parts) == 2047
    assert len(passing) == 1
    assert set(whole) - set(passing[0]) == {Stratum(12, 1, 0, 2), Stratum(12, 1, 1, 2)}
    assert defects(passing[0], range(8)) == ()
    assert {d for d in range(8) if not morse_bott(passing[0], d, 60).holds} == {1, 2}


def test_a_pair_of_opposite_parity_need_not_be_a_fold():
    """One dimension, no symmetry left: indices 0, 0, 1, 2, 3; losing 1 and 2 leaves 0, 0, 3."""
    line = [Stratum(1, 0, i, 0) for i in (0, 0, 1, 2, 3)]
    assert morse_bott(line, 0, 4).coefficients == (1, 0, 1, 0)
    rest = [s for s in line if s.index not in (1, 2)]
    assert euler_sum(rest, 0) == 1
    assert morse_bott(rest, 0, 4).coefficients == (1, -1, 1, 0)


# ---- AT-5


@names
def test_complete_lists_satisfy_the_morse_inequalities(name):
    for d in range(8):
        assert morse_bott(COMPLETE[name], d, 60).holds
    # ... and a missing minimum breaks the lowest one.
    assert morse_bott(COMPLETE[name][:-1], 3).coefficients[0] == -1


@names
def test_the_remainder_multiplied_out_gives_the_two_sides(name):
    """Evaluated at t = 0.3, where sixty terms leave an error below 1e-20."""
    t, d = 0.3, 4
    R = morse_bott(COMPLETE[name], d, 60).coefficients
    poincare = [prod(1 / (1 - t**i) for i in range(1, m + 1)) for m in range(d + 1)]
    orbits = sum(
        s.count * t ** (s.index + (d - s.rank) * s.overshoot) * poincare[d - s.rank]
        for s in COMPLETE[name]
    )
    remainder = (1 + t) * sum(x * t**k for k, x in enumerate(R))
    # 1e-13: sums of a few dozen terms of size at most 20 in float64.
    assert isclose(orbits - poincare[d], remainder, abs_tol=1e-13)


def test_corrupted_lists_break_the_morse_inequalities():
    whole = COMPLETE["1,1,1; .01, .02"]
    shifted = [Stratum(s.count, s.rank, s.index + 2 * (s.rank == 2), s.overshoot) for s in whole]
    assert defects(shifted) == ()  # same parity
    assert not morse_bott(shifted, 2).holds
    # 1 + t does not divide: six minima less take 6 / (1 + t) from R, and every other term is < 0.
    lost = [s for s in whole if s.count != 6]
    R, remains = (morse_bott(strata, 1, 40).coefficients for strata in (whole, lost))
    assert [y - x for x, y in zip(R, remains, strict=True)] == [-6 * (-1) ** k for k in range(40)]
    assert all(x < 0 for x in remains[4::2])


def test_the_number_of_terms_is_kept():
    whole = COMPLETE["1,1,1; .02, .02"]
    long = morse_bott(whole, 3, 50).coefficients
    assert len(long) == 50
    assert morse_bott(whole, 3, 11).coefficients == long[:11]
    # The numerator of the origin is t^(3 * 2), of rank one t^(1 + 2) (1 - t^3): degree 6.
    assert morse_bott(whole, 3).coefficients == long[:7]


# ---- squared error: degenerate families


@pytest.mark.parametrize("sizes", SQUARED)
def test_families_of_squared_error_pass_both_with_nothing_left_over(sizes):
    strata = mse_strata(sizes)
    for d in range(sum(sizes) + 4):
        assert euler_sum(strata, d) == 1
        assert set(morse_bott(strata, d, 40).coefficients) == {0}


@pytest.mark.parametrize("sizes", SQUARED)
def test_a_family_left_out_is_seen_unless_its_characteristic_is_zero(sizes):
    strata = mse_strata(sizes)
    top = sum(sizes) + 1
    for missing in strata:
        rest = [s for s in strata if s is not missing]
        assert (defects(rest, range(top)) == ()) == (missing.count == 0)
        # The inequalities see also those: R was zero, so less of anything is negative.
        assert not morse_bott(rest, missing.rank).holds


def test_distinct_class_sizes_give_the_subsets_of_mse_3():
    strata = mse_strata([1, 1, 1])
    assert len(strata) == sum(s.count for s in strata) == 8
    expected = []
    for chosen in (set(S) for j in range(4) for S in combinations(range(3), j)):
        swaps = sum(j < i for i in chosen for j in range(3) if j not in chosen)
        expected.append((1, len(chosen), swaps, 3 - len(chosen)))
    assert sorted((s.count, s.rank, s.index, s.overshoot) for s in strata) == sorted(expected)


def representative(model, used, rng):
    """A critical point of balanced squared error that uses random directions of each group."""
    K, lambda_b = model.num_classes, model.lambda_b
    ones = np.full((K, 1), K**-0.5)
    complement = np.linalg.svd(ones)[0][:, 1:]
    base = np.eye(K) if lambda_b is None else complement
    turned = base @ np.linalg.qr(rng.standard_normal((base.shape[1],) * 2))[0]
    U, values = turned[:, : used[0]], [1 - model.c] * used[0]
    if sum(used[1:]):
        U = np.hstack([U, ones])
        values = [*values, 1 - model.c * (1 + lambda_b) / lambda_b]
    half = np.zeros((K, model.d))
    half[:, : U.shape[1]] = U * np.sqrt(values)
    ratio = (model.lambda_H / model.lambda_W) ** 0.25
    Z = half @ half.T
    b = None if lambda_b is None else (np.ones(K) - Z.sum(axis=1)) / K / (1 + lambda_b)
    return Point(ratio * half, half.T / ratio, b)


@pytest.mark.parametrize(
    ("lambda_b", "groups"), [slow(None, (3,)), (0.0, (2,)), (0.05, (2,)), (0.5, (2, 1))]
)
def test_balanced_families_against_dense_hessians(lambda_b, groups):
    """Index and nullity of every family, from the 33 eigenvalues of the full problem."""
    rng = np.random.default_rng(0)
    model = UFM(MSE(), 3, 5, lambda_W=0.03, lambda_H=0.02, lambda_b=lambda_b)
    strata = balanced_mse_strata(3, model.c, lambda_b)
    choices = list(product(*(range(m + 1) for m in groups)))
    assert len(strata) == len(choices)
    for s, used in zip(strata, choices, strict=True):
        point = representative(model, used, rng)
        assert np.linalg.matrix_rank(point.W) == s.rank
        assert max(np.max(np.abs(x)) for x in jax.tree.leaves(model.gradient(point))) < 1e-15
        values = np.linalg.eigvalsh(dense_hessian(model, point))
        free = 5 - s.rank
        # Eigenvalues of size one, exact to 33 * 2e-16; the smallest others here exceed 1e-3.
        assert np.sum(values < -1e-12) == s.index + free * s.overshoot
        family = sum(r * (m - r) for m, r in zip(groups, used, strict=True))
        orbit = s.rank * (s.rank - 1) // 2 + s.rank * free
        assert np.sum(np.abs(values) < 1e-12) == orbit + family
        assert np.min(np.abs(values[np.abs(values) > 1e-12])) > 1e-3
        assert len(s.betti) - 1 == family


@pytest.mark.parametrize("K", range(2, 6))
def test_balanced_families_in_every_bias_setting(K):
    for lambda_b in (None, 0.0, 0.05, 0.5):
        strata = balanced_mse_strata(K, 0.1, lambda_b)
        assert [euler_sum(strata, d) for d in range(K + 4)] == [1] * (K + 4)
        top = K if lambda_b in (None, 0.5) else K - 1
        assert max(s.rank for s in strata) == top
    assert balanced_mse_strata(K, 1.5, 0.5) == (Stratum(1, 0, 0, 0, (1,)),)


def test_an_index_that_forgets_the_smaller_target_is_seen():
    wrong = [Stratum(s.count, s.rank, 0, s.overshoot) for s in balanced_mse_strata(4, 0.1, 0.5)]
    assert defects(wrong) != ()


def test_large_families_are_exact():
    betti = mse_strata([70])[35].betti
    assert sum(betti) == comb(70, 35) > 2**63
    assert betti == betti[::-1]


# ---- Good-Turing


def test_missing_mass_by_hand():
    assert missing_mass([5, 3]) == 0.0
    assert missing_mass([1, 1, 1]) == 1.0
    assert missing_mass([0, 2, 1, 1]) == 0.5
    assert missing_mass(np.array([1, 3])) == 0.25


def test_the_bound_of_the_missing_mass_is_never_zero_and_holds():
    """Against counting: an urn of 40 kinds, 150 draws, of which (39/40)^149 are expected unseen."""
    assert missing_mass_bound([50, 50]) == pytest.approx(-np.log(0.05) / 100)  # rule of three
    assert missing_mass_bound([]) == missing_mass_bound([0, 0]) == 1.0
    # Two singles: the Poisson mean whose probability of at most two is 5 %.
    mean = 98 * missing_mass_bound([96, 1, 1])
    assert np.exp(-mean) * (1 + mean + mean**2 / 2) == pytest.approx(0.05)
    rng, expected, held, tight = np.random.default_rng(0), (39 / 40) ** 149, 0, 0
    for _ in range(1000):
        bound = missing_mass_bound(np.bincount(rng.integers(0, 40, 150), minlength=40))
        held += expected <= bound
        tight += expected <= bound / 2
    assert held >= 950
    assert tight < 950  # half of it would not do


def test_missing_mass_has_the_expectation_of_good():
    """E f_1 / n is the expected unseen mass after n - 1 runs, by all sequences of four runs."""
    p, n = [0.5, 0.3, 0.2], 4
    expected = 0.0
    for runs in product(range(3), repeat=n):
        hits = np.bincount(runs, minlength=3)
        expected += prod(p[i] for i in runs) * missing_mass(hits)
    # Rounding of 81 products.
    assert isclose(expected, sum(q * (1 - q) ** (n - 1) for q in p), rel_tol=1e-14)


# ---- refusals


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Stratum(1, -1, 0, 0), "dimension >= 0"),
        (lambda: Stratum(1, 0, 0.5, 0), "dimension >= 0"),
        (lambda: Stratum(1.5, 0, 0, 0), "count"),
        (lambda: Stratum(3, 1, 0, 1, (1, 1)), "alternating sum"),
        (lambda: grassmannian_euler(-1, 0), "dimension >= 0"),
        (lambda: grassmannian_betti(2, -1), "dimension >= 0"),
        (lambda: overshoot_sum(1, -1), "dimension >= 0"),
        (lambda: euler_sum([], -1), "d >= 0"),
        (lambda: morse_bott([Stratum(0, 0, 0, 0)], 1), "Betti numbers"),
        (lambda: morse_bott([], 1, 0), "terms >= 1"),
        (lambda: mse_strata([0]), "multiplicity >= 1"),
        (lambda: balanced_mse_strata(1, 0.1), "K >= 2"),
        (lambda: balanced_mse_strata(3, 0.0), "c > 0"),
        (lambda: balanced_mse_strata(3, 1.0), "away from 1"),
        (lambda: balanced_mse_strata(3, 0.5, 1.0), "away from 1"),
        (lambda: balanced_mse_strata(3, 0.5, -1.0), "lambda_b > 0"),
        (lambda: missing_mass([]), "at least one run"),
        (lambda: missing_mass([2, -1]), "hits >= 0"),
    ],
)
def test_what_makes_no_sense_is_refused(call, says):
    with pytest.raises(InputError, match=says.replace("|", r"\|")):
        call()


def test_numbers_of_numpy_are_taken():
    row = np.array([6, 1, 0, 1])
    assert Stratum(*row) == Stratum(6, 1, 0, 1)
    assert type(Stratum(*row).count) is int
    assert euler_sum([Stratum(*row)], 1) == factorial(3)


def test_the_published_list_of_eight_classes_passes_and_no_shorter_one_does():
    """docs/data/atlas-k8.json: sums and inequalities from the numbers in the file alone."""
    file = Path(__file__).parents[2] / "docs" / "data" / "atlas-k8.json"
    rows = json.loads(file.read_text())["orbits"]
    strata = [Stratum(count, rank, index, b) for _, rank, index, b, count, _ in rows]
    assert len(strata) == 347
    assert {euler_sum(strata, d) for d in range(9)} == {1}
    assert all(morse_bott(strata, d).holds for d in range(1, 9))
    assert all(defects(strata[:i] + strata[i + 1 :]) for i in range(len(strata)))
