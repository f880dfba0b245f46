"""The lines that theory draws through a sweep: thresholds, lost classes, bifurcations, dimensions.

A law is a function of a model that changes sign on its line. It is evaluated on the plane of two
columns of a table, the others as the table has them, and followed along its zeros; so a law that
depends on neither column has no line, and one law serves every choice of axes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq

from experiments.losses import EVERY_PARAMETER
from experiments.sweep.columns import Table, numbers, scale_of, snap
from experiments.sweep.theory.laws import LAWS, SAME, Law
from experiments.sweep.theory.parameter_plane import Plane, planes
from ufm.typing import Array

Tags = Mapping[str, str]
# More lines of a law for one loss than this say nothing: this is not the plane to see it in.
MOST_LINES = 4
# Places along an axis at which laws are evaluated, besides the table's own; whole numbers have
# none, for the thresholds of another K cost a compilation.
POINTS = 17
# Along which axis a law is solved for: the first of these that is one. Whole numbers come last.
SOLVED = (
    *("c", "lambda_W", "lambda_H", "imbalance", *EVERY_PARAMETER),
    *("lambda_b", "n", "d", "K"),
)
WHOLE = ("K", "d")
# Where parameters live; the other columns of a model are positive.
TINY = float(np.finfo(float).tiny)
DOMAIN = {"smoothing": (0.0, 0.999), "gamma": (0.0, math.inf), "imbalance": (1.0, math.inf)}


@dataclass(frozen=True)
class Curve:
    """A line of theory in the plane of two columns.

    Attributes:
        label: what changes there, and in which of the table's models.
        x, y: its points; a number and None (or None and a number) for a line right across.
        law: name of the law, the same for all its lines.
        source: the statement behind it.
    """

    label: str
    x: Array | float | None
    y: Array | float | None
    law: str
    source: str


# How columns are written that tell the models of one line from those of another.
WORDS = {
    "loss": "{}",
    "saddle": "{}",
    "K": "$K$ = {}",
    "imbalance": "imbalance {}",
    "sizes": "{} classes",
    "lambda_b": r"$\lambda_b$ = {}",
    "d": "$d$ = {}",
    "n": "$n$ = {}",
}
MOST_NAMED = 3


def curves(table: Table, x: str, y: str) -> tuple[Curve, ...]:
    """The lines of theory in the plane of two columns, for the losses and models of a table.

    Collapse of the balanced minimum (``ufm.plain.minimisers.thresholds``), the window of focal
    loss in which the origin is a minimum too, classes of unequal size that merge (cross entropy,
    label smoothing) or are dropped (MSE without bias), the index of equal merged groups, and the
    dimension in which the simplex ETF or the orthogonal frame fits. A user's own loss has none.
    Source: the statements named in ``LAWS``; docs/theory.md.

    Args:
        table: cells of a sweep; c or the decays must be axes, or constant, for a threshold.
        x: column along the horizontal axis.
        y: column along the vertical axis.

    Returns:
        Those that pass through the plane, no more than four of a law for one loss.

    Raises:
        InputError: an empty table, or a column that is missing or holds text.

    Example:
        >>> from experiments.sweep.cells import expand
        >>> from experiments.sweep.spec import make_spec
        >>> axes = {"loss": {"name": "ls", "smoothing": 0.2}, "K": [3, 4], "c": [0.5, 1.0]}
        >>> cells = expand(make_spec({"task": "minimise", "axes": axes}))
        >>> [(line.label, round(line.x, 12), line.y) for line in curves(cells.columns, "c", "K")]
        [('collapse to zero', 0.8, None)]
    """
    # Laws are those of the plain model; of another one only its own closed form is known.
    found = () if "model" in table else tuple(planes(table, x, y))
    lines = [line for plane in found for line in _traced(plane)]
    tags = [plane.tags for plane in found]
    return tuple(curve for law in LAWS for curve in _labelled(law, lines, tags))


@dataclass(frozen=True)
class _Line:
    """A line of one law on one plane."""

    law: Law
    tags: Tags
    x: Array | float | None
    y: Array | float | None

    def same(self, other: _Line) -> bool:
        pairs = ((self.x, other.x), (self.y, other.y))
        return all(a is b or (a is not None and b is not None and _close(a, b)) for a, b in pairs)


def _close(a: Array | float, b: Array | float) -> bool:
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, rtol=SAME, atol=0))


def _grid(plane: Plane, name: str) -> Array:
    """Places along an axis: the table's own, and others between and half a step beyond them."""
    nodes = np.unique(snap(numbers(plane.rows, name)))
    low, high = float(nodes[0]), float(nodes[-1])
    if name in WHOLE:
        return nodes
    positive = nodes[nodes > 0]
    if scale_of(nodes) == "linear":
        step = (high - low) / max(2 * (len(nodes) - 1), 1)
        fine = np.linspace(low - step, high + step, POINTS)
    else:
        step = (high / positive[0]) ** (0.5 / (len(positive) - 1))
        fine = np.geomspace(positive[0] / step, high * step, POINTS)
    least, most = DOMAIN.get(name, (TINY if name in SOLVED else -math.inf, math.inf))
    return np.union1d(nodes, fine[(fine >= least) & (fine <= most)])


def _traced(plane: Plane) -> Iterator[_Line]:
    """The lines of all laws on a plane."""
    xs, ys = _grid(plane, plane.x), _grid(plane, plane.y)
    sites = [[plane.site({plane.x: float(x), plane.y: float(y)}) for x in xs] for y in ys]
    for law in LAWS:
        excess = np.array([[law.excess(site) for site in row] for row in sites])
        # Most laws say nothing here; one that holds with equality everywhere has no line.
        if not np.any(np.nan_to_num(excess)):
            continue
        for solved in sorted((plane.x, plane.y), key=(*SOLVED, plane.x, plane.y).index):
            along_y = solved == plane.y
            across, along = (xs, ys) if along_y else (ys, xs)

            def value(
                t: float, s: float, law: Law = law, solved: str = solved, along_y: bool = along_y
            ) -> float:
                other = plane.x if along_y else plane.y
                return law.excess(plane.site({other: t, solved: s}))

            table = excess.T if along_y else excess
            # Between whole numbers there is no model: a zero is told for neighbours alone.
            if solved in WHOLE and np.any(np.diff(along) > 1) and not law.linear:
                continue
            branches = _branches(across, along, table, None if solved in WHOLE else value)
            # One place is a line where it is one number of classes or dimensions, as a row of
            # cells, and an end point where it is the first value of a parameter.
            if (plane.x if along_y else plane.y) not in WHOLE and len(across) > 1:
                branches = [branch for branch in branches if len(branch[0]) > 1]
            for at, found in branches:
                if len(at) == 1 < len(across):
                    at, found = _tick(float(at[0]), across), np.repeat(found, 2)
                whole = len(at) == len(across) and _close(found, np.full_like(found, found[0]))
                one, other = (None, float(found[0])) if whole else (at, found)
                yield _Line(law, plane.tags, *((one, other) if along_y else (other, one)))
            if branches:
                break


def _branches(
    across: Array,
    along: Array,
    excess: Array,
    value: Callable[[float, float], float] | None,
) -> list[tuple[Array, Array]]:
    """Zeros along one axis at each place of the other, joined into lines.

    Args:
        across: places t of the first axis.
        along: places s of the second one, along which zeros are sought.
        excess: values at (t, s); NaN where the law does not apply.
        value: the law itself, to refine a bracketed zero; None to take it linear in between.

    Returns:
        Lines (t, s).
    """
    lines: list[tuple[list[float], list[float]]] = []
    active: list[int] = []
    for t, row in zip(across.tolist(), excess, strict=True):
        # No model, or equality all along: then the line runs along this axis, not across it.
        if not np.any(np.nan_to_num(row)):
            continue
        roots, ends = _zeros(t, along, row, value), []
        for root in roots:
            near = min(active, key=lambda i: abs(lines[i][1][-1] - root), default=None)
            if near is None:
                near = len(lines)
                lines.append(([], []))
            else:
                active.remove(near)
            lines[near][0].append(t)
            lines[near][1].append(root)
            ends.append(near)
        active = ends
    return [(np.array(t), np.array(s)) for t, s in lines]


def _tick(at: float, across: Array) -> Array:
    """Half a step to both sides of a place."""
    half = 0.5 * float(np.min(np.abs(across[across != at] - at)))
    return np.array([at - half, at + half])


def _zeros(
    t: float, along: Array, row: Array, value: Callable[[float, float], float] | None
) -> list[float]:
    found = []
    for i, (low, high) in enumerate(pairwise(along.tolist())):
        left, right = float(row[i]), float(row[i + 1])
        if left == 0 or (right == 0 and i + 2 == len(along)):
            found.append(low if left == 0 else high)
        elif left * right < 0:
            linear = low - left * (high - low) / (right - left)
            refined = partial(value, t) if value else None
            found.append(brentq(refined, low, high, xtol=TINY) if refined else linear)
    return found


def _labelled(law: Law, lines: Sequence[_Line], everything: Sequence[Tags]) -> Iterator[Curve]:
    """The distinct lines of a law, each with what tells its models from the others."""
    kinds: list[list[_Line]] = []
    for line in lines:
        if line.law is law:
            known = next((kind for kind in kinds if kind[0].same(line)), None)
            kinds.append([line]) if known is None else known.append(line)
    many = Counter(loss for kind in kinds for loss in _losses(kind))
    for kind in kinds:
        here, losses = [line.tags for line in kind], _losses(kind)
        if min(many[loss] for loss in losses) > MOST_LINES:
            continue
        source = ", ".join(dict.fromkeys(law.sources[loss] for loss in losses))
        label = ", ".join([law.words, *_telling(here, everything)])
        yield Curve(label, kind[0].x, kind[0].y, law.name, source)


def _losses(kind: Sequence[_Line]) -> list[str]:
    """The losses of a line, without their parameters."""
    return list(dict.fromkeys(line.tags["loss"].partition("(")[0] for line in kind))


def _telling(here: Sequence[Tags], everything: Sequence[Tags]) -> Iterator[str]:
    """What tells some models from the other ones of a table, in few words."""
    others = list(everything)
    for name, words in WORDS.items():
        values = list(dict.fromkeys(tags[name] for tags in here if name in tags))
        if len(others) == len(here) or {tags.get(name) for tags in others} == set(values):
            continue
        if 0 < len(values) <= MOST_NAMED:
            others = [tags for tags in others if tags.get(name) in values]
            yield words.format(", ".join(values)) if values != ["nan"] else "no bias"
