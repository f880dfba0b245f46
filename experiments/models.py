"""The model that ``--model`` and a sweep name: one of the lab's, or a user's own from a file."""

from __future__ import annotations

import inspect
from typing import Any

from experiments.losses import LossChoice, load_module


def built_loss(choice: LossChoice) -> Any:
    """The Loss that a choice names; a user's function becomes one."""
    from ufm.losses import as_loss

    return as_loss(choice.build())


def named_model(spec: str) -> Any:
    """The declaration of a registered model, or of a user's own in FILE.py:NAME or MODULE:NAME.

    Raises:
        InputError: an unknown name, a file that does not import, or not a model's constructor.
    """
    from ufm import InputError, declared, registered

    place, _, name = spec.rpartition(":")
    if not place:
        return registered(spec)
    module = load_module(place)
    try:
        constructor = getattr(module, name)
    except AttributeError:
        classes = inspect.getmembers(module, inspect.isclass)
        own = [x for x, found in classes if hasattr(found, "objective") and x != "Model"]
        remedy = f"use one of {', '.join(own)}" if own else "define it"
        raise InputError(f"Need a model named {name} in {place}", "no such name", remedy) from None
    return declared(spec, constructor)
