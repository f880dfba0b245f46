"""Teacher-guided training: students on searched, drawn and real inputs; least squares beside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import linregress, t

from experiments.networks.runs import DataRequest
from experiments.networks.tracks.options import QueryOptions
from experiments.networks.tracks.queries import (
    AMBIENT,
    DATA,
    EXPLORED,
    GENERATED,
    METHODS,
    PARTS,
    Teacher,
    epoch_of,
    first_queries,
    image_teacher,
    start,
    synthetic_teacher,
    told,
)
from experiments.networks.tracks.stepping import finished, state_key, stepped, stopped
from experiments.networks.tracks.track import (
    CHECKPOINT,
    Cell,
    Column,
    Measured,
    Result,
    Track,
    empirical_of_cells,
    key_of,
)
from experiments.report.figures import Picture, column_picture, draw_over_seeds, name_artists
from landscape.plots.style import BLUE, GREEN, INK, ORANGE, PURPLE
from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from ufm.errors import InputError, require_count, require_positive
from ufm.teacher_guided import bias, variance
from ufm.typing import AnyArray

LINEAR, NETWORK, IMAGES = "linear", "network", "images"
COLOURS = {EXPLORED: BLUE, GENERATED: GREEN, AMBIENT: ORANGE, DATA: PURPLE}
# Students of the linear teacher: numbers of queries, and how many students a mean is over. Risks
# have a variance where queries and dimensions are further apart than this.
LINEAR_COUNTS, DRAWS, APART = (4, 8, 12, 24, 48, 96, 192, 384), 400, 5
# Of the inputs: four hundred pseudoinverses of them take some hundred megabytes.
LARGEST = 512
# For the names of a panel's curves, over the height of what is drawn.
ROOM = 0.35
# A margin in logarithms of risks, and in slopes.
FACTOR, SLOPE = math.log(1.5), 0.1
# Standard errors of a mean: of some hundred means none is further off by chance but in one of 5000.
ERRORS = 5.0


class TeacherGuided(Track):
    """What a student learns of a teacher by the number and the kind of its questions."""

    name = "tgt"
    title = "Teacher-guided training"
    question = (
        "Does a student need as many queries as the manifold of its teacher has dimensions, not as "
        "its inputs have, and are searched queries better than drawn ones?"
    )
    short_of = (
        "A linear decoder (exact, or principal components of images) stands for the paper's "
        "generative models, and small perceptrons for its students; of the paper its abstract was "
        "read and not the text of its bounds. Risk: share of the teacher's variance that is "
        "missed, of images the Kullback-Leibler divergence on real test images; slope: of log risk "
        "against log queries, with its 95 % interval."
    )
    options = QueryOptions
    columns = (
        Column("first", "risk, fewest queries", "fewest"),
        Column("last", "risk, most queries", "most"),
        Column("predicted", "by TG-1"),
        Column("slope", "slope", "slope"),
        Column("slope_low", "from"),
        Column("slope_high", "to"),
        Column("accuracy", "test accuracy", "test", per_cent=True),
        Column("teacher", "of the teacher", per_cent=True),
    )

    def cells(self, options: Any) -> Sequence[Cell]:
        for name in ("components", "real", "steps", "width", "search"):
            require_count(getattr(options, name), name, 1, "use one or more")
        require_count(options.steps, "steps", PARTS, "use some hundred")
        require_positive(options.learning_rate, "learning rate", "use a value such as 0.005")
        require_positive(options.noise, "noise", "use a value such as 0.3")
        counts_of(options)
        pairs = manifolds_of(options)
        made = [
            (f"{LINEAR}, k = {k}", f"{m}, D = {D}") for k, D in pairs for m in (GENERATED, AMBIENT)
        ]
        made += [(f"{NETWORK}, k = {k}", f"{m}, D = {D}") for k, D in pairs for m in METHODS]
        made += [(f"{IMAGES}, k = {options.components}", method) for method in METHODS]
        return [Cell(*case, seed) for case in made for seed in range(options.seeds)]

    def require(self, options: Any) -> None:
        dataset = DataRequest(options.source).load()
        N, D = len(dataset.train.labels), math.prod(dataset.image_shape)
        for name, most in (("components", min(N, D)), ("real", N)):
            if getattr(options, name) > most:
                raise InputError(f"Need --{name} <= {most}", getattr(options, name), "use fewer")

    def measure(self, options: Any, cell: Cell, folder: Path) -> Measured:
        kind, k = cell.case.split(", k = ")
        method, _, D = cell.method.partition(", D = ")
        if kind == LINEAR:
            return _linear(options.noise, int(k), int(D), method, cell.seed)
        if kind == NETWORK:
            teacher = synthetic_teacher(int(k), int(D), options.real, cell.seed)
        else:
            dataset = DataRequest(options.source).load()
            teacher = image_teacher(dataset, int(k), options.real, cell.seed)
        return _taught(options, cell, teacher, method, folder / CHECKPOINT)

    def claims(self, results: Sequence[Result]) -> Sequence[Claim]:
        linear = tuple(r for r in results if "off" in r.numbers)
        taught = tuple(
            r
            for r in results
            if r.cell.method.startswith(EXPLORED) and "last" in r.numbers and _ambient(r)
        )
        return (
            empirical_of_cells(
                "teacher-guided-linear",
                "Least squares has the risk of TG-1",
                "Mean risks of students of a linear teacher, on and off its manifold, are those "
                "of TG-1.",
                linear,
                source="TG-1",
                check=lambda r: r.numbers["off"] ** 2,
                tolerance=Tolerance(ERRORS**2, "the square of five standard errors"),
                mutant=Mutant("the other dimension", lambda r: r.numbers["off_otherwise"] ** 2),
            ),
            empirical_of_cells(
                "teacher-guided-risk",
                "Searched queries teach more than ambient ones",
                "At the most queries the student of searched ones has at most two thirds of the "
                "risk of the student of ambient ones.",
                taught,
                source="Zaheer et al. 2022 (the claim), the margin is ours",
                hypotheses=(Hypothesis("a manifold of small dimension, or images", _is_small),),
                check=lambda r: max(0.0, _behind(r) + FACTOR) ** 2,
                tolerance=Tolerance(1e-4, "the square of a hundredth of a logarithm"),
                mutant=Mutant("the two exchanged", lambda r: max(0.0, FACTOR - _behind(r)) ** 2),
            ),
            empirical_of_cells(
                "teacher-guided-slope",
                "Risks fall faster in queries on the manifold",
                "The slope of log risk against log queries is steeper for searched queries than "
                "for ambient ones, by more than a tenth.",
                taught,
                source="Zaheer et al. 2022 (the claim), the margin is ours",
                hypotheses=(Hypothesis("a manifold of small dimension", _is_synthetic),),
                check=lambda r: max(0.0, _steeper(r) + SLOPE) ** 2,
                tolerance=Tolerance(1e-4, "the square of a hundredth"),
                mutant=Mutant("the two exchanged", lambda r: max(0.0, SLOPE - _steeper(r)) ** 2),
            ),
        )

    def exact(self, options: Any) -> Sequence[tuple[str, float, float]]:
        k, D, N = 3, 7, 2
        rng = np.random.default_rng(0)
        w, basis = rng.normal(size=D), np.linalg.qr(rng.normal(size=(D, k)))[0]
        inside = float(np.sum((basis.T @ w) ** 2))
        drawn = [_risk(rng.normal(size=(N, k)) @ basis.T, w, basis) for _ in range(20_000)]
        # Two drawn, then one where student and teacher differ most on the unit sphere of latents.
        X = rng.normal(size=(N, k)) @ basis.T
        off = basis.T @ (w - np.linalg.pinv(X) @ (X @ w))
        X = np.concatenate([X, (basis @ off / np.linalg.norm(off))[None]])
        return (
            (
                "TG-1: risk of two drawn queries on a manifold of dimension 3 in 7, no noise, and "
                "the mean of 20,000 students (to two digits)",
                bias(N, k, k, inside, inside),
                float(np.mean(drawn)),
            ),
            ("TG-1: risk after one more, searched, and solved for", 0.0, _risk(X, w, basis)),
        )

    def pictures(self, options: Any, results: Sequence[Result]) -> Sequence[Picture]:
        def panels(kind: str) -> list[tuple[str, str, Any]]:
            cases = dict.fromkeys(
                (r.cell.case, r.cell.method.partition(", ")[2])
                for r in results
                if r.cell.case.startswith(kind)
            )
            return [
                (f"{kind}-{i}", ", ".join(filter(None, pair)), partial(_draw, results, *pair))
                for i, pair in enumerate(cases)
            ]

        return (
            column_picture(
                "linear",
                "A linear teacher, exactly",
                "Mean risk of least squares by queries, on the manifold (generated) and in the "
                "whole space (ambient); bars: two standard errors; lines: TG-1, whose poles are "
                "the dimensions queries come from.",
                panels(LINEAR),
            ),
            column_picture(
                "network",
                "A smooth teacher",
                "Share of the teacher's variance that students miss, by queries: means over seeds, "
                "bars from least to most. There are few real inputs (--real): more queries of them "
                "are the same again.",
                panels(NETWORK),
            ),
            column_picture(
                "images",
                "Images",
                "Kullback-Leibler divergence of students from the teacher on real test images, by "
                "queries of a decoder of principal components.",
                panels(IMAGES),
            ),
        )


def counts_of(options: QueryOptions) -> tuple[int, ...]:
    """The numbers of queries; InputError where they are no rising list of three or more."""
    rule = "Need --queries as three or more rising numbers from 2, with commas"
    try:
        counts = tuple(int(word) for word in options.queries.split(","))
    except ValueError:
        raise InputError(rule, repr(options.queries), "write 32,64,128") from None
    if len(counts) < 3 or counts[0] < 2 or any(np.diff(counts) <= 0):
        raise InputError(rule, options.queries, "write 32,64,128")
    return counts


def manifolds_of(options: QueryOptions) -> list[tuple[int, int]]:
    """Pairs k, D; InputError where they are none."""
    rule = f"Need --manifolds as different k:D with 1 <= k < D <= {LARGEST}, with commas"
    try:
        words = [word.split(":") for word in options.manifolds.split(",")]
        pairs = [(int(k), int(D)) for k, D in words]
    except ValueError:
        raise InputError(rule, repr(options.manifolds), "write 2:16,6:64") from None
    if not all(1 <= k < D <= LARGEST for k, D in pairs) or len(set(pairs)) < len(pairs):
        raise InputError(rule, options.manifolds, "write 2:16,6:64")
    return pairs


def _risk(X: AnyArray, w: AnyArray, basis: AnyArray) -> float:
    """Of least squares of least norm without noise, on the manifold."""
    return float(np.sum((basis.T @ (np.linalg.pinv(X) @ (X @ w) - w)) ** 2))


def _linear(noise: float, k: int, D: int, method: str, seed: int) -> Measured:
    """Means of many students of a linear teacher, and TG-1; on the manifold, or in R^D."""
    rng = np.random.default_rng(key_of(LINEAR, k, D, method, seed))
    w, basis = rng.normal(size=D), np.linalg.qr(rng.normal(size=(D, k)))[0]
    w /= np.linalg.norm(basis.T @ w)
    p, other = (k, D) if method == GENERATED else (D, k)
    whole = 1.0 if method == GENERATED else float(w @ w)
    seen, errors, said, otherwise = [], [], [], []
    counts = [N for N in LINEAR_COUNTS if abs(N - p) > APART and abs(N - other) > APART]
    for N in counts:
        X = rng.normal(size=(DRAWS, N, p)) @ (basis.T if method == GENERATED else np.eye(D))
        y = X @ w + noise * rng.normal(size=(DRAWS, N))
        found = np.einsum("apn,an->ap", np.linalg.pinv(X), y)
        risks = np.sum(((found - w) @ basis) ** 2, axis=1)
        seen.append(float(risks.mean()))
        errors.append(float(risks.std(ddof=1)) / math.sqrt(DRAWS))
        said.append(variance(N, p, k, noise) + bias(N, p, k, 1.0, whole))
        otherwise.append(variance(N, other, k, noise) + bias(N, other, k, 1.0, whole))
    off = np.abs(np.array(seen) - said) / errors
    away = np.abs(np.array(seen) - otherwise) / errors
    numbers = {
        "first": seen[0],
        "last": seen[-1],
        "predicted": said[-1],
        "off": float(off.max()),
        "off_otherwise": float(away.max()),
        **_slope(counts, seen),
    }
    series = {"queries": [*map(float, counts)], "risk": seen, "error": errors, "predicted": said}
    return numbers, series


def _slope(counts: Sequence[int], risks: Sequence[float]) -> dict[str, float]:
    """Of log risk against log queries, with its 95 % interval."""
    fit = linregress(np.log(counts), np.log(risks))
    half = float(t.ppf(0.975, len(counts) - 2)) * float(fit.stderr)
    slope = float(fit.slope)
    return {"slope": slope, "slope_low": slope - half, "slope_high": slope + half}


def _taught(options: Any, cell: Cell, teacher: Teacher, method: str, folder: Path) -> Measured:
    """Students of all numbers of queries, trained side by side."""
    counts, seed = counts_of(options), cell.seed
    begun = (
        start(teacher, counts, options.width, seed),
        first_queries(teacher, method, counts, seed),
    )
    part = epoch_of(options, teacher, method, counts, seed)
    (both, _), records = stepped(begun, PARTS, part, folder, state_key(options, cell))
    if not finished(records, PARTS):
        return stopped(records), {}
    risks, right = told(options, teacher, both[0])
    numbers = {"first": risks[0], "last": risks[-1], **_slope(counts, risks)}
    series = {"queries": [*map(float, counts)], "risk": risks}
    if teacher.truth is not None:
        answers = np.argmax(
            teacher.label(teacher.weights, teacher.fresh.astype(np.float32)), axis=1
        )
        numbers["accuracy"] = right[-1]
        numbers["teacher"] = float(np.mean(np.asarray(answers) == teacher.truth))
        series["accuracy"] = right
    return numbers, series


def _ambient(result: Result) -> Mapping[str, float]:
    """The numbers of ambient queries in the same space, none where there are none."""
    rival = result.rivals.get(result.cell.method.replace(EXPLORED, AMBIENT), {})
    return rival if "last" in rival else {}


def _behind(result: Result) -> float:
    return math.log(result.numbers["last"] / _ambient(result)["last"])


def _steeper(result: Result) -> float:
    return result.numbers["slope"] - _ambient(result)["slope"]


def _is_synthetic(result: Result) -> bool:
    return result.cell.case.startswith(NETWORK)


def _is_small(result: Result) -> bool:
    """A manifold of at most half the dimensions of its space."""
    k, D = result.cell.case.rpartition(" ")[2], result.cell.method.rpartition(" ")[2]
    return not _is_synthetic(result) or 2 * int(k) <= int(D)


def _draw(results: Sequence[Result], case: str, space: str, ax: Any) -> Any:
    linear = case.startswith(LINEAR)
    for method in METHODS:
        named = f"{method}, {space}" if space else method
        mine = [r for r in results if (r.cell.case, r.cell.method) == (case, named)]
        mine = [r for r in mine if "risk" in r.series]
        if not mine:
            continue
        at = np.array(mine[0].series["queries"])
        seen = np.array([r.series["risk"] for r in mine])
        look = {"color": COLOURS[method], "marker": "o", "markersize": 4, "label": method}
        if linear:
            # One seed: every seed has a teacher of its own.
            bars = 2 * np.array(mine[0].series["error"])
            ax.plot(at, mine[0].series["predicted"], color=INK, linewidth=1, zorder=1)
            ax.errorbar(at, seen[0], yerr=bars, linestyle="none", capsize=2, **look)
        else:
            draw_over_seeds(ax, at, seen.T, linestyle="-", capsize=2, **look)
    ax.set_title(f"{case}, {space}" if space else case)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.xaxis.set_major_formatter("{x:.0f}")
    ax.set_xlabel("queries")
    ax.set_ylabel("risk")
    # Room for the names below everything that is drawn.
    low, high = ax.get_ylim()
    ax.set_ylim(low * (low / high) ** ROOM, high)
    name_artists(ax, loc="lower left", ncols=2, fontsize="small")
    return ax
