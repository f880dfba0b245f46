"""Runs of ``ufm bench`` on named machines, kept to be printed beside a new one."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def recorded(row: str, work: str, solver: str) -> list[tuple[str, dict[str, Any]]]:
    """What was recorded of one solver on one piece of work: the device, and the line with its day.

    Every file beside this one is the JSON of one ``ufm bench --out``, named by what ran and when.

    Example:
        >>> recorded("no such row", "", "")
        []
    """
    found = []
    files = (x for x in resources.files(__name__).iterdir() if x.name.endswith(".json"))
    for file in sorted(files, key=lambda x: x.name):
        run = json.loads(file.read_text(encoding="utf-8"))
        device = run["device"]
        where = device["kind"] if device["backend"] != "cpu" else f"{device['cores']} CPU cores"
        day = file.name.removesuffix(".json").partition("-")[2]
        found += [
            (where, {**line, "note": "; ".join(filter(None, (day, line["note"])))})
            for line in run["rows"]
            if (line["row"], line["work"], line["solver"]) == (row, work, solver)
        ]
    return found
