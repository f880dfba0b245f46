"""Single branches in c and their events: closed forms, brute-force Hessians, false claims."""

import math
from dataclasses import replace

import numpy as np
import pytest

from landscape.atlas import describe
from landscape.atlas.search import Found
from landscape.branches import continuation
from landscape.branches.continuation import End, follow
from landscape.branches.curve import Curve, hermite
from landscape.branches.diagram import branches
from landscape.branches.events import Kind, event_error, events_on
from landscape.branches.turning import Turn
from proofs_check.claims.merged_classes import balanced_model, bifurcation, merged_point
from tests.helpers import FAMILY, Problem, slow
from tests.landscapes import polished, scaled
from ufm import MSE, UFM, CrossEntropy, Focal, InputError, LabelSmoothing

pytestmark = pytest.mark.xdist_group("atlas")
# Events are claimed to ten digits.
DIGITS = 1e-10


def brute(model, name, rank, c):
    """The merged problem at c in plain NumPy."""
    there = scaled(model, c)
    decays = (float(there.lambda_W), float(there.lambda_H))
    lambda_b = None if model.lambda_b is None else float(model.lambda_b)
    counts = model.counts_tuple
    return Problem.of(FAMILY[name][1], counts, rank, *decays, lambda_b, merged=True)


def counted(problem, station):
    """(gradient norm, negative, zero eigenvalues) by brute force."""
    x = problem.pack(station.point)
    values = np.linalg.eigvalsh(problem.hessian(x))
    zero = 1e-9 * np.abs(values).max()
    gradient = np.linalg.norm(problem.value_and_gradient(x)[1])
    return gradient, int(np.sum(values < -zero)), int(np.sum(np.abs(values) <= zero))


# ---- one branch


def test_the_simplex_branch_is_the_closed_form(three):
    branch = follow(three.orbits[0], 0.02, 1.3)
    assert (branch.rank, branch.first.end, branch.last.end) == (2, End.LIMIT, End.BIRTH)
    assert branch.c[0] == pytest.approx(0.02, rel=1e-15)
    assert (np.diff(branch.c) > 0).all()
    for station in branch.stations:
        best = scaled(three.model.with_dimension(2), station.c).minimiser()
        assert station.objective == pytest.approx(best.value, abs=1e-13)
        np.testing.assert_allclose(station.Z, best.point.W @ best.point.H, atol=1e-9)
    assert branch.last.station.c == pytest.approx(1, abs=DIGITS)
    assert branch.last.station.point.W.shape == (3, 0)
    assert (branch.range_index == 0).all()
    assert (branch.overshoot == 0).all()
    np.testing.assert_allclose(branch.norms, [np.linalg.norm(s.Z) for s in branch.stations])


@pytest.mark.parametrize(
    ("name", "counts", "lambda_b"),
    [
        ("ce", (2, 1, 1), 0.05),
        slow("ls", (1, 1, 1), 0.0),
        slow("focal", (2, 2, 1), None),
        slow("rescaled", (3, 2, 1), None),
    ],
)
def test_every_station_is_critical_with_the_index_of_the_dense_hessian(name, counts, lambda_b):
    model = UFM(
        FAMILY[name][0], counts=counts, d=2, lambda_W=0.03, lambda_H=0.01, lambda_b=lambda_b
    )
    shift = lambda_b == 0
    for rank in (1, 2):
        problem = brute(model, name, rank, model.c)
        point, size = problem.newton(problem.random(6, 2.0))
        assert size < 1e-12
        orbit = polished(model, *point)
        if orbit.rank < rank:
            continue
        branch = follow(orbit, 0.5 * model.c, 3 * model.c)
        assert End.LOST not in (branch.first.end, branch.last.end)
        assert len(branch.stations) > 8
        for station in branch.stations[::3]:
            found = counted(brute(model, name, rank, station.c), station)
            assert found[0] < 1e-11
            assert found[1:] == (station.range_index, rank * (rank - 1) // 2 + shift)
            assert station.gradient_norm < 1e-11
            there = scaled(orbit.model, station.c)
            again = describe(there, Found(station.point, station.objective, found[0]))
            np.testing.assert_allclose(station.couplings, again.couplings / there.sigma, atol=1e-8)
            assert station.overshoot == again.overshoot
            assert branch.stabiliser == again.stabiliser


@pytest.mark.slow
def test_only_c_matters(biased):
    """A-2: other decays of the same product, other counts in the same proportion."""
    model = UFM(CrossEntropy(), counts=(4, 2, 2), d=1, lambda_W=0.005, lambda_H=0.01, lambda_b=0.05)
    for orbit in biased.orbits[1:5:3]:
        W, H, b = orbit.point
        other = scaled(model, orbit.model.c).with_dimension(orbit.rank)
        ratio = (3 / 0.5) ** 0.25
        same = polished(other, ratio * W, H / ratio * np.sqrt(2), b)
        assert same.model.c == pytest.approx(orbit.model.c, rel=1e-14)
        one, two = (follow(o, 0.03, 1.3) for o in (orbit, same))
        for c in (0.03, 0.17, 0.4):
            (left,), (right,) = one.at(c), two.at(c)
            np.testing.assert_allclose(left.couplings, right.couplings, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(math.sqrt(2) * left.Z, right.Z, rtol=1e-7, atol=1e-7)
            assert left.range_index == right.range_index
        first, second = ([e.c for e in events_on(b)] for b in (one, two))
        np.testing.assert_allclose(first, second, rtol=DIGITS)


def test_a_branch_ends_at_both_ends_of_the_interval(three):
    branch = follow(three.orbits[1], 0.03, 0.2)
    assert {branch.first.end, branch.last.end} == {End.LIMIT}
    assert branch.c[[0, -1]].tolist() == pytest.approx([0.03, 0.2], rel=1e-15)
    assert len(branch.at(0.03)) == len(branch.at(0.2)) == len(branch.at(0.1)) == 1
    assert branch.at(0.1)[0].c == pytest.approx(0.1, rel=1e-15)
    assert branch.at(0.21) == branch.at(0.029) == ()
    narrow = follow(three.orbits[1], three.model.c, three.model.c)
    assert {narrow.first.end, narrow.last.end} == {End.LIMIT}
    assert len(narrow.stations) == 1


def test_between_two_stations_a_branch_is_found_again(three):
    branch = follow(three.orbits[1], 0.03, 0.9)
    for one, other in (branch.pieces[3], branch.pieces[-4]):
        middle = math.sqrt(one.c * other.c)
        station = branch.at(middle)[0]
        problem = brute(three.model, "ce", 1, middle)
        assert counted(problem, station)[0] < 1e-13
        assert branch.spans(station)
        assert not branch.spans(replace(station, objective=station.objective + 0.1))
        cubic = hermite(one, other, 0.5)[0]
        assert np.linalg.norm(branch.curve.between(one, other, 0.5).y - cubic) < 1e-3


# ---- events against closed forms


@pytest.mark.parametrize(
    ("K", "G", "delta", "ratio"), [(6, 3, 0.0, 1.0), (8, 4, 0.0, 0.5), (6, 3, 0.05, 2.0)]
)
def test_merged_classes_break_their_symmetry_where_ce_6_says(K, G, delta, ratio):
    expected = bifurcation(G, delta)
    model = balanced_model(delta, K, G - 1, 1, 1.1 * expected, ratio)
    point = merged_point(model, G)
    orbit = describe(model.merge().model, Found(point, float(model.objective(point)), 0.0))
    branch = follow(orbit, 0.8 * expected, 1.3 * expected)
    (event,) = [e for e in events_on(branch, 7) if e.kind is Kind.SYMMETRY_BREAKING]
    assert event.c == pytest.approx(expected, abs=DIGITS)
    # CE-6: the third block has multiplicity K - G.
    assert (event.multiplicity, event.parent, event.joins) == (K - G, 7, False)
    assert "positive as c grows" in event.detail
    assert event_error(model, event) < 1e-9
    values = branch.range_index
    assert values[0] - values[-1] == K - G


def test_the_constant_of_ce_6_is_found_to_ten_digits():
    model = balanced_model(0.0, 6, 2, 1, 0.15, 1.0)
    point = merged_point(model, 3)
    orbit = describe(model.merge().model, Found(point, float(model.objective(point)), 0.0))
    (event,) = events_on(follow(orbit, 0.12, 0.16))
    assert event.c == pytest.approx(0.1305506509, abs=DIGITS)


@pytest.mark.parametrize(
    ("loss", "counts", "expected"),
    [
        (CrossEntropy(), (1, 1, 1), {1.0: 2}),
        slow(LabelSmoothing(0.1), (2, 2, 2, 2), {0.9: 3}),
        # CE-5: s K sqrt(n) at K = 4, gamma = 2.
        slow(Focal(2.0), (1, 1, 1, 1), {0.75**2 + 2 * 0.75 * math.log(4) / 4: 3}),
        # MSE-3: class k is dropped at N^2 lambda_W lambda_H = n_k, so c^2 = K n_k / N.
        (MSE(), (3, 2, 1), {math.sqrt(1.5): 1, 1.0: 1, math.sqrt(0.5): 1}),
    ],
)
def test_births_at_the_origin(loss, counts, expected):
    model = UFM(loss, counts=counts, d=1, lambda_W=0.02, lambda_H=0.01)
    K = len(counts)
    origin = polished(model, np.zeros((K, 1)), np.zeros((1, K)))
    branch = follow(origin, 0.02, 1.5)
    events = events_on(branch)
    assert {e.kind for e in events} == {Kind.BIRTH}
    assert [e.c for e in events] == pytest.approx(sorted(expected), abs=DIGITS)
    assert [e.multiplicity for e in events] == [expected[c] for c in sorted(expected)]
    assert all("fall below sigma as c grows" in e.detail for e in events)
    assert all(event_error(model, e) < 1e-12 for e in events)
    assert len(set(branch.objective)) == 1


def test_births_at_the_origin_of_unequal_classes_with_a_bias(biased, biased_diagram):
    """Couplings of the constant logits, in plain NumPy."""
    origin = next(o for o in biased.orbits if not o.rank)
    p = np.exp(origin.point.b) / np.exp(origin.point.b).sum()
    roots = np.sqrt([2.0, 1, 1])
    G = (p[:, None] - np.eye(3)) * roots / 4
    expected = np.linalg.svd(G, compute_uv=False)[:2] * math.sqrt(12)
    found = [e.c for e in biased_diagram.events if biased_diagram.branches[e.parent].rank == 0]
    assert found == pytest.approx(sorted(expected), abs=DIGITS)


# ---- a fold, by brute force


def test_a_fold_is_one(folding):
    model = folding.model
    branch = follow(folding, 0.05, 0.6)
    assert [end.end for end in (branch.first, branch.last)] == [End.LIMIT] * 2
    ((place, turn),) = branch.folds
    (event,) = [e for e in events_on(branch) if e.kind is Kind.FOLD]
    top = event.c
    assert event.station is turn.station
    assert top == pytest.approx(0.3710143766, abs=DIGITS)
    assert event_error(model, event) < 1e-9
    assert event.detail == "largest c of two orbits, range index 1 and 2"
    # dc/ds = 0, and c falls on both sides.
    assert abs(turn.station.tangent[-1]) < 1e-9
    assert max(branch.c) < top
    assert branch.c[place] < turn.before.c < top > turn.after.c > branch.c[place + 1]
    # One eigenvalue more is zero than symmetry explains (none, in one dimension), and one only.
    problem = brute(model, "ce", 1, top)
    assert counted(problem, turn.station)[1:] == (1, 1)
    # The index differs by one between the two sides.
    below = branch.at(0.999 * top)
    assert sorted(s.range_index for s in below) == [1, 2]
    for station in below:
        negative = counted(brute(model, "ce", 1, station.c), station)[1]
        assert negative == station.range_index
    # Two points approach like the root of the distance in c.
    gaps = [
        np.linalg.norm(np.subtract(*(s.Z for s in branch.at((1 - e) * top)))) for e in (1e-6, 4e-6)
    ]
    assert gaps[1] / gaps[0] == pytest.approx(2, abs=1e-3)
    assert branch.at((1 + 1e-6) * top) == ()


@pytest.mark.parametrize(("beyond", "expected"), [(-1e-4, 2), (1e-4, 0)])
def test_newton_finds_both_orbits_below_a_fold_and_none_above(folding, beyond, expected):
    """A scan with another method: how many critical points lie within 0.1 of the fold."""
    turn = follow(folding, 0.05, 0.6).folds[0][1].station
    problem = brute(folding.model, "ce", 1, (1 + beyond) * turn.c)
    center, rng = problem.pack(turn.point), np.random.default_rng(0)
    found = []
    for _ in range(16):
        point, size = problem.newton(center + 0.03 * rng.standard_normal(len(center)), 60)
        near = np.linalg.norm(problem.pack(point) - center) < 0.1
        if size < 1e-12 and near and all(np.abs(point.W - W).max() > 1e-6 for W in found):
            found.append(point.W)
    assert len(found) == expected


# ---- ends


def test_ends_meet_the_events_of_other_branches(biased_diagram):
    """A child's end (a turn of c) and its parent's event (a zero of an eigenvalue) agree."""
    kinds = {End.SYMMETRY: Kind.SYMMETRY_BREAKING, End.BIRTH: Kind.BIRTH}
    ends = [(i, end) for i, b in enumerate(biased_diagram.branches) for end in (b.first, b.last)]
    seen = [end.end for _, end in ends]
    assert (seen.count(End.SYMMETRY), seen.count(End.BIRTH), seen.count(End.LOST)) == (2, 3, 0)
    for number, end in ends:
        if end.end not in kinds:
            continue
        (event,) = [e for e in biased_diagram.events if number in e.children]
        assert event.kind is kinds[end.end]
        assert event.parent != number
        # A turn is found to the root of what a zero is.
        assert end.station.c == pytest.approx(event.c, rel=1e-8)
        assert event_error(biased_diagram.model, event) < 1e-9


def test_c_is_even_in_arclength_where_a_branch_is_born(three):
    """Extrapolated from the child alone: c = c* + a u^2 for couplings of size u."""
    branch = follow(three.orbits[2], 0.05, 1.2)
    u, c = branch.norms[-8:], branch.c[-8:]
    assert np.polynomial.Polynomial.fit(u, c, 5)(0.0) == pytest.approx(1, abs=1e-6)


def test_a_mirror_image_is_not_traced(biased, biased_diagram, monkeypatch):
    number = next(i for i, b in enumerate(biased_diagram.branches) if b.last.end is End.SYMMETRY)
    orbit = biased.orbits[biased_diagram.members[number][0]]
    once = follow(orbit, 0.03, 1.3)
    monkeypatch.setattr(Turn, "is_fold", True)
    twice = follow(orbit, 0.03, 1.3)
    assert twice.last.end is End.CLOSED
    assert len(twice.folds) == 1
    assert len(once.at(0.1)) == 1


def test_wrong_claims_are_refused(three, monkeypatch):
    best = three.orbits[0]
    with pytest.raises(InputError, match="c of the orbit"):
        follow(best, 0.07, 1.2)
    with pytest.raises(InputError, match="c of the atlas"):
        branches(three, 0.01, 0.05)
    # One rotation in the plane: no null direction, or two, is a wrong prediction.
    for wrong in (0, 2):
        with pytest.raises(InputError, match="symmetry explains"):
            follow(replace(best, range_nullity=wrong, range_predicted=wrong), 0.05, 1.2)
    curve = Curve.of(best)
    start = curve.at_fixed_c(curve.coordinates(best.point), math.log(best.model.c))
    assert np.abs(start.eigenvalues).min() > 0.1
    blind = replace(curve, nullity=0).at_fixed_c(start.y[:-1], start.log_c)
    assert np.abs(blind.eigenvalues).min() < 1e-12
    away = best.point._replace(W=best.point.W + 3.0)
    with pytest.raises(InputError, match="critical point"):
        follow(replace(best, point=away), 0.05, 1.2)
    monkeypatch.setattr(continuation, "MAX_STATIONS", 6)
    lost = follow(best, 0.02, 1.2)
    assert (lost.first.end, lost.first.reason) == (End.LOST, "too many stations")
    monkeypatch.setattr(continuation, "DEVIATION", -1.0)
    assert follow(best, 0.02, 1.2).last.reason == "no step converges"


def test_a_perturbed_event_is_rejected(biased_diagram, folding):
    model = biased_diagram.model
    fold = next(e for e in events_on(follow(folding, 0.05, 0.6)) if e.kind is Kind.FOLD)
    for owner, event in [(folding.model, fold), *((model, e) for e in biased_diagram.events)]:
        assert event_error(owner, event) < 1e-9
        moved = replace(event, c=event.c * (1 + 1e-6))
        assert event_error(owner, moved) > 3e-8
        assert event_error(owner, replace(event, multiplicity=event.multiplicity + 1)) > 1e-3
        if event.kind is not Kind.FOLD:
            beside = biased_diagram.branches[event.parent].at(event.c * (1 + 1e-5))[0]
            near = replace(event, c=beside.c, station=beside)
            assert 1e-7 < event_error(owner, near) < 1e-3
