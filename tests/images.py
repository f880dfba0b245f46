"""Tiny files in the formats of published image sets, written by hand."""

import gzip
import struct
from pathlib import Path

import numpy as np

IDX_NAMES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, height=7, width=5, sizes=(6, 4), num_classes=3, suffix="", seed=0):
    """Four IDX files of random images, labels 0, 1, .., K-1, 0, ..; returns both."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for names, size in zip(IDX_NAMES, sizes, strict=True):
        images = rng.integers(0, 256, (size, height, width), dtype=np.uint8)
        labels = (np.arange(size) % num_classes).astype(np.uint8)
        for name, array in zip(names, (images, labels), strict=True):
            content = idx_bytes(array)
            if suffix.endswith(".gz"):
                content = gzip.compress(content)
            (folder / f"{name}{suffix}").write_bytes(content)
        made.append((images, labels))
    return made


def cifar_bytes(labels: np.ndarray, pixels: np.ndarray) -> bytes:
    """Records from labels (N, bytes) and pixels (N, 32, 32, 3), byte after byte."""
    out = bytearray()
    for row, image in zip(labels, pixels, strict=True):
        out += bytes(row.tolist())
        for channel in range(3):
            for y in range(32):
                out += bytes(image[y, :, channel].tolist())
    return bytes(out)


def write_cifar10(folder: Path, per_batch=2, test_size=3, seed=0):
    """Five train files and a test file; train labels 0..9; returns pixels and labels by split."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {**{f"data_batch_{i}.bin": per_batch for i in range(1, 6)}, "test_batch.bin": test_size}
    made: dict[str, list] = {"train": [], "test": []}
    start = 0
    for name, size in sizes.items():
        pixels = rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8)
        labels = (start + np.arange(size)) % 10
        start += size
        (folder / name).write_bytes(cifar_bytes(labels[:, None], pixels))
        made["test" if name.startswith("test") else "train"].append((pixels, labels))
    return {
        which: tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        for which, parts in made.items()
    }


def write_cifar100(folder: Path, sizes=(101, 3), seed=0):
    """Train and test file with fine labels 0..99 and the coarse label fine mod 20."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in zip(("train.bin", "test.bin"), sizes, strict=True):
        fine = np.arange(size) % 100
        pixels = rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8)
        (folder / name).write_bytes(cifar_bytes(np.stack([fine % 20, fine], axis=1), pixels))
