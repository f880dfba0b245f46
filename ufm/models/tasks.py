"""Several tasks at once: one feature per sample, a label and classifier rows for every task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ufm.counts import parsed_counts
from ufm.errors import require_count
from ufm.models.sample_types import SampleTypes, of_types, require_room
from ufm.records import pytree_record
from ufm.typing import Array


@pytree_record(static=("d", "merged", "classes"), eq=False)
class Tasks(SampleTypes):
    """Cross entropy of several tasks, summed; every combination of labels has as many samples.

    f(W, H) = (1/N) sum_i sum_t CE(W_t h_i, y_{t,i}) + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2

    W stacks the W_t. Source: derived here (docs/theory.md, TA-1).

    Attributes:
        choices: labels of every combination (tasks, T).
        classes: K_t of every task.
    """

    choices: Any
    classes: tuple[int, ...]

    @property
    def num_logits(self) -> int:
        """sum_t K_t."""
        return sum(self.classes)

    def sample_loss(self, z: Any, kind: Any) -> Any:
        """Cross entropy summed over tasks."""
        own = jnp.asarray(self.choices)[:, kind]
        parts = jnp.split(z, np.cumsum(self.classes)[:-1])
        return sum(jax.nn.logsumexp(part) - part[k] for part, k in zip(parts, own, strict=True))

    def prices(self) -> Array:
        """c_t = sigma sqrt(N K_t): task t collapses from 1 on."""
        return self.sigma * np.sqrt(self.num_samples * np.asarray(self.classes, dtype=float))

    def best_logits(self) -> tuple[Array, str]:
        """A simplex per task, in orthogonal spaces (TA-1)."""
        blocks = []
        for K, c, own in zip(self.classes, self.prices(), np.asarray(self.choices), strict=True):
            gap = math.log1p(K * (1 - c) / c) if c < 1 else 0.0
            blocks.append(gap * (np.eye(K) - 1 / K)[:, own])
        return np.concatenate(blocks), "a simplex per task (TA-1)"

    def columns(self) -> dict[str, Any]:
        """Classes of every task, d, samples per combination and decays."""
        return {**super().columns(), "n": self.counts_tuple[0], "classes": self.classes}


def tasks(
    classes: str | Sequence[int] = "2,3",
    n: int = 2,
    d: int = 5,
    lambda_W: float = 0.02,
    lambda_H: float = 0.03,
) -> Tasks:
    """Several tasks on one feature: simplices in orthogonal spaces, each as if it were alone.

    f(W, H) = (1/N) sum_i sum_t CE(W_t h_i, y_{t,i}) + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2

    Args:
        classes: of every task, with commas.
        n: samples of every combination of labels.
        d: feature dimension.
        lambda_W: weight decay of the classifiers, > 0.
        lambda_H: weight decay of the features, > 0.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> round(tasks().minimiser().value, 10)
        0.6155026618
    """
    sizes = parsed_counts(classes, "classes", 1)
    for K in sizes:
        require_count(K, "K", 2, "give every task two classes or more")
    require_count(n, "n", 1, "give every combination a sample or more")
    types = math.prod(sizes)
    require_room(sum(sizes), types)
    choices = np.array(list(product(*map(range, sizes)))).T
    known = of_types((n,) * types, d, lambda_W, lambda_H)
    return Tasks(**known, choices=choices, classes=sizes)
