"""How far the sweep of a folder is: what failed and why, and which files are damaged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cli.output import number, table
from experiments.files import DAMAGED
from experiments.nearest import shown
from experiments.sweep import strategies
from experiments.sweep.run import GOOD
from experiments.sweep.store import MANIFEST, Store
from ufm.errors import InputError

# What the manifest may have beside what every store has.
ENTRIES: Mapping[str, type] = {
    **dict.fromkeys(("name", "task", "note"), str),
    **dict.fromkeys(("options", "figure", "axes", "provenance"), dict),
}
# Kinds of failures that are listed; the table has them all.
MOST_REASONS = 5
MOST_FILES = 3
# Two cells rarely fail with the same digits; the rest of the sentence is the reason.
_DIGITS = re.compile(r"\d[\d.]*(?:e[+-]?\d+)?")


def open_store(folder: Path) -> Store:
    """The store of a sweep's folder.

    Raises:
        InputError: it is no folder of a sweep, or its manifest is damaged.
    """
    if not (folder / MANIFEST).exists():
        rule = "Need the folder of a sweep"
        got = f"{folder}, " + ("without a manifest" if folder.is_dir() else "which is no folder")
        raise InputError(rule, got, "give the DIR that `ufm sweep run` named")
    store = Store.open(folder)
    for name, kind in ENTRIES.items():
        value = store.manifest.get(name, kind())
        inner = value.values() if name in ("axes", "figure") and isinstance(value, dict) else ()
        fits = list if name == "axes" else (str, type(None))
        if not (isinstance(value, kind) and all(isinstance(item, fits) for item in inner)):
            rule = f"Need a manifest of a sweep, with {name} as it was written"
            raise InputError(rule, f"{shown(value)} in {folder}", "restore it")
    return store


def done_cells(store: Store) -> str:
    """How much of a sweep is in its table, in words."""
    done = len(store.table(["cell"])["cell"])
    total = int(store.manifest["num_cells"])
    return f"{number(done)} cells" if done == total else f"{number(done)} of {number(total)} cells"


def status_record(store: Store) -> dict[str, Any]:
    """Everything about a sweep's folder that can be said without computing."""
    scan, manifest = store.scan(), store.manifest
    columns = ["result", "reason", "seconds"]
    held: Mapping[str, Any] = store.table(columns) if scan.present else {x: [] for x in columns}
    results = Counter(held["result"])
    failed = sum(count for result, count in results.items() if result != GOOD)
    aside = store.folder / DAMAGED
    return {
        "folder": str(store.folder),
        **{name: manifest.get(name, "") for name in ("name", "task", "note", "key")},
        "cells": {"done": len(held["result"]), "total": manifest["num_cells"], "failed": failed},
        "results": dict(results.most_common()),
        "failures": _failures(held),
        "batches": {"done": len(scan.present), "total": manifest["num_batches"]},
        "damaged": [str(path) for path in scan.damaged],
        "duplicates": [str(path) for path in scan.duplicates],
        "foreign": [str(path) for path in scan.foreign],
        "set_aside": sum(1 for _ in aside.iterdir()) if aside.is_dir() else 0,
        "shapes": _shapes(store),
        "compute_seconds": float(np.sum(held["seconds"])),
        "axes": manifest.get("axes", {}),
        "options": manifest.get("options", {}),
        "provenance": manifest.get("provenance", {}),
    }


def _failures(held: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Kinds of failures with their counts, the most frequent first, and one reason in full."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for result, reason in zip(held["result"], held["reason"], strict=True):
        if result != GOOD:
            kind = result, _DIGITS.sub("#", reason)
            counts[kind] += 1
            first.setdefault(kind, reason)
    return [
        {"result": kind[0], "reason": first[kind], "cells": count}
        for kind, count in counts.most_common(MOST_REASONS)
    ]


def _shapes(store: Store) -> int:
    """Shapes that were compiled, which are those that have a strategy."""
    try:
        return len(strategies.read_strategies(store.folder / strategies.NAME))
    except OSError:
        return 0


def status_table(record: Mapping[str, Any], *, whole: bool = False) -> Any:
    """The record as a table for people; provenance only where the ``whole`` is asked for."""
    cells, batches = record["cells"], record["batches"]
    made = table(("", ""))
    made.add_row("task", record["task"])
    good = record["results"].get(GOOD, 0)
    made.add_row("cells", f"{number(cells['done'])} of {number(cells['total'])}")
    made.add_row("converged", number(good))
    for kind in record["failures"]:
        made.add_row(kind["result"].lower(), f"{number(kind['cells'])}, e.g. {kind['reason']}")
    told = sum(kind["cells"] for kind in record["failures"])
    if told < cells["failed"]:
        made.add_row("other failures", number(cells["failed"] - told))
    if "seconds" in record:
        made.add_row("seconds", number(record["seconds"], 3))
    made.add_row("compute seconds", number(record["compute_seconds"], 3))
    made.add_row("compiled shapes", number(record["shapes"]))
    made.add_row("batches", f"{number(batches['done'])} of {number(batches['total'])}")
    for name in ("damaged", "duplicates", "foreign"):
        if record[name]:
            names = ", ".join(Path(path).name for path in record[name][:MOST_FILES])
            more = len(record[name]) - MOST_FILES
            made.add_row(f"{name} files", names + (f" and {more} more" if more > 0 else ""))
    if record["set_aside"]:
        made.add_row("set aside", f"{number(record['set_aside'])} files in {DAMAGED}/")
    made.add_row("store", record["folder"])
    if whole:
        made.add_row("key", record["key"])
        for name, values in record["axes"].items():
            made.add_row(f"axis {name}", _shortened(values))
        for name, value in {**record["options"], **record["provenance"]}.items():
            made.add_row(name, str(value))
    return made


def _shortened(values: Any) -> str:
    words = [str(value) for value in values]
    if len(words) > 8:
        return f"{', '.join(words[:3])}, ... {words[-1]} ({number(len(words))} values)"
    return ", ".join(words)
