"""The tables of ``ufm solve``."""

from __future__ import annotations

from typing import Any

from experiments.cli.output import number, table


def unjudged_table(record: dict[str, Any], found: Any) -> Any:
    """What is known of a descent that was interrupted."""
    made = table(("", "", ""))
    made.columns[1].no_wrap = True
    made.add_row("objective", number(record["objective"], 15), "of the best point so far")
    made.add_row("gradient norm", number(record["gradient_norm"], 3), found.result.value)
    made.add_row("result", record["result"], f"{found.method}, {found.iterations:,} iterations")
    made.add_row("verdict", "none", "a point that is not critical has none")
    return made


def _times(record: dict[str, Any]) -> str:
    solve, verdict = (number(record[f"seconds_{part}"], 3) for part in ("solve", "verdict"))
    return f"{solve} solving, {verdict} judging; compilation included"


def solved_table(record: dict[str, Any], found: Any, judged: Any) -> Any:
    """A solution, its verdict, and what was left on the way."""
    from experiments.cli.verdict import between, measured_rows

    made = table(("", "", ""))
    made.columns[0].no_wrap = True
    made.columns[1].no_wrap = True
    expected = number(record["predicted_nullity"])
    rows = [
        ("objective", number(record["objective"], 15), ""),
        ("gradient norm", number(record["gradient_norm"], 3), found.result.value),
        ("result", record["result"], f"{found.method}, {number(found.iterations)} iterations"),
        ("curvature", record["curvature"], judged.reason),
        ("globality", record["globality"], judged.globality_reason),
        ("index", between(record["index_range"]), "number of negative Hessian eigenvalues"),
        ("nullity", between(record["nullity_range"]), f"{expected} predicted by symmetry"),
        ("lambda_min", number(record["lambda_min"]), f"zero below {judged.count.tolerance:.1e}"),
        ("duality gap", number(record["gap"], 3), judged.certificate.reason),
        ("rank", number(record["rank"]), ""),
        ("distance to ETF", number(record["distance_to_etf"], 3), "| u(W W^T) - E |"),
        *measured_rows(record),
        ("reduction", "merged" if record["merged"] else "none", found.reduction),
        ("seconds", number(record["seconds"], 3), _times(record)),
    ]
    if record["start_objective"] is not None:
        rows.insert(1, ("at the start", number(record["start_objective"], 15), ""))
    if record["start_index"] is not None:
        told = "of the start, which is critical: no step was taken"
        rows.insert(3, ("start", f"index {number(record['start_index'])}", told))
    if record["escape_objective"] is not None:
        told = f"along curvature {number(record['escape_curvature'])}; go on with --escape"
        rows.insert(-1, ("way down", number(record["escape_objective"], 9), told))
    for saddle in reversed(record["escaped"]):
        told = f"a saddle of index {number(saddle['index'])}"
        rows.insert(0, ("escaped from", number(saddle["objective"], 15), told))
    for row in rows:
        if row[1] != "-" or row[0] not in ("rank", "distance to ETF"):
            made.add_row(*row)
    return made
