"""Objectives side by side: the same network and data, several widths, every seed in the table."""

from experiments.networks.comparison.execute import execute
from experiments.networks.comparison.plan import Plan, read_comparison
from experiments.networks.comparison.table import Row, contrasts, rows, summaries
from experiments.networks.training.loss_spec import LossSpec, read_loss_spec

__all__ = [
    "LossSpec",
    "Plan",
    "Row",
    "contrasts",
    "execute",
    "read_comparison",
    "read_loss_spec",
    "rows",
    "summaries",
]
