"""Flows on the central path of squared error: along the tangent projection, and re-whitened.

Both follow -grad_X L_LS(X), the gradient of the loss of the best classifier, and keep the
within-class covariance of the features at the identity. How they keep it decides where they go:
the tangent projection leaves the class means alone and gives Han, Papyan & Donoho's law (CP-3),
whitening after every step moves them too and gives another one (CP-4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from ufm.collapse.central_path import (
    inverse_root,
    means_and_deviations,
    rewhitened_time,
    signal_to_noise,
    tangent_time,
)
from ufm.errors import InputError
from ufm.typing import Array

RELATIVE, ABSOLUTE = 1e-11, 1e-13


class Flow(Enum):
    """How the covariance is kept, with the law of motion that belongs to it."""

    TANGENT = "tangent"
    REWHITENED = "rewhitened"

    @property
    def law(self) -> Callable[[npt.ArrayLike, int, int], Array]:
        """The exact law, for ``ufm.collapse.central_path.follow``."""
        return tangent_time if self is Flow.TANGENT else rewhitened_time


@dataclass(frozen=True)
class Path:
    """A flow at given times.

    Attributes:
        times: (times,).
        omega: signal-to-noise values, (times, K - 1), descending.
        features: (times, N, d).
        drift: largest entry of Sigma_W - I on the way.
    """

    times: Array
    omega: Array
    features: Array
    drift: float


def whitened(features: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """Features times Sigma_W^(-1/2), so that their within-class covariance is the identity.

    Args:
        features: (N, d).
        labels: (N,), every class with as many samples.

    Raises:
        InputError: as ``ufm.collapse.central_path.signal_to_noise``.

    Example:
        >>> H = np.random.default_rng(0).standard_normal((12, 2))
        >>> X = whitened(H, np.repeat([0, 1, 2], 4))
        >>> bool(np.allclose(covariance(X, np.repeat([0, 1, 2], 4)), np.eye(2)))
        True
    """
    D = means_and_deviations(features, labels)[1]
    return np.asarray(np.asarray(features, dtype=np.float64) @ inverse_root(D.T @ D / len(D)))


def covariance(features: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """Within-class covariance Ave (h - mu_y)(h - mu_y)^T, (d, d).

    Example:
        >>> covariance([[1.0], [3.0], [7.0]], [0, 0, 1]).round(12)
        array([[0.66666667]])
    """
    H, y = np.asarray(features, dtype=np.float64), np.asarray(labels)
    D = H - _means(H, y)[y]
    return np.asarray(D.T @ D / len(D))


def _means(H: Array, y: npt.NDArray[np.intp]) -> Array:
    one_hot = np.eye(int(y.max()) + 1)[y]
    return np.asarray(one_hot.T @ H / one_hot.sum(axis=0)[:, None])


def gradient(features: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """Gradient of L_LS in the features, (N, d): W^T (W h + b - e_y) / N at the best W and b.

    The best classifier contributes nothing of its own (envelope theorem).

    Example:
        >>> H = np.array([[1.0, 0.1], [0.9, 0.0], [-1.0, 0.0], [-1.1, 0.2]])
        >>> gradient(H, [0, 0, 1, 1]).shape
        (4, 2)
    """
    H, y = np.asarray(features, dtype=np.float64), np.asarray(labels)
    one_hot = np.eye(int(y.max()) + 1)[y]
    X, Y = H - H.mean(axis=0), one_hot - one_hot.mean(axis=0)
    best = np.linalg.lstsq(X, Y, rcond=None)[0]
    return np.asarray((X @ best - Y) @ best.T / len(H))


def velocity(features: Array, labels: npt.NDArray[np.intp], flow: Flow) -> Array:
    """dX/dt of a flow at features with identity covariance.

    TANGENT subtracts from -grad its part normal to {Sigma_W = I}, D S with S symmetric, D the
    deviations. REWHITENED multiplies the whole of X by the whitening that a step calls for.

    Example:
        >>> y = np.repeat([0, 1, 2], 4)
        >>> X = whitened(np.random.default_rng(1).standard_normal((12, 2)), y)
        >>> frozen = velocity(X, y, Flow.TANGENT)
        >>> bool(np.ptp(frozen[:4], axis=0).max() < 1e-14)  # a class moves as one
        True
    """
    step = -gradient(features, labels)
    D = features - _means(features, labels)[labels]
    moved = step - _means(step, labels)[labels]
    change = D.T @ moved / len(D)
    S = (change + change.T) / 2
    return step - (D if flow is Flow.TANGENT else features) @ S


def run(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    times: npt.ArrayLike,
    flow: Flow = Flow.TANGENT,
) -> Path:
    """Follow a flow from whitened features.

    Integrated by SciPy's DOP853 to a relative 1e-11.

    Args:
        features: (N, d) of classes of equal size; whitened first.
        labels: (N,).
        times: increasing, the first one >= 0.
        flow: which one.

    Returns:
        Path.

    Raises:
        InputError: times that do not increase, or features that cannot be whitened.

    Example:
        >>> from ufm.collapse.central_path import follow
        >>> y = np.repeat([0, 1, 2], 4)
        >>> H = np.random.default_rng(2).standard_normal((12, 3))
        >>> path = run(H, y, [0.0, 50.0])
        >>> exact = follow(tangent_time, path.omega[0], path.times, 3, 4)
        >>> bool(np.abs(path.omega - exact).max() < 1e-8)
        True
    """
    t = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if not (np.all(np.diff(t) > 0) and t[0] >= 0):
        raise InputError("Need increasing times from 0 on", times, "sort them")
    y = np.asarray(labels)
    start = whitened(features, y)

    def move(_: float, x: Array) -> Array:
        return velocity(x.reshape(start.shape), y, flow).ravel()

    span = (0.0, float(t[-1]))
    found = solve_ivp(
        move, span, start.ravel(), method="DOP853", t_eval=t, rtol=RELATIVE, atol=ABSOLUTE
    )
    seen = found.y.T.reshape(len(t), *start.shape)
    omega = np.array([signal_to_noise(X, y) for X in seen])
    drift = max(float(np.abs(covariance(X, y) - np.eye(X.shape[1])).max()) for X in seen)
    return Path(t, omega, seen, drift)
