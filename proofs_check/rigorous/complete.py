"""Complete landscapes, proved: every critical point of some ranks, and of all ranks for K = 3.

For cross entropy and label smoothing without bias and classes of one size:

- rank 0 is the origin;
- rank 1 is covered by boxes (``cover``), rank 2 of four classes too (``cover_two``);
- rank K - 1 is one orbit or none: there all singular values of the logit gradient G are sigma but
  for the one of 1' G = 0, so the duality gap vanishes, and the convex problem has one solution.
- where the origin is the minimum of the convex problem, it is the only critical point: along s Z
  that problem is strictly convex, and flat at a critical point.

Derived here: docs/certificates.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from landscape.atlas import Orbit
from proofs_check.rigorous.certificate import document, loss_record, model_record
from proofs_check.rigorous.cover import Cover, prove_rank_one
from proofs_check.rigorous.cover_two import MOST_BOXES, CoverTwo, prove_rank_two
from proofs_check.rigorous.intervals import Interval
from proofs_check.rigorous.rank_one import RankOne
from proofs_check.rigorous.rank_two import RankTwo
from proofs_check.rigorous.rank_two_coordinates import CLASSES
from ufm.answers import Minimiser
from ufm.errors import InputError
from ufm.plain.model import UFM
from ufm.typing import Array

# Boxes grow with the power K - 1: 4 classes take 10,000 of them, 5 take half a million.
MOST_CLASSES = 5
# A segment of decays is walked along in pieces, so long at first as a share of the decay. A piece
# that fails, or takes so many times the boxes of the last one, is halved; the next is longer.
FIRST_STEP, LEAST_STEP, LONGER, PATIENCE = 0.01, 1e-5, 1.5, 3


@dataclass(frozen=True)
class Covers:
    """Proofs of rank one for all decays between two ends, piece by piece.

    Attributes:
        pieces: covers of intervals of decays that follow one another.
        models: what each piece is about, as the certificates say it.
        until: the other end of the segment that was asked for.
    """

    pieces: tuple[Cover, ...]
    models: tuple[dict[str, Any], ...]
    until: float

    @property
    def complete(self) -> bool:
        """Whether every piece is, and together they reach the other end of the segment."""
        return self.until in self.ends and all(cover.complete for cover in self.pieces)

    @property
    def orbits(self) -> int:
        """Orbits of rank one, the same number for all decays."""
        return len(self.pieces[0].orbits)

    @property
    def undecided(self) -> int:
        """Boxes left open."""
        return sum(cover.undecided.shape[1] for cover in self.pieces)

    @property
    def boxes(self) -> int:
        """Boxes evaluated."""
        return sum(cover.boxes for cover in self.pieces)

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last lambda_W."""
        decays = [cover.equations.lambda_w for cover in self.pieces]
        return float(min(x.lo for x in decays)), float(max(x.hi for x in decays))

    def documents(self) -> list[dict[str, Any]]:
        """One certificate per piece."""
        pairs = zip(self.models, self.pieces, strict=True)
        return [document("rank one", {"model": model, **cover.record()}) for model, cover in pairs]


def require_rank_one(model: UFM) -> None:
    """Refuse a model whose critical points of rank one no cover is known for.

    Raises:
        InputError: it is another loss than cross entropy or label smoothing, or has a bias, classes
            of several sizes or too many classes.
    """
    reasons = {
        f"the loss {model.loss.name}": smoothing_of(model) is None,
        "a bias": model.lambda_b is not None,
        f"the counts {model.counts_tuple}": not model.balanced,
        f"{model.num_classes} classes": model.num_classes > MOST_CLASSES,
    }
    got = next((reason for reason, holds in reasons.items() if holds), None)
    if got is not None:
        rule = (
            "Completeness is proved for cross entropy and label smoothing, without bias, for "
            f"at most {MOST_CLASSES} classes of one size"
        )
        raise InputError(rule, got, "leave --prove out: the searches and checksums remain")


def prove_covers(
    model: UFM,
    known: Sequence[Array],
    until: float | None = None,
    *,
    most_boxes: int = 2_000_000,
    progress: Callable[[str], None] = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
) -> Covers:
    """All critical points of rank one, for one pair of decays or for a segment of them.

    A segment is walked along from the model's decays, and the orbits with it: every piece has as
    many, and neighbours share a decay.

    Args:
        model: with one column per sample, without bias, balanced.
        known: gaps of the known orbits at the model's own decays.
        until: the last lambda_W, lambda_H in proportion; None: only the model's decays.
        most_boxes: work per piece.
        progress: told how far the proof is.
        stop: asked now and then; once it says so, what is left stays undecided.

    Raises:
        InputError: as ``require_rank_one``; or a known orbit is degenerate.
    """
    require_rank_one(model)
    first = at = float(model.lambda_W)
    ratio, end = float(model.lambda_H) / first, first if until is None else until
    pieces, models, orbits, step = list[Cover](), list[dict[str, Any]](), list(known), FIRST_STEP
    while not pieces or (at != end and pieces[-1].complete and not stop()):
        to = min(at * (1 + step), end) if end > at else max(at / (1 + step), end)
        low, high = sorted((at, to))
        classifier = Interval.between(low, high)
        features = Interval.between(
            *(float(model.lambda_H) if x == first else x * ratio for x in (low, high))
        )
        equations = RankOne(
            model.num_classes, classifier, features * float(model.n), smoothing_of(model) or 0.0
        )
        may_halve = to != at and step > LEAST_STEP
        budget = PATIENCE * pieces[-1].boxes if pieces and may_halve else most_boxes
        where = f" for lambda_W from {low:g} to {high:g} of {end:g}" if to != at else ""
        try:
            moved = [equations.polished(u) for u in orbits]
            cover = prove_rank_one(
                equations,
                moved,
                most_boxes=min(budget, most_boxes),
                progress=partial(_told, progress, where),
                stop=stop,
            )
        except InputError:
            if not may_halve:
                raise
            step *= 0.5
            continue
        if not cover.complete and may_halve and not stop():
            step *= 0.5
            continue
        pieces.append(cover)
        decays = {"lambda_w": classifier, "lambda_h": features}
        models.append(model_record(model) | {name: _ends(x) for name, x in decays.items()})
        at, orbits, step = to, moved, step * LONGER
    if first > end:
        pieces, models = pieces[::-1], models[::-1]
    return Covers(tuple(pieces), tuple(models), end)


def _told(progress: Callable[[str], None], where: str, boxes: int, left: int) -> None:
    progress(f"{boxes:,} boxes, {left:,} left{where}")


def smoothing_of(model: UFM) -> float | None:
    """delta of label smoothing, 0 for cross entropy, None for another loss."""
    told = loss_record(model.loss)
    smoothings: dict[str, float] = {"ce": 0.0, "ls": told.get("smoothing", 0.0)}
    return smoothings.get(told["name"])


def gaps(W: Array) -> Array:
    """u (K-1,) of a classifier of rank one: gaps between its entries in falling order.

    Example:
        >>> gaps(np.array([[1.0], [-3.0], [2.0]])).round(12).tolist()
        [1.0, 4.0]
    """
    left, values, _ = np.linalg.svd(W)
    return -np.diff(np.sort(left[:, 0] * values[0])[::-1])


def _ends(decay: Interval) -> float | list[float]:
    return float(decay.lo) if decay.lo == decay.hi else [float(decay.lo), float(decay.hi)]


def require_rank_two(model: UFM) -> None:
    """Refuse a model of which rank 2 is neither covered nor known.

    Raises:
        InputError: as ``require_rank_one``; or there are more than four classes.
    """
    require_rank_one(model)
    if model.num_classes not in (CLASSES - 1, CLASSES):
        rule = "Rank 2 is covered for 4 classes (of 3 it is the highest, which a theorem knows)"
        raise InputError(rule, f"{model.num_classes} classes", "take --prove-rank 1")


def cover_rank_two(
    model: UFM,
    orbits: Sequence[Orbit],
    *,
    most_boxes: int = MOST_BOXES,
    progress: Callable[[str], None] = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
) -> CoverTwo | None:
    """All critical points of rank two by boxes, or None where a theorem knows them.

    Args:
        model: with one column per sample, without bias, balanced.
        orbits: the list that shall be complete.
        most_boxes: work after which what is open is left undecided.
        progress: told how far the proof is.
        stop: asked now and then; once it says so, what is left stays undecided.

    Raises:
        InputError: as ``require_rank_two``; or a known orbit is degenerate.
    """
    require_rank_two(model)
    if model.num_classes != CLASSES or origin_alone(model):
        return None
    equations = RankTwo(
        Interval.of(float(model.lambda_W)),
        Interval.of(float(model.lambda_H)) * float(model.n),
        smoothing_of(model) or 0.0,
    )
    planes, lines = (
        [np.asarray(orbit.point.W) for orbit in orbits if orbit.rank == rank] for rank in (2, 1)
    )
    return prove_rank_two(
        equations, planes, lines, most_boxes=most_boxes, progress=progress, stop=stop
    )


def origin_alone(model: UFM) -> bool:
    """Whether the origin is proved to be the only critical point: c >= 1 - delta (CE-1, LS-1)."""
    best = _best(model)
    return best is not None and best.evidence == "proved" and best.rank == 0


def _best(model: UFM) -> Minimiser | None:
    """The global minimiser where there is room for every rank."""
    K, decays = model.num_classes, {"lambda_W": model.lambda_W, "lambda_H": model.lambda_H}
    return UFM(model.loss, K, K, model.n, **decays).minimiser()


def ranks_proved(
    model: UFM, orbits: Sequence[Orbit], covers: Covers, second: CoverTwo | None = None
) -> set[int]:
    """Ranks of which a list of orbits is proved to have all.

    Rank K - 1 has the simplex ETF where c < 1 - delta (CE-1, LS-1), and nothing otherwise; where
    the list disagrees, the rank is not among those that are proved.
    """
    K = model.num_classes
    listed = [orbit.rank for orbit in orbits]
    proved = {rank for rank, number in ((0, 1), (1, covers.orbits)) if listed.count(rank) == number}
    if not covers.complete:
        proved -= {1}
    if second is not None and second.complete and listed.count(2) == len(second.orbits):
        proved |= {2}
    if origin_alone(model) and not any(listed):
        return set(range(K))
    best = _best(model)
    if (
        best is not None
        and best.evidence == "proved"
        and listed.count(K - 1) == (best.rank == K - 1)
    ):
        proved |= {K - 1}
    return proved
