"""The page of a track: means over seeds, the exact part, what the cells show, and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.networks.tracks.track import Result, Track, lines, shown
from experiments.report.provenance import provenance
from experiments.report.view import cards
from experiments.report.write import environment, save
from proofs_check.claim import Outcome


def write_track_page(
    track: Track,
    options: Any,
    results: Sequence[Result],
    exact: Sequence[tuple[str, float, float]],
    outcomes: Sequence[Outcome],
    folder: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Draw the figures and write ``index.html`` and ``figures/`` into a folder.

    Args:
        track: which one.
        options: that it was run with.
        results: of ``execute``.
        exact: of the track.
        outcomes: of its claims.
        folder: exists.
        say: told what is being drawn.
    """
    say("figures")
    pictures = track.pictures(options, results)
    say("page")
    table = lines(results, track.columns)
    page = (
        environment()
        .get_template("track.html.j2")
        .render(
            title=track.title,
            question=track.question,
            short_of=track.short_of,
            runs=results,
            failures=(),
            stopped=(),
            columns=[column.heading for column in track.columns],
            lines=[
                (line, [shown(column, *line.values[column.key]) for column in track.columns])
                for line in table
            ],
            rows=[
                (r.cell, [shown(c, r.numbers.get(c.key, float("nan"))) for c in track.columns])
                for r in results
            ],
            conclusions=track.conclusions(results),
            exact=exact,
            claims=cards(outcomes),
            pictures=pictures,
            settings={name: str(value) for name, value in vars(options).items()},
            provenance=provenance(),
        )
    )
    return save(page, pictures, folder)
