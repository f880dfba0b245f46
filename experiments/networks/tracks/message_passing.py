"""A deep graph network of mean aggregation on graphs of a stochastic block model, in training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from experiments.networks.architectures.layers import EPSILON, constant, normal
from ufm.models.graph_network import block_model
from ufm.typing import Array

TRAIN, TEST = 0, 1


@dataclass(frozen=True)
class BlockModel:
    """K classes of n nodes, and the mean numbers of neighbours in the own and in another class.

    Example:
        >>> BlockModel.parse("2:12.5:0.85", 400).label
        '2:12.5:0.85'
    """

    K: int
    n: int
    inside: float
    outside: float

    @staticmethod
    def parse(text: str, nodes: int) -> BlockModel:
        """From K:inside:outside and the nodes of a graph; ValueError for anything else."""
        K, inside, outside = text.split(":")
        return BlockModel(int(K), nodes // int(K), float(inside), float(outside))

    @property
    def label(self) -> str:
        """The numbers as ``parse`` takes them."""
        return f"{self.K}:{self.inside:g}:{self.outside:g}"

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every node."""
        return np.repeat(np.arange(self.K), self.n)

    @property
    def chances(self) -> tuple[float, float]:
        """p and q."""
        return self.inside / self.n, self.outside / self.n

    def graph(self, seed: int, split: int, number: int) -> tuple[Array, np.random.Generator]:
        """Adjacency (N, N) of a graph, and the random numbers after it was drawn."""
        rng = np.random.default_rng((103, self.K, self.n, seed, split, number))
        return block_model([self.n] * self.K, *self.chances, rng), rng

    def sample(self, seed: int, split: int, number: int, width: int) -> tuple[Any, Any]:
        """A D^-1 (N, N) and Gaussian input features (width, N), float32."""
        adjacency, rng = self.graph(seed, split, number)
        means = (adjacency / adjacency.sum(axis=0)).astype(np.float32)
        return means, rng.standard_normal((width, len(means)), dtype=np.float32)


class Weights(NamedTuple):
    """Of a graph convolution and the normalisation after it: stacked over layers, or of one.

    ``own`` is W_1, None where a node does not see itself; ``mean`` is W_2.
    """

    own: Any
    mean: Any
    gain: Any
    shift: Any


class GraphLayers(NamedTuple):
    """First layer, L hidden layers stacked, and the classifier (no normalisation follows it)."""

    first: Weights
    hidden: Weights
    last: Weights


def initial_layers(K: int, width: int, layers: int, own: bool, seed: int) -> GraphLayers:
    """Entries N(0, 1 / width), the same W_2 with and without W_1."""
    keys = jax.random.split(jax.random.key(seed), 6)

    def made(key: Any, other: Any, *shape: int) -> tuple[Any, Any]:
        mean = normal(key, shape, 1 / width)
        return normal(other, shape, 1 / width) if own else None, mean

    ones, zeros = constant(1.0, width), constant(0.0, width)
    stacked = jnp.tile(ones, (layers, 1)), jnp.tile(zeros, (layers, 1))
    return GraphLayers(
        Weights(*made(keys[0], keys[3], width, width), ones, zeros),
        Weights(*made(keys[1], keys[4], layers, width, width), *stacked),
        Weights(*made(keys[2], keys[5], K, width), None, None),
    )


def forward(network: GraphLayers, means: Any, inputs: Any) -> tuple[Any, Any]:
    """Features (L + 1, width, N) of every layer as the next one reads them, and logits (K, N).

    H <- norm(relu(W_1 H + W_2 H A D^-1)), every channel normalised over the nodes of the graph;
    logits W_1 H + W_2 H A D^-1.
    """
    first = _normalised(network.first, _convolved(network.first, inputs, means))

    def layer(H: Any, weights: Weights) -> tuple[Any, Any]:
        after = _normalised(weights, _convolved(weights, H, means))
        return after, after

    last, features = jax.lax.scan(layer, first, network.hidden)
    logits = _convolved(network.last, last, means)
    return jnp.concatenate([first[None], features]), logits


def _convolved(weights: Weights, H: Any, means: Any) -> Any:
    seen = weights.mean @ (H @ means)
    return seen if weights.own is None else seen + weights.own @ H


def _normalised(weights: Weights, H: Any) -> Any:
    H = jax.nn.relu(H)
    centred = H - jnp.mean(H, axis=1, keepdims=True)
    size = jnp.sqrt(jnp.mean(centred * centred, axis=1, keepdims=True) + np.float32(EPSILON))
    return weights.gain[:, None] * centred / size + weights.shift[:, None]


def squared_error(logits: Any, K: int, n: int) -> Any:
    """(1/2N) |Z - Y|^2 under the best naming of the classes, K! of them."""
    blocks = logits.reshape(K, K, n)
    # |Z - Y|^2 = |Z|^2 - 2 <Z, Y> + N, and <Z, Y> is a sum over named classes.
    sums = jnp.sum(blocks, axis=2)
    names = np.array(list(permutations(range(K))))
    best = jnp.max(jnp.sum(sums[names, np.arange(K)], axis=1))
    return (jnp.sum(logits * logits) - 2 * best + K * n) / (2 * K * n)


def initial_state(network: GraphLayers) -> tuple[GraphLayers, Any]:
    """Network and momentum."""
    return network, jax.tree.map(jnp.zeros_like, network)


@lru_cache(maxsize=8)
def make_step(K: int, n: int, rate: float, momentum: float, decay: float) -> Any:
    """(state, means, inputs) -> (state, loss): SGD on one graph, decay as PyTorch's."""
    optimiser = optax.chain(
        optax.add_decayed_weights(decay), optax.trace(momentum), optax.scale(-rate)
    )

    def step(state: tuple[GraphLayers, Any], means: Any, inputs: Any) -> Any:
        network, trace = state

        def value(network: GraphLayers) -> Any:
            return squared_error(forward(network, means, inputs)[1], K, n)

        loss, slope = jax.value_and_grad(value)(network)
        inner = (optax.EmptyState(), optax.TraceState(trace), optax.EmptyState())
        moves, after = optimiser.update(slope, inner, network)
        return (optax.apply_updates(network, moves), after[1].trace), loss

    return jax.jit(step)


look = jax.jit(forward)
