"""``ufm enclose``: proved digits from the command line, against mpmath and double precision."""

import json
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from proofs_check.rigorous.systems import SYSTEMS, exact
from ufm import UFM, CrossEntropy, minimiser_spectrum
from ufm.errors import InputError


def numbers(ran):
    assert ran.code == 0, ran.err
    assert ran.json["answer"] == "PROVED"
    return {name: mpmath.mpf(ball["value"]) for name, ball in ran.json["numbers"].items()}


@pytest.fixture(autouse=True)
def many_digits():
    with mpmath.workdps(80):
        yield


@pytest.mark.parametrize(("smoothing", "gamma"), [("0", "0"), ("1/7", "0"), ("0", "2.3")])
def test_sixty_digits_of_a_simplex_are_those_of_mpmath(ufm, smoothing, gamma):
    K, n, lw, lh = 5, 3, "0.013", "2/111"
    command = f"enclose simplex -K {K} -d 7 -n {n} --lambda-w {lw} --lambda-h {lh} --digits 60"
    told = numbers(ufm(f"{command} --smoothing {smoothing} --gamma {gamma} --json"))
    # Text is the decimal or fraction that it writes, not the float64 next to it.
    delta, power, one, other = (
        mpmath.mpf(Fraction(text).numerator) / Fraction(text).denominator
        for text in (smoothing, gamma, lw, lh)
    )
    c = K * mpmath.sqrt(n * one * other)

    def value(a):
        u = 1 / (1 + (K - 1) * mpmath.exp(-a))
        focused = (1 - u) ** power if power else 1
        return -focused * mpmath.log(u) + (delta + c) * a * (K - 1) / K

    gap = mpmath.findroot(lambda a: mpmath.diff(value, a), float(told["gap"]))
    assert abs(told["gap"] - gap) < mpmath.mpf(10) ** -30  # diff halves the digits
    assert abs(told["value"] - value(told["gap"])) < mpmath.mpf(10) ** -58
    moved = value(told["gap"] * (1 + mpmath.mpf(10) ** -25))
    assert moved > told["value"]


def test_levels_are_those_of_the_closed_form_in_double_precision(ufm):
    ran = ufm("enclose simplex -K 4 -d 6 -n 3 --lambda-w 0.02 --lambda-h 0.03 --json")
    listed = [(float(x["value"]), x["multiplicity"]) for x in ran.json["levels"]]
    told = np.sort(np.repeat([x for x, _ in listed], [m for _, m in listed]))
    model = UFM(CrossEntropy(), 4, 6, 3, lambda_W=0.02, lambda_H=0.03)
    known = np.sort(np.concatenate([np.full(int(m), x) for x, m, _ in minimiser_spectrum(model)]))
    np.testing.assert_allclose(told, known, atol=1e-13)
    kinds = ran.json["numbers"]
    assert [int(kinds[x]["value"]) for x in ("negative", "zero", "positive")] == [
        np.sum(known < -1e-12), np.sum(abs(known) < 1e-12), np.sum(known > 1e-12)
    ]  # fmt: skip


def test_the_crossing_that_depth_makes(ufm):
    told = numbers(ufm("enclose pairs-crossing -K 4 --matrices 2 --digits 40 --json"))

    def best(falls, rank, size, decay):
        weight = rank * mpmath.mpf(size) ** (mpmath.mpf(2) / 3) * 3 / 2
        loss = lambda a: mpmath.log(1 + sum(m * mpmath.exp(-f * a) for f, m in falls))  # noqa: E731
        slope = lambda a: mpmath.diff(loss, a) + decay * weight * 2 / (3 * mpmath.cbrt(a))  # noqa: E731
        a = mpmath.findroot(slope, 4.7)
        return loss(a) + decay * weight * a ** (mpmath.mpf(2) / 3)

    both = [best([(1, 3)], 3, 1, told["decay"]), best([(2, 1), (1, 2)], 2, 2, told["decay"])]
    assert abs(both[0] - both[1]) < mpmath.mpf(10) ** -38
    assert abs(both[0] - told["value"]) < mpmath.mpf(10) ** -38
    off = told["decay"] * (1 + mpmath.mpf(10) ** -20)
    assert best([(2, 1), (1, 2)], 2, 2, off) < best([(1, 3)], 3, 1, off)


def test_every_flag_of_every_system_changes_the_answer(ufm):
    lines = {
        "simplex -K 4 -d 5 -n 2 --lambda-w 0.01 --lambda-h 0.02 --smoothing 0.1": (
            "-K 3", "-d 6", "-n 3", "--lambda-w 0.02", "--lambda-h 0.01", "--smoothing 0.2",
            "--smoothing 0 --gamma 1",
        ),
        "merged-saddle -K 6 --groups 3 -d 4 -n 2 --lambda-w 0.01 --lambda-h 0.02": (
            "-K 9", "--groups 2", "-d 5", "-n 3", "--lambda-w 0.02", "--lambda-h 0.01",
            "--smoothing 0.1",
        ),
        "polygon-saddle -K 5 -d 3 -n 2 --lambda-w 0.01 --lambda-h 0.02": (
            "-K 6", "-d 4", "-n 3", "--lambda-w 0.02", "--lambda-h 0.01",
        ),
        "merging-threshold --groups 3": ("--groups 4", "--smoothing 0.05", "--bias 0.5"),
        "smoothing-without-drop --groups 3": ("--groups 4",),
        "focal-convexity --gamma 2": ("--gamma 3",),
        "largest-focal-convexity": (),
        "focal-window -K 50 --gamma 3": ("-K 60", "--gamma 2"),
        "vanishing-minority --large 2 --small 3 --n-large 9 --n-small 2": (
            "--large 3", "--small 2", "--n-large 8", "--n-small 3",
        ),
        "pairs-crossing -K 4 --matrices 2 -n 1": (
            "-K 6 --low 0.0001 --high 0.02", "--matrices 3 --low 0.0001", "-n 2",
            "--low 0.02", "--high 0.0118",
        ),
    }  # fmt: skip
    assert {line.split()[0] for line in lines} == set(SYSTEMS)
    for line, changes in lines.items():
        known = ufm(f"enclose {line} --json")
        assert known.code == 0, (line, known.err)
        for change in changes:
            other = ufm(f"enclose {line} {change} --json")
            if change == "--high 0.0118":  # a bound of the search: the crossing is inside
                assert other.json["numbers"] == known.json["numbers"]
                assert ufm(f"enclose {line} --high 0.0117 --json").code == 3
            else:
                said = [other.json[x] for x in ("answer", "numbers", "levels")]
                assert said != [known.json[x] for x in ("answer", "numbers", "levels")], change


def test_digits_and_files_and_words_for_people(ufm, tmp_path):
    path = tmp_path / "told.json"
    ran = ufm(f"enclose merging-threshold --groups 3 --digits 33 --out {path}")
    assert "threshold = 0.130550650882333570048841525534333, within " in ran.out
    (ball,) = json.loads(path.read_text())["numbers"].values()
    assert len(ball["value"]) == 2 + 33
    assert 0 < float(ball["radius"]) < 1e-33
    longer = numbers(ufm("enclose merging-threshold --groups 3 --digits 60 --json"))["threshold"]
    assert abs(longer - mpmath.mpf(ball["value"])) <= float(ball["radius"])
    assert "There is none: proved." in ufm("enclose merging-threshold --groups 2").out
    table = ufm("enclose polygon-saddle -K 4 -d 3 --lambda-w 0.02 --lambda-h 0.02").out
    assert "Fourier mode 2" in table
    assert "index = 1\n" in table


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("enclose simplex -K 3", "needs -d, --lambda-w, --lambda-h"),
        ("enclose focal-convexity --gamma nan", "a decimal or a fraction. Got nan"),
        ("enclose focal-convexity --gamma 1e99999", "a decimal or a fraction"),
        ("enclose simplex -K 3 -d 3 --lambda-w 0 --lambda-h 1", "lambda_W > 0"),
        ("enclose simplex -K 3 -d 3 --lambda-w 1 --lambda-h 1", "below the origin"),
        ("enclose merging-threshold --groups 3 --digits 0", "greater than or equal to 1"),
        ("enclose tetrahedron", "No such command"),
        ("enclose merging-threshold --groups 3 --out /nowhere/x.json", "existing folder"),
    ],
)
def test_bad_input_is_one_line(ufm, line, said):
    ran = ufm(line)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_numbers_are_what_is_written():
    assert exact("0.1") == Fraction(1, 10) != Fraction(0.1)
    for text in ("", "1/0", "0x1", "inf", "1" * 400, "1e-99999"):
        with pytest.raises(InputError):
            exact(text)
