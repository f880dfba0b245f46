"""Graph networks on several graphs: definition, bound against CVXPY, limits, and bad input."""

import cvxpy as cp
import jax
import numpy as np
import pytest

from landscape import Curvature, Globality, dense_hessian, solve, verdict
from tests.helpers import slow
from ufm import GraphNetwork, InputError, as_rows, graph, graph_network
from ufm.tolerance import generator_rank

UNEVEN = {"lambda_self": 0.03, "lambda_W": 0.02, "lambda_H": 0.05}


def test_the_objective_is_a_sum_over_graphs_and_nodes():
    model = graph_network(counts="3,4,2", d=4, graphs=3, p=0.9, q=0.4, **UNEVEN)
    W1, W2, H = (np.asarray(x) for x in model.random_point(jax.random.key(0)))
    assert (W1.shape, H.shape) == ((3, 4), (3, 4, 9))
    labels, total = [0, 0, 0, 1, 1, 1, 1, 2, 2], 0.0
    for g in range(3):
        for i in range(9):
            weights = np.asarray(model.means)[g][:, i]
            assert weights.sum() == pytest.approx(1)
            assert set(np.round(weights * np.count_nonzero(weights), 12)) <= {0.0, 1.0}
            z = W1 @ H[g][:, i] + W2 @ (H[g] @ weights)
            total += np.sum((z - np.eye(3)[labels[i]]) ** 2) / (2 * 9 * 3)
    total += 0.015 * np.sum(W1**2) + 0.01 * np.sum(W2**2) + 0.025 * np.sum(H**2) / 3
    point = type(model.random_point(jax.random.key(0)))(W1, W2, H)
    assert float(model.objective(point)) == pytest.approx(total, abs=1e-13)


@pytest.mark.parametrize("draw", [0, slow(5)])
def test_the_minimum_is_that_of_a_convex_solver(draw):
    model = graph_network(2, 4, 4, 2, 0.7, 0.3, draw=draw, **UNEVEN)
    run = solve(model, key=jax.random.key(1))
    told = verdict(model, run.point)
    assert (told.curvature, told.globality) == (Curvature.MORSE_BOTT_MINIMUM, Globality.GLOBAL)
    X = cp.Variable((4, 16))  # [sqrt(l1) W1; sqrt(l2) W2] [H_1, H_2]
    Y = np.eye(2)[:, np.asarray(model.labels)]
    total = np.sqrt(0.05 / 2) * cp.normNuc(X)
    for g, means in enumerate(np.asarray(model.means)):
        part = X[:, 8 * g : 8 * g + 8]
        logits = part[:2] / np.sqrt(0.03) + (part[2:] / np.sqrt(0.02)) @ means
        total += cp.sum_squares(logits - Y) / (2 * 8 * 2)
    value = cp.Problem(cp.Minimize(total)).solve(solver=cp.CLARABEL)
    assert told.objective == pytest.approx(value, abs=1e-7)
    values = np.linalg.eigvalsh(dense_hessian(model, run.point))
    flat = generator_rank(as_rows(model.generators(run.point)))
    assert np.sum(np.abs(values) < 1e-9) == told.count.nullity == flat


def test_the_bound_holds_in_one_dimension_and_at_random_points():
    model = graph_network(2, 4, 1, 2, 0.7, 0.3, **UNEVEN)
    wide = graph_network(2, 4, 4, 2, 0.7, 0.3, **UNEVEN)
    least = solve(wide, key=jax.random.key(0)).objective
    for seed in range(5):
        point = model.random_point(jax.random.key(seed), 0.5)
        assert model.certificate(point).bound <= least + 1e-12
    assert model.generators(point).H.shape[0] == 0


def test_without_the_node_itself_it_is_the_graph_of_one():
    single = graph()
    model = GraphNetwork(
        np.asarray(single.means)[None], single.labels, 1e9, single.lambda_W, single.lambda_H, 3
    )
    assert solve(model, key=jax.random.key(0)).objective == pytest.approx(
        single.minimiser().value, abs=1e-9
    )


def test_graphs_are_those_of_the_draw():
    one, same, other = (graph_network(draw=i).means for i in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    inside = graph_network(2, 5, 3, 1, 1.0, 0.0).means[0]
    np.testing.assert_array_equal(inside[:5, :5], (1 - np.eye(5)) / 4)
    assert not inside[:5, 5:].any()


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"graphs": 0}, "graphs >= 1"),
        ({"graphs": 1001}, "graphs <= 1000"),
        ({"p": 1.2}, "0 <= p <= 1"),
        ({"q": -0.1}, "0 <= q <= 1"),
        ({"p": 0.0, "q": 0.0}, "isolated node"),
        ({"lambda_self": 0.0}, "lambda_self > 0"),
        ({"draw": -1}, "draw >= 0"),
        ({"d": 0}, "d >= 1"),
    ],
)
def test_bad_numbers_are_refused(numbers, says):
    with pytest.raises(InputError, match=says):
        graph_network(**numbers)
