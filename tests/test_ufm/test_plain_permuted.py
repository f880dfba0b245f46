"""A-6: spectra from isotypic blocks against dense Hessians of the full problem in NumPy."""

from functools import cache
from itertools import product

import jax
import numpy as np
import pytest

from tests.helpers import FAMILY, Problem, padded, relative_error, slow
from ufm import UFM, Point, UserLoss, full_spectrum, lift, merged_code, minimiser_spectrum
from ufm.plain import reduce as reduce_module
from ufm.plain.blocks import group_block
from ufm.plain.permuted import find_types, range_levels
from ufm.plain.reduce import reduced

LW, LH = 0.02, 0.008
BIASES = [None, 0.0, 0.03]
# Dense eigenvalues of about a hundred variables: a few hundred roundings of the largest.
SAME = 1e-12


@pytest.fixture(autouse=True)
def types_at_every_size(monkeypatch):
    """Small range blocks are diagonalised as they are; here all go through the types."""
    monkeypatch.setattr(reduce_module, "SMALL_DENSE", 0)


def model_of(name, counts, d, lambda_b, decays=(LW, LH)):
    lw, lh = decays
    return UFM(FAMILY[name][0], counts=counts, d=d, lambda_W=lw, lambda_H=lh, lambda_b=lambda_b)


@cache
def minimum(name, counts, lambda_b):
    """The minimiser (merged columns, d = K + 1), by descent and Newton in K dimensions."""
    K = len(counts)
    thin = Problem.of(FAMILY[name][1], counts, K, LW, LH, lambda_b, merged=True)
    _, start = thin.descend(starts=1, scale=1.0)
    point, residual = thin.newton(thin.pack(start), 30)
    assert residual < 1e-13
    return padded(point, K + 1)


def check(name, counts, lambda_b, point, sizes, *, decays=(LW, LH)):
    """Types as expected, and the spectrum of the full problem in every column."""
    d = point.W.shape[1]
    model = model_of(name, counts, d, lambda_b, decays)
    parts = reduced(model, point)
    assert sorted(len(members) for members in parts.types) == sorted(sizes)
    assert parts.types_shrink == (max(sizes) > 2)
    levels = range_levels(parts.data, parts.types)
    assert sum(multiplicity for _, multiplicity, _ in levels) == parts.data.size
    expanded = np.sort(np.repeat([x for x, _, _ in levels], [m for _, m, _ in levels]))
    assert relative_error(expanded, np.linalg.eigvalsh(group_block(parts.data))) < SAME
    table = full_spectrum(model, point)
    names = {level.block for level in table if level.block.startswith("range, ")}
    assert ("range, trivial" in names) == (max(sizes) > 2)
    brute = Problem.of(FAMILY[name][1], counts, d, *decays, lambda_b)
    assert table.size == brute.size
    assert relative_error(table.expand(), brute.spectrum(lift(model, point))) < SAME
    return names


LATER = [("focal", None), ("focal", 0.03), ("hot", None), ("hot", 0.0)]


@pytest.mark.parametrize(
    ("name", "lambda_b"),
    [slow(*case) if case in LATER else case for case in product(FAMILY, BIASES)],
)
def test_the_balanced_minimiser(name, lambda_b):
    counts = (2,) * 5
    model = model_of(name, counts, 6, lambda_b)
    names = check(name, counts, lambda_b, model.minimiser().point, (5,))
    expected = {"range, trivial", "range, standard", "range, rotations", "range, angles"}
    assert names == expected


@pytest.mark.parametrize("lambda_b", BIASES)
@pytest.mark.parametrize(
    ("name", "counts", "sizes"),
    [
        ("ce", (3, 3, 3, 3, 1, 1, 1), (4, 3)),
        ("ls", (4, 4, 4, 1, 1), (3, 2)),
        ("mse", (3, 3, 3, 1, 1), (3, 2)),
        ("rescaled", (3, 3, 3, 1), (3, 1)),
        ("ce", (3, 3, 3, 2, 2, 1), (3, 2, 1)),
        ("hot", (1, 2, 2, 2), (1, 3)),
    ],
)
def test_imbalanced_minimisers_of_two_and_three_clusters(name, counts, sizes, lambda_b):
    names = check(name, counts, lambda_b, minimum(name, counts, lambda_b), sizes)
    assert ("range, mixed" in names) == (sum(size > 1 for size in sizes) > 1)
    assert ("range, angles" in names) == (max(sizes) > 3)


@pytest.mark.parametrize("lambda_b", BIASES)
@pytest.mark.parametrize(("groups", "c"), [((2, 2, 2), 0.1), ((2, 2, 2), 0.3), ((2,) * 4, 0.1)])
def test_merged_saddles(groups, c, lambda_b):
    """CE-6: the groups themselves may be permuted."""
    G, K = len(groups), sum(groups)
    decays = (2 * c / K, 0.5 * c / K)
    beta, ratio = np.log(G / c - G + 1), 0.25**0.25
    code = np.sqrt(beta) * merged_code(groups, G + 1)
    bias = None if lambda_b is None else np.zeros(K)
    point = Point(ratio * code, code.T / ratio, bias)
    check("ce", (1,) * K, lambda_b, point, (G,), decays=decays)
    model = model_of("ce", (1,) * K, G + 1, lambda_b, decays)
    assert full_spectrum(model, point).smallest < -1e-3


def test_two_equal_classes_do_not_pay():
    """Types of one or two groups leave the block as it is."""
    check("ce", (2, 2, 1), None, minimum("ce", (2, 2, 1), None), (2, 1))


@pytest.mark.parametrize("lambda_b", [slow(None), 0.0, 0.03])
def test_many_classes_against_the_closed_form(lambda_b):
    model = model_of("ce", (2,) * 40, 45, lambda_b, (1e-3, 2e-3))
    table = full_spectrum(model, model.minimiser().point)
    closed = minimiser_spectrum(model)
    assert relative_error(table.expand(), closed.expand()) < SAME
    assert len({level.block for level in table}) >= 5


def test_the_size_below_which_nothing_is_split(monkeypatch):
    counts = (2,) * 5
    model = model_of("ce", counts, 6, None)
    point = model.minimiser().point
    size = reduced(model, point).data.size
    for limit, split in ((size - 1, True), (size, False)):
        monkeypatch.setattr(reduce_module, "SMALL_DENSE", limit)
        assert reduced(model, point).types_shrink is split
        blocks = {level.block for level in full_spectrum(model, point)}
        assert ("range, trivial" in blocks) is split
        assert ("range" in blocks) is not split


@pytest.mark.parametrize(("limit", "fits"), [(17, False), (18, True)])
def test_types_that_hold_more_than_a_dense_block_are_not_split(monkeypatch, limit, fits):
    model = model_of("ce", (3, 3, 3, 2, 1), 6, None)
    parts = reduced(model, minimum("ce", (3, 3, 3, 2, 1), None))
    assert (len(parts.types), len(parts.data.W)) == (3, 5)  # 3 * 4 * 5^2 = 300 numbers
    monkeypatch.setattr(reduce_module, "MAX_DENSE", limit)
    assert parts.types_shrink == fits


def test_skipping_the_symmetry_gives_the_same_numbers():
    counts = (3, 3, 3, 1)
    point = minimum("ce", counts, 0.03)
    model = model_of("ce", counts, 5, 0.03)
    assert all(len(t) == 1 for t in reduced(model, point, merge_classes=False).types)
    plain, split = (full_spectrum(model, point, merge_classes=c) for c in (False, True))
    assert "range" in {level.block for level in plain}
    assert relative_error(split.expand(), plain.expand()) < SAME


def test_types_need_equal_logits_counts_and_biases():
    counts = (2,) * 5
    model = model_of("ce", counts, 6, 0.03)
    point = model.minimiser().point
    data = reduced(model, point).data

    def types(data, bias, kinds=model.kinds):
        return [members.tolist() for members in find_types(data, bias, kinds)]

    zero = np.zeros(5)
    assert types(data, zero) == [[0, 1, 2, 3, 4]]
    assert types(data, np.array([0.0, 0, 1e-3, 0, 0])) == [[0, 1, 3, 4], [2]]
    assert types(data, np.array([0.0, 0, 1e-13, 0, 0])) == [[0, 1, 2, 3, 4]]
    wide = model_of("ce", (2, 2, 2, 3, 3), 6, 0.03)  # the same Z with other counts
    assert types(reduced(wide, point).data, zero, wide.kinds) == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize(("size", "together"), [(1e-13, True), (1e-6, False)])
def test_a_point_that_is_not_symmetric_gets_no_types(size, together):
    model = model_of("ce", (2,) * 5, 6, None)
    best = model.minimiser().point
    push = np.random.default_rng(0).standard_normal(best.W.shape)
    types = reduced(model, best._replace(W=best.W + size * push)).types
    assert len(types) == (1 if together else 5)


def test_one_class_that_differs_keeps_the_others_together():
    model = model_of("ce", (2,) * 5, 6, None)
    best = model.minimiser().point
    H = best.H.copy()
    H[:, 1] *= 1.01
    types = reduced(model, best._replace(H=H)).types
    assert [members.tolist() for members in types] == [[0, 2, 3, 4], [1]]


def test_a_loss_that_prefers_a_class_gets_no_types():
    def partial(z, k):
        return jax.nn.logsumexp(z) - z[k] + 0.1 * z[0] ** 2

    point = model_of("ce", (2,) * 5, 6, None).minimiser().point
    model = UFM(UserLoss(partial), counts=(2,) * 5, d=6, lambda_W=LW, lambda_H=LH)
    parts = reduced(model, point)
    assert [members.tolist() for members in parts.types] == [[0], [1], [2], [3], [4]]
    assert not parts.types_shrink
    # The same loss without the preference, written by the same user, has one type.
    fair = UFM(FAMILY["hot"][0], counts=(2,) * 5, d=6, lambda_W=LW, lambda_H=LH)
    assert len(reduced(fair, point).types) == 1
