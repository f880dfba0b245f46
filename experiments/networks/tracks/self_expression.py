"""SENet: queries and keys that express points by others, against the exact elastic net."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import SpectralClustering

from experiments.networks.architectures.layers import Dense, constant
from experiments.networks.runs import DataRequest
from experiments.networks.tracks.options import SelfExpressionOptions
from experiments.networks.tracks.stepping import Record, finished, state_key, stepped
from experiments.networks.tracks.track import (
    CHECKPOINT,
    STOPPED,
    Cell,
    Column,
    Measured,
    Result,
    Track,
    empirical_of_cells,
    key_of,
)
from experiments.report.figures import Picture, column_picture, name_artists
from landscape.plots.style import BLUE, INK, ORANGE
from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from ufm.errors import InputError, require_count, require_positive
from ufm.self_expression import elastic_net, expression, objective, preserving
from ufm.typing import AnyArray

SUBSPACES, IMAGES = "subspaces", "images"
METHODS = ("elastic net", "senet")
# Random subspaces, in general position: five of dimension 4 in R^12 overlap as directions.
NUMBER, DIMENSION, AMBIENT = 5, 4, 12
# Steps between points of the curve, and points between checkpoints.
EVERY, BETWEEN = 50, 5
# Test images that are expressed.
NEW = 200
SAME, POINTS = 1e-9, 0.02


class Queries(eqx.Module):
    """c_ij = scale T_b(k(x_i) . q(x_j)), b and scale learned: SENet with one hidden layer twice.

    Source: Zhang, You, Vidal & Li 2021, whose threshold is learned as well.
    """

    query: tuple[Dense, ...]
    key: tuple[Dense, ...]
    threshold: Any
    scale: Any

    def __init__(self, seed: Any, inputs: int, width: int) -> None:
        keys = jax.random.split(seed, 6)
        sizes = (inputs, width, width, width)
        self.query, self.key = (
            tuple(
                Dense(k, a, b, gain=2.0 if last < 2 else 1.0)
                for last, (k, a, b) in enumerate(zip(part, sizes[:-1], sizes[1:], strict=True))
            )
            for part in (keys[:3], keys[3:])
        )
        # Low enough that most coefficients are there at the start: zero ones have no gradient.
        self.threshold = constant(-5.0, 1)
        self.scale = constant(1.0, 1)

    def __call__(self, X: Any, points: Any) -> Any:
        """Coefficients (N, M) of points (M, D) in X (N, D)."""
        correlated = _embedded(self.key, X) @ _embedded(self.query, points).T
        size = jax.nn.relu(jnp.abs(correlated) - jax.nn.softplus(self.threshold))
        return self.scale * jnp.sign(correlated) * size


def _embedded(layers: Any, x: Any) -> Any:
    x = x * x.shape[-1] ** 0.5  # points have length 1, layers are drawn for entries of size 1
    for layer in layers[:-1]:
        x = jax.nn.relu(layer(x))
    x = jnp.tanh(layers[-1](x))
    return x / x.shape[-1] ** 0.5


class SelfExpression(Track):
    """Trained coefficients, their distance from the elastic net, and the clusters they make."""

    name = "senet"
    title = "Self-expression: queries, keys and the elastic net"
    question = (
        "Does a network of queries and keys find the elastic net's coefficients, its clusters, and "
        "those of points that it has not seen?"
    )
    short_of = (
        "Some hundred points and raw pixels instead of MNIST with scattering features; training "
        "takes all points at once."
    )
    options = SelfExpressionOptions
    columns = (
        Column("objective", "objective per point"),
        Column("excess", "over the exact minimum", "excess", per_cent=True),
        Column("preserving", "weight on the own subspace", "own", per_cent=True),
        Column("accuracy", "clustering accuracy", "clusters", per_cent=True),
        Column("new_excess", "new points: over the minimum", per_cent=True),
        Column("new_preserving", "new points: own subspace", per_cent=True),
        Column("new_accuracy", "new points: class of most weight", "new points", per_cent=True),
        Column("form_error", "from the form of EN-1"),
    )

    def cells(self, options: Any) -> Sequence[Cell]:
        for name in ("per_class", "steps", "width"):
            require_count(getattr(options, name), name, 2, "use more")
        for name in ("gamma", "learning_rate"):
            require_positive(getattr(options, name), name, "use the default")
        if not 0 < options.share < 1:
            raise InputError("Need --lambda in (0, 1)", options.share, "use 0.9")
        return [
            Cell(case, method, seed)
            for case in (SUBSPACES, IMAGES)
            for method in METHODS
            for seed in range(options.seeds)
        ]

    def require(self, options: Any) -> None:
        DataRequest(options.source, options.per_class).load()

    def measure(self, options: Any, cell: Cell, folder: Path) -> Measured:
        make = _subspaces if cell.case == SUBSPACES else _images
        X, labels, new, truth = make(options, cell.seed)
        best = elastic_net(X, options.gamma, options.share)
        best_new = elastic_net(X, options.gamma, options.share, new)
        given = (options.gamma, options.share)
        curve: list[float] = []
        C, C_new = best, best_new
        least = float(objective(best, X, X, *given).mean())
        if cell.method == "senet":
            network, records = _trained(options, X, cell, folder / CHECKPOINT)
            curve = [record["objective"][0] / least for record in records]
            if not finished(records, parts_of(options)):
                return {STOPPED: EVERY * len(records)}, {"objective": curve}
            C = np.array(network(X.T, X.T), dtype=float)
            np.fill_diagonal(C, 0.0)
            C_new = np.asarray(network(X.T, new.T), dtype=float)
            if not (np.isfinite(C).all() and np.isfinite(C_new).all()):
                return {STOPPED: options.steps}, {"objective": curve}
        value = float(objective(C, X, X, *given).mean())
        least_new = float(objective(best_new, X, new, *given).mean())
        K = int(labels.max()) + 1
        mass = np.stack([np.abs(C_new)[labels == k].sum(axis=0) for k in range(K)])
        form = expression(X, X - X @ C, *given)
        np.fill_diagonal(form, 0.0)
        return {
            "objective": value,
            "excess": value / least - 1,
            "preserving": float(preserving(C, labels).mean()),
            "accuracy": _clustering_accuracy(C, labels, cell.seed),
            "new_excess": float(objective(C_new, X, new, *given).mean()) / least_new - 1,
            "new_preserving": float(preserving(C_new, labels, truth).mean()),
            "new_accuracy": float(np.mean(np.argmax(mass, axis=0) == truth)),
            "form_error": float(np.abs(form - C).max()),
            "altered_form": float(np.abs(form - 1.01 * C).max()),
            "nothing": options.gamma / 2,
        }, {"objective": curve}

    def claims(self, results: Sequence[Result]) -> Sequence[Claim]:
        trained = tuple(r for r in results if r.cell.method == "senet" and "excess" in r.numbers)
        exact = tuple(r for r in results if r.cell.method == "elastic net")
        solved = Hypothesis("the elastic net was solved too", lambda r: "elastic net" in r.rivals)

        return (
            empirical_of_cells(
                "senet-exact-form",
                "Solved coefficients have the form of a query, a key and a threshold",
                "Coefficients of the elastic net are the soft threshold of EN-1, on data too.",
                exact,
                source="EN-1",
                check=lambda r: r.numbers["form_error"],
                tolerance=Tolerance(SAME, "gamma over 1 - lambda times 1e-14, times N; factor 10"),
                mutant=Mutant(
                    "coefficients a per cent larger", lambda r: r.numbers["altered_form"]
                ),
            ),
            empirical_of_cells(
                "senet-learns",
                "Networks come nearer to the exact minimum",
                "Training takes away more than half of what no coefficients cost over the exact "
                "minimum, and nothing is below it.",
                trained,
                source="Zhang et al. 2021 (that it learns), the margin is ours",
                check=lambda r: max(0.0, -r.numbers["excess"], _left(r) - 0.5) ** 2,
                tolerance=Tolerance(POINTS**2, "the square of two hundredths"),
                mutant=Mutant("without coefficients", lambda r: (1 - 0.5) ** 2),
            ),
            empirical_of_cells(
                "senet-clusters",
                "Networks cluster as the elastic net does",
                "On subspaces clustering accuracy is not behind that of exact coefficients by more "
                "than two points.",
                trained,
                source="Zhang et al. 2021 (the claim), the margin is ours",
                hypotheses=(
                    solved,
                    Hypothesis("points lie on subspaces", lambda r: r.cell.case == SUBSPACES),
                ),
                check=lambda r: max(0.0, _behind(r)) ** 2,
                tolerance=Tolerance(POINTS**2, "the square of two percentage points"),
                mutant=Mutant(
                    "clusters at random", lambda r: (r.rivals["elastic net"]["accuracy"] - 0.2) ** 2
                ),
            ),
        )

    def exact(self, options: Any) -> Sequence[tuple[str, float, float]]:
        X = np.array([[1.0, 1.0, 0.5], [0.0, 0.0, np.sqrt(0.75)]])
        gamma, share = 20.0, 0.9
        return (
            (
                "EN-2: own coefficient of two lines at 60 degrees, gamma = 20, lambda = 0.9, and "
                "by coordinate descent",
                (gamma - share) / (gamma + 1 - share),
                float(elastic_net(X, gamma, share)[1, 0]),
            ),
            (
                "EN-2: coefficient of the other line",
                0.0,
                float(elastic_net(X, gamma, share)[2, 0]),
            ),
        )

    def pictures(self, options: Any, results: Sequence[Result]) -> Sequence[Picture]:
        return (
            column_picture(
                "training",
                "Objective over the exact minimum",
                "Against steps of Adam; every seed. The dashed line is the elastic net's minimum.",
                [("objective", "objective in training", partial(_draw_curves, results=results))],
            ),
        )


def _behind(result: Result) -> float:
    return float(result.rivals["elastic net"]["accuracy"] - result.numbers["accuracy"])


def _left(result: Result) -> float:
    """What is left of the excess of c = 0 over the minimum."""
    least = result.numbers["objective"] / (1 + result.numbers["excess"])
    return float(result.numbers["excess"] / (result.numbers["nothing"] / least - 1))


def _subspaces(options: Any, seed: int) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
    """Unit vectors in random subspaces, as many again for new ones."""
    rng = np.random.default_rng(key_of(SUBSPACES, seed))
    bases = [np.linalg.qr(rng.normal(size=(AMBIENT, DIMENSION)))[0] for _ in range(NUMBER)]
    labels = np.repeat(np.arange(NUMBER), options.per_class)
    parts = []
    for _ in range(2):
        X = np.concatenate(
            [basis @ rng.normal(size=(DIMENSION, options.per_class)) for basis in bases], axis=1
        )
        parts.append(X / np.linalg.norm(X, axis=0))
    return parts[0], labels, parts[1], labels


def _images(options: Any, seed: int) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
    """Unit vectors of raw pixels; seeds choose other train images."""
    dataset = DataRequest(options.source).load()
    rng = np.random.default_rng(key_of(IMAGES, seed))
    labels = dataset.train.labels
    rows = np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == k))[: options.per_class]
            for k in range(dataset.num_classes)
        ]
    )

    def units(images: Any) -> AnyArray:
        flat = np.asarray(images, float).reshape(len(images), -1).T
        return np.asarray(flat / np.linalg.norm(flat, axis=0))

    images, truth = dataset.test.images[:NEW], dataset.test.labels[:NEW]
    return units(dataset.train.images[rows]), labels[rows], units(images), truth


def _trained(options: Any, X: AnyArray, cell: Cell, folder: Path) -> tuple[Any, list[Record]]:
    """The network after so many steps of Adam, and the objective every so many steps."""
    network = Queries(jax.random.key(cell.seed), len(X), options.width)
    optimiser = optax.adam(optax.cosine_decay_schedule(options.learning_rate, options.steps))
    data = jnp.asarray(X.T, jnp.float32)
    gamma, share = np.float32(options.gamma), np.float32(options.share)
    off = 1 - np.eye(X.shape[1], dtype=np.float32)

    def value(network: Any) -> Any:
        C = network(data, data) * off
        residual = data - C.T @ data
        penalty = share * jnp.abs(C).sum() + (1 - share) / 2 * jnp.sum(C * C)
        return (gamma / 2 * jnp.sum(residual * residual) + penalty) / len(data)

    @jax.jit
    def step(state: Any) -> tuple[Any, Any]:
        network, moments = state
        now, slope = jax.value_and_grad(value)(network)
        moves, moments = optimiser.update(slope, moments)
        return (optax.apply_updates(network, moves), moments), now

    def some(state: Any, number: int) -> tuple[Any, Record]:
        values = []
        for _ in range(min(EVERY, options.steps - EVERY * number)):
            state, now = step(state)
            values.append(now)
        # Of the first step, and of the last as well so that training ends where that is not finite.
        return state, {"objective": [float(values[0]), float(values[-1])]}

    start = network, optimiser.init(network)
    state, records = stepped(
        start, parts_of(options), some, folder, state_key(options, cell), BETWEEN
    )
    return state[0], records


def parts_of(options: Any) -> int:
    """Into how many parts, of ``EVERY`` steps each, training is cut."""
    return -(-options.steps // EVERY)


def _clustering_accuracy(C: AnyArray, labels: AnyArray, seed: int) -> float:
    """Spectral clustering of |C| + |C|^T, clusters named so that most labels agree."""
    K = int(labels.max()) + 1
    affinity = np.abs(C) + np.abs(C).T + 1e-9
    found = SpectralClustering(K, affinity="precomputed", random_state=seed).fit_predict(affinity)
    both = np.zeros((K, K))
    np.add.at(both, (found, labels), 1)
    rows, columns = linear_sum_assignment(-both)
    return float(both[rows, columns].sum() / len(labels))


def _draw_curves(ax: Any, results: Sequence[Result]) -> Any:
    for case, colour in ((SUBSPACES, BLUE), (IMAGES, ORANGE)):
        curves = [
            r.series["objective"]
            for r in results
            if (r.cell.case, r.cell.method) == (case, "senet") and r.series.get("objective")
        ]
        for place, curve in enumerate(curves):
            steps = EVERY * np.arange(len(curve))
            ax.plot(steps, curve, color=colour, label=case if place == 0 else None)
    ax.axhline(1, color=INK, linestyle="--", linewidth=1)
    ax.set_yscale("log")
    ax.set_xlabel("steps")
    ax.set_ylabel("objective over the minimum")
    name_artists(ax, loc="upper right")
    return ax
