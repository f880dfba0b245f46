"""Complete landscapes, proved: every critical point of some ranks, and of all ranks for K = 3.

For cross entropy and label smoothing without bias and classes of one size:

- rank 0 is the origin;
- rank 1 is covered by boxes (``cover``);
- rank K - 1 is one orbit or none: there all singular values of the logit gradient G are sigma but
  for the one of 1' G = 0, so the duality gap vanishes, and the convex problem has one solution.

Derived here: docs/certificates.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.atlas import Orbit
from proofs_check.rigorous.certificate import document, loss_record, model_record
from proofs_check.rigorous.cover import Cover, prove_rank_one
from proofs_check.rigorous.intervals import Interval
from proofs_check.rigorous.rank_one import RankOne
from ufm.errors import InputError
from ufm.plain.model import UFM

Array = NDArray[np.float64]

# Boxes grow with the power K - 1: 4 classes take 10,000 of them, 5 take half a million.
MOST_CLASSES = 5
# A segment of decays is halved until each piece is proved, this often at most; a piece that takes
# more boxes than this is halved rather than worked through.
MOST_HALVINGS, PIECE = 8, 50_000


@dataclass(frozen=True)
class Covers:
    """Proofs of rank one for all decays between two ends, piece by piece.

    Attributes:
        pieces: covers of intervals of decays that follow one another.
        models: what each piece is about, as the certificates say it.
    """

    pieces: tuple[Cover, ...]
    models: tuple[dict[str, Any], ...]

    @property
    def complete(self) -> bool:
        """Whether every piece is."""
        return all(cover.complete for cover in self.pieces)

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
) -> Covers:
    """All critical points of rank one, for one pair of decays or for a segment of them.

    Args:
        model: with one column per sample, without bias, balanced.
        known: gaps of the known orbits at the model's own decays.
        until: the last lambda_W, lambda_H in proportion; None: only the model's decays.
        most_boxes: work per piece.
        progress: told how far the proof is.

    Raises:
        InputError: as ``require_rank_one``; or a known orbit is degenerate.
    """
    require_rank_one(model)
    first, ratio = float(model.lambda_W), float(model.lambda_H) / float(model.lambda_W)
    ends = sorted({first, first if until is None else until})
    todo, pieces, models = [(ends[0], ends[-1], MOST_HALVINGS)], [], []
    while todo:
        low, high, halvings = todo.pop()
        classifier = Interval.between(low, high)
        features = Interval.between(
            *(float(model.lambda_H) if x == first else x * ratio for x in (low, high))
        )
        equations = RankOne(
            model.num_classes, classifier, features * float(model.n), smoothing_of(model) or 0.0
        )
        halved = high > low and halvings > 0
        try:
            cover = prove_rank_one(
                equations,
                [equations.polished(u) for u in known],
                most_boxes=min(most_boxes, PIECE) if halved else most_boxes,
                progress=lambda boxes, left: progress(f"{boxes:,} boxes, {left:,} left"),
            )
        except InputError:
            if not halved:
                raise
        else:
            if cover.complete or not halved:
                pieces.append(cover)
                decays = {"lambda_w": classifier, "lambda_h": features}
                told = {name: _ends(decay) for name, decay in decays.items()}
                models.append(model_record(model) | told)
                continue
        middle = 0.5 * (low + high)
        todo += [(middle, high, halvings - 1), (low, middle, halvings - 1)]
    return Covers(tuple(pieces), tuple(models))


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


def ranks_proved(model: UFM, orbits: Sequence[Orbit], covers: Covers) -> set[int]:
    """Ranks of which a list of orbits is proved to have all.

    Rank K - 1 has the simplex ETF where c < 1 - delta (CE-1, LS-1), and nothing otherwise; where
    the list disagrees, the rank is not among those that are proved.
    """
    K = model.num_classes
    listed = [orbit.rank for orbit in orbits]
    proved = {rank for rank, number in ((0, 1), (1, covers.orbits)) if listed.count(rank) == number}
    if not covers.complete:
        proved -= {1}
    decays = {"lambda_W": model.lambda_W, "lambda_H": model.lambda_H}
    best = UFM(model.loss, K, K, model.n, **decays).minimiser()
    if (
        best is not None
        and best.evidence == "proved"
        and listed.count(K - 1) == (best.rank == K - 1)
    ):
        proved |= {K - 1}
    return proved
