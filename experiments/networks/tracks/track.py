"""What a track is, and how its cells are measured in a folder that every kill leaves whole."""

from __future__ import annotations

import json
import math
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from experiments.files import accessible, fingerprint, read_record, set_aside, write_record
from experiments.lock import locked
from experiments.nearest import unknown
from experiments.networks.tracks.options import TrackOptions
from experiments.pool import Pool, WorkerEnded
from experiments.report.figures import Picture
from proofs_check.claim import Claim
from proofs_check.empirical import empirical
from proofs_check.instance import Instance
from ufm.errors import InputError, require_count

# Of a folder: which track with which options; and of a cell, once it is measured.
TRACK, RESULT = "track.json", "result.json"
# Where a cell that trains keeps its state; of no use once it is measured.
CHECKPOINT = "checkpoint"
# The number of a cell whose training met numbers that are not finite: epochs until then.
STOPPED = "stopped_after"
# Name on the command line -> where the track is.
TRACKS = {
    "redunet": "redunet:ReduNet",
    "senet": "self_expression:SelfExpression",
    "sop": "label_noise:LabelNoise",
    "gnn": "graphs:Graphs",
    "deq": "equilibria:Equilibria",
    "losses": "all_losses:AllLosses",
    "tgt": "teacher_guided:TeacherGuided",
    "convnorm": "normalised_convolutions:NormalisedConvolutions",
}
_UNSAFE = re.compile(r"[^\w.=-]+")
Say = Callable[[str], None]
# Numbers and series of a cell.
Measured = tuple[dict[str, float], dict[str, list[float]]]
# A claim on the cells of a track.
empirical_of_cells = partial(empirical, subject="tracks (empirical)")


@dataclass(frozen=True)
class Cell:
    """One thing to measure: a method in a case, with a seed."""

    case: str
    method: str
    seed: int

    @property
    def folder(self) -> str:
        """A name for its folder.

        Example:
            >>> Cell("symmetric 40 %", "sop", 2).folder
            'symmetric-40-sop-seed2'
        """
        words = (_UNSAFE.sub("-", word).strip("-") for word in (self.case, self.method))
        return f"{'-'.join(words)}-seed{self.seed}"


@dataclass(frozen=True, eq=False)
class Result(Instance):
    """What a cell gave; the instance that empirical claims are about.

    Attributes:
        cell: which one.
        numbers: by name; NaN where something had no number.
        series: lists of numbers, such as curves.
        rivals: the numbers of the other methods in the same case with the same seed.
    """

    cell: Cell
    numbers: Mapping[str, float]
    series: Mapping[str, list[float]] = field(default_factory=dict)
    rivals: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    kind: str = "cell"

    @property
    def size(self) -> tuple[int, ...]:
        """The first seed is the smallest counterexample."""
        return (self.cell.seed,)

    @property
    def label(self) -> str:
        """The cell in words."""
        return f"{self.cell.case}, {self.cell.method}, seed {self.cell.seed}"


@dataclass(frozen=True)
class Column:
    """A number of the table.

    Attributes:
        key: of the numbers of a result.
        heading: on the page.
        brief: heading in the terminal, where there is room for a few; none shows it not.
        per_cent: whether it is shown in per cent.
    """

    key: str
    heading: str
    brief: str = ""
    per_cent: bool = False


class Track(ABC):
    """A system of the literature in small.

    Attributes:
        name: on the command line.
        title: heading of the page.
        question: what is asked, in a sentence.
        short_of: what falls short of the paper, in a sentence or two.
        options: dataclass of its options.
        columns: of its table.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    question: ClassVar[str]
    short_of: ClassVar[str]
    options: ClassVar[type[TrackOptions]]
    columns: ClassVar[tuple[Column, ...]]

    @abstractmethod
    def cells(self, options: Any) -> Sequence[Cell]:
        """The cells, in the order of the table; InputError for options outside their domain."""

    @abstractmethod
    def require(self, options: Any) -> None:
        """Raise InputError where the data of the cells cannot be had, before any is measured."""

    @abstractmethod
    def measure(self, options: Any, cell: Cell, folder: Path) -> Measured:
        """Numbers and series of a cell; what it keeps in the folder may save work after a kill."""

    @abstractmethod
    def claims(self, results: Sequence[Result]) -> Sequence[Claim]:
        """What the results show, as claims of tier E."""

    def conclusions(self, results: Sequence[Result]) -> Sequence[str]:
        """What the results say together, in sentences that are no claims."""
        return ()

    @abstractmethod
    def exact(self, options: Any) -> Sequence[tuple[str, float, float]]:
        """Exact statements beside: (statement, what it says, what was computed without it)."""

    @abstractmethod
    def pictures(self, options: Any, results: Sequence[Result]) -> Sequence[Picture]:
        """Figures of the page."""


def named_track(name: str) -> Track:
    """The track of a name.

    Raises:
        InputError: an unknown name, with the closest known one.
    """
    if name not in TRACKS:
        raise unknown(name, TRACKS, "track")
    module, _, attribute = TRACKS[name].partition(":")
    made: Track = getattr(import_module(f"experiments.networks.tracks.{module}"), attribute)()
    return made


def execute(
    name: str,
    options: TrackOptions,
    folder: Path,
    *,
    workers: int = 1,
    say: Say = lambda line: None,
    provenance: Mapping[str, str] | None = None,
) -> list[Result]:
    """Measure every cell of a track that the folder has not yet, and give all of them.

    The result of a cell does not depend on how many processes there are. More seeds may be asked
    for later; a damaged result is set aside and measured again.

    Args:
        name: of the track.
        options: of its ``options``.
        folder: made if need be.
        workers: processes, >= 1.
        say: told after every cell.
        provenance: kept with the options.

    Raises:
        InputError: options outside their domain, a folder of other options or of another process,
            or a cell that cannot be measured.
    """
    require_count(workers, "workers", 1, "use one process or more")
    track = named_track(name)
    cells = track.cells(options)
    with locked(folder, "Only one process at a time can work on a track"):
        _begin(name, options, folder, provenance or {})
        missing = [cell for cell in cells if _kept(folder / cell.folder) is None]
        if missing:
            track.require(options)
        done = len(cells) - len(missing)
        say(f"{done}/{len(cells)} cells")
        for cell in _measured(name, options, folder, missing, min(workers, len(missing))):
            done += 1
            say(f"{done}/{len(cells)} cells, last {cell.case}, {cell.method}, seed {cell.seed}")
        return _results(folder, cells)


def read_track(folder: Path) -> tuple[Track, Any, list[Result]]:
    """Track, options and results that a folder has.

    Raises:
        InputError: no track there, a damaged one, or one without a result.
    """
    with accessible(folder / TRACK, "Need the folder of a track", "make one: ufm track --help"):
        about = read_record(folder / TRACK)
    try:
        track = named_track(about["track"])
        # More seeds than any folder has: those that are there are taken.
        options = track.options(**{**about["options"], "seeds": 1})
        places = sorted(folder.glob(f"*/{RESULT}"))
        seeds = max((int(path.parent.name.rpartition("seed")[2]) for path in places), default=0)
        options = track.options(**{**about["options"], "seeds": seeds + 1})
        cells = [c for c in track.cells(options) if _kept(folder / c.folder) is not None]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "Need the folder of a track", f"{folder}: {error}", "make it anew"
        ) from error
    if not cells:
        raise InputError("Need a folder with results", folder, "run the track again")
    return track, options, _results(folder, cells)


def _begin(name: str, options: TrackOptions, folder: Path, provenance: Mapping[str, str]) -> None:
    own = {key: value for key, value in asdict(options).items() if key != "seeds"}
    about = {"track": name, "options": json.loads(json.dumps(own))}
    remedy = "choose another folder, or remove this one"
    with accessible(folder, "Need the folder of a track", remedy):
        if not (folder / TRACK).exists():
            write_record(folder / TRACK, {**about, "provenance": dict(provenance)})
        there = read_record(folder / TRACK)
    if there["track"] != name:
        raise InputError("The folder belongs to another track", there["track"], remedy)
    # A folder from before an option was there was made with its default.
    theirs = {**json.loads(json.dumps(asdict(type(options)()))), **there["options"]}
    theirs.pop("seeds", None)
    if theirs != about["options"]:
        differ = ", ".join(key for key in own if theirs.get(key) != about["options"][key])
        raise InputError("The folder was made with other options", f"another {differ}", remedy)


def _measured(
    name: str, options: TrackOptions, folder: Path, cells: Sequence[Cell], workers: int
) -> Iterable[Cell]:
    if workers < 2:
        for cell in cells:
            _measure(name, options, cell, folder / cell.folder)
            yield cell
        return
    with Pool(workers) as pool:
        jobs = {
            pool.submit(_measure, name, options, cell, folder / cell.folder): cell for cell in cells
        }
        for job in as_completed(jobs):
            try:
                job.result()
            except WorkerEnded as error:
                remedy = "the same command goes on from there"
                raise InputError("A process of the track ended", error, remedy) from error
            yield jobs[job]


def _measure(name: str, options: TrackOptions, cell: Cell, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    numbers, series = named_track(name).measure(options, cell, folder)
    record = {
        "numbers": {key: float(value) for key, value in numbers.items()},
        "series": {key: [float(x) for x in values] for key, values in series.items()},
    }
    write_record(folder / RESULT, record)
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)


def _kept(folder: Path) -> Mapping[str, Any] | None:
    """The record of a cell, None where there is none; a damaged one is moved away."""
    if not (folder / RESULT).exists():
        return None
    try:
        return read_record(folder / RESULT)
    except OSError:
        set_aside(folder / RESULT)
        return None


def _results(folder: Path, cells: Sequence[Cell]) -> list[Result]:
    records = {cell: _kept(folder / cell.folder) or {} for cell in cells}
    made = []
    for cell, record in records.items():
        rivals = {
            other.method: kept["numbers"]
            for other, kept in records.items()
            if (other.case, other.seed) == (cell.case, cell.seed) and other != cell
        }
        made.append(Result(cell, record["numbers"], record["series"], rivals))
    return made


@dataclass(frozen=True)
class Line:
    """Means over seeds of one method in one case: (mean, standard deviation) by column."""

    case: str
    method: str
    num: int
    values: Mapping[str, tuple[float, float]]


def lines(results: Sequence[Result], columns: Sequence[Column]) -> list[Line]:
    """Means and standard deviations over seeds, in the order of the cells.

    Example:
        >>> made = [Result(Cell("a", "b", seed), {"x": seed}) for seed in (0, 1)]
        >>> lines(made, [Column("x", "x")])[0].values["x"]
        (0.5, 0.7071067811865476)
    """
    made = []
    for case, method in dict.fromkeys((r.cell.case, r.cell.method) for r in results):
        mine = [r for r in results if (r.cell.case, r.cell.method) == (case, method)]
        values = {}
        for column in columns:
            seen = np.array([r.numbers.get(column.key, math.nan) for r in mine])
            seen = seen[np.isfinite(seen)]
            mean = float(seen.mean()) if seen.size else math.nan
            spread = float(seen.std(ddof=1)) if seen.size > 1 else math.nan
            # Equal numbers have a mean that rounding moves.
            values[column.key] = mean, 0.0 if seen.size > 1 and np.ptp(seen) == 0 else spread
        made.append(Line(case, method, len(mine), values))
    return made


def shown(column: Column, mean: float, spread: float = math.nan) -> str:
    """A number of the table in words.

    Example:
        >>> shown(Column("x", "x", per_cent=True), 0.5, 0.012), shown(Column("x", "x"), math.nan)
        ('50.0 ± 1.2 %', '-')
    """
    if math.isnan(mean):
        return "-"
    scale, form = (100.0, ".1f") if column.per_cent else (1.0, ".4g")
    text = f"{scale * mean:{form}}"
    if not math.isnan(spread):
        text += f" ± {scale * spread:{'.1f' if column.per_cent else '.1g'}}"
    return f"{text} %" if column.per_cent else text


def numbers_of(text: str, flag: str, low: float, high: float) -> tuple[float, ...]:
    """The numbers of a list with commas, each in [low, high].

    Raises:
        InputError: no list of such numbers, or one named twice.

    Example:
        >>> numbers_of("0.2,0.4", "--rates", 0.0, 1.0)
        (0.2, 0.4)
    """
    rule = f"Need {flag} as different numbers from {low:g} to {high:g}, with commas"
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise InputError(rule, repr(text), f"write for example {flag} {low:g},{high:g}") from None
    if not all(low <= value <= high for value in values) or len(set(values)) < len(values):
        raise InputError(rule, text, f"write for example {flag} {low:g},{high:g}")
    return values


def key_of(*parts: Any) -> int:
    """A seed that changes with every part.

    Example:
        >>> key_of("a", 1) != key_of("a", 2)
        True
    """
    return int(fingerprint(json.dumps(parts).encode()), 16) % 2**32
