"""Claims of tier E: what trained systems show, said of the instances at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proofs_check.claim import Claim
from proofs_check.instance import Instance


def empirical(
    id: str,
    title: str,
    statement: str,
    instances: Sequence[Instance],
    *,
    subject: str,
    **given: Any,
) -> Claim:
    """An empirical claim, whose region is the instances at hand; ``given`` is the rest of it."""
    return Claim(
        id=id,
        title=title,
        statement=statement,
        latex="",
        literature="empirical",
        region=lambda quick: instances,
        tier="E",
        subject=subject,
        **given,
    )
