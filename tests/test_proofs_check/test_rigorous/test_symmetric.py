"""Inertia of matrices whose spectrum is known exactly, and bounds of singular values."""

import numpy as np
import pytest
from scipy.linalg import hadamard

from proofs_check.rigorous import symmetric
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import precision
from proofs_check.rigorous.floats import Floats
from proofs_check.rigorous.symmetric import (
    by_congruence,
    by_factorisation,
    distance_to_inverse,
    inertia,
    largest_singular_value,
)


def known_spectrum(rng):
    """H diag(values) H / n with H of Hadamard: exact in float64, and so are the eigenvalues."""
    n = int(rng.choice([2, 4, 8, 16]))
    H = hadamard(n).astype(float)
    values = rng.integers(1, 8, n) * 2.0 ** rng.integers(-16, 16, n)
    if rng.random() < 0.5:
        values[: n // 2] = values[0]  # a cluster
    values *= rng.choice([-1.0, 1.0], n)
    scale = 2.0 ** int(rng.integers(-53, 53))
    return (H * values) @ H.T / n * scale, values * scale


def known_inertia(rng):
    """S L D L^T S with whole numbers in L, dyadic D and S: dense, badly scaled, inertia that of D.

    Scales of S run from 1e-8 to 1e8, so that entries do from 1e-16 to 1e16.
    """
    n = int(rng.integers(2, 13))
    L = np.tril(rng.integers(-2, 3, (n, n)), -1) + np.eye(n)
    D = 2.0 ** rng.integers(0, 5, n) * rng.choice([-1.0, 1.0], n)
    S = 2.0 ** rng.integers(-26, 27, n)
    return S[:, None] * ((L * D) @ L.T) * S, D


def judged(cases, seed):
    """(decided, undecided, wrong) of random matrices with known inertia."""
    rng = np.random.default_rng(seed)
    counts = [0, 0, 0]
    for _ in range(cases):
        matrix, values = (known_spectrum if rng.random() < 0.5 else known_inertia)(rng)
        try:
            told = inertia(Floats.exact(matrix))
        except Undecided:
            counts[1] += 1
            continue
        counts[0] += 1
        counts[2] += (told.positive, told.negative) != (np.sum(values > 0), np.sum(values < 0))
    return counts


def test_inertia_is_that_of_the_known_spectrum():
    decided, undecided, wrong = judged(200, 0)
    assert wrong == 0
    assert decided + undecided == 200
    assert undecided <= 2


@pytest.mark.slow
def test_inertia_is_that_of_ten_thousand_known_spectra():
    decided, undecided, wrong = judged(10_000, 1)
    assert wrong == 0
    assert undecided <= decided / 100


def test_a_shift_on_either_side_of_every_eigenvalue_counts_it():
    rng = np.random.default_rng(2)
    for _ in range(20):
        matrix, values = known_spectrum(rng)
        for value in np.unique(values):
            for share in (1 - 2.0**-20, 1 + 2.0**-20):
                shift = value * share
                try:
                    told = inertia(Floats.exact(matrix - shift * np.eye(len(values))))
                except Undecided:
                    continue
                # The difference is rounded: by far less than the distance to the eigenvalue.
                if np.abs(values - shift).min() > 2.0**-50 * np.abs(matrix).max():
                    assert told.negative == np.sum(values < shift)


@pytest.mark.parametrize("route", [by_congruence, by_factorisation])
def test_an_interval_that_reaches_a_singular_matrix_is_undecided(route):
    """[[1 - r, r], [r, 1 - r]] is singular at r = 1/2: half the bound would answer there."""
    with precision(128):
        assert route(Floats.around(np.eye(2), 0.49)).positive == 2
        with pytest.raises(Undecided):
            route(Floats.around(np.eye(2), 0.5))
        saddle = np.array([[0.0, 1.0], [1.0, 0.0]])
        assert route(Floats.around(saddle, 0.2)).negative == 1
        with pytest.raises(Undecided):
            route(Floats.around(saddle, 0.5))
        with pytest.raises(Undecided):
            route(Floats.exact(np.ones((3, 3))))


def test_balls_decide_what_float64_does_not():
    tiny = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-52]])
    wide = np.kron(np.diag([1.0, -(2.0**60)]), tiny)
    with pytest.raises(Undecided):
        by_congruence(Floats.exact(wide))
    told = inertia(Floats.exact(wide))
    assert (told.positive, told.negative) == (2, 2)
    assert "balls" in told.route


def test_what_balls_cannot_decide_is_said(monkeypatch):
    monkeypatch.setattr(symmetric, "MOST_ROWS", 3)
    with pytest.raises(Undecided, match="too many"):
        inertia(Floats.exact(np.zeros((4, 4))))
    with pytest.raises(Undecided, match="not square"):
        by_congruence(Floats.exact(np.ones((2, 3))))


def test_row_sums_of_the_rest_contain_every_member():
    rng = np.random.default_rng(3)
    A, R = rng.normal(size=(5, 5)) + 5 * np.eye(5), rng.random((5, 5)) * 0.01
    C = np.linalg.inv(A)
    told = distance_to_inverse(Floats.around(A, R), C)
    # The worst member for a row of C takes its signs.
    for i in range(5):
        worst = A + R * np.sign(C[i])[:, None] * np.array([1.0, -1, 1, -1, 1])
        row = np.abs(np.eye(5)[i] - C[i] @ worst).sum()
        assert row <= told[i]
        assert told[i] < 1.05 * row + 1e-12


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (4, 7), (60, 20), (150, 120)])
def test_the_largest_singular_value_is_bounded_and_tightly(rows, columns):
    rng = np.random.default_rng(rows)
    values = np.sort(rng.random(min(rows, columns)))[::-1] + 1
    values[:3] = values[0]  # a cluster on top
    U = np.linalg.qr(rng.normal(size=(rows, len(values))))[0]
    V = np.linalg.qr(rng.normal(size=(columns, len(values))))[0]
    for scale in (1.0, 1e-16, 1e16):
        A = (U * values) @ V.T * scale
        told = largest_singular_value(Floats.exact(A))
        assert values[0] * scale * (1 - 1e-14) <= told <= values[0] * scale * (1 + 1e-8)
    exact = hadamard(8) * 3.0  # all singular values are 3 sqrt 8
    bound = largest_singular_value(Floats.around(exact, 0.5))
    assert bound >= np.sqrt(72) + 4 - 1e-12  # the member exact + 1/2 sign reaches it
    assert largest_singular_value(Floats.exact(np.zeros((3, 4)))) < 1e-100
