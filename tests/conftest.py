"""What every test process needs before the first import of JAX, NumPy or matplotlib."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The test processes, and the next run, share what XLA compiled: 28 times less compile time.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Most of the time goes into compiling small programs, which takes half as long with the flags of
# proofs_check.parallel_run, and half of that without LLVM's optimisations. Then LLVM selects
# instructions in a fast way that goes wrong (a smooth loss had a jump, test_parallel_run.py), so it
# is told to take the usual one. What the environment says decides otherwise.
if version("jaxlib").startswith("0.10."):  # XLA ends a process that names a flag it does not know
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 "
        "--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1 "
        "--xla_backend_extra_options=-fast-isel=false",
    )
# The processes already fill the cores; a thread pool in each would only make them wait. NPROC is
# what sizes that of XLA.
os.environ.setdefault("NPROC", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
# What was measured on this machine does not decide about a test, nor the other way round.
os.environ["XDG_CACHE_HOME"] = str(ROOT / ".cache")

import hypothesis
import pytest

import ufm  # noqa: F401  turns on float64 before any test makes an array
from experiments.mappings import relieve

# No deadline: the first example of a test compiles. On the CI the same examples every time.
hypothesis.settings.register_profile(
    "lab",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    max_examples=25,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("lab")

# A collection walks through all that JAX and thousands of tests keep, and finds next to nothing: at
# the usual threshold of 700 new objects it takes a twentieth of the time.
gc.set_threshold(20_000, 10, 10)


def pytest_collection_finish():
    """What is there when the first test begins stays to the end."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def few_mappings():
    """A process that runs thousands of tests must not keep all the programs of all of them."""
    yield
    if relieve():
        gc.collect()
