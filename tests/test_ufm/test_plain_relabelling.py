"""Orbits, symmetry groups and labels against a loop over all permutations."""

from collections import Counter
from itertools import permutations
from math import comb, factorial, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import block_diag

from landscape.atlas.labels import label, merged_classes
from tests.helpers import naive_cross_entropy
from ufm import InputError
from ufm.frames import merged_code, polygon, simplex_etf
from ufm.plain.relabelling import (
    TOLERANCE,
    checked,
    distinct,
    invariant,
    levels,
    matching,
    orbit_size,
    resolution,
    stabiliser_order,
)

SEEDS = st.integers(0, 2**32 - 1)
NOISE = 1e-9


def gram(code, size=4.0):
    return size * code @ code.T


def line(*w):
    return np.outer(w, w).astype(float)


def noisy(Z, rng, noise=NOISE):
    return Z + noise * rng.uniform(-1, 1, Z.shape)


def relabelled(Z, p):
    return Z[np.ix_(p, p)]


def carried(Z, other, counts, b=None, other_b=None):
    """All relabellings of Z into other, by trying every one."""
    counts, p_all = np.asarray(counts), permutations(range(len(Z)))
    found = []
    for p in map(list, p_all):
        same_bias = b is None or np.allclose(np.asarray(other_b), np.asarray(b)[p], atol=1e-6)
        if (counts == counts[p]).all() and same_bias:
            found += [tuple(p)] if np.allclose(other, relabelled(Z, p), rtol=0, atol=1e-6) else []
    return found


def random_symmetric_point(rng, K):
    """Few distinct entries, often averaged over a random permutation: many symmetries."""
    Z = rng.integers(0, rng.integers(2, 4), (K, K)).astype(float)
    if rng.random() < 0.6:
        p, total, power = rng.permutation(K), np.zeros((K, K)), np.arange(K)
        for _ in range(60):  # a multiple of the order of every permutation of five
            total, power = total + relabelled(Z, power), power[p]
        Z = total / 60
    return Z


def random_counts(rng, K):
    return rng.integers(1, rng.integers(2, 4), K)


@given(st.integers(1, 5), SEEDS)
def test_the_stabiliser_is_what_all_permutations_say(K, seed):
    rng = np.random.default_rng(seed)
    Z, counts = random_symmetric_point(rng, K), random_counts(rng, K)
    b = rng.integers(0, 2, K).astype(float) if rng.random() < 0.3 else None
    order = len(carried(Z, Z, counts, b, b))
    assert stabiliser_order(noisy(Z, rng), counts, b) == order
    # And the orbit, counted as a set of matrices.
    group = carried(np.zeros((K, K)), np.zeros((K, K)), counts)
    matrices = {
        (relabelled(Z, p).round(6).tobytes(), None if b is None else b[list(p)].tobytes())
        for p in map(list, group)
    }
    assert orbit_size(counts, order) == len(matrices)


@given(st.integers(1, 5), SEEDS)
def test_a_relabelling_is_found_iff_there_is_one(K, seed):
    rng = np.random.default_rng(seed)
    Z, counts = random_symmetric_point(rng, K), random_counts(rng, K)
    if rng.random() < 0.5:
        other = relabelled(Z, rng.permutation(K))  # does not always keep the counts
    else:
        other = random_symmetric_point(rng, K)
    all_of_them = carried(Z, other, counts)
    found = matching(noisy(Z, rng), noisy(other, rng), counts)
    assert (found in all_of_them) if all_of_them else (found is None)


@given(st.integers(2, 9), SEEDS)
def test_a_noisy_copy_is_one_orbit_and_a_perturbed_one_is_two(K, seed):
    rng = np.random.default_rng(seed)
    Z, b, p = rng.standard_normal((K, K)), rng.standard_normal(K), rng.permutation(K)
    counts = np.ones(K, int)
    copy = noisy(relabelled(Z, p), rng)
    assert matching(Z, copy, counts, b, noisy(b[p], rng)) == tuple(p)
    assert matching(Z, noisy(copy, rng, 1e-3), counts, b, b[p]) is None
    assert_allclose(invariant(copy, counts, b[p]), invariant(Z, counts, b), atol=2 * K * NOISE)


@pytest.mark.parametrize("name", ["square", "cube", "petersen", "rook", "chiral", "paley"])
def test_twin_free_symmetry_groups_of_textbooks(name):
    rng = np.random.default_rng(3)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    cells = [(i, j) for i in range(3) for j in range(4)]
    corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])
    Z, order = {
        "square": (gram(polygon(4)), 8),
        "cube": (gram(corners), 48),
        "petersen": (np.array([[not {*a} & {*b} for a in pairs] for b in pairs], float), 120),
        "rook": (
            np.array([[(a[0] == b[0]) + 2 * (a[1] == b[1]) for a in cells] for b in cells], float),
            factorial(3) * factorial(4),
        ),
        # Rows 0, 1, 2, ... shifted: rotations, but no reflections.
        "chiral": (np.array([[(j - i) % 7 for j in range(7)] for i in range(7)], float), 7),
        "paley": (np.isin(np.subtract.outer(range(7), range(7)) % 7, [1, 2, 4]).astype(float), 21),
    }[name]
    K = len(Z)
    copy = noisy(relabelled(Z, rng.permutation(K)), rng)
    assert stabiliser_order(copy, [2] * K) == order
    p = matching(Z, copy, [2] * K)
    assert p is not None
    assert_allclose(relabelled(Z, p), copy, atol=2 * NOISE)


def test_two_structures_that_colours_cannot_tell_apart():
    """Two triangles and a hexagon: every class looks the same to colour refinement."""
    hexagon, triangles = ring(6), block_diag(ring(3), ring(3))
    assert matching(hexagon, triangles, [1] * 6) is None
    assert stabiliser_order(hexagon, [1] * 6) == 12
    assert stabiliser_order(triangles, [1] * 6) == 72


def ring(K):
    return np.roll(np.eye(K), 1, axis=1) + np.roll(np.eye(K), -1, axis=1)


def test_classes_that_look_alike_but_are_not_exchangeable():
    """A ring of ten beside two rings of five: D_10 x (D_5 wr S_2), wherever the search begins."""
    rng = np.random.default_rng(0)
    Z = block_diag(ring(10), ring(5), ring(5))
    for _ in range(5):
        copy = relabelled(Z, rng.permutation(20))
        assert stabiliser_order(copy, [1] * 20) == 20 * 10**2 * 2
        assert matching(Z, copy, [1] * 20) is not None
    assert matching(Z, block_diag(ring(10), ring(10)), [1] * 20) is None
    # With twins on some of the look-alikes only.
    assert stabiliser_order(block_diag(ring(6), ring(3), ring(3)), [1] * 12) == 12 * 6**2 * 2
    # Pairs and single classes on a ring, 2|2|1|1|2|2|1|1: each has three neighbours, so only the
    # sizes of the twin groups cut the 16 symmetries of the ring down to 4.
    sizes = [2, 2, 1, 1] * 2
    pairs = np.repeat(np.repeat(ring(8), sizes, axis=0), sizes, axis=1)
    assert stabiliser_order(pairs, [1] * 12) == 2**4 * 4


PARTITIONS = [[100 // G] * G for G in range(1, 101) if 100 % G == 0]
PARTITIONS += [[34, 33, 33], [98, 1, 1], [60, 30, 10]]


@pytest.mark.parametrize("sizes", PARTITIONS, ids=lambda s: f"{s[0]}^{len(s)}")
def test_partitions_of_a_hundred_classes(sizes):
    rng = np.random.default_rng(len(sizes))
    G = len(sizes)
    Z = np.repeat(np.repeat(7.0 * np.eye(G) - 2.0, sizes, axis=0), sizes, axis=1)
    twins = prod(factorial(m) for m in sizes)
    order = twins * prod(factorial(number) for number in Counter(sizes).values())
    p = rng.permutation(100)
    copy = noisy(relabelled(Z, p), rng)
    counts = np.full(100, 5)
    assert stabiliser_order(copy, counts) == order
    assert orbit_size(counts, order) * order == factorial(100)
    q = matching(Z, copy, counts)
    assert q is not None
    assert_allclose(relabelled(Z, q), copy, atol=2 * NOISE)
    groups = merged_classes(copy, counts)
    assert [len(group) for group in groups] == sorted(sizes, reverse=True)
    # One class with another count stands still: the group shrinks by the orbit it had.
    counts[0] = 6
    assert stabiliser_order(Z, counts) * sizes[0] * sizes.count(sizes[0]) == order
    p = np.concatenate([[0], 1 + rng.permutation(99)])
    q = matching(Z, relabelled(Z, p), counts)
    assert q is not None
    assert q[0] == 0


def test_the_orbit_of_fifty_pairs():
    Z = gram(merged_code([2] * 50))
    assert stabiliser_order(Z, [1] * 100) == 2**50 * factorial(50)
    assert stabiliser_order(Z, [1, 2] * 50) == factorial(50)
    assert stabiliser_order(Z, [1] * 50 + [2] * 50) == 2**50 * factorial(25) ** 2
    one_pair_apart = Z.copy()
    one_pair_apart[0, 0] += 1.0
    assert stabiliser_order(one_pair_apart, [1] * 100) == 2**49 * factorial(49)


def test_unequal_counts_shrink_the_group_and_forbid_relabellings():
    Z = np.diag([1.0, 2.0, 2.0])
    swapped = np.diag([2.0, 1.0, 2.0])
    assert matching(Z, swapped, [4, 4, 7]) == (1, 0, 2)
    assert matching(Z, swapped, [4, 7, 4]) is None
    assert stabiliser_order(Z, [4, 4, 4]) == 2
    assert stabiliser_order(Z, [4, 4, 7]) == 1
    assert orbit_size([4, 4, 4], 2) == 3
    assert orbit_size([4, 4, 7], 1) == 2


def test_the_bias_separates_points_with_equal_matrices():
    Z, up, down = gram(simplex_etf(3)), [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]
    counts = [2, 2, 2]
    assert matching(Z, Z, counts, up, [0.0, 1.0, 0.0]) is not None
    assert matching(Z, Z, counts, up, down) is None
    assert stabiliser_order(Z, counts) == 6
    assert stabiliser_order(Z, counts, up) == 2
    assert distinct([(0.0, Z, up), (0.0, Z, down), (0.0, Z, np.roll(up, 2))], counts) == [
        [0, 2],
        [1],
    ]
    assert label(Z, counts, up) == "symmetry of order 2"


def cross_entropy(Z):
    loss = naive_cross_entropy()
    parts = [loss(Z[:, k], k) for k in range(len(Z))]
    value = np.mean([part[0] for part in parts])
    gradient = np.stack([part[1] for part in parts], axis=1) / len(Z)
    return float(value), gradient


def test_energy_and_spectrum_do_not_tell_orbits_apart():
    """A-3: w ~ (1, -1, 0, 0) and w ~ (1, 1, -1, -1) are both critical and agree in f and sigma(Z).

    Z = s w w^T / |w|^2 has f = log 2 + log(2 cosh(s / 4)) - s / 4 + sigma s in both cases, and is
    critical for s = 4 artanh(1 - 4 sigma): then G w = -sigma w.
    """
    sigma = 0.02
    s = 4 * np.arctanh(1 - 4 * sigma)
    codes = [np.array(w) / np.linalg.norm(w) for w in ([1, -1, 0, 0], [1, 1, -1, -1])]
    points = [s * np.outer(w, w) for w in codes]
    values = []
    for w, Z in zip(codes, points, strict=True):
        value, G = cross_entropy(Z)
        assert_allclose(G @ w, -sigma * w, atol=1e-15)
        assert_allclose(w @ G, -sigma * w, atol=1e-15)
        values.append(value + sigma * s)
    assert_allclose(values[0], values[1], atol=1e-15)
    spectra = [np.linalg.svd(Z, compute_uv=False) for Z in points]
    assert_allclose(spectra[0], spectra[1], atol=1e-14)

    counts = [1, 1, 1, 1]
    assert matching(*points, counts) is None
    items = [(f, Z, None) for f, Z in zip(values, points, strict=True)]
    copies = [(f, relabelled(Z, [2, 0, 3, 1]), None) for f, Z, _ in items]
    assert distinct(items + copies, counts) == [[0, 2], [1, 3]]
    assert [label(Z, counts) for Z in points] == ["mirror 1|2|1", "merged 2|2"]
    assert [orbit_size(counts, stabiliser_order(Z, counts)) for Z in points] == [6, 3]


def test_not_even_the_invariant_decides():
    """A matrix and its transpose, equal in all that the filter sees; matching sees two orbits."""
    U = np.array([[0.0, 1, 2], [2, 0, 1], [1, 2, 0]])
    assert matching(U, U.T, [1, 1, 1]) is not None
    assert matching(U, U.T, [1, 2, 3]) is None
    assert_allclose(invariant(U, [1, 2, 3]), invariant(U.T, [1, 2, 3]), atol=1e-14)
    assert distinct([(1.0, U, None), (1.0, U.T, None)], [1, 2, 3]) == [[0], [1]]


def test_the_fourteen_points_of_three_classes():
    """CE-8: five orbits of K = 3 cross-entropy, 1 + 6 + 3 + 3 + 1 matrices."""
    points = [
        gram(simplex_etf(3)),
        line(2.259, -0.245, -2.014),
        line(2.126, 0, -2.126),
        gram(merged_code((2, 1))),
        np.zeros((3, 3)),
    ]
    counts = [1, 1, 1]
    names = ["simplex ETF", "asymmetric", "mirror 1|1|1", "merged 2|1", "origin"]
    assert [label(Z, counts) for Z in points] == names
    assert [orbit_size(counts, stabiliser_order(Z, counts)) for Z in points] == [1, 6, 3, 3, 1]
    copies = [(0.5, relabelled(Z, p), None) for Z in points for p in permutations(range(3))]
    assert distinct(copies, counts) == [list(range(6 * i, 6 * i + 6)) for i in range(5)]


def test_a_tolerance_is_heeded():
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((4, 4))
    other = noisy(Z, rng, 1e-4)
    assert matching(Z, other, [1] * 4) is None
    assert matching(Z, other, [1] * 4, tolerance=1e-3) == (0, 1, 2, 3)
    assert [
        len(distinct([(0.0, Z, None), (0.0, other, None)], [1] * 4, tolerance=t))
        for t in (TOLERANCE, 1e-3)
    ] == [2, 1]
    flat = noisy(np.zeros((3, 3)), rng, 1e-4)
    assert [stabiliser_order(flat, [1] * 3, tolerance=t) for t in (TOLERANCE, 1e-2)] == [1, 6]
    assert [len(merged_classes(flat, [1] * 3, tolerance=t)) for t in (TOLERANCE, 1e-2)] == [3, 1]
    assert resolution(1e-3, 10 * Z, None) == pytest.approx(1e-2 * np.abs(Z).max())


def test_levels_that_steps_have_joined_do_not_pass_for_equal():
    """0, 0.6, 1.2 units: one level by steps, but the ends are further apart than the tolerance."""
    unit = TOLERANCE
    ladder = np.diag([0.0, 0.6 * unit, 1.2 * unit])
    assert levels(unit, np.diagonal(ladder))[0].tolist() == [0, 0, 0]
    assert matching(np.zeros((3, 3)), ladder, [1, 2, 3]) is None
    assert matching(ladder, ladder, [1, 2, 3]) == (0, 1, 2)


def test_an_objective_apart_is_another_orbit():
    Z = gram(simplex_etf(3))
    assert distinct([(0.1, Z, None), (0.2, Z, None), (0.1 + 1e-12, Z, None)], [1] * 3) == [
        [0, 2],
        [1],
    ]
    assert distinct([], [1] * 3) == []


@given(st.integers(1, 6), SEEDS)
def test_the_invariant_is_lipschitz(K, seed):
    rng = np.random.default_rng(seed)
    Z, dZ = rng.standard_normal((2, K, K))
    b, db = rng.standard_normal((2, K))
    counts = random_counts(rng, K)
    for step in (1e-6, 1e-2, 1.0):
        moved = np.abs(invariant(Z + step * dZ, counts, b + step * db) - invariant(Z, counts, b))
        assert moved.max() <= step * max(np.linalg.norm(dZ), np.linalg.norm(db)) + 1e-12


def test_the_invariant_keeps_classes_of_different_counts_apart():
    Z = np.diag([1.0, 2.0])
    assert_allclose(invariant(Z, [1, 1]), invariant(Z[::-1, ::-1], [1, 1]))
    assert not np.allclose(invariant(Z, [1, 2]), invariant(Z[::-1, ::-1], [1, 2]))


def test_orbit_sizes():
    assert orbit_size([1] * 100, 2**50 * factorial(50)) == factorial(100) // (2**50 * factorial(50))
    assert orbit_size([1] * 10, factorial(5) ** 2 * 2) == comb(10, 5) // 2
    assert orbit_size([5.0, 5.0, 2.0], 1) == 2
    for wrong in (4, 0, 12):
        with pytest.raises(InputError, match="divisor of 6"):
            orbit_size([1, 1, 1], wrong)


@pytest.mark.parametrize(
    ("Z", "counts", "b"),
    [
        (np.zeros((2, 3)), [1, 1], None),
        (np.zeros((2, 2)), [1, 1, 1], None),
        (np.zeros((2, 2)), [1, 1], [0.0]),
        (np.zeros((0, 0)), [], None),
        (np.array(1.0), [1], None),
        (np.array([[np.nan]]), [1], None),
        (np.eye(1), [1], [np.inf]),
    ],
)
def test_what_is_not_a_point_is_refused(Z, counts, b):
    for function in (checked, stabiliser_order, invariant, label, merged_classes):
        with pytest.raises(InputError):
            function(Z, counts, b)


def test_a_bias_on_one_side_only_is_refused():
    with pytest.raises(InputError, match="bias for both"):
        matching(np.eye(2), np.eye(2), [1, 1], [0.0, 0.0])
    with pytest.raises(InputError, match="bias for both"):
        distinct([(0.0, np.eye(2), None), (0.0, np.eye(2), [0.0, 0.0])], [1, 1])
    with pytest.raises(InputError, match="tolerance"):
        stabiliser_order(np.eye(2), [1, 1], tolerance=0.0)
