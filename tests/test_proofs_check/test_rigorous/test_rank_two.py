"""Rank two of four classes: the equations, what a box must not lose, and what stays undecided."""

import jax
import numpy as np
import pytest

from experiments.cli import prove
from proofs_check.rigorous.complete import cover_rank_two, origin_alone, require_rank_two
from proofs_check.rigorous.cover_two import MOST_BOXES, prove_rank_two
from proofs_check.rigorous.intervals import Interval
from proofs_check.rigorous.rank_two import RankTwo
from proofs_check.rigorous.rank_two_coordinates import entries, images
from tests.helpers import slow
from ufm import UFM, CrossEntropy, InputError, LabelSmoothing, Point

I = Interval.of  # noqa: E741
DECAY = 0.2
# The four orbits of rank two at this decay: a square, two of its kin, a triangle with its middle.
ORBITS = (
    (0.637, 0.0, -0.637, 0.637, 0.0),
    (0.703, -0.318, -0.029, 0.627, -0.047),
    (0.696, -0.348, 0.0, 0.603, 0.0),
    (0.729, -0.212, -0.258, 0.697, -0.349),
)


def classifier(u):
    return entries(I(np.asarray(u)[None])).middle()[0]


@pytest.fixture(scope="module")
def orbits():
    plane = RankTwo(I(DECAY), I(DECAY))
    return [plane.polished(np.array(u)) for u in ORBITS]


@pytest.mark.parametrize(("n", "delta"), [(3, 0.1), slow(2, 0.0)])
def test_the_equations_are_those_of_the_model(n, delta):
    """g, its derivative and the rows by automatic differentiation of the lab's f, all samples."""
    lw, lh = 0.03, 0.01
    loss = LabelSmoothing(delta) if delta else CrossEntropy()
    model = UFM(loss, 4, 2, n, lambda_W=lw, lambda_H=lh)
    plane = RankTwo(I(lw), I(lh) * float(n), delta)
    u = np.random.default_rng(n).uniform(-0.8, 0.8, 6)
    h = plane.roots(I(u[None]), u[None], plane.approximate_roots(u[None]))
    assert np.all(h.hi - h.lo < 1e-11)

    def height(W, h):
        return model.objective(Point(W, jax.numpy.repeat(h, n, axis=0).T))

    def written(u):
        x = jax.numpy.stack([u[0], u[1], u[2], -u[0] - u[1] - u[2]])
        y = jax.numpy.stack([u[5], u[3], u[4], -u[5] - u[3] - u[4]])
        return jax.numpy.stack([x, y], axis=1)

    middle = h.middle()[0]
    by_rows = jax.jit(jax.grad(height))(written(u), middle)
    np.testing.assert_allclose(plane.rows(I(u[None]), h).middle()[0], np.ravel(by_rows), atol=1e-12)

    def of_unknowns(u, h):
        return height(written(u), h.reshape(4, 2))

    slope, inner = jax.jit(jax.grad(of_unknowns)), jax.jit(jax.grad(of_unknowns, 1))
    second = jax.jit(lambda *at: (*jax.jacobian(slope, (0, 1))(*at), jax.jacobian(inner, 1)(*at)))
    flat = middle.ravel()
    np.testing.assert_allclose(inner(u, flat), 0, atol=1e-11)
    g = plane.gradient(I(u[None]), h)
    np.testing.assert_allclose(g.middle()[0], slope(u, flat), atol=1e-12)
    A, B, C = second(u, flat)
    D = plane.derivative(I(u[None]), h).middle()[0]
    np.testing.assert_allclose(D, A - B @ np.linalg.solve(C, B.T), atol=1e-11)


def test_known_orbits_are_critical_points_of_the_model(orbits):
    model = UFM(CrossEntropy(), 4, 2, lambda_W=DECAY, lambda_H=DECAY)
    plane = RankTwo(I(DECAY), I(DECAY))
    for u in orbits:
        H = plane.approximate_roots(u[None])[0].T
        slopes = model.gradient(Point(classifier(u), H))
        assert max(float(abs(x).max()) for x in slopes if x is not None) < 1e-12
        balance = plane.balance(I(u[None]), I(H.T[None])).middle()
        np.testing.assert_allclose(balance, 0, atol=1e-11)


def test_boxes_enclose_what_is_in_them():
    plane = RankTwo(I(0.1), I(0.08), 0.05)
    rng = np.random.default_rng(0)
    low = rng.uniform(-1, 1, (6, 5))
    high = low + rng.uniform(0, 0.15, low.shape)
    u, centre = Interval(low, high), 0.5 * low + 0.5 * high
    near = plane.approximate_roots(centre)
    h = plane.roots(u, centre, near)
    forms = plane.followed(u, h, centre, near)
    told = [(plane.rows, h), (plane.gradient, h), (plane.balance, h), (plane.derivative, h)]
    for _ in range(5):
        at = rng.uniform(low, high)
        e = (at - centre) / (0.5 * (high - low))
        root = plane.roots(I(at), at, plane.approximate_roots(at))
        assert np.all((h.lo <= root.hi) & (root.lo <= h.hi))
        for function, features in told:
            exact, wide = function(I(at), root), function(u, features)
            assert np.all((wide.lo <= exact.hi) & (exact.lo <= wide.hi))
        for function in (plane.rows, plane.gradient, plane.balance):
            exact, form = function(I(at), root), function(*forms)
            line = form.middle + np.einsum("ibm,bi->bm", form.slopes, e)
            # The exact one is itself enclosed, within 1e-12; e is a quotient of floats.
            assert np.all(abs(line - exact.middle()) <= form.rest + 1e-12)


class Pointwise(RankTwo):
    """Planted: features of the middle of a box for all of it."""

    def roots(self, unknowns, centre, near):
        return I(near)


class Frozen(RankTwo):
    """Planted: features that stay where they are, to first order."""

    def followed(self, unknowns, h, centre, near):
        u, line = super().followed(unknowns, h, centre, near)
        return u, type(line)(line.middle, 0.0 * line.slopes, 0.0 * line.rest)


class Unpriced(RankTwo):
    """Planted: n lambda_H for K n lambda_H."""

    @property
    def _price(self):
        return self.lambda_h


class Shifted(RankTwo):
    """Planted: a row that is not zero but .002."""

    def rows(self, unknowns, h):
        return super().rows(unknowns, h) + 0.002


class Mirrored(RankTwo):
    """Planted: y_3 is asked to be positive."""

    def out_of_domain(self, low, high):
        return super().out_of_domain(low, high) | (high[:, 4] < 0)


class Shorter(RankTwo):
    """Planted: a bound of |W|^2 without one of four classes."""

    def _square(self):
        return super()._square() * 0.25


def lost(plane, orbits, halves=(0.06, 0.01, 1e-4)):
    """Boxes with a known orbit somewhere in them that are dropped."""
    rng = np.random.default_rng(5)
    boxes = [(u + 0.98 * half * rng.uniform(-1, 1, 5), half) for u in orbits for half in halves]
    low, high = (np.array([c + sign * half for c, half in boxes]) for sign in (-1, 1))
    return int((plane.without_zero(low, high) | plane.out_of_domain(low, high)).sum())


@pytest.mark.parametrize("planted", [Pointwise, Frozen, Unpriced, Shifted, Mirrored, Shorter])
def test_no_box_with_a_known_orbit_is_dropped(orbits, planted):
    assert lost(planted(I(DECAY), I(DECAY)), orbits) > 0


def test_boxes_beside_an_orbit_are_empty_and_those_around_it_are_not(orbits):
    plane = RankTwo(I(DECAY), I(DECAY))
    assert lost(plane, orbits) == 0
    assert lost(RankTwo(I(DECAY), I(1.01 * DECAY)), orbits) > 0
    assert lost(RankTwo(I(DECAY), I(DECAY), 0.01), orbits) > 0
    away = np.array([orbits[0], orbits[3]]) + 0.05 * np.array([2.5, -2.5, 2.5, 2.5, -2.5])
    assert plane.without_zero(away - 0.02, away + 0.02).all()


def test_the_domain_has_every_classifier_once_turned():
    plane = RankTwo(I(DECAY), I(DECAY))
    rng = np.random.default_rng(2)
    low, high = plane.start()
    for _ in range(20):
        W = rng.normal(size=(4, 2))
        W = 1.7 * (W - W.mean(0)) / np.linalg.norm(W - W.mean(0))
        made = np.array(images(W))
        assert len(made) == 1  # nothing is symmetric by chance
        assert not plane.out_of_domain(made, made).any()
        assert np.all((low <= made) & (made <= high))
        V = classifier(made[0])
        # A turn and an order of rows: equal singular values and lengths of rows.
        np.testing.assert_allclose(
            np.linalg.svd(V, compute_uv=False), np.linalg.svd(W, compute_uv=False), atol=1e-12
        )
        np.testing.assert_allclose(np.sort((V**2).sum(1)), np.sort((W**2).sum(1)), atol=1e-12)
        other = made * np.array([1, 1, 1, -1, -1])
        assert plane.out_of_domain(other, other).all()
    assert plane.out_of_domain(1.1 * made, 1.1 * made).all()  # 1.87 is beyond sqrt(.604 / .2)


class Middle(RankTwo):
    """Planted: the derivative at the middle of a box for all of it."""

    def _around(self, centre, half):
        return super()._around(centre, 0.0)


def test_a_box_with_two_points_is_not_taken_for_one(orbits):
    plane = RankTwo(I(DECAY), I(DECAY))
    first, second = orbits[1], orbits[2]
    centre, half = 0.5 * (first + second), 0.55 * np.abs(first - second).max()
    assert not plane.at_most_one(centre, half)
    assert Middle(I(DECAY), I(DECAY)).at_most_one(centre, half)
    assert plane.at_most_one(orbits[0], 0.004)
    assert plane.at_most_one(np.zeros(5), 0.02)
    assert plane.zero_within(orbits[0], 1e-6)
    assert not plane.zero_within(orbits[0] + 1.1e-6, 1e-6)


class Near(RankTwo):
    """All there is within .006 of the square."""

    def start(self):
        centre = np.array([0.637, 0.0, -0.637, 0.637, 0.0])
        return centre - 0.006, centre + 0.006


def test_a_cover_that_closes_and_one_that_lacks_an_orbit(orbits):
    near = Near(I(DECAY), I(DECAY))
    square = classifier(orbits[0])
    found = prove_rank_two(near, [square], [])
    assert found.complete
    assert found.share == 0
    np.testing.assert_allclose(found.orbits[0], orbits[0], atol=1e-12)
    lacking = prove_rank_two(near, [], [], smallest=4e-3)
    assert not lacking.complete
    low, high = lacking.undecided
    assert np.any(np.all((low <= orbits[0]) & (orbits[0] <= high), axis=1))
    assert 0 < lacking.share < 1
    stopped = prove_rank_two(near, [square], [], stop=lambda: True)
    assert (stopped.complete, stopped.share, stopped.boxes) == (False, 1, 0)


@pytest.mark.slow
def test_what_is_open_is_counted_and_lists_are_read_with_care(orbits):
    near, square = RankTwo(I(DECAY), I(DECAY)), classifier(orbits[0])
    few = prove_rank_two(near, [square], [], most_boxes=10)
    assert not few.complete
    assert 10 < few.boxes < 40
    assert few.share > 0.9
    with pytest.raises(InputError, match="Need different orbits of rank two"):
        prove_rank_two(near, [square, square[::-1]], [])
    line = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]) * 0.637
    with pytest.raises(InputError, match="Need critical points of rank two"):
        prove_rank_two(near, [line], [])


def test_where_no_boxes_are_needed():
    """K = 3 by the theorem of the highest rank, c >= 1 by convexity; others are refused."""

    def model(K, decay, loss=None):
        return UFM(loss or CrossEntropy(), K, K, lambda_W=decay, lambda_H=decay)

    assert cover_rank_two(model(3, 0.1), []) is None
    assert cover_rank_two(model(4, 0.26), []) is None
    assert origin_alone(model(4, 0.25))
    assert not origin_alone(model(4, 0.2499))
    assert origin_alone(model(4, 0.226, LabelSmoothing(0.1)))
    with pytest.raises(InputError, match=r"Rank 2 is covered for 4 classes.*Got 5 classes"):
        require_rank_two(model(5, 0.1))
    assert prove.MOST_BOXES == MOST_BOXES
