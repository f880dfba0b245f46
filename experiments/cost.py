"""What a descent will take, said before it begins: seconds and bytes."""

from __future__ import annotations

from time import perf_counter
from typing import Any, NamedTuple

from experiments.memory import require_memory
from experiments.notices import notice

# Hessian products of a Newton descent from a random start to 1e-10, at most: 90 to 170 were counted
# for K = 10 to 1000 at c = 0.02 to 0.5 (docs/benchmarks.md), and a third more for its gradients.
PRODUCTS = 230
# A product has six of matrices, of 2 K d N operations each: A H, W B, and four to go back.
OPERATIONS = 12
# Arrays of the size of a point, and of the logits, that a descent and its verdict hold at once.
POINTS, LOGITS = 16, 12
# Logit Hessians, K x K for every class, and what is made of them on the way to eigenvalues: 4.8
# times their own size was in use at most for K = 240 (besides what Python and JAX take).
LOGIT_HESSIANS = 5
# Work of fewer seconds begins without a word; a machine of this speed would need that many.
SHORT, SLOWEST = 10.0, 5e9
SIDE, TRIALS = 512, 3
# Restarts look for a lower point where nothing else decides; cheap up to this many variables.
CHEAP_SIZE, RESTARTS = 5000, 3
# Beyond this many variables a solver is felt to take long; from WATCHED on it says how far it is,
# iteration by iteration.
LARGE_SIZE, WATCHED = 100_000, 20_000


class Cost(NamedTuple):
    """Of a Newton descent on a plain model: floating-point operations, and bytes."""

    operations: float
    memory: int


def descent_cost(classes: int, columns: int, d: int, narrow: bool) -> Cost:
    """What a descent costs, in ``min(d, K)`` dimensions where it starts ``narrow``.

    Args:
        classes: K.
        columns: of H: K where samples merge, else N.
        d: feature dimension.
        narrow: whether the start has no more dimensions than classes.

    Example:
        >>> round(descent_cost(1000, 1000, 2048, True).operations / 1e12, 2)
        2.76
    """
    inner = min(d, classes) if narrow else min(d, classes + columns)
    operations = float(PRODUCTS * OPERATIONS) * classes * columns * inner
    numbers = POINTS * (classes + columns) * max(inner, d // 2) + LOGITS * classes * columns
    return Cost(operations, 8 * numbers)


def expected_seconds(cost: Cost) -> float | None:
    """How long that takes here, by products of matrices timed now; None for what is short anyway.

    Example:
        >>> expected_seconds(descent_cost(4, 4, 5, True)) is None
        True
    """
    if cost.operations < SHORT * SLOWEST:
        return None
    seconds = cost.operations / matrix_speed()
    return seconds if seconds > SHORT else None


def matrix_speed() -> float:
    """Floating-point operations a second in products of matrices, compiled as the descents are.

    Example:
        >>> matrix_speed() > 1e7
        True
    """
    import jax
    import jax.numpy as jnp

    square: Any = jnp.ones((SIDE, SIDE), float)
    product = jax.jit(lambda a, b: a @ b)
    product(square, square).block_until_ready()
    taken = []
    for _ in range(TRIALS):
        began = perf_counter()
        product(square, square).block_until_ready()
        taken.append(perf_counter() - began)
    return 2.0 * SIDE**3 / sorted(taken)[TRIALS // 2]


def say_cost(model: Any, reduction: str | bool, method: str, start: str | None) -> float | None:
    """Say on stderr what long work on a plain model will take, and the seconds, None if short.

    Raises:
        InputError: this machine has not the memory for it.
    """
    plain = model.as_plain()
    if plain is None or method != "newton":
        return None
    K, columns = plain.num_classes, small_model(plain, reduction).num_columns
    narrow = start is None and bool(plain.loss.properties(K).convex)
    cost = descent_cost(K, columns, plain.d, narrow)
    require_memory(cost.memory, f"K={K:,}, d={plain.d:,}, {columns:,} columns", "use smaller sizes")
    seconds = expected_seconds(cost)
    if seconds is not None:
        told = f"{cost.operations / 1e9:,.0f} Gflop in products of matrices, timed here"
        memory = f"{cost.memory / 2**30:.1f} GiB"
        notice(f"about {seconds:.0f} s at most and {memory} ({told})")
    return seconds


def require_eigenvalues(model: Any, point: Any, asked: bool) -> None:
    """Refuse a count of eigenvalues that this machine has not the memory for.

    Args:
        model: any; only the plain one's memory is known beforehand.
        point: of it; classes of equal rows of W share their matrices.
        asked: eigenvalues are counted though convexity decides; else only where it cannot.

    Raises:
        InputError: with the size.
    """
    import numpy as np

    plain = model.as_plain()
    if plain is None or (not asked and plain.loss.properties(plain.num_classes).convex):
        return
    K = plain.num_classes
    different = len(np.unique(np.round(np.asarray(point.W), 6), axis=0))
    remedy = "leave out --eigenvalues" if asked else "use a machine with more memory"
    what = f"the eigenvalues of {different:,} different classes of {K:,}"
    require_memory(8 * LOGIT_HESSIANS * different * K**2, what, remedy)


def warn_of_size(model: Any, reduction: str | bool) -> None:
    """Say on stderr why a large problem takes long, and what is quicker."""
    small = small_model(model, reduction)
    variables = size_of(model)
    if small is model and model.merge() is not None and variables > LARGE_SIZE:
        notice(
            f"{variables:,} variables, because the samples of a class do not "
            "merge; --reduction true looks among collapsed points only, and is quick"
        )


def small_model(model: Any, reduction: str | bool) -> Any:
    """The model that is solved: merged where that is lossless, or asked for."""
    merge = model.merge()
    merges = merge is not None and (reduction is True or (reduction == "auto" and merge.lossless))
    return merge.model if merges else model


def size_of(model: Any) -> int:
    """Number of variables of a model."""
    import jax

    # The key is drawn inside: outside it would be a program of its own.
    pattern = jax.eval_shape(lambda: model.random_point(jax.random.key(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(pattern))


def restarts_for(found: Any) -> int:
    """Random restarts that are worth their time at the size that was solved."""
    return RESTARTS if size_of(found.model) <= CHEAP_SIZE else 0
