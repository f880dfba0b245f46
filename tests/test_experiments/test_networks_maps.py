"""Heat maps of a comparison: what chance alone moves must not look like a difference."""

import numpy as np
import pytest

from experiments.networks.comparison.likeness import Likeness
from experiments.networks.comparison.maps import heat_map, likeness_map
from experiments.networks.comparison.table import Summary
from tests.drawing import panel

LOSSES = ("ce", "ls", "focal", "mse")


def summaries(means, std):
    pairs = zip(LOSSES, means, strict=True)
    return [Summary(loss, 1.0, "test_accuracy", mean, std, 6, 6) for loss, mean in pairs]


def contrast(ax):
    """Share of the colours that the values of a map use."""
    (image,) = ax.images
    return float(np.ptp(np.asarray(image.norm(image.get_array()))))


def test_colours_are_no_stronger_than_the_spread_between_seeds_justifies():
    means = (0.985, 0.984, 0.983, 0.982)
    # 0.003 of 8 * 0.004; of 1.6 * 0.003 where seeds agree.
    assert contrast(heat_map(summaries(means, 0.004), "test_accuracy", panel())) == pytest.approx(
        0.003 / 0.032
    )
    assert contrast(heat_map(summaries(means, 1e-5), "test_accuracy", panel())) == pytest.approx(
        1 / 1.6
    )


def test_similarities_of_all_losses_are_shown_and_near_ones_look_alike():
    near = np.full((4, 4), 0.95) + np.diag([0.003, 0.002, -0.008, -0.002])
    ax = likeness_map(Likeness(LOSSES, 1.0, near, near, np.full((4, 4), 15)), "cka", panel())
    assert [label.get_text() for label in ax.get_yticklabels()] == list(LOSSES)
    assert len(ax.texts) == 16
    assert contrast(ax) < 0.05
    apart = near - 0.6 * (1 - np.eye(4))
    assert contrast(likeness_map(Likeness(LOSSES, 1.0, apart, apart, near), "cka", panel())) > 0.6
