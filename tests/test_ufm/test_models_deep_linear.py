"""Deep linear networks: closed forms and exact blocks against dense Hessians and descents."""

import jax
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from landscape import Curvature, dense_hessian, solve, verdict
from tests.helpers import slow
from ufm import MSE, UFM, CrossEntropy, Focal, InputError, LabelSmoothing, as_rows, deep_linear
from ufm.models.factors import Network
from ufm.models.first_order import collapse_price, shrunk_output
from ufm.tolerance import generator_rank

UNEVEN = {"lambda_W": 0.03, "lambda_H": 0.05, "counts": "4,2,1", "widths": "6,5,4"}


def at_share(share, K, n, depth, d=5, loss=None):
    """Equal decays at a share of the collapse threshold."""
    L = depth + 1
    decay = share * collapse_price(L) / (L * K * n ** (1 / L))
    return deep_linear(loss or MSE(), K, d, n, depth, decay, decay)


def test_the_objective_is_a_sum_over_samples():
    model = deep_linear(MSE(), **UNEVEN)
    point = model.random_point(jax.random.key(0), 0.7)
    W1, W2, W3 = point.weights
    assert [W.shape for W in point.weights] == [(5, 6), (4, 5), (3, 4)]
    total = 0.03 / 2 * sum(np.sum(W**2) for W in point.weights) + 0.05 / 2 * np.sum(point.H**2)
    for i, k in enumerate((0, 0, 0, 0, 1, 1, 2)):
        total += np.sum((W3 @ W2 @ W1 @ point.H[:, i] - np.eye(3)[k]) ** 2) / 14
    assert float(model.objective(point)) == pytest.approx(total, abs=1e-13)


@pytest.mark.parametrize("loss", [MSE(), slow(CrossEntropy())])
def test_the_blocks_are_the_dense_hessian_at_critical_points(loss):
    """DL-3: unequal classes, widths and decays; a minimum, one of low rank, and the origin."""
    model = deep_linear(loss, **UNEVEN)
    runs = [solve(model, key=jax.random.key(i)) for i in (0, 1)]
    points = [model.merge().lift(run.point) for run in runs]
    points.append(jax.tree.map(np.zeros_like, points[0]))
    ranks = []
    for point in points:
        known = model.structure(point)
        dense = np.linalg.eigvalsh(dense_hessian(model, point))
        np.testing.assert_allclose(known.levels.expand(), dense, atol=1e-9)
        assert known.predicted_nullity == generator_rank(as_rows(model.generators(point)))
        assert known.predicted_nullity == np.sum(np.abs(dense) < 1e-7)
        ranks.append(known.rank)
    assert ranks[0] > 0 == ranks[-1]
    # Spaces that are not shared have no such blocks: then the Hessian is dense.
    assert model.structure(model.random_point(jax.random.key(0))) is None


@pytest.mark.parametrize(("n", "merged"), [(1, True), (2, True), slow(2, False)])
def test_classes_turn_into_each_other_where_some_are_dropped(n, merged):
    """Squared error, equal classes: any plane of classes may be kept."""
    model = at_share(0.6, 3, n, 2, d=3)
    merge = model.merge()
    best = merge.reduce(merge.lift(model.minimiser().point))
    y = np.asarray(best.logits())[0, 0]
    point = model.aligned_point(np.diag([y, y, 0.0]))
    at, seen = (merge.model, point) if merged else (model, merge.lift(point))
    values = np.linalg.eigvalsh(dense_hessian(at, seen))
    # Two rotations of a plane, one for each hidden space, four turns out of it, two of the plane.
    assert np.sum(np.abs(values) < 1e-9) == 2 * (1 + 2) + 2
    assert generator_rank(as_rows(at.generators(seen))) == 8
    assert verdict(at, seen).count.predicted_nullity == 8
    assert verdict(at, seen).curvature is Curvature.MORSE_BOTT_MINIMUM


# K, n, depth, share of the threshold: f.
FIXTURES = [
    slow(3, 1, 2, 0.5, 0.2763925778),
    (3, 2, 2, 0.5, 0.2763925778),
    (3, 1, 3, 0.5, 0.2621710707),
    (3, 1, 4, 0.9, 0.4527456517),
]


@pytest.mark.parametrize(("K", "n", "depth", "share", "f"), FIXTURES)
def test_squared_error_in_closed_form(K, n, depth, share, f):
    model = at_share(share, K, n, depth)
    best = model.minimiser()
    judged = verdict(model.merge().model, best.point)
    assert best.value == pytest.approx(f, abs=1e-10)
    assert judged.objective == pytest.approx(f, abs=1e-10)
    assert judged.gradient_norm < 1e-14
    assert judged.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert judged.count.nullity == depth * (K * (5 - K) + K * (K - 1) // 2)
    assert judged.globality.name == "GLOBAL"


def test_the_threshold_is_of_first_order():
    for factors, told in ((3, 1.1905507890), (4, 1.0886621079), (5, 1.0518329489)):
        price = collapse_price(factors)
        assert price == pytest.approx(told, abs=1e-10)
        below = shrunk_output(price * (1 - 1e-9), factors)
        assert below == pytest.approx((factors - 2) / (factors - 1), abs=1e-6)
        assert shrunk_output(price, factors) == 0.0
        left = (1 - below) ** 2 + price * below ** (2 / factors)
        assert left == pytest.approx(1.0, abs=1e-8)
    assert at_share(0.999, 3, 2, 3).minimiser().rank == 3
    assert at_share(1.001, 3, 2, 3).minimiser().rank == 0


@pytest.mark.parametrize(
    "words",
    [UNEVEN, slow({**UNEVEN, "widths": "5,2"}), slow({**UNEVEN, "lambda_W": 0.09})],
)
def test_no_descent_ends_below_the_closed_form(words):
    """Unequal classes and decays, a layer narrower than K, and a class that is dropped."""
    model = deep_linear(MSE(), **words)
    best = model.minimiser()
    found = [solve(model, key=jax.random.key(i)).objective for i in range(8)]
    assert min(found) == pytest.approx(best.value, abs=1e-10)
    lifted = model.merge().lift(best.point)
    assert float(model.objective(lifted)) == pytest.approx(best.value, abs=1e-14)
    assert best.rank == np.linalg.matrix_rank(lifted.logits())


def test_one_weight_matrix_is_the_plain_model():
    deep = deep_linear(CrossEntropy(), 4, 6, 2, 1, 0.02, 0.03)
    plain = UFM(CrossEntropy(), 4, 6, 2, lambda_W=0.02, lambda_H=0.03)
    assert deep.minimiser().value == plain.minimiser().value
    judged = verdict(deep.merge().model, deep.minimiser().point)
    assert judged.globality.name == "GLOBAL"
    assert judged.certificate.gap < 1e-13
    told = plain.structure(plain.minimiser().point).levels.expand()
    np.testing.assert_allclose(
        deep.merge().model.structure(deep.minimiser().point).levels.expand(), told, atol=1e-12
    )


def test_what_is_not_known_is_said():
    for loss in (CrossEntropy(), LabelSmoothing(0.1), Focal(2.0)):
        model = deep_linear(loss, 3, 4, 1, 2, 0.02, 0.02)
        assert model.minimiser() is None
    assert not model.certificate(model.random_point(jax.random.key(0))).applies
    assert not deep_linear(Focal(2.0), 3, 4, 2, 2).merge().lossless
    assert deep_linear(CrossEntropy(), 3, 4, 2, 2).merge().lossless


def best_of(model, shape):
    """The best aligned point with logits along a shape."""

    def height(a):
        return float(model.objective(model.aligned_point(a * shape)))

    runs = [minimize_scalar(height, bounds=(a, 3 * a), method="bounded") for a in (1, 2.5, 6)]
    best = min(runs, key=lambda run: run.fun)
    return best.fun, model.aligned_point(best.x * shape)


def simplex(K):
    return np.eye(K) - 1 / K


def in_pairs(K):
    return np.kron(np.eye((K + 1) // 2), [[1, -1], [-1, 1]])[:K, :K]


# K, depth, decay: simplex, classes in pairs.
LOWER = [
    (4, 3, 0.01, 0.15287728, 0.13989875),
    slow(6, 2, 0.01, 0.25223867, 0.23546343),
    slow(4, 2, 0.03, 0.39343842, 0.38867710),
]


@pytest.mark.parametrize(("K", "depth", "decay", "collapsed", "paired"), LOWER)
def test_the_collapse_of_cross_entropy_is_a_spurious_minimum(K, depth, decay, collapsed, paired):
    """DL-4; the first has 27 flat directions."""
    model = deep_linear(CrossEntropy(), K, K + 1, 1, depth, decay, decay).merge().model
    value, point = best_of(model, simplex(K))
    lower, _ = best_of(model, in_pairs(K))
    assert value == pytest.approx(collapsed, abs=6e-9)
    assert lower == pytest.approx(paired, abs=6e-9)
    judged = verdict(model, solve(model, point).point)
    assert judged.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert judged.count.nullity == depth * ((K - 1) * 2 + (K - 1) * (K - 2) // 2)
    assert judged.objective == pytest.approx(collapsed, abs=6e-9)


def test_four_classes_and_two_matrices_change_sides_at_a_decay():
    for decay, sign in ((0.0117, -1), (0.0118, 1)):
        model = deep_linear(CrossEntropy(), 4, 5, 1, 2, decay, decay).merge().model
        excess = best_of(model, simplex(4))[0] - best_of(model, in_pairs(4))[0]
        assert np.sign(excess) == sign
        assert abs(excess) < 1e-4


def test_five_classes_collapse_at_a_small_decay():
    """The logits of merged columns are sqrt(n) those of a sample, which scales both shapes."""
    model = deep_linear(CrossEntropy(), 5, 6, 5, 2, 2.0**-10, 2.0**-10).merge().model
    collapsed = best_of(model, np.sqrt(5) * simplex(5))[0]
    paired = best_of(model, np.sqrt(5) * in_pairs(5))[0]
    assert (round(collapsed, 7), round(paired, 7)) == (0.0403019, 0.0410901)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"depth": 0}, "Need an integer depth >= 1. Got 0"),
        ({"depth": 2, "widths": "3"}, "Need as many widths as depth says. Got depth 2, 1 widths"),
        ({"d": 0}, "Need an integer d >= 1"),
        ({"num_classes": 1}, "K >= 2"),
        ({"n": 0}, "n >= 1"),
        ({"lambda_W": 0.0}, "Need lambda_W > 0"),
        ({"lambda_H": -1.0}, "Need lambda_H > 0"),
        ({"counts": "3,a"}, "counts as integers"),
        ({"widths": "4,0"}, "widths >= 1. Got 0"),
        ({"widths": "4,b"}, "widths as integers"),
    ],
)
def test_bad_input_is_refused(changes, says):
    with pytest.raises(InputError) as caught:
        deep_linear(**changes)
    assert says in str(caught.value)


def test_logits_of_too_high_a_rank_are_refused():
    model = deep_linear(MSE(), 3, widths="4,2", lambda_W=0.01)
    assert model.minimiser().rank == 2
    with pytest.raises(InputError, match="rank <= 2"):
        model.aligned_point(np.eye(3))
    assert isinstance(model.aligned_point(np.diag([1.0, 1.0, 0.0])), Network)
