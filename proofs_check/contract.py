"""What any model answers, held against its own objective: claims for a model of one's own.

A model may know its symmetry, a merger, exact curvature, a closed-form minimiser and a bound. The
lab believes these answers, so each is compared here with what differentiating the objective says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np

from landscape.curvature.hessian import dense_hessian
from landscape.solvers.solve import MAX_CRITICAL_SIZE
from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.instance import Region, Specimen
from proofs_check.law import apart
from proofs_check.specimens import minima_of
from ufm.errors import InputError
from ufm.model import Model
from ufm.point import as_rows, flatten
from ufm.typing import Array

SCALES = (0.5, 2.0)
# Central differences along a unit direction: truncation step^2, rounding eps / step.
STEP = 1e-5
DIFFERENCES = Tolerance(1e-6, "central differences of step 1e-5 leave 1e-10 to 1e-8")
ROUNDING = Tolerance(1e-9, "sums of a few thousand float64 terms")
# Eigenvalues below FLAT of the largest are zeros, if none lies between that and CLEAR of it.
FLAT, CLEAR = 1e-9, 1e-6
# What a model may know, and whether it does, asked at a specimen.
ANSWERS: dict[str, Callable[[Any], bool]] = {
    "symmetry": lambda s: _generators(s).size > 0,
    "nullity": lambda s: s.model.generators(s.point) is not None,
    "structure": lambda s: _levels(s).size > 0,
    "merger": lambda s: s.model.merge() is not None,
    "minimiser": lambda s: s.model.minimiser() is not None,
    "certificate": lambda s: bool(_certificate(s).applies),
}


def contract_claims(name: str, models: Sequence[Model[Any]]) -> tuple[Claim, ...]:
    """The answers of a model as claims, each with a mutant that is wrong by one per cent or by one.

    Checked at random points, and at the minima that descent reaches from random starts; nothing is
    claimed about what the model does not know (``unclaimed``).

    Args:
        name: of the model, for the statements.
        models: the same model with several values of its numbers.

    Raises:
        InputError: more variables than a dense Hessian is computed for.

    Example:
        >>> from ufm import Regression
        >>> model = Regression(np.array([[1.0, -1.0]]), 2, lambda_W=0.1, lambda_H=0.1)
        >>> [claim.id for claim in contract_claims("regression", [model])][:2]
        ['model-gradient', 'model-symmetry']
    """
    for model in models:
        start = jax.eval_shape(model.random_point, jax.random.key(0))
        size = sum(leaf.size for leaf in jax.tree.leaves(start))
        if size > MAX_CRITICAL_SIZE:
            rule = f"Claims on a model need dense Hessians, {MAX_CRITICAL_SIZE} variables at most"
            raise InputError(rule, f"{size:,} of {name}", "give its sizes smaller defaults")
    anywhere, minima = _random_points(models), minima_of(*models)

    def made(
        id: str, statement: str, region: Region, check: Any, mutant: str, **more: Any
    ) -> Claim:
        altered = Mutant(mutant, lambda s: float(check(s, altered=True)))
        more = {"tolerance": ROUNDING, **more}
        return Claim(
            id=f"model-{id}",
            title=f"{id} of {name}",
            statement=statement,
            source="derived here: the contract of a model",
            literature="yours",
            region=region,
            check=lambda s: float(check(s)),
            tier="T1",
            mutant=altered,
            subject=f"the model {name}",
            **more,
        )

    claims = (
        made(
            "gradient",
            "The gradient is that of the objective, by central differences",
            anywhere,
            _gradient_error,
            "the gradient is 1 % longer",
            latex=r"\langle\nabla f,v\rangle=\lim\,(f(x+hv)-f(x-hv))/2h",
            tolerance=DIFFERENCES,
        ),
        made(
            "symmetry",
            "The objective does not change along the generators of its symmetry",
            anywhere,
            _symmetry_error,
            "generators with 1 % of a random direction",
            latex=r"\langle\nabla f,\xi\rangle=0",
        ),
        made(
            "nullity",
            "At minima the flat directions are those of the symmetry: its generators are complete, "
            "and the minima form no larger families",
            minima,
            _nullity_error,
            "one flat direction more",
            latex=r"\dim\ker\nabla^2 f=\operatorname{rank}\{\xi\}",
            tolerance=COUNTING,
            hypotheses=(
                Hypothesis("second derivatives do not jump", lambda s: not s.model.kinks(s.point)),
                Hypothesis("zeros stand apart from all other eigenvalues", _stands_apart),
            ),
        ),
        made(
            "structure",
            "The exact spectrum is that of the dense Hessian",
            minima,
            _structure_error,
            "eigenvalues 1 % larger",
            latex=r"\operatorname{spec}(\text{blocks})=\operatorname{spec}(\nabla^2 f)",
        ),
        made(
            "merger",
            "The merged model has the value and the criticality of what it merges",
            minima,
            _merger_error,
            "a value 1 % higher",
            latex=r"f(\operatorname{lift}(x))=f_{\mathrm{merged}}(x)",
        ),
        made(
            "minimiser",
            "The closed form is critical, has the value it names, and no descent ends below it",
            minima,
            _minimiser_error,
            "a value 1 % higher",
            latex=r"f(x)\ge f^\star=f(x^\star)",
        ),
        made(
            "certificate",
            "No descent ends below the bound, which is the value less the gap",
            minima,
            _certificate_error,
            "a bound 1 % higher",
            latex=r"D\le f(x),\ D=f(x)-\mathrm{gap}",
        ),
    )
    # Most is known where the gradient vanishes and, unless descents end at kinks, is smooth.
    known = minima_of(*models[:1])(True)
    asked = {name: known for name in ANSWERS} | {"symmetry": (*known, *anywhere(True))}
    silent = {f"model-{x}" for x, knows in ANSWERS.items() if not any(map(knows, asked[x]))}
    return tuple(claim for claim in claims if claim.id not in silent)


def unclaimed(claims: Sequence[Claim]) -> tuple[str, ...]:
    """The answers that ``contract_claims`` claims nothing about, since the model knows none.

    Example:
        >>> from ufm import Regression
        >>> model = Regression(np.array([[1.0, -1.0]]), 2, lambda_W=0.1, lambda_H=0.1)
        >>> unclaimed(contract_claims("regression", [model]))
        ('structure', 'merger', 'certificate')
    """
    made = {claim.id for claim in claims}
    return tuple(name for name in ANSWERS if f"model-{name}" not in made)


def varied(build: Callable[[dict[str, Any]], Model[Any]], defaults: dict[str, Any]) -> list[Any]:
    """A model with its default numbers, and with every float moved, as far as it takes the values.

    Args:
        build: values that differ from the default -> model.
        defaults: name -> default.

    Example:
        >>> varied(lambda changes: changes, {"d": 3, "tau": 2.0})
        [{}, {'tau': 1.4}, {'tau': 3.2}]
    """
    found = [build({})]
    floats = {k: v for k, v in defaults.items() if isinstance(v, float)}
    for first in (0.7, 1.6):
        # Numbers in no accidental relation: each is moved by a factor of its own.
        changes = {name: value * first * 1.1**i for i, (name, value) in enumerate(floats.items())}
        try:
            found += [build(changes)] if changes else []
        except InputError:  # a range that the model says itself
            continue
    return found


def _random_points(models: Sequence[Model[Any]]) -> Region:
    @cache
    def region(quick: bool = False) -> tuple[Specimen[Any, Any], ...]:
        found = []
        for number, model in enumerate(models):
            for seed, scale in enumerate(SCALES[: 1 if quick else None]):
                point = model.random_point(jax.random.key(17 * number + seed), scale)
                point = jax.tree.map(np.asarray, point)
                found.append(Specimen[Any, Any](model, point, "random"))
        return tuple(found)

    return region


def _gradient_error(s: Any, altered: bool = False) -> float:
    value, gradient = s.model.value_and_gradient(s.point)
    size = max(float(np.linalg.norm(flatten(gradient))), 1e-300)
    told = np.asarray(flatten(gradient)) * (1.01 if altered else 1.0)
    # Along the gradient itself, so that its length is seen, and across.
    ways = [gradient, s.model.random_point(jax.random.key(5))]
    errors = []
    for way in ways:
        length = float(np.linalg.norm(flatten(way)))
        step = jax.tree.map(lambda x, n=length: STEP * np.asarray(x) / n, way)
        ends = [
            float(s.model.objective(jax.tree.map(lambda x, y, k=k: x + k * y, s.point, step)))
            for k in (1, -1)
        ]
        seen = (ends[0] - ends[1]) / (2 * STEP)
        along = float(told @ np.asarray(flatten(way))) / length
        errors.append(abs(seen - along) / max(size, abs(float(value))))
    return max(errors)


def _generators(s: Any) -> Array:
    """Generators at a point as rows of length one; none where the model knows none."""
    stacked = s.model.generators(s.point)
    rows = np.zeros((0, 0)) if stacked is None else np.asarray(as_rows(stacked))
    lengths = np.linalg.norm(rows, axis=1)
    kept: Array = rows[lengths > FLAT] / lengths[lengths > FLAT][:, None]
    return kept


def _symmetry_error(s: Any, altered: bool = False) -> float:
    rows = _generators(s)
    if altered:
        other = np.random.default_rng(3).normal(size=rows.shape)
        rows = rows + 0.01 * other / np.linalg.norm(other, axis=1)[:, None]
    gradient = np.asarray(flatten(s.model.value_and_gradient(s.point)[1]))
    return float(np.max(np.abs(rows @ gradient)) / max(float(np.linalg.norm(gradient)), 1e-300))


def _full(s: Any) -> Array:
    return s.once(lambda x: np.linalg.eigvalsh(dense_hessian(x.model, x.full_point)))


def _stands_apart(s: Any) -> bool:
    sizes = np.abs(_full(s)) / np.abs(_full(s)).max()
    return not np.any((sizes > FLAT) & (sizes < CLEAR))


def _nullity_error(s: Any, altered: bool = False) -> float:
    values = np.abs(_full(s))
    rows = as_rows(s.model.generators(s.full_point))
    rank = int(np.linalg.matrix_rank(rows, tol=CLEAR * np.linalg.norm(rows))) if rows.size else 0
    return abs(int(np.sum(values < CLEAR * values.max())) - rank - altered)


def _levels(s: Any) -> Array:
    """The whole spectrum in ascending order; empty where the model does not know it."""
    structure = s.model.structure(s.full_point)
    if structure is None or structure.hidden is not None:
        return np.zeros(0)
    told: Array = structure.levels.expand()
    return told


def _structure_error(s: Any, altered: bool = False) -> float:
    levels, dense = _levels(s), _full(s)
    if not levels.size:  # a structure may be known at some points of a model only
        return 0.0
    if len(levels) != len(dense):
        return float("inf")
    return float(np.abs(levels * (1.01 if altered else 1.0) - dense).max() / np.abs(dense).max())


def _merger_error(s: Any, altered: bool = False) -> float:
    merge = s.model.merge()
    small = merge.reduce(s.full_point)
    value, gradient = s.model.value_and_gradient(merge.lift(small))
    there, slope = merge.model.value_and_gradient(small)
    sizes = [float(np.linalg.norm(flatten(g))) for g in (gradient, slope)]
    told = float(there) * (1.01 if altered else 1.0)
    return max(apart(told, float(value)), abs(sizes[0] - sizes[1]))


def _minimiser_error(s: Any, altered: bool = False) -> float:
    known = s.model.minimiser()
    model, point = s.model.checked(known.point)
    value, gradient = model.value_and_gradient(point)
    told = known.value * (1.01 if altered else 1.0)
    below = max(0.0, told - float(s.model.objective(s.full_point))) / max(abs(told), 1e-300)
    steep = float(np.linalg.norm(flatten(gradient))) / (1 + float(np.linalg.norm(flatten(point))))
    return max(apart(told, float(value)), below, steep)


def _certificate(s: Any) -> Any:
    return s.once(lambda x: x.model.certificate(x.full_point))


def _certificate_error(s: Any, altered: bool = False) -> float:
    known = _certificate(s)
    value = float(s.model.objective(s.full_point))
    bound = known.bound + (0.01 * abs(known.bound) if altered else 0.0)
    # A bound that is not tight may rise unseen; that it is the value less the gap may not.
    return max(bound - value, abs(value - bound - known.gap)) / max(abs(value), 1e-300)
