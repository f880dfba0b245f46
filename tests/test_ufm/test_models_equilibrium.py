"""Equilibrium layers: firm thresholding and its absence against descents and dense Hessians."""

import jax
import numpy as np
import pytest
from scipy.stats import entropy

from landscape import Curvature, Globality, dense_hessian, solve, verdict
from tests.helpers import slow
from ufm import BCE, MSE, UFM, CrossEntropy, Focal, InputError, LabelSmoothing, as_rows, equilibrium
from ufm.decay import plateau
from ufm.models.equilibrium import Layer
from ufm.tolerance import generator_rank

UNEVEN = {"lambda_W": 0.02, "lambda_V": 2.0, "lambda_X": 0.03, "counts": "9,3,1"}


def test_the_objective_is_that_of_the_equilibrium():
    model = equilibrium(MSE(), d=5, **{**UNEVEN, "counts": "2,1,3"})
    point = model.random_point(jax.random.key(0))
    W, V, X = (np.asarray(part) for part in point)
    assert (W.shape, V.shape, X.shape) == ((3, 5), (5, 5), (5, 6))
    total = 0.01 * np.sum(W**2) + 1.0 * np.sum(V**2) + 0.015 * np.sum(X**2)
    for x, k in zip(X.T, (0, 0, 1, 2, 2, 2), strict=True):
        h = np.zeros(5)
        for _ in range(400):  # the layer is applied until it rests
            h = V @ h + x
        total += np.sum((W @ h - np.eye(3)[k]) ** 2) / 12
    assert float(model.objective(point)) == pytest.approx(total, abs=1e-13)


# loss, K, d, n, decays of W, V, X: f, largest eigenvalue of V.
FIXTURES = [
    (MSE(), 3, 4, 2, 0.02, 1.0, 0.03, 0.0970725095, 0.0311531676),
    slow(MSE(), 2, 3, 3, 0.05, 0.4, 0.05, 0.1448883956, 0.1859806244),
    slow(CrossEntropy(), 4, 5, 2, 0.01, 1.0, 0.01, 0.2167783514, None),
    slow(CrossEntropy(), 4, 5, 2, 0.01, 1000.0, 0.01, 0.2221850232, None),
]


@pytest.mark.parametrize(("loss", "K", "d", "n", "lw", "lv", "lx", "f", "largest"), FIXTURES)
def test_the_minimiser_in_closed_form(loss, K, d, n, lw, lv, lx, f, largest):
    model = equilibrium(loss, K, d, n, lw, lv, lx)
    best = model.minimiser()
    merge = model.merge()
    assert best.value == pytest.approx(f, abs=1e-10)
    judged = verdict(merge.model, best.point)
    assert judged.objective == pytest.approx(f, abs=1e-10)
    assert judged.curvature is Curvature.MORSE_BOTT_MINIMUM
    rank = best.rank
    assert judged.count.nullity == rank * (d - rank) + rank * (rank - 1) // 2
    assert (judged.globality.name == "GLOBAL") == (best.evidence == "proved")
    assert min(solve(model, key=jax.random.key(i)).objective for i in range(2)) == pytest.approx(
        f, abs=1e-10
    )
    if largest is None:
        assert best.code.a == pytest.approx({1.0: 4.2803654386}.get(lv, best.code.a), abs=1e-7)
    else:
        assert np.linalg.eigvalsh(best.point.V)[-1] == pytest.approx(largest, abs=1e-10)
    # All samples: the same value, and the nullity is that of the orbit.
    full = merge.lift(best.point)
    assert float(model.objective(full)) == pytest.approx(f, abs=1e-10)
    values = np.linalg.eigvalsh(dense_hessian(model, full))
    assert np.sum(np.abs(values) < 1e-7) == generator_rank(as_rows(model.generators(full)))
    assert values[0] > -1e-7


@pytest.mark.parametrize(
    "changes",
    [{}, slow({"lambda_X": 0.3}), slow({"d": 2}), slow({"lambda_V": 0.9, "lambda_X": 0.01})],
)
def test_no_descent_ends_below_firm_thresholding(changes):
    """Unequal classes, some of which are dropped, and fewer dimensions than classes."""
    model = equilibrium(MSE(), **{**UNEVEN, "d": 4, **changes})
    best = model.minimiser()
    found = [solve(model, key=jax.random.key(i)).objective for i in range(6)]
    assert min(found) == pytest.approx(best.value, abs=1e-10)
    assert float(model.objective(model.merge().lift(best.point))) == pytest.approx(best.value)


def test_a_layer_that_costs_much_is_the_plain_model():
    plain = UFM(MSE(), 3, 4, 2, lambda_W=0.02, lambda_H=0.03).minimiser().value
    values = [equilibrium(MSE(), 3, 4, 2, 0.02, lv, 0.03).minimiser().value for lv in (1e8, 1.0)]
    assert values[0] == pytest.approx(plain, abs=1e-8)
    assert values[1] < plain - 1e-4


def test_where_the_penalty_saturates_there_is_no_minimiser():
    """m = 0.6 < 1 and c > m: the infimum is m/2, which points of diverging scale approach."""
    model = equilibrium(MSE(), 3, 4, 2, 0.4, 0.2, 0.3)
    assert model.minimiser() is None
    point = model.random_point(jax.random.key(0))
    told = model.certificate(point)
    assert not told.applies
    assert "no minimiser: the infimum 0.3 is not attained" in told.reason
    heights = []
    for room in (1e-2, 1e-4, 1e-6):
        size = np.sqrt(room * np.sqrt(2))
        near = Layer(size * np.eye(3, 4), (1 - room) * np.diag([1.0, 1, 1, 0]), size * np.eye(4, 3))
        heights.append(float(model.merge().model.objective(near)))
    assert heights[0] > heights[1] > heights[2] > 0.3
    assert heights[2] == pytest.approx(0.3, abs=1e-5)
    assert model.escape_value == pytest.approx(0.3, abs=1e-12)
    near = model.candidates()["saturated"]
    assert 0.3 < float(model.objective(near)) < 0.3 + 2e-5 * 0.3
    assert np.linalg.eigvals(near.V).max() > 0.999
    # In two dimensions a class is not told.
    narrow = equilibrium(MSE(), 3, 2, 2, 0.4, 0.2, 0.3)
    assert narrow.escape_value == pytest.approx(0.2 + 0.5 / 3, abs=1e-12)
    # m > 1: zero is the minimum instead, however large c is.
    zero = equilibrium(MSE(), 3, 4, 2, 0.4, 0.4, 0.3)
    assert (zero.minimiser().value, zero.minimiser().rank) == (0.5, 0)
    assert zero.candidates() == {}


def test_own_logits_of_unequal_classes_are_those_of_a_descent():
    """Firm thresholding: the smallest class is dropped where the plain model drops it."""
    model = equilibrium(MSE(), d=5, **UNEVEN)
    run = solve(model, key=jax.random.key(2))
    Z = run.point.W @ np.linalg.solve(np.eye(5) - run.point.V, run.point.X)
    told = run.model.measures(run.point)["own_logits"]
    roots = np.sqrt([9, 3, 1])
    np.testing.assert_allclose(told, np.diag(Z) / roots, atol=1e-12)
    sigma = np.sqrt(0.02 * 0.03)
    firm = np.maximum(0, 1 - 13 * sigma / roots) / (1 - 13 * sigma**2 / 2.0)
    np.testing.assert_allclose(told, firm, atol=1e-9)
    full = model.merge().lift(run.point)
    np.testing.assert_allclose(model.measures(full)["own_logits"], told, atol=1e-12)
    assert model.measures(run.point)["own_logits"] == told


def test_the_simplex_of_cross_entropy_loses_to_the_escape():
    kept, lost = (
        equilibrium(CrossEntropy(), 4, 5, 2, 0.01, x, 0.01) for x in (0.19173141, 0.19173139)
    )
    best = kept.minimiser()
    assert best.evidence == "derived"
    assert best.value == pytest.approx(0.1917314, abs=1e-7)
    assert lost.minimiser() is None
    # Above the escape value a point is told that it cannot be lowest.
    point = lost.random_point(jax.random.key(0))
    assert "points of diverging scale reach 0.191731" in lost.certificate(point).reason
    angles = np.pi / 2 * np.arange(4)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    room, size = 1e-7, np.sqrt(40 * 1e-7)
    V = (1 - room) * np.diag([1.0, 1, 0, 0, 0])
    square = Layer(
        size * np.pad(circle.T, ((0, 0), (0, 3))), V, size * np.pad(circle, ((0, 3), (0, 0)))
    )
    low = float(equilibrium(CrossEntropy(), 4, 5, 1, 0.01, 0.05, 0.01).objective(square))
    assert low == pytest.approx(0.05, abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "K", "d", "lowest"),
    [
        # The loss vanishes on a circle of growing radius: two directions, or one of two classes.
        (CrossEntropy(), 4, 5, 2 * 0.05),
        (CrossEntropy(), 2, 3, 0.05),
        # On a line halves are told apart, not the two classes of a half.
        (CrossEntropy(), 4, 1, 0.05 + np.log(2)),
        # Smoothed labels have their least loss, their entropy, at finite logits of rank K - 1.
        (LabelSmoothing(0.1), 3, 4, 2 * 0.05 + entropy([0.1 / 3, 0.1 / 3, 1 - 0.2 / 3])),
        # One-vs-rest: neighbours on a circle of four keep log 2 each, a simplex keeps none.
        (BCE(), 4, 5, 3 * 0.05),
    ],
)
def test_what_saturated_directions_approach(loss, K, d, lowest):
    model = equilibrium(loss, K, d, 2, 0.01, 0.1, 0.03)
    assert model.escape_value == pytest.approx(lowest, abs=1e-5)
    merged = model.merge().model
    for one in (model, merged):
        value = float(one.objective(one.candidates()["saturated"]))
        assert value == pytest.approx(lowest, abs=2e-5 * lowest)
        assert value != lowest


def test_the_simplex_is_an_explicit_point_where_it_loses():
    kept, lost = (equilibrium(CrossEntropy(), 4, 5, 2, 0.01, x, 0.01) for x in (1.0, 0.19))
    assert set(kept.candidates()) == {"saturated"}
    assert set(lost.candidates()) == {"saturated", "simplex"}
    at = lost.candidates()["simplex"]
    assert float(lost.objective(at)) == pytest.approx(0.1914226750, abs=1e-10)
    told = verdict(lost, at)
    assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert told.globality is Globality.NOT_GLOBAL
    assert "'saturated' reaches 0.19000" in told.globality_reason


def test_the_penalty_levels_off():
    assert plateau(2.0, 0.3, 0.6) == pytest.approx(0.3)
    assert plateau(50.0, 0.3, 0.6) == pytest.approx(0.3)
    assert plateau(1.0, 0.3, 0.6) == pytest.approx(0.3 - 0.075)


def test_what_is_not_known_is_said():
    assert equilibrium(Focal(2.0), 3, 4, 2).minimiser() is None
    assert equilibrium(CrossEntropy(), counts="3,2").minimiser() is None
    assert equilibrium(CrossEntropy(), 5, 2).minimiser() is None
    assert not equilibrium(Focal(2.0), 3, 4, 2).merge().lossless


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lambda_V": 0.0}, "Need lambda_V > 0"),
        ({"lambda_W": -1.0}, "Need lambda_W > 0"),
        ({"lambda_X": float("inf")}, "Need lambda_X > 0"),
        ({"num_classes": 1}, "K >= 2"),
        ({"n": 0}, "n >= 1"),
        ({"d": 0}, "d >= 1"),
        ({"counts": "3"}, "K >= 2"),
    ],
)
def test_bad_input_is_refused(changes, says):
    with pytest.raises(InputError) as caught:
        equilibrium(**changes)
    assert says in str(caught.value)


def test_points_without_an_equilibrium_are_refused():
    model = equilibrium(MSE(), 3, 4, 1)
    point = jax.tree.map(np.array, model.random_point(jax.random.key(0)))
    with pytest.raises(InputError, match="Need I - V invertible"):
        verdict(model, point._replace(V=np.eye(4)))
    edge = np.diag([1 - 1e-13, 0.5, 0.2, 0.0])  # as close as descent without a minimiser comes
    told = verdict(model, point._replace(V=edge)).curvature
    assert told in (Curvature.UNDECIDED, Curvature.NOT_CRITICAL)
    with pytest.raises(InputError, match="singular values below lambda_V / sigma = 50"):
        model.aligned_point(60 * np.eye(3))
    with pytest.raises(InputError, match="rank <= 2 = d"):
        equilibrium(MSE(), 3, 2, 1).aligned_point(np.eye(3))


@pytest.mark.parametrize("merged", [True, False])
def test_classes_turn_into_each_other_where_some_are_dropped(merged):
    """Squared error, equal classes: any plane of classes may be kept."""
    model = equilibrium(MSE(), 3, 3, 2, 0.02, 1.0, 0.03)
    merge = model.merge()
    W, V, X = merge.reduce(merge.lift(model.minimiser().point))
    y = np.linalg.svd(W @ np.linalg.solve(np.eye(3) - V, X), compute_uv=False)[0]
    point = model.aligned_point(np.diag([y, y, 0.0]))
    at, seen = (merge.model, point) if merged else (model, merge.lift(point))
    values = np.linalg.eigvalsh(dense_hessian(at, seen))
    assert np.sum(np.abs(values) < 1e-9) == generator_rank(as_rows(at.generators(seen))) == 5


def test_the_decay_at_which_the_simplex_loses_is_the_root_of_the_difference():
    """Against the lowest of many scales of the simplex, each with its penalty."""
    told = equilibrium(None, 4, 5, 2, 0.01, 1.0, 0.01).escape_decay()
    assert told == pytest.approx(0.1917314025, abs=1e-10)
    scales = np.linspace(0, 30, 300_001)
    z = np.sqrt(2) * scales
    losses = np.log1p(3 * np.exp(-scales))

    def excess(decay):
        penalty = np.where(0.01 * z < decay, 0.01 * z - (0.01 * z) ** 2 / (2 * decay), decay / 2)
        finite = 0.01 * z < 0.9 * decay
        return np.min((losses + 3 * penalty)[finite]) - decay

    assert excess(told * (1 - 1e-6)) > 0 > excess(told * (1 + 1e-6))
    assert equilibrium(MSE(), 4, 5, 2, 0.01, 1.0, 0.01).escape_decay() is None
    assert equilibrium(None, 2, 5, 2, 0.01, 1.0, 0.01).escape_decay() is None
