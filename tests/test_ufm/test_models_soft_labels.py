"""Soft labels: equal rows are one type, smoothing is a special case, and bad rows."""

import numpy as np
import pytest

from landscape import Globality, solve, verdict
from ufm import UFM, CrossEntropy, InputError, LabelSmoothing, soft_labels


def test_samples_of_equal_rows_are_put_together():
    model = soft_labels("0.2,0.8,0/1,0,0/0.2,0.8,0/0,0.5,0.5", counts="1,2,3,4")
    assert model.counts_tuple == (4, 2, 4)
    np.testing.assert_array_equal(model.targets, [[0.2, 0.8, 0], [1, 0, 0], [0, 0.5, 0.5]])
    assert soft_labels([[0.2, 0.8], [0.2, 0.8]], n=3).counts_tuple == (6,)


@pytest.mark.parametrize("delta", [0.0, 0.3])
def test_smoothed_labels_are_those_of_the_plain_model(delta):
    """The bound of one holds for the closed form of the other."""
    loss = LabelSmoothing(delta) if delta else CrossEntropy()
    best = UFM(loss, 3, 4, 2, lambda_W=0.02, lambda_H=0.03).minimiser()
    model = soft_labels((1 - delta) * np.eye(3) + delta / 3, 2, 4, 0.02, 0.03)
    told = model.certificate(best.point)
    assert model.merge().model.objective(best.point) == pytest.approx(best.value, abs=1e-13)
    assert told.gap == pytest.approx(0, abs=1e-12)


def test_a_solved_problem_is_global_by_its_bound():
    model = soft_labels()
    run = solve(model)
    told = verdict(model, run.point)
    assert told.globality is Globality.GLOBAL
    assert told.objective == pytest.approx(0.6885705210, abs=1e-9)


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ("0.5,0.6", "sum to 1.*Got 1.1 in row 1"),
        ("1,0/-0.1,1.1", "not negative.*-0.1 in row 2"),
        ("1,0/0.2,0.3,0.5", "2 numbers in every row.*3 in row 2"),
        ("1,x", "numbers with commas"),
        ("1", "K >= 2"),
        ("nan,1", "finite"),
        (3.0, "numbers with commas"),
        ([], "K >= 2"),
    ],
)
def test_bad_rows(targets, says):
    with pytest.raises(InputError, match=says):
        soft_labels(targets)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"n": 0}, "n >= 1"), ({"counts": "1,2"}, "one count per row, 4"), ({"d": 0}, "d >= 1")],
)
def test_bad_numbers(changes, says):
    with pytest.raises(InputError, match=says):
        soft_labels(**changes)
