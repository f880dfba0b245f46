"""Feature extractors against NumPy and known sizes; classifiers against the frame's definition."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from experiments.networks.architectures import (
    Architecture,
    build_network,
    count_parameters,
    embed,
    fixed_etf_head,
    linear_head,
    natural_dimension,
    trainable,
)
from experiments.networks.architectures.layers import BatchNorm, Conv, Dense, max_pool
from tests.helpers import slow
from tests.networks import SHAPE, TINY, TINY_RESNET, D, K, images
from ufm.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
KEY = jax.random.key(3)
CONVNET = Architecture("convnet", width=0.25, depth=1)
ALL = [TINY, CONVNET, TINY_RESNET]


def relu(architecture: Architecture) -> Architecture:
    return Architecture(architecture.name, architecture.width, architecture.depth, "relu")


# ---- layers


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_is_scipys_correlation(stride: int) -> None:
    layer = Conv(KEY, 2, 3, stride=stride, bias=True)
    layer = eqx.tree_at(lambda c: c.bias, layer, jnp.array([0.5, -1.0, 2.0], jnp.float32))
    x, weight = images(3), np.asarray(layer.weight, np.float64)
    found = np.asarray(layer(jnp.asarray(x)))
    for i in range(3):
        for out in range(3):
            channels = [correlate2d(x[i, :, :, c], weight[:, :, c, out], "same") for c in range(2)]
            wanted = sum(channels)[::stride, ::stride] + layer.bias[out]
            # 18 products of order 1 in float32.
            np.testing.assert_allclose(found[i, :, :, out], wanted, atol=18 * 6e-8 * 10)


def test_batch_norm_keeps_pytorchs_conventions() -> None:
    x = np.random.default_rng(1).normal(2.0, 3.0, size=(5, 2, 3, 4)).astype(np.float32)
    norm = BatchNorm(4)
    norm = eqx.tree_at(lambda n: n.scale, norm, jnp.array([1.0, 2.0, 3.0, 4.0], jnp.float32))
    y, after = norm(jnp.asarray(x), norm.start(), training=True)
    flat = x.reshape(-1, 4).astype(np.float64)
    mean, biased, unbiased = flat.mean(0), flat.var(0), flat.var(0, ddof=1)
    wanted = (x - mean) / np.sqrt(biased + 1e-5) * np.arange(1, 5)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    np.testing.assert_allclose(after.mean, 0.1 * mean, rtol=1e-6)
    np.testing.assert_allclose(after.variance, 0.9 + 0.1 * unbiased, rtol=1e-6)
    # Negative control: the biased variance would be seen.
    assert np.abs(after.variance - (0.9 + 0.1 * biased)).max() > 1e-3
    y, unchanged = norm(jnp.asarray(x), after, training=False)
    wanted = (
        (x - np.asarray(after.mean)) / np.sqrt(np.asarray(after.variance) + 1e-5) * np.arange(1, 5)
    )
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    assert unchanged is after


def test_no_gradient_flows_through_running_statistics() -> None:
    def moved(x):
        return BatchNorm(2)(x, BatchNorm(2).start(), training=True)[1].mean.sum()

    assert float(jnp.abs(jax.grad(moved)(jnp.ones((3, 2), jnp.float32))).max()) == 0


def test_dense_and_pooling() -> None:
    layer = Dense(KEY, 3, 4)
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_allclose(layer(x), x @ np.asarray(layer.weight), rtol=1e-5)
    odd = np.arange(15.0, dtype=np.float32).reshape(1, 3, 5, 1)
    assert max_pool(jnp.asarray(odd))[0, :, :, 0].tolist() == [[6.0, 8.0]]
    # A gain of 2 against 1: standard deviations differ by sqrt 2, seen on 10^4 entries.
    spread = [float(Dense(KEY, 100, 101, gain).weight.std()) for gain in (1.0, 2.0)]
    np.testing.assert_allclose(np.square(spread) * 100, [1, 2], rtol=0.05)


# ---- networks


@pytest.mark.parametrize("architecture", [TINY, CONVNET, slow(TINY_RESNET)], ids=lambda a: a.name)
def test_shapes_types_and_features(architecture: Architecture) -> None:
    x = images()
    for kind in (architecture, relu(architecture)):
        network = build_network(kind, SHAPE, K, D, KEY)
        assert {leaf.dtype for leaf in jax.tree.leaves(network)} == {jnp.dtype("float32")}
        features, logits = embed(network, x)
        assert features.shape == (12, D)
        assert logits.shape == (12, K)
        assert features.dtype == logits.dtype == np.float32
        np.testing.assert_allclose(logits, features @ np.asarray(network.head.W).T, atol=1e-5)
        assert (features.min() >= 0) == (kind.features == "relu")


@pytest.mark.parametrize("architecture", [TINY, slow(TINY_RESNET)], ids=lambda a: a.name)
def test_embed_does_not_depend_on_the_batches(architecture: Architecture) -> None:
    network = build_network(architecture, SHAPE, K, D, KEY)
    whole, parts = embed(network, images()), embed(network, images(), batch_size=5)
    # The size of a batch may change the order of sums, no more.
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    trained, _ = jax.jit(lambda n, x: n.features(x, training=True))(network, images())
    uses_batch = not np.allclose(trained, whole[0], atol=1e-3)
    assert uses_batch == (architecture.name == "resnet18")
    with pytest.raises(InputError, match="reshape them"):
        embed(network, images()[..., 0])
    with pytest.raises(InputError, match="N >= 1"):
        embed(network, images()[:0])


def test_bfloat16_computes_narrow_and_keeps_float32_weights() -> None:
    wide, narrow = (
        build_network(TINY, SHAPE, K, D, KEY, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {jnp.dtype("float32")}
    exact, rounded = embed(wide, images())[0], embed(narrow, images())[0]
    assert rounded.dtype == np.float32
    # Two layers of 48 and 7 terms, each rounded to 8 bits: well below, yet far above float32.
    assert 1e-4 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()
    slope = jax.grad(lambda n: n.features(jnp.asarray(images()), training=True)[0].sum())
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(slope, narrow))} == {
        jnp.dtype("float32")
    }


def test_keys_and_the_kind_of_classifier() -> None:
    first = build_network(TINY, SHAPE, K, D, KEY)
    again = build_network(TINY, SHAPE, K, D, KEY, fixed_etf=True, bias=False)
    other = build_network(TINY, SHAPE, K, D, jax.random.key(4))
    assert eqx.tree_equal(first.body, again.body)
    assert not eqx.tree_equal(first.body, other.body)
    assert first.head.b.tolist() == [0, 0, 0]
    assert again.head.b is None
    assert natural_dimension(TINY) == build_network(TINY, SHAPE, K, None, KEY).d == 7


def test_width_and_depth_are_what_they_say() -> None:
    assert Architecture("mlp", 0.5, 3).sizes == (128, 128, 128)
    assert Architecture("convnet", 2.0).sizes == (32, 64)
    assert Architecture("resnet18", 2.0).sizes == (128, 256, 512, 1024)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "resnet"}, "write 'resnet18'"),
        ({"width": 0}, "width > 0"),
        ({"depth": 0}, "depth >= 1"),
        ({"name": "resnet18", "depth": 3}, "its own depth"),
        ({"features": "tanh"}, "linear or relu"),
    ],
)
def test_wrong_architectures(given: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Architecture(**given)


def test_wrong_networks() -> None:
    with pytest.raises(InputError, match="8 pixels"):
        build_network(Architecture("convnet", depth=3), (7, 9, 1), K, D, KEY)
    with pytest.raises(InputError, match="K >= 2"):
        build_network(TINY, SHAPE, 1, D, KEY)
    with pytest.raises(InputError, match="float32 or bfloat16"):
        build_network(TINY, SHAPE, K, D, KEY, precision="float16")
    with pytest.raises(InputError, match="simplex ETF"):
        build_network(TINY, SHAPE, 4, 2, KEY, fixed_etf=True)


# ---- classifiers and counting


@pytest.mark.parametrize(("num_classes", "d"), [(4, 3), (4, 4), (3, 5)])
def test_the_fixed_classifier_is_a_simplex_etf(num_classes: int, d: int) -> None:
    W = np.asarray(fixed_etf_head(num_classes, d).W, np.float64)
    gram = np.full((num_classes, num_classes), -1 / (num_classes - 1))
    np.fill_diagonal(gram, 1.0)
    np.testing.assert_allclose(W @ W.T, gram, atol=1e-6)
    assert np.abs(np.asarray(linear_head(KEY, num_classes, d).W) @ W.T - gram).max() > 0.1


def test_what_is_trained() -> None:
    network = build_network(TINY_RESNET, SHAPE, K, D, KEY, fixed_etf=True)
    mask = trainable(network)
    assert not any(jax.tree.leaves(mask.state))
    assert all(jax.tree.leaves(mask.body))
    assert (mask.head.W, mask.head.b) == (False, True)
    assert trainable(build_network(TINY, SHAPE, K, D, KEY)).head.W is True


def test_resnet18_has_its_known_number_of_parameters() -> None:
    """11,173,962 is the number everybody's CIFAR ResNet-18 has (10 classes, 3 channels)."""
    resnet, shape = Architecture("resnet18", features="relu"), (32, 32, 3)
    assert count_parameters(resnet, shape, 10).total == 11_173_962
    assert count_parameters(resnet, (28, 28, 1), 10).total == 11_173_962 - 2 * 9 * 64
    assert count_parameters(resnet, shape, 10, bias=False).total == 11_173_952
    # Only W is held fixed, and only if it is.
    fixed = count_parameters(resnet, shape, 10, fixed_etf=True)
    assert (fixed.total, fixed.trained) == (11_173_962, 11_173_962 - 5120)


def test_a_fixed_classifier_with_d_equal_to_k_saves_a_fifth() -> None:
    """By hand: the last 512 x 512 convolution, its normalisation and W go, a shortcut comes."""
    gone = 9 * 512 * (512 - 10) + 2 * (512 - 10) + 5120
    comes = 512 * 10 + 2 * 10
    wanted = (gone - comes) / 11_173_962
    resnet, shape = Architecture("resnet18"), (32, 32, 3)
    smaller = count_parameters(resnet, shape, 10, 10, fixed_etf=True)
    found = 1 - smaller.trained / count_parameters(resnet, shape, 10).trained
    assert found == pytest.approx(wanted, abs=1e-12)
    assert found > 0.2
    # Fixing W without d = K saves next to nothing: the saving is the last block's.
    fixed = count_parameters(resnet, shape, 10, fixed_etf=True)
    assert 1 - fixed.trained / fixed.total < 0.001


def test_a_wider_network_has_more_parameters() -> None:
    counts = [
        count_parameters(Architecture("resnet18", width), (32, 32, 3), 10).total
        for width in (0.25, 0.5, 1.0, 2.0)
    ]
    assert all(3.8 < b / a < 4.1 for a, b in pairwise(counts))


@pytest.mark.slow
def test_without_equinox_the_message_says_what_to_install() -> None:
    code = """
import sys
sys.modules["equinox"] = None
try:
    import experiments.networks.training
except ValueError as error:
    print(error)
"""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "pip install '.[deep]' in the clone" in ran.stdout, ran.stderr
