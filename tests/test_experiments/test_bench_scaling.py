"""Exponents are those of the costs: on laws that are known, and on curves of a millisecond."""

import numpy as np
import pytest

from experiments.benchmarks import asymptotics
from experiments.benchmarks.asymptotics import BYTES, Curve, law_of, measure
from experiments.benchmarks.power_law import _best, fitted, line
from ufm.errors import InputError

SIZES = (16, 32, 64, 128, 256, 512)


def costs(power, constant=0.0, factor=3e-6):
    return [constant + factor * size**power for size in SIZES]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 30.0])
def test_the_power_is_found_whatever_a_call_costs(power, share):
    """share: of the constant in the cost of the smallest size."""
    law = fitted(SIZES, costs(power, constant=share * costs(power)[0]))
    assert law.exponent == pytest.approx(power, abs=0.011)  # powers are tried by hundredths
    assert law.constant == pytest.approx(share * costs(power)[0], rel=0.1, abs=1e-6 * power)
    assert law.agrees(power)
    assert not law.agrees(power + 0.05)
    assert np.allclose(law(SIZES), costs(power, constant=share * costs(power)[0]), rtol=0.02)


def test_a_line_through_the_logarithms_takes_the_constant_for_part_of_the_power():
    """So it is not what is fitted where something grows."""
    with_constant = costs(3.0, constant=30 * costs(3.0)[0])
    assert line(SIZES, with_constant).exponent < 2.6
    assert line(SIZES, costs(3.0)).exponent == pytest.approx(3.0)


def test_the_fit_is_that_of_scipy():
    """With the same numbers as a solver of least squares with bounds, for every power."""
    from scipy.optimize import nnls

    rng = np.random.default_rng(1)
    for trial in range(40):
        y = rng.uniform(0.5, 2.0, 6) * np.array(costs(rng.uniform(0.0, 3.0), constant=trial % 3))
        u, v = 1 / y, (np.array(SIZES) / 512) ** 1.7 / y
        ((a, b), _), found = nnls(np.stack([u, v], axis=1), np.ones(6)), _best(u, v[None])
        assert np.allclose([a, b], [found[0][0], found[1][0]], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fit", [fitted, line])
def test_of_twenty_intervals_nineteen_have_the_power(fit):
    """Relative errors of 3 %: of 200 intervals of 95 % fewer than 180 by a chance of 1e-3 only."""
    rng = np.random.default_rng(0)
    met = 0
    for _ in range(200):
        noisy = np.array(costs(2.0)) * (1 + 0.03 * rng.standard_normal(len(SIZES)))
        law = fit(SIZES, noisy)
        met += law.agrees(2.0)
        assert not law.agrees(3.0)
    assert met >= 180


def test_too_few_sizes_say_so():
    for fit in (fitted, line):
        with pytest.raises(InputError, match="5 different positive sizes"):
            fit(SIZES[:4], costs(1.0)[:4])
        with pytest.raises(InputError, match="positive cost"):
            fit(SIZES, [0.0, *costs(1.0)[1:]])


def curve(theory=2.0, since=32, prepare=lambda size: lambda: size**2, unit=BYTES):
    return Curve("toy", "K", theory, "because", (8, *SIZES), since, prepare, unit)


def test_sizes_below_the_range_are_measured_but_not_fitted():
    given = costs(2.0)
    right = law_of(curve(), SIZES, given)
    spoiled = law_of(curve(), SIZES, [100 * given[0], *given[1:]])
    assert spoiled.law == right.law
    assert law_of(curve(since=16), SIZES, [100 * given[0], *given[1:]]).law != right.law
    assert spoiled.record["fitted_from"] == 32
    assert spoiled.costs[0] == 100 * given[0]


def test_where_theory_is_flat_a_line_is_fitted():
    flat = law_of(curve(theory=0.0), SIZES, costs(2.0, constant=0.01))
    assert flat.law.constant == 0.0
    assert not flat.law.agrees(0.0)
    found = law_of(curve(), SIZES, costs(2.0, constant=0.01))
    assert found.law.constant == pytest.approx(0.01, rel=0.02)


def test_quick_leaves_out_the_largest_size_and_repeats_nothing(monkeypatch):
    called = []

    def prepare(size):
        return lambda: called.append(size)

    monkeypatch.setattr(asymptotics, "LEAST", 0.0)
    monkeypatch.setattr(asymptotics, "_seconds", lambda call, number: call() or 1.0)
    whole = measure(curve(prepare=prepare, unit="s", since=16))
    assert whole.sizes == (8, *SIZES)
    assert len(called) == len(whole.sizes) * (2 + asymptotics.ROUNDS)  # compiled, tried, timed
    called.clear()
    quick = measure(curve(prepare=prepare, unit="s", since=16), quick=True)
    assert quick.sizes == (8, *SIZES[:-1])
    assert len(called) == len(quick.sizes) * 3


def test_work_that_finds_out_its_size_says_it(monkeypatch):
    monkeypatch.setattr(asymptotics, "_seconds", lambda call, number: call() ** 1.5)
    found = measure(curve(prepare=lambda size: lambda: size + 1.0, since=0, unit="s"))
    assert found.sizes == tuple(size + 1.0 for size in (8, *SIZES))
    assert found.law.exponent == pytest.approx(1.5, abs=0.011)


def test_the_memory_of_a_gradient_is_that_of_its_matrices():
    """W, H, their gradients and the logits at least, of 8 bytes a number; twice as many at most."""
    for K in (16, 48):
        assert 5 * 8 * K**2 < asymptotics._memory(K)() < 10 * 8 * K**2


@pytest.mark.parametrize("made", asymptotics.CURVES, ids=lambda c: f"{c.name}-{c.variable}")
def test_every_curve_leaves_enough_to_fit(made):
    chosen = [size for size in made.sizes[:-1] if size >= made.since]
    assert len(chosen) >= 5
    assert made.sizes == tuple(sorted(set(made.sizes)))


@pytest.fixture
def toys(monkeypatch):
    grown = Curve("grown", "K", 2.0, "squares", SIZES, 16, lambda size: lambda: size**2, BYTES)
    other = Curve("other", "n", 3.0, "no cubes", SIZES, 16, lambda size: lambda: size**2, BYTES)
    monkeypatch.setattr(asymptotics, "CURVES", (grown, other))


def test_the_command_says_slopes_and_what_theory_has(ufm, toys, tmp_path):
    figure, out = tmp_path / "scaling.svg", tmp_path / "scaling.json"
    ran = ufm("bench --scaling --quick --figure", figure, "--out", out)
    assert ran.code == 0
    assert "grown against K: squares" in ran.out
    assert "2.00 to 2.00 (not" in ran.out  # of the other, whose theory is wrong
    assert figure.read_text().count("theory: ") == 2 or "<svg" in figure.read_text()
    told = ufm("bench --scaling --json").json
    first, second = told["curves"]
    assert (first["exponent"], first["agrees"], first["sizes"]) == (2.0, True, [*SIZES])
    assert (second["exponent"], second["agrees"]) == (2.0, False)
    assert told["inputs"] == {"quick": False, "scaling": True}


@pytest.mark.parametrize("more", ["--row gap-1000", "--repeats 3"])
def test_what_belongs_to_rows_is_refused(ufm, toys, more):
    ran = ufm(f"bench --scaling {more}")
    assert ran.code == 2
    assert f"drop {more.split()[0]}" in ran.err
