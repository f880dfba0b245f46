"""The file of a certificate, and points that are proved to lie lower."""

import json
import math

import numpy as np
import pytest

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.certificate import PointCertificate, digest, model_record
from proofs_check.rigorous.lower import LowerPoint, enclosed_value, prove_lower
from proofs_check.rigorous.point import prove_critical
from ufm import UFM, CrossEntropy, Focal, InputError, LabelSmoothing, deep_linear
from ufm.registered import MODELS


def plain(loss=None, **more):
    return UFM(loss or CrossEntropy(), 3, 4, lambda_W=0.02, lambda_H=0.03, **more)


def test_every_number_comes_back_as_it_was():
    model = plain(LabelSmoothing(0.1), lambda_b=0.05)
    found = prove_critical(model, model.minimiser().point)
    told = json.loads(PointCertificate(found, about={"orbit": "simplex ETF"}).text())
    assert told["model"] == {
        "family": "plain",
        "num_classes": 3,
        "counts": [1, 1, 1],
        "dim": 4,
        "lambda_w": 0.02,
        "lambda_h": 0.03,
        "lambda_b": 0.05,
        "loss": {"name": "ls", "smoothing": 0.1},
    }
    for name in "WHb":
        assert np.array_equal(told["point"][name], getattr(found.point, name))
    claim = told["claim"]
    assert (claim["index"], claim["nullity"], claim["radius"]) == (0, 5, 1e-9)
    low, high = claim["value"]
    assert low < found.value[0] <= found.value[1] < high < low + 1e-12
    assert "lower" not in told
    assert told["digest"] == digest(told)
    assert digest({**told, "claim": {**claim, "index": 1}}) != told["digest"]


def test_factors_of_a_deep_network_keep_their_order():
    model = deep_linear(Focal(2.0), 3, widths="4,5", counts="1,1,1", lambda_W=0.02)
    origin = model.random_point(__import__("jax").random.key(0), 0.0)
    found = prove_critical(model, origin)
    told = PointCertificate(found).as_dict()
    assert told["model"]["widths"] == [4, 5]
    assert [np.shape(W) for W in told["point"]["weights"]] == [(5, 4), (3, 5)]
    assert np.shape(told["point"]["H"]) == (4, 3)


def test_families_have_the_names_of_the_registry():
    for name, entry in MODELS.items():
        assert entry.build({}).family == name
    other = MODELS["regression"].build({})
    assert model_record(other)["family"] == "regression"


def test_a_lower_point_is_below_and_an_equal_one_is_not():
    model = plain()
    found = prove_critical(model, model.origin())
    lower = prove_lower(found)
    assert lower.value[1] < found.value[0]
    low, high = enclosed_value(model, found.point)
    assert low <= math.log(3) <= high
    told = PointCertificate(found, lower).as_dict()["lower"]
    assert lower.value[1] < told["below"] < found.value[0]
    best = prove_critical(model, model.minimiser().point)
    with pytest.raises(Undecided, match="none of"):
        prove_lower(best, [found.point, best.point])
    almost = LowerPoint(best.point, (best.value[0], best.value[0]))
    with pytest.raises(InputError, match="more than rounding"):
        PointCertificate(best, almost).as_dict()
