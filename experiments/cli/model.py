"""``--model``: any registered model, or FILE.py:NAME, with flags derived from its declaration.

Without ``--model`` a command takes the flags of the plain model (``experiments.cli.flags``). With
it, the same command is made anew: the groups of flags of the plain model are replaced by one flag
for every parameter of the model that was named.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from experiments.cli.flags import COPIES, LossFlags, expand_flags, of_model
from experiments.losses import PARAMETERS, LossChoice
from experiments.memory import require_memory
from experiments.models import built_loss, named_model

# Flags that people know from the plain model, for parameters of the same name.
FLAGS = {"num_classes": "-K", "lambda_W": "--lambda-w", "lambda_H": "--lambda-h"}
PLAIN = "plain"
# No size of a problem that fits into a machine is larger.
MOST = 2**31 - 1
Model = Annotated[
    str | None,
    of_model(
        "--model",
        "NAME",
        "A model of `ufm models`, or FILE.py:NAME; --help then lists its own flags.",
    ),
]


@dataclass(frozen=True)
class GeneralInputs:
    """A model by name and the numbers it is built from, as the commands hand them on."""

    declared: Any
    values: Mapping[str, Any]
    loss: LossChoice | None = None

    def build(self, *, merged: bool = False) -> Any:
        """The model; its own validation speaks for every value out of range, memory before it."""
        for name, value in self.values.items():
            if isinstance(value, int) and abs(value) > MOST:
                from ufm import InputError

                raise InputError(f"Need {name} <= {MOST:,}", f"{value:,}", "use a smaller one")
        chosen = {name: value for name, value in self.values.items() if value is not None}
        if self.loss is not None and self.loss_name is not None:
            chosen[self.loss_name] = built_loss(self.loss)
        import jax

        model = self.declared.build(chosen)
        leaves = jax.tree.leaves(jax.eval_shape(model.random_point, jax.random.key(0)))
        size = sum(leaf.size for leaf in leaves)
        require_memory(8 * COPIES * size, f"{size:,} variables", "use smaller sizes")
        return model

    @property
    def loss_name(self) -> str | None:
        """The parameter that takes the loss, None where there is none."""
        return self.declared.loss

    def as_dict(self) -> dict[str, Any]:
        """The inputs as they go into the JSON."""
        defaults = {p.name: p.default for p in self.declared.parameters if p.name != self.loss_name}
        given = {name: value for name, value in self.values.items() if value is not None}
        told = {"model": self.declared.name, **defaults, **given}
        if self.loss is not None:
            told |= {"loss": self.loss.spec, **self.loss.parameters}
        return told

    def headline(self, model: Any) -> str:
        """The model in one line."""
        columns = {**self.as_dict(), **model.columns()}
        shown = (f"{k}={_short(v)}" for k, v in columns.items() if k != "model" and v is not None)
        return f"{self.declared.name}, {', '.join(shown)}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def asked_model(words: Sequence[str]) -> str | None:
    """The value of ``--model`` among the words of a command line, or None.

    Example:
        >>> asked_model(["solve", "--model", "regression"]), asked_model(["solve", "--model=x"])
        ('regression', 'x')
    """
    for i, word in enumerate(words):
        if word == "--":
            return None
        if word == "--model" and i + 1 < len(words):
            return words[i + 1]
        if word.startswith("--model="):
            return word.partition("=")[2]
    return None


def command_of(
    core: Callable[..., None], plain: Callable[..., Any], groups: Sequence[type], spec: str | None
) -> Callable[..., None]:
    """A command with the flags of the plain model, or of the model that ``--model`` names.

    Args:
        core: takes ``inputs`` and the flags of the command itself.
        plain: (groups...) -> inputs, of the plain model.
        groups: dataclasses of the flags of the plain model.
        spec: value of ``--model``, None for the plain model.
    """
    if spec in (None, PLAIN):
        makers: list[tuple[str, type]] = [(f"group{i}", group) for i, group in enumerate(groups)]
        make: Callable[..., Any] = plain
    else:
        declared = named_model(str(spec))
        taken = {name for name in inspect.signature(core).parameters if name != "inputs"}
        own, renamed = flags_of((p for p in declared.parameters if p.name != declared.loss), taken)
        makers = [("group0", own)]
        if declared.loss is not None:
            makers.append(("group1", LossFlags))

        def make(values: Any, loss: LossFlags | None = None) -> GeneralInputs:
            chosen = {renamed[item.name]: getattr(values, item.name) for item in fields(values)}
            asked = loss is not None and any(
                getattr(loss, item.name) is not None for item in fields(loss)
            )
            return GeneralInputs(declared, chosen, loss.choice() if asked and loss else None)

    @functools.wraps(core)
    def command(model: str | None = None, **values: Any) -> None:
        given = [values.pop(name) for name, _ in makers]
        core(inputs=make(*given), **values)

    hints = inspect.get_annotations(core, eval_str=True)
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=group)
        for name, group in makers
    ]
    parameters.append(
        inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Model)
    )
    parameters += [
        item.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, item in inspect.signature(core).parameters.items()
        if name != "inputs"
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    del command.__wrapped__
    return expand_flags(command)


def flags_of(parameters: Iterable[Any], taken: Collection[str] = ()) -> tuple[type, dict[str, str]]:
    """A dataclass with one flag a parameter, and which field is which parameter."""
    made, renamed = [], {}
    for parameter in parameters:
        clash = parameter.name in taken
        field = f"model_{parameter.name}" if clash else parameter.name.lower().replace("-", "_")
        while field in renamed:
            field += "_"
        renamed[field] = parameter.name
        option = of_model(
            f"--model-{_dashed(parameter.name)}" if clash else flag_of(parameter.name),
            metavar=parameter.kind.__name__.upper(),
            help=f"{parameter.help[:1].upper()}{parameter.help[1:]}." if parameter.help else "",
            show_default=False if parameter.default is None else str(parameter.default),
        )
        made.append((field, Annotated[parameter.kind | None, option], None))
    return make_dataclass("OwnFlags", made, frozen=True), renamed


def flag_of(name: str) -> str:
    """The flag of a parameter: one letter as it is, words with dashes.

    Example:
        >>> flag_of("num_classes"), flag_of("d"), flag_of("num_layers")
        ('-K', '-d', '--num-layers')
    """
    return FLAGS.get(name, f"-{name}" if len(name) == 1 else f"--{_dashed(name)}")


def _dashed(name: str) -> str:
    return name.replace("_", "-").lower()


# ---- points of any model in files: an array for every leaf, and the settings as JSON

SETTINGS = "model"


def save_general(path: Path, model: Any, point: Any, inputs: GeneralInputs) -> None:
    """Write every array of a point, and what the model was built from, to an .npz file."""
    import numpy as np

    from experiments.arrays import write_arrays

    arrays = {name: np.asarray(leaf) for name, leaf in leaves_of(point)}
    write_arrays(path, {**arrays, SETTINGS: np.array(json.dumps(inputs.as_dict()))})


def read_general(path: Path, model: Any) -> Any:
    """A point of a model from the arrays that ``save_general`` wrote, or arrays named as its parts.

    Raises:
        InputError: an array is missing.
    """
    import jax

    from experiments.arrays import read_arrays

    pattern = jax.eval_shape(model.random_point, jax.random.key(0))
    names = [name for name, _ in leaves_of(pattern)]
    arrays = read_arrays(path, names, (SETTINGS,))
    return jax.tree.unflatten(jax.tree.structure(pattern), [arrays[name] for name in names])


def settings_of(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What a saved point says its model was built from; empty where it does not say."""
    try:
        told = json.loads(str(arrays[SETTINGS].item()))
    except (KeyError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def stored_inputs(path: Path, inputs: GeneralInputs) -> GeneralInputs:
    """The inputs that flags and then a saved point say; the model itself is named by a person."""
    from experiments.arrays import read_arrays

    stored = settings_of(read_arrays(path, (), (SETTINGS,)))
    kinds = {parameter.name: parameter.kind for parameter in inputs.declared.parameters}
    values = {
        name: kinds[name](stored[name])
        for name, value in inputs.values.items()
        if value is None and isinstance(stored.get(name), int | float | str)
    }
    loss = inputs.loss
    if loss is None and stored.get("loss") in PARAMETERS:
        kept = {n: float(stored[n]) for n in PARAMETERS[stored["loss"]] if n in stored}
        loss = LossChoice(stored["loss"], kept)
    return replace(inputs, values={**inputs.values, **values}, loss=loss)


def leaves_of(point: Any) -> list[tuple[str, Any]]:
    """The arrays of a point with the names of their places.

    Example:
        >>> from ufm import Point
        >>> [name for name, _ in leaves_of(Point(1.0, (2.0, 3.0)))]
        ['W', 'H.0', 'H.1']
    """
    import jax

    found = []
    for keys, leaf in jax.tree_util.tree_flatten_with_path(point)[0]:
        name = jax.tree_util.keystr(keys, simple=True, separator=".")
        found.append((name or "x", leaf))
    return found
