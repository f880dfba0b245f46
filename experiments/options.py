"""Options of commands, as a dataclass or a signature declares them."""

from __future__ import annotations

from functools import partial
from typing import Any

import typer


def option(
    panel: str | None, name: str, metavar: str | None = None, help: str = "", **more: Any
) -> Any:
    """An option of a command, in a panel of its --help or in none."""
    return typer.Option(name, metavar=metavar, help=help, rich_help_panel=panel, **more)


flag = partial(option, None)
