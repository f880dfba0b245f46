"""The pictures of the report: which models they show, their captions, and their files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from experiments.figures import blank_figure, encoded
from landscape.atlas import Atlas, atlas
from landscape.plots import (
    descent_record,
    draw_descent,
    draw_gram_sheet,
    draw_ladder,
    draw_slice_line,
    draw_slice_plane,
    draw_spectrum,
    draw_strips,
    draw_transition,
    draw_window,
    ladder_points,
    slice_record,
    spectrum_record,
    strips,
    style,
    transition_record,
    window_record,
)
from landscape.solvers.solve import solve
from proofs_check.specimens import losses
from ufm import UFM, CrossEntropy, Focal, Point
from ufm.frames import merged_code

# Inches of one panel, by the number of panels in the row: where three share a row of the page each
# is shown smaller, so it is drawn smaller, with type of the same size.
WIDTHS, HEIGHT = {1: 4.8, 2: 4.4, 3: 3.5}, 3.3
# Of a panel that is as wide as a column of a journal, two of them as its page: type of 8 points.
COLUMN = (3.4, 2.8)
DOTS_PER_INCH = 160
# Colours span at least so many spreads between seeds: what a seed moves looks pale.
SPREADS = 8.0
# Of a map, and the share of them from which on writing must be white.
COLOURS, DARK = "YlGnBu", 0.6


@dataclass(frozen=True)
class Panel:
    """One diagram of a picture.

    Attributes:
        name: last part of its file name.
        alt: what a reader who cannot see it should know.
        source: the drawing as a data address, for the page.
    """

    name: str
    alt: str
    source: str


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        name: stem of its files.
        title: heading.
        caption: what to see in it.
        panels: its diagrams, side by side where there is room.
        files: file name -> content, the whole figure as SVG and PNG.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    files: Mapping[str, bytes]


Drawing = tuple[str, str, Callable[[Axes], Axes]]


def pictures(say: Callable[[str], None] = lambda line: None) -> tuple[Picture, ...]:
    """All pictures, computed anew.

    Args:
        say: called with a line before each picture.
    """
    makers = (_spectrum, _ladder, _landscape, _slice, _descent, _transition)
    made = []
    for maker in makers:
        say(f"figure: {maker.__name__.removeprefix('_')}")
        made.append(maker())
    return tuple(made)


def picture(
    name: str,
    title: str,
    caption: str,
    drawings: Sequence[Drawing],
    *,
    size: tuple[float, float] | None = None,
    across: int | None = None,
) -> Picture:
    """Draw every panel on its own for the page, and all of them in one row for the files.

    ``size`` is that of one panel in inches, where its content needs another than the usual one;
    of more panels than ``across`` the files have several rows.

    Example:
        >>> made = picture("a", "A", "Nothing to see.", [("x", "an empty panel", lambda ax: ax)])
        >>> sorted(made.files), made.panels[0].source[:26]
        (['a.png', 'a.svg'], 'data:image/svg+xml;base64,')
    """
    size = size or (WIDTHS.get(len(drawings), min(WIDTHS.values())), HEIGHT)
    panels = []
    for part, alt, draw in drawings:
        content = _saved([draw], ("svg",), size)["svg"]
        source = "data:image/svg+xml;base64," + base64.b64encode(content).decode()
        panels.append(Panel(part, alt, source))
    together = [draw for _, _, draw in drawings]
    saved = _saved(together, ("svg", "png"), size, across)
    files = {f"{name}.{kind}": content for kind, content in saved.items()}
    return Picture(name, title, caption, tuple(panels), files)


column_picture = partial(picture, size=COLUMN, across=2)


def name_artists(ax: Axes, **place: Any) -> None:
    """A legend, where there is something to name: runs that all stopped leave an empty panel.

    Example:
        >>> ax = blank_figure(2.0, 2.0).add_subplot()
        >>> name_artists(ax)
        >>> ax.get_legend() is None
        True
    """
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**place)


def colours_over(values: Any, least: float) -> Normalize:
    """A scale of colours over finite values and a third beyond, and over at least so much.

    Example:
        >>> scale = colours_over(np.array([0.0, 1.0]), 4.0)
        >>> scale.vmin, scale.vmax
        (-1.5, 2.5)
    """
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    # A difference of rounding size must not look like one of substance.
    least = max(least, 1e-3 * max(abs(low), abs(high), 1e-9))
    span, middle = max(1.6 * (high - low), least), (low + high) / 2
    return Normalize(middle - span / 2, middle + span / 2)


def draw_over_seeds(ax: Axes, x: Any, values: Any, middle: Any = np.mean, **look: Any) -> None:
    """A line through the middle of the values at every place, with bars from least to most.

    Args:
        ax: where to draw.
        x: the places.
        values: the numbers at every place, those of its seeds; without places nothing is drawn.
        middle: of numbers.
        look: as ``Axes.errorbar`` takes it.

    Example:
        >>> ax = blank_figure(2.0, 2.0).add_subplot()
        >>> draw_over_seeds(ax, [1, 2], [[0.0, 4.0], [0.4, 0.4, 0.4]])
        >>> ax.lines[0].get_ydata().round(9).tolist()
        [2.0, 0.4]
    """
    if len(values):
        low, y, high = (np.array([f(each) for each in values]) for f in (np.min, middle, np.max))
        # The mean of equal numbers may lie beside them by a rounding.
        ax.errorbar(x, y, yerr=np.maximum((y - low, high - y), 0), **look)


def _saved(
    draws: Sequence[Callable[[Axes], Axes]],
    kinds: Sequence[str],
    size: tuple[float, float],
    across: int | None = None,
) -> dict[str, bytes]:
    saved = {}
    with style():
        columns = min(len(draws), across or len(draws))
        rows = -(-len(draws) // columns)
        figure = blank_figure(size[0] * columns, size[1] * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for draw, ax in zip(draws, panels, strict=False):
            draw(ax)
        for ax in panels[len(draws) :]:
            ax.remove()
        for kind in kinds:
            saved[kind] = encoded(figure, kind, DOTS_PER_INCH)
            figure.set_layout_engine("none")
    return saved


def _saddle(model: UFM) -> Point:
    """The critical point at which classes are merged in two pairs (CE-6), merged columns."""
    code = 2 * merged_code((2, 2), model.d)
    merge = model.merge()
    start = Point(code, code.T)
    found = solve(model, start if merge is None else merge.lift(start), method="critical")
    point: Point = found.point
    return point


def _spectrum() -> Picture:
    model = UFM(CrossEntropy(), 5, 7, 3, lambda_W=0.03, lambda_H=0.02)
    best = spectrum_record(model, title="minimiser: K=5, d=7, n=3")
    small = UFM(CrossEntropy(), 4, 5, 2, lambda_W=0.03, lambda_H=0.02)
    saddle = spectrum_record(small, _saddle(small), "saddle, classes 2|2: K=4, d=5, n=2")
    return picture(
        "spectrum",
        "Hessian spectra with multiplicities",
        "Cross entropy. Coloured stems are the closed form (left) and the reduction A-1, A-2, A-5 "
        "(right), one colour per block; rings are the eigenvalues of the dense Hessian of the full "
        "problem, which knows no structure. Every ring sits on a stem. At the minimiser the zero "
        f"modes are the rotations and nothing else; at the saddle the {saddle.index} eigenvalues "
        "in the shaded half are the ways down. The largest difference is "
        f"{max(best.error, saddle.error):.0e} of the largest eigenvalue.",
        [
            (
                "minimiser",
                "Stem plot of the Hessian spectrum at the global minimiser, predicted and measured",
                lambda ax: draw_spectrum(best, ax),
            ),
            (
                "saddle",
                "Stem plot of the Hessian spectrum at a saddle, predicted and measured",
                lambda ax: draw_spectrum(saddle, ax),
            ),
        ],
    )


@cache
def _four_classes() -> Atlas:
    return atlas(UFM(CrossEntropy(), 4, 4, lambda_W=0.02, lambda_H=0.02))


def _ladder() -> Picture:
    found = ladder_points(_four_classes(), 4)
    matrices = sum(orbit.count for orbit in _four_classes().orbits)
    return picture(
        "ladder",
        "The saddle ladder",
        f"Cross entropy, K=4, d=4: {len(found)} orbits of critical points ({matrices} matrices "
        "Z = W H); their Euler checksum is 1 in every dimension. Labels say which classes share a "
        "code (2|1|1: two merged, two alone) and how many Z an orbit has. Only the simplex ETF has "
        "index 0: every other rung has a way down. Note the two orbits of rank 1 with the same "
        "objective and singular values that differ in index.",
        [
            (
                "cross-entropy",
                "Objective against index of all critical points found, coloured by rank",
                lambda ax: draw_ladder(found, ax, "cross entropy, K=4, d=4"),
            )
        ],
    )


def _landscape() -> Picture:
    found = _four_classes()
    return picture(
        "landscape",
        "The whole landscape of four classes",
        "Cross entropy, K=4. Left: the Hessian spectrum of every orbit for d=4, in units of sigma; "
        "negative eigenvalues on the left, zero modes as rings, and index / nullity in the margin. "
        "Right: the matrices Z = W H, classes in an order that shows the symmetry. "
        "More: ufm atlas --figures.",
        [
            (
                "strips",
                "One row of Hessian eigenvalues for every critical point",
                lambda ax: draw_strips(strips(found, 4), ax, "spectra, K=4, d=4"),
            ),
            (
                "gram",
                "The matrix Z of every critical point as an image",
                lambda ax: draw_gram_sheet(found.orbits, ax, "Z = W H, K=4"),
            ),
        ],
    )


def _slice() -> Picture:
    model = UFM(CrossEntropy(), 4, 4, lambda_W=0.02, lambda_H=0.02)
    data = slice_record(model, _saddle(model), title="through the saddle 2|2")
    return picture(
        "slice",
        "A saddle from inside",
        "Cross entropy, K=4, d=4, at the saddle with classes merged in two pairs. Left: the "
        "objective along its exact escape direction (CE-4) falls to both sides, along scaling W "
        "and H it rises; dashed parabolas have the curvature of the closed form. Right: the plane "
        "of both directions. The red contour is the level of the saddle; the two basins to its "
        "sides separate the merged classes, and the origin is the summit below.",
        [
            (
                "line",
                "Objective along the escape direction and along scaling, through a saddle",
                lambda ax: draw_slice_line(data, ax),
            ),
            (
                "plane",
                "Contours of the objective on the plane of the two directions",
                lambda ax: draw_slice_plane(data, ax),
            ),
        ],
    )


def _descent() -> Picture:
    runs = [descent_record(UFM(x, 4, 6, 5, lambda_W=0.03, lambda_H=0.03)) for x in losses()]

    def drawing(metric: str) -> Drawing:
        alt = f"{metric} along gradient descent for five losses, with the predicted slopes"
        return metric.lower(), alt, lambda ax: draw_descent(runs, ax, metric)

    return picture(
        "descent",
        "Collapse along gradient descent",
        "K=4, d=6, n=5, all decays 0.03, the same random start for all losses; nothing is merged. "
        "Dashed lines have the slope that the closed-form spectrum predicts, with nothing fitted. "
        "The squared losses collapse fastest. In NC3 cross entropy, label smoothing and focal "
        "loss lie on one line: their slowest mode is a common shift of the rows of W, which feels "
        "weight decay alone, whatever the loss.",
        [drawing(metric) for metric in ("NC1", "NC2", "NC3")],
    )


def _transition() -> Picture:
    runs = [transition_record(loss) for loss in losses()]
    window = window_record(Focal(3.0), 50)
    return picture(
        "transition",
        "The transition at the threshold",
        "Left (K=4, d=5): as weight decay grows the logit gap of the global minimum shrinks and "
        "reaches zero at the threshold c*, for every loss; lines are the closed form, markers "
        "where a solver ended from random starts. Right: focal loss with 50 classes is not convex "
        "at the origin, and the transition becomes a jump. In the shaded window the origin is a "
        "local minimum that is not global: a solver that starts near it stays there, one that "
        "starts at an ETF does not.",
        [
            (
                "losses",
                "Logit gap against weight decay for five losses, theory and solver",
                lambda ax: draw_transition(runs, ax, "five losses, K=4"),
            ),
            (
                "focal",
                "The window in which focal loss has a spurious minimum at the origin",
                lambda ax: draw_window(window, ax, "focal loss, γ=3, K=50"),
            ),
        ],
    )
