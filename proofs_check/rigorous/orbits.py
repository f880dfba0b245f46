"""Certificates of the orbits of an atlas, in any dimension of the features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from landscape.atlas.orbit import Orbit
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.certificate import PointCertificate
from proofs_check.rigorous.lower import LowerPoint, prove_lower
from proofs_check.rigorous.minimiser import Nearness, prove_minimiser
from proofs_check.rigorous.point import RADIUS, CriticalPoint, full_columns, prove_critical
from ufm.errors import InputError
from ufm.plain.model import UFM
from ufm.point import Point, widened


@dataclass(frozen=True, eq=False)
class Proof:
    """What became of one orbit in one dimension.

    Attributes:
        orbit: its place in the list, from 0.
        d: dimension of the features.
        certificate: what is proved; None: undecided.
        reason: why it is undecided, or in what the proof contradicts the search; else "".
    """

    orbit: int
    d: int
    certificate: PointCertificate | None
    reason: str = ""

    @property
    def proved(self) -> bool:
        """Whether there is a certificate."""
        return self.certificate is not None


def prove_orbits(model: UFM, orbits: Sequence[Orbit], radius: float = RADIUS) -> Iterator[Proof]:
    """Every orbit in its own rank, and in K + 1 dimensions, where all new directions are seen.

    Args:
        model: the plain model of the list, with one column per sample; its d plays no role.
        orbits: of the same model, lowest first.
        radius: to be proved.

    Example:
        >>> from landscape.atlas.orbit import describe
        >>> from landscape.atlas.search import Found
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> best, merged = model.minimiser(), model.merge().model
        >>> orbit = describe(merged, Found(best.point, best.value, 0.0))
        >>> [(p.d, p.certificate.found.nullity) for p in prove_orbits(model, [orbit])]
        [(2, 1), (4, 5)]
    """
    for place, orbit in enumerate(orbits):
        for d in (max(1, orbit.rank), model.num_classes + 1):
            below = [other.point for other in orbits[:place] if other.rank <= d]
            yield _proof(model, place, orbit, below[:1], d, radius)


def _proof(
    model: UFM, place: int, orbit: Orbit, below: Sequence[Point], d: int, radius: float
) -> Proof:
    wide = model.with_dimension(d)
    try:
        found = prove_critical(wide, _embedded(wide, orbit.point), radius)
    except (Undecided, InputError) as undecided:
        return Proof(place, d, None, str(undecided))
    lower, nearness = beside_others(found, [_embedded(wide, other) for other in below])
    reason = ""
    if (found.index, found.nullity) != (orbit.index(d), orbit.predicted_nullity(d)):
        counted = f"index {orbit.index(d)} and nullity {orbit.predicted_nullity(d)}"
        reason = f"the search counted {counted}; proved are {found.index} and {found.nullity}"
    about = {"orbit": orbit.label, "place": str(place + 1)}
    return Proof(place, d, PointCertificate(found, lower, nearness, about), reason)


def beside_others(
    found: CriticalPoint, others: Sequence[Any]
) -> tuple[LowerPoint | None, Nearness | None]:
    """Of a minimum: a point proved to lie below it, or how far a global minimiser is at most."""
    lower, nearness = None, None
    if found.minimum:
        with suppress(Undecided):
            nearness = prove_minimiser(found)
        if nearness is None or not nearness.exact:
            with suppress(Undecided):
                lower = prove_lower(found, others)
    return lower, nearness if lower is None else None


def _embedded(model: UFM, point: Point) -> Point:
    told: Point = full_columns(model, widened(point, model.d))
    return told
