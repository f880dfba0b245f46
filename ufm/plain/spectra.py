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
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm.answers import Code
from ufm.errors import InputError
from ufm.losses.logit_curve import LogitCurve, logit_curve
from ufm.losses.loss import require_smooth
from ufm.plain.minimisers import best_bias
from ufm.spectrum import Spectrum, pair
from ufm.typing import Array

if TYPE_CHECKING:
    from ufm.plain.model import UFM

Levels = list[tuple[float, int, str]]
# lambda_W, lambda_H and lambda_b, numbers or arrays of many models; None without bias.
Decays = tuple[Any, Any, Any]


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
        block = _block(_decays(model), frame, W_basis, [], [])
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
    """The class-symmetric point in matrix form: W -> w_P P + w_J J/K, Hbar likewise, gradient G.

    Numbers may be arrays of many models, with one K and one support.
    """

    K: int
    n: Any
    N: Any
    use_P: bool
    use_J: bool
    w: tuple[Any, Any]
    h: tuple[Any, Any]
    g: tuple[Any, Any]
    curve: LogitCurve


def symmetric_spectrum(model: UFM, code: Code) -> Spectrum:
    """The full Hessian spectrum at a class-symmetric critical point of a balanced model.

    Raises:
        InputError: d below the rank of the point.
    """
    require_smooth(model.loss, model.num_classes)
    if model.d < code.rank:
        raise InputError(f"Need d >= rank = {code.rank}", model.d, "increase d")
    return Spectrum.of(_levels(_frame(model, code), model.d, _decays(model)))


def symmetric_levels(
    curve: LogitCurve, num_classes: int, n: Any, d: Any, code: tuple[Any, Any], decays: Decays
) -> tuple[Array, Array]:
    """The levels of ``symmetric_spectrum`` for many models at once.

    Args:
        curve: of their losses at their codes, as arrays (``logit_curves``).
        num_classes: K, the same for all.
        n: samples per class, an array.
        d: feature dimensions, an array.
        code: (a, s) of the logits W H, an array each; all are zero, or none is.
        decays: lambda_W, lambda_H and lambda_b, an array each, or None without bias.

    Returns:
        Values and multiplicities, (levels, models); a level that a model lacks has multiplicity 0.

    Example:
        >>> from ufm.losses import CrossEntropy
        >>> from ufm.losses.logit_curve import logit_curves
        >>> from ufm.stack import stack
        >>> one, a = np.ones(1), np.log([17.0])  # c = 0.2
        >>> curve = logit_curves(stack([CrossEntropy()]), a, 0 * a, 4)
        >>> decays = (0.05 * one, 0.05 * one, None)
        >>> values, times = symmetric_levels(curve, 4, one, 6 * one, (a, 0 * a), decays)
        >>> int(times.sum()), int(times[np.abs(values) < 1e-12].sum())  # 3 + 3 (6 - 3) rotations
        (48, 12)
    """
    frame = _frame_of(curve, num_classes, n, code, decays)
    levels = _levels(frame, d, decays)
    values, times, _ = zip(*levels, strict=True)
    return np.stack(values), np.stack([np.broadcast_to(x, np.shape(n)) for x in times])


def _levels(frame: _Frame, d: Any, decays: Decays) -> list[tuple[Any, Any, str]]:
    lw, lh, lb = decays
    K, rank = frame.K, (frame.K - 1) * frame.use_P + frame.use_J
    levels: list[tuple[Any, Any, str]] = []
    for coupling, multiplicity, name in ((frame.g[0], K - 1, "V"), (frame.g[1], 1, "shift")):
        small, large = pair(lw, lh, coupling)
        levels.append((small, multiplicity * (d - rank), f"complement {name}, rotation"))
        levels.append((large, multiplicity * (d - rank), f"complement {name}, anti-rotation"))
    levels += _within_class(frame, lh, d - rank)
    for name, dimension, W_basis, H_basis, b_basis in _isotypic_bases(frame, lb):
        block = _block(decays, frame, W_basis, H_basis, b_basis)
        levels += [(x, dimension, f"frame {name}") for x in _eigenvalues(block)]
    return levels


def _eigenvalues(block: Array) -> Array:
    """Eigenvalues (size, ...) of symmetric matrices (..., size, size)."""
    return np.moveaxis(np.asarray(np.linalg.eigvalsh(block), np.float64), -1, 0)


def _decays(model: UFM) -> Decays:
    lambda_b = None if model.lambda_b is None else float(model.lambda_b)
    return float(model.lambda_W), float(model.lambda_H), lambda_b


def _frame(model: UFM, code: Code) -> _Frame:
    K = model.num_classes
    curve = logit_curve(model.loss, code.a, code.shift, K)
    return _frame_of(curve, K, model.n, (code.a, code.s), _decays(model))


def _frame_of(curve: LogitCurve, K: int, n: Any, code: tuple[Any, Any], decays: Decays) -> _Frame:
    lw, lh, _ = decays
    a, s = code
    ratio, sigma = (lh / lw) ** 0.25, np.sqrt(lw * lh)
    size = np.sqrt(np.sqrt(n) * np.abs([a, s]))
    scale = np.sqrt(n) / (n * K)
    use_P, use_J = bool(np.any(a)), bool(np.any(s))
    # On the support of a critical point the gradient is -sigma exactly.
    g_P = -sigma * np.sign(a) if use_P else scale * (curve.own - curve.other)
    g_J = -sigma * np.sign(s) if use_J else scale * (curve.own + (K - 1) * curve.other)
    w = (ratio * size[0], ratio * size[1])
    h = (np.sign(a) * size[0] / ratio, np.sign(s) * size[1] / ratio)
    return _Frame(K, n, n * K, use_P, use_J, w, h, (g_P, g_J), curve)


def _within_class(frame: _Frame, lh: Any, complement: Any) -> list[tuple[Any, Any, str]]:
    """Eigenvalues of A_k = W^T S_k W / N + lambda_H I, each K (n - 1) times."""
    times = frame.K * (frame.n - 1)
    levels: list[tuple[Any, Any, str]] = [(lh, times * complement, "within-class, outside row(W)")]
    if frame.use_P:
        inner = lh + frame.w[0] ** 2 * frame.curve.s2 / frame.N
        levels.append((inner, times * (frame.K - 2), "within-class, inside row(W)"))
    used = np.flatnonzero([frame.use_P, frame.use_J])
    w = np.asarray(frame.w)[used]
    own = w[:, None] * w * np.asarray(frame.curve.S)[np.ix_(used, used)] / frame.N
    for i in range(len(used)):
        own[i, i] += lh
    for value in _eigenvalues(np.moveaxis(own, (0, 1), (-2, -1))):
        levels.append((value, times, "within-class, own-class direction"))
    return levels


def _isotypic_bases(
    frame: _Frame, lambda_b: Any
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
    decays: Decays,
    frame: _Frame,
    W_basis: list[Array],
    H_basis: list[Array],
    b_basis: list[Array],
) -> Array:
    """The Hessian on one copy of an irrep: the quadratic form on representative directions."""
    K, root_n = frame.K, np.sqrt(frame.n)
    moves = [_times(X, frame.h) for X in W_basis]
    moves += [np.swapaxes(_times(X.T, frame.w), -1, -2) for X in H_basis]
    moves += [_matrix(root_n) * v[:, None] * np.ones(K) for v in b_basis]
    block = _logit_form(moves, frame.curve) / _matrix(frame.N)
    kinds = (W_basis, H_basis, b_basis)
    priced = [x for x, kind in zip(decays, kinds, strict=True) for _ in kind]
    for i, decay in enumerate(priced):
        block[..., i, i] += decay
    for i, A in enumerate(W_basis):
        for j, B in enumerate(H_basis, start=len(W_basis)):
            coupling = np.sum(_times(A.T, frame.g) * B, axis=(-2, -1))  # <G, A B> = <A^T G, B>
            block[..., i, j] += coupling
            block[..., j, i] += coupling
    return block


def _matrix(numbers: Any) -> Array:
    """Numbers of many models as factors of their matrices."""
    return np.asarray(numbers, np.float64)[..., None, None]


def _times(X: Array, weights: tuple[Any, Any]) -> Array:
    """X (p P + q J / K) for weights (p, q), without forming the matrix."""
    p, q = (_matrix(x) for x in weights)
    return np.asarray(p * X + (q - p) * X.mean(axis=1)[:, None])


def _logit_form(moves: list[Array], curve: LogitCurve) -> Array:
    """Sum over classes k of m_k^T S_k m'_k for every pair of moves (columns are classes)."""
    if not moves:
        return np.zeros((0, 0))
    stack = np.stack(np.broadcast_arrays(*moves), axis=-3)
    K = stack.shape[-1]
    mean = stack.mean(axis=-2)
    along_one = mean * np.sqrt(K)
    own = np.diagonal(stack, axis1=-2, axis2=-1)
    along_u = (own - mean) * np.sqrt(K / (K - 1))
    flat = stack.reshape(*stack.shape[:-2], K * K)

    def gram(x: Array, y: Array) -> Array:
        return np.asarray(x @ np.swapaxes(y, -1, -2))

    (s1, cross), (_, shift) = ((_matrix(x) for x in row) for row in curve.S)
    s2, mixed = _matrix(curve.s2), gram(along_u, along_one)
    return np.asarray(
        s2 * gram(flat, flat)
        + (s1 - s2) * gram(along_u, along_u)
        + (shift - s2) * gram(along_one, along_one)
        + cross * (mixed + np.swapaxes(mixed, -1, -2))
    )
