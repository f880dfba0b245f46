"""The loss that ``--loss`` names: one of the lab's, or a user's own from a file or a module."""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.errors import input_error
from experiments.files import accessible, read_whole
from experiments.nearest import unknown

# Parameters of each loss and their defaults. Smoothing 0.1 and gamma 2 are those of the papers
# (Guo et al. 2024; Lin et al. 2017), tau 1 and weights to the power 1 the consistent ones (Menon et
# al. 2021), margin 0.5 is that of Cao et al. 2019; the others only make the numbers visible.
PARAMETERS: Mapping[str, Mapping[str, float]] = {
    "ce": {},
    "ls": {"smoothing": 0.1},
    "focal": {"gamma": 2.0},
    "mse": {},
    "rescaled-mse": {"kappa": 5.0, "target": 2.0},
    "bce": {},
    "logit-adjusted": {"tau": 1.0},
    "weighted-ce": {"gamma": 1.0},
    "vs": {"gamma": 0.25, "tau": 1.0},
    "ldam": {"margin": 0.5},
}
# Every parameter once, as tables have them.
EVERY_PARAMETER = tuple(dict.fromkeys(name for names in PARAMETERS.values() for name in names))
# Parameters beyond this are finite, and their squares are not.
MOST_PARAMETER = 1e100


@dataclass(frozen=True)
class LossChoice:
    """What was asked for: a name (or FILE.py:NAME, MODULE:NAME) and the parameters of the loss."""

    spec: str
    parameters: Mapping[str, float]

    @property
    def own(self) -> bool:
        """Whether the loss is a user's own code."""
        return self.spec not in PARAMETERS

    def __str__(self) -> str:
        return loss_label(self.spec, self.parameters.values())

    def record(self) -> dict[str, Any]:
        """The loss as JSON and the files of points have it."""
        return {"loss": self.spec, **self.parameters}

    def source(self) -> str:
        """The text of a user's own code, which stands for what it computes; else empty."""
        place = self.spec.rpartition(":")[0]
        if place.endswith(".py"):
            rule = "Need the file of the loss"
            with accessible(Path(place), rule, "check the path"):
                return read_whole(Path(place)).decode(errors="surrogateescape")
        return _module_source(self.build()) if self.own else ""

    def build(self) -> Any:
        """The loss itself."""
        import ufm

        made: Mapping[str, Callable[..., Any]] = {
            "ce": ufm.CrossEntropy,
            "ls": ufm.LabelSmoothing,
            "focal": ufm.Focal,
            "mse": ufm.MSE,
            "rescaled-mse": ufm.RescaledMSE,
            "bce": ufm.BCE,
            "logit-adjusted": ufm.logit_adjusted,
            "weighted-ce": ufm.class_weighted,
            "vs": ufm.vector_scaling,
            "ldam": ufm.ldam,
        }
        return load_loss(self.spec) if self.own else made[self.spec](*self.parameters.values())


def loss_label(spec: str, numbers: Iterable[float]) -> str:
    """A loss as people read it, as its own ``name`` is; of a user's file without the folders.

    Example:
        >>> loss_label("rescaled-mse", [5.0, 2.5]), loss_label("lib/own.py:hot", [])
        ('rescaled-mse(5,2.5)', 'own.py:hot')
    """
    written = ",".join(f"{value:g}" for value in numbers)
    return f"{spec.rsplit('/', 1)[-1]}({written})" if written else spec.rsplit("/", 1)[-1]


def choose_loss(
    spec: str | None,
    given: Mapping[str, float | None],
    stored: LossChoice | None = None,
) -> LossChoice:
    """Resolve ``--loss`` and its parameters.

    Args:
        spec: value of ``--loss``, None if absent.
        given: values of --smoothing, --gamma and so on, None if absent.
        stored: what a saved point says; by default cross entropy.

    Raises:
        InputError: an unknown loss, or a parameter of another loss.

    Example:
        >>> choose_loss("focal", {"gamma": 3.0}).parameters
        {'gamma': 3.0}
    """
    stored = LossChoice("ce", {}) if stored is None else stored
    spec = stored.spec if spec is None else spec
    if spec not in PARAMETERS and ":" not in spec:
        raise unknown(spec, (*PARAMETERS, "FILE.py:NAME", "MODULE:NAME"), "loss")
    parameters = dict(PARAMETERS.get(spec, {}))
    if spec == stored.spec:
        parameters.update(stored.parameters)
    for name, value in given.items():
        if value is None:
            continue
        if name not in parameters:
            owners = [loss for loss, names in PARAMETERS.items() if name in names]
            rule = f"--{name} belongs to --loss {' or '.join(owners)}"
            raise input_error(rule, f"--loss {spec}", f"drop --{name}, or change the loss")
        if not abs(value) <= MOST_PARAMETER and value == value and abs(value) != math.inf:
            rule = f"Need --{name} up to {MOST_PARAMETER:g}: floats hold its square"
            raise input_error(rule, f"{value:g}", "use a smaller one")
        parameters[name] = value
    return LossChoice(spec, parameters)


def _module_source(loss: Any) -> str:
    """Of the whole module, since a loss may call its neighbours."""
    module = inspect.getmodule(loss)
    try:
        return inspect.getsource(loss if module is None else module)
    except (OSError, TypeError):  # compiled, or a functools.partial
        return repr(getattr(loss, "__qualname__", type(loss)))


def load_loss(spec: str) -> Any:
    """The callable that FILE.py:NAME or MODULE:NAME names.

    Raises:
        InputError: no such file, module or name, a failing import, or not a callable.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise input_error("Need --loss FILE.py:NAME or MODULE:NAME", repr(spec), "add the name")
    module = load_module(place)
    try:
        loss = getattr(module, name)
    except AttributeError:
        functions = inspect.getmembers(module, inspect.isfunction)
        own = [label for label, function in functions if function.__module__ == module.__name__]
        remedy = f"use one of {', '.join(own)}" if own else "define it"
        raise input_error(f"Need a loss named {name} in {place}", "no such name", remedy) from None
    if inspect.isclass(loss) or not callable(loss):
        rule = f"Need {spec} to be a function of (logits, label)"
        raise input_error(rule, f"a {type(loss).__name__}", "write `def loss(logits, label): ...`")
    return loss


def load_module(place: str) -> ModuleType:
    """A module from a path ending in .py, or by its name with the current folder importable.

    A file with the same content is executed once: what was compiled for its functions serves again.

    Raises:
        InputError: it does not exist, or raises an error while it is imported.
    """
    is_file = place.endswith(".py")
    path = Path(place).absolute()
    if is_file and not path.is_file():
        raise input_error("Need an existing Python file", place, "check the path")
    folder = str(path.parent if is_file else Path.cwd())
    sys.path.insert(0, folder)
    try:
        return _executed(path, path.read_bytes()) if is_file else importlib.import_module(place)
    except (Exception, SystemExit, GeneratorExit) as error:
        from proofs_check import source
        from ufm.losses.program import described

        rule = f"Need {place} to import without an error"
        got = described(error, __file__, source.__file__)
        raise input_error(rule, got, "run it with python to see where") from error
    finally:
        sys.path.remove(folder)


@lru_cache(maxsize=64)
def _executed(path: Path, content: bytes) -> ModuleType:
    """The module of a file with this content."""
    from proofs_check.source import execute

    return execute(path, content, f"user_{path.stem}")
