"""A picture of the table: one bar per solver, seconds on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.benchmarks.record import Record, duration
from ufm.errors import InputError

OURS, OTHERS = "#0072b2", "#b0b0b0"


def draw(records: Sequence[Record], ax: Any) -> Any:
    """Draw the seconds of every solver that ran on one piece of work, ours in colour.

    Args:
        records: records of one piece of work, ours first.
        ax: matplotlib axes to draw on.

    Returns:
        The axes.

    Raises:
        InputError: no record has a time.
    """
    ran = [record for record in records if record.seconds is not None]
    if not ran:
        raise InputError("Need records with times", f"{len(records)} records", "run the benchmark")
    widths = [record.seconds or 0.0 for record in ran]
    colours = [OURS if record.ratio is None else OTHERS for record in ran]
    bars = ax.barh([record.solver for record in ran], widths, color=colours)
    labels = [duration(record.seconds, capped=record.capped) for record in ran]
    ax.bar_label(bars, labels=labels, padding=3)
    ax.set_xscale("log")
    ax.set_xlabel("seconds")
    ax.set_title(ran[0].work, loc="left")
    ax.invert_yaxis()
    ax.margins(x=0.2)
    return ax
