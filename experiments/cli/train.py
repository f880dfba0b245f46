"""``ufm train``: one network on real images, measured while it collapses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.flags import Json, Seed
from experiments.cli.network_flags import (
    Folder,
    MeasureEvery,
    NetworkDecayFlags,
    Probes,
    make_settings,
    network_command,
)
from experiments.cli.network_output import (
    epoch_line,
    number_table,
    provenance_of,
    theory_rows,
    theory_table,
    warn_of_narrow,
)
from experiments.cli.output import deliver, envelope, show
from experiments.cli.waiting import stepwise
from experiments.networks.options import (
    ArchitectureOptions,
    AugmentationOptions,
    DataOptions,
    TrainingOptions,
)
from experiments.notices import notice
from experiments.options import flag

EXAMPLES = (
    "ufm train --data digits",
    'ufm train --loss "focal gamma=3" --network convnet --features relu',
    "ufm train --data fashion-mnist:~/fashion --per-class 500 --decay all --epochs 100",
)
RUNS = Path("runs")
# What is printed, in this order.
SHOWN = (
    ("parameters_trained", "trained parameters"),
    ("parameters_saved", "share saved by the fixed classifier"),
    ("train_accuracy", "train accuracy"),
    ("test_accuracy", "test accuracy"),
    ("nc0", "NC0 (sum of classifier rows)"),
    ("nc0_law", "NC0 by its exact law"),
    ("nc1_geo", "NC1 (GEO)"),
    ("cdnv_mean", "NC1 (mean CDNV)"),
    ("nc2_rwu", "NC2 (means)"),
    ("nc3_geo", "NC3 (GEO)"),
    ("nc4_phd", "NC4 (PHD)"),
    ("lambda_H_hat", "lambda_W |W|^2 / |H|^2"),
    ("path_distance", "distance from the central path"),
    ("hessian_W_largest", "largest eigenvalue in W"),
    ("ece", "ECE, 15 bins"),
    ("temperature", "temperature"),
    ("ece_cooled", "ECE after it"),
    ("separation_test", "class separation R^2"),
    ("auroc_softmax_noise", "AUROC against noise"),
    ("auroc_softmax_scrambled", "AUROC against scrambled images"),
)


@network_command
def train(
    data: DataOptions,
    network: ArchitectureOptions,
    training: TrainingOptions,
    augmentation: AugmentationOptions,
    decay: NetworkDecayFlags,
    loss: Annotated[
        str,
        flag(
            "--loss",
            "LOSS",
            'An objective and its parameters, for example ce, "ls smoothing=0.1", mse, '
            "sigmoid, sop or FILE.py:NAME.",
        ),
    ] = "ce",
    width: Annotated[
        float, typer.Option("--width", help="Multiplies the width of every hidden layer.")
    ] = 1.0,
    other: Probes = None,
    measure_every: MeasureEvery = None,
    seed: Seed = 0,
    out: Folder = None,
    as_json: Json = False,
) -> None:
    """Train one network, and hold its collapse against theory.

    The folder keeps checkpoints: after any kill the same command goes on from there and ends with
    the same numbers. Exit code 3 if the training stopped because a number was no longer finite.
    """
    from experiments.networks.comparison import Plan, read_loss_spec
    from experiments.networks.comparison.page import write_page
    from experiments.networks.runs import DataRequest, other_sets, perform, run_against_theory
    from experiments.networks.theory import NoTheory
    from experiments.networks.training import Outcome

    spec, request = read_loss_spec(loss), DataRequest(**vars(data))
    dataset = request.load()
    settings = make_settings(network, training, augmentation, decay, dataset)
    cell = Plan(request, settings, (spec,), (width,), (seed,), measure_every).cells[0]
    others = other_sets(dataset, tuple(other or ()))
    folder = RUNS / cell.folder if out is None else out
    warn_of_narrow([cell.request.settings], dataset.num_classes)
    if not as_json:
        show(f"Training on {dataset.title}: {cell.loss.label}, to {folder}")

    def work(say: Callable[[str], None]) -> Any:
        run = perform(
            cell.request,
            dataset,
            folder,
            others=others,
            say=lambda progress: say(epoch_line(progress, settings.epochs)),
            provenance=provenance_of(["ufm", *sys.argv[1:]]),
        )
        page = None
        if run.records:
            page = write_page({cell: run}, (), folder, say=say)
        return run, page

    try:
        run, page = stepwise("Training", work)
    except KeyboardInterrupt:
        notice(f"what was trained stays in {folder}; the same command goes on from there")
        raise
    theory = run_against_theory(run)
    counted = parameters(cell.request.settings, dataset)
    record: dict[str, Any] = {
        "folder": str(folder),
        "outcome": run.outcome.name,
        "epochs": len(run.records),
        "seconds": run.seconds,
        "parameters": counted,
        "numbers": dict(run.final),
        "theory": {"reason": theory.reason}
        if isinstance(theory, NoTheory)
        else {name: [a, b, off] for name, a, b, off in theory_rows(theory)},
    }
    deliver(envelope("train", cell.request.record(), record), as_json=as_json, out=None)
    if not as_json:
        show(number_table({**run.final, **counted}, SHOWN))
        if isinstance(theory, NoTheory):
            show(f"No theory: {theory.reason}.")
        else:
            # A fixed classifier has no c.
            size = f"c = {theory.c:.4g}" if theory.c else f"lambda_H = {theory.lambda_H:.4g}"
            estimated = ", lambda_H estimated from the network" if theory.estimated else ""
            show(
                f"Theory: {theory.prediction.frame}, {size}{estimated}",
                theory_table(theory),
            )
        show(f"Page: {page}" if page else f"Folder: {folder}")
    if run.outcome is Outcome.NOT_FINITE:
        notice(
            f"stopped after epoch {len(run.records)}: {run.outcome.value}; "
            "lower --lr, or set --max-gradient-norm"
        )
        raise typer.Exit(3)


def parameters(settings: Any, dataset: Any) -> dict[str, float]:
    """Trained parameters, and what share of those of a trained classifier on natural features.

    The share is that which Zhu et al. 2021 report for a classifier fixed at an ETF with d = K.
    """
    from experiments.networks.architectures import count_parameters

    shape, K = dataset.image_shape, dataset.num_classes
    made = count_parameters(
        settings.architecture,
        shape,
        K,
        settings.d,
        bias=settings.bias,
        fixed_etf=settings.fixed_etf,
    )
    found: dict[str, float] = {"parameters_trained": made.trained}
    if not settings.fixed_etf:
        return found
    usual = count_parameters(settings.architecture, shape, K, bias=settings.bias)
    return {**found, "parameters_saved": 1 - made.trained / usual.trained}
