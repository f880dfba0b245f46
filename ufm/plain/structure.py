"""The exact Hessian spectrum of a UFM at a collapsed point, as the contract of models has it.

The range block is diagonalised where it is small or symmetry shrinks it, else its signs are counted
by factorisation (``ufm.plain.inertia``). Source: A-1, A-2, A-4 to A-6 of docs/theory.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ufm.answers import HiddenBlock, Structure
from ufm.plain.blocks import GroupData
from ufm.plain.inertia import count_range_below
from ufm.plain.reduce import COLLAPSED, Reduced, assembled, averaged, outer_levels, reduced
from ufm.plain.symmetry import predicted_nullity
from ufm.spectrum import MAX_DIAGONALISED, Spectrum

if TYPE_CHECKING:
    from ufm.plain.model import UFM

# A range block beyond this order has no spectrum here: its factor takes 3 GiB, and has copies.
MAX_FACTORISED = 40_000


def structure(model: UFM, point: Any) -> Structure | None:
    """The spectrum of the full Hessian from small blocks, or None.

    None where features differ in a class, and where a range block that symmetry does not shrink is
    of an order beyond 40,000.

    Raises:
        InputError: a loss with kinks, whose Hessian says nothing of what is nearby.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> told = structure(model, model.origin())
        >>> told.levels.size, told.predicted_nullity
        (12, 0)
    """
    model.require_smooth()
    merged, small, spread = averaged(model, point)
    if not spread <= COLLAPSED:  # of NaN neither is true
        return None
    parts = reduced(merged, small)
    too_large = parts.data.size > MAX_FACTORISED and not parts.types_shrink
    return None if too_large else from_blocks(parts)


def from_blocks(parts: Reduced) -> Structure:
    """The structure of a point whose blocks are at hand (``reduced``)."""
    model, data, inner = parts.model, parts.data, parts.space.point
    rank = parts.space.rank
    expected = predicted_nullity(model, rank, model.d, inner.W @ inner.H, inner.b)
    # Beyond that size inertia counts signs.
    if parts.types_shrink or data.size <= MAX_DIAGONALISED:
        order = max(min(data.size, MAX_DIAGONALISED), model.num_classes)
        levels = assembled(parts)
        return Structure(levels, expected, order, rank, None, parts.moved, parts.defect)

    def below(bound: float, expect_none: bool = False) -> int:
        return count_range_below(data, bound, expect_none=expect_none).below

    hidden = HiddenBlock(data.size, range_radius(data), sum(data.decays[:2]), below)
    levels = Spectrum.of(outer_levels(parts))
    return Structure(levels, expected, data.size, rank, hidden, parts.moved, parts.defect)


def range_radius(data: GroupData) -> float:
    """An upper bound of the spectral radius of the range block: norms of its four parts.

    For a symmetric block matrix |[[A, C], [C^T, B]]| <= max(|A|, |B|) + |C|, and the bias adds its
    own corner and coupling; Frobenius norms bound each part where eigenvalues would cost too much.
    """
    N, S = data.num_samples, data.S
    logit = np.linalg.eigvalsh(S)[:, -1]  # largest logit curvature of each group
    features = np.sum(data.H**2, axis=0)
    spread = float(np.linalg.norm(data.W, 2)) ** 2
    classifier = data.decays[0] + float(np.sum(np.abs(logit) * features)) / N
    feature = data.decays[1] + float(np.max(np.abs(logit))) * spread / N
    cross = float(np.sqrt(classifier * feature)) + float(np.linalg.norm(data.G))
    bias = 0.0
    if data.decays[2] is not None:
        corner = data.decays[2] + float(np.sum(data.counts * np.abs(logit))) / N
        bias = corner + float(np.sqrt(corner * max(classifier, feature)))
    return max(classifier, feature) + cross + bias
