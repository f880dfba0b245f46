"""The record of one measurement, and the table from published labels to its fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ufm.errors import InputError

# Read in the code published with each paper. Same number, same field: a label that two sources
# share points to one field, a label on which they differ points to two.
CONVENTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "GEO": MappingProxyType(
            {
                "NC1": "nc1_geo",
                "NC2": "nc2_geo",
                "NC3": "nc3_geo",
                "NC4": "nc4_geo",
                "NC4 as coded": "nc4_geo_code",
            }
        ),
        "RMS": MappingProxyType(
            {"NC1": "nc1_geo", "NC2": "nc2_all", "NC3": "nc3_all", "NC4": "nc4_geo"}
        ),
        "ALL": MappingProxyType(
            {"NC1": "nc1_geo", "NC2": "nc2_all", "NC3": "nc3_all", "NC4": "nc4_geo"}
        ),
        "DLN": MappingProxyType(
            {
                "NC1": "nc1_geo",
                "NC2 W": "nc2_geo",
                "NC2 means": "nc2_dln",
                "NC2 orthogonal W": "orthogonal_distance_W",
                "NC2 orthogonal means": "orthogonal_distance_means",
                "NC3": "nc3_geo",
                "NC3 orthogonal": "nc3_dln_orthogonal",
                "NC3 W minus means": "nc3_dln",
            }
        ),
        "PHD": MappingProxyType(
            {
                "NC1": "nc1_phd",
                "NC2 equinorm means": "equinorm_means",
                "NC2 equinorm W": "equinorm_W",
                "NC2 equiangle means": "equiangle_means",
                "NC2 equiangle W": "equiangle_W",
                "NC2 cosine spread means": "cosine_spread_means",
                "NC2 cosine spread W": "cosine_spread_W",
                "NC3": "nc3_phd",
                "NC4": "nc4_phd",
            }
        ),
        "CLS": MappingProxyType(
            {
                "NC1": "nc1_cls",
                "NC2 W": "nc2_geo",
                "NC2 means": "nc2_rwu",
                "NC2 W times means": "nc3_rwu",
                "NC3": "nc3_phd",
                "NC4": "nc4_cls",
            }
        ),
        "RWU": MappingProxyType(
            {
                "NC1 pinv": "nc1_rwu",
                "NC1 quotient": "nc1_ratio",
                "NC1 CDNV": "cdnv_mean",
                "NC2": "nc2_rwu",
                "NC3": "nc3_rwu",
                "NC4": "nc4_rwu",
            }
        ),
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collapse:
    r"""All neural-collapse numbers of one set of features (and, optionally, one classifier).

    Notation. mu_k class mean (row k of M), mu_C = (1/K) sum_k mu_k the mean of class means,
    mu_G = (1/N) sum_i h_i the sample mean; the two agree when classes are balanced.
    C = M - mu_C, C_G = M - mu_G (K x d); P = I - J/K; E = P/sqrt(K-1), O = I/sqrt(K), both of
    Frobenius norm 1; u(A) = A/|A|_F; all norms are Frobenius or Euclidean.
    Sigma_within = (1/N) sum_i (h_i - mu_{y_i})(h_i - mu_{y_i})^T,
    Sigma_between = C^T C/K, Sigma_between_G = C_G^T C_G/K.

    Sources. GEO: tding1/Neural-Collapse (Zhu et al. 2021). RMS: jinxinzhou/neural-collapse-MSE
    (Zhou et al. 2022a). ALL: jinxinzhou/nc_loss (Zhou et al. 2022b). DLN: Fsoft-AIC's deep linear
    networks (Dang et al. 2023). PHD: neuralcollapse/neuralcollapse (Papyan, Han, Donoho 2020; Han
    et al. 2022). CLS: koyar4271/neural_collapse_ls_vs_ce (Guo et al. 2024). RWU:
    rhubarbwu/neural-collapse (Wu and Papyan 2024). Formulas are those of the published code.

    Sizes and ranks
        num_classes, num_samples, num_features: K, N, d.
        rank_means: singular values of C above ``rank_cutoff``; at most K - 1.
        rank_W: singular values of W above (eps + max(K, d) eps_64) times the largest of them.
        rank_cutoff: (eps + max(K, d) eps_64) sqrt(sum_k mean_{i in k} |h_i|^2), where eps is the
            spacing of the *input* dtype at 1. Derived here: storing the features rounds each
            entry by at most eps/2 relative, which moves C by at most half the first term in
            Frobenius norm, hence (Weyl) every singular value by no more; the second term is the
            float64 arithmetic. Singular values below it are not information and are not inverted.

    Scatter
        trace_within: tr Sigma_within.
        trace_between: tr Sigma_between (PHD, CLS, RWU).
        trace_between_geo: tr Sigma_between_G (GEO, RMS, ALL, DLN).

    NC1, within-class variability. Every pseudo-inverse is cut at ``rank_cutoff``, and the traces
    are sums of squares, so none of these can be negative. If all class means coincide (rank 0) the
    value is inf when there is within-class scatter above ``rank_cutoff`` and nan when there is
    none. The pseudo-inverse sees only the range of Sigma_between: scatter *outside* that range
    (always possible for d >= K, or when classes have merged) leaves the trace forms at 0, while
    ``nc1_ratio`` and the CDNV see it.
        nc1_geo: tr(Sigma_within pinv(Sigma_between_G))/K (GEO, RMS, ALL, DLN).
        nc1_phd: tr(Sigma_within pinv(Sigma_between)), no 1/K (PHD).
        nc1_cls: the same formula (CLS); PHD's code always inverts K - 1 singular values, CLS's
            calls pinv, which differ only where neither is guarded.
        nc1_rwu: tr(Sigma_within pinv(Sigma_between))/K (RWU, its pinv and svd variants).
        nc1_ratio: tr Sigma_within / tr Sigma_between (RWU quotient; Tirer et al. 2023).
        cdnv: V_kl = (v_k + v_l)/(2 |mu_k - mu_l|^2) with v_k = mean_{i in k} |h_i - mu_k|^2
            (Galanti et al. 2021); (K, K), symmetric, diagonal 0, read-only. Coinciding means:
            inf or nan by the rule above.
        cdnv_mean, cdnv_max: over the K(K-1)/2 pairs.

    NC2, geometry. 0 for a simplex ETF (the orthogonal_* for an orthogonal frame); nan where a
    vector that must be normalised is zero. W is None without a classifier, here and below.
        nc2_geo: |u(W W^T) - E|, W not centred (GEO, DLN, CLS).
        nc2_all: |u(W_0 W_0^T) - E|, W_0 = P W, i.e. the mean row removed (RMS, ALL).
        nc2_rwu: |u(C C^T) - E| (RWU, CLS for means).
        nc2_dln: |u(C_G C_G^T) - E| (DLN for means).
        orthogonal_distance_W, orthogonal_distance_means: |u(W W^T) - O|, |u(M M^T) - O|, not
            centred (DLN; the frame of bias-free squared error).
        equinorm_means, equinorm_W: std/mean of the norms of the rows of C, of W; the std has
            K - 1 in the denominator, as in PHD's code.
        equiangle_means, equiangle_W: mean over k != l of |cos(k, l) + 1/(K-1)| (PHD).
        cosine_spread_means, cosine_spread_W: standard deviation over pairs of cos(k, l) (after
            Papyan, Han, Donoho 2020).

    NC3, self-duality.
        nc3_geo: |u(W C_G^T) - E| (GEO, DLN).
        nc3_all: |u(W_0 C_G^T) - E| (RMS, ALL).
        nc3_rwu: |u(W C^T) - E| (RWU; CLS prints it as "nc2").
        nc3_phd: |u(W) - u(C)|^2, squared (PHD, CLS).
        nc3_dln: |u(W) - u(M)|, not squared, not centred (DLN).
        nc3_dln_orthogonal: |u(W M^T) - O| (DLN).

    NC4, decisions. Without a bias, b = 0. Ties go to the lowest class index; where class means
    coincide the nearest centre is decided by rounding.
        nc4_geo: |W mu_G + b| (RMS, ALL; the residual of the optimal bias).
        nc4_geo_code: |W mu_G - b|, the sign that GEO's code has; reproduces its printed numbers.
        nc4_phd: share of samples whose classifier decision differs from the nearest class centre.
        ncc_agreement: 1 - nc4_phd.
        nc4_rwu: agreement when the bias is left out of the decision, as in RWU's code.
        nc4_cls: accuracy of the nearest-class-centre rule against the labels; needs no classifier.
        classifier_accuracy: accuracy of the classifier against the labels.

    Balancedness
        lambda_H_hat: lambda_W |W|^2/|H|^2, |H|^2 summed over all samples; at a critical point of
            the objective with decay (lambda_W/2)|W|^2 + (lambda_H/2)|H|^2 it equals lambda_H
            (derived here: <W, grad_W> = <H, grad_H> for the loss part). None without ``lambda_W``.

    Example:
        >>> from ufm.collapse import collapse
        >>> record = collapse([[1.0], [3.0], [-1.0], [-3.0]], [0, 0, 1, 1])
        >>> round(record.nc1_phd, 12), round(record.nc1_geo, 12), record.cdnv_mean, record.nc2_geo
        (0.25, 0.125, 0.0625, None)
    """

    num_classes: int
    num_samples: int
    num_features: int
    rank_means: int
    rank_W: int | None = None
    rank_cutoff: float

    trace_within: float
    trace_between: float
    trace_between_geo: float

    nc1_geo: float
    nc1_phd: float
    nc1_cls: float
    nc1_rwu: float
    nc1_ratio: float
    # An array has no single truth value, so it cannot take part in ==.
    cdnv: npt.NDArray[np.float64] = dataclasses.field(compare=False, repr=False)
    cdnv_mean: float
    cdnv_max: float

    nc2_geo: float | None = None
    nc2_all: float | None = None
    nc2_rwu: float
    nc2_dln: float
    orthogonal_distance_W: float | None = None
    orthogonal_distance_means: float
    equinorm_means: float
    equinorm_W: float | None = None
    equiangle_means: float
    equiangle_W: float | None = None
    cosine_spread_means: float
    cosine_spread_W: float | None = None

    nc3_geo: float | None = None
    nc3_all: float | None = None
    nc3_rwu: float | None = None
    nc3_phd: float | None = None
    nc3_dln: float | None = None
    nc3_dln_orthogonal: float | None = None

    nc4_geo: float | None = None
    nc4_geo_code: float | None = None
    nc4_phd: float | None = None
    ncc_agreement: float | None = None
    nc4_rwu: float | None = None
    nc4_cls: float | None = None
    classifier_accuracy: float | None = None

    lambda_H_hat: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Every field by name as plain Python: int, float, None, and nested lists for ``cdnv``.

        Example:
            >>> from ufm.collapse import collapse
            >>> collapse([[1.0], [3.0], [-1.0], [-3.0]], [0, 0, 1, 1]).as_dict()["cdnv"]
            [[0.0, 0.0625], [0.0625, 0.0]]
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["cdnv"] = self.cdnv.tolist()
        return values

    def convention(self, source: str) -> dict[str, float | None]:
        """The numbers that one published code prints, under that code's own labels.

        Source: the table ``CONVENTIONS``, read in the code published with each paper.

        Raises:
            InputError: (a ValueError) if ``source`` is not a key of ``CONVENTIONS``.

        Example:
            >>> from ufm.collapse import collapse
            >>> record = collapse([[1.0], [3.0], [-1.0], [-3.0]], [0, 0, 1, 1])
            >>> record.convention("RWU")["NC1 CDNV"]
            0.0625
        """
        if source not in CONVENTIONS:
            known = ", ".join(CONVENTIONS)
            raise InputError("Need a known convention", repr(source), f"use one of {known}")
        return {label: getattr(self, name) for label, name in CONVENTIONS[source].items()}
