"""Attacks on images, and how far a convolutional network can be moved at all."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ufm.typing import AnyArray

# Of a step of PGD, over eps / steps: enough to reach the corners of the cube from anywhere in it.
STRIDE = 2.5


def _loss(network: Any, x: Any, y: Any) -> Any:
    logits = network.head(network.features(x, training=False)[0])
    return jnp.sum(optax.softmax_cross_entropy_with_integer_labels(logits, y))


_slope = jax.jit(jax.grad(_loss, argnums=1))


def attacked(
    network: Any,
    images: AnyArray,
    labels: AnyArray,
    reach: AnyArray,
    box: tuple[AnyArray, AnyArray],
    steps: int,
    seed: int,
) -> AnyArray:
    """Images moved up the loss, within reach of where they were and within the box.

    One step goes by the sign of the gradient from the image itself (FGSM, Goodfellow et al. 2015);
    more start at random and are projected (PGD, Madry et al. 2018).

    Args:
        network: in evaluation mode.
        images: (N, height, width, channels), float32.
        labels: (N,).
        reach: of a pixel, by channel.
        box: least and largest pixels, by channel.
        steps: >= 1.
        seed: of the start.
    """
    low, high = np.maximum(images - reach, box[0]), np.minimum(images + reach, box[1])
    x, stride = images, reach
    if steps > 1:
        x = np.random.default_rng((149, seed)).uniform(low, high).astype(np.float32)
        stride = STRIDE / steps * reach
    for _ in range(steps):
        moved = x + stride * np.sign(np.asarray(_slope(network, x, labels)))
        x = np.clip(moved, low, high).astype(np.float32)
    return x


def layer_values(stage: Any, shape: tuple[int, int, int]) -> tuple[float, float, float]:
    """Largest singular value of a linear layer of images; least and largest of its channels.

    Args:
        stage: images to images, linear but for a constant.
        shape: (height, width, channels) of an image.
    """
    size = math.prod(shape)
    units = jnp.eye(size, dtype=jnp.float32).reshape(size, *shape)
    apply = jax.jit(lambda x: stage(x))
    made = np.asarray(apply(units) - apply(jnp.zeros((1, *shape), jnp.float32)), float)
    channels = np.moveaxis(made, -1, 0).reshape(made.shape[-1], size, -1)
    whole = np.einsum("kip,kjp->ij", channels, channels, optimize=True)
    own = np.stack([np.linalg.eigvalsh(part.T @ part) for part in channels])
    values = np.sqrt(np.maximum([np.linalg.eigvalsh(whole)[-1], own.min(), own.max()], 0))
    return float(values[0]), float(values[1]), float(values[2])


def stages_of(network: Any) -> list[Any]:
    """The linear part of every stage of a ConvNet in evaluation mode."""
    body = network.body

    def linear(place: int) -> Any:
        def stage(x: Any) -> Any:
            x = body.stages[place](x)
            if not body.norms:
                return x
            return body.norms[place](x, network.state[place], training=False)[0]

        return stage

    return [linear(place) for place in range(len(body.stages))]


def bounds(network: Any, shape: tuple[int, int, int]) -> dict[str, float]:
    """Lipschitz bound of the logits of a ConvNet, and singular values of its convolutions.

    ReLU and maxima over windows apart do not lengthen differences, so the bound is the product of
    the norms of the linear layers.
    """
    found = []
    height, width, channels = shape
    for place, stage in enumerate(stages_of(network)):
        found.append(layer_values(stage, (height, width, channels)))
        height, width = height // 2, width // 2
        channels = network.body.stages[place].weight.shape[-1]
    norms, least, largest = zip(*found, strict=True)
    last, head = (np.asarray(W, float) for W in (network.body.last.weight, network.head.W))
    rest = float(np.linalg.norm(last, 2) * np.linalg.norm(head, 2))
    return {
        "layer_norm": max(norms),
        "channel_least": min(least),
        "channel_most": max(largest),
        "lipschitz": math.prod(norms) * rest,
    }
