"""Teachers that generate and label inputs, and students that are trained on what they ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.neural_network import MLPClassifier

from experiments.networks.architectures.mlp import MLP
from experiments.networks.data import Dataset
from experiments.networks.tracks.options import QueryOptions
from experiments.networks.tracks.stepping import Record
from ufm.typing import AnyArray

# How queries are made: searched in the latent space, drawn from it, drawn in the whole space, and
# images that are there.
EXPLORED, GENERATED, AMBIENT, DATA = "explored", "generated", "ambient", "real data"
METHODS = (EXPLORED, GENERATED, AMBIENT, DATA)
# Random features of the synthetic teacher, and their frequency times the length of a latent.
FEATURES, FREQUENCY = 200, 1.4
# Fresh inputs that risks are measured on.
FRESH = 2000
# Parts that training is cut into; in the first of them all but one, new queries come in.
PARTS = 6
# Of a step of the search, over the length of a latent.
STRIDE = 0.15
TEACHER_WIDTH, TEACHER_EPOCHS = 64, 60


@dataclass(frozen=True, eq=False)
class Teacher:
    """What can be asked.

    Attributes:
        mean: of what is generated (D,).
        basis: x = mean + basis z (D, k), z standard normal.
        weights: what ``label`` needs.
        label: (weights, inputs (N, D)) to outputs (N, K).
        classes: whether outputs are logits, or numbers of mean square about 1.
        spread: standard deviation of ambient inputs around the mean.
        real: inputs that are there (n, D).
        fresh: inputs of the test (M, D).
        truth: their classes (M,), where there are any.
    """

    mean: AnyArray
    basis: AnyArray
    weights: Any
    label: Callable[[Any, Any], Any]
    classes: bool
    spread: float
    real: AnyArray
    fresh: AnyArray
    truth: AnyArray | None = None


def _waves(weights: Any, x: Any) -> Any:
    frequencies, phases, sizes = weights
    return jnp.cos(x @ frequencies.T + phases) @ sizes[:, None]


def _perceptron(weights: Any, x: Any) -> Any:
    *hidden, (W, b) = weights
    for A, a in hidden:
        x = jax.nn.relu(x @ A + a)
    return x @ W + b


def synthetic_teacher(k: int, D: int, num_real: int, seed: int) -> Teacher:
    """A random smooth function of R^D on a random k-dimensional subspace of it.

    Its law on the subspace does not depend on D: random features with Gaussian frequencies.

    Example:
        >>> teacher = synthetic_teacher(2, 5, 7, 0)
        >>> teacher.basis.shape, teacher.real.shape
        ((5, 2), (7, 5))
    """
    rng = np.random.default_rng((127, k, D, seed))
    basis = np.linalg.qr(rng.normal(size=(D, k)))[0]
    frequencies = FREQUENCY / np.sqrt(k) * rng.normal(size=(FEATURES, D))
    phases = rng.uniform(0, 2 * np.pi, FEATURES)
    sizes = np.sqrt(2 / FEATURES) * rng.normal(size=FEATURES)
    real, fresh = (rng.normal(size=(n, k)) @ basis.T for n in (num_real, FRESH))
    weights = tuple(np.asarray(part, np.float32) for part in (frequencies, phases, sizes))
    spread = float(np.sqrt(k / D))
    return Teacher(np.zeros(D), basis, weights, _waves, False, spread, real, fresh)


def image_teacher(dataset: Dataset, k: int, num_real: int, seed: int) -> Teacher:
    """A perceptron trained on all train images, with their leading principal components as decoder.

    Args:
        dataset: of images.
        k: components.
        num_real: train images that a student may see.
        seed: of the perceptron and of which images these are.
    """
    X = np.asarray(dataset.train.images, float).reshape(len(dataset.train.labels), -1)
    mean = X.mean(axis=0)
    _, values, rows = np.linalg.svd(X - mean, full_matrices=False)
    basis = rows[:k].T * values[:k] / np.sqrt(len(X))
    trained = MLPClassifier((TEACHER_WIDTH,), max_iter=1, warm_start=True, random_state=seed)
    for _ in range(TEACHER_EPOCHS):
        trained.partial_fit(X, dataset.train.labels, classes=np.arange(dataset.num_classes))
    weights = tuple(
        (np.asarray(W, np.float32), np.asarray(b, np.float32))
        for W, b in zip(trained.coefs_, trained.intercepts_, strict=True)
    )
    chosen = np.random.default_rng((131, seed)).permutation(len(X))[:num_real]
    fresh = np.asarray(dataset.test.images, float).reshape(len(dataset.test.labels), -1)
    spread = float(np.sqrt(np.mean((X - mean) ** 2)))
    return Teacher(
        mean, basis, weights, _perceptron, True, spread, X[chosen], fresh, dataset.test.labels
    )


def first_queries(teacher: Teacher, method: str, counts: tuple[int, ...], seed: int) -> AnyArray:
    """Queries before any search, (len(counts), max(counts), D), those of one count its first rows.

    There are as many real inputs as there are: more queries of them come again.
    """
    D, k = teacher.basis.shape
    shape = len(counts), max(counts)
    rng = np.random.default_rng((137, METHODS.index(method), D, k, seed))
    if method == AMBIENT:
        made = teacher.mean + teacher.spread * rng.normal(size=(*shape, D))
    elif method == DATA:
        made = teacher.real[np.tile(np.arange(shape[1]) % len(teacher.real), (shape[0], 1))]
    else:
        made = teacher.mean + rng.normal(size=(*shape, k)) @ teacher.basis.T
    return np.asarray(made, np.float32)


def start(teacher: Teacher, counts: tuple[int, ...], width: int, seed: int) -> Any:
    """Students, one per count and all alike, and the moments of Adam."""
    K = teacher.label(teacher.weights, np.zeros((1, len(teacher.mean)), np.float32)).shape[1]
    student = MLP(jax.random.key(seed), len(teacher.mean), (width, width), K)
    students = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(counts)), student)
    return students, optax.scale_by_adam().init(students)


def student_of(scale: Any, mean: Any) -> Callable[[Any, Any], Any]:
    """Outputs of a student, which sees inputs of mean 0 and mean square 1."""
    return lambda student, x: student((x - mean) / scale, (), training=True)[0]


def _differences(classes: bool, told: Any, said: Any) -> Any:
    """Squared, or of Kullback and Leibler, by sample."""
    if not classes:
        return jnp.sum((told - said) ** 2, axis=-1)
    wanted = jax.nn.softmax(told)
    return jnp.sum(wanted * (jax.nn.log_softmax(told) - jax.nn.log_softmax(said)), axis=-1)


@lru_cache(maxsize=8)
def _programs(label: Any, classes: bool, search: int) -> tuple[Any, Any, Any, Any]:
    """Compiled: a step of all students, a search for all of them, labels, and their risks."""

    def value(student: Any, x: Any, told: Any, kept: Any) -> Any:
        off = _differences(classes, told, student(x, (), training=True)[0])
        return jnp.sum(kept * off) / jnp.sum(kept)

    def step(state: Any, x: Any, told: Any, kept: Any, rate: Any) -> tuple[Any, Any]:
        students, moments = state
        losses, slopes = jax.vmap(jax.value_and_grad(value))(students, x, told, kept)
        moves, moments = optax.scale_by_adam().update(slopes, moments)
        moved = jax.tree.map(lambda w, move: w - rate * move, students, moves)
        return (moved, moments), losses

    def searched(students: Any, about: Any, z: Any) -> Any:
        weights, mean, scale, basis = about
        size = jnp.linalg.norm(z, axis=-1, keepdims=True)

        def off(z: Any, student: Any) -> Any:
            x = mean + z @ basis.T
            said = student_of(scale, mean)(student, x)
            return jnp.sum(_differences(classes, label(weights, x), said))

        def up(z: Any, size: Any, student: Any) -> Any:
            for _ in range(search):
                slope = jax.grad(off)(z, student)
                along = slope / (jnp.linalg.norm(slope, axis=-1, keepdims=True) + np.float32(1e-12))
                z = z + np.float32(STRIDE) * size * along
                # On its sphere: lengths keep the law that they are drawn from.
                z = size * z / jnp.linalg.norm(z, axis=-1, keepdims=True)
            return mean + z @ basis.T

        return jax.vmap(up)(z, size, students)

    def risks(students: Any, about: Any, x: Any) -> tuple[Any, Any]:
        weights, mean, scale, _ = about
        told = label(weights, x)
        said = jax.vmap(student_of(scale, mean), in_axes=(0, None))(students, x)
        off = jax.vmap(lambda said: jnp.mean(_differences(classes, told, said)))(said)
        unit = np.float32(1.0) if classes else jnp.var(told)
        return off / unit, jnp.argmax(said, axis=-1)

    return jax.jit(step), jax.jit(searched), jax.jit(label), jax.jit(risks)


def about_of(teacher: Teacher) -> tuple[Any, Any, Any, Any]:
    """What programs need of a teacher: weights, mean, scale and basis."""
    scale = np.float32(teacher.spread)
    mean, basis = (np.asarray(part, np.float32) for part in (teacher.mean, teacher.basis))
    return teacher.weights, mean, scale, basis


def epoch_of(
    options: QueryOptions, teacher: Teacher, method: str, counts: tuple[int, ...], seed: int
) -> Callable[[Any, int], tuple[Any, Record]]:
    """A part of the training of all students: (state, number) -> state, losses.

    The state is (students and moments, queries). Queries come in in equal shares, one before each
    part but the last; explored ones start as generated ones and go up the objective of the student.
    """
    step, searched, labelled, _ = _programs(teacher.label, teacher.classes, options.search)
    about, most = about_of(teacher), max(counts)
    place = np.arange(most)

    def known(number: int) -> AnyArray:
        """Which queries there are in a part, (len(counts), most)."""
        share = min(number + 1, PARTS - 1) / (PARTS - 1)
        return np.stack([place < max(1, round(share * n)) for n in counts])

    def part(state: Any, number: int) -> tuple[Any, Record]:
        both, x = state
        kept = known(number)
        if method == EXPLORED and 0 < number < PARTS - 1:
            rng = np.random.default_rng((139, seed, number))
            z = rng.normal(size=(*kept.shape, teacher.basis.shape[1])).astype(np.float32)
            new = kept & ~known(number - 1)
            x = np.where(new[..., None], np.asarray(searched(both[0], about, z)), x)
        inputs, answers = (x - about[1]) / about[2], labelled(about[0], x)
        first = number * options.steps // PARTS
        last = (number + 1) * options.steps // PARTS
        losses, weights = [], kept.astype(np.float32)
        for at in range(first, last):
            rate = options.learning_rate * (1 + np.cos(np.pi * at / options.steps)) / 2
            both, loss = step(both, inputs, answers, weights, np.float32(rate))
            losses.append(loss)
        return (both, x), {"loss": np.mean(jax.device_get(losses), axis=0).tolist()}

    return part


def told(options: QueryOptions, teacher: Teacher, students: Any) -> tuple[list[float], list[float]]:
    """Risks of students on fresh inputs, and their accuracies where there are classes."""
    *_, risks = _programs(teacher.label, teacher.classes, options.search)
    off, guesses = risks(students, about_of(teacher), np.asarray(teacher.fresh, np.float32))
    if teacher.truth is None:
        return np.asarray(off, float).tolist(), []
    right = np.mean(np.asarray(guesses) == teacher.truth, axis=1)
    return np.asarray(off, float).tolist(), right.tolist()
