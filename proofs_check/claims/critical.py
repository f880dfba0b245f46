"""What holds at every critical point: collapse within classes, balancedness, centring."""

from __future__ import annotations

import numpy as np

from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.specimens import Specimen, critical_specimens

CONVEX = Hypothesis("the loss is convex in the logits", lambda s: _properties(s).convex.holds)
SHIFT_INVARIANT = Hypothesis(
    "the loss ignores a common shift of the logits", lambda s: _properties(s).shift_invariant.holds
)


def _properties(specimen: Specimen):  # type: ignore[no-untyped-def]
    return specimen.model.loss.properties(specimen.model.num_classes)


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
    latex=r"\\lambda_W W^\\top W = \\lambda_H H H^\\top",
    source="CE-3; after Zhu et al. (2021)",
    literature="proved",
    hypotheses=(),
    region=critical_specimens,
    check=balancedness,
    tolerance=1e-9,
    tolerance_source="gradient norm 1e-12 times |x| / lambda",
    tier="T0",
    mutant=Mutant("lambda_W and lambda_H exchanged", _unequal_decay),
    subject="every critical point",
)

CLAIMS = (BALANCED,)
