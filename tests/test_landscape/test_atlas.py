"""Whole landscapes: known lists of orbits, dense Hessians, and lists with an orbit taken out."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from landscape.atlas import Failure, Status, atlas, distinct, orbit_size, search, stabiliser_order
from landscape.atlas.engines import eliminated_search
from landscape.atlas.starts import blind_starts, gaussian_starts
from landscape.curvature.hessian import dense_hessian
from landscape.verdict import Curvature
from proofs_check.specimens import embed
from tests.helpers import slow
from ufm import MSE, UFM, CrossEntropy, Focal, InputError, LabelSmoothing, RescaledMSE, lift

pytestmark = pytest.mark.xdist_group("atlas")


def balanced(K, loss=None):
    return UFM(loss or CrossEntropy(), K, K, lambda_W=0.02, lambda_H=0.02)


def test_four_classes_have_eleven_orbits(four):
    assert len(four.orbits) == 11
    assert sum(orbit.count for orbit in four.orbits) == 64
    assert four.checksum == {1: 1, 2: 1, 3: 1, 4: 1}
    assert four.status is Status.SATURATED
    assert four.orbits[0].label == "simplex ETF"
    assert four.orbits[0].certified
    assert not any(orbit.certified for orbit in four.orbits[1:])
    assert four.defects == ()


def test_history_tells_how_the_list_grew(four):
    assert [r.searches for r in four.history] == sorted({r.searches for r in four.history})
    assert four.history[0].searches >= 2 * 144  # a batch in each stratum but the highest
    last = four.history[-1]
    assert (last.searches, last.orbits) == (four.starts.total(), 11)
    assert (last.checksum, last.missing_mass) == (four.checksum, four.missing_mass)


def test_a_cancelling_pair_is_seen_by_the_inequalities_alone(four):
    """Two orbits of 12 matrices, rank 1, overshoot 2, indices 0 and 1: their sums cancel."""
    pair = [o for o in four.orbits if o.count == 12 and o.rank == 1]
    assert sorted((o.range_index, o.overshoot) for o in pair) == [(0, 2), (1, 2)]
    short = replace(four, orbits=tuple(o for o in four.orbits if o not in pair))
    assert set(short.checksum.values()) == {1}
    assert not all(short.inequalities.values())
    assert short.status is Status.OPEN
    assert all(four.inequalities.values())


def test_equal_energy_and_spectrum_are_two_orbits(four):
    """A-3: two orbits agree in objective and singular values of Z, and differ in index."""
    pairs = [
        (a, b)
        for a in four.orbits
        for b in four.orbits
        if a.range_index < b.range_index and abs(a.objective - b.objective) < 1e-12
    ]
    assert len(pairs) == 1
    first, second = (np.linalg.svd(orbit.Z, compute_uv=False) for orbit in pairs[0])
    np.testing.assert_allclose(first, second, atol=1e-10)
    assert [orbit.range_index for orbit in pairs[0]] == [1, 2]


def test_taking_out_any_orbit_is_seen(four):
    for i in range(len(four.orbits)):
        short = replace(four, orbits=four.orbits[:i] + four.orbits[i + 1 :])
        missing = four.orbits[i]
        assert short.status is Status.OPEN
        told = short.defects[0]
        if missing.rank:  # the origin shows at d = 2 only: e(3, 1) = 0
            assert short.checksum[missing.rank] != 1
            assert (told.rank, told.size) == (missing.rank, missing.count)


@pytest.mark.slow
def test_taking_out_any_orbit_of_five_classes_is_seen(five):
    assert len(five.orbits) == 26
    for i, missing in enumerate(five.orbits):
        short = replace(five, orbits=five.orbits[:i] + five.orbits[i + 1 :])
        assert short.status is Status.OPEN, missing.label
        if missing.rank:
            told = short.defects[0]
            assert (told.rank, told.size) == (missing.rank, missing.count)


def test_a_fold_pair_taken_out_is_not_seen():
    """Counts (2, 2, 1, 1) just below the fold at c = 0.37101: two orbits that pass when left out.

    Above the fold they do not exist, and the list without them is right (test_branches_events.py
    locates the fold).
    """
    below, above = (
        atlas(UFM(CrossEntropy(), counts=(2, 2, 1, 1), d=3, lambda_W=x * 0.02, lambda_H=x * 0.01))
        for x in (5.34, 5.36)  # c = 0.0692820 x
    )
    assert below.model.c < 0.3710143766 < above.model.c
    assert len(below.orbits) == len(above.orbits) + 2
    near = [o for o in below.orbits if abs(o.range_smallest or 1) < 2e-2 and o.rank == 1]
    pairs = [
        (one, other)
        for one in near
        for other in near
        if abs(one.objective - other.objective) < 1e-4 and other.range_index == one.range_index + 1
    ]
    assert pairs
    for one, other in pairs:
        assert (one.count, one.rank, one.overshoot) == (other.count, other.rank, other.overshoot)
        kept = tuple(o for o in below.orbits if o not in (one, other))
        short = replace(below, orbits=kept)
        assert set(short.checksum.values()) == {1}
        assert all(short.inequalities.values())
        assert short.defects == ()


@pytest.mark.parametrize(("K", "d"), [(3, 2), (3, 4), (4, 3), (4, 5), slow(5, 6)])
def test_index_nullity_and_smallest_are_those_of_the_dense_hessian(request, K, d):
    found = request.getfixturevalue({3: "three", 4: "four", 5: "five"}[K])
    full = UFM(CrossEntropy(), K, d, 2, lambda_W=0.02 / np.sqrt(2), lambda_H=0.02 / np.sqrt(2))
    ratio = 2**0.25  # same c: c = K sqrt(n) sigma, and |H| in merged columns is unchanged
    assert full.c == pytest.approx(found.model.c)
    for orbit in found.orbits[:: 1 if K < 5 else 3]:
        if orbit.rank > d:
            continue
        # The same Z at n = 2 and decays divided by sqrt(2): merged logits are Z / sqrt(2).
        point = embed(orbit.point, max(d, orbit.point.W.shape[1]))
        wide = point._replace(W=ratio * point.W, H=ratio * point.H)
        values = np.linalg.eigvalsh(dense_hessian(full, lift(full, wide)))
        assert int(np.sum(values < -1e-9)) == orbit.index(d), orbit.label
        # Within-class differences add positive eigenvalues only, for a convex loss.
        assert int(np.sum(np.abs(values) <= 1e-9)) == orbit.nullity(d), orbit.label
        same = UFM(CrossEntropy(), K, d, lambda_W=0.02, lambda_H=0.02)
        smallest = np.linalg.eigvalsh(dense_hessian(same, point))[0]
        assert orbit.smallest(d) == pytest.approx(smallest, abs=1e-10)


def test_every_orbit_but_the_first_is_a_strict_saddle(four):
    for d in (3, 4, 7):
        kinds = [orbit.curvature(d) for orbit in four.orbits]
        assert kinds[0] is Curvature.MORSE_BOTT_MINIMUM
        assert set(kinds[1:]) == {Curvature.STRICT_SADDLE}
    with pytest.raises(InputError, match="needs d >= 3"):
        four.orbits[0].index(2)


# (counts, loss, lambda_W, lambda_H, lambda_b) -> orbits and matrices Z, of THEORY AT-4
KNOWN = {
    "ce (1,1,1)": ((1, 1, 1), CrossEntropy(), 0.02, 0.02, None, 4, 8),
    "ce (2,1,1)": ((2, 1, 1), CrossEntropy(), 0.02, 0.02, None, 5, 6),
    "ce (2,1,1) bias": ((2, 1, 1), CrossEntropy(), 0.02, 0.02, 0.05, 6, 8),
    "ce (3,2,1)": ((3, 2, 1), CrossEntropy(), 0.02, 0.01, None, 4, 4),
    "mse (3,2,1)": ((3, 2, 1), MSE(), 0.02, 0.02, None, 8, 8),
}


@pytest.mark.parametrize("name", [slow(x) if x == "ce (2,1,1) bias" else x for x in KNOWN])
def test_known_landscapes(name):
    counts, loss, lw, lh, lb, orbits, matrices = KNOWN[name]
    model = UFM(loss, counts=counts, d=3, lambda_W=lw, lambda_H=lh, lambda_b=lb)
    found = atlas(model)
    assert len(found.orbits) == orbits
    assert sum(orbit.count for orbit in found.orbits) == matrices
    assert found.status is (Status.COMPLETE if isinstance(loss, MSE) else Status.SATURATED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "orbits"),
    [
        (balanced(5), 26),
        (balanced(6), 70),
        (UFM(CrossEntropy(), counts=(2, 2, 1, 1), d=4, lambda_W=0.02, lambda_H=0.01), 22),
        (UFM(RescaledMSE(3.0, 2.0), counts=(3, 2, 1), d=3, lambda_W=0.02, lambda_H=0.01), 28),
        (UFM(CrossEntropy(), counts=(3, 2, 2, 1), d=4, lambda_W=0.02, lambda_H=0.02), 14),
        (UFM(CrossEntropy(), 4, 4, lambda_W=0.03, lambda_H=0.01, lambda_b=0.0), 11),
        (balanced(4, LabelSmoothing(0.1)), 11),
    ],
    ids=["ce 5", "ce 6", "ce 2211", "rescaled 321", "ce 3221", "ce 4 free bias", "ls 4"],
)
def test_larger_landscapes(model, orbits):
    found = atlas(model, budget=400)
    assert len(found.orbits) == orbits
    assert set(found.checksum.values()) == {1}
    assert found.status is Status.SATURATED


@pytest.mark.slow
def test_options_matter():
    model = balanced(3)
    rounds = []
    quick = atlas(model, until=Status.CHECKSUM_OK, batch=16, progress=rounds.append)
    assert rounds[-1] is quick
    assert 16 <= quick.history[0].searches < 17 + 4 * len(quick.orbits)  # paths, too
    other = atlas(model, until=Status.CHECKSUM_OK, batch=16, seed=1)
    assert [o.hits for o in other.orbits] != [o.hits for o in quick.orbits]
    stopped = atlas(balanced(5), budget=0.0, batch=8)
    assert stopped.status is Status.OPEN
    assert stopped.defects
    again = atlas(model, batch=16, budget=0.0, known=[orbit.point for orbit in quick.orbits])
    assert len(again.orbits) == 4


def test_a_list_is_saturated_only_if_searches_agree_and_descents_end_in_it(four):
    assert four.status is Status.SATURATED
    assert replace(four, confirmed=0).status is Status.CHECKSUM_OK
    assert replace(four, confirmed=10).status is Status.CHECKSUM_OK

    def hits(rank, *changed):
        """The orbits of a rank with other hits: (all, eliminated) for each in turn."""
        given = iter(changed)
        orbits = [
            replace(o, hits=(h := next(given))[0], hits_eliminated=h[1]) if o.rank == rank else o
            for o in four.orbits
        ]
        return replace(four, orbits=tuple(orbits))

    assert [sum(o.rank == r for o in four.orbits) for r in (1, 2, 3)] == [5, 4, 1]
    # Fifty converged searches of the rank, no fewer, whatever the others have.
    assert hits(2, (20, 9), (10, 9), (10, 9), (10, 9)).status is Status.SATURATED
    assert hits(2, (19, 9), (10, 9), (10, 9), (10, 9)).status is Status.CHECKSUM_OK
    # One orbit met once asks for eighty.
    assert hits(2, (1, 1), (30, 9), (24, 9), (25, 9)).status is Status.SATURATED
    assert hits(2, (1, 1), (29, 9), (23, 9), (25, 9)).status is Status.CHECKSUM_OK
    # Each has one of its own and they share two: 1 * 1 / (2 + 1) < 1/2; and 2 * 1 / (1 + 1).
    assert hits(2, (30, 0), (30, 30), (40, 9), (40, 9)).status is Status.SATURATED
    assert hits(2, (30, 0), (30, 30), (40, 0), (40, 9)).status is Status.CHECKSUM_OK
    assert not hits(2, (30, 0), (30, 0), (30, 0), (30, 0)).agreed(2)  # one search alone
    assert four.missing_mass_bound > 0


def test_the_highest_stratum_of_a_convex_loss_needs_no_search(four):
    """AT-1: one orbit or none, once a global minimiser is known; of this stratum and loss only."""
    assert [four.exhausted(rank) for rank in (1, 2, 3)] == [False, False, True]
    assert 3 not in four.starts
    assert four.missing_mass_bound == max(map(four.missing_mass_bound_of, (1, 2)))
    unknown = replace(four, orbits=tuple(replace(o, certified=False) for o in four.orbits))
    assert not unknown.exhausted(3)
    assert unknown.status is Status.CHECKSUM_OK
    flat = replace(four, orbits=tuple(replace(o, range_nullity=9) for o in four.orbits))
    assert not flat.exhausted(3)
    assert not any(map(atlas(balanced(3, Focal(2.0)), budget=0.0).exhausted, (1, 2)))


@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (4, 2, 2, 1)])
def test_searches_of_the_highest_stratum_find_one_orbit(counts):
    """Blind searches in all variables and below, whatever AT-1 says."""
    model = UFM(CrossEntropy(), counts=counts, d=3, lambda_W=0.02, lambda_H=0.01).merge().model
    start = blind_starts(np.random.default_rng(5), 96, 4, 3)
    found = eliminated_search(model, start).found
    kinds = model.kinds
    assert len(found) > 20
    items = [(x.objective, x.point.W @ x.point.H, None) for x in found]
    assert len(distinct(items, kinds)) == 1
    assert orbit_size(kinds, stabiliser_order(items[0][1], kinds)) == 1  # one matrix, too
    lower = model.with_dimension(2)
    start = blind_starts(np.random.default_rng(5), 96, 4, 2)
    items = [
        (x.objective, x.point.W @ x.point.H, None) for x in eliminated_search(lower, start).found
    ]
    assert len(distinct(items, kinds)) > 2


def test_a_search_without_closed_forms_meets_the_minimiser_by_itself():
    blind = atlas(balanced(3), closed_form=False)
    assert blind.starts[2] > 0
    assert (len(blind.orbits), blind.status) == (4, Status.SATURATED)
    assert blind.orbits[0].hits > 0
    assert blind.exhausted(2)


def test_above_the_threshold_only_the_origin_exists():
    found = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.4, lambda_H=0.4))
    assert [orbit.label for orbit in found.orbits] == ["origin"]
    assert found.status is Status.SATURATED
    assert found.orbits[0].curvature(3) is Curvature.MORSE_BOTT_MINIMUM


@pytest.mark.parametrize(
    ("off", "kind"),
    [
        (1e-6, "MORSE_BOTT_MINIMUM"),
        (1e-8, "UNDECIDED"),
        (-1e-8, "UNDECIDED"),
        (-1e-6, "STRICT_SADDLE"),
    ],
)
def test_the_origin_near_its_threshold(off, kind):
    decay = (1 + off) / 3
    found = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=decay, lambda_H=decay), budget=0.0)
    origin = next(orbit for orbit in found.orbits if orbit.rank == 0)
    assert origin.curvature(3).name == kind


def test_failures_are_counted_and_nothing_else_is_returned():
    model = balanced(3).with_dimension(2).merge().model
    starts = gaussian_starts(np.random.default_rng(3), 33, 3, 2)
    harvest = search(model, starts)
    assert harvest.starts == len(harvest.found) + sum(harvest.failures.values()) == 33
    assert harvest.failures[Failure.LOWER_STRATUM] > 0
    for found in harvest.found:
        assert np.linalg.matrix_rank(found.point.W @ found.point.H, tol=1e-6) == 2
        assert found.gradient_norm <= 1e-12
    broken = jax.tree.map(lambda x: np.nan * x, starts)
    assert search(model, broken).failures == {Failure.DIVERGED: 33}


@pytest.mark.parametrize(
    ("model", "words"),
    [(balanced(13), "K <= 12"), (balanced(3, MSE()), "continua")],
)
def test_models_beyond_the_search_are_refused(model, words):
    with pytest.raises(InputError, match=words):
        atlas(model, closed_form=False)
