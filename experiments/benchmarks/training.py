"""Training steps of ResNet-18, ours and PyTorch's, after both have shown that they do the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from math import sqrt
from statistics import median
from time import process_time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.record import Record, absent, measured
from experiments.benchmarks.solvers import LEARNING_RATE, MOMENTUM, torch_or_none
from experiments.benchmarks.timing import Settings, alternate
from experiments.benchmarks.torch_resnet import (
    arrays_of,
    arrays_of_torch,
    tensors_of,
    torch_resnet18,
)
from experiments.networks.architectures import Architecture, count_parameters
from experiments.networks.training.decay import WeightDecay
from experiments.networks.training.settings import TrainSettings, initial_network
from experiments.networks.training.step import initial_state, make_step

# Of Fashion-MNIST, and the decay of the papers.
SHAPE, CLASSES, DECAY = (28, 28, 1), 10, 5e-4
OURS = "ufm-lab"
FORMATS = {"PyTorch": "contiguous_format", "PyTorch, channels last": "channels_last"}
# What both are compared on, in float32 on the processor: two steps, since momentum shows in the
# second. Another draw where a ReLU was switched by rounding, which moves a change by 3e-4.
SMALL, FEW, STEPS, DRAWS = 1 / 16, 8, 2, 3
# Layers that a change passes, there and back.
LAYERS = 40


def tolerance_of(width: float) -> float:
    """What rounding in float32 may change, relative: 2 u sqrt(40 layers x 9 channels).

    Each layer sums up to 9 x channels products, which rounds by about the square root of that
    times u = 2^-24; layers add up as independent ones do, and twice that is allowed.

    Example:
        >>> f"{tolerance_of(1 / 16):.1e}"
        '1.3e-05'
    """
    channels = Architecture("resnet18", width=width).sizes[-1]
    return 2 * 2.0**-24 * sqrt(LAYERS * 9 * channels)


def settings_of(width: float, batch: int) -> TrainSettings:
    """Cross entropy, SGD with momentum, decay of every weight, features behind a ReLU."""
    return TrainSettings(
        "ce",
        architecture=Architecture("resnet18", width=width, features="relu"),
        batch_size=batch,
        decay=WeightDecay(DECAY),
        learning_rate=LEARNING_RATE,
        momentum=MOMENTUM,
        max_gradient_norm=0.0,
    )


def images_of(batch: int, seed: int) -> tuple[Any, Any]:
    """Gaussian images and labels in turn."""
    drawn = np.random.default_rng(seed).standard_normal((batch, *SHAPE), np.float32)
    return drawn, (np.arange(batch) % CLASSES).astype(np.int32)


def our_steps(width: float, batch: int, seed: int) -> Iterator[tuple[float, Any]]:
    """Loss before each step on one batch, and the network after it."""
    settings = settings_of(width, batch)
    step = make_step(settings, batch, batch)
    x, y = (jnp.asarray(part) for part in images_of(batch, seed))
    order, key = jnp.arange(batch, dtype=jnp.int32), jax.random.key(0)
    state = initial_state(settings, initial_network(settings, SHAPE, CLASSES), ())
    while True:
        state, values = step(state, x, y, order, np.int32(0), np.float32(LEARNING_RATE), key)
        yield float(values.loss), state.network


def torch_steps(
    torch: Any, layout: str, device: str, width: float, batch: int, seed: int
) -> Iterator[tuple[float, Any]]:
    """The same in PyTorch, with its own loss and optimiser, from the same parameters."""
    memory_format = getattr(torch, layout)
    made = torch_resnet18(torch, initial_network(settings_of(width, batch), SHAPE, CLASSES))
    made = made.to(device=device, memory_format=memory_format)
    optimiser = torch.optim.SGD(
        made.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=DECAY
    )
    images, labels = images_of(batch, seed)
    pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))
    x = pixels.to(device=device, memory_format=memory_format)
    y = torch.from_numpy(labels).long().to(device)
    while True:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(made(x), y)
        loss.backward()
        optimiser.step()
        if device != "cpu":
            torch.cuda.synchronize()
        yield loss.item(), made


def difference(torch: Any, layout: str) -> float:
    """How far two steps of both end apart: of losses, and of the change of all arrays; relative.

    The smallest of a few draws: what does something else differs in all of them.

    Args:
        torch: the package.
        layout: its memory format.
    """
    before = arrays_of(initial_network(settings_of(SMALL, FEW), SHAPE, CLASSES))
    found = []
    with jax.default_device(jax.devices("cpu")[0]):
        for seed in range(DRAWS):
            own = our_steps(SMALL, FEW, seed)
            other = torch_steps(torch, layout, "cpu", SMALL, FEW, seed)
            pairs = [(next(own), next(other)) for _ in range(STEPS)]
            losses = max(abs(a - b) / abs(a) for (a, _), (b, _) in pairs)
            (_, network), (_, made) = pairs[-1]
            ours, theirs = arrays_of(network), arrays_of_torch(torch, made)
            apart = _size(ours, theirs) / _size(ours, before)
            found.append(max(losses, apart))
            if found[-1] < tolerance_of(SMALL):
                break
    return min(found)


def _size(these: list[Any], those: list[Any]) -> float:
    squares = (np.sum((a - b) ** 2, dtype=float) for a, b in zip(these, those, strict=True))
    return sqrt(sum(squares))


class Timed:
    """The next of some steps at every call, and the seconds of processors that it took."""

    def __init__(self, steps: Iterator[Any]) -> None:
        self.steps = steps
        self.seconds: list[float] = []

    def __call__(self) -> float:
        """The loss before the step."""
        began = process_time()
        loss, _ = next(self.steps)
        self.seconds.append(process_time() - began)
        return float(loss)

    def told(self, batch: int, seconds: float) -> str:
        """Images a second, by the clock and of processors; the first step is left out."""
        own = median(self.seconds[1:] or self.seconds)
        return f"{batch / seconds:,.3g} images/s, {batch / own:,.3g} a second of processors"


def training(row: str, width: float, batch: int, settings: Settings) -> list[Record]:
    """Forward, backward and update on one batch of 28 x 28 images, in turns.

    Args:
        row: name of the row.
        width: of the network.
        batch: images; a quarter of them if quick.
        settings: quick means a smaller batch.

    Example:
        >>> training("a", 1 / 16, 8, Settings(quick=True, repeats=1))[0].wrong
        False
    """
    batch = max(2, batch // 4) if settings.quick else batch
    torch = torch_or_none()
    architecture = settings_of(width, batch).architecture
    parameters = count_parameters(architecture, SHAPE, CLASSES).trained
    work = f"training step of ResNet-18, {parameters:,} parameters, {batch} images of 28 x 28"
    steps: dict[str, Timed] = {OURS: Timed(our_steps(width, batch, 0))}
    apart: dict[str, float] = {}
    if torch is not None:
        # Rows before may have left it one thread; ours has all cores as well.
        torch.set_num_threads(os.cpu_count() or 1)
        gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
        for name, layout in FORMATS.items():
            apart[name] = difference(torch, layout)
            theirs = torch_steps(torch, layout, "cuda" if gpu else "cpu", width, batch, 0)
            steps[name] = Timed(theirs)
    runs: dict[str, Callable[[], Any]] = dict(steps)
    timed = alternate(runs, settings, frozenset(steps))
    ours = timed[OURS].seconds
    told = {name: made.told(batch, timed[name].seconds) for name, made in steps.items()}
    finite = bool(np.isfinite(timed[OURS].result))
    records = [measured(row, work, OURS, timed[OURS], wrong=not finite, note=told[OURS])]
    for name in FORMATS:
        if torch is None:
            records.append(absent(row, work, name, ours, "not installed: pip install torch"))
            continue
        same = apart[name] < tolerance_of(SMALL) and _count(torch, width) == parameters
        note = f"{told[name]}; {STEPS} steps differ by {apart[name]:.0e}"
        note = note if same else f"NOT the same work: {note}"
        records.append(
            measured(row, work, name, timed[name], ours, wrong=not same, solved=same, note=note)
        )
    return records


def _count(torch: Any, width: float) -> int:
    made = torch_resnet18(torch, initial_network(settings_of(width, 1), SHAPE, CLASSES))
    return sum(x.numel() for x in tensors_of(torch, made) if x.requires_grad)
