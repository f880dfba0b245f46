"""One block Krylov search: the basis, its projected matrix, breakdown, locking, thick restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import jax
import numpy as np
from numpy.typing import NDArray

from landscape.curvature.operators import Operator, gaussian, products, rounding_floor
from ufm.eigen import eigh
from ufm.typing import Array

Which = Literal["smallest", "largest", "both"]
Ending = Literal["closed", "settled", "stopped"]

# Pairs are locked at a tenth of the tolerance, so that what the locked ones lack does not push the
# residuals of later ones over it.
LOCKING_FACTOR = 0.1
# The projected eigenproblem is solved when the basis has grown by a tenth: its total cost then
# stays a fixed multiple of the last solve.
CHECK_GROWTH = 1.1


def working_columns(wanted: int, width: int) -> int:
    """Columns a chain needs: the Ritz vectors it restarts with, and three blocks to grow."""
    return wanted + 3 * width


@dataclass
class KrylovSearch:
    """The state of one run; it changes in place and stays inside ``lanczos``.

    Attributes:
        operator, key, which: as given to ``lanczos``.
        wanted: number of pairs asked for.
        width: columns multiplied together.
        max_steps, tolerance: as given to ``lanczos``.
        store: (P, capacity), columns null | locked | chain, orthonormal.
        null: number of null columns.
        norm: running lower estimate of |A|.
        num_matvecs: products spent.
        locked: Ritz values of the locked columns.
        projected: Q' A Q of the chain columns Q.
        steps, chains, breakdowns, restarts: counts for the record.
    """

    operator: Operator
    key: jax.Array
    which: Which
    wanted: int
    width: int
    max_steps: int
    tolerance: float
    store: Array
    null: int
    norm: float
    num_matvecs: int
    locked: Array = field(default_factory=lambda: np.zeros(0))
    projected: Array = field(default_factory=lambda: np.zeros((0, 0)))
    steps: int = 0
    chains: int = 0
    breakdowns: int = 0
    restarts: int = 0

    @property
    def first(self) -> int:
        """Column where the chain begins."""
        return self.null + len(self.locked)

    @property
    def end(self) -> int:
        """Column after the last one of the chain."""
        return self.first + len(self.projected)

    @property
    def room(self) -> int:
        """Dimensions of the space not yet spanned."""
        return self.operator.size - self.end

    @property
    def goal(self) -> float:
        """Residual at which a pair is locked, and size at which a next block counts as nothing.

        In exact arithmetic the block after the last one is zero. In float64 it is rounding noise,
        magnified by every short step before it, so that no sharp threshold tells it from a weak
        coupling. None is needed: below this size it leaves every pair of the chain converged, above
        it the noise is as good a start in the complement as a random block, and the chain goes on.
        """
        return max(LOCKING_FACTOR * self.tolerance, rounding_floor(self.operator.size)) * self.norm

    def preference(self, values: Array) -> NDArray[np.intp]:
        """Indices from the most wanted value to the least."""
        ascending = np.argsort(values, kind="stable")
        if self.which == "smallest":
            return ascending
        if self.which == "largest":
            return ascending[::-1]
        ends = np.stack([ascending, ascending[::-1]], axis=1).ravel()
        return ends[: len(values)]

    def project_out(self, block: Array) -> Array:
        """The part of a block orthogonal to everything in the store."""
        basis = self.store[:, : self.end]
        return block - basis @ (basis.T @ block)

    def append(self, block: Array) -> None:
        """Take an orthonormal block, re-orthogonalised once more, into the chain."""
        block = np.linalg.qr(self.project_out(block))[0]
        first, end = self.end, self.end + block.shape[1]
        self.store[:, first:end] = block
        grown = np.zeros((end - self.first, end - self.first))
        old = len(self.projected)
        grown[:old, :old] = self.projected
        self.projected = grown

    def begin(self, start: Array | None) -> int:
        """Open a chain with the given or a fresh random block; its width, 0 if nothing is left."""
        if start is None:
            # Stream 0 of the key went into the probes of the norm.
            columns = min(self.width, self.room)
            start = gaussian(self.key, 1 + self.chains, self.operator.size, columns)
        lengths = np.linalg.norm(start, axis=0)
        u, sizes, _ = np.linalg.svd(self.project_out(start / lengths), full_matrices=False)
        rank = min(int(np.sum(sizes > rounding_floor(self.operator.size))), self.room)
        self.append(u[:, :rank])
        self.chains += 1
        return rank

    def expand(self, width: int) -> Array:
        """Multiply the last ``width`` columns; return what the basis does not hold of the image."""
        basis = self.store[:, : self.end]
        image = products(self.operator, basis[:, self.end - width :], self.width)
        self.num_matvecs += width
        self.steps += 1
        self.norm = max(self.norm, float(np.max(np.linalg.norm(image, axis=0))))
        coefficients = basis.T @ image
        column = coefficients[self.first :]
        column[-width:] = (column[-width:] + column[-width:].T) / 2
        self.projected[:, -width:] = column
        self.projected[-width:, :] = column.T
        return image - basis @ coefficients

    def compress(self, values: Array, vectors: Array) -> None:
        """Thick restart: the chain becomes its most wanted Ritz vectors, half of its columns."""
        available = self.store.shape[1] - self.first
        chosen = self.preference(values)[: max(self.wanted, available // 2)]
        first, end = self.first, self.end
        self.store[:, first : first + len(chosen)] = self.store[:, first:end] @ vectors[:, chosen]
        self.projected = np.diag(values[chosen])
        self.restarts += 1

    def settled(self, values: Array, estimates: Array) -> bool:
        """Whether the wanted pairs, and the chain's own most extreme ones, have converged."""
        done = np.concatenate([np.ones(len(self.locked), dtype=bool), estimates <= self.goal])
        wanted = self.preference(np.concatenate([self.locked, values]))[: self.wanted]
        heads = self.preference(values)[: min(self.wanted, 2 if self.which == "both" else 1)]
        enough = len(done) >= self.wanted
        return bool(enough and np.all(done[wanted]) and np.all(estimates[heads] <= self.goal))

    def run_chain(self, width: int) -> Ending:
        """One chain of block steps; locks what it found and says why it ended."""
        next_check = 0
        while True:
            remainder = self.expand(width)
            u, sizes, vt = np.linalg.svd(remainder, full_matrices=False)
            rank = min(int(np.sum(sizes > self.goal)), self.room)
            columns = len(self.projected)
            last = rank == 0 or self.steps >= self.max_steps
            full = self.end + rank > self.store.shape[1]
            if last or full or columns >= next_check:
                next_check = max(columns + 1, int(CHECK_GROWTH * columns))
                values, vectors = eigh(self.projected)
                self.norm = max(self.norm, float(np.max(np.abs(values))))
                # |R y|, y the last rows: the residual of a Ritz pair without another product.
                estimates = np.linalg.norm(sizes[:, None] * (vt @ vectors[-width:]), axis=0)
                settled = self.settled(values, estimates)
                if last or settled:
                    break
                if full:
                    self.compress(values, vectors)
                    next_check = 0
            self.append(u[:, :rank])
            width = rank
        ending: Ending = "closed" if rank == 0 else "settled" if settled else "stopped"
        self.breakdowns += ending == "closed" and self.room > 0
        self.lock(ending, values, vectors, estimates)
        return ending

    def lock(self, ending: Ending, values: Array, vectors: Array, estimates: Array) -> None:
        """Keep Ritz vectors of the chain as locked columns, and end the chain."""
        if ending == "settled":
            found = np.flatnonzero(estimates <= self.goal)
        else:  # all of an invariant subspace; at the end of the steps, all there is
            found = np.arange(len(values))
        first, end = self.first, self.end
        self.store[:, first : first + len(found)] = self.store[:, first:end] @ vectors[:, found]
        self.locked = np.concatenate([self.locked, values[found]])
        self.projected = np.zeros((0, 0))
        capacity = self.store.shape[1]
        if capacity < self.operator.size:  # leave the next chain its working space
            most = capacity - self.null - working_columns(self.wanted, self.width)
            chosen = self.preference(self.locked)[:most]
            columns = self.store[:, self.null + chosen]
            self.store[:, self.null : self.null + len(chosen)] = columns
            self.locked = self.locked[chosen]

    def best(self) -> Array:
        """The wanted among the locked values, ascending."""
        return np.sort(self.locked[self.preference(self.locked)[: self.wanted]])
