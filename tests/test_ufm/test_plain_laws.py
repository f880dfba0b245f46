"""Where merged saddles bifurcate and minorities vanish: against brute force and the page."""

import numpy as np
import pytest

from proofs_check.claims.codes import bifurcation
from proofs_check.claims.thresholds import vanishing_point
from tests.helpers import merged_index
from ufm import InputError
from ufm.plain.laws import merged_bifurcation, vanishing_minority


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
