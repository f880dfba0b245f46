"""What an optimiser and a loss of PyTorch mean in the lab's units (docs/conventions.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.networks.theory import Terms
from ufm.errors import InputError
from ufm.losses import BCE, MSE, CrossEntropy, LabelSmoothing, Loss

CROSS_ENTROPY = ("CrossEntropyLoss", "cross_entropy")
SQUARED = ("MSELoss", "mse_loss")
BINARY = ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits")


def loss_of(loss: Any, num_classes: int) -> tuple[Loss, float, str]:
    """The loss in the lab's units, the factor that it is times PyTorch's, and how that comes.

    Args:
        loss: a loss of ``ufm``, a module of ``torch.nn``, a function of ``torch.nn.functional``, or
            None for cross entropy.
        num_classes: K.

    Raises:
        InputError: another loss, one that adds up samples, or one with class weights.

    Example:
        >>> loss_of(None, 3)[0].name
        'ce'
    """
    if loss is None:
        return CrossEntropy(), 1.0, "loss: cross entropy (assumed)"
    if hasattr(loss, "properties") and hasattr(loss, "name"):
        return loss, 1.0, f"loss: {loss.name}, decays taken as in the lab's units"
    name = getattr(loss, "__name__", type(loss).__name__)
    if getattr(loss, "reduction", "mean") != "mean":
        remedy = "divide loss and decays by the number of samples, and give the loss of ufm"
        raise InputError("Need a loss that averages over samples", loss.reduction, remedy)
    if getattr(loss, "weight", None) is not None or getattr(loss, "pos_weight", None) is not None:
        remedy = "save with collect, and use ufm measure --loss FILE.py:NAME"
        raise InputError("Need a loss without class weights", name, remedy)
    K = num_classes
    if name in CROSS_ENTROPY:
        smoothing = float(getattr(loss, "label_smoothing", 0.0))
        made = LabelSmoothing(smoothing) if smoothing else CrossEntropy()
        return made, 1.0, f"loss: {made.name}, as {name} averages it"
    if name in SQUARED:
        return MSE(), K / 2, f"loss: mse, K/2 = {K / 2:g} times {name}; so are all decays"
    if name in BINARY:
        return BCE(), float(K), f"loss: bce, K = {K} times {name}; so are all decays"
    known = ", ".join((*CROSS_ENTROPY[:1], *SQUARED[:1], *BINARY[:1]))
    raise InputError(
        f"Need {known} of torch.nn, or a loss of ufm", name, "give loss=ufm.Focal(2.0)"
    )


@dataclass(frozen=True)
class Decays:
    """Weight decays of an optimiser, as it writes them: of W, of b, and whether features have any.

    Attributes:
        W: of the head's weight; None where it is not trained.
        b: of its bias; None where there is none.
        features: whether any other parameter that is trained has a decay.
        decoupled: whether decay is no part of the gradient.
        optimizer: its name.
    """

    W: float | None
    b: float | None
    features: bool
    decoupled: bool
    optimizer: str


def decays_of(optimizer: Any, head: Any) -> Decays:
    """Read the param groups of an optimiser.

    Example:
        >>> from types import SimpleNamespace as Bag
        >>> W, b, inner = Bag(requires_grad=True), Bag(requires_grad=True), Bag(requires_grad=True)
        >>> groups = [{"params": [W, inner], "weight_decay": 5e-4}, {"params": [b]}]
        >>> found = decays_of(Bag(param_groups=groups), Bag(weight=W, bias=b))
        >>> found.W, found.b, found.features, found.decoupled
        (0.0005, 0.0, True, False)
    """
    groups: Sequence[Any] = optimizer.param_groups
    name = type(optimizer).__name__
    of: dict[int, float] = {}
    decoupled = "AdamW" in name
    features = False
    bias = getattr(head, "bias", None)
    for group in groups:
        decay = float(group.get("weight_decay", 0.0) or 0.0)
        decoupled = decoupled or bool(group.get("decoupled_weight_decay", False) and decay)
        for parameter in group["params"]:
            of[id(parameter)] = decay
            own = parameter is head.weight or parameter is bias
            features = features or (not own and bool(decay) and parameter.requires_grad)
    trained = head.weight.requires_grad and id(head.weight) in of
    return Decays(
        of[id(head.weight)] if trained else None,
        None if bias is None else of.get(id(bias), 0.0),
        features,
        decoupled,
        name,
    )


def terms_of(
    optimizer: Any,
    head: Any,
    loss: Any = None,
    num_classes: int | None = None,
    lambda_H: float | None = None,
) -> tuple[Terms, tuple[str, ...]]:
    """The terms of a training, and a sentence on every number in them.

    SGD and Adam add the decay to the gradient: lambda_W is that of the head's weight, lambda_b that
    of its bias, times the factor of the loss; lambda_H follows from balance where other weights
    have a decay, and is 0 (no theory) where none has. AdamW's is no penalty. A head that is not
    trained is a fixed classifier.

    Args:
        optimizer: of ``torch.optim``; None where nothing is known of decays.
        head: the last layer.
        loss: see ``loss_of``.
        num_classes: K, by default the rows of the head.
        lambda_H: a penalty of the features themselves, in the lab's units.

    Raises:
        InputError: as ``loss_of``.
    """
    K = len(head.weight) if num_classes is None else num_classes
    made, factor, said = loss_of(loss, K)
    if optimizer is None:
        return Terms(made, lambda_H=lambda_H), (said, "no optimiser given: no decays, no theory")
    found = decays_of(optimizer, head)
    notes = [said]
    fixed = found.W is None
    lambda_W = None if found.W is None else factor * found.W
    lambda_b = None if found.b is None else factor * found.b
    if lambda_W is None:
        notes.append("the head is not trained: a fixed classifier")
    else:
        notes.append(f"lambda_W = {lambda_W:g} from weight_decay={found.W:g} of {found.optimizer}")
    if lambda_b is not None:
        notes.append(f"lambda_b = {lambda_b:g} from weight_decay={found.b:g} of its group")
    if lambda_H is not None:
        notes.append(f"lambda_H = {lambda_H:g}, as given")
    elif not fixed and not found.features:
        lambda_H = 0.0
        notes.append("no weight of the features has a decay: lambda_H = 0")
    elif not fixed:
        notes.append("lambda_H from balance: the decay of the features' weights is not it")
    optimizer_kind = "adamw" if found.decoupled else "sgd"
    return Terms(made, lambda_W, lambda_H, lambda_b, optimizer_kind, fixed), tuple(notes)
