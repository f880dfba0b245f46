"""Gradient flows between the orbits of an atlas: who flows to whom, and over which barriers."""

from landscape.flows.basins import Leaf, Merge, Tree, disconnectivity
from landscape.flows.connections import Connections, Edge, Lost, connect
from landscape.flows.descent import Descent, descend
from landscape.flows.past_saddles import Trajectory, one_by_one, trajectory
from landscape.flows.unstable import Eigenspace, eigenspaces

__all__ = [
    "Connections",
    "Descent",
    "Edge",
    "Eigenspace",
    "Leaf",
    "Lost",
    "Merge",
    "Trajectory",
    "Tree",
    "connect",
    "descend",
    "disconnectivity",
    "eigenspaces",
    "one_by_one",
    "trajectory",
]
