"""The lines of the laws: merged classes and dimensions, against brute force."""

import numpy as np
import pytest

from experiments.sweep.theory.curves import curves
from landscape.solvers.solve import solve
from tests.helpers import merged_index
from tests.sweeps import grid, model_of, plain

# ---- merged classes


@pytest.mark.parametrize(
    ("G", "delta", "lambda_b"), [(3, 0.0, None), (3, 0.05, 0.1), (4, 0.0, 0.0), (3, 0.0, 1.0)]
)
def test_the_index_of_merged_classes_drops_on_the_line(G, delta, lambda_b):
    d, name = G, "|".join(["2"] * G)
    table = grid(
        lambda c, d: plain(
            ("ls", delta), (2,) * (2 * G), d, c=c, saddle=name, lambda_b=_number(lambda_b)
        ),
        c=[0.02, 0.2, 0.9],
        d=[G - 2, G, G + 1],
    )
    line = next(curve for curve in curves(table, "c", "d") if curve.law == "merged")
    assert line.y.tolist() == [G, G + 1]  # in G - 2 dimensions there is no such point
    c = line.x[0]
    before, behind = (merged_index(G, delta, d, c * s, lambda_b) for s in (0.99, 1.01))
    assert (before, behind) == (G * d, G * (d - 1))
    assert merged_index(G, delta, d, 0.93 * c, lambda_b) == before


def _number(lambda_b):
    return np.nan if lambda_b is None else lambda_b


# ---- dimensions


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "bias", "least"), [("ce", np.nan, -1), ("mse", np.nan, 0)])
def test_the_minimum_is_that_of_many_dimensions_from_the_line_on(loss, bias, least):
    def cell(K, d):
        return plain((loss,), (1,) * K, d, c=0.2, lambda_b=bias)

    table = grid(cell, K=[3, 4, 5], d=[2, 3, 4, 5])
    line = next(curve for curve in curves(table, "K", "d") if curve.law in ("etf", "frame"))
    inside = line.x == 4
    assert line.y[inside].tolist() == [4 + least]
    dimensions = 4 + least + np.array([-1, 0, 1])
    values = [solve(model_of(cell(4, int(d)))).objective for d in dimensions]
    fits = dimensions >= line.y[inside]
    assert np.array_equal(np.array(values) < values[-1] + 1e-9, fits)


def test_dimensions_of_squared_error_with_a_bias():
    def laws(lambda_b):
        table = grid(
            lambda K, d: plain(("mse",), (1,) * K, d, c=0.2, lambda_b=lambda_b),
            K=[3, 4, 5],
            d=[2, 3, 4, 5],
        )
        return [curve.law for curve in curves(table, "K", "d") if curve.law in ("etf", "frame")]

    # MSE-2: an ETF without decay of the bias; either of them with one, by the size of c.
    assert [laws(x) for x in (np.nan, 0.0, 0.1)] == [["frame"], ["etf"], ["etf", "frame"]]
