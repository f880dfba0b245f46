"""Equilibrium layers: blocks of the Hessian at any point (DQ-4)."""

from __future__ import annotations

from functools import cache

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.losses import MSE, CrossEntropy, Loss
from ufm.models.equilibrium import Equilibrium, Layer, equilibrium
from ufm.typing import Array

SOURCE = "DQ-4; derived here"
STEP = 1e-4  # of central differences of a gradient: truncation 1e-8, rounding 1e-12

# Loss, K, d, used dimensions, n, and the three decays.
_SETTINGS: tuple[tuple[Loss, int, int, int, int, float, float, float], ...] = (
    (CrossEntropy(), 3, 4, 2, 2, 0.02, 0.7, 0.03),
    (MSE(), 2, 5, 3, 3, 0.05, 0.4, 0.06),
    (CrossEntropy(), 4, 3, 2, 1, 0.01, 1.3, 0.04),
)


def _point(model: Equilibrium, used: int, seed: int) -> PlainSpecimen:
    """A random point that leaves dimensions idle, inputs of a class alike; it is not critical."""
    rng, (K, d) = np.random.default_rng((83, seed)), (model.num_classes, model.d)
    W, V, X = np.zeros((K, d)), np.zeros((d, d)), np.zeros((d, K))
    W[:, :used], V[:used, :used] = rng.normal(size=(K, used)), 0.2 * rng.normal(size=(used, used))
    X[:used] = rng.normal(size=(used, K))
    return Specimen(model, Layer(W, V, np.repeat(X, model.counts_tuple, axis=1)), "random")


def _again(listed: PlainSpecimen, model: Equilibrium, seed: int) -> PlainSpecimen | None:
    used = _used(listed)
    return _point(model, used, seed + len(_SETTINGS)) if model.d > used else None


@redrawn_by(_again)
@cache
def points(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Random points, which are not critical, that leave some dimensions idle; classes collapsed."""
    found = []
    for seed, (loss, K, d, used, n, *rest) in enumerate(_SETTINGS[: 2 if quick else None]):
        model = equilibrium(loss, K, d, n, rest[0], rest[1], rest[2])
        found.append(_point(model, used, seed))
    return tuple(found)


def _used(specimen: PlainSpecimen) -> int:
    return int(np.sum(np.abs(specimen.point.W).max(axis=0) > 0))


def gradient(specimen: PlainSpecimen, x: Array) -> Array:
    """The gradient by hand, of all coordinates in one vector."""
    model, K, d = specimen.model, specimen.model.num_classes, specimen.model.d
    Y = np.eye(K)[:, np.asarray(model.labels)]
    W, V, X = x[: K * d].reshape(K, d), x[K * d : K * d + d * d].reshape(d, d), x[K * d + d * d :]
    T = np.linalg.inv(np.eye(d) - V)
    H = T @ X.reshape(d, -1)
    G = _slope(specimen, W @ H, Y)
    back = T.T @ W.T @ G
    parts = (
        G @ H.T + float(model.lambda_W) * W,
        back @ H.T + float(model.lambda_V) * V,
        back + float(model.lambda_X) * X.reshape(d, -1),
    )
    return np.concatenate([part.ravel() for part in parts])


def _slope(specimen: PlainSpecimen, Z: Array, Y: Array) -> Array:
    if specimen.model.loss.name == "mse":
        return np.asarray((Z - Y) / Y.shape[1])
    mass = np.exp(Z)
    return np.asarray((mass / mass.sum(axis=0) - Y) / Y.shape[1])


def _curvature(specimen: PlainSpecimen, moves: Array) -> Array:
    """Eigenvalues of the Hessian on moves (P, m) that are orthonormal, by differences."""
    x = np.concatenate([np.ravel(part) for part in specimen.point])
    columns = [
        (gradient(specimen, x + STEP * v) - gradient(specimen, x - STEP * v)) / (2 * STEP)
        for v in moves.T
    ]
    small = moves.T @ np.array(columns).T
    return np.asarray(np.linalg.eigvalsh((small + small.T) / 2))


def _outside(specimen: PlainSpecimen) -> Array:
    """Curvature of moves of one idle dimension with the used ones."""
    model, r, q = specimen.model, _used(specimen), _used(specimen)
    like, places = [np.zeros_like(part) for part in specimen.point], []
    W, V, X = (np.arange(part.size).reshape(part.shape) for part in like)
    offsets = np.cumsum([0, like[0].size, like[1].size])
    places += list(W[:, q]) + list(offsets[1] + V[:r, q]) + list(offsets[1] + V[q, :r])
    places += list(offsets[2] + X[q])
    moves = np.eye(sum(part.size for part in like))[:, places]
    return _curvature(specimen, moves) if model.d > r else np.zeros(0)


def _within(specimen: PlainSpecimen) -> Array:
    """Curvature of moves of the inputs of the first class that leave its mean alone."""
    (K, d), n = specimen.point.W.shape, specimen.model.counts_tuple[0]
    N = specimen.point.X.shape[1]
    apart = np.zeros((N, n - 1))
    apart[:n] = np.linalg.qr(np.eye(n) - 1 / n)[0][:, : n - 1]
    moves = np.zeros((K * d + d * d + d * N, d * (n - 1)))
    moves[K * d + d * d :] = np.kron(np.eye(d), apart)
    return _curvature(specimen, moves) if n > 1 else np.zeros(0)


def _parts(specimen: PlainSpecimen) -> tuple[Array, Array, Array]:
    """G, W T and T X in the used dimensions."""
    r, (W, V, X) = _used(specimen), specimen.point
    T = np.linalg.inv(np.eye(r) - V[:r, :r])
    Y = np.eye(len(W))[:, np.asarray(specimen.model.labels)]
    return _slope(specimen, W[:, :r] @ T @ X[:r], Y), W[:, :r] @ T, T @ X[:r]


def _first_class(specimen: PlainSpecimen) -> Array:
    """Logit Hessian of the loss at the first class."""
    Z = _parts(specimen)[1] @ specimen.point.X[: _used(specimen), 0]
    if specimen.model.loss.name == "mse":
        return np.eye(len(Z))
    p = np.exp(Z) / np.exp(Z).sum()
    return np.asarray(np.diag(p) - np.outer(p, p))


# ---- formulas

GIVEN = {
    "G": lambda s: _parts(s)[0],
    "WT": lambda s: _parts(s)[1],
    "TX": lambda s: _parts(s)[2],
    "S": _first_class,
    "copies": lambda s: s.model.counts_tuple[0] - 1,
}


def outside(
    lambda_W: float, lambda_V: float, lambda_X: float, G: Array, WT: Array, TX: Array
) -> Array:
    """Eigenvalues of the form in a, u, p, b of one idle dimension."""
    (K, N), r = G.shape, len(TX)
    left = np.concatenate([np.eye(K), WT.T])
    right = np.concatenate([TX, np.eye(N)])
    decays = np.repeat([lambda_W, lambda_V, lambda_V, lambda_X], [K, r, r, N])
    coupling = np.zeros((K + 2 * r + N, K + 2 * r + N))
    coupling[: K + r, K + r :] = left @ G @ right.T
    return np.linalg.eigvalsh(np.diag(decays) + coupling + coupling.T)


def _outside_of_plain(
    lambda_W: float, lambda_V: float, lambda_X: float, G: Array, WT: Array, TX: Array
) -> Array:
    return outside(lambda_W, lambda_V, lambda_X, G, 0 * WT, TX)


def within(N: int, copies: int, d: int, lambda_X: float, WT: Array, S: Array) -> Array:
    """lambda_X + T^T W^T S W T / N, n - 1 times, and lambda_X on idle dimensions."""
    told = np.zeros(d)
    told[: WT.shape[1]] = np.linalg.eigvalsh(WT.T @ S @ WT / N)
    return np.sort(np.repeat(lambda_X + told, copies))


def _within_of_one(N: int, copies: int, d: int, lambda_X: float, WT: Array, S: Array) -> Array:
    return within(1, copies, d, lambda_X, WT, S)


_DIFFERENCES = Tolerance(1e-6, "central differences of step 1e-4 leave 1e-8")

CLAIMS = (
    Claim(
        id="equilibrium-idle-dimensions",
        title="Equilibrium layers: curvature of idle dimensions",
        statement="At every point an idle dimension has a block of its own in the Hessian, in "
        "which the logits' slope couples what leaves it with what enters it.",
        latex=r"\lambda_W|a|^2+\lambda_V|u|^2+\lambda_X|b|^2+\lambda_V|p|^2"
        r"+2(a+WTu)^\top G(b+(TX)^\top p)",
        source=SOURCE,
        region=points,
        check=Law(outside, _outside, GIVEN),
        tolerance=_DIFFERENCES,
        mutant=Mutant("without the layer on the left", Law(_outside_of_plain, _outside, GIVEN)),
    ),
    Claim(
        id="equilibrium-within-classes",
        title="Equilibrium layers: curvature within classes",
        statement="Where inputs of a class agree, moves that leave their mean alone see the layer "
        "and the loss's curvature.",
        latex=r"\lambda_X+T^\top W^\top S_kWT/N",
        source=SOURCE,
        region=points,
        check=Law(within, _within, GIVEN),
        tolerance=_DIFFERENCES,
        mutant=Mutant("one sample in all", Law(_within_of_one, _within, GIVEN)),
    ),
)
