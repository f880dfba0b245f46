"""Pictures for slides: plane, arrangements, staircase, spectrum along c, cosines, film."""

from functools import cache
from math import comb

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from landscape.atlas import atlas
from landscape.curvature.hessian import dense_hessian
from landscape.flows import one_by_one, trajectory
from landscape.plots import (
    cosines,
    decay_record,
    descent_film,
    draw_along_decay,
    draw_arrangements,
    draw_cosines,
    draw_coverage,
    draw_plane,
    draw_staircase,
    draw_surface,
    ladder_points,
    plane_record,
    style,
)
from landscape.plots.animation import frames
from landscape.plots.coverage import accumulation
from landscape.plots.ladder import LadderPoint, draw_ladder, explained
from landscape.plots.plane import turned
from landscape.plots.slice import at_dimension
from landscape.plots.staircase import visited
from landscape.plots.style import spread
from tests.drawing import boxes, overlapping, panel
from ufm import UFM, CrossEntropy, LabelSmoothing, Point
from ufm.errors import InputError

D = 3


@cache
def four():
    return atlas(UFM(CrossEntropy(), 4, 4, lambda_W=0.02, lambda_H=0.02))


@cache
def descent():
    model = four().model.with_dimension(D)
    return trajectory(model, one_by_one(model), four().orbits[0].objective)


def space():
    return Figure(figsize=(3.4, 3.0)).add_subplot(projection="3d")


def test_the_plane_holds_the_three_points_at_their_heights():
    best, saddle, *_, origin = four().orbits
    data = plane_record(saddle, best, D, cells=161)
    for orbit, (x, y, height) in zip((origin, saddle, best), data.places.values(), strict=True):
        assert height == pytest.approx(orbit.objective, abs=1e-12)
        i, j = np.abs(data.y - y).argmin(), np.abs(data.x - x).argmin()
        # Half a cell off at a critical point: second order in 0.03.
        assert data.heights[i, j] == pytest.approx(height, abs=2e-3)
    # The distances in space are those on the paper.
    near = turned(at_dimension(saddle, D)[1], at_dimension(best, D)[1])
    a, b = (p for p in (near, at_dimension(best, D)[1]))
    apart = np.sqrt(np.sum((a.W - b.W) ** 2) + np.sum((a.H - b.H) ** 2))
    (_, (x, y, _), (far, _, _)) = data.places.values()
    assert np.hypot(x - far, y) == pytest.approx(apart, rel=1e-12)


def test_no_turn_brings_the_saddle_nearer():
    rng = np.random.default_rng(0)
    near, top = (at_dimension(orbit, D)[1] for orbit in four().orbits[1::-1])
    best = turned(near, top)

    def apart(point):
        return np.sum((point.W - top.W) ** 2) + np.sum((point.H - top.H) ** 2)

    for _ in range(20):
        turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
        assert apart(best) <= apart(Point(near.W @ turn, turn.T @ near.H)) + 1e-12


def test_a_plane_needs_two_directions_and_its_surface_a_space():
    best, saddle = four().orbits[:2]
    with pytest.raises(InputError, match="not on a line"):
        plane_record(best, best, D)
    data = plane_record(saddle, best, D, cells=21)
    ax = draw_plane(data, panel(), "title")
    assert {text.get_text().split("\n")[0] for text in ax.texts} == set(data.places)
    drawn = draw_surface(data, space())
    assert {text.get_text() for text in drawn.texts} == set(data.places)
    with pytest.raises(InputError, match="3d"):
        draw_surface(data, panel())


def test_arrangements_show_every_orbit_with_its_index_and_all_classes():
    ax = draw_arrangements(four().orbits, panel(3.4, 3.8), D)
    shown = [orbit for orbit in four().orbits if orbit.rank]
    assert len(ax.child_axes) == len(ax.texts) == len(shown) == 10
    for text, orbit, cell in zip(ax.texts, shown, ax.child_axes, strict=True):
        assert text.get_text().endswith(f"index {orbit.index(D)}, {orbit.objective:.3f}")
        names = [each.get_text() for each in cell.texts]
        written = {int(k) for name in names for k in name.replace("–", ",").split(",")}
        assert min(written) == 1
        assert max(written) == 4
    wider = draw_arrangements(four().orbits, panel(), 7)
    assert wider.texts[1].get_text() != ax.texts[1].get_text()
    with pytest.raises(InputError, match="rank 1 to 3"):
        draw_arrangements([four().orbits[-1]], panel(), D)


def test_the_descent_follows_the_gradient_and_waits_at_saddles():
    path = descent()
    value = [float(path.model.objective(at(path, i))) for i in range(0, len(path.times), 40)]
    assert path.objective[::40] == pytest.approx(value, abs=1e-12)
    # df/dt = -|grad f|^2, by the trapezoidal rule over the steps.
    fall = np.trapezoid(path.gradient_norm**2, path.times)
    assert fall == pytest.approx(path.objective[0] - path.objective[-1], rel=1e-3)
    met = visited(path, ladder_points(four(), D))
    assert [point.label for point in met] == ["origin", "3|1", "2|1|1", "simplex ETF"]
    assert [point.index for point in met] == [9, 6, 3, 0]
    with pytest.raises(InputError, match="come down"):
        trajectory(path.model, one_by_one(path.model), four().orbits[0].objective - 0.1)


def at(path, i):
    return Point(path.points.W[i], path.points.H[i], None)


def test_the_staircase_has_a_level_for_every_orbit_and_names_for_those_it_meets():
    levels = ladder_points(four(), D)
    ax = draw_staircase(descent(), levels, panel(), "title")
    heights = [line.get_ydata()[0] for line in ax.lines[: len(levels)]]
    assert heights == pytest.approx([level.objective for level in levels])
    assert [text.get_text().split("\n")[0] for text in ax.texts] == [
        "origin", "3|1", "2|1|1", "simplex ETF",
    ]  # fmt: skip
    assert overlapping(boxes(ax.texts)) == 0


@pytest.mark.parametrize("loss", [CrossEntropy(), LabelSmoothing(0.1)])
def test_the_spectrum_along_c_is_that_of_dense_hessians(loss):
    model = UFM(loss, 3, 4, lambda_W=0.03, lambda_H=0.01)
    data = decay_record(model, 0.1, 0.7, cells=3)
    scale = data.c[1] / model.c
    there = model.with_decays(0.03 * scale, 0.01 * scale)
    brute = np.linalg.eigvalsh(dense_hessian(there, there.minimiser().point)) / there.sigma
    ours = np.repeat(data.values[:, 1], data.counts)
    assert np.sort(ours) == pytest.approx(brute[data.zeros :], rel=1e-8)
    assert np.abs(brute[: data.zeros]).max() < 1e-8
    with pytest.raises(InputError, match="vanish"):
        decay_record(model, 0.1, 1.5, cells=9)


def test_counts_of_eigenvalues_add_up_on_the_paper():
    data = decay_record(four().model.with_dimension(4), 0.02, 0.95, cells=7)
    ax = draw_along_decay(data, panel(3.4, 3.4))
    written = [int(text.get_text()[1:]) for text in ax.texts if text.get_text().startswith("×")]
    assert sum(written) == sum(data.counts)
    assert sum(data.counts) + data.zeros == 32
    assert overlapping(boxes([t for t in ax.texts if t.get_text().startswith("×")])) == 0
    assert any(f"{data.zeros} zeros" == text.get_text() for text in ax.texts)


def test_cosines_of_a_simplex_and_their_picture():
    point = at_dimension(four().orbits[0], D)[1]
    assert cosines(point.W) == pytest.approx((4 * np.eye(4) - 1) / 3, abs=1e-9)
    ax = draw_cosines(point, panel())
    left, right = ax.child_axes
    assert {text.get_text() for text in left.texts} == {"1.00", "−.33"}
    assert [text.get_text() for text in left.texts] == [text.get_text() for text in right.texts]
    # Means are centred: one that all classes share changes nothing; of the classifiers it does.
    moved = Point(point.W + 5, point.H + 5 * np.ones((D, 1)), None)
    left, right = draw_cosines(moved, panel()).child_axes
    assert "−.33" in {text.get_text() for text in right.texts}
    assert "−.33" not in {text.get_text() for text in left.texts}


def test_accumulation_is_the_mean_over_all_orders():
    hits = [3, 1, 2]
    n = sum(hits)
    for m, value in enumerate(accumulation([*hits, 0])):
        brute = sum(1 - comb(n - h, m) / comb(n, m) for h in hits)
        assert value == pytest.approx(brute, abs=1e-12)
    hits = [orbit.hits for orbit in four().orbits]
    ax = draw_coverage(four().history, panel(), hits=hits)
    curve = ax.lines[0].get_ydata()
    assert len(curve) == sum(hits) + 1
    assert curve[-1] == pytest.approx(sum(h > 0 for h in hits))
    assert len(draw_coverage(four().history, panel()).lines[0].get_ydata()) < 10


@pytest.mark.parametrize("count", [26, 40])
def test_a_crowded_ladder_names_every_orbit_in_a_column(count):
    rng = np.random.default_rng(1)
    points = [
        LadderPoint(0.3 + 0.03 * i + 0.01 * rng.random(), i // 2, min(i // 8, 3), 6, f"order {i}")
        for i in range(count)
    ]
    with style():
        ax = draw_ladder(points, panel(3.4, 1.35 + 0.08 * count))
        names = [text for text in ax.texts if "×" in text.get_text()]
        assert len(names) == count
        assert overlapping(boxes(names)) == 0
        assert min(text.get_fontsize() for text in names) >= 4
        note = next(text for text in ax.texts if "relabellings" in text.get_text())
        assert overlapping(boxes([note]), boxes(names)) == 0
    assert explained(["origin"]) == []


def test_a_film_ends_at_the_minimum_and_has_the_frames_asked_for(tmp_path):
    path = descent()
    film = descent_film(path, ladder_points(four(), D), Figure(figsize=(4, 2)), count=5)
    film.save(tmp_path / "a.gif", writer="pillow", dpi=30)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5
    chosen = frames(path, 40)
    assert np.all(np.diff(chosen) >= 0)
    # Some frames stand beside saddles, some follow the falls.
    assert len(set(path.objective[chosen].round(3))) > 20
    wide = UFM(CrossEntropy(), 5, 4, lambda_W=0.1, lambda_H=0.1)
    points = Point(np.zeros((2, 5, 4)), np.zeros((2, 4, 5)), None)
    deep = type(path)(wide, path.times[:2], path.objective[:2], path.gradient_norm[:2], points)
    with pytest.raises(InputError, match="three dimensions"):
        descent_film(deep, ladder_points(four(), D), Figure())


def test_spread_keeps_order_and_distance_and_moves_nothing_that_has_room() -> None:
    wanted = [3.0, 0.0, 0.05, 0.1, 9.0]
    placed = spread(wanted, 0.5)
    assert list(np.argsort(placed)) == list(np.argsort(wanted))
    assert np.diff(np.sort(placed)).min() >= 0.5 - 1e-9
    assert placed[0] == 3.0
    assert placed[4] == 9.0
    assert spread([], 1.0) == []


# ---- the records
