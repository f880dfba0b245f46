"""A network: a feature extractor, its state, and a classifier."""

from __future__ import annotations

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.networks.architectures.head import Head
from experiments.networks.architectures.layers import DTYPE
from ufm.errors import InputError, require_count

T = TypeVar("T")
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Network(eqx.Module):
    """images (N, height, width, channels) -> features (N, d) -> logits (N, K).

    Parameters are float32. In precision bfloat16 the feature extractor computes in bfloat16 from
    rounded copies of them, while normalisation statistics, features, classifier and loss stay
    float32.

    Attributes:
        body: the feature extractor: ``body.layers(images, state, training=...)`` gives what its
            layers give, the features last, and the state.
        state: running statistics of its batch normalisations; not trained.
        head: the classifier.
        precision: float32 or bfloat16.
    """

    body: Any
    state: Any
    head: Head
    precision: str = eqx.field(static=True)

    @property
    def d(self) -> int:
        """Feature dimension."""
        return int(self.head.W.shape[1])

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.head.W.shape[0])

    def layers(self, images: Any, *, training: bool) -> tuple[list[Any], Any]:
        """What every layer gives for the images, features (N, d) last in float32, and the state."""
        dtype = PRECISIONS[self.precision]
        body = self.body
        if dtype != DTYPE:
            body = jax.tree.map(lambda leaf: leaf.astype(dtype), body)
        (*hidden, features), state = body.layers(
            images.astype(dtype), self.state, training=training
        )
        return [*hidden, features.astype(DTYPE)], state

    def features(self, images: Any, *, training: bool) -> tuple[Any, Any]:
        """Features (N, d) in float32, and the state afterwards."""
        layers, state = self.layers(images, training=training)
        return layers[-1], state


def trainable(network: Network) -> Any:
    """A tree of the network's shape that is True at the leaves that training changes.

    Those are all but the running statistics and a fixed classifier.

    Example:
        >>> from experiments.networks.architectures import fixed_etf_head
        >>> mask = trainable(Network((), (), fixed_etf_head(3, 4), "float32"))
        >>> mask.head.W, mask.head.b
        (False, True)
    """
    mask = jax.tree.map(lambda _: True, network)
    mask = eqx.tree_at(lambda n: jax.tree.leaves(n.state), mask, replace_fn=lambda _: False)
    return eqx.tree_at(lambda n: n.head.W, mask, not network.head.fixed)


@jax.jit
def _embed(network: Network, images: Any) -> tuple[Any, Any]:
    features, _ = network.features(images, training=False)
    return features, network.head(features)


def embed(network: Network, images: Any, batch_size: int = 512) -> tuple[Any, Any]:
    """Features (N, d) and logits (N, K) of images in evaluation mode, as float32 NumPy arrays.

    Args:
        network: the network.
        images: float32 (N, height, width, channels), N >= 1.
        batch_size: images computed at once; the result does not depend on it beyond rounding.

    Raises:
        InputError: no image, or not (N, height, width, channels).

    Example:
        >>> from experiments.networks.architectures import Architecture, build_network
        >>> net = build_network(Architecture("mlp"), (4, 4, 1), 3, 5, jax.random.key(0))
        >>> [a.shape for a in embed(net, np.zeros((7, 4, 4, 1), np.float32), batch_size=4)]
        [(7, 5), (7, 3)]
    """
    if np.ndim(images) != 4 or len(images) == 0:
        rule = "Need images of shape (N, height, width, channels), N >= 1"
        raise InputError(rule, np.shape(images), "reshape them, e.g. images[..., None]")
    size = min(require_count(batch_size, "batch_size", 1, "use one image or more"), len(images))
    parts = []
    for start in range(0, len(images), size):
        part = np.asarray(images[start : start + size], np.float32)
        # The last part is filled up, for a second shape would be compiled a second time.
        filled = np.pad(part, ((0, size - len(part)), (0, 0), (0, 0), (0, 0)))
        parts.append([np.asarray(array)[: len(part)] for array in _embed(network, filled)])
    features, logits = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return features, logits


@jax.jit
def _layers(network: Network, images: Any) -> list[Any]:
    layers, _ = network.layers(images, training=False)
    return [layer.reshape(len(images), -1).astype(DTYPE) for layer in layers]


def activations(network: Network, images: Any) -> list[Any]:
    """What every layer gives in evaluation mode, flattened to (N, ...), the features last.

    All images at once, so give a few hundred: convolutions have large outputs.

    Example:
        >>> from experiments.networks.architectures import Architecture, build_network
        >>> net = build_network(Architecture("mlp"), (4, 4, 1), 3, 5, jax.random.key(0))
        >>> [a.shape for a in activations(net, np.zeros((7, 4, 4, 1), np.float32))]
        [(7, 256), (7, 256), (7, 5)]
    """
    return [np.asarray(layer) for layer in _layers(network, jnp.asarray(images, DTYPE))]
