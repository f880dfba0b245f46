"""Block Lanczos against prescribed spectra and dense eigenvalues."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from landscape.curvature.lanczos import LanczosResult, lanczos
from landscape.curvature.operators import rounding_floor
from tests.helpers import slow
from ufm.errors import InputError

jax.config.update("jax_enable_x64", True)

KEY = jax.random.key(3)


def rotation(size: int, seed: int = 0) -> Any:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def with_spectrum(values: Any, seed: int = 0) -> Any:
    q = rotation(len(values), seed)
    matrix = (q * np.asarray(values, dtype=float)) @ q.T
    return (matrix + matrix.T) / 2


def spread(size: int) -> Any:
    """Distinct eigenvalues between -1 and 1, so that Lanczos needs many steps."""
    return with_spectrum(np.linspace(-1.0, 1.0, size))


def assert_sound(pairs: Any, matrix: Any) -> None:
    """What holds for every answer, converged or not."""
    v, dense = pairs.eigenvectors, np.linalg.eigvalsh(matrix)
    k = v.shape[1]
    np.testing.assert_allclose(v.T @ v, np.eye(k), rtol=0, atol=1e-12)
    actual = np.linalg.norm(matrix @ v - v * pairs.eigenvalues, axis=0)
    np.testing.assert_allclose(pairs.residuals, actual, rtol=0, atol=1e-13 * pairs.norm)
    assert np.all(np.diff(pairs.eigenvalues) >= 0)
    distance = np.min(np.abs(dense[:, None] - pairs.eigenvalues), axis=0)
    assert np.all(distance <= pairs.residuals + rounding_floor(len(dense)) * pairs.norm)
    np.testing.assert_array_equal(pairs.converged, pairs.residuals <= pairs_tolerance(pairs))


def pairs_tolerance(pairs: Any, tolerance: float = 1e-10) -> float:
    return tolerance * pairs.norm


def test_the_identity_closes_at_once_and_is_searched_on() -> None:
    pairs = lanczos(np.eye(50), num_eigenvalues=6, key=KEY, block_size=4)
    np.testing.assert_allclose(pairs.eigenvalues, np.ones(6), rtol=0, atol=1e-14)
    assert pairs.result is LanczosResult.CONFIRMED
    assert (pairs.breakdowns, pairs.steps) == (3, 3)
    assert not pairs.exhausted
    assert "lower bounds" in pairs.note


def test_zero_has_eigenvalue_zero() -> None:
    pairs = lanczos(np.zeros((7, 7)), num_eigenvalues=2, key=KEY)
    np.testing.assert_array_equal(pairs.eigenvalues, [0.0, 0.0])
    assert pairs.converged.all()


def test_one_by_one() -> None:
    pairs = lanczos(np.array([[-2.5]]), num_eigenvalues=1, key=KEY)
    np.testing.assert_allclose(pairs.eigenvalues, [-2.5], rtol=1e-15)
    assert pairs.exhausted
    assert "complete" in pairs.note


@pytest.mark.parametrize("block_size", [1, 3])
def test_rank_one(block_size: int) -> None:
    u = np.random.default_rng(1).standard_normal(40)
    matrix = -np.outer(u, u)
    pairs = lanczos(matrix, num_eigenvalues=3, key=KEY, block_size=block_size)
    np.testing.assert_allclose(pairs.eigenvalues, [-(u @ u), 0.0, 0.0], rtol=0, atol=1e-12 * u @ u)
    assert pairs.breakdowns > 0
    assert_sound(pairs, matrix)


@pytest.mark.parametrize("block_size", [1, 2, 5])
def test_three_levels_have_their_multiplicities(block_size: int) -> None:
    matrix = with_spectrum([-1.0] * 5 + [0.5] * 20 + [2.0] * 35)
    pairs = lanczos(matrix, num_eigenvalues=7, key=KEY, block_size=block_size)
    np.testing.assert_allclose(pairs.eigenvalues, [-1.0] * 5 + [0.5] * 2, rtol=0, atol=1e-12)
    assert pairs.result is LanczosResult.CONFIRMED
    assert pairs.breakdowns >= 1
    assert_sound(pairs, matrix)


def test_a_start_in_an_eigenvector_does_not_end_the_search() -> None:
    values = np.concatenate([[-3.0, -2.0], np.linspace(0.0, 1.0, 28)])
    q, matrix = rotation(30), with_spectrum(values)
    start = q[:, 10]
    pairs = lanczos(matrix, num_eigenvalues=1, key=KEY, start=start)
    np.testing.assert_allclose(pairs.eigenvalues, [-3.0], rtol=0, atol=1e-12)
    assert pairs.breakdowns >= 1
    # The same start without the search for missed pairs shows that it was used, and what is lost.
    alone = lanczos(matrix, num_eigenvalues=1, key=KEY, start=start, confirm=False)
    np.testing.assert_allclose(alone.eigenvalues, values[[10]], rtol=0, atol=1e-12)
    assert alone.result is LanczosResult.CONVERGED
    assert (alone.breakdowns, alone.steps, alone.chains) == (1, 1, 1)


def test_decoupled_parts_are_found() -> None:
    matrix = np.zeros((24, 24))
    matrix[:12, :12] = with_spectrum(np.linspace(1.0, 2.0, 12))
    matrix[12:, 12:] = with_spectrum(np.linspace(-1.0, 0.0, 12))
    start = np.zeros(24)
    start[:12] = 1.0
    pairs = lanczos(matrix, num_eigenvalues=2, key=KEY, start=start)
    np.testing.assert_allclose(pairs.eigenvalues, [-1.0, -10 / 11], rtol=0, atol=1e-12)
    assert pairs.breakdowns >= 1


def test_steps_that_span_the_space_exhaust_it() -> None:
    matrix = spread(8)
    pairs = lanczos(matrix, num_eigenvalues=8, key=KEY, block_size=1, max_steps=8)
    np.testing.assert_allclose(pairs.eigenvalues, np.linspace(-1, 1, 8), rtol=0, atol=1e-14)
    assert (pairs.steps, pairs.breakdowns, pairs.exhausted) == (8, 0, True)
    assert pairs.result is LanczosResult.CONFIRMED


@pytest.mark.parametrize("size", [5, 31, 120])
def test_random_matrix_against_numpy(size: int) -> None:
    a = np.random.default_rng(size).standard_normal((size, size))
    matrix = (a + a.T) / 2
    dense = np.linalg.eigvalsh(matrix)
    pairs = lanczos(matrix, num_eigenvalues=4, key=KEY)
    np.testing.assert_allclose(pairs.eigenvalues, dense[:4], rtol=0, atol=1e-11 * pairs.norm)
    assert pairs.result is LanczosResult.CONFIRMED
    assert_sound(pairs, matrix)


def test_the_negative_end_comes_first_and_which_chooses() -> None:
    values = np.array([-0.01, 0.0, 1.0, 2.0, 3.0, 50.0, 60.0, 100.0])
    matrix = with_spectrum(values)

    def found(**options: Any) -> Any:
        return lanczos(matrix, num_eigenvalues=3, key=KEY, **options).eigenvalues

    np.testing.assert_allclose(found(), values[:3], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found(which="smallest"), values[:3], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found(which="largest"), values[-3:], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found(which="both"), values[[0, 1, 7]], rtol=0, atol=1e-11)


def test_both_ends_of_a_large_matrix_are_confirmed_at_both() -> None:
    values = np.concatenate([[-2.0] * 5, np.linspace(-1.0, 1.0, 60), [3.0] * 5])
    matrix = with_spectrum(values)
    pairs = lanczos(matrix, num_eigenvalues=8, key=KEY, which="both", block_size=2)
    np.testing.assert_allclose(pairs.eigenvalues, [-2.0] * 4 + [3.0] * 4, rtol=0, atol=1e-11)
    assert_sound(pairs, matrix)


def test_the_slower_end_is_confirmed_too() -> None:
    """The lower end of the second chain converges in a few steps, the copy above in many."""
    values = np.concatenate(
        [[-1000.0, -900.0, -800.0, 1.009, 1.01, 1.01], np.linspace(0.0, 1.0, 194)]
    )
    start = rotation(200)[:, [0, 1, 3, 4]]
    pairs = lanczos(with_spectrum(values), num_eigenvalues=4, key=KEY, which="both", start=start)
    np.testing.assert_allclose(pairs.eigenvalues, [-1000.0, -900.0, 1.01, 1.01], rtol=0, atol=1e-9)
    assert pairs.chains > 1


def test_a_tiny_negative_eigenvalue_keeps_its_sign() -> None:
    matrix = with_spectrum(np.concatenate([[-1e-8], np.linspace(0.1, 1.0, 99)]))
    pairs = lanczos(matrix, num_eigenvalues=1, key=KEY)
    low, high = pairs.intervals[0]
    assert low <= -1e-8 + 1e-15
    assert high < 0


def test_copies_that_one_chain_misses_are_found_by_the_next() -> None:
    matrix = with_spectrum(np.concatenate([[-3.0, -3.0, -2.0], np.linspace(0.0, 1.0, 297)]))

    def run(**options: Any) -> Any:
        return lanczos(matrix, num_eigenvalues=2, key=KEY, **options)

    pairs = run(block_size=1)
    np.testing.assert_allclose(pairs.eigenvalues, [-3.0, -3.0], rtol=0, atol=1e-11)
    assert pairs.chains > 2
    alone = run(block_size=1, confirm=False)
    np.testing.assert_allclose(alone.eigenvalues, [-3.0, -2.0], rtol=0, atol=1e-11)
    assert alone.chains == 1
    wide = run(block_size=2, confirm=False)
    np.testing.assert_allclose(wide.eigenvalues, [-3.0, -3.0], rtol=0, atol=1e-11)


def test_unconverged_pairs_are_flagged() -> None:
    matrix = spread(200)
    pairs = lanczos(matrix, num_eigenvalues=3, key=KEY, max_steps=5)
    assert pairs.steps == 5
    assert not pairs.converged.any()
    assert pairs.result is LanczosResult.OUT_OF_STEPS
    assert_sound(pairs, matrix)
    # A Ritz value is not an eigenvalue, but an upper bound of the smallest one.
    assert np.min(pairs.eigenvalues) > -1.0


def test_running_out_of_steps_in_the_confirmation_is_said() -> None:
    matrix = with_spectrum(np.concatenate([[-3.0], np.linspace(-1.0, 1.0, 299)]))
    enough = lanczos(matrix, num_eigenvalues=1, key=KEY, confirm=False)
    assert enough.result is LanczosResult.CONVERGED
    pairs = lanczos(matrix, num_eigenvalues=1, key=KEY, max_steps=enough.steps)
    assert pairs.converged.all()
    assert pairs.result is LanczosResult.UNCONFIRMED


def test_fewer_directions_than_pairs_asked_for() -> None:
    pairs = lanczos(np.eye(30), num_eigenvalues=6, key=KEY, block_size=4, max_steps=1)
    assert pairs.eigenvalues.shape == (4,)
    assert pairs.converged.all()
    assert pairs.result is LanczosResult.OUT_OF_STEPS


def test_tolerance_is_used() -> None:
    matrix = spread(150)
    options: dict[str, Any] = {"num_eigenvalues": 2, "key": KEY, "confirm": False}
    loose = lanczos(matrix, tolerance=1e-3, **options)
    tight = lanczos(matrix, tolerance=1e-11, **options)
    assert loose.num_matvecs < tight.num_matvecs
    assert np.all(loose.residuals <= 1e-3 * loose.norm)
    assert np.max(loose.residuals) > 1e-9
    assert np.all(tight.residuals <= 1e-11 * tight.norm)


def test_an_unreachable_tolerance_is_said() -> None:
    pairs = lanczos(spread(60), num_eigenvalues=2, key=KEY, tolerance=1e-18)
    assert pairs.result is LanczosResult.ROUNDING
    assert not pairs.converged.all()
    assert np.all(pairs.residuals < 1e-12)


def test_num_matvecs_counts_every_product() -> None:
    class Counted:
        def __init__(self, matrix: Any) -> None:
            self.matrix, self.shape, self.columns = matrix, matrix.shape, 0

        def matvec(self, vector: Any) -> Any:
            self.columns += bool(np.any(vector))  # padding is not work that was asked for
            return self.matrix @ vector

    counted = Counted(with_spectrum([0.0] * 3 + [1.0, 2.0, 3.0, 4.0]))
    null = rotation(7)[:, :3]
    pairs = lanczos(counted, num_eigenvalues=2, key=KEY, block_size=3, null_vectors=null)
    assert pairs.num_matvecs == counted.columns


def test_the_key_is_used_and_repeats() -> None:
    matrix = with_spectrum([-1.0] * 6 + [1.0] * 24)
    runs = [
        lanczos(matrix, num_eigenvalues=2, key=jax.random.key(seed)).eigenvectors
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.max(np.abs(runs[0] - runs[2])) > 0.01


def test_a_full_basis_is_restarted() -> None:
    matrix = spread(300)
    free = lanczos(matrix, num_eigenvalues=3, key=KEY, block_size=2)
    bounded = lanczos(matrix, num_eigenvalues=3, key=KEY, block_size=2, memory_limit=8 * 300 * 40)
    assert free.restarts == 0
    assert bounded.restarts > 0
    np.testing.assert_allclose(bounded.eigenvalues, np.linspace(-1, 1, 300)[:3], rtol=0, atol=1e-10)
    assert bounded.result is LanczosResult.CONFIRMED
    assert_sound(bounded, matrix)


def test_closing_chains_in_little_memory() -> None:
    matrix = with_spectrum([-1.0] * 5 + [0.5] * 20 + [2.0] * 35)
    needed = 5 + 5 + 3 * 2
    pairs = lanczos(matrix, num_eigenvalues=5, key=KEY, block_size=2, memory_limit=8 * 60 * needed)
    np.testing.assert_allclose(pairs.eigenvalues, [-1.0] * 5, rtol=0, atol=1e-12)
    assert pairs.result is LanczosResult.CONFIRMED
    with pytest.raises(InputError, match=rf"memory_limit >= {8 * 60 * needed} bytes"):
        lanczos(matrix, num_eigenvalues=5, key=KEY, block_size=2, memory_limit=8 * 60 * needed - 1)


def test_one_chain_closes_after_the_distinct_eigenvalues() -> None:
    matrix = with_spectrum(np.repeat(np.linspace(0.0, 1.0, 12), 5))
    pairs = lanczos(matrix, num_eigenvalues=12, key=KEY, block_size=1, confirm=False)
    np.testing.assert_allclose(pairs.eigenvalues, np.linspace(0.0, 1.0, 12), rtol=0, atol=1e-12)
    assert (pairs.steps, pairs.breakdowns, pairs.chains) == (12, 1, 1)
    assert "lower bounds" in pairs.note


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_eigenvalues": 0}, "num_eigenvalues >= 1"),
        ({"num_eigenvalues": 7}, "num_eigenvalues <= 6"),
        ({"num_eigenvalues": 1.5}, "integer num_eigenvalues"),
        ({"block_size": 0}, "block_size >= 1"),
        ({"max_steps": 0}, "max_steps >= 1"),
        ({"tolerance": 0.0}, "tolerance > 0"),
        ({"tolerance": float("nan")}, "tolerance > 0"),
        ({"which": "middle"}, "which in"),
        ({"start": np.ones(5)}, "start"),
        ({"start": np.ones(6, np.float32)}, "float32"),
        ({"start": np.zeros(6)}, "not zero"),
        ({"start": np.ones((6, 3)), "block_size": 2}, "block_size = 2 columns"),
        ({"null_vectors": np.eye(6)[:, :1], "start": np.eye(6)[:, 0]}, "outside the null vectors"),
        ({"memory_limit": 8 * 6 * 6 - 1}, "memory_limit"),
    ],
)
def test_refused_arguments(options: dict[str, Any], says: str) -> None:
    matrix = np.diag([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.raises(InputError, match=says) as caught:
        lanczos(matrix, **{"num_eigenvalues": 1, "key": KEY, **options})
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_refused_operators() -> None:
    with pytest.raises(InputError, match="symmetric"):
        lanczos(np.triu(np.ones((5, 5))), num_eigenvalues=1, key=KEY)
    with pytest.raises(InputError, match="NaN"):
        lanczos(np.full((3, 3), np.nan), num_eigenvalues=1, key=KEY)
    with pytest.raises(InputError, match="import ufm"):
        lanczos(np.eye(3, dtype=np.float32), num_eigenvalues=1, key=KEY)


def test_an_operator_that_changes_under_way_is_noticed() -> None:
    """The estimate of the recurrence would call these pairs converged; the actual residual not."""

    class Drifting:
        shape = (30, 30)
        calls = 0

        def matvec(self, vector: Any) -> Any:
            self.calls += 1
            return (spread(30) + (0.01 * np.eye(30) if self.calls > 30 else 0.0)) @ vector

    pairs = lanczos(Drifting(), num_eigenvalues=2, key=KEY, confirm=False)
    assert not pairs.converged.all()
    assert pairs.result is not LanczosResult.CONVERGED


@st.composite
def spectra(draw: st.DrawFn) -> list[float]:
    levels = draw(
        st.lists(
            st.tuples(st.integers(-20, 20), st.integers(1, 6)),
            min_size=1,
            max_size=8,
            unique_by=lambda level: level[0],
        )
    )
    scale = draw(st.sampled_from([1e-9, 1.0, 1e6]))
    return sorted(scale * value for value, count in levels for _ in range(count))


@hypothesis.given(
    values=spectra(),
    block_size=st.integers(1, 5),
    which=st.sampled_from(["smallest", "largest", "both"]),
    share=st.floats(0.0, 1.0),
    seed=st.integers(0, 1000),
)
def test_prescribed_spectra_with_multiplicities(
    values: list[float], block_size: int, which: Any, share: float, seed: int
) -> None:
    k = 1 + int(share * (len(values) - 1))
    low = {"smallest": k, "largest": 0, "both": (k + 1) // 2}[which]
    expected = values[:low] + values[len(values) - (k - low) :]
    matrix = with_spectrum(values, seed)
    pairs = lanczos(
        matrix,
        num_eigenvalues=k,
        key=jax.random.key(seed),
        which=which,
        block_size=block_size,
    )
    # |A| to the returned digits; a spectrum of zeros has no scale.
    atol = 10 * rounding_floor(len(values)) * max(abs(values[0]), abs(values[-1]))
    np.testing.assert_allclose(pairs.eigenvalues, expected, rtol=0, atol=atol)
    assert pairs.result is LanczosResult.CONFIRMED
    assert_sound(pairs, matrix)


def test_a_confirming_chain_that_was_cut_off_confirms_nothing() -> None:
    """One column a chain: the second copy of -1 needs a chain of its own, and has one step left."""
    matrix = np.diag([-1.0] * 4 + [0.0] * 4 + [1.0] * 4)
    pairs = lanczos(matrix, num_eigenvalues=2, key=KEY, block_size=1, max_steps=4)
    assert pairs.converged.all()
    assert pairs.result is LanczosResult.UNCONFIRMED
    enough = lanczos(matrix, num_eigenvalues=2, key=KEY, block_size=1, max_steps=12)
    np.testing.assert_allclose(enough.eigenvalues, [-1.0, -1.0], rtol=0, atol=1e-14)
    assert enough.result is LanczosResult.CONFIRMED


def prescribed(rng: np.random.Generator) -> Any:
    """Eigenvalues with multiplicities: few integers, Gaussians, sizes over decades, or clusters."""
    levels = int(rng.integers(1, 8))
    values = [
        rng.integers(-3, 4, levels).astype(float),
        rng.standard_normal(levels),
        rng.choice([-1.0, 1.0], levels) * 10.0 ** rng.uniform(-9, 0, levels),
        10.0 ** rng.uniform(-8, 0, levels) - 1.0,
    ][rng.integers(4)]
    spectrum = np.repeat(values, rng.integers(1, 7, levels))
    if rng.random() < 0.2:
        spectrum = np.concatenate([spectrum, rng.uniform(-1, 1, rng.integers(1, 25))])
    return np.sort(spectrum)


@pytest.mark.parametrize("runs", [range(300), slow(range(300, 10_000))], ids=str)
def test_confirmed_is_never_wrong(runs: range) -> None:
    """Short chains, multiplicities and few steps; an eigenvalue is right to twice the tolerance."""
    wrong, confirmed, cut = [], 0, 0
    for seed in runs:
        rng = np.random.default_rng(seed)
        values = prescribed(rng)
        k = int(rng.integers(1, min(len(values), 6) + 1))
        which: Any = ("smallest", "largest", "both")[rng.integers(3)]
        matrix = np.diag(values) if rng.random() < 0.5 else with_spectrum(values, seed)
        pairs = lanczos(
            matrix,
            num_eigenvalues=k,
            key=jax.random.key(seed),
            which=which,
            block_size=int(rng.integers(1, 6)),
            max_steps=int(rng.integers(1, 31)) if rng.random() < 0.8 else 300,
        )
        cut += pairs.result in (LanczosResult.UNCONFIRMED, LanczosResult.OUT_OF_STEPS)
        if pairs.result is not LanczosResult.CONFIRMED:
            continue
        confirmed += 1
        low = {"smallest": k, "largest": 0, "both": (k + 1) // 2}[which]
        expected = np.concatenate([values[:low], values[len(values) - (k - low) :]])
        if np.abs(pairs.eigenvalues - expected).max() > 2 * pairs_tolerance(pairs):
            wrong.append(seed)
    assert wrong == []
    assert confirmed > 0.6 * len(runs)  # three in four; most others had one to thirty steps
    assert cut > 0.1 * len(runs)
