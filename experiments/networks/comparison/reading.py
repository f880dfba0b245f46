"""The runs that a comparison left in its folder, without performing any."""

from __future__ import annotations

from pathlib import Path

from experiments.networks.comparison.plan import Cell, LossSpec
from experiments.networks.runs import Run, read_run
from experiments.networks.runs.run import REQUEST
from ufm.errors import InputError


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
