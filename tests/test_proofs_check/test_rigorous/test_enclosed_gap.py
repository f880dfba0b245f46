"""Duality gaps with all their rounding."""

import jax
import numpy as np
import pytest

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.enclosed_gap import duality_gap
from ufm import UFM, CrossEntropy, Focal, LabelSmoothing


@pytest.mark.parametrize("loss", [CrossEntropy(), LabelSmoothing(0.1)])
@pytest.mark.parametrize("bias", [None, 0.05])
def test_the_bound_is_below_the_closed_form_and_tight_there(loss, bias):
    model = UFM(loss, 4, 5, 3, lambda_W=0.01, lambda_H=0.02, lambda_b=bias)
    best = model.minimiser()
    told = duality_gap(model, best.point)
    assert told.value[0] <= best.value <= told.value[1]
    assert told.bound <= best.value
    assert 0 <= told.gap < 1e-12
    assert told.spectral_norm == pytest.approx(model.sigma, rel=1e-11)


def test_away_from_the_minimum_the_gap_covers_the_excess():
    model = UFM(CrossEntropy(), counts=(5, 2, 1), d=4, lambda_W=0.01, lambda_H=0.02)
    f = model.merge().model.objective
    least = model.certificate(model.minimiser().point).bound if model.minimiser() else None
    for seed in range(5):
        point = model.random_point(jax.random.key(seed))
        told = duality_gap(model, point)
        mean = model.merge().reduce(point)
        assert told.value[0] <= float(f(mean)) * (1 + 1e-14)
        assert told.gap >= told.value[0] - told.bound - 1e-12
        float64 = model.certificate(mean)
        assert told.bound <= float64.bound + 1e-12  # the conjugate's bound is the better one
        assert least is None or told.bound <= least + 1e-12


def test_where_there_is_no_bound_none_is_given():
    for loss, bias, reason in (
        (Focal(2.0), None, "not convex"),
        (CrossEntropy(), 0.0, "conjugate"),
    ):
        model = UFM(loss, 3, 4, lambda_W=0.02, lambda_H=0.02, lambda_b=bias)
        with pytest.raises(Undecided, match=reason):
            duality_gap(model, model.origin())


def test_numbers_beyond_float64_have_no_gap():
    model = UFM(CrossEntropy(), 3, 4, lambda_W=0.02, lambda_H=0.02)
    huge = jax.tree.map(lambda x: 1e200 * np.asarray(x), model.random_point(jax.random.key(0)))
    with pytest.raises(Undecided):
        duality_gap(model, huge)


@pytest.mark.slow
def test_a_thousand_classes():
    decays = {"lambda_W": 5e-6, "lambda_H": 5e-6}
    model = UFM(CrossEntropy(), 1000, 1010, 100, **decays)
    told = duality_gap(model, model.minimiser().point)
    assert 0 <= told.gap < 1e-8
    assert np.isfinite(told.bound)
