"""What the track of equilibrium layers measures: trained layers beside the linear model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import brentq

from experiments.networks.data import Dataset
from experiments.networks.data.changes import standardise, step_imbalance, subset
from experiments.networks.data.registry import load
from experiments.networks.tracks.equilibrium_layer import (
    Sizes,
    contracted,
    initial_network,
    require_contraction,
)
from experiments.networks.tracks.options import EquilibriumOptions
from experiments.networks.tracks.stepping import Record, finished, state_key, stepped, stopped
from experiments.networks.tracks.track import CHECKPOINT, Cell, Measured
from experiments.networks.training.schedule import learning_rate
from ufm import MSE, CrossEntropy
from ufm.decay import penalty
from ufm.models.equilibrium import Equilibrium
from ufm.models.equilibrium import equilibrium as model_of

METHODS = ("relu", "linear", "explicit")
LOSSES = {"mse": MSE, "ce": CrossEntropy}
# Epochs between looks at the test split, and between checkpoints.
EVERY = 10
# Of a singular value at the bound: rounding of float32, and far from where training leaves others.
CUT = 1e-3
BALANCED = "balanced"


@dataclass(frozen=True)
class Decays:
    """Of classifier, layer and inputs."""

    W: float
    V: float
    X: float


def trained(options: EquilibriumOptions, cell: Cell, folder: Path) -> Measured:
    """Numbers and curves of a cell."""
    dataset = data_of(options, cell.case)
    model, decays = _model(options, dataset)
    images, labels = dataset.train.images, dataset.train.labels
    N, size = len(labels), options.batch_size or len(labels)
    sizes = Sizes(math.prod(images.shape[1:]), options.hidden, options.d, dataset.num_classes)
    network = initial_network(sizes, cell.method, cell.seed)
    step = make_step(options.loss, decays, N, options.bound)
    arrays = jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32)
    start = network, adam().init(network)

    def epoch(state: Any, number: int) -> tuple[Any, Record]:
        order = np.random.default_rng((109, cell.seed, number)).permutation(N)
        first = options.learning_rate
        rate = np.float32(learning_rate("cosine", first, number, options.epochs))
        values = []
        for begin in range(0, N - size + 1, size):
            rows = order[begin : begin + size]
            state, value = step(state, arrays[0][rows], arrays[1][rows], rate)
            values.append(value)
        record = {"objective": [float(np.mean(jax.device_get(values)))]}
        if (number + 1) % EVERY == 0 or number + 1 == options.epochs:
            record["test_accuracy"] = [_accuracy(state[0], dataset.test)[0]]
        return state, record

    key = state_key(options, cell)
    place = folder / CHECKPOINT
    state, records = stepped(start, options.epochs, epoch, place, key, EVERY)
    names = ("objective", "test_accuracy")
    series = {name: [r[name][0] for r in records if name in r] for name in names}
    if not finished(records, options.epochs):
        return stopped(records), series
    numbers, found = _told(state[0], dataset, model, options.loss)
    numbers["squared"] = float(options.loss == "mse")
    numbers["cut"] = float(numbers["size"] > options.bound - CUT)
    return numbers, {**series, **found}


def data_of(options: EquilibriumOptions, case: str) -> Dataset:
    """The images of a case, standardised; InputError for data that cannot be had."""
    made = subset(load(options.source), options.per_class)
    if case != BALANCED:
        made = step_imbalance(made, float(case.split()[0]), made.num_classes // 2)
    return standardise(made)


def _decays(options: EquilibriumOptions, counts: Sequence[int]) -> Decays:
    """From c = N sigma / sqrt(n_1) and N lambda_V / n_1; features of a class have norm about 1."""
    N, largest = sum(counts), max(counts)
    sigma, W = options.c * math.sqrt(largest) / N, options.c * largest / N
    return Decays(W, options.layer_decay * largest / N, sigma**2 / W)


def model_for(options: EquilibriumOptions, counts: Sequence[int]) -> Equilibrium:
    """The model of free inputs for samples of every class.

    Example:
        >>> model = model_for(EquilibriumOptions(layer_decay=0.75), (4, 2))
        >>> model.columns()["lambda_V"]
        0.5
    """
    decays, loss = _decays(options, counts), LOSSES[options.loss]()
    return model_of(loss, len(counts), options.d, 1, decays.W, decays.V, decays.X, counts)


def _model(options: EquilibriumOptions, dataset: Dataset) -> tuple[Equilibrium, Decays]:
    counts = [int(n) for n in dataset.counts]
    return model_for(options, counts), _decays(options, counts)


def own_of_model(options: EquilibriumOptions, ratio: float) -> tuple[float, float]:
    """Own logits of majority and minority at the minimum; NaN where it is not known.

    For squared error they depend on c, the decay of the layer and the ratio alone (DQ-2), so two
    classes say it.
    """
    if options.loss != "mse":
        return math.nan, math.nan
    # So many samples that their ratio is as good as any number.
    own = _own(model_for(options, (1_000_000, round(1_000_000 / ratio))))
    return own[0], own[1]


def _own(model: Equilibrium) -> Any:
    """w_k . h_k at the minimum (K,)."""
    known, counts = model.minimiser(), np.asarray(model.counts)
    if known is None:
        return np.full(len(counts), np.nan)
    W, V, X = known.point
    logits = W @ np.linalg.solve(np.eye(model.d) - V, X)
    return np.diag(logits) / np.sqrt(counts)


def adam() -> Any:
    """The optimiser, without its rate."""
    return optax.scale_by_adam()


@lru_cache(maxsize=8)
def make_step(loss: str, decays: Decays, N: int, bound: float) -> Any:
    """(state, images, labels, rate) -> (state, objective): Adam, then V is cut at the bound."""

    def value(network: Any, images: Any, labels: Any) -> Any:
        x, h = network(images)
        logits = h @ network.W.T
        if loss == "mse":
            y = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
            losses = jnp.sum((logits - y) ** 2, axis=1) / 2
        else:
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        told = jnp.mean(losses) + penalty(decays.W, jnp.sum(network.W**2))
        told += penalty(decays.V, jnp.sum(network.V**2))
        return told + penalty(decays.X * N / len(labels), jnp.sum(x**2))

    def step(state: Any, images: Any, labels: Any, rate: Any) -> Any:
        network, moments = state
        objective, slope = jax.value_and_grad(value)(network, images, labels)
        moves, moments = adam().update(slope, moments)
        network = jax.tree.map(lambda w, move: w - rate * move, network, moves)
        network = eqx.tree_at(lambda n: n.V, network, contracted(network.V, bound))
        return (network, moments), objective

    return jax.jit(step)


_seen = jax.jit(lambda network, images: network(images))


def _looked(network: Any, images: Any) -> tuple[Any, Any, Any]:
    """x, h and logits of a split, float64."""
    x, h = (np.asarray(part, np.float64) for part in _seen(network, jnp.asarray(images)))
    return x, h, h @ np.asarray(network.W, np.float64).T


def _accuracy(network: Any, split: Any, classes: Any = None) -> tuple[float, ...]:
    """Of all test samples, and of those of some classes."""
    right = np.argmax(_looked(network, split.images)[2], axis=1) == split.labels
    some = np.isin(split.labels, [] if classes is None else classes)
    return (
        (float(right.mean()), float(right[some].mean())) if some.any() else (float(right.mean()),)
    )


def _eigenvalue(gain: float, explicit: bool) -> float:
    """Of the layer of least decay for a singular value z of the logits, gain = sigma z / lambda_V.

    An equilibrium multiplies by 1 / (1 - v), so that v = gain (DQ-1); two steps by 1 + v, and
    lambda_V v^2 / 2 + sigma z / (1 + v) is least at v (1 + v)^2 = gain.

    Example:
        >>> _eigenvalue(0.5, False), round(_eigenvalue(0.375, True) - 0.24, 2)
        (0.5, 0.0)
    """
    if not explicit:
        return min(gain, 1.0)
    return float(brentq(lambda v: v * (1 + v) ** 2 - gain, 0, 1 + gain))


def _told(network: Any, dataset: Dataset, model: Equilibrium, loss: str) -> Measured:
    """Everything of a trained network beside the model."""
    counts, labels = np.asarray(dataset.counts), dataset.train.labels
    V, W = (np.asarray(part, np.float64) for part in (network.V, network.W))
    explicit = network.kind == "explicit"
    if not explicit:
        require_contraction(V)
    x, _, logits = _looked(network, dataset.train.images)
    K, N = dataset.num_classes, len(labels)
    means = np.stack([logits[labels == k].mean(axis=0) for k in range(K)], axis=1)
    z = np.linalg.svd(means * np.sqrt(counts), compute_uv=False)
    gains = model.sigma * z / float(model.lambda_V)
    predicted = np.pad([_eigenvalue(gain, explicit) for gain in gains], (0, len(V) - K))
    values = np.sort(np.linalg.eigvals(V).real)[::-1]
    if loss == "mse":
        mean = float(np.sum((logits - np.eye(K)[labels]) ** 2)) / (2 * N)
    else:
        mean = float(np.mean(np.log(np.sum(np.exp(logits - logits[range(N), labels, None]), 1))))
    decays = float(model.lambda_W), float(model.lambda_V), float(model.lambda_X)
    squares = [float(np.sum(part**2)) for part in (W, V, x)]
    value = mean + sum(map(float, map(penalty, decays, squares)))
    own, most = np.diag(means), counts == counts.max()
    numbers = {
        "objective": value,
        "own": float(own[most].mean()),
        "eigenvalue": float(values[0]),
        "eigenvalue_at_logits": float(predicted[0]),
        "eigenvalue_error": float(np.abs(values - predicted).max()),
        "asymmetry": float(np.sum((V - V.T) ** 2) / (4 * np.sum(V**2))),
        "size": float(np.linalg.norm(V, 2)),
    }
    told = _accuracy(network, dataset.test, np.flatnonzero(~most))
    numbers["test_accuracy"] = told[0]
    if not most.all():
        numbers["own_minority"] = float(own[~most].mean())
        numbers["minority_accuracy"] = told[1]
    known = model.minimiser()
    # A ReLU's features are not negative, which squared error does not mind.
    if known is not None and not explicit and (loss == "mse" or network.kind == "linear"):
        best = _own(model)
        numbers["infimum"] = known.value
        numbers["own_of_model"] = float(best[most].mean())
        numbers["eigenvalue_of_model"] = float(np.linalg.eigvalsh(known.point.V)[-1])
        if not most.all():
            numbers["own_minority_of_model"] = float(best[~most].mean())
    return numbers, {"eigenvalues": values.tolist(), "predicted": predicted.tolist()}
