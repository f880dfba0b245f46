"""Covers of rank one: the equations, the enclosures, and what a cover must not accept."""

import json

import jax
import numpy as np
import pytest
from flint import arb, ctx
from scipy.optimize import minimize
from scipy.special import softmax

from landscape import atlas
from proofs_check import checker
from proofs_check.rigorous.complete import (
    gaps,
    prove_covers,
    ranks_proved,
    require_rank_one,
    smoothing_of,
)
from proofs_check.rigorous.cover import SETTLED, UNDECIDED, prove_rank_one
from proofs_check.rigorous.intervals import Interval
from proofs_check.rigorous.rank_one import RankOne, cells, largest_pull
from tests.helpers import slow
from ufm import MSE, UFM, CrossEntropy, Focal, InputError, LabelSmoothing, Point

I = Interval.of  # noqa: E741


def model_of(K, decay, delta=0.0, n=1):
    loss = LabelSmoothing(delta) if delta else CrossEntropy()
    return UFM(loss, K, 1, n, lambda_W=decay, lambda_H=decay / n)


def known(model):
    """Gaps of rank one that a search finds."""
    decays = {"lambda_W": model.lambda_W, "lambda_H": model.lambda_H * model.n}
    line = UFM(model.loss, model.num_classes, 1, 1, **decays)
    return [gaps(orbit.point.W) for orbit in atlas(line).orbits if orbit.rank == 1]


def entries(u):
    w = np.concatenate([np.cumsum(u[::-1])[::-1], [0.0]])
    return w - w.mean()


@pytest.mark.parametrize(("K", "n", "delta"), [slow(3, 1, 0.0), (4, 3, 0.1), slow(5, 2, 0.0)])
def test_the_equations_are_those_of_the_model(K, n, delta):
    """g is the gradient in u of min_h f, here by automatic differentiation of the lab's f."""
    lw, lh = 0.03, 0.01
    loss = LabelSmoothing(delta) if delta else CrossEntropy()
    model = UFM(loss, K, 1, n, lambda_W=lw, lambda_H=lh)
    line = RankOne(K, I(lw), I(lh) * float(n), delta)
    u = np.random.default_rng(K).uniform(0.2, 1.5, K - 1)
    h = line.roots(I(u[None]), line.approximate_roots(u[None]))
    assert np.all(h.hi - h.lo < 1e-12)

    @jax.jit
    def height(u, h):
        w = jax.numpy.concatenate([jax.numpy.cumsum(u[::-1])[::-1], jax.numpy.zeros(1)])
        W = (w - w.mean())[:, None]
        return model.objective(Point(W, jax.numpy.repeat(h, n)[None]))

    middle = h.middle()[0]
    slope, inner = jax.jit(jax.grad(height)), jax.jit(jax.grad(height, 1))
    np.testing.assert_allclose(inner(u, middle), 0, atol=1e-13)
    g = line.gradient(I(u[None]), h)
    np.testing.assert_allclose(g.middle()[0], slope(u, middle), atol=1e-13)
    second = jax.jit(lambda *at: (*jax.jacobian(slope, (0, 1))(*at), jax.jacobian(inner, 1)(*at)))
    A, B, C = second(u, middle)
    D = line.derivative(I(u[None]), h).middle()[0]
    np.testing.assert_allclose(D, A - B @ np.linalg.solve(C, B.T), atol=1e-12)
    J = line.jacobian(I(u[None]), h).middle()[0]
    np.testing.assert_allclose(J, np.block([[A, B], [B.T, C]]), atol=1e-12)


def test_boxes_enclose_what_is_in_them():
    line = RankOne(4, Interval.between(0.02, 0.021), I(0.02), 0.05)
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 3, (6, 3))
    high = low + rng.uniform(0, 0.4, low.shape)
    u = Interval(low, high)
    h = line.roots(u, line.approximate_roots((low + high) / 2))
    g, D = line.gradient(u, h), line.derivative(u, h)
    for decay in (0.02, 0.0205, 0.021):
        exact = RankOne(4, I(decay), I(0.02), 0.05)
        for _ in range(15):
            at = I(rng.uniform(low, high))
            root = exact.roots(at, exact.approximate_roots(at.lo))
            for inner, outer in (
                (root, h),
                (exact.gradient(at, root), g),
                (exact.derivative(at, root), D),
            ):
                assert np.all((outer.lo <= inner.hi) & (inner.lo <= outer.hi))


@pytest.mark.parametrize(
    ("decay", "delta", "n"),
    [
        slow(0.02, 0.0, 1),
        slow(0.05, 0.0, 2),
        slow(0.1, 0.0, 1),
        (0.05, 0.1, 1),
        slow(0.02, 0.1, 1),
        slow(0.1, 0.05, 3),
    ],
)
def test_three_classes_are_complete(decay, delta, n):
    model = model_of(3, decay, delta, n)
    found = atlas(UFM(model.loss, 3, 3, 1, lambda_W=decay, lambda_H=decay))
    covers = prove_covers(model, [gaps(o.point.W) for o in found.orbits if o.rank == 1])
    assert covers.complete
    assert covers.undecided == 0
    assert ranks_proved(model, found.orbits, covers) == {0, 1, 2}
    (document,) = covers.documents()
    said = checker.check(document)
    assert said.startswith(f"exactly {covers.orbits} orbits of critical points of rank one, by ")
    without = [orbit for orbit in found.orbits if orbit.rank != 1]
    assert ranks_proved(model, without, covers) == {0, 2}
    assert ranks_proved(model, without[1:], covers) == {0}


@pytest.mark.slow
def test_four_classes_have_five_orbits_of_rank_one():
    model = model_of(4, 0.02)
    covers = prove_covers(model, known(model))
    assert covers.complete
    assert covers.orbits == 5
    assert checker.check(covers.documents()[0]).startswith("exactly 5 orbits")


def test_large_decays_leave_the_origin_alone():
    """c >= 1: nothing of rank one, and of rank K - 1 neither."""
    model = model_of(3, 0.4)
    covers = prove_covers(model, [])
    assert (covers.complete, covers.orbits) == (True, 0)
    origin = atlas(UFM(CrossEntropy(), 3, 3, 1, lambda_W=0.4, lambda_H=0.4)).orbits
    assert ranks_proved(model, origin, covers) == {0, 1, 2}
    assert checker.check(covers.documents()[0]).startswith("exactly 0 orbits")


@pytest.fixture(scope="module")
def cover():
    model = model_of(3, 0.1)
    orbits = known(model)
    covers = prove_covers(model, orbits)
    return orbits, covers.documents()[0]


def changed(document, change):
    copy = json.loads(json.dumps(document))
    change(copy)
    copy["digest"] = checker.digest(copy)
    return copy


def test_a_missing_orbit_leaves_boxes_open(cover):
    orbits, _ = cover
    line = RankOne(3, I(0.1), I(0.1))
    found = prove_rank_one(line, orbits[:1], smallest=1e-2)
    assert not found.complete
    low, high = found.undecided
    for u in orbits[1:]:  # or its mirror image, whichever has the larger first gap
        held = [np.any(np.all((low <= v) & (v <= high), axis=1)) for v in (u, u[::-1])]
        assert any(held)
    assert UNDECIDED in found.splits
    assert "?" in found.record()["tree"]
    few = prove_rank_one(line, orbits, most_boxes=20)
    assert not few.complete
    assert few.boxes < 200


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda x: x.update(tree=x["tree"][:-1]), "Invalid", "boxes are missing from the cover"),
        (lambda x: x.update(tree=x["tree"] + "."), "Invalid", "goes on after its end"),
        (lambda x: x.update(tree=x["tree"].replace(".", "?", 1)), "Undecided", "was left open"),
        (lambda x: x["claim"]["orbits"].pop(), "Invalid", "is not in the list"),
        (lambda x: x["claim"]["orbits"].append(x["claim"]["orbits"][0]), "Undecided", "to be two"),
        (lambda x: x.update(tree="0" * 10**6), "NotACertificate", "more than 1,000 boxes are open"),
        (lambda x: x["claim"].update(spread=x["claim"]["spread"] * 0.99), "Invalid", "too small"),
        (lambda x: x["claim"].update(origin=5.0), "Undecided", "the origin is not proved"),
        (lambda x: x["claim"].update(count=2), "NotACertificate", "unknown in the claim: count"),
        (lambda x: x["model"].update(lambda_w=0.1001), "Invalid", "no single critical"),
        (lambda x: x["claim"]["orbits"][0].update(alone=1.0), "Undecided", "no single critical"),
        (lambda x: x["model"].update(lambda_b=0.1), "Undecided", "without bias or depth"),
        (lambda x: x["model"].update(counts=[1, 1, 2]), "Undecided", "classes of one size"),
    ],
)
def test_a_slightly_false_cover_is_refused(cover, change, error, reason):
    _, document = cover
    with pytest.raises(getattr(checker, error), match=reason):
        checker.check(changed(document, change))


def test_features_over_a_box_hold_those_at_its_corners(cover):
    """The checker's enclosures of h_k, which nothing else bounds."""
    _, document = cover
    with ctx.workprec(checker.COVER_BITS):
        line = checker.Line(checker.parsed(json.dumps(document["model"])))
        for half in (0.3, 0.02):
            held = line.roots([arb(1.6, half), arb(0.9, half)])[1]
            for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
                found = line.roots([arb(1.6 + 0.999 * x * half), arb(0.9 + 0.999 * y * half)])[1]
                assert all(map(arb.overlaps, held, found))
                assert all(root.rad() < 1e-12 for root in found)


def test_no_box_with_a_critical_point_is_empty(cover):
    """Around orbits wherever they lie in the box; beside them boxes are proved to be empty."""
    orbits, document = cover
    with ctx.workprec(checker.COVER_BITS):
        line = checker.Line(checker.parsed(json.dumps(document["model"])))
        rng, beside = np.random.default_rng(5), 0
        for u in [*orbits, *(u[::-1] for u in orbits)]:
            if u[0] < u[-1] - 1e-9:
                continue  # the mirror image stands for it
            for half in (0.1, 0.01, 1e-3, 1e-5):
                for _ in range(6):
                    centre = u + 0.98 * half * rng.uniform(-1, 1, len(u))
                    assert not line.empty([arb(x, half) for x in centre])
                away = u + np.array([2.5, -2.5]) * half
                beside += line.empty([arb(x, half) for x in away])
        assert beside >= 3


@pytest.mark.slow
def test_all_decays_of_a_segment():
    """Three per cent at a time: the other end is met exactly, upwards and downwards."""
    model = model_of(3, 0.1)
    back = prove_covers(model_of(3, 0.104), known(model_of(3, 0.104)), 0.1)
    assert (back.complete, back.ends) == (True, (0.1, 0.104))
    covers = prove_covers(model, known(model), 0.104)
    assert covers.complete
    assert covers.ends == (0.1, 0.104)
    assert len(covers.pieces) > 1
    assert {len(cover.orbits) for cover in covers.pieces} == {2}
    for document in covers.documents():
        assert checker.check(document).startswith("exactly ")
    low = [document["model"]["lambda_w"][0] for document in covers.documents()]
    high = [document["model"]["lambda_w"][1] for document in covers.documents()]
    assert low[1:] == high[:-1]


@pytest.mark.parametrize("decay", [0.020065624999999997, 0.020078125000000002])
def test_a_small_segment_needs_the_equations_without_the_features(decay):
    model = UFM(CrossEntropy(), 3, 3, lambda_W=decay, lambda_H=decay)
    (document,) = prove_covers(model, known(model), decay + 3.125e-6).documents()
    assert checker.check(document).startswith("exactly 2 orbits")


@pytest.mark.parametrize(("K", "delta"), [(3, 0.0), (4, 0.1)])
def test_no_logits_pull_more(K, delta):
    def pull(z):
        target = (1 - delta) * np.eye(K)[0] + delta / K
        return (softmax(z) - target) @ z

    starts = np.random.default_rng(K).normal(size=(8, K))
    best = -min(minimize(pull, z).fun for z in starts)
    most = largest_pull(K, delta)
    assert best <= most
    assert most < np.log(K)
    if delta == 0:
        assert 0.99 * most < best  # a bound one per cent lower is exceeded


SEGMENT = (0.1, 0.11)


class Still(RankOne):
    """Planted: equations of a segment that are taken for those of its middle."""

    def drift(self, u, h):
        return super().drift(u, h) * 0.0


class Half(RankOne):
    """Planted: half of the way."""

    def drift(self, u, h):
        return super().drift(u, h) * 0.5


class Backwards(RankOne):
    """Planted: a sign turned round, the features drift with their decay."""

    def drift(self, u, h):
        told = super().drift(u, h)
        form = super().drift(u, h * 0.0)
        return form - (told - form)


def test_the_drift_is_the_derivative_along_the_decays():
    ends = 0.105 - 1e-6, 0.105 + 1e-6
    decays, u = Interval.between(*ends), I(np.array([[1.1, 0.6]]))
    line = RankOne(3, decays, decays * 2.0)
    g = []
    for decay in ends:
        exact = RankOne(3, I(decay), I(2 * decay))
        g.append(exact.gradient(u, exact.roots(u, exact.approximate_roots(u.lo))).middle()[0])
    moved = (g[1] - g[0]) / 2
    h = line.roots(u, line.approximate_roots(u.lo))
    # Differences of numbers of size 1 lose 1e-16 / 1e-6 of them; decays differ by 1e-5 of them.
    np.testing.assert_allclose(line.drift(u, h).middle()[0], moved, rtol=1e-4)
    for planted in (Still, Half, Backwards):
        wrong = planted(3, decays, decays * 2.0).drift(u, h).middle()[0]
        assert np.abs(wrong - moved).max() > 0.01 * np.abs(moved).max()


@pytest.mark.parametrize("end", SEGMENT)
def test_an_orbit_at_an_end_of_the_decays_is_not_lost(end):
    decays = Interval.between(*SEGMENT)
    model = model_of(3, end)
    for u in known(model):
        orbit = RankOne(3, I(end), I(end)).polished(u)
        low, high = (orbit + sign * 1e-4 for sign in (-1, 1))
        box = low[None], high[None]
        assert not RankOne(3, decays, decays).without_zero(*box).any()
        assert Still(3, decays, decays).without_zero(*box).all()
        assert Half(3, decays, decays).without_zero(*box).all()
        assert RankOne(3, I(0.105), I(0.105)).without_zero(*box).all()


class Middle(RankOne):
    """Planted: the derivative at the middle of a box for all of it."""

    def _around(self, centre, half):
        return super()._around(centre, 0.0)


def test_a_box_with_two_points_is_not_taken_for_one():
    line = RankOne(3, I(0.1), I(0.1))
    orbit = line.polished(known(model_of(3, 0.1))[0])
    centre, half = orbit / 2, np.abs(orbit).max() / 2 + 0.01  # the origin and the orbit
    assert not line.at_most_one(centre, half)
    assert Middle(3, I(0.1), I(0.1)).at_most_one(centre, half)
    assert line.at_most_one(orbit, 0.01)
    assert line.zero_within(orbit, 0.01)
    assert not line.zero_within(orbit + 0.011, 0.01)
    low, high = cells(orbit, 0.3)
    assert np.prod(high - low, axis=1).sum() == pytest.approx(0.6**2, rel=1e-12)
    np.testing.assert_array_equal(low.min(0), orbit - 0.3)
    np.testing.assert_array_equal(high.max(0), orbit + 0.3)


def test_a_search_that_is_stopped_counts_what_is_open():
    model = model_of(3, 0.1)
    stopped = prove_covers(model, known(model), 0.2, stop=lambda: True)
    assert not stopped.complete
    assert stopped.undecided > 0
    assert len(stopped.pieces) == 1


def test_what_is_not_covered_is_refused():
    assert smoothing_of(model_of(3, 0.1, 0.2)) == 0.2
    assert smoothing_of(UFM(Focal(2.0), 3, 1, 1, lambda_W=0.1, lambda_H=0.1)) is None
    sizes = {"d": 2, "lambda_W": 0.1, "lambda_H": 0.1}
    for model, got in (
        (UFM(MSE(), 3, n=1, **sizes), "the loss mse"),
        (UFM(CrossEntropy(), 3, n=1, **sizes, lambda_b=0.1), "a bias"),
        (UFM(CrossEntropy(), counts=(1, 2, 1), **sizes), "the counts"),
        (UFM(CrossEntropy(), 6, n=1, **sizes), "6 classes"),
    ):
        with pytest.raises(InputError, match=f"Completeness is proved for.*Got {got}"):
            require_rank_one(model)
    with pytest.raises(InputError, match="Need different orbits of rank one"):
        prove_covers(model_of(3, 0.1), [np.array([0.01, 0.01])])  # Newton leads to the origin
    with pytest.raises(InputError, match="nondegenerate critical point of rank one near"):
        prove_rank_one(RankOne(3, I(0.1), I(0.1)), [np.array([1.1, 0.6])])


def test_the_tree_is_a_tree(cover):
    _, document = cover
    marks = document["tree"]
    assert marks.count(".") == sum(x.isdecimal() for x in marks) + 1
    assert SETTLED < 0
