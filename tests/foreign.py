"""Two models written outside the packages, as a user writes them: they know of nothing but ufm.

Everything that the lab offers for any model is tried on them, in tests named ``foreign``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ufm import CrossEntropy, Loss, Model, skew_basis
from ufm.records import pytree_record


class GraphPoint(NamedTuple):
    """Two classifiers (K, d) and features (d, nodes), one array for every graph."""

    W1: Any
    W2: Any
    H: tuple[Any, ...]


@pytree_record(static=("sizes", "d"), eq=False)
class TwoGraphs(Model[GraphPoint]):
    """Message passing over several rings of nodes: logits W1 H_g + W2 H_g A_g.

    f(W1, W2, H) = (1/N) sum_gi L(z_gi, y_gi) + lambda_W/2 (|W1|^2 + |W2|^2) + lambda_H/2 |H|^2

    Args:
        d: feature dimension.
        lambda_W: decay of both classifiers.
        lambda_H: decay of the features.
        loss: of (logits, label).
    """

    loss: Loss
    lambda_W: Any
    lambda_H: Any
    d: int
    sizes: tuple[int, ...]

    def __init__(
        self, d: int = 3, lambda_W: float = 0.05, lambda_H: float = 0.02, loss: Loss | None = None
    ) -> None:
        values = (loss or CrossEntropy(), lambda_W, lambda_H, d, (4, 6))
        for name, value in zip(("loss", "lambda_W", "lambda_H", "d", "sizes"), values, strict=True):
            object.__setattr__(self, name, value)

    def objective(self, point: GraphPoint) -> Any:
        losses = []
        for H in point.H:
            ring = 0.5 * (jnp.roll(H, 1, axis=1) + jnp.roll(H, -1, axis=1))
            labels = np.arange(H.shape[1]) % 2
            Z = point.W1 @ H + point.W2 @ ring
            losses.append(jax.vmap(self.loss, in_axes=(1, 0))(Z, labels))
        value = jnp.concatenate(losses).mean()
        value += 0.5 * self.lambda_W * ((point.W1**2).sum() + (point.W2**2).sum())
        return value + 0.5 * self.lambda_H * sum((H**2).sum() for H in point.H)

    def random_point(self, key: Any, scale: float = 1.0) -> GraphPoint:
        keys = jax.random.split(key, 2 + len(self.sizes))
        shapes = [(2, self.d), (2, self.d), *((self.d, size) for size in self.sizes)]
        W1, W2, *H = (
            scale * jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)
        )
        return GraphPoint(W1, W2, tuple(H))

    def generators(self, point: GraphPoint) -> GraphPoint:
        A = skew_basis(self.d)
        W1, W2, H = point
        return GraphPoint(W1 @ A, W2 @ A, tuple(-A @ np.asarray(h) for h in H))

    def columns(self) -> dict[str, Any]:
        return {"d": self.d, "lambda_W": float(self.lambda_W), "lambda_H": float(self.lambda_H)}


class Vectors(NamedTuple):
    """Rows of the classifier (K, d) and features (d, K); only their directions matter."""

    W: Any
    H: Any


@pytree_record(static=("K", "d"), eq=False)
class Spheres(Model[Vectors]):
    """Classifiers and features on unit spheres, at an inverse temperature.

    f(W, H) = (1/K) sum_k CE(tau u(w)_j . u(h_k), k)

    Args:
        K: classes.
        d: feature dimension.
        tau: inverse temperature.
    """

    K: int = 3
    d: int = 4
    tau: float = 2.0

    def objective(self, point: Vectors) -> Any:
        W = point.W / jnp.linalg.norm(point.W, axis=1, keepdims=True)
        H = point.H / jnp.linalg.norm(point.H, axis=0)
        Z = self.tau * W @ H
        return (jax.nn.logsumexp(Z, axis=0) - jnp.diagonal(Z)).mean()

    def random_point(self, key: Any, scale: float = 1.0) -> Vectors:
        one, other = jax.random.split(key)
        W, H = jax.random.normal(one, (self.K, self.d)), jax.random.normal(other, (self.d, self.K))
        return Vectors(scale * W, scale * H)

    def generators(self, point: Vectors) -> Vectors:
        A, e = skew_basis(self.d), np.eye(self.K)[:, :, None]
        W, H = np.asarray(point.W), np.asarray(point.H)
        radial = Vectors(e * W, np.zeros((self.K, *H.shape)))
        outward = Vectors(np.zeros((self.K, *W.shape)), np.swapaxes(e * H.T, 1, 2))
        turned = Vectors(W @ A, -A @ H)
        return jax.tree.map(lambda *x: np.concatenate(x), turned, radial, outward)

    def columns(self) -> dict[str, Any]:
        return {"K": self.K, "d": self.d, "tau": float(self.tau)}
