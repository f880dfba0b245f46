"""The core's claims, one subject per file."""

from proofs_check.claim import Claim
from proofs_check.claims import (
    atlas,
    certificates,
    codes,
    conditioning,
    critical,
    deep_linear,
    focal,
    imbalanced,
    minimisers,
    mse,
    rate_reduction,
    reductions,
    regression,
    rescaled,
    saddles,
    spectra,
    symbolic,
    thresholds,
)

SUBJECTS: tuple[tuple[Claim, ...], ...] = (
    critical.CLAIMS,
    minimisers.CLAIMS,
    thresholds.CLAIMS,
    certificates.CLAIMS,
    saddles.CLAIMS,
    atlas.CLAIMS,
    codes.CLAIMS,
    mse.CLAIMS,
    imbalanced.CLAIMS,
    rescaled.CLAIMS,
    focal.CLAIMS,
    spectra.CLAIMS,
    conditioning.CLAIMS,
    reductions.CLAIMS,
    regression.CLAIMS,
    rate_reduction.CLAIMS,
    deep_linear.CLAIMS,
    symbolic.CLAIMS,
)
