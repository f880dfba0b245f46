"""Merged classes of unequal sizes against the dense Hessian in all samples."""

import jax
import numpy as np
import pytest

from landscape import dense_hessian, solve
from proofs_check import checker
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.certificate import PointCertificate, model_record
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
    # The origin of this loss bends downwards in differences within a class, once d is reached.
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


def negative_block():
    """Focal loss, a point whose samples of a class gain by differing: found by hand below."""
    return plain(Focal(4.0), decay_h=0.001)


def test_what_differs_within_a_class_is_counted():
    """A point of a loss that is not convex, critical by its decay: one block is negative."""
    model = UFM(Focal(4.0), counts=(3, 5), d=1, lambda_W=0.001, lambda_H=0.0002)
    merge = model.merge()
    told = []
    for seed in range(12):
        start = merge.model.random_point(jax.random.key(seed), 3.0)
        end = solve(merge.model, start, method="critical").point
        try:
            found = prove_critical(merge.model, end)
        except Undecided:
            continue
        index, nullity = full_signs(model, found.point)
        assert (index_of_all_samples(found), found.nullity) == (index, nullity)
        told.append((found.index, index))
        checker.check(PointCertificate(found).as_dict())
    assert any(index > merged for merged, index in told)
