"""Focal loss: where it is convex, and the spurious minimum that convexity would forbid."""

from __future__ import annotations

from proofs_check.claim import Claim

CLAIMS: tuple[Claim, ...] = ()
