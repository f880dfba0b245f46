"""What holds at every critical point: collapse within classes, balancedness, centring, rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.solvers.solve import solve
from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.specimens import (
    Specimen,
    critical_specimens,
    full_critical_specimens,
    where,
)
from ufm.losses import CrossEntropy, Focal, UserLoss
from ufm.plain.model import UFM
from ufm.plain.reduce import Reduced, reduced
from ufm.point import Point

Array = NDArray[np.float64]
SUBJECT = "every critical point"
# Errors of this size in an index, a rank or a yes-or-no answer are 1 or more: 200 tolerances.
COUNTING = 0.005
COUNTING_SOURCE = "an integer: the error is 0 or at least 1"
RESIDUAL_SOURCE = "gradient norm 1e-12, divided by the smallest decay of the region, 4e-3, and 4"


def properties(specimen: Specimen) -> Any:
    """The properties of the specimen's loss at its K."""
    return specimen.model.loss.properties(specimen.model.num_classes)


CONVEX = Hypothesis("the loss is convex in the logits", lambda s: bool(properties(s).convex))
SHIFT_INVARIANT = Hypothesis(
    "the loss ignores a common shift of the logits",
    lambda s: bool(properties(s).shift_invariant),
)
NO_BIAS = Hypothesis("no bias", lambda s: s.model.lambda_b is None)


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


def frames(specimen: Specimen) -> Frames:
    """The singular frames of a critical point (computed afresh: cheap)."""
    parts = reduced(specimen.model, specimen.point)
    inner = parts.space.point
    U, values, Vt = np.linalg.svd(inner.W @ inner.H)
    rank = parts.space.rank
    return Frames(parts, U[:, :rank], values[:rank], Vt[:rank].T, parts.G)


# ---- balancedness


def balancedness(specimen: Specimen) -> float:
    """|lw W^T W - lh H H^T| relative to lw |W|^2."""
    W, H = specimen.point.W, specimen.point.H
    lw, lh = float(specimen.model.lambda_W), float(specimen.model.lambda_H)
    size = lw * float(np.sum(W**2)) + lw
    return float(np.linalg.norm(lw * W.T @ W - lh * H @ H.T)) / size


def _unequal_decay(specimen: Specimen) -> float:
    W, H = specimen.point.W, specimen.point.H
    lw, lh = float(specimen.model.lambda_W), float(specimen.model.lambda_H)
    return float(np.linalg.norm(lh * W.T @ W - lw * H @ H.T)) / (lw * float(np.sum(W**2)) + lw)


BALANCED = Claim(
    id="balancedness",
    title="Balanced factors at every critical point",
    statement="At every critical point lambda_W W^T W = lambda_H H H^T.",
    latex=r"\lambda_W W^\top W = \lambda_H H H^\top",
    source="CE-3; after Zhu et al. (2021)",
    literature="proved",
    hypotheses=(),
    region=critical_specimens,
    check=balancedness,
    tolerance=1e-9,
    tolerance_source="gradient norm 1e-12 times |x| / lambda",
    tier="T0",
    mutant=Mutant("lambda_W and lambda_H exchanged", _unequal_decay),
    subject=SUBJECT,
)


# ---- collapse within classes


def _columns_of_classes(specimen: Specimen) -> list[Array]:
    ends = np.cumsum(specimen.model.counts_tuple)[:-1]
    return np.split(np.asarray(specimen.point.H), ends, axis=1)


def _spread(columns: Array) -> float:
    return float(np.abs(columns - columns.mean(axis=1, keepdims=True)).max())


def within_class_spread(specimen: Specimen) -> float:
    """Largest distance of a feature from its class mean, relative to the largest feature."""
    size = 1 + float(np.abs(specimen.point.H).max())
    return max(_spread(columns) for columns in _columns_of_classes(specimen)) / size


def narrow_well(z: Any, k: Any) -> Any:
    """1 - exp(-|z - e_k|^2 / (2 * 0.2^2)): a loss flat at zero logits, so far from convex."""
    import jax
    import jax.numpy as jnp

    return 1 - jnp.exp(-jnp.sum((z - jax.nn.one_hot(k, z.shape[0])) ** 2) / (2 * 0.2**2))


@cache
def not_convex_specimens(quick: bool = False) -> tuple[Specimen, ...]:
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
    literature="derived here",
    hypotheses=(CONVEX,),
    region=full_critical_specimens,
    check=within_class_spread,
    tolerance=1e-9,
    tolerance_source=RESIDUAL_SOURCE + ", times N = 6",
    tier="T0",
    mutant=Mutant("convexity dropped: a narrow well", region=not_convex_specimens),
    subject=SUBJECT,
)


def _chance_in_convex_region(specimen: Specimen) -> bool:
    loss = specimen.model.loss
    return isinstance(loss, Focal) and bool(properties(specimen).contrastive)


COLLAPSE_FOCAL = Claim(
    id="collapse-within-classes-focal",
    title="NC1 at every critical point of focal loss",
    statement="Focal loss without bias collapses within classes at every critical point when "
    "1/K >= u*(gamma): there every sample lies where the loss is convex.",
    latex=r"\tfrac1K \ge u^*(\gamma),\; \nabla f = 0 \;\Rightarrow\; h_{k,i} = \bar h_k",
    source="derived here from FL-2 and the claim correct-class-beats-chance",
    literature="derived here",
    hypotheses=(
        Hypothesis("focal loss with 1/K >= u*(gamma)", _chance_in_convex_region),
        NO_BIAS,
    ),
    region=full_critical_specimens,
    check=within_class_spread,
    tolerance=1e-9,
    tolerance_source=COLLAPSE.tolerance_source,
    tier="T0",
    mutant=Mutant(
        "one feature for all samples, whatever their class",
        lambda s: _spread(s.point.H) / (1 + float(np.abs(s.point.H).max())),
    ),
    subject=SUBJECT,
)


# ---- no sample below chance


def _chance_deficit(level: Callable[[int], float]) -> Callable[[Specimen], float]:
    def check(specimen: Specimen) -> float:
        Z = specimen.point.W @ specimen.point.H
        labels = np.asarray(specimen.model.labels)
        Z = Z - Z.max(axis=0)
        own = np.exp(Z[labels, np.arange(len(labels))]) / np.exp(Z).sum(axis=0)
        return max(0.0, float(np.max(level(specimen.model.num_classes) - own)))

    return check


BEATS_CHANCE = Claim(
    id="correct-class-beats-chance",
    title="No sample below chance",
    statement="At every critical point without bias the softmax probability of the true class is "
    "at least 1/K, for cross entropy and focal loss and for every sample.",
    latex=r"\nabla f = 0 \;\Rightarrow\; p_{k,i} \ge \tfrac1K",
    source="derived here: <e_k - p, W h> is a positive multiple of |W^T (e_k - p)|^2",
    literature="derived here",
    hypotheses=(
        Hypothesis(
            "the loss is a decreasing function of the true-class probability",
            lambda s: isinstance(s.model.loss, CrossEntropy | Focal),
        ),
        NO_BIAS,
    ),
    region=full_critical_specimens,
    check=_chance_deficit(lambda K: 1 / K),
    tolerance=1e-9,
    tolerance_source="derivative of softmax <= 1/4 times the error of the logits, below 1e-9",
    tier="T0",
    mutant=Mutant("1/(K-1) for 1/K", _chance_deficit(lambda K: 1 / (K - 1))),
    subject=SUBJECT,
)


# ---- centring and rank


def column_sums(specimen: Specimen) -> float:
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
    tolerance=1e-9,
    tolerance_source=RESIDUAL_SOURCE + ": 1^T grad_W f = lambda_W 1^T W",
    tier="T0",
    mutant=Mutant(
        "shift invariance dropped: squared losses without bias",
        region=where(
            critical_specimens,
            lambda s: not SHIFT_INVARIANT.holds(s) and s.model.lambda_b is None,
        ),
    ),
    subject=SUBJECT,
)


def _searched_in_its_dimension(specimen: Specimen) -> bool:
    """Not a point of a smaller model with zeros appended, whose rank says nothing."""
    return specimen.note == f"searched in {specimen.model.d} dimensions"


def _rank_excess(limit: int) -> Callable[[Specimen], float]:
    def check(specimen: Specimen) -> float:
        rank = reduced(specimen.model, specimen.point).space.rank
        return float(max(0, rank - (specimen.model.num_classes - limit)))

    return check


RANK = Claim(
    id="rank-at-most-k-minus-one",
    title="Rank at most K - 1",
    statement="With a loss that ignores common shifts of the logits W and H have rank at most "
    "K - 1 at every critical point, whatever d is.",
    latex=r"\operatorname{rank} W = \operatorname{rank} H \le K - 1",
    source="after Shen & Gu (2024); here from the centred classifier",
    literature="proved",
    hypotheses=(SHIFT_INVARIANT, Hypothesis("d >= K", lambda s: s.model.d >= s.model.num_classes)),
    region=where(critical_specimens, _searched_in_its_dimension),
    check=_rank_excess(1),
    tolerance=COUNTING,
    tolerance_source=COUNTING_SOURCE,
    tier="T0",
    mutant=Mutant("K - 2 for K - 1", _rank_excess(2)),
    subject=SUBJECT,
)


# ---- the gradient on the support


def gradient_on_support(specimen: Specimen, size: Callable[[Any], float] | None = None) -> float:
    """|G V + sigma U| relative to sigma, over the singular triples of W Hbar."""
    found = frames(specimen)
    sigma = specimen.model.sigma if size is None else size(specimen.model)
    return float(np.linalg.norm(found.G @ found.V + sigma * found.U)) / sigma


ON_SUPPORT = Claim(
    id="gradient-on-support",
    title="The gradient is -sigma on the support",
    statement="At every nonzero critical point the gradient with respect to W H maps right "
    "singular vectors of W H to -sigma times the left ones; so its norm is at least sigma.",
    latex=r"\nabla g\, V = -\sqrt{\lambda_W \lambda_H}\, U,\qquad |\nabla g|_2 \ge \sigma",
    source="CE-2; after Zhu et al. (2021)",
    literature="proved",
    hypotheses=(
        Hypothesis("the point is not the origin", lambda s: float(np.abs(s.point.W).max()) > 1e-6),
    ),
    region=critical_specimens,
    check=gradient_on_support,
    tolerance=1e-7,
    tolerance_source="gradient norm 1e-12 over sigma 4e-3 times the smallest factor, above 0.01",
    tier="T1",
    mutant=Mutant(
        "arithmetic for geometric mean of the decays",
        lambda s: gradient_on_support(
            s, lambda model: 0.5 * (float(model.lambda_W) + float(model.lambda_H))
        ),
    ),
    subject=SUBJECT,
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
