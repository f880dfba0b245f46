"""Cross entropy with numbers for every class, against unequal class sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ufm.errors import InputError, require_positive
from ufm.losses.dual import Dual, SimplexDual
from ufm.losses.loss import Fact, Loss, Properties
from ufm.records import pytree_record
from ufm.typing import Array


@pytree_record(static=("label",), eq=False)
class AdjustedCrossEntropy(Loss):
    """Cross entropy with a weight, a scale, an offset and a margin for every class.

    L(z, k) = weights_k CE(scales * z + offsets - margins_k e_k, k),  weights, scales > 0.
    Source: additive and multiplicative forms after Menon et al. 2021 (arXiv 2007.07314), Kini et
    al. 2021 (arXiv 2103.01550), Cao et al. 2019 (arXiv 1906.07413); their union derived here.

    Args:
        num_classes: K >= 2.
        weights, scales, offsets, margins: (K,) each; left out: 1, 1, 0, 0.
        label: the name shown in results, without the parameters.
        parameters: the numbers that the name shows.

    Raises:
        InputError: an array of another length or not finite, a weight or a scale that is not
            positive.

    Example:
        >>> heavy = AdjustedCrossEntropy(2, weights=[1.0, 3.0])
        >>> [round(float(heavy(jnp.zeros(2), k)), 6) for k in (0, 1)]  # log 2, 3 log 2
        [0.693147, 2.079442]
    """

    weights: Any
    scales: Any
    offsets: Any
    margins: Any
    label: str
    parameters: Any

    def __init__(
        self,
        num_classes: int,
        *,
        weights: Any = 1.0,
        scales: Any = 1.0,
        offsets: Any = 0.0,
        margins: Any = 0.0,
        label: str = "adjusted-ce",
        parameters: Sequence[float] = (),
    ) -> None:
        given = {"weights": weights, "scales": scales, "offsets": offsets, "margins": margins}
        for name, value in given.items():
            array = _per_class(value, name, num_classes)
            if name in ("weights", "scales"):
                require_positive(array.min(), f"every one of the {name}", "use 1 for no change")
            object.__setattr__(self, name, array)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "parameters", tuple(parameters))

    def __call__(self, logits: Any, label: Any) -> Any:
        """The adjusted loss of one sample, logits (K,), label in 0..K-1."""
        own = jnp.arange(logits.shape[0]) == label
        # In the precision of the logits: float32 ones stay so.
        s, o, m = (jnp.asarray(x, logits.dtype) for x in (self.scales, self.offsets, self.margins))
        adjusted = s * logits + o - jnp.where(own, m, 0)
        return jnp.asarray(self.weights, logits.dtype)[label] * (
            jax.nn.logsumexp(adjusted) - adjusted[label]
        )

    def properties(self, num_classes: int) -> Properties:
        """Convex and nonnegative always; what else is left depends on which numbers are equal."""
        one_scale = bool(np.ptp(self.scales) == 0)
        # With two classes the only other logit is the mean of the others.
        level = num_classes == 2 or (one_scale and bool(np.ptp(self.offsets) == 0))
        return Properties(
            convex=Fact(True),
            shift_invariant=Fact(one_scale, note="" if one_scale else "unequal scales"),
            equivariant=Fact(not self.kinds(num_classes).any()),
            equalising=Fact(level, note="" if level else "unequal scales or offsets"),
            contrastive=Fact(level and one_scale),
            isometric=Fact(False),
            nonnegative=Fact(True),
            smooth=Fact(True),
        )

    def shift(self, num_classes: int) -> Array:
        """1 / scales: it adds one number to all scaled logits."""
        return np.asarray(1 / np.asarray(self.scales))

    def kinds(self, num_classes: int) -> Any:
        """Classes with the same four numbers, to the last digit, are of one kind."""
        numbers = np.stack([self.weights, self.scales, self.offsets, self.margins], axis=1)
        return np.unique(numbers, axis=0, return_inverse=True)[1].ravel()

    def at(self, num_classes: int) -> AdjustedCrossEntropy:
        """This loss, if it has so many classes.

        Raises:
            InputError: another number of classes.
        """
        if num_classes != len(self.weights):
            rule = f"{self.name} has numbers for {len(self.weights)} classes"
            raise InputError(rule, f"K = {num_classes}", "make it for the classes of the model")
        return self

    @property
    def name(self) -> str:
        """The label with the parameters, e.g. ``logit-adjusted(1)``."""
        return _named(self.label, self.parameters)

    @property
    def dual(self) -> AdjustedDual:
        """Entropy on the simplex in units of weights and scales."""
        K = len(self.weights)
        offsets = np.tile(np.asarray(self.offsets)[:, None], K) - np.diag(self.margins)
        return AdjustedDual(np.asarray(self.weights), np.asarray(self.scales), offsets)


@dataclass(frozen=True, eq=False)
class AdjustedDual(Dual):
    """The conjugate of w_k CE(s * z + o_k, k), by x = s * z + o_k.

    L_k^*(v) = w_k CE^*(v / (w_k s)) - <v / s, o_k>. Source: standard calculus of conjugates.

    Args:
        weights: w (K,).
        scales: s (K,).
        offsets: o_k as columns (K, K).

    Example:
        >>> V = np.array([[-1.0, 1.0], [1.0, -1.0]])  # probabilities 1/2: -log 2 + 1/2
        >>> AdjustedDual(np.ones(2), np.full(2, 2.0), np.eye(2)).conjugate(V).round(6).tolist()
        [-0.193147, -0.193147]
    """

    weights: Array
    scales: Array
    offsets: Array

    @property
    def _units(self) -> Array:
        """What a gradient of cross entropy is multiplied by, entry by entry (K, K)."""
        return np.outer(self.scales, self.weights)

    def conjugate(self, V: Array) -> Array:
        """Columnwise conjugate values."""
        entropies = self.weights * SimplexDual(0.0).conjugate(V / self._units)
        return np.asarray(entropies - np.sum(V / self.scales[:, None] * self.offsets, axis=0))

    def recentre(self, V: Array, proportions: Array) -> Array:
        """As for cross entropy with the weighted proportions: a scale divides a whole row."""
        shares = proportions * self.weights
        return SimplexDual(0.0).recentre(V / self._units, shares / shares.sum()) * self._units


# ---- the adjustments of the literature, from the class sizes of a model


@pytree_record(static=("label", "rule"))
class FromCounts(Loss):
    """A loss whose numbers come from the class sizes of the model that takes it.

    A model keeps the ``AdjustedCrossEntropy`` that ``for_counts`` gives; by itself it has no value.

    Args:
        label: the name without parameters.
        parameters: of the rule.
        rule: of (counts, *parameters), gives some of weights, scales, offsets and margins by name.

    Example:
        >>> float(logit_adjusted(1.0).for_counts([3, 1]).offsets[1])  # log 1/4
        -1.3862943611198906
    """

    label: str
    parameters: tuple[float, ...]
    rule: Callable[..., dict[str, Any]]

    def __call__(self, logits: Any, label: Any) -> Any:
        """Refused: see ``at``."""
        return self.at(logits.shape[0])(logits, label)

    def properties(self, num_classes: int) -> Properties:
        """Refused: see ``at``."""
        return self.at(num_classes).properties(num_classes)

    def for_counts(self, counts: Sequence[int]) -> AdjustedCrossEntropy:
        """The loss with the numbers that belong to these class sizes."""
        sizes = np.asarray(counts, dtype=np.float64)
        with np.errstate(all="ignore"):  # what overflows is refused below
            numbers = self.rule(sizes, *self.parameters)
        label, parameters = self.label, self.parameters
        return AdjustedCrossEntropy(len(sizes), **numbers, label=label, parameters=parameters)

    def at(self, num_classes: int) -> AdjustedCrossEntropy:
        """Refused, for the class sizes are not known.

        Raises:
            InputError: always.
        """
        rule = f"The numbers of {self.name} come from class sizes"
        raise InputError(rule, "none", "give it to a model, or use .for_counts(counts)")

    @property
    def name(self) -> str:
        """The label with the parameters."""
        return _named(self.label, self.parameters)


def logit_adjusted(tau: float = 1.0) -> FromCounts:
    """Logit adjustment: CE(z + tau log pi, k), pi_k = n_k / N.

    Source: Menon et al. 2021 (arXiv 2007.07314). Works by the bias alone where that is free (ADJ-1
    of docs/theory.md).

    Example:
        >>> logit_adjusted(1.5).name
        'logit-adjusted(1.5)'
    """
    return FromCounts("logit-adjusted", _finite(tau=tau), _priors)


def class_weighted(gamma: float = 1.0) -> FromCounts:
    """Class weights: (N / (K n_k))^gamma CE(z, k); gamma = 1 gives every class the same share.

    Source: standard (inverse frequency).

    Example:
        >>> class_weighted(1.0).for_counts([3, 1]).weights.round(6).tolist()
        [0.666667, 2.0]
    """
    return FromCounts("weighted-ce", _finite(gamma=gamma), _inverse_frequencies)


def vector_scaling(gamma: float = 0.25, tau: float = 1.0) -> FromCounts:
    """VS loss: CE(Delta * z + tau log pi, k), Delta_k = (n_k / max n)^gamma; CDT for tau = 0.

    Source: Kini et al. 2021 (arXiv 2103.01550); CDT: Ye et al. 2020 (arXiv 2001.01385).

    Example:
        >>> vector_scaling(0.5).for_counts([4, 1]).scales.tolist()
        [1.0, 0.5]
    """
    return FromCounts("vs", _finite(gamma=gamma, tau=tau), _powers)


def ldam(margin: float = 0.5) -> FromCounts:
    """LDAM: CE(z - Delta_k e_k, k), Delta_k = margin (min n / n_k)^(1/4).

    Source: Cao et al. 2019 (arXiv 1906.07413), without their scale and their normalised features.

    Example:
        >>> ldam(0.5).for_counts([16, 1]).margins.tolist()
        [0.25, 0.5]
    """
    return FromCounts("ldam", _finite(margin=margin), _fourth_roots)


# Functions of the module: equal losses have equal rules, and travel by pickle.


def _priors(counts: Array, tau: float) -> dict[str, Any]:
    return {"offsets": tau * np.log(counts / counts.sum())}


def _inverse_frequencies(counts: Array, gamma: float) -> dict[str, Any]:
    return {"weights": (counts.mean() / counts) ** gamma}


def _powers(counts: Array, gamma: float, tau: float) -> dict[str, Any]:
    return {"scales": (counts / counts.max()) ** gamma, **_priors(counts, tau)}


def _fourth_roots(counts: Array, margin: float) -> dict[str, Any]:
    return {"margins": margin * (counts.min() / counts) ** 0.25}


def _finite(**parameters: float) -> tuple[float, ...]:
    for name, value in parameters.items():
        if not np.isfinite(value):
            raise InputError(f"Need a finite {name}", value, "use a value such as 0.5")
    return tuple(float(value) for value in parameters.values())


def _per_class(value: Any, name: str, num_classes: int) -> Array:
    """One finite number per class."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim > 1 or (array.ndim and len(array) != num_classes):
        rule = f"Need one of the {name} per class, K = {num_classes}"
        raise InputError(rule, f"shape {array.shape}", "give a number, or one for every class")
    if not np.isfinite(array).all():
        infinite = float(array[~np.isfinite(array)][0])
        raise InputError(f"Need finite {name}", infinite, "use smaller numbers")
    return np.broadcast_to(array, (num_classes,)).copy()


def _named(label: str, parameters: Sequence[float]) -> str:
    written = ",".join(f"{float(value):g}" for value in parameters)
    return f"{label}({written})" if written else label
