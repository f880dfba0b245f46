"""Where merged saddles bifurcate and minorities vanish: against brute force and the page."""

import numpy as np
import pytest

from landscape import solve
from proofs_check.claims.merged_classes import bifurcation
from proofs_check.claims.minority_collapse import vanishing_point
from tests.helpers import merged_index, slow
from ufm import UFM, CrossEntropy, InputError
from ufm.plain.laws import majority_alone, merged_bifurcation, vanishing_minority


def test_the_vanishing_point_is_that_of_the_claim():
    for k_A, n_A, k_B, n_B in ((2, 9, 3, 2), (3, 7, 4, 5), (5, 40, 2, 3)):
        found = vanishing_minority(k_A, k_B, n_A / n_B) * np.sqrt(n_B)
        assert found == pytest.approx(vanishing_point(k_A, n_A, k_B, n_B), rel=1e-12)
    # From equal sizes on, and no overflow for many classes.
    assert vanishing_minority(3, 4, 1 + 1e-9) == pytest.approx(1.0, rel=1e-6)
    assert 1 < vanishing_minority(500, 500, 100.0) < 10
    for wrong in ((1, 4, 2.0), (3, 0, 2.0), (3, 4, 1.0), (3, 4, np.nan)):
        with pytest.raises(InputError, match="sort the classes"):
            vanishing_minority(*wrong)


@pytest.mark.parametrize("bias", [0.0, 0.03, slow(2.0)])
def test_with_a_bias_descents_lose_the_minority_there(bias):
    counts, ratio = (5, 5, 5, 2, 2), 2.5
    edge = vanishing_minority(3, 2, ratio, bias) * np.sqrt(2) / sum(counts)
    lengths = []
    for share in (0.995, 1.005):
        decays = {"lambda_W": 1.3 * share * edge, "lambda_H": share * edge / 1.3}
        run = solve(UFM(CrossEntropy(), d=5, counts=counts, lambda_b=bias, **decays))
        lengths.append(float(np.abs(run.point.W[3:]).max()))
    assert lengths[0] > 0.02
    assert lengths[1] < 1e-8


def test_a_heavy_bias_is_none_and_a_free_one_counts_classes():
    plain = vanishing_minority(2, 3, 4.5)
    assert vanishing_minority(2, 3, 4.5, 1e6) == pytest.approx(plain, rel=1e-5)
    assert abs(vanishing_minority(2, 3, 4.5, 0.0) / plain - 1) > 0.1
    # A free bias: every class is predicted as often as it comes, n_A r = n_B q.
    told = majority_alone(2, 3, 4.5, 0.7, 0.0)
    z = np.array([1.4 - 0.7 + told.shift, -0.7 + told.shift, 0, 0, 0])
    large = np.exp(z) / np.exp(z).sum()
    small = np.exp([told.shift] * 2 + [0] * 3)
    small = small / small.sum()
    assert 4.5 * large[2] == pytest.approx(small[0], rel=1e-12)
    assert told.strength == pytest.approx(np.sqrt(4.5) * (1 - large[0] + large[1]), rel=1e-12)
    N = 2 * 4.5 + 3
    assert told.pull == pytest.approx(np.sqrt(5 * N * 4.5) * large[2], rel=1e-12)


def test_bifurcations_are_those_of_the_claim_and_of_the_page():
    for G in (3, 4, 5, 6):
        for delta in (0.0, 0.03):
            assert merged_bifurcation(G, delta) == pytest.approx(bifurcation(G, delta), rel=1e-12)
    # docs/theory.md, the table of CE-6: K = 6 and 8, lambda_b = 10, 1, 0.1, 0.01, 0; its entry
    # 0.07512 is 0.075113, see the Hessians below.
    pages = {
        3: [0.13563, 0.18570, 0.48006, 0.60629, 0.62280],
        4: [0.07511, 0.09218, 0.27411, 0.46404, 0.49287],
    }
    for G, values in pages.items():
        found = [merged_bifurcation(G, 0.0, 2 * G * bias) for bias in (10, 1, 0.1, 0.01, 0)]
        assert found == pytest.approx(values, abs=6e-6)
    assert [merged_index(4, 0.0, 3, c, 10.0) for c in (0.075112, 0.075114)] == [12, 8]
    # Too much smoothing, and two groups: the index never changes.
    for G, star in {3: 0.165693, 4: 0.091684}.items():
        assert merged_bifurcation(G, star - 2e-6) < 1e-3
        assert np.isnan(merged_bifurcation(G, star + 2e-6))
    assert all(np.isnan(merged_bifurcation(2, 0.0, bias)) for bias in (None, 0.0, 1.0))
    with pytest.raises(InputError, match="Need G >= 2"):
        merged_bifurcation(1)
