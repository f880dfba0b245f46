"""Cells of a sweep: every axis reaches its column and the model; batches follow from the spec."""

import math
from itertools import product

import numpy as np
import pytest

from experiments.sweep.axes import AXES
from experiments.sweep.cells import batches, expand, missing
from experiments.sweep.spec import Spec, make_spec
from experiments.sweep.work import Work
from ufm.errors import InputError

PLAIN = {"K": 3, "c": 0.5}


def spec_of(task="minimise", **axes) -> Spec:
    return make_spec({"task": task, "axes": axes})


def columns(**axes):
    return expand(spec_of(**axes)).columns


BAD_CELLS = [
    ({"K": 1, "c": 1}, "K >= 2 in every cell. Got 1 in cell 0"),
    ({"K": [4, 3], "d": "K-4", "c": 1}, "d >= 1 in every cell. Got 0 in cell 0"),
    ({"K": 3, "d": "K-5", "c": 1}, "d >= 1 .* Got -2"),
    ({"K": 3, "d": "999999K", "c": 1}, "sizes <= 1,000,000"),
    ({"K": 3, "n": [1, 0], "c": 1}, "n >= 1 .* Got 0 in cell 1"),
    ({"K": 3, "c": [1, 0.0]}, "lambda_W > 0 .* Got 0.0 in cell 1"),
    ({"K": 3, "decay": -1}, "lambda_W > 0 .* Got -1.0"),
    ({"K": 3, "lambda_W": 1, "lambda_H": -1}, "lambda_H > 0 .* Got -1.0"),
    ({"K": 3, "decay": 1e300}, "c > 0 and finite"),
    ({"K": 3, "c": 1, "decay_ratio": -1}, "lambda_W > 0"),
    ({"K": 3, "c": 1, "lambda_b": -1}, "lambda_b >= 0, or none. Got -1.0 in cell 0"),
    ({"K": 3, "c": 1, "seed": -1}, "seed >= 0"),
    ({"K": 3, "c": 1, "imbalance": 1.5}, "whole number imbalance"),
    ({"K": 3, "c": 1, "imbalance": 0.5, "n": 2}, "whole number imbalance"),
    ({"K": 3, "c": 1, "imbalance": 1e300}, "imbalance . n <= "),
    ({"K": 3, "c": 1, "imbalance": 2, "majority": "K"}, "0 < majority < K"),
    ({"K": -3, "c": 1, "imbalance": 2}, "0 < majority < K"),
    ({"counts": [[3]], "c": 1}, "K >= 2"),
    ({"counts": [[3, 0]], "c": 1}, "n >= 1"),
    ({"K": 3, "c": 1, "loss": {"name": "ls", "smoothing": 1}}, r"smoothing delta in \[0, 1\)"),
]


@pytest.mark.parametrize(("axes", "said"), BAD_CELLS)
def test_a_cell_outside_the_domain_is_named(axes, said):
    with pytest.raises(InputError, match=said):
        expand(spec_of(**axes))


# ---- every axis reaches the cells and their models


def test_cells_come_in_the_order_of_the_axes():
    found = columns(K=[3, 4], c=[0.1, 0.2], seed=[5, 6])
    told = list(zip(*(found[x].tolist() for x in ("K", "c", "seed")), strict=True))
    assert told == list(product((3, 4), (0.1, 0.2), (5, 6)))
    assert found["cell"].tolist() == list(range(8))


SEEN = [
    ({"loss": ["ce", "mse"]}, "loss", ["ce", "mse"]),
    ({"loss": {"name": "ls", "smoothing": [0.1, 0.2]}}, "smoothing", [0.1, 0.2]),
    ({"loss": {"name": "focal", "gamma": [1, 2]}}, "gamma", [1.0, 2.0]),
    ({"loss": {"name": "rescaled-mse", "kappa": [1, 2]}}, "kappa", [1.0, 2.0]),
    ({"loss": {"name": "rescaled-mse", "target": [1, 2]}}, "target", [1.0, 2.0]),
    ({"loss": {"name": "logit-adjusted", "tau": [1, 2]}}, "tau", [1.0, 2.0]),
    ({"loss": {"name": "ldam", "margin": [1, 2]}}, "margin", [1.0, 2.0]),
    ({"K": [3, 5]}, "K", [3, 5]),
    ({"d": [2, "K+1"]}, "d", [2, 4]),
    ({"n": [1, 4]}, "n", [1, 4]),
    ({"n": [1, 4]}, "N", [3, 12]),
    ({"lambda_b": ["none", 0, 0.1]}, "lambda_b", [math.nan, 0.0, 0.1]),
    ({"seed": [3, 9]}, "seed", [3, 9]),
    ({"c": [0.3, 0.7]}, "c", [0.3, 0.7]),
    ({"imbalance": [1, 3], "n": 2}, "counts", ["", "6,2,2"]),
    ({"imbalance": [1, 3], "n": 2}, "imbalance", [1.0, 3.0]),
    ({"imbalance": 3, "majority": [1, "K-1"]}, "counts", ["3,1,1", "3,3,1"]),
    ({"imbalance": 3, "majority": [1, "K-1"]}, "N", [5, 7]),
]


@pytest.mark.parametrize(("axes", "column", "values"), SEEN)
def test_every_axis_reaches_its_column(axes, column, values):
    found = columns(**{**PLAIN, **axes})[column].tolist()
    assert [str(x) for x in found] == [str(x) for x in values]


def test_every_axis_has_such_a_test():
    tested = {name for axes, _, _ in SEEN for name in axes}
    own = {"counts", "lambda_W", "lambda_H", "decay", "decay_ratio", "saddle"}  # below
    assert tested | own == set(AXES)


def test_decays_as_they_are_written():
    both = columns(K=3, lambda_W=[0.01, 0.02], lambda_H=[0.03, 0.05])
    told = list(zip(both["lambda_W"], both["lambda_H"], strict=True))
    assert told == list(product((0.01, 0.02), (0.03, 0.05)))
    one = columns(K=3, decay=[0.1, 0.2])
    assert one["lambda_W"].tolist() == one["lambda_H"].tolist() == [0.1, 0.2]
    assert one["c"] == pytest.approx(3 * np.array([0.1, 0.2]))  # sqrt(K N), N = K


def test_c_and_the_ratio_of_decays():
    """c = sqrt(K N lambda_W lambda_H) and lambda_W / lambda_H, for every K, n and profile."""
    axes = {"K": [3, 4], "n": [1, 5], "c": [0.1, 0.7], "decay_ratio": [1, 9], "imbalance": [1, 2]}
    found = columns(**axes)
    product_ = found["K"] * found["N"] * found["lambda_W"] * found["lambda_H"]
    assert np.sqrt(product_) == pytest.approx(found["c"], rel=1e-14)
    assert sorted(set(found["c"].tolist())) == [0.1, 0.7]  # to the last digit
    ratio = found["lambda_W"] / found["lambda_H"]
    assert sorted(set(ratio.round(12).tolist())) == [1.0, 9.0]


def test_counts_give_the_classes():
    found = columns(counts=[[3, 2, 1], [2, 2]], c=0.5, d="K-1")
    assert found["K"].tolist() == [3, 2]
    assert found["counts"].tolist() == ["3,2,1", ""]
    assert [found[x].tolist() for x in ("N", "n", "imbalance", "d")] == [
        [6, 4],
        [1, 2],
        [3.0, 1.0],
        [2, 1],
    ]


def test_a_saddle_and_a_threshold_have_their_columns():
    saddles = expand(spec_of("from_saddle", **PLAIN, saddle=["origin", "1|2"]))
    assert saddles.columns["saddle"].tolist() == ["origin", "1|2"]
    free = expand(spec_of("threshold", K=[3, 5], n=2, decay_ratio=4))
    assert free.columns["c"] == pytest.approx(1.0)
    assert free.columns["lambda_W"] / free.columns["lambda_H"] == pytest.approx(4.0)


def test_a_cell_is_the_model_that_the_axes_say():
    axes = {"loss": ["ce", {"name": "focal", "gamma": 3}], "counts": [[3, 2, 1]], "d": "K+2"}
    cells = expand(spec_of(**axes, lambda_W=0.01, lambda_H=0.02, lambda_b=["none", 0.5]))
    models = [cells.model(i) for i in range(4)]
    assert [model.loss.name for model in models] == ["ce", "ce", "focal(3)", "focal(3)"]
    assert [model.lambda_b for model in models] == [None, 0.5, None, 0.5]
    assert {model.counts_tuple for model in models} == {(3, 2, 1)}
    assert {(model.d, model.lambda_W, model.lambda_H) for model in models} == {(5, 0.01, 0.02)}
    balanced = expand(spec_of(**PLAIN, n=4)).model(0)
    assert balanced.counts_tuple == (4, 4, 4)
    assert balanced.c == pytest.approx(0.5)


# ---- batches


AXES_OF_BATCHES = {"K": [3, 4], "d": [2, "K", 9], "c": {"from": 0.1, "to": 1, "num": 7}}


def same(one, other) -> bool:
    return (one.number, one.shape, one.size) == (other.number, other.shape, other.size) and (
        np.array_equal(one.indices, other.indices)
    )


def test_a_loss_takes_its_numbers_from_the_sizes_of_its_cell():
    cells = expand(spec_of(loss="logit-adjusted", K=3, imbalance=[1, 4], n=[2, 3], c=[0.1, 0.2]))
    stacked = Work(cells, 3, {}, 3, False).models.loss.offsets
    assert stacked.shape == (8, 3)
    for i in range(8):
        counts = np.array(cells.counts(i))
        expected = np.log(counts / counts.sum())
        np.testing.assert_allclose(cells.loss(i).offsets, expected)
        np.testing.assert_allclose(cells.model(i).loss.offsets, expected)
        np.testing.assert_allclose(stacked[i], expected)
    assert len({tuple(row.round(12)) for row in stacked}) == 2
    assert cells.loss(0) is cells.loss(1)  # another c


def test_batches_hold_every_cell_once_and_one_shape_each():
    losses = ["ce", {"name": "focal", "gamma": 2}]
    cells = expand(spec_of(loss=losses, lambda_b=["none", 0, 1], **AXES_OF_BATCHES))
    cut = batches(cells, 5)
    assert sorted(np.concatenate([batch.indices for batch in cut]).tolist()) == list(
        range(len(cells))
    )
    assert [batch.number for batch in cut] == list(range(len(cut)))
    for batch in cut:
        loss, K, width, bias = batch.shape
        assert len(batch.indices) <= batch.size <= 5
        assert set(cells.columns["loss"][batch.indices]) == {loss}
        assert set(cells.columns["K"][batch.indices]) == {K}
        rows = 2 * K if loss == "focal" else K  # of a start: K suffice a convex loss
        needed = np.minimum(cells.columns["d"][batch.indices], rows)
        assert np.all((needed <= width) & (width <= 2 * needed))
        values = cells.columns["lambda_b"][batch.indices]
        kinds = {"no bias": np.isnan(values), "free bias": values == 0, "bias": values > 0}
        assert np.all(kinds[bias])


def test_batches_do_not_depend_on_what_was_computed_before():
    spec = spec_of(**AXES_OF_BATCHES)
    first, second = batches(expand(spec), 4), batches(expand(spec), 4)
    assert all(same(*pair) for pair in zip(first, second, strict=True))
    for present in ({0, 2}, set(range(len(first))), set()):
        left = list(missing(second, present))
        assert [batch.number for batch in left] == [
            i for i in range(len(first)) if i not in present
        ]
        assert all(same(batch, first[batch.number]) for batch in left)


def test_batches_do_not_depend_on_the_loss_of_other_cells_parameters():
    """Parameters share a program; another loss does not."""
    one = batches(expand(spec_of(**PLAIN, loss={"name": "ls", "smoothing": [0.1, 0.2]})), 9)
    two = batches(expand(spec_of(**PLAIN, loss=["ls", "ce"])), 9)
    assert (len(one), len(two)) == (1, 2)
