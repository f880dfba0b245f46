"""Diagrams of an atlas: what is drawn is what the atlas says, and no text covers another."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from landscape.atlas import Round, atlas
from landscape.curvature.hessian import dense_hessian
from landscape.plots.coverage import draw_coverage
from landscape.plots.geometry import Geometry, draw_geometry, geometry
from landscape.plots.gram import canonical_order, draw_gram, draw_gram_sheet
from landscape.plots.spectrum_strips import Strip, draw_strips, strips
from landscape.plots.style import BLUE, RED, style
from tests.drawing import boxes, overlapping, panel, within
from tests.helpers import slow
from tests.landscapes import balanced
from ufm import UFM, CrossEntropy, InputError, Point

pytestmark = pytest.mark.xdist_group("atlas")


@pytest.fixture(scope="module")
def patient():
    """A search in many small rounds."""
    return atlas(balanced(4), batch=16, seed=1)


@pytest.fixture(scope="module")
def uneven():
    """Unequal counts, unequal decays and a bias."""
    model = UFM(CrossEntropy(), 3, 3, counts=(2, 1, 1), lambda_W=0.02, lambda_H=0.01, lambda_b=0.05)
    return atlas(model)


def representative(orbit, rng):
    """Another member of an orbit: classes relabelled within equal counts, features rotated."""
    counts = np.asarray(orbit.model.counts)
    p = np.arange(len(counts))
    for count in np.unique(counts):
        members = np.flatnonzero(counts == count)
        p[members] = rng.permutation(members)
    W, H, b = orbit.point
    Q = np.linalg.qr(rng.normal(size=(W.shape[1],) * 2))[0]
    return replace(orbit, point=Point(W[p] @ Q, Q.T @ H[:, p], None if b is None else b[p]))


# ---- strips


@pytest.mark.parametrize(("name", "d"), [("three", 4), ("three", 1), ("uneven", 5)])
def test_strips_are_the_dense_spectrum_over_sigma(name, d, request):
    found = request.getfixturevalue(name)
    rows = strips(found, d)
    orbits = [orbit for orbit in found.orbits if orbit.rank <= d]
    assert len(rows) == len(orbits)
    for row, orbit in zip(rows, orbits, strict=True):
        W, H, b = orbit.point
        extra = d - W.shape[1]
        point = Point(np.pad(W, ((0, 0), (0, extra))), np.pad(H, ((0, extra), (0, 0))), b)
        model = orbit.model.with_dimension(d)
        dense = np.linalg.eigvalsh(dense_hessian(model, point)) / model.sigma
        levels = [*row.negative, (0.0, row.zeros), *row.positive]
        ours = np.repeat([x for x, _ in levels], [m for _, m in levels])
        assert len(ours) == len(dense)
        # Points are solved to 1e-12, rounding of the dense Hessian is 1e-14 of its radius.
        assert np.abs(ours - dense).max() < 1e-9 * np.abs(dense).max()
        assert row.index == orbit.index(d) == int(np.sum(dense < -1e-6))
        assert row.zeros == orbit.nullity(d) == int(np.sum(np.abs(dense) <= 1e-6))
    # Negative control: in another dimension the rows differ.
    assert [row.index for row in strips(found, d + 1)] != [row.index for row in rows]


def test_a_strip_is_drawn_as_it_is():
    rows = [
        Strip("low", 0.1, (), ((1.0, 4), (8.0, 1)), 3),
        Strip("high", 0.2, ((-6.0, 2), (-0.5, 1)), ((2.0, 16),), 0),
    ]
    ax = draw_strips(rows, panel(), "heading")
    negative, positive = ax.collections[:2]
    down = {tuple(np.asarray(s).round(9).ravel()) for s in negative.get_segments()}
    assert {(x, y) for x, y, *_ in down} == {(-6.0, 1 - 0.23), (-0.5, 1 - 0.14)}
    tall = {x: top - low for x, low, _, top in down}
    up = {tuple(np.asarray(s).round(9).ravel()) for s in positive.get_segments()}
    tall |= {x: top - low for x, low, _, top in up}
    assert {(x, round((low + top) / 2)) for x, low, _, top in up} == {(1, 0), (8, 0), (2, 1)}
    # Taller for each doubling, until the row is full.
    assert tall[-0.5] == pytest.approx(tall[8.0])
    assert tall[-0.5] < tall[-6.0] < tall[1.0] < tall[2.0] <= 0.9
    assert to_hex(negative.get_color()[0]) == RED.lower()
    assert to_hex(positive.get_color()[0]) == BLUE.lower()
    assert negative.get_linewidth()[0] > positive.get_linewidth()[0]
    (rings,) = (line for line in ax.lines if line.get_marker() == "o")
    assert rings.get_xydata().tolist() == [[0, 0]]
    assert rings.get_markerfacecolor() == "white"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["low", "high"]
    texts = [text.get_text() for text in ax.texts]
    assert texts[:3] == ["index/null", "0/3", "3/0"]
    assert sorted(texts[3:]) == ["16", "2", "3", "4"]  # multiplicities above one
    assert ax.get_title(loc="left") + ax.get_title() == "heading"
    with pytest.raises(InputError, match="strip"):
        draw_strips([], panel())


@pytest.mark.parametrize(
    ("name", "d", "width"), [("three", 3, 7.0), ("four", 4, 3.4), slow("five", 5, 3.4)]
)
def test_numbers_on_strips_do_not_overlap(name, d, width, request):
    rows = strips(request.getfixturevalue(name), d)
    with style():
        ax = draw_strips(rows, panel(width, 1 + 0.14 * len(rows)))
        assert overlapping(boxes([*ax.texts, *ax.get_yticklabels()])) == 0
        numbers = [text for text in ax.texts if text.get_text().isdigit()]
        assert len(numbers) > 2 * len(rows) * (width / 7)


def test_multiplicities_without_room_are_left_out():
    near = ((1.0, 5), (1.01, 7), (30.0, 9))
    ax = draw_strips([Strip("a", 0.0, (), near, 0)], panel())
    assert [text.get_text() for text in ax.texts if text.get_text().isdigit()] == ["7", "9"]


# ---- Gram images


@pytest.mark.parametrize("name", ["three", "four", slow("five"), "uneven"])
def test_every_representative_of_an_orbit_has_the_same_canonical_matrix(name, request):
    found, rng = request.getfixturevalue(name), np.random.default_rng(5)
    changed = 0
    for orbit in found.orbits:
        p = canonical_order(orbit)
        assert sorted(p) == list(range(len(p)))
        Z = orbit.Z[p][:, p]
        for _ in range(4):
            other = representative(orbit, rng)
            q = canonical_order(other)
            assert np.abs(other.Z[q][:, q] - Z).max() < 1e-7 * (1 + np.abs(Z).max())
            changed += np.abs(other.Z - orbit.Z).max() > 1e-3
    assert changed > 0  # the relabelled matrices themselves do differ


@pytest.mark.parametrize("name", ["four", slow("five")])
def test_merged_classes_are_adjacent_and_groups_go_by_size_and_norm(name, request):
    for orbit in request.getfixturevalue(name).orbits:
        p = canonical_order(orbit)
        Z = orbit.Z[p][:, p]
        same = np.array([np.abs(Z - Z[k]).max(axis=1) < 1e-6 for k in range(len(Z))])
        same &= np.array([np.abs(Z.T - Z[:, k]).max(axis=1) < 1e-6 for k in range(len(Z))])
        sizes, norms = same.sum(axis=1), np.linalg.norm(Z, axis=1)
        assert np.all(np.diff(sizes) <= 0)
        equal = np.diff(sizes) == 0
        assert np.all(np.diff(norms)[equal] < 1e-6)
        for row in same:
            members = np.flatnonzero(row)
            assert members[-1] - members[0] == len(members) - 1


def test_classes_that_may_be_swapped_do_not_multiply_the_search(three):
    """Eleven equal classes have 4e7 orders; one of them is enough."""
    K = 11
    model = UFM(CrossEntropy(), K, K, lambda_W=0.02, lambda_H=0.02)
    orbit = replace(three.orbits[0], model=model, point=Point(np.eye(K), np.eye(K) - 1 / K))
    assert sorted(canonical_order(orbit)) == list(range(K))


def test_a_gram_image_shows_z_its_signs_and_its_groups(four):
    (orbit,) = (o for o in four.orbits if o.label == "merged 2|1|1")
    p = canonical_order(orbit)
    Z = orbit.Z[p][:, p]
    ax = draw_gram(orbit, panel())
    (image,) = ax.images
    assert np.array_equal(image.get_array(), Z)
    assert image.get_clim() == (-np.abs(Z).max(), np.abs(Z).max())
    dashes, upright, level = ax.collections
    cells = {tuple(np.mean(s, axis=0).round().astype(int)) for s in dashes.get_segments()}
    assert cells == {(k, j) for j in range(4) for k in range(4) if Z[j, k] < -1e-6}
    assert [segment[0][0] for segment in upright.get_segments()] == [1.5, 2.5]
    assert [segment[0][1] for segment in level.get_segments()] == [1.5, 2.5]
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    # White is zero and the ends differ in brightness.
    shades = image.cmap([0.0, 0.5, 1.0])[:, :3] @ [0.3, 0.6, 0.1]
    assert shades[1] > 0.99
    assert shades[0] - shades[2] > 0.2
    assert draw_gram(orbit, panel(), scale=9.0).images[0].get_clim() == (-9, 9)
    assert draw_gram(four.orbits[-1], panel()).images[0].get_clim() == (-1, 1)  # the origin


@pytest.mark.parametrize(("name", "width"), [("three", 3.4), ("four", 7.0), slow("five", 3.4)])
def test_a_sheet_shows_every_orbit_once_and_its_headings_apart(name, width, request):
    orbits = request.getfixturevalue(name).orbits
    with style():
        ax = draw_gram_sheet(orbits, panel(width, 1.5 + 0.15 * len(orbits)))
        *images, key = ax.child_axes
        assert len(images) == len(orbits)
        largest = max(np.abs(orbit.Z).max() for orbit in orbits)
        for image, orbit in zip(images, orbits, strict=True):
            p = canonical_order(orbit)
            assert np.array_equal(image.images[0].get_array(), orbit.Z[p][:, p])
            assert image.images[0].get_clim() == (-largest, largest)
            assert image.get_title().endswith(f"{orbit.objective:.3f}")
        headings = boxes([image.title for image in images])
        frames = [image.get_window_extent() for image in (*images, key)]
        assert overlapping(headings) == 0
        assert overlapping(frames) == 0
        assert overlapping(headings, frames) == 0
        assert within([*headings, *frames], ax)
        assert min(image.title.get_fontsize() for image in images) >= 4.9


def test_an_empty_sheet_is_refused():
    with pytest.raises(InputError, match="orbit"):
        draw_gram_sheet([], panel())


# ---- geometry


@pytest.mark.parametrize("name", ["three", "four", slow("five"), "uneven"])
def test_vectors_are_balanced_give_z_and_do_not_depend_on_the_representative(name, request):
    found, rng = request.getfixturevalue(name), np.random.default_rng(6)
    for orbit in (o for o in found.orbits if 1 <= o.rank <= 3):
        data = geometry(orbit)
        p = canonical_order(orbit)
        w, h = data.classifiers, data.features
        assert np.abs(w @ h.T - orbit.Z[p][:, p]).max() < 1e-12
        moments = w.T @ w
        assert np.abs(moments - h.T @ h).max() < 1e-9
        assert np.abs(moments - np.diag(np.diag(moments))).max() < 1e-9
        assert np.all(np.diff(np.diag(moments)) < 1e-5)
        for _ in range(3):
            other = geometry(representative(orbit, rng))
            assert np.abs(other.classifiers - w).max() < 1e-5
            assert np.abs(other.features - h).max() < 1e-5
            assert other.names == data.names


def test_class_numbers_keep_their_sample_counts(uneven):
    for orbit in (o for o in uneven.orbits if o.rank):
        p = canonical_order(orbit)
        counts = np.asarray(orbit.model.counts)
        names = np.array(geometry(orbit).names)
        assert sorted(names) == [1, 2, 3]
        assert np.array_equal(counts[names - 1], counts[p])


def test_a_plane_picture_has_a_vector_for_each_class_and_a_hull(four):
    (square,) = (o for o in four.orbits if o.label == "4-gon")
    data = geometry(square)
    ax = draw_geometry(data, panel(), "square")
    angles = np.sort(np.arctan2(*data.classifiers.T[::-1]))
    assert np.diff(angles) == pytest.approx(np.pi / 2)
    lines = [line.get_xydata() for line in ax.lines]
    edges, spokes, (dots, rings) = lines[:4], lines[4:12], lines[12:]
    assert {tuple(np.abs(edge[1] - edge[0]).round(6)) for edge in edges} == {
        tuple(np.abs(data.classifiers[0] - data.classifiers[1]).round(6))
    }
    ends = np.array([spoke[1] for spoke in spokes])
    assert np.array_equal(ends, np.concatenate([data.classifiers, data.features]))
    assert all(not spoke[0].any() for spoke in spokes)
    assert np.array_equal(dots, data.classifiers)
    assert np.array_equal(rings, data.features)
    assert sorted(text.get_text() for text in ax.texts) == ["1", "2", "3", "4"]
    assert ax.get_aspect() == 1


def test_merged_classes_share_a_label_and_distant_features_have_their_own():
    corner = np.array([[1.0, 0.0], [1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]])
    near = Geometry(corner, 1.02 * corner, (1, 2, 3, 4))
    assert [t.get_text() for t in draw_geometry(near, panel()).texts] == ["1,2", "3", "4"]
    moved = corner + np.array([[0, 0], [0, 0], [0.5, 0], [0, 0]])
    ax = draw_geometry(Geometry(corner, moved, (1, 2, 3, 4)), panel())
    assert [text.get_text() for text in ax.texts] == ["1,2", "3", "4", "3"]


def test_a_line_picture_joins_the_values_of_a_class(three):
    (merged,) = (o for o in three.orbits if o.label == "merged 2|1")
    data = geometry(merged)
    ax = draw_geometry(data, panel(3.4, 1.6))
    for k, line in enumerate(ax.lines[:3]):
        expected = [[data.classifiers[k, 0], 1.0], [data.features[k, 0], 0.0]]
        assert line.get_xydata().tolist() == expected
    assert [text.get_text() for text in ax.texts] == ["1,2", "3"]
    assert data.classifiers[0, 0] > 0 > data.classifiers[2, 0]


def test_a_tetrahedron_is_regular_and_has_six_edges(four):
    data = geometry(four.orbits[0])
    w = data.classifiers / np.linalg.norm(data.classifiers, axis=1, keepdims=True)
    assert np.abs(w @ w.T - (4 * np.eye(4) - 1) / 3).max() < 1e-9
    ax = draw_geometry(data, panel(subplot_kw={"projection": "3d"}))
    styles = [line.get_linestyle() for line in ax.lines]
    assert len(styles) == 6 + 8 + 2
    # The apex is up and the one edge behind is dotted.
    assert data.classifiers[0] == pytest.approx([data.longest, 0, 0], abs=1e-9)
    assert np.asarray(ax.lines[-2].get_data_3d())[:, 0] == pytest.approx([0, 0, data.longest])
    assert styles[:6].count(":") == 1
    assert sorted(text.get_text() for text in ax.texts) == ["1", "2", "3", "4"]


def test_a_cube_has_no_diagonals_and_three_hidden_edges():
    corners = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
    data = Geometry(corners, corners, tuple(range(1, 9)))
    ax = draw_geometry(data, panel(subplot_kw={"projection": "3d"}))
    edges = ax.lines[:-18]
    assert len(edges) == 12
    lengths = [np.linalg.norm(np.diff(line.get_data_3d(), axis=1)) for line in edges]
    assert lengths == pytest.approx([2.0] * 12)
    assert [line.get_linestyle() for line in edges].count(":") == 3


@pytest.mark.parametrize("name", ["three", "four", slow("five")])
def test_class_numbers_do_not_overlap(name, request):
    for orbit in request.getfixturevalue(name).orbits[::4]:
        if 1 <= orbit.rank <= 3:
            data, kind = geometry(orbit), {"projection": "3d"} if orbit.rank == 3 else {}
            with style():
                ax = draw_geometry(data, panel(3.4, 3.2, subplot_kw=kind))
                assert overlapping(boxes(ax.texts)) == 0
                assert within(boxes(ax.texts), ax)


def test_geometry_refuses_other_ranks_and_the_wrong_axes(three):
    for orbit in (replace(three.orbits[0], rank=4), three.orbits[-1]):
        with pytest.raises(InputError, match="dimension 1 to 3"):
            geometry(orbit)
    plane, solid = np.eye(4, 2), np.eye(4, 3)
    with pytest.raises(InputError, match="3d"):
        draw_geometry(Geometry(solid, solid, (1, 2, 3, 4)), panel())
    with pytest.raises(InputError, match="plane"):
        draw_geometry(Geometry(plane, plane, (1, 2, 3, 4)), panel(subplot_kw={"projection": "3d"}))


# ---- coverage


def test_coverage_draws_history_and_defects():
    history = [
        Round(10, 2, {1: 3, 2: -4, 3: 1}, 0.5),
        Round(20, 4, {1: 1, 2: 2, 3: 1}, 0.25),
        Round(30, 5, {1: 1, 2: 1, 3: 1}, 0.0),
    ]
    ax = draw_coverage(history, panel(7, 3.5), "search")
    steps, dots = ax.lines
    assert steps.get_xydata().tolist() == [[0, 0], [10, 2], [20, 4], [30, 5]]
    assert steps.get_drawstyle() == "steps-post"
    assert dots.get_xydata().tolist() == [[10, 2], [20, 4], [30, 5]]
    (mass,) = (other for other in ax.figure.axes if other is not ax and other.lines)
    assert mass.lines[0].get_xydata().tolist() == [[10, 0.5], [20, 0.25], [30, 0.0]]
    # Zero is at one height on both scales.
    heights = [axes.transData.transform((0, 0))[1] for axes in (ax, mass)]
    assert heights[0] == pytest.approx(heights[1])
    (strip,) = ax.child_axes
    right, more, less = (line.get_xydata().tolist() for line in strip.lines)
    assert more == [[10, 1], [20, 2]]
    assert less == [[10, 2]]
    assert len(right) == 9 - 3
    assert len({line.get_marker() for line in strip.lines}) == 3
    assert sorted(text.get_text() for text in strip.texts) == ["+1", "+2", "−5"]
    assert strip.get_xlim() == ax.get_xlim()
    # The strip stays below the curves.
    assert strip.get_window_extent().y1 < heights[0]


@pytest.mark.parametrize("name", ["three", slow("patient")])
def test_coverage_of_one_round_and_of_many(name, request):
    found = request.getfixturevalue(name)
    assert (len(found.history) > 2) == (name == "patient")
    with style():
        ax = draw_coverage(found.history, panel(3.4, 2.8))
        (strip,) = ax.child_axes
        last = found.history[-1]
        assert ax.lines[0].get_xydata()[-1].tolist() == [last.searches, last.orbits]
        defects = sum(v != 1 for r in found.history for v in r.checksum.values())
        assert len(strip.lines[1].get_xdata()) + len(strip.lines[2].get_xdata()) == defects
        texts = [*ax.texts, *strip.texts, *strip.get_yticklabels(), strip.yaxis.label]
        assert overlapping(boxes(texts)) == 0


def test_numbers_are_left_out_where_rounds_are_dense():
    def written(count):
        history = [Round(10 * i, i, {1: 0, 2: 3}, 0.1) for i in range(1, count + 1)]
        return len(draw_coverage(history, panel()).child_axes[0].texts)

    assert written(3) == 6
    assert written(40) == 2  # the last round has the margin


def test_a_coverage_curve_needs_a_round():
    with pytest.raises(InputError, match="round"):
        draw_coverage([], panel())
