"""Rows and columns that a figure asks for: conditions, products and quotients."""

import numpy as np
import pytest

from experiments.sweep.selection import combined, select
from tests.sweeps import cell, table_of
from ufm import InputError


def rows():
    cells = [cell(c, K, ("ls", 0.1)) for K in (3, 10) for c in (0.1, 0.1 + 0.2)]
    table = table_of([*cells, cell(0.1, 10)])
    return {**table, "rate_nc2": np.array([1.0, 2, 3, 4, 5])}


def test_rows_meet_every_condition():
    assert select(rows(), "K=10")["rate_nc2"].tolist() == [3, 4, 5]
    assert select(rows(), " K = 10 , loss=ls")["rate_nc2"].tolist() == [3, 4]
    assert select(rows(), "c=0.3")["rate_nc2"].tolist() == [
        2,
        4,
    ]  # 0.1 + 0.2
    assert select(rows(), "smoothing=0.1,K=3,c=0.1")["rate_nc2"].tolist() == [1]


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ("K", "NAME=VALUE"),
        ("K=", "NAME=VALUE"),
        ("K=3,", "NAME=VALUE"),
        ("lamda_W=3", "write 'lambda_W'"),
        ("K=4", "use one of 3, 10"),
        ("K=three", "Need a number for K"),
        ("loss=mse", "use one of ce, ls"),
        ("loss=ce, K=3", "meet all conditions"),
    ],
)
def test_a_condition_that_no_row_meets_is_an_error(conditions, said):
    with pytest.raises(InputError, match=said):
        select(rows(), conditions)


def test_products_and_quotients_are_taken_from_left_to_right():
    table = rows()
    found = combined(table, "rate_nc2 / lambda_W*K")["rate_nc2 / lambda_W*K"]
    np.testing.assert_allclose(found, table["rate_nc2"] / table["lambda_W"] * table["K"])
    assert combined(table, "rate_nc2") is table
    zero = {**table, "step": np.zeros(5)}
    assert np.isinf(combined(zero, "K/step")["K/step"]).all()
    with pytest.raises(InputError, match="write 'lambda_W'"):
        combined(table, "rate_nc2/lamda_W")
    with pytest.raises(InputError, match="Need numbers in the column loss"):
        combined(table, "rate_nc2/loss")
