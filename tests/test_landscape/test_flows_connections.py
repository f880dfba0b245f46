"""Connections between orbits: flows and directions against brute force, and known graphs."""

import json
from dataclasses import replace
from itertools import pairwise

import networkx
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from landscape.atlas import atlas, same_orbit
from landscape.flows import connections as connections_module
from landscape.flows import descent as flow_module
from landscape.flows.connections import Connections, connect
from landscape.flows.descent import (
    DISPLACEMENT,
    Descent,
    descend,
    displaced,
    far,
    leave,
)
from landscape.flows.unstable import eigenspaces
from landscape.solvers.critical import find_critical
from tests.helpers import Problem, naive_cross_entropy, naive_squared
from tests.landscapes import balanced
from ufm import MSE, UFM, CrossEntropy, InputError, Point, lift
from ufm.point import flatten

pytestmark = pytest.mark.xdist_group("atlas")


w = np.array([2.0, 1, 0, -1, -2])


def integrated(problem, start, time):
    """DOP853 on all samples, with a gradient of its own: objectives and points on the way."""

    def velocity(_, x):
        return -problem.value_and_gradient(x)[1]

    way = solve_ivp(velocity, (0, time), problem.pack(start), "DOP853", rtol=1e-10, atol=1e-12)
    values = np.array([problem.value_and_gradient(x)[0] for x in way.y.T])
    return values, [problem.unpack(x) for x in way.y.T]


CASES = {  # counts, d, lambda_W, lambda_H, lambda_b
    "balanced": ((2, 2, 2), 2, 0.01, 0.02, None),
    "unequal": ((3, 1, 2, 1), 3, 0.01, 0.01, None),
    "bias": ((2, 3, 1), 2, 0.02, 0.01, 0.03),
}


@pytest.mark.parametrize("name", CASES)
def test_a_flow_ends_where_all_samples_flow(name):
    counts, d, lw, lh, lb = CASES[name]
    full = UFM(CrossEntropy(), counts=counts, d=d, lambda_W=lw, lambda_H=lh, lambda_b=lb)
    problem = Problem.of(naive_cross_entropy(), counts, d, lw, lh, lb)
    rng = np.random.default_rng(1)
    K = len(counts)
    start = Point(rng.normal(size=(K, d)), rng.normal(size=(d, K)), None if lb is None else w[:K])
    end = descend(full.merge().model, start)
    values, points = integrated(problem, lift(full, start), 1500)
    assert end.arrived
    assert end.gradient_norm <= 1e-12
    assert end.rise <= 1e-14
    assert np.diff(values).max() < 1e-12
    assert_allclose(end.objective, values[-1], atol=1e-9)
    mine, last = lift(full, end.point), points[-1]
    assert_allclose(mine.W @ mine.H, last.W @ last.H, atol=1e-4)
    if lb is not None:
        assert_allclose(mine.b, last.b, atol=1e-4)


def of_label(found, name, rank):
    return next(
        i for i, o in enumerate(found.orbits) if o.label.startswith(name) and o.rank == rank
    )


def test_a_symmetric_flow_is_kept_where_plain_integration_loses_it(four):
    """From 3|1 towards 2|1|1 in one new dimension: two classes of three stay together."""
    source = four.orbits[of_label(four, "merged 3|1", 1)]
    target = four.orbits[of_label(four, "merged 2|1|1", 2)]
    (space,) = [s for s in eigenspaces(source, 2, np.random.default_rng(0)) if s.complement]
    ends = [leave(source.model, space.base, move) for move in space.moves]
    reached = [abs(end.objective - target.objective) < 1e-12 for end in ends]
    assert sum(reached) == 1
    assert all(end.arrived and end.rise <= 1e-14 for end in ends)
    move = space.moves[reached.index(True)]
    start = displaced(space.base, move, DISPLACEMENT * max(1, np.linalg.norm(flatten(space.base))))
    plain = descend(source.model.with_dimension(2), start)
    assert plain.arrived
    assert plain.objective < target.objective - 0.1
    # An independent integrator passes the target before rounding drives it away.
    problem = Problem.of(naive_cross_entropy(), [1] * 4, 2, 0.02, 0.02)
    values, points = integrated(problem, start, 600)
    Z = ends[reached.index(True)].point.W @ ends[reached.index(True)].point.H
    nearest = min(np.abs(point.W @ point.H - Z).max() for point in points)
    assert nearest < 0.02
    assert values[-1] < target.objective - 0.1


def test_a_saddle_in_passing_is_not_an_end(four):
    """Started close to a saddle, off its stable directions, the flow does not stay."""
    saddle = four.orbits[of_label(four, "4-gon", 2)]
    rng = np.random.default_rng(2)
    move = Point(rng.normal(size=(4, 3)), rng.normal(size=(3, 4)))
    end = descend(saddle.model.with_dimension(3), displaced(saddle.point, move, 1e-6))
    assert end.arrived
    assert_allclose(end.objective, four.orbits[0].objective, atol=1e-12)


def test_a_flow_that_takes_too_long_has_not_arrived(monkeypatch, three):
    start = far(three.orbits[0].point, three.orbits[0].point)
    model = three.orbits[0].model
    assert descend(model, start).arrived
    monkeypatch.setattr(flow_module, "MAX_STEPS", 2)
    end = descend(model, start)
    assert not end.arrived
    assert end.steps == 2
    assert end.gradient_norm > 1e-6


# ---- eigenspaces


@pytest.mark.parametrize("name", ["four", "skew"])
def test_directions_are_eigenvectors_of_the_full_hessian(name, request):
    """Every move is an eigenvector in its dimension; dimensions add up to the index."""
    found = request.getfixturevalue(name)
    model = found.model
    decays = (model.lambda_W, model.lambda_H, model.lambda_b)
    kinds = set()
    for d in (1, 3):
        for orbit in (o for o in found.orbits if o.rank <= d):
            spaces = list(eigenspaces(orbit, d, np.random.default_rng(0)))
            assert sum(space.dimension for space in spaces) == orbit.index(d)
            values = [space.eigenvalue for space in spaces]
            assert len({round(v, 6) for v in values}) >= len(values) - 1
            for space in spaces:
                kinds.add((space.complement, space.dimension > 1))
                for move in space.moves:
                    width = move.W.shape[1]
                    assert width <= d
                    problem = Problem.of(
                        naive_cross_entropy(), model.counts_tuple, width, *decays, merged=True
                    )
                    place = problem.pack(displaced(space.base, move, 0.0))
                    v = problem.pack(move)
                    assert_allclose(np.linalg.norm(v), 1, atol=1e-12)
                    image = problem.hessian(place) @ v
                    assert_allclose(image, space.eigenvalue * v, atol=1e-9)
    assert (False, False) in kinds
    assert (True, False) in kinds
    assert ((False, True) in kinds) == (name == "four")


def test_single_directions_are_followed_both_ways(four, skew):
    """Unless a symmetry of the saddle turns one into the other."""
    seen = set()
    for found in (four, skew):
        for orbit in (o for o in found.orbits if o.rank <= 3):
            for space in eigenspaces(orbit, 3, np.random.default_rng(0)):
                if space.complement or space.dimension > 1:
                    continue
                move = space.moves[0]
                back = Point(-move.W, -move.H, None if move.b is None else -move.b)
                ways = [far(space.base, way) for way in (move, back)]
                items = [(0.0, x.W @ x.H, x.b) for x in ways]
                alike = same_orbit(*items, found.model.counts)
                assert len(space.moves) == (1 if alike else 2)
                if not alike:
                    assert_allclose(space.moves[1].W, back.W, atol=1e-12)
                seen.add(alike)
    assert seen == {True, False}


def test_the_origin_is_left_along_every_axis_of_symmetry(four):
    """One new dimension at K = 4: 3|1, 2|2 and 1|2|1 are fixed up to sign by a subgroup each."""
    (space,) = eigenspaces(four.orbits[-1], 3, np.random.default_rng(0))
    lines = [np.sort(np.abs(move.W[:, 0])) for move in space.moves if move.W.shape[1] == 1]
    for axis in ([1, 1, 1, -3], [1, 1, -1, -1], [1, -1, 0, 0]):
        wanted = np.sort(np.abs(axis)) / np.linalg.norm(axis) / np.sqrt(2)  # the rest is in H
        assert min(np.abs(line - wanted).max() for line in lines) < 1e-6
    assert {move.W.shape[1] for move in space.moves} == {1, 2, 3}


# ---- connections


def test_edges_go_down_and_every_saddle_has_one(wide, small):
    for made in (wide, small):
        assert made.lost == ()
        orbits = made.atlas.orbits
        for edge in made.edges:
            assert edge.drop == orbits[edge.source].objective - orbits[edge.target].objective > 0
            assert edge.eigenvalue < 0
            assert edge.flows > 0
        saddles = {i for i in made.nodes if orbits[i].index(made.d)}
        assert {edge.source for edge in made.edges} == saddles
        assert saddles == set(made.nodes) - {0}


@pytest.mark.parametrize("d", [2, 3, 5])
def test_the_origin_reaches_the_simplex(three, d):
    graph = connect(three, d).graph()
    assert networkx.is_directed_acyclic_graph(graph)
    assert networkx.has_path(graph, 3, 0)
    assert [i for i in graph if graph.out_degree(i) == 0] == [0]
    assert set(graph.edges) == {(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)}


def test_four_classes_are_connected_as_symmetry_says(wide):
    """The rank never falls along an edge of range directions alone; classes once apart stay so."""
    orbits, names = wide.atlas.orbits, [o.label for o in wide.atlas.orbits]
    origin, simplex = len(orbits) - 1, 0
    assert networkx.has_path(wide.graph(), origin, simplex)
    reached = {edge.target for edge in wide.edges if edge.source == origin}
    assert reached == set(range(origin)) - {names.index("symmetry of order 2")}
    for edge in wide.edges:
        if not edge.complement:
            assert orbits[edge.target].rank <= orbits[edge.source].rank
    # The fastest way splits off one class after the other.
    path = [names[i] for i in wide.steepest_path]
    assert path == ["origin", "merged 3|1", "merged 2|1|1", "simplex ETF"]


def test_dimensions_limit_what_is_reached(four):
    line = connect(four, 1)
    assert {four.orbits[i].rank for i in line.nodes} == {0, 1}
    assert {four.orbits[edge.target].rank for edge in line.edges} == {1}
    (spurious,) = [i for i in line.nodes if four.orbits[i].index(1) == 0]
    assert four.orbits[spurious].label == "mirror 1|1|1|1"
    with pytest.raises(InputError, match="d >= 1"):
        connect(four, 0)


def test_a_missing_orbit_is_found_where_flows_get_lost(three, small):
    missing = three.orbits[1]
    short = replace(three, orbits=(three.orbits[0], *three.orbits[2:]))
    made = connect(short, 2)
    assert made.lost
    known = sum(edge.flows for edge in small.edges if edge.source > 1)
    assert sum(edge.flows for edge in made.edges) + len(made.lost) == known
    for lost in made.lost:
        assert lost.end.arrived
        assert lost.end.point.W.shape == (3, missing.rank)
        Z = lost.end.point.W @ lost.end.point.H
        item = (lost.end.objective, Z, None)
        assert same_orbit((missing.objective, missing.Z, None), item, [1, 1, 1])
    told = made.as_dict()["lost"]
    assert [entry["objective"] for entry in told] == [lost.end.objective for lost in made.lost]
    assert np.shape(told[0]["W"]) == (3, 1)


def test_lost_ends_are_given_in_their_rank(three, monkeypatch):
    short = replace(three, orbits=(three.orbits[0], *three.orbits[2:]))
    W, H, b = three.orbits[1].point
    wide = Point(np.pad(W, ((0, 0), (0, 1))), np.pad(H, ((0, 1), (0, 0))), b)
    end = Descent(wide, three.orbits[1].objective, 0.0, True, 0.0, 0, 0.0)
    monkeypatch.setattr(connections_module, "leave", lambda *_: end)
    for lost in connect(short, 2).lost:
        assert lost.end.point.W.shape == (3, 1)
        assert_allclose(lost.end.point.W @ lost.end.point.H, W @ H, atol=1e-12)


def test_seed_and_progress(three, monkeypatch):
    moves, steps = [], []

    def stuck(model, base, move):
        moves[-1].append(flatten(move))
        return Descent(displaced(base, move, 0.0), 0.0, 1.0, False, 0.0, 0, 0.0)

    monkeypatch.setattr(connections_module, "leave", stuck)
    for seed in (0, 0, 1):
        moves.append([])
        made = connect(three, 2, seed=seed, progress=lambda *x: steps.append(x))
        assert made.edges == ()
        assert len(made.lost) == len(moves[-1])
        assert not any(lost.end.arrived for lost in made.lost)
    assert steps == 3 * [(1, 4), (2, 4), (3, 4), (4, 4)]
    same, other = (
        [np.array_equal(a, b) for a, b in zip(moves[0], moves[k], strict=True)] for k in (1, 2)
    )
    assert all(same)
    assert other.count(False) == 2  # from the origin, of rank one and of rank two


def test_the_graph_can_be_written_and_read(wide):
    graph = wide.graph()
    back = networkx.parse_graphml("\n".join(networkx.generate_graphml(graph)), node_type=int)
    assert dict(back.nodes(data=True)) == dict(graph.nodes(data=True))
    assert {(*e, str(x)) for *e, x in back.edges(data=True)} == {
        (*e, str(x)) for *e, x in graph.edges(data=True)
    }
    assert (
        networkx.node_link_graph(
            json.loads(json.dumps(networkx.node_link_data(graph, edges="links"))), edges="links"
        ).edges
        == graph.edges
    )
    assert graph.nodes[0] == {
        "objective": wide.atlas.orbits[0].objective,
        "rank": 3,
        "index": 0,
        "nullity": 3,
        "count": 1,
        "label": "simplex ETF",
        "verdict": wide.atlas.orbits[0].curvature(3).name,
    }
    record = json.loads(json.dumps(wide.as_dict()))
    assert [node["id"] for node in record["nodes"]] == list(wide.nodes)
    assert len(record["edges"]) == len(wide.edges)
    # An arrow carries all flows of its eigenspaces and the fastest of their eigenvalues.
    for source, target, fields in graph.edges(data=True):
        parts = [e for e in wide.edges if (e.source, e.target) == (source, target)]
        assert fields["flows"] == sum(e.flows for e in parts)
        assert fields["eigenvalue"] == min(e.eigenvalue for e in parts)
    assert len(graph.edges) < len(wide.edges)


def test_continua_of_squared_error_are_identified():
    """MSE-3 with three equal classes: projectors of rank r, one orbit each, every drop possible."""
    found = atlas(UFM(MSE(), 3, 3, lambda_W=0.05, lambda_H=0.05))
    made = connect(found, 3)
    assert made.lost == ()
    ranks = {(found.orbits[e.source].rank, found.orbits[e.target].rank) for e in made.edges}
    assert ranks == {(r, s) for s in range(4) for r in range(s)}
    blind = replace(found, orbits=tuple(replace(orbit, betti=()) for orbit in found.orbits))
    assert connect(blind, 3).lost
    # The flow along one singular direction ends with one more at its full value.
    problem = Problem.of(naive_squared(), [1, 1, 1], 1, 0.05, 0.05)
    line = next(space for space in eigenspaces(found.orbits[-1], 1, np.random.default_rng(0)))
    end = leave(found.model, line.base, line.moves[-1])
    assert np.linalg.norm(problem.value_and_gradient(problem.pack(end.point))[1]) < 1e-12
    assert_allclose(np.linalg.norm(end.point.W @ end.point.H, 2), 1 - 3 * 0.05, atol=1e-10)


@pytest.mark.slow
def test_flows_find_a_fold_that_topology_cannot_see():
    """K = 4, lambda = 5e-4: without a pair of equal count, rank and overshoot all checks pass."""
    model = balanced(4, 5e-4)
    line = model.merge().model.with_dimension(1)
    ends = {
        "minimum": ([2.0735, -6.7663, 2.0735, 2.6193], [0.2964, -1.0518, 0.2964, 7.7435]),
        "saddle": ([2.2971, 2.2971, -6.1786, 1.5844], [4.9955, 4.9955, -1.1356, 0.1999]),
    }
    fold = []
    for W, H in ends.values():
        start = Point(np.array(W)[:, None], np.array(H)[None])
        fold.append(find_critical(line, start, 1e-12, 100)[0].to_numpy())
    found = atlas(model, known=fold)
    pair = [
        next(o for o in found.orbits if np.allclose(o.objective, model_value(line, point)))
        for point in fold
    ]
    assert [(o.count, o.rank, o.range_index, o.overshoot) for o in pair] == [
        (12, 1, 0, 2),
        (12, 1, 1, 2),
    ]
    short = replace(found, orbits=tuple(o for o in found.orbits if o not in pair))
    assert set(short.checksum.values()) == {1}
    assert all(short.inequalities.values())
    lost = connect(short, 1).lost
    values = {round(lost.end.objective, 9) for lost in lost if lost.end.arrived}
    assert values == {round(o.objective, 9) for o in pair}
    assert connect(found, 1).lost == ()


def model_value(model, point):
    return float(model.value_and_gradient(point)[0])


def test_a_path_follows_the_fastest_eigenspace_to_the_nearest_orbit(small):
    assert small.steepest_path == (3, 2, 0)
    slow = tuple(e for e in small.edges if not (e.source == 2 and e.complement))
    assert Connections(small.atlas, 2, slow).steepest_path == (3, 2, 1, 0)
    for one, other in pairwise(small.steepest_path):
        assert small.graph().has_edge(one, other)


@pytest.mark.slow
def test_five_classes_are_connected_without_loss():
    found = atlas(balanced(5), budget=60)
    assert len(found.orbits) == 26
    made = connect(found, 4)
    assert made.lost == ()
    assert {e.source for e in made.edges} == set(range(1, 26))
    path = [found.orbits[i].label for i in made.steepest_path]
    assert path == ["origin", "merged 4|1", "merged 3|1|1", "merged 2|1|1|1", "simplex ETF"]
