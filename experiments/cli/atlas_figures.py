"""The figures of ``ufm atlas``: every diagram of a landscape as PDF, SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.cli.atlas_pictures import Diagram, beside_the_minimum, of_the_landscape
from experiments.figures import blank_figure, save_figure
from landscape.atlas import Atlas
from landscape.branches import branches
from landscape.flows import connect, disconnectivity
from landscape.plots import (
    draw_bifurcation,
    draw_coverage,
    draw_disconnectivity,
    draw_geometry,
    draw_gram_sheet,
    draw_ladder,
    draw_pathway,
    draw_slice_line,
    draw_slice_plane,
    draw_strips,
    geometry,
    ladder_points,
    loss_label,
    orbit_slice,
    strips,
    style,
)

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
        yield from beside_the_minimum(fitting, saddle, d, in_d)
    yield from of_the_landscape(found, d, in_d)
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
