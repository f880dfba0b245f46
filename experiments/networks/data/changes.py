"""Other data sets from a data set: fewer samples, other classes, wrong labels, scaled images.

Every function is pure. The test split stays whole, and its labels clean, unless said otherwise.
A random change takes a seed and gives the same samples for it always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from experiments.networks.data.record import Dataset, Images, Split, Standardisation, frozen
from experiments.networks.data.stratify import first_of_each, permutation, places, raw_draws
from ufm.errors import InputError, require_count

# Truck to automobile, bird to airplane, deer to horse, cat and dog to each other.
# Source: Patrini et al. 2017, section 5.
CIFAR10_FLIPS: Mapping[int, int] = MappingProxyType({9: 1, 2: 0, 4: 7, 3: 5, 5: 3})

# Added before rounding down, so that 49 * 49**-1.0 is 1; far above the rounding of such products.
SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Relabelled:
    """A data set with other train labels.

    Attributes:
        dataset: with the new labels.
        original: train labels before, (N,) int32, read-only.
    """

    dataset: Dataset
    original: NDArray[np.int32]

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Which train labels differ from the original ones, (N,)."""
        return self.dataset.train.labels != self.original


def balanced(dataset: Dataset, seed: int | None = None) -> Dataset:
    """As many train samples of every class as the smallest has: the first ones, or random ones.

    Raises:
        InputError: a seed that is no integer >= 0.

    Example:
        >>> split = Split(np.zeros((5, 1, 1, 1)), [0, 1, 1, 0, 1])
        >>> balanced(Dataset("mine", 2, split, split)).train.labels.tolist()
        [0, 1, 1, 0]
    """
    wanted = np.full(dataset.num_classes, dataset.counts.min())
    return _with_counts(dataset, wanted, seed, "balanced")


def subset(
    dataset: Dataset, per_class: int, test_per_class: int | None = None, seed: int | None = None
) -> Dataset:
    """``per_class`` train samples of every class, and ``test_per_class`` test samples if given.

    Raises:
        InputError: a number that is no integer >= 1, or a class with fewer samples.

    Example:
        >>> split = Split(np.zeros((5, 1, 1, 1)), [0, 1, 1, 0, 1])
        >>> made = subset(Dataset("mine", 2, split, split), 2, test_per_class=1)
        >>> made.counts.tolist(), made.test.num_samples
        ([2, 2], 2)
    """
    per_class = require_count(per_class, "samples per class", 1, "keep at least one")
    what = f"{per_class} per class"
    if test_per_class is not None:
        remedy = "keep at least one, or leave it out to keep all"
        kept = require_count(test_per_class, "test samples per class", 1, remedy)
        wanted = np.full(dataset.num_classes, kept)
        rows = first_of_each(dataset.test.labels, wanted, seed)
        dataset = replace(dataset, test=dataset.test.take(rows))
        what += f" and {kept} in the test"
    return _with_counts(dataset, np.full(dataset.num_classes, per_class), seed, what)


def step_imbalance(
    dataset: Dataset, ratio: float, num_minority: int, seed: int | None = None
) -> Dataset:
    """The last ``num_minority`` classes have 1/ratio times the samples of the others.

    n_k = n for the first classes and floor(n/ratio) for the others, where n is the size of the
    smallest class, so that the majority is balanced.

    Source: Fang et al. 2021 (minority collapse), section on imbalanced training.

    Args:
        dataset: loaded or changed already.
        ratio: n / minority size, >= 1.
        num_minority: 1 <= num_minority < K.
        seed: keep random samples; the first of each class without it.

    Raises:
        InputError: arguments out of range, or a ratio above the size of the smallest class.

    Example:
        >>> split = Split(np.zeros((8, 1, 1, 1)), [0, 1, 0, 1, 0, 1, 0, 1])
        >>> step_imbalance(Dataset("mine", 2, split, split), ratio=2, num_minority=1).counts
        array([4, 2])
    """
    remedy = "leave at least one class in the minority and one in the majority"
    number = require_count(num_minority, "number of minority classes", 1, remedy)
    if number >= dataset.num_classes:
        rule = f"Need fewer minority classes than the {dataset.num_classes} classes"
        raise InputError(rule, number, remedy)
    shares = np.ones(dataset.num_classes)
    shares[-number:] = 1 / _ratio(ratio, dataset)
    what = f"step imbalance {ratio:g} of {number} classes"
    return _with_counts(dataset, _floor(dataset, shares), seed, what)


def long_tail(dataset: Dataset, ratio: float, seed: int | None = None) -> Dataset:
    """Exponentially falling class sizes, n_k = floor(n ratio^(-k/(K-1))), n the smallest class.

    Source: Cui et al. 2019; CIFAR-10 with ratio 100 has 5000, 2997, ..., 50 samples.

    Args:
        dataset: loaded or changed already.
        ratio: largest over smallest class, >= 1.
        seed: keep random samples; the first of each class without it.

    Raises:
        InputError: a ratio below 1 or above the size of the smallest class.

    Example:
        >>> split = Split(np.zeros((12, 1, 1, 1)), [0, 1, 2] * 4)
        >>> long_tail(Dataset("mine", 3, split, split), ratio=4).counts
        array([4, 2, 1])
    """
    exponents = np.arange(dataset.num_classes) / (dataset.num_classes - 1)
    shares = _ratio(ratio, dataset) ** -exponents
    return _with_counts(dataset, _floor(dataset, shares), seed, f"long tail {ratio:g}")


def symmetric_noise(
    dataset: Dataset, rate: float, seed: int, include_own: bool = False
) -> Relabelled:
    """Exactly round(rate N) random train samples get a uniformly random label.

    Args:
        dataset: loaded or changed already.
        rate: share of the samples, 0 <= rate <= 1.
        seed: of the choice and of the labels.
        include_own: draw among all K classes, so that about one chosen sample of K keeps its label
            (the convention of much published code), instead of among the K - 1 others.

    Raises:
        InputError: a rate outside [0, 1], a bad seed, or a class that is left empty.

    Example:
        >>> split = Split(np.zeros((6, 1, 1, 1)), [0, 1, 2, 0, 1, 2])
        >>> made = symmetric_noise(Dataset("mine", 3, split, split), rate=0.5, seed=0)
        >>> int(made.changed.sum())
        3
    """
    labels, num_classes = dataset.train.labels, dataset.num_classes
    chosen = permutation(labels.size, seed)[: round(_rate(rate) * labels.size)]
    # The first N draws have ordered the samples.
    draws = raw_draws(labels.size + chosen.size, seed)[labels.size :]
    noisy = labels.copy()
    if include_own:
        noisy[chosen] = draws % np.uint64(num_classes)
    else:
        step = 1 + (draws % np.uint64(num_classes - 1)).astype(np.int32)
        noisy[chosen] = (labels[chosen] + step) % num_classes
    own = ", own label included" if include_own else ""
    return _relabelled(dataset, noisy, f"symmetric noise {rate:g}, seed {seed}{own}")


def asymmetric_noise(
    dataset: Dataset, rate: float, seed: int, flips: Mapping[int, int] | None = None
) -> Relabelled:
    """Exactly round(rate n_k) random train samples of class k get the label flips[k].

    Source: Patrini et al. 2017, whose flips for CIFAR-10 are ``CIFAR10_FLIPS``.

    Args:
        dataset: loaded or changed already.
        rate: share of every class that is flipped, 0 <= rate <= 1.
        seed: of the choice.
        flips: class -> class; the others keep their labels. Without it k -> k + 1 mod K.

    Raises:
        InputError: a rate outside [0, 1], a bad seed, a flip of or to a class that is not there or
            to itself, or a class that is left empty.

    Example:
        >>> split = Split(np.zeros((6, 1, 1, 1)), [0, 0, 1, 1, 2, 2])
        >>> made = asymmetric_noise(Dataset("mine", 3, split, split), 0.5, 0, flips={2: 0})
        >>> made.dataset.counts.tolist()
        [3, 2, 1]
    """
    num_classes, labels = dataset.num_classes, dataset.train.labels
    if flips is None:
        flips = {k: (k + 1) % num_classes for k in range(num_classes)}
    target = np.arange(num_classes, dtype=np.int32)
    for source, goal in flips.items():
        if not (0 <= source < num_classes and 0 <= goal < num_classes and source != goal):
            rule = f"Need flips between different classes in 0..{num_classes - 1}"
            raise InputError(rule, f"{source} -> {goal}", "drop this flip")
        target[source] = goal
    per_class = np.rint(_rate(rate) * dataset.counts).astype(np.intp)
    chosen = places(labels, seed) < per_class[labels]
    noisy = np.where(chosen, target[labels], labels)
    return _relabelled(dataset, noisy, f"asymmetric noise {rate:g}, seed {seed}")


def random_labels(dataset: Dataset, seed: int, keep_counts: bool = True) -> Relabelled:
    """Train labels that know nothing of the images.

    Source: Zhang et al. 2017, who draw every label uniformly.

    Args:
        dataset: loaded or changed already.
        seed: of the labels.
        keep_counts: permute the labels, so that class sizes stay; else draw each one uniformly.

    Raises:
        InputError: a bad seed, or a class that is left empty.

    Example:
        >>> split = Split(np.zeros((6, 1, 1, 1)), [0, 0, 0, 1, 1, 2])
        >>> random_labels(Dataset("mine", 3, split, split), seed=0).dataset.counts.tolist()
        [3, 2, 1]
    """
    labels = dataset.train.labels
    if keep_counts:
        return _relabelled(
            dataset, labels[permutation(labels.size, seed)], f"permuted labels, seed {seed}"
        )
    drawn = raw_draws(labels.size, seed) % np.uint64(dataset.num_classes)
    return _relabelled(dataset, drawn.astype(np.int32), f"uniform labels, seed {seed}")


def choose_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """The samples of some classes, in both splits; ``classes[i]`` becomes class i.

    Raises:
        InputError: fewer than two classes, one that is not there or is named twice, or no test
            sample of any of them.

    Example:
        >>> split = Split(np.zeros((4, 1, 1, 1)), [0, 1, 2, 2])
        >>> choose_classes(Dataset("mine", 3, split, split), [2, 0]).train.labels.tolist()
        [1, 0, 0]
    """
    chosen = [require_count(k, "class", 0, "count classes from 0") for k in classes]
    if len(chosen) < 2 or len(set(chosen)) < len(chosen) or max(chosen) >= dataset.num_classes:
        rule = f"Need two or more different classes in 0..{dataset.num_classes - 1}"
        raise InputError(rule, chosen, "name every class once")
    new_label = np.full(dataset.num_classes, -1, np.int32)
    new_label[chosen] = np.arange(len(chosen), dtype=np.int32)
    splits = {}
    for which, split in (("train", dataset.train), ("test", dataset.test)):
        labels = new_label[split.labels]
        rows = np.flatnonzero(labels >= 0)
        if not rows.size:
            rule = f"Need a {which} sample of one of the chosen classes"
            raise InputError(rule, f"none of classes {chosen}", "choose other classes")
        splits[which] = Split(frozen(split.images[rows]), frozen(labels[rows]))
    what = f"classes {' '.join(map(str, chosen))}"
    return dataset.changed(what, num_classes=len(chosen), **splits)


def standardise(dataset: Dataset, scaling: Standardisation | None = None) -> Dataset:
    """Both splits with every channel x -> (x - mean)/std, mean and std of the train split alone.

    Args:
        dataset: loaded or changed already.
        scaling: that of another data set, for images that a network trained there shall see.

    Raises:
        InputError: it is standardised already, a channel is constant, or ``scaling`` is of images
            with another number of channels.

    Example:
        >>> split = Split(np.array([0.0, 1.0]).reshape(2, 1, 1, 1), [0, 1])
        >>> standardise(Dataset("mine", 2, split, split)).test.images.ravel().tolist()
        [-1.0, 1.0]
    """
    if dataset.standardised_by is not None:
        remedy = "use it as it is, or standardise the set that it was made of"
        raise InputError("Need images that are not standardised yet", dataset.title, remedy)
    by = Standardisation.of(dataset.train) if scaling is None else scaling

    def scaled(split: Split) -> Split:
        images: Images = frozen(by.apply(split.images))
        return Split(images, split.labels)

    splits = {"train": scaled(dataset.train), "test": scaled(dataset.test)}
    what = "standardised" if scaling is None else "standardised as another set"
    return dataset.changed(what, standardised_by=by, **splits)


def _with_counts(
    dataset: Dataset, wanted: NDArray[np.intp], seed: int | None, what: str
) -> Dataset:
    rows = first_of_each(dataset.train.labels, wanted, seed)
    if seed is not None:
        what += f", seed {seed}"
    return dataset.changed(what, train=dataset.train.take(rows))


def _relabelled(dataset: Dataset, labels: NDArray[np.int32], what: str) -> Relabelled:
    train = Split(dataset.train.images, frozen(labels))
    return Relabelled(dataset.changed(what, train=train), dataset.train.labels)


def _rate(rate: float) -> float:
    if not 0 <= rate <= 1:
        raise InputError("Need a noise rate in [0, 1]", rate, "give the share of wrong labels")
    return float(rate)


def _ratio(ratio: float, dataset: Dataset) -> float:
    largest = int(dataset.counts.min())
    if not 1 <= ratio <= largest:
        rule = f"Need an imbalance ratio in 1..{largest}, the size of the smallest class"
        raise InputError(rule, ratio, "give largest over smallest class size")
    return float(ratio)


def _floor(dataset: Dataset, shares: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.floor(dataset.counts.min() * shares + SLACK).astype(np.intp)
