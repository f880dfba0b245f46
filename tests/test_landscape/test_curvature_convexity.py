"""Verdicts by convexity against the eigenvalue route, thresholds included."""

from collections import Counter
from dataclasses import replace
from importlib import import_module

import jax
import numpy as np
import pytest

import landscape.curvature.convexity as convexity_module
from landscape.curvature.convexity import ROUTE, count_by_convexity
from landscape.curvature.count import count_curvature
from landscape.solvers.solve import solve
from landscape.verdict import Curvature, judge_curvature, verdict
from ufm import MSE, UFM, CrossEntropy, LabelSmoothing, RescaledMSE
from ufm.losses import BCE

LOSSES = (CrossEntropy(), LabelSmoothing(0.1), MSE(), RescaledMSE(3.0, 2.0), BCE())


def at_share(loss, counts, d, lambda_b, share, ratio):
    """A model at a share of the c at which its origin becomes the minimum."""
    unit = UFM(loss, counts=counts, d=d, lambda_W=1.0, lambda_H=1.0, lambda_b=lambda_b)
    edge = unit.certificate(unit.origin()).spectral_ratio  # |G(0)|_2 at the best bias
    sizes = {"lambda_W": share * edge * ratio, "lambda_H": share * edge / ratio}
    return UFM(loss, counts=counts, d=d, lambda_b=lambda_b, **sizes)


def random_case(rng, losses, biases, shapes):
    """Any counts, ratio of decays and share of the threshold; every shape is compiled once."""
    K, d = shapes[rng.integers(len(shapes))]
    counts = (3,) * K if rng.random() < 0.3 else tuple(int(x) for x in rng.integers(1, 6, K))
    close = 10 ** rng.uniform(-12, -3)
    share = rng.choice([10 ** rng.uniform(-4, -0.0005), 1 - close, 1 + close, 1.5])
    loss, lambda_b = losses[rng.integers(len(losses))], biases[rng.integers(len(biases))]
    return at_share(loss, counts, d, lambda_b, share, 2 ** rng.uniform(-2, 2))


def compared(cases, seed, *among):
    """How often convexity decided, and how often it and the eigenvalues told different things."""
    rng, tally = np.random.default_rng(seed), Counter()
    for i in range(cases):
        model = random_case(rng, *among)
        found = solve(model, key=jax.random.key(i))
        size = found.gradient_norm
        one = count_by_convexity(found.model, found.point, size, larger_than=-1)
        other = count_curvature(found.model, found.point, size)
        tally["undecided by both"] += one is None and other.index is None
        tally["by eigenvalues only"] += one is None and other.index is not None
        if one is None:
            continue
        # Fewer zeros than the orbit has are no answer: rounding moved them, and more so where the
        # point is small. A verdict of the eigenvalues is one of these.
        told = judge_curvature(other, size, found.point)[0]
        agree = told in (Curvature.MORSE_BOTT_MINIMUM, Curvature.UNDECIDED)
        agree &= other.index_range[0] == 0
        if told is Curvature.MORSE_BOTT_MINIMUM:
            agree &= other.nullity == one.nullity
            positive = other.smallest_positive
            agree &= model.strict_minimum(found.point).margin <= positive * (1 + 1e-6)
        tally["agree" if agree else "disagree"] += 1
        tally["by convexity only"] += told is Curvature.UNDECIDED
    return tally


def test_convexity_and_eigenvalues_agree_in_random_cases():
    told = compared(36, 5, LOSSES[:3:2], (None, 0.0), ((3, 4),))
    assert told["disagree"] == 0
    assert told["agree"] >= 14


@pytest.mark.slow
def test_convexity_and_eigenvalues_agree_in_thousands_of_cases():
    told = compared(3000, 6, LOSSES, (None, 0.0, 0.05), ((3, 2), (3, 5), (4, 3), (4, 6)))
    print(dict(told))
    assert told["disagree"] == 0
    assert told["agree"] >= 1200


@pytest.fixture
def model():
    return UFM(CrossEntropy(), counts=(3, 1, 2), d=4, lambda_W=0.03, lambda_H=0.02)


def test_a_verdict_by_convexity_has_gamma_and_eigenvalues_when_asked(model, monkeypatch):
    found = solve(model)
    usual = verdict(model, found.point)
    assert usual.count.route == "structured"
    monkeypatch.setattr(
        import_module("landscape.verdict"),
        "count_by_convexity",
        lambda *given: count_by_convexity(*given, larger_than=-1),
    )
    told = verdict(model, found.point)
    assert told.count.route == ROUTE
    assert told.count.smallest_positive is None
    assert told.curvature is usual.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert (told.globality, told.reason) == (usual.globality, usual.reason)
    assert told.by_eigenvalues == usual.count
    assert told.gamma == usual.gamma


def test_a_large_minimum_is_judged_without_any_spectrum(monkeypatch):
    model = UFM(CrossEntropy(), counts=tuple(range(40, 85)), d=50, lambda_W=1e-3, lambda_H=1e-3)
    found = solve(model)
    merged = type(found.model)

    def refuse(*_):
        raise AssertionError("a spectrum was asked for")

    with monkeypatch.context() as patch:
        patch.setattr(merged, "structure", refuse)
        told = verdict(found.model, found.point)
    assert told.count.route == ROUTE
    assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
    other = told.by_eigenvalues
    assert other.route == "inertia"
    assert (other.index, other.nullity) == (told.count.index, told.count.nullity)


@pytest.mark.parametrize("what", ["margin", "moved", "defect"])
def test_what_is_within_the_tolerance_is_left_to_the_eigenvalues(model, what, monkeypatch):
    found = solve(model)
    told = found.model.strict_minimum(found.point)
    poor = {"margin": 1e-16, "moved": 1.0, "defect": told.margin}[what]
    monkeypatch.setattr(type(model), "strict_minimum", lambda *_: replace(told, **{what: poor}))
    assert convexity_module.count_by_convexity(model, found.point, found.gradient_norm) is None


def test_a_large_gradient_is_left_to_the_eigenvalues(model):
    point = solve(model).point
    assert count_by_convexity(model, point, 1e-14, larger_than=-1) is not None
    assert count_by_convexity(model, point, 1e-4, larger_than=-1) is None
