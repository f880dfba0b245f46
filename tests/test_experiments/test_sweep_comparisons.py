"""Measured against predicted, thresholds, profiles; and every figure of a sweep fits its page."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.sweep.drawing.comparisons import MOST_ROWS
from experiments.sweep.drawing.figures import (
    FIGURES,
    escape_times,
    measured_thresholds,
    phase_diagram,
    profile,
    rate_against_prediction,
    small_multiples,
)
from experiments.sweep.drawing.legends import legend_above, make_room
from experiments.sweep.drawing.profiles import MOST_LINES, MOST_PANELS, profiles
from landscape.plots.style import loss_colour, style
from landscape.verdict import Curvature
from tests.drawing import boxes, overlapping, panel
from tests.helpers import slow
from tests.sweeps import (
    LOSSES,
    cell,
    found_thresholds,
    grid,
    legend_texts,
    many_losses,
    plane,
    rates,
    shown_texts,
    steps,
    table_of,
)
from ufm import InputError

# ---- measured against predicted


def points_of(ax):
    return [line for line in ax.lines if line.get_linestyle() == "None"]


def test_rates_stand_on_the_line_and_the_worst_is_named():
    ax = rate_against_prediction(rates(), panel())
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    drawn = {}
    for name, line in zip(legend_texts(ax), points_of(ax), strict=False):
        drawn[name] = line
    assert list(drawn) == ["ce", "ls(0.1)", "ls(0.3)", "focal(2)", "mse", "rescaled-mse(2,1.5)"]
    x, y = drawn["ls(0.1)"].get_data()
    assert y / x == pytest.approx([1, 1.1, 1])
    assert x == pytest.approx([0.01 / 3, 0.1 / 3, 0.5 / 3])
    assert drawn["focal(2)"].get_color() == loss_colour("focal")
    assert len({line.get_color() for line in drawn.values()}) == 6
    assert ax.texts[0].get_text() == "worst deviation 10%\n(ls(0.1))"
    (identity,) = [line for line in ax.lines if line.get_linestyle() == "-"]
    assert np.array_equal(identity.get_xdata(), identity.get_ydata())
    assert ax.get_xlim() == ax.get_ylim()
    other = rate_against_prediction(rates(), panel(), metric="nc1")
    assert other.texts[0].get_text().startswith("worst deviation 2%")
    assert other.get_xlabel() == "predicted rate of NC1"


def test_the_text_avoids_the_points():
    for factor, place in ((3.0, "right"), (1 / 3, "left")):
        table = rates()
        table["rate_nc2"] = table["predicted_nc2"] * factor
        ax = rate_against_prediction(table, panel())
        assert ax.texts[0].get_ha() == place


def test_runs_that_cannot_be_compared_are_counted():
    table = rates()
    table["result"][0] = "STALLED"
    table["predicted_nc2"][1] = np.nan
    ax = rate_against_prediction(table, panel())
    assert ax.texts[0].get_text().endswith("2 of 18 runs not shown")
    assert sum(len(line.get_xdata()) for line in points_of(ax)) == 16
    with pytest.raises(InputError, match="use one of nc1, nc2, nc3"):
        rate_against_prediction(table, panel(), metric="nc4")
    with pytest.raises(InputError, match="Need a converged run"):
        rate_against_prediction({**table, "rate_nc2": np.full(18, np.nan)}, panel())
    (ax,) = FIGURES["rate"]({**table, "rate_nc2": np.full(18, np.nan)}, Figure())
    assert ax.get_xlabel() == "predicted rate of NC1"


def test_escape_times():
    table = rates() | {"escape_time": 100 * rates()["rate_nc2"]}
    table["predicted_time"] = 100 * table["predicted_nc2"]
    ax = escape_times(table, panel())
    assert ax.get_ylabel() == "measured time of escape"
    assert ax.texts[0].get_text() == "worst deviation 10%\n(ls(0.1))"
    (same,) = FIGURES["from_saddle"](table, Figure())
    assert same.get_xlabel() == ax.get_xlabel()


def test_thresholds_and_their_brackets():
    table = found_thresholds()
    ax = measured_thresholds(table, panel(height=4))
    rows = [text.get_text() for text in ax.get_yticklabels()]
    assert len(rows) == 12
    assert rows[:2] == ["ce, $K$ = 3: $c^*$ = 1", "ce, $K$ = 4: $c^*$ = 1.1"]
    bars = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_lw() > 2]
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert len(bars) == len(marks) == 24
    assert bars[2].get_xdata() == pytest.approx([-0.1, 0.4])
    assert marks[2].get_xdata() == pytest.approx([0.2])
    assert np.round(bars[2].get_ydata()).tolist() == [1, 1]  # second row, not far from its middle
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # from above
    # What follows from K is not named, what does not is.
    assert "$d$" not in rows[0]
    wide = {name: np.concatenate([v, v]) for name, v in table.items()}
    wide["d"] = np.concatenate([table["d"], table["d"] + 2])
    names = measured_thresholds(wide, panel(height=6)).get_yticklabels()
    assert names[0].get_text() == "ce, $K$ = 3, $d$ = 3: $c^*$ = 1"
    with pytest.raises(InputError, match=f"at most {MOST_ROWS} rows"):
        measured_thresholds(found_thresholds(range(3, 14)), panel())
    with pytest.raises(InputError, match="Need a run with"):
        measured_thresholds({**table, "c_theory": np.full(24, np.nan)}, panel())


# ---- profiles


def test_a_profile_is_the_median_with_its_band():
    table = grid(
        lambda loss, c, seed: cell(c, loss=loss, seed=seed),
        loss=LOSSES[:3],
        c=[0.01, 0.1, 1.0],
        seed=[0, 1, 2],
    )
    table["value"] = 1 / table["c"] * (1 + table["seed"] ** 2)
    ax = profile(table, panel(), x="c", value="value")
    assert legend_texts(ax) == ["ce", "ls(0.1)", "ls(0.3)"]
    assert ax.get_legend().get_title().get_text() == "line: median, band: least to most"
    assert ax.lines[0].get_ydata() == pytest.approx([200.0, 20.0, 2.0])
    band = ax.collections[0].get_paths()[0].vertices
    assert [band[band[:, 0] == 0.01][:, 1].min(), band[:, 1].max()] == pytest.approx([100, 500])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    styles = {(line.get_color(), str(line.get_linestyle())) for line in ax.lines}
    assert len(styles) == 3
    # Another grouping, and what did not converge does not count.
    table["result"][table["seed"] == 2] = "FAILED"
    ax = profile(table, panel(), x="c", value="value", by="seed")
    assert legend_texts(ax) == ["seed = 0", "seed = 1"]
    assert ax.lines[1].get_ydata() == pytest.approx([200.0, 20.0, 2.0])
    assert ax.get_legend().get_title().get_text() != ""  # three losses in each
    many = table_of([cell(c, seed=s) for c in (0.1, 1.0) for s in range(MOST_LINES + 1)])
    with pytest.raises(InputError, match=f"at most {MOST_LINES} lines"):
        profile(many, panel(), x="c", value="d", by="seed")
    with pytest.raises(InputError, match="Need a converged run"):
        profile({**table, "value": np.full(27, np.nan)}, panel(), x="c", value="value")


def conditions():
    table = grid(
        lambda smoothing, c: cell(c, loss=("ls", smoothing)),
        smoothing=[0.05 * i for i in range(8)],
        c=[0.01, 0.1, 1.0],
    )
    kappa = 1 + table["smoothing"] / table["c"]
    return {**table, "condition": kappa, "condition_W": kappa**2, "loss_condition_W": 1 / kappa}


def test_the_closed_form_lies_over_a_profile_where_a_place_has_one():
    table = grid(lambda c, seed: cell(c, seed=seed), c=[0.1, 0.2, 0.4], seed=[0, 1])
    table |= {"objective": table["c"] + table["seed"], "theory": 0.9 * table["c"]}
    table |= {"size": 2 * table["c"], "theory_size": 3 * table["c"]}
    for value, factor in (("objective", 0.9), ("size", 3)):
        ax = profile(table, panel(), x="c", value=value)
        assert ax.lines[-1].get_ydata() == pytest.approx([factor * c for c in (0.1, 0.2, 0.4)])
        assert legend_texts(ax) == ["ce", "closed form"]
        assert ax.lines[-1].get_color() == ax.lines[0].get_color()
        low, high = ax.get_ylim()
        assert low < factor * 0.1 < factor * 0.4 < high  # also where no end comes
    # Of another column nothing is known; nor where a place has two models, or theory has nothing.
    assert legend_texts(profile(table, panel(), x="c", value="d")) == ["ce"]
    two = {**table, "theory": table["theory"] * (1 + table["seed"])}
    assert legend_texts(profile(two, panel(), x="c", value="objective")) == ["ce"]
    none = {**table, "theory": np.full(6, np.nan)}
    assert legend_texts(profile(none, panel(), x="c", value="objective")) == ["ce"]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_where_no_run_converged_a_profile_has_a_cross_below_its_lines(scale):
    height = {"linear": [1.0, 2, 3, 4], "log": [1.0, 20, 300, 4000]}[scale]
    rows = [
        cell(K=K, c=c, objective=y, result="CONVERGED" if c < 0.35 or K == 3 else "DIVERGED")
        for K in (3, 5)
        for c, y in zip((0.1, 0.2, 0.3, 0.4), height, strict=True)
    ]
    rows.append(cell(K=5, c=0.3, objective=3.0, result="STALLED"))  # another run converged there
    ax = profile(table_of(rows), panel(), x="c", value="objective", by="K")
    (cross,) = points_of(ax)
    assert (ax.get_yscale(), cross.get_marker()) == (scale, "x")
    assert cross.get_xdata().tolist() == [0.4]
    assert cross.get_color() == ax.lines[1].get_color() != ax.lines[0].get_color()
    assert legend_texts(ax)[-1] == "no run converged"
    lowest = ax.transAxes.inverted().transform(ax.transData.transform((0.1, height[0])))[1]
    assert lowest > cross.get_ydata()[0] + 0.05
    sizes = {**table_of(rows[:4]), "counts": np.array(["(2, 1)"] * 4, dtype=object)}
    every = profile(sizes, panel(), x="c", value="objective", by="counts")
    assert legend_texts(every) == ["counts (2, 1)"]
    assert points_of(every) == []


def test_profiles_of_several_columns_share_an_axis_and_a_legend():
    values = ("condition", "condition_W", "loss_condition_W")
    figure = Figure(figsize=(7, 3.5))
    panels = profiles(conditions(), figure, x="c", values=values)
    assert [ax.get_title() for ax in panels] == [
        "condition number",
        "condition number, $W$ block",
        "condition number, $W$ block, no decay",
    ]
    last = [ax.lines[-1].get_ydata() for ax in panels]
    assert last[1] == pytest.approx(last[0] ** 2)
    assert last[2] == pytest.approx(1 / last[0])
    assert len({ax.get_xlim() for ax in panels}) == 1
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 8
    # Headings fit above their panels, and of many places not all have a marker.
    figure.draw_without_rendering()
    for ax in panels:
        assert ax.title.get_window_extent().width <= ax.get_window_extent().width
    fine = table_of([cell(c) for c in np.linspace(0.1, 1, 75)])
    assert profile(fine, panel(), x="c", value="d").lines[0].get_markevery() == 4
    level = {**fine, "level": 1 + np.arange(75) * 1e-13}
    assert np.ptp(profile(level, panel(), x="c", value="level").get_ylim()) > 0.5
    # Eight strengths of one loss can be told apart.
    styles = {(line.get_color(), str(line.get_linestyle())) for line in panels[0].lines}
    assert len({colour for colour, _ in styles}) == len(styles) == 8
    with pytest.raises(InputError, match=f"at most {MOST_PANELS} columns"):
        profiles(conditions(), Figure(), x="c", values=["condition"] * (MOST_PANELS + 1))


# ---- room on the page


def test_a_long_legend_makes_a_figure_higher_and_leaves_its_panels_alone():
    sizes = []
    for many in (1, 9):
        figure = Figure(figsize=(3, 3), layout="constrained")
        ax = figure.subplots()
        legend_above(figure, [(Line2D([], []), f"a law with long words {i}") for i in range(many)])
        make_room(figure)
        figure.draw_without_rendering()
        sizes.append((figure.get_figheight(), ax.get_window_extent().height / figure.dpi))
    assert sizes[1][0] > sizes[0][0] + 0.8
    assert sizes[1][1] == pytest.approx(sizes[0][1], abs=0.1)


def verdicts():
    table = grid(
        lambda c, d, seed: cell(c, 6, saddle="2|2|2", d=d, seed=seed),
        c=np.geomspace(0.02, 2, 12).tolist(),
        d=[2, 3, 4, 5, 6],
        seed=[0, 1],
    )
    kinds = [x.name for x in Curvature]
    table["curvature"] = np.array([kinds[i % 5] for i in range(120)], dtype=object)
    table["result"][::17] = "FAILED"
    return table


def uneven():
    table = grid(
        lambda loss, c, r: {"loss": loss, "counts": steps(5, 2, 4, r), "d": 5, "c": c},
        loss=[("ce",), ("mse",)],
        c=np.linspace(0.1, 1.6, 16).tolist(),
        r=[1, 1.5, 2, 3, 4, 6, 8, 12, 16],
    )
    return {**table, "rank": np.arange(len(table["c"])) % 6}


def with_times():
    table = rates()
    table["rate_nc2"][7] = np.nan
    return table


PAGES = {
    "phase": lambda figure: phase_diagram(
        plane(np.geomspace(1e-15, 1, 6)), figure.subplots(), x="c", y="K", value="value"
    ),
    "verdicts": lambda figure: phase_diagram(
        verdicts(), figure.subplots(), x="c", y="d", value="curvature"
    ),
    "losses": lambda figure: small_multiples(many_losses(), figure, x="c", y="K", value="value"),
    "imbalance": lambda figure: small_multiples(
        uneven(), figure, x="imbalance", y="c", value="rank"
    ),
    "rates": lambda figure: rate_against_prediction(with_times(), figure.subplots()),
    "thresholds": lambda figure: measured_thresholds(found_thresholds(), figure.subplots()),
    "profiles": lambda figure: profiles(
        conditions(), figure, x="c", values=["condition", "condition_W"]
    ),
    "profile": lambda figure: profile(many_losses(), figure.subplots(), x="c", value="value"),
}


@pytest.mark.parametrize(
    ("name", "width"),
    [
        slow(name, width) if name == "losses" else (name, width)
        for name in PAGES
        for width in (3.4, 7.0)
    ],
)
def test_texts_do_not_overlap(name, width):
    with style():
        figure = Figure((width, 4.4), layout="constrained")
        PAGES[name](figure)
        texts = shown_texts(figure)
        found = boxes(texts)
    words = [text.get_text() for text in texts]
    clashes = [
        (words[i], words[j])
        for i, a in enumerate(found)
        for j, b in enumerate(found[:i])
        if a.overlaps(b)
    ]
    assert clashes == []
    assert overlapping(found) == 0
    page = figure.bbox.padded(2)
    cut = [word for word, box in zip(words, found, strict=True) if not _inside(page, box)]
    assert cut == []
    # Legends lie outside the axes they explain.
    for ax in figure.axes:
        if ax.get_legend() is not None:
            assert not ax.get_legend().get_window_extent().overlaps(ax.get_window_extent())
    # The picture, and not what surrounds it, has the room.
    area = sum(ax.get_window_extent().width * ax.get_window_extent().height for ax in figure.axes)
    assert area > 0.3 * figure.bbox.width * figure.bbox.height


def _inside(page, box):
    return page.contains(*box.min) and page.contains(*box.max)


def test_the_look_for_clashes_sees_one():
    ax = panel()
    ax.text(0.5, 0.5, "one")
    ax.text(0.5, 0.5, "other")
    assert overlapping(boxes(shown_texts(ax.figure))) > 0
