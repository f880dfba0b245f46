"""Predictions against exact minimisers, wrong points, descents, and networks that are trained."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.networks.architectures import Architecture
from experiments.networks.data.changes import balanced, standardise
from experiments.networks.data.embedded import digits
from experiments.networks.runs import matching_model, network_against_theory, prediction_of
from experiments.networks.theory import (
    NoTheory,
    compare,
    measured,
    predict_free,
    predict_nonnegative,
    sample_sums,
)
from experiments.networks.training import (
    FeatureDecay,
    TrainSettings,
    WeightDecay,
    initial_network,
    train,
)
from tests.helpers import FAMILY, Problem, slow
from tests.networks import images, labels, settings
from ufm import MSE, UFM, CrossEntropy, Focal, InputError, LabelSmoothing, lift
from ufm.models.nonnegative import nonnegative_minimiser

K, N, D = 3, 4, 5
DECAYS = {"lambda_W": 8e-3, "lambda_H": 5e-3}
QUANTITIES = ("objective", "loss", "W_squared", "H_squared", "gap")


def arrays(point):
    """A full point as a network hands it over, samples in another order."""
    order = np.random.default_rng(0).permutation(point.H.shape[1])
    y = np.repeat(np.arange(K), N)[order]
    return point.H.T[order], point.W, point.b, y


def predict(model, nonnegative=False):
    return predict_nonnegative(model) if nonnegative else predict_free(model)


def held(model, prediction, point):
    return compare(measured(model.loss, *arrays(point)), prediction)


def minimiser(model, nonnegative):
    found = nonnegative_minimiser(model) if nonnegative else model.minimiser()
    return lift(model, found.point)


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("lambda_b", [None, 0.3])
@pytest.mark.parametrize("name", ["ce", "mse", "focal"])
def test_an_exact_minimiser_does_not_deviate(name, lambda_b, nonnegative):
    model = UFM(FAMILY[name][0], K, D, N, **DECAYS, lambda_b=lambda_b)
    prediction = predict(model, nonnegative=nonnegative)
    point = minimiser(model, nonnegative)
    made = held(model, prediction, point)
    for quantity in QUANTITIES:
        assert getattr(made, quantity).ratio == pytest.approx(1, abs=1e-12)
    b = made.b_squared
    assert b.measured == pytest.approx(b.predicted, abs=1e-12)
    assert made.gap_spread < 1e-12
    # The objective by the NumPy problem, which knows no library.
    problem = Problem.of(FAMILY[name][1], (N,) * K, D, *DECAYS.values(), lambda_b)
    assert made.objective.measured == pytest.approx(
        problem.value_and_gradient(problem.pack(point))[0]
    )


def test_a_moved_point_deviates_in_the_right_quantity():
    model = UFM(LabelSmoothing(0.1), K, D, N, **DECAYS, lambda_b=0.3)
    prediction, point = predict(model), minimiser(model, False)
    wider = held(model, prediction, point._replace(W=1.1 * point.W))
    assert wider.W_squared.ratio == pytest.approx(1.21)
    assert wider.H_squared.ratio == pytest.approx(1)
    assert wider.gap.ratio == pytest.approx(1.1)
    assert wider.objective.ratio > 1 + 1e-4
    noise = np.random.default_rng(1).standard_normal(point.H.shape)
    blurred = held(model, prediction, point._replace(H=point.H + 0.1 * noise))
    assert blurred.gap_spread > 1e-2
    assert blurred.objective.ratio > 1
    biased = held(model, prediction, point._replace(b=point.b + 1.0))
    assert biased.objective.measured == pytest.approx(prediction.objective + 0.15 * K)
    assert biased.b_squared.measured == pytest.approx(K)
    assert biased.loss.ratio == pytest.approx(1)
    # The predictions of the two signs differ.
    assert predict(model, nonnegative=True).objective > prediction.objective + 1e-3


def test_frames_and_thresholds_are_named():
    ce, mse = (UFM(loss, K, D, N, **DECAYS) for loss in (CrossEntropy(), MSE()))
    assert predict(ce).frame == "simplex ETF"
    assert predict(ce).threshold == pytest.approx(1)
    assert predict(ce, nonnegative=True).frame == "orthogonal frame"
    assert predict(ce, nonnegative=True).threshold == pytest.approx(np.sqrt(2 / 3))
    assert predict(mse).frame == "orthogonal frame"
    assert predict(ce.with_decays(1.0, 1.0)).frame == "origin"
    assert predict(UFM(MSE(), counts=(4, 2, 1), d=D, **DECAYS)).frame == "neither"


@pytest.mark.slow
def test_what_has_no_closed_form_is_solved_and_proved():
    model = UFM(CrossEntropy(), counts=(4, 2, 1), d=D, **DECAYS, lambda_b=0.3)
    made = predict(model)
    problem = Problem.of(FAMILY["ce"][1], (4, 2, 1), D, *DECAYS.values(), 0.3)
    value, point = problem.descend()
    assert made.evidence.startswith("no closed form; solved, duality gap")
    assert made.objective == pytest.approx(value, abs=1e-10)
    assert made.W_squared == pytest.approx(np.sum(point.W**2), rel=1e-4)
    logits = point.logits()
    own = logits[problem.labels, np.arange(7)]
    assert made.gap == pytest.approx(np.mean(own - (logits.sum(axis=0) - own) / 2), rel=1e-4)


@pytest.mark.parametrize(
    ("model", "nonnegative", "reason"),
    [
        slow(UFM(CrossEntropy(), 4, 2, **DECAYS), False, "duality gap"),
        (UFM(MSE(), counts=(3, 2, 1), d=D, **DECAYS), True, "unequal counts"),
        (UFM(CrossEntropy(), 4, 3, **DECAYS), True, "d < K"),
        (UFM(Focal(2.0), counts=(3, 2, 1), d=D, **DECAYS), False, "no bound"),
    ],
)
def test_where_nothing_is_known_the_reason_is_given(model, nonnegative, reason):
    made = predict(model, nonnegative=nonnegative)
    assert isinstance(made, NoTheory)
    assert reason in made.reason


def test_the_model_has_the_decays_of_the_run():
    given = settings("ls", decay=FeatureDecay(0.02, 0.03, 0.04), d=D)
    model = matching_model(given, [4, 4, 4])
    assert (model.lambda_W, model.lambda_H, model.lambda_b) == (0.02, 0.03, 0.04)
    assert (model.loss.name, model.d, model.counts_tuple) == ("ls(0.1)", D, (4, 4, 4))
    bare = dataclasses.replace(given, bias=False, decay=FeatureDecay(0.02, 0.03), d=None)
    assert matching_model(bare, [4, 4, 4]).lambda_b is None
    assert matching_model(bare, [4, 4, 4]).d == 7  # the width of the last hidden layer
    weights = dataclasses.replace(given, decay=WeightDecay(0.02))
    model = matching_model(weights, [4, 2, 1], (3.0, 12.0))
    assert (model.lambda_W, model.lambda_H, model.lambda_b) == (0.02, 0.005, 0.02)
    heavier = dataclasses.replace(weights, objective="extra-l2", parameters={})
    total = 0.02 + heavier.make_objective().extra_lambda_W
    assert matching_model(heavier, [4, 4, 4], (3.0, 12.0)).lambda_W == pytest.approx(total)
    assert matching_model(heavier, [4, 4, 4], (3.0, 12.0)).lambda_H == pytest.approx(total / 4)
    with pytest.raises(InputError, match="estimate lambda_H"):
        matching_model(weights, [4, 4, 4])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"objective": "cosine-softmax"}, "no function of the logits"),
        ({"decoupled": True}, "decoupled decay is no part"),
        ({"fixed_etf": True, "decay": WeightDecay(0.1)}, "no decay to estimate"),
        ({"decay": WeightDecay(0.0)}, "no minimiser"),
        ({"decay": WeightDecay(0.1)}, "zero"),
    ],
)
def test_runs_that_no_model_describes_say_why(changes, reason):
    made = prediction_of(settings(**{"objective": "ce", **changes}), [4, 4, 4], (0.0, 1.0))
    assert isinstance(made, NoTheory)
    assert reason in made.reason
    assert not made


@pytest.mark.parametrize("features", ["linear", "relu"])
def test_a_fixed_classifier_has_a_model_of_its_own(features):
    architecture = dataclasses.replace(settings().architecture, features=features)
    decay = FeatureDecay(0.02, 0.03, 0.04)
    run = settings("ls", architecture=architecture, decay=decay, fixed_etf=True)
    relu = features == "relu"
    made = prediction_of(run, [N] * K, (0.0, 1.0))
    assert (made.decays, made.counts) == ((0.0, 0.03, 0.04), (N,) * K)
    # The point itself: features along e_k, or along the rows of W, with the gap that is predicted.
    W = np.asarray(initial_network(run, (4, 6, 2), K).head.W, np.float64)
    rows = np.eye(K, D) * np.sqrt((K - 1) / K) if relu else W * (K - 1) / K
    H = made.gap * np.repeat(rows, N, axis=0)
    found = compare(measured(LabelSmoothing(0.1), H, W, None, np.repeat(np.arange(K), N)), made)
    for quantity in QUANTITIES:
        assert getattr(found, quantity).ratio == pytest.approx(1, abs=1e-6)  # W is float32
    assert found.c is None
    for counts, wanted in (([4, 4, 3], "unequal counts"), ([N] * 6, "d < K")):
        other = prediction_of(run, counts, (0.0, 1.0))
        if relu or wanted == "unequal counts":
            assert wanted in other.reason
    bare = dataclasses.replace(run, bias=False, decay=FeatureDecay(0.02, 0.03))
    assert prediction_of(bare, [N] * K, (0.0, 1.0)).decays[2] is None
    focal = dataclasses.replace(run, objective="focal", parameters={})
    assert "no known minimiser" in prediction_of(focal, [N] * K, (0.0, 1.0)).reason


def test_other_samples_than_the_models_are_refused():
    model = UFM(CrossEntropy(), counts=(4, 4, 3), d=D, **DECAYS)
    balanced = UFM(CrossEntropy(), K, D, N, **DECAYS)
    parts = arrays(minimiser(balanced, False))
    H, W, _, y = parts
    for wrong in ((H.T, W, None, y), (H, W, None, y + 1), (H, W, np.zeros(2), y)):
        with pytest.raises(InputError):
            measured(model.loss, *wrong)
    with pytest.raises(InputError, match=r"\(4, 4, 3\) samples per class"):
        compare(measured(model.loss, *parts), predict(model))


def test_blocks_of_samples_give_what_all_at_once_give(monkeypatch):
    point = UFM(CrossEntropy(), K, D, N, **DECAYS).random_point(jax.random.key(0)).to_numpy()
    whole = measured(CrossEntropy(), *arrays(point))
    monkeypatch.setattr(sample_sums, "BLOCK_ENTRIES", 5 * D)  # 12 samples: 5, 5 and 2
    parts = measured(CrossEntropy(), *arrays(point))
    numbers = [dataclasses.astuple(found)[:-1] for found in (parts, whole)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-13)
    assert parts.counts == whole.counts


def test_estimated_decay_makes_both_norms_deviate_alike():
    X, y = images(), labels()
    run = settings(decay=WeightDecay(0.1))
    network = initial_network(run, X.shape[1:], K)
    made = network_against_theory(run, network, X, y)
    assert made.estimated
    assert made.W_squared.ratio == pytest.approx(made.H_squared.ratio)
    given = settings(decay=FeatureDecay(0.1, 0.1))
    other = network_against_theory(given, network, X, y)
    assert not other.estimated
    assert other.lambda_H == 0.1
    # The sign of the features is the architecture's.
    relu = dataclasses.replace(run.architecture, features="relu")
    signed = dataclasses.replace(given, architecture=relu)
    frame = network_against_theory(signed, network, X, y).prediction.frame
    assert (other.prediction.frame, frame) == ("simplex ETF", "orthogonal frame")


@pytest.mark.slow
@pytest.mark.parametrize("features", ["linear", "relu"])
def test_a_network_reaches_the_minimum_of_its_model(features):
    X, y = images(), labels()
    run = TrainSettings(
        architecture=Architecture("mlp", width=0.125, depth=1, features=features),
        d=17,
        epochs=600,
        batch_size=0,
        learning_rate=0.1,
        decay=FeatureDecay(0.5, 0.002),
    )
    network = train(run, X, y, K).state.network
    made = network_against_theory(run, network, X, y)
    for quantity in QUANTITIES:
        assert getattr(made, quantity).ratio == pytest.approx(1, abs=5e-3)
    # It has gone a long way, and not to the minimum of the other sign.
    start = network_against_theory(run, initial_network(run, X.shape[1:], K), X, y)
    assert abs(start.objective.ratio - 1) > 0.1
    relu = dataclasses.replace(
        run.architecture, features="linear" if features == "relu" else "relu"
    )
    other = network_against_theory(dataclasses.replace(run, architecture=relu), network, X, y)
    assert abs(other.W_squared.ratio - 1) > 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "features", "d", "lambda_W", "epochs"),
    [
        ("ce", "linear", 32, 0.1, 100),
        ("ls", "relu", 128, 0.1, 100),
        ("mse", "linear", 32, 0.02, 300),
    ],
)
def test_networks_on_digits_reach_it_within_a_per_cent(objective, features, d, lambda_W, epochs):
    data = standardise(balanced(digits()))
    X, y = data.train.images, data.train.labels
    decay = FeatureDecay(lambda_W, 0.2**2 / (10 * len(y) * lambda_W))  # c = 0.2
    run = TrainSettings(
        objective,
        architecture=Architecture("mlp", features=features),
        d=d,
        epochs=epochs,
        learning_rate=0.2,
        max_gradient_norm=1.0,
        decay=decay,
    )
    made = network_against_theory(run, train(run, X, y, 10).state.network, X, y)
    assert made.c == pytest.approx(0.2)
    for quantity in QUANTITIES:
        assert getattr(made, quantity).ratio == pytest.approx(1, abs=0.01)
    assert made.gap_spread < 0.05 * made.gap.measured
