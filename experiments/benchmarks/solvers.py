"""Other people's solvers on the full problem, each as a callable that runs it from the start."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from math import sqrt
from time import perf_counter
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from landscape.solvers.first_order import descend
from landscape.solvers.trust_region import trust_region
from ufm.model import Model
from ufm.point import Point

# The papers' code trains like this (Zhu et al. 2021); the gradient norm is looked at now and then.
LEARNING_RATE, MOMENTUM, CHECK_EVERY = 0.1, 0.9, 50
# PyTorch L-BFGS has stalled when the best gradient norm did not halve in so many blocks of steps.
STALLED_BLOCKS, BLOCK = 8, 20
SCIPY_SCALE = 1e4
MAX_STEPS, TRIAL_STEPS = 20_000, 50
# On a shared machine a short trial may mislead, and two threads that wait cost a factor of ten.
CLEARLY = 1.2


@dataclass(frozen=True)
class Outcome:
    """Where a solver ended: the point in all samples, and whether its time was up."""

    point: Point
    capped: bool = False


Solver = Callable[[], Outcome]
Maker = Callable[[Any, Point, float, float], Solver]


def torch_or_none() -> Any:
    """PyTorch, or None where it is not installed; it is no dependency of the lab."""
    try:
        return import_module("torch")
    except ImportError:
        return None


@dataclass(frozen=True)
class _Torch:
    """A cross-entropy UFM as PyTorch code has it: features (N, d) and a linear layer."""

    parameters: list[Any]
    decays: list[float]
    loss: Callable[[], Any]

    def gradient_norm(self, decay: bool) -> float:
        """Euclidean norm of all gradients, with weight decay where the optimiser adds it."""
        total = 0.0
        for x, weight in zip(self.parameters, self.decays, strict=True):
            gradient = x.grad + weight * x.detach() if decay else x.grad
            total += float((gradient**2).sum())
        return sqrt(total)

    def point(self) -> Point:
        """The parameters as a point with all samples."""
        W, features, *bias = [x.detach().numpy().copy() for x in self.parameters]
        return Point(W, features.T.copy(), bias[0] if bias else None)


def _torch_problem(model: Any, start: Point) -> _Torch:
    torch = torch_or_none()
    arrays = [start.W, np.asarray(start.H).T] + ([] if start.b is None else [start.b])
    decays = [model.lambda_W, model.lambda_H] + ([] if start.b is None else [model.lambda_b])
    parameters = [
        torch.tensor(np.array(x, order="C"), dtype=torch.float64, requires_grad=True)
        for x in arrays
    ]
    labels = torch.tensor(np.asarray(model.labels), dtype=torch.int64)
    functional = torch.nn.functional

    def loss() -> Any:
        W, features, *bias = parameters
        return functional.cross_entropy(functional.linear(features, W, *bias), labels)

    return _Torch(parameters, [float(x) for x in decays], loss)


def _use_best_threads(torch: Any, model: Any, start: Point) -> None:
    """Give PyTorch all cores where they clearly help: on small problems its threads only wait."""
    problem = _torch_problem(model, start)
    taken: dict[int, float] = {}
    for threads in (os.cpu_count() or 1, 1):
        torch.set_num_threads(threads)
        problem.loss().backward()
        began = perf_counter()
        for _ in range(TRIAL_STEPS):
            problem.loss().backward()
        taken[threads] = perf_counter() - began
    helped = taken[max(taken)] * CLEARLY < taken[1]
    torch.set_num_threads(max(taken) if helped else 1)


def torch_sgd(model: Any, start: Point, tolerance: float, cap: float) -> Solver:
    """PyTorch full-batch SGD with momentum and weight decay, as the papers' code has it.

    Args:
        model: a cross-entropy UFM.
        start: the point to start from, all samples.
        tolerance: Euclidean gradient norm to reach, decay included.
        cap: seconds after which it stops.
    """
    torch = torch_or_none()
    _use_best_threads(torch, model, start)

    def run() -> Outcome:
        began = perf_counter()
        problem = _torch_problem(model, start)
        pairs = zip(problem.parameters, problem.decays, strict=True)
        groups = [{"params": [x], "weight_decay": decay} for x, decay in pairs]
        optimiser = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM)
        count = 0
        while True:
            optimiser.zero_grad()
            problem.loss().backward()
            if count % CHECK_EVERY == 0:
                done = problem.gradient_norm(decay=True) <= tolerance
                late = perf_counter() - began > cap
                if done or late:
                    return Outcome(problem.point(), late and not done)
            optimiser.step()
            count += 1

    return run


def torch_lbfgs(model: Any, start: Point, tolerance: float, cap: float) -> Solver:
    """PyTorch L-BFGS with its strong Wolfe search, until it converges or stalls."""
    torch = torch_or_none()
    _use_best_threads(torch, model, start)

    def run() -> Outcome:
        began = perf_counter()
        problem = _torch_problem(model, start)
        optimiser = torch.optim.LBFGS(
            problem.parameters,
            max_iter=BLOCK,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Any:
            optimiser.zero_grad()
            value = problem.loss()
            for x, weight in zip(problem.parameters, problem.decays, strict=True):
                value = value + 0.5 * weight * (x**2).sum()
            value.backward()
            return value

        best, without = np.inf, 0
        while True:
            optimiser.step(closure)
            closure()
            norm = problem.gradient_norm(decay=False)
            without = 0 if norm < 0.5 * best else without + 1
            best = min(best, norm)
            late = perf_counter() - began > cap
            if norm <= tolerance or late or without >= STALLED_BLOCKS:
                return Outcome(problem.point(), late and norm > tolerance)

    return run


def optax_lbfgs(model: Any, start: Point, tolerance: float, cap: float) -> Solver:
    """optax L-BFGS in one compiled loop on all samples; it cannot be stopped by a clock."""
    return lambda: Outcome(
        jax.block_until_ready(descend(model, start, tolerance, MAX_STEPS, "lbfgs")[0])
    )


def newton_cg(model: Any, start: Point, tolerance: float, cap: float) -> Solver:
    """Our own compiled trust-region Newton-CG, but on all samples and without any reduction."""
    return lambda: Outcome(jax.block_until_ready(trust_region(model, start, tolerance, 1000)[0]))


def scipy_newton_cg(model: Model[Any], start: Point, tolerance: float, cap: float) -> Solver:
    """SciPy Newton-CG with compiled JAX gradients and Hessian-vector products.

    The objective is multiplied by SCIPY_SCALE: SciPy takes a curvature below 3 eps for zero,
    whatever the scale, and would stall at a gradient norm of 1e-7.
    """
    flat, unravel = ravel_pytree(start)
    first = np.asarray(flat)
    newest: list[Any] = [None, None]

    @jax.jit
    def evaluate(x: Any) -> Any:
        return jax.value_and_grad(lambda y: SCIPY_SCALE * model.objective(unravel(y)))(x)

    @jax.jit
    def curve(x: Any, v: Any) -> Any:
        return jax.jvp(lambda y: evaluate(y)[1], (x,), (v,))[1]

    def both(x: Any) -> tuple[float, Any]:
        value, gradient = evaluate(x)
        newest[:] = x.copy(), np.asarray(gradient)
        return float(value), newest[1]

    def product(x: Any, v: Any) -> Any:
        return np.asarray(curve(x, v))

    def run() -> Outcome:
        began = perf_counter()
        late = False

        def watch(x: Any) -> None:
            nonlocal late
            gradient = newest[1] if np.array_equal(x, newest[0]) else both(x)[1]
            small = float(np.linalg.norm(gradient)) <= SCIPY_SCALE * tolerance
            late = not small and perf_counter() - began > cap
            if small or late:
                raise StopIteration

        found = minimize(
            both,
            first,
            jac=True,
            hessp=product,
            method="Newton-CG",
            callback=watch,
            options={"xtol": 1e-15, "maxiter": 1000},
        )
        return Outcome(unravel(found.x), late)

    return run


TORCH: dict[str, Maker] = {
    "PyTorch SGD lr 0.1 momentum 0.9": torch_sgd,
    "PyTorch L-BFGS": torch_lbfgs,
}
OTHERS: dict[str, Maker] = {
    "optax L-BFGS": optax_lbfgs,
    "trust-region Newton-CG, jitted": newton_cg,
    "SciPy Newton-CG": scipy_newton_cg,
}
COMPILED = frozenset(OTHERS)
PAPERS = "PyTorch SGD lr 0.1 momentum 0.9"
