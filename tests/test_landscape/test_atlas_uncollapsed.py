"""Features that differ within a class: closed forms, dense Hessians, and a loss that has them.

The loss with uncollapsed points is the mean absolute error 1 - u with an additive margin: its slope
along the logit gap, g = u (1 - u), rises with u as far as u = 1/2.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, softmax

from landscape.atlas import Failure
from landscape.atlas import uncollapsed as module
from landscape.atlas.search import Found, search
from landscape.atlas.uncollapsed import uncollapsed
from tests.helpers import Problem, focal_slope, padded
from ufm import UFM, CrossEntropy, Focal, InputError, Point, UserLoss, simplex_etf

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("uncollapsed")]
MARGIN = 4.0
BATCH = 60  # one size: every other is another compilation


def marginal_error(z, k):
    return -jnp.expm1(jax.nn.log_softmax(z - MARGIN * jax.nn.one_hot(k, z.shape[0]))[k])


def naive_marginal_error(z, k):
    """1 - u with u the softmax at label k, differentiated by hand."""
    own = np.eye(len(z))[k]
    p = softmax(z - MARGIN * own)
    e = own - p
    return 1 - p[k], -p[k] * e, p[k] * (np.diag(p) - np.outer(p, p) - np.outer(e, e))


LOSS = UserLoss(marginal_error)


def balanced(loss, K, n, c, lambda_b=None):
    decay = c / (K * np.sqrt(n))
    return UFM(loss, K, K + 2, n, lambda_W=decay, lambda_H=decay, lambda_b=lambda_b)


def problem(model, d):
    decays = (float(model.lambda_W), float(model.lambda_H), model.lambda_b)
    return Problem.of(naive_marginal_error, model.counts_tuple, d, *decays)


@pytest.fixture(scope="module")
def found():
    return uncollapsed(balanced(LOSS, 3, 2, 0.2), budget=0.0, batch=BATCH)


@pytest.fixture(scope="module")
def smaller_decay():
    return uncollapsed(balanced(LOSS, 3, 2, 0.15), budget=0.0, batch=BATCH)


def frame_point(K=3, n=4):
    """A critical point on a simplex ETF, its samples at two different roots of a = t g(a)."""
    shift = np.log(K - 1) + MARGIN  # u = expit(a - shift)

    def slope(a):
        return expit(a - shift) * expit(shift - a)

    a = np.linspace(0.1, 12.0, 4000)
    falling = np.diff(a / slope(a)) < 0
    t = (a / slope(a))[1:][falling].mean()
    signs = np.flatnonzero(np.diff(np.sign(a - t * slope(a))))
    roots = [brentq(lambda x: x - t * slope(x), a[i], a[i + 1], xtol=1e-15) for i in signs]
    assert len(roots) == 3
    gaps = np.array([roots[0], roots[2], roots[0], roots[2]][:n])
    # lambda_H h = w g K / ((K - 1) N) for every sample and lambda_W w^2 = lambda_H sum h^2.
    c = K / (K - 1) * np.sqrt(np.mean(gaps**2)) / t
    model = balanced(LOSS, K, n, c)
    N = K * n
    w = np.sqrt(t * (K - 1) * N * float(model.lambda_H) / K)
    frame = simplex_etf(K)
    return model, Point(w * frame, np.kron(frame.T, gaps[None, :] / w)), gaps / w


def orbits(model, points):
    inside = model.with_dimension(points[0].W.shape[1])
    values = [Found(p, float(inside.value_and_gradient(p)[0]), 0.0) for p in points]
    return module._gathered((), inside, values)


def moved(point, n, classes, samples, rotation):
    """Classes, then the samples of each class permuted, all features rotated."""
    columns = np.concatenate([k * n + np.asarray(s) for k, s in zip(classes, samples, strict=True)])
    return Point(point.W[classes] @ rotation, rotation.T @ point.H[:, columns])


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal(2.0)], ids=lambda loss: loss.name)
def test_nothing_is_found_where_nothing_exists(loss):
    got = uncollapsed(balanced(loss, 3, 2, 0.1), budget=0.0, batch=BATCH)
    assert got.orbits == ()
    assert got.found == got.collapsed > BATCH
    assert got.searches == 2 * BATCH == got.found + got.failures.total()
    assert set(got.failures) <= set(Failure)
    assert got.theorem
    assert got.text[0] == f"n = 2: 120 searches, {got.found} critical points, none uncollapsed."
    assert got.text[1].startswith("Proved: there is none (")


def test_uncollapsed_points_are_found_and_some_are_minima(found):
    assert len(found.orbits) >= 5
    values = [orbit.objective for orbit in found.orbits]
    assert values == sorted(values)
    assert found.found == found.collapsed + sum(orbit.hits for orbit in found.orbits)
    minima = [orbit for orbit in found.orbits if orbit.is_minimum(2)]
    assert 0 < len(minima) < len(found.orbits)
    lines = found.text
    assert lines[1].startswith(
        f"Uncollapsed orbits: {len(values)}, lowest objective {values[0]:.9f}"
    )
    assert lines[1].endswith(f"{len(minima)} of them a local minimum for d = 2.")
    assert lines[2] == "No theorem excludes them."


@pytest.mark.parametrize("d", [2, 3, 5])
def test_numbers_are_those_of_the_dense_hessian(found, smaller_decay, d):
    listed = [(x.model, orbit) for x in (found, smaller_decay) for orbit in x.orbits]
    for model, orbit in listed:
        brute = problem(model, d)
        point = padded(orbit.point, d)
        x = brute.pack(point)
        value, gradient = brute.value_and_gradient(x)
        assert np.linalg.norm(gradient) < 1e-11
        assert value == pytest.approx(orbit.objective, abs=1e-13)
        spectrum = np.linalg.eigvalsh(brute.hessian(x))
        assert int(np.sum(spectrum < -1e-8)) == orbit.index(d)
        null = int(np.sum(np.abs(spectrum) < 1e-8))
        assert null == orbit.range_nullity + (d - orbit.rank) * orbit.rank
        assert orbit.is_minimum(d) == (spectrum[0] > -1e-8)
        pairs = orbit.point.H.reshape(orbit.rank, 3, 2)
        distances = np.linalg.norm(pairs[..., 0] - pairs[..., 1], axis=0)
        assert orbit.spread == pytest.approx(distances.max())
        assert orbit.spread > 1e-3
        if d == orbit.rank:
            assert orbit.range_smallest == pytest.approx(spectrum[0], abs=1e-11)
    assert {orbit.rank for _, orbit in listed} == {1, 2}
    assert {orbit.overshoot for _, orbit in listed} == {0, 1}


def test_a_dimension_below_the_rank_is_refused(found):
    highest = max(found.orbits, key=lambda orbit: orbit.rank)
    with pytest.raises(InputError, match="needs d >= 2"):
        highest.index(1)


def test_a_point_in_closed_form_is_recognised():
    model, point, features = frame_point()
    brute = problem(model, 2)
    assert np.linalg.norm(brute.value_and_gradient(brute.pack(point))[1]) < 1e-14
    start = jax.tree.map(lambda x: np.asarray(x)[None] * (1 + 1e-7), point)
    harvest = search(model.with_dimension(2), start)
    assert len(harvest.found) == 1
    (orbit,) = orbits(model, [harvest.found[0].point])
    frame_row = np.sqrt(2 / 3)  # length of a row of a simplex ETF with W W^T = I - J / K
    assert orbit.spread == pytest.approx(frame_row * (features.max() - features.min()), rel=1e-6)
    assert orbit.range_index == int(np.sum(brute.spectrum(point) < -1e-9))


def test_relabelled_points_are_one_orbit_and_others_are_not():
    n, rng = 4, np.random.default_rng(3)
    model = balanced(LOSS, 3, n, 0.3)
    point = Point(rng.normal(size=(3, 2)), rng.normal(size=(2, 12)))
    rotation = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    samples = [rng.permutation(n) for _ in range(3)]
    same = moved(point, n, [2, 0, 1], samples, rotation)
    (one,) = orbits(model, [point, same])
    assert one.hits == 2
    # Two samples of different classes exchanged: the objective must not be what tells them apart.
    H = point.H.copy()
    H[:, [0, n]] = H[:, [n, 0]]
    inside = model.with_dimension(2)
    fake = Found(Point(point.W, H), one.objective, 0.0)
    assert len(module._gathered((one,), inside, [fake])) == 2
    mirrored = Found(Point(point.W, -point.H), one.objective, 0.0)
    assert len(module._gathered((one,), inside, [mirrored])) == 2


def test_only_classes_of_equal_size_are_exchanged():
    rng = np.random.default_rng(5)
    counts, starts = (2, 3, 2), [0, 2, 5]
    model = UFM(LOSS, counts=counts, d=4, lambda_W=0.03, lambda_H=0.05)
    inside = model.with_dimension(2)
    point = Point(rng.normal(size=(3, 2)), rng.normal(size=(2, 7)))
    (one,) = orbits(model, [point])

    def exchanged(classes):
        columns = np.concatenate([np.arange(counts[k]) + starts[k] for k in classes])
        return Found(Point(point.W[classes], point.H[:, columns]), one.objective, 0.0)

    (twice,) = module._gathered((one,), inside, [exchanged([2, 1, 0])])
    assert twice.hits == 2
    assert len(module._gathered((one,), inside, [exchanged([1, 0, 2])])) == 2


def test_the_bias_tells_points_apart():
    rng = np.random.default_rng(7)
    model = balanced(LOSS, 3, 2, 0.3, lambda_b=0.05)
    W, H, b = rng.normal(size=(3, 2)), rng.normal(size=(2, 6)), rng.normal(size=3)
    (one,) = orbits(model, [Point(W, H, b)])
    inside = model.with_dimension(2)
    again, other = (Found(Point(W, H, c), one.objective, 0.0) for c in (b, b + 0.1))
    assert len(module._gathered((one,), inside, [again])) == 1
    assert len(module._gathered((one,), inside, [other])) == 2


def test_an_asymmetric_loss_keeps_its_labels():
    def lopsided(z, k):
        return marginal_error(z, k) + 0.1 * z[0] ** 2

    model = balanced(UserLoss(lopsided), 3, 2, 0.3)
    rng = np.random.default_rng(9)
    point = Point(rng.normal(size=(3, 2)), rng.normal(size=(2, 6)))
    (one,) = orbits(model, [point])
    same = moved(point, 2, [1, 0, 2], [[0, 1]] * 3, np.eye(2))
    relabelled = Found(same, one.objective, 0.0)
    assert len(module._gathered((one,), model.with_dimension(2), [relabelled])) == 2


def test_options_matter(monkeypatch):
    model = balanced(LOSS, 3, 2, 0.2)
    known = [orbit.point for orbit in module.atlas(model, budget=0.0, batch=BATCH).orbits]

    def run(**options):
        return uncollapsed(model, **{"budget": 0.0, "batch": BATCH, "known": known, **options})

    monkeypatch.setattr(module, "atlas", None)  # known points make another atlas unnecessary
    first, again = run(), run()
    assert first.searches == 2 * BATCH
    assert [o.hits for o in first.orbits] == [o.hits for o in again.orbits]
    assert first.failures == again.failures
    outcomes = {(x.collapsed, len(x.orbits)) for x in (first, run(seed=1), run(seed=2))}
    assert len(outcomes) > 1
    assert run(batch=12).searches == 24
    fewer = run(known=known[-1:])
    assert (fewer.collapsed, len(fewer.orbits)) != (first.collapsed, len(first.orbits))
    with pytest.raises(TypeError):
        run(known=())  # without known points the atlas would be called
    clock = iter([0.0, 4.0, 11.0])  # at the start and after each round
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    longer = run(budget=10.0)
    assert (longer.searches, longer.seconds) == (4 * BATCH, 11.0)


def test_own_problems_are_solved_at_every_sample():
    """Each sample ends at a critical point of its problem, and those of a class may differ."""
    model = balanced(LOSS, 3, 2, 0.2).with_dimension(2)
    rng = np.random.default_rng(11)
    points = module._own_critical(model, module._random(model, 40, rng))
    gradients = []
    for W, H in zip(points.W, points.H, strict=True):
        gradient = np.asarray(model.value_and_gradient(Point(W, H))[1].H)
        gradients.append(np.linalg.norm(gradient, axis=0))
    solved = np.array(gradients) < 1e-9
    assert solved.mean() > 0.8
    pairs = points.H.reshape(40, 2, 3, 2)
    apart = np.linalg.norm(pairs[..., 0] - pairs[..., 1], axis=1) > 1e-3
    assert np.any(apart & solved.reshape(40, 3, 2).all(axis=2))


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (balanced(CrossEntropy(), 3, 1, 0.1), {}, "two samples"),
        (balanced(CrossEntropy(), 3, 2, 0.1).merge().model, {}, "two samples"),
        (balanced(CrossEntropy(), 7, 2, 0.1), {}, "K <= 6"),
        (balanced(CrossEntropy(), 5, 11, 0.1), {}, "240 variables"),
        (balanced(CrossEntropy(), 3, 2, 0.1), {"batch": 2}, "batch >= 3"),
        (balanced(CrossEntropy(), 3, 2, 0.1), {"known": [(3, 6)]}, "one column per class"),
        (balanced(CrossEntropy(), 3, 2, 0.1, 0.05), {"known": [(3, 3)]}, "bias iff"),
    ],
)
def test_bad_input_is_refused(model, options, words):
    if "known" in options:
        options = {"known": [Point(np.ones((K, 2)), np.ones((2, m))) for K, m in options["known"]]}
    with pytest.raises(InputError, match=words):
        uncollapsed(model, **options)


# The theorem


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.05])
def test_the_energy_and_probability_bounds_hold_at_critical_points(lambda_b):
    """Without bias u >= 1/K for every sample; with it lambda_H |H|^2 + lambda_b |b|^2 <= B."""
    K, gamma = 3, 5.0
    model = UFM(
        Focal(gamma), counts=(2, 3, 4), d=1, lambda_W=5e-3, lambda_H=8e-3, lambda_b=lambda_b
    )
    a = np.arange(0.0, 12.0, 1e-4)
    energy = np.max(a * focal_slope(a - np.log(K - 1), gamma))
    rng = np.random.default_rng(13)
    harvest = search(model, module._random(model, BATCH, rng))
    assert len(harvest.found) >= 10
    for item in harvest.found:
        _, H, b = item.point
        total = 8e-3 * np.sum(H**2) + (0.0 if b is None else lambda_b * np.sum(b**2))
        assert total <= energy + 1e-9
        u = softmax(np.asarray(item.point.logits()), axis=0)[model.labels, np.arange(9)]
        if b is None:
            assert u.min() >= 1 / K - 1e-9
    top = max(8e-3 * np.sum(item.point.H**2) for item in harvest.found)
    assert top > 0.3 * energy  # not vacuous


def test_a_contradiction_would_be_shown(found):
    both = replace(found, theorem="a theorem")
    assert both.text[1].startswith("Uncollapsed orbits")
    assert both.text[2] == "Proved: there is none (a theorem)."
