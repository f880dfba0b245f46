"""Rate reduction: closed forms and exact blocks against dense Hessians, descents and fixtures."""

from itertools import combinations_with_replacement

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

from landscape import Curvature, dense_hessian, verdict
from tests.helpers import slow
from ufm import InputError, as_rows, rate_reduction
from ufm.model import norm
from ufm.models.rate_reduction import (
    Representation,
    direction_gain,
    existence,
    paying_share,
    roots,
)
from ufm.tolerance import generator_rank

COUNTS, D = (4, 2, 3), 5


def naive(Z, counts, eps, decay):
    """The formula of the paper by logarithms of determinants, class by class."""
    d, m = Z.shape
    total = -np.log(np.linalg.det(np.eye(d) + d / (m * eps**2) * Z @ Z.T)) / 2
    for k, n in enumerate(counts):
        Zk = Z[:, sum(counts[:k]) : sum(counts[: k + 1])]
        share = n / m
        part = np.eye(d) + d / (n * eps**2) * Zk @ Zk.T
        total += share / 2 * np.log(np.linalg.det(part))
    return total + decay / 2 * np.sum(Z**2)


def test_the_objective_is_that_of_the_paper():
    model = rate_reduction(COUNTS, D, 0.6, 0.07)
    point = model.random_point(jax.random.key(0), 1.3)
    value = float(model.objective(point))
    assert value == pytest.approx(naive(point.Z, COUNTS, 0.6, 0.07), abs=1e-13)
    # The pitfall: public code has eps where this has eps^2.
    assert abs(value - naive(point.Z, COUNTS, 0.6**0.5, 0.07)) > 0.05
    assert abs(value - naive(point.Z, (3, 2, 4), 0.6, 0.07)) > 1e-3


def with_zeros(Z):
    Z = Z.copy()
    Z[3:] = 0.0
    Z[:, 1:3] = 0.0
    Z[:, 6] = 2 * Z[:, 7]
    return Z


@pytest.mark.parametrize("change", [np.array, with_zeros, np.zeros_like])
def test_the_blocks_are_the_dense_hessian_at_any_point(change):
    """MCR-2, at points that need not be critical."""
    model = rate_reduction(COUNTS, D, 0.6, 0.07)
    point = Representation(change(model.random_point(jax.random.key(2)).Z))
    dense = dense_hessian(model, point)
    np.testing.assert_allclose(model.hessian(point), dense, atol=1e-13)
    known = model.structure(point)
    np.testing.assert_allclose(known.levels.expand(), np.linalg.eigvalsh(dense), atol=1e-13)
    assert known.rank == np.linalg.matrix_rank(point.Z)
    assert known.predicted_nullity == generator_rank(as_rows(model.generators(point)))


# counts, d, eps, decay, directions at the larger and at the smaller root: f, index, nullity.
FIXTURES = [
    ((3, 3), 5, 0.5, 0.05, (2, 1), (0, 0), -1.393982069746, 0, 13),
    ((4, 2), 4, 0.5, 0.1, (2, 1), (0, 0), -0.656811233129, 0, 11),
    ((3, 3), 5, 0.5, 0.05, (1, 1), (1, 0), -0.929263369105, 1, 14),
    ((4, 2, 3), 4, 0.5, 0.1, (0, 2, 2), (0, 0, 0), -1.691460948622, 0, 8),
    ((4, 2, 3), 4, 0.5, 0.1, (1, 2, 1), (0, 0, 0), -1.565307484, 0, 11),
    ((4, 2, 3), 4, 0.5, 0.1, (1, 1, 2), (0, 0, 0), -1.410886098, 0, 12),
    ((6, 3), 2, 0.5, 0.05, (0, 2), (0, 0), -0.6913090884, 0, 3),
    ((6, 3), 2, 0.5, 0.05, (1, 1), (0, 0), -0.3892582228, 0, 8),
    ((6, 3), 2, 0.5, 0.05, (0, 1), (0, 0), -0.3456545442, 0, 3),
    ((6, 3), 2, 0.5, 0.05, (2, 0), (0, 0), -0.0872073571, 0, 9),
    ((6, 3), 2, 0.5, 0.05, (1, 0), (0, 0), -0.0436036786, 0, 6),
    ((3, 3), 5, 0.5, 0.05, (0, 0), (0, 0), 0.0, 0, 0),
]


@pytest.mark.parametrize(
    ("counts", "d", "eps", "decay", "up", "low", "f", "index", "flat"), FIXTURES
)
def test_orthogonal_points_are_critical_with_their_index(
    counts, d, eps, decay, up, low, f, index, flat
):
    model = rate_reduction(counts, d, eps, decay)
    judged = verdict(model, model.orthogonal_point(up, low))
    assert judged.gradient_norm < 1e-14
    assert judged.objective == pytest.approx(f, abs=1e-12 if len(str(f)) > 14 else 1e-10)
    count = judged.count
    assert (count.index, count.nullity, count.predicted_nullity) == (index, flat, flat)
    expected = Curvature.STRICT_SADDLE if index else Curvature.MORSE_BOTT_MINIMUM
    assert judged.curvature is expected
    best = model.minimiser()
    assert (judged.globality.name == "GLOBAL") == (abs(best.value - f) < 1e-9)


@pytest.mark.parametrize(
    ("d", "f", "index", "flat"), [(2, -0.331996388360, 2, 7), slow(4, -0.635008181153, 4, 11)]
)
def test_three_equal_classes_at_120_degrees_are_a_strict_saddle(d, f, index, flat):
    """The simplex of neural collapse, where A = 1/2 although every share is 1/3."""
    model = rate_reduction((3, 3, 3), d, 0.5, 0.05)
    root = roots(0.5, model.rate, 0.05)[1]
    Z = np.zeros((d, 9))
    for k in range(3):
        angle = 2 * np.pi * k / 3
        size = np.sqrt(root / 3 / (0.5 * model.rate))
        Z[:2, 3 * k] = size * np.cos(angle), size * np.sin(angle)
    judged = verdict(model, Representation(Z))
    assert judged.gradient_norm < 1e-14
    assert judged.objective == pytest.approx(f, abs=1e-12)
    assert (judged.count.index, judged.count.nullity) == (index, flat)
    assert judged.objective == pytest.approx(-2 * direction_gain(0.5, root, model.rate, 0.05))


def descend(counts, d, eps, decay, shares):
    """From near a way to share the rows out among the classes, the last of which is none."""
    shape = (d, sum(counts))
    mask = np.array(shares)[:, None] == np.repeat(np.arange(len(counts)), counts)
    start = np.random.default_rng(0).normal(size=shape) * (mask + 0.05)
    return minimize(
        lambda x: naive(x.reshape(shape), counts, eps, decay),
        start.ravel(),
        method="BFGS",
        options={"gtol": 1e-7},
    ).fun


@pytest.mark.parametrize(
    ("counts", "d", "eps", "decay"),
    [((3, 2), 3, 0.5, 0.08), slow((4, 1, 2), 4, 0.5, 0.1), slow((4, 2, 3), 4, 0.6, 0.45)],
)
def test_no_descent_ends_below_the_smallest_classes(counts, d, eps, decay):
    best = rate_reduction(counts, d, eps, decay).minimiser()
    ways = combinations_with_replacement(range(len(counts) + 1), d)
    values = [descend(counts, d, eps, decay, shares) for shares in ways]
    assert min(values) == pytest.approx(best.value, abs=1e-9)
    assert best.evidence == "proved"


def test_the_larger_classes_vanish_where_the_smallest_fills_the_space():
    best = rate_reduction((6, 3), 2, 0.5, 0.05).minimiser()
    assert not np.any(best.point.Z[:, :6])
    assert best.rank == 2
    # One dimension more goes to the large class, and a decay above its threshold takes it away.
    assert np.any(rate_reduction((6, 1), 2, 0.5, 0.02).minimiser().point.Z[:, :6])
    assert not np.any(rate_reduction((6, 1), 2, 0.5, 0.2).minimiser().point.Z[:, :6])
    assert rate_reduction((6, 1), 2, 0.5, 3.0).minimiser().value == 0


def test_a_direction_exists_up_to_a_decay_and_pays_up_to_a_smaller_one():
    """MCR-1: v_+ vanishes at a share of the decay where the point appears, by A alone."""
    assert existence(0.5, 5 / (6 * 0.25)) == pytest.approx(0.5719095842, abs=1e-10)
    for A, share in ((1 / 2, 0.8671337848), (1 / 3, 0.8704701610), (0.1, 0.8873948305)):
        for rate in (0.7, 4.0):
            last = existence(A, rate)
            assert roots(A, rate, 1.0000001 * last) is None
            low, high = roots(A, rate, 0.9999999 * last)
            assert low * high == pytest.approx(A, rel=1e-12)
            assert direction_gain(A, high, rate, last) < 0
            signs = [
                direction_gain(A, roots(A, rate, x * last)[1], rate, x * last)
                for x in (share - 1e-9, share + 1e-9)
            ]
            assert signs[0] > 0 > signs[1]


def test_large_problems_keep_their_exact_spectrum():
    model = rate_reduction((400, 300, 20), 30, 0.5, 0.01)
    best = verdict(model, model.minimiser().point)
    assert best.count.route == "structured"
    assert best.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert best.count.nullity == best.count.predicted_nullity
    assert best.globality.name == "GLOBAL"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"counts": "4"}, "K >= 2"),
        ({"counts": "4,x"}, "Need counts as integers with commas. Got '4,x'"),
        ({"counts": (4, 0)}, "count >= 1. Got 0"),
        ({"d": 0}, "Need an integer d >= 1. Got 0"),
        ({"eps": 0.0}, "Need eps > 0"),
        ({"eps": 1e-80}, "the rate d / (m eps^2)"),
        ({"lambda_Z": -1.0}, "Need lambda_Z > 0"),
    ],
)
def test_bad_input_is_refused(changes, says):
    good = {"counts": "3,2", "d": 2, "eps": 0.5, "lambda_Z": 0.1}
    with pytest.raises(InputError) as caught:
        rate_reduction(**{**good, **changes})
    assert says in str(caught.value)


def test_ranks_that_do_not_fit_are_refused():
    model = rate_reduction((3, 2), 4, 0.5, 0.1)
    with pytest.raises(InputError, match="Class 1 has room for 2"):
        model.orthogonal_point((1, 3))
    with pytest.raises(InputError, match="Class 1 has room for 1"):
        model.orthogonal_point((3, 2))
    with pytest.raises(InputError, match="Class 0 needs lambda_Z <="):
        rate_reduction((3, 2), 4, 0.5, 5.0).orthogonal_point((1, 0))


def test_points_by_name_are_those_by_ranks():
    model = rate_reduction("3,4", 5, 0.5, 0.05)
    for name, ranks in (("2,1", ((2, 1),)), ("1,1/1,0", ((1, 1), (1, 0)))):
        np.testing.assert_array_equal(model.explicit(name).Z, model.orthogonal_point(*ranks).Z)
    assert not model.explicit("origin").Z.any()
    assert model.explicit("minimiser").Z.any()
    assert model.explicit("2,x") is None
    assert model.explicit("1,1/1,0/0,0") is None


def test_classes_on_lines_are_critical_and_measured():
    model = rate_reduction("3,3,3", 4, 0.5, 0.05)
    point = model.explicit("lines")
    assert float(norm(model.gradient(point))) < 1e-14
    told = model.measures(point)
    assert told["ranks"] == [1, 1, 1]
    assert told["existence"] == pytest.approx([existence(1 / 3, model.rate)] * 3)


@pytest.mark.parametrize(("share", "paying"), [(0.5, 0.8671337848), (0.1, 0.8873948305)])
def test_a_class_pays_below_a_share_of_the_decay_at_which_it_exists(share, paying):
    """At that decay the minimum changes between the class and zero, whatever the rate is."""
    assert paying_share(share) == pytest.approx(paying, abs=1e-10)
    counts = (1, 1) if share == 0.5 else (1, 9)
    for factor, rank in ((0.999, 2 if share == 0.5 else 1), (1.001, 0)):
        probe = rate_reduction(counts, 2, 0.7, 0.1)
        decay = factor * paying * existence(share, probe.rate)
        assert rate_reduction(counts, 2, 0.7, decay).minimiser().rank == rank
