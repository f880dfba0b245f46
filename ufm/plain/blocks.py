"""Dense blocks of the Hessian of a merged UFM, assembled from logit Hessians.

With m_k = A hbar_k + W b_k + sqrt(n_k) beta the second derivative in the direction (A, B, beta) is
(1/N) sum_k m_k^T S_k m_k + 2 <G, A B> + lambda_W |A|^2 + lambda_H |B|^2 + lambda_b |beta|^2.
On group-constant directions the quotient by the groups is a problem of the same form with G
classes, counts m_g n_g and compressed S_g: one assembly serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ufm.point import Point
from ufm.typing import Array

if TYPE_CHECKING:
    from ufm.plain.model import UFM


@dataclass(frozen=True)
class GroupData:
    """The quotient of a merged problem by groups of equal classes.

    Attributes:
        W, H: (G, r) and (r, G), rows scaled by sqrt(m_g).
        S: logit Hessians of one class per group on group-constant directions, (G, G, G).
        G: compressed gradient (G, G).
        counts: m_g n_g.
        num_samples: N.
        decays: (lambda_W, lambda_H, lambda_b or None).
        classes: what the within-group blocks need: logit Hessians (G, K, K), gradient (K, K),
            index arrays, and the point (W, H) of all classes.
    """

    W: Array
    H: Array
    S: Array
    G: Array
    counts: Array
    num_samples: float
    decays: tuple[float, float, float | None]
    classes: tuple[Array, Array, tuple[Array, ...], Array, Array, Array]

    @staticmethod
    def collect(model: UFM, point: Point, G: Array, S: Array, groups: Sequence[Array]) -> GroupData:
        """Compress a point, its gradient and one logit Hessian per group."""
        K, sizes = model.num_classes, np.array([len(group) for group in groups], dtype=float)
        E = np.zeros((K, len(groups)))
        for g, group in enumerate(groups):
            E[group, g] = sizes[g] ** -0.5
        counts = np.asarray(model.counts)
        first = np.array([group[0] for group in groups])
        singles = len(groups) == K
        compressed = S if singles else E.T @ (S @ E)
        lambda_b = None if model.lambda_b is None else float(model.lambda_b)
        return GroupData(
            W=E.T @ point.W,
            H=point.H @ E,
            S=compressed,
            G=E.T @ G @ E,
            counts=sizes * counts[first],
            num_samples=float(counts.sum()),
            decays=(float(model.lambda_W), float(model.lambda_H), lambda_b),
            classes=(S, G, tuple(groups), point.W, point.H, counts),
        )

    @property
    def groups(self) -> tuple[Array, ...]:
        """Classes of each group, as index arrays."""
        return self.classes[2]

    @property
    def size(self) -> int:
        """Variables of the group-constant block: 2 G r (+ G with bias)."""
        groups, rank = self.W.shape
        return 2 * groups * rank + (0 if self.decays[2] is None else groups)


def group_block(data: GroupData) -> Array:
    """The Hessian on group-constant directions, ordered (A row-major, B by columns, beta)."""
    W, H, S, N = data.W, data.H, data.S, data.num_samples
    lb = data.decays[2]
    groups, rank = W.shape
    half = groups * rank
    root_n = np.sqrt(data.counts)
    block = np.zeros((data.size, data.size))
    AA, AB = classifier_block(data), coupling_block(data)
    block[:half, :half] = AA
    block[:half, half : 2 * half] = AB
    block[half : 2 * half, :half] = AB.T
    BB = feature_blocks(data)
    for k in range(groups):
        at = slice(half + k * rank, half + (k + 1) * rank)
        block[at, at] = BB[k]
    if lb is not None:
        A_bias = np.tensordot(H * root_n, S, 1).swapaxes(0, 1).reshape(half, groups) / N
        B_bias = (root_n[:, None, None] * np.swapaxes(S @ W, 1, 2)).reshape(half, groups) / N
        cross = np.concatenate([A_bias, B_bias])
        block[: 2 * half, 2 * half :] = cross
        block[2 * half :, : 2 * half] = cross.T
        bias = np.einsum("k,kij->ij", data.counts, S) / N
        block[2 * half :, 2 * half :] = bias + lb * np.eye(groups)
    return block


def classifier_block(data: GroupData) -> Array:
    """Second derivative in A: lambda_W I + (1/N) sum_k S_k x hbar_k hbar_k^T, (G r, G r)."""
    groups, rank = data.W.shape
    outer = (data.H[:, None, :] * data.H[None, :, :]).reshape(rank * rank, groups)
    AA = data.S.reshape(groups, -1).T @ outer.T / data.num_samples
    AA = AA.reshape(groups, groups, rank, rank).transpose(0, 2, 1, 3)
    AA = AA.reshape(groups * rank, groups * rank)
    AA[np.diag_indices_from(AA)] += data.decays[0]
    return AA


def coupling_block(data: GroupData) -> Array:
    """Mixed derivative in (A, B): (1/N) hbar_k x (S_k W) + G_ik I, (G r, G r)."""
    groups, rank = data.W.shape
    SW = data.S @ data.W
    AB = SW.swapaxes(0, 1)[:, None] * data.H[:, :, None] / data.num_samples
    AB += data.G[:, None, :, None] * np.eye(rank)[None, :, None, :]
    return AB.reshape(groups * rank, groups * rank)


def feature_blocks(data: GroupData) -> Array:
    """Second derivative in B, block diagonal: W^T S_k W / N + lambda_H I, (G, r, r)."""
    rank = data.W.shape[1]
    blocks = np.swapaxes(data.S @ data.W, 1, 2) @ data.W / data.num_samples
    return blocks + data.decays[1] * np.eye(rank)


def within_group_block(data: GroupData, g: int) -> Array:
    """The block of differences within group g, repeated m_g - 1 times: size 2 r (+ 1 with bias).

    The irreducible representation is evaluated on x = (e_1 - e_2)/sqrt(2): A = x a^T, B = b x^T,
    beta = t x. Classes 1 and 2 contribute alike; the other members of the group see only A and t.
    """
    S, G, groups, W, H, counts = data.classes
    lw, lh, lb = data.decays
    N, rank = data.num_samples, W.shape[1]
    group, size = groups[g], len(groups[g])
    i, j = group[0], group[1]
    own = S[g]
    h, n = H[:, i], counts[i]

    def across(matrix: Array, p: int, q: int) -> float:
        return 0.5 * float(matrix[p, p] + matrix[q, q] - matrix[p, q] - matrix[q, p])

    on_pair = across(own, i, j)
    on_third = across(own, j, group[2]) if size > 2 else 0.0
    # Weight of each group's hbar hbar^T: x^T S_k x summed over the members of the group.
    weights = np.array([len(other) * across(S[q], i, j) for q, other in enumerate(groups)])
    weights[g] = 2 * on_pair + (size - 2) * on_third
    first = np.array([other[0] for other in groups])
    Hg, roots = H[:, first], np.sqrt(counts[first])
    xSW = (own[i] - own[j]) @ W / np.sqrt(2)
    block = np.zeros((2 * rank + 1, 2 * rank + 1))
    a, b, t = slice(0, rank), slice(rank, 2 * rank), 2 * rank
    block[a, a] = (Hg * weights) @ Hg.T / N + lw * np.eye(rank)
    block[b, b] = W.T @ own @ W / N + lh * np.eye(rank)
    block[a, b] = np.sqrt(2) * np.outer(h, xSW) / N + across(G, i, j) * np.eye(rank)
    block[b, a] = block[a, b].T
    if lb is None:
        return block[:t, :t]
    block[a, t] = block[t, a] = Hg @ (weights * roots) / N
    block[b, t] = block[t, b] = np.sqrt(2 * n) * xSW / N
    block[t, t] = lb + float(weights @ roots**2) / N
    return block
