"""Graph networks on free features: every node sees the mean of its neighbours."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ufm.answers import Certificate, Minimiser, Restriction, Structure
from ufm.counts import class_counts, counts_columns, parsed_ranks
from ufm.decay import balanced_factors, penalty
from ufm.eigen import eigh
from ufm.errors import InputError, require_count, require_decay
from ufm.model import Model
from ufm.models.circulant_blocks import circulant_blocks
from ufm.point import (
    Point,
    as_rows,
    gaussian,
    rotation_generators,
    row_space_of_start,
)
from ufm.records import pytree_record
from ufm.spectrum import MAX_DIAGONALISED, Spectrum, pair
from ufm.tolerance import RANK, generator_rank
from ufm.typing import Array


@pytree_record(static=("d",), eq=False)
class GraphUFM(Model[Point]):
    """Squared error of a linear classifier that sees the mean feature of every node's neighbours.

    f(W, H) = (1/(2N)) |W H A D^-1 - Y|^2 + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2

    with A the adjacency matrix, D its degrees. Source: Kothapalli et al. 2023 (arXiv 2307.01951)
    with their W_1 = 0; docs/theory.md, GU-1 to GU-3.

    Attributes:
        means: A D^-1 (N, N), columns sum to 1.
        labels: class of every node (N,), ascending.
        lambda_W, lambda_H: weight decays.
        d: feature dimension.
    """

    means: Any
    labels: Any
    lambda_W: Any
    lambda_H: Any
    d: int

    @property
    def num_classes(self) -> int:
        """K."""
        return int(np.max(np.asarray(self.labels))) + 1

    @property
    def counts_tuple(self) -> tuple[int, ...]:
        """Nodes per class."""
        return tuple(np.bincount(np.asarray(self.labels)).tolist())

    @property
    def targets(self) -> Array:
        """One-hot labels Y (K, N)."""
        return np.asarray(np.eye(self.num_classes)[:, np.asarray(self.labels)])

    @property
    def sigma(self) -> float:
        """sqrt(lambda_W lambda_H)."""
        return math.sqrt(float(self.lambda_W) * float(self.lambda_H))

    def objective(self, point: Point) -> Any:
        """f at a point; shapes W (K, d), H (d, N)."""
        N, K = len(self.labels), point.W.shape[0]
        targets = jnp.arange(K)[:, None] == self.labels
        error = point.W @ point.H @ self.means - targets
        value = (error**2).sum() / (2 * N) + penalty(self.lambda_W, (point.W**2).sum())
        return value + penalty(self.lambda_H, (point.H**2).sum())

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """Independent N(0, scale^2) entries."""
        W, H = gaussian(key, [(self.num_classes, self.d), (self.d, len(self.labels))])
        return Point(scale * W, scale * H)

    def generators(self, point: Point) -> Point:
        """Rotations W -> W R, H -> R^T H."""
        return rotation_generators(point)

    def confined(self, point: Point) -> Restriction | None:
        """The row space of [W; H^T] at a start."""
        return row_space_of_start(self, point)

    # ---- when it collapses

    def class_means(self) -> Array:
        """Q: the projector on rows that are constant within every class (N, N)."""
        members = self.targets
        return np.asarray(members.T @ (members / np.sum(members, axis=1, keepdims=True)))

    def collapse_conditions(self) -> tuple[float, float]:
        """How far both halves of the condition for collapse fail, 0 where they hold (GU-1).

        Forward |Q A' (I - Q)|: fractions of neighbours are constant within a class; backward
        |(I - Q) A' Q|: so are the weights with which the others see a node; A' = A D^-1.
        """
        Q, means = self.class_means(), np.asarray(self.means)
        rest = np.eye(len(Q)) - Q
        return (
            float(np.abs(Q @ means @ rest).max()),
            float(np.abs(rest @ means @ Q).max()),
        )

    def fractions(self) -> Array:
        """S (K, K): the mean fraction of a class's neighbours that another class has."""
        members = self.targets
        return np.asarray(members @ np.asarray(self.means) @ members.T) / np.sum(members, axis=1)

    def _equal_fractions(self) -> bool:
        """Whether forward holds, classes are equal and S is symmetric."""
        S, rounding = self.fractions(), 1e-12
        alike = len(set(self.counts_tuple)) == 1 and bool(np.abs(S - S.T).max() < rounding)
        return alike and self.collapse_conditions()[0] < rounding

    def _equitable(self) -> bool:
        """Whether backward holds too: equal classes and equal degrees do."""
        return self._equal_fractions() and self.collapse_conditions()[1] < 1e-12

    # ---- what is known

    def minimiser(self) -> Minimiser | None:
        """On equitable graphs, soft thresholding of the eigenvalues of S (GU-2); else None.

        "derived" where d leaves out eigenvalues that pay.
        """
        if not self._equitable():
            return None
        s, value = self._collapsed()
        paying = int(np.sum(np.abs(eigh(self.fractions())[0]) > self._c))
        evidence = "proved" if self.d >= paying else "derived"
        point = self._thresholded(np.arange(len(s)))
        return Minimiser(point, value, len(s), None, "equitable graph (GU-2)", evidence)

    def _collapsed(self) -> tuple[Array, float]:
        """The sizes |s_j| that pay, d of them at most, and the least objective at collapse."""
        size, c = np.sort(np.abs(eigh(self.fractions())[0]))[::-1], self._c
        s = size[size > c][: self.d]
        return s, 0.5 - float(np.sum((1 - c / s) ** 2)) / (2 * self.num_classes)

    @property
    def _c(self) -> float:
        """K sqrt(n) sigma of equal classes."""
        return self.num_classes * math.sqrt(self.counts_tuple[0]) * self.sigma

    def _thresholded(self, kept: NDArray[np.int64]) -> Point:
        """The critical point that keeps some eigenvalues of S, counted from the largest |s_j| on.

        Raises:
            InputError: one that does not exceed c, or more than d.
        """
        values, vectors = eigh(self.fractions())
        order = np.argsort(-np.abs(values), kind="stable")[kept]
        s, v, c = np.abs(values[order]), vectors[:, order], self._c
        if len(order) > self.d or np.any(s <= c):
            rule = f"Need at most d = {self.d} eigenvalues, each of size above c = {c:.6g}"
            raise InputError(rule, ", ".join(f"{x:.6g}" for x in s), "keep fewer")
        logits, n = np.sign(values[order]) * (s - c) / s**2, self.counts_tuple[0]
        # X = sum_j logits_j v_j v_j^T (1/n over the nodes), of singular values sqrt(n) |logits_j|.
        decays = self.lambda_W, self.lambda_H
        W, H = balanced_factors(v, math.sqrt(n) * logits, v.T, self.d, *decays)
        return Point(W, H[:, np.asarray(self.labels)] / math.sqrt(n))

    def explicit(self, name: str) -> Point | None:
        """Also the critical points of an equitable graph: ranks 1,0 keep the largest |s_j| alone.

        One 0 or 1 for every eigenvalue of S, from the largest |s_j| on (GU-2).
        """
        kept = parsed_ranks(name)
        if kept is None:
            return super().explicit(name)
        if len(kept) != self.num_classes or max(kept) > 1 or not self._equitable():
            rule = f"Need {self.num_classes} numbers 0 or 1, and classes with equal neighbours"
            raise InputError(rule, name, "say which eigenvalues are kept, such as 1,0")
        return self._thresholded(np.flatnonzero(kept))

    def measures(self, point: Point) -> dict[str, Any]:
        """Both halves of the condition for collapse, and the spread within classes (GU-1).

        Singular values of the classes' mean logits: on equal degrees and counts one of them along
        all ones, the others along differences of classes.

        Shares of |H|^2 and of |H A'|^2 that are within classes, and the former per node; where
        classes of one size have equal fractions, the least objective of collapsed features (GU-2).
        """
        H, means = np.asarray(point.H), np.asarray(self.means)
        rest = np.eye(len(means)) - self.class_means()
        seen = H @ means
        within = [float(np.sum((x @ rest) ** 2)) for x in (H, seen)]
        whole = [float(np.sum(x**2)) for x in (H, seen)]
        shares = [part / all_ if all_ else 0.0 for part, all_ in zip(within, whole, strict=True)]
        forward, backward = self.collapse_conditions()
        averaged = point._replace(H=H @ self.class_means())
        own = np.arange(len(point.W)) == np.asarray(self.labels)[:, None]
        logits = np.asarray(point.W) @ seen @ (own / own.sum(axis=0))
        return {
            "logit_values": np.linalg.svd(logits, compute_uv=False).tolist(),
            "forward": forward,
            "backward": backward,
            "share_within": shares[0],
            "share_within_of_means": shares[1],
            "trace_within": within[0] / len(means),
            "class_means_objective": float(self.objective(averaged)),
            "collapsed_minimum": self._collapsed()[1] if self._equal_fractions() else None,
        }

    def certificate(self, point: Point) -> Certificate:
        """The dual value of the scaled residual (GU-1)."""
        means, N = np.asarray(self.means), len(self.labels)
        error = (np.asarray(point.logits()) @ means - self.targets) / N
        ratio = float(np.linalg.norm(error @ means.T, 2)) / self.sigma
        dual = error / max(1.0, ratio)
        bound = -N / 2 * float(np.sum(dual**2)) - float(np.sum(dual * self.targets))
        gap = float(self.value_and_gradient(point)[0]) - bound
        return Certificate(True, gap, bound, ratio, "convex in W H (GU-1)")

    def structure(self, point: Point) -> Structure | None:
        """The Hessian at any point from its row space, and within classes at collapse (GU-3).

        None where the core is too large to diagonalise.
        """
        W, H = np.asarray(point.W), np.asarray(point.H)
        values, right = np.linalg.svd(np.concatenate([W, H.T], axis=0))[1:]
        rank = int(np.sum(values > RANK * (1 + values[0])))
        basis, (K, N) = right[:rank].T, (W.shape[0], H.shape[1])
        W, H, means = W @ basis, basis.T @ H, np.asarray(self.means)
        slope = (W @ H @ means - self.targets) @ means.T / N
        decays = float(self.lambda_W), float(self.lambda_H)
        outside = self.d - rank
        levels = []
        for coupling in np.linalg.svd(slope, compute_uv=False):
            levels += [(x, outside, "outside the row space") for x in pair(*decays, coupling)]
        levels.append((decays[1], outside * abs(N - K), "outside the row space"))
        averaged = H @ self.class_means()
        collapsed = np.abs(averaged - H).max(initial=0.0) <= RANK * (1 + np.abs(H).max(initial=0.0))
        if collapsed and max(self.collapse_conditions()) < 1e-12:
            # Moves within classes see neither W nor the class means.
            inner = eigh(np.eye(N) - self.class_means())[1][:, K:]
            steep = np.linalg.svd(inner.T @ means, compute_uv=False) ** 2
            seen = np.linalg.svd(W, compute_uv=False) ** 2 if rank else np.zeros(0)
            seen = np.pad(seen, (0, rank - len(seen)))
            within = decays[1] + np.outer(seen, steep).ravel() / N
            levels += [(x, 1, "within classes") for x in within]
            columns = eigh(self.class_means())[1][:, N - K :]
        else:
            columns = np.eye(N)
        if rank * (K + columns.shape[1]) > MAX_DIAGONALISED:
            return None
        core = _core_hessian(W, H @ columns, columns.T @ means, slope @ columns, N, decays)
        levels += [(x, 1, "core") for x in np.linalg.eigvalsh(core)]
        turned = generator_rank(as_rows(rotation_generators(Point(W, H)))) if rank else 0
        moved = float(np.linalg.norm(values[rank:]))
        order = max(len(core), 10)
        return Structure(Spectrum.of(levels), turned + rank * outside, order, rank, moved=moved)

    def columns(self) -> dict[str, Any]:
        """K, d, counts and decays."""
        return {
            "K": self.num_classes,
            "d": self.d,
            **counts_columns(self.counts_tuple),
            "lambda_W": float(self.lambda_W),
            "lambda_H": float(self.lambda_H),
        }


def _core_hessian(
    W: Array, H: Array, means: Array, slope: Array, N: int, decays: tuple[float, float]
) -> Array:
    """The Hessian in W (K, r) and H (r, m), rows first, of logits W H means."""
    (K, r), m = W.shape, H.shape[1]
    seen = H @ means
    WW = np.einsum("kl,ij->kilj", np.eye(K), seen @ seen.T / N).reshape(K * r, K * r)
    HH = np.einsum("ij,ab->iajb", W.T @ W / N, means @ means.T).reshape(r * m, r * m)
    WH = np.einsum("kj,ib->kijb", W / N, seen @ means.T)
    WH += np.einsum("ij,kb->kijb", np.eye(r), slope)
    WH = WH.reshape(K * r, r * m)
    top = np.concatenate([WW + decays[0] * np.eye(K * r), WH], axis=1)
    bottom = np.concatenate([WH.T, HH + decays[1] * np.eye(r * m)], axis=1)
    return np.concatenate([top, bottom])


def graph_of(adjacency: Any, counts: Any, d: int, lambda_W: float, lambda_H: float) -> GraphUFM:
    """The model of a graph: nodes class by class, unweighted and symmetric.

    Args:
        adjacency: (N, N) of 0 and 1, or a SciPy sparse matrix.
        counts: nodes of every class, text or integers.
        d: feature dimension.
        lambda_W: weight decay of the classifier, > 0.
        lambda_H: weight decay of the features, > 0.

    Raises:
        InputError: not square, weighted, directed, a loop, an isolated node, or counts that do not
            add up to its nodes.

    Example:
        >>> import networkx as nx
        >>> ring = nx.to_numpy_array(nx.cycle_graph(4))
        >>> graph_of(ring, (2, 2), 2, 0.01, 0.02).collapse_conditions()
        (0.0, 0.0)
    """
    A = np.asarray(adjacency.todense() if hasattr(adjacency, "todense") else adjacency, float)
    sizes = class_counts(2, 1, counts)
    if A.ndim != 2 or A.shape[0] != A.shape[1] or len(A) != sum(sizes):
        rule = f"Need an adjacency matrix of {sum(sizes)} nodes, one per label"
        raise InputError(rule, f"shape {A.shape}", "make labels and nodes match")
    weights = np.argwhere(~np.isin(A, (0.0, 1.0)))
    if len(weights):
        i, j = weights[0]
        got = f"{A[i, j]:g} between nodes {i} and {j}"
        raise InputError("Need an unweighted graph, entries 0 and 1", got, "drop the weights")
    wrong = np.argwhere((A != A.T) | (np.diag(np.diag(A)) != 0))
    if len(wrong):
        i, j = wrong[0]
        got = f"a loop at node {i}" if i == j else f"an edge of nodes {i} and {j} in one direction"
        raise InputError("Need a symmetric adjacency matrix without loops", got, "mend the graph")
    if not A.sum(axis=0).all():
        node = int(np.argmin(A.sum(axis=0)))
        rule, remedy = "Every node needs a neighbour", "connect it, or leave it out"
        raise InputError(rule, f"isolated node {node}", remedy)
    require_decay(lambda_W, "lambda_W")
    require_decay(lambda_H, "lambda_H")
    require_count(d, "d", 1, "use a feature dimension of one or more")
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return GraphUFM(A / A.sum(axis=0), labels, lambda_W, lambda_H, d)


def graph(
    num_classes: int = 2,
    n: int = 6,
    d: int = 3,
    inside: int = 4,
    outside: int = 1,
    lambda_W: float = 0.01,
    lambda_H: float = 0.02,
    counts: str | None = None,
    edges: str | None = None,
) -> GraphUFM:
    """Graph networks on free features; graphs whose classes have equal neighbours exactly.

    f(W, H) = (1/(2N)) |W H A D^-1 - Y|^2 + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2

    Args:
        num_classes: K, 2 or more.
        n: nodes per class.
        d: feature dimension.
        inside: neighbours of every node in its own class.
        outside: neighbours of every node in every other class.
        lambda_W: weight decay of the classifier, > 0.
        lambda_H: weight decay of the features, > 0.
        counts: nodes of every class with commas, with edges.
        edges: a graph of your own such as 0-1,1-2, nodes class by class.

    Raises:
        InputError: a value outside its domain, or a graph that is none.

    Example:
        >>> round(graph().minimiser().value, 10)
        0.0878427097
    """
    sizes = class_counts(num_classes, n, counts)
    if edges is None:
        if counts is not None:
            raise InputError("counts need edges", counts, "give edges, or n instead of counts")
        adjacency = circulant_blocks(num_classes, n, inside, outside)
    else:
        adjacency = np.zeros((sum(sizes), sum(sizes)))
        for word in edges.split(","):
            try:
                first, second = (int(x) for x in word.split("-"))
                adjacency[first, second] = adjacency[second, first] = 1.0
            except (ValueError, IndexError):
                rule = f"Need edges as pairs of nodes 0 to {sum(sizes) - 1}"
                raise InputError(rule, repr(word), "write for example 0-1,1-2") from None
    return graph_of(adjacency, sizes, d, lambda_W, lambda_H)
