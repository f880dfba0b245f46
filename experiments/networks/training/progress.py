"""How far a training run has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from experiments.networks.architectures import Network
from experiments.networks.training.step import TrainState
from ufm.errors import InputError


class Outcome(Enum):
    """Where a run stands; the value is the message."""

    RUNNING = "more epochs to come"
    COMPLETED = "all epochs done"
    NOT_FINITE = "the objective or a parameter is no longer a finite number"


@dataclass(frozen=True)
class EpochRecord:
    """One epoch in numbers; means over its batches, each taken before the batch's step.

    Attributes:
        epoch: from 1.
        learning_rate: of the epoch.
        objective: with decay.
        loss: without decay, with a penalty that belongs to the objective.
        accuracy: share of right guesses, in training mode (dropout, batch statistics).
        measures: what the caller measured on the network after the epoch.
        seconds: of wall clock for the epoch; not compared.
    """

    epoch: int
    learning_rate: float
    objective: float
    loss: float
    accuracy: float
    measures: Mapping[str, float] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Progress:
    """A run after some epochs: its state, a record of every epoch, and its outcome so far.

    When a run stops as NOT_FINITE, the state is that after the last epoch which was finite.
    """

    state: TrainState
    records: tuple[EpochRecord, ...]
    outcome: Outcome

    @property
    def network(self) -> Network:
        """The network after the last epoch."""
        return self.state.network

    def about(self) -> dict[str, Any]:
        """Records and outcome as JSON can hold them."""
        records = [asdict(record) for record in self.records]
        return {"outcome": self.outcome.name, "records": records}

    @staticmethod
    def from_about(state: TrainState, about: Mapping[str, Any]) -> Progress:
        """The progress of which ``about`` was told.

        Raises:
            InputError: it is not what ``about`` tells.

        Example:
            >>> records = (EpochRecord(1, 0.1, 0.5, 0.4, 0.9),)
            >>> progress = Progress(None, records, Outcome.RUNNING)
            >>> Progress.from_about(None, progress.about()) == progress
            True
        """
        try:
            records = tuple(map(_epoch_record, about["records"]))
            return Progress(state, records, Outcome[about["outcome"]])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            remedy = "restore its file, or train anew in another folder"
            raise InputError("Need the records of a training", error, remedy) from error


def _epoch_record(told: Mapping[str, Any]) -> EpochRecord:
    """A record from JSON, in which every number is one."""
    names = ("learning_rate", "objective", "loss", "accuracy", "seconds")
    measures = {str(name): float(value) for name, value in told["measures"].items()}
    numbers = {name: float(told[name]) for name in names}
    return EpochRecord(int(told["epoch"]), measures=measures, **numbers)
