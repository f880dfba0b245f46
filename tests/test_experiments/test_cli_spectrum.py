"""``ufm spectrum``: the closed form, and every flag of the model on its way to it."""

import numpy as np
import pytest

from ufm import (
    BCE,
    MSE,
    UFM,
    CrossEntropy,
    Focal,
    LabelSmoothing,
    RescaledMSE,
    ldam,
    minimiser_spectrum,
    origin_spectrum,
)

BASE = {"num_classes": 4, "d": 6, "n": 1, "lambda_W": 0.02, "lambda_H": 0.02}
CASES = [
    ("", CrossEntropy(), {}),
    ("-K 3", CrossEntropy(), {"num_classes": 3}),
    ("-d 5", CrossEntropy(), {"d": 5}),
    ("-n 3", CrossEntropy(), {"n": 3}),
    ("--counts 3,3,3", CrossEntropy(), {"num_classes": 3, "n": 3}),
    ("--lambda 0.03", CrossEntropy(), {"lambda_W": 0.03, "lambda_H": 0.03}),
    ("--lambda-w 0.03", CrossEntropy(), {"lambda_W": 0.03}),
    ("--lambda-h 0.03", CrossEntropy(), {"lambda_H": 0.03}),
    ("--lambda-b 0", CrossEntropy(), {"lambda_b": 0.0}),
    ("--lambda-b 0.1", CrossEntropy(), {"lambda_b": 0.1}),
    ("--loss ls", LabelSmoothing(0.1), {}),
    ("--loss ls --smoothing 0.3", LabelSmoothing(0.3), {}),
    ("--loss focal", Focal(2.0), {}),
    ("--loss focal --gamma 1", Focal(1.0), {}),
    ("--loss mse", MSE(), {}),
    ("--loss rescaled-mse", RescaledMSE(5.0, 2.0), {}),
    ("--loss rescaled-mse --kappa 3", RescaledMSE(3.0, 2.0), {}),
    ("--loss rescaled-mse --target 3", RescaledMSE(5.0, 3.0), {}),
    ("--loss bce", BCE(), {}),
    ("--loss ldam --margin 0.3", ldam(0.3), {}),
]


def expand(rows):
    return np.repeat([row["value"] for row in rows], [row["multiplicity"] for row in rows])


@pytest.mark.parametrize(("flags", "loss", "changes"), CASES, ids=[case[0] for case in CASES])
def test_flags_choose_the_model(ufm, flags, loss, changes):
    ran = ufm(f"spectrum --json {flags}")
    expected = minimiser_spectrum(UFM(loss, **{**BASE, **changes}))
    found = expand(ran.json["spectrum"])
    assert (ran.code, ran.err) == (0, "")
    assert found.shape == (ran.json["variables"],)
    assert np.abs(found - expected.expand()).max() < 2e-12 * expected.radius


def test_the_spectra_of_the_cases_differ(ufm):
    """Else a flag could be ignored unseen: same size and same values."""
    spectra = [
        tuple(np.round(expand(ufm(f"spectrum --json {flags}").json["spectrum"]), 9))
        for flags, *_ in CASES
        if flags not in ("--loss ls", "--loss focal", "--loss rescaled-mse")
    ]
    assert len(set(spectra)) == len(spectra)


def test_the_origin_is_a_saddle(ufm):
    model = UFM(CrossEntropy(), **BASE)
    record = ufm("spectrum --at origin --json").json
    assert record["index"] == 18  # (K - 1) d
    assert np.allclose(expand(record["spectrum"]), origin_spectrum(model).expand(), atol=1e-15)


def test_imagenet_in_a_table(ufm):
    ran = ufm("spectrum -K 1000 -d 2048 -n 1281 --lambda 5e-6")
    assert ran.code == 0
    assert "2,625,536,000 eigenvalues: 0 negative, 1,546,452 zero" in ran.out
    rows = [line.split(maxsplit=2) for line in ran.out.splitlines() if line.startswith("  ")]
    times = [int(row[1].replace(",", "")) for row in rows if row and row[1][0].isdigit()]
    assert sum(times) == 2_625_536_000


def test_equal_levels_of_one_block_are_one_row(ufm):
    rows = ufm("spectrum -K 1000 -d 2048 -n 1281 --lambda 5e-6 --json").json["spectrum"]
    keys = [(row["block"], row["value"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert [row["value"] for row in rows] == sorted(row["value"] for row in rows)


def test_out_gets_the_json(ufm, tmp_path):
    ran = ufm("spectrum --json --out", tmp_path / "s.json")
    assert (tmp_path / "s.json").read_text() == ran.out
