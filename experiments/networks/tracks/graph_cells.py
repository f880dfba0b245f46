"""What the track of graph networks measures: trained networks, free features, eigenvectors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.linalg import block_diag
from sklearn.cluster import KMeans

from experiments.networks.tracks.message_passing import (
    TEST,
    TRAIN,
    BlockModel,
    initial_layers,
    initial_state,
    look,
    make_step,
)
from experiments.networks.tracks.options import GraphOptions
from experiments.networks.tracks.stepping import Record, finished, state_key, stepped, stopped
from experiments.networks.tracks.track import CHECKPOINT, Cell, Measured
from landscape import solve
from ufm.collapse import collapse
from ufm.models.graph import GraphUFM
from ufm.models.graph_network import GraphNetwork
from ufm.models.graph_spectra import (
    bethe_hessian,
    lowest,
    normalised_laplacian,
    overlap,
    power_iteration,
    recovery_signal,
    signal_to_noise,
    step_growth,
)
from ufm.plain.inertia import count_negative

NETWORKS = {"gnn": True, "gnn-w2-only": False}
FREE = {"free": True, "free-w2-only": False}
SPECTRAL = {"bethe-hessian": bethe_hessian, "laplacian": normalised_laplacian}
METHODS = (*NETWORKS, *FREE, *SPECTRAL)
# Of the public configurations, as the learning rate and the decay of the options are.
MOMENTUM = 0.9
# Of the public baseline.
STEPS = 32
# Gradient norm at which a descent of free features ends: values are its square off.
GRADIENT, DESCENT_STEPS = 1e-7, 20_000
# Graphs on which collapse is looked at after every epoch.
LOOKED_AT = 5


def _collapse(H: Any, labels: Any) -> tuple[float, float]:
    """NC1 and NC2 of features (d, N) of one graph; NaN where training has diverged."""
    features = np.asarray(H, dtype=np.float64).T
    if not np.isfinite(features).all():
        return math.nan, math.nan
    told = collapse(features, labels)
    return told.nc1_geo, told.nc2_rwu


def trained(
    options: GraphOptions, case: BlockModel, width: int, cell: Cell, folder: Path
) -> Measured:
    """A network after its last epoch, and NC1 and NC2 by layer after every one."""
    seed, labels = cell.seed, case.labels
    step = make_step(case.K, case.n, options.learning_rate, MOMENTUM, options.weight_decay)
    start = initial_layers(case.K, width, options.layers, NETWORKS[cell.method], seed)
    looked = min(LOOKED_AT, options.tests)

    def tested(state: Any, split: int, many: int) -> tuple[float, Any, Any]:
        """Mean overlap; NC1 and NC2 by layer on the first graphs (graphs, layers, 2); of means."""
        overlaps, by_layer, seen = [], [], []
        for number in range(many):
            means, inputs = case.sample(seed, split, number, width)
            features, logits = look(state[0], means, inputs)
            overlaps.append(overlap(np.argmax(logits, axis=0), labels, case.K))
            if number < looked:
                by_layer.append([_collapse(H, labels) for H in features])
                seen.append(_collapse(np.asarray(features[-1]) @ means, labels)[0])
        return float(np.mean(overlaps)), np.array(by_layer), float(np.mean(seen))

    def epoch(state: Any, number: int) -> tuple[Any, Record]:
        losses = []
        order = np.random.default_rng((107, seed, number)).permutation(options.graphs)
        for index in order:
            state, loss = step(state, *case.sample(seed, TRAIN, int(index), width))
            losses.append(loss)
        done, by_layer, _ = tested(state, TEST, looked)
        nc1, nc2 = by_layer.mean(axis=0).T.tolist()
        loss = float(np.mean(jax.device_get(losses)))
        return state, {"loss": [loss], "overlap": [done], "nc1": nc1, "nc2": nc2}

    key = state_key(options, cell)
    state, records = stepped(initial_state(start), options.epochs, epoch, folder / CHECKPOINT, key)
    series = {f"nc1 after {k}": r["nc1"] for k, r in enumerate(records, 1)}
    series |= {f"nc2 after {k}": r["nc2"] for k, r in enumerate(records, 1)}
    series |= {name: [r[name][0] for r in records] for name in ("loss", "overlap")}
    if not finished(records, options.epochs):
        return stopped(records), {}
    done, by_layer, seen = tested(state, TEST, options.tests)
    nc1, nc2 = by_layer.mean(axis=0).T
    return {
        "overlap_train": tested(state, TRAIN, min(options.tests, options.graphs))[0],
        "overlap": done,
        "nc1_first": nc1[0],
        "nc1": nc1[-1],
        "nc1_seen": seen,
        "nc2": nc2[-1],
        "objective": records[-1]["loss"][0],
    }, series


def freed(options: GraphOptions, case: BlockModel, width: int, cell: Cell) -> dict[str, float]:
    """Free features on the first train graphs, W1 or not: their minimum, and how sure that is."""
    graphs = [case.graph(cell.seed, TRAIN, number)[0] for number in range(options.free)]
    means = np.stack([A / A.sum(axis=0) for A in graphs])
    decay, many = options.decay, len(graphs)
    model: Any
    if FREE[cell.method]:
        model = GraphNetwork(means, case.labels, decay, decay, decay, width)
    else:
        # Several graphs with W2 alone are one graph that is not connected (GU-6).
        labels = np.tile(case.labels, many)
        model = GraphUFM(block_diag(*means), labels, decay, decay / many, width)
    run = solve(
        model,
        method="lbfgs",
        key=jax.random.key(cell.seed),
        tolerance=GRADIENT,
        max_iterations=DESCENT_STEPS,
    )
    point = run.point
    if FREE[cell.method]:
        H = np.asarray(point.H)
        logits = np.asarray(point.W1) @ H + np.asarray(point.W2) @ (H @ means)
    else:
        H = np.stack(np.split(np.asarray(point.H), many, axis=1))
        logits = np.asarray(point.W) @ (H @ means)
    told = np.array([_collapse(x, case.labels) for x in H])
    seen = [_collapse(x @ A, case.labels)[0] for x, A in zip(H, means, strict=True)]
    guesses = np.argmax(logits, axis=1)
    return {
        "overlap_train": float(np.mean([overlap(x, case.labels, case.K) for x in guesses])),
        "nc1": told[:, 0].mean(),
        "nc1_seen": float(np.mean(seen)),
        "nc2": told[:, 1].mean(),
        "objective": float(run.objective),
        "gap": float(model.certificate(point).gap),
    }


def spectral(options: GraphOptions, case: BlockModel, cell: Cell) -> Measured:
    """Exact eigenvectors from the second on, and for two classes the power iteration.

    Beside them what decides how well they can do: negative eigenvalues, what one and all steps of
    the iteration gain on the third eigenvector, and both thresholds of the block model.
    """
    build, labels = SPECTRAL[cell.method], case.labels

    def groups(vectors: Any) -> Any:
        if case.K == 2:
            return (vectors[:, 0] < 0).astype(int)
        return KMeans(case.K, n_init=10, random_state=cell.seed).fit_predict(vectors)

    found: dict[int, list[float]] = {TRAIN: [], TEST: []}
    steps, nc, seen, steps_nc, negative, growth = [], [], [], [], [], []
    for split, many in ((TRAIN, min(options.tests, options.graphs)), (TEST, options.tests)):
        for number in range(many):
            A, rng = case.graph(cell.seed, split, number)
            matrix = build(A)
            vectors = lowest(matrix, case.K)[1][:, 1:]
            found[split].append(overlap(groups(vectors), labels, case.K))
            if split == TRAIN:
                continue
            nc.append(_collapse(vectors.T, labels))
            seen.append(_collapse(vectors.T @ (A / A.sum(axis=0)), labels)[0])
            # The Laplacian's zero comes out as a rounding of its norm, of either sign.
            rounding = len(A) * np.finfo(float).eps * np.linalg.norm(matrix)
            negative.append(count_negative(matrix + rounding * np.eye(len(A))))
            if case.K == 2:  # the public code has it for two classes
                w = power_iteration(matrix, rng.standard_normal(len(A)), STEPS)
                steps.append(overlap((w < 0).astype(int), labels, 2))
                steps_nc.append(_collapse(w[None], labels)[0])
                growth.append(step_growth(matrix))
    numbers = {
        "overlap_train": float(np.mean(found[TRAIN])),
        "overlap": float(np.mean(found[TEST])),
        "nc1": float(np.mean(nc, axis=0)[0]),
        "nc1_seen": float(np.mean(seen)),
        "nc2": float(np.mean(nc, axis=0)[1]),
        "negative": float(np.mean(negative)),
        "signal_to_noise": signal_to_noise(case.K, case.n, *case.chances),
        "recovery_signal": recovery_signal(case.K, case.n, *case.chances),
    }
    if steps:
        numbers["overlap_steps"] = float(np.mean(steps))
        numbers["nc1_steps"] = float(np.mean(steps_nc))
        numbers["growth"] = float(np.mean(growth))
        numbers["growth_steps"] = float(np.mean(np.array(growth) ** STEPS))
    return numbers, {}
