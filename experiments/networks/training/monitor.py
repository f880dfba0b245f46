"""The measurement that a training run calls after its epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property

import jax.numpy as jnp

from experiments.networks.architectures import Network
from experiments.networks.data import Dataset
from experiments.networks.measures.sizes import feature_spectrum, logit_gaps, squared_norm
from experiments.networks.training.curvature import largest_and_trace
from experiments.networks.training.evaluate import Seen, evaluate, look
from experiments.networks.training.row_sums import nc0_law
from experiments.networks.training.settings import TrainSettings, initial_network
from ufm.collapse import Collapse, collapse
from ufm.collapse.central_path import decompose
from ufm.errors import require_count
from ufm.row_sums import nc0

# Curvature costs more than the rest, so it is measured at these epochs and at the last.
CURVATURE_EPOCHS = frozenset(m * 10**e for m in (1, 2, 5) for e in range(6))
_SKIPPED = {"cdnv", "num_classes", "num_samples", "num_features", "classifier_accuracy"}
COLLAPSE_FIELDS = tuple(f.name for f in fields(Collapse) if f.name not in _SKIPPED)


class Monitor:
    """Numbers of a network after an epoch, by name; a ``Measure`` of the training loop.

    Every image goes through the network once; all that follows is float64.

    * train_loss, train_accuracy, test_loss, test_accuracy: in evaluation mode, without decay.
    * objective_now: the loss on the train split with the decay, as the theory writes it.
    * every number of ``ufm.collapse.Collapse``, on the train split, under its name there; where the
      decay of W is known, lambda_H_hat with them.
    * square_W, square_H (over all samples), square_b: |W|^2, |H|^2, |b|^2; logit_gap and
      logit_gap_spread: mean and standard deviation of ``logit_gaps``.
    * feature_1, ..., feature_(K+1): see ``feature_spectrum``.
    * nc0: |W^T 1|^2 / K; nc0_law: its exact value, where there is one (``nc0_law``), down to the
      rounding of one step.
    * path_nc1, path_nc23, path_distance: the decomposition CP-1 of squared error; path_distance is
      the distance from the central path. For the objective mse alone.
    * hessian_W_largest, hessian_W_trace: of the objective in W, at ``CURVATURE_EPOCHS`` and at the
      last, where the objective is a function of the logits.

    A number that does not exist is left out.

    Args:
        dataset: its images as the network is trained on them.
        settings: of the run.
        every: epochs between measurements; the last is always measured.

    Raises:
        InputError: ``every`` below 1.

    Example:
        >>> import numpy as np
        >>> from experiments.networks.data import Split
        >>> from experiments.networks.training import initial_network
        >>> split = Split(np.linspace(0, 1, 24).reshape(4, 2, 3, 1), [0, 1, 2, 0])
        >>> settings = TrainSettings(d=5)
        >>> monitor = Monitor(Dataset("mine", 3, split, split), settings)
        >>> found = monitor(initial_network(settings, (2, 3, 1), 3), 1)
        >>> found["square_b"], found["train_loss"] == found["test_loss"], "nc1_geo" in found
        (0.0, True, True)
    """

    def __init__(self, dataset: Dataset, settings: TrainSettings, every: int = 1) -> None:
        self.dataset, self.settings = dataset, settings
        self.every = require_count(every, "epochs between measurements", 1, "measure every epoch")
        self.objective = settings.make_objective()
        self.law = nc0_law(settings, dataset.train.num_samples, dataset.num_classes)

    def __call__(self, network: Network, epoch: int) -> Mapping[str, float]:
        """The numbers after ``epoch`` (from 1), {} where nothing is or can be measured."""
        last = epoch == self.settings.epochs
        curved = last or epoch in CURVATURE_EPOCHS
        if not (curved or epoch % self.every == 0):
            return {}
        train, test = (look(network, s) for s in (self.dataset.train, self.dataset.test))
        if not (train.finite and test.finite):
            return {}
        found = self._fit("train", train) | self._fit("test", test)
        found["objective_now"] = found["train_loss"] + self._penalty(network, train)
        found |= self._collapse(train) | _sizes(train) | self._row_sums(train, epoch)
        spectrum = feature_spectrum(train.features, train.W.shape[0] + 1)
        found |= {f"feature_{i}": float(x) for i, x in enumerate(spectrum, start=1)}
        found |= self._central_path(train)
        loss = self.objective.ufm_loss
        if curved and loss is not None and not self.settings.fixed_etf:
            found |= largest_and_trace(train, loss, self._decay_of_W())
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _fit(self, which: str, seen: Seen) -> dict[str, float]:
        found = evaluate(self.objective, seen)
        return {f"{which}_loss": found.loss, f"{which}_accuracy": found.accuracy}

    def _penalty(self, network: Network, seen: Seen) -> float:
        W = jnp.asarray(seen.W)
        decay = self.settings.decay.penalty(network, jnp.asarray(seen.features), len(seen.labels))
        return float(decay) + float(self.objective.penalty(W))

    def _decay_of_W(self) -> float:
        """lambda_W; 0 for a fixed classifier, which has none."""
        if self.settings.fixed_etf:
            return 0.0
        return self.settings.decay.lambda_W + self.objective.extra_lambda_W

    def _collapse(self, seen: Seen) -> dict[str, float]:
        decay = self._decay_of_W()
        record = collapse(
            seen.features,
            seen.labels,
            classifier=seen.W,
            bias=seen.b if self.settings.bias else None,
            lambda_W=decay or None,
        )
        values = ((name, getattr(record, name)) for name in COLLAPSE_FIELDS)
        return {name: float(value) for name, value in values if value is not None}

    @cached_property
    def _first_nc0(self) -> float:
        """That of the network before training, which its seed determines."""
        shape, K = self.dataset.image_shape, self.dataset.num_classes
        return nc0(initial_network(self.settings, shape, K).head.W)

    def _row_sums(self, seen: Seen, epoch: int) -> dict[str, float]:
        found = {"nc0": nc0(seen.W)}
        if self.law is not None:
            exact = float(self.law[epoch]) * self._first_nc0
            # Each of K entries of a column is rounded by 2^-24 of itself in every step.
            if exact > 2.0**-48 * squared_norm(seen.W) / len(seen.W):
                found["nc0_law"] = exact
        return found

    def _central_path(self, seen: Seen) -> dict[str, float]:
        if self.settings.objective != "mse":
            return {}
        decays = {"decay": self._decay_of_W(), "bias_decay": self.settings.decay.lambda_b}
        parts = decompose(seen.features, seen.labels, seen.W, seen.b, **decays)
        return {
            "path_nc1": parts.nc1,
            "path_nc23": parts.nc23,
            "path_distance": parts.perpendicular,
        }


def _sizes(seen: Seen) -> dict[str, float]:
    gaps = logit_gaps(seen.logits, seen.labels)
    return {
        "square_W": squared_norm(seen.W),
        "square_H": squared_norm(seen.features),
        "square_b": squared_norm(seen.b),
        "logit_gap": float(gaps.mean()),
        "logit_gap_spread": float(gaps.std()),
    }
