"""``ufm spectrum``: every Hessian eigenvalue in closed form, with its multiplicity."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, NamedTuple

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
from experiments.cli.verdict import between

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
    found = read_at(model, at)
    rows, tolerance = merged_levels(found.levels), found.tolerance
    record = {
        "at": at.value,
        "source": found.source,
        "variables": found.levels.size,
        "index": counted(found.negative),
        "nullity": counted(found.zeros),
        "tolerance": tolerance,
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
    show(f"Spectrum at {place}: {inputs.headline(model)}", made, f"Source: {found.source}.")
    show(
        f"{number(found.levels.size)} eigenvalues: {between(found.negative)} negative, "
        f"{between(found.zeros)} zero (|value| <= {tolerance:.1e})."
    )


def counted(fewest_and_most: tuple[int, int | None]) -> int | None:
    """A count, None where the numbers do not decide.

    Example:
        >>> counted((2, 2)), counted((2, 3))
        (2, None)
    """
    fewest, most = fewest_and_most
    return fewest if fewest == most else None


class Reading(NamedTuple):
    """A spectrum, and what its signs are.

    Attributes:
        levels: the eigenvalues.
        source: where they come from.
        negative, zeros: fewest and most such eigenvalues.
        tolerance: up to it no eigenvalue is read by its sign.
    """

    levels: Any
    source: str
    negative: tuple[int, int | None]
    zeros: tuple[int, int | None]
    tolerance: float


def _exact(levels: Any, source: str) -> Reading:
    """The reading of eigenvalues that carry rounding only."""
    zero = EQUAL * levels.radius
    below, within = levels.count_below(-zero), levels.count_within(zero)
    return Reading(levels, source, (below, below), (within, within), zero)


def read_at(model: Any, at: Place) -> Reading:
    """The spectrum at a place, and where it comes from.

    Where the point is the end of a descent, signs are read as ``landscape.verdict`` does, which
    knows how far the gradient that is left may move an eigenvalue.

    Raises:
        InputError: unbalanced classes, a model that knows no origin, or one too large.
    """
    import jax
    import numpy as np

    from ufm import InputError, minimiser_spectrum, origin_spectrum

    plain = model.as_plain()
    if plain is not None:
        if not plain.balanced:
            raise InputError(
                "A closed-form spectrum needs the same number of samples in every class",
                f"--counts {','.join(map(str, plain.counts_tuple))}",
                "use -n, or run `ufm solve` with these counts",
            )
        chosen = minimiser_spectrum if at is Place.minimiser else origin_spectrum
        return _exact(chosen(plain), "closed form")
    from landscape import solve
    from landscape.curvature.count import count_curvature, dense_structure
    from ufm.model import norm

    if at is Place.origin:
        pattern = jax.eval_shape(model.random_point, jax.random.key(0))
        point: Any = jax.tree.map(lambda leaf: np.zeros(leaf.shape), pattern)
        place = "the origin"
        with np.errstate(all="ignore"):
            value = float(model.objective(point))
        if not np.isfinite(value):
            name = type(model).__name__
            rule = "A Hessian at zero needs a finite objective there"
            raise InputError(rule, f"{value} from {name}", "use --at minimiser")
    else:
        known = model.minimiser()
        point = solve(model).full_point if known is None else known.point
        place = "the minimum that descent found" if known is None else "the closed-form minimiser"
        owner, point = model.checked(point)
        merge = model.merge()
        if owner is not model and merge is not None:
            point = merge.lift(point)  # closed forms have one column per class or type
    structure = model.structure(point)
    known = structure is not None and structure.hidden is None
    source = f"{'exact structure' if known else 'dense Hessian'} at {place}"
    if structure is None or structure.hidden is not None:
        structure = dense_structure(model, point)
    kinks = model.kinks(point)
    if kinks:
        return _exact(structure.levels, f"{source}, on one side of each of its {kinks:,} kinks")
    # Zero is a point exactly, and its Hessian is asked for whether or not it is critical.
    size = 0.0 if at is Place.origin else float(norm(model.value_and_gradient(point)[1]))
    count = count_curvature(model, point, size, structure)
    zeros = count.nullity_range or (0, None)
    return Reading(structure.levels, source, count.index_range, zeros, count.tolerance)


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
