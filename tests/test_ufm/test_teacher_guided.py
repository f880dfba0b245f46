"""Risks of least squares on queries, against students that are solved for."""

import math

import numpy as np
import pytest

from ufm.errors import InputError
from ufm.teacher_guided import bias, variance

DRAWS = 4000
ASKED, NOISE = 2, 0.3


@pytest.mark.parametrize(
    ("num_queries", "dimension"),
    # On both sides of the threshold, six from it so that risks have a variance.
    [(9, 2), (12, 5), (3, 11), (1, 3), (2, 4)],
)
def test_risks_are_those_of_students_that_are_solved_for(num_queries, dimension):
    rng = np.random.default_rng((157, num_queries, dimension))
    w = rng.normal(size=dimension)
    noise = NOISE if abs(num_queries - dimension) > 5 else 0.0
    X = rng.normal(size=(DRAWS, num_queries, dimension))
    y = X @ w + noise * rng.normal(size=(DRAWS, num_queries))
    found = np.einsum("apn,an->ap", np.linalg.pinv(X), y)
    risks = np.sum((found - w)[:, :ASKED] ** 2, axis=1)
    said = variance(num_queries, dimension, ASKED, noise)
    said += bias(num_queries, dimension, ASKED, np.sum(w[:ASKED] ** 2), np.sum(w**2))
    # Four standard errors; a wrong one by one in N - p - 1 is off by ten or more.
    assert risks.mean() == pytest.approx(said, abs=4 * risks.std() / math.sqrt(DRAWS) + 1e-15)


def test_noise_is_unbounded_at_the_threshold():
    assert variance(5, 5, 2, 0.1) == math.inf == variance(4, 5, 2, 0.1) == variance(6, 5, 2, 0.1)
    assert variance(5, 5, 2, 0.0) == 0
    assert bias(5, 5, 2, 1.0, 1.0) == 0 == bias(7, 5, 2, 1.0, 1.0)
    # All of one dimension is told by one query.
    assert bias(1, 1, 1, 1.0, 1.0) == 0


def test_all_directions_asked_is_a_share():
    """Of p = 7 dimensions N = 3 are told: 4/7 of the teacher is left."""
    assert bias(3, 7, 7, 2.0, 2.0) == pytest.approx(8 / 7)


@pytest.mark.parametrize("sizes", [(0, 3, 2), (4, 3, 0), (4, 3, 5)])
def test_sizes_out_of_their_domain_are_refused(sizes):
    with pytest.raises(InputError):
        variance(*sizes, 0.1)
    with pytest.raises(InputError):
        bias(*sizes, 1.0, 1.0)
