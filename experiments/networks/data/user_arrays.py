"""A user's own arrays as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.arrays import read_arrays
from experiments.network_files import class_numbers
from experiments.networks.data.record import Dataset, Split, frozen
from experiments.networks.data.stratify import folded
from ufm.errors import InputError

ENDING = ".npz"
# Every fifth sample of a class is for the test where no test split is given, as in digits.
FOLDS = 5
# Names of classes that the history of a set has room for.
MOST_NAMED = 10


def is_own(source: str) -> bool:
    """Whether the name of a data set is a file of one's own.

    Example:
        >>> is_own("points.npz"), is_own("idx:folder")
        (True, False)
    """
    return source.endswith(ENDING)


def read_own(path: Path) -> Dataset:
    """The data set in an .npz file with arrays X and y, and X_test and y_test if there are.

    Raises:
        InputError: as ``read_arrays`` and ``from_arrays``.
    """
    arrays = read_arrays(path, ("X", "y"), ("X_test", "y_test"))
    return from_arrays(*map(arrays.get, ("X", "y", "X_test", "y_test")), name=path.name)


def from_arrays(
    X: Any, y: Any, X_test: Any = None, y_test: Any = None, *, name: str = "own"
) -> Dataset:
    """A data set of arrays: images, grey or with channels, or flat rows.

    A row of p numbers is an image of 1 x p x 1. Numbers outside [0, 1] are mapped there, all by one
    affine map; columns of different units are for the user to scale. Labels of any integers or
    texts become 0..K-1 in sorted order. Without a test split every fifth sample of a class is for
    the test.

    Args:
        X: (N, p), (N, height, width) or (N, height, width, channels).
        y: (N,).
        X_test: of the shape of X but for its length.
        y_test: its labels, each with a sample in y.
        name: of the set, for tables.

    Raises:
        InputError: arrays not so, numbers that are not finite, or fewer than two classes.

    Example:
        >>> data = from_arrays(np.eye(10), ["cat", "dog"] * 5)
        >>> data.image_shape, data.counts.tolist(), data.history[0]
        ((1, 10, 1), [4, 4], 'classes cat, dog')
    """
    if (X_test is None) != (y_test is None):
        got = "X_test alone" if y_test is None else "y_test alone"
        raise InputError(f"Need X_test and y_test of {name}, or neither", got, "add the other")
    parts = [("X", "y", X, y)] + ([] if X_test is None else [("X_test", "y_test", X_test, y_test)])
    images, labels = [], []
    for place, beside, values, told in parts:
        images.append(_images(values, place, name))
        given = np.asarray(told)
        given = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
        if given.shape != (len(images[-1]),):
            rule = f"Need one label in {beside} for every row of {place} in {name}"
            got = f"{beside} of shape {given.shape} and {place} of {np.shape(values)}"
            raise InputError(rule, got, "drop what has no partner")
        labels.append(given)
    if images[0].shape[1:] != images[-1].shape[1:]:
        got = f"{np.shape(X)} and {np.shape(X_test)}"
        raise InputError(f"Need X and X_test of {name} of one shape", got, "reshape one of them")
    numbers, classes = _numbered(labels, name)
    history = [f"classes {_listed(classes)}"]
    splits = [Split(*pair) for pair in zip(_scaled(images, history), numbers, strict=True)]
    train, test = splits[0], splits[-1]
    if X_test is None:
        lonely = np.flatnonzero(np.bincount(train.labels) < 2)
        if lonely.size:
            rule = f"Need two samples or more of every class of {name}: one is for the test"
            remedy = "add samples, or give X_test and y_test"
            raise InputError(rule, f"one of {_listed(classes[lonely])}", remedy)
        rows, held_out = folded(train.labels, FOLDS, 0)
        train, test = train.take(rows), train.take(held_out)
        history.append(f"every {FOLDS}th sample of a class for the test")
    return Dataset(name, len(classes), train, test, history=tuple(history))


def _images(values: Any, place: str, name: str) -> NDArray[Any]:
    """(N, height, width, channels), float64 and finite."""
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        got = f"type {array.dtype}"
        raise InputError(f"Need real numbers in {place} of {name}", got, "cast them to float32")
    if not 2 <= array.ndim <= 4 or 0 in array.shape:
        rule = (
            f"Need {place} of {name} as (N, p), (N, height, width) or (N, height, width, channels)"
        )
        raise InputError(rule, f"shape {array.shape}", "reshape it, one sample a row")
    if not np.all(np.isfinite(array)):
        wrong = int(np.count_nonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1)))
        got = f"NaN or infinity in {wrong} of {len(array)} rows"
        raise InputError(f"Need finite numbers in {place} of {name}", got, "drop or mend them")
    shape = {2: (1, *array.shape[1:], 1), 3: (*array.shape[1:], 1)}.get(array.ndim, array.shape[1:])
    return array.reshape(len(array), *shape).astype(np.float64)


def _numbered(labels: list[NDArray[Any]], name: str) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Labels as 0..K-1 of every split, and the classes."""
    together = np.concatenate(labels)
    classes = np.unique(labels[0])
    if len(classes) < 2:
        got = f"only {classes[0]}" if len(classes) else "none"
        raise InputError(f"Need labels of two classes or more in y of {name}", got, "add samples")
    numbers = class_numbers(together)
    if numbers.dtype.kind not in "iu":
        got = f"type {together.dtype}"
        raise InputError(f"Need labels of {name} that are integers or texts", got, "number them")
    new = [value for value in np.unique(labels[-1]) if value not in classes]
    if new:
        rule = f"Need a sample in y of {name} of every label in y_test"
        raise InputError(rule, f"none of {_listed(new)}", "drop its test samples, or add some to y")
    split = np.split(numbers.astype(np.int32), [len(labels[0])])
    return [frozen(part.copy()) for part in split[: len(labels)]], classes


def _listed(classes: Any) -> str:
    shown = ", ".join(map(str, classes[:MOST_NAMED]))
    return shown + (", ..." if len(classes) > MOST_NAMED else "")


def _scaled(images: list[NDArray[Any]], history: list[str]) -> list[NDArray[np.float32]]:
    """Numbers in [0, 1], float32, all splits by one map, of which the history is told."""
    low, high = min(x.min() for x in images), max(x.max() for x in images)
    if low < 0 or high > 1:
        history.append(f"numbers from {low:g} to {high:g} mapped to 0 to 1")
        span = (high - low) or 1.0
        # Rounding to float32 must not leave the interval.
        images = [np.clip((x - low) / span, 0, 1) for x in images]
    return [frozen(x.astype(np.float32)) for x in images]
