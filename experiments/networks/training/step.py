"""One step of training, compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from experiments.networks.architectures import Network, trainable
from experiments.networks.training.optimisers import direction
from experiments.networks.training.settings import TrainSettings


class TrainState(NamedTuple):
    """What changes in training, and all that a resumed run needs: a tree of arrays.

    Attributes:
        network: parameters and running statistics.
        momentum: the optimiser's state: trees of the trained parameters.
        auxiliary: the objective's parameters of the samples, () if it has none.
    """

    network: Network
    momentum: Any
    auxiliary: Any


class StepValues(NamedTuple):
    """Of one batch, before the step: objective with decay, without, and correct predictions."""

    objective: Any
    loss: Any
    correct: Any


Step = Callable[[TrainState, Any, Any, Any, Any, Any, Any], tuple[TrainState, StepValues]]


def _optimiser(settings: TrainSettings) -> Any:
    s = settings
    return direction(s.optimizer, s.momentum, s.nesterov, s.max_gradient_norm)


def initial_state(settings: TrainSettings, network: Network, auxiliary: Any) -> TrainState:
    """The state before the first step: no momentum.

    Example:
        >>> from experiments.networks.training.settings import initial_network
        >>> settings = TrainSettings(d=5)
        >>> state = initial_state(settings, initial_network(settings, (2, 3, 1), 3), ())
        >>> jax.tree.leaves(state.momentum)[-1].tolist()
        [0.0, 0.0, 0.0]
    """
    trained = eqx.filter(network, trainable(network))
    return TrainState(network, _optimiser(settings).init(trained), auxiliary)


def make_step(settings: TrainSettings, num_samples: int, batch_size: int) -> Step:
    """The compiled step ``(state, images, labels, order, number, rate, key) -> (state, values)``.

    It takes the samples order[number * batch_size :][:batch_size]. The state given is used up
    (its memory becomes the new state's). With g the gradient of the objective with decay:
    theta <- theta - rate direction(g), see ``direction``. Decoupled: g lacks the decay of
    parameters, and theta <- theta - rate (direction(g) + the gradient of that decay). The samples'
    own parameters of an objective move by their own rates, without momentum.

    Args:
        settings: of the run.
        num_samples: N.
        batch_size: samples per step, at most N.
    """
    # None of these is in the program, so runs that differ in them alone share it.
    same = replace(settings, seed=0, epochs=1, learning_rate=1.0, schedule="constant")
    return _compiled(_Shared(same.key, same), num_samples, batch_size)


@dataclass(frozen=True)
class _Shared:
    """Settings that are equal when their keys are."""

    key: str
    settings: TrainSettings = field(compare=False)


@lru_cache(maxsize=16)
def _compiled(shared: _Shared, num_samples: int, batch_size: int) -> Step:
    settings = shared.settings
    objective, decay = settings.make_objective(), settings.decay
    optimiser = _optimiser(settings)

    def step(
        state: TrainState, images: Any, labels: Any, order: Any, number: Any, rate: Any, key: Any
    ) -> tuple[TrainState, StepValues]:
        indices = jax.lax.dynamic_slice(order, (number * batch_size,), (batch_size,))
        image_key, feature_key = jax.random.split(jax.random.fold_in(key, number))
        batch, own = settings.augmentation(images[indices], image_key), labels[indices]
        trained, constant = eqx.partition(state.network, trainable(state.network))
        rows = jax.tree.map(lambda array: array[indices], state.auxiliary)

        def value(trained: Any, rows: Any) -> tuple[Any, tuple[Any, StepValues]]:
            network = eqx.combine(trained, constant)
            features, after = network.features(batch, training=True)
            seen = objective.dropped(features, feature_key)
            logits, W = network.head(seen), network.head.W
            loss = objective(logits, own, seen, W, rows)
            total = loss + decay.penalty(network, features, num_samples)
            coupled = loss + decay.of_features(features, num_samples)
            guess = jnp.argmax(objective.outputs(logits, seen, W), axis=-1)
            values = StepValues(total, loss, jnp.sum(guess == own))
            return coupled if settings.decoupled else total, (after, values)

        gradient = jax.grad(value, argnums=(0, 1), has_aux=True)
        (slope, slope_of_rows), (after, values) = gradient(trained, rows)
        move, momentum = optimiser.update(slope, state.momentum)
        if settings.decoupled:
            shrink = jax.grad(lambda now: decay.of_parameters(eqx.combine(now, constant)))(trained)
            move = jax.tree.map(jnp.add, move, shrink)
        trained = jax.tree.map(lambda x, m: x - rate * m, trained, move)
        network = eqx.tree_at(lambda n: n.state, eqx.combine(trained, constant), after)
        auxiliary = jax.tree.map(
            lambda array, own_rate, slope: array.at[indices].add(-own_rate * slope),
            state.auxiliary,
            objective.rates,
            slope_of_rows,
        )
        return TrainState(network, momentum, auxiliary), values

    compiled: Step = jax.jit(step, donate_argnums=0)
    return compiled
