"""Minima judged by convexity and by their eigenvalues, in random cases about every threshold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.record import Record, measured
from experiments.benchmarks.timing import Settings, alternate
from landscape.curvature.convexity import count_by_convexity
from landscape.curvature.count import count_curvature
from landscape.solvers.solve import solve
from landscape.verdict import Curvature, judge_curvature
from ufm.losses.bce import BCE
from ufm.losses.cross_entropy import CrossEntropy, LabelSmoothing
from ufm.losses.loss import Loss
from ufm.losses.squared import MSE, RescaledMSE
from ufm.plain.model import UFM

SOLVER = "ufm-lab, convexity against eigenvalues"
# A bound on the smallest positive eigenvalue may exceed it by its rounding.
BOUND_ROUNDING = 1e-6
QUICK_SHARE = 100


@dataclass(frozen=True)
class Among:
    """What random cases are drawn among: losses, decays of the bias, and shapes (K, d)."""

    losses: Sequence[Loss] = (
        CrossEntropy(),
        LabelSmoothing(0.1),
        MSE(),
        RescaledMSE(3.0, 2.0),
        BCE(),
    )
    biases: Sequence[float | None] = (None, 0.0, 0.05)
    shapes: Sequence[tuple[int, int]] = ((3, 2), (3, 5), (4, 3), (4, 6))


def at_share(
    loss: Loss, counts: Sequence[int], d: int, lambda_b: float | None, share: float, ratio: float
) -> UFM:
    """A model at a share of the c at which its origin becomes the minimum.

    Args:
        loss: of the model.
        counts: samples per class.
        d: feature dimension.
        lambda_b: decay of the bias, None without.
        share: of the threshold.
        ratio: lambda_W over lambda_H is its square.

    Example:
        >>> round(at_share(CrossEntropy(), (1, 1), 3, None, 0.25, 1.0).c, 12)
        0.25
    """
    unit = UFM(loss, counts=counts, d=d, lambda_W=1.0, lambda_H=1.0, lambda_b=lambda_b)
    edge = unit.certificate(unit.origin()).spectral_ratio or 0.0  # |G(0)|_2 at the best bias
    return UFM(
        loss,
        counts=counts,
        d=d,
        lambda_b=lambda_b,
        lambda_W=share * edge * ratio,
        lambda_H=share * edge / ratio,
    )


def random_case(rng: np.random.Generator, among: Among) -> UFM:
    """Any counts, ratio of decays and share of the threshold, 1e-4 to 1.5 and within 1e-3 to 1e-12.

    Every shape is compiled once.
    """
    K, d = among.shapes[int(rng.integers(len(among.shapes)))]
    counts = (3,) * K if rng.random() < 0.3 else tuple(int(x) for x in rng.integers(1, 6, K))
    close = 10 ** rng.uniform(-12, -3)
    share = float(rng.choice([10 ** rng.uniform(-4, -0.0005), 1 - close, 1 + close, 1.5]))
    loss = among.losses[int(rng.integers(len(among.losses)))]
    lambda_b = among.biases[int(rng.integers(len(among.biases)))]
    return at_share(loss, counts, d, lambda_b, share, float(2 ** rng.uniform(-2, 2)))


def compared(cases: int, seed: int, among: Among | None = None) -> Counter[str]:
    """How often convexity decided, and how often it and the eigenvalues told different things.

    Args:
        cases: how many.
        seed: of the cases.
        among: what they are drawn among.

    Example:
        >>> few = Among((CrossEntropy(),), (None,), ((3, 4),))
        >>> compared(4, 5, few)["disagree"]
        0
    """
    rng, tally = np.random.default_rng(seed), Counter[str]()
    for i in range(cases):
        model = random_case(rng, among or Among())
        found = solve(model, key=jax.random.key(i))
        size = found.gradient_norm
        one = count_by_convexity(found.model, found.point, size, larger_than=-1)
        other = count_curvature(found.model, found.point, size)
        if one is None:
            by = "undecided by both" if other.index is None else "by eigenvalues only"
            tally[by] += 1
            continue
        # Fewer zeros than the orbit has are no answer: rounding moved them, and more so where the
        # point is small. A verdict of the eigenvalues is one of these.
        told = judge_curvature(other, size, found.point)[0]
        agree = told in (Curvature.MORSE_BOTT_MINIMUM, Curvature.UNDECIDED)
        agree &= other.index_range[0] == 0
        if told is Curvature.MORSE_BOTT_MINIMUM:
            known = model.strict_minimum(found.point)
            positive = other.smallest_positive or 0.0
            agree &= other.nullity == one.nullity and known is not None
            agree &= known is not None and known.margin <= positive * (1 + BOUND_ROUNDING)
        tally["agree" if agree else "disagree"] += 1
        tally["by convexity only"] += told is Curvature.UNDECIDED
    return tally


def agreement(row: str, cases: int, settings: Settings) -> list[Record]:
    """Both routes in so many random cases, a hundredth of them if quick; one run.

    Example:
        >>> agreement("a", 200, Settings(quick=True, repeats=1))[0].wrong
        False
    """
    drawn = cases // QUICK_SHARE if settings.quick else cases
    once: dict[str, Any] = {SOLVER: partial(compared, drawn, 6)}
    timed = alternate(once, Settings(settings.quick, 0), frozenset())[SOLVER]
    told = timed.result
    note = ", ".join(f"{count:,} {what}" for what, count in sorted(told.items()))
    work = f"verdicts on {drawn:,} random minima, five losses, four shapes, three bias settings"
    return [measured(row, work, SOLVER, timed, wrong=told["disagree"] > 0, note=note)]
