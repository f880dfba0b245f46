"""Branches of critical points along the weight decay: births, folds and symmetry breaking."""

from landscape.branches.continuation import Branch, End, Ending, follow
from landscape.branches.diagram import BranchDiagram, branches
from landscape.branches.events import Event, Kind, event_error, events_on
from landscape.branches.growth import extend, grow

__all__ = [
    "Branch",
    "BranchDiagram",
    "End",
    "Ending",
    "Event",
    "Kind",
    "branches",
    "event_error",
    "events_on",
    "extend",
    "follow",
    "grow",
]
