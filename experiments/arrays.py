"""Arrays in .npz files: written with a checksum, read without pickles and in bounded memory."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from experiments.files import CHECKSUM, fingerprint, open_regular, whole_file
from experiments.memory import require_memory
from ufm.errors import InputError

# Booleans, integers, floats, complex numbers and text.
PLAIN = "biufcU"


def write_arrays(path: Path, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Write named arrays of numbers or text, and a checksum of all, to a file that appears whole.

    Raises:
        OSError: the folder does not exist or cannot be written to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_arrays(Path(folder, "a.npz"), {"W": [1.5]})
        ...     read_arrays(Path(folder, "a.npz"), ["W"])
        {'W': array([1.5])}
    """
    held = {name: np.asarray(array) for name, array in arrays.items()}
    save: Any = np.savez_compressed if compressed else np.savez
    with whole_file(path) as stream:
        save(stream, **held, **{CHECKSUM: np.array(_checksum(held))})


def read_arrays(
    path: Path, needed: Sequence[str], optional: Collection[str] | None = ()
) -> dict[str, NDArray[Any]]:
    """The named arrays of an .npz file, those that are there; other entries are never opened.

    A header is believed only as far as the file has the bytes, and the memory is there. Where a
    file has a checksum and all of it is read, the checksum must fit.

    Args:
        path: written by ``write_arrays``, by numpy.savez or by anything else.
        needed: names that must be there.
        optional: names that may be there; None for all that are.

    Raises:
        InputError: no such file, not an .npz, a needed array missing, a damaged or pickled one,
            or one that does not fit into memory.
    """
    save = _remedy(path, (*needed, "W")[0])
    with _opened(path, save) as (archive, members):
        for name in needed:
            if name not in members:
                rule = f"Need an array named {name!r} in {path}"
                raise InputError(rule, ", ".join(sorted(members)) or "no arrays", save)
        asked = members if optional is None else {*needed, *optional} & set(members)
        arrays = {name: _array(archive, members[name], name, path) for name in sorted(asked)}
        if CHECKSUM in members and set(members) <= {*arrays, CHECKSUM}:
            told = arrays.pop(CHECKSUM, None)
            told = _array(archive, members[CHECKSUM], CHECKSUM, path) if told is None else told
            if told.shape != () or str(told) != _checksum(arrays):
                rule = f"Need an undamaged file {path}"
                remedy = f"copy it again; of arrays that you changed, leave {CHECKSUM!r} out"
                raise InputError(rule, "a checksum that does not fit its arrays", remedy)
    return arrays


def listed_arrays(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Name -> (shape, dtype) of an .npz file; of type object where it is damaged or pickled.

    Raises:
        InputError: no such file, not an .npz, or a damaged one.
    """
    found = {}
    with _opened(path, _remedy(path, "W")) as (archive, members):
        for name, info in members.items():
            try:
                shape, dtype, _ = _head(archive, info, name, path)
            except InputError:  # said when it is read, if it is
                shape, dtype = (), np.dtype(object)
            found[name] = (shape, dtype)
    found.pop(CHECKSUM, None)
    return found


def rows_of_member(path: Path, name: str, step: int) -> Iterator[NDArray[Any]]:
    """An array of an .npz file in one pass, so many rows at a time; its own checksum is compared.

    Raises:
        InputError: as ``read_arrays``.
    """
    with _opened(path, _remedy(path, name)) as (archive, members):
        info = members[name]
        shape, dtype, by_columns = _head(archive, info, name, path)
        if by_columns:  # the rows are all over the file
            whole = _array(archive, info, name, path)
            yield from (whole[start : start + step] for start in range(0, len(whole), step))
            return
        row = dtype.itemsize * math.prod(shape[1:])
        try:
            with archive.open(info) as member:
                _header(member)
                for start in range(0, shape[0], step):
                    count = min(step, shape[0] - start)
                    block = np.frombuffer(member.read(count * row), dtype)
                    yield block.reshape(count, *shape[1:])
                if member.read(1):  # at the end zipfile compares its own checksum
                    raise ValueError("bytes behind the array")
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(name, path, error) from error


def _remedy(path: Path, name: str) -> str:
    return f"save it with numpy.savez({path.stem + '.npz'!r}, {name}=..., ...)"


@contextmanager
def _opened(path: Path, save: str) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    if path.is_dir():
        raise InputError("Need an .npz file", f"the folder {path}", "add the name of the file")
    try:
        stream = open_regular(path)
    except FileNotFoundError as error:
        raise InputError("Need an existing .npz file", path, "check the path") from error
    except OSError as error:
        raise InputError("Need an .npz file", f"{path}: {error.strerror}", save) from error
    with stream:
        try:
            archive = zipfile.ZipFile(stream)
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            whole = stream.seek(0) == 0 and stream.read(2) == b"PK"
        except Exception as error:
            raise InputError("Need an .npz file", f"{path}, which is not one", save) from error
        if not whole:
            raise InputError("Need an .npz file", f"{path}, which begins as another one", save)
        yield archive, members


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    text = ""
    for name in sorted(arrays):
        array = arrays[name]
        # One machine's bytes on another.
        little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        text = fingerprint(little.tobytes(), f"{text} {name} {little.dtype.str} {array.shape}")
    return text


def _head(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, path: Path
) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, dtype and whether columns are contiguous, as far as the file has the bytes."""
    try:
        with archive.open(info) as member:
            shape, by_columns, dtype = _header(member)
            held = info.file_size - member.tell()
        plain = dtype.kind in PLAIN
        size = dtype.itemsize
        for length in shape:
            size *= int(length)
        if plain and size != held:
            raise ValueError(f"a header that claims {size:,} bytes where there are {held:,}")
    # Whatever a damaged or hostile file makes zipfile and NumPy say.
    except Exception as error:
        raise _damaged(name, path, error) from error
    if not plain:
        rule = f"Need plain numbers in {name!r} of {path}, never pickled objects"
        got = "an array of Python objects" if dtype.hasobject else f"an array of {dtype}"
        raise InputError(rule, got, "save it as a numeric array; pickles can run code")
    return shape, dtype, by_columns and len(shape) > 1


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, path: Path) -> NDArray[Any]:
    """One member, as an array of this machine's own byte order."""
    shape, dtype, _ = _head(archive, info, name, path)
    size = dtype.itemsize * math.prod(shape)
    require_memory(size, f"{name!r} of {path}", "give a smaller file")
    try:
        with archive.open(info) as member:
            array = np.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):  # at the end zipfile compares its own checksum
                raise ValueError("bytes behind the array")
    except Exception as error:
        raise _damaged(name, path, error) from error
    return np.asarray(array.astype(dtype.newbyteorder("="), copy=False))


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"a format of version {version}")
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    shape, by_columns, dtype = read[version[0]](member)
    return shape, by_columns, dtype


def _damaged(name: str, path: Path, error: Exception) -> InputError:
    said = (str(error).splitlines() or [""])[0][:200].rstrip(". ") or type(error).__name__
    return InputError(f"Need an undamaged array {name!r} in {path}", said, "copy the file again")
