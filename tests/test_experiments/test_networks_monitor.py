"""Numbers measured during training against brute force that knows nothing of the monitor."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.networks.architectures import Architecture, activations, embed
from experiments.networks.data import Dataset, Split, Standardisation
from experiments.networks.measures.sizes import feature_spectrum, logit_gaps, squared_norm
from experiments.networks.training import (
    CURVATURE_EPOCHS,
    FeatureDecay,
    Monitor,
    WeightDecay,
    evaluate,
    initial_network,
    look,
    make_objective,
    train,
)
from experiments.networks.training.curvature import (
    classifier_curvature,
    classifier_hessian,
    largest_and_trace,
)
from experiments.networks.training.evaluate import Seen
from experiments.networks.training.row_sums import nc0_law
from tests.helpers import FAMILY, Problem, slow
from tests.networks import SHAPE, D, K, N, images, labels, settings
from ufm import MSE, UFM, InputError, LabelSmoothing, Point, collapse, lift
from ufm.plain.spectra import classifier_spectrum

X, Y = images(), labels()
DECAY = FeatureDecay(0.02, 0.03, 0.04)


def dataset() -> Dataset:
    """Noise is not in [0, 1], so it passes for standardised images."""

    by = Standardisation((0.0, 0.0), (1.0, 1.0))
    return Dataset("mine", K, Split(X, Y), Split(images(6, seed=1), labels(6)), by)


def trained(objective="ce", **given):
    made = settings(objective, decay=DECAY, **given)
    return made, train(made, X, Y, K).network


def test_numbers_are_those_of_the_arrays():
    made, network = trained()
    found = Monitor(dataset(), made)(network, 3)
    features, _ = embed(network, X)
    H = features.astype(np.float64)
    W, b = (np.asarray(a, np.float64) for a in (network.head.W, network.head.b))
    record = collapse(features, Y, classifier=W, bias=b, lambda_W=0.02)
    for name in ("nc1_geo", "cdnv_mean", "nc2_all", "nc3_phd", "nc4_geo", "lambda_H_hat"):
        assert found[name] == getattr(record, name)
    problem = Problem.of(FAMILY["ce"][1], (N // K,) * K, D, 0.02, 0.03, 0.04)
    value, _ = problem.value_and_gradient(problem.pack(Point(W, H.T, b)))
    assert found["objective_now"] == pytest.approx(value, rel=1e-6)
    assert found["square_H"] == pytest.approx(np.sum(H**2), rel=1e-13)
    Z = H @ W.T + b
    gaps = [z[y] - np.delete(z, y).mean() for z, y in zip(Z, Y, strict=True)]
    assert found["logit_gap"] == pytest.approx(np.mean(gaps), rel=1e-12)
    assert found["logit_gap_spread"] == pytest.approx(np.std(gaps), rel=1e-10)
    singular = np.linalg.svd(H, compute_uv=False) / np.sqrt(N)
    assert [found[f"feature_{i}"] for i in (1, 2, 3, 4)] == pytest.approx(singular[:4], abs=1e-7)
    assert found["train_accuracy"] == np.mean(Z.argmax(axis=1) == Y)
    fresh = images(6, seed=1)
    test_Z = embed(network, fresh)[0].astype(np.float64) @ W.T + b
    losses = [FAMILY["ce"][1](z, y)[0] for z, y in zip(test_Z, labels(6), strict=True)]
    assert found["test_loss"] == pytest.approx(np.mean(losses), rel=1e-9)
    assert found["test_accuracy"] == np.mean(test_Z.argmax(axis=1) == labels(6))


def test_squared_error_has_its_distance_from_the_central_path():
    made, network = trained("mse", learning_rate=0.02)
    found = Monitor(dataset(), made)(network, 3)
    parts = found["path_nc1"] + found["path_nc23"] + found["path_distance"]
    without_features = found["objective_now"] - 0.5 * 0.03 * found["square_H"]
    assert parts == pytest.approx(without_features, rel=1e-6)  # the decay of float32 weights
    assert "path_distance" not in Monitor(dataset(), settings())(network, 3)
    other = dataclasses.replace(made, decay=WeightDecay(0.5))
    assert Monitor(dataset(), other)(network, 3)["path_nc1"] > found["path_nc1"]


DECOUPLED = {"decoupled": True, "decay": FeatureDecay(0.3, 0.03, 0.04)}


@pytest.mark.parametrize(
    "given",
    [DECOUPLED, {**DECOUPLED, "max_gradient_norm": 0.1}, {"decay": WeightDecay(0.3)}],
    ids=str,
)
def test_the_sum_of_rows_follows_its_law(given):
    """Under SGD, with either decay: nine steps in float32."""
    made = settings("ls", **given)
    records = train(made, X, Y, K, measure=Monitor(dataset(), made)).records
    first = np.asarray(initial_network(made, SHAPE, K).head.W, np.float64).sum(axis=0)
    for record in records:
        # Sums of entries of order 1 that are rounded to 6e-8 in every step.
        assert record.measures["nc0"] == pytest.approx(record.measures["nc0_law"], rel=1e-5)
    if given is DECOUPLED:
        factors = [(1 - record.learning_rate * 0.3) ** 2 for record in records]
        exact = np.sum(first**2) / K * np.cumprod(np.repeat(factors, 3))[2::3]
        assert [r.measures["nc0_law"] for r in records] == pytest.approx(exact, rel=1e-12)
        assert exact[-1] < 0.9 * exact[0]


@pytest.mark.parametrize(
    ("objective", "given"),
    [
        ("ce", {"optimizer": "adamw"}),
        ("ce", {"optimizer": "signsgd", "decoupled": True}),
        ("mse", {"decoupled": True}),
        ("extra-l2", {"decoupled": True}),
        ("cosine-softmax", {"decoupled": True}),
        ("ce", {"decoupled": True, "fixed_etf": True}),
        ("ce", {"max_gradient_norm": 1.0}),
    ],
    ids=str,
)
def test_no_law_of_the_sum_of_rows(objective, given):
    assert nc0_law(settings(objective, **given), N, K) is None
    assert nc0_law(settings(**DECOUPLED), N, K) is not None


def test_the_law_ends_where_rounding_begins():
    made = settings(**{**DECOUPLED, "schedule": "constant", "learning_rate": 1.0, "epochs": 40})
    monitor = Monitor(dataset(), made)
    network = initial_network(made, SHAPE, K)
    there = ["nc0_law" in monitor(network, epoch) for epoch in range(1, 41)]
    # .7^6 an epoch, from a sum of rows of the size of the rows to 2^-48 of it.
    last = there.index(False)
    assert last == pytest.approx(48 * np.log(2) / (6 * np.log(1 / 0.7)), abs=1.5)
    assert not any(there[last:])


def test_what_is_measured_when():
    made = settings(epochs=120)
    network = initial_network(made, SHAPE, K)
    monitor = Monitor(dataset(), made, every=30)
    measured = [epoch for epoch in range(1, 121) if monitor(network, epoch)]
    curved = sorted({*(e for e in CURVATURE_EPOCHS if e < 120), 120})
    assert measured == sorted({30, 60, 90, *curved})
    assert [e for e in measured if "hessian_W_trace" in monitor(network, e)] == curved
    with pytest.raises(InputError, match="epochs between measurements"):
        Monitor(dataset(), made, every=0)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"objective": "cosine-softmax"}, "hessian_W_largest"),
        slow({"fixed_etf": True}, "hessian_W_largest"),
        slow({"fixed_etf": True}, "lambda_H_hat"),
    ],
)
def test_numbers_that_do_not_exist_are_left_out(given, missing):
    made = settings(**given)
    found = Monitor(dataset(), made)(initial_network(made, SHAPE, K), 1)
    assert missing not in found
    assert all(np.isfinite(value) for value in found.values())


def explicit_hessian(loss, seen, lambda_W):
    def value(W):
        Z = jnp.asarray(seen.features, jnp.float64) @ W.T + seen.b
        values = [loss(Z[i], int(seen.labels[i])) for i in range(len(Z))]
        return sum(values) / len(values) + 0.5 * lambda_W * jnp.sum(W**2)

    return np.asarray(jax.jit(jax.hessian(value))(seen.W)).reshape(2 * [seen.W.size])


def some_seen(seed=0):
    rng = np.random.default_rng(seed)
    H = rng.standard_normal((5, 4)).astype(np.float32)
    W, b = rng.standard_normal((K, 4)), rng.standard_normal(K)
    return Seen(H, H.astype(np.float64) @ W.T + b, np.array([0, 1, 2, 0, 1], np.int32), W, b)


@pytest.mark.parametrize("loss", [LabelSmoothing(0.1), MSE()])
def test_the_curvature_of_the_classifier(loss):
    seen = some_seen()
    dense = explicit_hessian(loss, seen, 0.07)
    found = classifier_hessian(seen, loss, 0.07)
    products = np.stack([found.matvec(e) for e in np.eye(len(dense))])
    assert np.abs(products - dense).max() < 1e-13
    assert found.trace == pytest.approx(np.trace(dense), rel=1e-13)
    values = np.linalg.eigvalsh(dense)[::-1]
    assert classifier_curvature(found, 3).eigenvalues == pytest.approx(values[2::-1], rel=1e-9)
    assert largest_and_trace(seen, loss, 0.07)["hessian_W_largest"] == pytest.approx(values[0])
    assert abs(largest_and_trace(seen, loss, 0.0)["hessian_W_largest"] - values[0]) > 0.05


def test_at_the_minimum_of_the_model_curvature_is_the_closed_form():
    model = UFM(LabelSmoothing(0.1), K, D, 4, lambda_W=8e-3, lambda_H=5e-3)
    W, H, _ = lift(model, model.minimiser().point)
    seen = Seen(H.T, (W @ H).T, np.asarray(model.labels, np.int32), W, np.zeros(K))
    expected = classifier_spectrum(model).expand()[::-1]
    found = classifier_curvature(classifier_hessian(seen, model.loss, 8e-3), 6)
    assert found.eigenvalues[::-1] == pytest.approx(expected[:6], rel=1e-9)


def test_gaps_and_spectra_of_arrays():
    seen = some_seen()
    assert logit_gaps(seen.logits, seen.labels)[1] == pytest.approx(
        seen.logits[1, 1] - (seen.logits[1, 0] + seen.logits[1, 2]) / 2
    )
    assert len(feature_spectrum(seen.features, 9)) == 4
    assert squared_norm(np.full(2**12, 2.0**13, np.float32)) == 2.0**38
    assert squared_norm(np.array([1.0, 2.0**-12], np.float32)) == 1 + 2.0**-24  # not in float32


def test_evaluation_uses_the_outputs_of_the_objective():
    """The sigmoid with a bias, and the cosine, guess from the same features differently."""
    made, network = trained("cosine-softmax")
    seen = look(network, Split(X, Y))
    found = evaluate(made.make_objective(), seen)
    H, W = seen.features.astype(np.float64), seen.W
    cosines = (H @ W.T) / np.linalg.norm(H, axis=1)[:, None] / np.linalg.norm(W, axis=1)
    assert np.array_equal(found.guesses, cosines.argmax(axis=1))
    assert found.accuracy == np.mean(found.correct)
    assert evaluate(make_objective("ce"), seen).loss != pytest.approx(found.loss)


@pytest.mark.parametrize("name", ["mlp", slow("convnet"), slow("resnet18")])
def test_layers_end_with_the_features(name):

    width = 1 / 32 if name == "resnet18" else 0.25
    made = settings(architecture=Architecture(name, width=width))
    network = initial_network(made, SHAPE, K)
    layers = activations(network, X)
    assert len(layers) > 2
    assert layers[-1] == pytest.approx(embed(network, X)[0], abs=1e-5)
    assert all(len(layer) == N for layer in layers)
