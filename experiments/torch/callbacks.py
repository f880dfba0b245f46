"""Collapse while a network trains, under fixed names: for Lightning, Transformers and Keras.

Each function imports its framework and returns an object of its callback class; the measuring is
that of ``watch`` in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from experiments.networks.theory import Measurement, Terms, measure_batches
from experiments.networks.theory.measurement import curve_values
from experiments.torch.watching import watch
from ufm.errors import InputError

# Name -> what is logged: a collapsed network at its minimum has 0 in the first three and the last.
METRICS = {
    "collapse/nc1": "NC1",
    "collapse/nc2": "NC2",
    "collapse/nc3": "NC3",
    "collapse/error": "error",
    "collapse/logit_gap": "logit gap",
    "collapse/objective": "objective",
    "collapse/above_theory": "above",
}


def metric_values(made: Measurement) -> dict[str, float]:
    """The numbers of a measurement under their fixed names; those that are not known are left out.

    ``collapse/above_theory`` is objective / minimum - 1, where they may be compared.

    Example:
        >>> from experiments.networks.theory import measure
        >>> metric_values(measure([[1.0], [-1.0]], [0, 1], [[1.0], [-1.0]]))["collapse/logit_gap"]
        2.0
    """
    values = dict(curve_values(made))
    above = None if made.appraisal is None else made.appraisal.above
    values["above"] = math.nan if above is None else above
    found = {name: float(values.get(key, math.nan)) for name, key in METRICS.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _due(epoch: float, every: int) -> bool:
    return round(epoch) % every == 0


def lightning_callback(
    head: Any = None, loader: Any = None, *, every: int = 1, **options: Any
) -> Any:
    """A callback for ``lightning.pytorch.Trainer(callbacks=[...])``.

    It logs ``METRICS`` at the end of every training epoch, with the trainer's first optimiser and
    its training data unless a loader is given.

    Args:
        head: the last layer, by name or itself.
        loader: of the training set without augmentation.
        every: so many epochs.
        options: as ``watch`` has them.

    Raises:
        InputError: Lightning is not installed.
    """
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError as error:
            raise _missing("Lightning", "lightning") from error

    class Collapse(Callback):
        """Logs collapse at the end of training epochs."""

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if _due(trainer.current_epoch + 1, every):
                data = trainer.train_dataloader if loader is None else loader
                asked = {"optimizer": trainer.optimizers[0], **options}
                module.log_dict(metric_values(watch(module, head, data, **asked).measurement))

    return Collapse()


def trainer_callback(
    head: Any = None, loader: Any = None, *, every: int = 1, **options: Any
) -> Any:
    """A callback for ``transformers.Trainer(callbacks=[...])``.

    It appends ``METRICS`` to ``state.log_history`` at the end of every epoch, with the trainer's
    optimiser and training data unless a loader is given. Its default optimiser is AdamW, which has
    no theory; collapse is measured all the same.

    Args:
        head: the last layer, by name or itself.
        loader: of the training set without augmentation.
        every: so many epochs.
        options: as ``watch`` has them.

    Raises:
        InputError: Transformers is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ImportError as error:
        raise _missing("Transformers", "transformers") from error

    class Collapse(TrainerCallback):
        """Logs collapse at the end of epochs."""

        def on_epoch_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
            if _due(state.epoch, every):
                data = parts["train_dataloader"] if loader is None else loader
                # Accelerate wraps the optimiser; what it wraps has the name.
                optimizer = parts.get("optimizer")
                asked = {"optimizer": getattr(optimizer, "optimizer", optimizer), **options}
                values = metric_values(watch(parts["model"], head, data, **asked).measurement)
                state.log_history.append(
                    {**values, "epoch": state.epoch, "step": state.global_step}
                )

    return Collapse()


def keras_callback(
    head: str, data: Iterable[Any], *, terms: Terms | None = None, every: int = 1
) -> Any:
    """A callback for ``model.fit(callbacks=[...])`` of Keras, on any of its backends.

    It adds ``METRICS`` to the logs of every epoch, and so to the history. Keras' own
    ``weight_decay`` is decoupled for every optimiser (``optimizer="adamw"`` in the terms); a
    ``kernel_regularizer`` L2(x) is x |W|^2, so that lambda_W = 2 x.

    Args:
        head: the name of the last layer, a Dense one.
        data: batches (inputs, labels) of the training set, to be gone through again and again.
        terms: loss and decays, in the lab's units; by default none, and no theory.
        every: so many epochs.

    Raises:
        InputError: Keras is not installed.
    """
    try:
        import keras
    except ImportError as error:
        raise _missing("Keras", "keras") from error
    from ufm.collapse.inputs import on_host

    class Collapse(keras.callbacks.Callback):
        """Adds collapse to the logs of epochs."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if not _due(epoch + 1, every):
                return
            layer = self.model.get_layer(head)
            inner = keras.Model(self.model.inputs, layer.input)
            W = on_host(layer.kernel.value).T
            b = on_host(layer.bias.value) if layer.use_bias else None
            batches = ((on_host(inner(x, training=False)), on_host(y)) for x, y in data)
            if logs is not None:
                logs.update(metric_values(measure_batches(batches, W, b, terms)))

    return Collapse()


def _missing(name: str, package: str) -> InputError:
    return InputError(f"Need {name} for this callback", "no such package", f"pip install {package}")
