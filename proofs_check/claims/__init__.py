"""The core's claims, one subject per file."""

from proofs_check.claim import Claim
from proofs_check.claims import critical, focal

SUBJECTS: tuple[tuple[Claim, ...], ...] = (critical.CLAIMS, focal.CLAIMS)
