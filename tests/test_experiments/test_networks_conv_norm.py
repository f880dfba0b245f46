"""Normalised convolutions of networks: against the mathematics of ufm, and as an option."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.networks.architectures import Architecture, build_network, count_parameters
from experiments.networks.architectures.conv_norm import NormalisedConv, convolution
from experiments.networks.architectures.layers import Conv
from experiments.networks.training.settings import TrainSettings
from tests.helpers import slow
from ufm.conv_norm import normalised, padded, spectra, wrapped
from ufm.errors import InputError

KEY = jax.random.key(3)
HEIGHT, WIDTH, INPUTS, OUTPUTS = 5, 6, 2, 4


applied = eqx.filter_jit(lambda layer, x: layer(x))


def matrices(layer, height=HEIGHT, width=WIDTH):
    """The linear map of images, (outputs, places out, places in)."""
    size = height * width * layer.weight.shape[2]
    units = jnp.eye(size, dtype=jnp.float32).reshape(size, height, width, -1)
    found = np.asarray(applied(layer, units), float)
    return np.moveaxis(found, -1, 0).reshape(found.shape[-1], size, -1).transpose(0, 2, 1)


def kernels(layer, grid):
    """As ufm.conv_norm has them: (outputs, inputs, *grid)."""
    return np.moveaxis(np.asarray(layer.kernels(grid), float), (2, 3), (1, 0))


def test_a_circular_channel_is_a_co_isometry():
    layer = NormalisedConv(KEY, INPUTS, OUTPUTS)
    for A in matrices(layer):
        np.testing.assert_allclose(A @ A.T, np.eye(HEIGHT * WIDTH), atol=2e-5)
        assert np.linalg.norm(A.T @ A - np.eye(A.shape[1])) > 1
    # All together: the values that the mathematics has, and K n for the sum of squares.
    whole = np.concatenate(matrices(layer))
    own = kernels(layer, (HEIGHT, WIDTH))
    stacked = np.moveaxis(
        spectra(normalised(own, (HEIGHT, WIDTH)), (HEIGHT, WIDTH)), (0, 1), (-2, -1)
    )
    values = np.sort(np.linalg.svd(stacked, compute_uv=False), axis=None)
    np.testing.assert_allclose(np.sort(np.linalg.svd(whole)[1]), values, atol=1e-5)
    # A stride takes some rows.
    for A in matrices(NormalisedConv(KEY, INPUTS, OUTPUTS, stride=2)):
        np.testing.assert_allclose(A @ A.T, np.eye(9), atol=2e-5)


def test_convolutions_are_those_of_ufm():
    x = np.random.default_rng(0).normal(size=(INPUTS, HEIGHT, WIDTH))
    image = jnp.asarray(np.moveaxis(x, 0, -1)[None], jnp.float32)
    circular = NormalisedConv(KEY, INPUTS, OUTPUTS)
    own = kernels(circular, (HEIGHT, WIDTH))
    wanted = wrapped(normalised(own, (HEIGHT, WIDTH)), x)
    np.testing.assert_allclose(np.moveaxis(applied(circular, image)[0], -1, 0), wanted, atol=1e-5)
    # Padded: the kernel begins a margin before the image, so its output does.
    layer = NormalisedConv(KEY, INPUTS, OUTPUTS, padded=True)
    flipped = np.asarray(layer.weight, float)[::-1, ::-1].transpose(3, 2, 0, 1)
    full = padded(flipped, x, truncated=False)
    found = np.moveaxis(np.asarray(applied(layer, image)[0]), -1, 0)
    np.testing.assert_allclose(found, full[:, 1 : HEIGHT + 1, 1 : WIDTH + 1], atol=1e-5)
    values = np.linalg.svd(np.concatenate([matrices(layer)[k] for k in range(1)]))[1]
    assert values.max() <= 1 + 1e-5
    assert values.min() < 0.95


def test_without_the_normaliser_it_is_the_convolution_that_it_replaces():
    """The raw kernels on the padded grid give Conv; the same keys give the same weights."""
    plain, layer = Conv(KEY, INPUTS, OUTPUTS), NormalisedConv(KEY, INPUTS, OUTPUTS, padded=True)
    np.testing.assert_array_equal(plain.weight, layer.weight)
    x = np.random.default_rng(0).normal(size=(INPUTS, HEIGHT, WIDTH))
    grid = layer.grid((HEIGHT, WIDTH))
    room = [(0, 0), *((0, m - n) for m, n in zip(grid, x.shape[1:], strict=True))]
    wanted = wrapped(kernels(layer, grid), np.pad(x, room))[:, :HEIGHT, :WIDTH]
    image = jnp.asarray(np.moveaxis(x, 0, -1)[None], jnp.float32)
    np.testing.assert_allclose(np.moveaxis(applied(plain, image)[0], -1, 0), wanted, atol=1e-5)


def test_small_images_wrap_more_than_once():
    for side in (1, 2):
        for A in matrices(NormalisedConv(KEY, INPUTS, OUTPUTS), side, side):
            np.testing.assert_allclose(A @ A.T, np.eye(side * side), atol=2e-5)


def test_sizes_of_kernels_do_not_matter_and_gradients_are_finite():
    layer = NormalisedConv(KEY, INPUTS, OUTPUTS)
    larger = eqx.tree_at(lambda conv: conv.weight, layer, 3 * layer.weight)
    x = jax.random.normal(KEY, (3, HEIGHT, WIDTH, INPUTS), jnp.float32)
    np.testing.assert_allclose(applied(layer, x), applied(larger, x), atol=1e-5)
    slope = eqx.filter_jit(jax.grad(lambda layer: jnp.sum(layer(x) ** 3)))(layer)
    assert np.isfinite(slope.weight).all()
    assert np.abs(slope.weight).max() > 1e-3
    assert eqx.filter_eval_shape(layer, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


KINDS = [
    ("convnet", "none"),
    ("convnet", "batch"),
    ("convnet", "circular"),
    slow("convnet", "padded"),
    slow("resnet18", "circular"),
    slow("resnet18", "padded"),
]


@eqx.filter_jit
@partial(jax.grad, has_aux=True)
def slope_and_features(network, x):
    features, after = network.features(x, training=True)
    return jnp.sum(features**2), (features, after)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_networks_have_the_normalisation_that_they_were_asked_for(name, kind):
    given = {"name": name, "width": 1 / 32, "normalisation": kind}
    network = build_network(Architecture(**given), (8, 6, 2), 3, 5, KEY)
    x = np.random.default_rng(0).normal(size=(7, 8, 6, 2)).astype(np.float32)
    slope, (features, after) = slope_and_features(network, x)
    assert features.shape == (7, 5)
    usual = build_network(Architecture(**{**given, "normalisation": None}), (8, 6, 2), 3, 5, KEY)
    same = np.array_equal(features, slope_and_features(usual, x)[1][0])
    assert same == (kind == "none")
    has_state = name == "resnet18" or kind == "batch"
    assert bool(jax.tree.leaves(after)) == has_state
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_sizes_are_equal_but_for_the_biases():
    counts = {
        kind: count_parameters(Architecture("convnet", normalisation=kind), (8, 8, 1), 10).total
        for kind in ("none", "batch", "circular", "padded")
    }
    assert counts["none"] == counts["circular"] == counts["padded"]
    # A batch normalisation has two numbers a channel where a convolution has a bias.
    assert counts["batch"] == counts["none"] + 16 + 32
    assert convolution("none") is convolution("batch") is Conv


def test_what_does_not_fit_is_refused_and_old_runs_keep_their_key():
    for name, kind in (("mlp", "circular"), ("resnet18", "none"), ("convnet", "both")):
        with pytest.raises(InputError, match=f"normalisation of {name}"):
            Architecture(name, normalisation=kind)
    before = {"name": "convnet", "width": 1.0, "depth": None, "features": "linear"}
    settings = TrainSettings(architecture=Architecture("convnet"))
    assert settings.record()["architecture"] == before
    other = TrainSettings(architecture=Architecture("convnet", normalisation="circular"))
    assert TrainSettings.from_record(other.record()) == other
    assert other.key != settings.key
