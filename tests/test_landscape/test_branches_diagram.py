"""Diagrams of branches against a second atlas, growth against the search, and their picture."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from landscape.atlas import Atlas, atlas
from landscape.branches import growth
from landscape.branches.continuation import End, follow
from landscape.branches.curve import Curve
from landscape.branches.diagram import BranchDiagram, branches, orbit_of
from landscape.branches.events import Kind, event_error
from landscape.branches.growth import extend, grow, sprouts
from landscape.plots.bifurcation import draw_bifurcation
from landscape.plots.style import RANK_COLOURS, style
from tests.landscapes import scaled
from ufm import UFM, CrossEntropy, InputError
from ufm.model import norm

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("atlas")]
# Events are claimed to ten digits.
DIGITS = 1e-10


def shared(some, others):
    """How many orbits of one list are in another."""
    return sum(any(other.contains(one.item) for other in others) for one in some)


def test_branches_predict_another_atlas(three):
    diagram = branches(three, 0.03, 1.2)
    assert [(e.kind.name, e.multiplicity) for e in diagram.events] == [
        ("SYMMETRY_BREAKING", 1),
        ("BIRTH", 2),
    ]
    assert diagram.members == ((0,), (1,), (2,), (3,))
    assert (diagram.unlisted, diagram.refused, diagram.lost) == ((), (), ())
    assert [diagram.label(i) for i in range(4)] == [o.label for o in three.orbits]
    above, below = (atlas(scaled(three.model, c)) for c in (0.35, 0.035))
    predicted = diagram.orbits_at(0.35)
    assert shared(predicted, above.orbits) == len(predicted) == len(above.orbits) == 4
    for one, other in zip(predicted, above.orbits, strict=True):
        assert (one.range_index, one.overshoot, one.count) == (
            other.range_index,
            other.overshoot,
            other.count,
        )
    # Below the event at 0.045 an asymmetric orbit has branched off.
    assert diagram.events[0].c == pytest.approx(0.0450817443, abs=DIGITS)
    predicted = diagram.orbits_at(0.035)
    assert shared(predicted, below.orbits) == len(predicted) == 4
    assert len(below.orbits) == 5
    assert len(diagram.orbits_at(1.1)) == 1
    with pytest.raises(InputError, match="follow further"):
        diagram.orbits_at(0.02)


def test_the_missing_orbit_grows_at_the_event(three):
    calls = []
    diagram = branches(three, 0.03, 0.9, progress=calls.append)
    assert [len(d.branches) for d in calls] == [1, 2, 3, 4]
    calls.clear()
    whole = extend(diagram, progress=calls.append)
    assert [len(d.branches) for d in calls] == [5]
    assert whole.events[0].children == (4,)
    assert whole.branches[4].last.end is End.SYMMETRY
    assert whole.members[4] == ()
    assert whole.label(4) == "asymmetric"
    below = atlas(scaled(three.model, 0.035)).orbits
    assert shared(whole.orbits_at(0.035), below) == len(below) == 5


def test_symmetry_broken_twice_with_a_bias(biased, biased_diagram):
    assert len(biased_diagram.branches) == len(biased.orbits) == 6
    for c in (0.2, 0.55, 0.9):
        other = atlas(scaled(biased.model, c)).orbits
        predicted = biased_diagram.orbits_at(c)
        assert shared(predicted, other) == len(predicted) == len(other)


def test_orbits_on_two_sides_of_a_fold_are_one_branch(folding):
    both = follow(folding, 0.05, 0.6).at(folding.model.c)
    orbits = tuple(orbit_of(Curve.of(folding), station) for station in both)
    diagram = branches(Atlas(folding.model, orbits), 0.05, 0.6)
    assert (len(diagram.branches), diagram.members, diagram.unlisted) == (1, ((0, 1),), ())
    alone = branches(Atlas(folding.model, orbits[:1]), 0.05, 0.6)
    assert (alone.members, alone.unlisted, len(alone.orbits)) == (((0, 1),), (1,), 2)
    flat = replace(orbits[0], range_nullity=orbits[0].range_nullity + 1)
    refused = branches(Atlas(folding.model, (flat,)), 0.05, 0.6)
    assert refused.branches == ()
    assert refused.refused[0][0] == 0
    assert "degenerate" in refused.refused[0][1]


# ---- growth


def test_growth_finds_what_the_search_finds(three, biased, monkeypatch):
    calls, seeds = [], []
    generator = np.random.default_rng
    monkeypatch.setattr(
        growth.np.random, "default_rng", lambda seed: seeds.append(seed) or generator(seed)
    )
    for found, seed in ((three, 5), (biased, 6)):
        calls.clear()
        grown = grow(found.model, seed=seed, progress=calls.append)
        assert shared(found.orbits, grown.orbits) == len(grown.orbits) == len(found.orbits)
        assert grown.lost == ()
        assert [len(d.branches) for d in calls] == list(range(2, len(grown.branches) + 1))
    assert seeds == [5, 6]


def test_nothing_grows_above_the_threshold():
    grown = grow(UFM(CrossEntropy(), 3, 2, lambda_W=0.4, lambda_H=0.4))
    assert [o.rank for o in grown.orbits] == [0]
    assert grown.events == ()


def test_sprouts_are_critical_and_off_the_branch(three):
    diagram = branches(three, 0.03, 0.9)
    (breaking,) = diagram.events
    curve = diagram.branches[breaking.parent].curve
    ((child, station),) = sprouts(curve, breaking, np.random.default_rng(3))
    assert child.rank == 1
    assert station.c < breaking.c
    orbit = orbit_of(child, station)
    assert norm(orbit.model.value_and_gradient(orbit.point)[1]) < 1e-12
    assert orbit.label == "asymmetric"


# ---- larger landscapes


@pytest.mark.slow
def test_four_classes_grow_whole():
    found = atlas(UFM(CrossEntropy(), 4, 4, lambda_W=0.02, lambda_H=0.02))
    diagram = branches(found, 0.01, 1.2)
    assert (len(diagram.branches), diagram.lost) == (11, ())
    assert [e.c for e in diagram.events] == pytest.approx([0.0511234340, 1.0], abs=DIGITS)
    assert len(diagram.events[1].children) == 10
    grown = grow(found.model)
    assert shared(found.orbits, grown.orbits) == len(grown.orbits) == 11


@pytest.mark.slow
def test_folds_and_only_folds_are_out_of_reach_of_growth():
    """22 orbits, three pairs of which a fold creates; branches agree with atlases at other c."""
    found = atlas(UFM(CrossEntropy(), counts=(2, 2, 1, 1), d=3, lambda_W=0.02, lambda_H=0.01))
    diagram = branches(found, 0.02, 1.5)
    folds = [e for e in diagram.events if e.kind is Kind.FOLD]
    assert [e.c for e in folds] == pytest.approx([0.2000886556, 0.2985150793, 0.3710143766])
    assert (len(found.orbits), len(diagram.branches)) == (22, 19)
    assert all(event_error(found.model, e) < 1e-9 for e in diagram.events)
    for c, number in ((0.03, 22), (0.22, 17), (0.5, 10)):
        other = atlas(scaled(found.model, c)).orbits
        predicted = diagram.orbits_at(c)
        assert shared(predicted, other) == len(predicted) == len(other) == number
    grown = grow(found.model)
    assert shared(grown.orbits, found.orbits) == len(grown.orbits) == 16
    folded = [found.orbits[i] for e in folds for i in diagram.members[e.parent]]
    assert shared(folded, grown.orbits) == 0
    assert len(folded) == 6


# ---- the picture


def drawn(diagram, width=3.4):
    with style():
        figure = Figure(figsize=(width, width), layout="constrained")
        ax = draw_bifurcation(diagram, figure.subplots(), "title")
        figure.draw_without_rendering()
    return ax


@pytest.mark.parametrize("width", [3.4, 7.0])
def test_the_diagram_shows_every_branch_and_event(biased_diagram, width):
    ax = drawn(biased_diagram, width)
    assert (ax.get_title(loc="left") or ax.get_title()) == "title"
    assert ax.get_xscale() == "log"
    assert ax.get_xlim() == pytest.approx((0.03, 1.3))
    marks = [line for line in ax.lines if line.get_marker() in ("o", "^", "s")]
    assert sorted(line.get_xdata()[0] for line in marks) == pytest.approx(
        [e.c for e in biased_diagram.events]
    )
    curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert {to_hex(line.get_color()) for line in curves} == {
        to_hex(RANK_COLOURS[rank]) for rank in (0, 1, 2)
    }
    assert len(ax.texts) == len(biased_diagram.orbits_at(0.03)) == 6
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    legend = ax.get_legend().get_window_extent()
    assert not legend.overlaps(ax.xaxis.label.get_window_extent())
    entries = [text.get_text() for text in ax.get_legend().get_texts()]
    assert entries[-2:] == ["birth", "symmetry breaking"]


def test_lines_are_thick_where_the_point_is_a_minimum_in_every_dimension(biased_diagram):
    """The certificate is an independent judge: on thick lines it closes, on thin ones never."""
    ax = drawn(biased_diagram)
    curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
    thick = [line for line in curves if line.get_linewidth() > 2]
    assert len(thick) < len(curves)
    spans = sorted((line.get_xdata()[0], line.get_xdata()[-1]) for line in thick)
    births = [e.c for e in biased_diagram.events if e.kind is Kind.BIRTH]
    # Rank 2, then rank 1, then the origin: between them the births of the minimum.
    assert len(spans) == 3
    assert np.ravel(spans)[1:-1] == pytest.approx(np.repeat([births[0], births[-1]], 2), rel=1e-6)
    for c in (0.1, 0.95, 1.2):
        best = biased_diagram.orbits_at(c)[0]
        assert best.certified
        assert (best.range_index, best.overshoot) == (0, 0)
    assert all(np.nanmax(line.get_ydata()) <= 1 + 1e-3 for line in curves)
    for line in thick[:2]:
        np.testing.assert_allclose(
            line.get_ydata()[np.isfinite(line.get_ydata())][:-1], 1, atol=1e-3
        )


def test_another_diagram_is_another_picture(three, biased_diagram):
    one = drawn(branches(three, 0.05, 1.2))
    assert len(one.lines) != len(drawn(biased_diagram).lines)
    empty = BranchDiagram(three.model, 0.05, 1.2, ())
    assert [t for t in drawn(empty).texts] == []
