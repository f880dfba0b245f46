"""Points where pieces meet: index and nullity along the surface, against models solved by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape import Curvature, Globality, solve, verdict
from landscape.curvature.kinks import below_along, derivatives, surface_at
from tests.test_ufm.test_models_deep_relu import at_share
from ufm import Model
from ufm.records import pytree_record


@pytree_record(static=("d",), eq=False)
class Ridge(Model[Any]):
    """A fold along the unit sphere: fold max(u, 0) - flat u + tilt x_1 with u = |x|^2 - 1.

    On the sphere f = tilt x_1: critical at x = -+ e_1, where 2 (fold s - flat) x_1 = -tilt.
    """

    fold: Any = 3.0
    flat: Any = 1.0
    tilt: Any = 0.4
    d: int = 4

    def objective(self, point):
        return self.pieces(point)[0]

    def pieces(self, point, slopes=None, shifts=None):
        u = ((point**2).sum() - 1)[None]
        line = jnp.maximum(u, 0) if slopes is None else slopes * u + shifts
        return (self.fold * line - self.flat * u).sum() + self.tilt * point[0], u

    def random_point(self, key, scale=1.0):
        return scale * jax.random.normal(key, (self.d,))

    def generators(self, point):
        unit = np.eye(self.d)
        pairs = [(i, j) for i in range(1, self.d) for j in range(1, i)]
        return np.array([unit[i] * point[j] - unit[j] * point[i] for i, j in pairs])


@pytest.mark.parametrize(("end", "index"), [(-1.0, 0), (1.0, 3)])
def test_index_and_slope_along_a_fold_are_those_found_by_hand(end, index):
    model, x = Ridge(), np.eye(4)[0] * end
    surface = surface_at(model, x)
    slope = (1.0 - 0.4 / (2 * end)) / 3.0
    assert surface.slopes == pytest.approx([slope], abs=1e-12)
    assert surface.residual < 1e-12
    assert surface.doubt == ""
    np.testing.assert_allclose(surface.values, [-0.4 * end] * 3, atol=1e-12)
    told = verdict(model, x)
    assert (told.count.index, told.count.nullity, told.count.kinks) == (index, 0, 1)
    assert told.gradient_norm < 1e-12
    if index:
        assert told.curvature is Curvature.STRICT_SADDLE
        assert told.globality is Globality.NOT_GLOBAL
        assert told.lower_objective < told.objective
        assert told.escape is None
    else:
        assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
        assert below_along(model, x, surface) is None


@pytest.mark.parametrize(
    ("changed", "doubt"),
    [
        ({"fold": -3.0, "flat": -1.0}, "bent downwards"),
        ({"fold": 0.0, "flat": 0.0, "tilt": 0.0}, "does not feel"),
        ({"tilt": 2.0, "end": 1.0}, "at its end"),
    ],
)
def test_a_doubt_is_told_where_the_theorem_does_not_apply(changed, doubt):
    end = changed.pop("end", -1.0)
    told = verdict(Ridge(**changed), np.eye(4)[0] * end)
    assert told.curvature is Curvature.UNDECIDED
    assert doubt in told.reason
    assert told.count.index is None


def test_a_fold_that_no_slope_balances_is_not_critical():
    told = verdict(Ridge(tilt=5.0), np.eye(4)[0])
    assert told.gradient_norm == pytest.approx(3.0, abs=1e-9)  # 5 - 2 flat, at slope 0
    assert "critical" not in told.reason or told.curvature is Curvature.NOT_CRITICAL


def test_derivatives_of_pieces_are_those_of_differences():
    model = at_share(0.5, 3, 4, widths="4,5,6,3", counts="2,1,1")
    point = jax.tree.map(np.asarray, model.random_point(jax.random.key(3)))
    x = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(point)])
    rng = np.random.default_rng(0)
    slopes = rng.uniform(size=len(model.pieces(point)[1]))
    told = derivatives(model, point, x, slopes)
    dx, ds, t = rng.normal(size=len(x)), rng.normal(size=len(slopes)), 1e-6
    ahead, behind = (derivatives(model, point, x + e * dx, slopes) for e in (t, -t))
    turned = [derivatives(model, point, x, slopes + e * ds) for e in (t, -t)]
    scale = 2 * t
    for exact, seen in (
        (told.gradient @ dx, (ahead.value - behind.value) / scale),
        (told.hessian @ dx, (ahead.gradient - behind.gradient) / scale),
        (told.normals @ dx, (ahead.sides - behind.sides) / scale),
    ):
        np.testing.assert_allclose(exact, seen, atol=1e-6)
    # A slope moves L by push times u.
    moved = (turned[0].value - turned[1].value) / scale
    assert (told.push * told.sides) @ ds == pytest.approx(moved, abs=1e-7)


def test_pieces_at_their_own_slopes_are_the_objective():
    model = at_share(0.5, 3, 4, widths="4,5,6,3", counts="2,1,1")
    point = model.random_point(jax.random.key(1))
    value, sides = model.pieces(point)
    own = jnp.where(sides > 0, 1.0, 0.0)
    assert float(model.pieces(point, own, 0 * own)[0]) == pytest.approx(float(value), abs=1e-13)
    assert float(value) == float(model.objective(point))


def test_the_cycle_is_a_saddle_along_its_kinks():
    """DR-4's network is critical, and four directions along its kinks lead down."""
    model = at_share(0.5, 4, 4, d=4)
    point = model.candidates()["cycle"]
    told = verdict(model, point)
    assert told.curvature is Curvature.STRICT_SADDLE
    assert told.count.index == 4
    assert told.count.kinks == 16
    assert told.lower_objective < told.objective - 1e-6


def test_a_unit_that_is_off_is_told_to_pay():
    """With one unit more the network of the plane is no minimum, though no first order says so."""
    narrow, wide = (at_share(0.5, 3, 4, widths=w) for w in ("2,2,2,3", "2,2,2,4"))
    found = solve(narrow, narrow.candidates()["plane"], method="piecewise")
    assert verdict(narrow, found.point).curvature is Curvature.MORSE_BOTT_MINIMUM
    assert narrow.kinks(found.point) == 6
    W1, W2, W3, W4 = found.point.weights
    weights = (W1, W2, np.vstack([W3, np.zeros((1, 2))]), np.hstack([W4, np.zeros((3, 1))]))
    off = found.point._replace(weights=weights)
    told = verdict(wide, off)
    assert told.objective == pytest.approx(found.objective, abs=1e-14)
    assert told.curvature is Curvature.UNDECIDED
    assert "pay if turned on" in told.reason
    growth = wide.unfelt_growth(off, surface_at(wide, off).slopes, np.arange(21, 24))
    assert growth < -1e-3
