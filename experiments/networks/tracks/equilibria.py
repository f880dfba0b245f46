"""Equilibrium layers on images beside the linear model whose minimum is known (DQ-1 to DQ-3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from experiments.networks.tracks.equilibrium_cells import (
    BALANCED,
    LOSSES,
    METHODS,
    data_of,
    own_of_model,
    trained,
)
from experiments.networks.tracks.equilibrium_pictures import draw_eigenvalues, draw_logits
from experiments.networks.tracks.options import EquilibriumOptions
from experiments.networks.tracks.track import (
    Cell,
    Column,
    Measured,
    Result,
    Track,
    empirical_of_cells,
    numbers_of,
)
from experiments.report.figures import Picture, column_picture
from landscape import solve
from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from ufm import MSE
from ufm.decay import plateau
from ufm.errors import InputError, require_count, require_positive
from ufm.models.equilibrium import equilibrium as model_of


class Equilibria(Track):
    """An equilibrium layer trained on images against the minimum of the model of free inputs."""

    name = "deq"
    title = "Equilibrium layers"
    question = (
        "Does a trained equilibrium layer end where the linear model of free inputs has its "
        "minimum, with the same layer, and do its minority classes collapse at the same threshold?"
    )
    short_of = (
        "An MLP gives the inputs of one equilibrium layer on small images; the paper has deep "
        "implicit layers on larger ones. Classifier, layer and inputs decay, the MLP does not, "
        "as the model has it. eigenvalue: the largest of V; predicted: that of least decay at "
        "the trained logits; own logit: w_k . h_k."
    )
    options = EquilibriumOptions
    columns = (
        Column("test_accuracy", "test accuracy", "test", per_cent=True),
        Column("minority_accuracy", "test accuracy, minority", per_cent=True),
        Column("objective", "objective", "objective"),
        Column("infimum", "minimum of the model"),
        Column("own", "own logit, majority", "own"),
        Column("own_minority", "own logit, minority", "minority"),
        Column("eigenvalue", "eigenvalue of V", "of V"),
        Column("eigenvalue_at_logits", "predicted at the logits", "predicted"),
        Column("eigenvalue_of_model", "at the minimum of the model"),
        Column("eigenvalue_error", "largest error of all eigenvalues"),
        Column("asymmetry", "share of V that is antisymmetric"),
        Column("size", "|V|"),
    )

    def cells(self, options: Any) -> Sequence[Cell]:
        if options.loss not in LOSSES:
            raise InputError("Need --loss mse or ce", repr(options.loss), "use one of them")
        ratios = numbers_of(options.ratios, "--ratios", 1, 1000)
        require_count(options.per_class, "per-class", 1, "keep one sample or more")
        if max(ratios) > options.per_class:
            rule = f"Need --ratios up to --per-class = {options.per_class}: a sample per class"
            raise InputError(rule, f"{max(ratios):g}", "use a smaller ratio, or more samples")
        require_positive(options.c, "c", "use a value such as 0.35")
        require_positive(options.layer_decay, "layer-decay", "use a value such as 0.7")
        if options.layer_decay <= options.c:
            rule = f"Need --layer-decay above c = {options.c:g}: else no minimum is attained (DQ-2)"
            raise InputError(rule, options.layer_decay, "raise it, or lower --c")
        if not 0 < options.bound < 1:
            rule = "Need 0 < --bound < 1: a layer of |V| >= 1 may have no equilibrium, or several"
            raise InputError(rule, options.bound, "use a bound such as 0.95")
        for name in ("d", "hidden", "epochs"):
            require_count(getattr(options, name), name, 1, "use one or more")
        require_count(options.batch_size, "batch-size", 0, "use 0 for all samples at once")
        require_positive(options.learning_rate, "learning rate", "use a value such as 0.002")
        return [
            Cell(BALANCED if ratio == 1 else f"{ratio:g} to 1", method, seed)
            for ratio in ratios
            for method in METHODS
            for seed in range(options.seeds)
        ]

    def require(self, options: Any) -> None:
        for case in dict.fromkeys(cell.case for cell in self.cells(options)):
            data = data_of(options, case)
            K, N = data.num_classes, len(data.train.labels)
            if options.d < K:
                raise InputError(f"Need -d >= K = {K}", options.d, f"use {K} or more")
            if options.batch_size > N:
                got = f"{options.batch_size}, N = {N} ({case})"
                raise InputError("Need --batch-size <= N", got, "use 0 for all at once")

    def measure(self, options: Any, cell: Cell, folder: Path) -> Measured:
        return trained(options, cell, folder)

    def claims(self, results: Sequence[Result]) -> Sequence[Claim]:
        layers = [r for r in results if "own" in r.numbers and r.cell.method != "explicit"]
        linear = tuple(r for r in layers if r.cell.method == "linear")
        steps = tuple(r for r in results if r.cell.method == "explicit" and "own" in r.numbers)
        skewed = tuple(r for r in linear if "own_minority" in r.numbers)
        beyond = tuple(r for r in layers if r.numbers.get("own_minority_of_model") == 0)
        known = Hypothesis(
            "the minimum of the model is known, and of the method",
            lambda r: "infimum" in r.numbers,
        )
        whole = Hypothesis(
            "no singular value of V was cut: the penalty did not level off",
            lambda r: r.numbers["cut"] == 0,
        )
        harmless = Hypothesis(
            "linear features, or squared error, whose minimum a ReLU does not change",
            lambda r: r.cell.method == "linear" or r.numbers["squared"] == 1,
        )
        rival = Hypothesis(
            "the explicit layer was trained on the same samples",
            lambda r: "objective" in r.rivals.get("explicit", {}),
        )

        def off(result: Result, factor: float = 1.0) -> float:
            seen = np.array(result.series["eigenvalues"])
            return float(np.abs(seen - factor * np.array(result.series["predicted"])).max())

        def minority(result: Result, of: str = "own_minority_of_model") -> float:
            return result.numbers["own_minority"] - result.numbers[of]

        def behind(result: Result) -> float:
            return result.numbers["objective"] - float(result.rivals["explicit"]["objective"])

        return (
            empirical_of_cells(
                "equilibrium-layers-eigenvalues",
                "Trained layers are those of least decay",
                "Eigenvalues of V are sigma z / lambda_V, z the singular values of the trained "
                "logits' class means; of two explicit steps v (1 + v)^2 is.",
                (*linear, *steps),
                source="DQ-1",
                hypotheses=(whole, harmless),
                tolerance=Tolerance(2.25e-4, "the square of 0.015, of eigenvalues of 0.2 and 0.4"),
                check=lambda r: off(r) ** 2,
                mutant=Mutant("half as large", lambda r: off(r, 0.5) ** 2),
            ),
            empirical_of_cells(
                "equilibrium-layers-minority",
                "Minority classes of linear layers end where the model says",
                "Own logits of minority classes are those of firm thresholding.",
                skewed,
                source="DQ-2; after Sun & Shi 2024",
                hypotheses=(known,),
                tolerance=Tolerance(5e-3, "the square of 0.07 of a logit, of 0.8"),
                check=lambda r: minority(r) ** 2,
                mutant=Mutant("those of the majority", lambda r: minority(r, "own_of_model") ** 2),
            ),
            empirical_of_cells(
                "equilibrium-layers-collapse",
                "Minority classes of equilibrium layers collapse beyond the threshold",
                "Own logits of minority classes are zero beyond the threshold of the plain model, "
                "with a ReLU and without.",
                beyond,
                source="DQ-2; after Sun & Shi 2024",
                tolerance=Tolerance(5e-3, "the square of 0.07 of a logit, of 0.8"),
                check=lambda r: r.numbers["own_minority"] ** 2,
                mutant=Mutant("majority classes do", lambda r: r.numbers["own"] ** 2),
            ),
            empirical_of_cells(
                "equilibrium-below-explicit",
                "An equilibrium costs less than the same layer unrolled twice",
                "The objective of a ReLU layer at its equilibrium is not above that of its two "
                "explicit steps.",
                tuple(r for r in layers if r.cell.method == "relu"),
                source="DQ-1: 1 - v <= 1 / (1 + v)",
                hypotheses=(harmless, rival),
                tolerance=Tolerance(1e-6, "the square of a thousandth of the objective"),
                check=lambda r: max(0.0, behind(r)) ** 2,
                mutant=Mutant("not below", lambda r: max(0.0, -behind(r)) ** 2),
            ),
        )

    def exact(self, options: Any) -> Sequence[tuple[str, float, float]]:
        model = model_of(MSE(), 3, 4, 2, 0.02, 1.0, 0.03)
        known = model.minimiser()
        if known is None:
            raise InputError("Need a model with a minimum", "none", "raise lambda_V")
        s, sigma, decay = 1.4, 0.6, 1.1

        def cost(v: float) -> float:
            return decay * v**2 / 2 + sigma * s * (1 - v)

        return (
            (
                "DQ-1: least decay of a singular value 1.4 at sigma 0.6, lambda_V 1.1: the penalty "
                "that levels off, and by going through layers",
                plateau(s, sigma, decay),
                float(minimize_scalar(cost, bounds=(0, 1), method="bounded").fun),
            ),
            (
                "DQ-2: squared error, K=3, n=2: the minimum in closed form, and by descent",
                known.value,
                float(solve(model).objective),
            ),
        )

    def pictures(self, options: Any, results: Sequence[Result]) -> Sequence[Picture]:
        cases = list(dict.fromkeys(r.cell.case for r in results))
        return (
            column_picture(
                "eigenvalues",
                "The layer",
                "Eigenvalues of V by size, means over seeds, against sigma z / lambda_V at the "
                "trained logits (crosses), one panel per case; of two steps, v (1 + v)^2 is that.",
                [
                    (f"case-{i}", f"eigenvalues, {case}", partial(draw_eigenvalues, results, case))
                    for i, case in enumerate(cases)
                ],
            ),
            column_picture(
                "logits",
                "Minority classes",
                "Own logits w_k . h_k of majority (filled) and minority classes (open), means over "
                "seeds, against the ratio; lines: the minimum of the model in closed form, where "
                "it is known (squared error), whose minority vanishes beyond the dotted ratio.",
                [
                    (
                        "own",
                        "own logits by ratio",
                        partial(draw_logits, results, partial(own_of_model, options), options.c),
                    )
                ],
            ),
        )
