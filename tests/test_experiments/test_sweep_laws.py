"""The laws by themselves: merged classes, vanishing minorities, dimensions, against brute force."""

import numpy as np
import pytest

from experiments.sweep.theory.curves import curves
from experiments.sweep.theory.laws import merged_bifurcation, vanishing_minority
from landscape.solvers.solve import solve
from proofs_check.claims.codes import bifurcation
from proofs_check.claims.thresholds import MAJORITY, MINORITY, vanishing_point
from tests.helpers import Problem, naive_cross_entropy
from tests.sweeps import grid, model_of, plain
from ufm import InputError, Point
from ufm.frames import merged_code

# ---- merged classes


def merged_index(G, delta, d, c, lambda_b=None):
    """Negative eigenvalues of the dense Hessian at 2 G classes in G groups, by NumPy alone."""
    K, n, ratio = 2 * G, 2, 1.7
    lambda_W, lambda_H = (c / (K * np.sqrt(n)) * x for x in (ratio, 1 / ratio))
    problem = Problem.of(naive_cross_entropy(delta), (n,) * K, d, lambda_W, lambda_H, lambda_b)
    size = np.sqrt(np.log(G / (c + delta) - G + 1) * np.sqrt(n))
    Q = size * merged_code([2] * G, d)
    H = np.repeat(Q.T * (lambda_W / lambda_H) ** 0.25, n, axis=1) / np.sqrt(n)
    point = Point(Q * (lambda_H / lambda_W) ** 0.25, H, None if lambda_b is None else np.zeros(K))
    assert np.abs(problem.value_and_gradient(problem.pack(point))[1]).max() < 1e-12
    return int(np.sum(problem.spectrum(point) < -1e-9))


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


def test_the_vanishing_point_is_that_of_the_claim():
    (k_A, n_A), (k_B, n_B) = MAJORITY, MINORITY
    found = vanishing_minority(k_A, k_B, n_A / n_B) * np.sqrt(n_B)
    assert found == pytest.approx(vanishing_point(), rel=1e-12)
    # From equal sizes on, and no overflow for many classes.
    assert vanishing_minority(3, 4, 1 + 1e-9) == pytest.approx(1.0, rel=1e-6)
    assert 1 < vanishing_minority(500, 500, 100.0) < 10


def _number(lambda_b):
    return np.nan if lambda_b is None else lambda_b


def test_bifurcations_are_those_of_the_claim_and_of_the_page():
    for G in (3, 4, 5, 6):
        for delta in (0.0, 0.03):
            assert merged_bifurcation(G, delta) == pytest.approx(bifurcation(G, delta), rel=1e-12)
    # docs/theory.md, the table of CE-6: K = 6 and 8, lambda_b = 10, 1, 0.1, 0.01, 0; its entry
    # 0.07512 is 0.075113, see the Hessians below.
    pages = {
        3: [0.13563, 0.18570, 0.48006, 0.60629, 0.62280],
        4: [0.07511, 0.09218, 0.27411, 0.46404, 0.49287],
    }
    for G, values in pages.items():
        found = [merged_bifurcation(G, 0.0, 2 * G * bias) for bias in (10, 1, 0.1, 0.01, 0)]
        assert found == pytest.approx(values, abs=6e-6)
    assert [merged_index(4, 0.0, 3, c, 10.0) for c in (0.075112, 0.075114)] == [12, 8]
    # Too much smoothing, and two groups: the index never changes.
    for G, star in {3: 0.165693, 4: 0.091684}.items():
        assert merged_bifurcation(G, star - 2e-6) < 1e-3
        assert np.isnan(merged_bifurcation(G, star + 2e-6))
    assert all(np.isnan(merged_bifurcation(2, 0.0, bias)) for bias in (None, 0.0, 1.0))
    with pytest.raises(InputError, match="Need G >= 2"):
        merged_bifurcation(1)


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
