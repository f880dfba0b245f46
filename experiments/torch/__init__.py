"""A PyTorch model of yours: what goes into its last layer, and theory beside it.

It lives here because ``experiments`` is where everything is that has a network, a file or a page;
``ufm`` and ``landscape`` are mathematics on arrays, and know no framework. Nothing is imported
before it is used: PyTorch comes with the model that you hand over, Lightning, Transformers and
Keras with the callback that you ask for, and none of them is a dependency.

docs/tutorials/measure.md goes through it; the tests run that page where PyTorch is installed.
"""

from experiments.torch.batches import collect
from experiments.torch.callbacks import (
    METRICS,
    keras_callback,
    lightning_callback,
    metric_values,
    trainer_callback,
)
from experiments.torch.terms import terms_of
from experiments.torch.watching import Watched, watch

__all__ = [
    "METRICS",
    "Watched",
    "collect",
    "keras_callback",
    "lightning_callback",
    "metric_values",
    "terms_of",
    "trainer_callback",
    "watch",
]
