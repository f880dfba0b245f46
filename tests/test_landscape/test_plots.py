"""Every diagram on small records: same axes back, the right artists, and other data, other picture.

The records themselves are held against what they claim: predicted against measured.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from experiments.cli.atlas_figures import tall
from landscape.atlas import atlas
from landscape.plots import (
    LOSS_COLOURS,
    DescentRecord,
    LadderPoint,
    SliceRecord,
    SpectrumRecord,
    TransitionRecord,
    WindowRecord,
    descent_record,
    draw_descent,
    draw_ladder,
    draw_slice_line,
    draw_slice_plane,
    draw_spectrum,
    draw_transition,
    draw_window,
    ladder_points,
    loss_colour,
    slice_record,
    spectrum_record,
    style,
    transition_record,
    window_record,
)
from landscape.plots.ladder import marker_area
from landscape.plots.placement import Spot, place_labels
from landscape.plots.slice import at_dimension, orbit_slice
from landscape.plots.style import RANK_COLOURS
from landscape.solvers.solve import solve
from tests.drawing import boxes, overlapping, panel, within
from tests.helpers import slow
from ufm import MSE, UFM, CrossEntropy, Focal, InputError, LabelSmoothing, Point
from ufm.frames import merged_code
from ufm.spectrum import Level


@cache
def atlas_of(K):
    """The atlas of balanced cross entropy."""
    return atlas(UFM(CrossEntropy(), K, K, lambda_W=0.02, lambda_H=0.02))


def spectrum(*values: float) -> SpectrumRecord:
    blocks = ("complement V, rotation", "within-class, inside row(W)", "frame angles")
    levels = tuple(Level(x, 2, block) for x, block in zip(values, blocks, strict=False))
    return SpectrumRecord("s", levels, tuple(np.repeat(values, 2).tolist()))


def ladder(*indices: int) -> tuple[LadderPoint, ...]:
    return tuple(LadderPoint(0.1 * i, i, i % 3, i + 1, f"code {i}") for i in indices)


def parabolas(down: float) -> SliceRecord:
    t = np.linspace(-1, 1, 11)
    heights = 1 - 0.5 * down * t**2, 1 + t**2
    plane = heights[0][None, :] + heights[1][:, None] - 1
    return SliceRecord("p", 1.0, t, *heights, -down, 2.0, plane, "scaling", -0.5)


def descent(rate: float) -> list[DescentRecord]:
    t = np.linspace(0, 10, 21)
    return [
        DescentRecord(name, t, {"NC1": np.exp(-rate * k * t)}, {"NC1": rate * k})
        for k, name in enumerate(("ce", "mse"), start=1)
    ]


def transition(threshold: float) -> list[TransitionRecord]:
    c = np.linspace(0.1, 1.2, 5) * threshold
    gap = np.maximum(1 - c / threshold, 0)
    return [TransitionRecord(name, threshold, c, gap, c[1:3], gap[1:3]) for name in ("ce", "mse")]


def window(start: float) -> WindowRecord:
    gap = np.linspace(0.1, 3, 30)
    branch = start + 0.2 - 0.1 * (gap - 1) ** 2
    c = start + np.linspace(-0.05, 0.25, 4)
    return WindowRecord("focal(3)", 50, start, start + 0.1, branch, gap, c, 0 * c, 0 * c + 1)


# name -> (draw, one record, another record)
DIAGRAMS: dict[str, tuple[Callable[..., Axes], object, object]] = {
    "spectrum": (draw_spectrum, spectrum(-1.0, 0.5, 2.0), spectrum(0.0, 0.5, 3.0)),
    "ladder": (draw_ladder, ladder(0, 2, 3, 6), ladder(0, 2, 3, 9)),
    "slice line": (draw_slice_line, parabolas(1.0), parabolas(2.0)),
    "slice plane": (draw_slice_plane, parabolas(1.0), parabolas(2.0)),
    "descent": (draw_descent, descent(1.0), descent(0.5)),
    "transition": (draw_transition, transition(1.0), transition(6.0)),
    "window": (draw_window, window(1.1), window(1.2)),
}


def axes() -> Axes:
    return Figure().subplots()


def drawn(ax: Axes) -> list[object]:
    """What a reader sees: line data, texts, filled areas."""
    lines = [np.asarray(line.get_xydata()).round(9).tolist() for line in ax.lines]
    texts = [text.get_text() for text in ax.texts]
    legend = ax.get_legend()
    if legend is not None:
        texts += [text.get_text() for text in legend.get_texts()]
    areas = [
        [path.vertices.round(9).tolist() for path in collection.get_paths()]
        for collection in ax.collections
    ]
    return [lines, texts, areas]


@pytest.mark.parametrize("name", DIAGRAMS)
def test_a_diagram_fills_the_axes_it_was_given(name: str) -> None:
    draw, data, _ = DIAGRAMS[name]
    with style():
        ax = axes()
        assert draw(data, ax) is ax
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert ax.lines or ax.collections
        ax.get_figure().canvas.draw()  # nothing in it fails late


@pytest.mark.parametrize("name", DIAGRAMS)
def test_other_data_give_another_picture_and_the_same_data_the_same(name: str) -> None:
    draw, data, other = DIAGRAMS[name]
    first, again, changed = (drawn(draw(x, axes())) for x in (data, data, other))
    assert first == again
    assert first != changed


def test_a_spectrum_has_a_stem_per_block_a_ring_per_level_and_its_index() -> None:
    ax = draw_spectrum(spectrum(-1.0, 0.5, 2.0), axes())
    rings = [line for line in ax.lines if line.get_marker() == "o"]
    stems = [line for line in ax.lines if line.get_linewidth() == 3]
    assert len(rings) == 1
    assert np.allclose(rings[0].get_xydata(), [(-1.0, 2), (0.5, 2), (2.0, 2)])
    assert len(stems) == 3
    assert "index 2" in [text.get_text() for text in ax.texts]
    positive = draw_spectrum(spectrum(0.0, 0.5, 3.0), axes())
    assert not any("index" in text.get_text() for text in positive.texts)


def test_stems_that_share_an_eigenvalue_are_stacked_up_to_the_total() -> None:
    levels = (Level(1.0, 3, "complement V"), Level(1.0, 4, "within-class, inside row(W)"))
    ax = draw_spectrum(SpectrumRecord("s", levels, (1.0,) * 7), axes())
    tops = [line.get_ydata()[1] for line in ax.lines if line.get_linewidth() == 3]
    assert max(tops) == 7
    # One eigenvalue more than the multiplicities add up to is no agreement.
    assert SpectrumRecord("s", levels, (1.0,) * 8).error == np.inf


def test_every_point_of_a_ladder_is_labelled_and_ranks_differ() -> None:
    points = ladder(0, 2, 3, 6)
    ax = draw_ladder(points, axes())
    texts = {text.get_text() for text in ax.texts}
    assert texts == {"code 0", "code 2 ×3", "code 3 ×4", "code 6 ×7"}
    assert len(ax.collections) == 2  # ranks 0 and 2
    assert len({to_hex(markers.get_facecolor()[0]) for markers in ax.collections}) == 2
    assert len({markers.get_paths()[0].vertices.tobytes() for markers in ax.collections}) == 2


def test_a_ladder_puts_every_orbit_in_its_place_with_its_rank_and_size():
    points = ladder_points(atlas_of(4), 4)
    ax = draw_ladder(points, panel())
    assert len(ax.collections) == 4  # ranks 0 to 3
    drawn = {}
    for rank, markers in enumerate(ax.collections):
        assert to_hex(markers.get_facecolor()[0]) == RANK_COLOURS[rank].lower()
        for place, size in zip(markers.get_offsets(), markers.get_sizes(), strict=True):
            drawn[tuple(np.asarray(place).round(9))] = (rank, float(size))
    expected = {
        (float(p.index), round(p.objective, 9)): (p.rank, marker_area(p.count)) for p in points
    }
    assert drawn == expected
    # Area grows with the logarithm of the count.
    steps = np.diff([marker_area(count) for count in (1, 5, 25, 125)])
    assert steps == pytest.approx(steps[0])
    assert steps[0] > 0


def crowd(count, seed=0):
    """Rungs as dense as those of six classes."""
    rng = np.random.default_rng(seed)
    index = np.sort(rng.integers(0, 30, count))
    heights = 0.4 + 0.045 * index + 0.05 * rng.random(count)
    sizes = rng.choice([6, 15, 60, 180, 360], count)
    rows = zip(heights, index, sizes, strict=True)
    return [LadderPoint(float(f), int(i), 4 - i // 7, int(m), "2|1|1|1|1") for f, i, m in rows]


def labels(ax):
    """Texts of a ladder, without the words below it."""
    return [text for text in ax.texts if text.get_gid() != "notes"]


@pytest.mark.parametrize(("K", "width"), [(3, 3.4), (4, 7.0), slow(5, 3.4), (6, 3.4)])
def test_labels_of_a_ladder_cover_nothing(K, width):
    points = ladder_points(atlas_of(K), K) if K < 6 else crowd(50)
    with style():
        high = tall(len(points), width) * width if K == 5 else 0.6 * width + 1
        ax = draw_ladder(points, panel(width, high), "a title")
        found = boxes(labels(ax))
        # Those of five classes have no room inside, so they stand in a column beside the axes.
        assert within(found, ax) == (K != 5)
        assert all(ax.figure.bbox.padded(1).contains(*box.max) for box in found)
        assert overlapping(found) == 0
        assert overlapping(found, [ax.get_legend().get_window_extent()]) == 0
        unit = ax.figure.dpi / 72
        for markers in ax.collections:
            sizes = markers.get_sizes()
            for (x, y), size in zip(markers.get_offsets(), sizes, strict=True):
                centre = ax.transData.transform((x, y))
                # The corners of a marker's box may be cut, its inner half may not.
                reach = 0.25 * unit * np.sqrt(size)
                for box in found:
                    near = np.clip(centre, (box.x0, box.y0), (box.x1, box.y1))
                    assert np.abs(near - centre).max() > reach


@pytest.mark.slow
def test_the_check_for_overlaps_sees_labels_that_are_written_beside_their_markers():
    ax = panel()
    for point in ladder_points(atlas_of(5), 5):
        ax.text(point.index, point.objective, point.label, fontsize=6.5)
    ax.set_xlim(-2, 22)
    ax.set_ylim(0.3, 1.7)
    assert overlapping(boxes(ax.texts)) > 5


def test_a_crowded_ladder_labels_the_ends_and_the_most_symmetric_and_says_how_many():
    points = [LadderPoint(1 + 1e-6 * i, 5, 1, 60, "some") for i in range(50)]
    points[35] = replace(points[35], count=1, label="rare")
    points.insert(0, LadderPoint(0.1, 0, 2, 60, "lowest"))
    points.append(LadderPoint(2.0, 10, 0, 60, "highest"))
    ax = draw_ladder(points, panel())
    texts = [text.get_text() for text in labels(ax)]
    (note,) = (text for text in texts if text.endswith("labelled"))
    assert note == f"{len(texts) - 1} of 52 labelled"
    assert 5 < len(texts) - 1 < 30  # by objective alone the rare one would come too late
    assert {"rare", "lowest ×60", "highest ×60"} < set(texts)
    # With room for all there is no note.
    assert len(labels(draw_ladder(crowd(8), panel(7, 5)))) == 8


def test_labels_keep_clear_of_texts_and_strokes_that_are_named():
    def place(**options):
        ax = panel(2, 2)
        spot = Spot(0.5, 0.5, 3, "label")
        avoid = [ax.text(0.56, 0.45, "taken")] if options.pop("text", False) else []
        (label,) = place_labels([spot], ax, 8, avoid, **options)
        return boxes([label])[0], [Text.get_window_extent(text) for text in avoid], ax

    free = place()[0]
    box, (taken,), _ = place(text=True)
    assert free.overlaps(taken)
    assert not box.overlaps(taken)
    stroke = [((0.55, 0.0), (0.55, 1.0))]
    box, _, ax = place(strokes=stroke)
    x = ax.transData.transform((0.55, 0.5))[0]
    assert free.x0 < x < free.x1
    assert not box.x0 < x < box.x1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_label_without_a_line_stands_at_its_own_marker(seed):
    """Markers close together: a label that is about as near to another one has a line back."""
    rng = np.random.default_rng(seed)
    xy = np.concatenate([rng.uniform(0.2, 0.8, (10, 2))] * 2)
    xy[10:] += rng.uniform(0.05, 0.1, (10, 2))
    ax = panel(3, 3)
    labels = place_labels([Spot(x, y, 3, f"order {i}") for i, (x, y) in enumerate(xy)], ax, 6.5)
    assert len(labels) > 15
    pixels, alone = ax.transData.transform(xy), 0
    for label, box in zip(labels, boxes(labels), strict=True):
        own = int(label.get_text().split()[1])
        nearest = np.clip(pixels, (box.x0, box.y0), (box.x1, box.y1))
        distances = np.linalg.norm(nearest - pixels, axis=1)
        if not label.arrow_patch.get_visible():
            alone += 1
            assert distances[own] < 0.8 * np.delete(distances, own).min(), label.get_text()
    assert alone > 10


def test_an_empty_ladder_is_refused():
    with pytest.raises(InputError, match="rung"):
        draw_ladder([], panel())


@pytest.mark.parametrize("name", ["descent", "transition"])
def test_a_loss_has_its_colour(name: str) -> None:
    draw, data, _ = DIAGRAMS[name]
    colours = {to_hex(line.get_color()) for line in draw(data, axes()).lines}
    assert {LOSS_COLOURS["ce"].lower(), LOSS_COLOURS["mse"].lower()} <= colours
    assert LOSS_COLOURS["focal"].lower() not in colours
    assert len(set(LOSS_COLOURS.values())) == len(LOSS_COLOURS)
    assert loss_colour("my loss") not in LOSS_COLOURS.values()


def saddle(model: UFM) -> Point:
    code = 2 * merged_code((2, 2), model.d)
    return solve(model, Point(code, code.T), method="critical").point


def test_a_spectrum_record_agrees_with_the_dense_hessian_and_shows_when_it_does_not() -> None:
    model = UFM(CrossEntropy(), 4, 4, lambda_W=0.02, lambda_H=0.02)
    best = spectrum_record(model)
    assert best.error < 1e-13
    assert best.index == 0
    down = spectrum_record(model, saddle(model))
    assert down.error < 1e-12
    assert down.index == 8
    # Negative control: a shifted prediction is seen.
    moved = tuple(x._replace(value=x.value + 1e-3) for x in best.levels)
    assert SpectrumRecord("", moved, best.measured).error > 1e-4


def test_the_ladder_is_the_atlas_in_one_dimension() -> None:
    found = atlas_of(3)
    points = ladder_points(found, 3)
    # AT-4: four orbits, eight matrices Z; the ETF alone has index 0.
    assert len(points) == 4
    assert sum(point.count for point in points) == 8
    assert [point.index == 0 for point in points] == [True, False, False, False]
    assert [point.label for point in points] == ["simplex ETF", "mirror 1|1|1", "2|1", "origin"]
    assert points[-1].objective == pytest.approx(np.log(3))
    assert points[-1].index == 6  # (K - 1) d
    narrow = ladder_points(found, 1)
    assert [point.rank for point in narrow] == [1, 1, 0]
    assert narrow[-1].index == 2


@pytest.mark.slow
def test_a_slice_falls_along_the_escape_direction_as_the_curvature_says() -> None:
    model = UFM(CrossEntropy(), 4, 4, lambda_W=0.02, lambda_H=0.02)
    point = saddle(model)
    data = slice_record(model, point, reach=1e-2, cells=21)
    assert data.escape_curvature < 0 < data.second_curvature
    for heights, curvature in (
        (data.escape, data.escape_curvature),
        (data.second, data.second_curvature),
    ):
        measured = 2 * np.polyfit(data.times, heights - data.value, 2)[0]
        assert measured == pytest.approx(curvature, rel=1e-3)
    assert data.plane[10] == pytest.approx(data.escape, abs=1e-14)  # the middle row is the line
    wide = slice_record(model, point, cells=21)
    assert wide.origin is not None
    assert wide.origin == pytest.approx(-float(np.sqrt(sum(np.sum(x**2) for x in point[:2]))))
    with pytest.raises(InputError, match="needs a saddle"):
        slice_record(model, model.minimiser().point)


@pytest.mark.parametrize("d", [slow(2), 4])
def test_a_slice_goes_through_every_saddle_along_its_smallest_curvature(d):
    for orbit in atlas_of(3).orbits:
        if not orbit.index(d):
            with pytest.raises(InputError, match="saddle"):
                orbit_slice(orbit, d)
            continue
        data = orbit_slice(orbit, d, cells=21)
        assert data.escape_curvature == pytest.approx(orbit.smallest(d), rel=1e-9)
        assert data.value == pytest.approx(orbit.objective, abs=1e-12)
        assert data.escape.min() < data.value
        assert data.plane.shape == (21, 21)
        assert data.title.endswith(f"index {orbit.index(d)}, d = {d}")


@pytest.mark.parametrize(
    "model",
    [
        UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02),
        UFM(CrossEntropy(), 3, 3, counts=(2, 1, 1), lambda_W=0.02, lambda_H=0.01, lambda_b=0.05),
    ],
    ids=["balanced", "uneven"],
)
def test_an_orbit_is_critical_in_every_dimension_that_holds_it(model):
    found = atlas(model)
    for orbit in found.orbits:
        for d in (max(orbit.rank, 1), 7):
            inside, point = at_dimension(orbit, d)
            assert point.W.shape == (3, d)
            value, gradient = inside.value_and_gradient(point)
            assert value == pytest.approx(orbit.objective, abs=1e-14)
            parts = (gradient.W, gradient.H, 0.0 if gradient.b is None else gradient.b)
            assert max(np.abs(part).max() for part in parts) < 1e-9
    with pytest.raises(InputError, match="d >= 2"):
        at_dimension(found.orbits[0], 1)


@pytest.mark.parametrize("loss", [CrossEntropy(), MSE()], ids=["ce", "mse"])
def test_descent_has_the_predicted_rates(loss) -> None:
    model = UFM(loss, 4, 6, 2, lambda_W=0.04, lambda_H=0.04)
    data = descent_record(model, key=jax.random.key(1), snapshots=60, stride=15)
    for metric in ("NC1", "NC2", "NC3"):
        values = data.values[metric]
        last = np.argmin(values > 1e-13) or len(values)  # below it a metric is rounding
        fit = (values < 1e2 * values[last - 1]) & (np.arange(len(values)) < last)
        seen = -np.polyfit(data.times[fit], np.log(values[fit]), 1)[0]
        assert seen == pytest.approx(data.rates[metric], rel=0.03), metric
        # Negative control: a rate that is off by a tenth would be noticed.
        assert seen != pytest.approx(1.1 * data.rates[metric], rel=0.03)


def test_the_solver_lies_on_the_transition_curve_on_both_sides() -> None:
    loss = LabelSmoothing(0.1)
    shares = (0.3, 0.9, 1.1)
    data = transition_record(loss, 3, 3, measured_at=shares, curve=4)
    assert data.threshold == pytest.approx(0.9)
    c = data.measured_c[:2]
    assert data.measured_gap[:2] == pytest.approx(np.log(3 / (c + 0.1) - 2), abs=1e-9)
    assert abs(data.measured_gap[2]) < 1e-9
    assert data.theory_gap[data.theory_c == data.threshold] == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_focal_loss_has_two_ends_inside_its_window_and_one_outside() -> None:
    data = window_record(Focal(3.0), 50, cells=7)
    inside = (data.measured_c > data.origin) & (data.measured_c < data.collapse)
    below = data.measured_c < data.origin
    assert inside.any()
    assert below.any()
    assert np.all(np.abs(data.from_origin[inside]) < 1e-6)
    assert np.all(data.from_frame[inside] > 1)
    assert data.from_origin[below] == pytest.approx(data.from_frame[below])
    predicted = np.interp(
        -data.measured_c[inside], -data.branch_c[data.fold :], data.branch_gap[data.fold :]
    )
    assert data.from_frame[inside] == pytest.approx(predicted, abs=1e-3)
