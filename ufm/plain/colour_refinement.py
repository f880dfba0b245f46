"""Permutations that carry one integer matrix into another, exactly.

There are S = 1 or 2 matrices, ``codes`` (S, K, K), whose classes have ``colours`` (S, K) in common.
Colour refinement separates classes, twins (classes whose swap changes nothing) are divided out, and
a search settles the rest.
Source: the search is that of McKay & Piperno 2014; the twin quotient is derived here.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

from ufm.typing import Ints


def numbered(rows: NDArray[np.generic]) -> Ints:
    """Number the distinct rows along the last axis, over all sides together."""
    flat = np.unique(rows.reshape(-1, rows.shape[-1]), axis=0, return_inverse=True)[1]
    return flat.reshape(rows.shape[:-1]).astype(np.int64)


def refined(codes: Ints, colours: Ints) -> Ints:
    """Split colours by the multiset of (Z_ik, Z_ki, colour of k) over k until nothing splits.

    Multisets are compared by a sum of SplitMix64 hashes (Steele, Lea & Flood 2014). A collision
    leaves a colour too coarse, which costs time and never an answer: codes are compared at the end.
    """
    pairs = codes * (codes.max() + 1) + np.swapaxes(codes, 1, 2)
    colours = numbered(colours[..., None])
    while (number := int(colours.max()) + 1) < colours.shape[1]:
        z = (pairs * number + colours[:, None, :]).astype(np.uint64)
        z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        sums = (z ^ (z >> np.uint64(31))).sum(axis=2)
        finer = numbered(np.stack([colours.astype(np.uint64), sums], axis=-1))
        if finer.max() + 1 == number:
            break
        colours = finer
    return colours


def _twins(codes: Ints, colours: Ints) -> list[Ints]:
    """Groups of classes any two of which may be swapped; an equivalence, as swaps generate it."""
    groups = []
    for colour in np.unique(colours):
        rest = np.flatnonzero(colours == colour)
        while len(rest):
            first = rest[0]
            differ = (codes[rest] != codes[first]) | (codes[:, rest] != codes[:, [first]]).T
            differ[:, first] = False
            differ[np.arange(len(rest)), rest] = False
            twin = ~differ.any(axis=1) & (codes[rest, first] == codes[first, rest])
            groups.append(rest[twin])
            rest = rest[~twin]
    return groups


def twin_free(codes: Ints, colours: Ints) -> tuple[Ints, Ints, list[list[Ints]], int]:
    """The twin-free quotient, refined; the classes in each of its nodes; the order of the swaps."""
    members = [[np.array([k]) for k in range(colours.shape[1])] for _ in codes]
    order = 1
    while True:
        colours = refined(codes, colours)
        groups = [_twins(*side) for side in zip(codes, colours, strict=True)]
        if len(groups[0]) != len(groups[-1]):  # no relabelling: let no colour be shared
            return codes, np.arange(colours.size).reshape(colours.shape), members, order
        if len(groups[0]) == colours.shape[1]:
            return codes, colours, members, order
        order *= prod(factorial(len(group)) for group in groups[0])
        smaller, fields = [], []
        for i, (code, colour, side) in enumerate(zip(codes, colours, groups, strict=True)):
            first = np.array([group[0] for group in side])
            inner = [code[group[0], group[1]] if len(group) > 1 else -1 for group in side]
            fields.append(np.stack([colour[first], [len(group) for group in side], inner], axis=-1))
            smaller.append(code[np.ix_(first, first)])
            members[i] = [np.concatenate([members[i][k] for k in group]) for group in side]
        codes, colours = np.stack(smaller), numbered(np.stack(fields))


def _cell(colours: Ints) -> int | None:
    """The colour of the smallest cell with two classes or more, if any."""
    sizes = np.bincount(colours)
    sizes[sizes < 2] = len(colours) + 1
    return int(sizes.argmin()) if sizes.min() <= len(colours) else None


def _marked(colours: Ints, *points: int) -> Ints:
    """Colours (S, K) in which one point on each side stands out."""
    marked = 2 * colours
    marked[np.arange(len(points)), points] += 1
    return marked


def bijection(codes: Ints, colours: Ints) -> Ints | None:
    """A bijection p from side 1 to side 0 that keeps colours and codes, or None."""
    colours = refined(codes, colours)
    if not np.array_equal(np.sort(colours[0]), np.sort(colours[1])):
        return None
    cell = _cell(colours[1])
    if cell is None:
        p = np.empty(colours.shape[1], np.int64)
        p[np.argsort(colours[1])] = np.argsort(colours[0])
        return p if np.array_equal(codes[1], codes[0][np.ix_(p, p)]) else None
    position = int((colours[1] == cell).argmax())
    for image in np.flatnonzero(colours[0] == cell):
        if (found := bijection(codes, _marked(colours, int(image), position))) is not None:
            return found
    return None


def group_order(codes: Ints, colours: Ints) -> tuple[int, list[Ints]]:
    """Order and generators of the group that keeps codes (K, K) and refined colours (K,)."""
    cell = _cell(colours)
    if cell is None:
        return 1, []
    first, *others = (int(k) for k in np.flatnonzero(colours == cell))
    order, generators = group_order(codes, refined(codes[None], _marked(colours[None], first))[0])
    both, twice = np.stack([codes, codes]), np.stack([colours, colours])
    reached, refused = {first}, set[int]()
    for other in others:
        if other in reached or other in refused:
            continue
        p = bijection(both, _marked(twice, other, first))
        if p is None:
            refused |= _orbit(other, generators)
        else:
            generators.append(p)
            reached = _orbit(first, generators)
    return order * len(reached), generators


def _orbit(start: int, generators: Sequence[Ints]) -> set[int]:
    orbit = {start}
    while new := {int(p[k]) for p in generators for k in orbit} - orbit:
        orbit |= new
    return orbit
