"""Options of the size of a paper, and how long they take."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from experiments.networks.tracks.options import SEEDS, TrackOptions


def at_full_size(options: TrackOptions, given: Collection[str] = ()) -> TrackOptions:
    """The options of the paper's size, those that were given apart.

    Example:
        >>> from experiments.networks.tracks.options import GraphOptions
        >>> made = at_full_size(GraphOptions(layers=8), ["layers"])
        >>> made.nodes, made.layers
        (1000, 8)
    """
    return replace(options, **{k: v for k, v in options.FULL.items() if k not in given})


def full_hours(options: TrackOptions) -> float:
    """About how long they take, of one processor, by the number of seeds.

    Example:
        >>> from experiments.networks.tracks.options import GraphOptions
        >>> full_hours(GraphOptions(seeds=1)) < full_hours(GraphOptions())
        True
    """
    return options.FULL_HOURS * options.seeds / SEEDS
