"""Further instances of a region: a listed one with other numbers, other sizes and another seed.

A region lists specimens; what it stands for is all models between and around them. A model is
drawn with other decays, loss parameters, class sizes and dimensions, and a point of it is found in
the way the listed one was: by descent, by the index-blind search, in closed form, at the origin or
at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np

from landscape.solvers.solve import solve
from landscape.solvers.spurious import spurious_candidate
from proofs_check.instance import Instance, Specimen
from proofs_check.specimens import SCALES, source
from ufm.errors import InputError
from ufm.records import numbers_of, with_numbers

Redraw = Callable[[Specimen[Any, Any], Any, int], Specimen[Any, Any] | None]
Maker = Callable[["Draw"], Instance | None]
# A closed form is the minimiser that the model knows where their values agree to rounding.
SAME_VALUE = 1e-12
# Two descents to one minimum, some of them in SciPy to a gradient of 1e-6: errors are its square.
SAME_MINIMUM = 1e-9
# Descents of which the lowest is the minimum: some landscapes have others.
DESCENTS = 3
# A point whose gradient is longer than this is not critical; solvers reach 1e-12.
CRITICAL = 1e-11


@dataclass(frozen=True)
class Draw:
    """What is changed of a listed instance.

    Attributes:
        listed: its number in the region.
        seed: of the start that its point is found from.
        numbers: floats of the model by path, e.g. "lambda_W" and "loss.gamma".
        counts: class sizes, None where they stay.
        d: feature dimension, None where it stays.
    """

    listed: int
    seed: int = 0
    numbers: dict[str, float] = field(default_factory=dict)
    counts: tuple[int, ...] | None = None
    d: int | None = None

    def record(self) -> dict[str, Any]:
        """As JSON has it.

        Example:
            >>> Draw(3, 1, {"lambda_W": 0.02}, (2, 1), 4).record()["counts"]
            [2, 1]
        """
        told = asdict(self)
        return told | {"counts": None if self.counts is None else list(self.counts)}


def draw_of(record: dict[str, Any]) -> Draw:
    """A draw from its record.

    Example:
        >>> draw = Draw(3, 1, {"lambda_W": 0.02}, (2, 1), 4)
        >>> draw_of(draw.record()) == draw
        True
    """
    counts = record["counts"]
    return Draw(**{**record, "counts": None if counts is None else tuple(counts)})


def redrawn_by(redraw: Redraw) -> Callable[[Any], Any]:
    """Decorator of a region whose points are found in a way of its own.

    Example:
        >>> @redrawn_by(lambda listed, model, seed: Specimen(model, model.origin(), "origin"))
        ... def origins(quick: bool = False):
        ...     return ()
        >>> origins.redraw is not None
        True
    """

    def mark(region: Any) -> Any:
        region.redraw = redraw
        return region

    return mark


def maker(region: Any, instance: Instance) -> Maker | None:
    """What makes the instance of a draw, None where nobody has said how.

    An instance without a model has its numbers, its class sizes and its seed changed, and keeps
    everything else.
    """
    if not isinstance(instance, Specimen):
        if not (instance.floats or instance.sizes):
            return None
        return lambda draw: instance.varied(draw.numbers, draw.seed, draw.counts, draw.d)
    redraw = redraw_of(region, instance)
    return None if redraw is None else partial(drawn, instance, redraw)


def redraw_of(region: Any, instance: Specimen[Any, Any]) -> Redraw | None:
    """How a region finds the point of a further instance, None where nobody has said it."""
    for holder in (region, source(region)):
        own: Redraw | None = getattr(holder, "redraw", None)
        if own is not None:
            return own
    if instance.model is None:
        return None
    if instance.kind == "closed form":
        return _closed_form if _is_known_minimiser(instance) else None
    return BY_KIND.get(instance.kind)


def drawn(instance: Specimen[Any, Any], redraw: Redraw, draw: Draw) -> Specimen[Any, Any] | None:
    """The instance of a draw, None where the model refuses a number or no point converged."""
    model = instance.model
    try:
        if draw.counts is not None or draw.d is not None:
            counts = draw.counts or tuple(int(n) for n in model.counts)
            model = model.resized(counts, model.d if draw.d is None else draw.d)
        if model is None:
            return None
        made = redraw(instance, with_numbers(model, draw.numbers), draw.seed)
    except InputError:
        return None
    return made if made is not None and made.converged else None


# ---- points of a model, found as the listed one was


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    return [tuple(leaf.shape) for leaf in jax.tree.leaves(tree)]


def _blank(model: Any) -> Any:
    return jax.eval_shape(model.random_point, jax.random.key(0))


def _working(listed: Specimen[Any, Any], model: Any) -> Any:
    """The model that the listed point is a point of: with merged samples, or as it is."""
    merge, before = model.merge(), listed.model.merge()
    if merge is None or before is None:
        return model
    whole = _shapes(listed.point) == _shapes(_blank(listed.model))
    # With one sample per class both have one shape, and merging loses nothing.
    return (
        model if whole and _shapes(_blank(before.model)) != _shapes(listed.point) else merge.model
    )


def _found(model: Any, small: Any, run: Any, kind: str) -> Specimen[Any, Any]:
    size = float(run.gradient_norm)
    return Specimen(
        model,
        jax.tree.map(np.asarray, run.point),
        kind,
        bool(run.result) and size <= CRITICAL,
        "all samples" if small is model else "merged",
    )


def _start(small: Any, seed: int) -> Any:
    return small.random_point(jax.random.key(seed), SCALES[seed % len(SCALES)])


def _minimum(listed: Specimen[Any, Any], model: Any, seed: int) -> Specimen[Any, Any] | None:
    """The lowest of a few descents, where that is how low the listed one is.

    Other landscapes have minima that are not global, and their regions a search of their own.
    """
    found = _lowest(listed, model, seed) if listed.once(_is_reached) else None
    known = model.minimiser()
    if found is None or known is None:
        return found
    return found if _value(found) <= known.value + SAME_MINIMUM * (1 + abs(known.value)) else None


def _is_reached(listed: Any) -> bool:
    found = _lowest(listed, listed.model, 0)
    value = _value(listed)
    return found is not None and abs(_value(found) - value) <= SAME_MINIMUM * (1 + abs(value))


def _value(specimen: Any) -> float:
    model, point = specimen.model.checked(specimen.point)
    return float(model.objective(point))


def _lowest(listed: Specimen[Any, Any], model: Any, seed: int) -> Specimen[Any, Any] | None:
    small = _working(listed, model)
    starts = (_start(small, DESCENTS * seed + i) for i in range(DESCENTS))
    runs = [run for run in (solve(small, start, reduction=False) for start in starts) if run.result]
    if not runs:
        return None
    return _found(model, small, min(runs, key=lambda run: run.objective), "minimiser")


def _critical(listed: Specimen[Any, Any], model: Any, seed: int) -> Specimen[Any, Any]:
    if not any(np.any(leaf) for leaf in jax.tree.leaves(listed.point)):
        return _origin(listed, model, seed)
    small = _working(listed, model)
    run = solve(small, _start(small, seed), method="critical", reduction=False)
    return _found(model, small, run, "critical")


def _origin(listed: Specimen[Any, Any], model: Any, seed: int) -> Specimen[Any, Any]:
    del seed
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), _blank(_working(listed, model)))
    return Specimen(model, zeros, listed.kind)


def _random(listed: Specimen[Any, Any], model: Any, seed: int) -> Specimen[Any, Any]:
    point = jax.tree.map(np.asarray, _start(_working(listed, model), seed))
    return Specimen(model, point, listed.kind)


def _is_known_minimiser(instance: Any) -> bool:
    known = instance.model.minimiser()
    if known is None:
        return False
    return abs(_value(instance) - known.value) <= SAME_VALUE * (1 + abs(known.value))


def _closed_form(listed: Specimen[Any, Any], model: Any, seed: int) -> Specimen[Any, Any] | None:
    del seed
    known = model.minimiser()
    return None if known is None else Specimen(model, known.point, listed.kind, note="known")


BY_KIND: dict[str, Redraw] = {
    "minimiser": _minimum,
    "critical": _critical,
    "origin": _origin,
    "random": _random,
    "random, all samples": _random,
}


def away_from_minima(
    listed: Specimen[Any, Any], model: Any, seed: int
) -> Specimen[Any, Any] | None:
    """A minimum as high as a search can find, away from the known one or from the first it meets.

    Every third seed is the index-blind search, which sees saddles.
    """
    if seed % 3 == 2:
        return _critical(listed, model, seed)
    small, known = _working(listed, model), model.minimiser()
    start = _start(small, seed)
    first = None if known is not None else solve(small, start, reduction=False)
    value = known.value if first is None else first.objective
    # Curvature beyond a thousandth of the smallest decay is that of a strict saddle.
    gamma = 1e-3 * min((x for x in numbers_of(model).values() if x > 0), default=1.0)
    point, size = spurious_candidate(small, start, gamma=gamma, known=[value])
    if first is not None and first.result and first.objective > float(small.objective(point)):
        point, size = jax.tree.map(np.asarray, first.point), first.gradient_norm
    return Specimen(model, point, "critical", size <= CRITICAL, "away from known minima")
