"""Sparse over-parameterisation of label noise: where the flow ends, and when it finds the noise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.instance import Instance
from proofs_check.law import Law, miscount
from ufm.sparse_overparameterisation import flow_limit, recovery_window, sparse_limit
from ufm.typing import Array

SOURCE = "after Liu, Zhu, Qu & You (2022); derived here"
# Beside the ends of a window, as thresholds ask.
THOUSANDTH = 1e-3
# Of small starts; the last is 1e-216.
POWERS = (1, 2, 4, 8)
# A sample whose multiplier is so much short of the penalty has noise gamma^(2 SLACK) beside none.
SLACK, VANISHES = 0.1, 1e-9


@dataclass(frozen=True)
class Corrupted(Instance):
    """A linear model of N samples and p parameters, k of whose targets are corrupted.

    ``beside`` says at which penalty: that number times an end of the window of recovery.
    """

    N: int
    p: int
    k: int
    gamma: float = 1e-2
    ratio: float = 1.3
    seed: int = 0
    beside: float = 1.0
    upper: bool = False
    kind: str = "linear model"

    @property
    def columns(self) -> dict[str, float]:
        """N, p, k, gamma and the ratio of rates."""
        names = ("N", "p", "k", "gamma", "ratio")
        return {name: getattr(self, name) for name in names}

    @property
    def label(self) -> str:
        """The numbers in words."""
        scale = f"gamma={self.gamma:g} ratio={self.ratio:g} seed {self.seed}"
        end = f", {self.beside:g} of the {'upper' if self.upper else 'lower'} end"
        return f"{self.kind} N={self.N} p={self.p} k={self.k} {scale}{end}"

    @property
    def data(self) -> tuple[Array, Array, Array]:
        """J (N, p), theta (p,) and the noise (N,)."""
        rng = np.random.default_rng((83, self.N, self.p, self.k, self.seed))
        J, theta, noise = (
            rng.normal(size=(self.N, self.p)),
            rng.normal(size=self.p),
            np.zeros(self.N),
        )
        hit = rng.choice(self.N, self.k, replace=False)
        noise[hit] = rng.choice([-1, 1], self.k) * (1 + rng.random(self.k))
        return J, theta, noise

    @property
    def targets(self) -> Array:
        """J theta + noise."""
        J, theta, noise = self.data
        return np.asarray(J @ theta + noise)


@dataclass(frozen=True)
class Repeated(Instance):
    """One number measured N times, k of them corrupted against its sign or along it."""

    N: int
    k: int
    theta: float
    opposed: int
    kind: str = "one number"

    @property
    def columns(self) -> dict[str, float]:
        """N, theta, and how many measurements are corrupted against its sign."""
        return {"N": self.N, "theta": self.theta, "opposed": self.opposed}

    @property
    def label(self) -> str:
        """The numbers in words."""
        against = f"{self.opposed} of {self.k} corrupted against its sign"
        return f"{self.kind}, theta={self.theta:g} N={self.N}, {against}"


def flows(quick: bool = False) -> tuple[Corrupted, ...]:
    """Small and large starts, equal and unequal rates."""
    settings = ((7, 3, 2, 1e-2, 1.3), (5, 2, 1, 0.3, 0.4), (6, 4, 2, 1e-3, 2.1))
    return tuple(Corrupted(*setting) for setting in settings)


def small_starts(quick: bool = False) -> tuple[Corrupted, ...]:
    """Starts so small that the limit is near, at penalties below recovery."""
    settings = ((7, 3, 2, 1e-25, 150.0), (6, 2, 1, 1e-20, 300.0), (8, 3, 1, 1e-27, 180.0))
    return tuple(Corrupted(*setting) for setting in settings)


def windows(quick: bool = False) -> tuple[Corrupted, ...]:
    """A thousandth beside both ends of windows of recovery."""
    lower = ((7, 3, 2, 1), (9, 3, 2, 2), (8, 2, 3, 3))
    factors = (1 - THOUSANDTH, 1 + THOUSANDTH, 0.5)
    made = [Corrupted(N, p, k, seed=s, beside=f) for N, p, k, s in lower for f in factors]
    return (*made, *bounded_windows(quick))


def bounded_windows(quick: bool = False) -> tuple[Corrupted, ...]:
    """Beside upper ends: too large a penalty takes the noise of some samples for signal."""
    factors = (1 - THOUSANDTH, 1 + THOUSANDTH, 2.0)
    return tuple(
        Corrupted(N, p, k, seed=seed, beside=f, upper=True)
        for N, p, k, seed in BOUNDED
        for f in factors
    )


# Found by going through seeds: absolute deviations alone do not return theta there.
BOUNDED = ((6, 2, 2, 3), (6, 2, 2, 6))


def repeated(quick: bool = False) -> tuple[Repeated, ...]:
    """Corrupted against its sign, along it, and both."""
    settings = ((5, 1, 1.0, 1), (5, 1, 1.0, 0), (5, 2, 1.0, 2), (9, 3, 0.7, 2), (8, 2, 1.6, 1))
    return tuple(Repeated(*setting) for setting in settings)


@cache
def _flowed(instance: Corrupted) -> tuple[Array, Array, Array]:
    """theta, noise and minus the integrated residual at the end of the flow, by an ODE solver."""
    J, y, a = instance.data[0], instance.targets, instance.ratio
    N, p = J.shape
    cuts = np.cumsum([p, N, N])

    def slope(_: float, x: Array) -> Array:
        theta, u, v, _nu = np.split(x, cuts)
        error = J @ theta + u * u - v * v - y
        return np.concatenate([-J.T @ error, -2 * a * u * error, 2 * a * v * error, -error])

    begun = np.concatenate([np.zeros(p), np.full(2 * N, instance.gamma), np.zeros(N)])
    # u v = gamma^2 stays, so u^2 + v^2 >= 2 gamma^2 and no error lives longer than this, e^-40.
    end = 10 / (a * instance.gamma**2)
    run = solve_ivp(slope, (0, end), begun, "LSODA", rtol=1e-11, atol=1e-13)
    theta, u, v, nu = np.split(run.y[:, -1], cuts)
    return theta, u * u - v * v, nu


def _ended(instance: Corrupted) -> tuple[Array, Array]:
    return _flowed(instance)[:2]


def _small_start(instance: Corrupted) -> Array:
    """theta as the start vanishes: starts of one penalty, extrapolated in 1/log."""
    J, y = instance.data[0], instance.targets
    told = [
        flow_limit(J, y, instance.gamma**power, power * instance.ratio).theta for power in POWERS
    ]
    for level in range(1, len(told)):
        told = [
            (2**level * after - before) / (2**level - 1)
            for before, after in itertools.pairwise(told)
        ]
    return np.asarray(told[0])


def _is_decided(instance: Corrupted) -> bool:
    penalty = -np.log(instance.gamma) / (2 * instance.ratio)
    share = np.abs(sparse_limit(instance.data[0], instance.targets, penalty).dual) / penalty
    return bool(np.all((share > 1 - VANISHES) | (share < 1 - SLACK)))


def _window(instance: Corrupted) -> tuple[float, float]:
    J, theta, noise = instance.data
    return recovery_window(J, theta, np.sign(noise))


def _penalty(instance: Corrupted) -> float:
    return instance.beside * instance.once(_window)[int(instance.upper)]


def _returned(instance: Corrupted) -> float:
    """Whether the sparse problem returns theta at the penalty of the instance."""
    J, theta, _ = instance.data
    found = sparse_limit(J, instance.targets, instance.once(_penalty)).theta
    return float(np.abs(found - theta).max() < 1e-9)


def _least_penalty(instance: Repeated) -> float:
    signs = np.zeros(instance.N)
    signs[: instance.opposed], signs[instance.opposed : instance.k] = -1, 1
    return recovery_window(np.ones((instance.N, 1)), [instance.theta], signs)[0]


# ---- formulas


def integrals(J: Array, nu: Array, gamma: float, ratio: float) -> tuple[Array, Array]:
    """theta = J^T nu and s = 2 gamma^2 sinh(4 ratio nu)."""
    return J.T @ nu, 2 * gamma**2 * np.sinh(4 * ratio * nu)


def _integrals_of_twice(J: Array, nu: Array, gamma: float, ratio: float) -> tuple[Array, Array]:
    return J.T @ nu, 2 * gamma**2 * np.sinh(2 * ratio * nu)


def end_of_flow(J: Array, y: Array, gamma: float, ratio: float) -> tuple[Array, Array]:
    """theta and s of the one solution of J J^T nu + s = y."""
    limit = flow_limit(J, y, gamma, ratio)
    return limit.theta, limit.noise


def _end_without_noise(J: Array, y: Array, gamma: float, ratio: float) -> tuple[Array, Array]:
    theta = np.asarray(np.linalg.lstsq(J, y, rcond=None)[0], dtype=float)
    return theta, y - J @ theta


def penalised(J: Array, y: Array, gamma: float, ratio: float) -> Array:
    """theta of the sparse problem with lambda = log(1/gamma) / (2 ratio)."""
    return sparse_limit(J, y, -np.log(gamma) / (2 * ratio)).theta


def _penalised_twice(J: Array, y: Array, gamma: float, ratio: float) -> Array:
    return sparse_limit(J, y, -np.log(gamma) / ratio).theta


def returned(low: float, high: float, penalty: float) -> float:
    """Whether a penalty is inside the window."""
    return float(low <= penalty <= high)


def _returned_without_bound(low: float, high: float, penalty: float) -> float:
    return float(low <= penalty)


DECIDED = Hypothesis("every |nu| is the penalty, or a tenth short of it", _is_decided)


def least_penalty(theta: float, N: int, opposed: int) -> float:
    """theta / (N - 2 k)."""
    return theta / (N - 2 * opposed)


def _least_penalty_of_clean(theta: float, N: int, opposed: int) -> float:
    return theta / (N - opposed)


_LINEAR: dict[str, Any] = {
    "J": lambda s: s.data[0],
    "y": lambda s: s.targets,
    "nu": lambda s: _flowed(s)[2],
}
_WINDOW: dict[str, Any] = {
    "low": lambda s: s.once(_window)[0],
    "high": lambda s: s.once(_window)[1],
    "penalty": lambda s: s.once(_penalty),
}
_INTEGRATED = Tolerance(1e-8, "an integration to 1e-11 a step; seen 1e-10")

CLAIMS = (
    Claim(
        id="noise-flow-integrals",
        title="Over-parameterised noise: what the flow keeps",
        statement="Along the flow of u*u - v*v and theta from equal small starts, both are "
        "functions of one integral, that of the residual, at every size of the start.",
        latex=r"\theta=J^\top\nu,\quad s=2\gamma^2\sinh(4\alpha\nu)",
        source=f"SOP-1; {SOURCE}",
        region=flows,
        check=Law(integrals, _ended, _LINEAR),
        tolerance=_INTEGRATED,
        mutant=Mutant("half the exponent", Law(_integrals_of_twice, _ended, _LINEAR)),
    ),
    Claim(
        id="noise-flow-end",
        title="Over-parameterised noise: where the flow ends",
        statement="The flow ends at the one solution of a monotone equation in nu.",
        latex=r"JJ^\top\nu+2\gamma^2\sinh(4\alpha\nu)=y",
        source=f"SOP-1; {SOURCE}",
        region=flows,
        check=Law(end_of_flow, _ended, _LINEAR),
        tolerance=_INTEGRATED,
        mutant=Mutant("least squares", Law(_end_without_noise, _ended, _LINEAR)),
        uses=("noise-flow-integrals",),
    ),
    Claim(
        id="noise-penalty",
        title="Over-parameterised noise: a small start is a penalty",
        statement="As the start vanishes at a fixed ratio of its logarithm to the rates the flow "
        "ends at the minimum of |theta|^2/2 + lambda |s|_1.",
        latex=r"\lambda=\frac{\log(1/\gamma)}{2\alpha}",
        source=f"SOP-2; {SOURCE}",
        literature="proved",
        region=small_starts,
        hypotheses=(DECIDED,),
        check=Law(penalised, _small_start, _LINEAR),
        tolerance=Tolerance(1e-4, "gamma^(2 slack) of the largest start is 1e-4; seen 1e-10"),
        mutant=Mutant("log(1/gamma) / a", Law(_penalised_twice, _small_start, _LINEAR)),
        uses=("noise-flow-end",),
    ),
    Claim(
        id="noise-window",
        title="Over-parameterised noise: penalties that return the clean model",
        statement="Which penalties return theta is an interval, whatever the sizes of the noise; "
        "its ends are linear programmes.",
        latex=r"J^\top\nu=\theta^\ast,\ \nu_S=\lambda\operatorname{sgn}s_S,\ "
        r"\lVert\nu\rVert_\infty\le\lambda",
        source="SOP-3; derived here",
        region=windows,
        check=Law(returned, _returned, _WINDOW, miscount),
        tolerance=COUNTING,
        mutant=Mutant("no upper end", Law(_returned_without_bound, _returned, _WINDOW, miscount)),
    ),
    Claim(
        id="noise-window-of-one-number",
        title="Over-parameterised noise: one number measured several times",
        statement="Measurements corrupted against the sign of the number raise the least penalty; "
        "those along it do not.",
        latex=r"\lambda_0=\frac{\theta^\ast}{N-2k}",
        source="SOP-3; derived here",
        region=repeated,
        check=Law(least_penalty, _least_penalty),
        tolerance=Tolerance(1e-9, "a linear programme of a few variables"),
        mutant=Mutant("clean measurements alone", Law(_least_penalty_of_clean, _least_penalty)),
        uses=("noise-window",),
    ),
    Claim(
        id="noise-window-without-end",
        title="Refuted: every large enough penalty returns the clean model",
        statement="FALSE: once a penalty returns theta, larger ones do. Six samples, two "
        "parameters, two corrupted targets: twice the upper end does not.",
        latex=r"\lambda\ge\lambda_0\Rightarrow\theta=\theta^\ast",
        source="SOP-3; derived here",
        literature="refuted",
        region=bounded_windows,
        check=Law(_returned_without_bound, _returned, _WINDOW, miscount),
        tolerance=COUNTING,
        mutant=Mutant("never", Law(lambda low: 0.0, _returned, _WINDOW, miscount)),
        holds=False,
        uses=("noise-window",),
    ),
)
