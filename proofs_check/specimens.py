"""Specimens: critical points found once and shared by every claim, in about twenty shapes.

A solver is compiled per (loss type, K, d, bias) and never for new lambdas, counts or loss
parameters, so specimens vary the latter freely and the former sparingly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from landscape.curvature.hessian import dense_hessian
from landscape.solvers.solve import solve
from landscape.verdict import Verdict, verdict
from ufm.losses import MSE, CrossEntropy, Focal, LabelSmoothing, Loss, RescaledMSE
from ufm.plain.model import UFM
from ufm.plain.reduce import lift
from ufm.point import Point

Array = NDArray[np.float64]
Region = Callable[[bool], "Iterable[Specimen]"]


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
        whole = self.point.H.shape[1] == self.model.num_columns
        return self.point if whole else lift(self.model, self.point)

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
    (3, (2, 2, 2), 3, 3, None),
    (3, (2, 2, 2), 2, 5, None),
    (3, (3, 2, 1), 2, 5, None),
    (4, (1, 1, 1, 1), 3, 6, None),
    (4, (3, 2, 4, 1), 3, 6, None),
    (4, (2, 2, 2, 2), 3, 5, 0.0),
    (4, (3, 1, 2, 2), 3, 5, 0.03),
)
SEEDS = 4
# Sizes of random starts, in turn: large ones end at high ranks, small ones near the origin.
SCALES = (6.0, 2.0)
# Shift-invariant losses have rank K - 1 at most; one of them is searched at rank K to see that.
SEARCHED_BELOW_K = ("ls(0.1)", "focal(2)")


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
    """Critical points of every index, all losses, balanced and imbalanced, three bias settings.

    Where a minimiser is known in closed form it is one of them: a search may miss it.
    """
    found: list[Specimen] = []
    shapes = _SHAPES[:4] if quick else _SHAPES
    for number, (K, counts, rank, d, lambda_b) in enumerate(shapes):
        for loss in losses():
            if rank >= K and loss.name in SEARCHED_BELOW_K:
                continue
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
                small = inner.as_merged(inner.origin())[0]
                start = small.random_point(key, SCALES[seed % len(SCALES)])
                run = solve(small, start, method="critical")
                note = f"searched in {rank} dimensions"
                point = embed(run.point, d)
                found.append(Specimen(model, point, "critical", bool(run.result), note))
            known = inner.minimiser()
            if known is not None:
                found.append(Specimen(model, embed(known.point, d), "closed form", note=note))
    return tuple(specimen for specimen in found if specimen.converged)


@cache
def minimiser_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Minima reached by descent from random starts, d >= K."""
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


@cache
def full_critical_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Critical points of the problem with a feature per sample: nothing merged, N columns."""
    found: list[Specimen] = []
    for number, counts in enumerate(((2, 2, 2), (3, 2, 1))):
        for loss in losses():
            for seed in range(2 if quick else 5):
                rng = np.random.default_rng((11, number, seed))
                lambda_W, lambda_H = lambdas(rng)
                model = UFM(loss, d=2, counts=counts, lambda_W=lambda_W, lambda_H=lambda_H)
                start = model.random_point(jax.random.key(seed), 3.0)
                run = solve(model, start, method="critical", reduction=False)
                found.append(
                    Specimen(model, run.point.to_numpy(), "critical", bool(run.result), "full")
                )
    return tuple(specimen for specimen in found if specimen.converged)


def collapse_constant(loss: Loss, num_classes: int, biased: bool) -> float:
    """The value of c at which the origin takes over, written out per loss (CE-1 to MSE-4).

    Example:
        >>> collapse_constant(LabelSmoothing(0.1), 4, False)
        0.9
    """
    K = num_classes
    match loss:
        case LabelSmoothing(delta=delta):
            return 1 - float(delta)
        case Focal(gamma=gamma):
            rest, gamma = 1 - 1 / K, float(gamma)
            return float(rest**gamma + gamma * rest ** (gamma - 1) * np.log(K) / K)
        case RescaledMSE(kappa=kappa, M=M):
            factor = K * kappa / (kappa + K - 1) if biased else kappa
            return float(factor * M)
        case _:
            return 1.0


# (K, d, counts, biases): a descent on all N columns is compiled per (loss, K, d, N, bias or none).
_DESCENTS: tuple[tuple[int, int, tuple[int, ...], tuple[float | None, ...]], ...] = (
    (3, 3, (2, 2, 2), (None,)),
    (3, 3, (2, 2, 2), (0.0, 0.5)),
    (4, 3, (1, 1, 1, 1), (None,)),
)
# c as a fraction of its collapse value: deep inside, moderate, and on both sides of the threshold.
FRACTIONS = (0.1, 0.5, 0.96, 1.04)


@cache
def descended_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Minima of the problem with all samples, c on both sides of its collapse value.

    No reduction, no closed form: random starts and Newton descent on W, all N features and b.
    """
    found: list[Specimen] = []
    for number, (K, d, counts, biases) in enumerate(_DESCENTS[: 2 if quick else 3]):
        for loss in losses() if K == 3 else (CrossEntropy(), Focal(2.0), MSE()):
            cases = [
                (counts, lambda_b, share * collapse_constant(loss, K, lambda_b is not None))
                for lambda_b in biases
                for share in FRACTIONS
            ]
            if max(counts) > 1:
                cases += [((3, 2, 1), lambda_b, 0.3) for lambda_b in biases]
            if 0.5 in biases and isinstance(loss, MSE):
                # lb/(1 + lb) = 1/3 is where the all-ones direction is switched off (MSE-2).
                cases += [(counts, 0.5, 0.96 / 3), (counts, 0.5, 1.04 / 3)]
            for i, (sizes, lambda_b, c) in enumerate(cases):
                sigma, ratio = c / np.sqrt(K * sum(sizes)), (0.3, 3.0)[(i + number) % 2]
                model = UFM(
                    loss,
                    d=d,
                    counts=sizes,
                    lambda_W=sigma * ratio,
                    lambda_H=sigma / ratio,
                    lambda_b=lambda_b,
                )
                run = solve(model, key=jax.random.key(100 * number + i), reduction=False)
                found.append(
                    Specimen(model, run.point.to_numpy(), "minimiser", bool(run.result), "full")
                )
    return tuple(specimen for specimen in found if specimen.converged)


@cache
def many_critical_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Distinct critical points of CE and LS from many starts, in their lowest dimension K - 1."""
    found: list[Specimen] = []
    shapes: list[tuple[Loss, tuple[int, ...]]] = [
        (CrossEntropy(), (2, 2, 2)),
        (LabelSmoothing(0.1), (3, 2, 1)),
        (CrossEntropy(), (1, 1)),
        (CrossEntropy(), (3, 1, 1, 1)),
        (CrossEntropy(), (1, 1, 1, 1, 1)),
    ]
    for number, (loss, counts) in enumerate(shapes[: 2 if quick else None]):
        lambda_W, lambda_H = lambdas(np.random.default_rng((13, number)))
        K = len(counts)
        model = UFM(loss, d=K - 1, counts=counts, lambda_W=lambda_W, lambda_H=lambda_H)
        small = model.as_merged(model.origin())[0]
        seen: set[tuple[float, ...]] = set()
        for seed in range(8 if quick else 16):
            start = small.random_point(jax.random.key(seed), SCALES[seed % len(SCALES)])
            run = solve(small, start, method="critical")
            mark = (round(run.objective, 9),)
            if run.result and mark not in seen:
                seen.add(mark)
                found.append(Specimen(model, run.point.to_numpy(), "critical"))
    return tuple(found)


def where(region: Region, keep: Callable[[Specimen], bool]) -> Region:
    """A region restricted to the specimens a claim talks about."""

    @built_on(region)
    def restricted(quick: bool = False) -> tuple[Specimen, ...]:
        return tuple(specimen for specimen in region(quick) if keep(specimen))

    return restricted


def built_on(base: Region) -> Callable[[Region], Region]:
    """Decorator of a region made of another's specimens, for those who schedule claims.

    Example:
        >>> @built_on(critical_specimens)
        ... def saddles(quick: bool = False):
        ...     return critical_specimens(quick)[:3]
        >>> source(saddles) is critical_specimens
        True
    """

    def mark(region: Region) -> Region:
        region.source = source(base)  # type: ignore[attr-defined]
        return region

    return mark


def source(region: Any) -> object:
    """The region that a region is built on: claims with equal sources share specimens."""
    return getattr(region, "source", region)


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
