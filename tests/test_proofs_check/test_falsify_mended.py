"""Claims that a search broke: they hold where they failed, or say that it is outside."""

from dataclasses import replace

import pytest

from proofs_check import core_claims
from proofs_check.falsify import margin_of
from proofs_check.redraw import Draw

CLAIMS = {claim.id: claim for claim in core_claims()}


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        # The least value of a multiple gave its amplitude to 1e-8 only, and rotations counted.
        (
            "exact-polygons",
            Draw(0, 0, {"K": 5.0, "d": 3.0, "lambda_W": 0.0125965669789, "lambda_H": 0.0172893195}),
        ),
        (
            "exact-merged-saddles",
            Draw(2, 0, {"K": 6.0, "groups": 2.0, "d": 3.0, "lambda_W": 0.029837, "lambda_H": 0.02}),
        ),
        # Beyond the decay at which collapse pays nothing lies below it.
        ("deep-relu-low-rank", Draw(5, 0, {"linear.lambda_W": 0.03, "linear.lambda_H": 0.02})),
        # Ten layers stretch a rounding where a class has no samples by 3e6.
        ("redunet-incremental", Draw(2, 0, {"eps": 0.38}, (1, 1), 2)),
        # The slowest error of the flow lives 1 / (4 ratio gamma^2).
        (
            "noise-flow-end",
            Draw(1, 557, {"N": 5.0, "p": 2.0, "k": 1.0, "gamma": 0.02, "ratio": 0.5}),
        ),
        # A shallow valley, in which L-BFGS-B with bounds stops at once.
        (
            "self-expression-form",
            Draw(0, 0, {"D": 3.0, "N": 7.0, "gamma": 19.1693, "share": 0.954363}),
        ),
    ],
)
def test_claims_that_a_search_broke_hold_there_now(name, draw):
    claim = CLAIMS[name]
    margin = margin_of(claim, draw)
    if name == "deep-relu-low-rank":
        assert margin is None
        assert margin_of(replace(claim, hypotheses=()), draw) > 1
    else:
        assert margin <= 1
        assert margin_of(replace(claim, check=claim.mutant.check), draw) > 1


def test_not_every_node_can_be_told_at_the_degrees_of_the_paper():
    claim = CLAIMS["graph-second-eigenvector"]
    numbers = {"n": 200.0, "steps": 32.0, "inside": 12.5, "outside": 0.85}
    draw = Draw(0, 1725, numbers)
    assert margin_of(claim, draw) is None
    broken = claim.region(False)[0].varied(numbers, draw.seed)
    assert claim.check(broken) > claim.tolerance.value  # two nodes of 400
    assert claim.check(claim.region(False)[0].varied({"n": 130.0}, 5)) <= claim.tolerance.value


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        # Beyond 1 there is no ridge, and no minimum.
        ("self-expression-form", Draw(0, 0, {"D": 3.0, "N": 7.0, "gamma": 20.0, "share": 1.02})),
        # A multiplier .038 short of the penalty: the limit is far beyond 1e-25.
        (
            "noise-penalty",
            Draw(1, 5486, {"N": 7.0, "p": 3.0, "k": 2.0, "gamma": 5e-25, "ratio": 160.0}),
        ),
    ],
)
def test_what_a_search_broke_without_a_hypothesis_is_outside(name, draw):
    claim = CLAIMS[name]
    assert margin_of(claim, draw) is None
    assert margin_of(replace(claim, hypotheses=()), draw) > 1


def test_flows_of_hadamard_starts_are_about_powers_of_two():
    claim = CLAIMS["hadamard-flow"]
    assert all(h.holds(s) for s in claim.region(False) for h in claim.hypotheses)
    assert margin_of(claim, Draw(0, 0, {"K": 3.0})) is None
