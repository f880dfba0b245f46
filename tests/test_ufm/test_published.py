"""Numbers that papers print, from the lab's closed forms and descents (docs/published.md)."""

from pathlib import Path

import jax
import numpy as np
import pytest

from landscape import Globality, solve, verdict
from tests.helpers import slow
from ufm import MSE, UFM, CrossEntropy, Sphere, deep_linear, graph, merging_ratio

PAGE = (Path(__file__).parents[2] / "docs" / "published.md").read_text()


def hong_ling(l, counts):  # noqa: E741
    """Their objective has no halves: every decay is twice theirs."""
    return UFM(CrossEntropy(), counts=counts, d=10, lambda_W=l / 10, lambda_H=10 * l)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("large", "below", "above", "rank"),
    [(5, 0.00333, 0.00334, 5), slow(3, 0.00454, 0.00455, 3)],
)
def test_small_classes_merge_where_hong_and_ling_say(large, below, above, rank):
    counts = (500,) * large + (100,) * (10 - large)
    threshold = 100**0.5 / sum(counts)
    assert below < threshold < above
    for l, expected in ((below, 9), (above, rank)):  # noqa: E741
        model = hong_ling(l, counts)
        told = verdict(model, solve(model, key=jax.random.key(0)).point)
        assert (told.count.rank, told.globality) == (expected, Globality.GLOBAL)


def test_the_defaults_of_the_other_script_leave_nothing():
    model = hong_ling(0.005, (5000,) * 3 + (4000,) * 3 + (3000,) * 4)
    told = verdict(model, model.origin())
    assert told.globality is Globality.GLOBAL
    assert told.objective == pytest.approx(np.log(10), abs=1e-14)


def test_layer_peeled_ratios_stand_on_the_page():
    for numbers in ((10, 5, 1, 5), (10, 3, 1, 5), (10, 5, 1, 10)):
        assert f"${merging_ratio(*numbers):.4f}$" in PAGE


@pytest.mark.parametrize(
    ("depth", "logits"),
    [(1, (0.98585786, 0.98, 0.97171573)), (6, (0.99786508, 0.99612789, 0.99296995))],
)
def test_own_logits_of_deep_linear_networks(depth, logits):
    counts = np.array([200, 100, 50, 50])
    model = deep_linear(
        MSE(), d=4, depth=depth, counts="200,100,50,50", lambda_W=5e-4, lambda_H=5e-4
    )
    merge = model.merge()
    best = merge.reduce(merge.lift(model.minimiser().point))
    own = np.diag(np.asarray(best.logits())) / np.sqrt(counts)
    np.testing.assert_allclose(own, [*logits, logits[-1]], atol=6e-9)
    for number in logits[::2]:
        assert f"${number:.8f}$".replace("$0", "$") in PAGE


def test_graphs_of_a_thousand_nodes():
    model = graph(2, 500, 3, 13, 1, 0.005, 0.005)
    best = model.minimiser()
    assert f"${best.value:.10f}$".replace("$0", "$") in PAGE
    seen = np.asarray(best.point.logits()) @ np.asarray(model.means)  # after the averages
    first, last = seen[:, [0, -1]].T
    np.testing.assert_allclose(first + last, 0.7763932, atol=5e-8)
    np.testing.assert_allclose(first - last, [0.7391254, -0.7391254], atol=5e-8)


@pytest.mark.parametrize(
    ("d", "K", "cosine"), [(3, 12, 5**-0.5), slow(5, 16, 0.2), slow(6, 27, 0.25)]
)
def test_conjectured_codes_are_found(d, K, cosine):
    """At a temperature at which descents see the farthest neighbours too."""
    model, found = Sphere(CrossEntropy(), K, d, 1, 6.0), []
    for seed in range(12):
        W = np.asarray(solve(model, key=jax.random.key(seed)).point.W)
        W = W / np.linalg.norm(W, axis=1, keepdims=True)
        found.append((W @ W.T - 2 * np.eye(K)).max())
    assert min(found) == pytest.approx(cosine, abs=1e-9)
