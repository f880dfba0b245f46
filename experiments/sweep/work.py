"""A batch of cells as stacked models and starts, ready for a compiled program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.sweep.cells import Cells
from experiments.sweep.tasks.registry import TASKS, Task
from ufm.plain.model import UFM
from ufm.point import SMALLEST_DRAW, Point, drawn
from ufm.typing import Array


@dataclass(frozen=True)
class Work:
    """Cells of one shape, and how to compute them.

    Attributes:
        cells: as many as the program takes.
        width: columns of W that the program has; a cell of smaller d leaves the rest at zero.
        options: of the task.
        slots: cells that step together (``landscape.solvers.minimise.minimise_many``).
        together: whether judgements are vectorised.
    """

    cells: Cells
    width: int
    options: Mapping[str, Any]
    slots: int
    together: bool

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks of the plain model."""
        return TASKS

    def portable(self, absolute: Callable[[str], str]) -> Work:
        """The same with a user's own losses by whole paths, as another process finds them."""
        losses = tuple(
            replace(choice, spec=absolute(choice.spec)) if choice.own else choice
            for choice in self.cells.losses
        )
        # replace() leaves out what was kept of the losses, a user's own functions among them.
        return replace(self, cells=replace(self.cells, losses=losses))

    @property
    def dimensions(self) -> NDArray[np.int64]:
        """Feature dimension of every cell."""
        return np.asarray(self.cells.columns["d"])

    @property
    def first(self) -> UFM:
        """The model of the first cell, which has the structure of all."""
        return self.cells.model(0)

    @cached_property
    def models(self) -> Any:
        """The merged models, stacked."""
        columns, size = self.cells.columns, len(self.cells)
        merge = self.first.merge()
        template: UFM = self.first if merge is None else merge.model
        own = [jax.tree.leaves(self.cells.loss(i)) for i in range(size)]
        stacked = [np.array(values, dtype=np.float64) for values in zip(*own, strict=True)]
        changes: dict[str, Any] = {
            "d": self.width,
            "loss": jax.tree.unflatten(jax.tree.structure(template.loss), stacked),
            "counts": np.array([self.cells.counts(i) for i in range(size)], dtype=np.float64),
            "labels": np.tile(np.arange(template.num_classes), (size, 1)),
            "lambda_W": columns["lambda_W"],
            "lambda_H": columns["lambda_H"],
        }
        if template.lambda_b is not None:
            changes["lambda_b"] = columns["lambda_b"]
        return template._replace(**changes)

    def models_at(self, c: Array) -> Any:
        """The same models with both decays scaled to another c each."""
        factor = np.asarray(c) / self.cells.columns["c"]
        models = self.models
        return models._replace(lambda_W=models.lambda_W * factor, lambda_H=models.lambda_H * factor)

    def starts(self) -> Point:
        """The random points that ``ufm solve --seed`` starts from, in the common width."""
        columns, size = self.cells.columns, len(self.cells)
        # In K dimensions where the loss is convex, else in all of them.
        drawn = np.where(self.cells.convex, self.cells.needed, self.dimensions)
        K, biased = int(columns["K"][0]), self.first.lambda_b is not None
        W, H = np.zeros((size, K, self.width)), np.zeros((size, self.width, K))
        b = np.zeros((size, K))
        for d in np.unique(drawn):
            here = np.flatnonzero(drawn == d)
            draw = normal_draws(columns["seed"][here], 2 * K * int(d) + K) * (1 / np.sqrt(d))
            left = draw[:, : K * d].reshape(-1, K, d)
            right = draw[:, K * d : 2 * K * d].reshape(-1, d, K)
            if d > self.width:  # descent stays in the row space of its start
                rows = np.concatenate([left, np.swapaxes(right, 1, 2)], axis=1)
                basis = np.linalg.qr(np.swapaxes(rows, 1, 2))[0]
                left, right = left @ basis, np.swapaxes(basis, 1, 2) @ right
            used = left.shape[2]
            W[here, :, :used], H[here, :used] = left, right
            b[here] = draw[:, 2 * K * d : 2 * K * d + K]
        return Point(W, H, b if biased else None)


def normal_draws(seeds: Any, length: int) -> Array:
    """The flat draw of ``ufm.point.gaussian`` for many seeds, (seeds, length).

    Example:
        >>> from ufm.point import gaussian
        >>> one = gaussian(jax.random.key(5), [(3,)])[0]
        >>> bool((normal_draws([5], 3)[0] == one).all())
        True
    """
    whole = max(SMALLEST_DRAW, 1 << (length - 1).bit_length())
    found, place = np.unique(np.asarray(seeds), return_inverse=True)
    # One seed at a time: few differ, and the program then depends on the length alone.
    rows = [np.asarray(drawn(int(seed), length=whole)) for seed in found]
    return np.stack(rows)[place][:, :length]
