"""Losses at every width and length of training: the all-losses map, with what did not fit apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.networks.architectures import Architecture
from experiments.networks.data import Dataset
from experiments.networks.measures.equivalence import OPEN
from experiments.networks.runs import DataRequest, network_against_theory
from experiments.networks.theory import NoTheory
from experiments.networks.tracks import all_losses_pictures as drawn
from experiments.networks.tracks.all_losses_judged import (
    FIT,
    MARGIN,
    Judged,
    case_of,
    conclusions_of,
    has_fitted,
    judge,
)
from experiments.networks.tracks.options import AllLossesOptions
from experiments.networks.tracks.track import (
    CHECKPOINT,
    STOPPED,
    Cell,
    Column,
    Measured,
    Result,
    Track,
    empirical_of_cells,
    numbers_of,
)
from experiments.networks.training import (
    FeatureDecay,
    TrainSettings,
    WeightDecay,
    initial_network,
    look,
    make_objective,
    train,
    ufm_model,
)
from experiments.networks.training.loss_spec import LossSpec, read_loss_spec
from experiments.report.figures import Picture, column_picture
from landscape import solve
from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from ufm.collapse import collapse
from ufm.errors import InputError

# As `ufm train` has them: decay of the model where networks reach its minimum within a per cent.
LAMBDA_W, FEATURES = 0.02, 32
EVERY = 20


class AllLosses(Track):
    """Losses against each other at every width and length of training."""

    name = "losses"
    title = "All losses, by width and length of training"
    question = (
        "Do networks that are wide enough and trained long enough have the same test accuracy "
        "whatever the loss, and which are neither wide nor long enough to be asked?"
    )
    short_of = (
        "An MLP on small images by default stands for the paper's residual networks on CIFAR and "
        f"ImageNet. A run fitted if it guesses {100 * FIT:g} % of the train labels at the end. "
        "Equal: two one-sided t tests on pairs of one seed reject, at level 0.05, that mean test "
        f"accuracies differ by {100 * MARGIN:g} points; differs: they differ by more, by the same "
        "tests; open: neither, so more seeds are needed. Off: over the minimum of the model "
        "of free features with the same loss and decays, minus 1."
    )
    options = AllLossesOptions
    columns = (
        Column("test_accuracy", "test accuracy", "test", per_cent=True),
        Column("train_accuracy", "train accuracy", "train", per_cent=True),
        Column("nc1", "NC1 (GEO)", "NC1"),
        Column("gap_off", "logit gap, off", per_cent=True),
        Column("excess", "objective, off", "objective off", per_cent=True),
    )

    def cells(self, options: Any) -> Sequence[Cell]:
        lengths = numbers_of(options.lengths, "--lengths", 1, 10**6)
        if any(x != round(x) for x in lengths):
            raise InputError("Need --lengths in whole epochs", options.lengths, "round them")
        made = [
            Cell(f"width {width:g}, {epochs:.0f} epochs", method, seed)
            for width in numbers_of(options.widths, "--widths", 1e-3, 100)
            for epochs in lengths
            for method in _specs(options)
            for seed in range(options.seeds)
        ]
        for cell in {(c.case, c.method): c for c in made}.values():
            self.settings(options, cell, 2, 2)
        return made

    def require(self, options: Any) -> None:
        data = _data(options)
        N = data.train.num_samples
        if options.batch_size > N:
            raise InputError("Need --batch-size <= N", f"{options.batch_size}, N = {N}", "lower it")
        for cell in {case_of(c.case)[0]: c for c in self.cells(options)}.values():
            settings = self.settings(options, cell, data.num_classes, N)
            initial_network(settings, data.image_shape, data.num_classes)

    def settings(self, options: Any, cell: Cell, K: int, N: int) -> TrainSettings:
        """Of the training of a cell; InputError for a number outside its domain."""
        width, epochs = case_of(cell.case)
        spec = _specs(options)[cell.method]
        decay: Any = FeatureDecay.at(options.c, LAMBDA_W, K, N)
        if options.weight_decay is not None:
            decay = WeightDecay(options.weight_decay)
        return TrainSettings(
            spec.name,
            spec.parameters,
            d=max(FEATURES, K),
            architecture=Architecture(options.network, width, features=options.features),
            epochs=epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            decay=decay,
            seed=cell.seed,
        )

    def measure(self, options: Any, cell: Cell, folder: Path) -> Measured:
        data = _data(options)
        K, images, labels = data.num_classes, data.train.images, data.train.labels
        settings = self.settings(options, cell, K, data.train.num_samples)
        done = train(settings, images, labels, K, folder=folder / CHECKPOINT, every=EVERY)
        series = {"objective": [record.objective for record in done.records]}
        if len(done.records) < settings.epochs:
            return {STOPPED: len(done.records)}, series
        network = done.state.network
        seen, test = (look(network, split) for split in (data.train, data.test))
        numbers = {
            "train_accuracy": float(np.mean(np.argmax(seen.logits, axis=1) == labels)),
            "test_accuracy": float(np.mean(np.argmax(test.logits, axis=1) == test.labels)),
            "chance": 1 / K,
            "nc1": float(collapse(seen.features, seen.labels).nc1_geo),
        }
        found = network_against_theory(settings, network, images, labels)
        if not isinstance(found, NoTheory):
            numbers["gap_off"] = float(found.gap.ratio) - 1
            numbers["excess"] = float(found.objective.ratio) - 1
        return numbers, series

    def conclusions(self, results: Sequence[Result]) -> Sequence[str]:
        return conclusions_of(judge(results), results[0].cell.method)

    def claims(self, results: Sequence[Result]) -> Sequence[Claim]:
        judged = judge(results)
        firsts = {(r.cell.case, r.cell.method): r for r in reversed(results)}
        compared = tuple(
            replace(firsts[one.case, one.method], numbers=_numbers(one, results)) for one in judged
        )
        longest, shortest = _ends(results)
        both = tuple(
            replace(r, numbers={"long": r.numbers["nc1"], "short": short.numbers["nc1"]})
            for key, r in longest.items()
            if has_fitted(r) and (short := shortest.get(key)) and "nc1" in short.numbers
        )
        fitted = Hypothesis(
            "all runs of this loss and of the first one fitted",
            lambda r: "high" in r.numbers,
        )
        tell = Hypothesis(
            "the seeds can tell: the interval lies within the margin or beyond",
            lambda r: r.numbers["open"] == 0,
        )

        def farthest(result: Result) -> float:
            return max(abs(result.numbers["low"]), abs(result.numbers["high"]))

        def further(result: Result) -> float:
            return math.log(result.numbers["long"] / result.numbers["short"])

        return (
            empirical_of_cells(
                "losses-are-equal-where-they-fit",
                "All losses are equal where they fit",
                "Where all runs of a loss and of the first one fitted, mean test accuracies are "
                "equal within the margin.",
                compared,
                source="Zhou et al. 2022b (the claim), the margin is ours",
                hypotheses=(fitted, tell),
                tolerance=Tolerance(MARGIN**2, "the square of 2 percentage points"),
                check=lambda r: farthest(r) ** 2,
                mutant=Mutant(
                    "a loss that guesses at random",
                    lambda r: (r.numbers["accuracy"] - r.numbers["chance"]) ** 2,
                ),
            ),
            empirical_of_cells(
                "losses-collapse-by-length",
                "Longer training is more collapse",
                "NC1 after the longest training, if that fits, is below NC1 after the shortest, "
                "same loss, width and seed.",
                both,
                source="Papyan, Han, Donoho 2020 (the claim), the measure is ours",
                tolerance=Tolerance(0.01, "the square of a tenth of a logarithm"),
                check=lambda r: max(0.0, further(r)) ** 2,
                mutant=Mutant("above", lambda r: max(0.0, -further(r)) ** 2),
            ),
        )

    def exact(self, options: Any) -> Sequence[tuple[str, float, float]]:
        K, d, n = 3, 4, 5
        decay = FeatureDecay.at(options.c, LAMBDA_W, K, K * n)
        rows = []
        for label, spec in _specs(options).items():
            objective = make_objective(spec.name, **spec.parameters)
            model = ufm_model(objective, [n] * K, d, decay.lambda_W, decay.lambda_H, 0.0)
            known = None if model is None else model.minimiser()
            if model is not None and known is not None:
                text = (
                    f"{label}: K={K}, d={d}, {n} samples a class, c = {options.c:g}: the minimum "
                    "in closed form, and by descent"
                )
                rows.append((text, float(known.value), float(solve(model).objective)))
        return rows

    def pictures(self, options: Any, results: Sequence[Result]) -> Sequence[Picture]:
        methods = list(_specs(options))
        judged = judge(results)
        shown = [
            column_picture(
                "accuracy",
                "Test accuracy",
                "Means over seeds with their standard deviation, one panel per loss, one scale. "
                "Hatched: some run did not fit, and how many of how many.",
                [
                    (f"loss-{i}", f"test accuracy of {m}", partial(drawn.draw_accuracy, results, m))
                    for i, m in enumerate(methods)
                ],
                size=drawn.size_of(results),
            )
        ]
        if judged:
            shown.append(
                column_picture(
                    "differences",
                    f"Difference to {methods[0]}",
                    "Mean difference of test accuracy in percentage points, and the interval of "
                    f"the two one-sided tests; the margin is {100 * MARGIN:g} points. Green with "
                    "=: equal; orange with ≠: differs; white with ?: open; hatched: did not fit.",
                    [
                        (
                            f"to-{i}",
                            f"{m} minus {methods[0]}",
                            partial(drawn.draw_verdicts, judged, m),
                        )
                        for i, m in enumerate(methods[1:])
                    ],
                    size=drawn.size_of(results),
                )
            )
        if any("excess" in r.numbers for r in results):
            widths = list(dict.fromkeys(case_of(r.cell.case)[0] for r in results))
            shown.append(
                column_picture(
                    "minimum",
                    "On the way to the minimum of the model",
                    "The objective over the minimum of the model of free features with the same "
                    "loss and decays, minus 1, against the length of training; medians over seeds, "
                    "bars from least to most.",
                    [
                        (f"width-{i}", f"width {w:g}", partial(drawn.draw_excess, results, w))
                        for i, w in enumerate(widths)
                    ],
                )
            )
        return shown


@lru_cache(maxsize=1)
def _data(options: AllLossesOptions) -> Dataset:
    return DataRequest(options.source, options.per_class).load()


def _specs(options: AllLossesOptions) -> dict[str, LossSpec]:
    """Label -> objective.

    Raises:
        InputError: an objective that is none, or named twice.
    """
    specs = [read_loss_spec(text) for text in options.losses.split(",")]
    made = {spec.label: spec for spec in specs}
    if len(made) < len(specs):
        raise InputError("Need --losses, each once", options.losses, "write ce,mse")
    return made


def _ends(
    results: Sequence[Result],
) -> tuple[dict[tuple[str, float, int], Result], dict[tuple[str, float, int], Result]]:
    """The runs of most and of fewest epochs, by loss, width and seed."""
    epochs = {case_of(r.cell.case)[1] for r in results}
    made = []
    for end in (max(epochs), min(epochs)):
        some = (r for r in results if case_of(r.cell.case)[1] == end and len(epochs) > 1)
        made.append({(r.cell.method, case_of(r.cell.case)[0], r.cell.seed): r for r in some})
    return made[0], made[1]


def _numbers(one: Judged, results: Sequence[Result]) -> dict[str, float]:
    """Of a comparison, as claims take them."""
    if one.told is None:
        return {}
    mine = [r.numbers for r in results if (r.cell.case, r.cell.method) == (one.case, one.method)]
    return {
        "low": one.told.low,
        "high": one.told.high,
        "open": float(one.told.verdict == OPEN),
        "accuracy": float(np.mean([numbers["test_accuracy"] for numbers in mine])),
        "chance": mine[0]["chance"],
    }
