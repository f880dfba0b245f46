"""Conditions on rows: a batch is passed over only where none of its rows is wanted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.sweep import store as module
from experiments.sweep.conditions import chosen_rows, excluded
from experiments.sweep.store import Store

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NUMBERS = st.sampled_from([-2, -1, 0, 1, 2, 2**53, 2**53 + 1, -0.5, 0.5, 1.0, float("inf")])
FLOATS = [-1.0, -0.5, 0.0, -0.0, 1.0, 2.0**53, float("nan"), float("inf")]
CONDITIONS = st.one_of(NUMBERS, st.tuples(NUMBERS, NUMBERS), st.tuples(NUMBERS, st.none()))


def metadata(columns):
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(columns), sink)
    return parquet.ParquetFile(pyarrow.py_buffer(sink.getvalue().to_pybytes())).metadata


@given(
    st.lists(st.sampled_from([-1, 0, 1, 2**53, 2**53 + 1]), min_size=1, max_size=4),
    st.lists(st.sampled_from(FLOATS), min_size=1, max_size=4),
    CONDITIONS,
    CONDITIONS,
)
def test_an_excluded_batch_has_no_row_that_is_kept(integers, floats, first, second):
    size = min(len(integers), len(floats))
    columns = {"K": np.array(integers[:size]), "c": np.array(floats[:size])}
    where = {"K": first, "c": second}
    if excluded(metadata(columns), ["K", "c"], where):
        assert not chosen_rows(pyarrow.table(columns), where).any()


def test_batches_outside_are_not_read(tmp_path, monkeypatch):
    store = Store.create(tmp_path, {"key": "k", "num_batches": 5, "num_cells": 15})
    with store.lock():
        for batch in range(5):
            cell = np.arange(3 * batch, 3 * batch + 3)
            store.write(batch, {"cell": cell, "K": np.full(3, batch), "c": cell / 10})
    looked = []

    def counted(part, where):
        looked.append(part.column(0)[0].as_py())
        return chosen_rows(part, where)

    monkeypatch.setattr(module, "chosen_rows", counted)
    assert store.table(["cell"], {"K": 3})["cell"].tolist() == [9, 10, 11]
    assert looked == [0, 3]  # the first for its types
    assert store.table(["cell"], {"c": (0.35, 0.65)})["cell"].tolist() == [4, 5, 6]
    assert looked[2:] == [0.0, 0.3, 0.6]
