"""One network in files, measured: in memory, or in one pass where its features are large."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def measured_file(
    paths: Sequence[Path], terms: Any, transposed: bool
) -> tuple[Any, tuple[str, ...]]:
    """The measurement of one network's files, and what was done to its arrays.

    Raises:
        InputError: files that cannot be read, or arrays that do not fit.
    """
    import numpy as np

    from experiments.network_files import read_network
    from experiments.networks.theory import measure as measured
    from experiments.networks.theory import measure_batches
    from ufm.errors import InputError

    arrays = read_network(paths, transposed)
    if arrays.classifier is None and (terms.lambda_W is not None or terms.fixed_classifier):
        rule = "Need a classifier to use lambda_W, or to hold it fixed"
        names = ", ".join(str(path) for path in paths)
        raise InputError(rule, f"{names} without one", "save W (K, d) as classifier")
    head = arrays.classifier, arrays.bias, terms
    if isinstance(arrays.features, np.ndarray):
        return measured(arrays.features, arrays.labels, *head), arrays.notes
    made = measure_batches(arrays.batches(), *head, counts=np.bincount(arrays.labels))
    note = "in one pass: what compares samples with the final class means is left out"
    return made, (*arrays.notes, note)
