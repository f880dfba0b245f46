"""What ``ufm train`` and ``ufm compare`` print: numbers of runs, progress, and failures."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any

from experiments.cli.flags import crowded
from experiments.cli.output import number, table
from experiments.notices import notice


def epoch_line(progress: Any, epochs: int) -> str:
    """One epoch for people who watch.

    Example:
        >>> from types import SimpleNamespace as N
        >>> record = N(epoch=3, loss=0.5, accuracy=0.975, measures={"nc1_geo": 0.01}, seconds=0.5)
        >>> epoch_line(N(records=[record]), 10)
        'epoch 3/10, loss 0.5, accuracy 97.5 %, NC1 0.01, 4 s to go'
    """
    records = progress.records
    last = records[-1]
    measured = [record.measures["nc1_geo"] for record in records if "nc1_geo" in record.measures]
    collapse = f", NC1 {measured[-1]:.3g}" if measured else ""
    # The first epoch compiles.
    times = [record.seconds for record in records[1:]] or [last.seconds]
    left = (epochs - last.epoch) * sum(times) / len(times)
    return (
        f"epoch {last.epoch}/{epochs}, loss {last.loss:.4g}, accuracy {100 * last.accuracy:.1f} %"
        f"{collapse}, {left:.0f} s to go"
    )


class Counter:
    """How many runs are done, with the time that is left at the pace of this call.

    Example:
        >>> Counter()(0, 4)
        '0/4 runs'
    """

    def __init__(self) -> None:
        self.began = perf_counter()
        self.first: int | None = None

    def __call__(self, done: int, total: int) -> str:
        """The state in words."""
        if self.first is None:
            self.first = done
        made = done - self.first
        if not made or done == total:
            return f"{done}/{total} runs"
        left = (perf_counter() - self.began) / made * (total - done)
        return f"{done}/{total} runs, {left:.0f} s to go"


def theory_rows(found: Any) -> list[tuple[str, str, str, str]]:
    """(name, measured, theory, deviation) of a comparison with theory."""
    names = (("objective", "objective"), ("W_squared", "|W|^2"), ("H_squared", "|H|^2"))
    made = []
    for attribute, name in (*names, ("gap", "logit gap")):
        quantity = getattr(found, attribute)
        off = quantity.ratio - 1
        deviation = "-" if math.isnan(off) else f"{100 * off:+.2g} %"
        made.append((name, number(quantity.measured), number(quantity.predicted), deviation))
    return made


def theory_table(found: Any) -> Any:
    """A comparison with theory as a table."""
    made = table(("", "network", "theory", "off by"), right=("network", "theory", "off by"))
    for row in theory_rows(found):
        made.add_row(*row)
    return made


def number_table(numbers: Mapping[str, float], chosen: Sequence[tuple[str, str]]) -> Any:
    """Those of the ``chosen`` (key, words) that exist, as a table."""
    made = table(("", ""))
    for name, words in chosen:
        if name in numbers:
            made.add_row(words, number(numbers[name], 5))
    return made


def provenance_of(words: Sequence[str]) -> dict[str, str]:
    """Versions, machine and the command in full."""
    from experiments.report.provenance import provenance

    return {**provenance(), "Command": shlex.join(words)}


def warn_of_narrow(settings: Iterable[Any], classes: int) -> None:
    """Say before the work which networks have no room for a simplex, and the flag that gives it.

    A classifier fixed at a simplex is refused there, in words of its own.
    """
    for d in sorted({one.dimension for one in settings if not one.fixed_etf}):
        line = crowded(d, classes, f"-d {classes - 1} or a larger --width")
        if line is not None:
            notice(f"the features of a network have {line}")
