"""Squared error in closed form against dense Hessians, the search, and its own checksums."""

from dataclasses import replace

import numpy as np
import pytest

from landscape.atlas import Status, atlas, squared_error_atlas
from landscape.curvature.hessian import dense_hessian
from landscape.solvers.critical import find_critical
from proofs_check.specimens import embed
from ufm import MSE, UFM, CrossEntropy, InputError, RescaledMSE, UserLoss, lift

pytestmark = pytest.mark.xdist_group("atlas")
DECAYS = {"lambda_W": 0.05, "lambda_H": 0.04}
SETTINGS = [
    {"num_classes": 4, "n": 2},
    {"num_classes": 4, "n": 2, "lambda_b": 0.0},
    {"num_classes": 3, "n": 2, "lambda_b": 0.02},
    {"num_classes": 3, "n": 2, "lambda_b": 2.0},
    {"counts": (3, 2, 1)},
    {"counts": (3, 2, 1), "lambda_b": 0.0},
    {"counts": (2, 2, 1)},
]


def of(loss, d=4, **settings):
    return UFM(loss, d=d, **DECAYS, **settings)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("loss", [MSE(), RescaledMSE(1.0, 3.0)], ids=["M=1", "M=3"])
def test_the_list_is_complete_and_every_hessian_is_the_dense_one(loss, settings):
    model = of(loss, d=5, **settings)
    found = squared_error_atlas(model)
    assert found.status is Status.COMPLETE
    assert set(found.checksum.values()) == {1}
    assert all(found.inequalities.values())
    assert found.missing_mass == 0
    for orbit in found.orbits:
        assert orbit.gradient_norm < 1e-13
        values = np.linalg.eigvalsh(dense_hessian(model, lift(model, embed(orbit.point, 5))))
        # Within-class differences are in the dense Hessian only, and positive.
        assert np.sum(values < -1e-10) == orbit.index(5)
        assert np.sum(np.abs(values) < 1e-10) == orbit.nullity(5)
        assert orbit.nullity(5) == orbit.predicted_nullity(5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"counts": (3, 2, 1)}, {"counts": (4, 3, 1), "lambda_b": 0.0}]
)
def test_the_search_finds_the_same_isolated_orbits(settings):
    model = of(MSE(), **settings)
    known, found = atlas(model), atlas(model, closed_form=False)
    assert known.status is Status.COMPLETE
    assert found.status is Status.SATURATED
    assert len(known.orbits) == len(found.orbits)
    for one, other in zip(known.orbits, found.orbits, strict=True):
        assert one.contains(other.item)
        assert (one.range_index, one.overshoot) == (other.range_index, other.overshoot)


def test_every_point_that_a_search_reaches_lies_in_a_family():
    """Balanced: Z = (1 - c) x a projector, from index-blind searches that know nothing of it."""
    model = of(MSE(), num_classes=4, d=3).merge().model
    heights = [orbit.objective for orbit in squared_error_atlas(model).orbits]
    rng, ranks = np.random.default_rng(0), set()
    for size in np.geomspace(0.3, 5, 24):
        start = model.origin()
        start = start._replace(W=size * rng.normal(size=(4, 3)), H=size * rng.normal(size=(3, 4)))
        point, value, norm, _ = find_critical(model, start, 1e-12, 200)
        if norm < 1e-12:
            Q = np.asarray(point.W @ point.H) / (1 - model.c)
            np.testing.assert_allclose(Q @ Q, Q, atol=1e-9)
            np.testing.assert_allclose(Q, Q.T, atol=1e-9)
            assert min(abs(value - height) for height in heights) < 1e-12
            ranks.add(round(np.trace(Q)))
    assert ranks == {0, 1, 2, 3}


def test_leaving_out_a_family_of_euler_characteristic_zero_is_seen_by_the_inequalities():
    found = squared_error_atlas(of(MSE(), num_classes=4))
    assert [o.count for o in found.orbits] == [1, 0, 2, 0, 1]
    for i, orbit in enumerate(found.orbits):
        short = replace(found, orbits=found.orbits[:i] + found.orbits[i + 1 :])
        assert short.status is Status.OPEN
        assert (set(short.checksum.values()) == {1}) == (orbit.count == 0)


def test_a_probed_loss_is_not_called_complete():
    def square(z, k):
        return 0.5 * ((z**2).sum() - 2 * z[k] + 1)

    told = squared_error_atlas(of(UserLoss(square), num_classes=3))
    assert told.status is Status.CHECKSUM_OK
    assert [o.count for o in told.orbits] == [1, 1, 1, 1]


def test_where_there_is_no_closed_form():
    assert squared_error_atlas(of(CrossEntropy(), num_classes=3)) is None
    assert squared_error_atlas(of(RescaledMSE(2.0, 1.0), num_classes=3)) is None
    assert squared_error_atlas(of(MSE(), counts=(3, 2, 1), lambda_b=0.1)) is None
    with pytest.raises(InputError, match="continua"):
        atlas(of(MSE(), counts=(2, 2, 1), lambda_b=0.1))
    with pytest.raises(InputError, match="K <= 32"):
        squared_error_atlas(of(MSE(), num_classes=33))
    with pytest.raises(InputError, match="4,096"):
        squared_error_atlas(UFM(MSE(), counts=range(101, 114), d=13, lambda_W=1e-4, lambda_H=1e-4))


def test_a_continuum_contains_its_points_and_no_others():
    found = squared_error_atlas(of(MSE(), num_classes=4))
    plane = found.orbits[2]
    assert plane.is_continuum
    Q = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 2)))[0]
    Z = (1 - found.model.c) * Q @ Q.T  # another projector of rank 2
    assert plane.contains((plane.objective, Z, None))
    assert not plane.contains((plane.objective + 1e-3, Z, None))
    assert not plane.contains((plane.objective, 1.001 * Z, None))
    assert not any(o.contains((plane.objective, Z, None)) for o in found.orbits if o is not plane)
