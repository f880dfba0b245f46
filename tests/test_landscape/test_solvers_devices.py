"""Batches and features over four devices, which a process of its own pretends to have.

The process writes down facts; the tests hold them against what they should be.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from landscape.solvers.devices import shard
from landscape.solvers.minimise import minimise_many
from landscape.solvers.sharded import placed, solve_sharded
from ufm import UFM, CrossEntropy
from ufm.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("devices")]

# Both ends have |g| <= 1e-9, and curvatures are 1e-2 or more off the orbit: each objective is
# within |g|^2 / 1e-2 = 1e-16 of the minimum, and a few roundings of sums of numbers below two.
ROUNDING = 1e-16 + 8 * 2.3e-16

SCRIPT = """
import json, re
import ufm, jax, numpy as np
from functools import partial
from landscape.solvers.minimise import minimise_many
from ufm.plain.cholesky_proof import judge_many
from ufm.stack import stack
from landscape.solvers.devices import shard
from landscape.solvers.first_order import descend
from landscape.solvers.sharded import placed, solve_sharded
from ufm import UFM, CrossEntropy
from ufm.errors import InputError

facts = {"devices": len(jax.devices())}
def same(a, b):
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in
               zip(jax.tree.leaves(jax.tree.map(np.asarray, a)),
                   jax.tree.leaves(jax.tree.map(np.asarray, b)), strict=True))
def widest(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.max(np.abs(np.asarray(x) * 1.0 - np.asarray(y)))) for x, y in pairs)

def problem(size):
    models = [UFM(CrossEntropy(), 3, 5, lambda_W=0.01 * (2 + i), lambda_H=0.02).merge().model
              for i in range(size)]
    return stack(models), stack([m.random_point(jax.random.key(i)) for i, m in enumerate(models)])

def both(models, points, **slots):
    plain = minimise_many(models, points, 1e-9, 500, **slots)
    return plain, shard(minimise_many, batched=2)(models, points, 1e-9, 500, **slots)

for size in (3, 8):
    models, points = problem(size)
    plain, spread = both(models, points, slots=8)
    queued = both(models, points, slots=1)
    rest = (plain.point, np.full(size, 5), plain.gradient_norm, np.full(size, True))
    judged = judge_many(models, *rest, together=False, shift=False)
    apart = shard(judge_many, batched=5)(models, *rest, together=False, shift=False)
    facts[str(size)] = {
        "minimised": same(plain, spread), "judged": same(judged, apart),
        "objectives": widest(plain.objective, spread.objective),
        "gaps": widest(judged.gap, apart.gap),
        "minima": int(np.sum(apart.minimum)), "steps": np.asarray(plain.iterations).tolist(),
        "queued": widest(queued[0].objective, queued[1].objective),
        "norm": float(np.max(queued[1].gradient_norm)),
        "lengths": sorted({len(x) for x in jax.tree.leaves((spread, apart))}),
        "parts": sorted([str(s.device), s.index[0].start or 0, s.index[0].stop]
                        for s in spread.objective.addressable_shards),
    }
seven = jax.tree.map(lambda leaf: leaf[:7], (models, points))
facts["seven"] = same(*both(*seven, slots=8))
vector = shard(judge_many, batched=5)(models, *rest, together=True, shift=False)
facts["together"] = widest(judged.gap, vector.gap)
fewer = shard(minimise_many, batched=2, devices=jax.devices()[1:3])
found = fewer(models, points, 1e-9, 500, slots=8)
facts["fewer"] = [same(plain, found), len(found.objective.sharding.device_set)]
facts["tolerance"] = bool(np.all(fewer(models, points, 1e-2, 500, slots=8).iterations
                                 < plain.iterations))

model = UFM(CrossEntropy(), 3, 5, 40, lambda_W=0.02, lambda_H=1e-3, lambda_b=0.01)
start = model.random_point(jax.random.key(1))
whole = descend(model, start, 1e-9, 5000, "lbfgs")
found = solve_sharded(model, start, tolerance=1e-9, max_iterations=5000)
rows, point = placed(model, start, jax.devices())
text = descend.lower(rows, point, 1e-9, 5000, "lbfgs").compile().as_text()
# The control: split as H (d, N) itself, the inner products of L-BFGS gather it.
from jax.sharding import NamedSharding, PartitionSpec
columns = jax.device_put(np.asarray(start.H),
                         NamedSharding(point.H.sharding.mesh, PartitionSpec(None, "samples")))
control = descend.lower(rows.whole, point._replace(H=columns), 1e-9, 5000, "lbfgs")
collectives = "all-gather|all-to-all|collective-permute"
facts["instance"] = {
    "value": [float(whole[1]), found.objective], "result": found.result.name,
    "norm": found.gradient_norm, "steps": [int(whole[3]), found.iterations],
    "collectives": re.findall(collectives, text), "sums": len(re.findall("all-reduce", text)),
    "whole_H_on_a_device": [shape in text for shape in ("f64[5,120]", "f64[120,5]")],
    "control": len(re.findall(collectives, control.compile().as_text())),
    "shards": sorted(list(s.data.shape) for s in found.point.H.addressable_shards),
    "devices": len({s.device for s in found.point.H.addressable_shards}),
    "copied": bool(found.point.W.sharding.is_fully_replicated),
}
uneven = UFM(CrossEntropy(), 3, 5, 3, lambda_W=0.02, lambda_H=1e-3)
try:
    solve_sharded(uneven)
except InputError as error:
    facts["uneven"] = str(error)
facts["three"] = solve_sharded(uneven, devices=jax.devices()[:3], tolerance=1e-8).result.name
print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def facts():
    # With more devices than cores, and its own threads below them, XLA (jaxlib 0.10) now and then
    # waits for ever for a computation that no thread has.
    flags = "--xla_force_host_platform_device_count=4 --xla_cpu_multi_thread_eigen=false"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["devices"] == 4
    return told


def test_a_split_batch_gives_the_same_bits(facts):
    """Where every model has a slot at once, and none is alone: no sum goes over the batch."""
    assert facts["8"]["minimised"]
    assert facts["8"]["judged"]
    assert facts["8"]["minima"] == 8
    assert facts["seven"]  # filled up to eight, and cut again


def test_a_model_alone_on_its_device_differs_by_rounding(facts):
    """A batch of one is another program: XLA drops the axis and adds in another order."""
    told = facts["3"]
    assert told["lengths"] == [3]
    assert told["minima"] == 3
    assert told["objectives"] < ROUNDING
    assert told["gaps"] < 1e-12  # as below


@pytest.mark.parametrize("size", [3, 8])
def test_a_queue_of_another_length_differs_by_rounding(facts, size):
    """A pair is stored at the step of all slots mod 4: sums over the pairs then begin elsewhere."""
    told = facts[str(size)]
    assert len(set(told["steps"])) > 1  # no lockstep that hides the queue
    assert told["norm"] <= 1e-9
    assert told["queued"] < ROUNDING


def test_vectorised_judgements_differ_by_rounding(facts):
    # Batched factorisations add in another order: twelve Lanczos steps on numbers of order one.
    assert facts["together"] < 1e-12


def test_every_device_has_its_part(facts):
    parts = facts["8"]["parts"]
    assert len({device for device, _, _ in parts}) == 4
    assert sorted(part[1:] for part in parts) == [[0, 2], [2, 4], [4, 6], [6, 8]]


def test_the_devices_asked_for_and_the_other_arguments_count(facts):
    assert facts["fewer"] == [True, 2]
    assert facts["tolerance"]


def test_one_device_is_a_plain_call():
    assert shard(minimise_many, batched=2, devices=jax.devices()[:1]) is minimise_many


@pytest.mark.parametrize(("batched", "devices"), [(0, None), (1, []), (1, "twice")])
def test_what_cannot_be_split(batched, devices):
    devices = jax.devices()[:1] * 2 if devices == "twice" else devices
    with pytest.raises(InputError):
        shard(minimise_many, batched=batched, devices=devices)


def test_one_instance_over_all_devices(facts):
    told = facts["instance"]
    assert told["result"] == "CONVERGED"
    assert told["norm"] <= 1e-9
    assert abs(told["value"][0] - told["value"][1]) < 1e-10
    assert abs(told["steps"][0] - told["steps"][1]) <= 5
    assert told["shards"] == [[5, 30]] * 4
    assert told["devices"] == 4
    assert told["copied"]


def test_the_features_are_never_gathered(facts):
    told = facts["instance"]
    assert told["collectives"] == []
    assert told["whole_H_on_a_device"] == [False, False]
    assert told["sums"] > 0  # of the gradient of W, and of inner products
    assert told["control"] > 0


def test_devices_must_divide_the_samples(facts):
    assert "4 for N=9" in facts["uneven"]
    assert "use 3 of them" in facts["uneven"]
    assert facts["three"] == "CONVERGED"


def test_what_a_sharded_solve_refuses():
    model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.1, lambda_H=0.1)
    one = jax.devices()[:1]
    with pytest.raises(InputError, match="first-order"):
        solve_sharded(model, devices=one, method="newton")
    with pytest.raises(InputError, match="tolerance > 0"):
        solve_sharded(model, devices=one, tolerance=0.0)
    with pytest.raises(InputError, match="all samples"):
        solve_sharded(model.merge().model, devices=one)
    with pytest.raises(InputError, match="start of shapes"):
        placed(model, model.merge().model.origin(), one)
    with pytest.raises(InputError, match="divide"):
        placed(model, model.origin(), [])


@pytest.mark.parametrize("method", ["gd", "momentum", "lbfgs"])
def test_every_first_order_method_on_one_device(method):
    model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.1, lambda_H=0.1)
    key = jax.random.key(3)
    found = solve_sharded(model, devices=jax.devices()[:1], key=key, method=method, tolerance=1e-8)
    assert found.method == method
    assert found.result.name == "CONVERGED"
    assert abs(found.objective - model.minimiser().value) < 1e-12
    short = solve_sharded(
        model, devices=jax.devices()[:1], key=key, method=method, max_iterations=2
    )
    assert (short.iterations, short.result.name) == (2, "MAX_ITERATIONS")
