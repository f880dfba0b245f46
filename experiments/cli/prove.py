"""``ufm atlas --prove``: whether the list is proved to be complete, rank by rank."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

from experiments.cli.certify import FOLDER
from experiments.cli.waiting import stepwise
from experiments.files import write_whole

# That of ``cover_two``, which a test compares: help shall not load it.
MOST_BOXES = 500_000


def require_proof(
    inputs: Any, prove: bool, until: float | None, rank: int, most_boxes: int | None
) -> None:
    """Refuse what cannot be proved before any search for it.

    Raises:
        InputError: another model than those of the rank, an end of decays out of range, or flags
            that need others.
    """
    from ufm.errors import InputError, require_decay

    if until is not None and not prove:
        raise InputError("--prove-to goes with --prove", "--prove-to alone", "add --prove")
    if rank != 1 and not prove:
        raise InputError("--prove-rank goes with --prove", "--prove-rank alone", "add --prove")
    if most_boxes is not None and rank == 1:
        rule = "--most-boxes goes with --prove-rank 2"
        raise InputError(rule, "--most-boxes alone", "add --prove --prove-rank 2")
    if rank != 1 and until is not None:
        rule = "Rank 2 is covered for one pair of decays"
        raise InputError(rule, f"--prove-to {until:g}", "leave out --prove-to or --prove-rank")
    if prove:
        from landscape.atlas.explore import as_plain
        from proofs_check.rigorous.complete import require_rank_one, require_rank_two

        require = require_rank_one if rank == 1 else require_rank_two
        require(as_plain(inputs.build(merged=False)))
    if until is not None:
        require_decay(until, "--prove-to")


def prove_ranks(
    model: Any,
    found: Any,
    until: float | None,
    rank: int,
    most_boxes: int | None,
    out: Path | None,
) -> tuple[dict[str, Any], Any]:
    """What is proved of an atlas up to a rank, and the covers of rank 1; see ``prove_list``."""
    stop = Event()
    covering = partial(prove_list, model, found, until, out, stop)
    told, covers = stepwise("Proving rank 1", covering, stop)
    if rank == 2 and not stop.is_set():
        second = partial(prove_rank_two, model, found, covers, told, most_boxes, stop)
        told = stepwise("Proving rank 2", second, stop)
    return told, covers


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


def prove_rank_two(
    model: Any,
    found: Any,
    covers: Any,
    told: dict[str, Any],
    most_boxes: int | None,
    stop: Event,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """What is proved of an atlas once rank 2 was attempted, too.

    Args:
        model: the plain model with one column per sample.
        found: its atlas.
        covers: those of rank 1.
        told: what ``prove_list`` said.
        most_boxes: after which what is open is left so; None: the default of the cover.
        stop: once it is set, what is left stays undecided.
        say: told how far the proof is.

    Raises:
        InputError: as ``require_rank_two``; or an orbit of the list is degenerate.
    """
    from proofs_check.rigorous.complete import cover_rank_two, origin_alone, ranks_proved

    most = MOST_BOXES if most_boxes is None else most_boxes
    began = perf_counter()
    second = cover_rank_two(model, found.orbits, most_boxes=most, progress=say, stop=stop.is_set)
    proved = ranks_proved(model, found.orbits, covers, second)
    known = "the origin alone" if origin_alone(model) else "the highest rank"
    rank_two: dict[str, Any] = {"proved": 2 in proved, "by": known}
    if second is not None:
        rank_two |= {
            "by": "boxes",
            "orbits": len(second.orbits),
            "boxes": second.boxes,
            "undecided_boxes": second.undecided.shape[1],
            "undecided_share": second.share,
            "most_boxes": most,
            "seconds": perf_counter() - began,
        }
    return told | {"ranks_proved": sorted(proved), "rank_two": rank_two}


def rank_two_note(told: dict[str, Any]) -> str:
    """What is proved of rank 2, in a line."""
    if told["by"] == "the origin alone":
        return (
            "Rank 2: no boxes needed. At these decays the origin is the minimum of the convex "
            "problem, and then the only critical point."
        )
    if told["by"] == "the highest rank":
        return "Rank 2: no boxes needed. It is the highest rank of 3 classes, known by a theorem."
    boxes, open_ones, seconds = told["boxes"], told["undecided_boxes"], told["seconds"]
    if open_ones:
        return (
            f"Rank 2 is UNDECIDED: {open_ones:,} boxes of volume share "
            f"{told['undecided_share']:.2g} left open, {boxes:,} evaluated, {seconds:.0f} s."
        )
    return (
        f"Proved: exactly {told['orbits']} orbits of rank 2 ({boxes:,} boxes, {seconds:.0f} s). "
        "No other program has checked that cover."
    )


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
    if "rank_two" in told:
        lines.append(rank_two_note(told["rank_two"]))
    searched = sorted(set(told["ranks"]) - set(told["ranks_proved"]))
    if searched:
        others = ", ".join(map(str, searched))
        lines.append(
            f"Ranks with a proof that nothing is missing: {ranks}; only searched: {others}."
        )
    return lines
