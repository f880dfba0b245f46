"""Blocks of the Hessian against the dense Hessian of the merged problem in NumPy.

The blocks need no critical point, only equal classes within groups, so random points are used.
"""

import numpy as np
import pytest

from tests.helpers import FAMILY, Problem, relative_error
from ufm import UFM, Point
from ufm.plain.blocks import (
    classifier_block,
    coupling_block,
    feature_blocks,
    group_block,
    within_group_block,
)
from ufm.plain.reduce import reduced

LW, LH = 0.02, 0.008
BIASES = [None, 0.0, 0.03]
# One assembly of a matrix with entries of order one.
ENTRY = 1e-14


def random_problem(name, counts, sizes, lambda_b, rank, seed=0):
    """Model, problem and a random point whose classes agree within groups (merged columns)."""
    loss, naive = FAMILY[name]
    model = UFM(loss, counts=counts, d=rank, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    brute = Problem.of(naive, counts, rank, LW, LH, lambda_b, merged=True)
    point = brute.unpack(brute.random(seed, 1.5))
    first = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)
    bias = None if point.b is None else point.b[first]
    return model, brute, Point(point.W[first], point.H[:, first], bias)


def in_row_space(brute, parts, point):
    """The dense Hessian at the point turned into the basis that the blocks use."""
    turned = Point(point.W @ parts.space.basis, parts.space.basis.T @ point.H, point.b)
    return brute.hessian(brute.pack(turned))


@pytest.mark.parametrize("lambda_b", BIASES)
@pytest.mark.parametrize("name", ["ce", "focal", "rescaled"])
def test_without_groups_the_block_is_the_merged_hessian(name, lambda_b):
    counts, rank = (3, 2, 4), 2
    model, brute, point = random_problem(name, counts, (1, 1, 1), lambda_b, rank)
    parts = reduced(model, point)
    assert parts.space.rank == rank
    assert parts.data.size == brute.size
    got, dense = group_block(parts.data), in_row_space(brute, parts, point)
    # The helper orders H by rows, the block by columns.
    order = np.arange(brute.size)
    half = 3 * rank
    order[half : 2 * half] = half + np.arange(half).reshape(rank, 3).T.ravel()
    assert np.abs(got - dense[np.ix_(order, order)]).max() < ENTRY * np.abs(dense).max() * 10
    assert np.array_equal(got, got.T) or np.abs(got - got.T).max() < ENTRY


@pytest.mark.parametrize("lambda_b", BIASES)
def test_the_parts_stand_where_the_block_has_them(lambda_b):
    model, _, point = random_problem("ce", (3, 2, 4), (1, 1, 1), lambda_b, 2)
    data = reduced(model, point).data
    block, half = group_block(data), 6
    assert np.allclose(block[:half, :half], classifier_block(data), atol=ENTRY)
    assert np.allclose(block[:half, half : 2 * half], coupling_block(data), atol=ENTRY)
    features = feature_blocks(data)
    middle = block[half : 2 * half, half : 2 * half]
    for k in range(3):
        at = slice(2 * k, 2 * k + 2)
        assert np.allclose(middle[at, at], features[k], atol=ENTRY)
        middle[at, at] = 0
    assert not middle.any()  # features of different classes do not interact
    assert block.shape == (12 + (0 if lambda_b is None else 3),) * 2


@pytest.mark.parametrize("lambda_b", BIASES)
@pytest.mark.parametrize(
    ("name", "counts", "sizes", "rank"),
    [
        ("ce", (1, 1, 1, 1), (2, 2), 2),
        ("ce", (3, 3, 3, 2), (3, 1), 2),
        ("focal", (2, 2, 2, 2), (3, 1), 2),
        ("mse", (2, 2, 3, 3), (2, 2), 2),
        ("ls", (2, 2, 2, 1, 1), (3, 2), 3),
    ],
)
def test_group_and_within_blocks_hold_the_whole_spectrum(name, counts, sizes, rank, lambda_b):
    """A-5: the merged Hessian splits exactly, each within block m - 1 times."""
    model, brute, point = random_problem(name, counts, sizes, lambda_b, rank)
    parts = reduced(model, point)
    assert [len(group) for group in parts.groups] == list(sizes)
    pieces = [np.linalg.eigvalsh(group_block(parts.data))]
    for g, size in enumerate(sizes):
        if size > 1:
            values = np.linalg.eigvalsh(within_group_block(parts.data, g))
            assert len(values) == 2 * rank + (0 if lambda_b is None else 1)
            pieces += [values] * (size - 1)
    split = np.sort(np.concatenate(pieces))
    dense = np.linalg.eigvalsh(in_row_space(brute, parts, point))
    assert relative_error(split, dense) < 1e-13
    # Control: one copy short, or the blocks of a point nearby, are not the spectrum.
    moved = Point(1.01 * point.W, point.H, point.b)
    other = np.linalg.eigvalsh(in_row_space(brute, parts, moved))
    assert relative_error(split, other) > 1e-4


def test_the_within_block_is_the_hessian_on_differences():
    """Block entry by entry: the dense Hessian on (e_1 - e_2) / sqrt 2 of a group of three."""
    model, brute, point = random_problem("ce", (3, 3, 3, 2), (3, 1), 0.03, 2)
    parts = reduced(model, point)
    dense = in_row_space(brute, parts, point)
    x, K, rank = np.array([1, -1, 0, 0]) / np.sqrt(2), 4, 2
    moves = []
    for i in range(rank):
        moves.append(Point(np.outer(x, np.eye(rank)[i]), np.zeros((rank, K)), np.zeros(K)))
    for i in range(rank):
        moves.append(Point(np.zeros((K, rank)), np.outer(np.eye(rank)[i], x), np.zeros(K)))
    moves.append(Point(np.zeros((K, rank)), np.zeros((rank, K)), x))
    basis = np.stack([brute.pack(move) for move in moves], axis=1)
    assert np.allclose(basis.T @ dense @ basis, within_group_block(parts.data, 0), atol=1e-13)


def test_the_quotient_scales_rows_by_the_root_of_the_group_size():
    model, _, point = random_problem("ce", (3, 3, 3, 2), (3, 1), 0.03, 2)
    parts = reduced(model, point)
    data, inner = parts.data, parts.space.point
    roots = np.sqrt([3.0, 1.0])
    assert np.allclose(data.W, roots[:, None] * inner.W[[0, 3]], atol=ENTRY)
    assert np.allclose(data.H, roots * inner.H[:, [0, 3]], atol=ENTRY)
    assert data.counts.tolist() == [9.0, 2.0]  # m_g n_g
    assert data.num_samples == 11
    assert data.decays == (LW, LH, 0.03)
    assert [group.tolist() for group in data.groups] == [[0, 1, 2], [3]]
    assert data.size == 2 * 2 * 2 + 2
    assert data.S.shape == (2, 2, 2)
    E = np.zeros((4, 2))
    E[:3, 0], E[3, 1] = 3**-0.5, 1
    assert np.allclose(data.G, E.T @ parts.G @ E, atol=ENTRY)


@pytest.mark.parametrize("field", ["lambda_W", "lambda_H", "lambda_b"])
def test_each_decay_stands_on_its_own_diagonal(field):
    model, _, point = random_problem("ce", (3, 2, 4), (1, 1, 1), 0.03, 2)
    values = {"lambda_W": LW, "lambda_H": LH, "lambda_b": 0.03}
    values[field] += 1.0
    other = UFM(FAMILY["ce"][0], counts=(3, 2, 4), d=2, **values)
    blocks = [group_block(reduced(one, point).data) for one in (model, other)]
    parts = {"lambda_W": slice(0, 6), "lambda_H": slice(6, 12), "lambda_b": slice(12, 15)}
    for name, at in parts.items():  # the basis turns with the decays: compare eigenvalues
        before, after = (np.linalg.eigvalsh(block[at, at]) for block in blocks)
        assert np.allclose(after - before, float(name == field), atol=1e-13)
