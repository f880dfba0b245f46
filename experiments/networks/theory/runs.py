"""A finished run beside its model, from the numbers that its folder keeps."""

from __future__ import annotations

from experiments.networks.runs import Run
from experiments.networks.theory.comparison import Comparison, Quantity
from experiments.networks.theory.matching import NoTheory, matching_model
from experiments.networks.theory.prediction import predict
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
    model = matching_model(settings, run.counts, (found["square_W"], found["square_H"]))
    if isinstance(model, NoTheory):
        return model
    prediction = predict(model, nonnegative=settings.architecture.features == "relu")
    if isinstance(prediction, NoTheory):
        return prediction
    # The objective with the decay of the model, which is not that of the run if weights decay.
    value = found["train_loss"] + 0.5 * float(model.lambda_W) * found["square_W"]
    value += 0.5 * float(model.lambda_H) * found["square_H"]
    value += 0.5 * float(model.lambda_b or 0.0) * found["square_b"]
    return Comparison(
        objective=Quantity(value, prediction.objective),
        W_squared=Quantity(found["square_W"], prediction.W_squared),
        H_squared=Quantity(found["square_H"], prediction.H_squared),
        gap=Quantity(found["logit_gap"], prediction.gap),
        gap_spread=found["logit_gap_spread"],
        c=model.c,
        lambda_H=float(model.lambda_H),
        estimated=not isinstance(settings.decay, FeatureDecay),
        prediction=prediction,
    )
