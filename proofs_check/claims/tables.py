"""Tables of Hessian eigenvalues and multiplicities (THEORY, section 7), as formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq

from proofs_check.claims.minimisers import MAX_GAP, c_of, scale
from proofs_check.formula_alterations import formula
from ufm.typing import Array

Rows = list[tuple[float, float]]


@formula
def pair_of(lambda_W: float, lambda_H: float, g: float) -> tuple[float, float]:
    """Roots of x^2 - (lw + lh)(1 + g) x + 4 g lw lh, for g = theta or R theta."""
    trace = (lambda_W + lambda_H) * (1 + g)
    large = (trace + np.sqrt(trace**2 - 16 * g * lambda_W * lambda_H)) / 2
    return float(4 * g * lambda_W * lambda_H / large), float(large)


@formula
def smoothed_curvatures(K: int, c: float, delta: float) -> tuple[float, float, float]:
    """(alpha, s1, s2) of CE and label smoothing: own-class and other logit curvature."""
    u = c + delta
    p = 1 - (K - 1) * u / K
    return float(np.log(K / u - K + 1)), p * u, u / K


@formula
def focal_curvatures(K: int, c: float, gamma: float) -> tuple[float, float, float]:
    """(alpha, s1, s2) of focal loss, with u from the scale equation of FL-1."""
    price = c * (K - 1) / K
    u = float(brentq(lambda x: scale(x, gamma) - price, 1 / K, MAX_GAP, xtol=1e-16))
    rest, log_u = 1 - u, np.log(u)
    first = gamma * rest ** (gamma - 1) * log_u - rest**gamma / u
    second = -gamma * (gamma - 1) * rest ** (gamma - 2) * log_u
    second += 2 * gamma * rest ** (gamma - 1) / u + rest**gamma / u**2
    s2 = -first * u * rest / (K - 1)
    s1 = (second * u * rest + first * (1 - 2 * u)) * u * rest * K / (K - 1)
    return float(np.log(u * (K - 1) / rest)), float(s1), float(s2)


@formula
def logit_rows(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, theta: float, R: float
) -> Rows:
    """Table 7.1 but for the block of the standard representation."""
    out, turns = d - K + 1, (K - 1) * (K - 2) / 2
    rows = [
        (lambda_H, K * (n - 1) * out),
        (lambda_H * (1 + theta), K * (n - 1) * (K - 2)),
        (lambda_H * (1 + R * theta), K * (n - 1)),
        (0.0, (K - 1) * out + turns),
        (lambda_W + lambda_H, (K - 1) * out),
        (lambda_W, out + K - 1),
        (lambda_H, out),
        ((lambda_W + lambda_H) * (1 + theta), turns),
    ]
    rows += [(x, 1) for x in pair_of(lambda_W, lambda_H, R * theta)]
    return rows + [(x, K * (K - 3) / 2) for x in pair_of(lambda_W, lambda_H, theta)]


@formula
def standard_block(K: int, lambda_W: float, lambda_H: float, theta: float, R: float) -> Array:
    """B3 of 7.1: unequal norms and common feature shifts."""
    q = (R - 1) / (K - 1)
    a, b, e = 1 + q * (K - 2), q * np.sqrt(K - 2), 1 + q
    form = np.array(
        [
            [1 + a * theta, a * theta - 1, b * theta],
            [a * theta - 1, 1 + a * theta, b * theta],
            [b * theta, b * theta, 1 + e * theta],
        ]
    )
    size = np.sqrt([lambda_W, lambda_H, lambda_H])
    return np.asarray(size[:, None] * form * size[None, :])


def logit_table(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, delta: float, gamma: float
) -> Rows:
    """Table 7.1."""
    c = c_of(K, n, lambda_W, lambda_H)
    found = focal_curvatures(K, c, gamma) if gamma else smoothed_curvatures(K, c, delta)
    alpha, s1, s2 = found
    theta, R = alpha * s2 / c, s1 / s2
    block = np.linalg.eigvalsh(standard_block(K, lambda_W, lambda_H, theta, R))
    rows = logit_rows(K, d, n, lambda_W, lambda_H, theta, R)
    return rows + [(float(x), K - 1) for x in block]


@formula
def coupling(K: int, lambda_W: float, lambda_H: float, theta: float, R: float, s2: float) -> Array:
    """The fourth row of 7.2: the bias against unequal norms and common feature shifts."""
    q = (R - 1) / (K - 1)
    b, e = q * np.sqrt(K - 2), 1 + q
    size = np.sqrt([lambda_W, lambda_H, lambda_H])
    return np.asarray(np.sqrt(theta * s2) * np.array([b, b, e]) * size)


def bias_table(
    K: int,
    d: int,
    n: int,
    lambda_W: float,
    lambda_H: float,
    lambda_b: float,
    delta: float,
    gamma: float,
) -> Rows:
    """Table 7.1 with the fourth row and column of 7.2."""
    c = c_of(K, n, lambda_W, lambda_H)
    found = focal_curvatures(K, c, gamma) if gamma else smoothed_curvatures(K, c, delta)
    alpha, s1, s2 = found
    theta, R = alpha * s2 / c, s1 / s2
    form = standard_block(K, lambda_W, lambda_H, theta, R)
    edge = coupling(K, lambda_W, lambda_H, theta, R, s2)[:, None]
    corner = np.array([[lambda_b + s2 * (1 + (R - 1) / (K - 1))]])
    block = np.linalg.eigvalsh(np.block([[form, edge], [edge.T, corner]]))
    rows = [(lambda_b, 1), *logit_rows(K, d, n, lambda_W, lambda_H, theta, R)]
    return rows + [(float(x), K - 1) for x in block]


@formula
def frame_rows(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, theta: float, kappa: float
) -> Rows:
    """Tables 7.3 (kappa = 1) and 7.5: an orthogonal frame, bias-free, d >= K."""
    rows = [
        (lambda_H * (1 + theta), K * (n - 1) * (K - 1)),
        (lambda_H * (1 + kappa * theta), K * (n - 1)),
        (lambda_H, K * (n - 1) * (d - K)),
        (0.0, K * (d - K) + K * (K - 1) / 2),
        (lambda_W + lambda_H, K * (d - K)),
        ((lambda_W + lambda_H) * (1 + theta), K * (K - 1) / 2),
    ]
    rows += [(x, K * (K - 1) / 2) for x in pair_of(lambda_W, lambda_H, theta)]
    return rows + [(x, K) for x in pair_of(lambda_W, lambda_H, kappa * theta)]


def mse_table(K: int, d: int, n: int, lambda_W: float, lambda_H: float) -> Rows:
    """Table 7.3: theta = (1 - c)/c."""
    c = c_of(K, n, lambda_W, lambda_H)
    return frame_rows(K, d, n, lambda_W, lambda_H, (1 - c) / c, 1.0)


def rescaled_table(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, kappa: float, M: float
) -> Rows:
    """Table 7.5: theta = M/c - 1/kappa."""
    c = c_of(K, n, lambda_W, lambda_H)
    return frame_rows(K, d, n, lambda_W, lambda_H, M / c - 1 / kappa, kappa)


@formula
def centred_rows(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, theta: float, shift: float
) -> Rows:
    """Table 7.4 with common shifts of W costing ``shift``."""
    out, turns = d - K + 1, (K - 1) * (K - 2) / 2
    edge = np.sqrt(lambda_H * theta)
    bias = np.linalg.eigvalsh(np.array([[lambda_H * (1 + theta), edge], [edge, 1.0]]))
    rows = [
        (lambda_H * (1 + theta), K * (n - 1) * (K - 1)),
        (lambda_H, K * (n - 1) * out + out),
        (0.0, (K - 1) * out + turns),
        (lambda_W + lambda_H, (K - 1) * out),
        (lambda_W, out),
        (shift, K - 1),
        ((lambda_W + lambda_H) * (1 + theta), turns),
        (1.0, 1),
    ]
    rows += [(x, K * (K - 1) / 2) for x in pair_of(lambda_W, lambda_H, theta)]
    return rows + [(float(x), K - 1) for x in bias]


def free_bias_table(K: int, d: int, n: int, lambda_W: float, lambda_H: float) -> Rows:
    """Table 7.4: MSE with an unregularised bias, a simplex ETF, d >= K - 1."""
    c = c_of(K, n, lambda_W, lambda_H)
    theta = (1 - c) / c
    return centred_rows(K, d, n, lambda_W, lambda_H, theta, lambda_W * (1 + theta))


def origin_table(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, slope: float, rank: Any
) -> Rows:
    """CE-5: pairs with s = slope / (K sqrt n) for each of rank d directions, decays elsewhere."""
    s = slope / (K * np.sqrt(n))
    root = np.sqrt((lambda_W - lambda_H) ** 2 + 4 * s**2)
    r = rank.item()
    return [
        ((lambda_W + lambda_H - root) / 2, r * d),
        ((lambda_W + lambda_H + root) / 2, r * d),
        (lambda_W, (K - r) * d),
        (lambda_H, (K * n - r) * d),
    ]
