"""The folder that a sweep writes its table to, one file per batch of cells.

    manifest.json                      what the sweep is; written once
    batches/00012-<digest>.parquet     the rows of batch 12
    damaged/                           batch files moved out of the way, never deleted
    lock                               held (flock) while a process writes

The digest is taken of the file's bytes, keyed with the sweep and the batch: a file that was cut
off, altered, renamed or copied from another sweep is recognised by reading it, and by nothing else.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.files import (
    UNFINISHED,
    accessible,
    fingerprint,
    read_record,
    read_whole,
    set_aside,
    write_record,
    write_whole,
)
from experiments.lock import locked
from experiments.nearest import unknown
from experiments.packages import require_package
from experiments.sweep.conditions import chosen_rows, excluded
from ufm.errors import InputError, require_count

# Of equal lengths; int64, float64 (NaN included), bool, or str as an object or <U array.
Columns = Mapping[str, NDArray[Any]]

MANIFEST, BATCHES = "manifest.json", "batches"
# The column by which rows are sorted, and the dimension of a netCDF file.
CELL = "cell"
BATCH = re.compile(r"([0-9]{5}|[1-9][0-9]{5,})-([0-9a-f]{16})\.parquet")
# The most that a batch is read of: a thousand times what a usual one has.
MOST_BYTES = 2**32

WRITABLE = ("Need a folder that a sweep can be written to", "make room there or choose another one")
READABLE = ("Need a sweep that can be read", "restore it, or choose another folder")
PYARROW = "A sweep keeps its table in Parquet files, which needs pyarrow"
TYPES = (np.dtype(np.int64), np.dtype(np.float64), np.dtype(np.bool_))


@dataclass(frozen=True)
class Scan:
    """What the folder of batches holds, in the order of names.

    ``present`` maps a batch to its file. ``damaged`` files have a batch's name and not its content,
    ``duplicates`` are good but not the first of their batch, ``foreign`` ones have a name that is
    not ours and are never touched. What a killed writer left unfinished is in none of them.
    """

    present: Mapping[int, Path]
    damaged: tuple[Path, ...]
    duplicates: tuple[Path, ...]
    foreign: tuple[Path, ...]


@dataclass(frozen=True)
class Store:
    """The table of one sweep in a folder, which survives a kill at any moment and damaged files.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "sweep"
        >>> store = Store.create(folder, {"key": "5eed", "num_batches": 2, "num_cells": 3})
        >>> with store.lock():
        ...     _ = store.write(1, {"cell": np.array([2]), "gap": np.array([0.5])})
        ...     _ = store.write(0, {"cell": np.array([0, 1]), "gap": np.array([0.1, 0.2])})
        >>> Store.open(folder).table(["gap"], where={"cell": (1, None)})
        {'gap': array([0.2, 0.5])}
    """

    folder: Path
    manifest: Mapping[str, Any]

    @staticmethod
    def create(folder: Path, manifest: Mapping[str, Any]) -> Store:
        """The store of a sweep in ``folder``, which is made if need be.

        The manifest of an earlier run stays, since it tells where the first batches come from.

        Args:
            folder: new, or of an earlier run of the same sweep.
            manifest: what JSON can hold, with "key" (of the sweep), "num_batches", "num_cells".

        Raises:
            InputError: the folder belongs to another sweep or cannot be made, its manifest is
                damaged, the one given lacks something, or another process is writing.
        """
        given, path = _require_manifest(manifest), folder / MANIFEST
        with accessible(folder, *WRITABLE):
            (folder / BATCHES).mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with Store(folder, given).lock(), accessible(folder, *WRITABLE):
                if not path.exists():  # still, now that nobody else can write it
                    write_record(path, given)
        store = Store.open(folder)
        for name in ("key", "num_batches", "num_cells"):
            if store.manifest[name] != given[name]:
                got = f"{folder}, where {name} is {store.manifest[name]}, not {given[name]}"
                remedy = "choose another folder, or remove this one"
                raise InputError("The folder belongs to another sweep", got, remedy)
        return store

    @staticmethod
    def open(folder: Path) -> Store:
        """The store in ``folder``.

        Raises:
            InputError: it is not the folder of a sweep, or its manifest is damaged or unreadable.
        """
        path = folder / MANIFEST
        with accessible(path, *READABLE):
            return Store(folder, _require_manifest(read_record(path)))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other writers out, and remove what killed ones left unfinished; see ``locked``.

        Raises:
            InputError: another process is writing, or the folder cannot be written to.
        """
        with locked(self.folder, "Only one process at a time can write to the folder of a sweep"):
            yield

    def write(self, number: int, columns: Columns) -> Path:
        """The file of a batch, written all at once; a good one that is there already stays.

        Args:
            number: of the batch, 0 <= number < num_batches.
            columns: equal lengths, at least one row, among them "cell" of int64.

        Raises:
            InputError: a number or a column that cannot be kept, no pyarrow, or no room to write.
        """
        rows, count = _require_columns(columns), self.manifest["num_batches"]
        number = require_count(number, "batch number", 0, "count batches from 0")
        if number >= count:
            raise InputError(f"Need a batch number < {count}", number, "count batches from 0")
        for path in self._entries():
            match = BATCH.fullmatch(path.name)
            if match and int(match[1]) == number and self._is_whole(path, match):
                return path
        content = _parquet(rows, {"ufm.key": self.manifest["key"], "ufm.batch": str(number)})
        digest = fingerprint(content, self._owner(number))
        path = self.folder / BATCHES / f"{number:05d}-{digest}.parquet"
        with accessible(path, *WRITABLE):
            path.parent.mkdir(exist_ok=True)
            if os.path.lexists(path):  # which is not whole, see above
                set_aside(path, self.folder)
            write_whole(path, content)
        return path

    def scan(self) -> Scan:
        """Reread every file and say what it is; nothing is changed.

        Raises:
            InputError: a file or the folder cannot be read.
        """
        present: dict[int, Path] = {}
        damaged, duplicates, foreign = [], [], []
        for path in self._entries():
            match = BATCH.fullmatch(path.name)
            if match is None:
                foreign.append(path)
            elif not self._is_whole(path, match):
                damaged.append(path)
            elif present.setdefault(int(match[1]), path) != path:
                duplicates.append(path)
        return Scan(present, tuple(damaged), tuple(duplicates), tuple(foreign))

    def set_aside(self, scan: Scan) -> int:
        """Move damaged files and duplicates to damaged/ and return how many; hold the lock for it.

        Raises:
            InputError: a file cannot be moved.
        """
        with accessible(self.folder, *WRITABLE):
            moved = [set_aside(path, self.folder) for path in (*scan.damaged, *scan.duplicates)]
        return sum(path is not None for path in moved)

    def table(
        self, columns: Sequence[str] | None = None, where: Mapping[str, Any] | None = None
    ) -> dict[str, NDArray[Any]]:
        """The rows of all batches that are present, sorted by cell; str columns as object arrays.

        Args:
            columns: names to return, in this order; all of them if not given.
            where: column -> what to keep. A tuple (low, high) is an interval of numbers, both ends
                included and None for an open end; any other collection is a choice of values; all
                else is one value. NaN as a value keeps NaN.

        Raises:
            InputError: no batch yet, an unknown column, a value that the column cannot have,
                batches with different columns, or no pyarrow.
        """
        arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
        where = {} if where is None else where
        known: dict[str, Any] = {}
        schema: Any = None
        asked: list[str] = []
        parts: list[Any] = []
        for path, content in self._whole_batches():
            with (
                accessible(path, *READABLE),
                parquet.ParquetFile(arrow.py_buffer(content)) as file,
            ):
                here = file.schema_arrow
                same = schema is not None and here.equals(schema)
                types = known if same else {field.name: field.type for field in here}
                if not known:
                    schema = here
                    known, asked = types, list(types if columns is None else columns)
                    for name in (*asked, *where):
                        if name not in known:
                            raise unknown(name, known, "column")
                if types != known:
                    differ = ", ".join(sorted({name for name, _ in types.items() ^ known.items()}))
                    rule = "Need the same columns in all batches of a sweep"
                    remedy = "choose another folder for the changed sweep"
                    raise InputError(rule, f"{path} with another {differ}", remedy)
                # Threads cost more than they bring for a file of some hundred rows.
                read = partial(file.read, use_threads=False)
                if parts and excluded(file.metadata, here.names, where):
                    continue  # the first of all stays, for its types
                chosen = chosen_rows(read(list(where)), where) if where else None
                if parts and chosen is not None and not chosen.any():
                    continue
                part = read(list(dict.fromkeys((CELL, *asked))))
                parts.append(part if chosen is None else part.filter(arrow.array(chosen)))
        if not parts:
            raise InputError("Need a finished batch", self.folder, "run the sweep first")
        whole = arrow.concat_tables(parts)
        order = np.argsort(whole[CELL].to_numpy(), kind="stable")
        return {name: whole[name].to_numpy()[order] for name in asked}

    def export(self, path: Path) -> None:
        """Write the whole table to one file: .csv, .parquet, or .nc (netCDF 3).

        netCDF 3 has integers of 32 bits only: a table with larger ones is refused there.

        Raises:
            InputError: another suffix, a table that netCDF cannot hold, a package that is missing,
                or a folder that cannot be written to.
        """
        encode = EXPORTS.get(path.suffix.lower())
        if encode is None:
            raise InputError(f"Need a file name in {', '.join(EXPORTS)}", path, "choose one")
        content = encode(self.table(), self.manifest)
        with accessible(path, "Need a file that can be written", "choose another folder"):
            write_whole(path, content)

    def _whole_batches(self) -> Iterator[tuple[Path, bytes]]:
        """The first good file of every batch with its content, each read once, by name."""
        seen: set[int] = set()
        for path in self._entries():
            match = BATCH.fullmatch(path.name)
            content = None if match is None else self._whole_content(path, match)
            if match is not None and content is not None and int(match[1]) not in seen:
                seen.add(int(match[1]))
                yield path, content

    def _owner(self, number: int) -> str:
        return f"{self.manifest['key']}/{number}"

    def _entries(self) -> list[Path]:
        folder = self.folder / BATCHES
        with accessible(folder, *READABLE):
            found = sorted(folder.iterdir()) if os.path.lexists(folder) else []
        return [path for path in found if not UNFINISHED.fullmatch(path.name)]

    def _is_whole(self, path: Path, match: re.Match[str]) -> bool:
        return self._whole_content(path, match) is not None

    def _whole_content(self, path: Path, match: re.Match[str]) -> bytes | None:
        # Not found: moved since the folder was listed. Not a file: a pipe, say, would never end.
        with accessible(path, *READABLE), suppress(FileNotFoundError):
            content = read_whole(path, MOST_BYTES) if path.is_file() else None
            owner = self._owner(int(match[1]))
            if content is not None and fingerprint(content, owner) == match[2]:
                return content
        return None


def _require_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads(json.dumps(dict(manifest), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError("Need a manifest that JSON can hold", error, "convert it") from error
    if not (isinstance(made.get("key"), str) and made["key"]):
        raise InputError("Need a manifest with a key", made.get("key"), "hash what defines it")
    for name in ("num_batches", "num_cells"):
        require_count(made.get(name), name, 1, "say how many there are")
    return made


def _require_columns(columns: Columns) -> dict[str, NDArray[Any]]:
    """The columns as flat arrays of equal lengths, strings as objects."""
    made = {name: np.asarray(values) for name, values in columns.items()}
    for name, values in made.items():
        text = values.dtype.kind in "UO" and all(isinstance(x, str) for x in values.ravel())
        if values.ndim != 1 or not (text or values.dtype in TYPES):
            got = f"{name} of {values.dtype} with shape {values.shape}"
            raise InputError("Need flat columns of int64, float64, bool or str", got, "convert it")
        made[name] = values.astype(object) if text else values
    if CELL not in made or made[CELL].dtype != np.int64:
        raise InputError(f"Need a column {CELL} of int64", list(made), "number the cells")
    lengths = {name: len(values) for name, values in made.items()}
    if set(lengths.values()) != {lengths[CELL] or 1}:
        raise InputError("Need columns of equal length >= 1", lengths, "give every cell a row")
    return made


def _arrow(module: str) -> Any:
    return require_package(module, PYARROW, "sweep")


def _parquet(columns: Columns, metadata: Mapping[str, str]) -> bytes:
    arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
    try:
        made = arrow.table(dict(columns)).replace_schema_metadata(metadata)
    except UnicodeEncodeError as error:
        raise InputError("Need strings that UTF-8 can hold", error, "clean them") from error
    stream = io.BytesIO()
    # Not compressed: random digits do not shrink, and reading is a third faster.
    parquet.write_table(made, stream, compression="none")
    return stream.getvalue()


def _as_csv(columns: Columns, manifest: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    _arrow("pyarrow.csv").write_csv(_arrow("pyarrow").table(dict(columns)), stream)
    return stream.getvalue()


def _as_netcdf(columns: Columns, manifest: Mapping[str, Any]) -> bytes:
    xarray = require_package("xarray", "An export to .nc needs xarray", "sweep")
    held = {name: (CELL, values) for name, values in columns.items()}
    try:
        made = xarray.Dataset(held, attrs={"manifest": json.dumps(manifest)})
        return bytes(made.to_netcdf(engine="scipy"))
    except ValueError as error:
        raise InputError("netCDF 3 cannot hold this table", error, "choose .parquet") from error


EXPORTS: Mapping[str, Callable[[Columns, Mapping[str, Any]], bytes]] = {
    ".csv": _as_csv,
    ".parquet": lambda columns, about: _parquet(columns, {"ufm.manifest": json.dumps(about)}),
    ".nc": _as_netcdf,
}
