"""AT-6: cells in pairs, against brute force over matchings, and lists that only it refuses."""

from itertools import permutations

import numpy as np
import pytest

from landscape.atlas import Stratum, euler_sum, morse_bott, mse_strata
from landscape.atlas.pairing import SLACK, _matched, unpaired

pytestmark = pytest.mark.xdist_group("atlas")

ORIGIN = Stratum(1, 0, 0, 1)


def brute_force(points: list[tuple[float, int]]) -> bool:
    """Whether all points but the lowest, of index 0, fall into pairs (k at f, k + 1 at f' > f)."""

    def pairs(rest):
        if not rest:
            return True
        (f, k), others = rest[0], rest[1:]
        for i, (g, j) in enumerate(others):
            up = j == k + 1 and f < g + SLACK
            down = k == j + 1 and g < f + SLACK
            if (up or down) and pairs(others[:i] + others[i + 1 :]):
                return True
        return False

    return points[0][1] == 0 and pairs(points[1:])


@pytest.mark.parametrize("seed", range(4))
def test_pairs_are_those_of_brute_force(seed):
    """An ordinary Morse function: one cell for each point, and the space is contractible."""
    rng, answers = np.random.default_rng(seed), []
    for _ in range(150):
        size = 2 * int(rng.integers(1, 3)) + 1
        heights = np.sort(rng.permutation(9)[:size] / 9)
        indices = rng.integers(0, 3, size)
        indices[0] = rng.integers(0, 2) * rng.integers(0, 2)  # mostly a minimum
        counts = np.zeros((size, 5), dtype=object)
        counts[np.arange(size), indices] = 1
        ours = _matched(heights, counts, [1, 0, 0, 0, 0], 3)
        answers.append(brute_force(list(zip(heights.tolist(), indices.tolist(), strict=True))))
        assert ours == answers[-1]
    assert 5 < sum(answers) < 145


def test_heights_decide_where_counting_passes():
    """Minima whose saddles lie below them: AT-4 and AT-5 hold all the same."""

    def points(*saddles):
        minima = [(f, Stratum(1, 1, 0, 0)) for f in (0.1, 0.3, 0.35)]
        return [(0.9, ORIGIN), *minima, *((f, Stratum(1, 1, 1, 0)) for f in saddles)]

    for listed in (points(0.5, 0.6), points(0.2, 0.25)):
        strata = [s for _, s in listed]
        assert euler_sum(strata, 1) == 1
        assert morse_bott(strata, 1).holds
    assert unpaired(points(0.5, 0.6), 1) is None
    wrong = unpaired(points(0.2, 0.25), 1)
    assert wrong.degree == 0
    assert "d = 1: some critical point of index 0 or 1" in wrong.text
    # The lowest point of all must be a minimum, though another one is there.
    assert unpaired(points(0.05, 0.6), 1).degree == 0
    assert unpaired(points(0.15, 0.6), 1) is None  # the origin is a saddle too


def test_every_orbit_of_rank_one_left_out_is_seen(four):
    points = [(o.objective, s) for o, s in zip(four.orbits, four.strata, strict=True)]
    assert all(unpaired(points, d) is None for d in range(1, 7))
    for i, (_, stratum) in enumerate(points):
        if stratum.rank <= 1:
            assert unpaired(points[:i] + points[i + 1 :], 1) is not None


def test_exact_squared_error_passes_in_any_order_of_its_heights():
    """Families have Betti numbers; here R = 0, so every cell but those of BO(d) is essential."""
    strata = mse_strata([1, 1])
    heights = {(0, 0): 0.5, (1, 1): 0.4, (1, 0): 0.3, (2, 0): 0.2}
    points = [(heights[s.rank, s.index], s) for s in strata]
    assert all(unpaired(points, d) is None for d in (1, 2, 3))
    for order in permutations(range(len(points))):
        assert all(unpaired([points[i] for i in order], d) is None for d in (1, 2))
    assert unpaired(points[:3], 2) is not None
