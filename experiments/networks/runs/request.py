"""What a run is asked to do: on which data, with which settings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from experiments.files import fingerprint
from experiments.networks.data import Dataset, load
from experiments.networks.data.changes import (
    Relabelled,
    asymmetric_noise,
    balanced,
    long_tail,
    random_labels,
    standardise,
    subset,
    symmetric_noise,
)
from experiments.networks.options import DataOptions
from experiments.networks.training import TrainSettings
from ufm.errors import InputError, require_count

NOISES: Mapping[str, Callable[[Dataset, float, int], Relabelled]] = {
    "symmetric": symmetric_noise,
    "asymmetric": asymmetric_noise,
}


@dataclass(frozen=True)
class DataRequest(DataOptions):
    """Which images, and what is done to them before training, in this order.

    Args:
        source: a name of ``experiments.networks.data.SOURCES``, or NAME:FOLDER.
        per_class: keep so many train samples of every class.
        imbalance: exponentially falling class sizes, the largest over the smallest; None for none.
        balanced: cut classes to equal counts, which most of the theory needs; not with imbalance.
        noise: share of the train labels that are replaced by wrong ones.
        noise_kind: symmetric (any other class, as likely) or asymmetric (class k + 1 mod K).
        random_labels: permute the train labels.
        seed: of noise and random labels.

    Raises:
        InputError: a value outside its domain, or two that contradict each other.

    Example:
        >>> DataRequest(per_class=20).load().title
        'digits, 20 per class, standardised'
    """

    def __post_init__(self) -> None:
        if self.per_class is not None:
            require_count(self.per_class, "samples per class", 1, "keep at least one")
        ratio = self.imbalance
        if ratio is not None and not (math.isfinite(ratio) and ratio >= 1):
            rule = "Need an imbalance (largest over smallest class) of at least 1"
            raise InputError(rule, ratio, "use 10, or leave it out")
        if not 0 <= self.noise <= 1:
            raise InputError("Need a noise rate in [0, 1]", self.noise, "use 0.2, or 0 for none")
        if self.noise_kind not in NOISES:
            remedy = f"use {' or '.join(NOISES)}"
            raise InputError("Need a kind of noise of the lab", repr(self.noise_kind), remedy)
        if self.noise and self.random_labels:
            rule = "Give label noise or random labels, not both"
            raise InputError(rule, f"noise={self.noise:g}", "drop one of them")
        require_count(self.seed, "seed of the data", 0, "use 0 or more")

    def load(self) -> Dataset:
        """The data set, standardised.

        Raises:
            InputError: files that are missing or wrong, or a change that the set does not allow.
        """
        made = load(self.source)
        if self.per_class is not None:
            made = subset(made, self.per_class)
        if self.imbalance is not None:
            made = long_tail(made, self.imbalance)
        elif self.balanced and len(set(made.counts.tolist())) > 1:
            made = balanced(made)
        if self.noise:
            made = NOISES[self.noise_kind](made, self.noise, self.seed).dataset
        if self.random_labels:
            made = random_labels(made, self.seed).dataset
        return standardise(made)


@dataclass(frozen=True)
class RunRequest:
    """A run, determined to the last bit by what is in here, the machine and the versions.

    Args:
        data: the images.
        settings: of the training.
        measure_every: epochs between measurements; None for about fifty in all.

    Example:
        >>> RunRequest(settings=TrainSettings(epochs=200)).interval
        4
    """

    data: DataRequest = field(default_factory=DataRequest)
    settings: TrainSettings = field(default_factory=TrainSettings)
    measure_every: int | None = None

    @property
    def interval(self) -> int:
        """Epochs between measurements."""
        if self.measure_every is not None:
            return self.measure_every
        return max(1, self.settings.epochs // 50)

    @property
    def key(self) -> str:
        """16 hex digits that change with anything in the request."""
        rest = {"data": asdict(self.data), "interval": self.interval}
        return fingerprint(json.dumps(rest, sort_keys=True).encode(), self.settings.key)

    def record(self) -> dict[str, Any]:
        """The request as JSON can hold it."""
        return {
            "data": asdict(self.data),
            "settings": self.settings.record(),
            "measure_every": self.measure_every,
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> RunRequest:
        """The request of which ``record`` is the record.

        Raises:
            InputError: it is not the record of a request.

        Example:
            >>> RunRequest.from_record(RunRequest().record()) == RunRequest()
            True
        """
        try:
            data = DataRequest(**record["data"])
            every = record["measure_every"]
            return RunRequest(data, TrainSettings.from_record(record["settings"]), every)
        except (KeyError, TypeError) as error:
            remedy = "make it by RunRequest.record()"
            raise InputError("Need the record of a run's request", error, remedy) from error
