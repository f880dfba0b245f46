"""The table of eigenvalues: counting, expanding, refusing."""

import numpy as np
import pytest

from ufm import InputError, Spectrum
from ufm.spectrum import pair

TABLE = Spectrum.of([(2.0, 3, "b"), (-0.5, 1, "a"), (0.0, 2, "c"), (7.0, 0, "empty")])


def test_levels_are_sorted_and_empty_ones_dropped():
    assert [tuple(level) for level in TABLE] == [(-0.5, 1, "a"), (0.0, 2, "c"), (2.0, 3, "b")]
    assert TABLE.levels[2].multiplicity == 3
    assert (TABLE.size, TABLE.smallest, TABLE.largest, TABLE.radius) == (6, -0.5, 2.0, 2.0)
    assert Spectrum.of([(-3.0, 1, "a"), (1.0, 1, "b")]).radius == 3.0
    same = Spectrum.of([(1.0, 2, "b"), (1.0, 5, "a")])
    assert {level.block for level in same} == {"a", "b"}
    assert same.size == 7


def test_counts_use_multiplicities_and_open_and_closed_ends():
    assert [TABLE.count_below(x) for x in (-0.5, -0.4, 0.0, 0.1, 3.0)] == [0, 1, 1, 3, 6]
    assert [TABLE.count_within(x) for x in (0.0, 0.4, 0.5, 2.0)] == [2, 2, 3, 6]


def test_expanding_repeats_and_refuses_billions():
    assert TABLE.expand().tolist() == [-0.5, 0.0, 0.0, 2.0, 2.0, 2.0]
    with pytest.raises(InputError, match=r"at most 50,000,000 eigenvalues. Got 50,000,001"):
        Spectrum.of([(1.0, 50_000_001, "a")]).expand()


def test_pair_is_the_spectrum_of_the_two_by_two_block():
    for lw, lh, g in ((1.0, 4.0, 0.3), (4.0, 1.0, -2.5), (0.01, 0.01, 0.0)):
        np.testing.assert_allclose(pair(lw, lh, g), np.linalg.eigvalsh([[lw, g], [g, lh]]))
    assert pair(4.0, 1.0, 2.5)[0] < 0 < pair(4.0, 1.0, 1.5)[0]
    # Next to the bifurcation the naive difference has no digits left.
    lw, lh = 3.0, 5.0
    g = np.sqrt(lw * lh) * (1 - 1e-15)
    exact = (lw * lh - g**2) / (lw + lh)
    assert pair(lw, lh, g)[0] == pytest.approx(exact, rel=1e-6)
