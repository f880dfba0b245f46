"""Symmetric criticality: the list of symmetries, agreement with the index-blind search, large K."""

from itertools import permutations
from math import comb, log

import numpy as np
import pytest

from landscape.atlas import atlas, symmetric_atlas
from landscape.atlas.symmetries import merged, partitions, polygonal, symmetries
from landscape.verdict import Curvature, verdict
from proofs_check.specimens import embed
from ufm import MSE, UFM, CrossEntropy, Focal, InputError, Point

pytestmark = pytest.mark.xdist_group("atlas")


def balanced(K, decay=0.02, loss=None, d=None):
    return UFM(loss or CrossEntropy(), K, d or K - 1, lambda_W=decay, lambda_H=decay)


# ---- the list


def test_partitions_are_counted():
    assert [len(list(partitions(n, n))) for n in range(1, 9)] == [1, 2, 3, 5, 7, 11, 15, 22]
    assert len(list(partitions(100, 3))) == 1 + 50 + 833
    assert sorted(partitions(6, 3)) == sorted(
        {(6,), (5, 1), (4, 2), (3, 3), (4, 1, 1), (3, 2, 1), (2, 2, 2)}
    )


@pytest.mark.parametrize("K", [4, 6])
def test_every_symmetry_is_one(K):
    """Some relabelling group fixes every point: brute force over all K! on the expanded point."""
    rng = np.random.default_rng(0)
    for symmetry in symmetries([1] * K, shift=True, max_groups=K):
        types, components = symmetry.shape
        point = symmetry.expand(
            Point(rng.normal(size=(types, components)), rng.normal(size=(components, types)))
        )
        Z = point.W @ point.H
        fixing = [p for p in permutations(range(K)) if np.allclose(Z[np.ix_(p, p)], Z, atol=1e-9)]
        orbits = {frozenset(p[k] for p in fixing) for k in range(K)}
        # Classes of one type are carried into each other; no two types are.
        assert orbits == {frozenset(np.flatnonzero(symmetry.types == t)) for t in range(types)}


def test_groups_hold_classes_of_one_count():
    found = symmetries([3, 1, 1], shift=True, max_groups=3)
    assert all(s.types[0] not in s.types[1:] for s in found)
    assert {s.name for s in found} == {"1·1|1", "1|1|1", "2|1"}


def test_shift_leaves_out_a_line_and_bounds_hold():
    assert merged([1] * 4, [(0, 2, 1), (0, 1, 2)], shift=True).shape == (2, 2)
    assert merged([1] * 4, [(0, 2, 1), (0, 1, 2)], shift=False).shape == (2, 3)
    few = symmetries([1] * 6, shift=True, max_groups=2)
    assert {s.name for s in few} >= {"3·3", "3|3", "4|2", "5|1", "2·2·2", "1^6", "6-gon"}
    assert "3|2|1" not in {s.name for s in few}
    assert len(symmetries([1] * 6, shift=True, max_groups=6, max_types=1)) == 4
    assert polygonal(6, 6).shape == (1, 3)
    assert polygonal(26, 13).shape == (1, 1)


# ---- the search


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "known", "found"),
    [
        (balanced(4), 11, 10),  # the eleventh has no symmetry of the list
        (UFM(CrossEntropy(), counts=(2, 2, 1, 1), d=3, lambda_W=0.02, lambda_H=0.01), 22, None),
        (UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.01, lambda_b=0.05), 4, None),
    ],
)
def test_all_that_it_finds_is_in_the_atlas(model, known, found):
    whole = atlas(model)
    assert len(whole.orbits) == known
    symmetric = symmetric_atlas(model, max_groups=4, starts=24)
    for orbit in symmetric.orbits:
        twins = [o for o in whole.orbits if o.contains(orbit.item)]
        assert len(twins) == 1
        assert (twins[0].range_index, twins[0].count) == (orbit.range_index, orbit.count)
    assert len(symmetric.orbits) == found or found is None
    assert len(symmetric.orbits) > known / 2
    assert symmetric.status.name == "OPEN"
    assert "4 unequal groups" in symmetric.unsearched


@pytest.mark.slow
def test_options_are_not_ignored():
    model = balanced(5)
    few = symmetric_atlas(model, max_groups=2, starts=1)
    more = symmetric_atlas(model, max_groups=5, starts=12)
    assert len(few.orbits) < len(more.orbits)
    assert more.starts.total() == 12 * len(symmetries([1] * 5, shift=True, max_groups=5))
    hits = [[o.hits for o in symmetric_atlas(model, starts=6, seed=s).orbits] for s in (0, 0, 1)]
    assert hits[0] == hits[1] != hits[2]
    seen = []
    symmetric_atlas(model, max_groups=5, starts=12, progress=seen.append)
    assert seen
    with pytest.raises(InputError, match="max_groups"):
        symmetric_atlas(model, max_groups=0)
    with pytest.raises(InputError, match="starts"):
        symmetric_atlas(model, starts=0)


@pytest.mark.slow
def test_a_hundred_classes_merged_in_equal_groups_are_those_of_the_theory():
    """CE-6: f = log(e^b + G - 1) - b + c b (G - 1) / G + log m, e^b = G / c - G + 1."""
    K, decay = 100, 1e-3
    model = balanced(K, decay)
    found = symmetric_atlas(model, max_groups=1, starts=1)
    c = model.c
    for G in (2, 4, 5, 10, 20, 25, 50, 100):
        beta = log(G / c - G + 1)
        value = log(np.exp(beta) + G - 1) - beta + c * beta * (G - 1) / G + log(K // G)
        (orbit,) = [o for o in found.orbits if abs(o.objective - value) < 1e-11]
        assert orbit.rank == G - 1
        m = K // G
        ways = np.prod([comb(100 - i * m, m) for i in range(G)], dtype=object)
        assert orbit.count * int(np.prod(range(1, G + 1), dtype=object)) == ways
        told = verdict(model, embed(orbit.point, model.d)) if G in (2, 10) else None
        assert told is None or told.count.index == orbit.index(99)


@pytest.mark.slow
def test_a_hundred_classes_in_three_groups():
    found = symmetric_atlas(balanced(100, 1e-3), starts=1)
    labels = {orbit.label for orbit in found.orbits}
    wanted = {"merged " + "|".join(map(str, sizes)) for sizes in partitions(100, 3)}
    assert wanted - labels == {"merged 100"}  # the origin
    assert sum(o.curvature(99) is Curvature.STRICT_SADDLE for o in found.orbits) >= 890
    assert [o.label for o in found.orbits if o.index(99) == 0] == ["simplex ETF"]


@pytest.mark.slow
def test_the_focal_window_is_seen_at_fifty_classes():
    """FL-3: K = 50, gamma = 3, c = 1.18710: the origin and the ETF are both strict minima."""
    c = 1.18710
    found = symmetric_atlas(balanced(50, c / 50, Focal(3.0)), max_groups=1, starts=8)
    minima = {o.label: o.objective for o in found.orbits if o.index(49) == 0}
    assert minima["origin"] == pytest.approx(3.68196, abs=1e-5)
    assert minima["simplex ETF"] == pytest.approx(3.64996, abs=1e-5)
    unstable = [o for o in found.orbits if o.label == "simplex ETF" and o.index(49) > 0]
    assert unstable  # the barrier between them


def test_continua_are_refused():
    with pytest.raises(InputError, match="continua"):
        symmetric_atlas(balanced(4, loss=MSE()))
