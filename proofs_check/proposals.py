"""What is tried next: between listed instances, near the worst, or halfway between two counts.

*Between* goes from one listed instance part of the way to another, in every number on its own or in
all alike, now and then to other sizes. *Climb* moves the numbers of what came closest to failing.
*Bisect* halves the way between two instances at which different counts were measured: a threshold
lies there, and one that is stated a per cent off is found in ten steps, not by luck.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from proofs_check.law import apart
from proofs_check.redraw import Draw
from proofs_check.specimens import NEAR
from proofs_check.trials import Field, Trial, sizes_of

# Numbers go this share of the way beyond a listed one, on a logarithmic scale.
AROUND = 0.1
# Solvers are compiled per size, some seconds each: this share of draws stays where the last was,
# and of those that move on this share has sizes of its own.
STAY, OTHER_SIZES = 0.8, 0.5
# Ends of a bisection that agree to this are one place: nearer, counts are a matter of rounding.
ONE_PLACE = NEAR
# Seeds of starts; a record of one is short.
SEEDS = 10_000


def trials(field: Field, seed: int, going: Callable[[], bool]) -> Iterator[Trial | None]:
    """One draw after the other, each chosen by what was seen before."""
    rng = np.random.default_rng((seed, zlib.crc32(field.claim.id.encode())))
    seen: list[Trial] = []
    ends: tuple[Trial, Trial] | None = None
    turn = 0
    while going():
        ends = ends or _ends(seen)
        move = turn % 3
        if move == 1 and ends is not None:
            draw = _middle(*ends)
        elif move == 2 and seen and (best := max(seen, key=_closeness)).margin > 0:
            draw = _climbed(field, best, rng)
        else:
            last = seen[-1].draw if seen else None
            draw = _between(field, rng, last)
        turn += 1
        trial = field.trial(draw)
        yield trial
        if move == 1 and ends is not None:
            ends = _narrowed(ends, trial)
        elif trial is not None:
            seen.append(trial)


def _alike(field: Field, i: int) -> list[int]:
    """Listed instances that have the same numbers, zeros included."""

    def shape(j: int) -> tuple[Any, ...]:
        model = getattr(field.listed[j], "model", None)
        kinds = (type(field.listed[j]), type(model), type(getattr(model, "loss", None)))
        return (*kinds, *((name, x == 0) for name, x in field.numbers(j).items()))

    return [j for j in field.sources if shape(j) == shape(i)]


def _between(field: Field, rng: np.random.Generator, last: Draw | None) -> Draw:
    """A listed instance, part of the way to another, from a new start."""
    # Without a model nothing is compiled.
    modelled = last is not None and hasattr(field.listed[last.listed], "model")
    stay = modelled and rng.uniform() < STAY
    i = last.listed if last is not None and stay else int(rng.choice(field.sources))
    j = int(rng.choice(_alike(field, i)))
    here, there = field.numbers(i), field.numbers(j)
    same_way = rng.uniform(-AROUND, 1 + AROUND)
    each = rng.uniform() < 0.5
    numbers = {}
    for name, x in here.items():
        way = rng.uniform(-AROUND, 1 + AROUND) if each else same_way
        numbers[name] = _on_the_way(x, there[name], way)
    seed = int(rng.integers(SEEDS))
    if last is not None and stay:
        return replace(last, seed=seed, numbers=numbers)
    sizes = _other_sizes(field, i, j, rng) if rng.uniform() < OTHER_SIZES else {}
    return Draw(i, seed, numbers, **sizes)


def _on_the_way(x: float, y: float, way: float) -> float:
    """From x to y, by factors where both are positive."""
    if x > 0 and y > 0:
        return float(x * (y / x) ** way)
    return float(x + way * (y - x))


def _other_sizes(field: Field, i: int, j: int, rng: np.random.Generator) -> dict[str, Any]:
    """Class sizes and a dimension between those of two listed instances, equal where both are."""
    sizes = [sizes_of(field.listed[k]) for k in (i, j)]
    if None in sizes:
        return {}
    (one, d), (other, e) = sizes  # type: ignore[misc]

    def pick(x: int, y: int) -> int:
        return int(rng.integers(min(x, y), max(x, y) + 1))

    K = pick(len(one), len(other))
    lowest, largest = min(*one, *other), max(*one, *other)
    if len(set(one)) == 1 and len(set(other)) == 1:
        counts = (pick(lowest, largest),) * K
    else:
        counts = tuple(pick(lowest, largest) for _ in range(K))
    # Room that was left beside the classes is left again: d = K stays d = K.
    return {"counts": counts, "d": max(1, K + pick(d - len(one), e - len(other)))}


def _climbed(field: Field, best: Trial, rng: np.random.Generator) -> Draw:
    """The numbers of a trial moved a little, within the range of the listed ones."""
    step = float(10 ** rng.uniform(-2.5, -0.5))
    listed = [field.numbers(j) for j in _alike(field, best.draw.listed)]
    numbers = {}
    for name, x in best.draw.numbers.items():
        values = [n[name] for n in listed]
        low, high = (_on_the_way(min(values), max(values), t) for t in (-AROUND, 1 + AROUND))
        moved = x * float(np.exp(step * rng.normal()))
        numbers[name] = float(np.clip(moved, low, high))
    seed = best.draw.seed if rng.uniform() < 0.5 else int(rng.integers(SEEDS))
    return replace(best.draw, numbers=numbers, seed=seed)


def _ends(seen: Sequence[Trial]) -> tuple[Trial, Trial] | None:
    """The closest two trials of one model that counted differently, the last of them new."""
    if not seen or seen[-1].reading is None:
        return None
    new = seen[-1]

    def place(t: Trial) -> tuple[Any, ...]:
        return (t.draw.listed, t.draw.counts, t.draw.d)

    others = [t for t in seen[:-1] if place(t) == place(new) and t.reading != new.reading]
    if not others:
        return None
    return min(others, key=lambda t: _apart(t.draw, new.draw)), new


def _apart(one: Draw, other: Draw) -> float:
    return max((apart(x, other.numbers[name]) for name, x in one.numbers.items()), default=0.0)


def _closeness(trial: Trial) -> float:
    """How close to failing; what fails in one place alone has been seen enough."""
    return 0.0 if trial.fails else trial.margin


def _middle(low: Trial, high: Trial) -> Draw:
    numbers = {
        name: _on_the_way(x, high.draw.numbers[name], 0.5) for name, x in low.draw.numbers.items()
    }
    return replace(low.draw, numbers=numbers)


def _narrowed(ends: tuple[Trial, Trial], middle: Trial | None) -> tuple[Trial, Trial] | None:
    """The half in which the count changes; None where that is one place, or no instance is."""
    if middle is None:
        return None
    low, high = ends
    low, high = (middle, high) if middle.reading == low.reading else (low, middle)
    return (low, high) if _apart(low.draw, high.draw) > ONE_PLACE else None
