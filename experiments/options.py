"""Options of commands, as a dataclass or a signature declares them."""

from __future__ import annotations

from typing import Any

import typer


def option(panel: str, flag: str, metavar: str | None = None, help: str = "", **more: Any) -> Any:
    """An option of a command, in a panel of its --help."""
    return typer.Option(flag, metavar=metavar, help=help, rich_help_panel=panel, **more)
