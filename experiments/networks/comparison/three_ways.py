"""Networks held against the model in three ways of training, each with its own prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.networks.architectures import Architecture
from experiments.networks.comparison.deviations import Held
from experiments.networks.comparison.plan import Cell, Plan
from experiments.networks.data import Dataset
from experiments.networks.runs import DataRequest, Run, run_against_theory
from experiments.networks.theory import Comparison, NoTheory
from experiments.networks.training import FeatureDecay, TrainSettings, WeightDecay
from experiments.networks.training.loss_spec import LossSpec

LINEAR = "linear features, decay of the model"
RELU = "ReLU features, decay of the model"
WEIGHTS = "linear features, decay of all weights"
# c of the first two. With ReLU features a small lambda_W means a large lambda_H, which switches
# units off before they have learnt anything; then classes die.
C = 0.2
LAMBDA_W = {LINEAR: 0.02, RELU: 0.3}
FEATURES = {LINEAR: 32, RELU: 128, WEIGHTS: 32}
# Large enough that c is of the order of the others'.
WEIGHT_DECAY = 1e-2
QUANTITIES = ("objective", "W_squared", "H_squared", "gap")


def variants(base: TrainSettings, dataset: Dataset) -> dict[str, TrainSettings]:
    """The three ways: features, their dimension and decay are replaced, the rest is ``base``'s.

    Args:
        base: settings.
        dataset: for K and N, which c depends on.
    """
    K, N = dataset.num_classes, dataset.train.num_samples
    made = {}
    for name, d in FEATURES.items():
        features = "relu" if name == RELU else "linear"
        architecture: Architecture = replace(base.architecture, features=features)
        decay = (
            WeightDecay(WEIGHT_DECAY)
            if name == WEIGHTS
            else FeatureDecay.at(C, LAMBDA_W[name], K, N)
        )
        made[name] = replace(base, architecture=architecture, d=max(d, K), decay=decay)
    return made


def plan_cells(
    data: DataRequest,
    made: Mapping[str, TrainSettings],
    losses: tuple[LossSpec, ...],
    seeds: tuple[int, ...],
) -> dict[Cell, str]:
    """Every run, with the way it is trained; seeds outermost, as in a ``Plan``."""
    found = {}
    for seed in seeds:
        for name, settings in made.items():
            for cell in Plan(data, settings, losses, (1.0,), (seed,)).cells:
                found[cell] = name
    return found


@dataclass(frozen=True)
class Deviation:
    """How far one objective, trained in one way, is from theory over the seeds.

    Attributes:
        variant, loss: which.
        frame: geometry that theory predicts, or the reason why there is no prediction.
        c: of the model, mean over seeds where lambda_H is estimated; nan without a model.
        ratios: name -> measured / predicted of every seed, for ``QUANTITIES``.
        spreads: standard deviation over samples of the logit gap over its mean, of every seed.
        num: seeds.
    """

    variant: str
    loss: str
    frame: str
    c: float
    ratios: Mapping[str, tuple[float, ...]]
    spreads: tuple[float, ...]
    num: int

    def text(self, name: str) -> str:
        """Mean deviation with its standard deviation over seeds, in per cent.

        Example:
            >>> ratios = {"gap": (1.01, 1.03)}
            >>> Deviation("v", "ce", "simplex ETF", 0.2, ratios, (0.0, 0.0), 2).text("gap")
            '+2.00 ± 1.41 %'
        """
        values = 100 * (np.array(self.ratios[name]) - 1)
        if not values.size:
            return "-"
        spread = f" ± {values.std(ddof=1):.2f}" if values.size > 1 else ""
        return f"{values.mean():+.2f}{spread} %"


def deviations(runs: Mapping[Cell, Run], ways: Mapping[Cell, str]) -> tuple[Deviation, ...]:
    """One line per way and objective, every run in it.

    Args:
        runs: performed.
        ways: as ``plan_cells`` gives them.
    """
    outcomes = {cell: run_against_theory(run) for cell, run in runs.items()}
    found = []
    for variant, loss in dict.fromkeys((ways[cell], cell.loss.label) for cell in runs):
        mine = [
            outcome
            for cell, outcome in outcomes.items()
            if (ways[cell], cell.loss.label) == (variant, loss)
        ]
        known = [one for one in mine if isinstance(one, Comparison)]
        reasons = [one.reason for one in mine if isinstance(one, NoTheory)]
        cs = [one.c for one in known if one.c is not None]
        found.append(
            Deviation(
                variant,
                loss,
                known[0].prediction.frame if known else reasons[0],
                float(np.mean(cs)) if cs else float("nan"),
                {name: tuple(getattr(one, name).ratio for one in known) for name in QUANTITIES},
                tuple(one.gap_spread / one.gap.measured for one in known if one.gap.measured),
                len(mine),
            )
        )
    return tuple(found)


def figure_rows(runs: Mapping[Cell, Run], ways: Mapping[Cell, str]) -> Sequence[Held]:
    """The first seed of everything, for ``draw_against_theory``."""
    first = min(cell.seed for cell in runs)
    return [
        Held(ways[cell], cell.loss.label, run_against_theory(run))
        for cell, run in runs.items()
        if cell.seed == first
    ]
