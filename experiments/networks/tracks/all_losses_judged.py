"""Which losses are equal where: every loss beside the first, by width and length of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.networks.measures.equivalence import (
    DIFFERS,
    EQUAL,
    FEWEST,
    OPEN,
    Equivalence,
    equivalence,
)
from experiments.networks.tracks.track import Result

# Test accuracies that differ by less are called equal, as in the claims of `ufm compare`.
MARGIN = 0.02
# Share of the train labels that a network must guess to have fitted: one of 1,390 digits may be
# missed, as some runs with squared error miss one to the last.
FIT = 0.999
UNFIT = "did not fit"
# What may be said of a comparison, and how many are said to be so.
SAID = {
    EQUAL: "equal within the margin",
    DIFFERS: "different by more",
    OPEN: "open",
    UNFIT: "not to be asked, because a run did not fit",
}


@dataclass(frozen=True)
class Judged:
    """A loss beside the first one in one case.

    Attributes:
        case, method: which.
        told: of test accuracies paired by seed; None where some run of the two did not fit.
        unfit: runs of this loss that did not fit, those that stopped included.
        num: runs of this loss.
    """

    case: str
    method: str
    told: Equivalence | None
    unfit: int
    num: int

    @property
    def verdict(self) -> str:
        """Equal, differs, open, or did not fit."""
        return UNFIT if self.told is None else self.told.verdict


def has_fitted(result: Result) -> bool:
    """Whether a run guessed the train labels at its end."""
    return result.numbers.get("train_accuracy", 0.0) >= FIT


def judge(results: Sequence[Result]) -> list[Judged]:
    """Every loss but the first beside the first, case by case.

    Example:
        >>> from experiments.networks.tracks.track import Cell
        >>> right = {"train_accuracy": 1.0, "test_accuracy": 0.9}
        >>> made = [Result(Cell("a", m, seed), right) for m in ("ce", "mse") for seed in range(3)]
        >>> [(one.method, one.verdict) for one in judge(made)]
        [('mse', 'equal')]
    """
    groups: dict[tuple[str, str], dict[int, Result]] = {}
    for r in results:
        groups.setdefault((r.cell.case, r.cell.method), {})[r.cell.seed] = r
    made = []
    for (case, method), mine in groups.items():
        first = results[0].cell.method
        theirs = groups.get((case, first))
        if method == first or theirs is None:
            continue
        told = None
        if all(map(has_fitted, (*mine.values(), *theirs.values()))):
            shared = sorted(mine.keys() & theirs.keys())
            own, other = (
                np.array([group[seed].numbers["test_accuracy"] for seed in shared])
                for group in (mine, theirs)
            )
            told = equivalence(own - other, MARGIN) if shared else None
        unfit = sum(not has_fitted(r) for r in mine.values())
        made.append(Judged(case, method, told, unfit, len(mine)))
    return made


def conclusions_of(judged: Sequence[Judged], first: str) -> tuple[str, ...]:
    """What the comparisons with the first loss say, in sentences.

    Example:
        >>> conclusions_of([], "ce")
        ('There is one loss, and nothing to compare it with.',)
    """
    if not judged:
        return ("There is one loss, and nothing to compare it with.",)
    by_word = {word: [one for one in judged if one.verdict == word] for word in SAID}
    counted = ", ".join(f"{len(by_word[word])} {said}" for word, said in SAID.items())
    lines = [
        f"Comparisons with {first}, one per loss, width and length: {counted}; of {len(judged)}, "
        f"with a margin of {100 * MARGIN:g} points of test accuracy, at level 0.05 each."
    ]
    if by_word[DIFFERS]:
        lines.append(f"Different: {'; '.join(map(_line, by_word[DIFFERS]))}.")
    if any(one.told is not None and one.told.num < FEWEST for one in by_word[OPEN]):
        lines.append(f"Fewer than {FEWEST} seeds leave a comparison open.")
    return tuple(lines)


def _line(one: Judged) -> str:
    told = one.told
    if told is None:
        return f"{one.method}, {one.case}: {UNFIT}"
    low, mean, high = (100 * x for x in (told.low, told.mean, told.high))
    return f"{one.method}, {one.case}: {mean:+.1f} points ({low:+.1f} to {high:+.1f})"


def case_of(case: str) -> tuple[float, int]:
    """Width and epochs.

    Example:
        >>> case_of("width 0.25, 40 epochs")
        (0.25, 40)
    """
    _, width, epochs, _ = case.split()
    return float(width.rstrip(",")), int(epochs)
