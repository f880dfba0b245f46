"""Paths from known points: down from saddles, and to what random starts do not meet."""

import numpy as np
import pytest

from landscape.atlas import pathways
from landscape.atlas.eliminated import Eliminated
from landscape.atlas.engines import eliminated_search, stacked
from landscape.atlas.pathways import below, beside
from landscape.atlas.record import whole
from landscape.atlas.starts import blind_starts
from ufm import UFM, CrossEntropy

pytestmark = pytest.mark.xdist_group("atlas")
# Rank one: 19 orbits with these objectives, three of which a thousand random starts may all miss.
HARD = UFM(
    CrossEntropy(),
    counts=(5, 5, 5, 3),
    d=4,
    lambda_W=0.0006590801151877937,
    lambda_H=0.00044666717253719486,
)
MISSED = [0.71784438, 0.79470929]


def test_descents_end_below_their_saddles(four):
    saddles = [o for o in four.orbits if o.rank == 2 and o.range_index]
    model, rng = four.model.with_dimension(2), np.random.default_rng(0)
    for saddle in saddles:
        points = below(model, [saddle.point], rng)
        assert len(points) == 2
        for point in points:
            assert float(model.objective(point)) < saddle.objective - 1e-6
            assert eliminated_search(model, stacked([point])).starts == 1
    assert len(below(model, [saddle.point for saddle in saddles], rng)) == 2 * len(saddles)
    assert below(model, [], rng) == []
    best = four.orbits[0]
    assert below(four.model.with_dimension(3), [best.point], rng) == []  # a minimum


def test_paths_lead_to_what_random_starts_do_not_meet():
    model = whole(HARD).with_dimension(1)
    random = eliminated_search(model, blind_starts(np.random.default_rng(5), 200, 4, 1))
    known = {round(found.objective, 8): found.point for found in random.found}
    assert len(known) == 17
    ends = beside(model, list(known.values()))
    found = eliminated_search(model, stacked(ends)).found
    assert sorted({round(one.objective, 8) for one in found} - set(known)) == MISSED


def test_paths_go_to_a_neighbouring_index(four):
    """Down by one from index two; up by one where there is something: a path may miss it."""
    model = four.model.with_dimension(1)
    problem = Eliminated(model)
    ends = {}

    def indices(points):
        return [_negative(hessian) for hessian in problem.state(stacked(points)).hessian]

    for orbit in four.orbits:
        if orbit.rank == 1:
            (start,) = indices([orbit.point])
            ends.setdefault(start, []).append(indices(beside(model, [orbit.point])))
    assert all(len(after) == 2 for index in (0, 1) for after in ends[index])
    assert [after[:2] for after in ends[2]] == [[1, 1], [1, 1]]
    assert any(1 in after for after in ends[0])
    assert all(3 in after[2:] for after in ends[2])
    assert beside(model, []) == []


def test_paths_that_run_away_end_at_finite_points(monkeypatch):
    """Steps so long that the logits overflow are not taken."""
    monkeypatch.setattr(pathways, "LONGEST", 1e308)
    monkeypatch.setattr(pathways, "newton_step", lambda vectors, weights, slope: 1e200 + 0 * slope)
    model = whole(HARD).with_dimension(1)
    found = eliminated_search(model, blind_starts(np.random.default_rng(5), 40, 4, 1)).found
    ends = beside(model, [one.point for one in found])
    assert ends
    assert all(np.isfinite(end.W).all() for end in ends)


def _negative(hessian):
    values = np.linalg.eigvalsh(hessian)
    return int(np.sum(values < -1e-8 * np.abs(values).max()))
