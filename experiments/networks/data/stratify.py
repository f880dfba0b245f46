"""Which samples of each class: every fold-th one, the first ones, or ones drawn with a seed.

Random choices read the raw 64-bit output of PCG64, the only stream that NumPy promises to keep, so
a seed means the same samples with every version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ufm.errors import InputError, require_count

Rows = NDArray[np.intp]


def raw_draws(num: int, seed: int) -> NDArray[np.uint64]:
    """``num`` independent 64-bit integers.

    Raises:
        InputError: ``seed`` is no integer >= 0.

    Example:
        >>> bool((raw_draws(5, seed=0) == raw_draws(7, seed=0)[:5]).all())
        True
    """
    seed = require_count(seed, "seed", 0, "count seeds from 0")
    return np.random.PCG64(seed).random_raw(num)


def permutation(num: int, seed: int) -> Rows:
    """0..num-1 in random order: sorted by independent 64-bit keys.

    Example:
        >>> sorted(permutation(4, seed=1).tolist())
        [0, 1, 2, 3]
    """
    return np.argsort(raw_draws(num, seed), kind="stable")


def folded(labels: NDArray[np.integer], folds: int, fold: int) -> tuple[Rows, Rows]:
    """Rows to train on and rows held out, stratified without chance.

    The j-th sample of a class, counted from 0 in the given order, is held out if
    j mod ``folds`` = ``fold``. The held-out sets of all folds partition the samples, and class k
    has floor or ceil of n_k/folds samples in each.

    Args:
        labels: (N,).
        folds: >= 2.
        fold: 0 <= fold < folds.

    Returns:
        Both ascending.

    Raises:
        InputError: folds < 2, no such fold, or nothing would be held out.

    Example:
        >>> train, held_out = folded(np.array([0, 0, 1, 1, 1, 0]), folds=3, fold=2)
        >>> train.tolist(), held_out.tolist()
        ([0, 1, 2, 3], [4, 5])
    """
    folds = require_count(folds, "folds", 2, "hold out one sample of two at most")
    fold = require_count(fold, "fold", 0, "count folds from 0")
    if fold >= folds:
        raise InputError(f"Need a fold in 0..{folds - 1}", fold, "count folds from 0")
    held_out = places(labels) % folds == fold
    if not held_out.any():
        got = f"{folds} folds and at most {int(np.bincount(labels).max())} samples of a class"
        raise InputError("Need samples to hold out", got, "take fewer folds")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def places(labels: NDArray[np.integer], seed: int | None = None) -> Rows:
    """Place of every sample within its class, (N,): 0 for the first, and so on.

    Args:
        labels: (N,).
        seed: the order is as given without one, and random with one.

    Example:
        >>> places(np.array([7, 3, 7, 7])).tolist()
        [0, 0, 1, 2]
    """
    order = np.arange(labels.size) if seed is None else permutation(labels.size, seed)
    by_class = order[np.argsort(labels[order], kind="stable")]
    sizes = np.unique(labels, return_counts=True)[1]
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    found = np.empty(labels.size, np.intp)
    found[by_class] = np.arange(labels.size) - starts
    return found


def first_of_each(
    labels: NDArray[np.integer], wanted: Sequence[int] | NDArray[np.intp], seed: int | None = None
) -> Rows:
    """Ascending rows of ``wanted[k]`` samples of class k: the first ones, or random ones.

    Raises:
        InputError: a class has fewer samples than are wanted.

    Example:
        >>> first_of_each(np.array([1, 0, 0, 1, 1]), [1, 2]).tolist()
        [0, 1, 3]
    """
    target = np.asarray(wanted, np.intp)
    counts = np.bincount(labels, minlength=target.size)
    short = np.flatnonzero(counts < target)
    if short.size:
        k = int(short[0])
        rule = f"Need {target[k]} samples of class {k}"
        raise InputError(rule, f"{counts[k]} samples", f"ask for at most {counts[k]} of it")
    return np.flatnonzero(places(labels, seed) < target[labels])
