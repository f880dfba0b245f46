"""``ufm solve`` and ``ufm verdict``: numbers, flags, and the way from one to the other."""

import dataclasses
import importlib
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from landscape import solve
from landscape.verdict import Curvature
from tests.helpers import slow
from ufm import (
    MSE,
    UFM,
    CrossEntropy,
    Focal,
    LabelSmoothing,
    RescaledMSE,
    UserLoss,
    class_weighted,
    ldam,
    lift,
    logit_adjusted,
    vector_scaling,
)
from ufm.point import Point

verdict_module = importlib.import_module("landscape.verdict")  # as an attribute, the function
# One shape, so that one solver is compiled per loss.
SMALL = "-K 3 -d 5 -n 2 --lambda 0.05"
FIELDS = {
    "objective",
    "gradient_norm",
    "result",
    "curvature",
    "globality",
    "index",
    "nullity",
    "predicted_nullity",
    "lambda_min",
    "gap",
    "rank",
    "distance_to_etf",
    "iterations",
    "seconds",
}
HOT = """
import jax


def hot(logits, label):
    return jax.nn.logsumexp(2 * logits) - 2 * logits[label]
"""


def hot(logits, label):
    return jax.nn.logsumexp(2 * logits) - 2 * logits[label]


LOSSES = [
    ("ce", CrossEntropy()),
    ("ls --smoothing 0.2", LabelSmoothing(0.2)),
    ("focal --gamma 3", Focal(3.0)),
    ("mse", MSE()),
    ("rescaled-mse --kappa 3 --target 4", RescaledMSE(3.0, 4.0)),
    ("hot.py:hot", UserLoss(hot)),
    ("hot:hot", UserLoss(hot)),
]


def small_model(loss=None, **changes):
    sizes = {"num_classes": 3, "d": 5, "n": 2, "lambda_W": 0.05, "lambda_H": 0.05, **changes}
    return UFM(CrossEntropy() if loss is None else loss, **sizes)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hot.py").write_text(HOT)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("flags", "loss"),
    [case if case[0] == "ce" else slow(*case) for case in LOSSES],
    ids=[flags for flags, _ in LOSSES],
)
def test_solve_reaches_the_closed_form_of_every_loss(ufm, flags, loss):
    ran = ufm(f"solve {SMALL} --json --loss {flags}")
    best = small_model(loss).minimiser()
    assert ran.code == 0, ran.err
    assert ran.json["objective"] == pytest.approx(best.value, abs=1e-13)
    assert ran.json["rank"] == best.rank
    assert (ran.json["result"], ran.json["curvature"]) == ("CONVERGED", "MORSE_BOTT_MINIMUM")


def test_json_is_alone_on_stdout_and_carries_everything(ufm, tmp_path):
    ran = ufm(f"solve {SMALL} --json --seed 3 --out", tmp_path / "same.json")
    record = ran.json
    assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / "same.json").read_text() == ran.out
    assert record["schema"] == 1
    assert set(record["versions"]) == {"lab", "jax", "numpy", "python"}
    assert set(record) >= FIELDS
    assert record["globality"] == "GLOBAL"
    assert record["nullity"] == record["predicted_nullity"] == 7  # d r - r (r + 1)/2, d=5 r=2
    assert (record["index"], record["rank"]) == (0, 2)
    assert record["distance_to_etf"] < 1e-9
    assert record["inputs"] == {
        "K": 3,
        "d": 5,
        "n": 2,
        "counts": None,
        "loss": "ce",
        "lambda_W": 0.05,
        "lambda_H": 0.05,
        "lambda_b": None,
        "method": "newton",
        "reduction": "auto",
        "tolerance": 1e-12,
        "max_iterations": None,
        "learning_rate": None,
        "escape": False,
        "start": None,
        "seed": 3,
    }


def test_the_defaults_are_those_of_the_manual(ufm):
    inputs = ufm("spectrum --json").json["inputs"]
    assert [inputs[name] for name in ("K", "d", "n", "loss")] == [4, 6, 1, "ce"]
    assert [inputs[name] for name in ("lambda_W", "lambda_H", "lambda_b")] == [0.02, 0.02, None]


def test_people_get_a_table_on_stdout(ufm):
    ran = ufm(f"solve {SMALL}")
    assert ran.code == 0
    for word in ("K=3 d=5 n=2", "MORSE_BOTT_MINIMUM", "GLOBAL", "7 predicted by symmetry"):
        assert word in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 100


def test_a_bias_without_decay_adds_a_zero_mode(ufm):
    assert ufm(f"solve {SMALL} --lambda-b 0 --json").json["nullity"] == 8
    assert ufm(f"solve {SMALL} --lambda-b 0.1 --json").json["nullity"] == 7


def test_the_seed_chooses_the_start(ufm, tmp_path):
    found = {}
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        ufm(f"solve {SMALL} --seed {seed} --save", tmp_path / name)
        found[name] = np.load(tmp_path / name)["W"]
    assert np.array_equal(found["a"], found["c"])
    assert np.abs(found["a"] - found["b"]).max() > 1e-3


ADJUSTED = [
    ("logit-adjusted --tau 2", logit_adjusted(2.0)),
    ("weighted-ce --gamma 0.5", class_weighted(0.5)),
    ("vs --gamma 0.3 --tau 0.7", vector_scaling(0.3, 0.7)),
    ("ldam --margin 0.7", ldam(0.7)),
]


@pytest.mark.parametrize(
    ("flags", "loss"),
    [case if "--tau 2" in case[0] else slow(*case) for case in ADJUSTED],
    ids=[flags for flags, _ in ADJUSTED],
)
def test_adjusted_losses_know_the_counts(ufm, flags, loss):
    ran = ufm(f"solve --counts 4,2,1 -d 3 --lambda 0.02 --json --loss {flags}")
    model = UFM(loss, counts=(4, 2, 1), d=3, lambda_W=0.02, lambda_H=0.02)
    run = solve(model, key=jax.random.key(5))
    assert (ran.code, ran.json["globality"]) == (0, "GLOBAL")
    assert ran.json["objective"] == pytest.approx(run.objective, abs=1e-12)
    equal = UFM(loss.for_counts((1, 1, 1)), counts=(4, 2, 1), d=3, lambda_W=0.02, lambda_H=0.02)
    assert abs(solve(equal, key=jax.random.key(5)).objective - run.objective) > 1e-3


@pytest.mark.slow
def test_samples_merge_where_that_is_lossless_or_asked_for(ufm):
    merged = [
        ufm(f"solve {SMALL} --json {flags}").json["merged"]
        for flags in ("", "--reduction false", "--loss focal", "--loss focal --reduction true")
    ]
    assert merged == [True, False, False, True]


def test_unfinished_runs_exit_with_3(ufm):
    ran = ufm(f"solve {SMALL} --json --max-iterations 1")
    assert (ran.code, ran.json["result"], ran.json["iterations"]) == (3, "MAX_ITERATIONS", 1)


def test_the_tolerance_stops_the_solver(ufm):
    loose = ufm(f"solve {SMALL} --json --tolerance 1e-2").json
    assert 1e-12 < loose["gradient_norm"] <= 1e-2


def test_the_learning_rate_is_that_of_gradient_descent(ufm):
    flags = f"solve {SMALL} --json --method gd --max-iterations 20 --learning-rate"
    slow, fast = (ufm(f"{flags} {rate}").json["objective"] for rate in (0.01, 0.5))
    assert fast < slow - 1e-3


def test_the_method_is_the_one_that_is_named(ufm):
    newton = ufm(f"solve {SMALL} --json").json
    record = ufm(f"solve {SMALL} --json --method momentum --tolerance 1e-9").json
    assert record["objective"] == pytest.approx(newton["objective"], abs=1e-12)
    assert record["iterations"] != newton["iterations"]


def test_the_critical_method_finds_saddles_and_names_them(ufm):
    records = [
        ufm(f"solve {SMALL} --json --method critical --seed {seed}").json for seed in range(12)
    ]
    saddles = [record for record in records if record["curvature"] == "STRICT_SADDLE"]
    assert saddles, [record["curvature"] for record in records]
    assert all(s["index"] > 0 and s["globality"] == "NOT_GLOBAL" for s in saddles)


def test_counts_reach_the_model(ufm):
    record = ufm("solve --counts 3,2,1 -d 5 --lambda 0.05 --json").json
    assert record["inputs"]["counts"] == [3, 2, 1]
    assert record["inputs"]["n"] is None
    assert record["distance_to_etf"] > 1e-3
    assert record["globality"] == "GLOBAL"


def test_nan_is_null(ufm):
    record = ufm("solve -K 3 -d 5 -n 2 --lambda 3 --json").json  # c > 1: the origin
    assert record["rank"] == 0
    assert record["distance_to_etf"] is None


# ---- verdict


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "flags",
    [
        slow("--loss focal --gamma 3"),
        slow("--loss ls --smoothing 0.2 --lambda-b 0.1"),
        "--counts 3,2,1 --lambda-w 0.01",
    ],
)
def test_a_saved_point_needs_no_flags(ufm, flags):
    flags = f"{flags} -d 5" if "counts" in flags else f"{SMALL} {flags}"
    solved = ufm(f"solve {flags} --json --save p.npz").json
    judged = ufm("verdict p.npz --json").json
    assert [p.name for p in Path().glob("*.npz")] == ["p.npz"]
    for name in ("objective", "gradient_norm", "curvature", "globality", "index", "nullity"):
        if isinstance(solved[name], float):
            assert judged[name] == pytest.approx(solved[name], abs=1e-14)
        else:
            assert judged[name] == solved[name]
    same = set(solved["inputs"]) - {"method", "reduction", "tolerance", "seed"}
    same -= {"max_iterations", "learning_rate", "escape", "start"}
    assert {k: judged["inputs"][k] for k in same} == {k: solved["inputs"][k] for k in same}
    assert judged["inputs"]["assumed"] == []


def test_flags_override_a_saved_point(ufm, tmp_path):
    ufm(f"solve {SMALL} --save", tmp_path / "p.npz")
    for flags in ("--lambda 0.1", "--lambda-w 0.1", "--lambda-h 0.1", "--loss mse", "-n 3"):
        ran = ufm(f"verdict --json {flags}", tmp_path / "p.npz")
        assert (ran.code, ran.json["curvature"]) == (0, "NOT_CRITICAL"), flags
    assert ufm("verdict", tmp_path / "p.npz").code == 0


@pytest.mark.usefixtures("here")
@pytest.mark.slow
def test_a_point_of_an_own_loss_is_judged_when_the_loss_is_named_again(ufm):
    ufm(f"solve {SMALL} --loss hot.py:hot --save p.npz")
    assert ufm("verdict p.npz").code == 2
    ran = ufm("verdict p.npz --loss hot.py:hot --json")
    assert (ran.code, ran.json["curvature"]) == (0, "MORSE_BOTT_MINIMUM")


def test_own_samples_in_any_order_with_labels(ufm, tmp_path):
    model = small_model(lambda_b=0.1)
    best = model.minimiser().point
    full = lift(model, best)
    order = np.array([3, 0, 5, 1, 4, 2])
    labels = np.repeat(np.arange(3), 2)
    path = tmp_path / "p.npz"
    np.savez(path, W=full.W, H=full.H[:, order], b=full.b, labels=labels[order])
    ran = ufm("verdict --json --lambda 0.05 --lambda-b 0.1", path)
    assert (ran.json["curvature"], ran.json["globality"]) == ("MORSE_BOTT_MINIMUM", "GLOBAL")
    np.savez(path, W=full.W, H=full.H[:, order], b=full.b)
    assert ufm("verdict --json --lambda 0.05 --lambda-b 0.1 -n 2", path).json["curvature"] == (
        "NOT_CRITICAL"
    )


def test_what_a_file_does_not_say_is_assumed_aloud(ufm, tmp_path):
    np.savez(tmp_path / "p.npz", W=np.zeros((3, 5)), H=np.zeros((5, 3)), b=np.zeros(3))
    ran = ufm("verdict", tmp_path / "p.npz")
    for word in ("lambda_W=0.02", "lambda_H=0.02", "cross entropy", "one sample", "unregularised"):
        assert word in ran.out
    assert "STRICT_SADDLE" in ran.out
    assert max(len(line) for line in ran.out.splitlines()[2:]) <= 100


def test_undecided_is_exit_code_3(ufm, tmp_path, monkeypatch):
    judge = verdict_module.verdict

    def unsure(*arguments, **options):
        judged = judge(*arguments, **options)
        return dataclasses.replace(judged, curvature=Curvature.UNDECIDED)

    monkeypatch.setattr(verdict_module, "verdict", unsure)
    best = small_model().minimiser().point
    np.savez(tmp_path / "p.npz", W=best.W, H=best.H)
    assert ufm("verdict -n 2 --lambda 0.05", tmp_path / "p.npz").code == 3
    assert ufm(f"solve {SMALL}").code == 3


def test_restarts_look_for_a_lower_point_from_the_seed(ufm, tmp_path, monkeypatch):
    seen = []
    judge = verdict_module.verdict

    def spy(model, point, *, restarts, key):
        seen.append(
            (restarts, np.asarray(key.__class__ and __import__("jax").random.key_data(key)))
        )
        return judge(model, point, restarts=restarts, key=key)

    monkeypatch.setattr(verdict_module, "verdict", spy)
    best = small_model().minimiser().point
    np.savez(tmp_path / "p.npz", W=best.W, H=best.H)
    for flags in ("", "--restarts 2", "--restarts 2 --seed 5"):
        ufm(f"verdict -n 2 --lambda 0.05 {flags}", tmp_path / "p.npz")
    assert [restarts for restarts, _ in seen] == [0, 2, 2]
    assert np.array_equal(seen[0][1], seen[1][1])
    assert not np.array_equal(seen[1][1], seen[2][1])


def test_the_point_that_is_saved_is_the_point_that_was_found(ufm, tmp_path):
    record = ufm(f"solve {SMALL} --loss focal --json --save", tmp_path / "p.npz").json
    with np.load(tmp_path / "p.npz") as saved:
        assert saved["H"].shape == (5, 6)
        value = small_model(Focal(2.0)).objective(Point(saved["W"], saved["H"]))
    assert float(value) == pytest.approx(record["objective"], abs=1e-14)


SADDLE_FILE = """
import jax, jax.numpy as jnp
from typing import Any
from ufm import Model, pytree_record

@pytree_record(static=(), eq=False)
class Pass(Model[Any]):
    \"\"\"Two wells with a pass between them, x^4/4 - x^2/2 + depth y^2/2; random points lie on it.

    Args:
        depth: curvature along y.
    \"\"\"

    depth: float = 2.0

    def objective(self, point):
        x, y = point
        return x**4 / 4 - x**2 / 2 + self.depth * y**2 / 2

    def random_point(self, key, scale=1.0):
        return (jnp.zeros(()), jnp.zeros(()))

    def generators(self, point):
        return (jnp.zeros((0,)), jnp.zeros((0,)))
"""


@pytest.mark.usefixtures("here")
def test_a_start_at_a_saddle_is_said_and_escaped(ufm):
    Path("passes.py").write_text(SADDLE_FILE)
    ran = ufm("solve --model passes.py:Pass --json")
    told = ran.json
    assert ran.code == 3
    assert (told["result"], told["start_index"], told["iterations"]) == ("SADDLE_START", 1, 0)
    assert (told["curvature"], told["index"]) == ("STRICT_SADDLE", 1)
    assert told["escape_curvature"] == pytest.approx(-1.0)
    assert told["escape_objective"] == pytest.approx(-0.25)  # of the steps, x = 1 is the bottom
    assert told["escaped"] == []
    said = ufm("solve --model passes.py:Pass")
    for word in ("SADDLE_START", "index 1", "way down", "--escape"):
        assert word in said.out
    ran = ufm("solve --model passes.py:Pass --escape --json")
    told = ran.json
    assert ran.code == 0
    assert (told["result"], told["curvature"], told["start_index"]) == (
        "CONVERGED",
        "MORSE_BOTT_MINIMUM",
        0,
    )
    assert told["objective"] == pytest.approx(-0.25, abs=1e-14)
    assert told["escaped"] == [{"objective": 0.0, "index": 1}]
    assert told["escape_objective"] is told["escape_curvature"] is None


def test_the_seconds_are_those_of_solver_and_verdict(ufm, monkeypatch):
    def slowly(*args, **options):
        time.sleep(0.4)
        return judge(*args, **options)

    judge = verdict_module.verdict
    monkeypatch.setattr(verdict_module, "verdict", slowly)
    told = ufm(f"solve {SMALL} --json").json
    assert told["seconds_verdict"] >= 0.4
    assert told["seconds_solve"] > 0
    assert told["seconds"] == pytest.approx(told["seconds_solve"] + told["seconds_verdict"])
    assert told["start_index"] is None  # a random start is not critical
