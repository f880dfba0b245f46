"""Colours, names and label placement: one loss has one colour in every diagram of the lab.

Colours are those of Okabe & Ito (2008), which colour-blind readers tell apart; every colour is
doubled by a marker or a label, so that a diagram survives a black-and-white printer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex, to_rgb

INK = "#222222"
FAINT = "#8a8a8a"
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW = "#CC79A7", "#56B4E9", "#F0E442"

# By the name of a loss before its parameters, so that focal(1) and focal(3) share a colour.
LOSS_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        **{"ce": BLUE, "ls": ORANGE, "focal": PURPLE, "mse": GREEN, "rescaled-mse": RED},
        **{"bce": SKY, "logit-adjusted": YELLOW},
    }
)
LOSS_MARKERS: Mapping[str, str] = MappingProxyType(
    {
        **{"ce": "o", "ls": "s", "focal": "D", "mse": "^", "rescaled-mse": "v"},
        **{"bce": "X", "logit-adjusted": "p", "weighted-ce": "<", "vs": ">", "ldam": "h"},
    }
)
_LOSS_NAMES = {
    "ce": "cross entropy",
    "ls": "label smoothing",
    "focal": "focal",
    "mse": "MSE",
    "rescaled-mse": "rescaled MSE",
    "bce": "binary cross entropy",
    "logit-adjusted": "logit adjustment",
    "weighted-ce": "class weights",
    "vs": "VS",
    "ldam": "LDAM",
}
RANK_COLOURS = (INK, SKY, ORANGE, GREEN, PURPLE, BLUE, RED)
RANK_MARKERS = ("X", "o", "s", "^", "D", "P", "v")


def _stem(name: str) -> str:
    return name.split("(")[0]


def loss_colour(name: str) -> str:
    """The colour of a loss, by its name; a loss of your own is grey.

    Example:
        >>> loss_colour("focal(2)") == loss_colour("focal(3)") != loss_colour("ce")
        True
    """
    return LOSS_COLOURS.get(_stem(name), FAINT)


def loss_marker(name: str) -> str:
    """The marker of a loss, by its name.

    Example:
        >>> loss_marker("mse"), loss_marker("mine")
        ('^', 'P')
    """
    return LOSS_MARKERS.get(_stem(name), "P")


def loss_label(name: str) -> str:
    """The name of a loss as people say it.

    Example:
        >>> loss_label("ls(0.1)"), loss_label("mine")
        ('label smoothing', 'mine')
    """
    return _LOSS_NAMES.get(_stem(name), name)


def darker(colour: str, share: float = 0.35) -> str:
    """A colour mixed with black, for text, which needs more contrast than a line.

    Example:
        >>> darker("#ffffff", 0.5)
        '#808080'
    """
    red, green, blue = to_rgb(colour)
    return to_hex((red * (1 - share), green * (1 - share), blue * (1 - share)))


def style() -> Any:
    """A context in which diagrams are drawn: small sans-serif type, no box, light grid.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> with style():
        ...     plt.rcParams["axes.spines.top"]
        False
    """
    return mpl.rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 9.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "axes.edgecolor": FAINT,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e6e6e6",
            "grid.linewidth": 0.6,
            "axes.axisbelow": True,
            "lines.linewidth": 1.6,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            # Deterministic ids: the same data give the same file.
            "svg.hashsalt": "ufm-lab",
            "svg.fonttype": "path",
        }
    )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions at least ``gap`` apart, as close to the wanted ones as sorted order allows.

    Example:
        >>> spread([0.0, 0.1, 5.0], 1.0)
        [-0.45, 0.55, 5.0]
    """
    order = np.argsort(wanted, kind="stable")
    # Clusters of labels that touch, each centred on the mean of what its members wanted.
    clusters: list[list[float]] = []
    for i in order:
        clusters.append([float(wanted[i])])
        while len(clusters) > 1 and _start(clusters[-1], gap) < _end(clusters[-2], gap) + gap:
            last = clusters.pop()
            clusters[-1] += last
    placed = [_start(c, gap) + j * gap for c in clusters for j in range(len(c))]
    result = [0.0] * len(placed)
    for position, i in zip(placed, order, strict=True):
        result[i] = round(position, 12)
    return result


def _start(cluster: list[float], gap: float) -> float:
    return float(np.mean(cluster)) - gap * (len(cluster) - 1) / 2


def _end(cluster: list[float], gap: float) -> float:
    return _start(cluster, gap) + gap * (len(cluster) - 1)
