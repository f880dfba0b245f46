"""Neural-collapse measurements against brute-force d x d formulas and values known by hand."""

import dataclasses
import importlib
import json
import math
import re
import tracemalloc
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufm.collapse import CONVENTIONS, Collapse, collapse

accumulate = importlib.import_module("ufm.collapse.accumulate")
inputs = importlib.import_module("ufm.collapse.inputs")

K, N_PER_CLASS, D = 3, 4, 5
BALANCED, IMBALANCED = (4, 4, 4), (2, 4, 7)
NC1 = ("nc1_geo", "nc1_phd", "nc1_cls", "nc1_rwu", "nc1_ratio")


def generic(seed=0, counts=BALANCED, d=D):
    """Random features in shuffled order, labels, classifier and bias."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = 2 * rng.standard_normal((len(counts), d)) + rng.standard_normal(d)
    features = centres[labels] + 0.7 * rng.standard_normal((labels.size, d))
    W = centres - 0.8 * centres.mean(axis=0) + 0.5 * rng.standard_normal((len(counts), d))
    return features, labels, W, rng.standard_normal(len(counts))


def etf():
    """K vectors of a simplex ETF in D dimensions, as rows."""
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((D, K)))[0]
    return 2 * (np.eye(K) - 1 / K) @ basis.T


def repeat(means, n=N_PER_CLASS):
    return np.repeat(means, n, axis=0), np.repeat(np.arange(len(means)), n)


def brute_force(H, y, W, b, lambda_W):
    """Every number from its formula, with d x d matrices and loops over samples."""
    size, d = len(W), H.shape[1]
    M = np.array([H[y == k].mean(axis=0) for k in range(size)])
    C, C_G = M - M.mean(axis=0), M - H.mean(axis=0)
    S_w = sum(np.outer(h - M[k], h - M[k]) for h, k in zip(H, y, strict=True)) / len(H)
    S_b, S_bG = (sum(np.outer(c, c) for c in A) / size for A in (C, C_G))
    phd = np.trace(S_w @ np.linalg.pinv(S_b, rcond=1e-10))
    geo = np.trace(S_w @ np.linalg.pinv(S_bG, rcond=1e-10)) / size
    E, O = (np.eye(size) - 1 / size) / (size - 1) ** 0.5, np.eye(size) / size**0.5  # noqa: E741
    W_0, pairs = W - W.mean(axis=0), np.triu_indices(size, 1)
    norm = np.linalg.norm

    def frame(A, target):
        return norm(A / norm(A) - target)

    def norms(A):
        return np.std(norm(A, axis=1), ddof=1) / np.mean(norm(A, axis=1))

    def cos(A):
        return ((A @ A.T) / np.outer(norm(A, axis=1), norm(A, axis=1)))[pairs]

    v = [np.mean([np.sum((h - M[k]) ** 2) for h in H[y == k]]) for k in range(size)]
    V = np.zeros((size, size))
    for i, j in zip(*pairs, strict=True):
        V[i, j] = V[j, i] = (v[i] + v[j]) / 2 / np.sum((M[i] - M[j]) ** 2)
    near = np.array([np.argmin([np.linalg.norm(h - m) for m in M]) for h in H])
    net, net_0 = np.argmax(H @ W.T + b, axis=1), np.argmax(H @ W.T, axis=1)
    return dict(
        num_classes=size, num_samples=len(H), num_features=d,
        rank_means=np.linalg.matrix_rank(C, tol=1e-8), rank_W=np.linalg.matrix_rank(W),
        trace_within=np.trace(S_w), trace_between=np.trace(S_b), trace_between_geo=np.trace(S_bG),
        nc1_geo=geo, nc1_phd=phd, nc1_cls=phd, nc1_rwu=phd / size,
        nc1_ratio=np.trace(S_w) / np.trace(S_b),
        cdnv=V, cdnv_mean=V[pairs].mean(), cdnv_max=V[pairs].max(),
        nc2_geo=frame(W @ W.T, E), nc2_all=frame(W_0 @ W_0.T, E), nc2_rwu=frame(C @ C.T, E),
        nc2_dln=frame(C_G @ C_G.T, E), orthogonal_distance_W=frame(W @ W.T, O),
        orthogonal_distance_means=frame(M @ M.T, O),
        equinorm_means=norms(C), equinorm_W=norms(W),
        equiangle_means=np.mean(np.abs(cos(C) + 1 / (size - 1))),
        equiangle_W=np.mean(np.abs(cos(W) + 1 / (size - 1))),
        cosine_spread_means=np.std(cos(C)), cosine_spread_W=np.std(cos(W)),
        nc3_geo=frame(W @ C_G.T, E), nc3_all=frame(W_0 @ C_G.T, E), nc3_rwu=frame(W @ C.T, E),
        nc3_phd=frame(W, C / np.linalg.norm(C)) ** 2, nc3_dln=frame(W, M / np.linalg.norm(M)),
        nc3_dln_orthogonal=frame(W @ M.T, O),
        nc4_geo=np.linalg.norm(W @ H.mean(axis=0) + b),
        nc4_geo_code=np.linalg.norm(W @ H.mean(axis=0) - b),
        nc4_phd=np.mean(net != near), ncc_agreement=np.mean(net == near),
        nc4_rwu=np.mean(net_0 == near), nc4_cls=np.mean(near == y),
        classifier_accuracy=np.mean(net == y),
        lambda_H_hat=lambda_W * np.sum(W**2) / np.sum(H**2),
    )  # fmt: skip


def assert_same(record, expected, rtol=1e-9, skip=()):
    for name in sorted(set(expected) - set(skip)):
        got = getattr(record, name)
        np.testing.assert_allclose(got, expected[name], rtol=rtol, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("counts", "d"), [(BALANCED, D), (IMBALANCED, D), ((3, 4, 5, 6, 3, 2), 2), ((6, 7), 4)]
)
def test_agrees_with_brute_force(counts, d, transposed):
    H, y, W, b = generic(3, counts, d)
    features = np.ascontiguousarray(H.T) if transposed else H
    record = collapse(features, y, classifier=W, bias=b, transposed=transposed, lambda_W=0.03)
    expected = brute_force(H, y, W, b, 0.03)
    assert set(expected) == set(record.as_dict()) - {"rank_cutoff"}
    assert_same(record, expected)


def test_conventions_with_one_label_are_told_apart():
    H, y, W, b = generic(2)
    even = collapse(H, y, classifier=W, bias=b)
    assert even.nc1_geo * K == pytest.approx(even.nc1_phd, rel=1e-13)
    assert even.nc1_rwu * K == pytest.approx(even.nc1_cls, rel=1e-13)
    assert even.nc2_rwu == pytest.approx(even.nc2_dln, rel=1e-12)
    uneven = collapse(*generic(2, IMBALANCED)[:2], classifier=W, bias=b)
    # Only imbalance tells the two centres apart: the sample mean (GEO) from the mean of means.
    assert abs(uneven.nc1_geo * K / uneven.nc1_phd - 1) > 1e-2
    groups = (
        (even, ("nc1_geo", "nc1_phd", "nc1_ratio", "cdnv_mean")),
        (uneven, ("nc1_geo", "nc1_phd", "nc1_rwu", "nc1_ratio", "cdnv_mean", "cdnv_max")),
        (uneven, ("nc2_geo", "nc2_all", "nc2_rwu", "nc2_dln", "orthogonal_distance_W")),
        (uneven, ("nc3_geo", "nc3_all", "nc3_rwu", "nc3_phd", "nc3_dln", "nc3_dln_orthogonal")),
        (uneven, ("nc4_geo", "nc4_geo_code", "nc4_phd")),
    )
    for record, names in groups:
        values = sorted(getattr(record, name) for name in names)
        assert min(np.diff(values)) > 1e-3, names


NONZERO_AT_THE_ETF = (
    "num_classes num_samples num_features rank_means rank_W rank_cutoff cdnv trace_between "
    "trace_between_geo orthogonal_distance_W orthogonal_distance_means nc3_dln_orthogonal nc4_cls "
    "ncc_agreement nc4_rwu classifier_accuracy lambda_H_hat"
)


def test_simplex_etf_is_zero_and_a_perturbed_one_is_not():
    H, y = repeat(etf(), 7)  # seven equal numbers do not always add up to seven times one
    exact = collapse(H, y, classifier=1e-200 * etf())
    zeros = {field.name for field in dataclasses.fields(Collapse)} - set(NONZERO_AT_THE_ETF.split())
    assert {"nc2_geo", "nc2_all", "nc3_geo", "nc3_phd", "nc4_phd", *NC1} <= zeros
    for name in zeros:
        assert getattr(exact, name) == pytest.approx(0, abs=1e-14), name
    assert all(getattr(exact, name) == 0 for name in NC1)  # not merely small
    assert exact.rank_means == exact.rank_W == K - 1
    assert exact.orthogonal_distance_W > 0.1
    rng = np.random.default_rng(2)
    noisy = H + 0.05 * rng.standard_normal(H.shape)
    broken = collapse(noisy, y, classifier=etf() + 0.05 * rng.standard_normal((K, D)))
    for name in zeros - {"nc4_phd"}:
        assert getattr(broken, name) > 1e-6, name


def test_orthogonal_frame():
    frame = np.eye(K, D)
    record = collapse(*repeat(2 * frame), classifier=frame)
    # Centring the rows of an orthogonal frame makes it a simplex ETF, hence nc2_all.
    zeros = "orthogonal_distance_W orthogonal_distance_means nc3_dln nc3_dln_orthogonal nc2_all"
    assert [getattr(record, name) for name in zeros.split()] == pytest.approx([0] * 5, abs=1e-14)
    assert record.nc2_geo == pytest.approx(math.sqrt(2 - 2 * math.sqrt((K - 1) / K)))
    assert record.equiangle_W == pytest.approx(1 / (K - 1))


def test_scatter_outside_the_range_of_the_means_is_seen_by_ratio_and_cdnv_only():
    H, y = repeat(np.eye(K, D))
    H[:, K:] = np.tile([[1.0, 0], [-1, 0], [0, 1], [0, -1]], (K, 1))
    record = collapse(H, y)
    assert record.nc1_geo == record.nc1_phd == 0
    assert record.trace_within == 1
    assert record.nc1_ratio == pytest.approx(1 / (2 / 3))
    assert record.cdnv_mean == record.cdnv_max == pytest.approx(1 / 2)


def test_equal_class_means():
    spread = np.array([[1.0, 2], [-1, -2], [3, -1], [-3, 1]])
    H, y = np.tile(spread, (K, 1)) + 5, np.repeat(np.arange(K), 4)
    rounding = 0.1 + 2.0**-55 * np.tile(spread, (K, 1))
    for features, value in ((H, math.inf), (0 * H + 0.1, math.nan), (rounding, math.nan)):
        record = collapse(features, y, classifier=np.eye(K, 2))
        for name in (*NC1, "cdnv_mean", "cdnv_max"):
            np.testing.assert_equal(getattr(record, name), value, err_msg=name)
        for name in ("nc2_rwu", "equiangle_means", "nc3_phd"):
            assert math.isnan(getattr(record, name)), name
        assert record.nc2_geo > 0


def test_two_merged_classes():
    centres = np.array([[1.0, 0, 0], [1, 0, 0], [-2, 3, 0]])
    noise = np.random.default_rng(4).standard_normal((N_PER_CLASS, 3))
    noise -= noise.mean(axis=0)
    H, y = repeat(centres)
    record = collapse(H + np.tile(noise, (K, 1)), y)
    assert record.rank_means == 1
    along = noise @ [-1, 1, 0] / math.sqrt(2)
    # The one direction of the means: eigenvalue |(-3, 3)|^2 (1 + 1 + 4)/9/K = 4 of Sigma_between.
    assert record.nc1_phd == pytest.approx(np.mean(along**2) / 4, rel=1e-12)
    assert record.cdnv_max == record.cdnv[0, 1] == math.inf
    assert record.cdnv[0, 2] == pytest.approx(record.trace_within / 18)


def test_vectors_that_vanish_to_rounding_have_no_angle():
    means = np.array([[0.1], [0.2], [0.3]])
    assert (means - means.mean())[1] != 0
    record = collapse(*repeat(means), classifier=np.zeros((K, 1)))
    for name in ("equiangle_means", "nc2_geo", "nc3_geo", "equinorm_W"):
        assert math.isnan(getattr(record, name)), name
    assert (record.rank_W, record.rank_means) == (0, 1)
    assert record.nc2_rwu > 0.1
    basis = np.linalg.qr(np.random.default_rng(3).standard_normal((D, D)))[0]
    assert math.isnan(collapse(*repeat(basis[:K]), classifier=basis[[3, 4, 4]]).nc3_geo)


def test_float32_pseudo_inverse_without_cutoff_is_wrong_and_ours_is_not():
    H, y, _, _ = generic(5, (40,) * K, 30)
    H32 = (H + 30).astype(np.float32)
    M = np.array([H32[y == k].mean(axis=0) for k in range(K)])
    C, within = M - M.mean(axis=0), H32 - M[y]
    S_w, S_b = within.T @ within / np.float32(len(H)), C.T @ C / np.float32(K)
    naive = float(np.trace(S_w @ np.linalg.pinv(S_b, rcond=0.0))) / K
    truth = brute_force(H32.astype(float), y, C, 0, 1)["nc1_geo"]
    assert abs(naive / truth - 1) > 10
    assert collapse(H32, y).nc1_geo == pytest.approx(truth, rel=1e-9)


def test_rank_cutoff_comes_from_the_dtype_of_the_input():
    H, y = repeat(np.array([[1000.0, 0], [1000.0 + 2**-13, 0], [1000, 1]]))
    H[:, 1] += np.tile([0.25, -0.25, 0.25, -0.25], K)
    fine, coarse = collapse(H, y), collapse(H.astype(np.float32), y)
    assert np.array_equal(H, H.astype(np.float32))
    assert (fine.rank_means, coarse.rank_means) == (2, 1)
    for record, eps in ((fine, 2.0**-52), (coarse, 2.0**-23)):
        scale = math.sqrt(np.sum(H**2) / N_PER_CLASS)
        assert record.rank_cutoff == pytest.approx((eps + K * 2.0**-52) * scale, rel=1e-12)
    W = np.array([[1.0, 0], [1, 1e-5], [1, 0]])
    ranks = [collapse(H, y, classifier=W.astype(t)).rank_W for t in (np.float64, np.float16)]
    assert ranks == [2, 1]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([np.float16, np.float32, np.float64, np.int32]))
def test_never_negative(data, dtype):
    size, n, d = (data.draw(st.integers(low, 4)) for low in (2, 1, 1))
    limits = {} if dtype == np.int32 else {"allow_nan": False, "allow_infinity": False}
    elements = hnp.from_dtype(np.dtype(dtype), **limits).filter(lambda x: abs(float(x)) < 1e99)
    H = data.draw(hnp.arrays(dtype, (size * n, d), elements=elements))
    record = collapse(H, np.arange(size * n) % size)
    for name in (*NC1, "cdnv_mean", "trace_within", "trace_between", "nc2_rwu"):
        assert not getattr(record, name) < 0, name
    assert record.rank_means <= min(size - 1, d)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([BALANCED, IMBALANCED]))
def test_invariances(seed, counts):
    H, y, W, b = generic(seed, counts)
    rng = np.random.default_rng(seed + 1)
    Q = np.linalg.qr(rng.standard_normal((D, D)))[0]
    order, t = rng.permutation(len(H)), 3 * rng.standard_normal(D)
    base = collapse(H, y, classifier=W, bias=b, lambda_W=0.1).as_dict()
    turned = collapse(H @ Q, y, classifier=W @ Q, bias=b, lambda_W=0.1)
    assert_same(turned, base, rtol=1e-7)
    assert_same(collapse(H[order], y[order], classifier=W, bias=b, lambda_W=0.1), base, rtol=1e-7)
    moved = collapse(H + t, y, classifier=W, bias=b - W @ t, lambda_W=0.1)
    moves = {"rank_cutoff", "orthogonal_distance_means", "nc3_dln", "nc3_dln_orthogonal"}
    moves |= {"nc4_geo_code", "lambda_H_hat"}
    assert_same(moved, base, rtol=1e-7, skip=moves | {"nc4_rwu"})
    for name in moves:
        assert abs(getattr(moved, name) / base[name] - 1) > 1e-9, name
    scaled = collapse(7 * H, y).as_dict()
    assert {name: scaled[name] for name in NC1} == pytest.approx({name: base[name] for name in NC1})


def test_bias_and_lambda_W_are_used():
    # Two classes on a line; b = (0, 3) makes the classifier answer 1 for every sample.
    H, y, W = [[1.0], [3.0], [-1.0], [-3.0]], [0, 0, 1, 1], [[0.25], [-0.25]]
    plain, tilted = collapse(H, y, classifier=W), collapse(H, y, classifier=W, bias=[0, 3.0])
    assert (plain.nc4_phd, plain.ncc_agreement, plain.classifier_accuracy) == (0, 1, 1)
    assert (tilted.nc4_phd, tilted.ncc_agreement, tilted.classifier_accuracy) == (0.5, 0.5, 0.5)
    assert (tilted.nc4_rwu, tilted.nc4_cls, tilted.nc4_geo) == (1, 1, 3)
    assert collapse([[h[0] + 4] for h in H], y, classifier=W, bias=[-1, 1]).nc4_geo == 0
    # |W|^2 = 1/8 and |H|^2 = 20 over all samples.
    assert collapse(H, y, classifier=W, lambda_W=0.8).lambda_H_hat == pytest.approx(0.005)
    assert math.isnan(collapse(np.zeros((4, 1)), y, classifier=[[0], [0]], lambda_W=1).lambda_H_hat)


class Foreign:
    def __init__(self, error=None):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        if self.error:
            raise self.error("Can't call numpy() on Tensor that requires grad.")
        return np.arange(12.0, dtype=dtype).reshape(6, 2) ** 2


def test_array_kinds():
    H, y, jnp = np.asarray(Foreign()), np.arange(6) % 2, importlib.import_module("jax.numpy")
    for features in (Foreign(), H.tolist(), jnp.asarray(H), H.astype(int), H.astype("f4")):
        assert collapse(features, jnp.asarray(y)).nc1_geo == collapse(H, y).nc1_geo
    assert collapse(jnp.asarray(H, jnp.bfloat16), y).rank_cutoff > 2**-7
    for error in (RuntimeError, TypeError):
        with pytest.raises(ValueError, match="detach"):
            collapse(Foreign(error), y)


H0, Y0 = np.arange(24.0).reshape(12, 2), np.arange(12) % 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((H0, Y0 * 1.0), "integer labels"),
        ((H0, Y0 - 1), "smallest label -1"),
        ((H0, Y0[:5]), "one label per sample"),
        ((H0, Y0, {"transposed": True}), "one label per sample"),
        ((H0, 2 * Y0), "no sample of class 1"),
        ((H0, Y0 + 10**12), "no sample of class 0"),
        ((H0, 0 * Y0), "K >= 2"),
        ((H0[:0], Y0[:0]), "at least one sample"),
        ((H0[:, :0], Y0), "d >= 1"),
        ((H0[:, 0], Y0), "2 axes"),
        ((H0 + 1j, Y0), "real numbers"),
        ((H0.astype(str), Y0), "real numbers"),
        ((H0 + np.nan, Y0), "finite features"),
        ((np.where(H0 == 3, np.inf, H0).astype("f4"), Y0), "finite features"),
        ((H0 * 1e120, Y0), "finite features"),
        ((H0, Y0, {"classifier": np.ones((3, 4))}), "d = 2"),
        ((H0, Y0, {"classifier": np.ones((2, 2))}), "largest label 2"),
        ((H0, Y0, {"classifier": np.ones((4, 2))}), "no sample of class 3"),
        ((H0, Y0, {"classifier": np.full((3, 2), np.inf, "f4")}), "finite classifier"),
        ((H0, Y0, {"classifier": np.ones((3, 2)), "bias": np.ones(2)}), "shape"),
        ((H0, Y0, {"classifier": np.ones((3, 2)), "bias": [0, 1, np.nan]}), "finite bias"),
        ((H0, Y0, {"bias": np.ones(3)}), "classifier to use bias"),
        ((H0, Y0, {"lambda_W": 1.0}), "classifier to use lambda_W"),
        ((H0, Y0, {"classifier": np.ones((3, 2)), "lambda_W": 0.0}), "lambda_W > 0"),
    ],
)
def test_errors_name_the_rule_the_value_and_the_way_out(arguments, message):
    H, y, *options = arguments
    with pytest.raises(ValueError, match=message) as caught:
        collapse(H, y, **(options[0] if options else {}))
    assert re.fullmatch(r"Need .+\. Got .+\. Remedy: .+\.", str(caught.value))


def test_blocks_do_not_change_the_result(monkeypatch):
    H, y, W, b = generic(6, IMBALANCED)
    whole = collapse(H, y, classifier=W, bias=b, lambda_W=1.0).as_dict()
    monkeypatch.setattr(accumulate, "BLOCK_ENTRIES", 3 * D)
    data = inputs.read(H, y, None, None, False, None)
    assert [len(block) for _, block in accumulate.blocks(data)] == [3, 3, 3, 3, 1]
    assert_same(collapse(H, y, classifier=W, bias=b, lambda_W=1.0), whole, rtol=1e-12)


def test_never_forms_a_d_by_d_matrix():
    H, y, W, _ = generic(7, BALANCED, 20_000)
    tracemalloc.start()
    collapse(H, y, classifier=W)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # d x d alone would be 3.2e9


def test_record_and_convention_table():
    H, y, W, b = generic()
    record = collapse(H, y, classifier=W, bias=b)
    full = collapse(H, y, classifier=W, bias=b, lambda_W=1.0).as_dict()
    alone = collapse(H, y).as_dict()
    missing = {name for name, value in alone.items() if value is None}
    assert {"nc2_geo", "nc3_phd", "nc4_geo", "nc4_phd", "rank_W", "lambda_H_hat"} <= missing
    assert None not in full.values()
    assert alone == full | dict.fromkeys(missing)
    assert json.loads(json.dumps(alone)) == alone
    assert record == collapse(H, y, classifier=W, bias=b)
    assert record != collapse(2 * H, y, classifier=W, bias=b)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.nc1_geo = 0.0
    with pytest.raises(ValueError, match="read-only"):
        record.cdnv[0, 1] = 0.0
    for source, labels in CONVENTIONS.items():
        wanted = {label: record.as_dict()[name] for label, name in labels.items()}
        assert record.convention(source) == wanted
    with pytest.raises(ValueError, match="known convention"):
        record.convention("geo")


def test_does_not_import_jax():
    for path in Path(accumulate.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*(import|from) jax", path.read_text(), re.MULTILINE), path
