"""Brute force that knows nothing of the library: NumPy losses, full objectives, dense Hessians."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logsumexp, softmax

from ufm import MSE, CrossEntropy, Focal, LabelSmoothing, Point, RescaledMSE, UserLoss
from ufm.frames import merged_code

Naive = Callable[[np.ndarray, int], tuple[float, np.ndarray, np.ndarray]]


def slow(*values):
    """A case of a parametrised test that only ``make test-all`` runs: the same idea once more."""
    return pytest.param(*values, marks=pytest.mark.slow)


def naive_cross_entropy(delta: float = 0.0, heat: float = 1.0) -> Naive:
    """Value, gradient and Hessian of (smoothed) cross entropy of heat * z."""

    def at(z, k):
        target = (1 - delta) * np.eye(len(z))[k] + delta / len(z)
        p = softmax(heat * z)
        value = -float(target @ log_softmax(heat * z))
        return value, heat * (p - target), heat**2 * (np.diag(p) - np.outer(p, p))

    return at


def naive_focal(gamma: float) -> Naive:
    """Focal loss phi(u), u = softmax(z)_k, differentiated by hand."""

    def at(z, k):
        p = softmax(z)
        u, log_u = p[k], z[k] - logsumexp(z)
        rest = 1 - u
        value = -(rest**gamma) * log_u
        first = gamma * rest ** (gamma - 1) * log_u - rest**gamma / u
        second = -gamma * (gamma - 1) * rest ** (gamma - 2) * log_u
        second += 2 * gamma * rest ** (gamma - 1) / u + rest**gamma / u**2
        e = np.eye(len(z))[k] - p
        spread = np.diag(p) - np.outer(p, p)
        hessian = (second * u**2 + first * u) * np.outer(e, e) - first * u * spread
        return float(value), first * u * e, hessian

    return at


def naive_squared(kappa: float = 1.0, M: float = 1.0) -> Naive:
    """(kappa (z_k - M)^2 + sum of the other squares) / 2."""

    def at(z, k):
        weight, own = np.ones(len(z)), np.eye(len(z))[k]
        weight[k] = kappa
        error = z - M * own
        return 0.5 * float(weight @ error**2), weight * error, np.diag(weight)

    return at


def hot_cross_entropy(z, k):
    """Cross entropy at temperature 1/2, as a user would write it."""
    return jax.nn.logsumexp(2 * z) - 2 * z[k]


# name -> (the library's loss, the same in NumPy)
FAMILY = {
    "ce": (CrossEntropy(), naive_cross_entropy()),
    "ls": (LabelSmoothing(0.1), naive_cross_entropy(0.1)),
    "focal": (Focal(2.0), naive_focal(2.0)),
    "mse": (MSE(), naive_squared()),
    "rescaled": (RescaledMSE(3.0, 2.0), naive_squared(3.0, 2.0)),
    "hot": (UserLoss(hot_cross_entropy), naive_cross_entropy(heat=2.0)),
}
CONVEX = ("ce", "ls", "mse", "rescaled", "hot")


@dataclass(frozen=True)
class Problem:
    """A UFM in plain NumPy, one column of H at a time; x = (W rows, H rows, b), as JAX ravels it.

    Column j belongs to class labels[j], has loss weight weights[j], logits scales[j] W h_j + b.
    """

    naive: Naive
    labels: np.ndarray
    weights: np.ndarray
    scales: np.ndarray
    num_classes: int
    d: int
    decays: tuple

    @staticmethod
    def of(naive, counts, d, lambda_W, lambda_H, lambda_b=None, *, merged=False) -> "Problem":
        """The problem with all samples, or with one column per class (A-1)."""
        counts = np.asarray(counts)
        K, N = len(counts), counts.sum()
        full = (np.repeat(np.arange(K), counts), np.full(N, 1 / N), np.ones(N))
        small = (np.arange(K), counts / N, 1 / np.sqrt(counts))
        return Problem(naive, *(small if merged else full), K, d, (lambda_W, lambda_H, lambda_b))

    @property
    def size(self) -> int:
        return self.d * (self.num_classes + len(self.labels)) + self.num_classes * self.biased

    @property
    def biased(self) -> bool:
        return self.decays[2] is not None

    def pack(self, point) -> np.ndarray:
        parts = [point.W, point.H] + ([point.b] if self.biased else [])
        return np.concatenate([np.ravel(part) for part in parts])

    def unpack(self, x) -> Point:
        K, d, columns = self.num_classes, self.d, len(self.labels)
        W = x[: K * d].reshape(K, d)
        H = x[K * d : (K + columns) * d].reshape(d, columns)
        return Point(W, H, x[(K + columns) * d :] if self.biased else None)

    def value_and_gradient(self, x) -> tuple[float, np.ndarray]:
        lw, lh, lb = self.decays
        W, H, b = self.unpack(x)
        value = 0.5 * (lw * np.sum(W**2) + lh * np.sum(H**2))
        gW, gH, gb = lw * W, lh * H, np.zeros(self.num_classes)
        if self.biased:
            value, gb = value + 0.5 * lb * np.sum(b**2), lb * b
        for j, k in enumerate(self.labels):
            z = self.scales[j] * W @ H[:, j] + (b if self.biased else 0.0)
            loss, slope, _ = self.naive(z, k)
            value += self.weights[j] * loss
            slope = self.weights[j] * slope
            gW = gW + self.scales[j] * np.outer(slope, H[:, j])
            gH[:, j] += self.scales[j] * W.T @ slope
            gb = gb + slope
        return float(value), self.pack(Point(gW, gH, gb))

    def hessian(self, x) -> np.ndarray:
        """Dense: J_j^T S_j J_j of every column, the bilinear term, the decays."""
        lw, lh, lb = self.decays
        W, H, b = self.unpack(x)
        K, d, columns = self.num_classes, self.d, len(self.labels)
        total = np.zeros((self.size, self.size))
        w_at = np.arange(K * d).reshape(K, d)
        h_at = K * d + np.arange(d * columns).reshape(d, columns)
        for j, k in enumerate(self.labels):
            z = self.scales[j] * W @ H[:, j] + (b if self.biased else 0.0)
            _, slope, curvature = self.naive(z, k)
            J = np.zeros((K, self.size))
            for i in range(K):
                J[i, w_at[i]] = self.scales[j] * H[:, j]
                J[i, h_at[:, j]] = self.scales[j] * W[i]
                coupling = self.weights[j] * self.scales[j] * slope[i]
                total[w_at[i], h_at[:, j]] += coupling
                total[h_at[:, j], w_at[i]] += coupling
            if self.biased:
                J[:, -K:] = np.eye(K)
            total += self.weights[j] * J.T @ curvature @ J
        decay = [lw] * (K * d) + [lh] * (d * columns) + [lb] * (K * self.biased)
        return total + np.diag(decay)

    def spectrum(self, point) -> np.ndarray:
        return np.linalg.eigvalsh(self.hessian(self.pack(point)))

    def random(self, seed: int, scale: float = 1.0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return scale * rng.standard_normal(self.size) / np.sqrt(self.d)

    def newton(self, x, steps: int = 120) -> tuple[Point, float]:
        """Damped pseudo-inverse Newton: finds saddles as readily as minima."""
        for _ in range(steps):
            gradient = self.value_and_gradient(x)[1]
            if np.linalg.norm(gradient) < 1e-15:
                break
            values, vectors = np.linalg.eigh(self.hessian(x))
            inverse = np.where(np.abs(values) > 1e-9, 1 / np.where(values == 0, 1.0, values), 0.0)
            step = -vectors @ (inverse * (vectors.T @ gradient))
            x = x + step * min(1.0, 1.0 / max(np.linalg.norm(step), 1e-300))
        return self.unpack(x), float(np.linalg.norm(self.value_and_gradient(x)[1]))

    def descend(self, starts: int = 3, seed: int = 0, scale: float = 2.0) -> tuple[float, Point]:
        """The lowest end of L-BFGS-B runs from random starts: value and point."""
        ends = [
            minimize(
                self.value_and_gradient,
                self.random(seed + start, scale),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-10},
            )
            for start in range(starts)
        ]
        best = min(ends, key=lambda end: end.fun)
        return float(best.fun), self.unpack(best.x)


def padded(point: Point, d: int) -> Point:
    """A point of a lower dimension with zero features appended."""
    extra = d - point.W.shape[1]
    return Point(
        np.pad(point.W, ((0, 0), (0, extra))), np.pad(point.H, ((0, extra), (0, 0))), point.b
    )


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of two sorted spectra, relative to the largest |eigenvalue|."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@jax.jit
def _hessian_products(model, point, directions):
    return jax.vmap(model.hessian_vector_product, in_axes=(None, 0))(point, directions)


def jax_hessian(model, point: Point) -> np.ndarray:
    """The dense Hessian of a model's own objective by automatic differentiation."""
    point = jax.tree.map(np.asarray, point)
    sizes = [leaf.size for leaf in jax.tree.leaves(point)]
    eye, ends = np.eye(sum(sizes)), np.cumsum(sizes)
    leaves = [
        eye[:, end - leaf.size : end].reshape(-1, *leaf.shape)
        for leaf, end in zip(jax.tree.leaves(point), ends, strict=True)
    ]
    directions = jax.tree.unflatten(jax.tree.structure(point), leaves)
    rows = jax.tree.leaves(_hessian_products(model, point, directions))
    return np.concatenate([np.asarray(row).reshape(len(eye), -1) for row in rows], axis=1)


def focal_slope(v, gamma):
    """-dL/da of focal loss at u = expit(v), by differences of the loss itself."""
    step = 1e-5

    def loss(x):
        return expit(-x) ** gamma * np.logaddexp(0.0, -x)

    return (loss(v - step) - loss(v + step)) / (2 * step)


def merged_index(G, delta, d, c, lambda_b=None):
    """Negative eigenvalues of the dense Hessian at 2 G classes in G groups, by NumPy alone."""
    K, n, ratio = 2 * G, 2, 1.7
    lambda_W, lambda_H = (c / (K * np.sqrt(n)) * x for x in (ratio, 1 / ratio))
    problem = Problem.of(naive_cross_entropy(delta), (n,) * K, d, lambda_W, lambda_H, lambda_b)
    size = np.sqrt(np.log(G / (c + delta) - G + 1) * np.sqrt(n))
    Q = size * merged_code([2] * G, d)
    H = np.repeat(Q.T * (lambda_W / lambda_H) ** 0.25, n, axis=1) / np.sqrt(n)
    point = Point(Q * (lambda_H / lambda_W) ** 0.25, H, None if lambda_b is None else np.zeros(K))
    assert np.abs(problem.value_and_gradient(problem.pack(point))[1]).max() < 1e-12
    return int(np.sum(problem.spectrum(point) < -1e-9))
