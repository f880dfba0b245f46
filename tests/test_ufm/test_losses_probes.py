"""Probed properties: what they find, and what a probe at small logits would not see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import hot_cross_entropy
from ufm import MSE, CrossEntropy, Focal, InputError, RescaledMSE, UserLoss

K = 3


def cross_entropy(z, k):
    return jax.nn.logsumexp(z) - z[k]


def weighted(z, k):
    return jnp.array([1.0, 2.0, 3.0])[k] * cross_entropy(z, k)


def anchored(z, k):
    return cross_entropy(z, k) + 0.05 * jnp.sum(z**2)


def my_focal(z, k):
    return Focal(2.0)(z, k)


def sunk(z, k):
    return cross_entropy(z, k) - 10.0


def linear(z, k):
    return -z[k] + jnp.mean(z)


def stepped(z, k):
    """Cross entropy and a smooth step at a gap of 40, far from where minimisers are."""
    return cross_entropy(z, k) + 0.3 * jax.nn.sigmoid(40 + jnp.mean(z) - z[k])


# Which of (convex, shift invariant, equivariant, contrastive, nonnegative) hold.
PROBED = [
    (hot_cross_entropy, (True, True, True, True, True)),
    (my_focal, (False, True, True, True, True)),
    (weighted, (True, True, False, True, True)),
    (anchored, (True, False, True, False, True)),
    (sunk, (True, True, True, True, False)),
    (linear, (True, True, True, True, False)),
]


@pytest.mark.parametrize(("function", "expected"), PROBED, ids=lambda x: getattr(x, "__name__", ""))
def test_probing_finds_the_properties(function, expected):
    found = UserLoss(function).properties(K)
    names = ("convex", "shift_invariant", "equivariant", "contrastive", "nonnegative")
    assert tuple(bool(getattr(found, name)) for name in names) == expected
    assert all(getattr(found, name).evidence == "probed" for name in names)
    assert not found.isometric
    # A violation says what was violated; a property that holds has nothing to add.
    assert [bool(getattr(found, name).note) for name in names] == [not x for x in expected]


@pytest.mark.slow
def test_a_probe_is_repeatable_and_knows_the_number_of_classes():
    assert UserLoss(my_focal).properties(K) == UserLoss(my_focal, "again").properties(K)
    assert "eigenvalue" in str(UserLoss(my_focal).properties(K).convex)
    assert not UserLoss(my_focal).properties(20).contrastive  # FL-3: 1/20 < u*(2)
    assert UserLoss(my_focal).properties(K).contrastive


def test_a_step_far_out_is_no_convex_loss():
    """Curvature at logits of size 10 is that of cross entropy; the slope falls further out."""
    found = UserLoss(stepped).properties(K)
    assert not found.convex
    assert "slope along a line" in found.convex.note
    assert not found.contrastive
    assert UserLoss(hot_cross_entropy).properties(K).convex


def hinge(z, k):
    """Weston & Watkins 1999, without the class itself."""
    return jnp.sum(jnp.maximum(0.0, 1 + z - z[k])) - 1


def crammer_singer(z, k):
    return jnp.max(1 + z - jax.nn.one_hot(k, z.shape[0])) - z[k]


def distance(z, k):
    return jnp.sqrt(jnp.sum((z - jnp.mean(z)) ** 2)) - z[k]


def leaky(z, k):
    return cross_entropy(z, k) + 0.01 * jnp.sum(jax.nn.relu(z - z[k] - 1))


def smallest(z, k):
    """Concave at its kink, convex on either side: no Hessian sees it."""
    return jnp.minimum(cross_entropy(z, k), 0.5)


def soft_hinge(z, k):
    return jnp.sum(jax.nn.softplus(50 * (1 + z - z[k]))) / 50


def squared_hinge(z, k):
    return jnp.sum(jnp.maximum(0.0, 1 + z - z[k]) ** 2) - 1


@pytest.mark.parametrize("loss", [hinge, crammer_singer, distance, leaky, smallest])
def test_kinks_are_found_where_they_are(loss):
    found = UserLoss(loss).properties(K)
    assert not found.smooth
    assert "slope jumps by" in found.smooth.note
    assert bool(found.convex) == (loss is not smallest)


@pytest.mark.parametrize(
    "loss", [hot_cross_entropy, my_focal, soft_hinge, squared_hinge, Focal(0.5), RescaledMSE(3, 2)]
)
def test_smooth_losses_have_none(loss):
    assert UserLoss(loss, "wrapped").properties(K).smooth


def test_losses_of_the_lab_are_smooth():
    for loss in (CrossEntropy(), MSE(), Focal(2.0)):
        assert loss.properties(K).smooth
        assert loss.properties(K).smooth.evidence == "proved"


def test_nothing_is_probed_or_kept_in_float32():
    loss = UserLoss(lambda z, k: cross_entropy(3 * z, k), "triple")
    made = loss.at(K)
    made.properties(K)
    jax.config.update("jax_enable_x64", False)
    try:
        for call in (lambda: made.properties(K), lambda: loss.at(K)):
            with pytest.raises(InputError, match="Need float64"):
                call()
    finally:
        jax.config.update("jax_enable_x64", True)
    assert made.properties(K).convex


def test_probes_of_many_classes_stay_small():
    """At K = 300 96 logit Hessians would be 70 MB; ten are looked at."""
    found = UserLoss(hot_cross_entropy).properties(300)
    assert found.convex
    assert np.array_equal([bool(found.equivariant), bool(found.smooth)], [True, True])
