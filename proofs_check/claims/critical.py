"""What holds at every critical point: collapse within classes, balancedness, centring, rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from landscape.solvers.solve import solve
from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.hypotheses import (
    BY_PROBABILITY,
    CONVEX,
    FOCAL_CONVEX_AT_CHANCE,
    NO_BIAS,
    SHIFT_INVARIANT,
)
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.specimens import (
    PlainSpecimen,
    critical_specimens,
    full_critical_specimens,
    where,
)
from ufm.losses import UserLoss
from ufm.plain.model import UFM
from ufm.plain.reduce import Reduced, reduced
from ufm.point import Point
from ufm.typing import Array

# Gradient norm 1e-12, divided by the smallest decay of the region, 4e-3, and 4.
RESIDUAL_SOURCE = "gradient norm 1e-12, divided by the smallest decay of the region, 4e-3, and 4"
NOT_THE_ORIGIN = Hypothesis(
    "the point is not the origin", lambda s: float(np.abs(s.point.W).max()) > 1e-6
)


@dataclass(frozen=True)
class Frames:
    """Singular frames of a merged point: Z = W Hbar = U diag(values) V^T, and its gradient G.

    Attributes:
        parts: the reduced problem.
        U, values, V: singular triples of W Hbar on its rank r: (K, r), (r,), (K, r).
        G: gradient of the loss with respect to W Hbar, (K, K).
    """

    parts: Reduced
    U: Array
    values: Array
    V: Array
    G: Array


def frames(specimen: PlainSpecimen) -> Frames:
    """The singular frames of a critical point."""
    return specimen.once(_frames)


def _frames(specimen: PlainSpecimen) -> Frames:
    parts = reduced(specimen.model, specimen.point)
    inner = parts.space.point
    U, values, Vt = np.linalg.svd(inner.W @ inner.H)
    rank = parts.space.rank
    return Frames(parts, U[:, :rank], values[:rank], Vt[:rank].T, parts.G)


# ---- balancedness


def factors(specimen: PlainSpecimen) -> tuple[Array, Array, float]:
    """W^T W and H H^T, and what to divide by: lambda_W (1 + |W|^2)."""
    W, H = specimen.point.W, specimen.point.H
    return W.T @ W, H @ H.T, float(specimen.model.lambda_W) * (1 + float(np.sum(W**2)))


def balanced_weights(lambda_W: float, lambda_H: float) -> tuple[float, float]:
    """The weights that make W^T W and H H^T equal."""
    return lambda_W, lambda_H


def _imbalance(seen: tuple[Array, Array, float], weights: tuple[float, float]) -> float:
    return float(np.linalg.norm(weights[0] * seen[0] - weights[1] * seen[1])) / seen[2]


BALANCEDNESS = Law(balanced_weights, factors, error=_imbalance)


def _unequal_decay(specimen: PlainSpecimen) -> float:
    lw, lh = float(specimen.model.lambda_W), float(specimen.model.lambda_H)
    return BALANCEDNESS.compare(specimen, (lh, lw))


BALANCED = Claim(
    id="balancedness",
    title="Balanced factors at every critical point",
    statement="At every critical point lambda_W W^T W = lambda_H H H^T.",
    latex=r"\lambda_W W^\top W = \lambda_H H H^\top",
    source="CE-3; after Zhu et al. (2021)",
    literature="proved",
    region=critical_specimens,
    check=BALANCEDNESS,
    tier="T0",
    mutant=Mutant("lambda_W and lambda_H exchanged", _unequal_decay),
    tolerance=Tolerance(1e-9, "gradient norm 1e-12 times |x| / lambda"),
)


# ---- collapse within classes


def _columns_of_classes(specimen: PlainSpecimen) -> list[Array]:
    ends = np.cumsum(specimen.model.counts_tuple)[:-1]
    return np.split(np.asarray(specimen.point.H), ends, axis=1)


def _spread(columns: Array) -> float:
    return float(np.abs(columns - columns.mean(axis=1, keepdims=True)).max())


def within_class_spread(specimen: PlainSpecimen) -> float:
    """Largest distance of a feature from its class mean, relative to the largest feature."""
    size = 1 + float(np.abs(specimen.point.H).max())
    return max(_spread(columns) for columns in _columns_of_classes(specimen)) / size


def narrow_well(z: Any, k: Any) -> Any:
    """1 - exp(-|z - e_k|^2 / (2 * 0.2^2)): a loss flat at zero logits, so far from convex."""
    import jax
    import jax.numpy as jnp

    return 1 - jnp.exp(-jnp.sum((z - jax.nn.one_hot(k, z.shape[0])) ** 2) / (2 * 0.2**2))


@cache
def not_convex_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """A minimum of a non-convex loss that leaves the first sample of class 0 at the origin."""
    del quick
    model = UFM(UserLoss(narrow_well), 3, 3, 2, lambda_W=0.02, lambda_H=0.02)
    H = np.repeat(np.eye(3), 2, axis=1)
    H[:, 0] = 0
    run = solve(model, Point(np.eye(3), H), method="critical", reduction=False)
    point = run.point.to_numpy()
    return (Specimen(model, point, "critical", bool(run.result), "full"),) if run.result else ()


COLLAPSE = Claim(
    id="collapse-within-classes",
    title="NC1 at every critical point",
    statement="With a convex loss all samples of a class share one feature at every critical "
    "point, saddles included.",
    latex=r"\nabla f = 0 \;\Rightarrow\; h_{k,i} = \bar h_k \quad \forall i",
    source="A-1; derived here",
    hypotheses=(CONVEX,),
    region=full_critical_specimens,
    check=within_class_spread,
    tier="T0",
    mutant=Mutant("convexity dropped: a narrow well", region=not_convex_specimens),
    tolerance=Tolerance(1e-9, RESIDUAL_SOURCE + ", times N = 6"),
)


COLLAPSE_FOCAL = Claim(
    id="collapse-within-classes-focal",
    title="NC1 at every critical point of focal loss",
    statement="Focal loss without bias collapses within classes at every critical point when "
    "1/K >= u*(gamma): there every sample lies where the loss is convex.",
    latex=r"\tfrac1K \ge u^*(\gamma),\; \nabla f = 0 \;\Rightarrow\; h_{k,i} = \bar h_k",
    source="derived here from FL-2 and the claim correct-class-beats-chance",
    hypotheses=(
        FOCAL_CONVEX_AT_CHANCE,
        NO_BIAS,
    ),
    region=full_critical_specimens,
    check=within_class_spread,
    tier="T0",
    mutant=Mutant(
        "a loss that is not convex at chance: a narrow well", region=not_convex_specimens
    ),
    tolerance=COLLAPSE.tolerance,
    uses=("correct-class-beats-chance", "focal-convexity"),
)


# ---- no sample below chance


def least_probability(specimen: PlainSpecimen) -> float:
    """The smallest softmax probability of a true class over all samples."""
    Z = specimen.point.W @ specimen.point.H
    labels = np.asarray(specimen.model.labels)
    Z = Z - Z.max(axis=0)
    own = np.exp(Z[labels, np.arange(len(labels))]) / np.exp(Z).sum(axis=0)
    return float(own.min())


def chance(K: int) -> float:
    """1/K."""
    return 1 / K


def _deficit(seen: float, level: float) -> float:
    return max(0.0, level - seen)


def _wrong_chance(K: int) -> float:
    return 1 / (K - 1)


BEATS_CHANCE = Claim(
    id="correct-class-beats-chance",
    title="No sample below chance",
    statement="At every critical point without bias the softmax probability of the true class is "
    "at least 1/K, for cross entropy and focal loss and for every sample.",
    latex=r"\nabla f = 0 \;\Rightarrow\; p_{k,i} \ge \tfrac1K",
    source="derived here: <e_k - p, W h> is a positive multiple of |W^T (e_k - p)|^2",
    hypotheses=(
        BY_PROBABILITY,
        NO_BIAS,
    ),
    region=full_critical_specimens,
    check=Law(chance, least_probability, error=_deficit),
    tier="T0",
    mutant=Mutant("1/(K-1) for 1/K", Law(_wrong_chance, least_probability, error=_deficit)),
    tolerance=Tolerance(
        1e-9, "derivative of softmax <= 1/4 times the error of the logits, below 1e-9"
    ),
)


# ---- centring and rank


def column_sums(specimen: PlainSpecimen) -> float:
    """|1^T W| relative to 1 + |W|."""
    W = specimen.point.W
    return float(np.linalg.norm(W.sum(axis=0))) / (1 + float(np.linalg.norm(W)))


CENTRED = Claim(
    id="centred-classifier",
    title="The classifier is centred",
    statement="With a loss that ignores common shifts of the logits the rows of W add up to zero "
    "at every critical point.",
    latex=r"\mathbf 1^\top W = 0",
    source="CE-3; after Zhu et al. (2021)",
    literature="recalled",
    hypotheses=(SHIFT_INVARIANT,),
    region=critical_specimens,
    check=column_sums,
    tier="T0",
    mutant=Mutant(
        "shift invariance dropped: squared losses without bias",
        region=where(
            critical_specimens,
            lambda s: not SHIFT_INVARIANT.holds(s) and s.model.lambda_b is None,
        ),
    ),
    tolerance=Tolerance(1e-9, RESIDUAL_SOURCE + ": 1^T grad_W f = lambda_W 1^T W"),
)


def _rank(specimen: PlainSpecimen) -> int:
    return frames(specimen).parts.space.rank


def largest_rank(K: int) -> float:
    """K - 1."""
    return K - 1


def _two_less(K: int) -> float:
    return K - 2


def _above(seen: float, bound: float) -> float:
    return max(0.0, seen - bound)


RANK = Claim(
    id="rank-at-most-k-minus-one",
    title="Rank at most K - 1",
    statement="With a loss that ignores common shifts of the logits W and H have rank at most "
    "K - 1 at every critical point, whatever d is.",
    latex=r"\operatorname{rank} W = \operatorname{rank} H \le K - 1",
    source="A-2; after Shen & Gu (2024); here from the centred classifier",
    literature="proved",
    hypotheses=(SHIFT_INVARIANT,),
    region=critical_specimens,
    check=Law(largest_rank, _rank, error=_above),
    tier="T0",
    mutant=Mutant("K - 2 for K - 1", Law(_two_less, _rank, error=_above)),
    tolerance=COUNTING,
    uses=("centred-classifier",),
)


# ---- the gradient on the support


def _on_support(specimen: PlainSpecimen) -> tuple[Array, Array]:
    found = frames(specimen)
    return found.G @ found.V, found.U


def sigma(lambda_W: float, lambda_H: float) -> float:
    """sqrt(lambda_W lambda_H)."""
    return float(np.sqrt(lambda_W * lambda_H))


def _arithmetic_mean(lambda_W: float, lambda_H: float) -> float:
    return (lambda_W + lambda_H) / 2


def _off_support(seen: tuple[Array, Array], size: float) -> float:
    """|G V + sigma U| relative to sigma, over the singular triples of W Hbar."""
    return float(np.linalg.norm(seen[0] + size * seen[1])) / size


ON_SUPPORT = Claim(
    id="gradient-on-support",
    title="The gradient is -sigma on the support",
    statement="At every nonzero critical point the gradient with respect to W H maps right "
    "singular vectors of W H to -sigma times the left ones; so its norm is at least sigma.",
    latex=r"\nabla g\, V = -\sqrt{\lambda_W \lambda_H}\, U,\qquad |\nabla g|_2 \ge \sigma",
    source="CE-2; after Zhu et al. (2021)",
    literature="proved",
    hypotheses=(NOT_THE_ORIGIN,),
    region=critical_specimens,
    check=Law(sigma, _on_support, error=_off_support),
    mutant=Mutant(
        "arithmetic for geometric mean of the decays",
        Law(_arithmetic_mean, _on_support, error=_off_support),
    ),
    tolerance=Tolerance(
        1e-7, "gradient norm 1e-12 over sigma 4e-3 times the smallest factor, above 0.01"
    ),
    uses=("balancedness",),
)

CLAIMS = (
    BALANCED,
    COLLAPSE,
    COLLAPSE_FOCAL,
    BEATS_CHANCE,
    CENTRED,
    RANK,
    ON_SUPPORT,
)
