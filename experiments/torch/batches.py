"""Features as they go into a layer, caught by a hook while a loader passes through the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.network_files import class_numbers
from ufm.collapse.inputs import on_host
from ufm.errors import InputError

LABELS = ("labels", "label", "targets", "target", "y")
# How a batch is passed through the model, and its labels; None: see ``passed``.
Forward = Callable[[Any, Any], Any]


def head_of(model: Any, head: Any = None) -> Any:
    """The last layer: a module, the name of one, or by default the last that is linear.

    Raises:
        InputError: no such module, or one without a weight (K, d).
    """
    if isinstance(head, str):
        modules = dict(model.named_modules())
        if head not in modules:
            from experiments.nearest import unknown

            raise unknown(head, [name for name in modules if name], "module")
        head = modules[head]
    if head is None:
        linear = [module for module in model.modules() if type(module).__name__ == "Linear"]
        if not linear:
            remedy = "name the last layer: head=model.fc"
            raise InputError("Need a linear last layer", type(model).__name__, remedy)
        head = linear[-1]
    weight = getattr(head, "weight", None)
    if weight is None or weight.ndim < 2:
        remedy = "give the module whose weight (K, d) makes logits of features"
        raise InputError("Need a head with a weight (K, d)", type(head).__name__, remedy)
    return head


def classifier_of(head: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """W (K, d) and b (K,) of a layer; (K, d, 1, 1) of a convolution is the same."""
    W = np.array(on_host(head.weight))
    bias = getattr(head, "bias", None)
    return W.reshape(W.shape[:2]), None if bias is None else np.array(on_host(bias))


def feature_batches(
    model: Any, head: Any, loader: Iterable[Any], forward: Forward | None = None
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Features (B, d) and labels (B,) of every batch, in evaluation mode and without gradients.

    The model is left as it was: no hook stays, and every module is in the mode it was in.

    Args:
        model: a ``torch.nn.Module``.
        head: its last layer.
        loader: yields (inputs, labels), or mappings with labels among them.
        forward: (model, batch) -> labels, after it called the model; by default ``passed``.

    Raises:
        InputError: a head that is not called once a batch, or features that are no vectors.
    """
    import torch

    caught: list[Any] = []
    modes = [(module, module.training) for module in model.modules()]
    hook = head.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0].detach()))
    try:
        model.eval()
        with torch.no_grad():
            for batch in loader:
                caught.clear()
                labels = (forward or passed)(model, batch)
                if len(caught) != 1:
                    got = f"{len(caught)} calls of {type(head).__name__} for one batch"
                    remedy = "give the layer that makes the logits as head"
                    raise InputError("Need a head that every batch goes through once", got, remedy)
                yield _vectors(caught[0]), _numbers(labels)
    finally:
        hook.remove()
        for module, mode in modes:
            module.training = mode


def passed(model: Any, batch: Any) -> Any:
    """Call the model on a batch, and return the labels.

    Raises:
        InputError: a batch of another form.
    """
    parameter = next(iter(model.parameters()), None)

    def moved(value: Any) -> Any:
        return (
            value.to(parameter.device) if parameter is not None and hasattr(value, "to") else value
        )

    if isinstance(batch, Mapping):
        name = next((name for name in LABELS if name in batch), None)
        if name is not None:
            model(**{key: moved(value) for key, value in batch.items() if key != name})
            return batch[name]
    elif isinstance(batch, list | tuple) and len(batch) >= 2:
        model(moved(batch[0]))
        return batch[1]
    remedy = "give forward=lambda model, batch: ..., which calls the model and returns labels"
    raise InputError(
        "Need batches (inputs, labels), or mappings with labels", type(batch).__name__, remedy
    )


def _vectors(tensor: Any) -> NDArray[Any]:
    features = on_host(tensor)
    if features.ndim > 2 and all(length == 1 for length in features.shape[2:]):
        features = features.reshape(features.shape[:2])
    if features.ndim != 2:
        remedy = "give the layer behind pooling or flattening, or take one position of a sequence"
        raise InputError("Need features (B, d) at the head", f"shape {features.shape}", remedy)
    return features


def _numbers(labels: Any) -> NDArray[Any]:
    """Labels (B,): integers as they are, one-hot rows as their places."""
    held = on_host(labels)
    if held.ndim == 2:
        found = class_numbers(held)
        if found.ndim != 1:
            remedy = "measure on the plain training set, without mixup or soft targets"
            raise InputError("Need one class per sample", f"labels {held.shape}", remedy)
        return found
    return held


def collect(
    model: Any, head: Any, loader: Iterable[Any], forward: Forward | None = None
) -> dict[str, NDArray[Any]]:
    """Everything that ``ufm measure`` reads, as arrays to be saved in any format.

    Args:
        model: a ``torch.nn.Module``.
        head: its last layer, by name or itself; None for the last linear one.
        loader: of the training set.
        forward: see ``feature_batches``.

    Returns:
        features (N, d), labels (N,), classifier (K, d), and bias (K,) where there is one.

    Raises:
        InputError: as ``feature_batches``, or no batch.
    """
    layer = head_of(model, head)
    parts = list(feature_batches(model, layer, loader, forward))
    if not parts:
        raise InputError("Need at least one batch", "an empty loader", "pass the training set")
    features, labels = (np.concatenate(x) for x in zip(*parts, strict=True))
    W, b = classifier_of(layer)
    found = {"features": features, "labels": labels, "classifier": W}
    return found if b is None else {**found, "bias": b}
