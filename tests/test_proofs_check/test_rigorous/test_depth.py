"""Where pairs of classes overtake the simplex: digits, the model's own points, and a mutant."""

import mpmath
import pytest

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.depth import pairs_crossing
from ufm import CrossEntropy, deep_linear
from ufm.errors import InputError


def best(loss, weight, decay, near):
    """min over a of loss(a) + decay weight a^(2/3), by mpmath."""

    def slope(a):
        return mpmath.diff(loss, a) + decay * weight * 2 / mpmath.mpf(3) / mpmath.cbrt(a)

    a = mpmath.findroot(slope, near)
    return loss(a) + decay * weight * mpmath.cbrt(a) ** 2


def lead(decay, rank=2):
    simplex = best(lambda a: mpmath.log(1 + 3 * mpmath.exp(-a)), mpmath.mpf(9) / 2, decay, 4.9556)
    pairs = best(
        lambda a: mpmath.log(1 + mpmath.exp(-2 * a) + 2 * mpmath.exp(-a)),
        mpmath.mpf(3) / 2 * rank * mpmath.cbrt(2) ** 2,
        decay,
        4.4685,
    )
    return simplex - pairs


def test_twenty_digits_by_other_means():
    told = pairs_crossing(4, 2)
    assert 2 * told.decay.rad() < 1e-24
    with mpmath.workdps(60):
        known = mpmath.findroot(lead, (0.0117, 0.0118), solver="anderson", tol=1e-45)
        assert abs(mpmath.mpf(told.decay.str(40, radius=False)) - known) < 1e-24
        wrong = mpmath.findroot(
            lambda x: lead(x, mpmath.mpf("2.02")), (0.011, 0.02), solver="anderson", tol=1e-30
        )
        assert abs(wrong - known) > 1e-4
    assert told.decay.str(21, radius=False) == "0.0117604980792883941771"


@pytest.mark.parametrize("n", [1, 3])
def test_the_points_of_the_model_cross_there(n):
    told = pairs_crossing(4, 2, n)
    sides = []
    for factor in (0.999, 1.001):
        decay = float(told.decay) * factor
        model = deep_linear(CrossEntropy(), 4, 5, n, 2, lambda_W=decay, lambda_H=decay)
        points = model.candidates()
        value = {name: float(model.objective(point)) for name, point in points.items()}
        sides.append(value["simplex"] - value["pairs"])
        assert value["simplex"] == pytest.approx(float(told.value), rel=1e-2)
    assert sides[0] < -1e-7
    assert sides[1] > 1e-7


def test_more_classes_or_more_depth_and_pairs_are_always_lower():
    assert pairs_crossing(6, 2) is None
    assert pairs_crossing(4, 3, low="1e-5", high="0.003") is None


def test_what_it_refuses():
    with pytest.raises(InputError, match="even"):
        pairs_crossing(5, 2)
    with pytest.raises(Undecided, match="upper end"):
        pairs_crossing(4, 2, high="0.01")
