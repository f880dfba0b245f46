"""Every claim about critical points, minimisers, thresholds, certificates and saddles holds.

`make verify` checks each on its whole region, so here only `make test-all` does.
"""

import numpy as np
import pytest

from proofs_check import Status, check_claim
from proofs_check.claims import (
    certificates,
    critical,
    merged_classes,
    minimisers,
    minority_collapse,
    polygons,
    saddles,
    thresholds,
)
from proofs_check.run import TEETH
from proofs_check.specimens import (
    descended_specimens,
    full_critical_specimens,
    many_critical_specimens,
)
from ufm import UFM, Focal, Point, RescaledMSE
from ufm.model import norm, value_and_gradient
from ufm.plain.minimisers import thresholds as library_thresholds

MODULES = (
    critical,
    minimisers,
    thresholds,
    minority_collapse,
    certificates,
    saddles,
    merged_classes,
    polygons,
)
CLAIMS = [claim for module in MODULES for claim in module.CLAIMS]
BY_ID = {claim.id: claim for claim in CLAIMS}


def check(claim, quick):
    outcome = check_claim(claim, quick=quick)
    assert outcome.expected, (outcome.status, outcome.worst_margin, outcome.worst_specimen)
    assert outcome.instances > 0
    assert outcome.mutant_rejected, outcome.mutant_margin
    assert outcome.mutant_margin >= TEETH
    return outcome


@pytest.mark.xdist_group("claims")
@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_comes_out_as_stated_and_its_mutant_does_not(claim):
    check(claim, quick=True)


@pytest.mark.slow
@pytest.mark.xdist_group("claims")
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_on_its_whole_region(claim):
    check(claim, quick=False)


def test_claims_are_complete_and_told_apart():
    assert len(BY_ID) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.statement.endswith((".", "(false)."))
        assert claim.latex
        assert "$" not in claim.latex
        assert "\\\\" not in claim.latex
        assert claim.literature in {"proved", "recalled", "derived here", "open", "refuted"}
        assert claim.holds == (claim.literature != "refuted")
        assert claim.tolerance.reason
        assert claim.tier in {"T0", "T1"}


@pytest.mark.slow
@pytest.mark.xdist_group("claims")
def test_regions_reach_outside_the_hypotheses_too():
    for name in ("collapse-within-classes", "minimiser-cross-entropy", "centred-classifier"):
        assert check_claim(BY_ID[name], quick=True).outside > 0


@pytest.mark.slow
@pytest.mark.xdist_group("claims")
def test_the_refutation_names_three_classes_on_a_line():
    outcome = check_claim(BY_ID["no-spurious-minima-below-k-minus-one"], quick=True)
    assert outcome.status is Status.COUNTEREXAMPLE
    assert "K=3 d=1 counts=2,1,1" in outcome.counterexample


@pytest.mark.slow
@pytest.mark.xdist_group("claims")
def test_nothing_was_merged_where_a_claim_says_so():
    for specimen in (*full_critical_specimens(True), *descended_specimens(True)):
        assert specimen.point.H.shape[1] == specimen.model.num_samples
        gradient = value_and_gradient(specimen.model, specimen.full_point)[1]
        assert float(norm(gradient)) <= 1e-12


def test_thresholds_written_out_are_those_of_the_library():
    for loss, said in (
        (Focal(2.0), thresholds.focal_constant(4, 2.0)),
        (RescaledMSE(3.0, 2.0), thresholds.rescaled_constant(4, 3.0, 2.0, False)),
    ):
        model = UFM(loss, 4, 6, lambda_W=0.1, lambda_H=0.1)
        assert library_thresholds(model).collapse == pytest.approx(said, rel=1e-9)
    model = UFM(RescaledMSE(3.0, 2.0), 4, 6, lambda_W=0.1, lambda_H=0.1, lambda_b=0.0)
    said = thresholds.rescaled_constant(4, 3.0, 2.0, True)
    assert library_thresholds(model).collapse == pytest.approx(said, rel=1e-9)


def test_bifurcations_of_merged_classes():
    known = {3: 0.1305506509, 4: 0.0733330384, 5: 0.0541337162, 6: 0.0444386734}
    for G, value in known.items():
        assert merged_classes.bifurcation(G, 0.0) == pytest.approx(value, abs=5e-11)
    assert merged_classes.bifurcation(2, 0.0) == 0
    assert merged_classes.bifurcation(3, 0.165) > 0
    assert merged_classes.bifurcation(3, 0.166) == 0


def test_the_plain_gradient_is_the_gradient():
    model = merged_classes.balanced_model(0.1, 4, 3, 2, 0.3, 2.0)
    rng = np.random.default_rng(0)
    point = Point(rng.normal(size=(4, 3)), rng.normal(size=(3, 4)))
    merged = model.as_merged(point)[0]
    value, gradient = value_and_gradient(merged, point)
    said = merged_classes.value_and_slope(model, point)
    assert said == pytest.approx((float(value), float(norm(gradient))), rel=1e-12)


@pytest.mark.slow
@pytest.mark.xdist_group("claims")
def test_many_starts_find_saddles_of_several_ranks():
    ranks = {specimen.verdict.count.rank for specimen in many_critical_specimens(True)}
    assert ranks >= {1, 2}


@pytest.mark.slow
@pytest.mark.xdist_group("claims")
def test_a_gap_that_does_not_apply_is_no_pass():
    specimen = next(s for s in descended_specimens(True) if s.family == "focal")
    assert not specimen.model.certificate(specimen.point).applies
    assert np.isnan(certificates.gap(specimen))
