"""Which theory applies to a network that somebody trained, and the network beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from experiments.networks.theory.comparison import Comparison, Measured, compare
from experiments.networks.theory.diagnosis import (
    FIXED,
    FREE,
    NONNEGATIVE,
    SPHERE,
    Diagnosis,
    diagnose,
)
from experiments.networks.theory.prediction import (
    SHAPE_TOLERANCE,
    NoTheory,
    Prediction,
    predict_fixed,
    predict_free,
    predict_nonnegative,
    predict_sphere,
)
from experiments.networks.theory.sample_sums import Census
from ufm.collapse.geometry import etf_target, product_distance
from ufm.errors import InputError
from ufm.losses import Loss
from ufm.models.fixed_classifier import FixedClassifier
from ufm.models.sphere import Sphere
from ufm.plain.model import UFM

# Decay as a term of the objective, or decoupled from it.
PENALISED, DECOUPLED = ("sgd", "adam"), ("adamw",)
# A norm of d entries, each rounded in the dtype of the features, and normalised there.
ROUNDINGS = 8


@dataclass(frozen=True)
class Terms:
    """What a network was trained with, in the lab's units (docs/conventions.md).

    Attributes:
        loss: of (logits, label).
        lambda_W: decay of the classifier; None where nothing is said, 0 for none.
        lambda_H: decay of the features; None where only weights have one.
        lambda_b: decay of the bias; 0 for none.
        optimizer: "sgd", "adam" (decay is part of the gradient) or "adamw" (it is not).
        fixed_classifier: whether W was not trained.

    Raises:
        InputError: another optimizer.

    Example:
        >>> from ufm import CrossEntropy
        >>> Terms(CrossEntropy(), 5e-4).optimizer
        'sgd'
    """

    loss: Loss
    lambda_W: float | None = None
    lambda_H: float | None = None
    lambda_b: float | None = None
    optimizer: str = "sgd"
    fixed_classifier: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in PENALISED + DECOUPLED:
            known = ", ".join(PENALISED + DECOUPLED)
            remedy = "use sgd for decay in the gradient, adamw for decoupled decay"
            raise InputError(f"Need an optimizer among {known}", repr(self.optimizer), remedy)


@dataclass(frozen=True)
class Appraisal:
    """A network and the theory that applies to it.

    Attributes:
        confined: what the features are: FREE, NONNEGATIVE, SPHERE or FIXED.
        decays: lambda_W, lambda_H (as estimated) and lambda_b.
        balanced: lambda_W |W|^2 / |H|^2, None where it has no meaning.
        notes: what was assumed or detected.
        theory: the minimum, or the reason why none applies.
        diagnosis: whether the network is at a minimum; None where no theory applies.
        found: its numbers.
        c: sqrt(K N lambda_W lambda_H), None where it has no meaning.
    """

    confined: str
    decays: tuple[float, float, float | None]
    balanced: float | None
    notes: tuple[str, ...]
    theory: Prediction | NoTheory
    diagnosis: Diagnosis | None
    found: Measured
    c: float | None

    @property
    def refusal(self) -> str:
        """Why no ratio is shown, empty where they are."""
        if isinstance(self.theory, NoTheory):
            return f"no theory applies, because {self.theory.reason}"
        doubts = () if self.diagnosis is None else self.diagnosis.doubts
        if not doubts:
            return ""
        return f"not at a minimum: ratios to theory would say nothing ({'; '.join(doubts)})"

    @property
    def comparison(self) -> Comparison | None:
        """The network beside the minimum; None where ``refusal`` says why."""
        if isinstance(self.theory, NoTheory) or self.refusal:
            return None
        return compare(self.found, self.theory)

    @property
    def above(self) -> float | None:
        """objective / minimum - 1, where they are compared."""
        both = self.comparison
        return None if both is None else both.objective.ratio - 1


def appraise(seen: Census, terms: Terms) -> Appraisal:
    """Find the theory for what was measured, and whether it can be compared with it.

    Features >= 0 have that of ``predict_nonnegative``; of one norm, with rows of W of one norm,
    that of the sphere; under a fixed classifier that of ``predict_fixed``; all others
    ``predict_free``. Where lambda_H is not given it is lambda_W |W|^2 / |H|^2, which holds at every
    critical point (CE-3).

    Args:
        seen: of all training samples.
        terms: with which they were trained.

    Raises:
        InputError: a class without samples, or lambda_W missing.

    Example:
        >>> from experiments.networks.theory.sample_sums import census
        >>> from ufm import UFM, CrossEntropy, lift
        >>> model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.01, lambda_H=0.02)
        >>> W, H, _ = lift(model, model.minimiser().point)
        >>> made = appraise(census(model.loss, H.T, W, None, model.labels), Terms(model.loss, 0.01))
        >>> round(made.decays[1], 12), round(made.comparison.gap.ratio, 12)
        (0.02, 1.0)
    """
    confined, notes = confinement(seen, terms)
    balanced = None
    if terms.lambda_W is not None and seen.H_squared and not terms.fixed_classifier:
        balanced = terms.lambda_W * seen.W_squared / seen.H_squared
    lambda_b = terms.lambda_b
    if seen.b is not None and lambda_b is None:
        lambda_b = 0.0
        if confined != SPHERE:
            notes.append("bias taken as unregularised")
    lambda_H = balanced if terms.lambda_H is None else terms.lambda_H
    if terms.lambda_H is None and confined in (FREE, NONNEGATIVE):
        notes.append("lambda_H from balancedness, lambda_W |W|^2 / |H|^2")
    if confined == SPHERE:
        lambda_H = 0.0
    decays = (
        0.0 if confined in (SPHERE, FIXED) else terms.lambda_W or 0.0,
        lambda_H or 0.0,
        lambda_b if seen.b is not None else None,
    )
    theory = _theory(seen, terms, confined, decays)
    c = None
    if confined in (FREE, NONNEGATIVE):
        c = float(np.sqrt(len(seen.counts) * seen.num_samples * decays[0] * decays[1]))
    known = isinstance(theory, Prediction)
    diagnosis = diagnose(seen, decays, confined, theory) if known else None
    if diagnosis is not None and terms.lambda_H is None:
        diagnosis = replace(diagnosis, balance=None)  # 0 by construction
    found = Measured.of(seen)
    return Appraisal(confined, decays, balanced, tuple(notes), theory, diagnosis, found, c)


def confinement(seen: Census, terms: Terms) -> tuple[str, list[str]]:
    """How the features are confined, read off the arrays, and what to say of it.

    Collapsed features of balanced classes have equal norms in every theory. Equal norms are those
    of normalised features where the features differ otherwise, or where they are 1, or where rows
    of W have norm 1 and no decay is said to hold them.

    Example:
        >>> from experiments.networks.theory.sample_sums import census
        >>> from ufm import CrossEntropy
        >>> seen = census(CrossEntropy(), [[3.0, 0.0], [0.0, 3.0]], np.eye(2), None, [0, 1])
        >>> confinement(seen, Terms(seen, 0.1))[0], confinement(seen, Terms(seen))[0]
        ('non-negative', 'sphere')
    """
    notes = []
    if seen.least >= 0 and seen.H_squared:
        notes.append("features are non-negative, as after a ReLU: theory of such features")
    if terms.fixed_classifier:
        return FIXED, notes
    shortest, longest = seen.norms
    slack = ROUNDINGS * seen.eps
    if longest - shortest <= slack * longest and longest > 0:
        rows = np.linalg.norm(seen.W, axis=1)
        held = terms.lambda_W is not None or terms.lambda_H is not None
        unit = not held and bool(np.all(np.abs(rows - 1) <= slack))
        if seen.scatter > 0 or abs(longest - 1) <= slack or unit:
            return SPHERE, [*notes, f"features all have the norm {longest:.6g}: normalised"]
    return (NONNEGATIVE if seen.least >= 0 else FREE), notes


def _theory(
    seen: Census, terms: Terms, confined: str, decays: tuple[float, float, float | None]
) -> Prediction | NoTheory:
    if terms.optimizer in DECOUPLED:
        return NoTheory(
            "AdamW's decay is decoupled from the gradient: its limits are critical points of the "
            "objective for no lambda"
        )
    if not seen.H_squared and terms.lambda_H is None and confined != SPHERE:
        return NoTheory("the features are zero, which leaves lambda_H without an estimate")
    if confined == SPHERE:
        return _spherical(seen, terms)
    lambda_W, lambda_H, lambda_b = decays
    if confined == FIXED:
        return _fixed(seen, terms, lambda_H, lambda_b)
    if terms.lambda_W is None:
        rule = "The comparison with theory needs --lambda-w"
        raise InputError(rule, "no decay of W", "give the weight decay of the classifier")
    if lambda_W == 0:
        return NoTheory("without weight decay the objective has no minimiser")
    if terms.lambda_H == 0:
        return NoTheory("no decay holds the features: the infimum is not attained")
    if lambda_H == 0:
        return NoTheory("W is zero, which leaves lambda_H without an estimate")
    model = UFM(
        terms.loss,
        counts=seen.counts,
        d=seen.W.shape[1],
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        lambda_b=lambda_b,
    )
    return predict_nonnegative(model) if confined == NONNEGATIVE else predict_free(model)


def _spherical(seen: Census, terms: Terms) -> Prediction | NoTheory:
    rows = np.linalg.norm(seen.W, axis=1)
    if np.ptp(rows) > ROUNDINGS * seen.eps * rows.max():
        return NoTheory("the features are normalised and the rows of W are not (SP-1 needs both)")
    if seen.b is not None and seen.b.any():
        return NoTheory("normalised features are known without bias only (SP-1)")
    if seen.least >= 0:
        return NoTheory("no minimum is known for features that are normalised and non-negative")
    if min(seen.counts) != max(seen.counts):
        return NoTheory("normalised features are known for equal counts only (SP-1)")
    K, n = len(seen.counts), seen.counts[0]
    scale = float(rows.mean()) * seen.norms[1]
    model = Sphere(terms.loss, K, seen.W.shape[1], n, scale=scale)
    return predict_sphere(model, seen.W_squared, seen.H_squared)


def _fixed(
    seen: Census, terms: Terms, lambda_H: float, lambda_b: float | None
) -> Prediction | NoTheory:
    K, d = seen.W.shape
    if terms.lambda_H is None:
        return NoTheory("a fixed classifier has no decay to estimate lambda_H from")
    away = product_distance(seen.W, seen.W, etf_target(K))
    if not away <= max(SHAPE_TOLERANCE, ROUNDINGS * seen.eps):
        return NoTheory(f"the fixed classifier is no simplex ETF: it is {away:.2g} away (E-1)")
    if lambda_b is not None and min(seen.counts) != max(seen.counts):
        return NoTheory("a fixed classifier with a bias is known for equal counts only (E-1)")
    nonnegative = seen.least >= 0
    row = float(np.sqrt(seen.W_squared / K))
    if nonnegative:
        # The theory has class k on coordinate k: W is a multiple of the centring matrix.
        own = row * np.sqrt(K / (K - 1)) * (np.eye(K) - 1 / K)
        fits = d >= K and np.max(np.abs(seen.W[:, :K] - own)) <= SHAPE_TOLERANCE * row
        if not fits or seen.W[:, K:].any():
            return NoTheory("non-negative features are known under W = sqrt(K/(K-1)) (P 0) only")
    # One sample per class that stands for N/K: without bias samples do not meet (E-1).
    each = seen.num_samples / K
    model = FixedClassifier(terms.loss, K, 1, lambda_H * each, lambda_b, d)
    found = predict_fixed(model, nonnegative=nonnegative, row=row)
    if isinstance(found, NoTheory):
        return found
    decays = (0.0, lambda_H, lambda_b)
    return replace(found, H_squared=found.H_squared * each, decays=decays, counts=seen.counts)


def headline(nc1: float, nc2: float | None, scatter: float, made: Appraisal | None) -> str:
    """How collapsed, and how far from the minimum, in one sentence.

    Args:
        nc1: as ``ufm.collapse`` measures it.
        nc2: the same.
        scatter: within classes over between them; collapsed means below 1 %, the tenth part of
            what a diagnosis still accepts.
        made: the appraisal, None where no theory was asked for.

    Example:
        >>> headline(3e-4, 0.01, 0.002, None)
        'collapsed: NC1 0.0003, NC2 0.01'
    """
    words = "collapsed" if scatter <= 0.01 else "nearly collapsed" if scatter <= 0.1 else ""
    said = f"{words or 'not collapsed'}: NC1 {nc1:.2g}"
    if nc2 is not None:
        said += f", NC2 {nc2:.2g}"
    if made is None:
        return said
    if made.refusal:
        return f"{said}; {made.refusal}"
    return f"{said}; {_distance(made)}"


def _distance(made: Appraisal) -> str:
    above, theory = made.above, made.theory
    if above is None or isinstance(theory, NoTheory):
        return "no theory"
    kind = "proved minimum" if "(proved)" in theory.evidence else "minimum that theory gives"
    if "solved" in theory.evidence:
        kind = "minimum, which its duality gap proves"
    if abs(above) < 5e-7:
        return f"at the {kind}"
    side = "above" if above > 0 else "below"
    return f"{100 * abs(above):.2g} % {side} the {kind}"


def quantities(made: Appraisal) -> Mapping[str, tuple[float | None, float]]:
    """Name -> (theory or None, measured) of what is compared; norms where squares are known."""
    found, decays = made.found, made.decays
    measured = {
        "logit gap": found.gap,
        "|W|": np.sqrt(found.W_squared),
        "|H|": np.sqrt(found.H_squared),
        "mean loss": found.loss,
        "objective": found.objective(*decays),
    }
    if decays[2] is not None:
        measured["|b|"] = np.sqrt(found.b_squared)
    known: dict[str, float] = {}
    theory = made.theory
    if isinstance(theory, Prediction) and not made.refusal:
        known = {
            "logit gap": theory.gap,
            "|W|": np.sqrt(theory.W_squared),
            "|H|": np.sqrt(theory.H_squared),
            "mean loss": theory.loss,
            "objective": theory.objective,
            "|b|": np.sqrt(theory.b_squared),
        }
    return {
        name: (None if name not in known else float(known[name]), float(value))
        for name, value in measured.items()
    }
