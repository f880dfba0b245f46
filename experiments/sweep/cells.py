"""Cells of a sweep as columns, and the batches they are cut into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.losses import EVERY_PARAMETER, LossChoice
from experiments.models import built_loss
from experiments.sweep.axes import MAX_SIZE, size_of
from experiments.sweep.spec import Spec
from ufm.errors import DECAYS, SOME_DECAY, InputError
from ufm.losses import Loss
from ufm.plain.model import UFM
from ufm.typing import AnyArray

# Loss, K, width and kind of bias; of another model its name and structure.
Shape = tuple[Any, ...]
LEAST = {
    "K": (2, "give two classes or more"),
    "n": (1, "give one sample or more per class"),
    "d": (1, "use one dimension or more"),
    "seed": (0, "use 0 or more"),
}
BIASES = ("no bias", "free bias", "bias")
# A start in K + K columns has a row space of at most 2 K dimensions, whatever d is; and where the
# loss is convex a random start needs K (``ufm.point.narrow_start``).
ROW_SPACE, CONVEX = 2, 1


@dataclass(frozen=True)
class Cells:
    """Cells of a sweep, one entry per cell in every column.

    Attributes:
        columns: cell, loss, its parameters (``EVERY_PARAMETER``), K, d, n, counts, N, imbalance,
            lambda_W, lambda_H, lambda_b, c, seed, saddle; NaN where a number does not apply.
        losses: the loss choices of the sweep.
        which: loss choice of every cell.
    """

    columns: Mapping[str, AnyArray]
    losses: tuple[LossChoice, ...]
    which: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.which)

    def take(self, indices: Any) -> Cells:
        """Some of the cells."""
        chosen = {name: column[indices] for name, column in self.columns.items()}
        return Cells(chosen, self.losses, self.which[indices])

    def counts(self, i: int) -> tuple[int, ...]:
        """Samples per class of one cell."""
        written = self.columns["counts"][i]
        if written:
            return tuple(int(x) for x in written.split(","))
        return (int(self.columns["n"][i]),) * int(self.columns["K"][i])

    def grouped(self) -> tuple[list[Shape], NDArray[np.int64]]:
        """What fixes a program, each once, and which of these every cell has."""
        kinds, which = np.unique(_shapes(self), axis=0, return_inverse=True)
        names = self.columns["loss"].astype(str)
        shapes: list[Shape] = []
        for kind, (_, K, width, bias) in enumerate(kinds):
            name = names[np.flatnonzero(which == kind)[0]]
            shapes.append((str(name), int(K), int(width), BIASES[bias]))
        return shapes, np.asarray(which, np.int64)

    @cached_property
    def _chosen(self) -> dict[int, Loss]:
        return {}

    @cached_property
    def _kept(self) -> dict[tuple[int, Any], Loss]:
        return {}

    def loss(self, i: int) -> Loss:
        """The loss of one cell as its model keeps it; one object where all its numbers agree."""
        which, counts = int(self.which[i]), self.counts(i)
        if which not in self._chosen:
            self._chosen[which] = built_loss(self.losses[which])
        chosen = self._chosen[which]
        told = chosen.for_counts(counts)
        key = which, len(counts) if told is chosen else counts
        if key not in self._kept:
            self._kept[key] = told.at(len(counts))
        return self._kept[key]

    @cached_property
    def convex(self) -> NDArray[np.bool_]:
        """Whether the loss of every cell is convex in the logits."""
        pairs = np.stack([self.which, self.columns["K"]], axis=1)
        _, first, place = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
        told = [self.loss(int(i)).properties(int(self.columns["K"][i])).convex for i in first]
        return np.array([bool(fact) for fact in told])[place.ravel()]

    @property
    def needed(self) -> NDArray[np.int64]:
        """Dimensions that the descent of every cell takes place in."""
        most = np.where(self.convex, CONVEX, ROW_SPACE) * self.columns["K"]
        return np.asarray(np.minimum(self.columns["d"], most))

    def model(self, i: int) -> UFM:
        """The model of one cell, as ``ufm solve`` would build it."""
        column = {name: values[i] for name, values in self.columns.items()}
        lambda_b = column["lambda_b"]
        return UFM(
            self.loss(i),
            d=int(column["d"]),
            counts=self.counts(i),
            lambda_W=float(column["lambda_W"]),
            lambda_H=float(column["lambda_H"]),
            lambda_b=None if np.isnan(lambda_b) else float(lambda_b),
        )


def expand(spec: Spec) -> Cells:
    """The table of cells of a sweep, in the order of its axes.

    Raises:
        InputError: a cell outside the domain of the model, with its number.

    Example:
        >>> from experiments.sweep.spec import make_spec
        >>> cells = expand(make_spec({"task": "minimise", "axes": {"K": 4, "c": [0.1, 0.2]}}))
        >>> len(cells), cells.columns["d"].tolist(), cells.columns["lambda_W"].round(3).tolist()
        (2, [4, 4], [0.025, 0.05])
    """
    lengths = [len(values) for values in spec.axes.values()]
    grids = np.indices(lengths).reshape(len(lengths), -1)
    at = dict(zip(spec.axes, grids, strict=True))
    size = spec.num_cells

    def pick(name: str, default: Any, kind: Any = float) -> AnyArray:
        if name not in spec.axes:
            return np.full(size, default, dtype=kind)
        values = np.empty(len(spec.axes[name]), dtype=kind)
        values[:] = [np.nan if value is None else value for value in spec.axes[name]]
        return values[at[name]]

    K, n, counts, N, imbalance = _classes(spec, at, size, pick)
    _require_least({"K": K, "n": n})
    columns: dict[str, AnyArray] = {"cell": np.arange(size)}
    losses = spec.axes["loss"]
    which = at["loss"]
    columns["loss"] = np.array([choice.spec for choice in losses], dtype=object)[which]
    for name in EVERY_PARAMETER:
        values = np.array([choice.parameters.get(name, np.nan) for choice in losses])
        columns[name] = values[which]
    columns.update(K=K, d=_sized(spec, at, "d", K), n=n, counts=counts, N=N, imbalance=imbalance)
    with np.errstate(all="ignore"):  # what is negative or overflows is refused below
        lambda_W, lambda_H = _decays(spec, pick, K, N)
        columns.update(lambda_W=lambda_W, lambda_H=lambda_H, lambda_b=pick("lambda_b", np.nan))
        # As it was written, so that one c is one value for every K and N.
        found = np.sqrt(K * N * lambda_W * lambda_H)
        columns["c"] = pick("c", np.nan) if "c" in spec.axes else found
    columns["seed"] = pick("seed", 0, np.int64)
    columns["saddle"] = pick("saddle", "", object)
    cells = Cells(columns, losses, which)
    _require_domain(cells)
    return cells


def _classes(spec: Spec, at: Any, size: int, pick: Any) -> tuple[AnyArray, ...]:
    """K, samples of the smallest class, written counts ("" when equal), N, imbalance."""
    if "counts" in spec.axes:
        profiles = spec.axes["counts"]
        chosen = at["counts"]
    else:
        K, n = pick("K", 0, np.int64), pick("n", 1, np.int64)
        if "imbalance" not in spec.axes:
            empty = np.full(size, "", dtype=object)
            return K, n, empty, K * n, np.ones(size)
        ratio = pick("imbalance", 1.0)
        majority = _sized(spec, at, "majority", K) if "majority" in spec.axes else K // 2
        keys = np.stack([K, n, majority, ratio], axis=1)
        distinct, chosen = np.unique(keys, axis=0, return_inverse=True)
        profiles = tuple(_steps(*key) for key in distinct)
    lengths = np.array([len(p) for p in profiles])
    written = np.array(
        ["" if len(set(p)) == 1 else ",".join(map(str, p)) for p in profiles], dtype=object
    )
    smallest, total = np.array([min(p) for p in profiles]), np.array([sum(p) for p in profiles])
    largest = np.array([max(p) for p in profiles])
    found = (lengths, smallest, written, total, largest / np.maximum(smallest, 1))
    return tuple(x[chosen] for x in found)


def _steps(K: float, n: float, majority: float, ratio: float) -> tuple[int, ...]:
    """Two levels: ``majority`` classes with ratio * n samples, the others with n."""
    if not 1 <= ratio * n <= MAX_SIZE:
        rule = f"Need 1 <= imbalance * n <= {MAX_SIZE:,}"
        raise InputError(rule, f"imbalance={ratio:g}, n={n:g}", "change one of them")
    large = round(ratio * n)
    if not 0 < majority < K or abs(large - ratio * n) > 1e-9 * large or ratio < 1:
        rule = "Need 0 < majority < K and a whole number imbalance * n >= n"
        got = f"K={K:g}, majority={majority:g}, imbalance={ratio:g}, n={n:g}"
        raise InputError(rule, got, "raise n, or change the ratio")
    return (large,) * int(majority) + (int(n),) * int(K - majority)


def _sized(spec: Spec, at: Any, name: str, K: AnyArray) -> AnyArray:
    """A column of sizes that may follow K."""
    found = np.empty(len(K), dtype=np.int64)
    for position, value in enumerate(spec.axes[name]):
        here = at[name] == position
        for k in np.unique(K[here]):
            found[here & (k == K)] = size_of(value, int(k))
    return found


def _decays(spec: Spec, pick: Any, K: AnyArray, N: AnyArray) -> tuple[AnyArray, AnyArray]:
    if "lambda_W" in spec.axes:
        return pick("lambda_W", np.nan), pick("lambda_H", np.nan)
    if "decay" in spec.axes:
        both = pick("decay", np.nan)
        return both, both
    # A task that looks for c itself gets c = 1 to scale.
    root, sigma = np.sqrt(pick("decay_ratio", 1.0)), pick("c", 1.0) / np.sqrt(K * N)
    return sigma * root, sigma / root


def _require_domain(cells: Cells) -> None:
    """Every rule of the model, over all cells at once; the error names the first bad cell."""
    column = cells.columns
    _require_least(column)
    for name in ("lambda_W", "lambda_H", "c"):
        bad = np.flatnonzero(~((column[name] > 0) & np.isfinite(column[name])))
        if len(bad):
            rule = f"Need {name} > 0 and finite in every cell"
            got = f"{column[name][bad[0]]} in cell {bad[0]}"
            raise InputError(rule, got, "use positive decays, or a positive c")
    bad = np.flatnonzero(column["lambda_b"] < 0)
    if len(bad):
        got = f"{column['lambda_b'][bad[0]]} in cell {bad[0]}"
        raise InputError("Need lambda_b >= 0, or none", got, 'use 0, or "none"')
    low, high = DECAYS
    for name in ("lambda_W", "lambda_H", "lambda_b"):
        bad = np.flatnonzero((column[name] > 0) & ((column[name] < low) | (column[name] > high)))
        if len(bad):
            rule = f"Need {name} from {low:g} to {high:g} in every cell"
            got = f"{column[name][bad[0]]} in cell {bad[0]}"
            raise InputError(rule, got, SOME_DECAY)
    for i in np.unique(cells.which, return_index=True)[1]:
        cells.model(int(i))  # parameters outside their domain speak for themselves


def _require_least(columns: Mapping[str, AnyArray]) -> None:
    """Sizes and seeds in their domains; the error names the first bad cell."""
    for name, (least, remedy) in LEAST.items():
        bad = np.flatnonzero(columns[name] < least) if name in columns else np.empty(0, int)
        if len(bad):
            rule = f"Need {name} >= {least} in every cell"
            raise InputError(rule, f"{columns[name][bad[0]]} in cell {bad[0]}", remedy)


@dataclass(frozen=True)
class Batch:
    """Cells that one compiled program serves.

    Attributes:
        number: place among the batches of the sweep.
        indices: its cells.
        shape: what fixes the program.
        size: cells that the program takes; a short batch is filled up with its last cell.
    """

    number: int
    indices: NDArray[np.int64]
    shape: Shape
    size: int


def batches(cells: Any, size: int) -> list[Batch]:
    """The batches of a whole sweep; they depend on the spec alone.

    Example:
        >>> from experiments.sweep.spec import make_spec
        >>> axes = {"K": [3, 4], "d": {"from": 1, "to": 5}, "c": [0.1, 0.2]}
        >>> cut = batches(expand(make_spec({"task": "minimise", "axes": axes})), 8)
        >>> [(batch.shape[1:3], len(batch.indices)) for batch in cut]
        [((3, 1), 2), ((3, 3), 8), ((4, 1), 2), ((4, 4), 8)]
    """
    kinds, which = cells.grouped()
    found: list[Batch] = []
    for kind, shape in enumerate(kinds):
        members = np.flatnonzero(which == kind)
        # Equal batches: one program per shape, and little of it idle.
        parts = -(-len(members) // size)
        length = -(-len(members) // parts)
        for start in range(0, len(members), length):
            found.append(Batch(len(found), members[start : start + length], shape, length))
    return found


def _shapes(cells: Cells) -> NDArray[np.int64]:
    """(loss number, K, width, kind of bias) of every cell.

    Widths are shared: a cell runs in the largest width of its loss and K that is at most twice its
    own, with idle columns, which costs less than compiling another program.
    """
    column = cells.columns
    loss = np.unique(column["loss"].astype(str), return_inverse=True)[1]
    needed = cells.needed
    width = needed.copy()
    for one, K in np.unique(np.stack([loss, column["K"]], axis=1), axis=0):
        here = (column["K"] == K) & (loss == one)
        top = None
        for value in np.unique(needed[here])[::-1]:
            if top is None or 2 * value < top:
                top = value
            width[here & (needed == value)] = top
    bias = np.where(np.isnan(column["lambda_b"]), 0, np.where(column["lambda_b"] == 0, 1, 2))
    return np.stack([loss, column["K"], width, bias], axis=1)


def missing(cut: list[Batch], present: Any) -> Iterator[Batch]:
    """The batches that a store does not have yet, in order."""
    return (batch for batch in cut if batch.number not in present)
