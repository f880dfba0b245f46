"""Epoch after epoch, from the start or from a checkpoint, with the same numbers either way."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.files import fingerprint
from experiments.lock import locked
from experiments.networks.architectures import Network
from experiments.networks.training.checkpoint import (
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from experiments.networks.training.progress import EpochRecord, Outcome, Progress
from experiments.networks.training.schedule import learning_rate
from experiments.networks.training.settings import (
    SAMPLES_KEY,
    STEPS_KEY,
    TrainSettings,
    initial_network,
)
from experiments.networks.training.step import Step, TrainState, initial_state, make_step
from ufm.errors import InputError, require_count

# Numbers measured on the network after an epoch (from 1), by name.
Measure = Callable[[Network, int], Mapping[str, float]]


def start(settings: TrainSettings, images: Any, labels: Any, num_classes: int) -> Progress:
    """A run before its first epoch.

    Args:
        settings: of the run.
        images: float32 (N, height, width, channels).
        labels: integers (N,) in 0..K-1, every class with a sample.
        num_classes: K.

    Raises:
        InputError: data that does not fit together, or fewer samples than a batch.

    Example:
        >>> settings = TrainSettings(d=5, batch_size=0)
        >>> start(settings, np.zeros((3, 2, 2, 1), np.float32), np.arange(3), 3).outcome.name
        'RUNNING'
    """
    _require_data(settings, images, labels, num_classes)
    network = initial_network(settings, np.shape(images)[1:], num_classes)
    key = settings.random_key(SAMPLES_KEY)
    auxiliary = settings.make_objective().start(len(labels), num_classes, key)
    return Progress(initial_state(settings, network, auxiliary), (), Outcome.RUNNING)


def continued(
    settings: TrainSettings, images: Any, labels: Any, num_classes: int, folder: Path
) -> Progress:
    """A run as the checkpoint in a folder has it, or before its first epoch if there is none.

    Raises:
        InputError: as ``start``; a damaged checkpoint, or one of other settings or data.
    """
    fresh = start(settings, images, labels, num_classes)
    if not has_checkpoint(folder):
        return fresh
    state, about = load_checkpoint(folder, _run_key(settings, images, labels), fresh.state)
    return Progress.from_about(state, about)


def epochs(
    settings: TrainSettings,
    images: Any,
    labels: Any,
    num_classes: int,
    *,
    folder: Path | None = None,
    every: int = 1,
    measure: Measure | None = None,
) -> Iterator[Progress]:
    """Train, yielding the progress after every epoch; the last has an outcome that is not RUNNING.

    The order of samples, dropout and augmentation depend on the seed and the epoch only, so a run
    that is resumed has the same numbers as one that was not, bit for bit on the same machine and
    versions (on a GPU with XLA_FLAGS=--xla_gpu_deterministic_ops=true). When the objective or a
    parameter is no longer finite, the run stops with the state of the epoch before. A run whose
    checkpoint is finished is yielded once, as it is. Stop by leaving the loop.

    Args:
        settings: as ``start``.
        images: as ``start``.
        labels: as ``start``.
        num_classes: as ``start``.
        folder: for checkpoints; one that is there is resumed. None keeps none.
        every: epochs between checkpoints; the last epoch has one always.
        measure: called with network and number of the epoch; its numbers go into the record.

    Raises:
        InputError: as ``continued``; another process trains in the folder.

    Example:
        >>> x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(12, 1, 1, 1)
        >>> settings = TrainSettings(d=5, epochs=2, batch_size=4)
        >>> [p.outcome.name for p in epochs(settings, x, np.repeat([0, 1, 2], 4), 3)]
        ['RUNNING', 'COMPLETED']
    """
    require_count(every, "every", 1, "save every epoch or fewer")
    if folder is None:
        yield from _epochs(settings, images, labels, num_classes, None, every, measure)
    else:
        with locked(folder, "Another process trains in this folder"):
            yield from _epochs(settings, images, labels, num_classes, folder, every, measure)


def train(
    settings: TrainSettings,
    images: Any,
    labels: Any,
    num_classes: int,
    *,
    folder: Path | None = None,
    every: int = 1,
    measure: Measure | None = None,
) -> Progress:
    """The progress after the last epoch of ``epochs``, with the records of all of them.

    Args, Raises: as ``epochs``.

    Example:
        >>> x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(12, 1, 1, 1)
        >>> done = train(TrainSettings(d=5, epochs=2), x.repeat(12, 0), np.repeat([0, 1, 2], 48), 3)
        >>> done.outcome.value, len(done.records)
        ('all epochs done', 2)
    """
    *_, last = epochs(
        settings, images, labels, num_classes, folder=folder, every=every, measure=measure
    )
    return last


def _epochs(
    settings: TrainSettings,
    images: Any,
    labels: Any,
    num_classes: int,
    folder: Path | None,
    every: int,
    measure: Measure | None,
) -> Iterator[Progress]:
    if folder is None:
        progress = start(settings, images, labels, num_classes)
    else:
        progress = continued(settings, images, labels, num_classes, folder)
    if progress.outcome is not Outcome.RUNNING:
        yield progress
        return
    key = "" if folder is None else _run_key(settings, images, labels)
    N = len(labels)
    size = settings.batch_size or N
    step = make_step(settings, N, size)
    data = jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32)
    while progress.outcome is Outcome.RUNNING:
        progress = _one_epoch(settings, step, size, data, progress, measure)
        last = progress.outcome is not Outcome.RUNNING
        if folder is not None and (last or len(progress.records) % every == 0):
            save_checkpoint(folder, key, progress.state, progress.about())
        yield progress


def _one_epoch(
    settings: TrainSettings,
    step: Step,
    size: int,
    data: tuple[Any, Any],
    before: Progress,
    measure: Measure | None,
) -> Progress:
    began = time.perf_counter()
    epoch, N = len(before.records), len(data[1])
    rate = learning_rate(settings.schedule, settings.first_rate, epoch, settings.epochs)
    order = jnp.asarray(np.random.default_rng([settings.seed, epoch]).permutation(N), jnp.int32)
    key = jax.random.fold_in(settings.random_key(STEPS_KEY), epoch)
    # A step uses its state up, and the state before stays with whoever holds the progress.
    state: TrainState = _copy(before.state)
    steps = []
    for number in range(N // size):
        state, values = step(state, *data, order, np.int32(number), np.float32(rate), key)
        steps.append(values)
    # Summed in float64 on the host, in the order of the steps.
    objective, loss, correct = np.asarray(jax.device_get(steps), np.float64).mean(axis=0).tolist()
    if not (np.isfinite(objective) and np.isfinite(loss) and _finite(state)):
        return dataclasses.replace(before, outcome=Outcome.NOT_FINITE)
    seconds = time.perf_counter() - began
    measures = {} if measure is None else dict(measure(state.network, epoch + 1))
    record = EpochRecord(
        epoch + 1, rate, objective, loss, correct / size, measures=measures, seconds=seconds
    )
    outcome = Outcome.COMPLETED if epoch + 1 == settings.epochs else Outcome.RUNNING
    return Progress(state, (*before.records, record), outcome)


@jax.jit
def _copy(state: TrainState) -> Any:
    return jax.tree.map(jnp.copy, state)


@jax.jit
def _all_finite(leaves: list[Any]) -> Any:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def _finite(state: TrainState) -> bool:
    return bool(_all_finite(jax.tree.leaves(state)))


def _run_key(settings: TrainSettings, images: Any, labels: Any) -> str:
    """16 hex digits of settings and data: a run is resumed with the same of both."""
    parts = (np.asarray(images, np.float32), np.asarray(labels, np.int32))
    text = settings.key
    for array in parts:
        text = fingerprint(np.ascontiguousarray(array).tobytes(), f"{text} {array.shape}")
    return text


def _require_data(settings: TrainSettings, images: Any, labels: Any, num_classes: int) -> None:
    K = require_count(num_classes, "K", 2, "give two classes or more")
    if np.ndim(images) != 4:
        rule = "Need images of shape (N, height, width, channels)"
        raise InputError(rule, np.shape(images), "reshape them, e.g. images[..., None]")
    if np.shape(labels) != (len(images),):
        got = f"{len(images)} images, labels of shape {np.shape(labels)}"
        raise InputError("Need one label per image", got, "give both from the same set")
    values = np.asarray(labels)
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= K:
        got = f"{values.dtype} labels in {values.min()}..{values.max()}, K={K}"
        raise InputError("Need integer labels in 0..K-1", got, "give the right number of classes")
    counts = np.bincount(values, minlength=K)
    if counts.min() == 0:
        missing = ", ".join(map(str, np.flatnonzero(counts == 0)))
        raise InputError("Need a sample of every class", f"none of {missing}", "drop the class")
    if not np.all(np.isfinite(images)):
        raise InputError("Need finite images", "NaN or infinity", "clean them")
    if settings.batch_size > len(images):
        got = f"batch_size={settings.batch_size}, N={len(images)}"
        raise InputError("Need batch_size <= N", got, "use batch_size=0 for all at once")
