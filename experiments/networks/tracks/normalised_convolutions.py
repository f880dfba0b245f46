"""ConvNorm: robustness, bounds and label noise of networks of normalised convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.networks.architectures import Architecture, embed
from experiments.networks.architectures.build import NORMALISATIONS
from experiments.networks.architectures.conv_norm import NormalisedConv
from experiments.networks.data import Dataset
from experiments.networks.runs import DataRequest
from experiments.networks.tracks.options import ConvNormOptions
from experiments.networks.tracks.residual_bounds import residual_bounds
from experiments.networks.tracks.robustness import attacked, bounds, layer_values
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
from experiments.networks.training import TrainSettings, WeightDecay, train
from experiments.report.figures import Picture, column_picture, draw_over_seeds, name_artists
from landscape.plots.style import BLUE, GREEN, INK, ORANGE, PURPLE
from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from ufm.errors import InputError, require_count

COLOURS = {"none": INK, "batch": ORANGE, "circular": BLUE, "padded": GREEN}
NAMES = {"none": "plain", "batch": "batch", "circular": "ConvNorm", "padded": "ConvNorm, padded"}
# Test images that are attacked.
ATTACKED = 300
FEATURES = 32
# Epochs between checkpoints.
EVERY = 5
# The normaliser's constant and float32: of singular values of 1.
ROUNDING = 1e-4
POINTS = 0.02


class NormalisedConvolutions(Track):
    """The same network with its convolutions plain, batch-normalised and normalised."""

    name = "convnorm"
    title = "Normalised convolutions"
    question = (
        "Are networks of convolutions that are co-isometries channel by channel harder to attack "
        "and less easily led by wrong labels than plain or batch-normalised ones of equal size?"
    )
    short_of = (
        "Two stages on small images instead of ResNets on CIFAR; the normaliser belongs to the "
        "newest kernels and is differentiated through, in public code it is a running mean. "
        "bound: product of the norms of all linear layers (and 1 + norm of residual blocks), in "
        "pixels of [0, 1]; gain: of attacks; radius: median l2 distance within which the bound "
        "rules out any mistake."
    )
    options = ConvNormOptions
    columns = (
        Column("accuracy", "test accuracy", "test", per_cent=True),
        Column("fgsm", "under FGSM, middle eps", "FGSM", per_cent=True),
        Column("pgd", "under PGD, middle eps", "PGD", per_cent=True),
        Column("fitted", "train labels fitted", "fitted", per_cent=True),
        Column("layer_norm", "largest norm of a layer", "norm"),
        Column("channel_least", "least singular value of a channel", "least"),
        Column("channel_most", "largest"),
        Column("lipschitz", "bound of the network", "bound"),
        Column("gain", "largest gain seen"),
        Column("radius", "radius"),
    )

    def cells(self, options: Any) -> Sequence[Cell]:
        if options.network not in ("convnet", "resnet18"):
            rule = "Need --network convnet or resnet18"
            raise InputError(rule, repr(options.network), "use one of them")
        require_count(options.attack_steps, "attack-steps", 2, "use twenty")
        reaches_of(options)
        made = [
            Cell(f"{100 * noise:g} % wrong labels", method, seed)
            for noise in numbers_of(options.noises, "--noises", 0, 0.9)
            for method in NORMALISATIONS[options.network]
            for seed in range(options.seeds)
        ]
        for cell in made[:: max(1, options.seeds)]:
            self.settings(options, cell)
        return made

    def require(self, options: Any) -> None:
        N = DataRequest(options.source, options.per_class).load().train.num_samples
        if options.batch_size > N:
            raise InputError("Need --batch-size <= N", f"{options.batch_size}, N = {N}", "use 0")

    def settings(self, options: Any, cell: Cell) -> TrainSettings:
        """Of the training of a cell; InputError for a number outside its domain."""
        return TrainSettings(
            d=FEATURES,
            architecture=Architecture(
                options.network, width=options.width, normalisation=cell.method
            ),
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            decay=WeightDecay(options.weight_decay),
            seed=cell.seed,
        )

    def measure(self, options: Any, cell: Cell, folder: Path) -> Measured:
        noise = float(cell.case.split()[0]) / 100
        asked = replace(DataRequest(options.source, options.per_class), noise=noise, seed=cell.seed)
        dataset = asked.load()
        done = train(
            self.settings(options, cell),
            dataset.train.images,
            dataset.train.labels,
            dataset.num_classes,
            folder=folder / CHECKPOINT,
            every=EVERY,
        )
        if len(done.records) < options.epochs:
            return {STOPPED: len(done.records)}, {}
        return _told(options, cell, done.state.network, dataset)

    def claims(self, results: Sequence[Result]) -> Sequence[Claim]:
        # Of ConvNets: bounds of ResNets are so far above what attacks reach that no share of them
        # would be refuted.
        bounded = tuple(r for r in results if "channel_least" in r.numbers)
        bounded = tuple(r for r in bounded if r.numbers["lipschitz"] > 0)
        circular = tuple(r for r in bounded if r.cell.method == "circular")
        ended = tuple(r for r in results if r.cell.method == "circular" and "accuracy" in r.numbers)
        both = Hypothesis(
            "the padded form was trained as well",
            lambda r: "channel_least" in r.rivals.get("padded", {}),
        )
        plain = Hypothesis(
            "plain convolutions were trained on the same labels",
            lambda r: "accuracy" in r.rivals.get("none", {}),
        )

        def off(least: float, most: float) -> float:
            return max(abs(least - 1), abs(most - 1))

        def gap(result: Result) -> float:
            return float(result.rivals["none"]["accuracy"] - result.numbers["accuracy"])

        def spared(result: Result) -> float:
            return float(result.rivals["batch"]["fitted"] - result.numbers["fitted"])

        return (
            empirical_of_cells(
                "conv-norm-trained",
                "Trained circular layers are co-isometries channel by channel",
                "After training every singular value of every channel is 1.",
                circular,
                source="CN-1",
                hypotheses=(both,),
                check=lambda r: off(r.numbers["channel_least"], r.numbers["channel_most"]),
                tolerance=Tolerance(ROUNDING, "float32 transforms, and the normaliser's constant"),
                mutant=Mutant(
                    "the padded form",
                    lambda r: off(
                        r.rivals["padded"]["channel_least"], r.rivals["padded"]["channel_most"]
                    ),
                ),
            ),
            empirical_of_cells(
                "conv-norm-bound",
                "No attack moves logits by more than the bound",
                "The change of logits over that of the image is below the product of the norms of "
                "the layers, for every attack.",
                bounded,
                source="norms multiply; CN-1 for those of circular layers",
                check=lambda r: max(0.0, r.numbers["gain"] / r.numbers["lipschitz"] - 1),
                tolerance=Tolerance(1e-4, "float32"),
                mutant=Mutant(
                    "a hundredth of it",
                    lambda r: max(0.0, 100 * r.numbers["gain"] / r.numbers["lipschitz"] - 1),
                ),
            ),
            empirical_of_cells(
                "conv-norm-accuracy",
                "Normalised convolutions cost no accuracy",
                "With right labels test accuracy is not below that of plain convolutions by more "
                "than two points.",
                ended,
                source="Liu et al. 2021 (the claim), the margin is ours",
                hypotheses=(plain, Hypothesis("all labels are right", _is_clean)),
                check=lambda r: max(0.0, gap(r) - POINTS) ** 2,
                tolerance=Tolerance(1e-4, "the square of a percentage point"),
                mutant=Mutant("guesses", lambda r: (r.numbers["accuracy"] - 0.1) ** 2),
            ),
            empirical_of_cells(
                "conv-norm-noise",
                "Normalised convolutions fit fewer wrong labels than batch normalisation",
                "With wrong labels fewer train labels are fitted than with batch normalisation, by "
                "more than two points.",
                ended,
                source="Liu et al. 2021 (the claim), the margin is ours",
                hypotheses=(
                    Hypothesis("some labels are wrong", lambda r: not _is_clean(r)),
                    Hypothesis(
                        "batch normalisation was trained on the same labels",
                        lambda r: "fitted" in r.rivals.get("batch", {}),
                    ),
                ),
                check=lambda r: max(0.0, POINTS - spared(r)) ** 2,
                tolerance=Tolerance(1e-4, "the square of a percentage point"),
                mutant=Mutant("more are", lambda r: max(0.0, POINTS + spared(r)) ** 2),
            ),
        )

    def exact(self, options: Any) -> Sequence[tuple[str, float, float]]:
        layer = NormalisedConv(jax.random.key(0), 1, 7)
        padded = NormalisedConv(jax.random.key(0), 1, 7, padded=True)
        norm, least, _ = layer_values(layer, (5, 6, 1))
        return (
            ("CN-1: norm of 7 channels out of one, circular", math.sqrt(7), norm),
            ("CN-1: least singular value of one of them", 1.0, least),
            (
                "CN-2: the padded form has norm at most 1 a channel; the largest seen",
                1.0,
                layer_values(padded, (5, 6, 1))[2],
            ),
        )

    def pictures(self, options: Any, results: Sequence[Result]) -> Sequence[Picture]:
        cases = list(dict.fromkeys(r.cell.case for r in results))
        return (
            column_picture(
                "attacks",
                "Accuracy under attack",
                "Test accuracy by the largest change of a pixel in [0, 1]; means over seeds, bars "
                "from least to most. Dashed: one step (FGSM); full: PGD.",
                [
                    (f"case-{i}", f"under attack, {case}", partial(_draw_attacks, results, case))
                    for i, case in enumerate(cases)
                ],
            ),
            column_picture(
                "bounds",
                "How far logits can be moved",
                "Bound of the network (open) and largest gain of any attack (filled), in logits "
                "over pixels of [0, 1]; every seed.",
                [("bounds", "bound and gain", partial(_draw_bounds, results))],
            ),
        )


def _is_clean(result: Result) -> bool:
    return result.cell.case.startswith("0 %")


def reaches_of(options: ConvNormOptions) -> tuple[float, ...]:
    """The eps of attacks, rising; InputError where they are none."""
    reaches = numbers_of(options.reaches, "--eps", 1e-4, 1)
    if any(np.diff(reaches) <= 0):
        raise InputError("Need --eps as rising numbers", options.reaches, "sort them")
    return reaches


def _told(options: Any, cell: Cell, network: Any, dataset: Dataset) -> Measured:
    """Everything of a trained network."""
    scaling = dataset.standardised_by
    if scaling is None:
        raise InputError("Need standardised images", dataset.title, "load them by DataRequest")
    mean, std = (np.asarray(part, np.float32) for part in (scaling.mean, scaling.std))
    box = (0 - mean) / std, (1 - mean) / std
    images, labels = dataset.test.images[:ATTACKED], dataset.test.labels[:ATTACKED]
    _, logits = embed(network, images)
    gains, curves = [], {}
    for name, steps in (("fgsm", 1), ("pgd", options.attack_steps)):
        seen = []
        for reach in reaches_of(options):
            x = attacked(network, images, labels, reach / std, box, steps, cell.seed)
            _, there = embed(network, x)
            seen.append(float(np.mean(np.argmax(there, axis=1) == labels)))
            moved = np.sqrt(np.sum(((x - images) * std) ** 2, axis=(1, 2, 3), dtype=float))
            far = np.linalg.norm(np.asarray(there, float) - logits, axis=1)
            gains.append(float(np.max(far[moved > 0] / moved[moved > 0], initial=0.0)))
        curves[name] = seen
    middle = len(curves["pgd"]) // 2
    every, truth = embed(network, dataset.test.images)[1], dataset.test.labels
    fitted = embed(network, dataset.train.images)[1]
    numbers = {
        "accuracy": float(np.mean(np.argmax(every, axis=1) == truth)),
        "fitted": float(np.mean(np.argmax(fitted, axis=1) == dataset.train.labels)),
        "fgsm": curves["fgsm"][middle],
        "pgd": curves["pgd"][middle],
        "gain": max(gains),
    }
    bound = bounds if options.network == "convnet" else residual_bounds
    found = bound(network, dataset.image_shape)
    # A pixel of [0, 1] is 1 / std of the network's, the narrowest channel at most.
    found["lipschitz"] /= float(std.min())
    others = np.where(np.arange(every.shape[1]) == truth[:, None], -np.inf, every).max(axis=1)
    margins = np.maximum(every[np.arange(len(truth)), truth] - others, 0)
    # A difference of two logits moves by at most sqrt 2 of the bound.
    if found["lipschitz"] > 0:  # else the network is constant
        found["radius"] = float(np.median(margins)) / (math.sqrt(2) * found["lipschitz"])
    numbers |= found
    return numbers, {"eps": list(reaches_of(options)), **curves}


def _draw_attacks(results: Sequence[Result], case: str, ax: Any) -> Any:
    for method, colour in COLOURS.items():
        mine = [r for r in results if (r.cell.case, r.cell.method) == (case, method)]
        mine = [r for r in mine if "pgd" in r.series]
        if not mine:
            continue
        at = np.array([0.0, *mine[0].series["eps"]])
        for attack, style in (("fgsm", "--"), ("pgd", "-")):
            seen = 100 * np.array([[r.numbers["accuracy"], *r.series[attack]] for r in mine])
            label = NAMES[method] if attack == "pgd" else None
            look = {"color": colour, "linestyle": style, "capsize": 2, "label": label}
            draw_over_seeds(ax, at, seen.T, **look)
    ax.set_title(case)
    ax.set_xlabel("largest change of a pixel")
    ax.set_ylabel("test accuracy (%)")
    ax.set_ylim(-2, 102)
    name_artists(ax, loc="upper right")
    return ax


def _draw_bounds(results: Sequence[Result], ax: Any) -> Any:
    seen = [r for r in results if "lipschitz" in r.numbers]
    cases = list(dict.fromkeys(r.cell.case for r in seen))
    methods = list(dict.fromkeys(r.cell.method for r in seen))
    for r in seen:
        at = methods.index(r.cell.method) + 0.3 * (cases.index(r.cell.case) - (len(cases) - 1) / 2)
        colour = (BLUE, ORANGE, GREEN, PURPLE)[cases.index(r.cell.case) % 4]
        first = r.cell.seed == 0 and r.cell.method == methods[0]
        ax.plot(at, r.numbers["lipschitz"], "o", color=colour, markerfacecolor="none")
        ax.plot(at, r.numbers["gain"], "o", color=colour, label=r.cell.case if first else None)
    ax.set_xticks(range(len(methods)), [NAMES[method].replace(", ", ",\n") for method in methods])
    ax.set_ylabel("logits over pixels")
    if seen:
        ax.set_yscale("log")
    name_artists(ax, loc="best")
    return ax
