"""Sparse over-parameterisation of label noise (SOP): networks, and the linear model beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from experiments.networks.data import Dataset
from experiments.networks.runs import DataRequest
from experiments.networks.runs.request import NOISES
from experiments.networks.tracks.options import LabelNoiseOptions
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
from experiments.networks.training import TrainSettings, WeightDecay, look, train
from experiments.report.figures import Picture, column_picture, draw_over_seeds, name_artists
from landscape.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, RED
from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from ufm.errors import InputError
from ufm.sparse_overparameterisation import flow_limit, ratio_at, recovery_window, sparse_limit

METHODS = ("ce", "sop")
COLOURS = {"ce": BLUE, "sop": ORANGE}
NAMES = {"ce": "cross entropy", "sop": "SOP"}
# Epochs between looks at the test split, and between checkpoints.
EVERY = 10
# A label is called wrong where its u^2 is above: its one-hot entry is then more than half noise.
HALF = 0.5
# Of the linear model of the page: one of five measurements is corrupted.
MEASURED = np.array([-1.0, 1, 1, 1, 1])
SCALES = (1e-2, 1e-4, 1e-8)
SAMPLES, PARAMETERS, DRAWS = 20, 3, 40
CORRUPTED = (1, 2, 4, 6, 8, 10)
POINTS = 0.01


class LabelNoise(Track):
    """SOP against cross entropy on images whose labels are wrong at a known rate."""

    name = "sop"
    title = "Label noise: sparse over-parameterisation"
    question = (
        "Does an own pair of parameters for every label keep a network from learning wrong labels, "
        "and does it find them?"
    )
    short_of = (
        "A two-layer MLP on small images stands for the papers' ResNets on CIFAR; the optional "
        "consistency and balance terms are left out. What is exact is exact of the linear model."
    )
    options = LabelNoiseOptions
    columns = (
        Column("test_accuracy", "test accuracy", "test", per_cent=True),
        Column("best_test_accuracy", "best on the way", per_cent=True),
        Column("fitted", "train labels fitted", "fitted", per_cent=True),
        Column("right", "true labels guessed", per_cent=True),
        Column("corrected", "labels right after correction", "corrected", per_cent=True),
        Column("noise_auroc", "AUROC of wrong labels", "AUROC"),
        Column("noise_found", "wrong labels found", per_cent=True),
        Column("noise_false", "right labels called wrong", per_cent=True),
    )

    def cells(self, options: Any) -> Sequence[Cell]:
        kinds = options.kinds.split(",")
        if not set(kinds) <= set(NOISES) or len(set(kinds)) < len(kinds):
            rule = f"Need --kinds among {', '.join(NOISES)}, each once"
            raise InputError(rule, repr(options.kinds), "write symmetric,asymmetric")
        rates = numbers_of(options.rates, "--rates", 0.01, 0.95)
        made = [
            Cell(f"{kind} {100 * rate:g} %", method, seed)
            for kind in kinds
            for rate in rates
            for method in METHODS
            for seed in range(options.seeds)
        ]
        for cell in made[:: max(1, options.seeds)]:
            self.settings(options, cell)
        return made

    def require(self, options: Any) -> None:
        DataRequest(options.source, options.per_class).load()

    def settings(self, options: Any, cell: Cell) -> TrainSettings:
        """Of the training of a cell; InputError for a number outside its domain."""
        rates = {"rate_u": options.rate_u, "rate_v": options.rate_v}
        return TrainSettings(
            cell.method,
            rates if cell.method == "sop" else {},
            d=32,
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            decay=WeightDecay(options.weight_decay),
            seed=cell.seed,
        )

    def measure(self, options: Any, cell: Cell, folder: Path) -> Measured:
        kind, rate, _ = cell.case.split()
        clean = DataRequest(options.source, options.per_class)
        noisy = replace(clean, noise=float(rate) / 100, noise_kind=kind, seed=cell.seed)
        dataset, true = noisy.load(), clean.load().train.labels
        settings = self.settings(options, cell)

        def tested(network: Any, epoch: int) -> Mapping[str, float]:
            if epoch % EVERY and epoch != options.epochs:
                return {}
            seen = look(network, dataset.test)
            return {"test_accuracy": _accuracy(seen.logits, seen.labels)}

        images, labels = dataset.train.images, dataset.train.labels
        done = train(
            settings,
            images,
            labels,
            dataset.num_classes,
            folder=folder / CHECKPOINT,
            every=EVERY,
            measure=tested,
        )
        curve = [r.measures["test_accuracy"] for r in done.records if r.measures]
        if len(done.records) < options.epochs or not curve:
            return {STOPPED: len(done.records)}, {"test_accuracy": curve}
        logits = look(done.state.network, dataset.train).logits
        numbers = {
            "epochs": len(done.records),
            "test_accuracy": curve[-1],
            "best_test_accuracy": max(curve),
            "fitted": _accuracy(logits, labels),
            "right": _accuracy(logits, true),
            **_found(cell.method, done.state.auxiliary, logits, dataset, true),
        }
        return numbers, {"test_accuracy": curve}

    def claims(self, results: Sequence[Result]) -> Sequence[Claim]:
        ended = tuple(r for r in results if r.cell.method == "sop" and "right" in r.numbers)
        majority = Hypothesis("most labels of every class are right", _has_majority)
        several = Hypothesis(
            "cross entropy was trained on the same labels",
            lambda r: "test_accuracy" in r.rivals.get("ce", {}),
        )

        def ahead(result: Result) -> float:
            own = result.numbers["test_accuracy"]
            return float(result.rivals["ce"]["test_accuracy"]) - own

        def corrected(result: Result) -> float:
            return result.numbers["given_right"] - result.numbers["corrected"]

        claim = partial(
            empirical_of_cells,
            instances=ended,
            source="Liu, Zhu, Qu & You 2022 (the claim), the margin is ours",
            tolerance=Tolerance(POINTS**2, "the square of a percentage point"),
        )

        return (
            claim(
                "sop-is-ahead",
                "SOP is not behind cross entropy under label noise",
                "While most labels of a class are right, SOP's test accuracy is not below that of "
                "cross entropy by more than a point.",
                hypotheses=(majority, several),
                check=lambda r: max(0.0, ahead(r)) ** 2,
                mutant=Mutant("the two exchanged", lambda r: max(0.0, -ahead(r)) ** 2),
            ),
            claim(
                "sop-corrects-labels",
                "SOP corrects more labels than it spoils",
                "While most labels of a class are right, more train labels are right after the "
                "noise that was found is taken off than before.",
                hypotheses=(majority,),
                check=lambda r: max(0.0, corrected(r)) ** 2,
                mutant=Mutant("fewer are", lambda r: max(0.0, -corrected(r)) ** 2),
            ),
        )

    def exact(self, options: Any) -> Sequence[tuple[str, float, float]]:
        J, y, gamma = np.ones((5, 1)), np.array([0.0, 1, 1, 1, 1]), 1e-4
        ratio = ratio_at(0.5, gamma)

        def slope(_: float, x: Any) -> Any:
            error = x[0] + x[1:6] ** 2 - x[6:] ** 2 - y
            own = (-2 * ratio * x[1:6] * error, 2 * ratio * x[6:] * error)
            return np.concatenate([[-error.sum()], *own])

        begun = np.append(0.0, np.full(10, gamma))
        flowed = solve_ivp(slope, (0, 500), begun, "LSODA", rtol=1e-11, atol=1e-13).y[0, -1]

        def off(penalty: float) -> float:
            return float(sparse_limit(J, MEASURED, penalty).theta[0]) - 1 + 1e-9

        return (
            (
                "SOP-1: one of five targets corrupted, lambda = 0.5, gamma = 1e-4: theta by the "
                "equation, and by integrating the flow",
                float(flow_limit(J, y, gamma, ratio).theta[0]),
                float(flowed),
            ),
            (
                "SOP-3: least penalty that returns theta there by the linear programme, and by "
                "bisecting sparse limits",
                recovery_window(J, [1.0], [-1, 0, 0, 0, 0])[0],
                float(brentq(off, 0.05, 0.9)),
            ),
        )

    def pictures(self, options: Any, results: Sequence[Result]) -> Sequence[Picture]:
        kinds = options.kinds.split(",")
        return (
            column_picture(
                "linear",
                "The linear model, exactly",
                "Left: the number that five measurements end at, one of which is -1 instead of 1, "
                "against the penalty; starts of three sizes, and their limit. From 1/3 on (shaded) "
                "the limit is the clean value. Right: how often some penalty returns a clean model "
                f"of {PARAMETERS} parameters from {SAMPLES} targets, and how often every large one "
                f"does, {DRAWS} draws.",
                [
                    ("penalty", "theta against the penalty", _draw_penalties),
                    ("rate", "share of models returned", _draw_rates),
                ],
            ),
            *(
                column_picture(
                    f"accuracy-{kind}",
                    f"{kind.capitalize()} noise",
                    "Means over seeds, bars from least to most. Left: on test images, whose labels "
                    "are clean. Right: train labels that are right as given, and after what SOP "
                    "found is taken off.",
                    [
                        ("test", "test accuracy", partial(_draw_test, kind=kind, results=results)),
                        ("train", "right labels", partial(_draw_train, kind=kind, results=results)),
                    ],
                )
                for kind in kinds
            ),
        )


def _accuracy(logits: Any, labels: Any) -> float:
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def _has_majority(result: Result) -> bool:
    kind, rate, _ = result.cell.case.split()
    return kind == "symmetric" or float(rate) < 50


def _found(
    method: str, auxiliary: Any, logits: Any, dataset: Dataset, true: Any
) -> dict[str, float]:
    """What a method knows of which labels are wrong, and the labels without the noise it found.

    Cross entropy has its guess for a label, and the loss of a sample for a score.
    """
    labels = dataset.train.labels
    wrong = labels != true
    if method == "ce":
        score = logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
        corrected, called = np.argmax(logits, axis=1), np.argmax(logits, axis=1) != labels
    else:
        u, v = (np.asarray(array, dtype=float) for array in auxiliary)
        y = np.eye(dataset.num_classes)[labels]
        score = u[:, 0] ** 2
        clean = y * (1 - np.minimum(u**2, 1)) + (1 - y) * np.minimum(v**2, 1)
        corrected, called = np.argmax(clean, axis=1), score > HALF
    return {
        "given_right": float(np.mean(~wrong)),
        "corrected": float(np.mean(corrected == true)),
        "noise_auroc": float(roc_auc_score(wrong, score)),
        "noise_found": float(np.mean(called[wrong])),
        "noise_false": float(np.mean(called[~wrong])),
    }


def _draw_penalties(ax: Any) -> Any:
    at = np.linspace(0.05, 0.8, 76)
    J = np.ones((5, 1))
    low = recovery_window(J, [1.0], [-1, 0, 0, 0, 0])[0]
    ax.axvspan(low, at[-1], color=GREEN, alpha=0.12, linewidth=0)
    for gamma, colour in zip(SCALES, (ORANGE, RED, BLUE), strict=True):
        ends = [flow_limit(J, MEASURED, gamma, ratio_at(x, gamma)).theta[0] for x in at]
        ax.plot(at, ends, color=colour, label=f"γ = {gamma:g}")
    limit = [sparse_limit(J, MEASURED, x).theta[0] for x in at]
    ax.plot(at, limit, color=INK, linestyle="--", label="γ → 0")
    ax.set_xlabel("penalty λ = log(1/γ) / 2α")
    ax.set_ylabel("θ at the end of the flow")
    ax.set_xlim(at[0], at[-1])
    name_artists(ax, loc="lower right")
    return ax


@cache
def _rates() -> tuple[list[float], list[float]]:
    """Share of models that some penalty returns, and that every large one does, by corruption."""
    rng = np.random.default_rng(0)
    some, every = [], []
    for k in CORRUPTED:
        ends = []
        for _ in range(DRAWS):
            J, theta = rng.normal(size=(SAMPLES, PARAMETERS)), rng.normal(size=PARAMETERS)
            signs = np.zeros(SAMPLES)
            signs[rng.choice(SAMPLES, k, replace=False)] = rng.choice([-1, 1], k)
            ends.append(recovery_window(J, theta, signs))
        low, high = np.array(ends).T
        some.append(float(np.mean(np.isfinite(low))))
        every.append(float(np.mean(np.isfinite(low) & np.isinf(high))))
    return some, every


def _draw_rates(ax: Any) -> Any:
    some, every = _rates()
    ax.plot(CORRUPTED, some, "o-", color=BLUE, label="some penalty")
    ax.plot(CORRUPTED, every, "s--", color=ORANGE, label="every large one")
    ax.set_xlabel(f"corrupted targets of {SAMPLES}")
    ax.set_ylabel("share of models returned")
    ax.set_ylim(0, 1.05)
    name_artists(ax, loc="lower left")
    return ax


def _over_seeds(
    results: Sequence[Result], kind: str, method: str, key: str
) -> tuple[list[float], list[list[float]]]:
    """Rates in per cent, and at each a number of all seeds in per cent."""
    seen: dict[float, list[float]] = {}
    for result in results:
        named, rate, _ = result.cell.case.split()
        if (named, result.cell.method) == (kind, method) and key in result.numbers:
            seen.setdefault(float(rate), []).append(100 * result.numbers[key])
    return list(seen), list(seen.values())


def _draw_test(ax: Any, kind: str, results: Sequence[Result]) -> Any:
    for method, marker in zip(METHODS, "os", strict=True):
        data = _over_seeds(results, kind, method, "test_accuracy")
        style = {"color": COLOURS[method], "marker": marker, "label": NAMES[method]}
        draw_over_seeds(ax, *data, capsize=3, **style)
    ax.set_xlabel("wrong train labels (%)")
    ax.set_ylabel("test accuracy (%)")
    ax.set_ylim(0, 102)
    name_artists(ax, loc="lower left")
    return ax


def _draw_train(ax: Any, kind: str, results: Sequence[Result]) -> Any:
    given = _over_seeds(results, kind, "sop", "given_right")
    style = {"linestyle": "--", "marker": "D", "label": "as given"}
    draw_over_seeds(ax, *given, capsize=3, color=FAINT, **style)
    corrected = _over_seeds(results, kind, "sop", "corrected")
    style = {"color": COLOURS["sop"], "marker": "s", "label": "corrected by SOP"}
    draw_over_seeds(ax, *corrected, capsize=3, **style)
    ax.set_xlabel("wrong train labels (%)")
    ax.set_ylabel("right train labels (%)")
    ax.set_ylim(0, 102)
    name_artists(ax, loc="lower left")
    return ax
