"""One network in files, measured: in memory, or in one pass where its features are large."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.errors import input_error


def measured_file(
    paths: Sequence[Path],
    terms: Any,
    transposed: bool,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Any, tuple[str, ...]]:
    """The measurement of one network's files, and what was done to its arrays.

    Args:
        paths: of one network.
        terms: of its training.
        transposed: whether features are stored as (d, N).
        say: hears how far a pass over large features is.

    Raises:
        InputError: files that cannot be read, or arrays that do not fit.
    """
    import numpy as np

    from experiments.network_files import read_network
    from experiments.networks.theory import measure as measured
    from experiments.networks.theory import measure_batches

    arrays = read_network(paths, transposed)
    if arrays.classifier is None and (terms.lambda_W is not None or terms.fixed_classifier):
        rule = "Need a classifier to use lambda_W, or to hold it fixed"
        names = ", ".join(str(path) for path in paths)
        raise input_error(rule, f"{names} without one", "save W (K, d) as classifier")
    head = arrays.classifier, arrays.bias, terms
    if isinstance(arrays.features, np.ndarray):
        return measured(arrays.features, arrays.labels, *head), arrays.notes
    batches = counted(arrays.batches(), len(arrays.labels), say)
    made = measure_batches(batches, *head, counts=np.bincount(arrays.labels))
    note = "in one pass: what compares samples with the final class means is left out"
    return made, (*arrays.notes, note)


def counted(
    batches: Iterable[tuple[Any, Any]], total: int, say: Callable[[str], None]
) -> Iterator[tuple[Any, Any]]:
    """The batches, while ``say`` hears how many samples are done and how long the rest will take.

    Example:
        >>> heard = []
        >>> _ = list(counted([([0], [0]), ([1, 2], [0, 1])], 3, heard.append))
        >>> [text.partition(",")[0] for text in heard]
        ['1 of 3 samples', '3 of 3 samples']
    """
    done, started = 0, time.monotonic()
    for features, labels in batches:
        yield features, labels
        done += len(labels)
        left = (time.monotonic() - started) * (total - done) / done
        say(f"{done:,} of {total:,} samples, {left / 60:.1f} minutes left")
