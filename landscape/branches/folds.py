"""Orbits that a fold creates, hunted from both sides of the decays of a list."""

from __future__ import annotations

from landscape.atlas import Atlas, Orbit, atlas
from landscape.branches.diagram import branches

# Factor of c on either side: a pair just born is far apart there.
FACTOR = 1.25


def from_both_sides(
    found: Atlas, *, factor: float = FACTOR, budget: float = 60.0, seed: int = 0
) -> tuple[Orbit, ...]:
    """Orbits that continuation leads to from lists at smaller and larger c, and back from there.

    The search is made anew at c / factor and factor c, and what it finds there is followed to c,
    around folds. The orbits of the list are followed to both ends too: a branch that turns at a
    fold comes back through c as another orbit.
    Source: derived here.

    Args:
        found: a list at one c.
        factor: > 1.
        budget: seconds for the search on each side.
        seed: of its random starts.

    Returns:
        Distinct orbits at the c of the list.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02))
        >>> sorted(orbit.label for orbit in from_both_sides(found))
        ['merged 2|1', 'mirror 1|1|1', 'origin', 'simplex ETF']
    """
    model, c = found.model, found.model.c
    diagram = branches(found, c / factor, factor * c)
    orbits = list(diagram.orbits)
    for scale in (1 / factor, factor):
        decays = scale * float(model.lambda_W), scale * float(model.lambda_H)
        side = atlas(model.with_decays(*decays), budget=budget, seed=seed)
        low, high = sorted((c, side.model.c))
        for orbit in branches(side, low, high).orbits_at(c):
            if not any(old.contains(orbit.item) for old in orbits):
                orbits.append(orbit)
    return tuple(orbits)
