"""Batches in any order give what the array function gives of all samples."""

import copy
import dataclasses
import importlib

import numpy as np
import pytest

from ufm import CollapseMetric, InputError, collapse

accumulate = importlib.import_module("ufm.collapse.accumulate")
# What compares samples with the final class means.
SECOND_PASS = ("nc4_phd", "ncc_agreement", "nc4_rwu", "nc4_cls")


def network(seed, counts, d, spread=0.7, offset=0.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = 2 * rng.standard_normal((len(counts), d)) + offset
    features = centres[labels] + spread * rng.standard_normal((labels.size, d))
    W = centres - centres.mean(axis=0) + 0.4 * rng.standard_normal((len(counts), d))
    return features, labels, W, 0.3 * rng.standard_normal(len(counts))


def batches(rng, size):
    cuts = np.sort(rng.choice(np.arange(1, size), rng.integers(1, min(9, size - 1)), replace=False))
    return np.split(rng.permutation(size), cuts)


def close(seen, expected, tolerance=1e-12):
    for field in dataclasses.fields(expected):
        one, other = getattr(seen, field.name), getattr(expected, field.name)
        if field.name in SECOND_PASS:
            assert one is None
        elif other is None:
            assert one is None, field.name
        else:
            np.testing.assert_allclose(one, other, tolerance, tolerance, err_msg=field.name)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("counts", "d"), [((4, 4, 4), 5), ((2, 4, 7, 3), 6), ((1, 9), 3)])
def test_any_batches_give_the_numbers_of_all_samples(seed, counts, d):
    features, labels, W, b = network(seed, counts, d)
    expected = collapse(features, labels, classifier=W, bias=b, lambda_W=5e-3)
    metric = CollapseMetric(W, b, 5e-3)
    for part in batches(np.random.default_rng(seed), len(labels)):
        metric.update(features[part], labels[part])
    assert metric.num_samples == len(labels)
    close(metric.compute(), expected)
    close(metric.compute(), expected)  # computing changes nothing


@pytest.mark.parametrize("seed", range(6))
def test_parts_merge_to_the_whole(seed):
    features, labels, W, b = network(seed, (5, 3, 6), 4)
    metrics = [CollapseMetric(W, b) for _ in range(3)]
    for i, part in enumerate(batches(np.random.default_rng(seed), len(labels))):
        metrics[i % 2].update(features[part], labels[part])
    before = copy.deepcopy(metrics[1])
    metrics[0].merge(metrics[1])
    metrics[0].merge(metrics[2])  # which saw nothing
    close(metrics[0].compute(), collapse(features, labels, classifier=W, bias=b))
    for name in ("_counts", "_means", "_traces", "_squares", "_scatter", "_hits"):
        np.testing.assert_array_equal(getattr(metrics[1], name), getattr(before, name))


def test_decisions_are_counted_unless_that_is_switched_off():
    features, labels, W, b = network(7, (5, 3, 6), 4)
    counting, sparing = CollapseMetric(W, b), CollapseMetric(W, b, accuracy=False)
    for metric in (counting, sparing):
        metric.update(features, labels)
    expected = dataclasses.replace(
        collapse(features, labels, classifier=W, bias=b), classifier_accuracy=None
    )
    close(sparing.compute(), expected)
    assert counting.compute().classifier_accuracy is not None
    counting.merge(sparing)  # whose decisions nobody knows
    assert counting.compute().classifier_accuracy is None


def test_blocks_hold_several_samples_of_every_class_as_far_as_memory_allows():
    assert accumulate.block_rows(5, 3) == accumulate.BLOCK_ENTRIES // 5
    assert accumulate.block_rows(2048, 1000) == 8000
    assert accumulate.block_rows(2048, 10**6) == accumulate.LARGEST_BLOCK // 2048
    assert accumulate.block_rows(2**30, 10) == 1


def test_without_a_classifier_classes_appear_as_they_come():
    features, labels, _, _ = network(3, (3, 5, 4), 6)
    metric = CollapseMetric()
    for k in (1, 0, 2):
        metric.update(features[labels == k], labels[labels == k])
        if k == 1:
            with pytest.raises(InputError, match="at least one sample of each"):
                metric.compute()
    close(metric.compute(), collapse(features, labels))


def test_collapsed_classes_have_exactly_no_scatter_and_offsets_cost_nothing():
    means = np.array([[1e6, 0.1], [1e6 + 1, 0.3], [1e6, -0.7]])
    metric = CollapseMetric()
    for _ in range(5):
        metric.update(means, [0, 1, 2])
    assert metric.compute().trace_within == 0
    features, labels, _, _ = network(5, (40, 30, 20), 4, spread=1e-3, offset=1e5)
    metric = CollapseMetric()
    for part in batches(np.random.default_rng(8), len(labels)):
        metric.update(features[part], labels[part])
    # Means of 1e5 are known to 1e-11, in deviations of 1e-3; no digits are lost by squares of 1e10.
    assert metric.compute().nc1_phd == pytest.approx(collapse(features, labels).nc1_phd, rel=1e-7)


def test_the_coarsest_dtype_decides_the_rank():
    features, labels, _, _ = network(2, (3, 4), 5)
    metric = CollapseMetric()
    metric.update(features[:4].astype(np.float32), labels[:4])
    metric.update(features[4:], labels[4:])
    coarse = features.astype(np.float32)
    assert metric.compute().rank_cutoff == pytest.approx(collapse(coarse, labels).rank_cutoff, 1e-6)


def test_reset_forgets_samples_and_keeps_the_classifier():
    features, labels, W, b = network(4, (3, 4, 2), 5)
    metric = CollapseMetric(W, b)
    metric.update(features + 1, labels)
    metric.reset()
    assert metric.num_samples == 0
    metric.update(features, labels)
    close(metric.compute(), collapse(features, labels, classifier=W, bias=b))


class Tensor:
    """As torch has it: NumPy refuses to read it while it requires gradients or lies elsewhere."""

    def __init__(self, array, free=False):
        self.array, self.free = array, free

    def __array__(self, dtype=None, copy=None):
        if not self.free:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.array.dtype == object:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.array, True)

    def float(self):
        return Tensor(self.array.astype(np.float32), self.free)


@pytest.mark.parametrize("dtype", [np.float64, object])
def test_tensors_with_gradients_or_elsewhere_are_read(dtype):
    features, labels, _, _ = network(6, (3, 3), 4)
    metric = CollapseMetric()
    metric.update(Tensor(features.astype(dtype)), Tensor(labels))
    read = features if dtype is np.float64 else features.astype(np.float32)
    close(metric.compute(), collapse(read, labels))


@pytest.mark.parametrize(
    ("rows", "names", "match"),
    [
        ([[1.0, np.nan]], [0], "finite"),
        ([[1.0, 2.0, 3.0]], [0], "d = 2"),
        ([[1.0, 2.0]], [7], "0..1"),
        ([[1.0, 2.0]], [0.5], "integer"),
        ([[1.0, 2.0]], [0, 1], "one label per sample"),
    ],
)
def test_a_bad_batch_is_refused_and_leaves_the_metric_as_it_was(rows, names, match):
    metric = CollapseMetric(np.eye(2))
    metric.update([[1.0, 0.2], [0.1, 1.0]], [0, 1])
    before = metric.compute()
    with pytest.raises(InputError, match=match):
        metric.update(rows, names)
    assert metric.compute() == before


def test_nothing_and_strangers_are_refused():
    with pytest.raises(InputError, match="at least one sample"):
        CollapseMetric().compute()
    with pytest.raises(InputError, match="classifier"):
        CollapseMetric(bias=[0.0, 1.0])
    one, other = CollapseMetric(np.eye(2)), CollapseMetric(2 * np.eye(2))
    other.update([[1.0, 0.2], [0.1, 1.0]], [0, 1])
    with pytest.raises(InputError, match="same classifier"):
        one.merge(other)
    free = CollapseMetric()
    free.update([[1.0], [2.0]], [0, 1])
    wide = CollapseMetric()
    wide.update([[1.0, 2.0], [2.0, 0.0]], [0, 1])
    with pytest.raises(InputError, match="d = 1"):
        free.merge(wide)


def test_large_batches_are_taken_in_blocks(monkeypatch):
    monkeypatch.setattr(accumulate, "BLOCK_ENTRIES", 12)
    features, labels, W, b = network(9, (5, 2, 8), 4)
    metric = CollapseMetric(W, b)
    metric.update(features, labels)
    close(metric.compute(), collapse(features, labels, classifier=W, bias=b))
    with pytest.raises(InputError, match="finite"):
        metric.update(np.vstack([features, np.full((1, 4), np.inf)]), np.append(labels, 0))
    assert metric.num_samples == 15
