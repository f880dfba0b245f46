"""How far a sweep is, and how long the rest will take by what its batches have cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, median

from experiments.sweep.cells import Batch, Shape


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        done, total: cells in the store, and of the whole sweep.
        failures: cells in the store that did not end as they should.
        rate: cells per second of this run so far.
        remaining: seconds left by the measured costs, None before the first batch.

    Example:
        >>> str(Progress(50, 200, 1, 12.5, 90.0))
        '50/200 cells, 12.5/s, 1:30 left, 1 failed'
    """

    done: int
    total: int
    failures: int
    rate: float
    remaining: float | None

    def __str__(self) -> str:
        text = f"{self.done:,}/{self.total:,} cells"
        if self.rate:
            text += f", {self.rate:,.{0 if self.rate >= 100 else 1}f}/s"
        if self.remaining is not None:
            minutes, seconds = divmod(round(self.remaining), 60)
            text += f", {minutes}:{seconds:02d} left"
        return text + (f", {self.failures:,} failed" if self.failures else "")


class Forecast:
    """Seconds of work left: every shape by its own batches, an unseen one by its size.

    The first batch of a shape includes its compilation, which is a cost per shape and not per
    cell. A cell of K classes in width w costs about K^2 w.
    """

    def __init__(self, todo: Iterable[Batch]) -> None:
        self._waiting: dict[Shape, int] = {}
        for batch in todo:
            cells = self._waiting.get(batch.shape, 0)
            self._waiting[batch.shape] = cells + len(batch.indices)
        self._costs: dict[Shape, list[float]] = {}
        self._spent = 0.0

    def record(self, batch: Batch, seconds: float) -> None:
        """A batch is done and took so long."""
        count = len(batch.indices)
        self._waiting[batch.shape] -= count
        self._costs.setdefault(batch.shape, []).append(seconds / count)
        self._spent += seconds

    def remaining(self, elapsed: float) -> float | None:
        """Seconds left when so many have passed; None before the first batch.

        Example:
            >>> import numpy as np
            >>> shape = ("ce", 3, 3, "no bias")
            >>> half = [Batch(i, np.arange(4), shape, 4) for i in range(2)]
            >>> forecast = Forecast(half)
            >>> forecast.record(half[0], 8.0)
            >>> forecast.remaining(4.0)  # two at a time: 8 seconds of work in 4
            4.0
        """
        if not self._costs:
            return None
        cost = {shape: median(taken[1:] or taken) for shape, taken in self._costs.items()}
        scale = fmean(value / _size(shape) for shape, value in cost.items())
        work = sum(
            cells * cost.get(shape, scale * _size(shape)) for shape, cells in self._waiting.items()
        )
        return work * elapsed / self._spent


def _size(shape: Shape) -> float:
    """Relative cost of a cell; of a model that nothing is known of, one."""
    match shape:
        case (_, int(K), int(width), _):
            return float(K * K * width)
    return 1.0
