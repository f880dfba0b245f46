"""Strict saddles: the explicit negative curvature, where it is proved, and where it fails."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np

from landscape.solvers.solve import solve
from landscape.verdict import Curvature, Globality
from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.critical import Frames, frames, narrow_well
from proofs_check.claims.focal import many_classes
from proofs_check.hypotheses import CONVEX, SHIFT_INVARIANT, TOO_NARROW
from proofs_check.instance import Region, Specimen
from proofs_check.law import Law
from proofs_check.redraw import away_from_minima, redrawn_by
from proofs_check.specimens import (
    PlainSpecimen,
    built_on,
    critical_specimens,
    many_critical_specimens,
    where,
)
from ufm.losses import CrossEntropy, UserLoss
from ufm.model import hessian_vector_product
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array

# ---- the direction of CE-4


def _top_pair(found: Frames) -> tuple[Array, float, Array]:
    U, values, Vt = np.linalg.svd(found.G)
    return U[:, 0], float(values[0]), Vt[0]


def _outside(found: Frames, d: int) -> Array:
    """A unit vector a of R^d with W a = 0."""
    basis = found.parts.space.basis
    return np.asarray(np.linalg.svd(basis, full_matrices=True)[0][:, found.parts.space.rank])[:d]


def _image(specimen: PlainSpecimen, move: Point) -> Point:
    """Hessian of the merged problem times a direction, by automatic differentiation."""
    point = specimen.model.as_merged(specimen.point)[1]
    return hessian_vector_product(specimen.merged, point, move).to_numpy()


def _has_escape(specimen: PlainSpecimen) -> bool:
    found = frames(specimen)
    outside = specimen.model.d > found.parts.space.rank
    return outside and _top_pair(found)[1] > specimen.model.sigma * (1 + 1e-6)


# Only the wide shapes, since each (loss, K, d, bias) compiles a Hessian-vector product.
WIDE = where(critical_specimens, lambda s: s.model.d >= 5)
ESCAPES = Hypothesis("d > rank and |grad g|_2 > sigma", _has_escape)


def _form(specimen: PlainSpecimen) -> tuple[Any, ...]:
    """|W part|, |H part| and cross term of the Hessian along (u a^T, -a v^T), and |G|."""
    model, found = specimen.model, frames(specimen)
    u, size, v = _top_pair(found)
    a = _outside(found, model.d)
    bias = None if specimen.point.b is None else np.zeros(model.num_classes)
    zero_W, zero_H = np.zeros_like(specimen.point.W), np.zeros((model.d, model.num_classes))
    first = Point(np.outer(u, a), zero_H, bias)
    second = Point(zero_W, -np.outer(a, v), bias)
    images = [_image(specimen, move) for move in (first, second)]
    quadratic = float(np.sum(first.W * images[0].W)), float(np.sum(second.H * images[1].H))
    return (*quadratic, float(np.sum(second.H * images[0].H)), size)


def zhu_direction(lambda_W: float, lambda_H: float, size: float) -> tuple[float, float, float]:
    """Scales of both parts, and the curvature -2 (|G| - sigma) along them."""
    ratio = (lambda_H / lambda_W) ** (1 / 4)
    return ratio, 1 / ratio, -2 * (size - np.sqrt(lambda_W * lambda_H))


def _root_for_fourth_root(
    lambda_W: float, lambda_H: float, size: float
) -> tuple[float, float, float]:
    ratio = np.sqrt(lambda_H / lambda_W)
    return ratio, 1 / ratio, -2 * (size - np.sqrt(lambda_W * lambda_H))


def _form_error(seen: tuple[Any, ...], said: tuple[float, float, float]) -> float:
    """Quadratic form along the scaled direction against what is said, relative to |G|."""
    first, second, cross, size = seen
    x, y, expected = said
    return float(abs(x**2 * first + y**2 * second + 2 * x * y * cross - expected) / size)


TOP = {"size": lambda s: _top_pair(frames(s))[1]}


NEGATIVE_FORM = Claim(
    id="explicit-negative-curvature",
    title="The explicit negative curvature",
    statement="At every critical point with |grad g|_2 > sigma and d > rank the direction of Zhu "
    "et al. has curvature -2(|grad g|_2 - sigma).",
    latex=r"\nabla^2 f[\Delta,\Delta] = -2\,(|\nabla g|_2 - \sigma) < 0,\;"
    r"\Delta_W = (\lambda_H/\lambda_W)^{1/4} u a^\top",
    source="CE-4; after Zhu et al. (2021)",
    literature="proved",
    hypotheses=(ESCAPES,),
    region=WIDE,
    check=Law(zhu_direction, _form, TOP, _form_error),
    mutant=Mutant("exponent 1/2 for 1/4", Law(_root_for_fourth_root, _form, TOP, _form_error)),
    tolerance=Tolerance(
        1e-9, "gradient norm 1e-12 over sigma 4e-3, and a rank cut of 1e-6 never reached"
    ),
    uses=("balancedness", "identity-escape-curvature"),
)


def _pair_images(specimen: PlainSpecimen) -> tuple[Any, ...]:
    """The Hessian on (|G| u a^T, 0) and (0, a v^T): both moves and images, flat."""
    model, found = specimen.model, frames(specimen)
    u, _, v = _top_pair(found)
    a = _outside(found, model.d)
    bias = None if specimen.point.b is None else np.zeros(model.num_classes)
    zero_W, zero_H = np.zeros_like(specimen.point.W), np.zeros((model.d, model.num_classes))
    moves = Point(np.outer(u, a), zero_H, bias), Point(zero_W, np.outer(a, v), bias)
    return tuple(_flat(p) for move in moves for p in (move, _image(specimen, move)))


def _flat(point: Point) -> Array:
    return np.concatenate([np.ravel(x) for x in point if x is not None])


def escape_pair(lambda_W: float, lambda_H: float, size: float) -> tuple[float, float, float]:
    """(x, y, value): x u a^T, y a v^T is an eigenvector for the value."""
    root = np.sqrt((lambda_W - lambda_H) ** 2 + 4 * size**2)
    value = (lambda_W + lambda_H - root) / 2
    return size, value - lambda_W, value


def _two_for_four(lambda_W: float, lambda_H: float, size: float) -> tuple[float, float, float]:
    root = np.sqrt((lambda_W - lambda_H) ** 2 + 2 * size**2)
    x, y, _ = escape_pair(lambda_W, lambda_H, size)
    return x, y, (lambda_W + lambda_H - root) / 2


def _eigenpair_error(seen: tuple[Any, ...], said: tuple[float, float, float]) -> float:
    """|H x - value x| relative to |G| |x|."""
    W, image_W, H, image_H = seen
    x, y, value = said
    residual = x * image_W + y * image_H - value * (x * W + y * H)
    return float(np.linalg.norm(residual) / (np.hypot(x, y) * np.linalg.norm(image_W)))


EIGENVECTOR = Claim(
    id="escape-is-an-eigenvector",
    title="The escape direction is an eigenvector",
    statement="With the better scaling the same pair is an exact eigenvector of the Hessian.",
    latex=r"\lambda_- = \tfrac12\bigl(\lambda_W+\lambda_H-\sqrt{(\lambda_W-\lambda_H)^2"
    r"+4|\nabla g|_2^2}\bigr)",
    source="CE-4; derived here",
    hypotheses=(ESCAPES,),
    region=WIDE,
    check=Law(escape_pair, _pair_images, TOP, _eigenpair_error),
    mutant=Mutant(
        "2 for 4 under the root", Law(_two_for_four, _pair_images, TOP, _eigenpair_error)
    ),
    tolerance=Tolerance(1e-8, "singular vectors of G to 1e-11 over the gap of its singular values"),
    uses=("balancedness", "identity-complement-block"),
)


# ---- strict saddles in d > K, d = K, d = K - 1


def found_in(above: int) -> Region:
    """Critical points of CE and LS from many starts, in dimension K + ``above``."""

    @redrawn_by(away_from_minima)
    @built_on(many_critical_specimens)
    def region(quick: bool = False) -> tuple[PlainSpecimen, ...]:
        return many_critical_specimens(quick, above)

    return region


@cache
def origins_at_k(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Origins of focal models with K >= 18 in dimension K: minima above the best one."""
    return tuple(_origin(s.model.with_dimension(s.model.num_classes)) for s in many_classes(quick))


@cache
def origins_of_wells(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Origins in d > K of a loss flat at zero logits: minima above the best one."""
    shapes = [(3, 4, 2), (4, 6, 1)]
    models = (
        UFM(UserLoss(narrow_well), K, d, n, lambda_W=0.02, lambda_H=0.03) for K, d, n in shapes
    )
    return tuple(_origin(model) for model in models)[: 1 if quick else None]


def _origin(model: UFM) -> PlainSpecimen:
    return Specimen(model, model.as_merged(model.origin())[0].origin(), "critical")


def not_strict(specimen: PlainSpecimen) -> float:
    """0 at strict saddles and at global minimisers of index 0, else 1."""
    verdict = specimen.verdict
    if verdict.curvature is Curvature.STRICT_SADDLE and verdict.escape is not None:
        return 0.0 if verdict.escape.curvature < 0 else 1.0
    minimum = verdict.globality is Globality.GLOBAL and verdict.count.index == 0
    return 0.0 if minimum else 1.0


@cache
def low_dimension_minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Distinct local minima of cross entropy for d < K - 1 from many descents, and the origins."""
    found: list[PlainSpecimen] = []
    shapes: list[tuple[tuple[int, ...], int, float, int]] = [
        ((2, 1, 1), 1, 5e-3, 12),
        ((1, 1, 1, 1), 1, 2e-3, 60),
        ((1, 1, 1, 1, 1), 3, 1e-3, 24),
    ]
    for counts, d, decay, starts in shapes[: 1 if quick else None]:
        model = UFM(CrossEntropy(), d=d, counts=counts, lambda_W=decay, lambda_H=decay)
        small = model.as_merged(model.origin())[0]
        seen: set[float] = set()
        for seed in range(starts):
            run = solve(small, small.random_point(jax.random.key(seed), 4.0))
            mark = round(run.objective, 8)
            if run.result and mark not in seen:
                seen.add(mark)
                found.append(Specimen(model, run.point.to_numpy(), "minimiser"))
        found.append(_origin(model))
    return tuple(found)


def _strict(slug: str, words: str, above: int, source: str, tag: str, mutant: Mutant) -> Claim:
    return Claim(
        id=f"strict-saddle-{slug}",
        title=f"Strict saddles for {words}",
        statement=f"For {words} every critical point of a convex loss that ignores common shifts "
        "is a strict saddle or a global minimiser, for any class sizes.",
        latex=r"\nabla f = 0 \;\Rightarrow\; \lambda_{\min}(\nabla^2 f) < 0 \text{ or } f = f^*",
        source=source,
        literature=tag,
        hypotheses=(CONVEX, SHIFT_INVARIANT),
        region=found_in(above),
        check=not_strict,
        mutant=mutant,
        tolerance=COUNTING,
        uses=("global-iff-gradient-at-most-sigma", "explicit-negative-curvature"),
    )


ABOVE_K = _strict(
    "above-k",
    "d > K",
    1,
    "CE-4; after Zhu et al. (2021), Hong & Ling (2024)",
    "proved",
    Mutant("a narrow well, neither convex nor blind to shifts", region=origins_of_wells),
)
AT_K = _strict(
    "at-k",
    "d = K",
    0,
    "CE-4; after Shen & Gu (2024)",
    "proved",
    Mutant("focal loss with K >= 18, convex no more at chance", region=origins_at_k),
)
AT_K_MINUS_ONE = _strict(
    "at-k-minus-one",
    "d = K - 1",
    -1,
    "CE-4; derived here",
    "derived here",
    Mutant("the dimension lowered to d < K - 1", region=low_dimension_minima),
)


def _excess_of_minimum(every_critical: bool) -> Callable[[PlainSpecimen], float]:
    """How far a local minimum lies above the best one found in the same model."""

    def check(specimen: PlainSpecimen) -> float:
        if not every_critical and specimen.verdict.curvature is not Curvature.MORSE_BOTT_MINIMUM:
            return 0.0
        value = float(specimen.merged.objective(specimen.point))
        # A model that is not listed has no other minimum to be compared with.
        lowest = min(
            (
                float(other.merged.objective(other.point))
                for other in low_dimension_minima(False)
                if other.columns == specimen.columns
            ),
            default=value,
        )
        return value - lowest

    return check


SPURIOUS = Claim(
    id="no-spurious-minima-below-k-minus-one",
    title="No spurious minima for d < K - 1",
    statement="For d < K - 1 every local minimum of cross entropy is global (false).",
    latex=r"d < K - 1:\quad \nabla f = 0,\ \nabla^2 f \succeq 0 \;\Rightarrow\; f = f^*",
    source="CE-4, pitfalls; derived here",
    literature="refuted",
    hypotheses=(
        CONVEX,
        TOO_NARROW,
    ),
    region=low_dimension_minima,
    check=_excess_of_minimum(False),
    mutant=Mutant("every critical point for every local minimum", _excess_of_minimum(True)),
    holds=False,
    search=True,
    tolerance=Tolerance(
        1e-7, "two values of one minimum agree to 1e-14; different minima differ by 4e-5"
    ),
)

CLAIMS = (NEGATIVE_FORM, EIGENVECTOR, ABOVE_K, AT_K, AT_K_MINUS_ONE, SPURIOUS)
