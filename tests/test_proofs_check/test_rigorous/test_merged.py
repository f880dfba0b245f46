"""Merged classes of unequal sizes against the dense Hessian in all samples."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from landscape import dense_hessian, solve
from proofs_check import checker
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.certificate import PointCertificate, model_record, point_record
from proofs_check.rigorous.merged import fitting, index_of_all_samples, merges
from proofs_check.rigorous.minimiser import prove_minimiser
from proofs_check.rigorous.point import prove_critical
from tests.helpers import slow
from ufm import UFM, CrossEntropy, Focal, LabelSmoothing, deep_linear
from ufm.models.equilibrium import equilibrium

COUNTS = (2, 1, 4)


def plain(loss, counts=COUNTS, decay_h=0.02, d=3):
    return UFM(loss, counts=counts, d=d, lambda_W=0.03, lambda_H=decay_h)


def on_a_line(model):
    """A saddle: the minimiser of one dimension, in two more."""
    found = solve(plain(model.loss, d=1), key=jax.random.key(1)).point
    return type(found)(np.pad(found.W, ((0, 0), (0, 2))), np.pad(found.H, ((0, 2), (0, 0))))


def origin(model):
    return model.random_point(jax.random.key(0), 0.0)


CASES = {
    "saddle": (plain(CrossEntropy()), on_a_line),
    "origin": (plain(LabelSmoothing(0.1)), origin),
    "deep saddle": (
        deep_linear(CrossEntropy(), 3, widths="4,5", counts="2,1,4", lambda_W=0.1),
        origin,
    ),
    "equilibrium": (equilibrium(None, 3, 4, 1, 0.02, 0.9, 0.03, "2,1,4"), origin),
}


def full_signs(model, point):
    """Negative and zero eigenvalues in all samples, by the dense Hessian."""
    values = np.linalg.eigvalsh(np.asarray(dense_hessian(model, model.merge().lift(point))))
    return int(np.sum(values < -1e-9)), int(np.sum(np.abs(values) < 1e-9))


@pytest.mark.parametrize("name", ["saddle", "origin", slow("deep saddle"), slow("equilibrium")])
def test_index_and_nullity_are_those_of_all_samples(name):
    model, start = CASES[name]
    merge = model.merge()
    found = prove_critical(merge.model, merge.reduce(start(model)))
    index, nullity = full_signs(model, found.point)
    assert (index_of_all_samples(found), found.nullity) == (index, nullity)
    document = PointCertificate(found).as_dict()
    assert document["model"]["merged"]
    assert f"index {index}, nullity {nullity}, value" in checker.check(document)
    for field, value, says in (
        ("index", index + 1, "the index is"),
        ("nullity", nullity + 1, "the nullity is"),
    ):
        false = {**document, "claim": {**document["claim"], field: value}}
        false["digest"] = checker.digest(false)
        with pytest.raises(checker.Invalid, match=says):
            checker.check(false)


def test_what_differs_within_a_class_is_counted():
    """The splitting of the Hessian holds everywhere: here at a point that focal loss bends down."""
    model = plain(Focal(4.0), counts=(2, 4, 1), decay_h=0.001)
    merged = model.merge().model
    found = prove_critical(merged, merged.origin())
    rng = np.random.default_rng(3)
    wrong = type(found.point)(3 * rng.normal(size=(3, 3)), 3 * rng.normal(size=(3, 3)))
    index = int(np.sum(np.linalg.eigvalsh(np.asarray(dense_hessian(merged, wrong))) < 0))
    full = full_signs(model, wrong)[0]
    assert full > index
    assert index_of_all_samples(replace(found, point=wrong, index=index)) == full
    told = checker.Model(checker.parsed(json.dumps(model_record(merged))))
    x = told.point(checker.parsed(json.dumps(point_record(wrong))))
    assert index + checker.negative_differences(told, told.derivatives(x)[2]) == full


def test_only_what_has_no_room_is_merged():
    small, large = plain(CrossEntropy()), plain(CrossEntropy(), (200, 1, 100))
    assert fitting(small, small.origin())[0] is small
    model, point = fitting(large, large.origin())
    assert merges(model)
    assert not merges(large)
    assert not merges(UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1).merge().model)
    assert point.H.shape == (3, 3)
    assert fitting(plain(Focal(2.0), (200, 1, 100)), large.origin())[0].merged is False
    found = prove_critical(model, point)
    with pytest.raises(Undecided, match="one column per sample"):
        prove_minimiser(found)
