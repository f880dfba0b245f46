"""Labelled images: one split, a data set of two, and the scaling of the images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from experiments.files import fingerprint
from ufm.errors import InputError, require_count

Images = NDArray[np.float32]
Labels = NDArray[np.int32]

# Indices of samples and of classes are int32 on the device.
MOST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, as read-only arrays.

    An array that is read-only and has the right dtype already is kept, any other is copied.

    Attributes:
        images: (N, H, W, C) with N, H, W, C >= 1, float32, finite.
        labels: (N,), int32, >= 0.

    Raises:
        InputError: another number of axes, no sample, no pixel, numbers that are not real or not
            finite, labels that are no integers or negative, or not one label per image.

    Example:
        >>> split = Split(np.zeros((3, 8, 8, 1)), [0, 1, 1])
        >>> split.images.dtype, split.num_samples, split.counts(4).tolist()
        (dtype('float32'), 3, [1, 2, 0, 0])
    """

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", _images(self.images))
        object.__setattr__(self, "labels", _labels(self.labels, len(self.images)))

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.labels)

    def counts(self, num_classes: int) -> NDArray[np.intp]:
        """Samples per class, (num_classes,), for labels below ``num_classes``."""
        return np.bincount(self.labels, minlength=num_classes)

    def take(self, rows: NDArray[np.intp]) -> Split:
        """The samples ``rows`` (M,), in this order.

        Example:
            >>> Split(np.zeros((3, 2, 2, 1)), [4, 5, 6]).take(np.array([2, 0])).labels.tolist()
            [6, 4]
        """
        return Split(frozen(self.images[rows]), frozen(self.labels[rows]))


@dataclass(frozen=True)
class Standardisation:
    """x -> (x - mean_c)/std_c for every channel c, mean and std over samples and pixels.

    Attributes:
        mean, std: one number per channel, std > 0 with N in the denominator.

    Example:
        >>> scaling = Standardisation.of(Split(np.array([0.0, 1.0]).reshape(2, 1, 1, 1), [0, 1]))
        >>> scaling.mean, scaling.std
        ((0.5,), (0.5,))
        >>> scaling.apply(np.ones((1, 1, 1, 1), np.float32)).item()
        1.0
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def of(split: Split) -> Standardisation:
        """That of the images of one split, the train split as a rule; accumulated in float64.

        Raises:
            InputError: a channel is constant.
        """
        axes = (0, 1, 2)
        mean = split.images.mean(axis=axes, dtype=np.float64)
        std = split.images.std(axis=axes, dtype=np.float64)
        if not np.all(std > 0):
            channel = int(np.argmin(std))
            got = f"channel {channel}, where every pixel is {mean[channel]:g}"
            raise InputError("Need a channel that varies to standardise it", got, "leave it out")
        return Standardisation(tuple(mean.tolist()), tuple(std.tolist()))

    def apply(self, images: Images) -> Images:
        """Standardised images (N, H, W, C), float32.

        Raises:
            InputError: another number of channels.
        """
        if images.shape[-1:] != (len(self.mean),):
            rule = f"Need images with {len(self.mean)} channels"
            raise InputError(rule, f"shape {images.shape}", "use the scaling of the same images")
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        return np.asarray((images - mean) / std, np.float32)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test split of images with K classes.

    Attributes:
        name: of the source, as ``load`` knows it.
        num_classes: K >= 2; every class has a sample in the train split.
        train, test: of equal image shape; pixels in [0, 1] unless standardised.
        standardised_by: the scaling that the images have gone through, if any.
        history: what was changed since it was loaded, in order, in words.

    Raises:
        InputError: another number of classes, a label >= K, a class without a train sample, splits
            with images of two shapes, or pixels outside [0, 1] that nobody standardised.

    Example:
        >>> images = np.zeros((2, 8, 8, 1))
        >>> Dataset("mine", 3, Split(images, [0, 1]), Split(images, [0, 1]))
        Traceback (most recent call last):
        ufm.errors.InputError: Need a train sample of each of the 3 classes of mine. Got no sample \
of class 2. Remedy: add samples, or choose other classes.
    """

    name: str
    num_classes: int
    train: Split
    test: Split
    standardised_by: Standardisation | None = None
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        remedy = "give the number of different labels"
        require_count(self.num_classes, "number of classes", 2, remedy)
        for which, split in (("train", self.train), ("test", self.test)):
            self._require_good(which, split)
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            got = f"{self.train.images.shape[1:]} and {self.test.images.shape[1:]}"
            rule = f"Need train and test images of {self.name} of one shape (H, W, C)"
            raise InputError(rule, got, "resize or crop one of them")
        empty = np.flatnonzero(self.counts == 0)
        if empty.size:
            rule = f"Need a train sample of each of the {self.num_classes} classes of {self.name}"
            remedy = "add samples, or choose other classes"
            raise InputError(rule, f"no sample of class {empty[0]}", remedy)

    def _require_good(self, which: str, split: Split) -> None:
        largest = int(split.labels.max())
        if largest >= self.num_classes:
            rule = f"Need {which} labels of {self.name} in 0..{self.num_classes - 1}"
            raise InputError(rule, f"label {largest}", "relabel, or raise the number of classes")
        low, high = float(split.images.min()), float(split.images.max())
        if self.standardised_by is None and not 0 <= low <= high <= 1:
            rule = f"Need {which} pixels of {self.name} in [0, 1]"
            remedy = "divide by the largest value that a pixel can have, 255 as a rule"
            raise InputError(rule, f"pixels in [{low:g}, {high:g}]", remedy)

    @property
    def counts(self) -> NDArray[np.intp]:
        """Train samples per class, (K,)."""
        return self.train.counts(self.num_classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def title(self) -> str:
        """The name and the history, for tables and figures."""
        return ", ".join((self.name, *self.history))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any pixel, label or shape; a run is resumed on the same.

        Example:
            >>> images, other = np.zeros((2, 4, 2, 1)), np.zeros((2, 2, 4, 1))
            >>> one, two = (Split(x, [0, 1]) for x in (images, other))
            >>> Dataset("a", 2, one, one).fingerprint == Dataset("a", 2, two, two).fingerprint
            False
        """
        parts = [f"{self.num_classes}"]
        for split in (self.train, self.test):
            parts.append(f"{split.images.shape}")
            parts += [fingerprint(array.tobytes()) for array in (split.images, split.labels)]
        return fingerprint(" ".join(parts).encode())

    def changed(self, change: str, **fields: Any) -> Dataset:
        """This data set with other fields, and with ``change`` at the end of its history."""
        return replace(self, history=(*self.history, change), **fields)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, read-only from now on; for arrays that nobody else holds.

    Example:
        >>> frozen(np.zeros(2)).flags.writeable
        False
    """
    array.flags.writeable = False
    return array


def _images(values: ArrayLike) -> Images:
    array = _array(values, "images")
    if array.dtype.kind not in "buif":
        raise InputError("Need images of real numbers", f"dtype {array.dtype}", "cast them")
    if array.ndim != 4 or 0 in array.shape:
        rule = "Need images of shape (N, H, W, C) with no axis of length 0"
        remedy = "put channels last, and give grey images one channel: images[..., None]"
        raise InputError(rule, f"shape {array.shape}", remedy)
    made = _owned(array, np.float32)
    # The sum is finite only if every entry is; float64 holds any sum of float32 entries.
    if not np.isfinite(made.sum(dtype=np.float64)):
        remedy = "drop the damaged images, or scale them to [0, 1]"
        raise InputError("Need finite pixels", "a pixel that is NaN or too large", remedy)
    return made


def _labels(values: ArrayLike, num_samples: int) -> Labels:
    array = _array(values, "labels")
    if array.dtype.kind not in "ui":
        got = f"dtype {array.dtype}"
        raise InputError("Need integer labels 0..K-1", got, "use labels.astype(int)")
    if array.shape != (num_samples,):
        rule = f"Need one label per image, shape ({num_samples},)"
        raise InputError(rule, f"shape {array.shape}", "drop what has no partner")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > MOST:
        got = f"label {low if low < 0 else high}"
        raise InputError("Need labels in 0..K-1", got, "relabel the classes from 0")
    return _owned(array, np.int32)


def _array(values: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        rule = f"Need {name} as an array that NumPy can read"
        raise InputError(rule, type(values).__name__, "give all of them one shape") from error


def _owned(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    if array.dtype == dtype and not array.flags.writeable and array.flags.c_contiguous:
        return array
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return frozen(np.array(array, dtype=dtype, order="C"))
