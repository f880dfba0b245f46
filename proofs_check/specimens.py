"""Specimens: critical points found once and shared by every claim, in about twenty shapes.

A solver is compiled per (loss type, K, d, bias) and never for new lambdas, counts or loss
parameters, so specimens vary the latter freely and the former sparingly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from landscape.hessian import dense_hessian
from landscape.solve import solve
from landscape.verdict import Verdict, verdict
from ufm.losses import MSE, CrossEntropy, Focal, LabelSmoothing, Loss, RescaledMSE
from ufm.plain import UFM
from ufm.point import Point
from ufm.reduce import lift

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Specimen:
    """A model and a point of it (merged columns), with what was computed about it once.

    Attributes:
        model: the model in its full dimension and counts.
        point: merged columns, d-dimensional.
        kind: "minimiser", "critical", "closed form" or "random".
        converged: whether the solver reached its tolerance (closed forms: True).
        note: how it was obtained.
    """

    model: Any
    point: Any
    kind: str
    converged: bool = True
    note: str = ""

    @property
    def size(self) -> tuple[int, int, int]:
        """(K, d, N): counterexamples are reported smallest first."""
        if not isinstance(self.model, UFM):
            return (0, self.model.d, 0)
        return (self.model.num_classes, self.model.d, self.model.num_samples)

    @property
    def label(self) -> str:
        """The specimen in words."""
        model = self.model
        if not isinstance(model, UFM):
            return f"{type(model).__name__.lower()} d={model.d}, {self.kind}"
        bias = "" if model.lambda_b is None else f" lb={float(model.lambda_b):.3g}"
        counts = model.counts_tuple
        sizes = f"n={counts[0]}" if model.balanced else f"counts={','.join(map(str, counts))}"
        lambdas = f"lw={float(model.lambda_W):.3g} lh={float(model.lambda_H):.3g}{bias}"
        return f"{model.loss.name} K={model.num_classes} d={model.d} {sizes} {lambdas}, {self.kind}"

    @cached_property
    def merged(self) -> Any:
        """The merged model."""
        return self.model.as_merged(self.point)[0]

    @cached_property
    def full_point(self) -> Point:
        """The point with one column per sample."""
        return lift(self.model, self.point)

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict on the point, in full dimension and counts."""
        return verdict(self.model, self.point)

    @cached_property
    def dense_eigenvalues(self) -> Array:
        """Eigenvalues of the dense full-problem Hessian: the witness that knows no reduction."""
        point = self.full_point if isinstance(self.model, UFM) else self.point
        return np.asarray(np.linalg.eigvalsh(dense_hessian(self.model, point)))


def losses() -> tuple[Loss, ...]:
    """The losses of the literature with the parameters the papers use most."""
    return (CrossEntropy(), LabelSmoothing(0.1), Focal(2.0), MSE(), RescaledMSE(3.0, 2.0))


# (K, counts, rank searched, d asked about, bias): compiled shapes are (loss, K, d searched, bias).
_SHAPES: tuple[tuple[int, tuple[int, ...], int, int, float | None], ...] = (
    (3, (2, 2, 2), 5, 5, None),
    (3, (2, 2, 2), 2, 5, None),
    (3, (3, 2, 1), 2, 4, None),
    (4, (1, 1, 1, 1), 3, 6, None),
    (4, (3, 2, 4, 1), 3, 6, None),
    (4, (2, 2, 2, 2), 3, 3, 0.0),
    (4, (3, 1, 2, 2), 3, 5, 0.03),
)
SEEDS = 4


def embed(point: Point, d: int) -> Point:
    """A point of a lower-dimensional model in dimension d: zeros appended (A-2).

    Example:
        >>> embed(Point(np.ones((3, 1)), np.ones((1, 3))), 4).W.shape
        (3, 4)
    """
    extra = d - point.W.shape[1]
    bias = None if point.b is None else np.asarray(point.b)
    return Point(
        np.pad(np.asarray(point.W), ((0, 0), (0, extra))),
        np.pad(np.asarray(point.H), ((0, extra), (0, 0))),
        bias,
    )


def lambdas(rng: np.random.Generator) -> tuple[float, float]:
    """Two different decays, log-uniform where K = 3, 4 is well below its collapse threshold."""
    low, high = np.log(4e-3), np.log(3e-2)
    return tuple(float(x) for x in np.exp(rng.uniform(low, high, 2)))  # type: ignore[return-value]


@cache
def critical_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Critical points of every index, all losses, balanced and imbalanced, three bias settings."""
    found: list[Specimen] = []
    shapes = _SHAPES[:4] if quick else _SHAPES
    for number, (K, counts, rank, d, lambda_b) in enumerate(shapes):
        for loss in losses():
            for seed in range(2 if quick else SEEDS):
                rng = np.random.default_rng((number, seed))
                lambda_W, lambda_H = lambdas(rng)
                model = UFM(
                    loss,
                    K,
                    d,
                    counts=counts,
                    lambda_W=lambda_W,
                    lambda_H=lambda_H,
                    lambda_b=lambda_b,
                )
                inner = model.with_dimension(rank)
                key = jax.random.key(1000 * number + seed)
                small = inner.merge().model if inner.merge() else inner
                start = small.random_point(key, 3.0)
                run = solve(small, start, method="critical")
                found.append(
                    Specimen(
                        model, embed(run.point, d), "critical", bool(run.result), run.reduction
                    )
                )
    return tuple(specimen for specimen in found if specimen.converged)


@cache
def minimiser_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Minima reached by descent from random starts, d >= K - 1 (d >= K where the frame needs it)."""
    found: list[Specimen] = []
    shapes = [(3, (2, 2, 2), 5, None), (3, (3, 2, 1), 5, None), (4, (2, 2, 2, 2), 6, 0.0)]
    for number, (K, counts, d, lambda_b) in enumerate(shapes[: 1 if quick else 3]):
        for loss in losses():
            for seed in range(2):
                rng = np.random.default_rng((7, number, seed))
                lambda_W, lambda_H = lambdas(rng)
                model = UFM(
                    loss,
                    K,
                    d,
                    counts=counts,
                    lambda_W=lambda_W,
                    lambda_H=lambda_H,
                    lambda_b=lambda_b,
                )
                run = solve(model, key=jax.random.key(seed), reduction=True)
                point = Point(*(None if x is None else np.asarray(x) for x in run.point))
                found.append(Specimen(model, point, "minimiser", bool(run.result), run.reduction))
    return tuple(found)


def where(
    region: Callable[[bool], tuple[Specimen, ...]], keep: Callable[[Specimen], bool]
) -> Callable[[bool], tuple[Specimen, ...]]:
    """A region restricted to the specimens a claim talks about."""
    return lambda quick: tuple(specimen for specimen in region(quick) if keep(specimen))


def random_twin(specimen: Specimen) -> Specimen:
    """The same model at a random point of the same size: where claims about solutions must fail."""
    rng = np.random.default_rng(5)
    twin = jax.tree.map(
        lambda x: (
            np.linalg.norm(x) * (y := rng.normal(size=np.shape(x))) / np.linalg.norm(y)
            + 0.1 * rng.normal(size=np.shape(x))
        ),
        specimen.point,
    )
    return Specimen(specimen.model, twin, "random")
