"""A claim tried at a draw: the instance, how close it came to failing, and what was counted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from proofs_check.claim import COUNTING, Claim
from proofs_check.instance import Instance
from proofs_check.law import Law
from proofs_check.redraw import Draw, Maker, maker
from proofs_check.run import FEW
from proofs_check.specimens import NEAR, kept
from ufm.errors import InputError
from ufm.losses.program import described

UNTRIED = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Trial:
    """What a claim measured at a draw."""

    draw: Draw
    instance: Instance
    margin: float
    reading: tuple[float, ...] | None

    @property
    def fails(self) -> bool:
        """Whether the claim is broken here."""
        return not self.margin <= 1


@dataclass(eq=False)
class Field:
    """The instances that a claim can be asked about: listed ones, and draws from them."""

    claim: Claim
    quick: bool
    outside: int = 0
    errors: list[str] = field(default_factory=list)

    @cached_property
    def listed(self) -> list[Any]:
        """The instances of the region."""
        return list(self.claim.region(self.quick))

    def maker(self, i: int) -> Maker | None:
        """What makes further instances from a listed one."""
        return maker(self.claim.region, self.listed[i])

    @cached_property
    def sources(self) -> list[int]:
        """Listed instances that can be drawn from, inside the hypotheses."""
        inside = (i for i, s in enumerate(self.listed) if self._holds(s))
        return [i for i in inside if self.maker(i) is not None]

    def _holds(self, instance: Any) -> bool:
        conditions = (*kept(self.claim.region), *(h.holds for h in self.claim.hypotheses))
        return all(condition(instance) for condition in conditions)

    def trial(self, draw: Draw) -> Trial | None:
        """The claim at a draw, None where that is no instance of it."""
        make = self.maker(draw.listed)
        instance = None if make is None else make(draw)
        if instance is None:
            self.outside += 1
            return None
        modelled = hasattr(instance, "model")
        try:
            if not self._holds(instance):
                self.outside += 1
                return None
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                error = float(self.claim.check(instance))
                reading = self._reading(instance)
        # What has no model is made where it is looked at, and may refuse its numbers then.
        except InputError as refusal:
            if modelled:
                self.errors.append(f"{described(refusal, __file__)} at {instance.label}")
            else:
                self.outside += 1
            return None
        # A claim may ask what a drawn model has not; that is no counterexample, and is said.
        except UNTRIED as failure:
            self.errors.append(f"{described(failure, __file__)} at {instance.label}")
            return None
        margin = float("inf") if np.isnan(error) else error / self.claim.tolerance.value
        return Trial(draw, instance, margin, reading)

    def stands(self, trial: Trial) -> bool:
        """Whether a failure is one of a neighbourhood: all numbers a thousandth up, or down."""
        ways = (1 + NEAR, 1 - NEAR) if trial.draw.numbers else (1.0,)
        for way in ways:
            numbers = {name: way * x for name, x in trial.draw.numbers.items()}
            beside = self.trial(replace(trial.draw, numbers=numbers))
            if beside is not None and beside.fails:
                return True
        return False

    def _reading(self, instance: Any) -> tuple[float, ...] | None:
        """What was counted at an instance; None where it is measured, and differs everywhere."""
        law = self.claim.check
        if not isinstance(law, Law) or self.claim.tolerance != COUNTING:
            return None
        told = law.measured(instance, FEW)
        return None if told is None else told[0]

    def numbers(self, i: int) -> dict[str, float]:
        """What may be changed of a listed instance."""
        told: dict[str, float] = self.listed[i].floats
        return told


def sizes_of(instance: Any) -> tuple[tuple[int, ...], int] | None:
    """Class sizes and dimension of an instance whose model has others."""
    model = getattr(instance, "model", None)
    if model is None:
        return getattr(instance, "sizes", None)
    counts, d = model.columns().get("counts"), model.columns().get("d")
    if counts is None or d is None or model.resized(tuple(counts), int(d)) is None:
        return None
    return tuple(int(n) for n in counts), int(d)
