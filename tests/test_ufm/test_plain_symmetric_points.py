"""Class-symmetric minima, judged many at once, against dense Hessians of all samples."""

import jax
import numpy as np
import pytest

from tests.helpers import FAMILY, Problem, jax_hessian, slow
from ufm import UFM, CrossEntropy, Point
from ufm.model import norm
from ufm.plain.spectra import minimiser_spectrum
from ufm.plain.symmetric_points import _codes, symmetric_minima
from ufm.point import widened
from ufm.stack import stack

K, N = 3, 2
LW, LH = 0.03, 0.05


def turned(point: Point, d: int, seed: int = 0) -> Point:
    """A point in d dimensions, the features rotated at random."""
    wide = widened(point, d)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]
    return Point(wide.W @ Q, Q.T @ wide.H, wide.b)


def told_of(models, points, *, d=None, norms=None, least=1e-9, shift=False):
    merged = [model.merge().model for model in models]
    norms = np.full(len(models), 1e-13) if norms is None else np.asarray(norms)
    d = [model.d for model in models] if d is None else d
    return symmetric_minima(stack(merged), stack(points), d, norms, least, shift=shift)


@pytest.mark.parametrize(
    ("name", "d", "lambda_b"),
    [
        ("ce", 2, None),
        ("mse", 4, 0.1),
        ("ls", 5, 0.0),
        slow("ce", 4, None),
        slow("ce", 4, 0.0),
        slow("mse", 3, None),
        slow("rescaled", 4, None),
        slow("focal", 4, 0.02),
    ],
)
def test_index_nullity_and_gap_are_those_of_the_dense_hessian(name, d, lambda_b):
    loss, naive = FAMILY[name]
    models = [
        UFM(loss, K, d, n, lambda_W=s * LW, lambda_H=s * LH, lambda_b=lambda_b)
        for n, s in ((N, 1.0), (N, 0.4), (5, 1.0))
    ]
    ends = [turned(model.minimiser().point, d, i) for i, model in enumerate(models)]
    free = lambda_b == 0 and name != "mse"
    told = told_of(models, ends, shift=free)
    assert told.minimum.all()
    for i in (0, 1):
        model, end = models[i], ends[i]
        lw, lh = float(model.lambda_W), float(model.lambda_H)
        problem = Problem.of(naive, (N,) * K, d, lw, lh, lambda_b)
        full = Point(end.W, np.repeat(end.H / np.sqrt(N), N, axis=1), end.b)
        values = np.linalg.eigvalsh(problem.hessian(problem.pack(full)))
        zero = np.abs(values) < 1e-10
        assert values[0] > -1e-10
        assert told.nullity[i] == zero.sum()
        assert told.gap[i] == pytest.approx(values[~zero].min(), rel=1e-8)
        assert told.rank[i] == np.linalg.matrix_rank(end.W @ end.H, tol=1e-6)
    assert abs(told.gap[1] / told.gap[0] - 1) > 0.1  # another model, another gap
    if free:
        assert not told_of(models, ends, shift=False).minimum.any()


def test_what_is_no_symmetric_minimum_is_left_alone():
    model = UFM(CrossEntropy(), K, 4, N, lambda_W=LW, lambda_H=LH)
    best = turned(model.minimiser().point, 4)
    rng = np.random.default_rng(1)
    noise = Point(*(rng.standard_normal(x.shape) for x in best[:2]))
    off = Point(best.W + 0.1 * noise.W, best.H + 0.1 * noise.H)
    saddle = Point(0 * best.W, 0 * best.H)
    swapped = Point(1.3 * best.W, best.H / 1.3)  # the right logits, factors out of balance
    heavier = Point(1.3 * best.W, 1.3 * best.H)  # symmetric, with other logits: no minimum
    norms = [0.0] * 4 + [float(norm(model.merge().model.value_and_gradient(heavier)[1]))]
    told = told_of([model] * 5, [best, off, saddle, swapped, heavier], norms=norms)
    assert told.minimum.tolist() == [True] + [False] * 4
    assert not told_of([model], [best], norms=[1e-2]).minimum[0]
    assert not told_of([model], [best], d=[1]).minimum[0]  # no room for it
    assert told_of([model], [best], d=[7]).nullity[0] == 1 + 2 * 5
    uneven = UFM(CrossEntropy(), counts=(2, 2, 3), d=4, lambda_W=LW, lambda_H=LH)
    assert told_of([model, uneven], [best, best]).minimum.tolist() == [True, False]
    # At c >= 1 the origin is the minimum, and products below ``least`` are the origin.
    high = UFM(CrossEntropy(), K, 4, N, lambda_W=0.5, lambda_H=0.5)
    near = Point(1e-6 * noise.W, 1e-6 * noise.H)
    assert told_of([high] * 2, [saddle, near], norms=[0, 1e-6]).rank.tolist() == [0, 0]
    assert told_of([high], [saddle], norms=[0]).minimum[0]
    assert told_of([high], [near], least=1e-15, norms=[1e-6]).minimum[0] == 0


@pytest.mark.parametrize("lambda_b", [None, 0.1])
def test_how_far_a_point_is_from_the_symmetric_one_is_bounded(lambda_b):
    """By Procrustes' solution, and by no more than a factor that the proof loses."""
    loss = FAMILY["rescaled"][0]
    model = UFM(loss, K, 5, N, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    best = turned(model.minimiser().point, 5)
    merged, rng = model.merge().model, np.random.default_rng(2)
    for size in (1e-7, 1e-4):
        moves = [size * rng.standard_normal(np.shape(x)) for x in best if x is not None]
        point = Point(*(x + m for x, m in zip(best, moves, strict=False)))
        code = _codes(stack([merged]), stack([point]), np.array([N]), 1e-9)
        a, s = float(code.a[0]), float(code.s[0])
        Z = np.sqrt(N) * (a * (np.eye(K) - 1 / K) + s / K)
        U, values, Vt = np.linalg.svd(Z)
        W = np.pad((LH / LW) ** 0.25 * U * np.sqrt(values), ((0, 0), (0, 2)))
        H = np.pad((LW / LH) ** 0.25 * np.sqrt(values)[:, None] * Vt, ((0, 2), (0, 0)))
        left, _, right = np.linalg.svd(np.vstack([W, H.T]).T @ np.vstack([point.W, point.H.T]))
        Q = left @ right
        squares = np.sum((W @ Q - point.W) ** 2) + np.sum((Q.T @ H - point.H) ** 2)
        if lambda_b is not None:
            squares += np.sum((point.b - code.beta[0]) ** 2)
        assert 0.999 * np.sqrt(squares) < code.moved[0] < 5 * np.sqrt(squares)


def test_the_spectrum_of_a_loss_that_prefers_the_other_classes():
    """a < 0: the gradient on the support is +sigma there."""
    model = UFM(lambda z, k: jax.nn.logsumexp(-z) + z[k], K, 4, N, lambda_W=LW, lambda_H=LH)
    best = model.minimiser()
    assert best.code.a < 0
    full = model.merge().lift(best.point)
    dense = np.linalg.eigvalsh(jax_hessian(model, full))
    told = np.sort(minimiser_spectrum(model).expand())
    np.testing.assert_allclose(told, dense, atol=1e-12)
