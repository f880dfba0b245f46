"""Graph networks with self-connections on several graphs: classifiers shared, features not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ufm.answers import Certificate
from ufm.counts import class_counts, counts_columns
from ufm.decay import penalty
from ufm.errors import InputError, require_count, require_decay
from ufm.model import Model
from ufm.models.graph import graph_of
from ufm.point import gaussian, skew_basis
from ufm.records import pytree_record
from ufm.typing import Array

# Draws of a graph before it is said that isolated nodes cannot be avoided.
MOST_DRAWS = 1000
MAX_GRAPHS = 1000


class GraphWeights(NamedTuple):
    """Classifiers of a node itself (K, d) and of its neighbours (K, d), features (G, d, N)."""

    W1: Any
    W2: Any
    H: Any


@pytree_record(static=("d",), eq=False)
class GraphNetwork(Model[GraphWeights]):
    """Squared error of what a node and the mean of its neighbours say, over several graphs.

    f(W1, W2, H) = (1/G) sum_g [(1/(2N)) |W1 H_g + W2 H_g A_g D_g^-1 - Y|^2 + (lambda_H/2) |H_g|^2]
                   + (lambda_self/2) |W1|^2 + (lambda_W/2) |W2|^2

    Source: Kothapalli et al. 2023 (arXiv 2307.01951); docs/theory.md, GU-6.

    Attributes:
        means: A_g D_g^-1, (G, N, N), columns sum to 1.
        labels: class of every node (N,), ascending.
        lambda_self, lambda_W, lambda_H: weight decays of W1, W2 and of the features of a graph.
        d: feature dimension.
    """

    means: Any
    labels: Any
    lambda_self: Any
    lambda_W: Any
    lambda_H: Any
    d: int

    @property
    def num_classes(self) -> int:
        """K."""
        return int(np.max(np.asarray(self.labels))) + 1

    @property
    def counts_tuple(self) -> tuple[int, ...]:
        """Nodes per class."""
        return tuple(np.bincount(np.asarray(self.labels)).tolist())

    def errors(self, point: GraphWeights) -> Any:
        """Logits less one-hot labels, (G, K, N)."""
        targets = jnp.arange(point.W1.shape[0])[:, None] == self.labels
        return point.W1 @ point.H + point.W2 @ point.H @ self.means - targets

    def objective(self, point: GraphWeights) -> Any:
        """f at a point."""
        graphs, _, nodes = point.H.shape
        value = (self.errors(point) ** 2).sum() / (2 * nodes * graphs)
        value += penalty(self.lambda_self, (point.W1**2).sum())
        value += penalty(self.lambda_W, (point.W2**2).sum())
        return value + penalty(self.lambda_H, (point.H**2).sum() / graphs)

    def random_point(self, key: Any, scale: float = 1.0) -> GraphWeights:
        """Independent N(0, scale^2) entries."""
        K, (graphs, nodes) = self.num_classes, np.shape(self.means)[:2]
        shapes = [(K, self.d), (K, self.d), (graphs, self.d, nodes)]
        return GraphWeights(*(scale * x for x in gaussian(key, shapes)))

    def generators(self, point: GraphWeights) -> GraphWeights:
        """Rotations W1 -> W1 R, W2 -> W2 R, H_g -> R^T H_g."""
        W1, W2, H = (np.asarray(x) for x in point)
        A = skew_basis(self.d)
        return GraphWeights(
            W1 @ A, W2 @ A, np.stack([-a @ H for a in A]) if len(A) else H[None][:0]
        )

    def certificate(self, point: GraphWeights) -> Certificate:
        """The dual value of the scaled residual, which bounds f in every dimension (GU-6)."""
        errors = np.asarray(self.errors(point))
        graphs, K, nodes = errors.shape
        share = errors / (nodes * graphs)
        seen = share @ np.swapaxes(np.asarray(self.means), 1, 2)
        stacked = [
            np.concatenate([own / math.sqrt(self.lambda_self), mean / math.sqrt(self.lambda_W)])
            for own, mean in zip(share, seen, strict=True)
        ]
        price = math.sqrt(float(self.lambda_H) / graphs)
        ratio = float(np.linalg.norm(np.concatenate(stacked, axis=1), 2)) / price
        dual = share / max(1.0, ratio)
        targets = np.arange(K)[:, None] == np.asarray(self.labels)
        bound = -nodes * graphs / 2 * float(np.sum(dual**2)) - float(np.sum(dual * targets))
        gap = float(self.value_and_gradient(point)[0]) - bound
        return Certificate(True, gap, bound, ratio, "convex in W1 H and W2 H (GU-6)")

    def columns(self) -> dict[str, Any]:
        """K, d, counts, number of graphs and decays."""
        return {
            "K": self.num_classes,
            "d": self.d,
            **counts_columns(self.counts_tuple),
            "graphs": len(self.means),
            "lambda_self": float(self.lambda_self),
            "lambda_W": float(self.lambda_W),
            "lambda_H": float(self.lambda_H),
        }


def block_model(
    sizes: Sequence[int], inside: float, outside: float, rng: np.random.Generator
) -> Array:
    """Adjacency of a stochastic block model without isolated nodes, by drawing until there is none.

    Args:
        sizes: nodes of every class.
        inside: probability of an edge within a class.
        outside: probability of an edge between two classes.
        rng: of the draws.

    Raises:
        InputError: a probability outside [0, 1], or only graphs with isolated nodes.

    Example:
        >>> block_model((3, 2), 1.0, 0.0, np.random.default_rng(0)).sum(axis=0).tolist()
        [2.0, 2.0, 2.0, 1.0, 1.0]
    """
    for name, chance in (("p", inside), ("q", outside)):
        if not 0 <= chance <= 1:
            raise InputError(f"Need 0 <= {name} <= 1", chance, "give a probability")
    labels = np.repeat(np.arange(len(sizes)), sizes)
    chances = np.where(labels[:, None] == labels, inside, outside)
    for _ in range(MOST_DRAWS):
        upper = np.triu(rng.random(chances.shape) < chances, 1)
        drawn = (upper | upper.T).astype(float)
        if drawn.any(axis=0).all():
            return drawn
    rule = f"Every one of {MOST_DRAWS} graphs had an isolated node"
    raise InputError(rule, f"p={inside:g}, q={outside:g}", "raise p or q, or give more nodes")


def graph_network(
    num_classes: int = 2,
    n: int = 6,
    d: int = 4,
    graphs: int = 2,
    p: float = 0.6,
    q: float = 0.2,
    lambda_self: float = 0.02,
    lambda_W: float = 0.02,
    lambda_H: float = 0.02,
    draw: int = 0,
    counts: str | Sequence[int] | None = None,
) -> GraphNetwork:
    """Graph networks with self-connections on several random graphs of a stochastic block model.

    f(W1, W2, H) = (1/G) sum_g [|W1 H_g + W2 H_g A_g D_g^-1 - Y|^2 / (2N) + (lambda_H/2) |H_g|^2]
                   + (lambda_self/2) |W1|^2 + (lambda_W/2) |W2|^2

    Args:
        num_classes: K, 2 or more.
        n: nodes of every class.
        d: feature dimension.
        graphs: G, drawn independently, without isolated nodes.
        p: probability of an edge within a class.
        q: probability of an edge between two classes.
        lambda_self: weight decay of W1, > 0; a large one leaves the neighbours alone.
        lambda_W: weight decay of W2, > 0.
        lambda_H: weight decay of the features, > 0.
        draw: which graphs: the seed of their random numbers, 0 or more.
        counts: nodes of every class with commas, instead of K and n.

    Raises:
        InputError: a value outside its domain, or only graphs with isolated nodes.

    Example:
        >>> model = graph_network(2, 3, 2, 3, 0.8, 0.3)
        >>> model.means.shape
        (3, 6, 6)
    """
    sizes = class_counts(num_classes, n, counts)
    many = require_count(graphs, "graphs", 1, "draw one graph or more")
    if many > MAX_GRAPHS:
        raise InputError(f"Need graphs <= {MAX_GRAPHS}", many, "draw fewer")
    rng = np.random.default_rng(require_count(draw, "draw", 0, "use a seed such as 0"))
    drawn = [block_model(sizes, p, q, rng) for _ in range(many)]
    singles = [graph_of(A, sizes, d, lambda_W, lambda_H) for A in drawn]
    means = np.stack([np.asarray(single.means) for single in singles])
    own = require_decay(lambda_self, "lambda_self")
    return GraphNetwork(means, singles[0].labels, own, lambda_W, lambda_H, d)
