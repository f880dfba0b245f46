"""CIFAR-10 and CIFAR-100 in their binary version: records of label bytes and 3 x 32 x 32 pixels.

CIFAR-10 has one label byte per record, CIFAR-100 two, first that of the superclass and then that of
the class. Pixels are stored channel by channel. The Python version of the same sets are pickles,
and reading a pickle runs whatever program is in it: those are never opened.

Source: the page of the data sets, Krizhevsky 2009, section "Binary version".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.files import accessible
from experiments.networks.data.idx import WHOLE, as_unit_interval
from experiments.networks.data.record import Split, frozen
from ufm.errors import InputError

SIDE, CHANNELS = 32, 3
PIXELS = CHANNELS * SIDE * SIDE
# Ten times the larger of the real files; anything beyond is another file.
MAX_BYTES = 10 * 50_000 * (2 + PIXELS)

READABLE = ("Need a CIFAR file that can be read", "give access to it, or choose another folder")


@dataclass(frozen=True)
class Layout:
    """Where one of the sets keeps what.

    Attributes:
        archive: what the publisher calls the binary version.
        unpacked: the folder that it unpacks to.
        train, test: names of the files.
        pickles: names by which the Python version is recognised.
        label_sizes: number of classes for every label byte of a record.
    """

    archive: str
    unpacked: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    pickles: tuple[str, ...]
    label_sizes: tuple[int, ...]


CIFAR10 = Layout(
    "cifar-10-binary.tar.gz",
    "cifar-10-batches-bin",
    tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    ("test_batch.bin",),
    ("data_batch_1", "test_batch", "cifar-10-batches-py", "cifar-10-python.tar.gz"),
    (10,),
)
CIFAR100 = Layout(
    "cifar-100-binary.tar.gz",
    "cifar-100-binary",
    ("train.bin",),
    ("test.bin",),
    ("train", "test", "cifar-100-python", "cifar-100-python.tar.gz"),
    (20, 100),
)


def read_records(path: Path, label_sizes: Sequence[int]) -> tuple[NDArray[np.uint8], ...]:
    """Labels (N, number of label bytes) and pixels (N, 32, 32, 3) of one file.

    Args:
        path: the file.
        label_sizes: number of classes for every label byte.

    Raises:
        InputError: an empty file, one that ends within a record, a label that is too large, more
            than ten times the size of a real file, or no file that can be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "batch.bin"
        >>> _ = path.write_bytes(bytes([7, *1024 * [1], *1024 * [2], *1024 * [3]]))
        >>> labels, pixels = read_records(path, (10,))
        >>> labels.tolist(), pixels.shape, pixels[0, 31, 31].tolist()
        ([[7]], (1, 32, 32, 3), [1, 2, 3])
    """
    record = len(label_sizes) + PIXELS
    with accessible(path, *READABLE):
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    if not content or len(content) % record:
        rule = f"Need between 1 and {MAX_BYTES // record:,} records of {record} bytes in {path}"
        raise InputError(rule, f"{size:,} bytes", WHOLE)
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    labels, planes = rows[:, : len(label_sizes)], rows[:, len(label_sizes) :]
    for column, num_classes in enumerate(label_sizes):
        largest = int(labels[:, column].max())
        if largest >= num_classes:
            row = int(np.argmax(labels[:, column]))
            rule = f"Need labels in 0..{num_classes - 1} in byte {column} of every record of {path}"
            remedy = "check that it is the binary version of this very set, or get it again"
            raise InputError(rule, f"{largest} in record {row}", remedy)
    return labels, planes.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)


def read_splits(folder: Path, layout: Layout, column: int = -1) -> tuple[Split, Split]:
    """Train and test split from the folder with the files.

    Args:
        folder: has all files of ``layout``.
        layout: of the set.
        column: which label byte is the class; the last one is the finest.

    Raises:
        InputError: as ``read_records``, or train files of unequal length, which the real ones have.
    """
    made = []
    for names in (layout.train, layout.test):
        parts = [read_records(folder / name, layout.label_sizes) for name in names]
        lengths = [len(labels) for labels, _ in parts]
        if len(set(lengths)) > 1:
            got = ", ".join(f"{n:,} in {name}" for n, name in zip(lengths, names, strict=True))
            raise InputError(f"Need equally many records in all files of {folder}", got, WHOLE)
        labels = np.concatenate([labels[:, column] for labels, _ in parts]).astype(np.int32)
        pixels = np.concatenate([pixels for _, pixels in parts])
        made.append(Split(as_unit_interval(pixels), frozen(labels)))
    return made[0], made[1]
