"""A finished run beside its model, from the numbers that its folder keeps."""

from __future__ import annotations

from experiments.networks.runs import Run
from experiments.networks.theory.comparison import Comparison, Measured, beside, theory_of
from experiments.networks.theory.matching import NoTheory
from experiments.networks.training import FeatureDecay, Outcome


def run_against_theory(run: Run) -> Comparison | NoTheory:
    """Compare a run with the minimum of the model that its settings describe.

    The same as ``network_against_theory`` at the last measurement, without the network.

    Args:
        run: with an outcome.
    """
    if run.outcome is not Outcome.COMPLETED:
        return NoTheory(f"the run did not end: {run.outcome.value}")
    found, settings = run.final, run.request.settings
    if "square_W" not in found:
        return NoTheory("its features are no longer finite")
    measured = Measured(
        loss=found["train_loss"],
        W_squared=found["square_W"],
        H_squared=found["square_H"],
        b_squared=found["square_b"],
        gap=found["logit_gap"],
        gap_spread=found["logit_gap_spread"],
    )
    theory = theory_of(settings, run.counts, (measured.W_squared, measured.H_squared))
    if isinstance(theory, NoTheory):
        return theory
    return beside(*theory, measured, estimated=not isinstance(settings.decay, FeatureDecay))
