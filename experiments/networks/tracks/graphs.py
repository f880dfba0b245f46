"""Graph networks on stochastic block models beside free features and spectral methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.nearest import unknown
from experiments.networks.tracks.graph_cells import (
    FREE,
    METHODS,
    NETWORKS,
    SPECTRAL,
    STEPS,
    freed,
    spectral,
    trained,
)
from experiments.networks.tracks.graph_pictures import draw_layers, draw_methods, draw_steps
from experiments.networks.tracks.message_passing import TEST, TRAIN, BlockModel
from experiments.networks.tracks.options import GraphOptions
from experiments.networks.tracks.track import (
    Cell,
    Column,
    Measured,
    Result,
    Track,
    empirical_of_cells,
)
from experiments.report.figures import Picture, column_picture
from landscape import solve
from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from ufm.eigen import eigh
from ufm.errors import InputError, require_count, require_decay, require_positive
from ufm.models.graph import graph
from ufm.models.graph_network import MAX_GRAPHS
from ufm.models.graph_spectra import power_iteration, step_growth

MOST_CLASSES = 6  # names of the classes are gone through


class Graphs(Track):
    """Collapse by depth in graph networks, at minima of free features, and in eigenvectors."""

    name = "gnn"
    title = "Graph networks on stochastic block models"
    question = (
        "Do the features of a deep graph network collapse within communities, how far, and what do "
        "the best free features on such graphs and spectral methods do?"
    )
    short_of = (
        "By default fewer and smaller graphs, of the paper's mean degrees, and fewer layers; the "
        "paper's sizes are options. NC1 and NC2 are of the features that the classifier reads, on "
        "test graphs (free features: on their own; eigenvectors: test graphs)."
    )
    options = GraphOptions
    columns = (
        Column("overlap_train", "overlap, train graphs", "train"),
        Column("overlap", "overlap, test graphs", "test"),
        Column("overlap_steps", f"overlap after {STEPS} steps", f"{STEPS} steps"),
        Column("nc1_first", "NC1 of the first layer"),
        Column("nc1", "NC1", "NC1"),
        Column("nc1_seen", "NC1 of neighbours' means", "of means"),
        Column("nc2", "NC2 (simplex)", "NC2"),
        Column("growth", "gain of a step on the third eigenvector"),
        Column("growth_steps", f"gain of {STEPS} steps"),
        Column("negative", "negative eigenvalues"),
        Column("objective", "objective"),
        Column("gap", "proved gap to the minimum"),
    )

    def cells(self, options: Any) -> Sequence[Cell]:
        rule = "Need --cases as K:INSIDE:OUTSIDE with commas, each once"
        remedy = "write for example 2:12.5:0.85,4:25:1.7"
        try:
            cases = [BlockModel.parse(word, options.nodes) for word in options.cases.split(",")]
        except (ValueError, ZeroDivisionError):
            raise InputError(rule, repr(options.cases), remedy) from None
        if len(set(cases)) < len(cases):
            raise InputError(rule, repr(options.cases), remedy)
        for case in cases:
            _require_case(case, options.nodes)
        methods = _methods(options)
        require_count(options.graphs, "graphs", 1, "train on one graph or more")
        require_count(options.tests, "test-graphs", 1, "test on one graph or more")
        if require_count(options.free, "free-graphs", 1, "use one graph or more") > MAX_GRAPHS:
            raise InputError(f"Need free-graphs <= {MAX_GRAPHS}", options.free, "use fewer")
        require_count(options.layers, "layers", 1, "use one layer or more")
        if options.width is not None:
            require_count(options.width, "width", 1, "use a width such as 8")
        require_count(options.epochs, "epochs", 1, "train for one epoch or more")
        require_positive(options.learning_rate, "learning rate", "use a value such as 0.004")
        if not (math.isfinite(options.weight_decay) and options.weight_decay >= 0):
            raise InputError("Need weight decay >= 0", options.weight_decay, "use 5e-4, or 0")
        require_decay(options.decay, "lambda")
        return [
            Cell(case.label, method, seed)
            for case in cases
            for method in methods
            for seed in range(options.seeds)
        ]

    def require(self, options: Any) -> None:
        for word in options.cases.split(","):
            BlockModel.parse(word, options.nodes).graph(0, TRAIN, 0)

    def measure(self, options: Any, cell: Cell, folder: Path) -> Measured:
        made = (BlockModel.parse(word, options.nodes) for word in options.cases.split(","))
        case = next(case for case in made if case.label == cell.case)
        width = options.width or 4 * case.K
        if cell.method in NETWORKS:
            return trained(options, case, width, cell, folder)
        if cell.method in FREE:
            return freed(options, case, width, cell), {}
        return spectral(options, case, cell)

    def claims(self, results: Sequence[Result]) -> Sequence[Claim]:
        nets = tuple(r for r in results if r.cell.method in NETWORKS and "nc1" in r.numbers)
        free = tuple(r for r in results if r.cell.method == "free")
        eigenvectors = tuple(r for r in results if "overlap_steps" in r.numbers)
        other = Hypothesis(
            "free features without W1 were found on the same graphs",
            lambda r: "free-w2-only" in r.rivals,
        )

        def deeper(result: Result) -> float:
            return math.log(result.numbers["nc1"] / result.numbers["nc1_first"])

        def own(result: Result) -> float:
            return math.log(result.numbers["nc1"] / result.rivals["free-w2-only"]["nc1"])

        def ahead(result: Result) -> float:
            return result.numbers["overlap_steps"] - result.numbers["overlap"]

        tenth = Tolerance(0.01, "the square of a tenth of a logarithm")
        return (
            empirical_of_cells(
                "graph-networks-collapse-by-depth",
                "Graph networks collapse by depth",
                "NC1 of the features that the classifier reads is below that of the first layer.",
                nets,
                source="Kothapalli, Tirer & Bruna 2023 (the claim), the measure is ours",
                tolerance=tenth,
                check=lambda r: max(0.0, deeper(r)) ** 2,
                mutant=Mutant("above", lambda r: max(0.0, -deeper(r)) ** 2),
            ),
            empirical_of_cells(
                "free-features-with-own",
                "Free features that nodes see themselves collapse further",
                "NC1 at the minimum of free features is lower with W1 than without, same graphs.",
                free,
                source="ours",
                hypotheses=(other,),
                tolerance=tenth,
                check=lambda r: max(0.0, own(r)) ** 2,
                mutant=Mutant("higher", lambda r: max(0.0, -own(r)) ** 2),
            ),
            empirical_of_cells(
                "eigenvectors-are-ahead-of-steps",
                f"{STEPS} steps are not the eigenvector",
                f"The second eigenvector tells two classes better than {STEPS} steps to it do.",
                eigenvectors,
                source="GU-7",
                tolerance=Tolerance(1e-3, "the square of three hundredths of the overlap"),
                check=lambda r: max(0.0, ahead(r)) ** 2,
                mutant=Mutant("worse", lambda r: max(0.0, -ahead(r)) ** 2),
            ),
        )

    def exact(self, options: Any) -> Sequence[tuple[str, float, float]]:
        model = graph(2, 9, 3, 4, 1, 5e-3, 5e-3)
        known = model.minimiser()
        if known is None:
            raise InputError("Need equal counts of neighbours", "another graph", "choose a regular")
        A = BlockModel(2, 100, 12.5, 0.85).graph(0, TEST, 0)[0]
        rows = [
            (
                "GU-2: two classes of nine nodes with 4 neighbours inside and 1 outside, decays "
                "0.005: the minimum in closed form, and by descent",
                known.value,
                float(solve(model).objective),
            )
        ]
        start = np.random.default_rng(0).normal(size=len(A))
        for name, build in SPECTRAL.items():
            matrix = build(A)
            values, vectors = eigh(matrix)
            mu = np.linalg.norm(matrix) - values[1:]
            parts = (vectors[:, 1:].T @ start) * (mu / mu[0]) ** STEPS
            rows.append(
                (
                    f"GU-7: {name} of 200 nodes, cosine of {STEPS} steps with the second "
                    f"eigenvector (a step gains {step_growth(matrix):.3f} on the third): from the "
                    "spectrum, and step by step",
                    float(abs(parts[0]) / np.linalg.norm(parts)),
                    float(abs(power_iteration(matrix, start, STEPS) @ vectors[:, 1])),
                )
            )
        return rows

    def pictures(self, options: Any, results: Sequence[Result]) -> Sequence[Picture]:
        cases = list(dict.fromkeys(r.cell.case for r in results))
        methods = _methods(options)
        networks = [method for method in NETWORKS if method in methods]
        layers = [
            column_picture(
                f"layers-{number}",
                f"Collapse by depth: {case} (classes, neighbours inside, outside)",
                "NC1 of the features that every layer gives to the next, on test graphs, means "
                "over seeds with bars from least to most; faint: after fewer epochs, from one to "
                "all. Horizontal lines: free features at their minimum on such graphs. Left: with "
                "W1, where a node sees itself. Right: W2 alone.",
                [
                    (name, f"NC1 by layer, {name}", partial(draw_layers, results, case, name))
                    for name in networks
                ],
            )
            for number, case in enumerate(cases if networks else ())
        ]
        return (
            *layers,
            column_picture(
                "methods",
                "Who tells the classes",
                "Left: overlap with the classes on test graphs (free features: their own), means "
                "over seeds with bars from least to most; 0 is chance. Open: after 32 steps of the "
                "projected power iteration instead of the eigenvector. Right: cosine of that "
                "iteration with the second eigenvector against its steps, on one test graph of the "
                "first case with two classes.",
                [
                    ("overlap", "overlap of all methods", partial(draw_methods, results, methods)),
                    ("steps", "cosine by steps", partial(_draw_cosines, options)),
                ],
            ),
        )


def _methods(options: GraphOptions) -> list[str]:
    names = options.methods.split(",")
    for name in names:
        if name not in METHODS:
            raise unknown(name, METHODS, "method")
    if len(set(names)) < len(names):
        raise InputError("Need every method once", repr(options.methods), "drop what is double")
    return names


def _require_case(case: BlockModel, nodes: int) -> None:
    if not 2 <= case.K <= MOST_CLASSES:
        raise InputError(f"Need 2 to {MOST_CLASSES} classes", case.K, "name of --cases comes first")
    if nodes % case.K or case.n < 2:
        rule = f"Need --nodes as a multiple of K = {case.K}, two of a class or more"
        raise InputError(rule, nodes, f"use {max(2, round(nodes / case.K)) * case.K}")
    if not all(math.isfinite(x) and 0 <= x <= case.n for x in (case.inside, case.outside)):
        rule = f"Need mean numbers of neighbours from 0 to {case.n}, the nodes of a class"
        raise InputError(rule, case.label, "use fewer neighbours, or more nodes")


def _draw_cosines(options: GraphOptions, ax: Any) -> Any:
    cases = [BlockModel.parse(word, options.nodes) for word in options.cases.split(",")]
    two = [case for case in cases if case.K == 2]
    curves = {}
    for case in two[:1]:
        A, rng = case.graph(0, TEST, 0)
        start = rng.standard_normal(len(A))
        for name, build in SPECTRAL.items():
            matrix = build(A)
            values, vectors = eigh(matrix)
            mu = np.linalg.norm(matrix) - values[1:]
            curves[name] = mu / mu[0], vectors[:, 1:].T @ start
    return draw_steps(curves, STEPS, ax)
