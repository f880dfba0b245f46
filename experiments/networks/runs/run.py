"""Perform a run in a folder, so that any kill leaves it to be gone on with, and read it again.

run.json has the request, the data it met and where it was made; checkpoint/ is that of the training
loop; curve.json has every epoch's record and is rewritten at every checkpoint; answers.npz and
assessment.json are written once at the end. A damaged one goes to damaged/ when the run is next
performed, and its content is computed anew from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.arrays import read_arrays, write_arrays
from experiments.files import accessible, read_record, set_aside, write_record
from experiments.lock import locked
from experiments.networks.data import Dataset
from experiments.networks.runs.assess import Assessment, assess
from experiments.networks.runs.out_of_distribution import OtherSet
from experiments.networks.runs.request import RunRequest
from experiments.networks.training import EpochRecord, Monitor, Outcome, Progress, epochs, start
from ufm.errors import InputError

REQUEST, CURVE, ASSESSMENT, ANSWERS = "run.json", "curve.json", "assessment.json", "answers.npz"
CHECKPOINT = "checkpoint"
# Epochs between checkpoints: writing one costs about as much as an epoch on 1,400 small images.
EVERY = 10


@dataclass(frozen=True, eq=False)
class Run:
    """A run as its folder has it.

    Attributes:
        request: what was asked for.
        counts: train samples per class.
        outcome: of the training.
        records: of every epoch.
        assessment: None until the run is finished.
        folder: where it is.
        title: of the data, with what was done to them.
    """

    request: RunRequest
    counts: tuple[int, ...]
    outcome: Outcome
    records: tuple[EpochRecord, ...]
    assessment: Assessment | None
    folder: Path
    title: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: trained and assessed, or stopped for good."""
        return self.outcome is Outcome.NOT_FINITE or self.assessment is not None

    @property
    def final(self) -> Mapping[str, float]:
        """All numbers at the end: the last measures of an epoch, and the assessment."""
        measured = [record.measures for record in self.records if record.measures]
        numbers = {} if self.assessment is None else self.assessment.numbers
        return {**(measured[-1] if measured else {}), **numbers}

    def curve(self, name: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Epochs at which a number was measured, and the number.

        Raises:
            InputError: it was never measured.
        """
        pairs = [(r.epoch, r.measures[name]) for r in self.records if name in r.measures]
        if not pairs:
            known = sorted({key for record in self.records for key in record.measures})
            raise InputError("Need a number that was measured", name, f"one of {', '.join(known)}")
        at, values = zip(*pairs, strict=True)
        return np.array(at), np.array(values, np.float64)

    @property
    def seconds(self) -> float:
        """Of training and measuring, over all epochs."""
        return sum(record.seconds for record in self.records)


def perform(
    request: RunRequest,
    dataset: Dataset,
    folder: Path,
    *,
    others: Sequence[OtherSet] = (),
    say: Callable[[Progress], None] = lambda progress: None,
    provenance: Mapping[str, str] | None = None,
) -> Run:
    """Train and assess in a folder; a folder that was begun is gone on with, one that is done read.

    Args:
        request: what to do.
        dataset: what ``request.data.load()`` gives.
        folder: made if need be.
        others: sets that the network is probed on at the end.
        say: told the progress after every epoch.
        provenance: kept with the request, not compared.

    Raises:
        InputError: a folder of another request or other data, one that cannot be written to, or
            settings that do not fit the data.
    """
    about = {"request": request.record(), "key": request.key, "data": dataset.fingerprint}
    about |= {"title": dataset.title, "counts": dataset.counts.tolist()}
    train, K = dataset.train, dataset.num_classes
    if not (folder / REQUEST).exists():
        # What cannot be trained is refused before the folder belongs to it.
        start(request.settings, train.images, train.labels, K)
    with (
        locked(folder, "Only one process at a time can perform a run"),
        accessible(folder, "Need a folder for the run that can be written", "choose another"),
    ):
        _set_damaged_aside(folder)
        _begin(folder, about, provenance or {})
        done = read_run(folder)
        if done.finished:
            return done
        monitor = Monitor(dataset, request.settings, request.interval)
        progress = None
        for progress in epochs(
            request.settings,
            train.images,
            train.labels,
            K,
            folder=folder / CHECKPOINT,
            every=EVERY,
            measure=monitor,
        ):
            last = progress.outcome is not Outcome.RUNNING
            if last or len(progress.records) % EVERY == 0:
                write_record(folder / CURVE, progress.about())
            say(progress)
        if progress is not None and progress.outcome is Outcome.COMPLETED:
            objective = request.settings.make_objective()
            _keep(folder, assess(progress.network, objective, dataset, others))
        return read_run(folder)


def read_run(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        InputError: no run there, or a damaged file.
    """
    about = _read(folder / REQUEST)
    try:
        request = RunRequest.from_record(about["request"])
        counts = tuple(int(count) for count in about["counts"])
        outcome = Outcome.RUNNING
        records: tuple[EpochRecord, ...] = ()
        if (folder / CURVE).exists():
            progress = Progress.from_about(None, _read(folder / CURVE))  # type: ignore[arg-type]
            outcome, records = progress.outcome, progress.records
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        rule = "Need the whole files of a run"
        raise InputError(rule, f"{folder}: {error}", "remove the folder and run again") from error
    finished = (folder / ASSESSMENT).exists()
    assessment = _assessment_of(folder / ASSESSMENT) if finished else None
    return Run(request, counts, outcome, records, assessment, folder, str(about.get("title", "")))


def _set_damaged_aside(folder: Path) -> None:
    """What a damaged file had is computed anew from the checkpoint, with all that follows it."""
    for name, read in ((REQUEST, _read), (CURVE, _read), (ASSESSMENT, _assessment_of)):
        try:
            if (folder / name).exists():
                read(folder / name)
        except InputError:
            for harmed in {name, ASSESSMENT, ANSWERS}:
                set_aside(folder / harmed)


def _begin(folder: Path, about: Mapping[str, Any], provenance: Mapping[str, str]) -> None:
    if not (folder / REQUEST).exists():
        write_record(folder / REQUEST, {**about, "provenance": dict(provenance)})
        return
    there = _read(folder / REQUEST)
    if there.get("key") != about["key"]:
        rule = "Need the folder of the same run"
        remedy = "choose another folder, or remove this one"
        raise InputError(rule, f"{folder}, made with other settings", remedy)
    if there.get("data") != about["data"]:
        rule = "Need the data that the run was begun with"
        raise InputError(rule, f"{folder}, begun with other images or labels", "restore the files")


def _keep(folder: Path, assessment: Assessment) -> None:
    arrays = {"layers": assessment.layers, **assessment.answers}
    write_arrays(folder / ANSWERS, arrays, compressed=True)
    # Written last: with it the run is finished.
    write_record(folder / ASSESSMENT, {"numbers": assessment.numbers})


def _assessment_of(path: Path) -> Assessment:
    try:
        told = _read(path)["numbers"]
        numbers = {str(name): float(value) for name, value in told.items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        remedy = "remove it and run again: the training is kept"
        raise InputError("Need the numbers of a run", f"{path}: {error}", remedy) from error
    answers = read_arrays(path.with_name(ANSWERS), ["layers"], None)
    return Assessment(numbers, answers, answers.pop("layers"))


def _read(path: Path) -> dict[str, Any]:
    remedy = "give the folder of `ufm train`; the same command computes anew what is damaged"
    with accessible(path, "Need a whole file of a run", remedy):
        return read_record(path)
