"""Stochastic block models: how likely classes collapse, by going through all graphs (GU-5)."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.graph import SOURCE, SUBJECT
from proofs_check.instance import Instance
from proofs_check.law import Law
from ufm.models.graph_chance import biregular_matrices, regular_graphs


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


def _enumerated(instance: BlockModel) -> float:
    """The probability of equal counts, summed over all graphs."""
    nodes = instance.K * instance.n
    labels = np.repeat(np.arange(instance.K), instance.n)
    first, second = np.triu_indices(nodes, 1)
    drawn = (np.arange(2 ** len(first))[:, None] >> np.arange(len(first))) & 1
    A = np.zeros((len(drawn), nodes, nodes), dtype=int)
    A[:, first, second] = A[:, second, first] = drawn
    neighbours = A @ (labels[:, None] == np.arange(instance.K))
    blocks = neighbours.reshape(len(drawn), instance.K, instance.n, instance.K)
    alike = np.all(blocks == blocks[:, :, :1], axis=(1, 2, 3))
    chance = np.where(labels[first] == labels[second], instance.p, instance.q)
    weights = np.prod(np.where(drawn[alike], chance, 1 - chance), axis=1)
    return float(np.sum(weights))


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


CLAIMS = (
    Claim(
        id="graph-chance",
        title="Graphs: how likely classes of a block model collapse",
        statement="The probability of equal counts of neighbours is a product over blocks of sums "
        "over regular graphs and biregular matrices.",
        latex=r"\Big[\sum_tR(n,t)p^{nt/2}(1-p)^{n(n-1-t)/2}\Big]^K"
        r"\Big[\sum_tB(n,t)q^{nt}(1-q)^{n(n-t)}\Big]^{K(K-1)/2}",
        source=f"GU-5; {SOURCE}",
        region=block_models,
        check=Law(chance, _enumerated),
        tolerance=Tolerance(1e-12, "sums of 2^15 products of float64; seen 1e-15"),
        mutant=Mutant("rows alone", Law(_chance_of_rows, _enumerated)),
        subject=SUBJECT,
    ),
)
