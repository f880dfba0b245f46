"""The figures of ``ufm atlas``: every diagram of a landscape as PDF, SVG and PNG, and the film."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures import blank_figure, save_figure
from experiments.files import write_whole
from landscape.atlas import Atlas, Orbit
from landscape.branches import branches
from landscape.flows import Trajectory, connect, disconnectivity, one_by_one, trajectory
from landscape.plots import (
    decay_record,
    descent_film,
    draw_along_decay,
    draw_arrangements,
    draw_bifurcation,
    draw_cosines,
    draw_coverage,
    draw_disconnectivity,
    draw_geometry,
    draw_gram_sheet,
    draw_ladder,
    draw_pathway,
    draw_plane,
    draw_slice_line,
    draw_slice_plane,
    draw_staircase,
    draw_strips,
    draw_surface,
    geometry,
    ladder_points,
    loss_label,
    orbit_slice,
    plane_record,
    strips,
    style,
)
from landscape.plots.ladder import short_label
from landscape.plots.slice import at_dimension
from ufm.errors import InputError
from ufm.plain.minimisers import thresholds

KINDS = ("pdf", "svg", "png")
# Flows and branches are followed up to this many orbits: minutes, where the search took seconds.
MAX_FOLLOWED = 40
# Diagrams with a line or an image for every orbit.
MAX_SHOWN = 80
# Geometry is drawn for the lowest orbits of each rank that can be drawn.
GEOMETRIES = 2
# Inches of a label in a column of them, and of what stands above and below the axes.
LABEL, AROUND = 0.105, 1.35
# The interval of c in the bifurcation diagram, in units of the atlas's own c and of the collapse.
BELOW, ABOVE = 0.3, 1.1
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


def write_figures(
    found: Atlas, d: int, folder: Path, *, width: float, seed: int, say: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    """Draw every diagram that suits an atlas, each at once under its three names.

    Args:
        found: an atlas.
        d: feature dimension of the diagrams that need one.
        folder: where to write, existing.
        width: of the figures in inches.
        seed: of the flows.
        say: told what is being drawn.

    Returns:
        Names of the diagrams, and lines about those that were left out.
    """
    names, notes = [], []
    for item in _diagrams(found, d, seed, width, say):
        if isinstance(item, str):
            notes.append(item)
            continue
        say(f"drawing {item.name}")
        with style():
            figure = blank_figure(width, item.aspect * width)
            item.draw(figure.add_subplot(projection=item.projection))
            for kind in KINDS:
                save_figure(figure, folder / f"{item.name}.{kind}")
        names.append(item.name)
    return names, notes


def tall(labels: int, width: float) -> float:
    """Height over width of a diagram with so many labels in a column beside it.

    Example:
        >>> tall(4, 3.4), round(tall(40, 3.4), 2)
        (0.9, 1.63)
    """
    return max(0.9, (AROUND + LABEL * labels) / width)


def _diagrams(
    found: Atlas, d: int, seed: int, width: float, say: Callable[[str], None]
) -> Iterator[Diagram | str]:
    """Every diagram that suits the atlas, and why others do not."""
    K, orbits = found.model.num_classes, found.orbits
    fitting = [orbit for orbit in orbits if orbit.rank <= d]
    title = f"{loss_label(found.model.loss.name)}, K = {K}"
    in_d = f"{title}, d = {d}"
    rungs = ladder_points(found, d)
    yield Diagram("ladder", tall(len(rungs), width), lambda ax: draw_ladder(rungs, ax, in_d))
    if len(fitting) <= MAX_SHOWN:
        rows = 0.25 + 0.055 * len(fitting)
        yield Diagram("strips", rows, lambda ax: draw_strips(strips(found, d), ax, in_d))
        # Heading, colour key and one row of images need half the width.
        sheet = max(0.7, 0.2 + 0.05 * len(orbits))
        yield Diagram("gram", sheet, lambda ax: draw_gram_sheet(orbits, ax, title))
    else:
        yield f"strips and Gram matrices are drawn up to {MAX_SHOWN} orbits, not {len(orbits)}"
    if found.history:
        hits = [orbit.hits for orbit in orbits]
        yield Diagram(
            "coverage", 0.75, lambda ax: draw_coverage(found.history, ax, title, hits=hits)
        )
    for rank in (1, 2, 3):
        drawable = [orbit for orbit in orbits if orbit.rank == rank][:GEOMETRIES]
        for i, orbit in enumerate(drawable, start=1):
            yield Diagram(
                f"geometry-rank-{rank}-{i}",
                0.9,
                lambda ax, o=orbit: draw_geometry(geometry(o), ax, o.label),  # type: ignore[misc]
                "3d" if rank == 3 else None,
            )
    saddle = next((o for o in fitting if o.rank and o.index(d) and not o.is_continuum), None)
    if saddle is not None:
        cut = orbit_slice(saddle, d)
        yield Diagram("slice-line", 0.75, lambda ax: draw_slice_line(cut, ax))
        yield Diagram("slice-plane", 0.85, lambda ax: draw_slice_plane(cut, ax))
        yield from _beside_the_minimum(fitting, saddle, d, in_d)
    yield from _of_the_landscape(found, d, in_d)
    yield from _followed(found, d, seed, width, say, title)


def _followed(
    found: Atlas, d: int, seed: int, width: float, say: Callable[[str], None], title: str
) -> Iterator[Diagram | str]:
    """Diagrams that need flows or branches."""
    K = found.model.num_classes
    if found.unsearched or any(orbit.is_continuum for orbit in found.orbits):
        yield "pathways and branches need a list of isolated orbits with nothing left out"
        return
    if len(found.orbits) > MAX_FOLLOWED:
        yield f"pathways and branches are followed up to {MAX_FOLLOWED} orbits"
        return
    if len(found.orbits) > 1:
        made = connect(
            found, d, seed=seed, progress=lambda i, n: say(f"flows from {i} of {n} orbits")
        )
        thumbnails = len(found.orbits) <= 11
        yield Diagram(
            "pathway",
            1.2,
            lambda ax: draw_pathway(made, ax, f"{title}, d = {d}", thumbnails=thumbnails),
        )
    low = max(1, K - 2)
    if d < K - 1 and K <= 6:
        say("basins")
        tree = disconnectivity(found, d, seed=seed)
        yield Diagram(
            "disconnectivity", 0.9, lambda ax: draw_disconnectivity(tree, ax, f"{title}, d = {d}")
        )
    else:
        yield f"the disconnectivity graph is for d < K - 1: -d {low}"
    say("branches along c")
    edges = BELOW * found.model.c, max(ABOVE, ABOVE * found.model.c)
    diagram = branches(found, *edges, progress=lambda b: say(f"{len(b.branches)} branches"))
    high = tall(len(found.orbits), width)
    yield Diagram("bifurcation", high, lambda ax: draw_bifurcation(diagram, ax, title))


def _beside_the_minimum(
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


def _of_the_landscape(found: Atlas, d: int, title: str) -> Iterator[Diagram | str]:
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
