"""Branches of critical points along the weight decay: births, folds and symmetry breaking."""

from landscape.branches.continuation import Branch, End, Ending, follow
from landscape.branches.diagram import BranchDiagram, branches
from landscape.branches.events import Event, Kind, event_error, events_on
from landscape.branches.folds import from_both_sides
from landscape.branches.growth import extend, grow
from landscape.branches.path import Ended, Path, Place, follow_parameter

__all__ = [
    "Branch",
    "BranchDiagram",
    "End",
    "Ended",
    "Ending",
    "Event",
    "Kind",
    "Path",
    "Place",
    "branches",
    "event_error",
    "events_on",
    "extend",
    "follow",
    "follow_parameter",
    "from_both_sides",
    "grow",
]
