"""The conditions of theorems, each once, in words and as a predicate on a specimen."""

from __future__ import annotations

from typing import Any

from proofs_check.claim import Hypothesis


def loss_is(words: str, *families: str) -> Hypothesis:
    """The hypothesis that the loss is one of some families ("ce", "focal", "rescaled-mse", ...).

    Example:
        >>> loss_is("the loss is MSE", "mse").text
        'the loss is MSE'
    """
    return Hypothesis(words, lambda s: s.family in families)


def properties(specimen: Any) -> Any:
    """The properties of the specimen's loss at its K."""
    return specimen.model.loss.properties(specimen.model.num_classes)


# ---- the loss

CONVEX = Hypothesis("the loss is convex in the logits", lambda s: bool(properties(s).convex))
SHIFT_INVARIANT = Hypothesis(
    "the loss ignores a common shift of the logits", lambda s: bool(properties(s).shift_invariant)
)
SQUARED = loss_is("the loss is MSE", "mse")
RESCALED = loss_is("the loss is rescaled MSE", "rescaled-mse")
SMOOTHED = loss_is("the loss is label smoothing", "ls")
CROSS_ENTROPY = loss_is("the loss is CE", "ce")
CROSS_ENTROPIES = loss_is("the loss is CE or label smoothing", "ce", "ls")
LOGIT_LOSSES = loss_is("the loss is CE, LS or focal", "ce", "ls", "focal")
SYMMETRIC = loss_is("the loss is CE, LS, focal or MSE", "ce", "ls", "focal", "mse")
BY_PROBABILITY = loss_is(
    "the loss is a decreasing function of the true-class probability", "ce", "focal"
)
FOCAL_CONVEX_AT_CHANCE = Hypothesis(
    "focal loss with 1/K >= u*(gamma)",
    lambda s: s.family == "focal" and bool(properties(s).contrastive),
)
NOT_CROSS_ENTROPY = Hypothesis("gamma > 0", lambda s: float(s.model.loss.gamma) > 0)

# ---- sizes

BALANCED = Hypothesis("equal class sizes", lambda s: bool(s.model.balanced))
DISTINCT = Hypothesis(
    "the classes have different sizes",
    lambda s: len(set(s.model.counts_tuple)) == s.model.num_classes,
)
TWO_SIZES = Hypothesis(
    "two class sizes, the larger classes first",
    lambda s: (
        len(set(s.model.counts_tuple)) == 2
        and s.model.counts_tuple == tuple(sorted(s.model.counts_tuple, reverse=True))
    ),
)
NO_SIZE_ALONE = Hypothesis(
    "every class shares its size with another",
    lambda s: all(s.model.counts_tuple.count(n) > 1 for n in s.model.counts_tuple),
)
ETF_FITS = Hypothesis("d >= K - 1", lambda s: s.model.d >= s.model.num_classes - 1)
FRAME_FITS = Hypothesis("d >= K", lambda s: s.model.d >= s.model.num_classes)
TOO_NARROW = Hypothesis("d < K - 1", lambda s: s.model.d < s.model.num_classes - 1)
THREE_CLASSES = Hypothesis("K >= 3", lambda s: s.model.num_classes >= 3)
FOUR_CLASSES = Hypothesis("K >= 4", lambda s: s.model.num_classes >= 4)
IN_THE_PLANE = Hypothesis("d = 2", lambda s: s.model.d == 2)
FRAME_FITS_OR_BALANCED = Hypothesis(
    "d >= K or equal class sizes", lambda s: FRAME_FITS.holds(s) or BALANCED.holds(s)
)


def centred(specimen: Any) -> bool:
    """Whether the optimum has rank K - 1 at most: a shift-invariant loss, or a free bias."""
    return SHIFT_INVARIANT.holds(specimen) or bool(specimen.model.lambda_b == 0)


OPTIMUM_FITS = Hypothesis(
    "d >= the rank of the optimum (K - 1, or K)",
    lambda s: s.model.d >= s.model.num_classes - int(centred(s)),
)

# ---- the bias

NO_BIAS = Hypothesis("no bias", lambda s: s.model.lambda_b is None)
WITH_BIAS = Hypothesis("a bias", lambda s: s.model.lambda_b is not None)
FREE_BIAS = Hypothesis("an unregularised bias", lambda s: s.model.lambda_b == 0)
REGULARISED_BIAS = Hypothesis("a regularised bias", lambda s: bool(s.model.lambda_b))
NO_REGULARISED_BIAS = Hypothesis("bias none or unregularised", lambda s: not s.model.lambda_b)

# ---- the point

BELOW = Hypothesis("c is below the collapse threshold", lambda s: s.note == "below threshold")
