"""Figures of sweeps: values at their places, what is said of missing runs, and texts that fit."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from experiments.sweep.columns import take
from experiments.sweep.drawing.figures import (
    FIGURES,
    escape_times,
    measured_thresholds,
    phase_diagram,
    profile,
    small_multiples,
    swept,
)
from experiments.sweep.drawing.phase import MOST_PANELS
from experiments.sweep.drawing.pooling import pool
from experiments.sweep.theory.curves import Curve, curves
from landscape.solvers.solve import solve
from tests.drawing import panel
from tests.sweeps import (
    cell,
    cells_of,
    drawn_lines,
    found_thresholds,
    grid,
    legend_texts,
    many_losses,
    model_of,
    plane,
    repeated,
    steps,
    table_of,
    value_at,
)
from ufm import InputError

# ---- phase diagrams


def test_values_stand_at_their_places_whatever_the_order_of_the_rows():
    table = plane([1.0, 2.0, 3.0, 4.0, 5.0, 6.5])
    order = np.random.default_rng(0).permutation(6)
    ax = panel()
    shuffled = {name: values[order] for name, values in table.items()}
    assert phase_diagram(shuffled, ax, x="c", y="K", value="value") is ax
    for c, K, value in zip(table["c"], table["K"], table["value"], strict=True):
        assert value_at(ax, c, K) == value
    # The cells tile the axes.
    low, high, _ = cells_of(ax)
    assert (ax.get_xlim(), ax.get_ylim()) == (
        (low[:, 0].min(), high[:, 0].max()),
        (low[:, 1].min(), high[:, 1].max()),
    )
    swapped = phase_diagram(table, panel(), x="K", y="c", value="value")
    assert value_at(swapped, 4, 0.5) == 4.0
    assert (swapped.get_xlabel(), ax.get_ylabel()) == ("classes $K$", "classes $K$")


def test_missing_runs_are_seen():
    def drawn(values, *result):
        table = repeated(values, result or ("CONVERGED",) * 3)
        return phase_diagram(table, panel(), x="c", y="d", value="value", curves=False)

    whole = drawn([1.0, 2.0, 9.0, 5.0])
    assert legend_texts(whole) == []
    failed = drawn([1.0, 2.0, 9.0, 5.0], "FAILED", "FAILED", "MAX_ITERATIONS")
    hatched = [c for c in failed.collections if c.get_hatch()]
    assert len(hatched) == 1
    assert np.ptp(hatched[0].get_paths()[0].vertices, axis=0).min() > 0
    assert hatched[0].get_paths()[0].vertices[:, 0].max() < 2.0
    assert legend_texts(failed) == ["no run converged"]
    crossed = drawn([1.0, 2.0, 9.0, 5.0], "FAILED", "CONVERGED", "CONVERGED")
    assert crossed.lines[-1].get_xydata().tolist() == [[0.5, 3.0]]
    assert legend_texts(crossed) == ["not every run converged"]
    assert legend_texts(drawn([np.nan, np.nan, np.nan, 5.0])) == ["no value"]
    # Nothing converged at all: no colours, but a figure.
    nothing = plane(np.ones(6), result="FAILED")
    ax = phase_diagram(nothing, panel(), x="c", y="K", value="value")
    assert "no run converged" in legend_texts(ax)
    assert len(ax.figure.axes) == 1


def test_the_worst_verdict_of_a_cell_is_shown():
    saddle, best = "STRICT_SADDLE", "MORSE_BOTT_MINIMUM"
    table = repeated([best, saddle, best, best], name="curvature")
    field = pool(table, "c", "K", "curvature")
    assert field.values.tolist() == [saddle, best]
    assert field.what == "curvature, worst of up to 3 seeds"
    shares = pool(table, "c", "K", "curvature", share=best)
    assert shares.values.tolist() == [2 / 3, 1.0]
    assert shares.what == "Morse-Bott minimum, share of up to 3 seeds"
    ax = phase_diagram(table, panel(), x="c", y="d", value="curvature", curves=False)
    assert legend_texts(ax) == ["Morse-Bott minimum", "strict saddle"]
    assert ax.get_legend().get_title().get_text() == field.what
    faces = [to_hex(c) for c in ax.collections[0].get_facecolors()]
    other = repeated([best] * 4, name="curvature")
    alone = phase_diagram(other, panel(), x="c", y="d", value="curvature", curves=False)
    # A verdict has one colour in every figure, and a marker of its own.
    assert faces[1] == to_hex(alone.collections[0].get_facecolors()[0]) != faces[0]
    marks = {line.get_marker(): line.get_xydata().tolist() for line in ax.lines}
    assert marks == {"o": [[2.0, 3.0]], "^": [[0.5, 3.0]]}
    # Of a result the worst counts, though it did not converge.
    table = repeated([0.0] * 4, ("CONVERGED", "STALLED", "FAILED"))
    assert pool(table, "c", "K", "result").values.tolist() == ["FAILED", "CONVERGED"]


def test_a_decay_that_follows_K_fills_its_own_rows():
    table = grid(lambda K, c: cell(c, K), K=[3, 4, 5, 7], c=np.geomspace(0.05, 5, 9).tolist())
    table["value"] = table["c"] + table["K"]
    ax = phase_diagram(table, panel(), x="lambda_W", y="K", value="value")
    low, high, _ = cells_of(ax)
    for K in (3, 7):
        row = (low[:, 1] < K) & (high[:, 1] > K)
        assert row.sum() == 9
        # No gaps between neighbours.
        assert np.sort(low[row, 0])[1:] == pytest.approx(np.sort(high[row, 0])[:-1], rel=1e-12)
    i = 20
    assert value_at(ax, table["lambda_W"][i], table["K"][i]) == table["value"][i]
    # A hole in a full grid stays a hole.
    holed = {name: np.delete(values, 4) for name, values in plane(np.arange(6.0)).items()}
    low, high, _ = cells_of(phase_diagram(holed, panel(), x="c", y="K", value="value"))
    assert not np.any(np.all((low < (1.0, 4)) & (high > (1.0, 4)), axis=1))


# ---- lines of theory


def test_lines_of_theory_stand_where_they_are():
    ax = phase_diagram(plane(np.ones(6)), panel(), x="c", y="K", value="value")
    (line,) = drawn_lines(ax)
    assert line.get_xdata() == pytest.approx([1.0, 1.0], rel=1e-12)
    assert legend_texts(ax) == ["collapse to zero (CE-1)"]
    flipped = phase_diagram(plane(np.ones(6)), panel(), x="K", y="c", value="value")
    assert drawn_lines(flipped)[0].get_ydata() == pytest.approx([1.0, 1.0], rel=1e-12)
    table = grid(
        lambda c, r: {"loss": ("ce",), "counts": steps(5, 2, 4, r), "d": 4, "c": c},
        c=[0.2, 0.6, 1.0, 1.4],
        r=[1, 2, 4],
    )
    table["value"] = table["c"]
    ax = phase_diagram(table, panel(), x="imbalance", y="c", value="value")
    expected = curves(table, "imbalance", "c")
    assert [curve.law for curve in expected] == ["minority", "vanishing", "majority"]
    for line, curve in zip(drawn_lines(ax), expected, strict=True):
        assert np.array_equal(line.get_xydata(), np.stack([curve.x, curve.y], axis=1))
    assert len({str(line._unscaled_dash_pattern) for line in drawn_lines(ax)}) == 3
    assert len({text.split(" (")[0] for text in legend_texts(ax)}) == 3


def test_lines_can_be_left_out_or_given():
    table = plane(np.ones(6))
    assert not drawn_lines(phase_diagram(table, panel(), x="c", y="K", value="value", curves=False))
    own = Curve("mine", np.array([0.5, 2.0]), np.array([3.0, 4.0]), "own", "here")
    ax = phase_diagram(table, panel(), x="c", y="K", value="value", curves=[own])
    assert [line.get_xdata().tolist() for line in drawn_lines(ax)] == [[0.5, 2.0]]
    assert legend_texts(ax) == ["mine (here)"]
    # Without the columns of a model there is nothing to draw lines for.
    bare = {name: table[name] for name in ("c", "K", "value")}
    with pytest.raises(InputError, match="Unknown column"):
        phase_diagram(bare, panel(), x="c", y="K", value="value")


@pytest.fixture(scope="module")
def solved():
    """Minima that descent found, three losses on both sides of their collapse."""
    cells = [
        cell(c, K, loss, seed=seed)
        for loss in (("ce",), ("ls", 0.4), ("mse",))
        for K in (3, 4)
        for c in (0.25, 0.5, 0.8, 1.25, 2.0)
        for seed in (0, 1)
    ]
    for row in cells:
        run = solve(model_of(row))
        W = run.point.to_numpy().W
        row["rank"] = int(np.sum(np.linalg.svd(W, compute_uv=False) > 1e-6))
        row["result"] = run.result.name
    return table_of(cells)


@pytest.mark.slow
def test_solved_models_lose_their_rank_on_the_line(solved):
    panels = small_multiples(solved, Figure((7, 3)), x="c", y="K", value="rank")
    assert [ax.get_title() for ax in panels] == ["ce", "ls(0.4)", "mse"]
    for ax in panels:
        (line,) = drawn_lines(ax)
        low, high, ranks = cells_of(ax)
        # Only the column of cells through which the line goes may be either.
        before, behind = high[:, 0] <= line.get_xdata()[0], low[:, 0] >= line.get_xdata()[0]
        assert np.all(ranks[before] > 0)
        assert np.all(ranks[behind] == 0)
        assert before.sum() + behind.sum() >= 8
        # A line drawn a cell further would not pass.
        assert not np.all(ranks[high[:, 0] <= 2.5] > 0)


@pytest.mark.slow
def test_a_sweep_is_drawn_without_being_told_how(solved):
    assert swept(solved) == ("c", "K")
    figure = Figure((7, 4))
    assert len(FIGURES["minimise"](solved, figure)) == 3
    one = {name: values[solved["loss"] == "ce"] for name, values in solved.items()}
    (ax,) = FIGURES["minimise"](one, Figure((3.4, 3)))
    assert value_at(ax, 0.5, 4) == 3
    line = {name: values[one["K"] == 3] for name, values in one.items()}
    assert swept(line) == ("c",)
    (ax,) = FIGURES["minimise"](line, Figure((3.4, 3)))
    assert ax.get_ylabel() == "rank of $WH$"


# ---- small multiples


def test_panels_share_axes_and_one_colour_bar():
    table = many_losses()
    figure = Figure((7, 4))
    panels = small_multiples(table, figure, x="c", y="K", value="value")
    titles = ["ce", "ls(0.1)", "ls(0.3)", "focal(2)", "mse", "rescaled-mse(2,1.5)"]
    assert [ax.get_title() for ax in panels] == titles
    assert len([ax for ax in figure.axes if ax.get_visible()]) == len(panels) + 1
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1
    norms = {(c.norm.vmin, c.norm.vmax) for ax in panels for c in ax.collections}
    assert norms == {(1.6, 13.5)}
    assert value_at(panels[4], 0.3, 4) == 10.8
    # One entry for the collapse of all losses, with all sources.
    assert legend_texts(figure) == ["collapse to zero (CE-1, LS-1, FL-3, MSE-1, MSE-4)"]
    lines = {ax.get_title(): drawn_lines(ax)[0].get_xdata()[0] for ax in panels}
    assert lines["ls(0.3)"] == pytest.approx(0.7, rel=1e-12)
    narrow = small_multiples(table, Figure((3.4, 5)), x="c", y="K", value="value")
    assert len({ax.get_position().x0 for ax in narrow}) == 2
    # Headings have one size, and the longest one stays above its panel.
    assert len({ax.title.get_fontsize() for ax in narrow}) == 1
    for ax in narrow:
        assert ax.title.get_window_extent().width <= 1.02 * ax.get_window_extent().width


def test_panels_by_another_column():
    table = plane(np.arange(6.0))
    panels = small_multiples(table, Figure((7, 3)), x="c", y="d", value="value", by="K")
    assert [ax.get_title() for ax in panels] == ["classes $K$ = 3", "classes $K$ = 4"]
    assert value_at(panels[1], 2.0, 4) == 5.0
    text = {**table, "result": np.array(["CONVERGED", "STALLED"] * 3, dtype=object)}
    by = {"x": "c", "y": "K", "value": "result", "by": "result"}
    assert len(small_multiples(text, Figure((7, 3)), **by)) == 2
    with pytest.raises(InputError, match=f"at most {MOST_PANELS} panels"):
        small_multiples(
            table_of([cell(seed=i) for i in range(MOST_PANELS + 1)]),
            Figure((7, 3)),
            **{"x": "c", "y": "K", "value": "n", "by": "seed"},
        )


# ---- what spans a sweep


def test_every_task_has_a_figure():
    table = take(many_losses(), np.isin(many_losses()["loss"], ["ce", "mse"]))
    for name in ("rank", "index"):
        table[name] = table["K"]
    table |= {"curvature": np.full(len(table["K"]), "STRICT_SADDLE", dtype=object)}
    table |= {"condition": table["c"] + 1.0}
    for task in ("minimise", "verdict", "spectrum"):
        assert len(FIGURES[task](table, Figure((7, 3)))) == 2, task
    one = {
        name: values[(table["loss"] == "ce") & (table["K"] == 3)] for name, values in table.items()
    }
    (ax,) = FIGURES["verdict"](one, Figure())
    assert ax.get_ylabel() == "index"
    (ax,) = FIGURES["threshold"](found_thresholds(), Figure())
    assert len(ax.get_yticklabels()) == 12
    assert set(FIGURES) == {"minimise", "verdict", "threshold", "rate", "from_saddle", "spectrum"}


# ---- input


def test_input():
    table = plane(np.ones(6))

    def draw(**more):
        phase_diagram(table, panel(), **{"x": "c", "y": "K", "value": "value", **more})

    with pytest.raises(InputError, match="write 'imbalance'"):
        draw(x="imbalnce")
    with pytest.raises(InputError, match="write 'value'"):
        draw(value="vlaue")
    with pytest.raises(InputError, match="Need numbers in the column loss"):
        draw(y="loss")
    with pytest.raises(InputError, match="NaN only"):
        draw(x="gamma")
    with pytest.raises(InputError, match="Need two different columns"):
        draw(y="c")
    with pytest.raises(InputError, match="Need a value of result for the share"):
        draw(value="result", share="converged")
    with pytest.raises(InputError, match="Need text for a share"):
        draw(share="1.0")
    empty = {name: values[:0] for name, values in table.items()}
    for call in (
        lambda: phase_diagram(empty, panel(), x="c", y="K", value="value"),
        lambda: small_multiples(empty, Figure(), x="c", y="K", value="value"),
        lambda: profile(empty, panel(), x="c", value="value"),
        lambda: measured_thresholds(empty, panel()),
        lambda: escape_times(empty, panel()),
    ):
        with pytest.raises(InputError, match="at least one row"):
            call()


def test_rows_without_a_value_on_an_axis_are_counted():
    table = table_of([cell(c, lambda_b=b) for c in (0.1, 1.0) for b in (np.nan, 0.01, 0.1)])
    table["value"] = np.arange(6.0)
    ax = phase_diagram(table, panel(), x="lambda_b", y="c", value="value")
    assert ax.get_xlabel().endswith("(2 of 6 rows have none)")
    assert len([c for c in ax.collections if isinstance(c, PolyCollection)]) == 1
    uneven_sizes = {**table, "counts": np.array(["2,1,1"] * 6, dtype=object)}
    uneven_sizes["n"] = np.arange(1, 7)
    field = pool(uneven_sizes, "n", "c", "value")
    assert field.x_label == "samples of the smallest class $n$"
