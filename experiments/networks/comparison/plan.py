"""Which runs a comparison is made of (objectives x widths x seeds), and those in its folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from experiments.networks.architectures import Architecture
from experiments.networks.runs import DataRequest, Run, RunRequest, read_run
from experiments.networks.runs.run import REQUEST
from experiments.networks.training import TrainSettings
from experiments.networks.training.loss_spec import LossSpec
from ufm.errors import InputError, require_count

# Folder names: what is left of a label when other characters become dashes.
_UNSAFE = re.compile(r"[^\w.=-]+")


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of a comparison; itself only, so that it can name the run in a dictionary."""

    loss: LossSpec
    width: float
    seed: int
    request: RunRequest

    @property
    def folder(self) -> str:
        """A name for its folder, the same whatever else is in the comparison.

        Example:
            >>> Plan().cells[0].folder.rpartition("-")[0]
            'ce-width1-seed0'
        """
        label = _UNSAFE.sub("-", self.loss.label).strip("-")
        return f"{label}-width{self.width:g}-seed{self.seed}-{self.request.key[:8]}"


@dataclass(frozen=True)
class Plan:
    """A comparison: every objective at every width with every seed.

    Args:
        data: the images.
        settings: what all runs share; objective, width and seed are taken from below.
        losses: at least one, no two alike.
        widths: multipliers, > 0.
        seeds: of the networks; the same for every objective, so that runs are paired.
        measure_every: as ``RunRequest``.

    Raises:
        InputError: an empty or repeated axis.

    Example:
        >>> losses = (LossSpec("ce"), LossSpec("mse"))
        >>> len(Plan(losses=losses, widths=(0.5, 1.0), seeds=(0, 1, 2)).cells)
        12
    """

    data: DataRequest = field(default_factory=DataRequest)
    settings: TrainSettings = field(default_factory=TrainSettings)
    losses: tuple[LossSpec, ...] = (LossSpec("ce"),)
    widths: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    measure_every: int | None = None

    def __post_init__(self) -> None:
        axes = {
            "objective": tuple(loss.label for loss in self.losses),
            "width": self.widths,
            "seed": self.seeds,
        }
        for name, values in axes.items():
            if not values or len(set(values)) < len(values):
                got = ", ".join(map(str, values)) or "none"
                raise InputError(f"Need at least one {name}, each once", got, "name each once")
        for seed in self.seeds:
            require_count(seed, "seed", 0, "use 0 or more")

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Seeds outermost: an interrupted comparison has whole sets of paired runs."""
        return tuple(self._cells())

    def _cells(self) -> Iterator[Cell]:
        for seed in self.seeds:
            for width in self.widths:
                architecture: Architecture = replace(self.settings.architecture, width=width)
                for loss in self.losses:
                    settings = replace(
                        self.settings,
                        objective=loss.name,
                        parameters=loss.parameters,
                        architecture=architecture,
                        seed=seed,
                    )
                    request = RunRequest(self.data, settings, self.measure_every)
                    yield Cell(loss, width, seed, request)


def read_comparison(folder: Path) -> dict[Cell, Run]:
    """Every finished run in the folders of a comparison, by what was asked of it.

    Args:
        folder: of ``execute``.

    Raises:
        InputError: no finished run there, or a damaged one.
    """
    places = sorted(path.parent for path in folder.glob(f"*/{REQUEST}")) if folder.is_dir() else []
    runs = [run for run in map(read_run, places) if run.finished]
    if not runs:
        rule = "Need a folder with finished runs"
        raise InputError(rule, folder, "make one: ufm compare --out DIR")
    return {_cell(run): run for run in runs}


def _cell(run: Run) -> Cell:
    settings = run.request.settings
    loss = LossSpec(settings.objective, settings.parameters)
    return Cell(loss, settings.architecture.width, settings.seed, run.request)
