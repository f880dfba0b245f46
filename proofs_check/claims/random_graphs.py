"""Stochastic block models: how likely classes collapse, by going through all graphs (GU-5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.graph import SOURCE
from proofs_check.instance import Instance
from proofs_check.law import Law
from proofs_check.specimens import where
from ufm.models.graph_chance import biregular_matrices, regular_graphs
from ufm.typing import AnyArray

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


def blocks(quick: bool = False) -> tuple[BlockModel, ...]:
    """Blocks between classes: small ones, and one of 500 nodes a side."""
    settings = ((2, 3, 0.5, 0.3), (2, 4, 0.4, 0.6), (2, 7, 0.4, 0.15), (2, 500, 0.025, 0.0017))
    return tuple(BlockModel(*setting) for setting in settings)


def _can_be_gone_through(instance: BlockModel) -> bool:
    return 0 <= instance.p <= 1 and 0 <= instance.q <= 1 and instance.K * instance.n <= MOST_NODES


def _is_uncertain(instance: BlockModel) -> bool:
    return 0 < instance.q < 1


def _enumerated(instance: BlockModel) -> float:
    """The probability of equal counts, summed over all graphs."""
    return _summed(instance, _equal_counts)


def _enumerated_block(instance: BlockModel) -> tuple[float, float]:
    """Of a block between two classes, over all its 0-1 matrices, and of the whole graph."""
    n, q = instance.n, instance.q
    entries = (np.arange(2 ** (n * n))[:, None] >> np.arange(n * n)) & 1
    drawn = entries.reshape(-1, n, n)
    rows, columns = drawn.sum(axis=2), drawn.sum(axis=1)
    alike = np.all(rows == rows[:, :1], axis=1) & np.all(columns == columns[:, :1], axis=1)
    ones = entries[alike].sum(axis=1)
    return float(np.sum(q**ones * (1 - q) ** (n * n - ones))), _enumerated(instance)


def _rows_added_up(instance: BlockModel) -> float:
    """log10 of the probability that n rows have equal sums, each of n entries added up."""
    one = np.ones(1)
    for _ in range(instance.n):
        one = np.convolve(one, [1 - instance.q, instance.q])
    logs = instance.n * np.log(one[one > 0])
    return float((logs.max() + np.log(np.sum(np.exp(logs - logs.max())))) / np.log(10))


def _enumerated_ratios(instance: BlockModel) -> tuple[float, float]:
    """Of equal ratios without isolated nodes; of equal ratios where nodes are seen alike too."""

    def connected(A: AnyArray, labels: AnyArray) -> AnyArray:
        return np.asarray(_equal_ratios(A, labels)[0] & np.all(A.sum(axis=2) > 0, axis=1))

    def both(A: AnyArray, labels: AnyArray) -> AnyArray:
        return np.asarray(np.logical_and(*_equal_ratios(A, labels)))

    return _summed(instance, connected), _summed(instance, both)


def _summed(instance: BlockModel, holds: Callable[[AnyArray, AnyArray], AnyArray]) -> float:
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


def _equal_counts(A: AnyArray, labels: AnyArray) -> AnyArray:
    K = labels.max() + 1
    blocks = (A @ (labels[:, None] == np.arange(K))).reshape(len(A), K, -1, K)
    return np.asarray(np.all(blocks == blocks[:, :, :1], axis=(1, 2, 3)))


def _equal_ratios(A: AnyArray, labels: AnyArray) -> tuple[AnyArray, AnyArray]:
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


def chance_of_rows(n: int, q: float) -> float:
    """log10 of sum_t [C(n, t) q^t (1 - q)^(n - t)]^n: rows of one block alone."""
    logs = [
        n * (math.log(comb(n, t)) + t * math.log(q) + (n - t) * math.log(1 - q))
        for t in range(n + 1)
    ]
    return float((max(logs) + math.log(sum(math.exp(x - max(logs)) for x in logs))) / math.log(10))


def _chance_of_ones(n: int, q: float) -> float:
    """The rows of as many ones as there are on average."""
    t = round(n * q)
    return n * math.log10(comb(n, t) * q**t * (1 - q) ** (n - t))


def _block_and_all_of_rows(K: int, n: int, p: float, q: float) -> tuple[float, float]:
    """Of the block between two classes, and of the whole graph: every column sum is allowed."""
    other = 10 ** chance_of_rows(n, q)
    exact = sum(biregular_matrices(n, t) * q ** (n * t) * (1 - q) ** (n * n - n * t)
                for t in range(n + 1))  # fmt: skip
    return other, chance(K, n, p, q) * (other / exact) ** (K * (K - 1) / 2)


def _chance_of_rows(K: int, n: int, p: float, q: float) -> float:
    return _block_and_all_of_rows(K, n, p, q)[1]


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
        check=Law(_block_and_all_of_rows, _enumerated_block),
        tolerance=_SUMS,
        mutant=Mutant("never", Law(_never, _enumerated_block)),
        holds=False,
        uses=("graph-chance",),
    ),
    Claim(
        id="graph-chance-at-most",
        title="Graphs: a bound on how likely classes of a block model collapse",
        statement="A block between two classes has equal counts at most as often as its rows have "
        "equal sums: a number at any size, and none worth waiting for at a thousand nodes.",
        latex=r"P\le\sum_t\Big[\tbinom ntq^t(1-q)^{n-t}\Big]^n",
        source=f"GU-5; {SOURCE}",
        region=where(blocks, _is_uncertain),
        check=Law(chance_of_rows, _rows_added_up),
        tolerance=Tolerance(1e-9, "n logarithms of n-fold sums of float64: 500 x 500 x 1e-16 x 10"),
        mutant=Mutant("the likeliest rows", Law(_chance_of_ones, _rows_added_up)),
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
        uses=("graph-chance",),
    ),
)
