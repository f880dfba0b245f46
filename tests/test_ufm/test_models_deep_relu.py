"""Deep ReLU networks: forward pass, explicit networks, kinks, and what descents reach from them."""

import jax
import numpy as np
import pytest

from landscape import Curvature, Globality, dense_hessian, verdict
from proofs_check.claims.deep_relu import lowered, value_and_slope
from tests.helpers import slow
from ufm import MSE, CrossEntropy, as_rows, deep_linear, deep_relu
from ufm.model import value_and_gradient
from ufm.models.first_order import collapse_price
from ufm.models.low_rank_codes import PLANE, low_rank_codes
from ufm.tolerance import generator_rank


def at_share(share, K, depth, **more):
    """Equal decays at a share of the collapse threshold."""
    decay = share * collapse_price(depth + 1) / ((depth + 1) * K)
    return deep_relu(num_classes=K, depth=depth, lambda_W=decay, lambda_H=decay, **more)


def test_the_objective_is_that_of_its_definition():
    model = deep_relu(CrossEntropy(), lambda_W=0.3, lambda_H=0.7, counts="2,1,3", widths="4,6,5")
    point = model.random_point(jax.random.key(0))
    W1, W2, W3 = (np.asarray(W) for W in point.weights)
    assert [W.shape for W in (W1, W2, W3)] == [(6, 4), (5, 6), (3, 5)]
    total = 0.0
    for h, k in zip(np.asarray(point.H).T, (0, 0, 1, 2, 2, 2), strict=True):
        z = W3 @ np.maximum(W2 @ np.maximum(W1 @ h, 0), 0)
        total += (np.log(np.exp(z).sum()) - z[k]) / 6
    total += 0.15 * sum(np.sum(W**2) for W in (W1, W2, W3)) + 0.35 * np.sum(point.H**2)
    assert float(model.objective(point)) == pytest.approx(total, abs=1e-13)


def test_the_gradient_by_hand_is_the_gradient():
    model = deep_relu(lambda_W=0.3, lambda_H=0.7, counts="2,1,3", widths="4,6,5")
    point = model.random_point(jax.random.key(0))
    value, slopes = value_and_slope(model, [np.asarray(x) for x in point.factors()])
    told, gradient = value_and_gradient(model, point)
    assert value == pytest.approx(float(told), abs=1e-13)
    for mine, theirs in zip(slopes, gradient.factors(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-13)


def test_one_weight_matrix_is_the_plain_model():
    model = deep_relu(CrossEntropy(), 3, 4, 2, 1)
    linear = deep_linear(CrossEntropy(), 3, 4, 2, 1)
    assert model.minimiser().value == linear.minimiser().value
    told = verdict(model, model.minimiser().point)
    assert (told.curvature, told.globality) == (Curvature.MORSE_BOTT_MINIMUM, Globality.GLOBAL)


@pytest.mark.parametrize(("K", "n", "depth"), [(3, 1, 2), (3, 2, 4), (2, 3, 3), (5, 1, 5)])
def test_collapse_has_the_value_of_the_linear_network(K, n, depth):
    decay = 0.6 * collapse_price(depth + 1) / ((depth + 1) * K * n ** (1 / (depth + 1)))
    model = deep_relu(None, K, K + 1, n, depth, 2 * decay, 2.0**-depth * decay)
    linear = deep_linear(MSE(), K, K + 1, n, depth, 2 * decay, 2.0**-depth * decay)
    value = float(model.objective(model.collapsed_point()))
    assert value == pytest.approx(linear.minimiser().value, abs=1e-13)


PLANES = [
    (3, 0.5, 0.2826174518),
    (4, 0.5, 0.2524848178),
    (4, 0.9, 0.4449711689),
    (5, 0.5, 0.2346534176),
]


@pytest.mark.parametrize(("depth", "share", "value"), PLANES)
def test_three_classes_fit_into_a_plane(depth, share, value):
    model = at_share(share, 3, depth)
    found = {name: float(model.objective(x)) for name, x in model.candidates().items()}
    assert found["plane"] == pytest.approx(value, abs=1e-10)
    assert (found["plane"] < found["collapse"]) == (depth > 3)
    factors = [np.linalg.matrix_rank(x) for x in model.candidates()["plane"].factors()]
    assert factors[:-2] == [2] * (depth - 1)


def test_the_middle_feature_is_the_best():
    def ratio(t):
        ends = 2 * 2**0.5 * (1 + 1 / (4 * t**2)) ** 0.5 + 2**0.5 / (2 * t)
        return (1 + (1 + 2 * t**2) ** 0.5) ** 2 * 2 * ends**2 / 3**5

    assert ratio(PLANE) == pytest.approx(0.9126392811, abs=1e-10)
    assert ratio(PLANE) < min(ratio(PLANE - 1e-4), ratio(PLANE + 1e-4))


@pytest.mark.parametrize("K", [3, 4, 6, 10])
def test_codes_are_decoded(K):
    for X, inner, outer in low_rank_codes(K).values():
        assert np.linalg.matrix_rank(X) < K
        np.testing.assert_allclose(outer @ np.maximum(inner @ X, 0), np.eye(K), atol=1e-13)
        assert X.min() >= 0


@pytest.mark.parametrize(
    ("K", "names"),
    [(2, set()), (3, {"plane"}), (4, {"edges"}), (5, {"polygon"}), (6, {"edges", "polygon"})],
)
def test_numbers_of_classes_have_their_codes(K, names):
    assert set(low_rank_codes(K)) == names
    found = set(at_share(0.5, K, 4, d=6).candidates())
    assert found == names | {"collapse"} | ({"cycle"} if K == 4 else set())


@pytest.mark.parametrize(("K", "ratio"), [(5, 0.6353944099), (6, 0.6770654348)])
def test_a_polygon_costs_less_than_collapse_from_six_weight_matrices_on(K, ratio):
    """Product criterion: norms of factors whose outputs are the labels, against K^(M+1)."""
    found = {}
    for depth in (4, 6):
        model = at_share(0.5, K, depth, d=K)
        factors = [np.asarray(x) for x in model.candidates()["polygon"].factors()]
        assert [np.linalg.matrix_rank(x) for x in factors] == [3] * (depth) + [K]
        y = np.trace(np.asarray(model.layers(model.candidates()["polygon"])[-1])) / K
        norms = np.prod([np.sum(x**2) for x in factors])
        found[depth] = norms / y**2 / K ** (depth + 1)
    assert found[6] == pytest.approx(ratio, abs=1e-10)
    assert found[6] < 1 < found[4]


def test_a_start_that_does_not_pay_is_no_zero():
    """At .9 of the threshold and four weight matrices the best multiple of a pentagon is zero."""
    model = at_share(0.9, 5, 4)
    start = model.candidates()["polygon"]
    y = np.trace(np.asarray(model.layers(start)[-1])) / 5
    assert y == pytest.approx(3 / 4, abs=1e-12)
    assert float(model.objective(start)) > 0.5


def test_narrow_layers_hold_the_plane_but_not_collapse():
    model = deep_relu(widths="2,2,2,3", lambda_W=0.035, lambda_H=0.035)
    assert set(model.candidates()) == {"plane"}
    assert deep_relu(CrossEntropy(), depth=4).candidates() == {}


def test_a_collapsed_point_is_called_lower_than_nothing_but_not_global():
    model = at_share(0.5, 3, 4)
    told = verdict(model, model.collapsed_point())
    assert told.curvature is Curvature.UNDECIDED
    assert told.count.index is None
    assert told.count.nullity is None
    assert told.count.kinks > 0
    assert "kinks" in told.reason
    assert told.globality is Globality.NOT_GLOBAL
    assert told.lower_objective == pytest.approx(0.2524848178, abs=1e-10)


def test_away_from_kinks_two_layers_are_judged():
    """Widths of K leave no idle unit; the first layer has directions that cost nothing."""
    model = at_share(0.5, 3, 2, d=3)
    point = model.collapsed_point()
    told = verdict(model, point)
    assert told.count.kinks == 0
    values = np.linalg.eigvalsh(dense_hessian(model, point))
    # Rotations of the features, and symmetric changes of the first layer off its diagonal.
    assert np.sum(np.abs(values) < 1e-10) == told.count.nullity == 3 + 3
    assert generator_rank(as_rows(model.generators(point))) == 3
    assert told.curvature is Curvature.DEGENERATE
    best = model.minimiser()
    assert (best.value, best.evidence) == (pytest.approx(0.2763925778, abs=1e-10), "derived")


def test_what_is_not_known_is_none():
    assert at_share(0.5, 3, 3).minimiser() is None
    assert deep_relu(counts="2,1,1", depth=2).minimiser() is None
    assert not at_share(0.5, 3, 3).certificate(None).applies


@pytest.mark.parametrize(
    ("K", "depth", "share", "value"),
    [
        slow(3, 4, 0.5, 0.2503579611),
        slow(3, 4, 0.9, 0.4373101417),
        slow(3, 5, 0.5, 0.2334128168),
        slow(4, 4, 0.5, 0.2528936566),
        slow(4, 4, 0.9, 0.4431709570),
        slow(6, 4, 0.5, 0.2424680000),
    ],
)
def test_descents_from_networks_of_low_rank_go_on(K, depth, share, value):
    model = at_share(share, K, depth, d=K)
    name = "plane" if K == 3 else "edges"
    start = [np.asarray(x) for x in model.candidates()[name].factors()]
    lowest = np.inf
    for noise in (0.0, 0.01, 0.03):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            near = [x + noise * rng.normal(size=x.shape) for x in start]
            lowest = min(lowest, lowered(model, near)[0])
    assert lowest < value + 1e-7


@pytest.mark.parametrize(("share", "value"), [(0.5, 0.2528951281), (0.9, 0.4431719090)])
def test_four_edges_at_their_best_outputs_lie_below_collapse(share, value):
    """DR-4, against the scalar problem; outputs y I of the same edges lie above."""
    model = at_share(share, 4, 4, d=5)
    found = {name: float(model.objective(x)) for name, x in model.candidates().items()}
    assert found["cycle"] == pytest.approx(value, abs=1e-10)
    assert found["cycle"] < found["collapse"] < found["edges"]


@pytest.mark.parametrize(("depth", "n", "ratio"), [(5, 2, 1.7), (4, 3, 0.6), (3, 1, 2.0)])
def test_scales_of_four_edges_are_the_best_at_any_decays(depth, n, ratio):
    """No factor of the network wants to grow or shrink."""
    lambda_W = 0.02
    model = deep_relu(None, 4, 6, n, depth, lambda_W, ratio * lambda_W)
    point = model.cycle()
    value = float(model.objective(point))
    for i in range(depth + 1):
        for share in (0.99, 1.01):
            factors = list(point.factors())
            factors[i] = share * factors[i]
            moved = point._replace(H=factors[0], weights=tuple(factors[1:]))
            assert float(model.objective(moved)) >= value - 1e-12


def test_a_cycle_needs_four_equal_classes_room_and_squared_error():
    assert deep_relu(None, 4, 3, depth=4).cycle() is None
    assert deep_relu(None, 5, 6, depth=4).cycle() is None
    assert deep_relu(None, 4, 6, depth=2).cycle() is None
    assert deep_relu(None, d=6, depth=4, counts="2,1,1,1").cycle() is None
    assert deep_relu(CrossEntropy(), 4, 6, depth=4).cycle() is None
