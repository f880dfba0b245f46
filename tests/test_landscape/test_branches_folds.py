"""Folds from both sides: a pair that a list lacks comes back along its branches."""

from dataclasses import replace

import pytest

from landscape.atlas import atlas, compare
from landscape.branches import from_both_sides
from ufm import UFM, CrossEntropy

pytestmark = pytest.mark.xdist_group("atlas")


@pytest.mark.slow
def test_a_pair_that_is_left_out_comes_back_and_without_the_sides_it_does_not():
    """Just below the fold of test_atlas.py at c = 0.37101: nothing else sees the pair."""
    x = 5.34
    model = UFM(CrossEntropy(), counts=(2, 2, 1, 1), d=3, lambda_W=x * 0.02, lambda_H=x * 0.01)
    found = atlas(model)
    pair = [o for o in found.orbits if abs(o.range_smallest or 1) < 2e-2 and o.rank == 1]
    kept = tuple(o for o in found.orbits if o not in pair)
    short = replace(found, orbits=kept, confirmed=len(kept))
    again, said = compare(short, "both sides", from_both_sides(short))
    assert len(said.new) == len(pair) >= 2
    assert len(again.orbits) == len(found.orbits)
    # A factor that stays above the fold's partner finds what the list has.
    assert len(from_both_sides(found, factor=1.01)) == len(found.orbits)
