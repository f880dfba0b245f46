"""Packages that not everybody has installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ufm.errors import InputError


def require_package(name: str, rule: str, extra: str) -> Any:
    """A module that comes with an extra of the lab.

    Args:
        name: of the module.
        rule: what needs it.
        extra: deep, sweep or cluster.

    Raises:
        InputError: it cannot be imported; with the command that installs it.

    Example:
        >>> require_package("json", "JSON needs json", "deep").dumps(1)
        '1'
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(rule, error, f"pip install '.[{extra}]' in the clone") from error
