"""Calibration against brute force and values known by hand."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from experiments.networks.measures.calibration import (
    brier_score,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from ufm.errors import InputError

N, K, B = 315, 4, 7


def sample(seed=0, heat=2.0):
    """Logits and labels drawn from softmax(logits/heat): overconfident by that factor."""
    rng = np.random.default_rng(seed)
    z = heat * rng.standard_normal((N, K)) * 1.5
    p = softmax(z / heat, axis=1)
    return z, np.array([rng.choice(K, p=row) for row in p])


def brute_force(z, y, edges):
    """(count, accuracy, confidence) of the samples in each (low, high], the least in the first."""
    p = softmax(z, axis=1)
    found = []
    for b, (low, high) in enumerate(pairwise(edges)):
        rows = [
            i for i in range(len(y)) if low < p[i].max() <= high or (b == 0 and p[i].max() <= low)
        ]
        if rows:
            hits = np.mean([p[i].argmax() == y[i] for i in rows])
            found.append((len(rows), hits, np.mean([p[i].max() for i in rows])))
    return found


def test_equal_width_is_the_definition() -> None:
    z, y = sample()
    made = reliability(z, y, B)
    wanted = brute_force(z, y, [b / B for b in range(B + 1)])
    found = list(zip(made.counts, made.accuracy, made.confidence, strict=True))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    # Confidence is at least 1/K, so that the first bin of 7 is empty, and no bin of the curve.
    assert len(wanted) == B - 1
    assert made.ece == pytest.approx(sum(n * abs(a - c) for n, a, c in wanted) / N, rel=1e-12)
    # Negative control: this sample is overconfident, and its heated logits are not.
    assert made.ece > 2 * reliability(z / 2, y, B).ece


def test_equal_mass_is_that_of_the_sorted_samples_and_both_options_matter() -> None:
    z, y = sample()
    made = reliability(z, y, B, "mass")
    assert made.counts.tolist() == [N // B] * B
    confidence = softmax(z, axis=1).max(axis=1)
    order = np.argsort(confidence).reshape(B, -1)
    correct = z.argmax(axis=1) == y
    np.testing.assert_allclose(made.accuracy, correct[order].mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(made.confidence, confidence[order].mean(axis=1), rtol=1e-12)
    gaps = np.abs(correct[order].mean(axis=1) - confidence[order].mean(axis=1))
    np.testing.assert_allclose(made.ece, gaps.mean(), rtol=1e-12)
    assert (
        len({round(reliability(z, y, b, m).ece, 9) for b in (7, 15) for m in ("width", "mass")})
        == 4
    )
    assert reliability(z, y, binning="mass").counts.size == 15
    np.testing.assert_array_equal(np.sort(reliability(z, y, 11, "mass").counts)[[0, -1]], [28, 29])


def test_equal_mass_does_not_depend_on_the_order_of_tied_samples() -> None:
    """A collapsed network: most confidences are exactly 1, some of those are wrong."""
    z = np.zeros((12, 3))
    z[:, 1] = [800.0] * 9 + [0.5, 0.7, 1.1]
    y = np.array([1, 1, 0, 1, 1, 1, 2, 1, 1, 1, 0, 1])
    found = [
        reliability(z[order], y[order], 5, "mass") for order in (np.arange(12), np.arange(12)[::-1])
    ]
    np.testing.assert_array_equal(found[0].counts, found[1].counts)
    assert found[0].ece == pytest.approx(found[1].ece, rel=1e-12)
    assert found[0].counts.max() == 9
    # By hand: the nine at confidence 1 have two wrong, the others are bins of one or two.
    assert found[0].ece >= 9 / 12 * 2 / 9
    # Negative control: bins cut from a sorted list do depend on it.
    cut = [
        [np.mean(part) for part in np.array_split((z[o].argmax(1) == y[o])[3:], 3)]
        for o in (np.arange(12), np.arange(12)[::-1])
    ]
    assert cut[0] != cut[1]


def test_edges_belong_to_the_bin_below() -> None:
    made = reliability(np.log([[0.5, 0.5], [0.75, 0.25]]), [0, 0], 4)
    assert made.counts.tolist() == [1, 1]
    # A bin above, and both would share the last of two.
    assert reliability(np.log([[0.5, 0.5], [0.75, 0.25]]), [0, 0], 2).counts.tolist() == [1, 1]


def test_likelihood_and_brier_score_agree_with_scikit_learn() -> None:
    z, y = sample()
    p = softmax(z, axis=1)
    assert negative_log_likelihood(z, y) == pytest.approx(log_loss(y, p), rel=1e-12)
    assert brier_score(z, y) == pytest.approx(
        brier_score_loss(y, p, scale_by_half=False), rel=1e-12
    )
    # Shifts and large logits change nothing and do not overflow.
    assert negative_log_likelihood(z + 1e4, y) == pytest.approx(log_loss(y, p), rel=1e-9)
    assert negative_log_likelihood([[0.0, 5000.0]], [0]) == 5000
    assert brier_score([[0.0, 5000.0]], [0]) == 2


def test_temperature_is_the_minimiser() -> None:
    z, y = sample()
    made = fit_temperature(z, y)
    # Another route: bounded minimisation of the value, good to the root of the rounding.
    other = minimize_scalar(
        lambda t: negative_log_likelihood(z / np.exp(t), y),
        bounds=(-3, 3),
        options={"xatol": 1e-10},
    )
    assert made.value == pytest.approx(np.exp(other.x), rel=1e-6)
    assert made.nll_after == pytest.approx(other.fun, rel=1e-12)
    assert made.nll_before == negative_log_likelihood(z, y) > made.nll_after
    assert abs(made.slope) < 1e-13
    # The labels were drawn at temperature 2; the standard error of log T is about 0.07 here.
    assert abs(np.log(made.value / 2)) < 0.3
    # Timid logits, whose temperature is above their size: 3 of 5 right at log-odds 1/T.
    timid = fit_temperature([[1.0, 0.0]] * 5, [0, 0, 0, 1, 1])
    assert timid.value == pytest.approx(1 / np.log(1.5), rel=1e-12)
    # Scaling the logits scales the temperature, however far.
    for scale in (1e-30, 1e30):
        ratio = fit_temperature(scale * z, y).value / scale
        assert ratio == pytest.approx(made.value, rel=1e-10)


def test_there_is_no_temperature_where_none_is_best() -> None:
    z, _ = sample()
    right = fit_temperature(z, z.argmax(axis=1))
    assert (right.value, right.nll_after) == (None, 0)
    assert "T -> 0" in right.reason
    wrong = fit_temperature(-z, z.argmax(axis=1))
    assert wrong.value is None
    assert wrong.nll_after == np.log(K)
    assert "T -> infinity" in wrong.reason
    one_wrong = np.where(np.arange(N) == 8, (z.argmax(axis=1) + 1) % K, z.argmax(axis=1))
    assert fit_temperature(z, one_wrong).value is not None
    tied = fit_temperature([[1.0, 1.0, 0.0]], [0])
    assert tied.nll_after == np.log(2)


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        ([[1.0, 2.0]], [2], r"labels in 0\.\.1"),
        ([[1.0]], [0], "K >= 2 classes"),
        ([[np.nan, 1.0]], [0], "finite logits"),
        ([1.0, 2.0], [0], "2 axes"),
        ([[1.0, 2.0]], [0, 1], "one label per sample"),
        (np.zeros((0, 3)), [], "no axis of length 0"),
    ],
)
def test_bad_arguments_are_refused(logits, labels, says) -> None:
    for function in (reliability, negative_log_likelihood, brier_score, fit_temperature):
        with pytest.raises(InputError, match=says):
            function(logits, labels)


def test_bad_bins_are_refused() -> None:
    with pytest.raises(InputError, match=r"number of bins >= 1"):
        reliability([[1.0, 2.0]], [0], 0)
    with pytest.raises(InputError, match=r"equal width or equal mass"):
        reliability([[1.0, 2.0]], [0], 3, "median")  # type: ignore[arg-type]
