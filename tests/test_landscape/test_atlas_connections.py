"""Gradient flows between orbits: brute-force Hessians, groups, integrators and flood fills."""

import json
from dataclasses import replace
from itertools import pairwise, permutations

import networkx
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.patches import FancyArrowPatch
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.ndimage import label as flood

from landscape.atlas import atlas, same_orbit
from landscape.atlas import basins as basins_module
from landscape.atlas import connections as connections_module
from landscape.atlas import flow as flow_module
from landscape.atlas.basins import disconnectivity
from landscape.atlas.connections import Connections, connect, eigenspaces
from landscape.atlas.flow import (
    DISPLACEMENT,
    Descent,
    automorphisms,
    descend,
    displaced,
    far,
    fixed_space,
    leave,
)
from landscape.critical import find_critical
from landscape.plots.disconnectivity import draw_disconnectivity
from landscape.plots.ladder import short_label
from landscape.plots.pathway import canonical_order, draw_pathway
from landscape.plots.style import RED, style
from tests.helpers import Problem, naive_cross_entropy, naive_squared
from ufm import MSE, UFM, CrossEntropy, InputError, Point, lift
from ufm.chain_rule import flatten, unflatten

pytestmark = pytest.mark.xdist_group("atlas")


def balanced(K, decay=0.02):
    return UFM(CrossEntropy(), K, K, lambda_W=decay, lambda_H=decay)


@pytest.fixture(scope="module")
def three():
    return atlas(balanced(3))


@pytest.fixture(scope="module")
def four():
    return atlas(balanced(4))


@pytest.fixture(scope="module")
def skew():
    """Unequal counts, unequal decays and a bias: nothing is symmetric by accident."""
    model = UFM(CrossEntropy(), counts=(2, 1, 1), d=3, lambda_W=0.02, lambda_H=0.015, lambda_b=0.05)
    return atlas(model)


@pytest.fixture(scope="module")
def wide(four):
    return connect(four, 3)


@pytest.fixture(scope="module")
def small(three):
    return connect(three, 2)


# ---- symmetry


def group_of(Z, counts, b):
    return [
        p
        for p in permutations(range(len(Z)))
        if np.abs(Z[np.ix_(p, p)] - Z).max() < 1e-9
        and list(np.take(counts, p)) == list(counts)
        and (b is None or np.abs(np.take(b, p) - b).max() < 1e-9)
    ]


def generated(generators, K):
    found = {tuple(range(K))}
    while new := {tuple(p[i] for i in q) for p in found for q in generators} - found:
        found |= new
    return found


w = np.array([2.0, 1, 0, -1, -2])
RING = np.array([[np.cos(2 * np.pi * (i - j) / 5) for j in range(5)] for i in range(5)])
SYMMETRIC = {
    "all": (np.eye(5), [1] * 5, None),
    "two counts": (np.eye(5), [2, 1, 2, 1, 1], None),
    "mirror": (np.outer(w, w), [1] * 5, None),
    "ring": (RING, [1] * 5, None),
    "bias": (np.eye(5), [1] * 5, [0.3, 0.3, -1, 0.3, -1]),
    "none": (np.diag(w), [1] * 5, None),
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_generators_give_the_whole_group(name):
    Z, counts, b = SYMMETRIC[name]
    whole = group_of(Z, counts, b)
    assert generated(automorphisms(Z, counts, b), 5) == set(whole)
    assert (len(whole) == 1) == (name == "none")


def projector(Z, W, H, b, counts):
    """The mean of all symmetries as matrices on (W, H, b): projects onto what they fix."""
    K, r = W.shape
    stack = np.concatenate([W, H.T])
    total, group = 0.0, group_of(Z, counts, b)
    for p in map(list, group):
        R = np.linalg.lstsq(stack, np.concatenate([W[p], H.T[p]]), rcond=None)[0]
        assert_allclose(R @ R.T, np.eye(r), atol=1e-8)
        half, shift = np.kron(np.eye(K)[p], R), np.eye(K)[p]
        zero = np.zeros_like(half)
        L = np.block([[half, zero], [zero, half]])
        if b is not None:
            L = np.block([[L, np.zeros((len(L), K))], [np.zeros((K, len(L))), shift]])
        total = total + L / len(group)
    return total


def test_fixed_spaces_are_those_of_the_whole_group(four, skew):
    sizes = []
    for orbit in (*four.orbits, *skew.orbits):
        if not orbit.rank:
            continue
        basis = fixed_space(orbit.model, orbit.point)
        W, H, b = orbit.point
        mean = projector(orbit.Z, W, H, b, orbit.model.counts)
        assert_allclose(basis @ basis.T, mean, atol=1e-8)
        sizes.append(basis.shape[1])
    assert min(sizes) == 2  # the simplex: lengths of W and H
    assert len(set(sizes)) > 3


def test_the_gradient_stays_in_the_fixed_space_and_leaves_others(four):
    orbit = next(o for o in four.orbits if o.label == "merged 2|1|1" and o.rank == 2)
    basis = fixed_space(orbit.model, orbit.point)
    problem = Problem.of(naive_cross_entropy(), [1] * 4, 2, 0.02, 0.02)
    rng = np.random.default_rng(0)

    def outside(columns):
        point = unflatten(columns @ rng.normal(size=columns.shape[1]), orbit.point)
        slope = problem.unpack(problem.value_and_gradient(problem.pack(point))[1])
        x = flatten(slope)
        return np.linalg.norm(x - columns @ (columns.T @ x)) / np.linalg.norm(x)

    assert outside(basis) < 1e-12
    assert outside(np.linalg.qr(rng.normal(size=basis.shape))[0]) > 1e-3


# ---- flows


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
        "verdict": wide.atlas.orbits[0].curvature(3).value,
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


@pytest.mark.slow
def test_five_classes_are_connected_without_loss():
    found = atlas(balanced(5), budget=60)
    assert len(found.orbits) == 26
    made = connect(found, 4)
    assert made.lost == ()
    assert {e.source for e in made.edges} == set(range(1, 26))
    path = [found.orbits[i].label for i in made.steepest_path]
    assert path == ["origin", "merged 4|1", "merged 3|1|1", "merged 2|1|1|1", "simplex ETF"]
    for width, height in ((3.4, 4.6), (7.0, 6.0)):
        clear_labels(made, width, height)


# ---- disconnectivity


def profile(W, decay):
    """min over H of the objective for d = 1 and codes W (..., K): one convex problem per class."""
    K = W.shape[-1]
    value = 0.5 * decay * np.sum(W**2, axis=-1)
    for k in range(K):
        gap = W - W[..., k, None]
        reach = np.abs(gap).max(axis=-1) / (K * decay)
        low, high = -reach, reach
        for _ in range(18):  # |h| < 100: to 1e-3, which moves the minimum by 1e-7
            h = 0.5 * (low + high)
            p = np.exp(h[..., None] * gap - np.max(h[..., None] * gap, axis=-1, keepdims=True))
            slope = np.sum(p * gap, axis=-1) / p.sum(axis=-1) / K + decay * h
            low, high = np.where(slope < 0, h, low), np.where(slope < 0, high, h)
        top = np.max(h[..., None] * gap, axis=-1)
        loss = top + np.log(np.sum(np.exp(h[..., None] * gap - top[..., None]), axis=-1))
        value = value + loss / K + 0.5 * decay * h**2
    return value


def components(K, decay, steps):
    """Number of components of {objective <= level} for d = 1, by flood fill over centred codes.

    For d = 1 it is twice the number modulo rotations until +-(W, H) join. A shift of all codes and
    any other H than the best only add to the objective, so they can be taken away along a path.
    """
    axis = np.linspace(-4, 4, steps)
    grid = np.stack(np.meshgrid(*[axis] * (K - 1), indexing="ij"), axis=-1)
    frame = np.linalg.svd(np.ones((1, K)))[2][1:]
    values = profile(grid @ frame, decay)
    return lambda level: flood(values <= level)[1]


def test_three_classes_on_a_line_join_as_a_flood_fill_says(three):
    tree = disconnectivity(three, 1)
    assert len(tree.leaves) == three.orbits[1].count == 3
    assert [len(merge.children) for merge in tree.merges] == [3]
    assert tree.roots == (3,)
    (barrier,) = (merge.objective for merge in tree.merges)
    count = components(3, 0.02, 161)
    assert count(tree.leaves[0].objective - 1e-3) == 0
    assert count(barrier - 1e-3) == 2 * 3
    assert count(barrier + 1e-3) == 1


def test_four_classes_on_a_line_join_as_a_flood_fill_says(four):
    tree = disconnectivity(four, 1)
    assert len(tree.leaves) == 12
    assert [len(merge.children) for merge in tree.merges] == [4, 4, 4, 3]
    assert tree.lost == ()
    assert tree.roots == (15,)
    first, last = tree.merges[0].objective, tree.merges[-1].objective
    count = components(4, 0.02, 61)
    assert count(tree.leaves[0].objective - 1e-3) == 0
    assert count(first - 2e-3) == 2 * 12
    assert count((first + last) / 2) == 2 * 3
    assert count(last + 2e-3) == 1
    assert tree.height(0) < tree.height(12) < tree.height(15)
    # Copies that join first have the same classes on the same side of zero.
    for merge in tree.merges[:3]:
        signs = {tuple(np.sign(tree.leaves[i].Z[0]).astype(int)) for i in merge.children}
        assert len(signs) == 1


def test_leaves_are_the_copies_of_the_minima(four, skew):
    for found, d in ((four, 2), (skew, 1)):
        tree = disconnectivity(found, d)
        minima = [i for i, o in enumerate(found.orbits) if o.rank <= d and o.index(d) == 0]
        assert [sum(leaf.orbit == i for leaf in tree.leaves) for i in minima] == [
            found.orbits[i].count for i in minima
        ]
        for one, other in permutations(tree.leaves, 2):
            assert np.abs(one.Z - other.Z).max() > 1e-3
        for leaf in tree.leaves:
            orbit = found.orbits[leaf.orbit]
            assert same_orbit(
                (orbit.objective, orbit.Z, orbit.bias),
                (leaf.objective, leaf.Z, leaf.b),
                found.model.counts,
            )
        assert len(tree.roots) == 1


def test_what_the_list_lacks_shows_in_the_tree(four):
    tree = disconnectivity(four, 1)

    def without(i):
        return disconnectivity(replace(four, orbits=four.orbits[:i] + four.orbits[i + 1 :]), 1)

    assert len(without(tree.merges[-1].saddle).roots) == 3
    blind = without(tree.leaves[0].orbit)
    assert (blind.leaves, blind.merges) == ((), ())
    assert len(blind.lost) == 4  # two from each of two saddles
    for end in blind.lost:
        assert_allclose(end.objective, tree.leaves[0].objective, atol=1e-12)


def test_a_flow_that_ends_at_a_saddle_goes_on(four):
    """No saddle of index 1 of these landscapes does that, so one is put in its way."""
    lowest = {i: o for i, o in enumerate(four.orbits) if o.rank <= 1 and o.index(1) == 0}
    saddle = four.orbits[of_label(four, "mirror 1|2|1", 1)]
    model = four.model.with_dimension(1)
    stopped = Descent(saddle.point, saddle.objective, saddle.gradient_norm, True, 0.0, 0, 0.0)
    ends = []
    for seed in range(6):
        end = basins_module._settled(stopped, model, lowest, np.random.default_rng(seed))
        assert not isinstance(end, Descent)
        ends.append(tuple(end[1]))
    assert len(set(ends)) > 1
    lost = replace(stopped, arrived=False)
    assert basins_module._settled(lost, model, lowest, np.random.default_rng(0)) is lost


def test_the_seed_of_a_tree_is_that_of_the_perturbations(four, monkeypatch):
    seen = []
    real = basins_module._settled

    def watched(end, model, lowest, rng):
        seen.append(rng.bit_generator.state["state"]["state"])
        return real(end, model, lowest, rng)

    monkeypatch.setattr(basins_module, "_settled", watched)
    trees = [disconnectivity(four, 2, seed=seed) for seed in (0, 0, 5)]
    assert seen[0] == seen[2] != seen[4]
    assert trees[0].merges == trees[2].merges


def test_trees_that_cannot_be_drawn_are_refused(three):
    with pytest.raises(InputError, match="K <= 6"):
        disconnectivity(replace(three, model=balanced(7).merge().model), 1)
    with pytest.raises(InputError, match="isolated"):
        disconnectivity(atlas(UFM(MSE(), 4, 4, lambda_W=0.05, lambda_H=0.05)), 2)
    with pytest.raises(InputError, match="d >= 1"):
        disconnectivity(three, 0)


# ---- diagrams


def axes(width, height):
    return Figure((width, height), dpi=200, layout="constrained").subplots()


def clear_labels(made, width, height, thumbnails=False):
    """Draw, and check that labels lie inside the axes, on no marker and on no other label."""
    with style():
        ax = axes(width, height)
        assert draw_pathway(made, ax, "title", thumbnails=thumbnails) is ax
        ax.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in ax.texts]
        frame = ax.get_window_extent()
        assert len(boxes) == len(made.nodes)
        assert min(box.x0 for box in boxes) > frame.x0
        assert max(box.x1 for box in boxes) < frame.x1
        boxes += [marks.get_window_extent() for marks in ax.collections]
        boxes += [a.get_window_extent() for a in ax.artists if isinstance(a, AnnotationBbox)]
        boxes.append(ax.get_legend().get_window_extent())
        for i, one in enumerate(boxes):
            for other in boxes[:i]:
                wide = min(one.x1, other.x1) - max(one.x0, other.x0)
                high = min(one.y1, other.y1) - max(one.y0, other.y0)
                assert min(wide, high) <= 0
    return ax


@pytest.mark.parametrize("size", [(3.4, 3.4), (7.0, 4.0)], ids=["column", "page"])
@pytest.mark.parametrize("thumbnails", [False, True])
def test_labels_of_a_pathway_are_clear(small, wide, size, thumbnails):
    for made in (small, wide):
        ax = clear_labels(made, *size, thumbnails=thumbnails)
        pictures = [a for a in ax.artists if isinstance(a, AnnotationBbox)]
        assert len(pictures) == thumbnails * len(made.nodes)
        texts = [text.get_text() for text in ax.texts]
        for i, text in zip(made.nodes, texts, strict=True):
            assert text.startswith(short_label(made.atlas.orbits[i].label))
        arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
        assert len(arrows) == len(made.graph().edges)
        red = [p for p in arrows if p.get_linewidth() == 1.5]
        assert len(red) == len(made.steepest_path) - 1


def test_layers_are_indices_and_the_path_is_red(wide):
    ax = clear_labels(wide, 7.0, 4.0)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "1", "2", "3", "4", "5", "6", "9"]
    places = [text.xy for text in ax.texts]
    ticks = [int(t.get_text()) for t in ax.get_yticklabels()]
    for i, (_, row) in zip(wide.nodes, places, strict=True):
        assert ticks[int(row)] == wide.atlas.orbits[i].index(3)
    red = [p for p in ax.patches if isinstance(p, FancyArrowPatch) and p.get_linewidth() == 1.5]
    ends = {tuple(np.round(p.get_path().vertices[0][:1], 3)) for p in red}
    assert len(ends) <= len(red)
    assert ax.get_title(loc="left") == "title"
    assert {tuple(p.get_edgecolor()[:3]) for p in red} == {(0xD5 / 255, 0x5E / 255, 0.0)}
    assert RED == "#D55E00"


def test_numbers_take_the_place_of_labels_that_do_not_fit(wide):
    texts = [text.get_text() for text in clear_labels(wide, 1.9, 3.0).texts]
    assert texts == [str(i) for i in wide.nodes]


def test_classes_are_drawn_in_the_order_of_their_symmetry(four):
    shapes = {}
    for orbit in four.orbits:
        order = canonical_order(orbit)
        assert sorted(order) == [0, 1, 2, 3]
        shapes[orbit.label, orbit.rank] = orbit.Z[np.ix_(order, order)]
    lump = shapes["merged 3|1", 1]
    assert_allclose(lump[0], lump[2], atol=1e-9)
    assert not np.allclose(lump[0], lump[3])
    ring = shapes["4-gon", 2]
    assert_allclose(ring[0, 2], -ring[0, 0], atol=1e-9)  # the opposite corner comes two later
    assert_allclose(ring[0, 1], 0, atol=1e-9)


@pytest.mark.parametrize("width", [3.4, 7.0])
def test_a_tree_has_a_line_per_minimum_and_a_bar_per_barrier(four, width):
    tree = disconnectivity(four, 1)
    with style():
        ax = axes(width, 2.6)
        assert draw_disconnectivity(tree, ax, "title") is ax
        ax.figure.draw_without_rendering()
    lines = [np.asarray(line.get_xydata()) for line in ax.lines]
    upright = [xy for xy in lines if len(xy) == 2 and xy[0, 0] == xy[1, 0]]
    bars = [xy for xy in lines if len(xy) == 2 and xy[0, 1] == xy[1, 1] and np.ptp(xy[:, 0]) != 1]
    assert len(upright) == 12 + 4
    assert sorted(xy[0, 1] for xy in bars) == [merge.objective for merge in tree.merges]
    ends = sorted(xy[0, 0] for xy in upright[:12])
    assert ends == list(range(12))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["mirror 1|1|1|1 ×12"]
    assert [t.get_text() for t in ax.texts] == ["2|1|1", "mirror 1|2|1"]
    one, other = (text.get_window_extent() for text in ax.texts)
    assert not one.overlaps(other)
    inner = {child: merge for merge in tree.merges for child in merge.children}
    for leaf, xy in enumerate(sorted(upright[:12], key=lambda xy: xy[0, 1])):
        assert xy[1, 1] == inner[leaf].objective


def test_a_single_minimum_is_a_tree(three):
    tree = disconnectivity(three, 2)
    assert (len(tree.leaves), tree.merges, tree.roots) == (1, (), (0,))
    with style():
        ax = axes(3.4, 2.6)
        draw_disconnectivity(tree, ax)
        ax.figure.draw_without_rendering()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["simplex ETF ×1"]


def test_a_path_follows_the_fastest_eigenspace_to_the_nearest_orbit(small):
    assert small.steepest_path == (3, 2, 0)
    slow = tuple(e for e in small.edges if not (e.source == 2 and e.complement))
    assert Connections(small.atlas, 2, slow).steepest_path == (3, 2, 1, 0)
    for one, other in pairwise(small.steepest_path):
        assert small.graph().has_edge(one, other)
