"""The central path of squared error: least-squares classifiers, and two exact laws of motion.

Features H are rows here, (N, d), as networks give them; labels are 0..K-1.
Source: CP-1 to CP-4 of docs/theory.md; after Han, Papyan & Donoho (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from ufm.collapse.inputs import read, require_finite
from ufm.eigen import eigh
from ufm.errors import InputError
from ufm.typing import Array


@dataclass(frozen=True)
class Decomposition:
    """Squared error in three parts that are never negative: L = nc1 + nc23 + perpendicular.

    Attributes:
        nc1: tr{W_LS (Sigma_W + Lambda) W_LS^T} / 2, what variability within classes costs.
        nc23: sum_k pi_k |W_LS mu_k - e_k|^2 / 2, what the class means cost.
        perpendicular: tr{(W - W_LS) A (W - W_LS)^T} / 2, the distance from the central path.
        classifier: W_LS (K, d + 1), the bias in its last column.
    """

    nc1: float
    nc23: float
    perpendicular: float
    classifier: Array

    @property
    def total(self) -> float:
        """The whole objective of the classifier that was given."""
        return self.nc1 + self.nc23 + self.perpendicular


def decompose(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    classifier: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    decay: float = 0.0,
    bias_decay: float | None = None,
) -> Decomposition:
    """Squared error of a classifier on given features, by CP-1.

    L = Ave |W h + b - e_y|^2 / 2 + (decay / 2) |W|^2 + (bias_decay / 2) |b|^2. With h~ = (h, 1),
    W~ = (W, b), Lambda the diagonal of the decays, A = Ave h~ h~^T + Lambda and mu~_k the class
    means, W_LS = sum_k pi_k e_k mu~_k^T A^-1 is the best classifier for these features. Class sizes
    pi_k and the two decays may differ (derived here; the paper has equal ones). The central path is
    the set of (W_LS(H), H).

    Args:
        features: (N, d).
        labels: (N,), 0..K-1.
        classifier: W (K, d).
        bias: b (K,); zero by default.
        decay: >= 0; with 0 the least-norm solution is taken.
        bias_decay: >= 0; that of W without it.

    Raises:
        InputError: shapes that do not fit, a class without samples, or a negative decay.

    Example:
        >>> H = np.array([[1.0, 0.1], [0.9, 0.0], [-1.0, 0.0], [-1.1, 0.2]])
        >>> parts = decompose(H, [0, 0, 1, 1], np.zeros((2, 2)), decay=0.01)
        >>> round(parts.total, 12)  # of W = 0, b = 0
        0.5
        >>> parts.perpendicular > parts.nc1 > 0
        True
    """
    bias_decay = decay if bias_decay is None else bias_decay
    for value in (decay, bias_decay):
        if not value >= 0:
            raise InputError("Need decay >= 0", value, "use zero or a positive weight decay")
    data = read(features, labels, classifier, bias, False, None)
    if data.head is None:
        raise InputError("Need a classifier W of shape (K, d)", "None", "pass it")
    W = data.head.W
    H = np.asarray(data.features, dtype=np.float64)
    require_finite(H, "features")
    K, N = data.counts.size, len(H)
    extended = np.hstack([H, np.ones((N, 1))])
    given = np.hstack([W, data.head.b[:, None]])
    one_hot = np.eye(K)[data.labels]
    pi = data.counts / N
    means = one_hot.T @ extended / data.counts[:, None]
    deviations = extended - means[data.labels]
    decays = np.append(np.full(W.shape[1], decay), bias_decay)
    A = extended.T @ extended / N + np.diag(decays)
    best = np.linalg.lstsq(A, means.T * pi, rcond=None)[0].T
    within = deviations @ best.T
    away = extended @ (given - best).T
    return Decomposition(
        float(np.sum(within**2) / N + np.sum(best**2 @ decays)) / 2,
        float(pi @ np.sum((means @ best.T - np.eye(K)) ** 2, axis=1)) / 2,
        float(np.sum(away**2) / N + np.sum((given - best) ** 2 @ decays)) / 2,
        np.asarray(best),
    )


def signal_to_noise(features: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """Singular values omega_j of Sigma_W^(-1/2) M, with M the globally centred class means (K, d).

    Args:
        features: (N, d), at least one deviation in every direction: Sigma_W is inverted.
        labels: (N,), every class with as many samples.

    Returns:
        The K - 1 values that can be positive, descending.

    Raises:
        InputError: unequal classes, or a singular Sigma_W.

    Example:
        >>> H = np.array([[2.0, 1], [2, -1], [4, 0], [0, 0], [-2, 1], [-2, -1], [0, 0], [-4, 0]])
        >>> signal_to_noise(H, [0, 0, 0, 0, 1, 1, 1, 1]).round(12)
        array([2.])
    """
    M, D = means_and_deviations(features, labels)
    whitened = M @ inverse_root(D.T @ D / len(D))
    return np.asarray(np.linalg.svd(whitened, compute_uv=False)[: len(M) - 1])


def tangent_time(omega: npt.ArrayLike, num_classes: int, n: int) -> Array:
    """n (K^2 log w + K w^2 + w^4 / 4): the time, up to a constant, at which the flow is at w.

    Of the flow on {Sigma_W = I} along the tangent projection of -grad L_LS (CP-3):
    dw/dt = (1/n) w / (K + w^2)^2, so that w ~ (4 t / n)^(1/4) and the values become equal.

    Example:
        >>> float(tangent_time(1.0, 3, 2))
        6.5
    """
    w = np.asarray(omega, dtype=np.float64)
    return np.asarray(n * (num_classes**2 * np.log(w) + num_classes * w**2 + w**4 / 4))


def rewhitened_time(omega: npt.ArrayLike, num_classes: int, n: int) -> Array:
    """N (K log w + w^2 / 2): the same for steps of -grad L_LS each followed by whitening (CP-4).

    It is another flow, dw/dt = (1/N) w / (K + w^2) and w ~ (2 t / N)^(1/2): whitening moves the
    class means too, which the tangent projection does not.

    Example:
        >>> float(rewhitened_time(1.0, 3, 2))
        3.0
    """
    w = np.asarray(omega, dtype=np.float64)
    return np.asarray(num_classes * n * (num_classes * np.log(w) + w**2 / 2))


def follow(
    law: Callable[[npt.ArrayLike, int, int], Array],
    omega: npt.ArrayLike,
    times: npt.ArrayLike,
    num_classes: int,
    n: int,
) -> Array:
    """Where a law of motion takes signal-to-noise values, exactly: law(w(t)) = law(w(0)) + t.

    Args:
        law: ``tangent_time`` or ``rewhitened_time``.
        omega: values at time 0, all positive.
        times: t >= 0.
        num_classes: K.
        n: samples of a class.

    Returns:
        (times, values).

    Raises:
        InputError: values that are not positive, or a negative time.

    Example:
        >>> found = follow(tangent_time, [0.5, 1.0], [0.0, 1e6], 3, 2)
        >>> found[0].round(12).tolist(), bool(found[1, 1] / found[1, 0] < 1.001)
        ([0.5, 1.0], True)
    """
    start = np.atleast_1d(np.asarray(omega, dtype=np.float64))
    t = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if not (start.size and np.all(start > 0) and np.all(np.isfinite(start))):
        raise InputError("Need omega > 0", omega, "a lost direction has no motion; leave it out")
    if not np.all(t >= 0):
        raise InputError("Need times >= 0", times, "start from the earliest point")

    def place(w0: float, after: float) -> float:
        goal = float(law(w0, num_classes, n)) + after
        high = 2 * w0
        while float(law(high, num_classes, n)) < goal:
            high *= 2
        return float(
            scipy.optimize.brentq(
                lambda w: float(law(w, num_classes, n)) - goal, w0, high, xtol=1e-14
            )
        )

    return np.array([[place(w, after) if after > 0 else w for w in start] for after in t])


def means_and_deviations(features: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Array, Array]:
    """Globally centred means (K, d) of classes of one size, and what is left of the samples (N, d).

    Raises:
        InputError: arrays that do not fit, or unequal classes.

    Example:
        >>> M, D = means_and_deviations([[1.0], [3.0], [6.0], [6.0]], [0, 0, 1, 1])
        >>> M.ravel().tolist(), D.ravel().tolist()
        ([-2.0, 2.0], [-1.0, 1.0, 0.0, 0.0])
    """
    data = read(features, labels, None, None, False, None)
    if len(set(data.counts.tolist())) > 1:
        got = ", ".join(str(count) for count in data.counts)
        raise InputError("Need classes of equal size", f"counts {got}", "cut them to the smallest")
    H = np.asarray(data.features, dtype=np.float64)
    require_finite(H, "features")
    means = np.eye(data.counts.size)[data.labels].T @ H / data.counts[:, None]
    return means - means.mean(axis=0), H - means[data.labels]


def inverse_root(S: Array) -> Array:
    """S^(-1/2) of a within-class covariance (d, d).

    Raises:
        InputError: S is singular to rounding.

    Example:
        >>> inverse_root(np.diag([4.0, 0.25])).round(12)
        array([[0.5, 0. ],
               [0. , 2. ]])
    """
    values, vectors = eigh(S)
    if values[0] <= len(S) * np.finfo(np.float64).eps * values[-1]:
        rule = "Need an invertible within-class covariance"
        got = f"eigenvalues from {values[0]:.1e} to {values[-1]:.1e}"
        raise InputError(rule, got, "project on the directions in which samples vary")
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
