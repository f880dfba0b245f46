"""The exact reductions A-1, A-2, A-5, A-6: a critical point as a few small dense blocks.

Samples of a class merge (A-1); the feature space splits into the row space of W, of dimension
r = rank(W H), and (d - r) copies of [[lambda_W I, G], [G^T, lambda_H I]] (A-2); classes with equal
(w, h) form groups, whose range block splits once more (A-5), and groups that may be permuted split
it again (A-6, ufm/plain/permuted.py). The full spectrum is assembled from these, whatever d and n
are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufm.errors import InputError
from ufm.losses.columns import column_gradients, column_hessians
from ufm.plain.blocks import GroupData, group_block, within_group_block
from ufm.plain.permuted import find_types, range_levels
from ufm.point import Point
from ufm.precision import require_x64
from ufm.spectrum import Spectrum, pair
from ufm.typing import Array

if TYPE_CHECKING:
    from ufm.plain.model import UFM

Indices = NDArray[np.int64]
# A critical point known to residual 1e-12 has equal rows to about 1e-11; classes that differ do so
# by O(1), or they are near a bifurcation and this bound errs on the side of keeping them apart.
GROUP_TOLERANCE = 1e-9
RANK_TOLERANCE = 1e-6
# Features of a class that agree to this, relative to 1 + the largest, are one feature.
COLLAPSED = 1e-6
# Curvature is taken in every direction beyond this, a millionth of the amplitudes: it is near
# bifurcations that directions are small. What lies below is dropped and its size accounted for.
CURVATURE_RANK = 1e-12
# A point at gradient norm 1e-12 near the origin has W H below 1e-13 unless it is on a bifurcation.
SMALLEST_LOGIT = 1e-7
# Logit Hessians are compiled for batches of this many classes, or the next power of two.
SMALLEST_BATCH = 16
# Range blocks up to this size are diagonalised as they are (milliseconds).
SMALL_DENSE = 150
# Entries of the logit Hessians of all groups that are held at once (4 GB).
MAX_LOGIT_ENTRIES = 500_000_000
# Largest dense range block that is diagonalised (8 * 12000^2 bytes = 1.2 GB).
MAX_DENSE = 12_000


def reduce(model: UFM, point: Point) -> tuple[UFM, Point]:
    """A-1: the merged model and the merged point (class averages; exact at collapsed points).

    Example:
        >>> from ufm import UFM, CrossEntropy, Point
        >>> model = UFM(CrossEntropy(), 2, 3, 4, lambda_W=0.1, lambda_H=0.1)
        >>> merged, small = reduce(model, Point(np.ones((2, 3)), np.ones((3, 8))))
        >>> small.H.tolist()[0]  # sqrt(n) times the class mean
        [2.0, 2.0]
    """
    return model.as_merged(point)


def lift(model: UFM, point: Point) -> Point:
    """The inverse of ``reduce``: every sample of a class gets the feature of the class."""
    merge = model.merge()
    return point if merge is None else merge.lift(point)


def averaged(model: UFM, point: Point) -> tuple[UFM, Point, float]:
    """A-1 as ``reduce``, and how far a feature is from the mean of its class.

    The distance is the largest of any entry, relative to 1 + the largest feature: 0 at merged
    columns; up to ``COLLAPSED`` the reductions apply.

    Example:
        >>> from ufm import UFM, CrossEntropy, Point
        >>> model = UFM(CrossEntropy(), 2, 1, 2, lambda_W=0.1, lambda_H=0.1)
        >>> point = Point(np.ones((2, 1)), np.array([[1.0, 3.0, 2.0, 2.0]]))
        >>> round(averaged(model, point)[2], 12)
        0.25
    """
    merged, small = model.as_merged(point)
    H = np.asarray(point.H)
    if H.shape[1] == merged.num_classes:
        return merged, small, 0.0
    apart = np.abs(np.asarray(lift(model, small).H) - H).max()
    return merged, small, float(apart / (1 + np.abs(H).max()))


@dataclass(frozen=True)
class RowSpace:
    """The row space shared by W and H at a critical point, and the point inside it.

    Attributes:
        rank: r.
        basis: (d, r) with orthonormal columns.
        point: W basis (K, r), basis^T H (r, columns), b.
        discarded: largest singular value left out, relative to the largest kept.
        moved: Euclidean norm of what was left out.
    """

    rank: int
    basis: Array
    point: Point
    discarded: float
    moved: float


def row_space(model: Any, point: Point, tolerance: float = RANK_TOLERANCE) -> RowSpace:
    """A-2: compress the feature dimension of a critical point to its rank.

    At a critical point lambda_W W^T W = lambda_H H H^T, so the singular vectors of
    [sqrt(lambda_W) W; sqrt(lambda_H) H^T] span both row spaces. Directions whose contribution to
    W H is below ``tolerance`` of the largest (or 1e-13, near the origin) are dropped, and those
    beyond K, which a critical point does not have.
    """
    W, H = np.asarray(point.W), np.asarray(point.H)
    ratio = (float(model.lambda_W) / float(model.lambda_H)) ** 0.25
    stack = np.concatenate([ratio * W, H.T / ratio])
    _, values, Vt = np.linalg.svd(stack, full_matrices=False)
    strength = values**2  # singular values of W H, up to a factor two
    smallest = RANK_TOLERANCE * SMALLEST_LOGIT / tolerance
    scale = max(float(strength[0]), smallest) if len(strength) else 1.0
    rank = min(int(np.sum(strength > tolerance * scale)), len(W))
    basis, rest = Vt[:rank].T, Vt[rank:].T
    discarded = float(strength[rank] / scale) if rank < len(strength) else 0.0
    moved = float(np.hypot(np.linalg.norm(W @ rest), np.linalg.norm(rest.T @ H)))
    return RowSpace(rank, basis, Point(W @ basis, basis.T @ H, point.b), discarded, moved)


def _logit_hessians(loss: Any, Z: Array, chosen: Array) -> Array:
    """Logit Hessians of the chosen classes; the batch is padded so that few sizes are compiled."""
    width = min(Z.shape[1], max(SMALLEST_BATCH, 1 << (len(chosen) - 1).bit_length()))
    padded = np.concatenate([chosen, np.zeros(max(0, width - len(chosen)), dtype=int)])
    return np.asarray(column_hessians(loss, Z[:, padded], padded))[: len(chosen)]


@dataclass(frozen=True)
class Reduced:
    """Everything that the Hessian of a critical point is made of.

    Attributes:
        model: the merged model.
        space: the row space and the point inside it.
        G: gradient with respect to the merged W H, (K, K).
        groups: classes with equal (w, h, count, bias), as index arrays (A-5).
        data: the quotient problem on groups.
        within: A_k restricted to the row space, one (r, r) matrix per group.
        types: groups that may be permuted (A-6), as index arrays.
    """

    model: Any
    space: RowSpace
    G: Array
    groups: tuple[Array, ...]
    data: GroupData
    within: Array
    types: tuple[Indices, ...]

    @cached_property
    def moved(self) -> float:
        """How far the point lies from the one of this rank whose classes in a group are equal."""
        W, H, b = self.space.point
        squares = self.space.moved**2
        for group in self.groups:
            for rows in (W[group], H[:, group].T, *([] if b is None else [b[group]])):
                squares += float(np.sum((rows - rows[:1]) ** 2))
        return squares**0.5

    @cached_property
    def couplings(self) -> Array:
        """Singular values of ``complement_gradient``: K - r of them, descending."""
        values = np.linalg.svd(complement_gradient(self), compute_uv=False)
        return np.asarray(values[: len(values) - self.space.rank])

    @cached_property
    def defect(self) -> float:
        """How far the couplings are from those of G itself, in which r are not sigma exactly.

        Outside the row space the Hessian is [[lambda_W I, G], [G^T, lambda_H I]] at every point, so
        that no eigenvalue there is off by more (Weyl).
        """
        if self.model.d == self.space.rank:
            return 0.0
        sigma = np.full(self.space.rank, (float(self.model.lambda_W * self.model.lambda_H)) ** 0.5)
        taken = np.sort(np.concatenate([sigma, self.couplings]))
        exact = np.sort(np.linalg.svd(self.G, compute_uv=False))
        return float(np.abs(taken - exact).max(initial=0.0))

    @property
    def types_shrink(self) -> bool:
        """Whether some type has three groups or more and the dense block is not small anyway.

        A-6 takes the singular vectors of W Hbar for those of W and Hbar, exact at critical points
        only; a small dense block costs nothing and does not amplify a residual gradient. T types
        of G groups need T (T + 1) matrices G x G, which must not be more than a dense block holds.
        """
        large = self.data.size > SMALL_DENSE
        held = len(self.types) * (len(self.types) + 1) * len(self.data.W) ** 2
        fits = held <= MAX_DENSE**2
        return large and fits and max(len(members) for members in self.types) > 2


def reduced(model: UFM, point: Point, *, merge_classes: bool = True) -> Reduced:
    """Collect the blocks of a collapsed critical point.

    Args:
        model: the UFM; merged or with all samples.
        point: a critical point with collapsed features, merged or full columns.
        merge_classes: use A-5 and A-6 among classes of one kind.

    Raises:
        InputError: features of one class differ, so no reduction is exact; a loss with kinks.
    """
    require_x64()
    model.require_smooth()
    model, small, spread = averaged(model, point)
    if spread > COLLAPSED:
        raise InputError(
            "The reduction needs collapsed features (equal within a class)",
            f"a spread of {spread:.1e} of the largest",
            "polish the point with `solve`, or use a dense Hessian",
        )
    point = small.to_numpy()
    K, counts = model.num_classes, np.asarray(model.counts)
    space = row_space(model, point, CURVATURE_RANK)
    groups = tuple(np.array([k]) for k in range(K))
    if merge_classes:
        groups = _groups(space.point, model.kinds)
    Z = point.W @ point.H / np.sqrt(counts)
    if point.b is not None:
        Z = Z + point.b[:, None]
    first = np.array([group[0] for group in groups])
    if len(first) * K**2 > MAX_LOGIT_ENTRIES:
        size = 8 * len(first) * K**2 / 2**30
        rule = f"Logit Hessians hold at most {MAX_LOGIT_ENTRIES:,} numbers"
        raise InputError(
            rule, f"{len(first)} different classes of {K}, {size:.1f} GiB", "polish the point"
        )
    S = _logit_hessians(model.loss, Z, first)
    gradients = np.asarray(column_gradients(model.loss, Z, np.arange(K))[1])
    G = gradients * np.sqrt(counts) / counts.sum()
    data = GroupData.collect(model, space.point, G, S, groups)
    W = space.point.W
    within = W.T @ (S @ W) / counts.sum()
    within = within + float(model.lambda_H) * np.eye(space.rank)
    types = tuple(np.array([g]) for g in range(len(groups)))
    if merge_classes:
        bias = np.zeros(K) if point.b is None else point.b
        types = find_types(data, bias[first], model.kinds[first])
    return Reduced(model, space, G, groups, data, within, types)


def _groups(point: Point, kinds: Array) -> tuple[Array, ...]:
    """Classes whose (w, hbar, kind, bias) agree to GROUP_TOLERANCE of the largest entry."""
    bias = np.zeros((len(kinds), 1)) if point.b is None else point.b[:, None]
    rows = np.concatenate([point.W, point.H.T, bias, kinds[:, None]], axis=1)
    scale = max(1e-300, float(np.abs(rows[:, :-1]).max(initial=0.0)))
    waiting, groups = np.arange(len(rows)), []
    while len(waiting):
        alike = np.abs(rows[waiting] - rows[waiting[0]]).max(axis=1) <= GROUP_TOLERANCE * scale
        groups.append(waiting[alike])
        waiting = waiting[~alike]
    return tuple(groups)


def _range_levels(parts: Reduced) -> list[tuple[float, int, str]]:
    """Spectrum of the group-constant block: by types (A-6) where they shrink it, else dense."""
    data = parts.data
    if parts.space.rank and parts.types_shrink:
        return range_levels(data, parts.types)
    if data.size > MAX_DENSE:
        raise InputError(
            f"A dense range block holds at most {MAX_DENSE:,} variables",
            f"{data.size:,} ({8 * data.size**2 / 2**30:.1f} GiB)",
            "use model.structure, which factorises instead of diagonalising",
        )
    return [(x, 1, "range") for x in np.linalg.eigvalsh(group_block(data))]


def complement_gradient(parts: Reduced) -> Array:
    """G outside the point's own directions: G_perp = (I - U U^T) G (I - V V^T), (K, K).

    Inside them r singular values equal sigma exactly, and rounding would turn them into negative
    eigenvalues.
    """
    left, right = np.linalg.qr(parts.space.point.W)[0], np.linalg.qr(parts.space.point.H.T)[0]
    G = parts.G - left @ (left.T @ parts.G)
    return np.asarray(G - (G @ right) @ right.T)


def full_spectrum(model: UFM, point: Point, *, merge_classes: bool = True) -> Spectrum:
    """The Hessian spectrum of the full problem at a collapsed critical point, from small blocks.

    Blocks: range (group-constant directions), within-group differences (A-5), complement
    (d - r copies, A-2) and within-class differences (n_k - 1 copies, A-1).
    Source: A-1, A-2, A-5, A-6 of docs/theory.md; derived here, tested against dense Hessians.

    Args:
        model: the UFM in its full dimension d and counts.
        point: a critical point with collapsed features (merged or full columns).
        merge_classes: set False to skip A-5 and A-6.

    Returns:
        A Spectrum whose multiplicities add up to K d + d N (+ K).

    Raises:
        InputError: uncollapsed features, or a range block beyond 12,000 variables.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> full_spectrum(model, model.minimiser().point).size == model.num_parameters
        True
    """
    return assembled(reduced(model, point, merge_classes=merge_classes))


def assembled(parts: Reduced) -> Spectrum:
    """The spectrum of the full Hessian from the blocks of ``reduced``."""
    return Spectrum.of(_range_levels(parts) + outer_levels(parts))


def outer_levels(parts: Reduced) -> list[tuple[float, int, str]]:
    """All eigenvalues but those of the group-constant block: within groups, classes, complement."""
    model = parts.model
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    rank, copies = parts.space.rank, model.d - parts.space.rank
    counts = np.asarray(model.counts)
    levels: list[tuple[float, int, str]] = []
    for g, group in enumerate(parts.groups):
        if len(group) > 1:
            block = within_group_block(parts.data, g)
            name = f"within group of {len(group)}"
            levels += [(x, len(group) - 1, name) for x in np.linalg.eigvalsh(block)]
        repeats = len(group) * (int(counts[group[0]]) - 1)
        levels += [(x, repeats, "within-class") for x in np.linalg.eigvalsh(parts.within[g])]
        levels.append((lh, repeats * copies, "within-class, outside row(W)"))
    if not copies:
        return levels
    for coupling in np.concatenate([np.full(rank, np.sqrt(lw * lh)), parts.couplings]):
        small, large = pair(lw, lh, coupling)
        levels += [(small, copies, "complement"), (large, copies, "complement")]
    return levels
