"""Critical points found by bifurcation alone: from the collapsed model downwards in c.

Above the collapse threshold only the origin is critical. On the way down, branches bifurcate from
it and from one another. At an event the kernel of the Hessian, in as many more dimensions as there
are couplings equal to sigma, holds the new directions: on a sphere around the event the equations
are solved for the point and for c together. What is found is followed, and so on. Orbits that a
fold creates away from every branch are out of reach.
Source: branch switching on a sphere, after Keller (1977); for wide kernels derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from landscape.atlas.orbit import describe
from landscape.atlas.search import MAX_ITERATIONS, TOLERANCE, Found
from landscape.branches.continuation import CLEAR, follow
from landscape.branches.curve import Curve, Station
from landscape.branches.diagram import BranchDiagram, orbit_of, same_point, with_branch
from landscape.branches.events import Event, Kind
from landscape.solvers.critical import find_critical
from ufm.frames import simplex_etf
from ufm.plain.model import UFM
from ufm.point import Point, flatten, unflatten
from ufm.typing import Array

# Radii in balanced coordinates. On small spheres only the new branches are met; where a kernel is
# wide the eigenvalues that tell directions apart shrink with the sixth power of the radius.
RADII = (0.1, 0.4, 1.2)
# Test functions closer to zero than this span the kernel of an event, located to 1e-12.
KERNEL = 1e-6
MAX_NEWTON = 20
# Searches on one sphere go on until this many times the dimension of the kernel found nothing new.
PATIENCE = 12
# Part of the radius that must lie in the kernel: the parent's own branch leaves across it.
INSIDE = 0.2
# Points of one orbit on one sphere agree up to what rotations add to their distance.
ALIKE = 1e-4
# How far above the collapse threshold to begin.
ABOVE = 1.02


def grow(
    model: UFM, *, seed: int = 0, progress: Callable[[BranchDiagram], None] | None = None
) -> BranchDiagram:
    """Critical points that bifurcations from the origin lead to, down to the model's own c.

    Args:
        model: a UFM whose samples merge.
        seed: of the random directions.
        progress: called with the diagram so far after every new branch.

    Returns:
        A diagram from the model's c to just above the collapse threshold; its ``orbits`` are those
        at the model's c.

    Example:
        >>> from ufm import CrossEntropy
        >>> found = grow(UFM(CrossEntropy(), 2, 2, lambda_W=0.02, lambda_H=0.02))
        >>> sorted(orbit.label for orbit in found.orbits)
        ['origin', 'simplex ETF']
    """
    merged = model.as_merged(model.origin())[0].with_dimension(1)
    found = find_critical(merged, merged.origin(), TOLERANCE, MAX_ITERATIONS)
    origin = describe(merged, Found(found[0].to_numpy(), float(found[1]), float(found[2])))
    high = ABOVE * merged.c * max(1.0, float(origin.couplings[0]) / merged.sigma)
    alone = BranchDiagram(merged, merged.c, high, ())
    alone = with_branch(alone, follow(origin, merged.c, high))
    return extend(alone, seed=seed, progress=progress)


def extend(
    diagram: BranchDiagram,
    *,
    seed: int = 0,
    progress: Callable[[BranchDiagram], None] | None = None,
) -> BranchDiagram:
    """The diagram with the branches that bifurcate from its own, from the largest c downwards.

    Args:
        diagram: from ``branches``, or ``grow``.
        seed: of the random directions.
        progress: called with the diagram so far after every new branch.
    """
    rng, tried = np.random.default_rng(seed), set[int]()
    while True:
        waiting = [
            e for e in diagram.events if e.kind is not Kind.FOLD and id(e.station) not in tried
        ]
        if not waiting:
            return diagram
        event = waiting[-1]
        tried.add(id(event.station))
        if event.multiplicity == 1 and event.children:
            continue  # a one-dimensional kernel has one direction up to sign
        for curve, station in sprouts(diagram.branches[event.parent].curve, event, rng):
            if not diagram.low < station.c < diagram.high or _known(diagram, curve, station):
                continue
            orbit = orbit_of(curve, station)
            if orbit.range_nullity != orbit.range_predicted:
                continue
            diagram = with_branch(diagram, follow(orbit, diagram.low, diagram.high))
            if progress is not None:
                progress(diagram)


def sprouts(curve: Curve, event: Event, rng: np.random.Generator) -> list[tuple[Curve, Station]]:
    """Critical points near an event that are not on the branch through it, with their equations.

    Args:
        curve: of the branch on which the event was located.
        event: a birth or a broken symmetry.
        rng: random numbers.
    """
    found: list[tuple[Curve, Station]] = []
    for child, center, kernel in _kernels(curve, event):
        # New dimensions may be rotated.
        more = child.rank - curve.rank
        dimension = kernel.shape[1] - more * (more - 1) // 2
        # A single direction: both signs, on the small sphere.
        for radius in RADII if dimension > 1 else RADII[:1]:
            idle = 0
            while idle < PATIENCE * dimension:
                idle += 1
                mix = _mix(child, kernel, rng)
                start = radius * kernel @ (mix / np.linalg.norm(mix))
                station = _on_sphere(child, center, center + np.append(start, 0.0))
                if station is None or not _apart(child, center, kernel, station, radius):
                    continue
                if not any(c is child and _alike(c, s, station) for c, s in found):
                    found.append((child, station))
                    idle = 0
    return found


def _kernels(curve: Curve, event: Event) -> Iterator[tuple[Curve, Array, Array]]:
    """Equations, centre and orthonormal kernel (P, m) for every rank that can branch off."""
    station = event.station
    if event.kind is Kind.SYMMETRY_BREAKING:
        values, vectors = curve.system(station.y).eigensystem()
        yield curve, station.y, vectors[:, np.abs(values) < KERNEL]
        return
    U, couplings, Vt = np.linalg.svd(curve.outer_gradient(station.y))
    chosen = np.flatnonzero(np.abs(couplings - 1) < KERNEL)
    W, H, b = unflatten(station.y[:-1], curve.like)
    K, rank = W.shape
    for more in range(1, len(chosen) + 1):
        padded = Point(np.hstack([W, np.zeros((K, more))]), np.vstack([H, np.zeros((more, K))]), b)
        columns = []
        for k in chosen:
            for j in range(rank, rank + more):
                # (-u, v) is a null vector of [[sigma, G], [G^T, sigma]] where G v = sigma u.
                A, B = np.zeros_like(padded.W), np.zeros_like(padded.H)
                A[:, j], B[j] = -U[:, k], Vt[k]
                move = Point(A, B, None if b is None else np.zeros(K))
                columns.append(flatten(move) / math.sqrt(2))
        center = np.append(flatten(padded), station.log_c)
        yield curve.of_rank(padded), center, np.array(columns).T


def _mix(curve: Curve, kernel: Array, rng: np.random.Generator) -> Array:
    """Coordinates in the kernel: random ones, or those of a code with some symmetry."""
    K, rank = curve.like.W.shape
    # Classes share random vectors, vectors of zeros and ones, or the vertices of a simplex and 0.
    vectors = (
        rng.normal(size=(int(rng.integers(2, K + 1)), rank)),
        rng.integers(-1, 2, (K, rank)).astype(np.float64),
        np.vstack([simplex_etf(rank + 1), np.zeros(rank)]),
    )[int(rng.integers(3))]
    code = vectors[rng.integers(0, len(vectors), K)]
    mix = kernel.T @ flatten(Point(code, code.T, None if curve.like.b is None else np.zeros(K)))
    symmetric = rng.random() < 0.5 and float(np.linalg.norm(mix)) > KERNEL
    return np.asarray(mix if symmetric else rng.normal(size=kernel.shape[1]))


def _on_sphere(curve: Curve, center: Array, start: Array) -> Station | None:
    """A critical point at the distance of ``start`` from the centre, at any c: Newton's method."""
    y, radius = start, float(np.linalg.norm(start - center))
    for _ in range(MAX_NEWTON):
        system = curve.system(y)
        away = np.append((y - center)[:-1], 0.0)
        short = 0.5 * (radius**2 - float(away @ away))
        if (
            np.linalg.norm(system.residual) * curve.sigma(y[-1]) <= TOLERANCE
            and abs(short) < TOLERANCE
        ):
            along = away / np.linalg.norm(away)
            found = curve.corrected(y, along)
            return None if found is None else curve.station(*found, along)
        right = np.append(-system.residual, short)
        step = np.linalg.lstsq(system.bordered(away), right, rcond=0.0)[0]
        y = y + step * min(1.0, 0.5 * radius / float(np.linalg.norm(step)))
    return None


def _apart(curve: Curve, center: Array, kernel: Array, station: Station, radius: float) -> bool:
    """Whether a point has left the parent's branch and its rank, and its index can be trusted."""
    inside = float(np.linalg.norm(kernel.T @ (station.y - center)[:-1]))
    strength = np.linalg.svd(station.point.W, compute_uv=False)[curve.rank - 1]
    return inside > INSIDE * radius and strength > KERNEL and abs(station.smallest) > CLEAR


def _alike(curve: Curve, one: Station, other: Station) -> bool:
    """Whether two points on one sphere are one orbit, Z in units of its size."""
    if abs(one.log_c - other.log_c) > ALIKE or one.range_index != other.range_index:
        return False
    tolerance = ALIKE * min(1.0, float(np.abs(one.Z).max()))
    same = curve.stabiliser(one, ALIKE) == curve.stabiliser(other, ALIKE)
    return same and same_point(one, other, curve.model, tolerance)


def _known(diagram: BranchDiagram, curve: Curve, station: Station) -> bool:
    """Whether a point lies on a branch of the diagram."""
    return any(
        same_point(old, station, curve.model)
        for branch in diagram.branches
        if branch.rank == curve.rank and branch.spans(station)
        for old in branch.at(station.c)
    )
