"""ReduNet: layers of rate reduction, on mixtures and images, all at once and class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from experiments.networks.runs import DataRequest
from experiments.networks.tracks.growing import (
    LEARNERS,
    draw_growth,
    growing_layers,
    growing_mlp,
    rows,
)
from experiments.networks.tracks.layering import built
from experiments.networks.tracks.options import ReduNetOptions
from experiments.networks.tracks.stepping import state_key
from experiments.networks.tracks.track import (
    CHECKPOINT,
    STOPPED,
    Cell,
    Column,
    Measured,
    Result,
    Track,
    empirical_of_cells,
)
from experiments.report.figures import Picture, column_picture, name_artists
from landscape.plots.style import BLUE, GREEN, INK, ORANGE, PURPLE
from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from ufm.errors import InputError, require_count, require_positive
from ufm.models.constrained_rate import constrained_rate
from ufm.redunet import (
    build,
    build_from_covariances,
    covariances,
    nearest_subspace,
    rate_reduction,
    transformed,
    unit_columns,
)
from ufm.typing import AnyArray

# Directions of the centres of Gaussian mixtures, columns.
MIXTURES: dict[str, AnyArray] = {
    "circle, orthogonal": np.eye(2),
    "circle, 60 degrees": np.array([[1.0, 0.5], [0.0, np.sqrt(0.75)]]),
    "sphere, orthogonal": np.eye(3),
}
SPREAD, EACH, MIXTURE_EPS, MIXTURE_DEPTH = 0.1, 100, np.sqrt(0.1), 200
IMAGES, SHIFTED, GROWING = "images", "images, shifted", "class by class"
METHODS = {IMAGES: ("input", "redunet"), SHIFTED: ("input", "redunet", "lifted")}
# Of the lifted network, whose layers are one block per frequency.
LIFTED_DEPTH, LIFTED_DIMENSION, LIFTED_EACH, FILTER = 8, 3, 50, 3
SAME, POINTS = 1e-12, 0.01


class ReduNet(Track):
    """Layers built forward, their rate against the exact optimum, and what is forgotten."""

    name = "redunet"
    title = "ReduNet: layers of rate reduction"
    question = (
        "Do layers that are built, not trained, reach the optimum of rate reduction, and does a "
        "network that grows class by class forget?"
    )
    short_of = (
        "Images are small and grey, and one filter bank lifts them; the papers use CIFAR as well. "
        "Class-wise normalisation stands for that of the incremental paper, recalled."
    )
    options = ReduNetOptions
    columns = (
        Column("rate_before", "rate reduction before"),
        Column("rate_after", "after"),
        Column("share", "of the best orthogonal classes", "of best", per_cent=True),
        Column("cosine", "largest cosine of class means"),
        Column("accuracy", "test accuracy", "test", per_cent=True),
        Column("first", "first classes, at the end", "first two", per_cent=True),
        Column("forgotten", "forgotten of them", per_cent=True),
        Column("joint_difference", "from the joint network", "from joint"),
    )

    def cells(self, options: Any) -> Sequence[Cell]:
        for name in ("depth", "dimension", "channels", "passes"):
            require_count(getattr(options, name), name, 1, "use one or more")
        for name in ("step", "precision", "sharpness"):
            require_positive(getattr(options, name), name, "use the default")
        # Beyond, sizes of features leave what numbers can hold.
        for name, least, most in (("step", 1e-6, 1e2), ("precision", 1e-3, 1e3)):
            if not least <= getattr(options, name) <= most:
                flag = "--eps" if name == "precision" else "--step"
                rule = f"Need {flag} from {least:g} to {most:g}"
                raise InputError(rule, getattr(options, name), "use the default")
        cases = [(case, "redunet") for case in MIXTURES]
        cases += [(case, method) for case, methods in METHODS.items() for method in methods]
        cases += [(GROWING, method) for method in LEARNERS]
        return [Cell(*case, seed) for case in cases for seed in range(options.seeds)]

    def require(self, options: Any) -> None:
        dataset = DataRequest(options.source, options.per_class).load()
        if dataset.image_shape[2] != 1:
            raise InputError("Need grey images", options.source, "use digits or mnist5k")
        pixels, K = math.prod(dataset.image_shape), dataset.num_classes
        if pixels < K:
            rule = f"Need a pixel or more for each of the {K} classes: best features are orthogonal"
            raise InputError(rule, f"{pixels}", "choose fewer classes, or larger images")

    def measure(self, options: Any, cell: Cell, folder: Path) -> Measured:
        place = folder / CHECKPOINT
        if cell.case in MIXTURES:
            return _mixture(MIXTURES[cell.case], options, cell, place)
        data = _pictures(options, cell.seed)
        if cell.case == GROWING:
            grow = growing_layers if cell.method == "redunet" else growing_mlp
            return grow(options, cell, *data, place)
        return _on_images(options, cell, *data, place)

    def claims(self, results: Sequence[Result]) -> Sequence[Claim]:
        claim = partial(empirical_of_cells, instances=results)

        has = partial(_has, results)
        return (
            claim(
                "redunet-below-optimum",
                "Layers stay below the bound",
                "Rate reduction of normalised features is never above the maximum of MCR-5.",
                source="MCR-5",
                hypotheses=(has("bound_share"),),
                check=lambda r: max(0.0, r.numbers["bound_share"] - 1),
                tolerance=Tolerance(1e-9, "rounding of log-determinants"),
                mutant=Mutant(
                    "half the bound", lambda r: max(0.0, 2 * r.numbers["bound_share"] - 1)
                ),
            ),
            claim(
                "redunet-reaches-optimum",
                "Orthogonal mixtures reach the optimum",
                "Mixtures with orthogonal centres end within a per cent of the best orthogonal "
                "arrangement.",
                source="Chan et al. 2022 (the claim), the margin is ours",
                hypotheses=(has("share"), Hypothesis("orthogonal centres", _is_orthogonal)),
                check=lambda r: max(0.0, 1 - r.numbers["share"]) ** 2,
                tolerance=Tolerance(POINTS**2, "the square of a per cent"),
                mutant=Mutant(
                    "without any layer",
                    lambda r: (1 - r.numbers["start_share"] / 2) ** 2,
                ),
            ),
            claim(
                "redunet-grows",
                "Class by class is the joint network",
                "A network grown from stored covariances has the operators of the joint one.",
                source="RN-5",
                hypotheses=(has("joint_difference"),),
                check=lambda r: r.numbers["joint_difference"],
                tolerance=Tolerance(SAME, "relative; products of some tens of matrices"),
                mutant=Mutant("samples normalised", lambda r: r.numbers["sample_difference"]),
            ),
            claim(
                "redunet-forgets-less",
                "Grown layers forget less than a trained network",
                "Of the accuracy on the first classes the grown network loses less than an MLP "
                "trained by SGD on one pair of classes after the other.",
                source="Wu et al. 2021 (the claim)",
                hypotheses=(
                    has("joint_difference"),
                    Hypothesis("an MLP was trained as well", lambda r: "mlp" in r.rivals),
                ),
                check=lambda r: max(0.0, _lost(r)) ** 2,
                tolerance=Tolerance(POINTS**2, "the square of a percentage point"),
                mutant=Mutant("the two exchanged", lambda r: max(0.0, -_lost(r)) ** 2),
            ),
        )

    def exact(self, options: Any) -> Sequence[tuple[str, float, float]]:
        signals, labels = np.random.default_rng(1).normal(size=(2, 6)), np.arange(2)
        shifts = np.concatenate([[np.roll(x, k) for k in range(6)] for x in signals]).T[None]
        spectra = np.fft.fft(signals, norm="ortho").T[:, None, :]
        dense = covariances(shifts, np.repeat(labels, 6), 2)
        blocks = covariances(spectra, labels, 2)
        counts, S = np.array([4, 3, 2]), covariances(*_three_classes(), 3)
        grown, _ = build_from_covariances(
            S, counts.tolist(), eps=0.5, eta=0.5, depth=30, classes_normal=False
        )
        joint, _, _ = build(*_three_classes(), eps=0.5, eta=0.5, depth=30, normalisation="none")
        return (
            (
                "RN-4: rate reduction of all shifts of two signals, from one block per frequency "
                "and from all of them",
                rate_reduction(blocks, np.ones(2), 0.5),
                rate_reduction(dense, np.full(2, 6), 0.5),
            ),
            (
                "RN-5: trace of E in layer 30 of three classes, from covariances and from samples",
                float(np.trace(grown[-1].expand[0])),
                float(np.trace(joint[-1].expand[0])),
            ),
        )

    def pictures(self, options: Any, results: Sequence[Result]) -> Sequence[Picture]:
        growing = [result for result in results if result.cell.case == GROWING]
        return (
            column_picture(
                "rates",
                "Rate reduction, layer by layer",
                "Rate reduction over that of the best orthogonal classes (MCR-5) before every "
                "layer and after the last, seed 0. Left: Gaussian mixtures. Right: images.",
                [
                    (
                        "mixtures",
                        "rate reduction of mixtures",
                        partial(_draw_rates, results=results, mixtures=True),
                    ),
                    (
                        "images",
                        "rate reduction of images",
                        partial(_draw_rates, results=results, mixtures=False),
                    ),
                ],
            ),
            column_picture(
                "growing",
                "Class by class",
                "Test accuracy on the first two classes, among all classes seen so far; means over "
                "seeds, bars from least to most.",
                [
                    (
                        "forgetting",
                        "accuracy on the first classes",
                        partial(draw_growth, results=growing),
                    )
                ],
            ),
        )


def _three_classes() -> tuple[AnyArray, AnyArray]:
    """Nine samples in five dimensions."""
    Z = np.random.default_rng(0).normal(size=(1, 5, 9))
    return Z, np.repeat([0, 1, 2], [4, 3, 2])


def _has(results: Sequence[Result], key: str) -> Hypothesis:
    return Hypothesis(f"{key.replace('_', ' ')} was measured", lambda r: key in r.numbers)


def _is_orthogonal(result: Result) -> bool:
    return result.cell.case.endswith("orthogonal")


def _lost(result: Result) -> float:
    return float(result.numbers["forgotten"] - result.rivals["mlp"]["forgotten"])


def _mixture(centres: AnyArray, options: Any, cell: Cell, folder: Path) -> Measured:
    """Gaussian classes on a sphere; half of the samples are for the test."""
    d, K = centres.shape
    rng = np.random.default_rng((cell.seed, d, K))
    labels = np.repeat(np.arange(K), EACH)
    Z, new = (
        unit_columns((centres[:, labels] + SPREAD * rng.normal(size=(d, len(labels))))[None])
        for _ in range(2)
    )
    given: dict[str, Any] = {"eta": options.step, "normalisation": "sample"}
    key = state_key(options, cell)
    layers, features, rates = built(
        Z, labels, folder, key, eps=MIXTURE_EPS, depth=MIXTURE_DEPTH, **given
    )
    if len(layers) < MIXTURE_DEPTH:
        return {STOPPED: len(layers)}, {}
    told = transformed(layers, new, sharpness=options.sharpness, **given)
    means = np.stack([features[0][:, labels == k].mean(axis=1) for k in range(K)])
    means /= np.linalg.norm(means, axis=1)[:, None]
    found = nearest_subspace(covariances(features, labels, K), told, 1)
    numbers, curve = _against_optimum(rates, [EACH] * K, d, float(MIXTURE_EPS))
    cosine = float(np.abs(means @ means.T - np.eye(K)).max())
    return {**numbers, "cosine": cosine, "accuracy": float(np.mean(found == labels))}, curve


def _against_optimum(rates: Sequence[float], counts: Sequence[int], d: int, eps: float) -> Measured:
    model = constrained_rate(list(counts), d, eps)
    best = model.best_fit()[1]
    numbers = {
        "rate_before": rates[0],
        "rate_after": rates[-1],
        "share": rates[-1] / best,
        "start_share": rates[0] / best,
        "bound_share": max(rates) / -model.bound(),
    }
    return numbers, {"share": [rate / best for rate in rates]}


def _pictures(options: Any, seed: int) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
    """Train images (m, height, width) and labels, and test ones; seeds take other train images."""
    dataset = DataRequest(options.source, options.per_class).load()
    train, test = dataset.train, dataset.test
    rng = np.random.default_rng((seed, len(train.labels)))
    # Seed 0 has all of them, others nine in ten of each class.
    kept = np.ones(len(train.labels), bool)
    if seed:
        for k in range(dataset.num_classes):
            mine = np.flatnonzero(train.labels == k)
            kept[rng.permutation(mine)[: len(mine) // 10]] = False
    return (
        np.asarray(train.images[kept, :, :, 0], float),
        train.labels[kept],
        np.asarray(test.images[..., 0], float),
        test.labels,
    )


def _lifted(images: AnyArray, channels: int) -> AnyArray:
    """Fourier coefficients of the images seen by random circular filters, (B, channels, m)."""
    rng = np.random.default_rng(channels)
    filters = rng.normal(size=(channels, FILTER, FILTER))
    seen = []
    for kernel in filters:
        moved = [
            kernel[a, b] * np.roll(images, (a - 1, b - 1), axis=(1, 2))
            for a in range(FILTER)
            for b in range(FILTER)
        ]
        seen.append(np.maximum(sum(moved), 0))
    spectra = np.fft.fft2(np.stack(seen, axis=1), norm="ortho")
    return np.moveaxis(spectra.reshape(len(images), channels, -1), (0, 1, 2), (2, 1, 0))


def _on_images(
    options: Any,
    cell: Cell,
    images: AnyArray,
    labels: AnyArray,
    new: AnyArray,
    truth: AnyArray,
    folder: Path,
) -> Measured:
    K, eps, dimension = int(labels.max()) + 1, options.precision, options.dimension
    depth = options.depth
    if cell.case == SHIFTED:
        rng = np.random.default_rng((cell.seed, 7))
        moves = rng.integers(0, images.shape[1:], size=(len(new), 2))
        new = np.stack([np.roll(x, move, axis=(0, 1)) for x, move in zip(new, moves, strict=True)])
    if cell.method == "lifted":
        depth, dimension = LIFTED_DEPTH, LIFTED_DIMENSION
        few = np.concatenate([np.flatnonzero(labels == k)[:LIFTED_EACH] for k in range(K)])
        images, labels = images[few], labels[few]
        Z, told = _lifted(images, options.channels), _lifted(new, options.channels)
    else:
        Z, told = rows(images), rows(new)
    if cell.method == "input":
        S = covariances(unit_columns(Z), labels, K)
        found = nearest_subspace(S, unit_columns(told), dimension)
        return {"accuracy": float(np.mean(found == truth))}, {}
    given: dict[str, Any] = {"eta": options.step, "normalisation": "sample"}
    key = state_key(options, cell)
    layers, features, rates = built(Z, labels, folder, key, eps=eps, depth=depth, **given)
    if len(layers) < depth:
        return {STOPPED: len(layers)}, {}
    told = transformed(layers, told, sharpness=options.sharpness, **given)
    found = nearest_subspace(covariances(features, labels, K), told, dimension)
    numbers: dict[str, float] = {"rate_before": rates[0], "rate_after": rates[-1]}
    curve: dict[str, list[float]] = {}
    if len(Z) == 1:
        sizes = np.bincount(labels).tolist()
        numbers, curve = _against_optimum(rates, sizes, Z.shape[1], eps)
    return {**numbers, "accuracy": float(np.mean(found == truth))}, curve


def _draw_rates(ax: Any, results: Sequence[Result], mixtures: bool) -> Any:
    colours = iter((BLUE, ORANGE, GREEN, PURPLE))
    for result in results:
        shown = "share" in result.series and (result.cell.case in MIXTURES) == mixtures
        if shown and result.cell.seed == 0 and result.cell.case != SHIFTED:
            curve = result.series["share"]
            ax.plot(range(len(curve)), curve, color=next(colours), label=result.cell.case)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.axhline(1, color=INK, linestyle="--", linewidth=1)
    ax.set_xlabel("layers")
    ax.set_ylabel("rate reduction over the best")
    ax.set_ylim(0, 1.05)
    name_artists(ax, loc="lower right")
    return ax
