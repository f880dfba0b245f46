"""From features, labels and a classifier to the record of all measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from ufm.collapse.accumulate import Means, Scatter, class_means, second_pass
from ufm.collapse.geometry import (
    cosine_spread,
    dual_distance,
    equiangle,
    equinorm,
    etf_target,
    orthogonal_target,
    product_distance,
)
from ufm.collapse.inputs import EPS_64, Head, read
from ufm.collapse.record import Collapse
from ufm.typing import Array


def rank_cutoff(scale: float, shape: tuple[int, ...], eps: float) -> float:
    """Size below which a singular value is rounding: (eps + max(shape) eps_64) scale.

    Source: derived here, see ``Collapse.rank_cutoff``.

    Example:
        >>> rank_cutoff(2.0, (3, 4), 0.5) - 1.0 < 1e-14
        True
    """
    return (eps + max(shape) * EPS_64) * scale


def guarded_ratio(top: npt.ArrayLike, bottom: npt.ArrayLike, floor: float) -> Array:
    """top/bottom; where bottom <= floor: inf if top > floor, else nan. Never a warning.

    Example:
        >>> guarded_ratio([1.0, 1.0, 0.0], [2.0, 0.0, 0.0], 0.0).tolist()
        [0.5, inf, nan]
    """
    numerator, denominator = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    ratio = np.where(numerator > floor, np.inf, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > floor)
    return ratio


def whitened_range(C: Array, cutoff: float) -> Array:
    """B = V_r S_r^{-1} from C = U S V^T, so that pinv(C^T C) = B B^T; shape (d, r).

    r counts singular values above ``cutoff``, at most K - 1: some weighted sum of the centred
    means is zero, so a K-th singular value is rounding by construction.

    Example:
        >>> whitened_range(np.array([[2.0, 0.0], [-2.0, 0.0]]), 1e-9).shape
        (2, 1)
    """
    _, values, rows = np.linalg.svd(C, full_matrices=False)
    rank = min(int(np.count_nonzero(values > cutoff)), C.shape[0] - 1)
    return np.asarray(rows[:rank].T / values[:rank])


def classifier_fields(
    head: Head | None, M: Array, C: Array, C_G: Array, mu_G: Array
) -> dict[str, Any]:
    """The fields that need W and the class means only; formulas at ``Collapse``."""
    if head is None:
        return {}
    W = head.W
    etf, orthogonal = etf_target(W.shape[0]), orthogonal_target(W.shape[0])
    W_0 = W - W.mean(axis=0)
    values = np.linalg.svd(W, compute_uv=False)
    cutoff_W = rank_cutoff(float(values[0]), W.shape, head.eps)
    return {
        "rank_W": int(np.count_nonzero(values > cutoff_W)),
        "nc2_geo": product_distance(W, W, etf),
        "nc2_all": product_distance(W_0, W_0, etf),
        "orthogonal_distance_W": product_distance(W, W, orthogonal),
        "equinorm_W": equinorm(W),
        "equiangle_W": equiangle(W),
        "cosine_spread_W": cosine_spread(W),
        "nc3_geo": product_distance(W, C_G, etf),
        "nc3_all": product_distance(W_0, C_G, etf),
        "nc3_rwu": product_distance(W, C, etf),
        "nc3_phd": dual_distance(W, C) ** 2,
        "nc3_dln": dual_distance(W, M),
        "nc3_dln_orthogonal": product_distance(W, M, orthogonal),
        "nc4_geo": float(np.linalg.norm(W @ mu_G + head.b)),
        "nc4_geo_code": float(np.linalg.norm(W @ mu_G - head.b)),
    }


def decision_fields(head: Head | None, scatter: Scatter, num_samples: int) -> dict[str, Any]:
    """The fields that count decisions, as far as they were counted; formulas at ``Collapse``."""
    seen: dict[str, float] = {}
    if scatter.centre_hits is not None:
        seen["nc4_cls"] = scatter.centre_hits / num_samples
    if head is not None and scatter.classifier_hits is not None:
        seen["classifier_accuracy"] = scatter.classifier_hits / num_samples
    if head is not None and scatter.agreements is not None:
        seen["nc4_phd"] = 1.0 - scatter.agreements / num_samples
        seen["ncc_agreement"] = scatter.agreements / num_samples
    if head is not None and scatter.agreements_without_bias is not None:
        seen["nc4_rwu"] = scatter.agreements_without_bias / num_samples
    return seen


def balance_fields(
    head: Head | None, counts: npt.NDArray[np.intp], mean_squares: Array
) -> dict[str, Any]:
    """The estimate of lambda_H; formula at ``Collapse``."""
    if head is None or head.lambda_W is None:
        return {}
    square_W, square_H = float(np.sum(head.W**2)), float(counts @ mean_squares)
    return {"lambda_H_hat": float(guarded_ratio(head.lambda_W * square_W, square_H, 0.0))}


def collapse(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classifier: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    transposed: bool = False,
    lambda_W: float | None = None,
) -> Collapse:
    r"""Measure neural collapse NC1 to NC4 under every published convention.

    tr(Sigma_within pinv(Sigma_between)) = (K/N) sum_{i,j} <h_i - mu_{y_i}, v_j>^2 / s_j^2

    with C = U diag(s) V^T the centred class means; every other formula stands at ``Collapse``.
    Cost O(N d K) in blocks of samples and O(K d) memory beside the input.

    Source: the papers and codes named at ``Collapse``; the sum of squares is derived here. It is
    non-negative by construction, unlike a trace against a pseudo-inverse computed in float32.

    Args:
        features: (N, d), or (d, N) with ``transposed``; anything with ``__array__``: NumPy, JAX,
            a torch CPU tensor. Pass it in the dtype it was computed in: the rank cut-off is
            derived from that dtype, while all arithmetic here is float64.
        labels: (N,) integers 0..K-1, every class present.
        classifier: W (K, d), one row per class. Without it K is the largest label plus one.
        bias: b (K,); without it b = 0.
        transposed: the features are (d, N), as H is written in the theory.
        lambda_W: weight decay of W in (lambda_W/2)|W|^2, > 0, for the estimate ``lambda_H_hat``.

    Returns:
        A ``Collapse``; fields that need W are None without ``classifier``.

    Raises:
        InputError: (a ValueError) if labels are not integers, are out of range or leave a class
            empty, if K < 2, if shapes do not match, if an entry is NaN, infinite or above 1e100 in
            absolute value, or if ``bias`` or ``lambda_W`` comes without ``classifier``.

    Example:
        >>> record = collapse([[1.0], [3.0], [-1.0], [-3.0]], [0, 0, 1, 1], classifier=[[1], [-1]])
        >>> round(record.nc1_geo, 12), record.nc2_geo, record.nc4_phd
        (0.125, 0.0, 0.0)
    """
    data = read(features, labels, classifier, bias, transposed, lambda_W)

    def scatter(M: Array, C: Array, whiteners: list[Array]) -> Scatter:
        return second_pass(data, M, C, whiteners)

    return record_of(data.counts, class_means(data), scatter, data.head, data.eps_features)


def record_of(
    counts: npt.NDArray[np.intp],
    means: Means,
    scatter_of: Callable[[Array, Array, list[Array]], Scatter],
    head: Head | None,
    eps_features: float,
) -> Collapse:
    """All numbers from class means and within-class scatter, however these were found.

    Args:
        counts: samples per class (K,), all positive.
        means: class means and mean squares.
        scatter_of: the scatter, given M, C and the whiteners B of ``whitened_range``.
        head: the classifier.
        eps_features: spacing of the features' dtype at one.
    """
    M = means.M
    num_classes, num_features = M.shape
    num_samples = int(counts.sum())

    cutoff = rank_cutoff(
        float(np.sqrt(means.mean_squares.sum())), (num_classes, num_features), eps_features
    )
    C = M - M.mean(axis=0)
    # A mean within rounding of the centre has no direction; zero says so, noise would not.
    C[np.linalg.norm(C, axis=1) <= cutoff] = 0.0
    balanced = bool(np.all(counts == counts[0]))
    shift = np.zeros(num_features) if balanced else (counts / num_samples) @ C
    C_G = C - shift
    mu_G = M.mean(axis=0) + shift

    whiteners = [whitened_range(C, cutoff)]
    if not balanced:
        whiteners.append(whitened_range(C_G, cutoff))
    scatter = scatter_of(M, C, whiteners)
    floor = cutoff**2
    trace_within = float(counts @ scatter.variances / num_samples)
    trace_between = float(np.sum(C**2) / num_classes)

    no_range = float("inf") if trace_within > floor else float("nan")
    traces = [
        num_classes / num_samples * energy if whitener.shape[1] > 0 else no_range
        for whitener, energy in zip(whiteners, scatter.energies, strict=True)
    ]
    nc1_phd, nc1_geo = traces[0], traces[-1] / num_classes

    pair_variances = (scatter.variances[:, None] + scatter.variances[None, :]) / 2
    upper = np.triu_indices(num_classes, k=1)
    pairs = guarded_ratio(
        pair_variances[upper], scipy.spatial.distance.pdist(C, "sqeuclidean"), floor
    )
    cdnv = np.asarray(scipy.spatial.distance.squareform(pairs, checks=False), dtype=np.float64)
    cdnv.setflags(write=False)

    etf = etf_target(num_classes)
    return Collapse(
        num_classes=num_classes,
        num_samples=num_samples,
        num_features=num_features,
        rank_means=whiteners[0].shape[1],
        rank_cutoff=cutoff,
        trace_within=trace_within,
        trace_between=trace_between,
        trace_between_geo=float(np.sum(C_G**2) / num_classes),
        nc1_geo=nc1_geo,
        nc1_phd=nc1_phd,
        nc1_cls=nc1_phd,
        nc1_rwu=nc1_phd / num_classes,
        nc1_ratio=float(guarded_ratio(trace_within, trace_between, floor)),
        cdnv=cdnv,
        cdnv_mean=float(np.mean(pairs)),
        cdnv_max=float(np.max(pairs)),
        nc2_rwu=product_distance(C, C, etf),
        nc2_dln=product_distance(C_G, C_G, etf),
        orthogonal_distance_means=product_distance(M, M, orthogonal_target(num_classes)),
        equinorm_means=equinorm(C),
        equiangle_means=equiangle(C),
        cosine_spread_means=cosine_spread(C),
        **classifier_fields(head, M, C, C_G, mu_G),
        **decision_fields(head, scatter, num_samples),
        **balance_fields(head, counts, means.mean_squares),
    )
