"""``ufm atlas --prove``: whether the list is proved to be complete, rank by rank."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from experiments.cli.certify import FOLDER
from experiments.files import write_whole


def prove_list(
    model: Any,
    found: Any,
    until: float | None,
    out: Path | None,
    stop: Event,
    say: Callable[[str], None],
) -> tuple[dict[str, Any], Any]:
    """What is proved of an atlas, and the covers, which go beside it where there is a folder.

    Args:
        model: the plain model with one column per sample.
        found: its atlas.
        until: the other end of a segment of lambda_W, or None.
        out: folder of the atlas, or None.
        stop: once it is set, what is left stays undecided.
        say: told how far the proof is.

    Raises:
        InputError: as ``require_rank_one``; or an orbit of the list is degenerate.
    """
    from proofs_check.rigorous.certificate import written
    from proofs_check.rigorous.complete import gaps, prove_covers, ranks_proved

    line = [gaps(orbit.point.W) for orbit in found.orbits if orbit.rank == 1]
    covers = prove_covers(model, line, until, progress=say, stop=stop.is_set)
    names = []
    if out is not None:
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        for old in (out / FOLDER).glob("rank-one-*.json"):
            old.unlink()
        for number, told in enumerate(covers.documents(), 1):
            names.append(f"rank-one-{number:03d}.json")
            write_whole(out / FOLDER / names[-1], written(told).encode())
    told = {
        "ranks_proved": sorted(ranks_proved(model, found.orbits, covers)),
        "ranks": list(range(model.num_classes)),
        "orbits_of_rank_one": covers.orbits,
        "boxes": covers.boxes,
        "undecided_boxes": covers.undecided,
        "lambda_W": [covers.ends[0], covers.ends[1]],
        "lambda_W_until": covers.until,
        "pieces": len(covers.pieces),
        "files": names,
    }
    return told, covers


def draw_covers(covers: Any, folder: Path, width: float) -> list[str]:
    """Names of the figures drawn: the plane of boxes, where there are three classes."""
    if covers.pieces[0].equations.classes != 3:
        return []
    from experiments.cli.cover_figure import draw_cover
    from experiments.figures import blank_figure, save_figure
    from landscape.plots import style

    with style():
        figure = blank_figure(width, width)
        draw_cover(figure.add_subplot(), covers.pieces[0])
        for kind in ("pdf", "svg", "png"):
            save_figure(figure, folder / f"cover.{kind}")
    return ["cover"]


def completeness_notes(told: dict[str, Any]) -> list[str]:
    """What is proved, in lines."""
    low, high = told["lambda_W"]
    where = "" if low == high else f", for every lambda_W from {low:g} to {high:g}"
    ranks = ", ".join(map(str, told["ranks_proved"]))
    boxes, open_ones = told["boxes"], told["undecided_boxes"]
    lines = [
        f"Proved: exactly {told['orbits_of_rank_one']} orbits of rank 1{where} ({boxes:,} boxes)."
    ]
    if open_ones:
        lines = [f"Rank 1 is undecided{where}: {open_ones:,} of {boxes:,} boxes are open."]
    elif told["lambda_W_until"] not in (low, high):
        lines.append(f"Beyond, to {told['lambda_W_until']:g}, rank 1 is undecided.")
    searched = sorted(set(told["ranks"]) - set(told["ranks_proved"]))
    if searched:
        others = ", ".join(map(str, searched))
        lines.append(
            f"Ranks with a proof that nothing is missing: {ranks}; only searched: {others}."
        )
    return lines
