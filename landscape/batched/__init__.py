"""Many models of one shape at once: one compiled program minimises and judges all of them."""

from landscape.batched.judge import Judged, judge_many
from landscape.batched.minimise import Minimised, minimise_many
from landscape.batched.stack import stack, stacked_size

__all__ = ["Judged", "Minimised", "judge_many", "minimise_many", "stack", "stacked_size"]
