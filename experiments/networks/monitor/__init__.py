"""What is measured on a network while it trains: collapse, sizes, accuracy, curvature."""

from experiments.networks.monitor.evaluate import Evaluation, evaluate
from experiments.networks.monitor.monitor import CURVATURE_EPOCHS, Monitor
from experiments.networks.monitor.seen import Seen, look

__all__ = ["CURVATURE_EPOCHS", "Evaluation", "Monitor", "Seen", "evaluate", "look"]
