"""Learning class by class: layers grown from stored covariances, and an MLP trained by SGD."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.networks.architectures.mlp import MLP
from experiments.networks.tracks.layering import built, layers_of, no_layers
from experiments.networks.tracks.stepping import Record, finished, state_key, stepped, stopped
from experiments.networks.tracks.track import Cell, Measured, Result
from experiments.report.figures import draw_over_seeds, name_artists
from landscape.plots.style import BLUE, FAINT, ORANGE
from ufm.redunet import (
    build_from_covariances,
    covariances,
    entering,
    nearest_subspace,
    transformed,
)
from ufm.typing import AnyArray

LEARNERS = ("redunet", "mlp")
# Classes come in twos, the last of an odd number alone.
TOGETHER = 2
# Of the MLP, whose hidden layer is as wide as two images.
HIDDEN, BATCH, RATE, MOMENTUM = 128, 32, 0.05, 0.9


def _stages(num_classes: int) -> int:
    return -(-num_classes // TOGETHER)


def rows(images: AnyArray) -> AnyArray:
    """Images (m, height, width) as features (1, d, m)."""
    return np.asarray(images.reshape(len(images), -1).T[None])


def growing_layers(
    options: Any,
    cell: Cell,
    images: AnyArray,
    labels: AnyArray,
    new: AnyArray,
    truth: AnyArray,
    folder: Path,
) -> Measured:
    """Classes in twos; of old ones nothing is kept but the covariances in the network."""
    K = int(labels.max()) + 1
    told, counts = rows(new), np.bincount(labels)
    Z = entering(rows(images), labels, counts, "class")
    d, depth, key = Z.shape[1], options.depth, state_key(options, cell)
    given: dict[str, Any] = {"eps": options.precision, "eta": options.step, "depth": depth}

    def features(layers: Any, Z: AnyArray) -> AnyArray:
        way: dict[str, Any] = {"eta": options.step, "sharpness": options.sharpness}
        return transformed(layers, Z, normalisation="class", **way)

    def grown(state: Any, number: int) -> tuple[Any, Record]:
        room, _ = state
        before, seen = TOGETHER * number, min(K, TOGETHER * (number + 1))
        # What a network has of the classes it was built from: C_j of its first layer.
        stored = np.empty((0, 1, d, d))
        if before:
            ridge = counts[:before, None, None, None] * options.precision**2 / d
            stored = np.linalg.inv(room.compress[0, :before]) - ridge * np.eye(d)
        mine = np.isin(labels, np.arange(before, seen))
        own = covariances(Z[:, :, mine], labels[mine] - before, seen - before)
        layers, S = build_from_covariances(
            np.concatenate([stored, own]), counts[:seen].tolist(), classes_normal=True, **given
        )
        empty = no_layers(depth, K, 1, d, float)
        for i, layer in enumerate(layers):
            for part, value in zip(empty, layer, strict=True):
                part[i, : len(value)] = value
        ask = truth < TOGETHER
        found = nearest_subspace(S, features(layers, told[:, :, ask]), options.dimension)
        every = np.zeros((K, 1, d, d))
        every[:seen] = S
        return (empty, every), {"first": [float(np.mean(found == truth[ask]))]}

    start = no_layers(depth, K, 1, d, float), np.zeros((K, 1, d, d))
    (room, S), records = stepped(start, _stages(K), grown, folder, key)
    first = [record["first"][0] for record in records]
    seen = min(K, TOGETHER * len(records))
    layers = layers_of(room, depth, seen)
    joint, other = (
        built(Z, labels, folder / kind, key, normalisation=kind, **given)[0]
        for kind in ("class", "sample")
    )
    found = nearest_subspace(S[:seen], features(layers, told), options.dimension)
    return {
        "classes": K,
        "accuracy": float(np.mean(found == truth)),
        "first": first[-1],
        "forgotten": first[0] - first[-1],
        "joint_difference": max(_off(a, b) for a, b in zip(layers, joint, strict=True)),
        "sample_difference": max(_off(a, b) for a, b in zip(layers, other, strict=True)),
    }, {"first": first}


def _off(one: Any, two: Any) -> float:
    """Largest difference of the operators of two layers, relative to the largest entry."""
    pairs = ((one.expand, two.expand), (one.compress, two.compress))
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def growing_mlp(
    options: Any,
    cell: Cell,
    images: AnyArray,
    labels: AnyArray,
    new: AnyArray,
    truth: AnyArray,
    folder: Path,
) -> Measured:
    """An MLP trained by SGD on two classes after the other."""
    K, seed = int(labels.max()) + 1, cell.seed
    X, told = (rows(part)[0].T.astype(np.float32) for part in (images, new))
    size = min(BATCH, int(np.bincount(labels // TOGETHER).min()))
    network = MLP(jax.random.key(seed), X.shape[1], (HIDDEN,), K)
    optimiser = optax.sgd(RATE, MOMENTUM)

    def value(network: Any, x: Any, y: Any) -> Any:
        logits = network(x, (), training=True)[0]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    @jax.jit
    def step(network: Any, moments: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
        loss, slope = jax.value_and_grad(value)(network, x, y)
        moves, moments = optimiser.update(slope, moments)
        return optax.apply_updates(network, moves), moments, loss

    def right(network: Any, ask: Any) -> float:
        logits = network(jnp.asarray(told[ask]), (), training=False)[0]
        return float(np.mean(np.argmax(logits, axis=1) == truth[ask]))

    def once(state: Any, number: int) -> tuple[Any, Record]:
        stage = number // options.passes
        mine = np.flatnonzero(labels // TOGETHER == stage)
        order = np.random.default_rng((113, seed, number)).permutation(mine)
        losses = []
        for begin in range(0, len(order) - size + 1, size):
            batch = order[begin : begin + size]
            *state, loss = step(*state, X[batch], labels[batch])
            losses.append(loss)
        record = {"loss": [float(np.mean(jax.device_get(losses)))]}
        if (number + 1) % options.passes == 0:
            record["first"] = [right(state[0], truth < TOGETHER)]
        return tuple(state), record

    start = network, optimiser.init(network)
    epochs, key = options.passes * _stages(K), state_key(options, cell)
    state, records = stepped(start, epochs, once, folder, key, options.passes)
    first = [record["first"][0] for record in records if "first" in record]
    if not finished(records, epochs):
        return stopped(records), {"first": first}
    return {
        "classes": K,
        "accuracy": right(state[0], truth >= 0),
        "first": first[-1],
        "forgotten": first[0] - first[-1],
    }, {"first": first}


def draw_growth(ax: Any, results: Sequence[Result]) -> Any:
    """Accuracy on the first classes against classes seen, of every learner."""
    names = {"redunet": "grown layers", "mlp": "MLP by SGD"}
    for method, colour, marker in zip(LEARNERS, (BLUE, ORANGE), "os", strict=True):
        ended = [r for r in results if r.cell.method == method and "first" in r.numbers]
        if not ended:
            continue
        seen = 100 * np.array([r.series["first"] for r in ended])
        at = TOGETHER * np.arange(1, seen.shape[1] + 1)
        # A folder from before the number was kept has classes in pairs.
        at = np.minimum(at, ended[0].numbers.get("classes", at[-1]))
        look = {"capsize": 3, "color": colour, "marker": marker, "label": names[method]}
        draw_over_seeds(ax, at, seen.T, **look)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.set_xlabel("classes seen")
    ax.set_ylabel("accuracy on the first two (%)")
    name_artists(ax, loc="center right")
    return ax
