"""Several tasks: each is a plain problem of its own, and one may vanish alone."""

import numpy as np
import pytest

from ufm import UFM, CrossEntropy, InputError, tasks


def test_the_minimum_is_the_sum_of_plain_ones():
    """c_t = sigma sqrt(N K_t) is that of K_t classes with N / K_t samples each."""
    model = tasks("2,3", 2, 5, 0.02, 0.03)
    plain = [
        UFM(CrossEntropy(), K, 5, model.num_samples // K, lambda_W=0.02, lambda_H=0.03)
        for K in (2, 3)
    ]
    np.testing.assert_allclose(model.prices(), [x.c for x in plain])
    best = model.minimiser()
    assert best.value == pytest.approx(sum(x.minimiser().value for x in plain), abs=1e-13)
    assert best.value == pytest.approx(0.6155026618, abs=1e-10)
    assert best.rank == 3
    np.testing.assert_allclose(best.point.W[:2] @ best.point.W[2:].T, 0, atol=1e-13)


def test_the_task_of_more_classes_vanishes_first():
    model = tasks("2,4", 2, 5, 0.16, 0.11)
    assert model.prices()[0] < 1 < model.prices()[1]
    best = model.minimiser()
    assert best.rank == 1
    assert model.certificate(best.point).gap == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(best.point.W[2:], 0, atol=1e-13)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes": "2,x"}, "classes as integers"),
        ({"classes": "2,1"}, "K >= 2"),
        ({"classes": ""}, "classes as integers"),
        ({"n": 0}, "n >= 1"),
        ({"d": 0}, "d >= 1"),
        ({"lambda_W": 0.0}, "lambda_W > 0"),
    ],
)
def test_bad_input(changes, says):
    with pytest.raises(InputError, match=says):
        tasks(**changes)
