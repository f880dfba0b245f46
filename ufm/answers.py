"""What models answer: reductions, exact curvature, closed-form minimisers, bounds on minima."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ufm.losses.loss import Fact
from ufm.spectrum import Spectrum


@dataclass(frozen=True)
class Merge:
    """A smaller model with the same critical points (samples merged, A-1).

    Attributes:
        model: the merged model.
        reduce: point of the original to point of the merged model.
        lift: point of the merged model to point of the original.
        lossless: whether every critical point is in the image of ``lift``, and how we know.
    """

    model: Any
    reduce: Callable[[Any], Any]
    lift: Callable[[Any], Any]
    lossless: Fact


@dataclass(frozen=True)
class Restriction:
    """A smaller model in which something about one point can be done.

    Attributes:
        model: the smaller model.
        point: the point in it.
        lift: a point of the smaller model as a point of the larger one.
        why: what was left out, in words.
    """

    model: Any
    point: Any
    lift: Callable[[Any], Any]
    why: str


@dataclass(frozen=True)
class HiddenBlock:
    """A block of a Hessian too large to diagonalise: its size, and how many eigenvalues lie below.

    Attributes:
        size: order of the block.
        radius: an upper bound of its spectral radius.
        typical: a low guess of its root mean square eigenvalue.
        count_below: eigenvalues below a bound, by factorisation; with ``expect_none`` a cheaper
            factorisation is tried first.
    """

    size: int
    radius: float
    typical: float
    count_below: Callable[..., int]


@dataclass(frozen=True)
class Structure:
    """The Hessian at a point as a few small blocks: exact, whatever the size of the problem.

    Attributes:
        levels: eigenvalues with multiplicities; all of them, or all but those of ``hidden``.
        predicted_nullity: dimension of the symmetry orbit, None if not known.
        order: order of the largest block that was diagonalised: what rounding grows with.
        rank: rank of W H, or of the features alone; None where that has no meaning.
        hidden: a block that is known by counting only, else None.
        moved: how far the point was moved to make equal or zero what nearly is.
        defect: how far blocks that are exact only at critical points, or ill conditioned, move
            eigenvalues here.
    """

    levels: Spectrum
    predicted_nullity: int | None
    order: int
    rank: int | None = None
    hidden: HiddenBlock | None = None
    moved: float = 0.0
    defect: float = 0.0


@dataclass(frozen=True)
class StrictMinimum:
    """A critical point that convexity shows to be a minimum, flat along its symmetry orbit only.

    Attributes:
        margin: a lower bound of every eigenvalue off the orbit.
        nullity: dimension of the orbit.
        rank: rank of W H.
        smallest: smallest eigenvalue, zero to rounding where there is an orbit.
        radius: an upper bound of the spectral radius.
        typical: a low guess of the root mean square eigenvalue: the mean without the loss.
        order: order of the Hessian that stands behind it: what rounding grows with.
        moved: how far the point was moved to make critical what nearly is.
        defect: how far the gradient's singular values were moved.
    """

    margin: float
    nullity: int
    rank: int
    smallest: float
    radius: float
    typical: float
    order: int
    moved: float
    defect: float


class Direction(NamedTuple):
    """A tangent vector along which a model knows the objective to fall, and where it comes from."""

    tangent: Any
    source: str


@dataclass(frozen=True)
class Code:
    """A class-symmetric solution: class-mean logits a (e_k - 1/K) + (s/K + beta) 1.

    ``a`` is the logit gap alpha of the theory, ``s`` the weight of the all-ones direction of W H,
    ``beta`` the common bias. Rank of W H: (K - 1) [a > 0] + [s > 0].
    """

    a: float
    s: float
    beta: float
    num_classes: int

    @property
    def rank(self) -> int:
        """Rank of W H."""
        return (self.num_classes - 1) * (self.a != 0) + (self.s != 0)

    @property
    def shift(self) -> float:
        """Common shift t of the logits."""
        return self.s / self.num_classes + self.beta


@dataclass(frozen=True)
class Minimiser:
    """A global minimiser in closed form.

    Attributes:
        point: of the model, or of its merged model (W (K, d), Hbar (d, K), bias); lift with
            ``model.merge().lift``.
        value: the global minimum of the objective.
        rank: rank of W H, or of the features where there is no W.
        code: the symmetric parameters (a, s, beta), or None (imbalanced, or a Grassmannian).
        source: theorem behind it.
        evidence: "proved", "derived" where only computation says that nothing lies lower, or
            "probed" when it rests on probed properties of a user's loss.
    """

    point: Any
    value: float
    rank: int | None
    code: Code | None
    source: str
    evidence: str


@dataclass(frozen=True)
class Certificate:
    """A proof-grade bound: ``bound <= min f``, so f(point) exceeds the minimum by at most ``gap``.

    Attributes:
        applies: False where no bound exists (non-convex loss, unknown model).
        gap: objective - bound, an upper bound on the suboptimality; None if not applicable.
        bound: the dual value D(v); None if not applicable.
        spectral_ratio: |G|_2 / sigma; 1 at every non-zero global minimiser with d >= rank.
        reason: why it does not apply, or what it rests on.
        evidence: "proved", or "probed" when it rests on probed properties of a user's loss.

    Example:
        >>> Certificate.does_not_apply("focal loss is not convex").gap is None
        True
    """

    applies: bool
    gap: float | None
    bound: float | None
    spectral_ratio: float | None
    reason: str
    evidence: str = "proved"

    @staticmethod
    def does_not_apply(reason: str) -> Certificate:
        """The explicit answer that there is no bound, with the reason."""
        return Certificate(False, None, None, None, reason)
