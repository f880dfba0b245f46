"""Two searches that know nothing of each other: what both found, and what only one did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from landscape.atlas.orbit import Orbit
from landscape.atlas.record import Atlas


@dataclass(frozen=True, eq=False)
class Agreement:
    """What another search says about a list of orbits.

    Attributes:
        engine: its name.
        shared: orbits that both found.
        new: orbits that only the other search found.
        orbits: length of the list before.
    """

    engine: str
    shared: int
    new: tuple[Orbit, ...]
    orbits: int

    @property
    def text(self) -> str:
        """One line for a person."""
        head = f"{self.engine}: finds {self.shared} of the {self.orbits} orbits"
        if not self.new:
            return f"{head} and no other"
        return f"{head} and {len(self.new)} that the search had missed (now in the list)"


def compare(found: Atlas, engine: str, others: Iterable[Orbit]) -> tuple[Atlas, Agreement]:
    """The atlas with the orbits of another search taken in, and how far the two agree.

    Args:
        found: the list so far.
        engine: name of the other search.
        others: its orbits, of the same model.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> whole = atlas(UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02))
        >>> short = replace(whole, orbits=whole.orbits[1:])
        >>> again, said = compare(short, "symmetric points", whole.orbits[:2])
        >>> len(again.orbits), said.text
        (4, 'symmetric points: finds 1 of the 3 orbits and 1 that the search had missed (now in the
        list)')
    """
    orbits, new, shared = list(found.orbits), [], 0
    for other in others:
        known = [i for i, orbit in enumerate(orbits) if orbit.contains(other.item)]
        if not known:
            new.append(other)
            orbits.append(other)
        else:
            shared += known[0] < len(found.orbits)
    ordered = tuple(sorted(orbits, key=lambda orbit: orbit.objective))
    told = Agreement(engine, shared, tuple(new), len(found.orbits))
    return replace(found, orbits=ordered), told
