"""Self-expression by an elastic net: its minimum is a query, a key and a soft threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from proofs_check.formula_alterations import formula
from proofs_check.instance import Instance
from proofs_check.law import Law
from ufm.typing import Array

THOUSANDTH = 1e-3


@dataclass(frozen=True)
class Points(Instance):
    """A point, and others that it is to be expressed by."""

    D: int
    N: int
    gamma: float
    share: float
    kind: str = "points"

    @property
    def columns(self) -> dict[str, float]:
        """D, N, gamma and lambda."""
        return {"D": self.D, "N": self.N, "gamma": self.gamma, "share": self.share}

    @property
    def label(self) -> str:
        """The numbers in words."""
        return f"{self.kind} D={self.D} N={self.N} gamma={self.gamma:g} lambda={self.share:g}"

    @property
    def data(self) -> tuple[Array, Array]:
        """Unit vectors (D, N) and one more (D,)."""
        rng = np.random.default_rng((107, self.D, self.N))
        X = rng.normal(size=(self.D, self.N + 1))
        X /= np.linalg.norm(X, axis=0)
        return X[:, 1:], X[:, 0]


@dataclass(frozen=True)
class Lines(Points):
    """A point with one neighbour on its own line and one on a line at an angle."""

    angle: float = 1.0

    @property
    def columns(self) -> dict[str, float]:
        """gamma, lambda and the angle."""
        return {"gamma": self.gamma, "share": self.share, "angle": self.angle}

    @property
    def label(self) -> str:
        """The numbers in words."""
        return f"two lines at {self.angle:.6g} gamma={self.gamma:g} lambda={self.share:g}"

    @property
    def data(self) -> tuple[Array, Array]:
        """(2, 2) and (2,)."""
        own = np.array([1.0, 0.0])
        return np.stack([own, [np.cos(self.angle), np.sin(self.angle)]], axis=1), own


def points(quick: bool = False) -> tuple[Points, ...]:
    """More points than dimensions and fewer, small and large penalties."""
    settings = ((3, 7, 20.0, 0.9), (5, 4, 8.0, 0.5), (4, 9, 50.0, 0.7))
    return tuple(Points(*setting) for setting in settings)


def lines(quick: bool = False) -> tuple[Lines, ...]:
    """At 60 degrees, and a thousandth beside the angle from which the other line has no part."""
    made = [Lines(2, 2, 20.0, 0.9, angle=np.pi / 3)]
    for gamma, share in ((20.0, 0.9), (6.0, 0.6), (11.0, 0.75)):
        edge = np.arccos(share * (gamma + 1 - share) / gamma)
        made += [
            Lines(2, 2, gamma, share, angle=edge * (1 + side * THOUSANDTH)) for side in (-1, 1)
        ]
    return tuple(made)


def _lowest(instance: Points) -> Array:
    """Coefficients of least value among the stationary points of every pattern of signs.

    With signs s in {-1, 0, 1} the value is a quadratic in the coefficients that do not vanish.
    """
    X, x = instance.data
    N, gamma, share = X.shape[1], instance.gamma, instance.share
    signs = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * N), axis=-1).reshape(-1, N)
    kept = signs != 0
    hessian = gamma * X.T @ X + (1 - share) * np.eye(N)
    systems = np.where(kept[:, :, None] & kept[:, None, :], hessian, np.eye(N))
    pulls = np.where(kept, gamma * X.T @ x - share * signs, 0.0)
    ends = np.linalg.solve(systems, pulls[..., None])[..., 0]
    residuals = x - ends @ X.T
    values = gamma / 2 * np.sum(residuals**2, axis=1) + (1 - share) / 2 * np.sum(ends**2, axis=1)
    return np.asarray(ends[np.argmin(values + share * np.abs(ends).sum(axis=1))])


def _residual(instance: Points) -> Array:
    X, x = instance.data
    return np.asarray(x - X @ instance.once(_lowest))


def _seen(instance: Lines) -> tuple[float, float]:
    """The coefficient on the own line where the other has none, and whether it has none."""
    own, other = instance.once(_lowest)
    preserved = abs(other) < 1e-9
    return float(own) if preserved else 0.0, float(preserved)


# ---- formulas


def expressed(X: Array, residual: Array, gamma: float, share: float) -> Array:
    """T_lambda(x_i . gamma delta) / (1 - lambda)."""
    correlated = gamma * X.T @ residual
    size = np.maximum(np.abs(correlated) - share, 0)
    return np.sign(correlated) * size / (1 - share)


def _expressed_by_share(X: Array, residual: Array, gamma: float, share: float) -> Array:
    correlated = gamma * X.T @ residual
    size = np.maximum(np.abs(correlated) - share, 0)
    return np.sign(correlated) * size / share


@formula
def own_coefficient(gamma: float, share: float) -> float:
    """(gamma - lambda) / (gamma + 1 - lambda)."""
    return (gamma - share) / (gamma + 1 - share)


def two_lines(gamma: float, share: float, angle: float) -> tuple[float, float]:
    """Alone iff gamma cos(angle) <= lambda (gamma + 1 - lambda)."""
    alone = gamma * np.cos(angle) <= share * (gamma + 1 - share)
    return own_coefficient(gamma, share) if alone else 0.0, float(alone)


def _two_lines_without_ridge(gamma: float, share: float, angle: float) -> tuple[float, float]:
    alone = np.cos(angle) <= share
    return own_coefficient(gamma, share) if alone else 0.0, float(alone)


ELASTIC = Hypothesis("0 < lambda < 1", lambda s: 0 < s.share < 1)
_GIVEN: dict[str, Any] = {"X": lambda s: s.data[0], "residual": _residual}

CLAIMS = (
    Claim(
        id="self-expression-form",
        title="Self-expression: a query, a key and a soft threshold",
        statement="The coefficients of an elastic net are soft thresholds of inner products of the "
        "points with a multiple of the residual.",
        latex=r"c_i=\frac1{1-\lambda}T_\lambda\big(\langle x_i,\gamma\delta\rangle\big),\quad "
        r"\delta=x-Xc",
        source="EN-1; after You et al. (2016) and Zhang et al. (2021); derived here",
        literature="proved",
        region=points,
        hypotheses=(ELASTIC,),
        check=Law(expressed, _lowest, _GIVEN),
        tolerance=Tolerance(1e-10, "linear equations, times gamma over 1 - lambda: 1e-13"),
        mutant=Mutant("divided by lambda", Law(_expressed_by_share, _lowest, _GIVEN)),
    ),
    Claim(
        id="self-expression-two-lines",
        title="Self-expression: when another line has no part",
        statement="A point with a neighbour on its own line leaves out a line at an angle exactly "
        "from a threshold on; the own coefficient is then known.",
        latex=r"\gamma\cos\varphi\le\lambda(\gamma+1-\lambda),\quad "
        r"c=\frac{\gamma-\lambda}{\gamma+1-\lambda}",
        source="EN-2; derived here",
        region=lines,
        hypotheses=(ELASTIC,),
        check=Law(two_lines, _seen),
        tolerance=Tolerance(1e-10, "linear equations of one unknown; seen 1e-16"),
        mutant=Mutant("cos <= lambda", Law(_two_lines_without_ridge, _seen)),
        uses=("self-expression-form",),
    ),
)
