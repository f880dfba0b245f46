"""The model against plain NumPy loops; its derivatives, sizes, reductions and refusals."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape.solvers.solve import solve
from landscape.verdict import verdict
from tests.helpers import FAMILY, Problem, jax_hessian
from ufm import (
    BCE,
    MSE,
    UFM,
    CrossEntropy,
    Focal,
    InputError,
    Point,
    ldam,
    lift,
    minimiser_spectrum,
    reduce,
)
from ufm.collapse.margins import margin_excess
from ufm.model import value_and_gradient

K, D, N_PER_CLASS = 3, 5, 4
COUNTS = (5, 2, 1)
DECAYS = {"lambda_W": 0.03, "lambda_H": 0.007}
BIASES = [None, 0.0, 0.05]


def pair_of(name, counts=COUNTS, lambda_b=None, d=D):
    loss, naive = FAMILY[name]
    model = UFM(loss, counts=counts, d=d, **DECAYS, lambda_b=lambda_b)
    return model, Problem.of(naive, counts, d, *DECAYS.values(), lambda_b)


@pytest.mark.parametrize("lambda_b", BIASES)
@pytest.mark.parametrize("name", FAMILY)
def test_objective_and_gradient_are_the_loop_over_samples(name, lambda_b):
    model, brute = pair_of(name, lambda_b=lambda_b)
    x = brute.random(3, 2.0)
    point = brute.unpack(x)
    value, gradient = value_and_gradient(model, point)
    expected, slope = brute.value_and_gradient(x)
    # A sum of 8 losses and 55 squares of size one.
    assert float(value) == pytest.approx(expected, abs=1e-13)
    np.testing.assert_allclose(brute.pack(gradient), slope, rtol=0, atol=1e-13)


def test_every_number_of_the_model_matters():
    model, brute = pair_of("ce", lambda_b=0.05)
    x = brute.random(3, 2.0)
    point = brute.unpack(x)
    value = float(value_and_gradient(model, point)[0])
    naive = FAMILY["ce"][1]
    lw, lh = DECAYS.values()
    wrong = [
        Problem.of(naive, COUNTS, D, lh, lw, 0.05),  # decays swapped
        Problem.of(naive, COUNTS, D, lw, lh, 0.0),  # bias not regularised
        Problem.of(FAMILY["ls"][1], COUNTS, D, lw, lh, 0.05),  # another loss
        Problem.of(naive, (2, 5, 1), D, lw, lh, 0.05),  # samples of other classes
    ]
    for other in wrong:
        assert abs(other.value_and_gradient(x)[0] - value) > 1e-3
    mean_of_means = Problem(
        naive, brute.labels, 1 / (K * np.repeat(COUNTS, COUNTS)), brute.scales, K, D, brute.decays
    )
    assert abs(mean_of_means.value_and_gradient(x)[0] - value) > 1e-3
    # PyTorch's weight_decay has lambda |W|^2 / 2, not lambda |W|^2.
    doubled = Problem.of(naive, COUNTS, D, 2 * lw, 2 * lh, 0.05)
    assert abs(doubled.value_and_gradient(x)[0] - value) > 1e-3


def slope_of(errors, steps):
    return np.polyfit(np.log(steps), np.log(np.abs(errors)), 1)[0]


@pytest.mark.parametrize("name", ["ce", "focal"])
def test_taylor_remainders_have_the_right_order(name):
    model, brute = pair_of(name, lambda_b=0.05)
    x, v = brute.random(3, 2.0), brute.random(4, 2.0)
    point, direction = brute.unpack(x), brute.unpack(v)
    steps = 2.0 ** -np.arange(3, 9)
    value, gradient = value_and_gradient(model, point)
    along = float(brute.pack(gradient) @ v)
    curvature = jax.jit(type(model).hessian_vector_product)(model, point, direction)
    second = float(brute.pack(curvature) @ v)
    ahead = np.array([float(value_and_gradient(model, brute.unpack(x + t * v))[0]) for t in steps])
    first_order = ahead - float(value) - steps * along
    # Fitted over a factor 32 of the step: the next order moves the slope by less than 0.15.
    assert slope_of(first_order, steps) == pytest.approx(2, abs=0.15)
    assert slope_of(first_order - steps**2 * second / 2, steps) == pytest.approx(3, abs=0.15)
    # A gradient that is one per cent off, or a curvature that is ten, is seen by the order.
    wrong = ahead - float(value) - steps * along * 1.01
    assert slope_of(wrong[2:], steps[2:]) < 1.85
    cubic = first_order - steps**2 * second / 2
    bent = cubic + np.sign(cubic) * steps**2 * abs(second) / 20
    assert slope_of(bent[2:], steps[2:]) < 2.6


@pytest.mark.parametrize("name", FAMILY)
def test_the_hessian_is_the_dense_one(name):
    model, brute = pair_of(name, lambda_b=0.05)
    x = brute.random(5, 2.0)
    dense = brute.hessian(x)
    np.testing.assert_allclose(jax_hessian(model, brute.unpack(x)), dense, rtol=0, atol=1e-13)
    away = brute.hessian(brute.random(6, 2.0))
    assert np.abs(away - dense).max() > 1e-3


def test_sizes_and_the_dimensionless_decay():
    model = UFM(CrossEntropy(), K, D, N_PER_CLASS, **DECAYS)
    sigma = np.sqrt(0.03 * 0.007)
    assert (model.num_classes, model.num_samples, model.num_columns, model.n) == (3, 12, 12, 4)
    assert model.num_parameters == 3 * 5 + 5 * 12
    assert model.sigma == pytest.approx(sigma, rel=1e-15)
    assert model.c == pytest.approx(K * np.sqrt(N_PER_CLASS) * sigma, rel=1e-15)
    assert model.balanced
    uneven = UFM(CrossEntropy(), counts=COUNTS, d=D, **DECAYS, lambda_b=0.0)
    assert uneven.num_parameters == 3 * 5 + 5 * 8 + 3
    assert uneven.c == pytest.approx(np.sqrt(K * 8) * sigma, rel=1e-15)
    assert uneven.counts_tuple == COUNTS
    assert not uneven.balanced
    assert uneven.labels.tolist() == [0, 0, 0, 0, 0, 1, 1, 2]
    with pytest.raises(InputError, match=r"balanced counts. Got \(5, 2, 1\)"):
        _ = uneven.n
    assert uneven.with_dimension(2).num_parameters == 3 * 2 + 2 * 8 + 3
    assert UFM(CrossEntropy(), 2, 3, **DECAYS).counts_tuple == (1, 1)
    assert UFM(CrossEntropy(), 3, counts=COUNTS, d=D, **DECAYS).counts_tuple == COUNTS


def test_other_decays_leave_the_rest_as_it_is():
    model = UFM(CrossEntropy(), counts=COUNTS, d=D, **DECAYS, lambda_b=0.05)
    point = model.random_point(jax.random.key(0))
    for one, same_sizes in ((model, D), (model.merge().model.with_dimension(2), 2)):
        other = one.with_decays(0.3, 0.2)
        assert (other.lambda_W, other.lambda_H, other.lambda_b) == (0.3, 0.2, 0.05)
        assert (other.d, other.merged, other.counts_tuple) == (same_sizes, one.merged, COUNTS)
        assert other.c == pytest.approx(one.c * np.sqrt(0.06 / (0.03 * 0.007)), rel=1e-15)
    built = UFM(CrossEntropy(), counts=COUNTS, d=D, lambda_W=0.3, lambda_H=0.2, lambda_b=0.05)
    value = float(model.with_decays(0.3, 0.2).objective(point))
    assert value == float(built.objective(point)) != float(model.objective(point))
    for wrong in ((0.0, 0.2), (0.3, -1.0)):
        with pytest.raises(InputError, match="lambda_"):
            model.with_decays(*wrong)


@pytest.mark.parametrize("lambda_b", [None, 0.05])
def test_the_merged_objective_is_the_full_one_at_lifted_points(lambda_b):
    model, brute = pair_of("ce", lambda_b=lambda_b)
    small = Problem.of(FAMILY["ce"][1], COUNTS, D, *DECAYS.values(), lambda_b, merged=True)
    y = small.random(7, 2.0)
    merge = model.merge()
    merged, point = merge.model, small.unpack(y)
    full = merge.lift(point)
    assert full.H.shape == (D, 8)
    np.testing.assert_allclose(full.H[:, 4], point.H[:, 0] / np.sqrt(5))
    np.testing.assert_allclose(full.H[:, 7], point.H[:, 2])
    value = float(value_and_gradient(merged, point)[0])
    assert value == pytest.approx(float(value_and_gradient(model, full)[0]), abs=1e-14)
    assert value == pytest.approx(small.value_and_gradient(y)[0], abs=1e-14)
    assert value == pytest.approx(brute.value_and_gradient(brute.pack(full))[0], abs=1e-14)
    # Without the 1 / sqrt(n_k), or with averages in place of sums over roots, it is another value.
    for factor in (np.sqrt(COUNTS), 1 / np.sqrt(COUNTS)):
        bent = point._replace(H=point.H * factor)
        assert abs(float(value_and_gradient(merged, bent)[0]) - value) > 1e-3
    back = merge.reduce(full)
    np.testing.assert_allclose(back.H, point.H, atol=1e-15)
    assert merged.merge() is None
    assert merged.num_columns == K
    assert merged.num_samples == 8


def test_reducing_averages_within_classes():
    model, brute = pair_of("ce")
    point = brute.unpack(brute.random(8))
    merged, small = reduce(model, point)
    means = np.stack([point.H[:, :5].mean(1), point.H[:, 5:7].mean(1), point.H[:, 7]], axis=1)
    np.testing.assert_allclose(small.H, np.sqrt(COUNTS) * means, atol=1e-15)
    # Jensen: collapsing the features of a convex loss lowers the objective.
    collapsed = lift(model, small)
    value = float(value_and_gradient(model, point)[0])
    assert float(value_and_gradient(model, collapsed)[0]) < value - 1e-3
    assert reduce(model, small)[1] is small  # merged columns stay as they are
    assert reduce(merged, small)[0].merged


def test_merging_is_lossless_where_it_is_proved():
    assert pair_of("ce")[0].merge().lossless.evidence == "proved"
    assert pair_of("hot")[0].merge().lossless.evidence == "probed"
    assert not pair_of("focal")[0].merge().lossless
    single = pair_of("focal", counts=(1, 1, 1))[0].merge().lossless
    assert single
    assert "one sample" in single.note


def test_random_points_follow_key_and_scale():
    model = UFM(CrossEntropy(), K, D, N_PER_CLASS, **DECAYS, lambda_b=0.0)
    key = jax.random.key(1)
    a, b = model.random_point(key), model.random_point(key, 3.0)
    assert a.W.shape == (3, 5)
    assert a.H.shape == (5, 12)
    assert a.b.shape == (3,)
    for one, three in zip(a, b, strict=True):
        np.testing.assert_allclose(3 * one, three)
    np.testing.assert_array_equal(a.W, model.random_point(key).W)
    assert np.abs(a.W - model.random_point(jax.random.key(2)).W).max() > 0.1
    assert UFM(CrossEntropy(), K, D, **DECAYS).random_point(key).b is None
    many = UFM(CrossEntropy(), K, D, 80, **DECAYS).random_point(key, 2.0)
    # 1200 normal entries: the mean square is 4 / d to 3.7 standard deviations of sqrt(2 / 1200).
    assert float(np.mean(np.square(many.H))) == pytest.approx(4 / D, rel=0.15)


def test_the_origin_and_the_scales():
    model = UFM(CrossEntropy(), K, D, N_PER_CLASS, **DECAYS, lambda_b=0.05)
    origin = model.origin()
    assert float(model.objective(origin)) == pytest.approx(np.log(K), abs=1e-15)
    assert origin.H.shape == (5, 12)
    assert UFM(CrossEntropy(), K, D, **DECAYS).origin().b is None
    scales = model.scales(origin)
    np.testing.assert_allclose(model.lambda_W * scales.W**2, model.sigma, rtol=1e-14)
    np.testing.assert_allclose(model.lambda_H * scales.H**2, model.sigma, rtol=1e-14)
    assert (scales.b == 1).all()
    assert abs(scales.W - 1).min() > 0.1
    assert model.scales(origin._replace(b=None)).b is None


def test_a_point_knows_its_logits():
    point = Point([[1.0, 2.0]], [[3.0], [4.0]], [0.5]).to_numpy()
    assert point.logits().tolist() == [[11.5]]
    assert point._replace(b=None).logits().tolist() == [[11.0]]
    assert point.W.dtype == np.float64


GOOD = {"num_classes": 3, "d": 5, "n": 4, "lambda_W": 0.1, "lambda_H": 0.1}
WITH_COUNTS = {"num_classes": None, "n": None}
BAD = [
    ({"num_classes": 1}, "Need an integer K >= 2. Got 1"),
    ({"num_classes": 2.5}, "Got 2.5"),
    ({"num_classes": None}, "Got None"),
    ({"d": 0}, "Need an integer d >= 1. Got 0"),
    ({"d": None}, "d >= 1. Got None"),
    ({"n": 0}, "Need an integer n >= 1. Got 0"),
    ({"n": float("nan")}, "Got nan"),
    ({"lambda_W": 0.0}, "Need lambda_W > 0 and finite. Got 0.0"),
    ({"lambda_W": float("nan")}, "Got nan"),
    ({"lambda_H": -1e-3}, "Need lambda_H > 0 and finite. Got -0.001"),
    ({"lambda_H": float("inf")}, "Got inf"),
    ({"lambda_b": -0.1}, "Need lambda_b >= 0 and finite. Got -0.1"),
    ({"lambda_b": float("nan")}, "Got nan"),
    ({"lambda_W": "0.1"}, "Need lambda_W > 0 and finite. Got '0.1'"),
    ({"lambda_W": 0.1 + 0j}, "Got (0.1+0j)"),
    ({"lambda_W": np.bytes_(b"1")}, "Got np.bytes_(b'1')"),
    ({"lambda_W": np.datetime64("2020-01-01")}, "Got 2020"),
    ({"lambda_W": True}, "Got True"),
    ({"lambda_W": [0.1, 0.1]}, "Got [0.1, 0.1]"),
    ({"lambda_W": None}, "Got None"),
    ({"lambda_H": 10**400}, "Got 1000"),
    ({"lambda_W": 1e155}, "lambda_W from 1e-100 to 1e+100"),
    ({"lambda_H": 1e-200}, "lambda_H from 1e-100 to 1e+100"),
    ({"lambda_H": 5e-324}, "lambda_H from"),
    ({"lambda_b": 1e-200}, "lambda_b from 1e-100 to 1e+100"),
    ({"lambda_b": "none"}, "Need lambda_b >= 0 and finite. Got 'none'"),
    ({"n": 4, "counts": (4, 4, 4)}, "Give n or counts, not both. Got n=4"),
    ({"n": None, "counts": (4, 4)}, "one count per class, K=3. Got 2 counts"),
    ({**WITH_COUNTS, "counts": (4, 0, 4)}, "Need an integer count >= 1. Got 0"),
    ({**WITH_COUNTS, "counts": (4, 1.5)}, "Got 1.5"),
    ({**WITH_COUNTS, "counts": (4,)}, "Need an integer K >= 2. Got 1"),
    ({**WITH_COUNTS, "counts": ()}, "Need an integer K >= 2. Got 0"),
]


@pytest.mark.parametrize(("changes", "says"), BAD, ids=[says for _, says in BAD])
def test_bad_input_is_refused_in_one_line(changes, says):
    assert UFM(CrossEntropy(), **GOOD).d == 5
    with pytest.raises(InputError) as caught:
        UFM(CrossEntropy(), **{**GOOD, **changes})
    message = str(caught.value)
    assert says in message
    assert "Remedy: " in message
    assert "\n" not in message


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal(2.0), MSE()], ids=lambda x: x.name)
@pytest.mark.parametrize("decays", [(1e-100, 1e-100), (1e100, 1e100), (1e-100, 1e100)])
def test_theory_is_finite_at_the_ends_of_the_range(loss, decays):
    """The least and the largest decays, and their largest quotient, with no warning."""
    lambda_W, lambda_H = decays
    model = UFM(loss, 3, 4, 5, lambda_W=lambda_W, lambda_H=lambda_H, lambda_b=0)
    found = model.minimiser()
    value = float(model.merge().model.objective(found.point))
    assert found.value == pytest.approx(value, abs=1e-13)
    assert np.isfinite(minimiser_spectrum(model).expand()).all()
    told = model.certificate(found.point)
    assert not told.applies or abs(told.gap) < 1e-12


def test_decays_may_be_traced():
    """d f / d lambda_W = |W|^2 / 2, and a batch of decays."""
    model = UFM(CrossEntropy(), **GOOD)
    point = model.random_point(jax.random.key(0))

    def at(lambda_W):
        return model.with_decays(lambda_W, 0.1).objective(point)

    assert float(jax.grad(at)(0.3)) == pytest.approx(0.5 * np.sum(point.W**2), rel=1e-14)
    both = jax.vmap(at)(jnp.array([0.3, 0.7]))
    assert both.tolist() == pytest.approx([float(at(0.3)), float(at(0.7))], rel=1e-14)
    with pytest.raises(InputError, match="Got -1"):
        model.with_decays(-1.0, 0.1)


def test_a_point_of_the_other_columns_is_told_so():
    model = UFM(CrossEntropy(), **GOOD)
    merge = model.merge()
    full = model.random_point(jax.random.key(0))
    merged = merge.reduce(full)
    for wrong, point, says in ((model, merged, "per sample, 12"), (merge.model, full, "per class")):
        for ask in (wrong.objective, wrong.value_and_gradient):
            with pytest.raises(InputError, match=rf"one column of H {says}.*\.reduce and \.lift"):
                ask(point)


@pytest.mark.parametrize("key", [0, None, "0"])
def test_a_seed_is_no_random_key(key):
    with pytest.raises(InputError, match=r"Need a random key.*jax\.random\.key\(0\)"):
        UFM(CrossEntropy(), **GOOD).random_point(key)


def test_models_and_results_travel_by_pickle():
    model = UFM(CrossEntropy(), **GOOD)
    found = solve(model, key=jax.random.key(0))
    told = verdict(model, found.point)
    again = pickle.loads(pickle.dumps((model, found, told, model.merge(), model.minimiser())))
    assert again[0].minimiser().value == model.minimiser().value
    assert again[1].objective == found.objective
    assert again[1].full_point.H.shape == (5, 12)
    assert again[2].curvature is told.curvature
    assert again[3].reduce(again[1].full_point).H.shape == (5, 3)


def test_what_is_read_off_a_point_is_the_same_of_classes_and_of_samples():
    """Classes count alike, whatever their sizes; by hand."""
    model = UFM(CrossEntropy(), counts=(3, 1, 2), d=4, lambda_W=0.02, lambda_H=0.03)
    merge = model.merge()
    small = merge.model.random_point(jax.random.key(1))
    told, lifted = merge.model.measures(small), model.measures(merge.lift(small))
    Z = np.asarray(merge.model.column_logits(small))
    own = np.diag(Z)
    gap = np.mean(own - (Z.sum(axis=0) - own) / 2)
    assert told["logit_gap"] == pytest.approx(gap, abs=1e-12)
    assert told["logit_sum"] == pytest.approx(Z.sum(axis=0).mean(), abs=1e-12)
    assert told["margin_excess"] == lifted["margin_excess"] is None  # some margins are negative
    apart = small._replace(W=4 * np.eye(3, 4), H=np.eye(4, 3))
    told_apart, lifted_apart = merge.model.measures(apart), model.measures(merge.lift(apart))
    excess = margin_excess(4 * np.eye(3) / np.sqrt([3, 1, 2]), (3, 1, 2))
    assert told_apart["margin_excess"] == pytest.approx(excess, abs=1e-12)
    assert lifted_apart["margin_excess"] == pytest.approx(excess, abs=1e-12)
    for name in ("logit_gap", "logit_sum", "cosines", "row_norms"):
        assert lifted[name] == pytest.approx(told[name], abs=1e-12)


def naive_bce(z, k):
    return np.sum(np.logaddexp(0, z)) - z[k]


def naive_ldam(z, k):
    z = z - 0.7 * (np.arange(len(z)) == k)
    return np.log(np.sum(np.exp(z))) - z[k]


@pytest.mark.parametrize(
    ("loss", "naive", "lambda_b", "d"),
    [(ldam(0.7), naive_ldam, None, 8), (BCE(), naive_bce, None, 3), (BCE(), naive_bce, 0.0, 8)],
)
def test_zero_is_lowest_from_the_norm_of_its_gradient_on(loss, naive, lambda_b, d):
    """K sqrt(n) |dL/dZ| at W H = 0 and the best bias, by differences, for a convex loss."""
    K, n = 7, 2
    model = UFM(loss, K, d, n, lambda_W=0.3, lambda_H=0.02, lambda_b=lambda_b)
    at = np.full(K, 0.0 if lambda_b is None else -np.log(K - 1))  # a share of 1/7 for every class
    steps = 1e-6 * np.eye(K)
    slopes = [[(naive(at + e, k) - naive(at - e, k)) / 2e-6 for e in steps] for k in range(K)]
    norm = np.linalg.norm(slopes, 2) * np.sqrt(n) / (K * n)
    told = model.measures(model.random_point(jax.random.key(0)))["collapse_c"]
    assert told == pytest.approx(K * np.sqrt(n) * norm, abs=1e-8)


def test_where_zero_may_be_lowest_without_a_simplex_nothing_is_said():
    told = [
        UFM(loss, 6, d, lambda_W=0.1, lambda_H=0.1)
        for loss, d in ((Focal(3.0), 4), (Focal(3.0), 5))
    ]
    said = ["collapse_c" in one.measures(one.random_point(jax.random.key(1))) for one in told]
    assert said == [False, True]
    uneven = UFM(CrossEntropy(), counts=(3, 1), d=4, **DECAYS)
    assert "collapse_c" not in uneven.measures(uneven.random_point(jax.random.key(1)))


def test_explicit_points_by_name():
    model = UFM(CrossEntropy(), 3, 4, lambda_W=0.02, lambda_H=0.03)
    assert not model.explicit("origin").W.any()
    best = model.minimiser().point
    np.testing.assert_array_equal(model.explicit("minimiser").W, best.W)
    assert model.explicit("nowhere") is None
