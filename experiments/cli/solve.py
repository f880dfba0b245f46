"""``ufm solve``: find a minimum, or any critical point, and say what it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from experiments.cli.flags import (
    MOST_STEPS,
    Json,
    Out,
    Seed,
    crowded,
)
from experiments.cli.html_page import Html, point_pictures, require_page, write_page_of
from experiments.cli.output import deliver, envelope, prepare, require_writable, show
from experiments.cli.solve_table import solved_table, unjudged_table
from experiments.cli.starts import explicit_point, height_of, way_down
from experiments.cli.waiting import stepwise
from experiments.cost import WATCHED, restarts_for, say_cost, size_of, small_model, warn_of_size
from experiments.errors import input_error
from experiments.notices import notice
from experiments.options import flag

EXAMPLES = (
    "ufm solve -K 10 -d 512 -n 5000 --lambda-w 5e-4 --lambda-h 1e-5",
    "ufm solve --loss focal --gamma 3 --save point.npz && ufm verdict point.npz",
    "ufm solve --method critical --seed 7 --json",
    "ufm solve --model regression -n 2 --lambda-w 0.3",
    "ufm solve --model rate-reduction -d 4 --seed 9",
    "ufm solve --model deep-linear --loss mse --depth 3 --lambda-w 0.04 --lambda-h 0.04",
    "ufm solve --model equilibrium --loss mse -K 3 -n 2 --lambda-v 0.5",
    "ufm solve --model graph -K 2 -n 6 --inside 4 --outside 1",
    "ufm solve --model graph-network -K 2 -n 6 --graphs 3 -p 0.6 -q 0.2",
    "ufm solve --model deep-relu --depth 4 --lambda-w 0.035 --lambda-h 0.035 --start plane",
    "ufm solve --model deep-relu --depth 4 --widths 2,2,2,3 --start plane --method piecewise",
    "ufm solve --model constrained-rate --counts 3,3 -d 6 --eps 1.05",
    "ufm solve --model contrastive -K 3 -n 3 --radius 1.3",
    "ufm solve --model layer-peeled --counts 45,45,1,1 -d 5",
    "ufm solve --model seli --counts 6,6,1,1 --method piecewise",
    "ufm solve --model sphere -K 4 -d 3 -n 2 --scale 1",
    "ufm solve --model multilabel -K 4 -n 2 --pairs 1",
    "ufm solve --model soft-labels --targets 0.9,0.1/0.3,0.7 -n 5",
    "ufm solve --model tasks --classes 2,3 -n 2",
    "ufm solve --model ordinal --thresholds=-1,0,2 -n 4",
)
# Saddles that --escape leaves one after the other, each below the one before.
MOST_ESCAPES = 20
REDUCTIONS: dict[str, str | bool] = {"auto": "auto", "true": True, "false": False}


class Method(StrEnum):
    """The solvers of landscape.solve."""

    newton = "newton"
    lbfgs = "lbfgs"
    momentum = "momentum"
    gd = "gd"
    critical = "critical"
    piecewise = "piecewise"


class Reduction(StrEnum):
    """Whether the samples of a class merge."""

    auto = "auto"
    true = "true"
    false = "false"


def solve(
    inputs: Any,
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="'critical' finds saddles as readily as minima; 'piecewise' is for kinks, such as "
            "deep-relu has.",
        ),
    ] = Method.newton,
    reduction: Annotated[
        Reduction,
        typer.Option(
            "--reduction",
            help="Merge the samples of a class: auto where lossless, true always, false never.",
        ),
    ] = Reduction.auto,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Gradient norm to reach.")
    ] = 1e-12,
    max_iterations: Annotated[
        int | None,
        typer.Option(
            "--max-iterations",
            min=1,
            max=MOST_STEPS,
            help="Iterations at most.",
            show_default="by method",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="Step of gd and momentum.", show_default="0.1"),
    ] = None,
    escape: Annotated[
        bool,
        typer.Option("--escape", help="Go on below a saddle, along its most negative curvature."),
    ] = False,
    start: Annotated[
        str | None,
        flag(
            "--start",
            "NAME",
            "Start at an explicit point: origin, minimiser (where it is known), or one of the "
            "model's own, such as deep-relu's plane or rate-reduction's ranks 2,1; full is random "
            "in all d dimensions.",
            show_default="random, in K dimensions where a convex loss needs no more",
        ),
    ] = None,
    seed: Seed = 0,
    save: Annotated[
        Path | None, flag("--save", "POINT.npz", "Save the point for `ufm verdict`.")
    ] = None,
    html: Html = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Find a minimum or a critical point of a model, and judge it.

    Exit code 3 if the solver did not converge or the verdict is UNDECIDED. A descent that starts at
    a saddle takes no step: that is said, with the index of the saddle, and --escape leaves it. Long
    work says what it will take; Ctrl-C ends a Newton descent at the best point so far.
    """
    prepare()
    require_writable(save, "--save")
    require_writable(out, "--out")
    require_page(html)
    record, found, judged = run_solve(
        inputs,
        seed=seed,
        method=method.value,
        reduction=REDUCTIONS[reduction.value],
        tolerance=tolerance,
        max_iterations=max_iterations,
        learning_rate=learning_rate,
        escape=escape,
        start=start,
    )
    if save is not None:
        save_point_of(save, found, inputs)
        kept = f"Point saved; judge it again with `ufm verdict {save}`."
    settings = {
        **inputs.as_dict(),
        "method": method.value,
        "reduction": reduction.value,
        "tolerance": tolerance,
        "max_iterations": max_iterations,
        "learning_rate": learning_rate,
        "escape": escape,
        "start": start,
        "seed": seed,
    }
    deliver(envelope("solve", settings, record), as_json=as_json, out=out)
    rows = unjudged_table(record, found) if judged is None else solved_table(record, found, judged)
    parts = f"Solve: {inputs.headline(found.original)}", rows
    if html is not None and judged is not None:
        said = f"{record['curvature']}, {record['globality']}: objective {found.objective:.10g}."
        facts = {"Model": parts[0], "Seed": str(seed)}
        pictures = point_pictures(found.model, found.point)
        write_page_of(html, "Where descent ends", said, parts, facts, pictures)
    if not as_json:
        show(*parts)
        if save is not None:
            show(kept)
    if judged is None:
        raise typer.Exit(128 + signal.SIGINT)
    if not found.result or judged.curvature.name == "UNDECIDED":
        raise typer.Exit(3)


def save_point_of(path: Path, found: Any, inputs: Any) -> None:
    """Save the point of a solution, with what its model was built from."""
    from experiments.cli.model import GeneralInputs, save_general
    from experiments.cli.points import save_point

    if isinstance(inputs, GeneralInputs):
        save_general(path, found.original, found.full_point, inputs)
    else:
        save_point(path, found, inputs)


def run_solve(
    inputs: Any,
    *,
    seed: int,
    method: str,
    reduction: str | bool,
    tolerance: float,
    max_iterations: int | None,
    learning_rate: float | None,
    escape: bool = False,
    start: str | None = None,
) -> tuple[dict[str, Any], Any, Any]:
    """Solve and judge: the record of the command, the Solution and the Verdict.

    Without a verdict, None, where Ctrl-C ended the descent.
    """
    from experiments.cli.verdict import distance_to_etf, rank_of
    from landscape.solvers.solve import FULL
    from landscape.solvers.solve import solve as find
    from landscape.verdict import verdict as judge
    from ufm.point import two_keys

    if learning_rate is not None and method not in ("gd", "momentum"):
        rule = "--learning-rate belongs to --method gd or momentum"
        raise input_error(rule, f"--method {method}", "drop --learning-rate")
    model = inputs.build(merged=reduction is not False)
    _warn_of_room(model)
    warn_of_size(model, reduction)
    seconds = say_cost(model, reduction, method, start)
    key, restart_key = two_keys(seed)
    spent = {"solve": 0.0, "verdict": 0.0}
    stop = threading.Event()
    # Where nothing looks at the flag between iterations, Ctrl-C leaves at once.
    watching = method == "newton" and size_of(small_model(model, reduction)) > WATCHED

    def timed(part: str, doing: str, call: Callable[[Callable[[str], None]], Any]) -> Any:
        began = perf_counter()
        told = stepwise(f"{doing} ...", call, stop if watching and part == "solve" else None)
        spent[part] += perf_counter() - began
        return told

    def watched(say: Callable[[str], None]) -> Callable[[int, float, float], bool]:
        began = perf_counter()

        def watch(used: int, value: float, size: float) -> bool:
            expected = "" if seconds is None else f" of about {seconds:.0f}"
            taken = f"{perf_counter() - began:.0f}{expected} s"
            say(f"iteration {used}, |g| {size:.1e}, objective {value:.9g}, {taken}")
            return stop.is_set()

        return watch

    def solved(point: Any) -> tuple[Any, Any]:
        found = timed(
            "solve",
            f"solving {inputs.headline(model)}",
            lambda say: find(
                model,
                point,
                key=key,
                method=method,
                tolerance=tolerance,
                max_iterations=max_iterations,
                reduction=reduction,
                watch=watched(say) if watching else None,
                **({} if learning_rate is None else {"learning_rate": learning_rate}),
            ),
        )
        if found.result.name == "INTERRUPTED":
            return found, None
        restarts = restarts_for(found)
        told = timed(
            "verdict",
            "judging",
            lambda say: judge(found.model, found.point, restarts=restarts, key=restart_key),
        )
        return found, told

    drawn = start is None or start == FULL
    begun = None if start is None or drawn else explicit_point(model, start)
    found, judged = solved(start if drawn else begun)
    way = None if judged is None else way_down(judged)
    left: list[dict[str, Any]] = []
    while escape and way is not None and len(left) < MOST_ESCAPES:
        left.append({"objective": judged.objective, "index": judged.count.index})
        found, judged = solved(way[0])
        way = None if judged is None else way_down(judged)
    if judged is None:
        return unjudged_record(found, spent), found, None
    rank = rank_of(judged)
    record = {
        "objective": found.objective,
        "gradient_norm": found.gradient_norm,
        "result": found.result.name,
        "curvature": judged.curvature.name,
        "curvature_reason": judged.reason,
        "globality": judged.globality.name,
        "globality_reason": judged.globality_reason,
        "index": judged.count.index,
        "nullity": judged.count.nullity,
        "index_range": judged.count.index_range,
        "nullity_range": judged.count.nullity_range,
        "predicted_nullity": judged.count.predicted_nullity,
        "lambda_min": judged.count.smallest,
        "gap": judged.certificate.gap,
        "rank": rank,
        "distance_to_etf": distance_to_etf(judged, found.point),
        "measures": judged.model.measures(judged.point),
        "iterations": found.iterations,
        "merged": found.model is not model,
        "reduction": found.reduction,
        "start_objective": None if begun is None else height_of(model, begun),
        "start_index": found.start_index,
        "escape_curvature": None if way is None else judged.escape.curvature,
        "escape_objective": None if way is None else way[1],
        "escaped": left,
        "seconds": spent["solve"] + spent["verdict"],
        "seconds_solve": spent["solve"],
        "seconds_verdict": spent["verdict"],
    }
    return record, found, judged


def _warn_of_room(model: Any) -> None:
    """Say on stderr that classes have no room for a simplex, and what makes it."""
    simple = model.as_plain()
    room = None if simple is None else f"-d {simple.num_classes - 1}"
    line = None if room is None else crowded(simple.d, simple.num_classes, room)
    if line is not None:
        notice(line)


def unjudged_record(found: Any, spent: dict[str, float]) -> dict[str, Any]:
    """What is known of the best point of a descent that was interrupted."""
    return {
        "objective": found.objective,
        "gradient_norm": found.gradient_norm,
        "result": found.result.name,
        "iterations": found.iterations,
        "reduction": found.reduction,
        "seconds_solve": spent["solve"],
    }
