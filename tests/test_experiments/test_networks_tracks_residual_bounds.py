"""Bounds of ResNet-18 against matrices, power iteration and sampled differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.networks.architectures import Architecture, build_network
from experiments.networks.architectures.build import NORMALISATIONS
from experiments.networks.architectures.conv_norm import convolution
from experiments.networks.architectures.layers import BatchNorm, Conv, Statistics
from experiments.networks.tracks.residual_bounds import convolution_norm, residual_bounds
from experiments.networks.tracks.robustness import layer_values
from tests.helpers import slow

SHAPE = (6, 5, 2)
RANDOM = np.random.default_rng(7)


def drawn(tree, low, high):
    """The same tree of vectors, drawn anew."""
    return jax.tree.map(
        lambda x: jnp.asarray(RANDOM.uniform(low, high, x.shape), jnp.float32), tree
    )


@pytest.fixture(scope="module")
def network():
    architecture = Architecture("resnet18", width=1 / 32, features="relu")
    made = build_network(architecture, SHAPE, 3, None, jax.random.key(1))
    norms = [m for m in jax.tree.leaves(made, is_leaf=_is_norm) if _is_norm(m)]
    assert len(norms) == 20
    # Shifts that leave most units on: a network that is nearly linear comes nearest to its bound.
    return jax.tree.map(
        lambda m: eqx.tree_at(lambda n: n.shift, m, drawn(m.shift, 3.0, 4.0)) if _is_norm(m) else m,
        made,
        is_leaf=_is_norm,
    )


def _is_norm(x):
    return isinstance(x, BatchNorm)


def logits_of(network):
    return jax.jit(lambda x: network.head(network.features(x[None], training=False)[0])[0])


def largest_gain(apply, x, steps=30):
    """Of the derivative at x, by power iteration with products alone."""
    v = RANDOM.standard_normal(x.shape).astype(np.float32)
    _, back = jax.vjp(apply, x)
    forward = jax.jit(lambda v: jax.jvp(apply, (x,), (v,))[1])
    back = jax.jit(back)
    for _ in range(steps):
        v = np.asarray(back(forward(v / np.linalg.norm(v)))[0])
    return float(np.linalg.norm(forward(v / np.linalg.norm(v))))


@pytest.mark.parametrize("kind", [slow("batch"), "circular", slow("padded")])
@pytest.mark.parametrize(
    ("size", "stride"),
    [
        pytest.param(3, 1, marks=pytest.mark.slow),
        (3, 2),
        pytest.param(1, 2, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("shape", [(6, 4), (5, 7)], ids=["even", "odd"])
def test_a_convolution_is_bounded_by_its_norm_on_the_grid(kind, size, stride, shape):
    conv = convolution(kind)(jax.random.key(3), 2, 4, size, stride)
    norm = drawn(BatchNorm(4), 0.5, 2.0)
    running = Statistics(*drawn(tuple(norm.start()), 0.2, 3.0))
    found = convolution_norm(conv, norm, running, shape)
    exact = layer_values(lambda x: norm(conv(x), running, training=False)[0], (*shape, 2))[0]
    # Matrices by float32 columns.
    assert found > exact * (1 - 1e-5)
    divides = all(n % stride == 0 for n in shape)
    if kind == "circular" and divides:
        assert found == pytest.approx(exact, rel=1e-5)
    # On such small images the padding is a large part of the grid.
    assert found < 1.45 * exact


def test_no_difference_exceeds_the_bound_and_a_smaller_one_would_be_seen(network):
    bound = residual_bounds(network, SHAPE)["lipschitz"]
    images = RANDOM.standard_normal((4, *SHAPE)).astype(np.float32)
    moves = RANDOM.standard_normal((4, *SHAPE)).astype(np.float32)
    apply = logits_of(network)
    rates = [
        np.linalg.norm(apply(x + 0.1 * m) - apply(x)) / np.linalg.norm(0.1 * m)
        for x, m in zip(images, moves, strict=True)
    ]
    steepest = largest_gain(apply, images[0])
    assert max(rates) < bound
    assert steepest < bound * (1 + 1e-5)
    assert steepest > 0


def test_the_shortcut_counts(network):
    # Nothing in the branches: the bound is that of stem, shortcuts, mean and classifier.
    def bare(block):
        return eqx.tree_at(lambda b: b.second_norm.scale, block, 0 * block.second_norm.scale)

    blocks = tuple(bare(block) for block in network.body.blocks)
    made = eqx.tree_at(lambda n: n.body.blocks, network, blocks)
    bound = residual_bounds(made, SHAPE)["lipschitz"]
    apply = logits_of(made)
    # A product of branches alone would be zero.
    assert 0 < largest_gain(apply, np.ones(SHAPE, np.float32)) < bound


def test_the_mean_over_places_has_the_norm_of_a_root():
    architecture = Architecture("resnet18", width=1 / 64, features="relu")
    made = build_network(architecture, (16, 16, 1), 3, None, jax.random.key(2))
    # Stem and shortcuts that copy what they get, no branches: only mean and classifier are left.
    stem = jnp.zeros_like(made.body.stem.weight).at[1, 1, 0].set(1.0)
    made = eqx.tree_at(lambda n: n.body.stem.weight, made, stem)
    blocks = []
    for block in made.body.blocks:
        block = eqx.tree_at(lambda b: b.second_norm.scale, block, 0 * block.second_norm.scale)
        block = eqx.tree_at(lambda b: b.second_norm.shift, block, 0 * block.second_norm.shift)
        if block.shortcut is not None:
            one = jnp.ones_like(block.shortcut.weight) / np.float32(
                np.sqrt(block.shortcut.weight.size)
            )
            block = eqx.tree_at(lambda b: b.shortcut.weight, block, one)
        blocks.append(block)
    made = eqx.tree_at(lambda n: n.body.blocks, made, tuple(blocks))
    bound = residual_bounds(made, (16, 16, 1))["lipschitz"]
    # Strides read every eighth pixel, four in all: their mean has norm 1/2, neither 1 nor 1/4.
    steepest = largest_gain(logits_of(made), np.ones((16, 16, 1), np.float32))
    # What arrives at the classifier is the same in all channels.
    W = np.asarray(made.head.W, float)
    share = np.linalg.norm(W.mean(axis=1)) * np.sqrt(W.shape[1]) / np.linalg.norm(W, 2)
    assert steepest == pytest.approx(share * bound, rel=1e-4)


def test_sizes_are_followed_through_strides():
    # 9 becomes 5, 3, 2: with norms on the wrong grid or a mean of other places this would differ.
    architecture = Architecture("resnet18", width=1 / 64, features="relu")
    made = build_network(architecture, (9, 9, 1), 3, None, jax.random.key(4))
    features = made.body.layers(np.zeros((1, 9, 9, 1), np.float32), made.state, training=False)
    assert [x.shape[1] for x in features[0][:-1]][-1] == 2
    body, head = made.body, np.linalg.norm(np.asarray(made.head.W), 2)
    (stem,), *states = made.state
    bound = convolution_norm(body.stem, body.stem_norm, stem, (9, 9)) * head / 2
    sizes = [9, 9, 9, 5, 5, 3, 3, 2]
    for block, state, size in zip(body.blocks, states, sizes, strict=True):
        first = convolution_norm(block.first, block.first_norm, state[0], (size, size))
        after = -(-size // block.first.stride)
        second = convolution_norm(block.second, block.second_norm, state[1], (after, after))
        own = block.shortcut is not None
        beside = (
            convolution_norm(block.shortcut, block.shortcut_norm, state[2], (size, size))
            if own
            else 1
        )
        bound *= beside + first * second
    assert residual_bounds(made, (9, 9, 1))["lipschitz"] == pytest.approx(bound, rel=1e-9)


@pytest.mark.slow
def test_every_normalisation_has_a_bound():
    for kind in NORMALISATIONS["resnet18"]:
        architecture = Architecture("resnet18", width=1 / 64, features="relu", normalisation=kind)
        made = build_network(architecture, (8, 8, 1), 3, None, jax.random.key(2))
        found = residual_bounds(made, (8, 8, 1))
        assert 0 < found["layer_norm"] < found["lipschitz"]
    assert isinstance(made.body.stem, Conv)
