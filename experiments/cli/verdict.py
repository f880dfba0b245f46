"""``ufm verdict``: judge a point that somebody saved."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.certify import certify_point, nearness_words, require_rigour
from experiments.cli.flags import (
    Json,
    Out,
    Seed,
)
from experiments.cli.html_page import Html, point_pictures, require_page, write_page_of
from experiments.cli.output import (
    deliver,
    envelope,
    number,
    prepare,
    require_writable,
    show,
    table,
)
from experiments.cli.waiting import patiently
from experiments.cost import require_eigenvalues
from experiments.options import flag

EXAMPLES = (
    "ufm solve --save point.npz && ufm verdict point.npz",
    "ufm verdict point.npz --certify point.json",
    "ufm verdict mine.npz --loss ls --counts 3,2,2,1 --lambda-w 5e-4 --lambda-h 1e-5",
)


def verdict(
    inputs: Any,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="POINT.npz",
            help="float64 arrays W (K, d), H (d, N) or (d, K) merged, optional b (K,); "
            "optional labels (N,) or counts (K,).",
        ),
    ],
    restarts: Annotated[
        int,
        typer.Option(
            "--restarts",
            min=0,
            help="Random descents that look for a lower point where nothing else decides.",
        ),
    ] = 0,
    seed: Seed = 0,
    eigenvalues: Annotated[
        bool,
        typer.Option(
            "--eigenvalues",
            help="Where convexity decides: count eigenvalues all the same, for gamma, the smallest "
            "positive and the largest one.",
        ),
    ] = False,
    certify: Annotated[
        Path | None,
        flag(
            "--certify",
            "FILE",
            "Prove existence, index and nullity, and write the certificate here.",
        ),
    ] = None,
    html: Html = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Judge a point: strict saddle or minimum; global or not.

    A file of `ufm solve --save` needs no flags; for your own arrays, flags complete what the file
    does not say. N columns are class by class unless there are labels; K columns are merged,
    sqrt(n_k) times the mean feature of class k. Exit code 3 if the curvature is UNDECIDED, or the
    certificate asked for.
    """
    prepare()
    require_writable(out, "--out")
    require_writable(certify, "--certify")
    require_page(html)
    if certify is not None:
        require_rigour()
    from experiments.cli.points import read_for

    point, inputs, model = read_for(file, inputs)
    require_eigenvalues(model, point, eigenvalues)
    judged = patiently("judging ...", lambda: _judge(model, point, restarts, seed))
    record = verdict_record(point, judged, eigenvalues)
    if certify is not None:
        lower = [] if judged.lower is None else [judged.lower]
        prove = partial(certify_point, model, point, lower, certify)
        record["proof"] = patiently("proving ...", prove)
    settings = {"file": str(file), **inputs.as_dict(), "restarts": restarts, "seed": seed}
    settings["eigenvalues"] = eigenvalues
    notes = getattr(inputs, "notes", ())
    settings["assumed"] = notes
    deliver(envelope("verdict", settings, record), as_json=as_json, out=out)
    parts: list[Any] = [f"Verdict on {file}: {inputs.headline(model)}"]
    if notes:
        parts.append(f"Not in the file: {'; '.join(notes)}.")
    parts += [*_tables(record), *_proof_line(record)]
    if html is not None:
        said = f"{record['curvature']}, {record['globality']}: objective {judged.objective:.10g}."
        facts = {"Data": str(file)}
        pictures = point_pictures(judged.model, judged.point)
        write_page_of(html, "Verdict on a point", said, parts, facts, pictures)
    if not as_json:
        show(*parts)
    if judged.curvature.name == "UNDECIDED" or not record.get("proof", {"proved": True})["proved"]:
        raise typer.Exit(3)


def _judge(model: Any, point: Any, restarts: int, seed: int) -> Any:
    import jax

    from landscape.verdict import verdict as judge

    return judge(model, point, restarts=restarts, key=jax.random.key(seed))


def rank_of(judged: Any) -> int | None:
    """Rank of W H: of the exact structure, else of the row space; None where it has no meaning."""
    if judged.count.rank is not None:
        return int(judged.count.rank)
    plain = judged.model.as_plain()
    if plain is None:
        return None
    from ufm.plain.reduce import row_space

    return row_space(plain, judged.point).rank


def distance_to_etf(judged: Any, point: Any) -> float | None:
    """| u(W W^T) - E |, the NC2 of Zhu et al. 2021; NaN at the origin, None without classes."""
    import numpy as np

    from ufm.collapse.geometry import etf_target, product_distance

    if judged.model.as_plain() is None:
        return None
    W = np.asarray(point.W)
    if rank_of(judged) == 0:
        return float("nan")
    return product_distance(W, W, etf_target(len(W)))


def between(counts: tuple[int, int | None] | None) -> str:
    """A count that is known, or the fewest and the most that the numbers allow.

    Example:
        >>> between((3, 3)), between((0, 2)), between((1, None)), between((0, None))
        ('3', '0 to 2', '1 or more', '-')
    """
    least, most = counts or (0, None)
    if most is None:
        return f"{number(least)} or more" if least else number(None)
    return number(least) if least == most else f"{number(least)} to {number(most)}"


def verdict_record(point: Any, judged: Any, eigenvalues: bool = False) -> dict[str, Any]:
    """Every number of a verdict; those of eigenvalues that it did not need only if asked for."""
    from landscape.curvature.convexity import ROUTE

    count = judged.by_eigenvalues if eigenvalues else judged.count
    certificate, escape = judged.certificate, judged.escape
    return {
        "curvature": judged.curvature.name,
        "curvature_reason": judged.reason,
        "globality": judged.globality.name,
        "globality_reason": judged.globality_reason,
        "gamma": judged.gamma if eigenvalues or count.route != ROUTE else None,
        "objective": judged.objective,
        "gradient_norm": judged.gradient_norm,
        "index": count.index,
        "nullity": count.nullity,
        "index_range": count.index_range,
        "nullity_range": count.nullity_range,
        "predicted_nullity": count.predicted_nullity,
        "lambda_min": count.smallest,
        "smallest_positive": count.smallest_positive,
        "largest": count.radius,
        "tolerance": count.tolerance,
        "tolerance_source": count.tolerance_source,
        "route": count.route,
        "gap": certificate.gap,
        "bound": certificate.bound,
        "spectral_ratio": certificate.spectral_ratio,
        "certificate": certificate.reason,
        "rank": rank_of(judged),
        "distance_to_etf": distance_to_etf(judged, point),
        "escape_curvature": None if escape is None else escape.curvature,
        "escape_source": None if escape is None else escape.source,
        "lower_objective": judged.lower_objective,
        "measures": judged.model.measures(judged.point),
    }


def _proof_line(record: dict[str, Any]) -> list[str]:
    """What a certificate proves, or why there is none; nothing where none was asked for."""
    proof = record.get("proof")
    if proof is None:
        return []
    if not proof["proved"]:
        return [f"No certificate, UNDECIDED: {proof['reason']}."]
    words = "not global" if proof["not_global"] else nearness_words(proof)
    beside = f", {words}" if words else ""
    return [
        f"Proved in {proof['file']}: a critical point within {proof['radius']:g}, index "
        f"{proof['index']}, nullity {proof['nullity']}{beside}."
    ]


def measured_rows(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What the model measures at the point: a number, or numbers side by side."""
    rows = []
    for name, value in record["measures"].items():
        many = isinstance(value, list)
        told = ", ".join(number(x, 6) for x in value) if many else number(value, 10)
        rows.append((name.replace("_", " "), "" if many else told, told if many else ""))
    return rows


def _tables(record: dict[str, Any]) -> tuple[Any, Any]:
    from landscape.curvature.convexity import ROUTE

    answer = table(("", "", ""))
    answer.columns[1].no_wrap = True
    answer.add_row("curvature", record["curvature"], record["curvature_reason"])
    answer.add_row("globality", record["globality"], record["globality_reason"])
    tolerance, route = f"{record['tolerance']:.1e}", f"{record['route']} Hessian"
    strictness, bound = "strictness of the saddle or minimum", ""
    if record["route"] == ROUTE:
        route, bound = "convexity, no eigenvalues", "at most "
        strictness = "not computed: --eigenvalues asks for it"
    numbers = table(("number", "value", "tolerance", "source"), right=("value", "tolerance"))
    symmetry = "rank of the symmetry generators"
    rows = [
        ("objective", number(record["objective"], 15), "", "the model at the point"),
        ("gradient norm", number(record["gradient_norm"], 3), "", "the model at the point"),
        ("index", between(record["index_range"]), tolerance, route),
        ("nullity", between(record["nullity_range"]), tolerance, route),
        ("predicted nullity", number(record["predicted_nullity"]), "", symmetry),
        ("lambda_min", number(record["lambda_min"]), tolerance, route),
        ("smallest positive", number(record["smallest_positive"]), tolerance, route),
        ("largest |eigenvalue|", bound + number(record["largest"]), "", route),
        ("zero is below", tolerance, "", record["tolerance_source"]),
        ("gamma", number(record["gamma"]), "", strictness),
        ("duality gap", number(record["gap"], 3), "", record["certificate"]),
        ("lower bound", number(record["bound"], 15), "", "dual value, below the global minimum"),
        ("|G| / sigma", number(record["spectral_ratio"], 9), "", "1 at a global minimum not zero"),
        ("rank", number(record["rank"]), "", "singular values that curvature is taken for"),
        ("distance to ETF", number(record["distance_to_etf"], 3), "", "| u(W W^T) - E |"),
        ("escape curvature", number(record["escape_curvature"]), "", record["escape_source"] or ""),
        ("lower objective", number(record["lower_objective"], 15), "", "a point that lies lower"),
        *((name, one, "", many) for name, one, many in measured_rows(record)),
    ]
    always = {"index", "nullity", "predicted nullity", "duality gap"}
    if bound:
        always.add("gamma")
    for row in rows:
        if row[1] != "-" or row[0] in always:
            numbers.add_row(*row)
    return answer, numbers
