"""Affine forms contain what they stand for, and remember what intervals forget."""

import numpy as np
import pytest
from flint import arb, ctx

from proofs_check.rigorous.affine import Affine, nowhere_zero, side_by_side, softmax
from proofs_check.rigorous.intervals import Interval

LOW, HIGH = np.array([[0.5, -0.7, 1.1]]), np.array([[0.8, -0.2, 1.5]])


def corners_and_more():
    rng = np.random.default_rng(0)
    ends = np.array(np.meshgrid(*zip(LOW[0], HIGH[0], strict=True))).reshape(3, -1).T
    return [*ends, *rng.uniform(LOW[0], HIGH[0], (30, 3))]


OPERATIONS = {
    "sum": lambda x, y, z: x + y - z * 0.3,
    "product": lambda x, y, z: x * y * z,
    "square": lambda x, y, z: (x + y - z).square() if hasattr(x, "square") else (x + y - z) ** 2,
    "inverse": lambda x, y, z: (
        (x + z).inverse(np.array([1.0])) if hasattr(x, "inverse") else 1 / (x + z)
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_contain_the_exact_result_everywhere_in_the_box(name):
    x = Affine.of_box(LOW, HIGH)
    told = OPERATIONS[name](*(x[:, i] for i in range(3)))
    wide = Interval(LOW, HIGH)
    parts = [wide[:, i] for i in range(3)]
    for point in corners_and_more():
        e = (point - x.middle[0]) / x.slopes.sum(0)[0]
        with ctx.workprec(200):
            exact = OPERATIONS[name](*map(arb, point.tolist()))
            line = arb(float(told.middle[0]))
            for slope, share in zip(told.slopes[:, 0], e, strict=True):
                line += arb(float(slope)) * arb(float(share))
            # e is a quotient of floats: 1e-15 of the slopes, far below any rest but of a sum.
            assert abs(exact - line) <= float(told.rest[0]) * (1 + 1e-9) + 1e-15
            assert arb(float(told.lo[0])) <= exact <= arb(float(told.hi[0]))
    if name == "square":
        natural = (parts[0] + parts[1] - parts[2]).square()
        assert told.hi[0] - told.lo[0] < 1.3 * (natural.hi - natural.lo)[0]


def test_what_cancels_is_forgotten_by_intervals_alone():
    x = Affine.of_box(LOW, HIGH)[:, 0]
    wide = Interval(LOW, HIGH)[:, 0]
    assert (wide * wide - wide * wide).hi[0] > 0.3
    assert (x * x - x * x).hi[0] < 0.05
    assert not (x - x).without_zero().any()
    assert (x - 0.49).without_zero().all()


def gaps_of(logits):
    K = range(len(logits))
    return [[logits[j] - logits[i] for i in K] for j in K]


@pytest.mark.parametrize("half", [0.6, 0.05])
def test_the_softmax_is_enclosed_to_second_order(half):
    centre = np.array([[0.3, -0.8, 1.2]])
    x = Affine.of_box(centre - half, centre + half)
    told = softmax(gaps_of([x[:, 0], x[:, 1] * x[:, 2], x[:, 2]]))
    rng = np.random.default_rng(1)
    worst = np.zeros(3)
    for _ in range(300):
        point = rng.choice([-1, 1], 3) * rng.choice([1.0, rng.uniform()], 3)
        u = centre[0] + half * point
        z = np.array([u[0], u[1] * u[2], u[2]])
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        for j, form in enumerate(told):
            off = abs(p[j] - form.middle[0] - form.slopes[:, 0] @ point)
            assert off <= form.rest[0]
            worst[j] = max(worst[j], off / form.rest[0])
    assert worst.max() > 0.05  # a rest of a twentieth is exceeded
    rests = [form.rest[0] for form in told]
    assert max(rests) < 4 * half**2


def test_a_common_zero_is_not_lost():
    """Two forms, each with zeros, but none in common; and one common zero at a corner."""
    x = Affine.of_box(np.array([[-1.0, -1.0]]), np.array([[1.0, 1.0]]))
    a, b = x[:, 0], x[:, 1]
    apart = side_by_side([a + b - 0.5, a + b + 0.5])
    assert not apart.without_zero().any()
    tilted = side_by_side([a + b - 1.5, a - b * 0.9 - 0.9])
    assert nowhere_zero(tilted)[0]
    corner = side_by_side([a + b - 2.0, a - b])
    assert not nowhere_zero(corner)[0]
    beyond = side_by_side([a + b - 2.001, a - b])
    assert nowhere_zero(beyond)[0]
    assert not nowhere_zero(beyond.widened(np.array([0.002])))[0]
