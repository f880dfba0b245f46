"""Models by name, and how each is built from named numbers: declared once, by its constructor.

The signature says names, kinds and defaults, the docstring says what they mean; the command line
derives its flags from this, a sweep its axes, the documentation its table. A model of one's own is
declared in the same way, by any class or function that returns a ``Model``.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any

from ufm.errors import InputError
from ufm.losses import CrossEntropy, Loss
from ufm.model import Model
from ufm.models.constrained_rate import constrained_rate
from ufm.models.contrastive import contrastive
from ufm.models.deep_linear import deep_linear
from ufm.models.deep_relu import deep_relu
from ufm.models.equilibrium import equilibrium
from ufm.models.fixed_classifier import FixedClassifier
from ufm.models.graph import graph
from ufm.models.graph_network import graph_network
from ufm.models.layer_peeled import layer_peeled
from ufm.models.multilabel import multilabel
from ufm.models.nonnegative import Nonnegative
from ufm.models.ordinal import ordinal
from ufm.models.rate_reduction import rate_reduction
from ufm.models.regression import random_regression
from ufm.models.seli import seli
from ufm.models.soft_labels import soft_labels
from ufm.models.sphere import Sphere
from ufm.models.tasks import tasks
from ufm.plain.model import UFM

KINDS = (int, float, str, bool, Loss)


@dataclass(frozen=True)
class Parameter:
    """A named number (or word, or loss) that a model is built from.

    Attributes:
        name: as in the constructor.
        kind: int, float, str, bool or Loss.
        default: its default; ``required`` where there is none.
        required: whether it must be given.
        help: what the docstring says of it.
    """

    name: str
    kind: type
    default: Any
    required: bool
    help: str


@dataclass(frozen=True)
class Registered:
    """A model that can be built by name.

    Attributes:
        name: as it is asked for.
        constructor: makes the model from keyword arguments.
        parameters: those arguments, in the order of the signature.
        summary: first sentence of the docstring.
        formula: its first formula, a line such as ``f(W, H) = ...``; "" without.
    """

    name: str
    constructor: Callable[..., Model[Any]]
    parameters: tuple[Parameter, ...]
    summary: str
    formula: str

    @property
    def loss(self) -> str | None:
        """The parameter that takes a loss, None where there is none."""
        return next((p.name for p in self.parameters if issubclass(p.kind, Loss)), None)

    def build(self, values: Mapping[str, Any]) -> Model[Any]:
        """The model with these values, defaults for the rest.

        Raises:
            InputError: an unknown or a missing parameter, or one the model refuses.

        Example:
            >>> registered("plain").build({"num_classes": 3, "d": 4}).c
            0.06
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in values:
            if name not in known:
                rule = f"The model {self.name} has no parameter of this name"
                raise InputError(rule, repr(name), f"use one of {', '.join(known)}")
        for name, parameter in known.items():
            if parameter.required and name not in values:
                rule = f"The model {self.name} needs a value of {name}"
                raise InputError(rule, "none", parameter.help or "give one")
        defaults = {p.name: p.default for p in self.parameters if not p.required}
        model = self.constructor(**{**defaults, **values})
        if not isinstance(model, Model):
            rule = f"Need a model from {self.name}"
            raise InputError(rule, type(model).__name__, "return a ufm.Model")
        return model


def declared(name: str, constructor: Callable[..., Model[Any]] | Model[Any]) -> Registered:
    """The declaration of a model from its constructor: signature and docstring.

    Args:
        name: the model's.
        constructor: a model as it is, or a class or a function whose parameters are int, float,
            str, bool or Loss, by annotation or by default; ``X | None`` counts as X.

    Raises:
        InputError: no constructor, or a parameter of no such kind and without a default.

    Example:
        >>> def double_well(depth: float = 1.0) -> Model:
        ...     '''A double well.
        ...
        ...     Args:
        ...         depth: of both wells.
        ...     '''
        >>> [(p.name, p.kind.__name__, p.help) for p in declared("wells", double_well).parameters]
        [('depth', 'float', 'of both wells')]
    """
    if isinstance(constructor, Model):
        model = constructor
        told = type(model).__doc__ or ""
        constructor = lambda: model  # noqa: E731
        constructor.__doc__ = told
    if not callable(constructor):
        rule = f"Need {name} to be a Model, or a function that returns one"
        raise InputError(rule, f"a {type(constructor).__name__}", "return a ufm.Model")
    text = inspect.getdoc(constructor) or ""
    lines = [line.strip() for line in text.splitlines()]
    formula = next((x for x in lines[1:] if re.match(r"f\b.*=", x)), "")
    summary = lines[0] if lines else ""
    return Registered(name, constructor, parameters_of(name, constructor), summary, formula)


def parameters_of(
    name: str, function: Callable[..., Any], anything: type | None = None
) -> tuple[Parameter, ...]:
    """The parameters of a function, from its signature and its docstring.

    Args:
        name: of the function, for errors.
        function: any with parameters of ``KINDS``; others keep their default.
        anything: the kind that the annotation ``Any`` stands for; None: that of the default.

    Raises:
        InputError: a parameter of no such kind and without a default.
    """
    helps, hints = _arguments(inspect.getdoc(function) or ""), _hints(function)
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        required = parameter.default is parameter.empty
        hint = hints.get(parameter.name)
        kind = _kind(hint, None if required else parameter.default)
        if hint is Any and anything is not None:
            kind = anything
        if kind is None and required:
            rule = f"A parameter of a model is one of {', '.join(k.__name__ for k in KINDS)}"
            raise InputError(rule, f"{parameter.name} of {name}", "annotate it, or give a default")
        if kind is None:
            continue  # arrays and the like keep their default
        default = None if required else parameter.default
        told = helps.get(parameter.name, "")
        parameters.append(Parameter(parameter.name, kind, default, required, told))
    return tuple(parameters)


def _hints(constructor: Any) -> dict[str, Any]:
    written = constructor.__init__ if inspect.isclass(constructor) else constructor
    try:
        return typing.get_type_hints(written)
    except (NameError, TypeError):
        return {}


def _kind(hint: Any, default: Any) -> type | None:
    """The kind of a parameter from its annotation, else from its default."""
    choices = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    for kind in KINDS:
        if kind in choices:
            return kind
    return next((k for k in (bool, int, float, str, Loss) if isinstance(default, k)), None)


def _arguments(text: str) -> dict[str, str]:
    """What the section ``Args:`` of a docstring says of every name; ``a, b: text`` serves both."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    found: dict[str, str] = {}
    entries = re.split(r"\n {4}(?=\w)", "\n" + section[1].rstrip()) if section else []
    for entry in entries:
        names, _, said = entry.strip().partition(":")
        for name in names.split(","):
            found[name.strip()] = " ".join(said.split()).rstrip(".")
    return found


def plain(
    loss: Loss | None = None,
    num_classes: int = 4,
    d: int = 6,
    n: int = 1,
    lambda_W: float = 0.02,
    lambda_H: float = 0.02,
    lambda_b: float | None = None,
) -> UFM:
    """The unconstrained feature model: W, H and b are free, with weight decay.

    f = (1/N) sum_i L(W h_i + b, y_i) + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2 + (lambda_b/2) |b|^2

    Args:
        loss: the classification loss, cross entropy by default.
        num_classes: K, 2 or more.
        d: feature dimension.
        n: samples per class.
        lambda_W: weight decay of the classifier, > 0.
        lambda_H: weight decay of the features, > 0.
        lambda_b: weight decay of the bias; 0 = unregularised, none = no bias.
    """
    loss = loss or CrossEntropy()
    return UFM(loss, num_classes, d, n, lambda_W=lambda_W, lambda_H=lambda_H, lambda_b=lambda_b)


CONSTRUCTORS: dict[str, Callable[..., Model[Any]]] = {
    "plain": plain,
    "fixed-classifier": FixedClassifier,
    "nonnegative": Nonnegative,
    "regression": random_regression,
    "rate-reduction": rate_reduction,
    "constrained-rate": constrained_rate,
    "deep-linear": deep_linear,
    "deep-relu": deep_relu,
    "equilibrium": equilibrium,
    "graph": graph,
    "graph-network": graph_network,
    "layer-peeled": layer_peeled,
    "seli": seli,
    "sphere": Sphere,
    "contrastive": contrastive,
    "multilabel": multilabel,
    "soft-labels": soft_labels,
    "tasks": tasks,
    "ordinal": ordinal,
}
MODELS = {name: declared(name, constructor) for name, constructor in CONSTRUCTORS.items()}


def registered(name: str) -> Registered:
    """A model of the lab by name.

    Raises:
        InputError: no such name.

    Example:
        >>> registered("regression").name
        'regression'
    """
    if name not in MODELS:
        remedy = f"use one of {', '.join(MODELS)}, or FILE.py:NAME for one of your own"
        raise InputError("Unknown model", repr(name), remedy)
    return MODELS[name]
