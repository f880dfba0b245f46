"""Graph networks with self-connections: a bound that minima reach (GU-6)."""

from __future__ import annotations

from functools import cache

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.graph import SOURCE
from proofs_check.descents import minimised
from proofs_check.instance import Specimen
from proofs_check.specimens import PlainSpecimen
from ufm.models.graph_network import GraphNetwork, GraphWeights, graph_network
from ufm.typing import Array

# K, n, d = 2K or more, graphs, p, q, decays of W1, W2 and H.
_SETTINGS: tuple[tuple[int, int, int, int, float, float, float, float, float], ...] = (
    (2, 4, 5, 2, 0.7, 0.3, 0.03, 0.02, 0.01),
    (3, 3, 6, 1, 0.8, 0.4, 0.01, 0.02, 0.03),
    (2, 5, 4, 3, 0.6, 0.5, 0.3, 0.01, 0.02),
)


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent on random graphs."""
    models = [graph_network(*setting) for setting in _SETTINGS[: 2 if quick else None]]
    return tuple(_descended(model, seed) for seed, model in enumerate(models))


def _descended(model: GraphNetwork, seed: int) -> PlainSpecimen:
    """L-BFGS on a gradient by hand: no program to compile."""
    means, labels = np.asarray(model.means), np.asarray(model.labels)
    (G, N, _), K, d = means.shape, int(labels.max()) + 1, model.d
    Y = (np.arange(K)[:, None] == labels).astype(float)
    own, mean, within = float(model.lambda_self), float(model.lambda_W), float(model.lambda_H) / G

    def both(W1: Array, W2: Array, H: Array) -> tuple[float, tuple[Array, ...]]:
        seen = H @ means
        error = (W1 @ H + W2 @ seen - Y) / (N * G)
        value = N * G / 2 * np.sum(error**2) + own / 2 * np.sum(W1**2) + mean / 2 * np.sum(W2**2)
        slopes = (
            np.einsum("gkn,gdn->kd", error, H) + own * W1,
            np.einsum("gkn,gdn->kd", error, seen) + mean * W2,
            W1.T @ error + W2.T @ error @ np.swapaxes(means, 1, 2) + within * H,
        )
        return value + within / 2 * np.sum(H**2), slopes

    rng = np.random.default_rng((71, seed))
    start = [rng.normal(size=shape) for shape in ((K, d), (K, d), (G, d, N))]
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-18, "gtol": 1e-12}
    return Specimen(model, GraphWeights(*minimised(both, start, **options)[1]), "minimiser")


def _gap(specimen: PlainSpecimen) -> float:
    return abs(float(specimen.model.certificate(specimen.point).gap))


def _gap_of_one_decay(specimen: PlainSpecimen) -> float:
    """The bound as if both classifiers had the decay of the second."""
    alike = GraphNetwork(
        specimen.model.means,
        specimen.model.labels,
        specimen.model.lambda_W,
        specimen.model.lambda_W,
        specimen.model.lambda_H,
        specimen.model.d,
    )
    bound = alike.certificate(specimen.point).bound
    return abs(float(specimen.model.objective(specimen.point)) - float(bound or 0.0))


CLAIMS = (
    Claim(
        id="graph-network-bound",
        title="Graph networks with self-connections: a convex problem of both products",
        statement="On several graphs and with both classifiers minima reach the dual bound of the "
        "stacked products, so none is spurious from d = 2K on.",
        latex=r"f=-\tfrac{NG}2\sum_g\lVert\Lambda_g\rVert^2-\sum_g\langle\Lambda_g,Y\rangle",
        source=f"GU-6; {SOURCE}",
        literature="proved",
        region=minima,
        check=_gap,
        tolerance=Tolerance(1e-7, "first order in the distance to the minimum, 1e-8; seen 4e-9"),
        mutant=Mutant("one decay for both classifiers", _gap_of_one_decay),
        uses=("graph-collapse", "explicit-negative-curvature"),
    ),
)
