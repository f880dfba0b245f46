"""One line of the benchmark table, how its numbers are written, and its bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.benchmarks.timing import Timing
from ufm.errors import InputError

# Colours of our bar and of the others.
OURS, OTHERS = "#0072b2", "#b0b0b0"


@dataclass(frozen=True)
class Record:
    """One solver on one piece of work.

    Attributes:
        row: name of the row, as ``--row`` takes it.
        work: the problem, for people.
        solver: who did it; ours comes first in every piece of work.
        seconds: median warm call; the cap if ``capped``; None if the solver did not run.
        first: the first call, with compilation.
        calls: warm calls behind the median.
        capped: stopped at its time cap, so ``seconds`` and ``ratio`` are lower bounds.
        ours: our seconds on the same work.
        ratio: seconds / ours; None for our own line.
        target: ratio to reach, None where there is none.
        limit: seconds to stay below (where nobody else can do the work).
        reached: whether the target or the limit was reached; None where there is none.
        solved: whether the result was verified; False for a solver that stalled or was stopped.
        wrong: the solver claims a result that is wrong.
        note: what is to be known about the result.
        memory: bytes at most while the row ran, of all its solvers together; of a command alone
            where each has a process of its own; None if it did not run.
    """

    row: str
    work: str
    solver: str
    seconds: float | None
    first: float | None
    calls: int
    capped: bool
    ours: float
    ratio: float | None
    target: float | None
    limit: float | None
    reached: bool | None
    solved: bool
    wrong: bool
    note: str
    memory: int | None = None

    @property
    def verdict(self) -> str:
        """The target and what became of it.

        Example:
            >>> absent("a", "b", "c", 1.0, "d").verdict
            ''
        """
        if self.reached is None:
            return ""
        goal = f"{self.target:g}x" if self.limit is None else f"< {self.limit:g} s"
        return f"{goal}: {'reached' if self.reached else 'not reached'}"


def measured(
    row: str,
    work: str,
    solver: str,
    timing: Timing,
    ours: float | None = None,
    *,
    capped: bool = False,
    solved: bool = True,
    wrong: bool = False,
    note: str = "",
) -> Record:
    """The record of a solver that ran; without ``ours`` it is our own line.

    Example:
        >>> measured("a", "b", "c", Timing(3.0, 4.0, 5, None), 1.5).ratio
        2.0
    """
    ratio = None if ours is None else timing.seconds / ours
    return Record(
        row,
        work,
        solver,
        timing.seconds,
        timing.first,
        timing.calls,
        capped,
        timing.seconds if ours is None else ours,
        ratio,
        None,
        None,
        None,
        solved,
        wrong,
        note,
    )


def absent(row: str, work: str, solver: str, ours: float, note: str) -> Record:
    """The record of a solver that is not installed.

    Example:
        >>> absent("a", "b", "PyTorch", 1.0, "not installed").seconds is None
        True
    """
    return Record(
        row, work, solver, None, None, 0, False, ours, None, None, None, None, False, False, note
    )


def against(record: Record, target: float) -> Record:
    """The same record with a ratio to reach; without a ratio there is no verdict.

    Example:
        >>> against(measured("a", "b", "c", Timing(3.0, 4.0, 5, None), 1.5), 5.0).verdict
        '5x: not reached'
    """
    reached = None if record.ratio is None else record.ratio >= target
    return replace(record, target=target, reached=reached)


def within(record: Record, limit: float, seconds: float) -> Record:
    """The same record with a limit in seconds, judged by ``seconds``.

    Example:
        >>> within(measured("a", "b", "c", Timing(0.5, 2.0, 1, None)), 1.0, 0.5).verdict
        '< 1 s: reached'
    """
    return replace(record, limit=limit, reached=seconds < limit)


def duration(seconds: float | None, *, capped: bool = False) -> str:
    """Seconds as people read them, '>' before a cap.

    Example:
        >>> duration(0.00251), duration(60.0, capped=True), duration(None)
        ('2.51 ms', '> 60 s', '-')
    """
    if seconds is None:
        return "-"
    value, unit = (seconds, "s") if seconds >= 1 else (1e3 * seconds, "ms")
    return f"{'> ' if capped else ''}{value:.3g} {unit}"


def gibibytes(size: int | None) -> str:
    """Memory as people read it.

    Example:
        >>> gibibytes(3 * 2**29), gibibytes(None)
        ('1.50 GiB', '')
    """
    return "" if size is None else f"{size / 2**30:.2f} GiB"


def times(ratio: float | None, *, capped: bool = False) -> str:
    """A ratio as people read it.

    Example:
        >>> times(2.345), times(12345.6, capped=True), times(None)
        ('2.3x', '> 12,346x', '')
    """
    if ratio is None:
        return ""
    text = f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}"
    return f"{'> ' if capped else ''}{text}x"


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
