"""Claims on MSE, focal loss, spectra, conditioning, reductions, regression and identities."""

from itertools import chain

import numpy as np
import pytest

from proofs_check import core_claims
from proofs_check.claim import Claim, Status
from proofs_check.claims import (
    adjusted,
    complete_invariant,
    conditioning,
    constrained_rate,
    contrastive,
    conv_norm,
    deep_linear,
    deep_relu,
    equilibrium,
    equilibrium_critical,
    exact,
    exact_thresholds,
    focal,
    graph,
    graph_spectra,
    imbalanced,
    low_rank_networks,
    mse,
    multilabel,
    noisy_features,
    nonnegative,
    one_vs_rest,
    ordinal,
    overparameterised,
    random_graphs,
    rate_reduction,
    reductions,
    redunet,
    regression,
    rescaled,
    self_expression,
    soft_labels,
    spectra,
    sphere,
    symbolic,
    symbolic_blocks,
    symbolic_flows,
    symbolic_losses,
    symbolic_points,
    symbolic_tables,
    symbolic_thresholding,
    tasks,
    unused_dimensions,
)
from proofs_check.identities import POINTS, size
from proofs_check.run import check_claim

MODULES = (
    mse,
    one_vs_rest,
    imbalanced,
    rescaled,
    self_expression,
    focal,
    spectra,
    adjusted,
    conditioning,
    constrained_rate,
    contrastive,
    conv_norm,
    reductions,
    complete_invariant,
    redunet,
    regression,
    random_graphs,
    rate_reduction,
    deep_linear,
    deep_relu,
    low_rank_networks,
    equilibrium,
    equilibrium_critical,
    exact,
    exact_thresholds,
    graph,
    graph_spectra,
    sphere,
    unused_dimensions,
    multilabel,
    nonnegative,
    soft_labels,
    tasks,
    ordinal,
    overparameterised,
    noisy_features,
    symbolic,
    symbolic_blocks,
    symbolic_flows,
    symbolic_losses,
    symbolic_points,
    symbolic_tables,
    symbolic_thresholding,
)
CLAIMS = tuple(chain.from_iterable(module.CLAIMS for module in MODULES))
REFUTED = {
    "constrained-rate-full-rank",
    "contrastive-unequal-batch",
    "deep-linear-collapse-optimal",
    "deep-relu-collapse-optimal",
    "equilibrium-escape-of-cross-entropy",
    "equilibrium-minima-global",
    "focal-only-minimum",
    "graph-chance-of-ratios",
    "graph-chance-of-rows",
    "graph-power-iteration-converged",
    "graph-ratios",
    "mse-simplex-without-bias",
    "noise-window-without-end",
    "rate-reduction-one-minimum",
    "rescaled-mse-zero-modes",
    "rescaling-better-conditioned",
    "singular-values-invariant",
    "smoothing-better-conditioned",
    "weights-restore-etf",
}

pytestmark = pytest.mark.xdist_group("claims-b")  # the specimens are found once
every_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)


def judge(claim: Claim, *, quick: bool) -> None:
    outcome = check_claim(claim, quick=quick)
    assert outcome.instances > 0
    assert outcome.expected, (outcome.status, outcome.worst_margin, outcome.worst_specimen)
    assert outcome.mutant_rejected, outcome.mutant_margin
    refuted = claim.id in REFUTED
    assert outcome.status is (Status.COUNTEREXAMPLE if refuted else Status.VERIFIED)
    assert (outcome.counterexample is not None) == refuted


@pytest.mark.slow
@every_claim
def test_quick(claim: Claim) -> None:
    judge(claim, quick=True)


@pytest.mark.slow
@every_claim
def test_in_full(claim: Claim) -> None:
    judge(claim, quick=False)


def test_they_are_registered_and_refutations_are_named() -> None:
    registered = {claim.id for claim in core_claims()}
    assert {claim.id for claim in CLAIMS} <= registered
    assert {claim.id for claim in CLAIMS if not claim.holds} == REFUTED
    assert all(claim.title.startswith("Refuted") for claim in CLAIMS if not claim.holds)


@every_claim
def test_texts_are_complete(claim: Claim) -> None:
    assert claim.statement.endswith((".", ")"))
    assert claim.latex
    assert "$" not in claim.latex
    assert "\\\\lambda" not in claim.latex
    assert claim.tolerance.reason
    assert claim.mutant.text


@pytest.mark.slow
def test_the_smallest_spurious_minimum_of_focal_loss_has_eighteen_classes() -> None:
    claim = next(c for c in focal.CLAIMS if c.id == "focal-only-minimum")
    outcome = check_claim(claim, quick=True)
    assert outcome.counterexample is not None
    assert "K=18" in outcome.counterexample


def test_smoothing_helps_the_feature_block_at_large_c_alone() -> None:
    smoothed = [s for s in conditioning.conditioned(True) if s.model.loss.name == "ls(0.1)"]
    rise = {round(s.model.c, 2): conditioning._smoothing_blocks(s) for s in smoothed}
    assert rise[min(rise)] > 1
    assert rise[max(rise)] == 0


def test_a_multiplicity_that_does_not_add_up_is_an_infinite_error() -> None:
    specimen = spectra.closed_forms(True)[0]
    assert spectra.table_error([(1.0, 3)], specimen) == np.inf
    assert spectra.table_error([(1.0, -3)], specimen) == np.inf


def test_the_circle_of_projectors_is_no_symmetry_orbit() -> None:
    first, second = (rescaled.turned_projector(angle) for angle in (0.3, 0.7))
    for projector in (first, second):
        np.testing.assert_allclose(projector @ projector, projector, atol=1e-15)
    entries = [np.sort(np.abs(projector).ravel()) for projector in (first, second)]
    assert np.abs(entries[0] - entries[1]).max() > 0.05  # no permutation, no change of signs


def test_an_identity_is_proved_or_reports_its_size() -> None:
    import sympy

    x = sympy.symbols("x", positive=True)
    assert size(x, x) == 0
    assert size((x + 1) ** 2, x**2 + 2 * x) == 1
    # Equal at the points where it is tried, and false: not proved.
    points = [sympy.Rational(b, q) for _, b, _, q in POINTS]
    vanishing = sympy.prod([x - point for point in points])
    assert size(x + vanishing, x) == 1
