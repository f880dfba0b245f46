"""Features, labels and the last layer of a network, from files with the names that people give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.array_formats import READERS, Stored, stored_arrays
from experiments.arrays import read_arrays
from ufm.errors import InputError

# Names of practice and of theory, and what else people write; the first that is there is taken.
# "H" is (d, N), all other features are (N, d).
NAMES: Mapping[str, tuple[str, ...]] = {
    "features": (
        "features",
        "H",
        "feature",
        "feats",
        "embeddings",
        "embedding",
        "activations",
        "x",
    ),
    "labels": ("labels", "y", "label", "targets", "target", "y_true"),
    "classifier": ("classifier", "W", "weight", "weights"),
    "bias": ("bias", "b"),
    "logits": ("logits", "scores", "outputs"),
    "counts": ("counts",),
    "merged": ("merged",),
}
# Axes that such an array has, one axis of length 1 more or less aside; None: any.
AXES = {"features": 2, "labels": 1, "classifier": 2, "bias": 1, "logits": 2}
OTHER = {"H": "features", "W": "classifier", "b": "bias"}
# Features of more bytes are read in one pass, and never held.
LARGE = 2**30
# Entries of a block, 128 MiB in float64: with many classes and features larger blocks are faster.
BLOCK_ENTRIES = 2**24
# Rows on which logits are compared with W h + b, and how far apart float16 may bring them.
CHECKED_ROWS, MOST_APART = 1024, 0.02


@dataclass(frozen=True)
class NetworkArrays:
    """What was found of a network.

    Attributes:
        features: (N, d) in memory, or a stored array that is read in blocks.
        labels: (N,), 0..K-1.
        classifier: W (K, d), or None.
        bias: b (K,), or None.
        notes: what was done to them.
    """

    features: NDArray[Any] | Stored
    labels: NDArray[np.intp]
    classifier: NDArray[Any] | None
    bias: NDArray[Any] | None
    notes: tuple[str, ...] = ()

    def batches(self) -> Iterator[tuple[NDArray[Any], NDArray[np.intp]]]:
        """Features and labels, some thousand samples at a time."""
        step = max(1, BLOCK_ENTRIES // max(1, int(np.prod(self.features.shape[1:]))))
        start = 0
        for block in _rows(self.features, step):
            yield block.reshape(len(block), -1), self.labels[start : start + len(block)]
            start += len(block)


def _rows(features: NDArray[Any] | Stored, step: int) -> Iterator[NDArray[Any]]:
    if isinstance(features, Stored):
        yield from features.blocks(step)
        return
    for start in range(0, len(features), step):
        yield features[start : start + step]


def grouped(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Files of one network each; of .npy files, which hold one array each, all are one network.

    A folder stands for the files in it, in the order of the numbers in their names.

    Raises:
        InputError: a folder without such files, or .npy files among others.

    Example:
        >>> [len(files) for files in grouped([Path("H.npy"), Path("y.npy")])]
        [2]
        >>> [len(files) for files in grouped([Path("epoch2.pt"), Path("epoch10.pt")])]
        [1, 1]
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir() or (len(paths) == 1 and not any(path.iterdir())):
            files.append(path)
            continue
        inside = sorted((x for x in path.iterdir() if x.suffix.lower() in READERS), key=_natural)
        if not inside:
            known = ", ".join(READERS)
            raise InputError(
                f"Need files with an ending among {known}",
                f"the folder {path}",
                "add the name of a file",
            )
        files += inside
    parts = [path for path in files if path.suffix.lower() == ".npy"]
    if not parts:
        return [(path,) for path in files]
    if len(parts) < len(files):
        rule = "Need .npy files of one network, or other files of one network each"
        raise InputError(
            rule, f"{len(parts)} .npy files of {len(files)}", "measure them one by one"
        )
    return [tuple(files)]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts epoch10 behind epoch9."""
    import re

    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)
    ]


def read_named(path: Path, needed: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    """The named arrays of a file, under the names of practice, of theory or of habit.

    The same network is features (N, d), classifier and bias, or H (d, N), W and b. Where the file
    lacks a name, the others of ``NAMES`` are looked for; other names are taken as they are.

    Raises:
        InputError: as ``stored_arrays``, or a needed array is missing.
    """
    stored = stored_arrays(path)
    placed = {name: _found(stored, name) for name in (*needed, *optional)}
    for name in needed:
        if placed[name] is None:
            listing = ", ".join(sorted(stored)) or "no arrays"
            remedy = f"save it with numpy.savez({path.stem + '.npz'!r}, {name}=..., ...)"
            raise InputError(f"Need an array named {name!r} in {path}", listing, remedy)
    read = read_stored(path, stored, {place for place in placed.values() if place is not None})
    arrays = {}
    for name, place in placed.items():
        if place is None:
            continue
        flipped = (name == "H") != (place.rpartition(".")[2] == "H")
        is_features = OTHER.get(name, name) == "features"
        arrays[name] = read[place].T if is_features and flipped else read[place]
    return arrays


def read_stored(path: Path, stored: Mapping[str, Stored], names: set[str]) -> dict[str, Any]:
    """Arrays of a file; of an .npz all at once, which compares the checksum of the whole."""
    if path.suffix.lower() not in READERS or path.suffix.lower() == ".npz":
        return dict(read_arrays(path, (), names))
    return {name: stored[name].whole() for name in names}


def _found(stored: Mapping[str, Stored], name: str, columns: int | None = None) -> str | None:
    """The name in the file of what is looked for, None where there is none.

    Raises:
        InputError: several arrays could be meant.
    """
    if name in stored:
        return name
    practice = OTHER.get(name, name)
    if practice not in NAMES:
        return None
    axes = AXES.get(practice)
    for alias in NAMES[practice]:
        if alias in stored and (axes is None or stored[alias].shape != ()):
            return alias
    # head.weight of a state dictionary; a network has many, of which one fits the features.
    inner = [
        place
        for alias in NAMES[practice]
        for place, array in stored.items()
        if place.lower().replace("-", ".").replace("/", ".").rpartition(".")[2] == alias.lower()
        and (axes is None or _squeezed(array.shape, axes) is not None)
        and (columns is None or array.shape[-1:] == (columns,) or axes != 2)
    ]
    if len(inner) > 1:
        listing = ", ".join(f"{place} {stored[place].shape}" for place in inner[:6])
        raise InputError(
            f"Need one array that is the {practice}", listing, f"save it as {practice!r}"
        )
    return inner[0] if inner else None


def _squeezed(shape: tuple[int, ...], axes: int) -> tuple[int, ...] | None:
    """The shape without axes of length 1 beyond the first ``axes``; None where others are there."""
    if len(shape) < axes or any(length != 1 for length in shape[axes:]):
        return None
    return shape[:axes]


def read_network(paths: Sequence[Path], transposed: bool = False) -> NetworkArrays:
    """Features, labels and the last layer, from one file or several .npy files.

    Axes of length 1 are dropped, (N, C, 1, 1). Labels of any integers or texts become 0..K-1 in
    sorted order. Logits, where there are some, must be W h + b: else the features are not what goes
    into the last layer. A point as ``ufm solve --save`` writes it has counts instead of labels, and
    may have one column sqrt(n_k) times the class mean for every class.

    Args:
        paths: of one network, see ``grouped``.
        transposed: whether features are stored as (d, N).

    Raises:
        InputError: as ``read_named``, or arrays that do not fit together.
    """
    stored = {name: array for path in paths for name, array in stored_arrays(path).items()}
    whole = paths[0] if len(paths) == 1 else Path(paths[0].parent)
    place = _found(stored, "features")
    if place is None:
        read_named(paths[0], ("features",), ())  # says that it is missing
        raise InputError("Need an array named 'features'", ", ".join(sorted(stored)), "add it")
    notes: list[str] = []
    names = {"features": place}
    held = stored[place]
    columns = (
        held.shape[0 if _by_columns(place, transposed) else 1] if len(held.shape) > 1 else None
    )
    for name in ("labels", "classifier", "bias", "logits", "counts", "merged"):
        other = _found({k: v for k, v in stored.items() if k != place}, name, columns)
        if other is not None:
            names[name] = other
    small = {place for name, place in names.items() if name != "features"}
    by_columns = _by_columns(place, transposed)
    labelled = stored[names["labels"]].shape[:1] if "labels" in names else ()
    if (place, transposed) == ("H", False) and _only_rows(held.shape, labelled):
        by_columns = False
        notes.append("H has a row per label, and is taken as (N, d)")
    large = held.size > LARGE and not by_columns
    if not large:
        small.add(place)
    if len(paths) == 1:
        read = read_stored(paths[0], stored, small)
    else:
        read = {name: stored[name].whole() for name in small}
    arrays = {name: read[place] for name, place in names.items() if place in read}
    for name in AXES:
        if name in arrays and arrays[name].ndim == 0:
            got = f"a single {arrays[name].dtype}"
            raise InputError(f"Need {name!r} with {AXES[name]} axes", got, "save the whole array")
    features: Any = held if large else arrays["features"]
    if len(features.shape) > 2 and _squeezed(features.shape, 2) is not None:
        notes.append(f"features {features.shape} taken as {features.shape[:2]}")
        features = _reshaped(features)
    if by_columns:
        features = features.T
    classifier, bias = arrays.get("classifier"), arrays.get("bias")
    if classifier is not None and classifier.ndim > 2 and _squeezed(classifier.shape, 2):
        classifier = classifier.reshape(classifier.shape[:2])
    found = _with_labels(arrays, features, whole, classifier, notes)
    made = replace(found, classifier=classifier, bias=bias, notes=tuple(notes))
    if "logits" in arrays and classifier is not None:
        _require_logits(made, arrays["logits"])
    return made


def _by_columns(place: str, transposed: bool) -> bool:
    """Whether features are stored as (d, N)."""
    return (place.rpartition(".")[2] == "H") != transposed


def _only_rows(shape: tuple[int, ...], labelled: tuple[int, ...]) -> bool:
    """Whether an array has a row, and not a column, for every label."""
    return bool(shape) and labelled == shape[:1] != shape[-1:]


def _reshaped(features: Any) -> Any:
    if not isinstance(features, Stored):
        return features.reshape(features.shape[:2])
    return replace(features, shape=features.shape[:2])  # blocks are reshaped as they come


def _with_labels(
    arrays: Mapping[str, Any],
    features: Any,
    path: Path,
    classifier: NDArray[Any] | None,
    notes: list[str],
) -> NetworkArrays:
    """Features with one label each, from labels or from counts."""
    if "labels" in arrays:
        rows = None if classifier is None else len(classifier)
        labels = class_numbers(arrays["labels"], rows, notes)
        if isinstance(features, Stored) and labels.shape != features.shape[:1]:
            got = f"{labels.shape} labels for features {features.shape}"
            raise InputError("Need one label per sample", got, "save them in the same order")
        return NetworkArrays(features, labels, None, None)
    if "counts" not in arrays:
        remedy = f"save it with numpy.savez({path.stem + '.npz'!r}, labels=..., ...)"
        rule = f"Need an array named 'labels' in {path}"
        raise InputError(rule, f"none beside features {features.shape}", remedy)
    counts = integer_counts(arrays["counts"])
    merged = arrays.get("merged")
    if merged is not None and merged.ndim == 0 and bool(merged):
        if len(features) != len(counts):
            got = f"{len(features)} columns and {len(counts)} counts"
            raise InputError(f"Need one merged column per class in {path}", got, "save it again")
        means = features / np.sqrt(np.array(counts))[:, None]
        features = np.repeat(means, counts, axis=0)
    return NetworkArrays(features, np.repeat(np.arange(len(counts)), counts), None, None)


def class_numbers(
    raw: NDArray[Any], rows: int | None = None, notes: list[str] | None = None
) -> NDArray[Any]:
    """Labels of any kind as 0..K-1, in sorted order; those that are so already stay as they are.

    Args:
        raw: (N,) or (N, 1) integers, whole floats or texts, or (N, K) of zeros and a one.
        rows: of the classifier, if there is one: integers below that are its rows.
        notes: gets a sentence where labels were renamed.

    Raises:
        InputError: texts of another number than the rows.

    Example:
        >>> class_numbers(np.array(["cat", "dog", "cat"])).tolist()
        [0, 1, 0]
        >>> class_numbers(np.array([7, -1, 7])).tolist()
        [1, 0, 1]
        >>> class_numbers(np.array([0, 2]), 3).tolist()  # rows of the classifier
        [0, 2]
    """
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim == 2 and raw.dtype.kind in "biuf":
        ones = (np.sum(raw == 1, axis=1) == 1) & (np.sum(raw != 0, axis=1) == 1)
        if raw.shape[1] > 1 and bool(ones.all()):
            return np.argmax(raw, axis=1)
    if raw.ndim != 1 or not raw.size:
        return raw
    if raw.dtype.kind == "f" and bool(np.all(raw == np.round(raw))):
        raw = raw.astype(np.int64)
    texts = raw.dtype.kind in "US"
    if raw.dtype.kind not in "iu" and not texts:
        return raw  # whoever uses them says what is wrong
    values, numbers = np.unique(raw, return_inverse=True)
    if not texts and rows is not None and values[0] >= 0 and len(values) != rows:
        return raw
    if not texts and rows is not None and values[0] >= 0 and values[-1] < rows:
        return raw
    if rows is not None and len(values) != rows:
        got = f"{len(values)} labels and {rows} rows"
        raise InputError(
            "Need a row of the classifier for every label", got, "number the labels 0..K-1"
        )
    if not np.array_equal(values, np.arange(len(values))) and notes is not None:
        shown = ", ".join(map(str, values[:6])) + (", ..." if len(values) > 6 else "")
        notes.append(f"labels {shown} are classes 0 to {len(values) - 1}, in this order")
    return np.asarray(numbers)


def integer_counts(saved: Any) -> tuple[int, ...]:
    """Samples per class, as a file has them.

    Raises:
        InputError: not positive integers.

    Example:
        >>> integer_counts(np.array([3, 2]))
        (3, 2)
    """
    if saved.dtype.kind not in "iu" or saved.ndim != 1 or saved.min(initial=1) < 1:
        got = f"{saved.dtype} of shape {saved.shape}"
        raise InputError("Need positive integer 'counts', one per class", got, "fix them")
    return tuple(int(count) for count in saved)


def _require_logits(made: NetworkArrays, logits: NDArray[Any]) -> None:
    """Refuse features that are not what goes into the last layer."""
    W, d = made.classifier, made.features.shape[-1]
    if W is None or W.ndim != 2 or W.shape[1] != d or logits.shape != (len(made.labels), len(W)):
        return  # whoever measures says what does not fit
    block, _ = next(made.batches())
    part = block[:CHECKED_ROWS].astype(np.float64)
    known = logits[: len(part)].astype(np.float64)
    made_here = part @ W.astype(np.float64).T
    if made.bias is not None and made.bias.shape == (len(W),):
        made_here = made_here + made.bias.astype(np.float64)
    apart = float(np.max(np.abs(made_here - known)) / max(np.max(np.abs(known)), 1e-30))
    if not apart <= MOST_APART:
        rule = "Need logits that are W h + b of these features"
        remedy = "save what goes into the last layer, in evaluation mode, and its weight and bias"
        raise InputError(rule, f"logits that differ by {100 * apart:.3g} % of their size", remedy)
