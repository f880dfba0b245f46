"""Whole landscapes as specimens: every orbit of an atlas, and atlases themselves."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from landscape.atlas import Atlas
from landscape.atlas.explore import origins
from landscape.atlas.record import gathered, whole
from landscape.atlas.search import search, together
from landscape.atlas.starts import aligned_starts, gaussian_starts, partition_starts
from proofs_check.instance import Specimen
from proofs_check.specimens import PlainSpecimen, built_on, embed
from ufm.losses import CrossEntropy, Focal
from ufm.plain.model import UFM


@cache
def landscapes(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """One specimen for each landscape, at its origin; ``landscape_of`` has the list.

    K = 3, 4, 5 balanced; unequal classes with unequal decays.
    """
    even, uneven = (0.02, 0.02), (0.02, 0.01)
    settings = [
        ((1, 1, 1), even),
        ((2, 1, 1), uneven),
        ((1, 1, 1, 1), even),
        ((3, 2, 2, 1), uneven),
        ((1, 1, 1, 1, 1), even),
    ]
    found = []
    for counts, (lambda_W, lambda_H) in settings[: 3 if quick else None]:
        model = UFM(
            CrossEntropy(), d=len(counts), counts=counts, lambda_W=lambda_W, lambda_H=lambda_H
        )
        origin = model.as_merged(model.origin())[0].origin()
        found.append(Specimen(model, origin, "landscape"))
    return tuple(found)


# Searches of every rank in the smallest landscape, none of which knows a checksum or how many
# orbits there are; twice as many for every further class, where orbits are more and met less often.
SEARCHES = 108


def landscape_of(specimen: PlainSpecimen) -> Atlas:
    """Orbits of a specimen's model in its dimension, by a fixed number of blind searches."""
    model = specimen.model
    decays = (float(model.lambda_W), float(model.lambda_H))
    return _listed(model.loss, model.counts_tuple, decays, min(model.d, model.num_classes - 1))


@cache
def _listed(loss: Any, counts: tuple[int, ...], decays: tuple[float, float], ranks: int) -> Atlas:
    """The orbits of rank 0, ..., ``ranks``."""
    K, (lambda_W, lambda_H) = len(counts), decays
    model = whole(UFM(loss, d=K, counts=counts, lambda_W=lambda_W, lambda_H=lambda_H))
    rng = np.random.default_rng((K, ranks))
    if not ranks:
        return Atlas(model, gathered((), model.with_dimension(1), origins(model, rng)))
    inside = model.with_dimension(ranks)
    kinds = (gaussian_starts, aligned_starts, partition_starts)
    each = SEARCHES * 2 ** (K - 3) // len(kinds)
    orbits = _listed(loss, counts, decays, ranks - 1).orbits
    # Classes of different sizes have fewer relabellings, so that each orbit is met less often.
    for _ in range(2 * len(set(counts)) - 1):
        starts = together([kind(rng, each, K, ranks) for kind in kinds])
        orbits = gathered(orbits, inside, search(inside, starts).found)
    return Atlas(model, orbits)


def is_well_seen(specimen: PlainSpecimen) -> bool:
    """Whether blind searches met every orbit of their list twice or more."""
    return all(orbit.hits > 1 for orbit in landscape_of(specimen).orbits if orbit.rank)


def is_complete(specimen: PlainSpecimen) -> bool:
    """Whether every check of completeness holds for the list, up to the specimen's dimension."""
    found, model = landscape_of(specimen), specimen.model
    ds = range(1, min(model.d, model.num_classes) + 1)
    checked = all(found.checksum[d] == 1 and found.inequalities[d] for d in ds)
    return checked and is_well_seen(specimen) and all(o.morse_bott for o in found.orbits)


def orbits_in(shift: int, quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Every orbit of the balanced landscapes K = 3, 4, 5 in dimension d = K + shift."""
    found = []
    for landscape in landscapes(quick):
        model = landscape.model
        if not model.balanced:
            continue
        d = model.num_classes + shift
        wide = model.with_dimension(d)
        for orbit in landscape_of(landscape).orbits:
            if orbit.rank <= d:
                kind = "minimiser" if orbit.certified else "critical"
                found.append(Specimen(wide, embed(orbit.point, d), kind, note=orbit.label))
    return tuple(found)


@built_on(landscapes)
def orbits_at_and_above(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Every orbit at K = 3, 4, 5 for d = K - 1, K and K + 1."""
    return tuple(s for shift in (-1, 0, 1) for s in orbits_in(shift, quick))


@built_on(landscapes)
def orbits_below(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Every orbit at K = 3, 4, 5 in dimension d = K - 2."""
    return orbits_in(-2, quick)


@built_on(landscapes)
@cache
def low_dimensional(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Every orbit for d < K - 1 where spurious minima are known, and at K = 3, where none is."""
    settings = [(3, 1e-3, 1), (3, 0.02, 1), (4, 5e-4, 1), (5, 0.1, 2)]
    found = []
    for K, decay, d in settings[: 3 if quick else None]:
        model = UFM(CrossEntropy(), K, d, lambda_W=decay, lambda_H=decay)
        listed = landscape_of(Specimen(model, None, "landscape"))
        for orbit in listed.orbits:
            if orbit.rank <= d:
                found.append(Specimen(model, embed(orbit.point, d), "critical", note=orbit.label))
    return tuple(found)


@built_on(landscapes)
@cache
def focal_orbits(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Every collapsed orbit of focal loss at K = 3 for d = K - 1 and K, balanced and not."""
    found = []
    settings = [(2.0, (1, 1, 1), 0.05), (3.0, (2, 1, 1), 0.02)]
    for gamma, counts, decay in settings[: 1 if quick else None]:
        listed = _listed(Focal(gamma), counts, (decay, decay), len(counts) - 1)
        for d in (len(counts) - 1, len(counts)):
            model = UFM(Focal(gamma), d=d, counts=counts, lambda_W=decay, lambda_H=decay)
            for orbit in listed.orbits:
                kind = "minimiser" if orbit is listed.orbits[0] else "critical"
                found.append(Specimen(model, embed(orbit.point, d), kind, note=orbit.label))
    return tuple(found)


def lowest(specimen: PlainSpecimen) -> float:
    """The lowest objective of the landscape in the dimension of a specimen."""
    orbits = landscape_of(specimen).orbits
    return min(orbit.objective for orbit in orbits if orbit.rank <= specimen.model.d)


def height(specimen: PlainSpecimen) -> float:
    """The objective at a specimen."""
    return float(np.asarray(specimen.merged.value_and_gradient(specimen.point)[0]))
