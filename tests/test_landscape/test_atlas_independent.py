"""Lists against a search that shares no code with them: SciPy's root on gradients written by hand.

Cross-entropy with classes of n_k samples, features eliminated or not: only NumPy and SciPy here.
Orbits are told apart by fingerprints: objective, and moments of Z that no relabelling changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from landscape.atlas import Status, atlas
from tests.helpers import slow
from ufm import UFM, CrossEntropy

pytestmark = pytest.mark.xdist_group("atlas")


@dataclass(frozen=True)
class Problem:
    """f(W, h) = sum_k n_k/N [lse(W h_k) - (W h_k)_k] + lw |W|^2 / 2 + lh sum_k n_k |h_k|^2 / 2."""

    counts: tuple[int, ...]
    lw: float
    lh: float
    rank: int

    def split(self, x):
        K, r = len(self.counts), self.rank
        return x[: K * r].reshape(K, r), x[K * r :].reshape(K, r)

    def value(self, x):
        W, h = self.split(x)
        n = np.array(self.counts, float)
        Z = h @ W.T
        top = Z.max(axis=1)
        lse = top + np.log(np.exp(Z - top[:, None]).sum(axis=1))
        loss = n / n.sum() @ (lse - np.diag(Z))
        return loss + self.lw * np.sum(W**2) / 2 + self.lh * (n @ np.sum(h**2, axis=1)) / 2

    def softmax(self, W, h):
        Z = h @ W.T
        P = np.exp(Z - Z.max(axis=1, keepdims=True))
        return P / P.sum(axis=1, keepdims=True)

    def gradient(self, x):
        W, h = self.split(x)
        n = np.array(self.counts, float)
        G = (self.softmax(W, h) - np.eye(len(n))) * (n / n.sum())[:, None]
        slope = G.T @ h + self.lw * W, G @ W + self.lh * n[:, None] * h
        return np.concatenate([part.ravel() for part in slope])

    def hessian(self, x):
        W, h = self.split(x)
        n, (K, r) = np.array(self.counts, float), W.shape
        P, share = self.softmax(W, h), n / n.sum()
        S = share[:, None, None] * (
            np.einsum("ki,ij->kij", P, np.eye(K)) - P[:, :, None] * P[:, None]
        )
        G = (P - np.eye(K)) * share[:, None]
        A = np.einsum("kij,ka,kc->iajc", S, h, h).reshape(K * r, K * r) + self.lw * np.eye(K * r)
        B = np.einsum("kij,jc,ka->iakc", S, W, h)
        B += np.einsum("ki,ac->iakc", G, np.eye(r))
        B = B.reshape(K * r, K * r)
        C = np.zeros((K, r, K, r))
        for k in range(K):
            C[k, :, k] = W.T @ S[k] @ W + self.lh * n[k] * np.eye(r)
        return np.block([[A, B], [B.T, C.reshape(K * r, K * r)]])

    def fingerprint(self, x):
        """Numbers that agree within an orbit: classes with equal n_k may change places."""
        W, h = self.split(x)
        n = np.array(self.counts, float)
        Z = (h * np.sqrt(n)[:, None]) @ W.T
        fields = [np.diag(Z), np.linalg.norm(Z, axis=1), np.sum(Z**3, axis=0), (Z @ Z).diagonal()]
        parts = [np.sort(field[n == size]) for size in sorted(set(n)) for field in fields]
        return np.concatenate([[10 * self.value(x)], *parts])


def critical(problem: Problem, x: np.ndarray) -> np.ndarray:
    """Where steps min |H d + g|^2 + nu |d|^2 end, nu by trial: least squares, no eigenvectors."""
    g, nu = problem.gradient(x), 1e-2
    for _ in range(80):
        size = float(np.linalg.norm(g))
        if size < 1e-13 or nu > 1e10:
            break
        tall = np.vstack([problem.hessian(x), np.sqrt(nu * size) * np.eye(len(x))])
        d = np.linalg.lstsq(tall, np.concatenate([g, np.zeros(len(x))]), rcond=None)[0]
        slope = problem.gradient(x - d)
        if np.linalg.norm(slope) < size:
            x, g, nu = x - d, slope, max(nu / 5, 1e-12)
        else:
            nu *= 4
    return x


def orbits_of(problem: Problem, starts: int, rng: np.random.Generator) -> list[tuple]:
    """(objective, fingerprint, index) of every orbit of full rank that the starts lead to."""
    K, r, found = len(problem.counts), problem.rank, []
    for _ in range(starts):
        sizes = np.exp(rng.uniform(np.log(0.05), np.log(10), 2)) / np.sqrt(r)
        x = (sizes[:, None] * rng.normal(size=(2, K * r))).ravel()
        x = critical(problem, x)
        if not np.abs(problem.gradient(x)).max() < 1e-11:
            continue
        W, h = problem.split(x)
        strength = np.linalg.svd(h @ W.T, compute_uv=False)
        if strength[r - 1] < 1e-5 * max(strength[0], 1e-3):
            continue
        mark = problem.fingerprint(x)
        if all(np.abs(mark - old[1]).max() > 1e-5 * (1 + np.abs(mark).max()) for old in found):
            values = np.linalg.eigvalsh(problem.hessian(x))
            index = int(np.sum(values < -1e-8 * values[-1]))
            found.append((problem.value(x), mark, index))
    return found


def missed(found, problem: Problem, others) -> list[tuple[float, int]]:
    """Objective and index of what the other search has and the atlas has not."""
    marks = []
    for orbit in found.orbits:
        if orbit.rank == problem.rank:
            roots = np.sqrt(np.array(problem.counts))
            x = np.concatenate([orbit.point.W.ravel(), (orbit.point.H / roots).T.ravel()])
            marks.append(problem.fingerprint(x))
    return [
        (value, index)
        for value, mark, index in others
        if all(np.abs(mark - old).max() > 1e-4 * (1 + np.abs(mark).max()) for old in marks)
    ]


def random_setting(rng: np.random.Generator) -> tuple[tuple[int, ...], float, float]:
    """Unequal counts at K = 3 or 4, decays over three decades below the collapse."""
    while True:
        counts = tuple(sorted(map(int, rng.integers(1, 6, int(rng.integers(3, 5)))), reverse=True))
        if len(set(counts)) > 1:
            break
    c = np.exp(rng.uniform(np.log(3e-3), np.log(0.6)))
    ratio = np.exp(rng.uniform(np.log(0.3), np.log(3)))
    sigma = c / np.sqrt(len(counts) * sum(counts))
    return counts, float(sigma * ratio), float(sigma / ratio)


def incomplete(counts, lw, lh, *, starts: int, seed: int, budget: float = 60.0):
    """Status of an atlas, and what an independent search has beyond it."""
    model = UFM(CrossEntropy(), counts=counts, d=len(counts), lambda_W=lw, lambda_H=lh)
    found = atlas(model, budget=budget)
    rng = np.random.default_rng(seed)
    lack = [
        (rank, *lost)
        for rank in range(1, len(counts))
        for lost in missed(
            found,
            Problem(counts, lw, lh, rank),
            orbits_of(Problem(counts, lw, lh, rank), starts, rng),
        )
    ]
    return found.status, lack


def test_the_derivatives_of_the_independent_search_are_those_of_differences():
    problem, step = Problem((3, 2, 1), 0.02, 0.03, 2), 1e-6
    x = np.random.default_rng(0).normal(size=12)
    moves = step * np.eye(12)
    slopes = [(problem.value(x + e) - problem.value(x - e)) / (2 * step) for e in moves]
    np.testing.assert_allclose(problem.gradient(x), slopes, atol=1e-9)
    rows = [(problem.gradient(x + e) - problem.gradient(x - e)) / (2 * step) for e in moves]
    np.testing.assert_allclose(problem.hessian(x), rows, atol=1e-8)


# The lowest point of d = 1 and the saddle that was born with it; every other check passes without.
PAIR = (0.595646544, 0.773886633)


def pair_and_the_rest():
    found = atlas(UFM(CrossEntropy(), counts=(2, 2, 1, 1), d=4, lambda_W=0.01, lambda_H=0.01))
    pair = [o for o in found.orbits if min(abs(o.objective - x) for x in PAIR) < 1e-8]
    return found, pair


def test_a_pair_that_cancels_is_in_the_list_and_is_missed_if_it_is_not():
    found, pair = pair_and_the_rest()
    assert found.status is Status.SATURATED
    assert len(found.orbits) == 22
    assert sum(orbit.count for orbit in found.orbits) == 42
    numbers = [(o.rank, o.range_index, o.overshoot, o.count) for o in pair]
    assert numbers == [(1, 0, 2, 2), (1, 1, 2, 2)]
    rest = tuple(o for o in found.orbits if o not in pair)
    short = replace(found, orbits=rest, confirmed=len(rest))
    assert set(short.checksum.values()) == {1}
    assert all(short.inequalities.values())
    assert list(short.headless) == [1]
    assert short.headless[1].objective == pytest.approx(0.599063264)
    assert short.unpaired[0].d == 1
    assert short.status is Status.OPEN
    assert any("is a saddle, so a minimum is missing" in line for line in short.doubts)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_other_seeds_find_the_pair(seed):
    model = UFM(CrossEntropy(), counts=(2, 2, 1, 1), d=4, lambda_W=0.01, lambda_H=0.01)
    found = atlas(model, seed=seed)
    assert (found.status, len(found.orbits)) == (Status.SATURATED, 22)


def test_the_independent_search_sees_what_a_list_lacks():
    found, pair = pair_and_the_rest()
    problem = Problem((2, 2, 1, 1), 0.01, 0.01, 1)
    others = orbits_of(problem, 150, np.random.default_rng(1))
    assert missed(found, problem, others) == []
    short = replace(found, orbits=tuple(o for o in found.orbits if o not in pair))
    lack = missed(short, problem, others)
    assert sorted(index for _, index in lack) == [0, 1]
    np.testing.assert_allclose(sorted(value for value, _ in lack), PAIR, atol=1e-8)


@pytest.mark.parametrize("number", [slow(0), 1, slow(2)])
def test_saturated_lists_with_unequal_counts_lack_nothing(number):
    status, lack = incomplete(
        *random_setting(np.random.default_rng(number)), starts=60, seed=number
    )
    assert not (status is Status.SATURATED and lack), lack


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 15])
def test_orbits_with_small_basins_are_in_a_saturated_list(seed):
    """With a twentieth of the mass unseen these seeds stopped at 39 and 41 of 43 orbits."""
    model = UFM(
        CrossEntropy(),
        counts=(5, 5, 3, 2),
        d=4,
        lambda_W=0.00453521224552236,
        lambda_H=0.0009672088245864789,
    )
    found = atlas(model, seed=seed)
    assert (found.status, len(found.orbits)) == (Status.SATURATED, 43)


@pytest.mark.slow
def test_two_hundred_saturated_lists_with_unequal_counts_lack_nothing():
    statuses, wrong = [], []
    for number in range(200):
        setting = random_setting(np.random.default_rng(number))
        status, lack = incomplete(*setting, starts=120, seed=1000 + number)
        statuses.append(status)
        if status is Status.SATURATED and lack:
            wrong.append((setting, lack))
    assert wrong == []
    assert statuses.count(Status.SATURATED) >= 180
