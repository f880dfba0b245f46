"""A user's own feature extractor: a class of Equinox modules in a file."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.losses import load_module
from experiments.networks.architectures.layers import DTYPE, Body
from ufm.errors import InputError
from ufm.losses.program import described

CALL = "write `def __call__(self, image): ...` for one image, returning its features (d,)"
# Images of Gaussian noise on which a new module is tried.
TRIED = 3


class OwnBody(Body):
    """A module for one image as a feature extractor for batches.

    Attributes:
        weights: its arrays of floats, float32, which training changes; None elsewhere.
        rest: what is no array, such as activations and sizes.
        relu: whether its features pass a ReLU.
    """

    weights: Any
    rest: Any = eqx.field(static=True)
    relu: bool = eqx.field(static=True)

    def layers(self, images: Any, state: Any, *, training: bool) -> tuple[list[Any], Any]:
        """Features (N, d) of (N, height, width, channels), and the state as it came."""
        x = jax.vmap(eqx.combine(self.weights, state, self.rest))(images)
        return [jax.nn.relu(x) if self.relu else x], state


def own_body(
    spec: str,
    key: Any,
    image_shape: tuple[int, int, int],
    d: int,
    *,
    relu: bool = False,
    sizes: dict[str, Any] | None = None,
) -> tuple[OwnBody, Any]:
    """The module ``Net(key, image_shape, d)`` of FILE.py:Net, and its arrays that are not trained.

    Called with one image (height, width, channels) it must return the features (d,). Arrays of
    floats are trained, in float32; others, such as tables of indices, stay as they are.

    Args:
        spec: FILE.py:NAME.
        key: random key.
        image_shape: (height, width, channels).
        d: feature dimension.
        relu: whether the features pass a ReLU.
        sizes: arguments of the constructor by name that are not at their defaults, as ``width``.

    Raises:
        InputError: no such file or class, a constructor without such an argument, an error in the
            user's code, no Equinox module, or features of another shape or type or not finite.
    """
    make = _constructor(spec)
    module = _made(make, spec, (key, image_shape, d), sizes or {})
    weights, others = eqx.partition(module, eqx.is_inexact_array)
    state, rest = eqx.partition(others, eqx.is_array)
    weights = jax.tree.map(lambda leaf: leaf.astype(DTYPE), weights)
    body = OwnBody(weights, rest, relu)
    _require_features(body, state, spec, image_shape, d)
    if not isinstance(key, jax.core.Tracer):
        _require_finite(body, state, spec, image_shape)
    return body, state


def _constructor(spec: str) -> Any:
    place, _, name = spec.rpartition(":")
    if not place.endswith(".py") or not name:
        raise InputError("Need --network FILE.py:NAME", repr(spec), "name a class in a file")
    module = load_module(place)
    if not hasattr(module, name):
        own = ", ".join(_classes(module))
        remedy = f"use one of {own}" if own else "define a class of equinox.Module"
        raise InputError(f"Need a network named {name} in {place}", "no such name", remedy)
    make = getattr(module, name)
    if not callable(make):
        rule = f"Need {spec} to be a class of equinox.Module"
        raise InputError(rule, f"a {type(make).__name__}", "write `class Net(eqx.Module): ...`")
    return make


def _classes(module: ModuleType) -> list[str]:
    members = inspect.getmembers(module, inspect.isclass)
    own = (x for x, found in members if found.__module__ == module.__name__)
    return [x for x in own if issubclass(getattr(module, x), eqx.Module)]


def _made(make: Any, spec: str, arguments: tuple[Any, ...], sizes: dict[str, Any]) -> Any:
    known = inspect.signature(make).parameters
    for name, value in sizes.items():
        if name not in known:
            rule = f"{spec} has no argument {name!r}, which says how large it is"
            remedy = f"add it to the constructor, or leave --{name} alone"
            raise InputError(rule, f"{name}={value:g}", remedy)
    try:
        module = make(*arguments, **sizes)
    except (Exception, SystemExit, GeneratorExit) as error:
        rule = f"Need {spec}(key, image_shape, d) to make a module"
        got = described(error, __file__)
        raise InputError(rule, got, f"it is given {arguments[1]} and {arguments[2]}") from error
    if not isinstance(module, eqx.Module):
        rule = f"Need {spec} to make an equinox.Module"
        raise InputError(rule, f"a {type(module).__name__}", "write `class Net(eqx.Module): ...`")
    return module


def _require_features(
    body: OwnBody, state: Any, spec: str, image_shape: tuple[int, int, int], d: int
) -> None:
    rule = f"Need {spec} to give features of shape ({d},) for one image of shape {image_shape}"
    image = jax.ShapeDtypeStruct(image_shape, DTYPE)
    module = eqx.combine(body.weights, state, body.rest)
    if not callable(module):
        raise InputError(rule, "no __call__", CALL)
    try:
        found = eqx.filter_eval_shape(module, image)
    except (Exception, SystemExit, GeneratorExit) as error:
        raise InputError(rule, described(error, __file__), CALL) from error
    if isinstance(found, tuple | list) and len(found) > 1:
        remedy = (
            "return the features alone: the lab puts the classifier W, b on top, with its decay"
        )
        raise InputError(rule, f"{len(found)} results", remedy)
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise InputError(rule, f"a {type(found).__name__}", CALL)
    if found.shape != (d,):
        remedy = "let its last layer have d outputs, the third argument of the constructor, see -d"
        raise InputError(rule, f"shape {found.shape}", remedy)
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise InputError(f"{rule}, real numbers", f"type {found.dtype}", CALL)


def _require_finite(
    body: OwnBody, state: Any, spec: str, image_shape: tuple[int, int, int]
) -> None:
    random = np.random.default_rng(0)
    images = random.standard_normal((TRIED, *image_shape), np.float32)
    features, _ = body(jnp.asarray(images), state, training=False)
    if not bool(jnp.all(jnp.isfinite(features))):
        rule = f"Need finite features of {spec} before training, here of Gaussian noise"
        raise InputError(rule, "NaN or infinity", "start with smaller weights, or guard divisions")


def source_of(spec: str) -> str:
    """The text of the file, which stands for what the network computes.

    Raises:
        InputError: a file that cannot be read.
    """
    from experiments.files import accessible, read_whole

    place = Path(spec.rpartition(":")[0])
    with accessible(place, "Need the file of the network", "check the path"):
        return read_whole(place).decode(errors="surrogateescape")
