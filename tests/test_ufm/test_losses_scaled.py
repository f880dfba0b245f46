"""A multiple of a loss against the loss itself with other decays, and its conjugate."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ufm import MSE, UFM, LabelSmoothing, UserLoss
from ufm.errors import InputError
from ufm.losses import Scaled

K, D = 3, 5


@pytest.mark.parametrize("inner", [LabelSmoothing(0.1), MSE()])
def test_a_scaled_loss_is_the_loss_with_smaller_decays(inner: Any) -> None:
    """min s L + lambda R = s min (L + (lambda / s) R), and the certificate closes the gap."""
    decays = {"lambda_W": 0.02, "lambda_H": 0.03, "lambda_b": None}
    scaled = UFM(Scaled(inner, 4.0), K, D, 2, **decays)
    smaller = UFM(inner, K, D, 2, lambda_W=0.005, lambda_H=0.0075, lambda_b=None)
    best, same = scaled.minimiser(), smaller.minimiser()
    assert best.value == pytest.approx(4 * same.value, rel=1e-12)
    assert abs(scaled.certificate(best.point).gap) < 1e-12
    # Negative control: a certificate of a point that is not a minimiser leaves a gap.
    assert scaled.certificate(scaled.origin()).gap > 1e-3


def test_the_scaled_conjugate_is_tight() -> None:
    """Fenchel: L*(v) >= <v, z> - L(z), with equality at the gradient v of L."""
    loss = Scaled(MSE(), 3.0)
    z = np.array([0.3, -1.0, 2.0])
    v = np.asarray(jax.grad(loss)(jnp.asarray(z), 1))
    V = np.zeros((K, K))
    V[:, 1] = v
    value = v @ z - float(loss(jnp.asarray(z), 1))
    assert loss.dual.conjugate(V)[1] == pytest.approx(value, rel=1e-12)
    assert Scaled(UserLoss(lambda z, k: -z[k]), 3.0).dual is None


def test_a_factor_that_is_not_positive_is_refused() -> None:
    with pytest.raises(InputError, match="factor > 0"):
        Scaled(MSE(), 0.0)
