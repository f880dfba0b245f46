"""Stochastic block models: how likely classes collapse, by going through all graphs (GU-5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.graph import SOURCE, SUBJECT
from proofs_check.instance import Instance
from proofs_check.law import Law
from proofs_check.specimens import where
from ufm.models.graph_chance import biregular_matrices, regular_graphs

Array = NDArray[Any]
# Fractions of a few neighbours differ by more, and by no more than rounding if they are equal.
SAME = 1e-9
# All graphs of so many nodes are gone through: 2^15.
MOST_NODES = 6


@dataclass(frozen=True)
class BlockModel(Instance):
    """Random graphs of K classes of n nodes, edges with probability p inside and q outside."""

    K: int
    n: int
    p: float
    q: float
    kind: str = "stochastic block model"

    @property
    def columns(self) -> dict[str, float]:
        """K, n, p and q."""
        return {"K": self.K, "n": self.n, "p": self.p, "q": self.q}

    @property
    def label(self) -> str:
        """The numbers in words."""
        return f"{self.kind} K={self.K} n={self.n} p={self.p} q={self.q}"


def block_models(quick: bool = False) -> tuple[BlockModel, ...]:
    """As many nodes as all graphs can be gone through."""
    settings = ((2, 3, 0.5, 0.3), (2, 3, 1.0, 0.3), (3, 2, 0.7, 0.2), (2, 2, 0.4, 0.6))
    return tuple(BlockModel(*setting) for setting in settings)


def unlikely_models(quick: bool = False) -> tuple[BlockModel, ...]:
    """Block models in which every block is uncertain."""
    return block_models(quick)[:1]


def _can_be_gone_through(instance: BlockModel) -> bool:
    return 0 <= instance.p <= 1 and 0 <= instance.q <= 1 and instance.K * instance.n <= MOST_NODES


def _enumerated(instance: BlockModel) -> float:
    """The probability of equal counts, summed over all graphs."""
    return _summed(instance, _equal_counts)


def _enumerated_ratios(instance: BlockModel) -> tuple[float, float]:
    """Of equal ratios without isolated nodes; of equal ratios where nodes are seen alike too."""

    def connected(A: Array, labels: Array) -> Array:
        return np.asarray(_equal_ratios(A, labels)[0] & np.all(A.sum(axis=2) > 0, axis=1))

    def both(A: Array, labels: Array) -> Array:
        return np.asarray(np.logical_and(*_equal_ratios(A, labels)))

    return _summed(instance, connected), _summed(instance, both)


def _summed(instance: BlockModel, holds: Callable[[Array, Array], Array]) -> float:
    """The probability of what holds, of adjacencies (graphs, N, N) and labels, over all graphs."""
    nodes = instance.K * instance.n
    labels = np.repeat(np.arange(instance.K), instance.n)
    first, second = np.triu_indices(nodes, 1)
    drawn = (np.arange(2 ** len(first))[:, None] >> np.arange(len(first))) & 1
    A = np.zeros((len(drawn), nodes, nodes), dtype=int)
    A[:, first, second] = A[:, second, first] = drawn
    alike = holds(A, labels)
    chance = np.where(labels[first] == labels[second], instance.p, instance.q)
    weights = np.prod(np.where(drawn[alike], chance, 1 - chance), axis=1)
    return float(np.sum(weights))


def _equal_counts(A: Array, labels: Array) -> Array:
    K = labels.max() + 1
    blocks = (A @ (labels[:, None] == np.arange(K))).reshape(len(A), K, -1, K)
    return np.asarray(np.all(blocks == blocks[:, :, :1], axis=(1, 2, 3)))


def _equal_ratios(A: Array, labels: Array) -> tuple[Array, Array]:
    """Nodes of a class see equal fractions of every class, none if isolated; are seen alike."""
    K, degrees = labels.max() + 1, A.sum(axis=2)
    own = (labels[:, None] == np.arange(K)).astype(float)
    weights = A / np.maximum(degrees, 1)[:, None, :]
    told = []
    for told_of in (weights.transpose(0, 2, 1) @ own, weights @ own):
        blocks = told_of.reshape(len(A), K, -1, K)
        told.append(np.all(np.abs(blocks - blocks[:, :, :1]) < SAME, axis=(1, 2, 3)))
    return told[0], told[1]


# ---- formulas


def chance(K: int, n: int, p: float, q: float) -> float:
    """Regular blocks and biregular ones, each a sum over the common number of neighbours."""
    own, other = 0.0, 0.0
    for t in range(n):
        own += regular_graphs(n, t) * p ** (n * t / 2) * (1 - p) ** (n * (n - 1 - t) / 2)
    for t in range(n + 1):
        other += biregular_matrices(n, t) * q ** (n * t) * (1 - q) ** (n * (n - t))
    return float(own**K * other ** (K * (K - 1) / 2))


def _chance_of_rows(K: int, n: int, p: float, q: float) -> float:
    """Rows alone: every column sum is allowed."""
    own, other = 0.0, 0.0
    for t in range(n):
        own += regular_graphs(n, t) * p ** (n * t / 2) * (1 - p) ** (n * (n - 1 - t) / 2)
    for t in range(n + 1):
        other += (comb(n, t) * q**t * (1 - q) ** (n - t)) ** n
    return float(own**K * other ** (K * (K - 1) / 2))


def _twice(K: int, n: int, p: float, q: float) -> tuple[float, float]:
    told = chance(K, n, p, q)
    return told, told


def _never(K: int, n: int, p: float, q: float) -> tuple[float, float]:
    return 0.0, 0.0


_SUMS = Tolerance(1e-12, "sums of 2^15 products of float64; seen 1e-15")

CLAIMS = (
    Claim(
        id="graph-chance",
        title="Graphs: how likely classes of a block model collapse",
        statement="The probability of equal counts of neighbours is a product over blocks of sums "
        "over regular graphs and biregular matrices.",
        latex=r"\Big[\sum_tR(n,t)p^{nt/2}(1-p)^{n(n-1-t)/2}\Big]^K"
        r"\Big[\sum_tB(n,t)q^{nt}(1-q)^{n(n-t)}\Big]^{K(K-1)/2}",
        source=f"GU-5; {SOURCE}",
        region=where(block_models, _can_be_gone_through),
        check=Law(chance, _enumerated),
        tolerance=_SUMS,
        mutant=Mutant("rows alone", Law(_chance_of_rows, _enumerated)),
        subject=SUBJECT,
    ),
    Claim(
        id="graph-chance-of-rows",
        title="Refuted: equal counts need a look at the rows of blocks alone",
        statement="FALSE: in a block between classes it is enough that its rows have equal sums. "
        "That is an upper bound, as public code has it.",
        latex=r"\sum_t\Big[\tbinom ntq^t(1-q)^{n-t}\Big]^n",
        source=f"GU-5; {SOURCE}",
        literature="refuted",
        region=where(unlikely_models, _can_be_gone_through),
        check=Law(_chance_of_rows, _enumerated),
        tolerance=_SUMS,
        mutant=Mutant("never", Law(lambda K, n, p, q: 0.0, _enumerated)),
        holds=False,
        subject=SUBJECT,
        uses=("graph-chance",),
    ),
    Claim(
        id="graph-chance-of-ratios",
        title="Refuted: equal ratios of neighbours are as rare as equal counts",
        statement="FALSE: that nodes of a class have equal fractions of neighbours, or are seen "
        "with equal weights besides, is as likely as equal counts. Both are likelier.",
        latex=r"P(Q\hat A=Q\hat AQ)=P(\text{equal counts})",
        source=f"GU-5; {SOURCE}",
        literature="refuted",
        region=where(unlikely_models, _can_be_gone_through),
        check=Law(_twice, _enumerated_ratios),
        tolerance=_SUMS,
        mutant=Mutant("never", Law(_never, _enumerated_ratios)),
        holds=False,
        subject=SUBJECT,
        uses=("graph-chance",),
    ),
)
