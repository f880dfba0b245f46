"""The task ``verdict`` of a sweep, by each of its routes."""

import numpy as np
import pytest

from experiments.sweep.tasks import verdict as verdict_module
from experiments.sweep.tasks.minimise import descend
from experiments.sweep.tasks.verdict import judged, own_point
from experiments.sweep.work import Work
from landscape.solvers.minimise import Minimised
from tests.helpers import jax_hessian
from tests.test_experiments.test_sweep_tasks import table, works
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


def test_the_gap_of_unequal_classes_is_the_smallest_eigenvalue() -> None:
    """Seed 0 has little of the eigenvector in the first twelve Lanczos steps."""
    axes = {"K": 4, "imbalance": 2, "n": 1, "d": 4, "c": 0.4125, "lambda_b": 0, "seed": [0, 1, 2]}
    (work,) = works("verdict", axes)
    found = descend(work, work.models)
    told = judged(work, found, np.full(3, True))
    assert told.minimum.all()
    for i in range(3):
        model = work.cells.model(i).merge().model
        values = np.linalg.eigvalsh(jax_hessian(model, own_point(work, found, i)))
        assert told.gap[i] == pytest.approx(values[7], rel=1e-5)  # 6 rotations and the shift
        assert values[8] / values[7] - 1 > 1e-2


def test_minima_of_squared_error_near_their_threshold_have_no_further_zeros() -> None:
    """Also where two classes are dropped: class rotations of the others fix the minimum (A-7)."""
    axes = {"loss": "mse", "K": 4, "d": 12, "n": 1, "seed": [0, 1]}
    for more in ({"c": 0.961818181818182}, {"c": 1.1375, "imbalance": 2}):
        found = table("verdict", {**axes, **more})
        r, d = found["rank"], found["d"]
        assert set(r) == {2 if "imbalance" in more else 4}
        assert found["nullity"].tolist() == (r * (r - 1) // 2 + r * (d - r)).tolist()
