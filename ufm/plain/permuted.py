"""A-6: classes that may be permuted (each with its own w and h) shrink the range block once more.

Groups of classes form a type when exchanging two of them leaves Z = W Hbar, the counts and the
bias unchanged, as all vertices of a simplex ETF. The range block then commutes with the product of
the symmetric groups of the types, and splits into isotypic blocks of a few rows: matrices A V^T and
U B transform as R^G x R^G with R^G = sum of (1_t + V_t) over types t, which holds trivial parts,
standard parts V_t, products V_s x V_t, exterior squares of V_t and (m_t - 2, 2) parts. One
representative matrix per copy gives each block, whatever the number of classes.
Source: derived here (Schur's lemma on the symmetry of the point).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ufm.eigen import eigh
from ufm.plain.blocks import GroupData
from ufm.typing import Array

Indices = NDArray[np.int64]
Levels = list[tuple[float, int, str]]
# Entries of Z that a permutation must reproduce; polished points agree to about 1e-12.
TYPE_TOLERANCE = 1e-9
# Relative singular value below which a projected copy is dependent on the others.
COPY_TOLERANCE = 1e-6


def _swap_distance(Z: Array, i: int, j: int) -> float:
    """Largest entry of Z - Z' where rows and columns i and j of Z' are exchanged."""
    order = np.arange(len(Z))
    order[[i, j]] = j, i
    # Only these two rows and columns move.
    across, down = Z[i] - Z[j, order], Z[:, i] - Z[order, j]
    return float(max(np.abs(across).max(), np.abs(down).max()))


def find_types(data: GroupData, bias: Array, kinds: Array) -> tuple[Indices, ...]:
    """Partition of the groups into types, as index arrays.

    Args:
        data: the quotient problem.
        bias: bias of each group, (G,).
        kinds: kind of the classes of each group, (G,).

    Example:
        The minimiser of a balanced model has one type, its merged saddles one per group size.
    """
    groups = data.W.shape[0]
    Z = data.W @ data.H
    scale = max(float(np.abs(Z).max(initial=0.0)), 1e-300)
    sizes = np.array([len(group) for group in data.groups])
    types: list[list[int]] = []
    for g in range(groups):
        for members in types:
            first = members[0]
            alike = sizes[g] == sizes[first] and kinds[g] == kinds[first]
            alike = alike and abs(bias[g] - bias[first]) <= TYPE_TOLERANCE * (1 + abs(bias[g]))
            if alike and _swap_distance(Z, first, g) <= TYPE_TOLERANCE * scale:
                members.append(g)
                break
        else:
            types.append([g])
    return tuple(np.array(members) for members in types)


@dataclass(frozen=True)
class _Irrep:
    """A representation: its name, dimension, and one representative matrix or vector per copy."""

    name: str
    dimension: int
    matrices: list[Array]
    vectors: list[Array]


def _irreps(types: tuple[Indices, ...], groups: int) -> list[_Irrep]:
    """Every irreducible part of R^G x R^G + R^G under the product of the symmetric groups."""

    def vector(indices: Indices, entries: list[float]) -> Array:
        out = np.zeros(groups)
        out[indices[: len(entries)]] = entries
        return out / np.linalg.norm(out)

    ones = [vector(members, [1.0] * len(members)) for members in types]
    several = [t for t, members in enumerate(types) if len(members) > 1]
    steps = {t: vector(types[t], [1.0, -1.0]) for t in several}
    trivial = [np.outer(a, b) for a in ones for b in ones]
    for t in several:
        diagonal = np.zeros((groups, groups))
        diagonal[types[t], types[t]] = 1.0
        trivial.append(diagonal - np.outer(ones[t], ones[t]))
    parts = [_Irrep("trivial", 1, trivial, ones)]
    for t in several:
        size, members = len(types[t]), types[t]
        copies = [np.outer(steps[t], a) for a in ones] + [np.outer(a, steps[t]) for a in ones]
        if size > 2:
            centre = np.zeros((groups, groups))
            centre[members, members] = 1.0
            centre -= np.outer(ones[t], ones[t])
            copies.append(centre @ np.diag(steps[t]) @ centre)
        parts.append(_Irrep("standard", size - 1, copies, [steps[t]]))
        if size > 2:
            a, b, c = members[:3]
            cycle = np.zeros((groups, groups))
            cycle[[a, b, c], [b, c, a]] = 1.0
            dimension = (size - 1) * (size - 2) // 2
            parts.append(_Irrep("rotations", dimension, [cycle - cycle.T], []))
        if size > 3:
            angle = np.zeros((groups, groups))
            i, j, k, m = members[:4]
            angle[[i, i, j, j], [k, m, k, m]] = [1, -1, -1, 1]
            parts.append(_Irrep("angles", size * (size - 3) // 2, [angle + angle.T], []))
    for s, t in combinations(several, 2):
        both = [np.outer(steps[s], steps[t]), np.outer(steps[t], steps[s])]
        dimension = (len(types[s]) - 1) * (len(types[t]) - 1)
        parts.append(_Irrep("mixed", dimension, both, []))
    return parts


def range_levels(data: GroupData, types: tuple[Indices, ...]) -> Levels:
    """The spectrum of the group-constant range block from isotypic blocks.

    Args:
        data: the quotient problem, with a non-zero W Hbar.
        types: from ``find_types``.

    Returns:
        (value, multiplicity, block name); multiplicities add up to ``data.size``.
    """
    groups, rank = data.W.shape
    U, values, Vt = np.linalg.svd(data.W @ data.H)
    U, V = U[:, :rank], Vt[:rank].T
    lw, lh, lb = data.decays
    ratio = (lh / lw) ** 0.25
    roots = np.sqrt(values[:rank])
    left, right = (ratio * U * roots) @ U.T, (V * (roots / ratio)) @ V.T
    onto_U, onto_V, turn = U @ U.T, V @ V.T, V @ U.T
    bias_columns = np.sqrt(data.counts)
    levels: Levels = []
    for part in _irreps(types, groups):
        A = _independent([X @ onto_V for X in part.matrices])
        B = _independent([onto_U @ X for X in part.matrices])
        biases = part.vectors if lb is not None else []
        moves = [X @ right for X in A] + [left @ X for X in B]
        moves += [np.outer(v, bias_columns) for v in biases]
        if not moves:
            continue
        stack = np.stack(moves)
        images = np.einsum("kij,pjk->pik", data.S, stack, optimize=True)
        block = np.tensordot(stack, images, axes=([1, 2], [1, 2])) / data.num_samples
        decay = [lw] * len(A) + [lh] * len(B) + [lb or 0.0] * len(biases)
        block += np.diag(decay)
        for i, X in enumerate(A):
            for j, Y in enumerate(B, start=len(A)):
                coupling = float(np.sum((X.T @ data.G) * (turn @ Y)))  # <G, A B>
                block[i, j] += coupling
                block[j, i] += coupling
        levels += [(x, part.dimension, f"range, {part.name}") for x in np.linalg.eigvalsh(block)]
    return levels


def _independent(matrices: list[Array]) -> list[Array]:
    """An orthonormal basis of the span of a few matrices."""
    if not matrices:
        return []
    flat = np.stack([X.ravel() for X in matrices])
    gram_values, gram_vectors = eigh(flat @ flat.T)
    kept = gram_values > COPY_TOLERANCE * max(1.0, float(gram_values[-1]))
    basis = (gram_vectors[:, kept] / np.sqrt(gram_values[kept])).T @ flat
    return [row.reshape(matrices[0].shape) for row in basis]
