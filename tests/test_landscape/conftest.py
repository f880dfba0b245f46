"""Landscapes that are searched once for all files here (they share a worker, group "atlas")."""

import numpy as np
import pytest

from landscape.atlas import atlas
from landscape.branches import branches
from landscape.flows import connect
from tests.landscapes import balanced, polished
from ufm import UFM, CrossEntropy


@pytest.fixture(scope="session")
def three():
    return atlas(balanced(3))


@pytest.fixture(scope="session")
def four():
    return atlas(balanced(4))


@pytest.fixture(scope="session")
def five():
    return atlas(balanced(5))


@pytest.fixture(scope="session")
def skew():
    """Unequal counts, unequal decays and a bias: nothing is symmetric by accident."""
    model = UFM(CrossEntropy(), counts=(2, 1, 1), d=3, lambda_W=0.02, lambda_H=0.015, lambda_b=0.05)
    return atlas(model)


@pytest.fixture(scope="session")
def wide(four):
    """Who flows to whom, K = 4, d = 3."""
    return connect(four, 3)


@pytest.fixture(scope="session")
def small(three):
    """Who flows to whom, K = 3, d = 2."""
    return connect(three, 2)


@pytest.fixture(scope="session")
def biased():
    """Six orbits; two of them end on others by breaking a symmetry."""
    return atlas(
        UFM(CrossEntropy(), counts=(2, 1, 1), d=3, lambda_W=0.03, lambda_H=0.01, lambda_b=0.05)
    )


@pytest.fixture(scope="session")
def biased_diagram(biased):
    return branches(biased, 0.03, 1.3)


@pytest.fixture(scope="session")
def folding():
    """Rank one, classes of counts (2, 2, 1, 1): a branch that turns at c = 0.371."""
    model = UFM(CrossEntropy(), counts=(2, 2, 1, 1), d=1, lambda_W=0.02, lambda_H=0.01)
    W = np.array([[1.653], [0.928], [-1.291], [-1.291]])
    return polished(model, W, np.array([[3.088, 0.826, -1.348, -1.348]]))
