"""Linear probe: multinomial logistic regression on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeResult, minimize
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import log_softmax, softmax

from experiments.networks.measures.inputs import Labels, Matrix, matrix, with_labels
from ufm.collapse.inputs import count_classes, read_labels
from ufm.errors import InputError, require_positive

# A Newton step from where L-BFGS stalls gains half of the digits at least.
MAX_NEWTON = 50


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier and how well its problem is solved.

    Attributes:
        W: (K, d).
        b: (K,), of sum 0.
        l2: weight of |W|^2/2.
        objective: its value.
        gradient_norm: Euclidean norm of the gradient with respect to (W s, b), s as in ``fit``.
        converged: whether that is at most the tolerance asked for.
    """

    W: Matrix
    b: Matrix
    l2: float
    objective: float
    gradient_norm: float
    converged: bool

    def logits(self, features: npt.ArrayLike) -> Matrix:
        """H W^T + b, (N, K).

        Raises:
            InputError: features of another dimension.
        """
        H = matrix(features, "features")
        if H.shape[1] != self.W.shape[1]:
            rule = f"Need features of dimension {self.W.shape[1]}"
            raise InputError(rule, f"shape {H.shape}", "pass features of the same layer")
        return np.asarray(H @ self.W.T + self.b)

    def accuracy(self, features: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Share of samples whose largest logit is that of the label."""
        predicted = np.argmax(self.logits(features), axis=1)
        return float(np.mean(predicted == read_labels(labels, predicted.size)))


def fit(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    l2: float = 1e-3,
    tolerance: float = 1e-9,
    start: Probe | None = None,
) -> Probe:
    """Minimise (1/N) sum_i -log softmax(W h_i + b)_{y_i} + (l2/2)|W|^2; the bias is free.

    Strictly convex but for a shift of b, so the minimiser with sum b = 0 is unique. Solved for
    features with their mean taken out and divided by s, the root mean square of what is left:
    L-BFGS until it stalls, then Newton steps with conjugate gradients.

    Source: Kornblith, Shlens, Le 2019 for the protocol; scikit-learn's C is 1/(N l2).

    Args:
        features: (N, d), finite, not all equal.
        labels: (N,), every class of 0..K-1 with a sample, K >= 2.
        l2: > 0, per sample, in units of the features as they are.
        tolerance: on the norm of the gradient with respect to (W s, b), > 0.
        start: a probe of the same sizes to start from, for a path of l2.

    Returns:
        A probe that says whether it has converged.

    Raises:
        InputError: arguments not so.

    Example:
        >>> probe = fit([[-1.0], [1.0]], [0, 1], l2=0.1)
        >>> bool(probe.converged), probe.accuracy([[-1.0], [1.0]], [0, 1])
        (True, 1.0)
    """
    H, y = with_labels(features, "features", labels)
    K = count_classes(y, int(y.max()) + 1).size
    l2 = require_positive(l2, "l2", "without it separable classes have no minimum")
    tolerance = require_positive(tolerance, "tolerance", "1e-9 is usual")
    centre = H.mean(axis=0)
    X = H - centre
    scale = float(np.sqrt(np.mean(X**2)))
    if scale == 0:
        raise InputError("Need features that differ between samples", "all equal", "change layer")
    problem = _Problem(X / scale, y, K, l2 / scale**2)
    theta = problem.zero()
    if start is not None:
        if start.W.shape != (K, H.shape[1]):
            rule = f"Need a start of shape {(K, H.shape[1])}"
            raise InputError(rule, start.W.shape, "start from a probe of the same layer and labels")
        theta = problem.join(start.W * scale, start.b + start.W @ centre)
    theta = _solve(problem, theta, tolerance)
    value, gradient = problem.value_and_gradient(theta)
    V, c = problem.split(theta)
    W = V / scale
    b = c - W @ centre
    norm = float(np.linalg.norm(gradient))
    return Probe(W, b - b.mean(), l2, value, norm, norm <= tolerance)


def choose(
    train: tuple[npt.ArrayLike, npt.ArrayLike],
    held_out: tuple[npt.ArrayLike, npt.ArrayLike],
    grid: Sequence[float],
    tolerance: float = 1e-6,
) -> tuple[Probe, list[float]]:
    """The probe of the l2 in ``grid`` with the best held-out accuracy, the largest such l2.

    Source: Kornblith, Shlens, Le 2019, who take 45 values between 1e-6 and 1e5.

    Args:
        train: features and labels to fit.
        held_out: features and labels to choose by, which are not those to report.
        grid: at least one l2 > 0.
        tolerance: as in ``fit``.

    Returns:
        The probe, and the held-out accuracy of every l2 in the order of ``grid``.

    Raises:
        InputError: an empty grid, or what ``fit`` refuses.

    Example:
        >>> data = ([[-1.0], [1.0]], [0, 1])
        >>> probe, accuracies = choose(data, data, [0.1, 1.0])
        >>> probe.l2, accuracies
        (1.0, [1.0, 1.0])
    """
    if not len(grid):
        raise InputError("Need at least one l2 to choose from", "none", "np.logspace(-6, 0, 13)")
    made: dict[int, tuple[float, Probe]] = {}
    probe = None
    # From the strongest: each minimum is then near the next one.
    for index in sorted(range(len(grid)), key=lambda i: -grid[i]):
        probe = fit(*train, l2=grid[index], tolerance=tolerance, start=probe)
        made[index] = (probe.accuracy(*held_out), probe)
    # max takes the first of equal ones, which has the largest l2.
    best = max(made.values(), key=lambda item: item[0])[1]
    return best, [made[index][0] for index in range(len(grid))]


@dataclass(frozen=True, eq=False)
class _Problem:
    """The objective on scaled features X (N, d), with theta = (V, c) flattened."""

    X: Matrix
    y: Labels
    num_classes: int
    l2: float

    def zero(self) -> Matrix:
        return np.zeros(self.num_classes * (self.X.shape[1] + 1))

    def join(self, V: Matrix, c: Matrix) -> Matrix:
        return np.concatenate([V.ravel(), c])

    def split(self, theta: Matrix) -> tuple[Matrix, Matrix]:
        V = theta[: -self.num_classes].reshape(self.num_classes, -1)
        return V, theta[-self.num_classes :]

    def value_and_gradient(self, theta: Matrix) -> tuple[float, Matrix]:
        V, c = self.split(theta)
        log_p = log_softmax(self.X @ V.T + c, axis=1)
        rows = np.arange(self.y.size)
        value = -float(np.mean(log_p[rows, self.y])) + self.l2 / 2 * float(np.vdot(V, V))
        error = np.exp(log_p)
        error[rows, self.y] -= 1
        error /= self.y.size
        return value, self.join(error.T @ self.X + self.l2 * V, error.sum(axis=0))

    def hessian(self, theta: Matrix) -> LinearOperator:
        V, c = self.split(theta)
        P = softmax(self.X @ V.T + c, axis=1)

        def product(direction: Matrix) -> Matrix:
            D, e = self.split(np.asarray(direction).ravel())
            Q = self.X @ D.T + e
            R = P * (Q - np.sum(P * Q, axis=1, keepdims=True)) / self.y.size
            return self.join(R.T @ self.X + self.l2 * D, R.sum(axis=0))

        return LinearOperator((theta.size, theta.size), matvec=product, dtype=np.float64)


def _solve(problem: _Problem, theta: Matrix, tolerance: float) -> Matrix:
    # The largest entry is below the norm, so the norm is what is tested afterwards.
    options = {"maxiter": 1000, "gtol": tolerance / np.sqrt(theta.size), "ftol": 0.0, "maxcor": 20}
    found: OptimizeResult = minimize(
        problem.value_and_gradient, theta, jac=True, method="L-BFGS-B", options=options
    )
    theta = np.asarray(found.x)
    gradient = problem.value_and_gradient(theta)[1]
    for _ in range(MAX_NEWTON):
        norm = float(np.linalg.norm(gradient))
        if norm <= tolerance:
            break
        # An inexact Newton step whose relative residual falls with the gradient.
        forcing = min(0.1, norm**0.5)
        step, _ = cg(problem.hessian(theta), -gradient, rtol=forcing, maxiter=10 * theta.size)
        # Halved until the gradient falls: near the minimum values differ by rounding only.
        for halving in range(30):
            trial = theta + step / 2**halving
            new = problem.value_and_gradient(trial)[1]
            if np.linalg.norm(new) < norm:
                break
        else:
            break  # rounding is all that is left
        theta, gradient = trial, new
    return theta
