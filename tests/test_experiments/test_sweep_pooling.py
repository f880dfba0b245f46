"""Rows pooled into cells: their values and places, their colours, and which columns span them."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm, SymLogNorm, to_hex
from matplotlib.figure import Figure

from experiments.sweep.columns import scale_of, snap
from experiments.sweep.drawing.colours import look_of
from experiments.sweep.drawing.figures import (
    FIGURES,
    phase_diagram,
    swept,
)
from experiments.sweep.drawing.pooling import ORDERS, OTHER, cell_edges, pool
from landscape.solvers.result import Result
from landscape.verdict import Curvature, Globality
from tests.drawing import panel
from tests.sweeps import (
    LOSSES,
    cell,
    grid,
    many_losses,
    plane,
    repeated,
    table_of,
    value_at,
)
from ufm import InputError


def test_numbers_of_one_cell_are_their_median():
    field = pool(repeated([1.0, 2.0, 9.0, 5.0]), "c", "K", "value")
    assert field.values.tolist() == [2.0, 5.0]
    assert field.what == "value, median of up to 3 seeds"
    assert not np.any(field.failed | field.partial | field.missing)


def test_only_runs_that_converged_count():
    results = ("CONVERGED", "STALLED", "FAILED")
    field = pool(repeated([1.0, 2.0, 9.0, 5.0], results), "c", "K", "value")
    assert field.values.tolist() == [1.0, 5.0]
    assert (field.partial.tolist(), field.failed.tolist()) == ([True, False], [False, False])
    lost = pool(repeated([1.0, 2.0, 9.0, 5.0], ("FAILED",) * 3), "c", "K", "value")
    assert (lost.partial.tolist(), lost.failed.tolist()) == ([False, False], [True, False])
    none = pool(repeated([np.nan, np.nan, np.nan, 5.0]), "c", "K", "value")
    assert none.missing.tolist() == [True, False]


def test_orders_are_those_of_the_library():
    assert set(ORDERS[0]) == {x.name for x in Result} | {"FAILED"}
    assert set(ORDERS[1]) == {x.name for x in Curvature}
    assert set(ORDERS[2]) == {x.name for x in Globality}


def test_text_without_an_order():
    table = repeated(["b", "a", "b", "c"], name="reason")
    field = pool(table, "c", "K", "reason")
    assert (field.values.tolist(), field.what) == (
        ["b", "c"],
        "reason, most frequent of up to 3 seeds",
    )
    many = table_of([cell(float(c)) for c in range(1, 13)])
    many["reason"] = np.array([f"r{min(i, 10)}" for i in range(12)], dtype=object)
    kinds = look_of([pool(many, "c", "K", "reason")]).kinds
    assert len(kinds) == 8
    assert list(kinds)[-1] == OTHER
    assert "r10" in kinds  # the most frequent


def test_what_is_pooled_is_said():
    table = grid(lambda c, K, seed: cell(c, K, seed=seed, d=5), c=[0.5, 2.0], K=[3, 4], seed=[0, 1])
    table["value"] = np.arange(8.0)
    what = pool(table, "c", "d", "value").what
    assert what == "value, median of 4 runs (K, seed)"
    assert pool(table, "c", "K", "value").what == "value, median of 2 seeds"
    losses = table_of([cell(loss=loss) for loss in LOSSES])
    losses["value"] = np.arange(6.0)
    assert pool(losses, "c", "K", "value").what == "value, median of 6 values of loss"


def test_scales_follow_the_spacing():
    cases = {
        "linear": [[0.1, 0.2, 0.3], [3, 4, 5], [1, 2, 4], [0.0, 0.05, 0.1], [-1, 5, 100], [7]],
        "log": [[0.01, 0.1, 1], [1, 2, 4, 8, 16], [1, 100]],
        "symlog": [[0, 0.001, 0.01, 0.1]],
    }
    for scale, examples in cases.items():
        for nodes in examples:
            assert scale_of(np.array(nodes, dtype=float)) == scale, nodes
    # A rounding is no step, and has no logarithm of its own; nor has the ratio of extremes a float.
    assert np.log(0.1) == np.log(np.nextafter(0.1, 1))
    assert scale_of(np.array([0.1, np.nextafter(0.1, 1), 1.0, 10.0])) == "log"
    assert scale_of(np.array([0.1, np.nextafter(0.1, 1), 1.0, 2.0, 3.0])) == "linear"
    assert scale_of(np.array([1e-300, 1e-200, 1e300])) == "log"
    # Zero has its cell beside those of a logarithm, and places keep their order.
    edges = cell_edges(np.array([0.0, 0.01, 0.1, 1.0]), "symlog")
    assert np.all(np.diff(edges) > 0)
    assert edges[0] < 0 < edges[1] < 0.01 < edges[2] < 0.1
    assert edges[3] == pytest.approx(np.sqrt(0.1), rel=1e-12)
    table = table_of([cell(loss=("ls", x), c=c) for x in (0, 0.003, 0.03, 0.3) for c in (1, 2)])
    ax = phase_diagram({**table, "v": table["c"]}, panel(), x="smoothing", y="c", value="v")
    assert (ax.get_xscale(), ax.get_yscale()) == ("symlog", "linear")


def test_roundings_do_not_split_a_column():
    c = np.array([0.3, 0.1 + 0.2, 0.6])
    assert len(np.unique(c)) == 3
    assert len(np.unique(snap(c))) == 2
    assert len(np.unique(snap(np.array([0.3, 0.3 * (1 + 1e-6)])))) == 2
    table = table_of([cell(float(x), seed=i) for i, x in enumerate(c)])
    field = pool({**table, "v": np.array([1.0, 3.0, 5.0])}, "c", "K", "v")
    assert field.values.tolist() == [2.0, 5.0]


def test_colours_follow_the_values():
    def look(values):
        return look_of([pool(plane(values), "c", "K", "value")])

    whole = look([0, 1, 2, 3, 3, 3])
    assert whole.ticks.tolist() == [0, 1, 2, 3]
    assert len({to_hex(whole.cmap(whole.norm(v))) for v in whole.ticks}) == 4
    signed = look([-1.0, 0.5, 0.2, 0.3, 0.1, -0.2])
    assert (signed.norm.vmin, signed.norm.vmax) == (-1.0, 1.0)
    assert isinstance(look([-1e-3, 1.0, 1e-8, 1, 1, 1.5]).norm, SymLogNorm)
    wide = look([1e-9, 1e-3, 1.0, 0.5, 0.5, 0.5])
    assert isinstance(wide.norm, LogNorm)
    assert wide.extend == "neither"
    zeros = look([0.0, 1e-3, 1.0, 0.5, 0.5, 0.5])
    assert zeros.extend == "min"
    narrow = look([1.5, 2.0, 2.5, 2.5, 2.5, 2.5])
    assert (narrow.norm.vmin, narrow.norm.vmax) == (1.5, 2.5)
    same = look([0.7] * 6)
    assert same.norm.vmin < 0.7 < same.norm.vmax
    # A zero on a logarithmic scale has a colour and is no hole.
    values = [0.0, 1e-3, 1.0, 0.5, 0.5, 0.5]
    ax = phase_diagram(plane(values), panel(), x="c", y="K", value="value")
    assert value_at(ax, 0.5, 3) == 1e-3


def test_axes_of_a_sweep():
    sizes = grid(lambda K, d: cell(0.1, K, d=d), K=[3, 4, 5], d=[2, 3])
    assert swept(sizes) == ("K", "d")
    following = grid(lambda K, c: cell(c, K), K=[3, 4, 5], c=[0.1, 0.2])
    assert swept(following) == ("c", "K")  # d = K follows, and so do the decays
    assert swept(grid(lambda K: cell(0.1, K), K=[3, 4, 5])) == ("K",)
    # Three axes, and decays that have a value of their own for each c and K.
    three = grid(
        lambda c, K, d: cell(c, K, d=d), c=[0.1, 0.2, 0.3, 0.4, 0.5], K=[3, 4, 7], d=[1, 2, 3, 4]
    )
    assert swept(three) == ("c", "d")
    decays = grid(
        lambda x, K: {**cell(K=K), "c": None, "decays": (x, x)}, x=[0.1, 0.2, 0.3], K=[3, 4]
    )
    assert swept(decays) == ("lambda_W", "K")
    smoothing = grid(lambda x, c: cell(c, loss=("ls", x)), x=[0.0, 0.1, 0.2], c=[0.1, 0.5])
    assert swept(smoothing) == ("c", "smoothing")
    (ax,) = FIGURES["minimise"]({**smoothing, "rank": np.ones(6, int)}, Figure((4, 4)))
    assert ax.get_ylabel() == r"smoothing $\delta$"
    # Several losses have no common parameter: a panel for each of them.
    assert swept(many_losses()) == ("c", "K")
    with pytest.raises(InputError, match="Need a column that varies"):
        swept(table_of([cell()] * 3))
    with pytest.raises(InputError, match="at least one row"):
        swept({})
