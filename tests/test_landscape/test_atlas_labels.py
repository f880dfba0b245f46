"""Names of symmetries, and merged classes."""

import numpy as np
import pytest

from landscape.atlas.labels import label, merged_classes
from ufm.frames import merged_code, orthogonal_frame, polygon, simplex_etf
from ufm.plain.relabelling import stabiliser_order


def gram(code, size=4.0):
    return size * code @ code.T


def line(*w):
    return np.outer(w, w).astype(float)


LABELS = {
    "origin": np.zeros((5, 5)),
    "simplex ETF": gram(simplex_etf(5)),
    "orthogonal frame": gram(orthogonal_frame(5)),
    "fully symmetric": 3 * np.eye(5) + 1,
    "merged 3|2|1": gram(merged_code((3, 2, 1))),
    "merged 2|2|2": gram(merged_code((2, 2, 2))),
    "merged 2^9|1": gram(merged_code((2,) * 9 + (1,))),
    "mirror 2|1|2": line(2, 2, 0, -2, -2),
    "mirror 1|1|1|1": line(3, 1, -1, -3),
    "5-gon": gram(polygon(5)),
    "4-gon": gram(polygon(4)),
    "5-gon of 2|2|2|2|2": gram(np.repeat(polygon(5), 2, axis=0)),
    "3-gon": np.array([[2.0, 1, -3], [-3, 2, 1], [1, -3, 2]]),
    "merged 2|1|1 (rank 1, order 2)": line(2, 2, -1, -3),
    "merged 3|1|1 (rank 1, order 6)": line(1, 1, 1, 4, -5),
    "merged 2|1 (rank 2)": np.array([[3.0, 3, 0], [3, 3, 0], [0, 0, 3]]),
    "symmetry of order 4": np.array(  # a rectangle: two mirrors, no quarter turn
        [[5.0, -1, 1, -5], [-1, 5, -5, 1], [1, -5, 5, -1], [-5, 1, -1, 5]]
    ),
    "asymmetric": line(2, 1, -3),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_depend_on_the_orbit_only(name):
    rng = np.random.default_rng(7)
    Z = LABELS[name]
    counts = [3] * len(Z)
    for _ in range(5):
        p = rng.permutation(len(Z))
        copy = Z[np.ix_(p, p)] + 1e-9 * rng.uniform(-1, 1, Z.shape)
        assert label(copy, counts) == name


def test_merged_classes_share_rows_and_columns_and_count_and_bias():
    Z = np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 5]])
    assert merged_classes(Z, [1, 1, 1]) == [(0, 1), (2,)]
    assert merged_classes(Z, [1, 2, 1]) == [(0,), (1,), (2,)]
    assert merged_classes(Z, [1, 1, 1], [0.0, 1, 0]) == [(0,), (1,), (2,)]
    rows_only = np.array([[1.0, 2, 0], [1, 2, 0], [0, 0, 5]])
    for one_sided in (rows_only, rows_only.T):
        assert len(merged_classes(one_sided, [1, 1, 1])) == 3
    # Exchangeable is not merged: a simplex.
    assert len(merged_classes(gram(simplex_etf(4)), [1] * 4)) == 4


def test_labels_see_counts_bias_and_tolerance():
    w = line(2.0, 0, -2)
    assert label(w, [1, 2, 1]) == "mirror 1|1|1"
    assert label(w, [1, 1, 2]) == "asymmetric"
    assert label(w, [1, 1, 1], [0.0, 0, 1]) == "asymmetric"
    Z = gram(simplex_etf(3))
    assert label(Z, [1, 1, 2]) == "symmetry of order 2"
    assert label(-Z, [1, 1, 1]) == "fully symmetric"
    square = gram(polygon(4))
    assert label(square, [1, 2, 1, 2]) == "symmetry of order 4"
    assert label(square, [1, 1, 1, 1], [0.0, 1, 0, 1]) == "symmetry of order 4"
    merged = gram(merged_code((2, 1)))
    assert label(merged, [1, 1, 1], [0.0, 0.5, 0]) == "asymmetric"
    assert label(1e-4 * w, [1, 1, 1]) == "mirror 1|1|1"
    assert label(1e-4 * w, [1, 1, 1], tolerance=1e-2) == "origin"


@pytest.mark.parametrize("sizes", [(3, 2, 1), (2, 2, 2), (1, 4), (1, 1, 3)])
def test_known_groups_change_nothing_but_the_work(sizes):
    rng = np.random.default_rng(sum(sizes) + sizes[0])
    member = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    for small in (rng.normal(size=(len(sizes),) * 2), np.eye(len(sizes))):
        Z = small[np.ix_(member, member)]
        counts = np.array([1, 1, 2])[: len(sizes)][member]
        groups = merged_classes(Z, counts)
        assert stabiliser_order(Z, counts, groups=groups) == stabiliser_order(Z, counts)
        assert label(Z, counts, groups=groups) == label(Z, counts)
        b = counts + 0.5
        assert stabiliser_order(Z, counts, b, groups=groups) == stabiliser_order(Z, counts, b)
    # Groups that are not equal classes give another order: they are believed, not checked.
    assert stabiliser_order(np.diag([1.0, 2, 3]), [1] * 3, groups=[(0, 1), (2,)]) == 2
