"""IDX files, the format of MNIST: a header of big-endian integers, then the bytes.

    0 0 type ndim | one unsigned 32-bit length per axis | product of the lengths entries

Type 8 is unsigned bytes, the only one that image sets use. A header may claim any size, so memory
is taken as the content arrives, never as the header says.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from experiments.files import accessible
from experiments.networks.data.record import Split, frozen
from ufm.errors import InputError

UNSIGNED_BYTES = 8
GZIP_MAGIC = b"\x1f\x8b"
# The largest set in this format, EMNIST by class, has 0.55e9 pixels.
MAX_ENTRIES = 2**30
CHUNK = 2**20

READABLE = ("Need an IDX file that can be read", "give access to it, or choose another folder")
WHOLE = "get the file again and compare its size or checksum with the publisher's"


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """The array in an IDX file, plain or compressed with gzip, which its first bytes tell.

    Args:
        path: the file.
        ndim: axes that it must have: 3 for images (N, H, W), 1 for labels (N,).

    Raises:
        InputError: no IDX file, not of unsigned bytes, another number of axes, an axis of length
            0, more than 2^30 entries, fewer or more bytes than the header says, damaged
            compression, or no file that can be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]))
        >>> read_idx(path, 1).tolist()
        [7, 0, 9]
    """
    with accessible(path, *READABLE):
        try:
            with path.open("rb") as file:
                compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
                file.seek(0)
                stream: IO[bytes] = gzip.GzipFile(fileobj=file) if compressed else file  # type: ignore[assignment]
                return _parse(stream, path, ndim)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"Need undamaged gzip data in {path}", error, WHOLE) from error


def _parse(stream: IO[bytes], path: Path, ndim: int) -> NDArray[np.uint8]:
    header = stream.read(4 + 4 * ndim)
    magic = bytes([0, 0, UNSIGNED_BYTES, ndim])
    if header[:4] != magic:
        raise _wrong_magic(header[:4], path, ndim)
    if len(header) < 4 + 4 * ndim:
        rule = f"Need a whole header of {4 + 4 * ndim} bytes in {path}"
        raise InputError(rule, f"{len(header)} bytes", WHOLE)
    shape = struct.unpack(f">{ndim}I", header[4:])
    # Python's integers do not overflow, whatever the header says.
    size = math.prod(shape)
    if not 0 < size <= MAX_ENTRIES:
        rule = f"Need between 1 and {MAX_ENTRIES:,} entries in {path}"
        raise InputError(rule, f"a header for {_times(shape)}", WHOLE)
    # One byte more than there should be, to see whether there is one.
    content = _at_most(stream, size + 1)
    if len(content) != size:
        more = len(content) > size
        got = "more" if more else f"{len(content):,} bytes"
        rule = f"Need exactly {size:,} bytes after the header for {_times(shape)} in {path}"
        raise InputError(rule, got, WHOLE)
    return frozen(np.frombuffer(content, np.uint8).reshape(shape))


def _at_most(stream: IO[bytes], limit: int) -> bytearray:
    content = bytearray()
    while len(content) < limit:
        chunk = stream.read(min(CHUNK, limit - len(content)))
        if not chunk:
            break
        content += chunk
    return content


def _wrong_magic(magic: bytes, path: Path, ndim: int) -> InputError:
    what = {1: "labels", 3: "images"}.get(ndim, "entries")
    rule = f"Need an IDX file of {what} (first bytes 00 00 08 {ndim:02x}) in {path}"
    if len(magic) == 4 and magic[:2] == b"\0\0" and magic[3] != ndim:
        remedy = "check that images and labels are not swapped"
        return InputError(rule, f"{magic[3]} axes instead of {ndim}", remedy)
    if len(magic) == 4 and magic[:2] == b"\0\0":
        got = f"entries of type {magic[2]:#04x}"
        return InputError(rule, got, "convert the entries to unsigned bytes, type 0x08")
    return InputError(rule, f"first bytes {magic.hex(' ') or '(none)'}", WHOLE)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(f"{length:,}" for length in shape)


def read_split(images: Path, labels: Path, shape: tuple[int, int] | None = None) -> Split:
    """A split from a file of images and a file of labels; bytes divided by 255.

    Args:
        images: IDX file with three axes (N, H, W).
        labels: IDX file with one axis (N,).
        shape: (H, W) that the images must have, if given.

    Raises:
        InputError: as ``read_idx``, another image shape, or not one label per image.
    """
    pixels, y = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(y):
        rule = f"Need one label in {labels} per image in {images}"
        remedy = "take both files from the same set and the same split"
        raise InputError(rule, f"{len(y):,} labels and {len(pixels):,} images", remedy)
    if shape is not None and pixels.shape[1:] != shape:
        rule = f"Need images of {_times(shape)} pixels in {images}"
        remedy = "use the files of this set, or load any IDX files under the name idx"
        raise InputError(rule, _times(pixels.shape[1:]), remedy)
    return Split(as_unit_interval(pixels[..., None]), frozen(y.astype(np.int32)))


def as_unit_interval(pixels: NDArray[np.uint8], largest: int = 255) -> NDArray[Any]:
    """float32 pixels in [0, 1]: p/largest, correctly rounded, so that the largest is exactly 1.

    Example:
        >>> as_unit_interval(np.array([0, 51, 255], np.uint8)).tolist() == [0.0, np.float32(0.2), 1]
        True
    """
    return frozen(np.divide(pixels, np.float32(largest), dtype=np.float32))
