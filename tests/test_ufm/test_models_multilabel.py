"""Sets of labels: the published numbers, sets of three, and bad input."""

import numpy as np
import pytest

from proofs_check.claims.multilabel import sets
from proofs_check.descents import descended, entropy_against
from ufm import UFM, CrossEntropy, InputError, multilabel


def test_the_scales_of_single_labels_and_pairs():
    model = multilabel(4, 5, 2, 1, 0, 0.004, 0.006)
    best = model.minimiser()
    assert best.value == pytest.approx(0.7532217777, abs=1e-10)
    Z = best.point.W @ best.point.H / np.sqrt(model.counts)
    assert Z[0, 0] - Z[1, 0] == pytest.approx(4.6721866273, abs=1e-10)
    assert Z[0, 4] - Z[3, 4] == pytest.approx(4.1170398877, abs=1e-10)
    assert (best.rank, best.evidence, model.num_samples) == (3, "proved", 14)


@pytest.mark.parametrize(
    "setting",
    [(5, 6, 1, 2, 1, 0.003, 0.008), (3, 4, 0, 2, 0, 0.02, 0.011), (5, 4, 2, 0, 1, 0.01, 0.01)],
)
def test_no_descent_ends_below(setting):
    members = sets(setting)
    shape = (setting[0], setting[1], members.shape[1])
    value, _ = descended(entropy_against(members), shape, setting[5:], 1)
    assert multilabel(*setting).minimiser().value == pytest.approx(value, abs=1e-12)


def test_single_labels_are_the_plain_model():
    plain = UFM(CrossEntropy(), 3, 4, 2, lambda_W=0.02, lambda_H=0.03).minimiser()
    assert multilabel(3, 4, 2, 0, 0, 0.02, 0.03).minimiser().value == pytest.approx(plain.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_classes": 1}, "K >= 2"),
        ({"n": -1}, "n >= 0"),
        ({"n": 0, "pairs": 0}, "Need samples"),
        ({"num_classes": 2}, "fewer labels than K = 2"),
        ({"num_classes": 3, "triples": 1}, "fewer labels than K = 3"),
        ({"d": 0}, "d >= 1"),
        ({"lambda_W": 0.0}, "lambda_W > 0"),
        ({"lambda_H": -1.0}, "lambda_H > 0"),
    ],
)
def test_bad_input(changes, says):
    with pytest.raises(InputError, match=says):
        multilabel(**changes)
