"""Detection of other data against all pairs, every threshold, and the formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from experiments.networks.measures.ood import (
    detection,
    feature_norm,
    max_logit,
    max_softmax,
)
from ufm.errors import InputError

N, K, D = 6, 3, 4
scores = st.lists(st.integers(-3, 3), min_size=1, max_size=15)


@given(scores, scores, st.floats(0.01, 1))
def test_detection_is_that_of_all_pairs_and_of_every_threshold(own, other, tpr) -> None:
    made = detection(own, other, tpr)
    pairs = np.mean([(a > b) + (a == b) / 2 for a in own for b in other])
    assert made.auroc == pytest.approx(pairs, rel=1e-12)
    enough = [t for t in own if np.mean(np.array(own) >= t) >= tpr]
    assert made.threshold == max(enough)
    assert made.fpr == pytest.approx(np.mean(np.array(other) >= max(enough)), rel=1e-12)


def test_the_rate_is_heeded_and_reached_exactly() -> None:
    own, other = np.arange(1.0, 101), np.arange(0.5, 100)
    found = [detection(own, other, tpr) for tpr in (0.95, 0.5, 1.0)]
    assert [made.threshold for made in found] == [6, 51, 1]
    assert [made.fpr for made in found] == [0.94, 0.49, 0.99]
    assert detection(own, other) == found[0]
    # 0.07 * 100 is rounded up to more than 7; seven samples are enough.
    assert 0.07 * 100 > 7
    assert detection(own, other, 0.07).threshold == 94


def test_own_and_other_are_not_interchangeable() -> None:
    assert detection([2, 3], [0, 1]).auroc == 1
    assert detection([0, 1], [2, 3]).auroc == 0
    assert detection([1, 1], [1, 1]).auroc == 0.5


def test_scores_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    z, H = rng.standard_normal((N, K)), rng.standard_normal((N, D))
    np.testing.assert_allclose(np.exp(max_softmax(z)), softmax(z, axis=1).max(axis=1), rtol=1e-14)
    np.testing.assert_array_equal(max_logit(z), [max(row) for row in z])
    np.testing.assert_allclose(feature_norm(H), np.sqrt((H**2).sum(axis=1)), rtol=1e-14)
    assert max_softmax([[0.0, 0.0, 0.0]])[0] == pytest.approx(-np.log(3), rel=1e-15)


def test_max_softmax_does_not_saturate_where_probabilities_do() -> None:
    own, other = [[90.0, 0.0], [80.0, 0.0]], [[50.0, 0.0], [60.0, 0.0]]
    assert detection(max_softmax(own), max_softmax(other)).auroc == 1
    saturated = [softmax(z, axis=1).max(axis=1) for z in (own, other)]
    assert detection(*saturated).auroc == 0.5


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match=r"own scores"):
        detection([], [1])
    with pytest.raises(InputError, match=r"other scores"):
        detection([1], [np.inf])
    for tpr in (0, 1.1, np.nan):
        with pytest.raises(InputError, match=r"true positive rate"):
            detection([1], [1], tpr)
