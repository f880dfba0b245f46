"""The core's claims, one subject per file."""

from proofs_check.claim import Claim
from proofs_check.claims import (
    certificates,
    codes,
    critical,
    focal,
    minimisers,
    saddles,
    thresholds,
)

SUBJECTS: tuple[tuple[Claim, ...], ...] = (
    critical.CLAIMS,
    minimisers.CLAIMS,
    thresholds.CLAIMS,
    certificates.CLAIMS,
    saddles.CLAIMS,
    codes.CLAIMS,
    focal.CLAIMS,
)
