"""The symmetries that critical points are looked for with: merged classes, mirrors, polygons.

Every list is up to relabelling. A group of classes is merged: they share w, hbar and b. Groups of
one size may be of one *type*: any two of them can be swapped. By representation theory the fixed
points of such a symmetry are (components, each with one multiple per type)

    merged     a simplex on the groups of every type with two groups or more, and T - 1 lines on
               which types differ (T where a shift of the logits matters)
    mirror     an involution swaps p pairs of groups: p lines on which partners are opposite, and
               the lines on which types differ
    polygon    groups in a circle, by rotation and reflection: a plane for every harmonic

Sources: Palais (1979); representation theory derived here. Mirrors with one pair are merged types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, product

import numpy as np

from ufm.errors import require_count
from ufm.frames import polygon, simplex_etf
from ufm.models.symmetric import Symmetry

Sizes = tuple[int, ...]
# Types that differ freely: three of them leave at most 2 (3 * 5) + 3 unknowns.
MAX_TYPES = 3
# Polygons with all harmonics up to this many groups: 2 floor(G / 2) unknowns; beyond, the first.
ALL_HARMONICS = 12


def partitions(total: int, parts: int, largest: int | None = None) -> Iterator[Sizes]:
    """Partitions of a number into at most so many parts, in descending order.

    Example:
        >>> list(partitions(4, 3))
        [(4,), (3, 1), (2, 2), (2, 1, 1)]
        >>> len(list(partitions(100, 3)))
        884
    """
    if total == 0:
        yield ()
    elif parts:
        for first in range(min(total, largest or total), 0, -1):
            for rest in partitions(total - first, parts - 1, first):
                yield (first, *rest)


def symmetries(
    kinds: Sequence[int], *, shift: bool, max_groups: int, max_types: int = MAX_TYPES
) -> list[Symmetry]:
    """Every symmetry of the kinds above that leaves more than the origin, most symmetric first.

    Partitions into at most ``max_groups`` groups and at most ``max_types`` types; with classes
    of one kind also all partitions into equal groups, and polygons on them.

    Args:
        kinds: a number per class; groups hold classes of one kind.
        shift: whether rank Z <= K - 1 at every critical point (``highest_rank``).
        max_groups: at least 1.
        max_types: at least 1.

    Example:
        >>> [s.name for s in symmetries([1, 1, 1], shift=True, max_groups=3)]
        ['1·1·1', '2|1', '1·1|1', '1|1|1']
    """
    require_count(max_groups, "max_groups", 1, "allow one group of classes or more")
    require_count(max_types, "max_types", 1, "allow one type of groups or more")
    found = [merged(kinds, blocks, shift=shift) for blocks in _blocks(kinds, max_groups, max_types)]
    if len(set(kinds)) == 1:
        K = len(kinds)
        equal = [(K // G, G) for G in range(max_groups + 1, K + 1) if K % G == 0]
        found += [merged(kinds, [(0, m, G)], shift=shift) for m, G in equal]
        found += [polygonal(K, G) for G in range(4, K + 1) if K % G == 0]
        found += _mirrors(K, max_groups, max_types, shift)
    return sorted((s for s in found if s.frames), key=lambda s: (s.shape, s.name))


def merged(
    kinds: Sequence[int], blocks: Sequence[tuple[int, int, int]], *, shift: bool = True
) -> Symmetry:
    """Classes merged into groups, groups of one type at the vertices of a simplex.

    Args:
        kinds: a number per class.
        blocks: one (kind, classes per group, groups) for every type, the i-th kind in order
            of their numbers.
        shift: see ``symmetries``.

    Example:
        >>> merged([1] * 5, [(0, 2, 2), (0, 1, 1)]).name  # two pairs of one type, and a class
        '2·2|1'
    """
    K, T = len(kinds), len(blocks)
    distinct = np.unique(kinds)
    waiting = [list(np.flatnonzero(np.asarray(kinds) == value)) for value in distinct]
    types, frames = np.zeros(K, dtype=np.int64), []
    for t, (which, size, groups) in enumerate(blocks):
        members = np.array([waiting[which].pop(0) for _ in range(size * groups)])
        types[members] = t
        if groups > 1:
            F = np.zeros((K, groups - 1))
            F[members] = (
                np.repeat(simplex_etf(groups), size, axis=0) * (groups / (groups - 1)) ** 0.5
            )
            frames.append(F)
    frames += [np.ones((K, 1))] * (T - 1 if shift else T)
    name = "|".join(
        "·".join([str(size)] * groups) if groups < 5 else f"{size}^{groups}"
        for _, size, groups in blocks
    )
    return Symmetry(name, types, tuple(frames))


def polygonal(K: int, groups: int) -> Symmetry:
    """Equal groups in a circle: the fixed points of rotation and reflection.

    All harmonics cos(2 pi j k / G) for a few groups; the polygon itself, j = 1, for many.

    Example:
        >>> polygonal(5, 5).shape  # harmonics 1 and 2
        (1, 2)
    """
    code = np.repeat(polygon(groups), K // groups, axis=0)
    angle = np.arctan2(code[:, 1], code[:, 0])
    last = groups // 2 if groups <= ALL_HARMONICS else 1
    frames = [np.stack([np.cos(j * angle), np.sin(j * angle)], axis=1) for j in range(1, last + 1)]
    if groups % 2 == 0 and last > 1:
        frames[-1] = frames[-1][:, :1]  # the alternating harmonic has no sine
    name = f"{groups}-gon" + (f" of {K // groups}^{groups}" if groups < K else "")
    return Symmetry(name, np.zeros(K, dtype=np.int64), tuple(frames))


def _mirrors(K: int, max_groups: int, max_types: int, shift: bool) -> Iterator[Symmetry]:
    """Involutions that swap two pairs of groups or more."""
    for pairs in range(2, max_groups // 2 + 1):
        for fixed in range(min(max_groups - 2 * pairs, max_types - pairs) + 1):
            for sizes in combinations_with_replacement(range(1, K + 1), pairs):
                rest = K - 2 * sum(sizes)
                if rest < fixed or (rest and not fixed):
                    continue
                for still in partitions(rest, fixed):
                    if len(still) == fixed:
                        yield _mirror(K, sizes, still, shift)


def _mirror(K: int, sizes: Sizes, still: Sizes, shift: bool) -> Symmetry:
    """Pairs of groups of the given sizes, partners opposite, and groups that stay."""
    types = np.repeat(np.arange(len(sizes) + len(still)), [*(2 * np.array(sizes)), *still])
    sign = np.concatenate([*(np.repeat([1.0, -1.0], m) for m in sizes), np.zeros(sum(still))])
    lines = len(sizes) + len(still) - (1 if shift else 0)
    frames = [sign[:, None]] * len(sizes) + [np.ones((K, 1))] * lines
    name = "mirror " + "|".join(f"±{m}" for m in sizes) + "".join(f"|{m}" for m in still)
    return Symmetry(name, types, tuple(frames))


def _blocks(
    kinds: Sequence[int], max_groups: int, max_types: int
) -> Iterator[list[tuple[int, int, int]]]:
    """All (kind, group size, groups) per type that use every class once."""
    numbers = [int(m) for m in np.unique(kinds, return_counts=True)[1]]
    choices = [
        [(i, chosen) for chosen in _typed(m, max_groups, max_types)] for i, m in enumerate(numbers)
    ]
    for combined in product(*choices):
        blocks = [(i, size, groups) for i, chosen in combined for size, groups in chosen]
        if len(blocks) <= max_types and sum(groups for *_, groups in blocks) <= max_groups:
            yield blocks


def _typed(total: int, max_groups: int, max_types: int) -> Iterator[list[tuple[int, int]]]:
    """Partitions of a number whose equal parts are themselves partitioned into types."""
    for sizes in partitions(total, max_groups):
        distinct, repeats = np.unique(sizes, return_counts=True)
        ways = [list(partitions(int(q), max_types)) for q in repeats]
        for split in product(*ways):
            if sum(map(len, split)) <= max_types:
                yield [
                    (int(m), G)
                    for m, parts in zip(distinct[::-1], split[::-1], strict=True)
                    for G in parts
                ]
