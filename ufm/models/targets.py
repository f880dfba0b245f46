"""Cross entropy of sample types against rows of targets: distributions, or sets of labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from ufm.models.sample_types import SampleTypes
from ufm.records import pytree_record
from ufm.typing import Array


@pytree_record(static=("d", "merged"), eq=False)
class Targets(SampleTypes):
    """Sample types whose loss is sum_k y_k (logsumexp(z) - z_k), y a row of targets.

    Attributes:
        targets: rows (T, K), not negative; they need not sum to one.
    """

    targets: Any

    @property
    def num_logits(self) -> int:
        """K."""
        return int(np.shape(self.targets)[1])

    def sample_loss(self, z: Any, kind: Any) -> Any:
        """Cross entropy against one row."""
        return (jnp.asarray(self.targets)[kind] * (jax.nn.logsumexp(z) - z)).sum()

    def floors(self) -> Array:
        """sum_k y_k log(m / y_k), m the sum of a row: probabilities y / m."""
        targets = np.asarray(self.targets)
        mass = targets.sum(axis=1)
        return np.asarray(scipy.special.entr(targets).sum(axis=1) + scipy.special.xlogy(mass, mass))
