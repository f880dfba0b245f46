"""Stacks of models and points: the same pytree, with a leading axis on every leaf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ufm.errors import InputError


def stack(trees: Sequence[Any]) -> Any:
    """Models, or points, of one shape as a single pytree with a leading axis.

    Raises:
        InputError: no trees, or trees of different shapes.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> models = [UFM(CrossEntropy(), 3, 2, lambda_W=x, lambda_H=x) for x in (0.1, 0.2)]
        >>> stack(models).lambda_W.tolist()
        [0.1, 0.2]
    """
    kinds = {
        (jax.tree.structure(tree), tuple(np.shape(leaf) for leaf in jax.tree.leaves(tree)))
        for tree in trees
    }
    if len(kinds) != 1:
        rule = "A stack needs models of one shape, one loss and one bias setting"
        raise InputError(rule, f"{len(kinds)} kinds", "group them by shape first")
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def stacked_size(tree: Any) -> int:
    """Length of the leading axis.

    Example:
        >>> stacked_size({"a": np.zeros((4, 2))})
        4
    """
    return int(np.shape(jax.tree.leaves(tree)[0])[0])
