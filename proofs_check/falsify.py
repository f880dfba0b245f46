"""Try to break a claim: instances between and around the listed ones, towards the largest margin.

Known counterexamples are replayed first, ``proposals`` say what is tried, and what fails is
shrunk (``shrink``).

The search is written here and not with hypothesis: that one has targets and shrinks too, but
towards the simplest sequence of choices and not the smallest model, knows no bisection and no
budget in seconds, and is needed by the tests alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from proofs_check.claim import Claim
from proofs_check.proposals import trials
from proofs_check.redraw import Draw, draw_of
from proofs_check.run import small_matrices
from proofs_check.shrink import shrunk
from proofs_check.trials import Field, Trial

SECONDS = 3.0
# Draws that shrinking may check.
SHRINKS = 60
FORMAT = "ufm-counterexample/1"


class Found(Enum):
    """What a search gave."""

    COUNTEREXAMPLE = "an instance that satisfies the hypotheses and fails"
    NOTHING = "no instance failed"
    NOT_SEARCHED = "nobody has said how its instances are drawn"


@dataclass(frozen=True)
class Counterexample:
    """An instance on which a claim fails, small enough to keep.

    Attributes:
        claim: its id.
        label: the instance in words.
        margin: error / tolerance, above 1 (infinite where the error is no number).
        draw: what is changed of a listed instance.
        quick: whether it is listed in the quick region.
    """

    claim: str
    label: str
    margin: float
    draw: Draw
    quick: bool

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "format": FORMAT,
            "claim": self.claim,
            "label": self.label,
            "margin": self.margin if np.isfinite(self.margin) else None,
            "quick": self.quick,
            "draw": self.draw.record(),
        }

    @property
    def replay(self) -> str:
        """Python that gives the margin again."""
        return (
            "from proofs_check import core_claims\n"
            "from proofs_check.falsify import margin_of\n"
            "from proofs_check.redraw import Draw\n"
            f"claim = next(c for c in core_claims() if c.id == {self.claim!r})\n"
            f"print(margin_of(claim, {self.draw!r}, quick={self.quick}))"
        )


def counterexample_of(record: dict[str, Any]) -> Counterexample:
    """A counterexample from its record.

    Example:
        >>> seen = Counterexample("balancedness", "ce K=3", 2.0, Draw(0), True)
        >>> counterexample_of(seen.record()) == seen
        True
    """
    margin = float("inf") if record["margin"] is None else float(record["margin"])
    draw = draw_of(record["draw"])
    return Counterexample(record["claim"], record["label"], margin, draw, record["quick"])


@dataclass(frozen=True)
class Search:
    """What a search for counterexamples of one claim did.

    Attributes:
        claim: the claim.
        found: whether there is one.
        counterexample: the shrunk one, else None.
        first: as it was found, before it was shrunk.
        replayed: whether it was one that had been kept.
        tried: instances inside the hypotheses that were checked.
        outside: draws outside the hypotheses, or of which no point was found.
        isolated: failures that vanish when the numbers are moved by a thousandth: next to a
            threshold a count is a matter of rounding.
        raised: draws at which the claim's own code raised an error.
        shrinks: checks that shrinking took.
        worst: largest margin that was seen, None without an instance.
        seconds: wall time.
        reason: why nothing was searched, or the first error that was raised, else "".
    """

    claim: Claim
    found: Found
    counterexample: Counterexample | None = None
    first: Counterexample | None = None
    replayed: bool = False
    tried: int = 0
    outside: int = 0
    isolated: int = 0
    raised: int = 0
    shrinks: int = 0
    worst: float | None = None
    seconds: float = 0.0
    reason: str = ""


@small_matrices()
def margin_of(claim: Claim, draw: Draw, *, quick: bool = False) -> float | None:
    """Error / tolerance of a claim at a draw, None where that is no instance of it any more.

    Example:
        >>> from proofs_check import core_claims
        >>> claim = next(c for c in core_claims() if c.id == "focal-window")
        >>> margin_of(claim, Draw(1, numbers={"loss.gamma": 1.5}), quick=True) < 1
        True
    """
    field = Field(claim, quick)
    if not 0 <= draw.listed < len(field.listed):
        return None
    trial = field.trial(draw)
    return None if trial is None else trial.margin


@small_matrices()
def falsify(
    claim: Claim,
    *,
    seconds: float = SECONDS,
    seed: int = 0,
    quick: bool = False,
    shrinks: int = SHRINKS,
    known: Sequence[Counterexample] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Search:
    """Search for a counterexample of a claim, replaying those that are known first.

    What is tried depends on claim, seed and region alone; the budget says how far it goes. The
    region is built before the clock starts, and a counterexample is shrunk after it has stopped.

    Args:
        claim: any claim; nothing is searched where no listed instance says how it was found.
        seconds: budget, 0 for a replay alone.
        seed: of the search.
        quick: around the listed instances of the quick region.
        shrinks: draws that shrinking may check, 0 keeps what was found.
        known: counterexamples of this or other claims.
        clock: seconds that have passed.

    Example:
        >>> from proofs_check import core_claims
        >>> claim = next(c for c in core_claims() if c.id == "focal-window")
        >>> falsify(claim, seconds=0.3, quick=True).found.name
        'NOTHING'
    """
    field = Field(claim, quick)
    began = clock()
    for old in known:
        margin = margin_of(claim, old.draw, quick=old.quick) if old.claim == claim.id else None
        if margin is not None and not margin <= 1:
            same = replace(old, margin=margin)
            return Search(
                claim, Found.COUNTEREXAMPLE, same, same, True, 1, worst=margin,
                seconds=clock() - began,
            )  # fmt: skip
    if not field.sources:
        kinds = sorted({instance.kind for instance in field.listed})
        reason = f"its instances ({', '.join(kinds)}) are not drawn"
        return Search(claim, Found.NOT_SEARCHED, seconds=clock() - began, reason=reason)
    began = clock()
    seen: list[float] = []
    first: Trial | None = None
    isolated = 0
    for trial in trials(field, seed, lambda: clock() - began < seconds):
        if trial is not None:
            seen.append(trial.margin)
        if trial is not None and trial.fails:
            if not field.stands(trial):
                isolated += 1
                continue
            first = trial
            break
    done: dict[str, Any] = {
        "tried": len(seen),
        "worst": max(seen, default=None),
        "outside": field.outside,
        "isolated": isolated,
        "raised": len(field.errors),
        "reason": field.errors[0] if field.errors else "",
    }
    if first is None:
        return Search(claim, Found.NOTHING, seconds=clock() - began, **done)
    small, used = shrunk(field, first, shrinks)
    example, found = (_kept(claim, t, quick) for t in (small, first))
    done["seconds"] = clock() - began
    return Search(claim, Found.COUNTEREXAMPLE, example, found, shrinks=used, **done)


def _kept(claim: Claim, trial: Trial, quick: bool) -> Counterexample:
    return Counterexample(claim.id, trial.instance.label, trial.margin, trial.draw, quick)
