"""Extreme eigenvalues of the full Hessian at a minimum, and of its two diagonal blocks.

The joint Hessian comes from the blocks of ``ufm.reduce``. Its diagonal blocks need less: with
h_k = hbar_k / sqrt(n_k), S_k the logit Hessians, Q an orthonormal basis of the row space (d, r),

    W block   lambda_W + (1/N) sum_k S_k (x) hbar_k hbar_k^T   of order K r, lambda_W elsewhere
    H block   lambda_H + (1/N) W^T S_k W for every sample      of order r, lambda_H elsewhere

where "elsewhere" exists iff d > r. Source: A-1, A-2 and section 7.7 of docs/theory.md; for any
critical point derived here.

The loss without decay has the same blocks less lambda_W and lambda_H. There a condition number is
the largest over the smallest eigenvalue that is not zero (LS-2 (a)). Its joint Hessian has none: a
rotation of the features, W A and -A^T H, costs nothing in the full objective and so
-lambda_W |W A|^2 - lambda_H |A^T H|^2 < 0 in the loss alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ufm.losses.columns import column_hessians
from ufm.plain.reduce import Reduced, assembled, reduced, row_space
from ufm.plain.symmetry import predicted_nullity
from ufm.spectrum import Spectrum
from ufm.tolerance import SEPARATION, zero_tolerance
from ufm.typing import Array


@dataclass(frozen=True)
class Conditions:
    """Extremes of a Hessian and condition numbers of its parts.

    Attributes:
        smallest: smallest eigenvalue that no symmetry explains; negative at a saddle.
        largest: largest eigenvalue.
        condition: largest / smallest; NaN unless ``smallest`` is positive.
        condition_W, condition_H: of the diagonal blocks; NaN where one is not positive definite.
        loss_condition_W, loss_condition_H: of the blocks of the loss without decay, modulo zeros;
            NaN where one is not positive semidefinite, or zero.
        doubt: why these numbers cannot be told from zero modes, "" if they can.
    """

    smallest: float
    largest: float
    condition: float
    condition_W: float
    condition_H: float
    loss_condition_W: float
    loss_condition_H: float
    doubt: str


def conditions(model: Any, point: Any, gradient_norm: float) -> Conditions:
    """Condition numbers of the full problem at a critical point with collapsed features.

    kappa = lambda_max / lambda_min, where the dimension of the symmetry orbit says how many
    eigenvalues next to zero are left out; of the loss without decay the smallest nonzero one.
    Source: A-1, A-2, LS-2 and 7.7 of docs/theory.md; derived here.

    Args:
        model: a UFM in its full dimension and with all samples.
        point: merged or full columns, critical to ``gradient_norm``.
        gradient_norm: enters what counts as zero (``ufm.tolerance.zero_tolerance``).

    Returns:
        Conditions.

    Raises:
        InputError: features that are not collapsed.

    Example:
        >>> from ufm import MSE, UFM
        >>> model = UFM(MSE(), 3, 4, lambda_W=0.1, lambda_H=0.1)  # c = 0.3: kappa_W = kappa_H = 1/c
        >>> found = conditions(model, model.minimiser().point, 0.0)
        >>> round(found.condition_W * 0.3, 9), round(found.condition_H * 0.3, 9)
        (1.0, 1.0)
        >>> round(found.loss_condition_W, 9)  # the loss alone is isotropic
        1.0
    """
    parts = reduced(model, point)
    inner = parts.space.point
    nullity = predicted_nullity(model, parts.space.rank, model.d, inner.W @ inner.H, inner.b)
    spectrum = assembled(parts)
    smallest, doubt = _off_orbit(spectrum, nullity, gradient_norm, inner)
    joint = spectrum.largest / smallest if smallest > 0 else np.nan
    blocks = diagonal_blocks(parts)
    decays = float(model.lambda_W), float(model.lambda_H)
    outside = [0.0] * (model.d > len(blocks[0]) // model.num_classes)
    whole = (np.append(x, outside) + decay for x, decay in zip(blocks, decays, strict=True))
    condition_W, condition_H = map(_ratio, whole)
    bare_W, bare_H = map(_nonzero_ratio, blocks)
    return Conditions(
        smallest, spectrum.largest, joint, condition_W, condition_H, bare_W, bare_H, doubt
    )


def _off_orbit(
    spectrum: Spectrum, nullity: int | None, gradient_norm: float, point: Any
) -> tuple[float, str]:
    """The smallest eigenvalue after ``nullity`` ones next to zero are left out, and any doubt."""
    if nullity is None:
        return np.nan, "the dimension of the symmetry orbit is not known"
    values = np.array([level.value for level in spectrum])
    left = np.array([level.multiplicity for level in spectrum])
    explained, zeros = nullity, 0.0
    for i in np.argsort(np.abs(values)):
        taken = min(explained, left[i])
        explained, left[i] = explained - taken, left[i] - taken
        zeros = float(abs(values[i])) if taken else zeros
    rest = values[left > 0]
    gap = float(np.abs(rest).min())
    length = float(np.sqrt(np.sum(point.W**2) + np.sum(point.H**2)))
    size = min(spectrum.size, 2 * int(np.size(point.W)))
    tolerance = zero_tolerance(size, spectrum.radius, gradient_norm, gap, length)[0]
    doubt = ""
    if zeros > tolerance:
        doubt = f"a symmetry explains {nullity} zeros, one of them is {zeros:.1e}"
    elif gap <= SEPARATION * tolerance:
        doubt = f"an eigenvalue of {gap:.1e} is not told from zero"
    return float(rest.min()), doubt


def diagonal_blocks(parts: Reduced) -> tuple[Array, Array]:
    """Distinct eigenvalues of the (W, W) and the (H, H) block of the loss, inside the row space.

    Outside it they are zero, and with decay each is larger by its lambda. It has the directions of
    the rank: one that descent leaves at 1e-6 of the amplitude has eigenvalues of 1e-12, no zeros.

    Example:
        >>> from ufm import MSE, UFM
        >>> model = UFM(MSE(), 2, 2, lambda_W=0.1, lambda_H=0.1)
        >>> at = reduced(model, model.minimiser().point)
        >>> blocks = diagonal_blocks(at)
        >>> [sorted({round(float(x), 9) for x in block}) for block in blocks]  # 0.1 (1 / c - 1)
        [[0.4], [0.4]]
    """
    model = parts.model
    space = row_space(model, parts.space.point)
    rank, (W, H, b) = space.rank, space.point.to_numpy()
    counts = np.asarray(model.counts)
    N, K = float(counts.sum()), len(counts)
    Z = W @ H / np.sqrt(counts) + (0.0 if b is None else b[:, None])
    S = np.asarray(column_hessians(model.loss, Z, np.arange(K)))
    outer = np.einsum("kij,ak,bk->iajb", S, H, H, optimize=True).reshape(K * rank, K * rank)
    own = np.einsum("ia,kij,jb->kab", W, S, W, optimize=True) / N
    return np.linalg.eigvalsh(outer / N), np.linalg.eigvalsh(own).ravel()


def _ratio(values: Array) -> float:
    return float(values.max() / values.min()) if values.min() > 0 else np.nan


def _nonzero_ratio(values: Array) -> float:
    """Largest over smallest nonzero eigenvalue; zero is what rounding makes of it.

    The zeros do not come from being critical, but from shifts of the logits, which the logit
    Hessians of any point have: so the residual of the point does not enter the tolerance.
    """
    if not len(values):
        return np.nan
    top = float(np.abs(values).max())
    zero = zero_tolerance(len(values), top, 0.0, top, 1.0)[0]
    return _ratio(values[np.abs(values) > zero]) if top > 0 else np.nan
