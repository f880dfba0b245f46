"""The pathway diagram: layers, arrows, thumbnails, and labels that lie clear."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.patches import FancyArrowPatch
from numpy.testing import assert_allclose

from landscape.atlas import atlas
from landscape.flows.connections import connect
from landscape.plots.gram import canonical_order
from landscape.plots.ladder import short_label
from landscape.plots.pathway import draw_pathway
from landscape.plots.style import RED, style
from tests.landscapes import balanced

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("atlas")]


@pytest.mark.slow
def test_labels_of_five_classes_are_clear():
    made = connect(atlas(balanced(5), budget=60), 4)
    for width, height in ((3.4, 4.6), (7.0, 6.0)):
        clear_labels(made, width, height)


def axes(width, height):
    return Figure((width, height), dpi=200, layout="constrained").subplots()


def clear_labels(made, width, height, thumbnails=False):
    """Draw, and check that labels lie inside the axes, on no marker and on no other label."""
    with style():
        ax = axes(width, height)
        assert draw_pathway(made, ax, "title", thumbnails=thumbnails) is ax
        ax.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in ax.texts]
        frame = ax.get_window_extent()
        assert len(boxes) == len(made.nodes)
        assert min(box.x0 for box in boxes) > frame.x0
        assert max(box.x1 for box in boxes) < frame.x1
        boxes += [marks.get_window_extent() for marks in ax.collections]
        boxes += [a.get_window_extent() for a in ax.artists if isinstance(a, AnnotationBbox)]
        boxes.append(ax.get_legend().get_window_extent())
        for i, one in enumerate(boxes):
            for other in boxes[:i]:
                wide = min(one.x1, other.x1) - max(one.x0, other.x0)
                high = min(one.y1, other.y1) - max(one.y0, other.y0)
                assert min(wide, high) <= 0
    return ax


@pytest.mark.parametrize("size", [(3.4, 3.4), (7.0, 4.0)], ids=["column", "page"])
@pytest.mark.parametrize("thumbnails", [False, True])
def test_labels_of_a_pathway_are_clear(small, wide, size, thumbnails):
    for made in (small, wide):
        ax = clear_labels(made, *size, thumbnails=thumbnails)
        pictures = [a for a in ax.artists if isinstance(a, AnnotationBbox)]
        assert len(pictures) == thumbnails * len(made.nodes)
        texts = [text.get_text() for text in ax.texts]
        for i, text in zip(made.nodes, texts, strict=True):
            assert text.startswith(short_label(made.atlas.orbits[i].label))
        arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
        assert len(arrows) == len(made.graph().edges)
        red = [p for p in arrows if p.get_linewidth() == 1.5]
        assert len(red) == len(made.steepest_path) - 1


def test_layers_are_indices_and_the_path_is_red(wide):
    ax = clear_labels(wide, 7.0, 4.0)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "1", "2", "3", "4", "5", "6", "9"]
    places = [text.xy for text in ax.texts]
    ticks = [int(t.get_text()) for t in ax.get_yticklabels()]
    for i, (_, row) in zip(wide.nodes, places, strict=True):
        assert ticks[int(row)] == wide.atlas.orbits[i].index(3)
    red = [p for p in ax.patches if isinstance(p, FancyArrowPatch) and p.get_linewidth() == 1.5]
    assert ax.get_title(loc="left") == "title"
    assert {to_hex(p.get_edgecolor()[:3]) for p in red} == {RED.lower()}
    # Every red arrow begins in the layer of an orbit of the path, right below its marker.
    begun = sorted(round(float(p.get_path().vertices[0][0]), 9) for p in red)
    x = dict(zip(wide.nodes, (column for column, _ in places), strict=True))
    assert begun == sorted(round(x[i], 9) for i in wide.steepest_path[:-1])


def test_numbers_take_the_place_of_labels_that_do_not_fit(wide):
    texts = [text.get_text() for text in clear_labels(wide, 1.9, 3.0).texts]
    assert texts == [str(i) for i in wide.nodes]


def test_classes_are_drawn_in_the_order_of_their_symmetry(four):
    shapes = {}
    for orbit in four.orbits:
        order = canonical_order(orbit)
        assert sorted(order) == [0, 1, 2, 3]
        shapes[orbit.label, orbit.rank] = orbit.Z[np.ix_(order, order)]
    lump = shapes["merged 3|1", 1]
    assert_allclose(lump[0], lump[2], atol=1e-9)
    assert not np.allclose(lump[0], lump[3])
    ring = shapes["4-gon", 2]
    assert_allclose(ring[0, 2], -ring[0, 0], atol=1e-9)  # the opposite corner comes two later
    assert_allclose(ring[0, 1], 0, atol=1e-9)
