"""The flags that are the same everywhere, written once, and the model they resolve to."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from experiments.errors import input_error
from experiments.losses import PARAMETERS, LossChoice, choose_loss
from experiments.memory import require_memory
from experiments.options import flag, option

NUM_CLASSES, DIMENSION, SAMPLES, DECAY = 4, 6, 1, 0.02
# What a seed and a number of steps may be, as the compiled code takes them.
MOST_SEED, MOST_STEPS = 2**63 - 1, 2**31 - 1
# Copies of labels, point, gradient and logits that any command makes at least.
COPIES = 4
of_model = functools.partial(option, "Model")

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
Out = Annotated[Path | None, flag("--out", "FILE", "Write the same JSON to this file as well.")]
# Inches of one column of a paper.
COLUMN = 3.4
Width = Annotated[
    float, typer.Option("--width", min=2.5, max=20.0, help="Inches of a figure: 3.4 is a column.")
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of everything random.")
]


@dataclass(frozen=True)
class SizeFlags:
    """-K, -d, and -n or --counts."""

    classes: Annotated[
        int | None,
        of_model("-K", "INT", "Number of classes, 2 or more.", show_default=str(NUM_CLASSES)),
    ] = None
    d: Annotated[
        int | None,
        of_model(
            "-d",
            "INT",
            "Feature dimension.",
            show_default=f"{DIMENSION}, or K if that is more; an atlas is of every d and shows K",
        ),
    ] = None
    n: Annotated[
        int | None, of_model("-n", "INT", "Samples per class.", show_default=str(SAMPLES))
    ] = None
    counts: Annotated[
        str | None, of_model("--counts", "3,2,2,1", "Samples of every class, instead of -n.")
    ] = None

    def sizes(self) -> tuple[int, ...] | None:
        """--counts as integers, None if absent.

        Raises:
            InputError: not a list of integers, or together with -n.
        """
        if self.counts is None:
            return None
        from ufm.counts import parsed_counts

        if self.n is not None:
            raise input_error("Give -n or --counts, not both", f"-n {self.n}", "drop one of them")
        return parsed_counts(self.counts, "--counts")


@dataclass(frozen=True)
class LossFlags:
    """--loss and the parameters of the losses."""

    loss: Annotated[
        str | None,
        of_model(
            "--loss",
            "LOSS",
            f"One of {', '.join(PARAMETERS)}, FILE.py:NAME or MODULE:NAME, a differentiable "
            "function of (logits, label).",
            show_default="ce",
        ),
    ] = None
    smoothing: Annotated[
        float | None,
        of_model(
            "--smoothing",
            "DELTA",
            "Of ls, in [0, 1): target (1 - DELTA) e_k + DELTA/K.",
            show_default="0.1",
        ),
    ] = None
    gamma: Annotated[
        float | None,
        of_model(
            "--gamma",
            "GAMMA",
            "Of focal, 0 or more: loss -(1 - u)^GAMMA log u. Of weighted-ce and vs: power of "
            "the class sizes in weights (N / (K n_k))^GAMMA and scales (n_k / max n)^GAMMA.",
            show_default="2; 1 and 0.25",
        ),
    ] = None
    kappa: Annotated[
        float | None,
        of_model(
            "--kappa",
            "KAPPA",
            "Of rescaled-mse, positive: weight of the true class.",
            show_default="5",
        ),
    ] = None
    target: Annotated[
        float | None,
        of_model("--target", "M", "Of rescaled-mse: target of the true class.", show_default="2"),
    ] = None
    tau: Annotated[
        float | None,
        of_model(
            "--tau",
            "TAU",
            "Of logit-adjusted and vs: adds TAU log(n_k / N) to the logits.",
            show_default="1",
        ),
    ] = None
    margin: Annotated[
        float | None,
        of_model(
            "--margin",
            "MARGIN",
            "Of ldam: takes MARGIN (min n / n_k)^(1/4) from the own logit.",
            show_default="0.5",
        ),
    ] = None

    def choice(self, stored: LossChoice | None = None) -> LossChoice:
        """The loss that the flags and a saved point choose together."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        return choose_loss(given.pop("loss"), given, stored)


@dataclass(frozen=True)
class DecayFlags:
    """--lambda, or --lambda-w and --lambda-h; --lambda-b switches the bias on."""

    lambda_both: Annotated[
        float | None,
        of_model("--lambda", "VALUE", "Weight decay of both W and H.", show_default=str(DECAY)),
    ] = None
    lambda_w: Annotated[
        float | None,
        of_model("--lambda-w", "VALUE", "Weight decay of the classifier, (VALUE/2) |W|^2."),
    ] = None
    lambda_h: Annotated[
        float | None,
        of_model("--lambda-h", "VALUE", "Weight decay of the features, (VALUE/2) |H|^2."),
    ] = None
    lambda_b: Annotated[
        float | None,
        of_model(
            "--lambda-b", "VALUE", "Switch the bias on with this weight decay; 0 = unregularised."
        ),
    ] = None

    def given(self) -> tuple[float | None, float | None]:
        """lambda_W and lambda_H as far as the flags say, None where they do not.

        Raises:
            InputError: --lambda together with --lambda-w or --lambda-h.
        """
        if self.lambda_both is None:
            return self.lambda_w, self.lambda_h
        if self.lambda_w is not None or self.lambda_h is not None:
            other = "--lambda-w" if self.lambda_w is not None else "--lambda-h"
            rule = "Give --lambda for both decays, or --lambda-w and --lambda-h"
            raise input_error(rule, f"--lambda and {other}", "drop one of them")
        return self.lambda_both, self.lambda_both


@dataclass(frozen=True)
class ModelInputs:
    """Everything that a model is made of, resolved: flags, then a saved point, then defaults."""

    loss: LossChoice
    d: int
    lambda_w: float
    lambda_h: float
    lambda_b: float | None
    classes: int | None = None
    n: int | None = None
    counts: tuple[int, ...] | None = None
    notes: tuple[str, ...] = field(default=())

    def build(self, *, merged: bool = True) -> Any:
        """The UFM; its own validation speaks for every value out of range.

        Raises:
            InputError: a value out of range, or a model that this machine has no memory for.
        """
        from ufm import UFM

        self._require_size(merged)
        return UFM(
            self.loss.build(),
            self.classes,
            self.d,
            self.n,
            counts=self.counts,
            lambda_W=self.lambda_w,
            lambda_H=self.lambda_h,
            lambda_b=self.lambda_b,
        )

    def _require_size(self, merged: bool) -> None:
        """Before anything is allocated: labels of all samples, columns of classes or samples."""
        K = len(self.counts) if self.counts is not None else self.classes or 0
        N = sum(self.counts) if self.counts is not None else K * (self.n or 0)
        columns = K if merged else N
        size = 8 * COPIES * (N + K * self.d + self.d * columns + K * columns)
        require_memory(size, f"K={K:,}, d={self.d:,} and N={N:,}", "use smaller sizes")

    def as_dict(self) -> dict[str, Any]:
        """The resolved inputs as they go into the JSON."""
        return {
            "K": self.classes if self.counts is None else len(self.counts),
            "d": self.d,
            "n": self.n,
            "counts": self.counts,
            **self.loss.record(),
            "lambda_W": self.lambda_w,
            "lambda_H": self.lambda_h,
            "lambda_b": self.lambda_b,
        }

    def headline(self, model: Any) -> str:
        """The model in one line."""
        samples = f"n={self.n}" if self.counts is None else f"counts={_shortened(self.counts)}"
        decays = f"lambda_W={self.lambda_w:g} lambda_H={self.lambda_h:g}"
        bias = "no bias" if self.lambda_b is None else f"lambda_b={self.lambda_b:g}"
        sizes = f"K={model.num_classes} d={self.d} {samples}"
        return f"{sizes}, loss {model.loss.name}, {decays}, {bias}, c={model.c:.6g}"


def _shortened(counts: tuple[int, ...]) -> str:
    shown = ",".join(str(count) for count in counts[:8])
    return shown if len(counts) <= 8 else f"{shown},... ({len(counts)} classes)"


def crowded(d: int, classes: int, flag: str) -> str | None:
    """A line where a simplex of so many classes does not fit into d dimensions; None where it does.

    Example:
        >>> crowded(8, 10, "-d 9")
        'd = 8 is less than K - 1 = 9: no simplex ETF of 10 classes fits; -d 9 makes room'
        >>> crowded(9, 10, "-d 9") is None
        True
    """
    if d >= classes - 1:
        return None
    rule = f"d = {d} is less than K - 1 = {classes - 1}"
    return f"{rule}: no simplex ETF of {classes} classes fits; {flag} makes room"


def resolve(size: SizeFlags, loss: LossFlags, decay: DecayFlags) -> ModelInputs:
    """The inputs of a model from flags and defaults alone.

    Raises:
        InputError: flags that contradict each other.
    """
    counts = size.sizes()
    lambda_w, lambda_h = decay.given()
    classes = NUM_CLASSES if size.classes is None and counts is None else size.classes
    return ModelInputs(
        loss.choice(),
        max(DIMENSION, classes or len(counts or ())) if size.d is None else size.d,
        DECAY if lambda_w is None else lambda_w,
        DECAY if lambda_h is None else lambda_h,
        decay.lambda_b,
        classes,
        (SAMPLES if size.n is None else size.n) if counts is None else None,
        counts,
    )


def expand_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take whole groups of flags: each annotated field of a dataclass is one flag.

    Typer reads flags from a signature, and this writes one in which every parameter that is a
    group is replaced by the fields of the group; fields without a flag keep their defaults.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    flags = {name: _flags(name, group) for name, group in groups.items()}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
            )
            continue
        parameters += flags[name].values()

    @functools.wraps(command)
    def flat(**values: Any) -> None:
        for name, group in groups.items():
            chosen = {field: values.pop(flag.name) for field, flag in flags[name].items()}
            values[name] = group(**chosen)
        command(**values)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {item.name: item.annotation for item in parameters}
    return flat


def _flags(group: str, made: Any) -> dict[str, inspect.Parameter]:
    """Field -> parameter, for the annotated fields of a dataclass; two groups may share a name."""
    types = get_type_hints(made, include_extras=True)
    return {
        item.name: inspect.Parameter(
            f"{group}_{item.name}",
            inspect.Parameter.KEYWORD_ONLY,
            default=item.default,
            annotation=types[item.name],
        )
        for item in fields(made)
        if hasattr(types[item.name], "__metadata__")
    }
