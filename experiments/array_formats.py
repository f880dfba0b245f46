"""Named arrays in files as people have them, listed without reading, and read whole or in blocks.

.npz, .npy, .safetensors, .pt and .pth (PyTorch, tensors only), .h5 and .hdf5. No file ever has
code run: pickled objects are refused, and PyTorch's files are read with ``weights_only``. PyTorch
and h5py are imported where a file needs them; the other formats need NumPy alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.arrays import PLAIN, listed_arrays, read_arrays, rows_of_member
from experiments.files import open_regular
from experiments.memory import require_memory
from ufm.errors import InputError

Rows = Callable[[int], Iterator[NDArray[Any]]]
# What a header of safetensors may take, as its own library has it.
MOST_HEADER = 100_000_000
# Names of safetensors; those that NumPy lacks come with JAX (ml_dtypes).
DTYPES = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"{sign}{bits}": f"<{sign.lower()}{bits // 8}" for sign in "IU" for bits in (8, 16, 32, 64)},
    "BF16": "bfloat16",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class Stored:
    """An array in a file, not yet read.

    Attributes:
        shape: as it lies there.
        dtype: as it lies there; texts are of kind U or S.
        whole: reads all of it.
        blocks: yields it from the first to the last row, so many rows at a time, each once.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    whole: Callable[[], NDArray[Any]]
    blocks: Rows

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def stored_arrays(path: Path) -> dict[str, Stored]:
    """Name -> array, of a file; nested names of PyTorch and HDF5 are joined by dots.

    Raises:
        InputError: no such file, a file of another kind, a damaged or a pickled one, or a package
            that is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "H.npy"), np.eye(2))
        ...     stored_arrays(Path(folder, "H.npy"))["H"].shape
        (2, 2)
    """
    read = READERS.get(path.suffix.lower(), _npz)
    if read is _npz:
        return _npz(path)
    try:
        open_regular(path).close()
    except OSError as error:
        raise InputError(
            "Need an existing file of arrays", f"{path}: {error.strerror}", "check the path"
        ) from error
    try:
        return read(path)
    except InputError:
        raise
    # Whatever a damaged or hostile file makes its library say.
    except Exception as error:
        said = (str(error).splitlines() or [""])[0][:200].rstrip(". ") or type(error).__name__
        rule = f"Need an undamaged {path.suffix} file of arrays"
        raise InputError(rule, f"{path}: {said}", _saved(path)) from error


def _saved(path: Path) -> str:
    return f"save it with numpy.savez({path.stem + '.npz'!r}, features=..., labels=...)"


def _npz(path: Path) -> dict[str, Stored]:
    def stored(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Stored:
        return Stored(
            shape,
            dtype,
            lambda: read_arrays(path, (name,))[name],
            lambda step: rows_of_member(path, name, step),
        )

    return {name: stored(name, *head) for name, head in listed_arrays(path).items()}


def _npy(path: Path) -> dict[str, Stored]:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if mapped.dtype.kind not in PLAIN:
        raise InputError("Need plain numbers, never pickled objects", mapped.dtype, _saved(path))
    return {
        path.stem: _in_file(
            path,
            mapped.offset,
            mapped.shape,
            mapped.dtype,
            mapped.flags.f_contiguous and mapped.ndim > 1,
        )
    }


def _in_file(
    path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], by_columns: bool = False
) -> Stored:
    """An array that lies in a file as it would in memory."""

    def part(start: int, count: int) -> NDArray[Any]:
        with open_regular(path) as stream:
            stream.seek(offset + start * dtype.itemsize)
            data = stream.read(count * dtype.itemsize)
        if len(data) != count * dtype.itemsize:
            raise InputError("Need an undamaged file", f"{path}, which ends early", "copy it again")
        return np.frombuffer(data, dtype)

    def whole() -> NDArray[Any]:
        require_memory(
            int(np.prod(shape, dtype=object)) * dtype.itemsize, f"{path}", "use fewer samples"
        )
        flat = part(0, int(np.prod(shape, dtype=np.int64)))
        return np.array(
            flat.reshape(shape, order="F" if by_columns else "C"), dtype.newbyteorder("=")
        )

    def blocks(step: int) -> Iterator[NDArray[Any]]:
        if by_columns:
            yield from _sliced(whole(), step)
            return
        row = int(np.prod(shape[1:], dtype=np.int64))
        for start in range(0, shape[0], step):
            count = min(step, shape[0] - start)
            yield part(start * row, count * row).reshape(count, *shape[1:])

    return Stored(shape, dtype, whole, blocks)


def _sliced(array: Any, step: int) -> Iterator[Any]:
    for start in range(0, len(array), step):
        yield array[start : start + step]


def _safetensors(path: Path) -> dict[str, Stored]:
    """The format is a length, a header of JSON with type, shape and place, and the numbers."""
    with open_regular(path) as stream:
        total = stream.seek(0, 2)
        stream.seek(0)
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(MOST_HEADER, total - 8):
            raise ValueError(f"a header of {length:,} bytes in a file of {total:,}")
        header = json.loads(stream.read(length))
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in DTYPES:
            continue  # eight-bit floats and the like: no feature of anybody's
        dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(int(x) for x in entry["shape"])
        start, end = (int(x) for x in entry["data_offsets"])
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if (
            min(shape, default=0) < 0
            or start < 0
            or end - start != size
            or end > total - 8 - length
        ):
            raise ValueError(f"{name!r} lies outside the file, or is not as long as its shape says")
        found[name] = _in_file(path, 8 + length + start, shape, dtype)
    return found


def _torch(path: Path) -> dict[str, Stored]:
    try:
        import torch
    except ImportError as error:
        remedy = f"pip install torch, or {_saved(path)}"
        raise InputError(f"Need PyTorch to read {path.suffix} files", path, remedy) from error
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    try:
        content = torch.load(path, mmap=True, **options)
    except (RuntimeError, ValueError):  # the format before 1.6 cannot be mapped
        content = torch.load(path, **options)
    found: dict[str, Stored] = {}

    def tensor(name: str, value: Any) -> Stored:
        from ufm.collapse.inputs import on_host

        dtype = on_host(value[:0] if value.ndim else value).dtype
        return Stored(
            tuple(value.shape),
            dtype,
            lambda: np.array(on_host(value)),
            lambda step: (np.array(on_host(part)) for part in _sliced(value, step)),
        )

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found[prefix or path.stem] = tensor(prefix, value)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), item)
        elif isinstance(value, list | tuple) and all(isinstance(x, int | str) for x in value):
            held = np.array(value)
            found[prefix or path.stem] = Stored(
                held.shape, held.dtype, lambda: held, lambda step: _sliced(held, step)
            )

    walk("", content)
    return found


def _hdf5(path: Path) -> dict[str, Stored]:
    try:
        import h5py
    except ImportError as error:
        remedy = f'pip install ".[formats]" in the clone, or {_saved(path)}'
        raise InputError(f"Need h5py to read {path.suffix} files", path, remedy) from error
    found: dict[str, Stored] = {}

    def rows(name: str, start: int | None, stop: int | None) -> NDArray[Any]:
        with h5py.File(path, "r") as file:
            data = file[name]
            text = h5py.check_string_dtype(data.dtype) is not None
            values = (
                (data.asstr() if text else data)[()]
                if start is None
                else (data.asstr() if text else data)[start:stop]
            )
            return np.asarray(values.astype(str) if text else values)

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            rule = "Need arrays inside the file, not in others that it names"
            raise InputError(rule, f"{name!r} of {path}", "repack it into one file")
        text = h5py.check_string_dtype(item.dtype) is not None
        if item.dtype.kind not in PLAIN and not text:
            return
        shape = tuple(item.shape)

        def whole() -> NDArray[Any]:
            require_memory(
                int(np.prod(shape, dtype=object)) * item_size,
                f"{name!r} of {path}",
                "use fewer samples",
            )
            return rows(name, None, None)

        def blocks(step: int) -> Iterator[NDArray[Any]]:
            for start in range(0, shape[0], step):
                yield rows(name, start, start + step)

        item_size = 1 if text else item.dtype.itemsize
        dtype = np.dtype("U") if text else item.dtype
        found[name.replace("/", ".")] = Stored(shape, dtype, whole, blocks)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


READERS: Mapping[str, Callable[[Path], dict[str, Stored]]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
}
