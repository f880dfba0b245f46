"""Graphs: collapse, closed form and blocks against descents, CVXPY and dense Hessians."""

import jax
import networkx as nx
import numpy as np
import pytest
import scipy.sparse

from landscape import Curvature, dense_hessian, solve, verdict
from tests.helpers import slow
from ufm import InputError, Point, as_rows, equal_counts_probability, graph, graph_of
from ufm.tolerance import generator_rank

TRIANGLES = "0-1,1-2,0-2,3-4,4-5,3-5,0-3,1-3"


def some_graph(d=3):
    """A connected random graph of unequal classes."""
    network = nx.gnp_random_graph(9, 0.5, seed=3)
    return graph_of(nx.to_scipy_sparse_array(network), "4,2,3", d, 0.013, 0.02)


def test_the_objective_is_a_sum_over_nodes_and_neighbours():
    model = graph(counts="3,3", edges=TRIANGLES, lambda_W=0.03, lambda_H=0.07, d=4)
    W, H, _ = model.random_point(jax.random.key(0))
    neighbours = {0: (1, 2, 3), 1: (0, 2, 3), 2: (0, 1), 3: (4, 5, 0, 1), 4: (3, 5), 5: (4, 3)}
    total = 0.015 * np.sum(W**2) + 0.035 * np.sum(H**2)
    for i, near in neighbours.items():
        z = W @ H[:, list(near)].mean(axis=1)
        total += np.sum((z - np.eye(2)[int(i > 2)]) ** 2) / 12
    assert float(model.objective(Point(W, H))) == pytest.approx(total, abs=1e-13)


@pytest.mark.parametrize("model", [graph(), graph(3, 4, 5, 3, 1), some_graph(4)])
def test_the_blocks_are_the_dense_hessian_at_any_point(model):
    """GU-3: random points, the origin, and minima, collapsed or not."""
    start = model.random_point(jax.random.key(0))
    points = [start, jax.tree.map(np.zeros_like, start), solve(model).point]
    for point in points:
        known = model.structure(point)
        dense = np.linalg.eigvalsh(dense_hessian(model, point))
        np.testing.assert_allclose(known.levels.expand(), dense, atol=1e-9)
        assert known.predicted_nullity == generator_rank(as_rows(model.generators(point)))
    assert known.predicted_nullity == np.sum(np.abs(dense) < 1e-8)


# K, n, d, neighbours inside and outside: f, logits along the eigenvectors of the fractions.
FIXTURES = [
    (2, 6, 3, 4, 1, 0.01, 0.02, 0.0878427097),
    (2, 6, 3, 1, 4, 0.01, 0.02, 0.0878427097),
    slow(3, 6, 4, 3, 1, 0.01, 0.02, 0.1835460969),
    slow(2, 500, 8, 13, 1, 0.005, 0.005, 0.21272681),
]


@pytest.mark.parametrize(("K", "n", "d", "inside", "outside", "lw", "lh", "f"), FIXTURES)
def test_equitable_graphs_in_closed_form(K, n, d, inside, outside, lw, lh, f):
    model = graph(K, n, d, inside, outside, lw, lh)
    assert max(model.collapse_conditions()) < 1e-12
    best = model.minimiser()
    judged = verdict(model, best.point)
    assert best.value == pytest.approx(f, abs=6e-9 if n > 100 else 1e-10)
    assert judged.objective == pytest.approx(best.value, abs=1e-14)
    assert judged.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert judged.count.nullity == K * (d - K) + K * (K - 1) // 2
    assert judged.globality.name == "GLOBAL"
    assert judged.certificate.gap < 1e-13
    if n > 100:  # the numbers of the paper's graphs, without fluctuations
        Z = best.point.W @ best.point.H @ model.means
        mean = Z[:, [0, n]]
        assert np.sum(mean) / 2 == pytest.approx(0.7763932, abs=1e-7)
        assert np.array([1, -1]) @ mean @ [1, -1] / 2 == pytest.approx(0.7391254, abs=1e-7)


@pytest.mark.parametrize("changes", [{"d": 1}, {"lambda_W": 0.08}, {"lambda_W": 0.9}])
def test_no_descent_ends_below_soft_thresholding(changes):
    """Too narrow, one fraction dropped, all dropped."""
    model = graph(**{"num_classes": 2, "n": 5, "d": 3, "inside": 2, "outside": 1, **changes})
    best = model.minimiser()
    found = [solve(model, key=jax.random.key(i)).objective for i in range(4)]
    assert min(found) == pytest.approx(best.value, abs=1e-10)
    assert best.evidence == ("derived" if model.d == 1 else "proved")


def shares(model, H):
    """|H - class means|^2 / |H|^2."""
    return np.sum((H - H @ model.class_means()) ** 2) / np.sum(H**2)


def test_partial_collapse_belongs_to_the_minimiser():
    model = graph(counts="3,3", edges=TRIANGLES)
    assert min(model.collapse_conditions()) > 0.1
    assert model.minimiser() is None
    found = solve(model)
    assert found.objective == pytest.approx(0.0658972547, abs=1e-10)
    H = np.asarray(found.point.H)
    assert shares(model, H) == pytest.approx(0.2500550435, abs=1e-9)
    assert shares(model, H @ model.means) == pytest.approx(0.0026984114, abs=1e-9)
    within = np.sum((H - H @ model.class_means()) ** 2) / 6
    assert within == pytest.approx(0.1285719817, abs=1e-9)


def test_equal_ratios_do_not_suffice_on_a_path_of_four_nodes():
    model = graph(counts="2,2", edges="0-2,0-3,1-2")
    forward, backward = model.collapse_conditions()
    assert forward < 1e-15
    assert backward == pytest.approx(0.25)
    judged = verdict(model, solve(model).point)
    assert judged.globality.name == "GLOBAL"
    assert shares(model, np.asarray(judged.point.H)) > 1e-3


def two_degrees():
    """Two classes of 12: eight nodes of degree 3 and four of degree 6, two thirds at home."""
    edges = []
    for first, other in ((0, 12), (12, 0)):
        for i in range(8):
            hubs = first + 8 + i % 4, first + 8 + (i + 1) % 4, other + 8 + i % 4
            edges += [f"{first + i}-{hub}" for hub in hubs]
    return graph(counts="12,12", edges=",".join(edges), d=3, lambda_W=0.01, lambda_H=0.02)


def test_what_collapse_costs_on_a_graph_of_equal_ratios():
    """CVXPY on all nodes, free and constant on classes."""
    cvxpy = pytest.importorskip("cvxpy")
    model = two_degrees()
    degrees = np.sum(np.asarray(model.means) > 0, axis=0)
    assert sorted(set(degrees.tolist())) == [3, 6]
    forward, backward = model.collapse_conditions()
    assert forward < 1e-14 < 0.05 < backward
    values = []
    for X in (cvxpy.Variable((2, 24)), cvxpy.Variable((2, 2)) @ model.targets):
        fit = cvxpy.sum_squares(X @ model.means - model.targets) / 48
        cost = fit + model.sigma * cvxpy.normNuc(X)
        values.append(cvxpy.Problem(cvxpy.Minimize(cost)).solve(solver=cvxpy.CLARABEL))
    run = solve(model, key=jax.random.key(0))
    told = model.measures(run.point)
    assert run.objective == pytest.approx(0.1635596791, abs=1e-10)
    assert told["collapsed_minimum"] == pytest.approx(0.1719591794, abs=1e-10)
    assert [run.objective, told["collapsed_minimum"]] == pytest.approx(values, abs=1e-7)
    assert told["share_within"] == pytest.approx(0.034681888, abs=1e-9)
    assert told["share_within_of_means"] == pytest.approx(0.0118631975, abs=1e-9)
    assert model.minimiser() is None
    narrow = model.with_dimension(1).measures(Point(run.point.W[:, :1], run.point.H[:1]))
    assert narrow["collapsed_minimum"] > told["collapsed_minimum"] + 0.01
    assert (
        some_graph().measures(some_graph().random_point(jax.random.key(0)))["collapsed_minimum"]
        is None
    )


def test_the_certificate_is_the_convex_problem_of_logits():
    """CVXPY, which knows nothing of factors."""
    cvxpy = pytest.importorskip("cvxpy")
    model = some_graph()
    X = cvxpy.Variable((3, 9))
    fit = cvxpy.sum_squares(X @ model.means - model.targets) / 18
    problem = cvxpy.Problem(cvxpy.Minimize(fit + model.sigma * cvxpy.normNuc(X)))
    problem.solve(solver="CLARABEL")
    judged = verdict(model, solve(model).point)
    assert judged.objective == pytest.approx(problem.value, abs=1e-7)
    assert judged.globality.name == "GLOBAL"
    off = model.certificate(model.random_point(jax.random.key(0)))
    assert off.bound < problem.value + 1e-9
    assert off.gap > 0.01


RING = nx.to_numpy_array(nx.cycle_graph(4))


@pytest.mark.parametrize(
    ("adjacency", "counts", "says"),
    [
        (RING[:3], "2,2", "shape (3, 4)"),
        (RING, "2,3", "adjacency matrix of 5 nodes"),
        (2 * RING, "2,2", "unweighted graph, entries 0 and 1. Got 2 between nodes 0 and 1"),
        (RING - 0.5 * np.diag([0, 0, 1.0], 1), "2,2", "Got 0.5 between nodes 2 and 3"),
        (np.triu(RING), "2,2", "an edge of nodes 0 and 1 in one direction"),
        (RING + np.diag([0, 0, 1.0, 0]), "2,2", "a loop at node 2"),
        (scipy.sparse.csr_array(RING - RING), "2,2", "isolated node 0"),
    ],
)
def test_what_is_no_such_graph_is_refused(adjacency, counts, says):
    with pytest.raises(InputError) as caught:
        graph_of(adjacency, counts, 2, 0.01, 0.02)
    assert says in str(caught.value)


def test_decays_and_dimensions_are_checked():
    for changes, says in (({"lambda_W": 0.0}, "lambda_W > 0"), ({"d": 0}, "d >= 1")):
        with pytest.raises(InputError, match=says):
            graph(**changes)


def test_probabilities_add_up_over_all_counts():
    """Of one edge inside and one outside the classes, by hand: K = 2, n = 2."""
    p, q = 0.3, 0.2
    other = q**4 + (1 - q) ** 4 + 2 * q**2 * (1 - q) ** 2
    assert equal_counts_probability(2, 2, p, q) == pytest.approx(other, abs=1e-15)
    assert equal_counts_probability(3, 1, p, q) == 1.0


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((1, 3, 0.5, 0.5), "K >= 2"),
        ((2, 0, 0.5, 0.5), "n >= 1"),
        ((2, 13, 0.5, 0.5), "n <= 12"),
        ((2, 3, 1.5, 0.5), "inside <= 1"),
        ((2, 3, 0.5, -0.1), "outside <= 1"),
    ],
)
def test_probabilities_refuse_what_is_none(numbers, says):
    with pytest.raises(InputError, match=says):
        equal_counts_probability(*numbers)


def test_points_that_keep_some_fractions_are_critical():
    model = graph(3, 4, 5, 3, 1, 0.01, 0.02)
    best = model.minimiser().point
    np.testing.assert_array_equal(model.explicit("1,1,1").W, best.W)
    for name in ("1,0,0", "0,1,1", "0,0,0"):
        point = model.explicit(name)
        slope = model.gradient(point)
        assert max(np.abs(slope.W).max(), np.abs(slope.H).max()) < 1e-15
        assert np.linalg.matrix_rank(point.W) == name.count("1")
    assert model.explicit("elsewhere") is None
