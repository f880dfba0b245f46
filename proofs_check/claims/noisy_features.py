"""Label noise beside free features: what over-parameterised noise cannot find there (SOP-4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.descents import minimised
from proofs_check.instance import Instance
from proofs_check.law import Law
from ufm.typing import Array


@dataclass(frozen=True)
class Noisy(Instance):
    """An unconstrained feature model of squared error whose samples may have noise."""

    K: int
    n: int
    lambda_W: float
    lambda_H: float
    lambda_u: float
    kind: str = "free features"

    @property
    def columns(self) -> dict[str, float]:
        """K, n and the decays."""
        names = ("K", "n", "lambda_W", "lambda_H", "lambda_u")
        return {name: getattr(self, name) for name in names}

    @property
    def label(self) -> str:
        """The numbers in words."""
        decays = f"lambda_W={self.lambda_W:g} lambda_H={self.lambda_H:g} lambda_u={self.lambda_u:g}"
        return f"{self.kind} K={self.K} n={self.n} {decays}"


def noisy(quick: bool = False) -> tuple[Noisy, ...]:
    """The penalty of noise above and below c, and both above 1."""
    settings = (
        (3, 2, 0.1, 0.05, 0.05),
        (3, 2, 0.1, 0.05, 0.2),
        (4, 3, 0.04, 0.03, 0.02),
        (2, 3, 0.4, 0.3, 0.5),
    )
    return tuple(Noisy(*setting) for setting in settings)


def _lowest(instance: Noisy) -> tuple[float, float, float]:
    """Value, own logit and own noise by descent in W, H, u and v; all must agree over samples."""
    K, n, N = instance.K, instance.n, instance.K * instance.n
    Y = np.repeat(np.eye(K), n, axis=1)
    d = K + 1
    decay_W, decay_H, decay_u = instance.lambda_W, instance.lambda_H, instance.lambda_u

    def value(W: Array, H: Array, u: Array, v: Array) -> tuple[float, tuple[Array, ...]]:
        error = W @ H + u * u - v * v - Y
        total = np.sum(error**2) / (2 * N) + (decay_W * np.sum(W**2) + decay_H * np.sum(H**2)) / 2
        total += decay_u * (np.sum(u**2) + np.sum(v**2)) / 2
        error = error / N
        slopes = (
            error @ H.T + decay_W * W,
            W.T @ error + decay_H * H,
            2 * error * u + decay_u * u,
            -2 * error * v + decay_u * v,
        )
        return total, slopes

    rng = np.random.default_rng((89, K, n))
    start = [0.5 * rng.normal(size=shape) for shape in ((K, d), (d, N), (K, N), (K, N))]
    options = {"maxiter": 20_000, "maxfun": 20_000, "ftol": 0, "gtol": 1e-10, "maxcor": 30}
    least, (W, H, u, v) = minimised(value, start, **options)
    Z, S, own = W @ H, u * u - v * v, Y.astype(bool)
    return least, float(Z[own].mean()), float(S[own].mean())


# ---- formulas


def lowest(
    K: int, n: int, lambda_W: float, lambda_H: float, lambda_u: float
) -> tuple[float, float, float]:
    """b - b^2/2 with b = min(c, N lambda_u / 2, 1); what is not decayed away is logit or noise."""
    c, share = K * np.sqrt(n * lambda_W * lambda_H), K * n * lambda_u / 2
    b = min(c, share, 1.0)
    logit, noise = (1 - b, 0.0) if c < share else (0.0, 1 - b)
    return b - b**2 / 2, logit, noise


def _lowest_without_noise(
    K: int, n: int, lambda_W: float, lambda_H: float, lambda_u: float
) -> tuple[float, float, float]:
    c = K * np.sqrt(n * lambda_W * lambda_H)
    return c - c**2 / 2, 1 - c, 0.0


CLAIMS = (
    Claim(
        id="noise-free-features",
        title="Free features do not tell noise from labels",
        statement="With free features and free sparse noise the minimum knows observed labels "
        "only: all is logit or all is noise, alike in all samples of an observed label.",
        latex=r"f^\ast=b-\tfrac{b^2}2,\quad b=\min\big(c,\tfrac{N\lambda_u}2,1\big)",
        source="SOP-4; derived here",
        region=noisy,
        check=Law(lowest, _lowest),
        tolerance=Tolerance(1e-6, "gradient 1e-10 over a curvature of 1e-3, factor 10"),
        mutant=Mutant("no noise is found", Law(_lowest_without_noise, _lowest)),
    ),
)
