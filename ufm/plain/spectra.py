"""Hessian spectra in closed form at class-symmetric critical points, for any size.

At W H = a P + (s/K) J the Hessian commutes with S_K x S_n^K x O(d'), so it splits into the
isotypic blocks of K x K matrices (trivial, standard V, (K-2,2) and the exterior square of V), the
within-class differences and (d - rank) copies of a 2 x 2 block. Each block is at most 7 x 7; its
entries come from one representative matrix per isotypic copy. The explicit tables in
docs/theory.md (section 7) are special cases, kept as tests.
Source: derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ufm.answers import Code
from ufm.errors import InputError
from ufm.losses.logit_curve import LogitCurve, logit_curve
from ufm.losses.loss import require_smooth
from ufm.plain.minimisers import best_bias
from ufm.spectrum import Spectrum, pair

if TYPE_CHECKING:
    from ufm.plain.model import UFM

Array = NDArray[np.float64]
Levels = list[tuple[float, int, str]]


def minimiser_spectrum(model: UFM) -> Spectrum:
    """The full Hessian spectrum at the closed-form global minimiser of a balanced model.

    Args:
        model: balanced UFM with an equivariant loss and d >= rank of its minimiser.

    Returns:
        A Spectrum whose multiplicities add up to P = K d + d N (+ K).

    Raises:
        InputError: imbalanced counts, no closed form, d too small for it, or a loss with kinks.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 1000, 2048, 1281, lambda_W=5e-6, lambda_H=5e-6)
        >>> minimiser_spectrum(model).size
        2625536000
    """
    return symmetric_spectrum(model, _minimiser_code(model))


def _minimiser_code(model: UFM) -> Code:
    found = model.minimiser()
    if found is None or found.code is None:
        raise InputError(
            "A closed-form spectrum needs balanced counts, an equivariant loss and "
            "d >= K - 1 (d >= K for a frame of full rank)",
            f"d={model.d}, K={model.num_classes}, loss {model.loss.name}",
            "increase d, or run `ufm solve` and `ufm verdict` on the numerical minimiser",
        )
    return found.code


def classifier_spectrum(model: UFM) -> Spectrum:
    """Spectrum of the Hessian with respect to W alone at the closed-form global minimiser.

    Below the threshold: lambda_W outside the features, and one value for each irreducible part
    inside. For cross entropy and label smoothing these are (K - 1)^2 outliers, 7.7 of
    docs/theory.md; for bias-free MSE lambda_W / c, K^2 times. What a network's last layer is held
    against; its bias does not enter.

    Returns:
        A Spectrum whose multiplicities add up to K d.

    Raises:
        InputError: as ``minimiser_spectrum``.

    Example:
        >>> from ufm import MSE, UFM
        >>> model = UFM(MSE(), 3, 5, 4, lambda_W=0.02, lambda_H=0.02)  # c = 0.12
        >>> np.unique(classifier_spectrum(model).expand().round(12), return_counts=True)
        (array([0.02      , 0.16666667]), array([6, 9]))
    """
    require_smooth(model.loss, model.num_classes)
    code = _minimiser_code(model)
    frame = _frame(model, code)
    lw, K = float(model.lambda_W), frame.K
    levels: Levels = [(lw, K * (model.d - code.rank), "outside the features")]
    for name, dimension, W_basis, _, _ in _isotypic_bases(frame, None):
        block = _block(model, frame, W_basis, [], [])
        levels += [(x, dimension, name) for x in np.linalg.eigvalsh(block)]
    return Spectrum.of(levels)


def origin_spectrum(model: UFM) -> Spectrum:
    """The full Hessian spectrum at W = H = 0 with the best common bias (CE-5), balanced counts.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> origin_spectrum(model).count_below(0.0)  # (K - 1) d
        4
    """
    return symmetric_spectrum(model, Code(0.0, 0.0, best_bias(model), model.num_classes))


@dataclass(frozen=True)
class _Frame:
    """The class-symmetric point in matrix form: W -> w_P P + w_J J/K, Hbar likewise, gradient G."""

    K: int
    n: int
    N: int
    use_P: bool
    use_J: bool
    w: tuple[float, float]
    h: tuple[float, float]
    g: tuple[float, float]
    curve: LogitCurve


def symmetric_spectrum(model: UFM, code: Code) -> Spectrum:
    """The full Hessian spectrum at a class-symmetric critical point of a balanced model.

    Raises:
        InputError: d below the rank of the point.
    """
    require_smooth(model.loss, model.num_classes)
    frame = _frame(model, code)
    K, d, rank = frame.K, model.d, code.rank
    if d < rank:
        raise InputError(f"Need d >= rank = {rank}", d, "increase d")
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    levels: Levels = []
    for coupling, multiplicity, name in ((frame.g[0], K - 1, "V"), (frame.g[1], 1, "shift")):
        small, large = pair(lw, lh, coupling)
        levels.append((small, multiplicity * (d - rank), f"complement {name}, rotation"))
        levels.append((large, multiplicity * (d - rank), f"complement {name}, anti-rotation"))
    levels += _within_class(frame, lh, d - rank)
    for name, dimension, W_basis, H_basis, b_basis in _isotypic_bases(frame, model.lambda_b):
        block = _block(model, frame, W_basis, H_basis, b_basis)
        levels += [(x, dimension, f"frame {name}") for x in np.linalg.eigvalsh(block)]
    return Spectrum.of(levels)


def _frame(model: UFM, code: Code) -> _Frame:
    K, n = model.num_classes, model.n
    curve = logit_curve(model.loss, code.a, code.shift, K)
    ratio = (float(model.lambda_H) / float(model.lambda_W)) ** 0.25
    size = np.sqrt(np.sqrt(n) * np.abs([code.a, code.s]))
    scale = np.sqrt(n) / (n * K)
    # On the support of a critical point the gradient is -sigma exactly.
    g_P = -model.sigma if code.a else scale * (curve.own - curve.other)
    g_J = -model.sigma * np.sign(code.s) if code.s else scale * (curve.own + (K - 1) * curve.other)
    w = (ratio * size[0], ratio * size[1])
    h = (np.sign(code.a) * size[0] / ratio, np.sign(code.s) * size[1] / ratio)
    return _Frame(K, n, n * K, code.a != 0, code.s != 0, w, h, (g_P, g_J), curve)


def _within_class(frame: _Frame, lh: float, complement: int) -> Levels:
    """Eigenvalues of A_k = W^T S_k W / N + lambda_H I, each K (n - 1) times."""
    times = frame.K * (frame.n - 1)
    levels: Levels = [(lh, times * complement, "within-class, outside row(W)")]
    if frame.use_P:
        inner = lh + frame.w[0] ** 2 * frame.curve.s2 / frame.N
        levels.append((inner, times * (frame.K - 2), "within-class, inside row(W)"))
    used = np.flatnonzero([frame.use_P, frame.use_J])
    w = np.asarray(frame.w)
    own = np.outer(w, w) * np.asarray(frame.curve.S) / frame.N + lh * np.eye(2)
    for value in np.linalg.eigvalsh(own[np.ix_(used, used)]):
        levels.append((float(value), times, "within-class, own-class direction"))
    return levels


def _isotypic_bases(
    frame: _Frame, lambda_b: float | None
) -> list[tuple[str, int, list[Array], list[Array], list[Array]]]:
    """(name, dimension, unit matrices A1, unit matrices B1, unit bias vectors) of each irrep.

    A1 = A F^T has its rows, and B1 = F B its columns, in the range of the frame.
    """
    K, P_on, J_on = frame.K, frame.use_P, frame.use_J
    one = np.full(K, K**-0.5)
    u = np.zeros(K)
    u[0], u[1] = 0.5**0.5, -(0.5**0.5)
    P = np.eye(K) - np.outer(one, one)
    trivial = [X for on, X in ((P_on, P / np.sqrt(K - 1)), (J_on, np.outer(one, one))) if on]
    bias = lambda_b is not None
    bases = [("trivial", 1, trivial, trivial, [one] if bias else [])]

    diagonal = _double_centred(np.diag(u))
    common = [diagonal / np.linalg.norm(diagonal)] if P_on and K > 2 else []
    u1, one_u = np.outer(u, one), np.outer(one, u)
    W_standard = common + [one_u] * P_on + [u1] * J_on
    H_standard = common + [u1] * P_on + [one_u] * J_on
    bases.append(("standard", K - 1, W_standard, H_standard, [u] if bias else []))
    if P_on and K > 2:
        cycle = np.zeros((K, K))
        for i, j in ((0, 1), (1, 2), (2, 0)):
            cycle[i, j], cycle[j, i] = 6**-0.5, -(6**-0.5)
        bases.append(("rotations", (K - 1) * (K - 2) // 2, [cycle], [cycle], []))
    if P_on and K > 3:
        angle = np.zeros((K, K))
        angle[np.ix_([0, 1], [2, 3])] = [[1, -1], [-1, 1]]
        angle = (angle + angle.T) / np.sqrt(8)
        bases.append(("angles", K * (K - 3) // 2, [angle], [angle], []))
    return bases


def _double_centred(X: Array) -> Array:
    return X - X.mean(axis=0) - X.mean(axis=1)[:, None] + X.mean()


def _block(
    model: UFM, frame: _Frame, W_basis: list[Array], H_basis: list[Array], b_basis: list[Array]
) -> Array:
    """The Hessian on one copy of an irrep: the quadratic form on representative directions."""
    K, root_n = frame.K, np.sqrt(frame.n)
    lw, lh, lb = float(model.lambda_W), float(model.lambda_H), float(model.lambda_b or 0.0)
    moves = [_times(X, frame.h) for X in W_basis]
    moves += [_times(X.T, frame.w).T for X in H_basis]
    moves += [np.repeat(root_n * v[:, None], K, axis=1) for v in b_basis]
    block = _logit_form(moves, frame.curve) / frame.N
    decay = [lw] * len(W_basis) + [lh] * len(H_basis) + [lb] * len(b_basis)
    block += np.diag(decay)
    for i, A in enumerate(W_basis):
        for j, B in enumerate(H_basis, start=len(W_basis)):
            coupling = float(np.sum(_times(A.T, frame.g) * B))  # <G, A B> = <A^T G, B>
            block[i, j] += coupling
            block[j, i] += coupling
    return block


def _times(X: Array, weights: tuple[float, float]) -> Array:
    """X (p P + q J / K) for weights (p, q), without forming the matrix."""
    return weights[0] * X + (weights[1] - weights[0]) * X.mean(axis=1)[:, None]


def _logit_form(moves: list[Array], curve: LogitCurve) -> Array:
    """Sum over classes k of m_k^T S_k m'_k for every pair of moves (columns are classes)."""
    if not moves:
        return np.zeros((0, 0))
    stack = np.stack(moves)
    K = stack.shape[1]
    mean = stack.mean(axis=1)
    along_one = mean * np.sqrt(K)
    own = np.diagonal(stack, axis1=1, axis2=2)
    along_u = (own - mean) * np.sqrt(K / (K - 1))
    flat = stack.reshape(len(stack), -1)
    (s1, cross), (_, shift) = curve.S
    mixed = along_u @ along_one.T
    return (
        curve.s2 * (flat @ flat.T)
        + (s1 - curve.s2) * along_u @ along_u.T
        + (shift - curve.s2) * along_one @ along_one.T
        + cross * (mixed + mixed.T)
    )
