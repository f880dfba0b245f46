"""Run many claims in several processes, each with its own specimens.

Claims that share specimens stay in one process, so that each specimen is searched and judged once;
compiled programs are shared through JAX's disk cache.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import fields
from importlib.metadata import version
from typing import Any

from proofs_check.claim import Claim, Outcome
from proofs_check.registry import core_claims
from proofs_check.run import check_claim
from proofs_check.specimens import source

# Versions of jaxlib whose CPU compiler has two kinds of code for fused loops; the older kind
# compiles three times faster. With that kind and no optimisation at all a loop was compiled
# wrongly: the probe of focal loss saw a kink. Level 1 takes as long. Programs are not split to be
# compiled in parallel, because the lanes fill the cores: a sixth of the time.
EMITTERS_OPTIONAL = "0.10."
OLDER_CODE = (
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1 "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
)


def check_in_lanes(
    claims: Sequence[Claim],
    lanes: Sequence[Executor],
    *,
    quick: bool = False,
    loss: str | None = None,
    model: str | None = None,
    started: Callable[[str], None] | None = None,
    finished: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Check core claims, one at a time in each lane, and return their outcomes in the order given.

    Args:
        claims: claims of the core (processes find them by id).
        lanes: executors of one process each, best with ``quick_compilation``.
        quick: smaller regions.
        loss: only specimens of this loss.
        model: only specimens of this model.
        started: called with the id of a claim when it is taken up.
        finished: called with each outcome.

    Example:
        >>> check_in_lanes([], [])
        []
    """
    waiting = _families(claims)
    mine: list[deque[Claim]] = [deque() for _ in lanes]
    by_id = {claim.id: claim for claim in claims}
    done: dict[str, Outcome] = {}
    running: dict[Future[dict[str, Any]], int] = {}
    while any(mine) or waiting or running:
        for lane, process in enumerate(lanes):
            if waiting and not mine[lane]:
                mine[lane].extend(waiting.popleft())
            if mine[lane] and lane not in running.values():
                claim = mine[lane].popleft()
                if started is not None:
                    started(claim.id)
                running[process.submit(_check, claim.id, quick, loss, model)] = lane
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            del running[future]
            record = future.result()
            outcome = Outcome(claim=by_id[record.pop("id")], **record)
            done[outcome.claim.id] = outcome
            if finished is not None:
                finished(outcome)
    return [done[claim.id] for claim in claims]


def quick_compilation() -> dict[str, str]:
    """The environment of processes for small problems: XLA optimises little there.

    Specimens are small, and most of the time goes into compiling their programs: a trust region is
    compiled in a third of the time, and runs as fast. What this process has in its environment
    decides otherwise.

    Example:
        >>> len(quick_compilation())
        1
    """
    # XLA ends a process that names a flag it does not know.
    older = version("jaxlib").startswith(EMITTERS_OPTIONAL)
    name, value = ("XLA_FLAGS", OLDER_CODE) if older else ("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    return {name: os.environ.get(name, value)}


def _families(claims: Sequence[Claim]) -> deque[list[Claim]]:
    """Claims by the specimens they share, large families first."""
    families: dict[object, list[Claim]] = {}
    for claim in claims:
        families.setdefault(source(claim.region), []).append(claim)
    return deque(sorted(families.values(), key=len, reverse=True))


def _check(name: str, quick: bool, loss: str | None, model: str | None) -> dict[str, Any]:
    """An outcome without its claim, whose functions do not travel between processes."""
    claim = next(claim for claim in core_claims() if claim.id == name)
    outcome = check_claim(claim, quick=quick, loss=loss, model=model)
    record = {f.name: getattr(outcome, f.name) for f in fields(outcome) if f.name != "claim"}
    return {"id": name, **record}
