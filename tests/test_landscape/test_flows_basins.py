"""Disconnectivity trees against flood fills, and their diagram."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from scipy.ndimage import label as flood

from landscape.atlas import atlas
from landscape.flows import basins as basins_module
from landscape.flows.basins import disconnectivity
from landscape.flows.descent import (
    Descent,
)
from landscape.plots.disconnectivity import draw_disconnectivity
from landscape.plots.style import style
from tests.landscapes import balanced
from ufm import MSE, UFM, InputError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("atlas")]


def of_label(found, name, rank):
    return next(
        i for i, o in enumerate(found.orbits) if o.label.startswith(name) and o.rank == rank
    )


def profile(W, decay):
    """min over H of the objective for d = 1 and codes W (..., K): one convex problem per class."""
    K = W.shape[-1]
    value = 0.5 * decay * np.sum(W**2, axis=-1)
    for k in range(K):
        gap = W - W[..., k, None]
        reach = np.abs(gap).max(axis=-1) / (K * decay)
        low, high = -reach, reach
        for _ in range(18):  # |h| < 100: to 1e-3, which moves the minimum by 1e-7
            h = 0.5 * (low + high)
            p = np.exp(h[..., None] * gap - np.max(h[..., None] * gap, axis=-1, keepdims=True))
            slope = np.sum(p * gap, axis=-1) / p.sum(axis=-1) / K + decay * h
            low, high = np.where(slope < 0, h, low), np.where(slope < 0, high, h)
        top = np.max(h[..., None] * gap, axis=-1)
        loss = top + np.log(np.sum(np.exp(h[..., None] * gap - top[..., None]), axis=-1))
        value = value + loss / K + 0.5 * decay * h**2
    return value


def components(K, decay, steps):
    """Number of components of {objective <= level} for d = 1, by flood fill over centred codes.

    For d = 1 it is twice the number modulo rotations until +-(W, H) join. A shift of all codes and
    any other H than the best only add to the objective, so they can be taken away along a path.
    """
    axis = np.linspace(-4, 4, steps)
    grid = np.stack(np.meshgrid(*[axis] * (K - 1), indexing="ij"), axis=-1)
    frame = np.linalg.svd(np.ones((1, K)))[2][1:]
    values = profile(grid @ frame, decay)
    return lambda level: flood(values <= level)[1]


def test_three_classes_on_a_line_join_as_a_flood_fill_says(three):
    tree = disconnectivity(three, 1)
    assert len(tree.leaves) == three.orbits[1].count == 3
    assert [len(merge.children) for merge in tree.merges] == [3]
    assert tree.roots == (3,)
    (barrier,) = (merge.objective for merge in tree.merges)
    count = components(3, 0.02, 161)
    assert count(tree.leaves[0].objective - 1e-3) == 0
    assert count(barrier - 1e-3) == 2 * 3
    assert count(barrier + 1e-3) == 1


def test_four_classes_on_a_line_join_as_a_flood_fill_says(four):
    tree = disconnectivity(four, 1)
    assert len(tree.leaves) == 12
    assert [len(merge.children) for merge in tree.merges] == [4, 4, 4, 3]
    assert tree.lost == ()
    assert tree.roots == (15,)
    first, last = tree.merges[0].objective, tree.merges[-1].objective
    count = components(4, 0.02, 61)
    assert count(tree.leaves[0].objective - 1e-3) == 0
    assert count(first - 2e-3) == 2 * 12
    assert count((first + last) / 2) == 2 * 3
    assert count(last + 2e-3) == 1
    assert tree.height(0) < tree.height(12) < tree.height(15)
    # Copies that join first have the same classes on the same side of zero.
    for merge in tree.merges[:3]:
        signs = {tuple(np.sign(tree.leaves[i].Z[0]).astype(int)) for i in merge.children}
        assert len(signs) == 1


def test_leaves_are_the_copies_of_the_minima(four, skew):
    for found, d in ((four, 2), (skew, 1)):
        tree = disconnectivity(found, d)
        minima = [i for i, o in enumerate(found.orbits) if o.rank <= d and o.index(d) == 0]
        assert [sum(leaf.orbit == i for leaf in tree.leaves) for i in minima] == [
            found.orbits[i].count for i in minima
        ]
        for one, other in permutations(tree.leaves, 2):
            assert np.abs(one.Z - other.Z).max() > 1e-3
        for leaf in tree.leaves:
            orbit = found.orbits[leaf.orbit]
            assert orbit.contains((leaf.objective, leaf.Z, leaf.b))
        assert len(tree.roots) == 1


def test_what_the_list_lacks_shows_in_the_tree(four):
    tree = disconnectivity(four, 1)

    def without(i):
        return disconnectivity(replace(four, orbits=four.orbits[:i] + four.orbits[i + 1 :]), 1)

    assert len(without(tree.merges[-1].saddle).roots) == 3
    blind = without(tree.leaves[0].orbit)
    assert (blind.leaves, blind.merges) == ((), ())
    assert len(blind.lost) == 4  # two from each of two saddles
    for end in blind.lost:
        assert_allclose(end.objective, tree.leaves[0].objective, atol=1e-12)


def test_a_flow_that_ends_at_a_saddle_goes_on(four):
    """No saddle of index 1 of these landscapes does that, so one is put in its way."""
    lowest = {i: o for i, o in enumerate(four.orbits) if o.rank <= 1 and o.index(1) == 0}
    saddle = four.orbits[of_label(four, "mirror 1|2|1", 1)]
    model = four.model.with_dimension(1)
    stopped = Descent(saddle.point, saddle.objective, saddle.gradient_norm, True, 0.0, 0, 0.0)
    ends = []
    for seed in range(6):
        end = basins_module._settled(stopped, model, lowest, np.random.default_rng(seed))
        assert not isinstance(end, Descent)
        ends.append(tuple(end[1]))
    assert len(set(ends)) > 1
    lost = replace(stopped, arrived=False)
    assert basins_module._settled(lost, model, lowest, np.random.default_rng(0)) is lost


def test_the_seed_of_a_tree_is_that_of_the_perturbations(four, monkeypatch):
    seen = []
    real = basins_module._settled

    def watched(end, model, lowest, rng):
        seen.append(rng.bit_generator.state["state"]["state"])
        return real(end, model, lowest, rng)

    monkeypatch.setattr(basins_module, "_settled", watched)
    trees = [disconnectivity(four, 2, seed=seed) for seed in (0, 0, 5)]
    assert seen[0] == seen[2] != seen[4]
    assert trees[0].merges == trees[2].merges


def test_trees_that_cannot_be_drawn_are_refused(three):
    with pytest.raises(InputError, match="K <= 6"):
        disconnectivity(replace(three, model=balanced(7).merge().model), 1)
    with pytest.raises(InputError, match="isolated"):
        disconnectivity(atlas(UFM(MSE(), 4, 4, lambda_W=0.05, lambda_H=0.05)), 2)
    with pytest.raises(InputError, match="d >= 1"):
        disconnectivity(three, 0)


def axes(width, height):
    return Figure((width, height), dpi=200, layout="constrained").subplots()


@pytest.mark.parametrize("width", [3.4, 7.0])
def test_a_tree_has_a_line_per_minimum_and_a_bar_per_barrier(four, width):
    tree = disconnectivity(four, 1)
    with style():
        ax = axes(width, 2.6)
        assert draw_disconnectivity(tree, ax, "title") is ax
        assert ax.get_title(loc="left") == "title"
        ax.figure.draw_without_rendering()
    lines = [np.asarray(line.get_xydata()) for line in ax.lines]
    upright = [xy for xy in lines if len(xy) == 2 and xy[0, 0] == xy[1, 0]]
    bars = [xy for xy in lines if len(xy) == 2 and xy[0, 1] == xy[1, 1] and np.ptp(xy[:, 0]) != 1]
    assert len(upright) == 12 + 4
    assert sorted(xy[0, 1] for xy in bars) == [merge.objective for merge in tree.merges]
    ends = sorted(xy[0, 0] for xy in upright[:12])
    assert ends == list(range(12))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["mirror 1|1|1|1 ×12"]
    assert [t.get_text() for t in ax.texts] == ["2|1|1", "mirror 1|2|1"]
    one, other = (text.get_window_extent() for text in ax.texts)
    assert not one.overlaps(other)
    inner = {child: merge for merge in tree.merges for child in merge.children}
    for leaf, xy in enumerate(sorted(upright[:12], key=lambda xy: xy[0, 1])):
        assert xy[1, 1] == inner[leaf].objective


def test_a_single_minimum_is_a_tree(three):
    tree = disconnectivity(three, 2)
    assert (len(tree.leaves), tree.merges, tree.roots) == (1, (), (0,))
    with style():
        ax = axes(3.4, 2.6)
        draw_disconnectivity(tree, ax)
        ax.figure.draw_without_rendering()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["simplex ETF ×1"]


def test_names_of_barriers_that_nearly_coincide_are_apart(four):
    tree = disconnectivity(four, 1)
    first, last = tree.merges[0], tree.merges[-1]
    near = replace(last, objective=first.objective + 1e-5)
    with style():
        ax = axes(3.4, 2.6)
        draw_disconnectivity(replace(tree, merges=(*tree.merges[:-1], near)), ax)
        ax.figure.draw_without_rendering()
    one, other = (text.get_window_extent() for text in ax.texts)
    assert not one.overlaps(other)
