"""Specimens: critical points found once and shared by every claim, in about twenty shapes.

A solver is compiled per (loss type, K, d, bias) and never for new lambdas, counts or loss
parameters, so specimens vary the latter freely and the former sparingly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np

from landscape.solvers.solve import solve
from proofs_check.instance import Instance, Region, Specimen
from ufm.losses import MSE, CrossEntropy, Focal, LabelSmoothing, Loss, RescaledMSE
from ufm.model import Model
from ufm.plain.minimisers import thresholds
from ufm.plain.model import UFM
from ufm.point import Point

__all__ = ["Instance", "Region", "Specimen"]

# A specimen of the plain model, which most claims are about; its loss has parameters of its own.
PlainSpecimen = Specimen[Any, Any]


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
def critical_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Critical points of every index, all losses, balanced and imbalanced, three bias settings.

    Where a minimiser is known in closed form it is one of them: a search may miss it.
    """
    found: list[PlainSpecimen] = []
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


# (K, counts, d, bias, share of the collapse value of c, or None for random decays).
_MINIMA: tuple[tuple[int, tuple[int, ...], int, float | None, float | None], ...] = (
    (3, (2, 2, 2), 5, None, None),
    (2, (3, 3), 4, None, None),
    (3, (2, 2, 2), 4, None, 1.2),
    (3, (3, 2, 1), 5, None, None),
    (4, (2, 2, 2, 2), 6, 0.0, None),
    (4, (3, 3, 3, 3), 3, None, None),
    (4, (1, 1, 1, 1), 2, None, None),
    (3, (2, 2, 2), 3, 0.04, None),
)


@cache
def minimiser_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima reached by descent from random starts: the default region of a user's claim.

    K = 2 to 4, d above, at and below K, equal classes and not, all three biases, and decays beyond
    which everything collapses to zero.
    """
    found: list[PlainSpecimen] = []
    for number, (_, counts, d, lambda_b, share) in enumerate(_MINIMA[: 3 if quick else None]):
        for loss in losses():
            for seed in range(2):
                rng = np.random.default_rng((7, number, seed))
                lambda_W, lambda_H = lambdas(rng)
                model = UFM(
                    loss,
                    d=d,
                    counts=counts,
                    lambda_W=lambda_W,
                    lambda_H=lambda_H,
                    lambda_b=lambda_b,
                )
                if share is not None:
                    model = with_c(model, share * thresholds(model).collapse, 1.5 - seed)
                run = solve(model, key=jax.random.key(seed), reduction=True)
                point = run.point.to_numpy()
                found.append(Specimen(model, point, "minimiser", bool(run.result), run.reduction))
    return tuple(found)


def minima_of(*models: Model[Any]) -> Region:
    """Minima of any models, by descent from random starts of two sizes.

    Example:
        >>> from ufm import Regression
        >>> model = Regression(np.array([[1.0, -1.0]]), 2, lambda_W=0.1, lambda_H=0.1)
        >>> len(minima_of(model)(True))
        2
    """

    @cache
    def region(quick: bool = False) -> tuple[Specimen[Any, Any], ...]:
        found = []
        for model in models:
            for seed in range(2 if quick else 5):
                start = model.random_point(jax.random.key(seed), SCALES[seed % len(SCALES)])
                run = solve(model, start)
                point = jax.tree.map(np.asarray, run.point)
                found.append(Specimen(model, point, "minimiser", bool(run.result), run.reduction))
        return tuple(specimen for specimen in found if specimen.converged)

    return region


@cache
def full_critical_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Critical points of the problem with a feature per sample: nothing merged, N columns."""
    found: list[PlainSpecimen] = []
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


# (K, d, n, biases, losses): a descent on all N columns is compiled per (loss, K, N, bias or none),
# which takes two seconds, while further decays, parameters and d cost next to nothing. A bias has
# a part in the solution of squared losses alone.
_EVERY = ("ce", "ls", "focal", "mse", "rescaled-mse")
_DESCENTS: tuple[tuple[int, int, int, tuple[float | None, ...], tuple[str, ...]], ...] = (
    (3, 4, 2, (None,), _EVERY),
    (3, 5, 2, (0.0, 0.5), ("ce", "mse", "rescaled-mse")),
    (4, 3, 3, (None,), _EVERY),
    (5, 7, 2, (None,), ("ce", "ls", "focal", "mse")),
    (4, 6, 3, (0.0, 0.8), ("mse", "rescaled-mse")),
    (5, 6, 2, (0.0, 2.3), ("mse", "rescaled-mse")),
)
# c as a fraction of its collapse value: deep inside, moderate, and next to the threshold.
NEAR = 9e-4
FRACTIONS = (0.1, 0.47, 1 - NEAR, 1 + NEAR)


def parametrised(K: int) -> tuple[Loss, ...]:
    """Losses with several values of every parameter, none of them a size of the region.

    Example:
        >>> [loss.name for loss in parametrised(5)][:3]
        ['ce', 'ls(0.07)', 'ls(0.16)']
    """
    found: tuple[Loss, ...] = (CrossEntropy(), LabelSmoothing(0.07), LabelSmoothing(0.16))
    found += (Focal(2.0), Focal(1.3)) if K > 3 else (Focal(2.0), Focal(2.7))
    return (*found, MSE(), RescaledMSE(2.6, 1.7), RescaledMSE(0.7, 2.2))


def with_c(model: UFM, c: float, ratio: float) -> UFM:
    """A model with given c and lambda_W / lambda_H = ratio^2.

    Example:
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> round(with_c(model, 0.3, 2.0).c, 12)
        0.3
    """
    sigma = c / np.sqrt(model.num_classes * float(model.num_samples))
    return model.with_decays(float(sigma * ratio), float(sigma / ratio))


@cache
def descended_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of the problem with all samples, c on both sides of its collapse value.

    No reduction, no closed form: random starts and Newton descent on W, all N features and b. The
    library's threshold says only where to look.
    """
    found: list[PlainSpecimen] = []
    for number, (K, d, n, biases, families) in enumerate(_DESCENTS[: 2 if quick else None]):
        for loss in parametrised(K):
            if loss.name.split("(")[0] not in families:
                continue
            for i, (counts, lambda_b, c) in enumerate(_descents(loss, K, n, biases)):
                plain = UFM(loss, d=d, counts=counts, lambda_W=1, lambda_H=1, lambda_b=lambda_b)
                model = with_c(plain, c, (0.3, 3.0, 1.7)[(i + number) % 3])
                run = solve(model, key=jax.random.key(100 * number + i), reduction=False)
                found.append(
                    Specimen(model, run.point.to_numpy(), "minimiser", bool(run.result), "full")
                )
    return tuple(specimen for specimen in found if specimen.converged)


def _descents(
    loss: Loss, K: int, n: int, biases: tuple[float | None, ...]
) -> list[tuple[tuple[int, ...], float | None, float]]:
    """(counts, lambda_b, c) of the descents of a shape: collapse values, and where ranks switch."""
    even, cases = (n,) * K, []
    for lambda_b in biases:
        model = UFM(loss, K, K, n, lambda_W=1, lambda_H=1, lambda_b=lambda_b)
        collapse = thresholds(model).collapse
        cases += [(even, lambda_b, share * collapse) for share in FRACTIONS]
        if K < 5:
            cases.append(((n + 1, *even[1:-1], n - 1), lambda_b, 0.31))
        if lambda_b and loss.name == "mse":
            # lb/(1 + lb) is where the all-ones direction is switched off (MSE-2).
            switch = lambda_b / (1 + lambda_b)
            cases += [(even, lambda_b, switch * share) for share in (0.4, 1 - NEAR, 1 + NEAR)]
    return cases


@cache
def many_critical_specimens(quick: bool = False, above: int = -1) -> tuple[PlainSpecimen, ...]:
    """Distinct critical points of CE and LS from many starts, in dimension K + ``above``.

    Every dimension has its own decays and starts.
    """
    found: list[PlainSpecimen] = []
    shapes: list[tuple[Loss, tuple[int, ...]]] = [
        (CrossEntropy(), (2, 2, 2)),
        (LabelSmoothing(0.1), (3, 2, 1)),
        (CrossEntropy(), (1, 1)),
        (CrossEntropy(), (3, 1, 1, 1)),
        (CrossEntropy(), (1, 1, 1, 1, 1)),
    ]
    for number, (loss, counts) in enumerate(shapes[: 2 if quick else None]):
        lambda_W, lambda_H = lambdas(np.random.default_rng((14 + above, number)))
        d = len(counts) + above
        model = UFM(loss, d=d, counts=counts, lambda_W=lambda_W, lambda_H=lambda_H)
        small = model.as_merged(model.origin())[0]
        seen: set[tuple[float, ...]] = set()
        for seed in range(8 if quick else 16):
            key = jax.random.key(100 * (1 + above) + seed)
            run = solve(
                small, small.random_point(key, SCALES[seed % len(SCALES)]), method="critical"
            )
            mark = (round(run.objective, 9),)
            if run.result and mark not in seen:
                seen.add(mark)
                found.append(Specimen(model, run.point.to_numpy(), "critical"))
    return tuple(found)


def where(region: Region, keep: Callable[[Any], bool]) -> Region:
    """A region restricted to the specimens a claim talks about."""

    @built_on(region)
    def restricted(quick: bool = False) -> tuple[Instance, ...]:
        return tuple(specimen for specimen in region(quick) if keep(specimen))

    restricted.kept = (*kept(region), keep)  # type: ignore[attr-defined]
    return restricted


def kept(region: Any) -> tuple[Callable[[Any], bool], ...]:
    """What a region was restricted to by ``where``; new instances must satisfy it too."""
    conditions: tuple[Callable[[Any], bool], ...] = getattr(region, "kept", ())
    return conditions


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


def random_twin(specimen: PlainSpecimen) -> PlainSpecimen:
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
