"""Features, logits and labels as a caller passes them, checked and in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ufm.collapse.inputs import read_labels, real_array, require_finite
from ufm.errors import InputError
from ufm.typing import Array

Labels = npt.NDArray[np.intp]


def matrix(values: npt.ArrayLike, name: str) -> Array:
    """``values`` (N, m) in float64, with N, m >= 1 and finite entries.

    Raises:
        InputError: not so.

    Example:
        >>> matrix([[1, 2]], "features").dtype
        dtype('float64')
    """
    array = real_array(values, name, 2)
    if 0 in array.shape:
        raise InputError(
            f"Need {name} with no axis of length 0", f"shape {array.shape}", "add some"
        )
    require_finite(array, name)
    return array.astype(np.float64)


def vector(values: npt.ArrayLike, name: str) -> Array:
    """``values`` (N,) in float64, with N >= 1 and finite entries.

    Raises:
        InputError: not so.

    Example:
        >>> vector([1, 2], "scores").tolist()
        [1.0, 2.0]
    """
    array = real_array(values, name, 1)
    if not array.size:
        raise InputError(f"Need at least one of {name}", "none", "pass samples")
    require_finite(array, name)
    return array.astype(np.float64)


def with_labels(values: npt.ArrayLike, name: str, labels: npt.ArrayLike) -> tuple[Array, Labels]:
    """``matrix`` and labels (N,), one per row.

    Raises:
        InputError: not so.

    Example:
        >>> with_labels([[1.0], [2.0]], "features", [0, 1])[1].tolist()
        [0, 1]
    """
    made = matrix(values, name)
    return made, read_labels(labels, len(made))


def logits_and_labels(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Array, Labels]:
    """Logits (N, K) with K >= 2 and labels (N,) in 0..K-1.

    Raises:
        InputError: not so.

    Example:
        >>> logits_and_labels([[1.0, 2.0]], [2])
        Traceback (most recent call last):
        ufm.errors.InputError: Need labels in 0..1 for logits of 2 classes. Got label 2. Remedy: \
pass the logits of all classes.
    """
    z, y = with_labels(logits, "logits", labels)
    num_classes = z.shape[1]
    if num_classes < 2:
        raise InputError("Need logits of K >= 2 classes", num_classes, "pass shape (N, K)")
    if y.max() >= num_classes:
        rule = f"Need labels in 0..{num_classes - 1} for logits of {num_classes} classes"
        raise InputError(rule, f"label {y.max()}", "pass the logits of all classes")
    return z, y


def same_samples(one: Array, other: Array) -> None:
    """Raise InputError unless both have equally many rows."""
    if len(one) != len(other):
        got = f"{len(one)} and {len(other)}"
        raise InputError(
            "Need the same samples in both", got, "pass equally many rows in one order"
        )
