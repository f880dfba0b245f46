"""Every loss against a NumPy formula, at extreme logits, and its claims against probes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from tests.helpers import FAMILY, naive_cross_entropy, naive_focal, naive_squared, slow
from ufm import MSE, CrossEntropy, Focal, InputError, LabelSmoothing, RescaledMSE, UserLoss
from ufm.losses.focal import focal_convexity_threshold
from ufm.losses.loss import Fact

K = 4


@jax.jit
def derivatives(loss, logits, labels):
    def at(z, k):
        value, gradient = jax.value_and_grad(loss)(z, k)
        return value, gradient, jax.hessian(loss)(z, k)

    return jax.vmap(at)(logits, labels)


def samples(count=7, scale=2.0):
    rng = np.random.default_rng(1)
    return scale * rng.standard_normal((count, K)), rng.integers(K, size=count)


# A neighbour of every loss: close enough to be mistaken for it, and it must not be.
NEIGHBOUR = {
    "ce": naive_cross_entropy(0.01),
    "ls": naive_cross_entropy(0.1 * K / (K - 1)),  # delta spread over the K - 1 other classes
    "focal": naive_focal(2.02),
    "mse": naive_squared(1.01),
    "rescaled": naive_squared(3.0, 2.02),
    "hot": naive_cross_entropy(heat=1.98),
}


@pytest.mark.parametrize("name", FAMILY)
def test_value_gradient_and_hessian_are_the_formula(name):
    loss, naive = FAMILY[name]
    logits, labels = samples()
    found = derivatives(loss, logits, labels)

    def distance(formula):
        expected = zip(*(formula(z, k) for z, k in zip(logits, labels, strict=True)), strict=True)
        return [
            np.abs(np.asarray(a) - np.stack(b)).max() for a, b in zip(found, expected, strict=True)
        ]

    # Values and derivatives are of size 1 to 10; a hundred roundings of that.
    assert max(distance(naive)) < 1e-13
    assert min(distance(NEIGHBOUR[name])[:2]) > 1e-4


LARGE = 1e4
# Own logit far above, far below, and level with another one far above the rest.
EXTREME = np.array(
    [
        [LARGE, -LARGE, -LARGE, -LARGE],
        [-LARGE, LARGE, -LARGE, -LARGE],
        [LARGE, LARGE, -LARGE, -LARGE],
        [-LARGE, -LARGE, -LARGE, -LARGE],
    ]
)
FAR = 2 * LARGE
LIMITS = {
    "ce": [0, FAR, np.log(2), np.log(4)],
    "ls": [0.075 * FAR, 0.975 * FAR, np.log(2) + 0.05 * FAR, np.log(4)],
    "focal": [0, FAR, np.log(2) / 4, np.log(4) * 9 / 16],
    "mse": [
        ((LARGE - 1) ** 2 + 3 * LARGE**2) / 2,
        ((LARGE + 1) ** 2 + 3 * LARGE**2) / 2,
        ((LARGE - 1) ** 2 + 3 * LARGE**2) / 2,
        ((LARGE + 1) ** 2 + 3 * LARGE**2) / 2,
    ],
    "rescaled": [
        (3 * (LARGE - 2) ** 2 + 3 * LARGE**2) / 2,
        (3 * (LARGE + 2) ** 2 + 3 * LARGE**2) / 2,
        (3 * (LARGE - 2) ** 2 + 3 * LARGE**2) / 2,
        (3 * (LARGE + 2) ** 2 + 3 * LARGE**2) / 2,
    ],
    "hot": [0, 2 * FAR, np.log(2), np.log(4)],
}


@pytest.mark.parametrize("name", FAMILY)
def test_extreme_logits_are_finite_and_right(name):
    found = derivatives(FAMILY[name][0], EXTREME, np.zeros(4, dtype=int))
    assert all(np.isfinite(part).all() for part in found)
    np.testing.assert_allclose(found[0], LIMITS[name], rtol=1e-12, atol=1e-12)


def test_the_textbook_formula_would_not_survive_them():
    with np.errstate(divide="ignore", invalid="ignore"):
        assert not np.isfinite(-np.log(softmax(EXTREME, axis=1)[:, 0])).all()


@pytest.mark.parametrize("delta", [0.1, 0.35])
def test_label_smoothing_mixes_one_hot_losses(delta):
    logits, labels = samples()
    hard = np.array([[float(CrossEntropy()(z, j)) for j in range(K)] for z in jnp.asarray(logits)])
    own = hard[np.arange(len(labels)), labels]
    mixed = (1 - delta) * own + delta * hard.mean(axis=1)
    found = derivatives(LabelSmoothing(delta), logits, labels)[0]
    np.testing.assert_allclose(found, mixed, rtol=1e-14)
    assert np.abs(np.asarray(found) - own).min() > 1e-3  # delta is not ignored


def test_special_parameters_give_the_simpler_loss():
    logits, labels = samples()
    for special, general, simple in (
        (Focal(0.0), Focal(2.0), CrossEntropy()),
        (LabelSmoothing(0.0), LabelSmoothing(0.2), CrossEntropy()),
        (RescaledMSE(1.0, 1.0), RescaledMSE(1.0, 1.5), MSE()),
        (RescaledMSE(1.0, 1.0), RescaledMSE(1.5, 1.0), MSE()),
    ):
        expected = derivatives(simple, logits, labels)
        for a, b in zip(derivatives(special, logits, labels), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)
        difference = derivatives(general, logits, labels)[0] - expected[0]
        assert float(jnp.abs(difference).max()) > 0.05


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LabelSmoothing(1.0), "delta in [0, 1). Got 1.0"),
        (lambda: LabelSmoothing(-0.1), "Got -0.1"),
        (lambda: LabelSmoothing(float("nan")), "Got nan"),
        (lambda: Focal(-1.0), "gamma >= 0. Got -1.0"),
        (lambda: Focal(float("inf")), "Got inf"),
        (lambda: Focal(float("nan")), "Got nan"),
        (lambda: RescaledMSE(0.0, 1.0), "kappa > 0 and finite. Got 0.0"),
        (lambda: RescaledMSE(float("nan"), 1.0), "Got nan"),
        (lambda: RescaledMSE(1.0, float("inf")), "finite target M. Got inf"),
    ],
)
def test_bad_parameters_are_refused_in_one_line(make, says):
    with pytest.raises(InputError) as caught:
        make()
    assert says in str(caught.value)
    assert "Remedy: " in str(caught.value)
    assert "\n" not in str(caught.value)


THRESHOLDS = {
    0.5: 0.017663,
    1.0: 0.043202,
    2.0: 0.057846,
    3.0: 0.057497,
    4.0: 0.054085,
    5.0: 0.050236,
    10.0: 0.035678,
}


@pytest.mark.parametrize(("gamma", "threshold"), THRESHOLDS.items())
def test_focal_is_convex_from_its_threshold_on(gamma, threshold):
    assert focal_convexity_threshold(gamma) == pytest.approx(threshold, abs=5e-7)
    spectra = []
    for u in (0.95 * threshold, 1.05 * threshold):
        rest = (1 - u) * np.array([0.2, 0.3, 0.5])  # the other probabilities do not matter
        logits = np.log(np.append(u, rest))[None]
        hessian = derivatives(Focal(gamma), logits, np.zeros(1, dtype=int))[2]
        spectra.append(np.linalg.eigvalsh(hessian[0]))
    below, above = spectra
    assert below[0] < -1e-5
    # The zero mode of the shift, up to rounding: entries sum terms up to gamma times larger.
    assert above[0] > -(1 + gamma) * len(above) * np.finfo(float).eps * above[-1]


@pytest.mark.parametrize("gamma", [0.0, 1e-4, 1e-3, 200.0])
def test_the_focal_threshold_exists_for_every_gamma(gamma):
    # u* ~ exp(-2 - 1/gamma) for small gamma, which is 0 in float64 below 1/700.
    threshold = focal_convexity_threshold(gamma)
    assert 0 <= threshold < 1 / (gamma + 1)
    assert bool(Focal(gamma).properties(3).contrastive) == (threshold <= 1 / 3)


NAMES = ("convex", "shift_invariant", "equivariant", "contrastive", "isometric", "nonnegative")


@pytest.mark.parametrize(
    ("loss", "num_classes"),
    [
        (CrossEntropy(), K),
        (LabelSmoothing(0.2), K),
        (Focal(0.0), K),
        (Focal(2.0), K),
        slow(Focal(2.0), 20),  # 1/20 < u*(2): no longer contrastive
        (MSE(), K),
        (RescaledMSE(3.0, 2.0), K),
        (RescaledMSE(1.0, 2.0), K),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_claimed_properties_are_the_probed_ones(loss, num_classes):
    claimed = loss.properties(num_classes)
    probed = UserLoss(loss, "wrapped").properties(num_classes)
    for name in NAMES:
        assert getattr(claimed, name).evidence == "proved"
        assert getattr(probed, name).evidence == "probed"
    found = {name: bool(getattr(probed, name)) for name in NAMES}
    assert found == {name: bool(getattr(claimed, name)) for name in NAMES}


def test_properties_tell_the_losses_apart():
    assert not Focal(2.0).properties(20).contrastive
    assert Focal(2.0).properties(17).contrastive  # 1/17 = 0.0588 > 0.0578 > 1/18
    assert not Focal(2.0).properties(18).contrastive
    assert not Focal(2.0).properties(K).convex
    assert Focal(0.0).properties(K).convex
    assert [bool(x) for x in (Fact(True), Fact(False))] == [True, False]
    assert str(Fact(True, "probed")) == "yes (probed)"
    assert "0.057846" in str(Focal(2.0).properties(K).convex)


def test_names_carry_the_parameters_and_duals_exist_where_known():
    names = [FAMILY[key][0].name for key in FAMILY]
    expected = "ce ls(0.1) focal(2) mse rescaled-mse(3,2) hot_cross_entropy"
    assert names == expected.split()
    assert [FAMILY[key][0].dual is None for key in FAMILY] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]
