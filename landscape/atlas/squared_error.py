"""The atlas of squared error, in closed form: all critical points, continua included."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from landscape.atlas.checksum import mse_strata
from landscape.atlas.orbit import describe
from landscape.atlas.record import Atlas, whole
from landscape.atlas.search import Found
from ufm.errors import InputError
from ufm.frames import simplex_etf
from ufm.model import norm
from ufm.plain.minimisers import factorised
from ufm.plain.model import UFM
from ufm.plain.quadratic_form import quadratic_singular_target, quadratic_target
from ufm.plain.symmetry import DENSE_CLASS_ROTATIONS
from ufm.typing import Array

# Targets that agree to this are one group: sqrt(n_k) of different counts differ by 1e-4 and more.
SAME_TARGET = 1e-9
# Lines of the list: two for every class where all counts differ.
MAX_LINES = 4096


def squared_error_atlas(model: UFM) -> Atlas | None:
    """Every critical point of a quadratic isotropic loss |z - M e_k|^2 / 2, or None for others.

    Z = sum over chosen directions i of (t_i - N sigma) u_i v_i^T, with (u_i, t_i, v_i) singular
    triples of the target, t_i > N sigma; equal targets give Grassmannians, one line each. Balanced
    models with lambda_b > 0 have the direction of the all-ones vector besides.
    Source: MSE-3; Zhou et al. (2022) without bias; with a bias derived here (docs/atlas.md).

    Returns:
        An Atlas that is COMPLETE if the loss is proved isotropic; None for other losses, and for
        lambda_b > 0 with unequal counts, where no closed form is known.

    Raises:
        InputError: more classes or lines than fit.

    Example:
        >>> from ufm import MSE
        >>> found = squared_error_atlas(UFM(MSE(), 4, 4, lambda_W=0.05, lambda_H=0.05))
        >>> [(orbit.rank, orbit.count) for orbit in found.orbits], found.status.name
        ([(4, 1), (3, 0), (2, 2), (1, 0), (0, 1)], 'COMPLETE')
    """
    K = model.num_classes
    target = quadratic_target(model.loss, K)
    if target is None or (model.lambda_b and not model.balanced):
        return None
    if K > DENSE_CLASS_ROTATIONS:
        rule = f"The atlas of squared error needs K <= {DENSE_CLASS_ROTATIONS}"
        raise InputError(rule, K, "use landscape.atlas.balanced_mse_strata, which takes any K")
    merged = whole(model)
    U, values, Vt = _directions(merged, target[0])
    groups = _groups(values)
    if np.prod([len(group) + 1 for group in groups]) > MAX_LINES:
        rule = f"An atlas lists at most {MAX_LINES:,} kinds of critical points"
        raise InputError(rule, f"2^{len(groups)}", "use equal class sizes or fewer classes")
    used = product(*(range(len(group) + 1) for group in groups))
    orbits = []
    for stratum, chosen in zip(mse_strata([len(g) for g in groups]), used, strict=True):
        picked = [i for group, r in zip(groups, chosen, strict=True) for i in group[:r]]
        inside = merged.with_dimension(max(1, len(picked)))
        bias = _bias(merged, target[0], U, values, picked)
        point = factorised(inside, U[:, picked], values[picked], Vt[picked], bias)
        value, gradient = inside.value_and_gradient(point)
        orbit = describe(inside, Found(point, float(value), float(norm(gradient))))
        if len(stratum.betti) > 1:
            names = [
                f"Gr({r}, {len(g)})" for g, r in zip(groups, chosen, strict=True) if 0 < r < len(g)
            ]
            orbit = replace(orbit, label=f"projectors {' x '.join(names)}", stabiliser=1)
        orbits.append(replace(orbit, count=stratum.count, betti=stratum.betti))
    proved = model.loss.properties(K).isometric.evidence == "proved"
    ordered = tuple(sorted(orbits, key=lambda orbit: orbit.objective))
    return Atlas(merged, ordered, proved=proved)


def _directions(model: UFM, M: float) -> tuple[Array, Array, Array]:
    """Left and right vectors, and sizes t_i - N sigma > 0 that Z may have along them."""
    threshold = float(model.num_samples) * model.sigma
    if not model.lambda_b:
        U, t, Vt = np.linalg.svd(quadratic_singular_target(model, M))
        kept = t > threshold
        return U[:, kept], t[kept] - threshold, Vt[kept]
    # After the bias the all-ones direction has curvature mu = lambda_b / (1 + lambda_b).
    K, root_n, decay = model.num_classes, np.sqrt(float(model.n)), float(model.lambda_b)
    U = np.concatenate([simplex_etf(K), np.full((K, 1), K**-0.5)], axis=1)
    values = root_n * M - threshold * np.append(np.ones(K - 1), (1 + decay) / decay)
    return U[:, values > 0], values[values > 0], U[:, values > 0].T


def _groups(values: Array) -> list[list[int]]:
    """Positions of equal values, largest first."""
    groups: list[list[int]] = []
    for i in np.argsort(-values, kind="stable"):
        if groups and values[groups[-1][0]] - values[i] <= SAME_TARGET * (1 + values[0]):
            groups[-1].append(int(i))
        else:
            groups.append([int(i)])
    return groups


def _bias(model: UFM, M: float, U: Array, values: Array, picked: list[int]) -> Array:
    """b = sum_k pi_k (M e_k - z_k) / (1 + lambda_b)."""
    shares = np.asarray(model.counts) / float(model.num_samples)
    if not model.lambda_b:
        return np.asarray(M * shares)
    mean = np.linalg.multi_dot([U[:, picked] * values[picked], U[:, picked].T, np.sqrt(shares)])
    return np.asarray(
        (M * shares - mean / np.sqrt(model.num_samples)) / (1 + float(model.lambda_b))
    )
