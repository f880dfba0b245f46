"""Optimisers and flows: sums of classifier rows, and starts that diagonalise the softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import hadamard
from scipy.special import softmax

from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from proofs_check.instance import Instance
from proofs_check.law import Law
from proofs_check.specimens import where
from ufm.row_sums import nc0
from ufm.typing import Array

NC0 = "after arXiv 2602.16642; derived here"


@dataclass(frozen=True)
class Run(Instance):
    """An optimiser with decoupled weight decay on the classifier of K classes."""

    K: int
    eta: float
    decay: float
    steps: int
    momentum: float = 0.0
    kind: str = "SGD"

    @property
    def columns(self) -> dict[str, float]:
        """K, step size, decay and steps."""
        return {"K": self.K, "eta": self.eta, "decay": self.decay, "steps": self.steps}

    @property
    def label(self) -> str:
        """The numbers in words."""
        numbers = f"K={self.K} eta={self.eta:g} decay={self.decay:g} {self.steps} steps"
        return f"{self.kind}, {numbers} momentum={self.momentum:g}"


@dataclass(frozen=True)
class Start(Instance):
    """K = 2^m classes, balanced factors with Hadamard singular vectors, and how long they flow."""

    K: int
    decay: float
    time: float
    kind: str = "Hadamard start"

    @property
    def columns(self) -> dict[str, float]:
        """K, decay and time."""
        return {"K": self.K, "decay": self.decay, "time": self.time}

    @property
    def label(self) -> str:
        """The numbers in words."""
        return f"{self.kind}, K={self.K} decay={self.decay:g} time={self.time:g}"


def gradient_runs(quick: bool = False) -> tuple[Run, ...]:
    """SGD with and without momentum."""
    settings = ((3, 0.1, 0.02, 50, 0.9), (5, 0.3, 0.01, 70, 0.0), (4, 0.2, 0.05, 40, 0.5))
    return tuple(Run(*setting) for setting in settings)


def sign_runs(quick: bool = False) -> tuple[Run, ...]:
    """signGD until its start is forgotten: (1 - eta decay)^steps is below 1e-13."""
    settings = ((5, 0.5, 0.01, 6000), (4, 1.0, 0.02, 1500), (7, 0.2, 0.04, 3800))
    return tuple(Run(*setting, kind="signGD") for setting in settings)


def _forgets_its_start(run: Run) -> bool:
    return (1 - run.eta * run.decay) ** run.steps < 1e-12


def starts(quick: bool = False) -> tuple[Start, ...]:
    """Two, four and eight classes."""
    return tuple(Start(*s) for s in ((4, 0.02, 30.0), (2, 0.05, 20.0), (8, 0.01, 60.0)))


def _shrinkage(run: Run) -> float:
    """|W^T 1|^2 after all steps over that at the start; features drift as they like."""
    rng = np.random.default_rng((73, run.K))
    K, d = run.K, run.K + 2
    W, H = rng.normal(size=(K, d)), rng.normal(size=(d, 2 * K))
    labels, velocity = np.repeat(np.arange(K), 2), np.zeros((K, d))
    begun = nc0(W)
    for _ in range(run.steps):
        error = softmax(W @ H, axis=0) - np.eye(K)[:, labels]
        velocity = run.momentum * velocity + error @ H.T / len(labels)
        W = (1 - run.eta * run.decay) * W - run.eta * velocity
        H = H + 0.05 * rng.normal(size=H.shape)
    return nc0(W) / begun


def _limit_of_signs(run: Run) -> float:
    """|W^T 1|^2 / K where signGD ends on the features of a simplex."""
    K = run.K
    W, H = 1.7 * np.eye(K) + 0.3, np.eye(K) - 1 / K  # alike in all classes, and does not add up
    for _ in range(run.steps):
        error = softmax(W @ H, axis=0)
        # Less the labels: p - 1 of the own class would be rounded to 0 long before the others are.
        np.fill_diagonal(error, np.diag(error) - error.sum(axis=0))
        slope = error @ H.T
        W = (1 - run.eta * run.decay) * W - run.eta * np.sign(slope)
    return nc0(W)


def _first_values(start: Start) -> Array:
    """Singular values of both factors at the start, all different; none along the all-ones."""
    return np.append(0.0, 0.1 + 0.05 * np.arange(start.K - 1))


def _flowed(start: Start) -> Array:
    """Hadamard coefficients of the logits at the end of the flow of W and H, ascending."""
    K, decay = start.K, start.decay
    V = hadamard(K) / np.sqrt(K)
    W = V * _first_values(start)

    def slope(_: float, x: Array) -> Array:
        W, H = x.reshape(2, K, K)
        error = (softmax(W @ H, axis=0) - np.eye(K)) / K
        return -np.concatenate([(error @ H.T).ravel(), (W.T @ error).ravel()]) - decay * x

    begun = np.concatenate([W.ravel(), W.T.ravel()])
    run = solve_ivp(slope, (0, start.time), begun, "LSODA", rtol=1e-11, atol=1e-13)
    W, H = run.y[:, -1].reshape(2, K, K)
    rotated = V.T @ W @ H @ V
    return np.append(np.diag(rotated), np.abs(rotated - np.diag(np.diag(rotated))).max())


# ---- formulas


def shrinkage(eta: float, decay: float, steps: int) -> float:
    """(1 - eta decay)^(2 t)."""
    return (1 - eta * decay) ** (2 * steps)


def _shrinkage_of_length(eta: float, decay: float, steps: int) -> float:
    return (1 - eta * decay) ** steps


def limit_of_signs(K: int, decay: float) -> float:
    """((K - 2) / decay)^2."""
    return ((K - 2) / decay) ** 2


def _limit_as_printed(K: int, decay: float) -> float:
    return K * limit_of_signs(K, decay)


def flow_of_values(K: int, decay: float, time: float, begun: Array) -> Array:
    """s_j' = 2 s_j [(1 - p_j)/K - decay], p the Hadamard coefficients of the softmax of s."""
    signs = hadamard(K)

    def slope(_: float, s: Array) -> Array:
        p = signs @ softmax(signs @ s / K)
        return 2 * s * ((1 - p) / K - decay)

    run = solve_ivp(slope, (0, time), begun**2, "LSODA", rtol=1e-11, atol=1e-13)
    return np.append(run.y[:, -1], 0.0)


def _flow_of_one_factor(K: int, decay: float, time: float, begun: Array) -> Array:
    return flow_of_values(K, decay, time / 2, begun)


_GIVEN: dict[str, Any] = {"begun": _first_values}

CLAIMS = (
    Claim(
        id="sgd-sum-of-rows",
        title="SGD: the sum of classifier rows shrinks by the decay alone",
        statement="With decoupled weight decay, and momentum that starts at zero, the squared sum "
        "of classifier rows falls by the same factor every step, whatever features do.",
        latex=r"\lVert W_t^\top1\rVert^2=(1-\eta\lambda)^{2t}\lVert W_0^\top1\rVert^2",
        source=f"OP-1; {NC0}",
        literature="proved",
        region=gradient_runs,
        check=Law(shrinkage, _shrinkage),
        tolerance=Tolerance(1e-11, "roundings of some hundred steps"),
        mutant=Mutant("one power for two", Law(_shrinkage_of_length, _shrinkage)),
    ),
    Claim(
        id="sign-sum-of-rows",
        title="signGD: classifier rows do not add up to zero",
        statement="Sign descent with decoupled weight decay on the features of a simplex, from a "
        "start alike in all classes, ends at rows whose squared sum, over K, is "
        "((K - 2) / lambda)^2.",
        latex=r"\tfrac1K\lVert W^\top1\rVert^2\to\big(\tfrac{K-2}\lambda\big)^2",
        source=f"OP-2; {NC0}",
        literature="proved",
        region=where(sign_runs, _forgets_its_start),
        check=Law(limit_of_signs, _limit_of_signs),
        tolerance=Tolerance(1e-10, "relative; the start is forgotten to 1e-13, factor 1000"),
        mutant=Mutant("without 1/K, as printed", Law(_limit_as_printed, _limit_of_signs)),
    ),
    Claim(
        id="hadamard-flow",
        title="Flow from Hadamard singular vectors: one equation per singular value",
        statement="With K = 2^m classes and balanced factors whose singular vectors are Hadamard's "
        "the flow of W and H never leaves them, and singular values follow scalar equations.",
        latex=r"\dot s_j=2s_j\Big(\frac{1-p_j}K-\lambda\Big)",
        source="CP-5; after arXiv 2512.04006 and 2605.23087; derived here",
        region=starts,
        hypotheses=(Hypothesis("K = 2^m", lambda s: s.K > 0 and s.K & (s.K - 1) == 0),),
        check=Law(flow_of_values, _flowed, _GIVEN),
        tolerance=Tolerance(1e-7, "integrations to 1e-11 a step"),
        mutant=Mutant("half the rate", Law(_flow_of_one_factor, _flowed, _GIVEN)),
    ),
)
