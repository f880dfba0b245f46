"""Claims of neural-collapse theory, what was run for them, and what came out."""

from proofs_check.claim import Claim, Mutant, Outcome, Status, claim
from proofs_check.registry import core_claims, load_claims
from proofs_check.run import check_claim

__all__ = [
    "Claim",
    "Mutant",
    "Outcome",
    "Status",
    "check_claim",
    "claim",
    "core_claims",
    "load_claims",
]
