"""``ufm atlas``: every critical point modulo symmetry, and whether the list is complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.options import (
    DecayFlags,
    Json,
    LossFlags,
    Seed,
    SizeFlags,
    expand_flags,
    resolve,
)
from experiments.cli.output import (
    deliver,
    envelope,
    number,
    patiently,
    prepare,
    require_writable,
    show,
    table,
)

EXAMPLES = (
    "ufm atlas -K 5 --lambda 0.02",
    "ufm atlas --counts 3,2,2,1 --loss ls --out my_atlas",
    "ufm atlas -K 6 --budget 300 --json",
)
BUDGET = 60.0


@expand_flags
def atlas(
    size: SizeFlags,
    loss: LossFlags,
    decay: DecayFlags,
    budget: Annotated[
        float, typer.Option("--budget", min=0.0, help="Seconds after which no new round begins.")
    ] = BUDGET,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Keep what is found here; a second run goes on from it."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search every critical point modulo symmetry, with its index for every feature dimension.

    Exit code 3 if the list is OPEN: a checksum is not 1, or a point is degenerate.
    """
    prepare()
    inputs = resolve(size, loss, decay)
    model = inputs.build()
    from experiments.cli.atlas_folder import read_points, require_folder, write_points

    kept: Sequence[Any] = ()
    if out is not None:
        require_folder(out)
        require_writable(out / "atlas.json", "--out")
        kept = read_points(out, inputs)

    def keep(found: Any) -> None:
        if out is not None:
            write_points(out, inputs, found)

    from landscape.atlas import atlas as search

    found = patiently(
        f"Searching K={model.num_classes}",
        lambda: search(model, budget=budget, seed=seed, known=kept, progress=keep),
    )
    settings = {**inputs.as_dict(), "budget": budget, "seed": seed}
    document = envelope("atlas", settings, atlas_record(found))
    deliver(document, as_json=as_json, out=None if out is None else out / "atlas.json")
    if not as_json:
        show(f"Atlas: {inputs.headline(model)}", _table(found, inputs.d), *_notes(found))
    if found.status.name == "OPEN":
        raise typer.Exit(3)


def atlas_record(found: Any) -> dict[str, Any]:
    """An atlas as it goes into the JSON; d runs from the rank of an orbit to K."""
    top = found.model.num_classes
    orbits = []
    for orbit in found.orbits:
        ds = range(max(1, orbit.rank), top + 1)
        orbits.append(
            {
                "objective": orbit.objective,
                "rank": orbit.rank,
                "index_range": orbit.range_index,
                "overshoot": orbit.overshoot,
                "count": orbit.count,
                "stabiliser_order": orbit.stabiliser,
                "label": orbit.label,
                "gradient_norm": orbit.gradient_norm,
                "index": {d: orbit.index(d) for d in ds},
                "nullity": {d: orbit.nullity(d) for d in ds},
                "predicted_nullity": {d: orbit.predicted_nullity(d) for d in ds},
                "lambda_min": {d: orbit.smallest(d) for d in ds},
                "verdict": {d: orbit.curvature(d).name for d in ds},
                "global": orbit.certified,
                "hits": orbit.hits,
            }
        )
    return {
        "orbits": orbits,
        "checksum": found.checksum,
        "inequalities": found.inequalities,
        "missing_mass": found.missing_mass,
        "status": found.status.name,
        "starts": found.starts,
        "failures": {
            rank: {reason.name: count for reason, count in reasons.items()}
            for rank, reasons in found.failures.items()
        },
        "seconds": found.seconds,
    }


def _table(found: Any, d: int) -> Any:
    numbers = (
        "objective",
        "rank r",
        "index\nd = r",
        "per\nnew d",
        "matrices\nZ",
        f"index\nd = {d}",
    )
    made = table((*numbers, "verdict", "symmetry"), right=numbers)
    made.columns[6].no_wrap = True
    for orbit in found.orbits:
        fits = d >= orbit.rank
        made.add_row(
            f"{orbit.objective:.9f}",
            number(orbit.rank),
            number(orbit.range_index),
            f"+{orbit.overshoot}",
            number(orbit.count),
            number(orbit.index(d) if fits else None),
            _verdict(orbit, d) if fits else "needs a larger d",
            orbit.label,
        )
    return made


def _verdict(orbit: Any, d: int) -> str:
    name = orbit.curvature(d).name
    if name == "MORSE_BOTT_MINIMUM":
        return "global minimum" if orbit.certified else "minimum"
    return str(name.lower().replace("_", " "))


def _notes(found: Any) -> list[str]:
    """The checks of completeness, and what the failed searches ended in."""
    matrices = sum(orbit.count for orbit in found.orbits)
    sums = ", ".join(f"d={d}: {value}" for d, value in found.checksum.items())
    reasons: Counter[Any] = sum(found.failures.values(), Counter())
    failed = "; ".join(f"{count:,} {reason.value}" for reason, count in reasons.most_common())
    lines = [
        f"{len(found.orbits)} orbits ({matrices:,} matrices Z), {found.status.name}: "
        f"{found.status.value}.",
        f"Euler checksum (1 for a complete list): {sums}; Morse inequalities "
        f"{'hold' if all(found.inequalities.values()) else 'FAIL'}. "
        f"Probability of an unseen orbit per search: {found.missing_mass:.2g}.",
        f"{sum(found.starts.values()):,} searches in {found.seconds:.1f} s"
        + (f", of which {failed}." if failed else "."),
    ]
    lines += [defect.text for defect in found.defects]
    if not found.model.loss.properties(found.model.num_classes).convex:
        lines.append(
            "The loss is not convex: these are the critical points with equal features "
            "within every class; others may exist for n > 1."
        )
    return lines
