"""What a claim is checked on: an instance, most often a specimen, which is a model at a point."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import jax
import numpy as np

from landscape.curvature.hessian import dense_hessian
from landscape.verdict import Verdict, verdict
from proofs_check.columns import columns_of, in_words, number_of
from ufm.records import numbers_of
from ufm.typing import Array

NUMBERS = (int, float)  # not bool
# Eigenvalues up to this share of the largest are zero: rounding is 1e-9, the others exceed 1e-4.
ZERO = 1e-7
Region = Callable[[bool], "Iterable[Instance]"]
M = TypeVar("M")
P = TypeVar("P")
T = TypeVar("T")


class Instance:
    """One thing that a claim is about, whatever it is: it says its label, its size and its numbers.

    Attributes:
        kind: how it was obtained, in a word or two.
        columns: name -> value, as tables show them; ``loss`` and ``model`` are what verify filters.
        size: tuple that sorts counterexamples, smallest first.
        label: the instance in words.
    """

    kind: str

    @property
    def columns(self) -> Mapping[str, Any]:
        """Name -> value; nothing unless the kind of instance says more."""
        return {}

    @property
    def size(self) -> tuple[int, ...]:
        """Sorts counterexamples."""
        return ()

    @property
    def label(self) -> str:
        """The instance in words."""
        return self.kind

    @property
    def family(self) -> str | None:
        """The loss without its parameters ("focal" for focal(2)), None where there is no loss."""
        name = self.columns.get("loss")
        return None if name is None else str(name).split("(")[0]

    def number(self, name: str) -> Any:
        """A number of the instance that formulas may name."""
        return self.columns[name]

    @property
    def _fields(self) -> dict[str, Any]:
        return {x.name: getattr(self, x.name) for x in fields(self)} if is_dataclass(self) else {}

    @property
    def floats(self) -> dict[str, float]:
        """What a search for counterexamples may change: numbers among its fields, whole ones too.

        A seed is none of them, and where there are class sizes the dimension goes with these.
        """
        apart = {"seed", "d"} if self.sizes else {"seed"}
        values = {name: x for name, x in self._fields.items() if name not in apart}
        return {name: float(x) for name, x in values.items() if type(x) in NUMBERS}

    @property
    def sizes(self) -> tuple[tuple[int, ...], int] | None:
        """Class sizes and dimension that such a search may change, None without class sizes."""
        counts = self._fields.get("counts")
        return None if counts is None else (counts, int(self._fields.get("d", len(counts))))

    def varied(
        self,
        numbers: Mapping[str, float],
        seed: int = 0,
        counts: tuple[int, ...] | None = None,
        d: int | None = None,
    ) -> Instance:
        """The same instance with other numbers, whole ones rounded, and what else it has.

        Example:
            >>> from proofs_check.claims.graph_spectra import Equitable
            >>> Equitable(2, 6, 4, 1).varied({"n": 7.6}).label
            'equitable graph K=2 n=8 inside=4 outside=1'
        """
        own = self._fields
        told: dict[str, Any] = {
            name: round(x) if type(own[name]) is int else x for name, x in numbers.items()
        }
        others: dict[str, Any] = {"seed": seed, "counts": counts, "d": d}
        told |= {name: x for name, x in others.items() if name in own and x is not None}
        made: Instance = replace(self, **told)  # type: ignore[type-var]
        return made

    def once(self, measure: Callable[[Any], T], *key: Hashable) -> T:
        """What a function measures at this instance; measured once, however often it is asked."""
        kept = self.__dict__.setdefault("_measured", {})
        if (measure, key) not in kept:
            kept[measure, key] = measure(self)
        value: T = kept[measure, key]
        return value


@dataclass(frozen=True, eq=False)
class Specimen(Instance, Generic[M, P]):
    """Any model and a point of it, with what was computed about it once.

    Attributes:
        model: any ``ufm.model.Model``.
        point: a point of it, or of its merged model.
        kind: "minimiser", "critical", "closed form" or "random".
        converged: whether the solver reached its tolerance (closed forms: True).
        note: how it was obtained.
    """

    model: M
    point: P
    kind: str
    converged: bool = True
    note: str = ""

    @cached_property
    def columns(self) -> Mapping[str, Any]:
        """What the model says of itself."""
        return columns_of(self.model)

    @property
    def floats(self) -> dict[str, float]:
        """The real numbers of the model, by path."""
        return numbers_of(self.model)

    @property
    def size(self) -> tuple[int, ...]:
        """(K, d, N), or the number of variables of a model that has no classes."""
        sizes = tuple(int(self.columns.get(name, 0)) for name in ("K", "d", "N"))
        if all(sizes):
            return sizes
        return (0, 0, sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.point)))

    @property
    def label(self) -> str:
        """Model and kind in words."""
        return f"{in_words(self.columns)}, {self.kind}"

    def number(self, name: str) -> Any:
        """A number of the model, or of its loss."""
        return number_of(self.model, self.columns, name)

    @cached_property
    def merged(self) -> Any:
        """The model with one column per class, or the model itself."""
        merge: Any = self.model.merge()  # type: ignore[attr-defined]
        return self.model if merge is None else merge.model

    @cached_property
    def full_point(self) -> Any:
        """The point with one column per sample."""
        merge: Any = self.model.merge()  # type: ignore[attr-defined]
        if merge is None:
            return self.point
        shapes = [
            tuple(np.shape(leaf) for leaf in jax.tree.leaves(point))
            for point in (self.point, merge.reduce(self.point))
        ]
        return merge.lift(self.point) if shapes[0] == shapes[1] else self.point

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict on the point, in full dimension and counts."""
        return verdict(self.model, self.point)  # type: ignore[arg-type]

    @cached_property
    def dense_eigenvalues(self) -> Array:
        """Eigenvalues of the dense full-problem Hessian: the witness that knows no reduction."""
        return np.asarray(np.linalg.eigvalsh(dense_hessian(self.model, self.full_point)))  # type: ignore[arg-type]


def index_of(specimen: Specimen[Any, Any]) -> int:
    """Morse index counted in the dense Hessian of the full problem."""
    return signs(specimen)[0]


def nullity_of(specimen: Specimen[Any, Any]) -> int:
    """Zero eigenvalues counted in the dense Hessian of the full problem."""
    return signs(specimen)[1]


def signs(specimen: Specimen[Any, Any]) -> tuple[int, int]:
    """(index, nullity) counted in the dense Hessian of the full problem."""
    values = specimen.dense_eigenvalues
    zero = ZERO * float(np.abs(values).max())
    return int(np.sum(values < -zero)), int(np.sum(np.abs(values) <= zero))
