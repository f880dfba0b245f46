"""Verdicts: what is claimed is true in NumPy, and what cannot be known is not claimed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape.curvature import count as curvature_module
from landscape.curvature.count import count_curvature
from landscape.solvers.solve import solve
from landscape.verdict import CRITICAL, Curvature, Globality, verdict
from tests.helpers import Problem, naive_cross_entropy, padded, slow
from ufm import (
    MSE,
    UFM,
    CrossEntropy,
    FixedClassifier,
    Focal,
    InputError,
    Model,
    Nonnegative,
    Point,
    Regression,
    UserLoss,
    lift,
    merged_code,
)
from ufm.records import pytree_record

K, D, LW, LH = 4, 6, 0.02, 0.01


def ce(d=D, **changes):
    sizes = changes.pop("counts", (2,) * K)
    return UFM(CrossEntropy(), counts=sizes, d=d, lambda_W=LW, lambda_H=LH, **changes)


def merged_saddle():
    """CE-6, merged columns: 1 / sigma_n = K / c with c = K sqrt(n) sigma."""
    model = ce()
    beta, ratio = np.log(2 / model.c - 1), (LH / LW) ** 0.25
    code = np.sqrt(beta * np.sqrt(2)) * merged_code((2, 2), D)
    return model, Point(ratio * code, code.T / ratio)


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.03])
def test_the_collapsed_solution_is_a_global_morse_bott_minimum(lambda_b):
    model = ce(lambda_b=lambda_b)
    best = model.minimiser()
    found = verdict(model, best.point)
    assert found.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert found.globality is Globality.GLOBAL
    assert "duality gap" in found.globality_reason
    assert found.certificate.applies
    assert found.objective == pytest.approx(best.value, abs=1e-14)
    # r (r - 1) / 2 + r (d - r) with r = 3, and the shift of an unregularised bias.
    assert found.count.nullity == 12 + (lambda_b == 0.0)
    brute = Problem.of(naive_cross_entropy(), (2,) * K, D, LW, LH, lambda_b)
    values = brute.spectrum(lift(model, best.point))
    assert found.gamma == pytest.approx(values[values > 1e-9].min(), rel=1e-9)
    assert found.escape is found.lower is found.lower_objective is None


def test_merged_classes_are_a_strict_saddle_with_a_way_down():
    model, point = merged_saddle()
    found = verdict(model, point)
    assert found.curvature is Curvature.STRICT_SADDLE
    assert found.globality is Globality.NOT_GLOBAL
    assert found.count.index == 2 * D
    brute = Problem.of(naive_cross_entropy(), (2,) * K, D, LW, LH, merged=True)
    assert found.gradient_norm < 1e-15
    assert found.gamma == pytest.approx(-brute.spectrum(point)[0], rel=1e-12)
    assert found.escape.curvature == pytest.approx(-found.gamma, rel=1e-12)
    lower = brute.value_and_gradient(brute.pack(found.lower))[0]
    assert lower == pytest.approx(found.lower_objective, abs=1e-14)
    assert lower < found.objective - 0.05


def imbalanced_saddle():
    model = ce(counts=(3, 2, 4, 1))
    line = Problem.of(naive_cross_entropy(), model.counts_tuple, 1, LW, LH, merged=True)
    found = (line.newton(line.random(seed, 3.0)) for seed in range(30))
    point = next(p for p, res in found if res < 1e-15 and np.abs(p.W @ p.H).max() > 0.1)
    return model, padded(point, D)


@pytest.mark.parametrize("case", [merged_saddle, slow(imbalanced_saddle)])
def test_merged_and_full_columns_get_one_verdict(case):
    model, small = case()
    first, second = verdict(model, small), verdict(model, lift(model, small))
    assert first.curvature is second.curvature is Curvature.STRICT_SADDLE
    assert first.globality is second.globality is Globality.NOT_GLOBAL
    assert first.count.index == second.count.index
    assert first.count.nullity == second.count.nullity
    assert first.gamma == pytest.approx(second.gamma, rel=1e-12)
    assert first.objective == pytest.approx(second.objective, abs=1e-14)
    assert first.gradient_norm == pytest.approx(second.gradient_norm, abs=1e-15)
    for found in (first, second):  # promised in merged columns
        assert found.lower.H.shape == (D, K)
        height = float(model.as_merged(found.lower)[0].objective(found.lower))
        assert height == pytest.approx(found.lower_objective, abs=1e-14)
        assert height < found.objective - 1e-3


@pytest.mark.slow
def test_without_a_closed_form_the_escape_direction_shows_a_lower_point():
    model, point = imbalanced_saddle()
    assert model.minimiser() is None
    found = verdict(model, point)
    assert "escape direction" in found.globality_reason
    brute = Problem.of(naive_cross_entropy(), model.counts_tuple, D, LW, LH, merged=True)
    lower = brute.value_and_gradient(brute.pack(found.lower))[0]
    assert lower == pytest.approx(found.lower_objective, abs=1e-14)
    assert lower < found.objective - 1e-3


def test_a_random_point_is_not_critical():
    model = ce()
    point = model.random_point(jax.random.key(0))
    found = verdict(model, point)
    assert found.curvature is Curvature.NOT_CRITICAL
    assert found.globality is Globality.NOT_GLOBAL
    assert found.gamma is None
    assert found.gradient_norm > 1e-3
    assert f"{found.gradient_norm:.3g}" in found.reason


@pytest.mark.parametrize("decay", [1e-2, 1e-6])
def test_being_critical_is_measured_against_curvature_and_size(decay):
    model = UFM(CrossEntropy(), K, D, lambda_W=decay, lambda_H=decay)
    best = model.minimiser().point
    push = np.random.default_rng(0).standard_normal(best.W.shape)
    length, outcomes = np.sqrt(np.sum(best.W**2) + np.sum(best.H**2)), set()
    for size in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4):
        found = verdict(model, best._replace(W=best.W + size * push))
        ratio = found.gradient_norm / (CRITICAL * found.count.typical * length)
        assert (found.curvature is Curvature.NOT_CRITICAL) == (ratio > 1)
        outcomes.add(ratio > 1)
    assert outcomes == {True, False}


@pytest.mark.parametrize("distance", [1e-3, 1e-5])
def test_a_strict_saddle_is_never_called_global(distance):
    """c = 1 - distance: the origin is a saddle, lower points exist, the gap is distance^2."""
    decay = (1 - distance) / 3
    model = UFM(CrossEntropy(), 3, 5, lambda_W=decay, lambda_H=decay)
    found = verdict(model, model.origin())
    assert found.curvature is Curvature.STRICT_SADDLE
    assert model.minimiser().value < found.objective
    assert found.globality is not Globality.GLOBAL


def test_at_the_collapse_threshold_the_origin_is_degenerate():
    """c = 1 exactly: r0 d = (K - 1) d zero modes that no symmetry explains (CE-5)."""
    model = UFM(CrossEntropy(), K, D, lambda_W=0.25, lambda_H=0.25)
    assert model.c == 1.0
    found = verdict(model, model.origin())
    assert found.curvature is Curvature.DEGENERATE
    assert (found.count.nullity, found.count.predicted_nullity) == ((K - 1) * D, 0)
    assert found.gamma is None
    assert found.globality is Globality.GLOBAL
    for lw, expected in ((0.26, Curvature.MORSE_BOTT_MINIMUM), (0.24, Curvature.STRICT_SADDLE)):
        beside = UFM(CrossEntropy(), K, D, lambda_W=lw, lambda_H=0.25)
        assert verdict(beside, beside.origin()).curvature is expected


@pytree_record(static=("d", "orbit"), eq=False)
class Valley(Model):
    """A user's model: x^2 / 2 + y^4 in W (1, 2), with as many claimed symmetries as asked."""

    d: int
    orbit: int

    def objective(self, point):
        x, y = point.W[0, 0], point.W[0, 1]
        return 0.5 * x**2 + y**4 + 0.5 * jnp.sum(point.H**2)

    def random_point(self, key, scale=1.0):
        return Point(scale * jax.random.normal(key, (1, 2)), jnp.zeros((2, 1)))

    def with_dimension(self, d):
        return self

    def generators(self, point):
        W = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])[: self.orbit]
        return Point(W, np.zeros((self.orbit, 2, 1)))


@pytest.mark.parametrize(
    ("orbit", "expected", "says"),
    [
        (0, Curvature.DEGENERATE, "nullity 1 > 0"),
        (1, Curvature.MORSE_BOTT_MINIMUM, "nullity 1 ="),
        (2, Curvature.UNDECIDED, "nullity 1 < 2"),
    ],
)
def test_flat_directions_are_compared_with_the_symmetry(orbit, expected, says):
    found = verdict(Valley(2, orbit), Point(np.zeros((1, 2)), np.zeros((2, 1))))
    assert found.curvature is expected
    assert says in found.reason
    assert found.globality is Globality.UNKNOWN
    assert "no dual bound is known" in found.globality_reason


def test_lanczos_decides_saddles_only(monkeypatch):
    model = Regression(np.random.default_rng(0).standard_normal((2, 7)), 3, 0.1, 0.2)
    flat = Point(np.zeros((2, 3)), np.zeros((3, 7)), model.targets.mean(axis=1))
    best = model.minimiser().point
    exact = verdict(model, best)
    assert exact.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert "value of the closed-form" in exact.globality_reason
    monkeypatch.setattr(curvature_module, "MAX_DIAGONALISED", 1)
    saddle, low = verdict(model, flat), verdict(model, best)
    assert saddle.curvature is Curvature.STRICT_SADDLE
    assert saddle.count.index is None
    assert low.curvature is Curvature.UNDECIDED
    assert "proves nothing" in low.reason
    assert low.gamma is None


def test_an_orbit_too_large_to_rank_is_undecided():
    model = UFM(MSE(), 33, 34, lambda_W=1e-3, lambda_H=1e-3)
    found = verdict(model, model.minimiser().point)
    assert found.curvature is Curvature.UNDECIDED
    assert "is not known" in found.reason
    assert found.globality is Globality.GLOBAL


@pytest.mark.slow
def test_focal_loss_has_a_spurious_minimum_at_the_origin():
    """FL-3: gamma = 2, K = 50 and 1.11375 < c < 1.14006; below the window it is a saddle."""
    kinds = {}
    for c in (1.11, 1.13, 1.145):
        model = UFM(Focal(2.0), 50, 60, lambda_W=c / 50, lambda_H=c / 50)
        found = verdict(model, model.origin())
        kinds[c] = (found.curvature.name, found.globality.name)
        if c == 1.13:
            assert found.lower_objective < found.objective - 0.01
            height = float(model.objective(found.lower))
            assert height == pytest.approx(found.lower_objective, abs=1e-12)
            assert not found.certificate.applies
    assert kinds[1.11] == ("STRICT_SADDLE", "NOT_GLOBAL")
    assert kinds[1.13] == ("MORSE_BOTT_MINIMUM", "NOT_GLOBAL")
    assert kinds[1.145] in (("MORSE_BOTT_MINIMUM", end) for end in ("GLOBAL", "UNKNOWN"))


@pytest.fixture(scope="module")
def narrow():
    """K = 5, d = 3 < K - 1: two local minima (CE-4, pitfalls), the spurious one first."""
    model = UFM(CrossEntropy(), 5, 3, lambda_W=1e-3, lambda_H=1e-3)
    # One random start in seven ends at the spurious minimum: key 22 is the first.
    found = [solve(model, key=jax.random.key(seed)) for seed in range(20, 25)]
    found.sort(key=lambda solution: -solution.objective)
    return model, found[0], found[-1]


def test_below_the_width_of_the_simplex_a_spurious_minimum_stays_unknown(narrow):
    model, spurious, best = narrow
    assert spurious.objective == pytest.approx(0.03589941, abs=5e-9)
    assert best.objective == pytest.approx(0.03585588, abs=5e-9)
    brute = Problem.of(naive_cross_entropy(), (1,) * 5, 3, 1e-3, 1e-3)
    for solution in (spurious, best):
        found = verdict(model, solution.point)
        assert found.curvature is Curvature.MORSE_BOTT_MINIMUM
        assert found.count.nullity == 3  # O(3)
        values = brute.spectrum(solution.point)
        assert values[0] > -1e-12
        assert found.gamma == pytest.approx(values[3], rel=1e-6)
        assert found.globality is Globality.UNKNOWN
        assert "duality gap" in found.globality_reason
        assert "descents" not in found.globality_reason


def test_restarts_find_the_lower_minimum(narrow):
    model, spurious, best = narrow
    found = verdict(model, spurious.point, restarts=4)
    assert found.globality is Globality.NOT_GLOBAL
    brute = Problem.of(naive_cross_entropy(), (1,) * 5, 3, 1e-3, 1e-3)
    lower = brute.value_and_gradient(brute.pack(found.lower))[0]
    assert lower == pytest.approx(best.objective, abs=1e-12)
    assert lower < spurious.objective - 4e-5
    other = verdict(model, spurious.point, restarts=4, key=jax.random.key(1))
    assert np.abs(other.lower.W - found.lower.W).max() > 1e-3  # the key is used
    nothing = verdict(model, best.point, restarts=2)
    assert nothing.globality is Globality.UNKNOWN
    assert "2 random descents found nothing lower" in nothing.globality_reason


def test_bad_points_are_refused():
    model = ce(lambda_b=0.03)
    point = model.minimiser().point
    with pytest.raises(InputError, match="float64"):
        verdict(model, point._replace(W=np.float32(point.W)))
    with pytest.raises(InputError, match="finite"):
        verdict(model, point._replace(b=np.full(K, np.nan)))
    with pytest.raises(InputError, match="finite"):
        verdict(model, point._replace(H=np.full((D, K), np.inf)))
    shapes = {"W": np.ones((K, D - 1)), "H": np.ones((D, K + 1)), "b": np.ones(K + 1)}
    for name, array in shapes.items():
        with pytest.raises(InputError, match=r"Need W \(4, 6\), H \(6, 8\) or merged \(6, 4\)"):
            verdict(model, point._replace(**{name: array}))
    for wrong in (point._replace(b=None), point._replace(H=np.ones(K)), Point(*point[:2])):
        with pytest.raises(InputError, match=r"b \(4,\)"):
            verdict(model, wrong)
    with pytest.raises(InputError, match="no bias"):
        verdict(ce(), point)


@pytest.mark.parametrize(("decay", "factor"), [(1e-7, 2.0), (1e-8, 1.1), (1e-5, 1.5), (1e-4, 1.2)])
def test_a_point_that_moves_at_small_decays_is_no_minimum(decay, factor):
    """W doubled and H halved leaves W H, and a gradient of the size of the decay."""
    model = UFM(MSE(), 4, 5, lambda_W=decay, lambda_H=decay)
    best = model.minimiser()
    W, H, b = best.point
    moved = verdict(model, Point(factor * W, H / factor, b))
    assert moved.curvature in (Curvature.UNDECIDED, Curvature.NOT_CRITICAL)
    assert moved.globality is not Globality.GLOBAL
    exact = verdict(model, best.point)
    assert exact.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert exact.globality is Globality.GLOBAL


def test_classes_that_nearly_agree_make_no_saddle():
    """The exact minimiser in one dimension, two classes 1e-10 apart: they are taken for one."""
    q = np.array([1.0, 1.0 + 1e-10, 0.0])
    code = (0.7**0.5 * q / np.linalg.norm(q))[:, None]
    model = UFM(MSE(), 3, 1, lambda_W=0.1, lambda_H=0.1)
    judged = verdict(model, Point(code, code.T))
    assert judged.curvature is not Curvature.STRICT_SADDLE
    assert "classes made equal" in judged.count.tolerance_source


def test_a_gap_is_measured_relative_to_the_objective():
    model = UFM(CrossEntropy(), 3, 2, lambda_W=1e-12, lambda_H=1e-12)
    best = model.minimiser()
    twice = Point(2**0.5 * best.point.W, 2**0.5 * best.point.H)
    assert best.value < 1e-9
    assert verdict(model, twice).globality is not Globality.GLOBAL


def test_features_that_differ_by_a_millionth_are_judged():
    model = UFM(CrossEntropy(), counts=(2, 1), d=3, lambda_W=1.0, lambda_H=1e-3)
    H = np.zeros((3, 3))
    H[0, :2] = 1.2e-6, -1.2e-6
    judged = verdict(model, Point(np.zeros((2, 3)), H))
    assert judged.curvature is Curvature.STRICT_SADDLE
    assert (judged.count.index, judged.count.settled) == (3, True)  # the origin, beside it
    if judged.curvature is Curvature.STRICT_SADDLE:
        assert judged.escape.curvature < 0


@pytest.mark.parametrize("most", [10**6, 1], ids=["dense", "lanczos"])
@pytest.mark.parametrize(
    "model_of",
    [
        lambda loss: UFM(loss, 3, 4, 2, lambda_W=0.1, lambda_H=0.1),
        lambda loss: FixedClassifier(loss, 3, 2, lambda_H=0.1),
        lambda loss: Nonnegative(loss, 3, 4, 2, lambda_W=0.1, lambda_H=0.1),
    ],
    ids=["plain", "fixed", "nonnegative"],
)
def test_a_loss_with_kinks_is_refused_on_every_route(model_of, most, monkeypatch):
    monkeypatch.setattr(curvature_module, "MAX_DIAGONALISED", most)
    hinge = UserLoss(lambda z, k: jnp.sum(jnp.maximum(0.0, 1 + z - z[k])) - 1, "hinge")
    model = model_of(hinge)
    point = model.random_point(jax.random.key(0))
    for ask in (lambda: verdict(model, point), lambda: count_curvature(model, point, 1.0)):
        with pytest.raises(InputError, match=r"without kinks\. Got hinge: slope jumps.*softplus"):
            ask()
    soft = model_of(UserLoss(lambda z, k: jnp.sum(jax.nn.softplus(1 + z - z[k])), "soft"))
    assert verdict(soft, point).curvature is Curvature.NOT_CRITICAL
