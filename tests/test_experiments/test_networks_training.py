"""Training against the unconstrained feature model and against SGD written out in NumPy."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.networks.architectures import embed
from experiments.networks.data import Split
from experiments.networks.training import (
    FeatureDecay,
    Outcome,
    StepValues,
    TrainSettings,
    WeightDecay,
    epochs,
    evaluate,
    initial_network,
    learning_rate,
    look,
    loop,
    make_step,
    start,
    train,
    ufm_model,
)
from tests.networks import SHAPE, TINY_RESNET, D, K, N, images, labels, same_bits, settings
from ufm import InputError, Point

X, Y = images(), labels()
# With the target 60 the value is so large that no decay would be seen in float32.
SMALL_TARGET = {"parameters": {"target": 1.0, "scale": 0.5}, "learning_rate": 0.01}
# float32 sums of a few dozen terms of order 1.
FLOAT32 = 1e-5


def test_a_network_fits_three_classes_and_generalises() -> None:
    done = train(settings(epochs=30), X, Y, K)
    assert done.outcome is Outcome.COMPLETED
    assert [record.epoch for record in done.records] == list(range(1, 31))
    assert done.records[-1].accuracy == 1
    assert done.records[-1].loss < 0.05 < 0.5 < done.records[0].loss
    fresh = np.concatenate([images(300, seed=0)[i::100] for i in range(1)])
    objective = settings().make_objective()
    found = evaluate(objective, look(done.network, Split(fresh, labels(300)[::100])))
    assert found.accuracy == 1
    # Negative control: labels that are another class's are all missed.
    missed = evaluate(objective, look(done.network, Split(X, (Y + 1) % K)))
    assert missed.accuracy == 0
    assert missed.loss > 1


# ---- the objective is the model's


@pytest.mark.parametrize(
    ("objective", "lambda_b", "given"),
    [
        ("ce", 0.05, {}),
        ("mse", None, {"bias": False}),
        pytest.param("extra-l2", 0.0, {}, marks=pytest.mark.slow),
        pytest.param("ls", 0.0, {}, marks=pytest.mark.slow),
        pytest.param("focal", 0.05, {}, marks=pytest.mark.slow),
        pytest.param("squared-error", 0.05, SMALL_TARGET, marks=pytest.mark.slow),
    ],
)
def test_the_full_batch_objective_is_that_of_the_model(
    objective: str, lambda_b: float | None, given: dict[str, Any]
) -> None:
    decay = FeatureDecay(0.02, 0.003, lambda_b or 0.0)
    made = settings(objective, batch_size=0, epochs=2, decay=decay, **given)
    first, second = epochs(made, X, Y, K)
    # The record of an epoch is of the network before it: here, after the first.
    features, _ = embed(first.network, X)
    head = first.network.head
    point = Point(
        np.asarray(head.W, np.float64),
        features.T.astype(np.float64),  # classes are in order, as in the model
        None if head.b is None else np.asarray(head.b, np.float64),
    )
    decays = {"lambda_W": 0.02, "lambda_H": 0.003, "lambda_b": lambda_b}
    model = ufm_model(made.make_objective(), [4, 4, 4], D, **decays)
    value = float(model.objective(point))
    assert second.records[1].objective == pytest.approx(value, rel=FLOAT32)
    # Negative controls: every decay is seen, and so is 1/N.
    for name in ("lambda_W", "lambda_H", *(["lambda_b"] if lambda_b else [])):
        altered = {**decays, name: 100 * decays[name]}
        other = ufm_model(made.make_objective(), [4, 4, 4], D, **altered)
        assert abs(float(other.objective(point)) - value) > 10 * FLOAT32 * value


def test_the_penalty_of_batches_has_the_mean_of_the_models() -> None:
    network = initial_network(settings(), SHAPE, K)
    features, _ = embed(network, X)
    W = np.asarray(network.head.W, np.float64)
    wanted = 0.01 * np.sum(W**2) + 0.0015 * np.sum(features.astype(np.float64) ** 2)
    decay = FeatureDecay(0.02, 0.003)
    parts = [float(decay.penalty(network, features[i : i + 4], N)) for i in (0, 4, 8)]
    assert np.mean(parts) == pytest.approx(wanted, rel=FLOAT32)
    # Negative control: without the factor N / B the mean is another.
    wrong = [float(decay.penalty(network, features[i : i + 4], 4)) for i in (0, 4, 8)]
    assert abs(np.mean(wrong) - wanted) > 0.01 * wanted


def test_weight_decay_is_of_all_that_is_trained() -> None:
    for fixed in (False, True):
        network = initial_network(settings(fixed_etf=fixed), SHAPE, K)
        leaves = jax.tree.leaves((network.body, network.head))
        total = sum(float(np.sum(np.asarray(leaf, np.float64) ** 2)) for leaf in leaves)
        if fixed:
            total -= 3.0  # rows of norm 1
        found = float(WeightDecay(0.5).penalty(network, None, N))
        assert found == pytest.approx(0.25 * total, rel=FLOAT32)


# ---- steps against SGD written out


@jax.jit
def hand_gradient(theta: Any, x: Any, y: Any, decays: Any) -> Any:
    """Of cross entropy with (of all weights, of W, of H times N, of b) decay, by hand."""

    def value(theta: Any) -> Any:
        A, a, B, b, W, c = theta
        h = jnp.maximum(x @ A + a, 0) @ B + b
        z = h @ W.T + c
        loss = jnp.mean(jnp.log(jnp.sum(jnp.exp(z), axis=1)) - z[jnp.arange(len(y)), y])
        squares = (
            sum(jnp.sum(t * t) for t in theta),
            jnp.sum(W * W),
            jnp.mean(jnp.sum(h * h, axis=1)),
            jnp.sum(c * c),
        )
        return loss + sum(lam / 2 * square for lam, square in zip(decays, squares, strict=True))

    return jax.grad(value)(theta)


def hand_trained(made: TrainSettings) -> list[np.ndarray]:
    """PyTorch's optimisers in float64 NumPy on one hidden layer with cross entropy."""
    network = initial_network(made, SHAPE, K)
    first, last, head = network.body.hidden[0], network.body.last, network.head
    theta = [first.weight, first.bias, last.weight, last.bias, head.W, head.b]
    theta = [np.asarray(leaf, np.float64) for leaf in theta]
    flat, decay = X.reshape(N, -1).astype(np.float64), made.decay

    if isinstance(decay, WeightDecay):
        decays = (decay.weight_decay, 0.0, 0.0, 0.0)
    else:
        decays = (0.0, decay.lambda_W, decay.lambda_H * N, decay.lambda_b)
    # Of the parameters A, a, B, b, W, c: what decoupled decay takes out of the gradient.
    every, own_W, of_H, own_c = decays
    shrink = [every * made.decoupled] * 6
    if made.decoupled:
        shrink[4], shrink[5] = every + own_W, every + own_c
        decays = (0.0, 0.0, of_H, 0.0)
    buffers = [np.zeros_like(t) for t in theta]
    squares, count = [np.zeros_like(t) for t in theta], 0
    size = made.batch_size or N
    for epoch in range(made.epochs):
        rate = learning_rate(made.schedule, made.learning_rate, epoch, made.epochs)
        order = np.random.default_rng([made.seed, epoch]).permutation(N)
        for begin in range(0, N - size + 1, size):
            chosen = order[begin : begin + size]
            slopes = hand_gradient(theta, flat[chosen], Y[chosen], decays)
            slopes = [np.asarray(g) for g in slopes]
            length = np.sqrt(sum(np.sum(g * g) for g in slopes))
            if made.max_gradient_norm and length > made.max_gradient_norm:
                slopes = [g * made.max_gradient_norm / length for g in slopes]
            buffers = [made.momentum * m + g for m, g in zip(buffers, slopes, strict=True)]
            moves = buffers
            if made.nesterov:
                moves = [g + made.momentum * m for m, g in zip(buffers, slopes, strict=True)]
            if made.optimizer == "signsgd":
                moves = [np.sign(m) for m in moves]
            if made.optimizer in ("adam", "adamw"):
                count += 1
                pairs = zip(squares, slopes, strict=True)
                squares = [0.999 * v + 0.001 * g * g for v, g in pairs]
                first = (1 - made.momentum) / (1 - made.momentum**count)
                roots = [np.sqrt(v / (1 - 0.999**count)) for v in squares]
                moves = [first * m / (r + 1e-8) for m, r in zip(buffers, roots, strict=True)]
            together = zip(theta, moves, shrink, strict=True)
            theta = [t - rate * (m + lam * t) for t, m, lam in together]
    return theta


USUAL: dict[str, Any] = {"decay": WeightDecay(0.01)}
OPTIONS: list[dict[str, Any]] = [
    {"optimizer": "adam", "learning_rate": 0.01},
    {"optimizer": "adamw", "learning_rate": 0.01},
    {"optimizer": "signsgd", "learning_rate": 0.01},
    {"optimizer": "signsgd", "learning_rate": 0.01, "decoupled": True, "nesterov": True},
    {"decoupled": True},
    {"decoupled": True, "decay": FeatureDecay(0.2, 0.03, 0.5)},
    {"nesterov": True},
    {"momentum": 0.0},
    {"max_gradient_norm": 0.3},
    {"batch_size": 5},
    {"decay": FeatureDecay(0.02, 0.003, 0.05)},
    {"schedule": "step"},
    {"schedule": "constant"},
    {"learning_rate": 0.05},
    {"seed": 1},
]


@pytest.mark.parametrize("option", [{}, *OPTIONS], ids=str)
def test_training_is_the_optimiser_written_out(option: dict[str, Any]) -> None:
    """And the option does something: without it the hand-made parameters are elsewhere."""
    usual, made = settings(**USUAL), settings(**{**USUAL, **option})
    network = train(made, X, Y, K).network
    first, last, head = network.body.hidden[0], network.body.last, network.head
    theta = [first.weight, first.bias, last.weight, last.bias, head.W, head.b]

    def distance(other: TrainSettings) -> float:
        pairs = zip(theta, hand_trained(other), strict=True)
        return max(float(np.abs(np.asarray(a) - b).max()) for a, b in pairs)

    # Nine steps of float32 rounding on parameters of order 1.
    assert distance(made) < FLOAT32
    if option:
        assert distance(usual) > 100 * FLOAT32


def test_schedules() -> None:
    cosine = [learning_rate("cosine", 0.2, epoch, 4) for epoch in range(4)]
    np.testing.assert_allclose(
        cosine, [0.2, 0.1 + 0.1 * np.sqrt(0.5), 0.1, 0.1 - 0.1 * np.sqrt(0.5)]
    )
    assert [round(learning_rate("step", 1.0, e, 7), 9) for e in range(7)] == [
        1,
        1,
        1,
        0.1,
        0.1,
        0.01,
        0.01,
    ]
    assert {learning_rate("constant", 0.2, epoch, 4) for epoch in range(4)} == {0.2}


# ---- what is fixed, and what moves


@pytest.mark.slow
def test_a_fixed_classifier_stays_and_a_trained_one_moves() -> None:
    for fixed in (True, False):
        made = settings(fixed_etf=fixed, decay=FeatureDecay(0.1, 0.001, 0.1), epochs=1)
        before, done = initial_network(made, SHAPE, K), train(made, X, Y, K)
        assert same_bits(before.head.W, done.network.head.W) == fixed
        assert not same_bits(before.head.b, done.network.head.b)
        assert not same_bits(before.body, done.network.body)


@pytest.mark.slow
def test_over_parameters_move_for_the_samples_of_the_batch_only() -> None:
    made = settings("sop", parameters={"rate_u": 3.0, "rate_v": 4.0}, batch_size=5)
    before = start(made, X, Y, K).state
    step = make_step(made, N, 5)
    order = jnp.asarray([7, 0, 3, 11, 5, 1, 2, 4, 6, 8, 9, 10], jnp.int32)
    data = jnp.asarray(X), jnp.asarray(Y)
    kept = jax.tree.map(np.array, before)
    after, _ = step(before, *data, order, np.int32(0), np.float32(0.1), jax.random.key(0))
    moved = [
        set(np.flatnonzero(np.any(np.asarray(new) != old, axis=1)))
        for old, new in zip(kept.auxiliary, after.auxiliary, strict=True)
    ]
    # v stays where the guess is right.
    assert moved[0] == {0, 3, 5, 7, 11} > moved[1] != set()
    objective = made.make_objective()
    rows = tuple(array[order[:5]] for array in kept.auxiliary)
    logits = embed(kept.network, X)[1][np.asarray(order[:5])]
    slopes = jax.grad(lambda r: objective(jnp.asarray(logits), Y[order[:5]], None, None, r))(rows)
    for rate, old, new, slope in zip(
        (3.0, 4.0), kept.auxiliary, after.auxiliary, slopes, strict=True
    ):
        wanted = old[order[:5]] - rate * np.asarray(slope)
        np.testing.assert_allclose(new[order[:5]], wanted, rtol=1e-4, atol=1e-14)


@pytest.mark.slow
def test_a_resnet_learns_and_its_statistics_move() -> None:
    made = settings(architecture=TINY_RESNET, epochs=2, batch_size=0, learning_rate=0.02)
    before, done = initial_network(made, SHAPE, K), train(made, X, Y, K)
    assert done.records[1].loss < done.records[0].loss
    moved = [
        not same_bits(a, b)
        for a, b in zip(
            jax.tree.leaves(before.state), jax.tree.leaves(done.network.state), strict=True
        )
    ]
    assert all(moved)
    assert len(moved) == 2 * 21  # 17 convolutions and 4 shortcuts: d is not the last stage's


# ---- ends and mistakes


def test_a_run_that_diverges_stops_and_keeps_what_it_had() -> None:
    made = settings(learning_rate=30.0, schedule="constant", epochs=40, momentum=0.9)
    runs = list(epochs(made, X, Y, K))
    last = runs[-1]
    assert last.outcome is Outcome.NOT_FINITE
    assert 0 < len(last.records) < 40
    assert last.records == runs[-2].records
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(last.state))
    # Negative control: a run that does not diverge is not stopped.
    assert train(settings(), X, Y, K).outcome is Outcome.COMPLETED


def test_a_step_that_leaves_the_finite_numbers_stops_the_run_at_once() -> None:
    """The objective is still finite: it was taken before the step."""
    made = settings("squared-error", batch_size=0, learning_rate=3e38)
    (stopped,) = epochs(made, X, Y, K)
    assert stopped.outcome is Outcome.NOT_FINITE
    assert stopped.records == ()
    assert same_bits(stopped.network, initial_network(made, SHAPE, K))


def test_dropout_is_drawn_anew_in_every_step() -> None:
    made = settings("dropout")
    step, state = make_step(made, N, 4), start(made, X, Y, K).state
    order = jnp.asarray([0, 4, 8, 1] * 3, jnp.int32)
    losses = []
    for number in range(3):
        rest = (order, np.int32(number), np.float32(0), jax.random.key(0))  # at rate 0
        state, values = step(state, jnp.asarray(X), jnp.asarray(Y), *rest)
        losses.append(float(values.loss))
    assert len(set(losses)) == 3


def test_every_epoch_has_its_order_key_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def idle(state: Any, x: Any, y: Any, order: Any, number: Any, rate: Any, key: Any) -> Any:
        seen.append((tuple(order.tolist()), tuple(jax.random.key_data(key).tolist()), float(rate)))
        return state, StepValues(np.float32(1), np.float32(1), np.int32(0))

    monkeypatch.setattr(loop, "make_step", lambda *_: idle)
    train(settings(), X, Y, K)
    assert len(seen) == 9
    for epoch in range(3):  # one for the three steps of an epoch, another for the next
        assert len(set(seen[3 * epoch : 3 * epoch + 3])) == 1
    assert [len(set(column)) for column in zip(*seen, strict=True)] == [3, 3, 3]


def test_what_was_yielded_stays_usable_and_measures_are_recorded() -> None:
    def measure(network: Any, epoch: int) -> dict[str, float]:
        return {"norm": float(jnp.sum(network.head.W**2)), "epoch": epoch}

    runs = list(epochs(settings(), X, Y, K, measure=measure))
    for number, run in enumerate(runs, start=1):
        assert run.records[-1].measures == measure(run.network, number)
    assert len({run.records[-1].measures["norm"] for run in runs}) == 3
    assert [record.measures for record in train(settings(), X, Y, K).records] == [{}, {}, {}]


def test_left_over_samples_differ_from_epoch_to_epoch() -> None:
    made = settings(batch_size=5)
    seen = [set(np.random.default_rng([made.seed, e]).permutation(N)[:10]) for e in range(3)]
    assert seen[0] != seen[1]
    assert eqx.tree_equal(start(made, X, Y, K).network, initial_network(made, SHAPE, K))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": X[..., 0]}, "reshape them"),
        ({"labels": Y[:-1]}, "one label per image"),
        ({"labels": Y.astype(float)}, "integer labels"),
        ({"num_classes": 2}, "in 0..K-1"),
        ({"num_classes": 4}, "a sample of every class.*none of 3"),
        ({"num_classes": 1}, "K >= 2"),
        ({"images": np.where(X > 2, np.nan, X)}, "finite images"),
        ({"settings": settings(batch_size=13)}, "batch_size <= N"),
        ({"settings": settings(d=1, fixed_etf=True)}, "simplex ETF"),
    ],
)
def test_wrong_data(change: dict[str, Any], says: str) -> None:
    right = {"settings": settings(), "images": X, "labels": Y, "num_classes": K}
    with pytest.raises(InputError, match=says):
        train(**{**right, **change})
