"""Images that a network was not trained on: other data sets, noise, and scrambled images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import numpy as np

from experiments.networks.data import Dataset, Split, load
from experiments.networks.data.changes import standardise, subset
from ufm.errors import InputError

NOISE, SCRAMBLED = "noise", "scrambled"
# Enough for two digits of an AUROC, few enough to embed at once.
MOST = 2000


@dataclass(frozen=True, eq=False)
class OtherSet:
    """Images on which a trained network is probed.

    Attributes:
        name: for tables.
        images: standardised as the network's own are, (M, height, width, channels).
        labelled: train and test splits for a linear probe; None where there are no labels.
    """

    name: str
    images: np.ndarray
    labelled: Dataset | None = None


def other_sets(own: Dataset, names: tuple[str, ...] = (), seed: int = 0) -> tuple[OtherSet, ...]:
    """Two sets made of the own test images, and data sets by name, fitted to the own image shape.

    noise: independent normal pixels, each with the mean and standard deviation of that pixel.
    scrambled: the own test images under one random permutation of their pixels, which keeps every
    image's histogram. A named set is resized (linear, with antialiasing), its channels are averaged
    or repeated, and it is standardised as the own images are.

    Args:
        own: standardised.
        names: as ``load`` takes them.
        seed: of noise and permutation.

    Raises:
        InputError: a set that cannot be loaded, or one that is the own.

    Example:
        >>> own = standardise(load("digits"))
        >>> [(other.name, other.images.shape[1:]) for other in other_sets(own)]
        [('noise', (8, 8, 1)), ('scrambled', (8, 8, 1))]
    """
    rng = np.random.default_rng(seed)
    images = own.test.images[:MOST]
    flat = images.reshape(len(images), -1)
    drawn = rng.standard_normal(flat.shape) * flat.std(axis=0) + flat.mean(axis=0)
    mixed = flat[:, rng.permutation(flat.shape[1])]
    made = [
        OtherSet(name, np.asarray(values, np.float32).reshape(images.shape))
        for name, values in ((NOISE, drawn), (SCRAMBLED, mixed))
    ]
    return (*made, *(_named(own, name) for name in names))


def _named(own: Dataset, name: str) -> OtherSet:
    other = load(name)
    if other.name == own.name:
        remedy = "name another one"
        raise InputError("Need a data set other than the one trained on", name, remedy)
    most = max(1, MOST // other.num_classes)
    counts = [int(s.counts(other.num_classes).min()) for s in (other.train, other.test)]
    other = subset(other, *(min(most, count) for count in counts))
    resized = replace(other, train=_fitted(own, other.train), test=_fitted(own, other.test))
    fitted = standardise(resized, own.standardised_by)
    return OtherSet(other.name, fitted.test.images, fitted)


def _fitted(own: Dataset, split: Split) -> Split:
    height, width, channels = own.image_shape
    images = np.asarray(split.images)
    if images.shape[-1] != channels:
        images = images.mean(axis=-1, keepdims=True).repeat(channels, axis=-1)
    shape = (len(images), height, width, channels)
    resized = np.asarray(jax.image.resize(images, shape, "linear", antialias=True))
    return Split(np.clip(resized, 0.0, 1.0), split.labels)
