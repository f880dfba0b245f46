"""Pictures of ``ufm atlas``: planes and spaces, the staircase, spectra along c, and the film."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.files import write_whole
from landscape.atlas import Atlas, Orbit
from landscape.flows import Trajectory, one_by_one, trajectory
from landscape.plots import (
    decay_record,
    descent_film,
    draw_along_decay,
    draw_arrangements,
    draw_cosines,
    draw_plane,
    draw_staircase,
    draw_surface,
    ladder_points,
    plane_record,
    style,
)
from landscape.plots.ladder import short_label
from landscape.plots.slice import at_dimension
from ufm.errors import InputError
from ufm.plain.minimisers import thresholds

# Orbits on a sheet of arrangements, the lowest first.
MOST_ARRANGED = 16
# The range of c along which spectra are drawn, in units of the c at which the minimum vanishes.
FIRST, LAST = 0.02, 0.95
# The film: dots per inch and height in inches (twice as wide).
DOTS, HEIGHT = 100, 3.2


@dataclass(frozen=True)
class Diagram:
    """One figure: its file name, height over width, how it is drawn, and on which kind of axes."""

    name: str
    aspect: float
    draw: Callable[[Axes], Any]
    projection: str | None = None


def beside_the_minimum(
    orbits: Sequence[Orbit], saddle: Orbit, d: int, title: str
) -> Iterator[Diagram | str]:
    """A saddle beside the lowest orbit: the plane through both and the origin, and its cosines."""
    best = orbits[0]
    try:
        plane = plane_record(saddle, best, d)
    except InputError as error:
        yield f"no plane through the lowest saddle: {error}"
    else:
        yield Diagram("plane", 0.8, lambda ax: draw_plane(plane, ax, title))
        yield Diagram("surface", 0.85, lambda ax: draw_surface(plane, ax, title), "3d")
    for name, orbit in (("minimum", best), ("saddle", saddle)):
        if orbit.is_continuum or not orbit.rank:
            continue
        point = at_dimension(orbit, d)[1]
        yield Diagram(
            f"cosines-{name}",
            0.62,
            lambda ax, p=point, o=orbit: draw_cosines(p, ax, short_label(o.label)),  # type: ignore[misc]
        )


def of_the_landscape(found: Atlas, d: int, title: str) -> Iterator[Diagram | str]:
    """Arrangements of the lowest orbits, a descent past saddles, and the spectrum along c."""
    fitting = [orbit for orbit in found.orbits if orbit.rank <= d and not orbit.is_continuum]
    arranged = [orbit for orbit in fitting if 1 <= orbit.rank <= 3][:MOST_ARRANGED]
    if arranged:
        rows = -(-len(arranged) // 4)
        yield Diagram(
            "arrangements", 0.12 + 0.38 * rows, lambda ax: draw_arrangements(arranged, ax, d, title)
        )
    try:
        path = past_saddles(found, d)
    except InputError as error:
        yield f"no staircase: {error}"
    else:
        rungs = ladder_points(found, d)
        yield Diagram("staircase", 0.75, lambda ax: draw_staircase(path, rungs, ax, title))
    model = found.model.with_dimension(d)
    try:
        edge = thresholds(model)
        low, high = (share * min(edge.origin, edge.collapse) for share in (FIRST, LAST))
        spectra = decay_record(model, low, high)
    except InputError as error:
        yield f"no spectrum along c: {error}"
    else:
        yield Diagram("along-decay", 1.0, lambda ax: draw_along_decay(spectra, ax, title))


def past_saddles(found: Atlas, d: int) -> Trajectory:
    """A descent from beside the origin that parts the classes one by one.

    Raises:
        InputError: it does not end at the lowest orbit.
    """
    model = found.model.with_dimension(d)
    floor = min(orbit.objective for orbit in found.orbits if orbit.rank <= d)
    return trajectory(model, one_by_one(model), floor)


def write_film(found: Atlas, d: int, path: Path) -> None:
    """Write the descent as an animated GIF.

    Raises:
        InputError: more than three dimensions, or the descent ends above the lowest orbit.
        OSError: the file cannot be written.
    """
    with style():
        figure = Figure(figsize=(2 * HEIGHT, HEIGHT))
        film = descent_film(past_saddles(found, d), ladder_points(found, d), figure)
        write_whole(path, encoded_film(film))


def encoded_film(film: Any) -> bytes:
    """An animation as the content of a GIF, through Pillow."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        file = Path(folder) / "film.gif"
        film.save(file, writer="pillow", dpi=DOTS)
        return file.read_bytes()
