"""Solvers through lossless reductions: the closed form is reached, and nothing else is claimed."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape.solvers import solve as solve_module
from landscape.solvers.result import Result
from landscape.solvers.solve import METHODS, solve
from tests.helpers import FAMILY, Problem, padded, slow
from ufm import UFM, CrossEntropy, InputError, Model, Point, Regression
from ufm.records import pytree_record

# Of models without kinks: the other one is tested in test_solvers_piecewise.py.
SMOOTH = tuple(method for method in METHODS if method != "piecewise")
K, D, N = 3, 5, 2
DECAYS = (0.08, 0.05)
# Gradient tolerance of a converged run; the value is then exact to its square / curvature.
TOLERANCE = 1e-9
VALUE = 1e-13
FIRST_ORDER = ("lbfgs", "momentum", "gd")


def model_of(name, n=N, d=D):
    return UFM(FAMILY[name][0], K, d, n, lambda_W=DECAYS[0], lambda_H=DECAYS[1])


def true_gradient_norm(name, point, n=N):
    """Of the full problem, in NumPy."""
    brute = Problem.of(FAMILY[name][1], (n,) * K, point.W.shape[1], *DECAYS)
    return np.linalg.norm(brute.value_and_gradient(brute.pack(point))[1])


def near(point, seed=0, size=0.05):
    rng = np.random.default_rng(seed)
    return Point(*(x + size * rng.standard_normal(x.shape) for x in point[:2]))


@pytree_record(static=("d",), eq=False)
class Broken(Model):
    """An objective that is nowhere finite."""

    d: int

    def objective(self, point):
        return jnp.nan * jnp.sum(point.W @ point.H)

    def random_point(self, key, scale=1.0):
        return Point(scale * jax.random.normal(key, (1, self.d)), jnp.ones((self.d, 1)))

    def with_dimension(self, d):
        return Broken(d)


@pytree_record(static=("d",), eq=False)
class Anchored(Model):
    """No rotation leaves it alone: every feature has a place of its own."""

    d: int

    def objective(self, point):
        return jnp.sum((point.W - 1.0) ** 2) + jnp.sum((point.H - 2.0) ** 2)

    def random_point(self, key, scale=1.0):
        return Point(jax.random.normal(key, (1, self.d)), jnp.ones((self.d, 1)))

    def with_dimension(self, d):
        return Anchored(d)

    def generators(self, point):
        return Point(np.zeros((0, 1, self.d)), np.zeros((0, self.d, 1)))


# Every method with cross entropy, and the cheap ones, with every loss.
LATER = [(m, name) for m in ("lbfgs", "critical") for name in ("mse", "focal")] + [
    ("newton", "mse")
]


@pytest.mark.parametrize(
    ("method", "name"),
    [slow(*case) if case in LATER else case for case in product(SMOOTH, ("ce", "mse", "focal"))],
)
def test_every_method_reaches_its_tolerance_and_the_closed_form(method, name):
    model = model_of(name)
    closed = model.minimiser()
    start = None
    if method == "critical":  # it goes to the nearest critical point, so start near this one
        start = near(model.merge().lift(closed.point))
    found = solve(model, start, method=method, tolerance=TOLERANCE, learning_rate=0.3)
    assert found.result is Result.CONVERGED
    assert bool(found.result)
    assert found.method == method
    assert found.gradient_norm <= TOLERANCE
    assert abs(found.objective - closed.value) < VALUE
    point = found.full_point
    assert point.H.shape == (D, N * K)
    # Rounding of the two evaluations, beside the tolerance.
    assert true_gradient_norm(name, point) == pytest.approx(found.gradient_norm, abs=1e-15)


def test_the_tolerance_is_kept_and_not_exceeded():
    model = model_of("ce")
    loose, tight = solve(model, tolerance=1e-2), solve(model)
    assert 1e-8 < loose.gradient_norm <= 1e-2
    assert tight.gradient_norm <= solve_module.TOLERANCE == 1e-12
    assert loose.iterations < tight.iterations
    assert loose.objective > tight.objective


@pytest.mark.parametrize("method", SMOOTH)
def test_the_iteration_limit_is_kept_and_told(method):
    found = solve(model_of("ce"), method=method, tolerance=TOLERANCE, max_iterations=2)
    assert found.result is Result.MAX_ITERATIONS
    assert not found.result
    assert found.iterations == 2
    assert found.gradient_norm > TOLERANCE


def test_a_limit_reached_together_with_the_tolerance_is_convergence():
    model = model_of("ce")
    needed = solve(model).iterations
    assert solve(model, max_iterations=needed).result is Result.CONVERGED
    assert solve(model, max_iterations=needed - 1).result is Result.MAX_ITERATIONS


@pytest.mark.parametrize("method", [slow(x) if x == "lbfgs" else x for x in SMOOTH])
def test_an_objective_that_is_not_a_number_diverges(method):
    assert solve(Broken(2), method=method).result is Result.DIVERGED


def test_a_step_that_is_too_long_diverges():
    found = solve(model_of("mse"), method="gd", learning_rate=1e6, tolerance=TOLERANCE)
    assert found.result is Result.DIVERGED
    assert not np.isfinite(found.gradient_norm)


@pytest.mark.parametrize("method", SMOOTH)
def test_a_tolerance_below_rounding_is_never_claimed(method):
    found = solve(model_of("ce"), method=method, tolerance=1e-30, max_iterations=600)
    assert found.result in (Result.STALLED, Result.MAX_ITERATIONS)
    assert found.gradient_norm > 1e-30


def test_newton_says_that_it_stalled():
    assert solve(model_of("ce"), tolerance=1e-30).result is Result.STALLED


@pytest.mark.parametrize("method", ["gd", "momentum"])
def test_the_learning_rate_is_used(method):
    model = model_of("ce")
    slow, fast = (
        solve(model, method=method, tolerance=1e-4, learning_rate=rate) for rate in (0.05, 0.2)
    )
    assert slow.result is fast.result is Result.CONVERGED
    assert slow.iterations != fast.iterations
    default = solve(model, method=method, tolerance=1e-4)
    explicit = solve(model, method=method, tolerance=1e-4, learning_rate=0.1)
    assert default.iterations == explicit.iterations


def test_the_key_decides_the_start():
    model = model_of("ce")
    default, zero, one = solve(model), *(solve(model, key=jax.random.key(s)) for s in (0, 1))
    assert np.array_equal(default.point.W, zero.point.W)
    assert np.abs(zero.point.W - one.point.W).max() > 1e-3
    assert abs(zero.objective - one.objective) < VALUE


def test_a_convex_loss_is_merged_and_false_keeps_the_samples():
    model = model_of("ce")
    auto, forced, full = (solve(model, reduction=choice) for choice in ("auto", True, False))
    assert auto.model.merged
    assert auto.point.H.shape == (D, K)
    assert auto.reduction == forced.reduction
    assert auto.reduction.startswith("samples merged, convexity yes (proved)")
    assert full.model is model
    assert full.original is model
    assert full.point.H.shape == (D, K * N)
    assert full.full_point is full.point
    assert full.reduction.startswith("none; random start in 3 of 5")
    assert abs(full.objective - auto.objective) < VALUE
    spread = np.ptp(np.asarray(full.point.H).reshape(D, K, N), axis=2)
    assert spread.max() < 1e-9  # collapse was found, not put in


@pytest.mark.slow
def test_a_loss_that_is_not_convex_is_merged_only_when_asked(monkeypatch):
    model = model_of("focal")
    auto = solve(model)
    assert auto.point.H.shape == (D, K * N)
    assert "do not merge" in auto.reduction
    assert "no" in auto.reduction.split("convexity")[1]
    forced = solve(model, reduction=True)
    assert forced.model.merged
    assert "collapsed points only (asked for)" in forced.reduction
    assert abs(forced.objective - auto.objective) < VALUE
    monkeypatch.setattr(solve_module, "MAX_UNMERGED", model.num_parameters - 1)
    large = solve(model)
    assert large.model.merged
    assert f"more than {model.num_parameters - 1} variables" in large.reduction
    assert not solve(model, reduction=False).model.merged
    monkeypatch.setattr(solve_module, "MAX_UNMERGED", model.num_parameters)
    assert not solve(model).model.merged


@pytest.mark.slow
def test_one_sample_a_class_merges_whatever_the_loss():
    found = solve(model_of("focal", n=1))
    assert found.model.merged
    assert "collapsed points only" not in found.reduction


def test_merged_and_full_starts_are_accepted():
    model = model_of("ce")
    merge = model.merge()
    small = near(model.minimiser().point, size=0.3)
    first, second = solve(model, small), solve(model, merge.lift(small))
    assert np.abs(first.point.W - second.point.W).max() < 1e-10
    elsewhere = solve(model, near(model.minimiser().point, seed=1, size=0.3))
    assert np.abs(first.point.W - elsewhere.point.W).max() > 1e-4


def test_a_critical_start_is_returned_as_it_is():
    model = model_of("ce")
    best = model.minimiser().point
    found = solve(model, best)
    assert found.iterations == 0
    assert np.array_equal(found.point.W, best.W)


@pytest.mark.slow
def test_features_beyond_the_span_of_the_start_cost_nothing():
    """d = 40 > 2 K: the run is the one in six dimensions, turned."""
    thin, wide = model_of("ce", d=6), model_of("ce", d=40)
    start = thin.merge().model.random_point(jax.random.key(3))
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))[0]
    raised = padded(Point(*map(np.asarray, start[:2])), 40)
    raised = Point(raised.W @ turn, turn.T @ raised.H)
    low, high = solve(thin, start), solve(wide, raised)
    assert "row space of the start, 6 of 40 dimensions" in high.reduction
    assert "row space" not in low.reduction
    assert high.point.W.shape == (K, 40)
    assert high.full_point.H.shape == (40, K * N)
    assert abs(high.objective - low.objective) < VALUE
    assert abs(high.iterations - low.iterations) <= 1  # rounding may move the last step
    back = padded(Point(*map(np.asarray, low.point[:2])), 40)
    # Two Newton runs agree to the tolerance over the curvature.
    assert np.abs(back.W @ turn - high.point.W).max() < 1e-9
    assert true_gradient_norm("ce", high.full_point) < 1e-12


def test_a_random_start_of_a_convex_loss_has_k_dimensions_and_full_has_all():
    model = model_of("ce")
    narrow, full = (solve(model, start, max_iterations=1) for start in (None, "full"))
    assert "random start in 3 of 5 dimensions" in narrow.reduction
    assert "random start" not in full.reduction
    assert np.all(narrow.point.W[:, K:] == 0)
    assert np.all(narrow.point.H[K:] == 0)
    assert np.linalg.matrix_rank(np.vstack([full.point.W, full.point.H.T])) == D
    drawn = model.merge().model.random_point(jax.random.key(0))
    again = solve(model, drawn, max_iterations=1)
    assert np.array_equal(full.point.W, again.point.W)
    ends = [solve(model, start).objective for start in (None, "full")]
    assert abs(ends[0] - ends[1]) < VALUE


def test_where_more_dimensions_may_help_a_random_start_has_them():
    """Focal loss is not convex: a minimum in K dimensions may fall along one more."""
    assert "random start" not in solve(model_of("focal"), max_iterations=1).reduction
    assert "random start" not in solve(model_of("ce"), method="critical").reduction
    assert "random start" not in solve(model_of("ce", d=K), max_iterations=1).reduction


def test_a_descent_that_is_watched_is_the_same_and_ends_where_it_is_told_to():
    model, heard = model_of("ce"), []

    def watch(used, value, size):
        heard.append((used, value, size))
        return used == 4

    alone, watched = solve(model), solve(model, watch=lambda *told: False)
    assert watched.iterations == alone.iterations
    assert abs(watched.objective - alone.objective) < VALUE
    stopped = solve(model, watch=watch)
    assert stopped.result is Result.INTERRUPTED
    assert not stopped.result
    assert (stopped.iterations, stopped.objective, stopped.gradient_norm) == heard[-1]
    assert heard[-1][0] == 4
    assert heard[0][1] > heard[-1][1] > alone.objective
    assert true_gradient_norm("ce", stopped.full_point) == pytest.approx(heard[-1][2], rel=1e-9)
    # A watch that says stop where the end is reached anyway interrupts nothing.
    assert solve(model, watch=lambda *told: told[2] < 1e-12).result is Result.CONVERGED


def test_a_random_start_in_many_dimensions_reaches_the_closed_form():
    model = model_of("mse", d=40)
    found = solve(model)
    assert found.point.H.shape == (40, K)
    assert abs(found.objective - model.minimiser().value) < VALUE


def test_a_model_without_rotations_is_not_squeezed_into_the_span_of_its_start():
    model = Anchored(5)
    found = solve(model)
    assert found.objective == pytest.approx(float(model.objective(found.point)), abs=1e-12)
    assert found.objective < 1e-12


@pytest.mark.slow
def test_a_regression_is_solved():
    targets = np.random.default_rng(0).standard_normal((2, 7))
    model = Regression(targets, 3, lambda_W=0.1, lambda_H=0.2)
    found, closed = solve(model), model.minimiser()
    assert found.result is Result.CONVERGED
    assert found.reduction == "none"
    assert abs(found.objective - closed.value) < VALUE
    assert np.abs(found.point.b - targets.mean(axis=1)).max() < 1e-10


def test_bad_choices_are_refused(monkeypatch):
    model = model_of("ce")
    with pytest.raises(InputError, match=r"Unknown method.*adam.*newton"):
        solve(model, method="adam")
    with pytest.raises(InputError, match=r"Unknown reduction.*maybe"):
        solve(model, reduction="maybe")
    for tolerance in (0.0, -1e-9, float("nan")):
        with pytest.raises(InputError, match="tolerance"):
            solve(model, tolerance=tolerance)
    monkeypatch.setattr(solve_module, "MAX_CRITICAL_SIZE", 29)
    with pytest.raises(InputError, match=r"at most 29 variables.*30.*GiB.*newton"):
        solve(model, method="critical")
    assert solve(model).result is Result.CONVERGED  # the limit is that of "critical"


@pytest.mark.slow
def test_the_size_limit_of_critical_counts_what_is_left_after_the_reductions():
    wide = UFM(CrossEntropy(), K, 400, 300, lambda_W=0.02, lambda_H=2e-4)
    assert wide.num_parameters > 100 * solve_module.MAX_CRITICAL_SIZE
    assert solve(wide, method="critical", max_iterations=1).iterations == 1


@pytest.mark.parametrize("shape", [(D, K + 1), (D + 1, K)])
def test_a_start_of_another_shape_is_refused(shape):
    model = model_of("ce")
    with pytest.raises(InputError):
        solve(model, Point(np.ones((K, D)), np.ones(shape)))


@pytest.mark.parametrize("method", ["newton", "gd"])
def test_a_descent_from_a_saddle_says_so_and_from_a_minimum_converges(method):
    model = model_of("ce")
    found = solve(model, model.origin(), method=method)
    # Two couplings above sigma, D dimensions each.
    assert (found.result, found.start_index) == (Result.SADDLE_START, 2 * D)
    assert not found.result
    assert found.iterations == 0
    best = solve(model, model.minimiser().point, method=method, tolerance=TOLERANCE)
    assert (best.result, best.start_index) == (Result.CONVERGED, 0)


def test_a_search_of_any_index_may_stay_at_a_saddle():
    model = model_of("ce")
    found = solve(model, model.origin(), method="critical")
    assert (found.result, found.start_index) == (Result.CONVERGED, 2 * D)
    assert solve(model, key=jax.random.key(1)).start_index is None
