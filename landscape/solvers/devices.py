"""A batched function on several devices: each works through its own part of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ufm.errors import InputError
from ufm.stack import stacked_size

AXIS = "batch"


def shard(
    function: Callable[..., Any],
    *,
    batched: int,
    devices: Sequence[Any] | None = None,
) -> Callable[..., Any]:
    """The same function with its batch split over devices, which never wait for each other.

    A batch that the number of devices does not divide is filled up with its last member, and the
    result is cut again. There is no communication: nothing of one device depends on another, so
    the slots and the queue of ``minimise_many`` are those of each device. Results agree with
    those of a single device to rounding, and bit by bit where every device has two models or more
    and every model a slot at once.

    Args:
        function: of arrays with a leading axis, such as ``minimise_many`` and ``judge_many``;
            every result has that axis too, and its keywords are static.
        batched: number of leading arguments that have the axis; the others go to every device.
        devices: by default all; with one device the function itself is returned.

    Raises:
        InputError: no devices, or no batched argument.

    Example:
        >>> from landscape.solvers.minimise import minimise_many
        >>> shard(minimise_many, batched=2, devices=jax.devices()[:1]) is minimise_many
        True
    """
    chosen = tuple(jax.devices() if devices is None else devices)
    if not chosen or len(set(chosen)) != len(chosen):
        raise InputError("Need devices, each once", chosen, "use jax.devices()")
    if batched < 1:
        raise InputError("Need a batched argument", batched, "count those with a leading axis")
    return function if len(chosen) == 1 else partial(_split, function, batched, chosen)


def _split(
    function: Callable[..., Any], batched: int, devices: tuple[Any, ...], *args: Any, **static: Any
) -> Any:
    size = stacked_size(args[0])
    extra = -size % len(devices)
    program, along, everywhere = _program(
        function, batched, len(args), devices, tuple(sorted(static.items()))
    )
    parts = jax.tree.map(partial(_filled, extra=extra), args[:batched])
    # Put in place here: a program would be handed the whole batch on the first device.
    parts = jax.device_put(parts, along)
    found = program(*parts, *jax.device_put(args[batched:], everywhere))
    return jax.tree.map(lambda leaf: leaf[:size], found) if extra else found


def _filled(leaf: Any, extra: int) -> Any:
    """A leaf with its last row repeated, an array of the kind that it was."""
    if not extra:
        return leaf
    whole = jnp if isinstance(leaf, jax.Array) else np
    return whole.concatenate([leaf, whole.repeat(leaf[-1:], extra, axis=0)])


# One program per function, devices and keywords: jit remembers shapes by the function it was given.
@lru_cache(maxsize=64)
def _program(
    function: Callable[..., Any],
    batched: int,
    total: int,
    devices: tuple[Any, ...],
    static: tuple[tuple[str, Any], ...],
) -> tuple[Any, NamedSharding, NamedSharding]:
    """(compiled function, sharding of what is split, sharding of what is not)."""
    mesh = Mesh(np.array(devices, dtype=object), (AXIS,))
    along, everywhere = PartitionSpec(AXIS), PartitionSpec()
    mapped = jax.shard_map(
        partial(function, **dict(static)),
        mesh=mesh,
        in_specs=(along,) * batched + (everywhere,) * (total - batched),
        out_specs=along,
        # Loops that begin with constants and go on with data are no error: nothing is shared.
        check_vma=False,
    )
    return jax.jit(mapped), NamedSharding(mesh, along), NamedSharding(mesh, everywhere)
