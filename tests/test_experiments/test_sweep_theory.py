"""Every line of theory against solved models on both sides of it, and against a shifted line.

The models are built from the axes anew, so that a line which misreads how c, the sizes or the
decays follow an axis stands in the wrong place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import pytest

from experiments.sweep.theory.curves import curves
from experiments.sweep.theory.laws import LAWS
from landscape.solvers.solve import solve
from tests.helpers import Problem, naive_focal, slow
from tests.sweeps import grid, model_of, plain, steps

CUT = 1e-6  # singular values and differences of rows below this are zero; others are above 1e-2


# ---- what is seen on either side of a line


def minimum(model):
    """W of the minimum that descent finds from random starts."""
    run = solve(model, key=jax.random.key(3))
    assert run.result, run.result
    return run.point.to_numpy().W


def rank(model):
    return int(np.sum(np.linalg.svd(minimum(model), compute_uv=False) > CUT))


def small_classes_differ(model):
    rows = minimum(model)[model.counts == model.counts.min()]
    return bool(np.abs(rows - rows.mean(axis=0)).max() > CUT)


def smallest_class_is_kept(model):
    rows = minimum(model)[model.counts == model.counts.min()]
    return bool(np.abs(rows).max() > CUT)


def is_not_zero(model):
    return rank(model) > 0


def origin_is_a_saddle(model):
    decays = float(model.lambda_W), float(model.lambda_H)
    problem = Problem.of(naive_focal(float(model.loss.gamma)), model.counts_tuple, model.d, *decays)
    return bool(np.linalg.eigvalsh(problem.hessian(np.zeros(problem.size)))[0] < -1e-9)


def frame_lies_below_the_origin(model):
    """Along a (e_k - 1/K), by the loss itself on a fine grid."""
    K, n = model.num_classes, model.n
    a = np.linspace(0.01, 6, 400)
    value = jax.vmap(lambda t: model.loss(t * (np.eye(K)[0] - 1 / K), 0))(a)
    decay = K * np.sqrt(n) * model.sigma * (K - 1) / K * a
    return bool(np.min(np.asarray(value) + decay) < model.loss(np.zeros(K), 0))


# ---- scenarios: a plane, how its models are made, and what is lost on a line


@dataclass(frozen=True)
class Scenario:
    """A law on the plane of ``moved`` and ``other``; ``cell`` makes the model at their values."""

    law: str
    moved: tuple[str, list]
    other: tuple[str, list]
    cell: Callable
    seen: Callable
    share: float = 0.04

    def table(self):
        names = self.moved[0], self.other[0]
        return grid(
            lambda **at: self.cell(*(at[x] for x in names)), **dict([self.moved, self.other])
        )


C, LAMBDA, R = [0.2, 0.6, 1.8], [0.002, 0.02, 0.2, 2.0], [1, 2, 4]
SCENARIOS = {
    "cross entropy": Scenario(
        "collapse",
        ("c", C),
        ("K", [3, 5]),
        lambda c, K: plain(("ce",), (2,) * K, K, c=c, ratio=3.0),
        is_not_zero,
    ),
    "cross entropy in its decay": Scenario(
        "collapse",
        ("lambda_W", LAMBDA),
        ("K", [3, 5]),
        lambda x, K: plain(("ce",), (2,) * K, K, decays=(x, x / 3)),
        is_not_zero,
    ),
    "label smoothing": Scenario(
        "collapse",
        ("c", C),
        ("smoothing", [0.0, 0.2, 0.4]),
        lambda c, x: plain(("ls", x), (2,) * 3, 3, c=c),
        is_not_zero,
    ),
    "label smoothing at one decay": Scenario(
        "collapse",
        ("smoothing", [0.0, 0.3, 0.6]),
        ("n", [1, 2]),
        lambda x, n: plain(("ls", x), (n,) * 3, 3, decays=(0.2, 0.15)),
        is_not_zero,
    ),
    "focal loss": Scenario(
        "collapse",
        ("lambda_W", [0.05, 0.5, 5.0]),
        ("lambda_H", [0.06, 0.6, 3.0]),
        lambda x, y: plain(("focal", 2.0), (2,) * 3, 3, decays=(x, y)),
        is_not_zero,
    ),
    "squared error": Scenario(
        "collapse",
        ("lambda_H", [0.002, 0.02, 0.2, 2.0]),
        ("n", [1, 4, 16]),
        lambda y, n: plain(("mse",), (n,) * 3, 3, decays=(0.3, y), lambda_b=0.1),
        is_not_zero,
    ),
    "rescaled squared error": Scenario(
        "collapse",
        ("c", [1.0, 4.0, 16.0]),
        ("kappa", [1.0, 3.0, 5.0]),
        lambda c, k: plain(("rescaled-mse", k, 2.0), (2,) * 3, 3, c=c),
        is_not_zero,
    ),
    "rescaled squared error with a free bias": Scenario(
        "collapse",
        ("c", [0.5, 2.0, 8.0]),
        ("target", [0.5, 2.0]),
        lambda c, M: plain(("rescaled-mse", 3.0, M), (2,) * 3, 3, c=c, lambda_b=0.0),
        is_not_zero,
    ),
    # The window of focal loss is 3 % wide.
    "origin of focal loss": Scenario(
        "window",
        ("c", [1.0, 1.3]),
        ("d", [1, 2]),
        lambda c, d: plain(("focal", 3.0), (1,) * 40, d, c=c),
        origin_is_a_saddle,
        0.005,
    ),
    "frame of focal loss": Scenario(
        "collapse",
        ("c", [1.0, 1.3]),
        ("gamma", [2.0, 3.0]),
        lambda c, g: plain(("focal", g), (2,) * 40, 39, c=c),
        frame_lies_below_the_origin,
        0.005,
    ),
    "minority": Scenario(
        "minority",
        ("c", [0.2, 0.6, 1.2]),
        ("imbalance", R),
        lambda c, r: plain(("ce",), steps(5, 2, 60, r), 4, c=c),
        small_classes_differ,
    ),
    "minority of logit adjustment": Scenario(
        "minority",
        ("c", [0.2, 0.6, 1.2]),
        ("imbalance", R),
        lambda c, r: plain(("logit-adjusted", 1.5), steps(5, 2, 60, r), 4, c=c),
        small_classes_differ,
    ),
    "minority of class weights": Scenario(
        "minority",
        ("c", [0.2, 0.6, 1.8]),
        ("gamma", [0.0, 1.0]),
        lambda c, g: plain(("weighted-ce", g), steps(5, 2, 60, 4), 4, c=c),
        small_classes_differ,
    ),
    "minority of scales": Scenario(
        "minority",
        ("c", [0.1, 0.3, 0.9]),
        ("gamma", [0.0, 0.4]),
        lambda c, g: plain(("vs", g, 1.0), steps(5, 2, 60, 4), 4, c=c),
        small_classes_differ,
    ),
    "minority at a decay": Scenario(
        "minority",
        ("lambda_W", LAMBDA),
        ("imbalance", R),
        lambda x, r: plain(("ce",), steps(5, 2, 60, r), 4, decays=(x, x / 2)),
        small_classes_differ,
    ),
    "minority by its imbalance": Scenario(
        "minority",
        ("imbalance", [1, 4, 16]),
        ("smoothing", [0.0, 0.2]),
        lambda r, x: plain(("ls", x), steps(5, 2, 100, r), 4, c=0.5, lambda_b=0.1),
        small_classes_differ,
    ),
    "minority of one N": Scenario(
        "minority",
        ("lambda_W", LAMBDA),
        ("imbalance", [1, 2, 4, 9]),
        lambda x, r: plain(("ls", 0.2), steps(4, 2, 1260 // (2 + 2 * r), r), 3, decays=(x, x)),
        small_classes_differ,
    ),
    "three sizes": Scenario(
        "minority",
        ("c", [0.1, 0.5, 0.9]),
        ("smoothing", [0.0, 0.3]),
        lambda c, x: plain(("ls", x), (9, 9, 5, 2, 2), 4, c=c),
        small_classes_differ,
    ),
    "vanishing minority": Scenario(
        "vanishing",
        ("c", [0.5, 1.0, 1.4]),
        ("imbalance", [1, 3, 8]),
        lambda c, r: plain(("ce",), steps(5, 2, 60, r), 4, c=c),
        smallest_class_is_kept,
        0.02,
    ),
    "all classes of cross entropy": Scenario(
        "majority",
        ("c", [0.5, 1.0, 1.5]),
        ("imbalance", R),
        lambda c, r: plain(("ce",), steps(5, 2, 60, r), 4, c=c, lambda_b=0.1),
        is_not_zero,
    ),
    "smallest classes of squared error": Scenario(
        "first dropped",
        ("c", [0.2, 0.6, 1.2]),
        ("imbalance", R),
        lambda c, r: plain(("mse",), steps(3, 1, 60, r), 3, c=c),
        smallest_class_is_kept,
    ),
    "all classes of squared error": Scenario(
        "last dropped",
        ("lambda_H", LAMBDA),
        ("imbalance", R),
        lambda y, r: plain(("mse",), steps(3, 1, 60, r), 3, decays=(0.02, y)),
        is_not_zero,
    ),
}


def place(scenario, swap, value):
    """Where the line of a scenario lies at a value of the other axis."""
    names = scenario.moved[0], scenario.other[0]
    x, y = reversed(names) if swap else names
    curve = next(c for c in curves(scenario.table(), x, y) if c.law == scenario.law)
    along, across = (curve.y, curve.x) if swap else (curve.x, curve.y)
    if across is None:
        return along
    return float(along[np.flatnonzero(np.isclose(across, value, rtol=1e-12))[0]])


def seen_around(scenario, at, value):
    """What is seen a share before and behind a place."""
    cells = [scenario.cell(at * (1 + s), value) for s in (-scenario.share, scenario.share)]
    return [bool(scenario.seen(model_of(cell))) for cell in cells]


# A line for all classes and one for some; the others differ in the loss and in what moves.
FAST = ("cross entropy", "vanishing minority")


@pytest.mark.parametrize("name", [name if name in FAST else slow(name) for name in SCENARIOS])
def test_models_change_on_the_line(name):
    scenario = SCENARIOS[name]
    values = scenario.other[1]
    # Either axis may be the horizontal one, and the line goes through the table's own values.
    # At equal sizes, where an imbalance begins, several lines meet.
    first = values[1] if scenario.other[0] == "imbalance" else values[0]
    for swap, value in ((False, first), (True, values[-1])):
        at = place(scenario, swap, value)
        assert seen_around(scenario, at, value) == [True, False], (at, value)
        # The same look at a line drawn elsewhere sees no change.
        away = 1 - 2 * scenario.share
        assert seen_around(scenario, away * at, value) == [True, True]


def laws(table, x, y):
    return [curve.law for curve in curves(table, x, y)]


def test_in_the_window_the_collapse_needs_room():
    """Below d = K - 1 its threshold is a bound only (GL-1); the origin is known in every d."""
    assert laws(SCENARIOS["origin of focal loss"].table(), "c", "d") == ["window"]
    # Without a window it is known in every d.
    table = grid(lambda c, d: plain(("focal", 3.0), (1,) * 4, d, c=c), c=[0.9, 1.3], d=[1, 2, 3, 4])
    assert laws(table, "c", "d") == ["collapse", "etf"]


def test_every_law_is_drawn_in_some_scenario():
    """A law that no test looks at is noticed."""
    tested = {scenario.law for scenario in SCENARIOS.values()} | {"merged", "etf", "frame"}
    assert tested == {law.name for law in LAWS}
