"""What networks show, as claims of the registry: tier E, about the runs of one comparison.

The machinery is that of the theorems: hypotheses, an error on every specimen, a mutant that must
fail by 100 tolerances. A specimen is a finished run, so VERIFIED means "in all of these runs", and
a run that does otherwise is a counterexample with a name. Errors that are differences enter as
squares, for which a factor of ten is a hundred tolerances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from experiments.networks.comparison.likeness import Likeness, likeness
from experiments.networks.comparison.plan import Cell
from experiments.networks.comparison.table import (
    LEVEL,
    Contrast,
    contrasts,
    least_p_value,
    rows,
    summaries,
)
from experiments.networks.runs import Run, run_against_theory
from experiments.networks.theory import Comparison, NoTheory
from experiments.networks.training import Outcome
from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from proofs_check.empirical import empirical
from proofs_check.instance import Instance

T = TypeVar("T")

SUBJECT = "trained networks (empirical)"
# Conventions of NC1, NC2 and NC3 on features, and of W against features.
DIRECTIONS = ("nc1_geo", "nc1_phd", "nc1_ratio", "cdnv_mean", "nc2_rwu", "nc3_geo", "nc3_phd")
# Orders of magnitude are what the papers' curves show; one is the least that deserves the word.
FALL = 0.1
POINTS = 0.02
NORMS = 0.05
ALIKE = 0.05


@dataclass(frozen=True, eq=False)
class Group:
    """The finished runs of one width, which are compared with each other."""

    runs: Mapping[Cell, Run]
    width: float
    contrasts: tuple[Contrast, ...]

    @cached_property
    def likeness(self) -> Likeness:
        """Of their predictions and features."""
        return likeness(self.runs, self.width)

    @cached_property
    def accuracies(self) -> Mapping[str, float]:
        """Mean test accuracy of every objective."""
        return {s.loss: s.mean for s in summaries(rows(self.runs), ["test_accuracy"])}


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkSpecimen(Instance):
    """A finished run among the others of its width."""

    cell: Cell
    run: Run
    group: Group
    kind: str = "run"

    @property
    def size(self) -> tuple[int, int, int]:
        """(K, seed, N): the first seed is the smallest counterexample."""
        counts = self.run.counts
        return len(counts), self.cell.seed, sum(counts)

    @property
    def label(self) -> str:
        """The run in words."""
        return f"{self.cell.loss.label}, width {self.cell.width:g}, seed {self.cell.seed}"

    @cached_property
    def against_theory(self) -> Comparison | NoTheory:
        """The run beside its model."""
        return run_against_theory(self.run)

    @cached_property
    def against_wrong_theory(self) -> Comparison | NoTheory:
        """The run beside a model with four times the decay."""
        request = self.run.request
        settings = replace(request.settings, decay=request.settings.decay.times(4.0))
        return run_against_theory(replace(self.run, request=replace(request, settings=settings)))

    def fall(self, name: str) -> float:
        """A number at the end over the same number when the train error was first zero."""
        values = [
            record.measures[name]
            for record in self.run.records
            if record.measures.get("train_accuracy") == 1 and name in record.measures
        ]
        return values[-1] / values[0] if values and values[0] > 0 else float("nan")

    @property
    def lag(self) -> float:
        """How far the objective is behind another in test accuracy, beyond what chance explains.

        The largest mean difference of the contrasts of the comparison's table that are significant.
        """
        own = self.cell.loss.label
        behind = [
            c.interval.mean if c.second == own else -c.interval.mean
            for c in self.group.contrasts
            if own in (c.first, c.second) and c.adjusted < LEVEL
        ]
        return max([0.0, *behind])

    @property
    def unlikeness(self) -> float:
        """How much CKA with another objective is below the lower of the two among themselves."""
        found = self.group.likeness
        place = found.losses.index(self.cell.loss.label)
        own = np.diag(found.cka)
        lags = np.minimum(own[place], own) - found.cka[place]
        # fmax ignores nan, and is nan where nothing else is there: features that do not vary.
        return float(np.maximum(0.0, np.fmax.reduce(lags)))


def on_run(look: Callable[[NetworkSpecimen], T]) -> Callable[[Any], T]:
    """A function of a run as one of specimens, which claims take."""
    return look


def _fits_early(specimen: NetworkSpecimen) -> bool:
    half = specimen.run.records[: specimen.run.request.settings.epochs // 2]
    return any(record.measures.get("train_accuracy") == 1 for record in half)


FITS_EARLY = Hypothesis("no train error by the middle of the epochs", on_run(_fits_early))
SEVERAL = Hypothesis(
    "another objective was run at this width", on_run(lambda s: len(s.group.accuracies) > 1)
)
SEVERAL_SEEDS = Hypothesis(
    "two seeds or more were run at this width",
    on_run(lambda s: len({cell.seed for cell in s.group.runs}) > 1),
)
CAN_TELL = Hypothesis(
    "enough pairs of runs for a test to tell objectives apart",
    on_run(lambda s: least_p_value(s.group.contrasts) < LEVEL),
)
HAS_THEORY = Hypothesis(
    "the model has a minimum that is known, with given decays",
    on_run(lambda s: isinstance(s.against_theory, Comparison) and not s.against_theory.estimated),
)


def _squared_deviation(found: Comparison | NoTheory) -> float:
    """The largest of three, |W| and |H| as norms."""
    if isinstance(found, NoTheory):
        return float("nan")
    norms = (np.sqrt(q.ratio) - 1 for q in (found.W_squared, found.H_squared))
    return float(max(*(abs(x) for x in norms), abs(found.gap.ratio - 1))) ** 2


def network_claims(runs: Mapping[Cell, Run]) -> tuple[Claim, ...]:
    """The empirical claims about the finished runs of a comparison.

    Args:
        runs: of ``execute``; runs that stopped early are no specimens, and the table has them.
    """
    ended = {cell: run for cell, run in runs.items() if run.outcome is Outcome.COMPLETED}
    differences = contrasts(rows(ended), "test_accuracy")
    groups = {
        width: Group({c: run for c, run in ended.items() if c.width == width}, width, differences)
        for width in dict.fromkeys(cell.width for cell in ended)
    }
    specimens = tuple(
        NetworkSpecimen(cell=cell, run=run, group=groups[cell.width]) for cell, run in ended.items()
    )

    claim = partial(empirical, instances=specimens, subject=SUBJECT)
    return (
        claim(
            "network-collapse",
            "Collapse goes on after zero train error",
            "NC1 falls by an order of magnitude or more after the train error is zero.",
            source="Papyan, Han, Donoho 2020",
            hypotheses=(FITS_EARLY,),
            check=on_run(lambda s: s.fall("nc1_geo")),
            tolerance=Tolerance(FALL, "one order of magnitude"),
            mutant=Mutant("the same curve read backwards", on_run(lambda s: 1 / s.fall("nc1_geo"))),
        ),
        claim(
            "network-conventions",
            "All conventions fall together",
            "NC1, NC2 and NC3 of the features fall after zero train error in every convention.",
            source="asked here",
            hypotheses=(FITS_EARLY,),
            check=on_run(lambda s: max(map(s.fall, DIRECTIONS)) ** 2),
            tolerance=Tolerance(1.0, "a ratio below one is a fall; squared"),
            mutant=Mutant(
                "one convention read backwards",
                on_run(lambda s: max(1 / s.fall("nc1_geo"), *map(s.fall, DIRECTIONS)) ** 2),
            ),
        ),
        claim(
            "network-accuracy",
            "Objectives end with largely the same test accuracy",
            "No objective is behind another by more than 2 points of test accuracy that a test "
            "tells from chance (sign flips, all widths and seeds, Holm's correction, level 0.05).",
            source="Zhou et al. 2022b (the claim), the margin is ours",
            hypotheses=(SEVERAL, CAN_TELL),
            check=on_run(lambda s: s.lag**2),
            tolerance=Tolerance(POINTS**2, "the square of 2 percentage points"),
            mutant=Mutant(
                "the objective guesses at random",
                on_run(lambda s: (max(s.group.accuracies.values()) - 1 / len(s.run.counts)) ** 2),
            ),
        ),
        claim(
            "network-norms",
            "Networks reach the minimum of the model",
            "|W|, |H| and the logit gap are those of the model's global minimum within 5 %.",
            source="asked here; the minimum after Zhu et al. 2021",
            hypotheses=(HAS_THEORY,),
            check=on_run(lambda s: _squared_deviation(s.against_theory)),
            tolerance=Tolerance(NORMS**2, "the square of 5 %"),
            mutant=Mutant(
                "a model with four times the decay",
                on_run(lambda s: _squared_deviation(s.against_wrong_theory)),
            ),
        ),
        claim(
            "network-features",
            "Objectives end with equivalent features",
            "CKA of test features between objectives is that between seeds of one, within 0.05.",
            source="Zhou et al. 2022b (the claim), the measure and the margin are ours",
            hypotheses=(SEVERAL, SEVERAL_SEEDS),
            check=on_run(lambda s: s.unlikeness**2),
            tolerance=Tolerance(ALIKE**2, "the square of a CKA of 0.05"),
            mutant=Mutant(
                "features of other samples, whose CKA is 0 on average",
                on_run(lambda s: float(np.fmin.reduce(np.diag(s.group.likeness.cka))) ** 2),
            ),
        ),
    )
