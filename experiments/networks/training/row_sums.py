"""The exact course of the sum of classifier rows in a run, where its settings leave one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experiments.networks.training.schedule import learning_rate
from experiments.networks.training.settings import TrainSettings
from ufm.row_sums import nc0_course


def nc0_law(
    settings: TrainSettings, num_samples: int, num_classes: int
) -> NDArray[np.float64] | None:
    """NC0 after every epoch over that at the start (``nc0_course``), None without a law.

    There is one for SGD on a trained classifier and a loss of the logits that ignores common
    shifts. Coupled decay must reach the momentum as it is, so no gradient may be shortened.

    Source: OP-1 of docs/theory.md.

    Args:
        settings: of the run.
        num_samples: N.
        num_classes: K.

    Returns:
        (epochs + 1,), from 1.

    Example:
        >>> from experiments.networks.training.decay import WeightDecay
        >>> made = TrainSettings(
        ...     epochs=1, decay=WeightDecay(0.5), decoupled=True, learning_rate=1.0, batch_size=2
        ... )
        >>> nc0_law(made, 5, 3).tolist()
        [1.0, 0.0625]
    """
    objective = settings.make_objective()
    loss, decay = objective.ufm_loss, settings.decay.lambda_W
    if settings.optimizer != "sgd" or settings.fixed_etf or objective.extra_lambda_W:
        return None
    if loss is None or not loss.properties(num_classes).shift_invariant:
        return None
    if settings.max_gradient_norm and decay and not settings.decoupled:
        return None
    rates = [
        learning_rate(settings.schedule, settings.first_rate, epoch, settings.epochs)
        for epoch in range(settings.epochs)
    ]
    return nc0_course(
        rates,
        num_samples // (settings.batch_size or num_samples),
        decay,
        settings.momentum,
        nesterov=settings.nesterov,
        decoupled=settings.decoupled,
    )
