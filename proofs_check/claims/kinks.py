"""Minima at kinks: what the objective does along the surface where pieces meet (DR-5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.instance import Instance
from proofs_check.law import Law
from ufm.models.seli import seli, simplex_encoded_labels
from ufm.typing import Array

STEP = 1e-3  # of second differences, extrapolated: truncation 1e-12, rounding 1e-9


@dataclass(frozen=True)
class Meeting(Instance):
    """Simplex-encoded labels, where all margins meet their kinks: class sizes and dimension."""

    counts: tuple[int, ...]
    d: int
    kind: str = "margins at their kinks"

    @property
    def columns(self) -> dict[str, object]:
        """The sizes and d."""
        return {"counts": self.counts, "d": self.d}

    @property
    def label(self) -> str:
        """The numbers in words."""
        return f"{self.kind}, counts {','.join(map(str, self.counts))}, d={self.d}"


def meetings(quick: bool = False) -> tuple[Meeting, ...]:
    """Two and three classes, dimensions used and idle."""
    chosen = (((2, 1), 2), ((3, 2, 1), 2), ((1, 2, 1), 3), ((4, 1), 3))
    return tuple(Meeting(*setting) for setting in chosen[: 2 if quick else None])


def _start(instance: Meeting) -> tuple[Array, Array]:
    return simplex_encoded_labels(d=instance.d, counts=instance.counts)[0][:2]


def _missing(instance: Meeting, x: Array) -> tuple[Array, Array]:
    """1 - margins of all samples, and their derivatives (m, P), by hand."""
    K, d = len(instance.counts), instance.d
    W, H = x[: K * d].reshape(K, d), x[K * d :].reshape(d, -1)
    labels = np.repeat(np.arange(K), instance.counts)
    values, rows = [], []
    for i, k in enumerate(labels):
        for j in range(K):
            if j != k:
                slope_W, slope_H = np.zeros_like(W), np.zeros_like(H)
                slope_W[k], slope_W[j], slope_H[:, i] = -H[:, i], H[:, i], W[j] - W[k]
                values.append(1 - (W[k] - W[j]) @ H[:, i])
                rows.append(np.concatenate([slope_W.ravel(), slope_H.ravel()]))
    return np.array(values), np.array(rows)


@cache
def _surface(instance: Meeting) -> tuple[Array, Array]:
    """The point as a vector, and an orthonormal basis of the tangents of the surface there."""
    x = np.concatenate([part.ravel() for part in _start(instance)])
    normals = _missing(instance, x)[1]
    return x, np.linalg.svd(normals)[2][len(normals) :].T


def _rise(instance: Meeting, move: Array) -> float:
    """The objective at the point of the surface beside the moved one: all of it is norms."""
    x = _surface(instance)[0] + move
    for _ in range(30):
        u, normals = _missing(instance, x)
        if np.abs(u).max() < 1e-15:
            break
        x = x - np.linalg.lstsq(normals, u, rcond=None)[0]
    W = x[: len(instance.counts) * instance.d].reshape(-1, instance.d)
    H = x[W.size :].reshape(instance.d, -1)
    model = seli(d=instance.d, counts=instance.counts, price=1.0)
    labels, Z = np.repeat(np.arange(len(W)), instance.counts), W @ H
    own = Z[labels, np.arange(Z.shape[1])]
    missed = np.maximum(0, 1 - own + Z).sum() - len(labels)
    return float(x @ x / 2 + float(model.price) * missed)


def _seen(instance: Meeting) -> Array:
    """Eigenvalues of second differences of the objective along the surface."""
    basis, zero = _surface(instance)[1], np.zeros(len(_surface(instance)[0]))
    here = _rise(instance, zero)

    def bend(v: Array) -> float:
        steps = [
            (_rise(instance, h * v) + _rise(instance, -h * v) - 2 * here) / h**2
            for h in (STEP * 10, STEP * 5)
        ]
        return (4 * steps[1] - steps[0]) / 3

    m = basis.shape[1]
    alone = [bend(v) for v in basis.T]
    form = np.diag(alone)
    for i in range(m):
        for j in range(i):
            both = bend(basis[:, i] + basis[:, j])
            form[i, j] = form[j, i] = (both - alone[i] - alone[j]) / 2
    return np.asarray(np.linalg.eigvalsh(form))


# ---- formulas


def along(counts: tuple[int, ...], d: int, tangents: Array) -> Array:
    """Eigenvalues of I - [0, B; B^T, 0] on the tangents: slopes are the multipliers of margins."""
    n = np.asarray(counts, dtype=float)
    K, roots = len(n), np.sqrt(n)
    left, _, right = np.linalg.svd(np.diag(roots) - roots / K)
    pull = np.repeat(left[:, :-1] @ right[:-1] / roots, np.asarray(counts), axis=1)
    cut = K * d
    hessian = np.eye(len(tangents))
    hessian[:cut, cut:] = -np.einsum("ki,ab->kabi", pull, np.eye(d)).reshape(cut, pull.shape[1] * d)
    hessian[cut:, :cut] = hessian[:cut, cut:].T
    return np.asarray(np.linalg.eigvalsh(tangents.T @ hessian @ tangents))


def _along_without_slopes(counts: tuple[int, ...], d: int, tangents: Array) -> Array:
    return np.ones(tangents.shape[1])


GIVEN = {"tangents": lambda instance: _surface(instance)[1]}

CLAIMS = (
    Claim(
        id="curvature-along-kinks",
        title="Minima at kinks: curvature along the surface",
        statement="Where pieces meet, index and nullity of the objective are those of the smooth "
        "function with lines for the kinks, along the surface on which they stay.",
        latex=r"v^\top\nabla^2_x\mathcal L\,v,\quad\nabla u\cdot v=0",
        source="DR-5; derived here",
        region=meetings,
        check=Law(along, _seen, GIVEN),
        tolerance=Tolerance(1e-6, "second differences of step 1e-2 and 5e-3, extrapolated"),
        mutant=Mutant("no slopes at the kinks", Law(_along_without_slopes, _seen, GIVEN)),
    ),
)
