"""The folder of an atlas: the points found so far, so that a search can go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.arrays import read_arrays, write_arrays
from experiments.cli.flags import ModelInputs
from experiments.cli.output import plain
from ufm.errors import InputError
from ufm.point import Point

POINTS = "points.npz"
REMEDY = "choose another folder, or remove this one"


def require_folder(folder: Path, flag: str = "--out") -> None:
    """Make the folder, or say why not.

    Raises:
        InputError: it is a file or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f"{folder}: {error.strerror}"
        raise InputError(f"Need a folder for {flag}", got, REMEDY) from error


def write_points(folder: Path, inputs: ModelInputs, found: Any) -> None:
    """Write every orbit's point, all at once under its name."""
    arrays: dict[str, Any] = {"inputs": np.array(_signature(inputs))}
    for i, orbit in enumerate(found.orbits):
        for name, value in zip("WHb", orbit.point, strict=True):
            if value is not None:
                arrays[f"{name}_{i}"] = value
    write_arrays(folder / POINTS, arrays)


def read_points(folder: Path, inputs: ModelInputs) -> list[Point]:
    """The points of an earlier search of the same model; none if there was no search.

    Raises:
        InputError: a damaged file, or one that belongs to another model.
    """
    path = folder / POINTS
    if not path.exists():
        return []
    try:
        arrays = read_arrays(path, ["inputs"], None)
        signature = str(arrays.pop("inputs"))
        count = sum(name.startswith("W_") for name in arrays)
        points = [
            Point(arrays[f"W_{i}"], arrays[f"H_{i}"], arrays.get(f"b_{i}")) for i in range(count)
        ]
    except (InputError, KeyError) as error:
        got = getattr(error, "got", f"{path} without {error}")
        raise InputError("Need a whole file of points to go on from", got, REMEDY) from error
    if signature != _signature(inputs):
        rule = "The folder of --out belongs to another model"
        raise InputError(rule, f"{path} of {signature}", REMEDY)
    return points


def _signature(inputs: ModelInputs) -> str:
    """The model in one line; d plays no role, since an atlas holds for every d."""
    return json.dumps(plain({k: v for k, v in inputs.as_dict().items() if k != "d"}))
