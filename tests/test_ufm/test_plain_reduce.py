"""The reductions against dense Hessians of the full problem, at random critical points."""

from functools import cache

import numpy as np
import pytest

from tests.helpers import FAMILY, Problem, jax_hessian, padded, relative_error
from ufm import (
    UFM,
    CrossEntropy,
    InputError,
    Point,
    full_spectrum,
    lift,
    merged_code,
    predicted_nullity,
)
from ufm import reduce as reduce_samples
from ufm.plain.blocks import group_block
from ufm.plain.reduce import MAX_DENSE, reduced, row_space

# Dense eigenvalues of up to 130 variables carry a few hundred roundings of the largest one.
SPECTRUM_TOLERANCE = 1e-12
# A Newton residual of 1e-15 leaves zero modes at 1e-15 / curvature; true ones are above 1e-6.
ZERO = 1e-9


@cache
def random_case(seed):
    """Model, naive problem and a random critical point (merged columns, padded to d)."""
    rng = np.random.default_rng(seed)
    name = list(FAMILY)[seed % len(FAMILY)]
    loss, naive = FAMILY[name]
    for _ in range(20):
        K, d = int(rng.integers(2, 5)), int(rng.integers(1, 6))
        counts = tuple(int(count) for count in rng.integers(1, 4, size=K))
        if rng.random() < 0.4:
            counts = counts[:1] * K
        lw, lh = np.exp(rng.uniform(np.log(2e-3), np.log(3e-2), size=2))
        lb = (None, 0.0, float(np.exp(rng.uniform(-5, -2))))[int(rng.integers(3))]
        r = int(rng.integers(1, d + 1))
        thin = Problem.of(naive, counts, r, lw, lh, lb, merged=True)
        point, residual = thin.newton(thin.random(int(rng.integers(1000)), 3.0))
        if residual < 1e-13:
            break
    else:  # pragma: no cover
        pytest.fail("Newton found no critical point in twenty starts")
    model = UFM(loss, counts=counts, d=d, lambda_W=lw, lambda_H=lh, lambda_b=lb)
    return model, Problem.of(naive, counts, d, lw, lh, lb), padded(point, d)


def check(seed):
    """Spectrum, index and nullity by reduction are those of the dense Hessian."""
    model, brute, point = random_case(seed)
    full = lift(model, point)
    dense = brute.spectrum(full)
    table = full_spectrum(model, point)
    assert table.size == model.num_parameters == brute.size
    assert relative_error(table.expand(), dense) < SPECTRUM_TOLERANCE
    assert table.count_below(-ZERO) == np.sum(dense < -ZERO)
    rank = reduced(model, point).space.rank
    merged, small = reduce_samples(model, full)
    nullity = predicted_nullity(merged, rank, model.d, small.W @ small.H, small.b)
    assert nullity == table.count_within(ZERO) == np.sum(np.abs(dense) < ZERO)
    split = full_spectrum(model, full, merge_classes=False)
    assert relative_error(split.expand(), dense) < SPECTRUM_TOLERANCE
    return int(np.sum(dense < -ZERO)), rank


@pytest.mark.parametrize("seed", range(11))
def test_a_random_critical_point(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(11, 50))
def test_more_random_critical_points(seed):
    check(seed)


@pytest.mark.slow
def test_the_random_critical_points_are_saddles_and_minima_of_many_ranks():
    """Else the tests above would look at origins only."""
    found = [random_case(seed) for seed in range(12)]
    dense = [brute.spectrum(lift(model, point)) for model, brute, point in found]
    negative = [int(np.sum(values < -ZERO)) for values in dense]
    ranks = {reduced(model, point).space.rank for model, _, point in found}
    assert sum(index > 0 for index in negative) >= 4
    assert sum(index == 0 for index in negative) >= 1
    assert len(ranks) >= 3
    assert sum(not model.balanced for model, _, _ in found) >= 4
    assert {model.lambda_b is None for model, _, _ in found} == {True, False}


COUNTS, D = (3, 2, 4), 5
DECAYS = (8e-3, 5e-3)


@pytest.fixture(scope="module")
def saddle():
    """A rank-one critical point of an imbalanced cross entropy: model, problem, merged point."""
    loss, naive = FAMILY["ce"]
    line = Problem.of(naive, COUNTS, 1, *DECAYS, 0.03, merged=True)
    found = (line.newton(line.random(seed, 3.0)) for seed in range(30))
    point = next(p for p, res in found if res < 1e-14 and np.abs(p.W @ p.H).max() > 0.1)
    model = UFM(loss, counts=COUNTS, d=D, lambda_W=DECAYS[0], lambda_H=DECAYS[1], lambda_b=0.03)
    return model, Problem.of(naive, COUNTS, D, *DECAYS, 0.03), padded(point, D)


def test_automatic_differentiation_agrees(saddle):
    model, _, point = saddle
    dense = np.linalg.eigvalsh(jax_hessian(model, lift(model, point)))
    assert dense[0] < -1e-3
    assert relative_error(full_spectrum(model, point).expand(), dense) < SPECTRUM_TOLERANCE


def test_a_rotated_point_has_the_same_spectrum(saddle):
    model, _, point = saddle
    R = np.linalg.qr(np.random.default_rng(0).standard_normal((D, D)))[0]
    turned = Point(point.W @ R, R.T @ point.H, point.b)
    expected = full_spectrum(model, point).expand()
    assert relative_error(full_spectrum(model, turned).expand(), expected) < SPECTRUM_TOLERANCE


def test_away_from_critical_points_the_blocks_are_not_the_spectrum(saddle):
    """The complement splits off because the gradient vanishes: a control for everything above."""
    model, brute, point = saddle
    shifted = point._replace(W=point.W + 0.05 * np.random.default_rng(1).standard_normal((3, D)))
    dense = brute.spectrum(lift(model, shifted))
    assert relative_error(full_spectrum(model, shifted).expand(), dense) > 1e-4


@pytest.mark.parametrize("field", ["lambda_W", "lambda_H", "lambda_b", "counts"])
def test_every_number_moves_the_spectrum(saddle, field):
    model, _, point = saddle
    values = {
        "counts": model.counts_tuple,
        "lambda_W": model.lambda_W,
        "lambda_H": model.lambda_H,
        "lambda_b": model.lambda_b,
    }
    values[field] = (3, 3, 3) if field == "counts" else 1.5 * values[field]
    other = UFM(CrossEntropy(), d=D, **values)
    table = full_spectrum(model, point).expand()
    assert relative_error(full_spectrum(other, point).expand(), table) > 1e-4


def test_the_range_block_is_the_merged_hessian(saddle):
    """Ordered (A by rows, B by columns, bias)."""
    model, _, point = saddle
    parts = reduced(model, point, merge_classes=False)
    small = Problem.of(FAMILY["ce"][1], COUNTS, 1, *DECAYS, 0.03, merged=True)
    dense = small.hessian(small.pack(parts.space.point))
    np.testing.assert_allclose(group_block(parts.data), dense, rtol=0, atol=1e-14)


def test_merged_classes_make_groups():
    """CE-6: K = 6 in three groups of two; A-5 finds them and gives the same spectrum."""
    loss, naive = FAMILY["ce"]
    K, G, d, lw, lh = 6, 3, 4, 8e-3, 5e-3
    model = UFM(loss, K, d, 2, lambda_W=lw, lambda_H=lh)
    beta = np.log(G / model.c - G + 1)
    Q = merged_code((2, 2, 2), d)
    w, h = np.sqrt(beta * np.sqrt(2) * np.sqrt(lh / lw)), np.sqrt(beta / np.sqrt(2 * lh / lw))
    point = Point(w * Q, np.sqrt(2) * h * Q.T)
    brute = Problem.of(naive, (2,) * K, d, lw, lh)
    full = lift(model, point)
    assert np.linalg.norm(brute.value_and_gradient(brute.pack(full))[1]) < 1e-14
    parts = reduced(model, full)
    assert [group.tolist() for group in parts.groups] == [[0, 1], [2, 3], [4, 5]]
    assert len(reduced(model, full, merge_classes=False).groups) == K
    table = full_spectrum(model, full)
    dense = brute.spectrum(full)
    assert relative_error(table.expand(), dense) < SPECTRUM_TOLERANCE
    assert {"within group of 2"} == {x.block for x in table if x.block.startswith("within group")}
    # c = 0.054 is below the bifurcation of G = 3 at 0.1305.
    assert table.count_below(-ZERO) == (K - G) * d
    np.testing.assert_allclose(parts.couplings[: K - G], 1 / (K * np.sqrt(2)))
    assert len(parts.couplings) == K - (G - 1)
    bent = full._replace(W=full.W + np.eye(K, d) * 1e-3)
    assert len(reduced(model, bent).groups) > G


@pytest.mark.parametrize(("name", "groups"), [("focal", (2, 2)), ("rescaled", (3, 1))])
def test_merged_classes_with_a_bias(name, groups):
    """Losses whose logit Hessian singles out the own class; Newton stays on merged classes."""
    loss, naive = FAMILY[name]
    label = np.repeat([0, 1], groups)
    line = Problem.of(naive, (2,) * 4, 1, *DECAYS, 0.03, merged=True)
    start = Point(np.array([[2.0], [-1.5]])[label], np.array([[1.0, -1.5]])[:, label], label * 0.1)
    point, residual = line.newton(line.pack(start))
    assert residual < 1e-13
    model = UFM(loss, 4, 3, 2, lambda_W=DECAYS[0], lambda_H=DECAYS[1], lambda_b=0.03)
    parts = reduced(model, padded(point, 3))
    assert [len(group) for group in parts.groups] == list(groups)
    assert parts.space.rank == 1
    dense = Problem.of(naive, (2,) * 4, 3, *DECAYS, 0.03).spectrum(lift(model, padded(point, 3)))
    table = full_spectrum(model, padded(point, 3))
    assert relative_error(table.expand(), dense) < SPECTRUM_TOLERANCE


def test_a_loss_that_tells_classes_apart_is_never_grouped():
    """At the origin all rows agree, and the loss weights the classes 1, 2, 3."""
    model = UFM(weighted_cross_entropy, 3, 2, 2, lambda_W=0.01, lambda_H=0.02)
    assert [len(group) for group in reduced(model, model.origin()).groups] == [1, 1, 1]

    def naive(z, k):
        return tuple((k + 1) * part for part in FAMILY["ce"][1](z, k))

    dense = Problem.of(naive, (2, 2, 2), 2, 0.01, 0.02).spectrum(model.origin())
    table = full_spectrum(model, model.origin()).expand()
    assert relative_error(table, dense) < SPECTRUM_TOLERANCE


def weighted_cross_entropy(z, k):
    return (k + 1) * CrossEntropy()(z, k)


def test_counts_keep_classes_apart():
    """Counts split groups: at the origin all rows agree and the sizes do not."""
    even = UFM(CrossEntropy(), 3, 2, 2, lambda_W=0.1, lambda_H=0.2)
    uneven = UFM(CrossEntropy(), counts=(2, 2, 1), d=2, lambda_W=0.1, lambda_H=0.2)
    assert [len(group) for group in reduced(even, even.origin()).groups] == [3]
    assert [len(group) for group in reduced(uneven, uneven.origin()).groups] == [2, 1]


def test_uncollapsed_features_are_refused():
    model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.02, lambda_H=0.03)
    full = lift(model, model.minimiser().point)
    assert full_spectrum(model, full).size == model.num_parameters
    H = np.array(full.H)
    H[0, 0] += 1e-3
    says = r"collapsed features .* Got a spread of 4\.0e-04 of the largest"
    with pytest.raises(InputError, match=says):
        full_spectrum(model, full._replace(H=H))


def test_a_block_beyond_memory_is_refused_before_it_is_made():
    K = 80
    model = UFM(CrossEntropy(), K, 120, lambda_W=1e-3, lambda_H=1e-3)
    rng = np.random.default_rng(0)
    point = Point(rng.standard_normal((K, 120)), rng.standard_normal((120, K)))
    assert 2 * K * K > MAX_DENSE  # a critical point has rank K at most
    with pytest.raises(InputError, match=r"at most 12,000 variables. Got 12,800 \(1.2 GiB\)"):
        full_spectrum(model, point)


def test_the_rank_tolerance_says_what_it_left_out():
    """Just below the threshold W H is small and not zero, and it is kept unless told otherwise."""
    model = UFM(CrossEntropy(), 3, 5, lambda_W=(1 - 1e-7) / 3, lambda_H=(1 - 1e-7) / 3)
    point = model.minimiser().point
    coarse, fine = row_space(model, point, tolerance=2.0), row_space(model, point)
    assert (coarse.rank, fine.rank) == (0, 2)
    assert coarse.discarded == pytest.approx(1.0, rel=1e-6)
    assert fine.discarded < 1e-30
    np.testing.assert_allclose(fine.basis @ fine.point.H, point.H, atol=1e-15)
    np.testing.assert_allclose(fine.basis.T @ fine.basis, np.eye(2), atol=1e-14)


@pytest.mark.parametrize(("c", "index"), [(0.13053, 9), (0.13057, 6)])
def test_the_bifurcation_of_three_groups(c, index):
    """CE-6: at c* = 0.1305506509 the index of K = 6, G = 3, d = 3 drops from 9 to 6."""
    model = UFM(CrossEntropy(), 6, 3, lambda_W=c / 6, lambda_H=c / 6)
    Q = np.sqrt(np.log(3 / c - 2)) * merged_code((2, 2, 2), 3)
    assert full_spectrum(model, Point(Q, Q.T)).count_below(-ZERO) == index
