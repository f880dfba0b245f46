"""Layers that grow class by class: odd numbers of classes, and images too small for them."""

import numpy as np
import pytest

from experiments.figures import blank_figure
from experiments.networks.tracks.growing import draw_growth
from experiments.networks.tracks.options import ReduNetOptions
from experiments.networks.tracks.redunet import ReduNet
from experiments.networks.tracks.track import Cell, Result

pytestmark = pytest.mark.xdist_group("networks")


@pytest.mark.parametrize("K", [2, 3])
def test_an_odd_class_comes_alone(tmp_path, K):
    X = np.random.default_rng(6).normal(size=(7 * K, 5))
    X[np.arange(7 * K), np.arange(7 * K) % K] += 4
    np.savez(tmp_path / "own.npz", X=X, y=np.arange(7 * K) % K)
    options = ReduNetOptions(1, str(tmp_path / "own.npz"), depth=3, dimension=1, passes=4)
    cells = [Cell("class by class", method, 0) for method in ("redunet", "mlp")]
    made = [Result(c, *ReduNet().measure(options, c, tmp_path / c.method)) for c in cells]
    for result in made:
        assert (result.numbers["classes"], len(result.series["first"])) == (K, K - 1)
    assert made[0].numbers["joint_difference"] < 1e-12
    # A learner that saw two classes of three has at most the share of them.
    assert made[0].numbers["accuracy"] > 0.8
    ax = draw_growth(blank_figure(4.0, 3.0).add_subplot(), made)
    assert ax.containers[0].lines[0].get_xdata().tolist() == list(range(2, K + 1))


def test_images_need_a_pixel_for_every_class(ufm, tmp_path):
    np.savez(tmp_path / "own.npz", X=np.arange(40.0).reshape(20, 2), y=np.arange(20) % 3)
    ran = ufm("track redunet --data", tmp_path / "own.npz", "--out", tmp_path / "x")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "a pixel or more for each of the 3 classes" in ran.err
    assert "Got 2" in ran.err
