"""Learning class by class: layers grown from stored covariances, and an MLP trained by SGD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from experiments.networks.tracks.track import Result
from landscape.plots.style import BLUE, FAINT, ORANGE
from ufm.redunet import (
    Layer,
    build,
    build_from_covariances,
    class_scales,
    covariances,
    nearest_subspace,
    transformed,
)

Array = np.ndarray[Any, Any]
LEARNERS = ("redunet", "mlp")
# Classes come in twos.
TOGETHER = 2


def rows(images: Array) -> Array:
    """Images (m, height, width) as features (1, d, m)."""
    return np.asarray(images.reshape(len(images), -1).T[None])


def growing_layers(
    options: Any, images: Array, labels: Array, new: Array, truth: Array, seed: int
) -> tuple[Mapping[str, float], Mapping[str, list[float]]]:
    """Classes in twos; of old ones nothing is kept but the covariances in the network."""
    K = int(labels.max()) + 1
    Z, told = rows(images), rows(new)
    counts = np.bincount(labels)
    Z = Z * class_scales(covariances(Z, labels, K), counts)[labels]
    given: dict[str, Any] = {"eps": options.precision, "eta": options.step, "depth": options.depth}
    # What a network has of the classes it was built from: C_j of its first layer.
    stored = np.empty((0, 1, Z.shape[1], Z.shape[1]))
    first: list[float] = []
    layers: list[Layer] = []
    S = stored
    for seen in range(TOGETHER, K + 1, TOGETHER):
        fresh = np.arange(seen - TOGETHER, seen)
        mine = np.isin(labels, fresh)
        own = covariances(Z[:, :, mine], labels[mine] - fresh[0], TOGETHER)
        if layers:
            room = counts[: seen - TOGETHER, None, None, None] * options.precision**2 / Z.shape[1]
            stored = np.linalg.inv(layers[0].compress) - room * np.eye(Z.shape[1])
        layers, S = build_from_covariances(
            np.concatenate([stored, own]), counts[:seen].tolist(), classes_normal=True, **given
        )
        ask = truth < TOGETHER
        way: dict[str, Any] = {"eta": options.step, "normalisation": "class"}
        there = transformed(layers, told[:, :, ask], sharpness=options.sharpness, **way)
        first.append(float(np.mean(nearest_subspace(S, there, options.dimension) == truth[ask])))
    joint, _, _ = build(Z, labels, normalisation="class", **given)
    other, _, _ = build(Z, labels, normalisation="sample", **given)
    every = transformed(layers, told, sharpness=options.sharpness, **way)
    accuracy = float(np.mean(nearest_subspace(S, every, options.dimension) == truth))
    return {
        "accuracy": accuracy,
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
    options: Any, images: Array, labels: Array, new: Array, truth: Array, seed: int
) -> tuple[Mapping[str, float], Mapping[str, list[float]]]:
    """An MLP trained by SGD on two classes after the other."""
    K = int(labels.max()) + 1
    X, told = rows(images)[0].T, rows(new)[0].T
    batch = min(32, TOGETHER * int(np.bincount(labels).min()))
    made = MLPClassifier(
        (128,), solver="sgd", learning_rate_init=0.05, momentum=0.9, batch_size=batch,
        random_state=seed,
    )  # fmt: skip
    first, ask = [], truth < TOGETHER
    for seen in range(TOGETHER, K + 1, TOGETHER):
        mine = (labels >= seen - TOGETHER) & (labels < seen)
        for _ in range(options.passes):
            made.partial_fit(X[mine], labels[mine], classes=np.arange(K))
        first.append(float(np.mean(made.predict(told[ask]) == truth[ask])))
    return {
        "accuracy": float(np.mean(made.predict(told) == truth)),
        "first": first[-1],
        "forgotten": first[0] - first[-1],
    }, {"first": first}


def draw_growth(ax: Any, results: Sequence[Result]) -> Any:
    """Accuracy on the first classes against classes seen, of every learner."""
    names = {"redunet": "grown layers", "mlp": "MLP by SGD"}
    for method, colour, marker in zip(LEARNERS, (BLUE, ORANGE), "os", strict=True):
        curves = [
            r.series["first"] for r in results if r.cell.method == method and "first" in r.series
        ]
        if not curves:
            continue
        seen = 100 * np.array(curves)
        at, mean = TOGETHER * np.arange(1, seen.shape[1] + 1), seen.mean(axis=0)
        bars = (mean - seen.min(axis=0), seen.max(axis=0) - mean)
        ax.errorbar(
            at, mean, yerr=bars, capsize=3, color=colour, marker=marker, label=names[method]
        )
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.set_xlabel("classes seen")
    ax.set_ylabel("accuracy on the first two (%)")
    ax.legend(loc="center right")
    return ax
