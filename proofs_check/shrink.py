"""The smallest draw that still fails: fewer classes and samples, rounder numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from proofs_check.redraw import Draw
from proofs_check.trials import Field, Trial, sizes_of


def shrunk(field: Field, trial: Trial, most: int) -> tuple[Trial, int]:
    """The smallest draw found that still fails, and how many were checked, ``most`` at most."""
    used, going = 0, True
    refused: set[str] = set()
    while going and used < most:
        going = False
        for draw in _smaller(field, trial.draw):
            if used >= most:
                break
            if repr(draw) in refused:
                continue
            used += 1
            tried = field.trial(draw)
            if tried is not None and tried.fails and field.stands(tried):
                trial, going = tried, True
                break
            refused.add(repr(draw))
    return trial, used


def _smaller(field: Field, draw: Draw) -> Iterator[Draw]:
    """Draws that are simpler, the greatest steps first."""
    sizes = sizes_of(field.listed[draw.listed])
    if sizes is not None:
        counts, d = draw.counts or sizes[0], sizes[1] if draw.d is None else draw.d
        for sizes in _smaller_sizes(counts, d):
            yield replace(draw, counts=sizes[0], d=sizes[1])
    if draw.seed:
        yield replace(draw, seed=0)
    # All numbers rounded at once before each of them: decays are mostly found in pairs.
    for digits in (1, 2, 3):
        rounded = {name: _round(x, digits) for name, x in draw.numbers.items()}
        for numbers in (rounded, *({**draw.numbers, name: x} for name, x in rounded.items())):
            if numbers != draw.numbers and _rounder(numbers, draw.numbers):
                yield replace(draw, numbers=numbers)


def _smaller_sizes(counts: tuple[int, ...], d: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Fewer classes with the room beside them kept, fewer samples, fewer dimensions."""
    K = len(counts)
    for few in sorted({max(2, K // 2), max(2, (3 * K) // 4), max(2, K - 1)} - {K}):
        yield counts[:few], max(1, d - K + few)
    for n in sorted({1, max(counts) // 2, max(counts) - 1} - {0}):
        fewer = tuple(min(n, m) for m in counts)
        if fewer != counts:
            yield fewer, d
    if d > 1:
        yield counts, d - 1


def _round(x: float, digits: int) -> float:
    return float(f"{x:.{digits}g}")


def _rounder(numbers: dict[str, float], before: dict[str, float]) -> bool:
    """Whether the numbers take fewer digits to write."""
    return sum(len(repr(x)) for x in numbers.values()) < sum(len(repr(x)) for x in before.values())
