"""The command ``ufm``: one file per subcommand, and nothing heavy imported before one runs."""

from experiments.cli.app import main

__all__ = ["main"]
