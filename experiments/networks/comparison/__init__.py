"""Objectives side by side: the same network and data, several widths, every seed in the table."""

from experiments.networks.comparison.execute import Failure, execute
from experiments.networks.comparison.plan import (
    Cell,
    Plan,
    read_comparison,
)
from experiments.networks.comparison.table import Contrast, Row, Summary, contrasts, rows, summaries
from experiments.networks.training.loss_spec import LossSpec, read_loss_spec

__all__ = [
    "Cell",
    "Contrast",
    "Failure",
    "LossSpec",
    "Plan",
    "Row",
    "Summary",
    "contrasts",
    "execute",
    "read_comparison",
    "read_loss_spec",
    "rows",
    "summaries",
]
