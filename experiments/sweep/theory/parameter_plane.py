"""A table's models over the plane of two of its columns: what one knows at a place between cells.

Rows that differ in another column than the two axes belong to different planes. On a plane the
sizes of the classes and the decay c follow the axes as they do in the table: what is constant in
the table stays so, and what cannot be told at a place is NaN, or an empty shape, there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from experiments.losses import EVERY_PARAMETER, PARAMETERS
from experiments.sweep.columns import ROUNDING, Table, loss_names, numbers, snap, take, texts
from ufm.typing import AnyArray, Array

# Classes of one size: how many, and their samples over those of the smallest classes.
Shape = tuple[tuple[int, float], ...]

MODEL = (*EVERY_PARAMETER, "K", "d", "imbalance", "lambda_b")
STRENGTHS = ("lambda_W", "lambda_H")


@dataclass(frozen=True)
class Site:
    """A model, as far as the laws of a sweep need to know it.

    Attributes:
        loss, parameters: spec of the loss, and its parameters in their order.
        K, d, lambda_b: as in UFM.
        shape: (how many, size over the smallest) of the classes of one size, increasing in size;
            empty where unknown.
        groups: sizes of the merged groups of the saddle, empty without one.
        c: sqrt(K N lambda_W lambda_H), NaN where unknown.
    """

    loss: str
    parameters: tuple[float, ...]
    K: float
    d: float
    lambda_b: float | None
    shape: Shape
    groups: tuple[int, ...]
    c: float

    @property
    def balanced(self) -> bool:
        """Whether all classes have the same size here."""
        return bool(self.shape) and all(ratio == 1 for _, ratio in self.shape)

    @property
    def equal(self) -> bool:
        """Whether all classes have the same size everywhere on the plane."""
        return len(self.shape) == 1

    @property
    def unequal(self) -> bool:
        """Whether sizes differ, here or elsewhere along an axis of imbalance."""
        return len(self.shape) > 1

    @property
    def smallest(self) -> tuple[int, float]:
        """How many classes have the smallest size, and that size in its own units."""
        return self.shape[0]

    @property
    def largest(self) -> tuple[int, float]:
        """How many classes have the largest size, over the smallest size."""
        return self.shape[-1]

    @property
    def relative_N(self) -> float:
        """Number of samples, in units of the smallest class."""
        return relative_size(self.shape)


def relative_size(shape: Shape) -> float:
    """Number of samples over those of the smallest class; NaN for an empty shape.

    Example:
        >>> relative_size(((3, 1.0), (2, 4.5)))
        12.0
    """
    return float(sum(many * ratio for many, ratio in shape)) if shape else math.nan


def shape_of(counts: str) -> Shape:
    """The shape of written counts.

    Example:
        >>> shape_of("9,9,2,2,2")
        ((3, 1.0), (2, 4.5))
    """
    sizes, many = np.unique([int(x) for x in counts.split(",")], return_counts=True)
    return tuple((int(k), float(size / sizes[0])) for k, size in zip(many, sizes, strict=True))


def partition(saddle: str) -> tuple[int, ...]:
    """Sizes of the groups of a merged-class saddle; none for the origin, or without a saddle.

    Example:
        >>> partition("2|2"), partition("origin")
        ((2, 2), ())
    """
    parts = saddle.split("|")
    return tuple(map(int, parts)) if all(part.strip().isdigit() for part in parts) else ()


def only(values: Array) -> float:
    """The value of a constant column, else NaN.

    Example:
        >>> only(np.array([2.0, 2.0])), only(np.array([2.0, 3.0]))
        (2.0, nan)
    """
    first = float(values[0])
    return first if np.all(np.abs(values - first) <= ROUNDING * abs(first)) else math.nan


@dataclass(frozen=True)
class Plane:
    """Rows of a table that differ in two columns and in what follows from them.

    Attributes:
        rows: the rows.
        x, y: the two columns.
        tags: what all rows share, column by column, as it is written in a label.
    """

    rows: Table
    x: str
    y: str
    tags: Mapping[str, str]

    def site(self, at: Mapping[str, float]) -> Site:
        """The model at a place, given the values of the two axes."""
        value = {name: at.get(name, self._constants[name]) for name in self._constants}
        shape = self._shape(value["K"], value["imbalance"])
        bias = value["lambda_b"]
        loss, names = self._loss
        return Site(
            loss,
            tuple(value[name] for name in names),
            value["K"],
            self._d(value),
            None if math.isnan(bias) else bias,
            shape,
            self._groups,
            self._c(at, value, shape),
        )

    @cached_property
    def _constants(self) -> dict[str, float]:
        names = (*MODEL, "n", "N", "c", *STRENGTHS)
        return {name: only(numbers(self.rows, name)) for name in names}

    @cached_property
    def _loss(self) -> tuple[str, tuple[str, ...]]:
        spec = str(texts(self.rows, "loss")[0])
        return spec, tuple(PARAMETERS.get(spec, {}))

    @cached_property
    def _groups(self) -> tuple[int, ...]:
        return partition(str(texts(self.rows, "saddle")[0]))

    # ---- sizes

    @cached_property
    def _by_K(self) -> dict[float, float]:
        return dict(zip(*(numbers(self.rows, name).tolist() for name in ("K", "d")), strict=True))

    @cached_property
    def _offset(self) -> float:
        return only(numbers(self.rows, "d") - numbers(self.rows, "K"))

    def _d(self, value: Mapping[str, float]) -> float:
        """The feature dimension, which may follow the number of classes."""
        if not math.isnan(value["d"]):
            return value["d"]
        if not math.isnan(self._offset):
            return value["K"] + self._offset
        return self._by_K.get(value["K"], math.nan)

    @cached_property
    def _shapes(self) -> dict[tuple[float, float], Shape]:
        """The shapes of the table by (K, imbalance); none where there are several."""
        keys = (numbers(self.rows, key).tolist() for key in ("K", "imbalance"))
        found: dict[tuple[float, float], set[Shape]] = {}
        for K, r, counts in zip(*keys, texts(self.rows, "counts"), strict=True):
            kind = shape_of(counts) if counts else ((int(K), 1.0),)
            found.setdefault((K, r), set()).add(kind)
        return {key: kinds.pop() if len(kinds) == 1 else () for key, kinds in found.items()}

    @cached_property
    def _levels(self) -> dict[float, tuple[int, int]]:
        """By K: how many small and large classes, where all unequal counts have two levels."""
        found: dict[float, set[tuple[int, ...]]] = {}
        for (K, imbalance), shape in self._shapes.items():
            if imbalance != 1:
                found.setdefault(K, set()).add(tuple(many for many, _ in shape))
        return {
            K: (pattern[0], pattern[1])
            for K, patterns in found.items()
            for pattern in patterns
            if len(patterns) == 1 and len(pattern) == 2
        }

    def _shape(self, K: float, imbalance: float) -> Shape:
        if K in self._levels:
            small, large = self._levels[K]
            return ((small, 1.0), (large, imbalance))
        if (K, imbalance) in self._shapes:
            return self._shapes[K, imbalance]
        equal = all(key[1] == 1 for key in self._shapes)
        return ((int(K), 1.0),) if equal and int(K) == K else ()

    # ---- decays

    @cached_property
    def _smallest(self) -> dict[tuple[float, float], float]:
        """Samples of the smallest class by (K, imbalance), where the table has one value."""
        found: dict[tuple[float, float], set[float]] = {}
        for K, r, n in zip(
            *(numbers(self.rows, key) for key in ("K", "imbalance", "n")), strict=True
        ):
            found.setdefault((K, r), set()).add(n)
        return {key: values.pop() for key, values in found.items() if len(values) == 1}

    @cached_property
    def _ratio(self) -> float:
        """lambda_W / lambda_H, if it is constant."""
        return only(numbers(self.rows, "lambda_W") / numbers(self.rows, "lambda_H"))

    def _c(self, at: Mapping[str, float], value: Mapping[str, float], shape: Shape) -> float:
        if "c" in at or not math.isnan(value["c"]):
            return value["c"]
        total = value["N"] if "N" in at else self._n(value) * relative_size(shape)
        lambda_W, lambda_H = value["lambda_W"], value["lambda_H"]
        if math.isnan(lambda_W):
            lambda_W = self._ratio * lambda_H
        if math.isnan(lambda_H):
            lambda_H = lambda_W / self._ratio
        return math.sqrt(value["K"] * total * lambda_W * lambda_H)

    def _n(self, value: Mapping[str, float]) -> float:
        """Samples of the smallest class."""
        if not math.isnan(value["n"]):
            return value["n"]
        shape = self._shape(value["K"], value["imbalance"])
        if not math.isnan(value["N"]):
            return value["N"] / relative_size(shape)
        return self._smallest.get((value["K"], value["imbalance"]), math.nan)


def planes(table: Table, x: str, y: str) -> Iterator[Plane]:
    """The planes of two columns that a table has rows in.

    Raises:
        InputError: an empty table, or a column of the cells that is missing or holds text.

    Example:
        >>> from experiments.sweep.cells import expand
        >>> from experiments.sweep.spec import make_spec
        >>> axes = {"loss": ["ce", "mse"], "K": [3, 4], "c": [0.5, 1.0]}
        >>> cells = expand(make_spec({"task": "minimise", "axes": axes}))
        >>> [plane.tags["loss"] for plane in planes(cells.columns, "c", "K")]
        ['ce', 'mse']
    """
    placed = np.isfinite(numbers(table, x)) & np.isfinite(numbers(table, y))
    used = (*MODEL, *STRENGTHS, "n", "N", "c", x, y)
    table = {**table, **{name: snap(numbers(table, name)) for name in used}}
    table = take(table, placed)
    if not placed.any():
        return
    specs = texts(table, "loss")
    swept = {key for spec in set(specs.tolist()) for key in PARAMETERS.get(spec, {})} & {x, y}
    # A parameter that is an axis does not tell losses apart.
    keys = {"loss": specs if swept else loss_names(table), "saddle": texts(table, "saddle")}
    keys |= {name: numbers(table, name) for name in MODEL if name not in (x, y, "d")}
    if not {"K", "imbalance"} & {x, y}:
        keys["sizes"] = np.array([_levels(counts) for counts in texts(table, "counts")])
    for part, tags in _split(table, keys):
        # d and n may follow an axis, as d = K - 1 does; else they tell planes apart.
        inner = {}
        for name, leaders in (("d", {"K"}), ("n", {"K", "imbalance", "N"})):
            if name not in (x, y) and not _follows(part, name, sorted(leaders & {x, y})):
                inner[name] = numbers(part, name)
        for rows, more in _split(part, inner):
            yield Plane(rows, x, y, {**tags, **more})


def _follows(table: Table, name: str, leaders: list[str]) -> bool:
    """Whether a column is a function of others."""
    if not leaders:
        return False
    keys = np.stack([numbers(table, leader) for leader in leaders])
    both = np.vstack([keys, numbers(table, name)])
    return bool(np.unique(keys, axis=1).shape[1] == np.unique(both, axis=1).shape[1])


def _split(table: Table, keys: Mapping[str, AnyArray]) -> Iterator[tuple[Table, dict[str, str]]]:
    """The parts of a table on which columns are constant, and their values."""
    if not keys:
        yield table, {}
        return
    codes = np.stack([np.unique(v.astype(str), return_inverse=True)[1] for v in keys.values()])
    for member in np.unique(codes, axis=1, return_index=True)[1]:
        rows = np.all(codes == codes[:, [member]], axis=0)
        yield take(table, rows), {name: _written(v[member]) for name, v in keys.items()}


def _levels(counts: str) -> str:
    """How many classes of each size, from the largest size down."""
    return "+".join(str(many) for many, _ in reversed(shape_of(counts))) if counts else ""


def _written(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{value:g}"
