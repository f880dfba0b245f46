"""Queries of a linear teacher: the risk of a student by the dimension that queries come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from proofs_check.instance import Instance
from proofs_check.law import Law
from ufm.typing import Array

SOURCE = "TG-1; after Zaheer et al. (2022); derived here"
# Of a quadrature, whose nodes grow like a power of the size: two seconds of them.
MOST_NODES = 20_000


@dataclass(frozen=True)
class Queries(Instance):
    """N Gaussian queries in p dimensions of a teacher whose first directions are asked."""

    num_queries: int
    dimension: int
    asked: int
    noise: float = 0.3
    scale: float = 1.0
    kind: str = "queries"

    @property
    def columns(self) -> dict[str, float]:
        """The sizes, and squared norms of the teacher's weights."""
        w = self.weights
        return {
            "num_queries": self.num_queries,
            "dimension": self.dimension,
            "asked": self.asked,
            "noise": self.noise,
            "inside": float(np.sum(w[: self.asked] ** 2)),
            "whole": float(np.sum(w**2)),
        }

    @property
    def label(self) -> str:
        """The numbers in words."""
        sizes = f"N={self.num_queries} p={self.dimension} asked={self.asked}"
        return f"{self.kind} {sizes} noise={self.noise:g} scale={self.scale:g}"

    @property
    def weights(self) -> Array:
        """Of the teacher (p,)."""
        rng = np.random.default_rng((163, self.dimension, self.asked))
        return np.asarray(self.scale * rng.normal(size=self.dimension))


def noisy(quick: bool = False) -> tuple[Queries, ...]:
    """More queries than dimensions, and fewer; p - N is odd, for quadratures to be exact."""
    return (
        Queries(5, 2, 1, 0.3),
        Queries(8, 3, 2, 0.2),
        Queries(9, 2, 2, 0.5),
        Queries(2, 5, 3, 0.4),
        Queries(1, 4, 2, 0.25),
        Queries(3, 8, 4, 0.35),
    )


def few(quick: bool = False) -> tuple[Queries, ...]:
    """Fewer queries than dimensions, down to one that is left."""
    return (
        Queries(1, 3, 1, scale=1.0),
        Queries(2, 4, 3, scale=0.7),
        Queries(2, 3, 2, scale=1.5),
        Queries(1, 5, 4, scale=1.2),
    )


def _nodes_of_gap(size: int, freedom: int) -> int:
    return size * ((freedom - size - 1) // 2 + size)


def _mean_inverse(size: int, freedom: int) -> float:
    """The mean of tr W^-1, W Wishart of that size and freedom.

    Its ordered eigenvalues have the density of prod l_i^((freedom - size - 1) / 2) exp(-l_i / 2)
    prod |l_i - l_j| (Fisher, Hsu, Roy 1939). In the gaps between them that is a polynomial times
    exponentials where the exponent is an integer, which Gauss-Laguerre rules integrate exactly.
    """
    power = (freedom - size - 1) // 2
    nodes, weights = np.polynomial.laguerre.laggauss(_nodes_of_gap(size, freedom))
    total = whole = 0.0
    for places in product(range(len(nodes)), repeat=size):
        # The gap before eigenvalue i is in size - i of them, each with exp(-l / 2).
        gaps = nodes[list(places)] * 2 / np.arange(size, 0, -1)
        values = np.cumsum(gaps)
        apart = np.prod([values[j] - values[i] for j in range(size) for i in range(j)])
        mass = np.prod(weights[list(places)]) * apart
        whole += mass * np.prod(values**power)
        # Without the division where an eigenvalue is very small.
        others = sum(np.prod(np.delete(values, i)) for i in range(size))
        total += mass * np.prod(values ** (power - 1)) * others
    return float(total / whole)


def _variance_seen(instance: Queries) -> float:
    """From the pseudoinverse of X: its squared norm, spread evenly over all directions."""
    low, high = sorted((instance.num_queries, instance.dimension))
    inverse = _mean_inverse(low, high)
    return float(instance.noise**2 * inverse * instance.asked / instance.dimension)


def _sphere(r: int) -> tuple[Array, Array]:
    """Unit vectors (nodes, r) and weights, exact for polynomials of degree 4 in them."""
    at, weight = np.array([-(3**0.5), 0.0, 3**0.5]), np.array([1, 4, 1]) / 6
    nodes = np.array(list(product(at, repeat=r)))
    weights = np.array([np.prod(x) for x in product(weight, repeat=r)])
    sizes = np.sum(nodes**2, axis=1)
    kept = sizes > 0
    # Of a homogeneous polynomial the mean over Gaussian vectors is r (r + 2) that over the sphere.
    units = nodes[kept] / np.sqrt(sizes[kept])[:, None]
    return units, weights[kept] * sizes[kept] ** 2 / (r * (r + 2))


def _bias_seen(instance: Queries) -> float:
    """By going through queries one by one: each tells one direction of those that are left."""
    w, asked = instance.weights, instance.asked
    # Bases (many, p, r) of what has not been told, and how likely they are.
    bases, chances = np.eye(instance.dimension)[None], np.ones(1)
    for _ in range(instance.num_queries):
        r = bases.shape[2]
        units, weights = _sphere(r)
        # The complement of u: of the orthogonal matrix whose first column is u, the others.
        columns = np.concatenate(
            [units[:, :, None], np.broadcast_to(np.eye(r), (len(units), r, r))], 2
        )
        rest = np.linalg.qr(columns)[0][:, :, 1:r]
        bases = np.einsum("apr,brs->abps", bases, rest).reshape(-1, len(w), r - 1)
        chances = (chances[:, None] * weights).ravel()
    left = np.einsum("aps,aqs,q->ap", bases, bases, w, optimize=True)
    return float(chances @ np.sum(left[:, :asked] ** 2, axis=1))


# ---- formulas


def noise_risk(num_queries: int, dimension: int, asked: int, noise: float) -> float:
    """tau^2 (k / p) min(N, p) / (|N - p| - 1)."""
    told = np.minimum(num_queries, dimension)
    return noise**2 * asked / dimension * told / (np.abs(num_queries - dimension) - 1)


def _noise_risk_without_the_one(
    num_queries: int, dimension: int, asked: int, noise: float
) -> float:
    told = np.minimum(num_queries, dimension)
    return noise**2 * asked / dimension * told / np.abs(num_queries - dimension)


def untold_risk(num_queries: int, dimension: int, asked: int, inside: float, whole: float) -> float:
    """a |w_in|^2 + b k |w|^2."""
    p, m = dimension, dimension - num_queries
    other = m * num_queries / (p * (p + 2) * (p - 1))
    return (m * (m + 2) / (p * (p + 2)) - other) * inside + other * asked * whole


def _share_of_inside(num_queries: int, dimension: int, inside: float) -> float:
    return (1 - num_queries / dimension) * inside


def _is_integrable(instance: Queries) -> bool:
    apart = abs(instance.num_queries - instance.dimension)
    return apart >= 3 and apart % 2 == 1 and instance.asked <= instance.dimension


def _is_soon_integrated(instance: Queries) -> bool:
    low, high = sorted((instance.num_queries, instance.dimension))
    return _nodes_of_gap(low, high) ** low <= MOST_NODES


def _is_soon_told(instance: Queries) -> bool:
    left = range(instance.dimension - instance.num_queries + 1, instance.dimension + 1)
    return math.prod(3**r - 1 for r in left) <= MOST_NODES


INTEGRABLE = Hypothesis("|N - p| is odd and above 1, where quadratures are exact", _is_integrable)
SOON = f"at most {MOST_NODES:,} nodes of quadrature measure it"
FEW = Hypothesis(
    "fewer queries than dimensions, no more asked than there are",
    lambda s: s.num_queries < s.dimension and s.asked <= s.dimension,
)

CLAIMS = (
    Claim(
        id="teacher-queries-noise",
        title="Queries of a linear teacher: noise costs by the dimension that they come from",
        statement="Least squares of least norm on N Gaussian queries in p dimensions pays "
        "noise^2 (k / p) min(N, p) / (|N - p| - 1) along k directions: the ambient dimension has "
        "no part unless queries come from it.",
        latex=r"\tau^2\,\frac kp\,\frac{\min(N,p)}{\lvert N-p\rvert-1}",
        source=SOURCE,
        literature="proved",
        hypotheses=(INTEGRABLE, Hypothesis(SOON, _is_soon_integrated)),
        region=noisy,
        check=Law(noise_risk, _variance_seen),
        tolerance=Tolerance(1e-10, "relative; sums of some hundred products of rounded nodes"),
        mutant=Mutant("without the one", Law(_noise_risk_without_the_one, _variance_seen)),
    ),
    Claim(
        id="teacher-queries-untold",
        title="Queries of a linear teacher: what has not been told",
        statement="Of a teacher with weights w the student of N < p queries in p dimensions lacks "
        "a |w_in|^2 + b k |w|^2 along k directions.",
        latex=r"a\lVert w_{\mathrm{in}}\rVert^2+bk\lVert w\rVert^2,\quad "
        r"b=\frac{(p-N)N}{p(p+2)(p-1)},\quad a+b=\frac{(p-N)(p-N+2)}{p(p+2)}",
        source=SOURCE,
        literature="proved",
        hypotheses=(FEW, Hypothesis(SOON, _is_soon_told)),
        region=few,
        check=Law(untold_risk, _bias_seen),
        tolerance=Tolerance(1e-11, "relative; some thousand positive terms"),
        mutant=Mutant("the share of what is inside", Law(_share_of_inside, _bias_seen)),
    ),
)
