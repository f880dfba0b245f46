"""The task ``verdict`` of a sweep, by each of its routes."""

import numpy as np
import pytest

from experiments.sweep.tasks import verdict as verdict_module
from experiments.sweep.tasks.verdict import judged
from experiments.sweep.work import Work
from landscape.solvers.minimise import Minimised
from tests.test_experiments.test_sweep_tasks import table
from ufm.plain.cholesky_proof import Judged
from ufm.plain.symmetric_points import SymmetricMinima

pytestmark = pytest.mark.slow


def test_both_routes_of_a_verdict_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symmetric ends by their spectrum in closed form, all others and all of them by factors."""
    axes = {"loss": ["ce", "mse"], "K": 3, "n": 2, "d": ["K-1", "K", 7], "c": [0.1, 0.5, 1.4]}
    quick = table("verdict", axes)
    asked: list[int] = []

    def counted(work: Work, found: Minimised, which: np.ndarray) -> Judged:
        asked.append(int(which.sum()))
        return judged(work, found, which)

    monkeypatch.setattr(verdict_module, "judged", counted)
    again = table("verdict", axes)
    assert sum(asked) <= 3  # MSE below d = K, where two classes are alike and the third is not
    none = SymmetricMinima(*(np.zeros(9, kind) for kind in (bool, int, int, float)))
    monkeypatch.setattr(verdict_module, "symmetric", lambda work, found: none)
    slow = table("verdict", axes)
    assert sum(asked) >= 18
    for name in set(quick) - {"lambda_min"}:
        np.testing.assert_array_equal(again[name], quick[name], name)
        if name == "gap":
            np.testing.assert_allclose(quick[name], slow[name], rtol=1e-5)
        else:
            np.testing.assert_array_equal(quick[name], slow[name], name)
    assert set(quick["curvature"]) == {"MORSE_BOTT_MINIMUM"}
