"""Other people's solvers on the full problem, each as a callable that runs it from the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from landscape.first_order import descend
from landscape.trust_region import trust_region
from ufm.model import Model, hessian_vector_product, value_and_gradient
from ufm.point import Point

# The papers' code trains like this (Zhu et al. 2021); the gradient norm is looked at now and then.
LEARNING_RATE, MOMENTUM, CHECK_EVERY = 0.1, 0.9, 50
# PyTorch L-BFGS has stalled when the best gradient norm did not halve in so many blocks of steps.
STALLED_BLOCKS, BLOCK = 8, 20
MAX_STEPS = 20_000


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


def _torch_problem(torch: Any, model: Any, start: Point) -> tuple[Any, Any, Callable[[], Any]]:
    """Parameters W (K, d) and features (N, d), and the mean cross entropy without decay."""
    W = torch.tensor(np.asarray(start.W), dtype=torch.float64, requires_grad=True)
    features = torch.tensor(np.asarray(start.H).T.copy(), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(np.asarray(model.labels), dtype=torch.int64)

    def loss() -> Any:
        return torch.nn.functional.cross_entropy(features @ W.T, labels)

    return W, features, loss


def _torch_point(W: Any, features: Any) -> Point:
    return Point(W.detach().numpy().copy(), features.detach().numpy().T.copy())


def torch_sgd(model: Any, start: Point, tolerance: float, cap: float) -> Solver:
    """PyTorch full-batch SGD with momentum and weight decay, as the papers' code has it.

    Args:
        model: a cross-entropy UFM without bias.
        start: the point to start from, all samples.
        tolerance: Euclidean gradient norm to reach, decay included.
        cap: seconds after which it stops.
    """
    torch = torch_or_none()

    def run() -> Outcome:
        began = perf_counter()
        W, features, loss = _torch_problem(torch, model, start)
        groups = [
            {"params": [W], "weight_decay": float(model.lambda_W)},
            {"params": [features], "weight_decay": float(model.lambda_H)},
        ]
        optimiser = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM)
        count = 0
        while True:
            optimiser.zero_grad()
            loss().backward()
            if count % CHECK_EVERY == 0:
                squares = sum(
                    float(((x.grad + g["weight_decay"] * x.detach()) ** 2).sum())
                    for g in groups
                    for x in g["params"]
                )
                late = perf_counter() - began > cap
                if squares <= tolerance**2 or late:
                    return Outcome(_torch_point(W, features), late and squares > tolerance**2)
            optimiser.step()
            count += 1

    return run


def torch_lbfgs(model: Any, start: Point, tolerance: float, cap: float) -> Solver:
    """PyTorch L-BFGS with its strong Wolfe search, until it converges or stalls."""
    torch = torch_or_none()

    def run() -> Outcome:
        began = perf_counter()
        W, features, loss = _torch_problem(torch, model, start)
        optimiser = torch.optim.LBFGS(
            [W, features],
            max_iter=BLOCK,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Any:
            optimiser.zero_grad()
            decay = model.lambda_W * (W**2).sum() + model.lambda_H * (features**2).sum()
            value = loss() + 0.5 * decay
            value.backward()
            return value

        best, without = np.inf, 0
        while True:
            optimiser.step(closure)
            closure()
            norm = float(torch.sqrt((W.grad**2).sum() + (features.grad**2).sum()))
            without = 0 if norm < 0.5 * best else without + 1
            best = min(best, norm)
            late = perf_counter() - began > cap
            if norm <= tolerance or late or without >= STALLED_BLOCKS:
                return Outcome(_torch_point(W, features), late and norm > tolerance)

    return run


def optax_lbfgs(model: Any, start: Point, tolerance: float, cap: float) -> Solver:
    """optax L-BFGS in one compiled loop on all samples; it cannot be stopped by a clock."""
    return lambda: Outcome(
        jax.block_until_ready(descend(model, start, tolerance, MAX_STEPS, "lbfgs")[0])
    )


def newton_cg(model: Any, start: Point, tolerance: float, cap: float) -> Solver:
    """Our own compiled trust-region Newton-CG, but on all samples and without any reduction."""
    return lambda: Outcome(jax.block_until_ready(trust_region(model, start, tolerance, 1000)[0]))


def scipy_newton_cg(model: Model, start: Point, tolerance: float, cap: float) -> Solver:
    """SciPy Newton-CG with compiled JAX gradients and Hessian-vector products."""
    flat, unravel = ravel_pytree(start)
    first = np.asarray(flat)

    def both(x: Any) -> tuple[float, Any]:
        value, gradient = value_and_gradient(model, unravel(x))
        return float(value), np.asarray(ravel_pytree(gradient)[0])

    def product(x: Any, v: Any) -> Any:
        return np.asarray(ravel_pytree(hessian_vector_product(model, unravel(x), unravel(v)))[0])

    def run() -> Outcome:
        began = perf_counter()
        late = False

        def watch(x: Any) -> None:
            nonlocal late
            small = float(np.linalg.norm(both(x)[1])) <= tolerance
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
