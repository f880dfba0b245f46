"""Symmetries of points and the subspaces that they fix, against whole groups."""

from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from landscape.flows.descent import (
    automorphisms,
    fixed_space,
)
from tests.helpers import Problem, naive_cross_entropy
from ufm.point import flatten, unflatten

pytestmark = pytest.mark.xdist_group("atlas")


def group_of(Z, counts, b):
    return [
        p
        for p in permutations(range(len(Z)))
        if np.abs(Z[np.ix_(p, p)] - Z).max() < 1e-9
        and list(np.take(counts, p)) == list(counts)
        and (b is None or np.abs(np.take(b, p) - b).max() < 1e-9)
    ]


def generated(generators, K):
    found = {tuple(range(K))}
    while new := {tuple(p[i] for i in q) for p in found for q in generators} - found:
        found |= new
    return found


w = np.array([2.0, 1, 0, -1, -2])
RING = np.array([[np.cos(2 * np.pi * (i - j) / 5) for j in range(5)] for i in range(5)])
SYMMETRIC = {
    "all": (np.eye(5), [1] * 5, None),
    "two counts": (np.eye(5), [2, 1, 2, 1, 1], None),
    "mirror": (np.outer(w, w), [1] * 5, None),
    "ring": (RING, [1] * 5, None),
    "bias": (np.eye(5), [1] * 5, [0.3, 0.3, -1, 0.3, -1]),
    "none": (np.diag(w), [1] * 5, None),
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_generators_give_the_whole_group(name):
    Z, counts, b = SYMMETRIC[name]
    whole = group_of(Z, counts, b)
    assert generated(automorphisms(Z, counts, b), 5) == set(whole)
    assert (len(whole) == 1) == (name == "none")


def projector(Z, W, H, b, counts):
    """The mean of all symmetries as matrices on (W, H, b): projects onto what they fix."""
    K, r = W.shape
    stack = np.concatenate([W, H.T])
    total, group = 0.0, group_of(Z, counts, b)
    for p in map(list, group):
        R = np.linalg.lstsq(stack, np.concatenate([W[p], H.T[p]]), rcond=None)[0]
        assert_allclose(R @ R.T, np.eye(r), atol=1e-8)
        half, shift = np.kron(np.eye(K)[p], R), np.eye(K)[p]
        zero = np.zeros_like(half)
        L = np.block([[half, zero], [zero, half]])
        if b is not None:
            L = np.block([[L, np.zeros((len(L), K))], [np.zeros((K, len(L))), shift]])
        total = total + L / len(group)
    # Points have H by rows.
    rows = np.arange(len(total))
    rows[K * r : 2 * K * r] = K * r + np.arange(K * r).reshape(K, r).T.ravel()
    return total[np.ix_(rows, rows)]


def test_fixed_spaces_are_those_of_the_whole_group(four, skew):
    sizes = []
    for orbit in (*four.orbits, *skew.orbits):
        if not orbit.rank:
            continue
        basis = fixed_space(orbit.model, orbit.point)
        W, H, b = orbit.point
        mean = projector(orbit.Z, W, H, b, orbit.model.counts)
        assert_allclose(basis @ basis.T, mean, atol=1e-8)
        sizes.append(basis.shape[1])
    assert min(sizes) == 2  # the simplex: lengths of W and H
    assert len(set(sizes)) > 3


def test_the_gradient_stays_in_the_fixed_space_and_leaves_others(four):
    orbit = next(o for o in four.orbits if o.label == "merged 2|1|1" and o.rank == 2)
    basis = fixed_space(orbit.model, orbit.point)
    problem = Problem.of(naive_cross_entropy(), [1] * 4, 2, 0.02, 0.02)
    rng = np.random.default_rng(0)

    def outside(columns):
        point = unflatten(columns @ rng.normal(size=columns.shape[1]), orbit.point)
        slope = problem.unpack(problem.value_and_gradient(problem.pack(point))[1])
        x = flatten(slope)
        return np.linalg.norm(x - columns @ (columns.T @ x)) / np.linalg.norm(x)

    assert outside(basis) < 1e-12
    assert outside(np.linalg.qr(rng.normal(size=basis.shape))[0]) > 1e-3
