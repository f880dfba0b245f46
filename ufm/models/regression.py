"""The unconstrained feature model of multivariate regression (neural regression collapse)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ufm.answers import Minimiser, Restriction
from ufm.decay import balanced_factors, penalty
from ufm.errors import InputError, require_count, require_decay
from ufm.model import Model
from ufm.point import Point, gaussian, rotation_generators, row_space_of_start
from ufm.records import pytree_record


@pytree_record(static=("d",), eq=False)
class Regression(Model[Point]):
    """f = |W H + b 1^T - Y|^2 / (2M) + (lambda_H / (2M)) |H|^2 + (lambda_W / 2) |W|^2.

    Targets Y (n, M) are M samples in R^n, features H (d, M), bias b (n,) unregularised. Note the
    lambda_H / M, the paper's convention.
    Source: Andriopoulos et al. 2024 (arXiv 2409.04180).

    Raises:
        InputError: targets not a finite (n, M) array, a decay <= 0, or d < 1.

    Example:
        >>> model = Regression(np.array([[1.0, -1.0]]), 2, lambda_W=4.0, lambda_H=1.0)
        >>> model.minimiser().rank  # lambda_W lambda_H > variance: the zero solution
        0
    """

    targets: Any
    d: int
    lambda_W: Any
    lambda_H: Any

    def __post_init__(self) -> None:
        Y = np.asarray(self.targets, dtype=np.float64)
        if Y.ndim != 2 or not np.all(np.isfinite(Y)):
            raise InputError("Need finite targets (n, M)", f"shape {Y.shape}", "reshape or clean Y")
        require_count(self.d, "d", 1, "use one dimension or more")
        require_decay(self.lambda_W, "lambda_W")
        require_decay(self.lambda_H, "lambda_H")

    def objective(self, point: Point) -> Any:
        """f at a point; shapes W (n, d), H (d, M), b (n,)."""
        M = self.targets.shape[1]
        fit = ((point.logits() - self.targets) ** 2).sum() + self.lambda_H * (point.H**2).sum()
        return 0.5 * fit / M + penalty(self.lambda_W, (point.W**2).sum())

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """W, H and b with independent N(0, scale^2) entries."""
        n, M = self.targets.shape
        return Point(*(scale * x for x in gaussian(key, [(n, self.d), (self.d, M), (n,)])))

    def generators(self, point: Point) -> Point:
        """Rotations W -> W R, H -> R^T H."""
        return rotation_generators(point)

    def confined(self, point: Point) -> Restriction | None:
        """The row space of [W; H^T] at a start."""
        return row_space_of_start(self, point)

    def columns(self) -> dict[str, Any]:
        """n targets, M samples, d and the decays."""
        n, M = np.shape(self.targets)
        lambda_W, lambda_H = float(self.lambda_W), float(self.lambda_H)
        return {"n": n, "M": M, "d": self.d, "lambda_W": lambda_W, "lambda_H": lambda_H}

    def minimiser(self) -> Minimiser:
        """Soft thresholding of the centred targets at sqrt(M lambda_W lambda_H) (X-11), any d."""
        Y = np.asarray(self.targets)
        mean, M = Y.mean(axis=1), Y.shape[1]
        U, t, Vt = np.linalg.svd(Y - mean[:, None], full_matrices=False)
        cut = np.sqrt(M * self.lambda_W * self.lambda_H)
        kept = np.where(np.arange(len(t)) < self.d, np.maximum(t - cut, 0.0), 0.0)[: self.d]
        rank = len(kept)
        decays = M * self.lambda_W, self.lambda_H
        W, H = balanced_factors(U[:, :rank], kept, Vt[:rank], self.d, *decays)
        value = float(np.sum(t**2) - np.sum(kept**2)) / (2 * M)
        source = "Andriopoulos et al. 2024 (X-11)"
        return Minimiser(Point(W, H, mean), value, int(np.sum(kept > 0)), None, source, "proved")


def random_regression(
    n: int = 3,
    M: int = 20,
    d: int = 4,
    lambda_W: float = 0.1,
    lambda_H: float = 0.1,
    seed: int = 0,
) -> Regression:
    """Multivariate regression on Gaussian targets, in closed form for every n, M and d.

    f = |W H + b 1^T - Y|^2 / (2M) + (lambda_H / (2M)) |H|^2 + (lambda_W / 2) |W|^2

    Args:
        n: number of targets.
        M: number of samples.
        d: feature dimension.
        lambda_W: weight decay of the classifier, > 0.
        lambda_H: weight decay of the features, > 0.
        seed: of the targets, independent N(0, 1).

    Example:
        >>> random_regression(n=2, M=5).targets.shape
        (2, 5)
    """
    for name, value in (("n", n), ("M", M)):
        require_count(value, name, 1, "give one or more")
    targets = np.random.default_rng(seed).standard_normal((n, M))
    return Regression(targets, d, lambda_W, lambda_H)
