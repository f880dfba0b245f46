"""Verdicts by convexity against the eigenvalue route, thresholds included."""

from dataclasses import replace
from importlib import import_module

import pytest

import landscape.curvature.convexity as convexity_module
from experiments.benchmarks.agreement import Among, compared
from landscape.curvature.convexity import ROUTE, count_by_convexity
from landscape.solvers.solve import solve
from landscape.verdict import Curvature, verdict
from ufm import MSE, UFM, CrossEntropy


def test_convexity_and_eigenvalues_agree_in_random_cases():
    told = compared(36, 5, Among((CrossEntropy(), MSE()), (None, 0.0), ((3, 4),)))
    assert told["disagree"] == 0
    assert told["agree"] >= 14


@pytest.mark.slow
def test_convexity_and_eigenvalues_agree_in_thousands_of_cases():
    told = compared(3000, 6)
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
