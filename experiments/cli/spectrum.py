"""``ufm spectrum``: every Hessian eigenvalue in closed form, with its multiplicity."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from experiments.cli.flags import (
    Json,
    Out,
)
from experiments.cli.output import (
    deliver,
    envelope,
    number,
    prepare,
    require_writable,
    show,
    table,
)

EXAMPLES = (
    "ufm spectrum -K 10 -d 16 -n 100 --lambda-w 5e-4 --lambda-h 1e-5",
    "ufm spectrum -K 1000 -d 2048 -n 1281 --lambda 5e-6",
    "ufm spectrum --at origin --loss mse --lambda-b 0",
    "ufm spectrum --model fixed-classifier -K 5 -n 3",
)
# Eigenvalues of blocks of at most 7 x 7 that agree to this fraction of the largest are equal.
EQUAL = 1e-12


class Place(StrEnum):
    """Where the Hessian is taken."""

    minimiser = "minimiser"
    origin = "origin"


def spectrum(
    inputs: Any,
    at: Annotated[
        Place, typer.Option("--at", help="The global minimiser, or W = H = 0 with its best bias.")
    ] = Place.minimiser,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """List the whole Hessian spectrum.

    In closed form for the plain model with balanced classes. Of any other model, at its
    closed-form minimiser or at the minimum that descent finds, from the exact structure where the
    model knows one, else from the dense Hessian.
    """
    prepare()
    require_writable(out, "--out")
    model = inputs.build()
    levels, source = levels_at(model, at)
    rows = merged_levels(levels)
    tolerance = EQUAL * levels.radius
    record = {
        "at": at.value,
        "source": source,
        "variables": levels.size,
        "index": levels.count_below(-tolerance),
        "nullity": levels.count_within(tolerance),
        "spectrum": [
            {"value": value, "multiplicity": times, "block": block} for value, times, block in rows
        ],
    }
    settings = {**inputs.as_dict(), "at": at.value}
    deliver(envelope("spectrum", settings, record), as_json=as_json, out=out)
    if as_json:
        return
    place = "the global minimiser" if at is Place.minimiser else "the origin"
    made = table(("value", "multiplicity", "block"), right=("value", "multiplicity"))
    for value, times, block in rows:
        made.add_row("0" if abs(value) <= tolerance else number(value, 10), number(times), block)
    show(f"Spectrum at {place}: {inputs.headline(model)}", made, f"Source: {source}.")
    show(
        f"{number(levels.size)} eigenvalues: {number(record['index'])} negative, "
        f"{number(record['nullity'])} zero (|value| <= {tolerance:.1e})."
    )


def levels_at(model: Any, at: Place) -> tuple[Any, str]:
    """The spectrum at a place, and where it comes from.

    Raises:
        InputError: unbalanced classes, a model that knows no origin, or one too large.
    """
    import jax
    import numpy as np

    from ufm import InputError, Spectrum, minimiser_spectrum, origin_spectrum

    plain = model.as_plain()
    if plain is not None:
        if not plain.balanced:
            raise InputError(
                "A closed-form spectrum needs the same number of samples in every class",
                f"--counts {','.join(map(str, plain.counts_tuple))}",
                "use -n, or run `ufm solve` with these counts",
            )
        chosen = minimiser_spectrum if at is Place.minimiser else origin_spectrum
        return chosen(plain), "closed form"
    from landscape import dense_hessian, solve

    if at is Place.origin:
        pattern = jax.eval_shape(model.random_point, jax.random.key(0))
        point: Any = jax.tree.map(lambda leaf: np.zeros(leaf.shape), pattern)
        place = "the origin"
    else:
        known = model.minimiser()
        point = solve(model).full_point if known is None else known.point
        place = "the minimum that descent found" if known is None else "the closed-form minimiser"
        owner, point = model.checked(point)
        merge = model.merge()
        if owner is not model and merge is not None:
            point = merge.lift(point)  # closed forms have one column per class or type
    structure = model.structure(point)
    if structure is not None and structure.hidden is None:
        return structure.levels, f"exact structure at {place}"
    values = np.linalg.eigvalsh(dense_hessian(model, point))
    return Spectrum.of((x, 1, "dense") for x in values), f"dense Hessian at {place}"


def merged_levels(levels: Any) -> list[tuple[float, int, str]]:
    """Levels in ascending order, those of one block with equal values as one row.

    Example:
        >>> from ufm import Spectrum
        >>> merged_levels(Spectrum.of([(1.0, 2, "a"), (1.0, 3, "a"), (1.0, 1, "b")]))
        [(1.0, 1, 'b'), (1.0, 5, 'a')]
    """
    rows: list[tuple[float, int, str]] = []
    newest: dict[str, int] = {}
    for value, times, block in levels:
        at = newest.get(block)
        if at is not None and value - rows[at][0] <= EQUAL * levels.radius:
            rows[at] = (rows[at][0], rows[at][1] + times, block)
            continue
        newest[block] = len(rows)
        rows.append((value, times, block))
    return rows
