"""The scalars that closed forms need, against full logit Hessians."""

import numpy as np
import pytest

from tests.helpers import FAMILY
from ufm.losses.logit_curve import logit_curve, slopes

K = 4


@pytest.mark.parametrize("name", FAMILY)
def test_the_curve_is_the_hessian_in_its_eigenframe(name):
    loss, naive = FAMILY[name]
    for a, t in ((1.3, 0.4), (0.0, -0.7)):
        z = a * (np.eye(K)[0] - 1 / K) + t
        value, gradient, hessian = naive(z, 0)
        curve = logit_curve(loss, a, t, K)
        one = np.full(K, K**-0.5)
        u = (np.eye(K)[0] - 1 / K) * np.sqrt(K / (K - 1))
        v = np.array([0, 1.0, -1.0, 0]) / np.sqrt(2)
        frame = np.stack([u, one])
        assert curve.value == pytest.approx(value, abs=1e-14)
        assert curve.own == pytest.approx(gradient[0], abs=1e-14)
        assert curve.other == pytest.approx(gradient[2], abs=1e-14)
        assert curve.s2 == pytest.approx(v @ hessian @ v, abs=1e-14)
        np.testing.assert_allclose(curve.S, frame @ hessian @ frame.T, rtol=0, atol=1e-14)
        assert curve.own != pytest.approx(curve.other, abs=1e-3)


def test_two_classes_have_no_third_direction():
    assert logit_curve(FAMILY["ce"][0], 1.0, 0.0, 2).s2 == 0.0


def test_slopes_are_the_curve_at_many_places():
    loss = FAMILY["rescaled"][0]
    a, t = np.array([0.5, 2.0, 3.0]), np.array([0.0, -1.0, 1.0])
    values, own, other = (np.asarray(part) for part in slopes(loss, a, t, K))
    for i in range(3):
        curve = logit_curve(loss, a[i], t[i], K)
        found = (float(values[i]), float(own[i]), float(other[i]))
        assert found == pytest.approx((curve.value, curve.own, curve.other), abs=1e-14)
    # The slope along the gap: (own - other)(1 - 1/K) (a one-sided check of the conventions).
    step = 1e-6
    ahead = logit_curve(loss, a[0] + step, t[0], K).value
    rise = (ahead - float(values[0])) / step
    assert rise == pytest.approx((own[0] - other[0]) * (1 - 1 / K), abs=1e-5)
    assert abs(rise - (own[0] - other[0])) > 1e-2
