"""The record of what is proved of a point, and the file that another program checks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from proofs_check.rigorous.lower import LowerPoint
from proofs_check.rigorous.merged import index_of_all_samples, merges
from proofs_check.rigorous.minimiser import Nearness
from proofs_check.rigorous.point import CriticalPoint
from ufm.errors import InputError
from ufm.model import Model

FORMAT, VERSION, KIND = "ufm certificate", 1, "critical point"
# Families with an objective in the program that checks; the file of another one says its name.
CHECKED = ("plain", "deep-linear", "equilibrium", "rate-reduction", "constrained-rate")
# The value is claimed a little wider than it is proved, so that another order of operations, or
# another inverse, proves it, too.
VALUE_ROOM = 1e-13
# Distances likewise: relative to their size, and for those of a proved minimiser, which are of the
# size of rounding.
NEAR_ROOM, NEAR_FLOOR = 1e-6, 5e-13
PARAMETERS = {"ls": {"delta": "smoothing"}, "focal": {"gamma": "gamma"}}


@dataclass(frozen=True, eq=False)
class PointCertificate:
    """A critical point with everything that is proved of it.

    Attributes:
        found: existence, index, nullity and value.
        lower: a point proved to be lower, or None.
        nearness: how far its point is from every global minimiser, or None.
        about: what people may want to know; no claim.
    """

    found: CriticalPoint
    lower: LowerPoint | None = None
    nearness: Nearness | None = None
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The document (docs/certificates.md); every number in it is the float64 that it says.

        Of merged classes the index is that in all samples.

        Raises:
            Undecided: the index of a merged point is not proved in all samples.
            InputError: the lower point is lower by rounding only.

        Example:
            >>> from proofs_check.rigorous.point import prove_critical
            >>> from ufm import UFM, CrossEntropy
            >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
            >>> told = PointCertificate(prove_critical(model, model.origin())).as_dict()
            >>> told["claim"]["index"], told["model"]["family"], told["model"]["loss"]
            (4, 'plain', {'name': 'ce'})
        """
        low, high = self.found.value
        room = VALUE_ROOM * max(1.0, abs(low), abs(high))
        low, high = low - room, high + room
        told: dict[str, Any] = {
            "model": model_record(self.found.model),
            "point": point_record(self.found.point),
            "claim": {
                "radius": self.found.radius,
                "index": index_of_all_samples(self.found),
                "nullity": self.found.nullity,
                "value": [low, high],
            },
            "about": dict(self.about),
        }
        if self.nearness is not None:
            told["claim"]["minimiser"] = nearness_record(self.nearness)
        if self.lower is not None:
            if not self.lower.value[1] < low:
                rule = "A lower point in a file is lower by more than rounding"
                got = f"{self.lower.value[1]!r} and {low!r}"
                raise InputError(rule, got, "leave it out")
            point = point_record(self.lower.point)
            told["lower"] = {"point": point, "below": (self.lower.value[1] + low) / 2}
        return document(KIND, told)

    def text(self) -> str:
        """The document as JSON."""
        return written(self.as_dict())


def nearness_record(nearness: Nearness) -> dict[str, Any]:
    """The claim on the distance to a global minimiser, a little wider than it is proved.

    Example:
        >>> told = nearness_record(Nearness(1e-15, 0.1, 1e-13, 1e-13, 1e-13, True))
        >>> told["exact"], told["curvature"] < 0.1, told["gap"] < 1e-12
        (True, True, True)
    """
    told = dataclasses.asdict(nearness)
    bounds = {name.lower(): told[name] for name in ("gap", "logits", "gram_W", "gram_H")}
    wider = {name: x * (1 + NEAR_ROOM) + NEAR_FLOOR for name, x in bounds.items()}
    curvature = nearness.curvature * (1 - NEAR_ROOM)
    return {**wider, "curvature": curvature, "exact": nearness.exact}


def document(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of a kind says, with its format, version and digest.

    Example:
        >>> document("rank one", {"tree": "."})["version"]
        1
    """
    made = {"format": FORMAT, "version": VERSION, "kind": kind, **body}
    return made | {"digest": digest(made)}


def written(told: Mapping[str, Any]) -> str:
    """A document as JSON text."""
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of all that a document says but its digest, in one way of writing it.

    Example:
        >>> digest({"a": 1, "digest": "old"}) == digest({"a": 1})
        True
    """
    said = {name: value for name, value in document.items() if name != "digest"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def model_record(model: Model[Any]) -> dict[str, Any]:
    """The numbers that define a model, under the names of the file.

    Example:
        >>> from ufm import Focal, deep_linear
        >>> told = model_record(deep_linear(Focal(2.0), 3, 5, 1, 2))
        >>> told["family"], told["widths"], told["loss"]
        ('deep-linear', [5, 5], {'name': 'focal', 'gamma': 2.0})
    """
    if model.family not in CHECKED:
        return {"family": model.family, **model.columns()}
    asked: Any = model
    if model.family in ("rate-reduction", "constrained-rate"):
        return rate_record(asked)
    record = {
        "family": model.family,
        "num_classes": asked.num_classes,
        "counts": list(asked.counts_tuple),
        "lambda_w": float(asked.lambda_W),
        "loss": loss_record(asked.loss),
    }
    if merges(model):
        record["merged"] = True
    if model.family == "equilibrium":
        decays = {"lambda_v": float(asked.lambda_V), "lambda_x": float(asked.lambda_X)}
        return record | {"dim": asked.d, **decays}
    record["lambda_h"] = float(asked.lambda_H)
    if model.family == "plain":
        bias = None if asked.lambda_b is None else float(asked.lambda_b)
        return record | {"dim": asked.d, "lambda_b": bias}
    return record | {"widths": list(asked.widths)}


def rate_record(model: Any) -> dict[str, Any]:
    """The numbers of a rate reduction, with decay or at fixed energies.

    Example:
        >>> from ufm.models.constrained_rate import constrained_rate
        >>> told = rate_record(constrained_rate("2,2", 4, 1.0))
        >>> told["rate"], told["shares"], "lambda_z" in told
        (1.0, [0.5, 0.5], False)
    """
    constrained = model.family == "constrained-rate"
    free = model.free if constrained else model
    record = {
        "family": model.family,
        "num_classes": len(free.sizes),
        "counts": list(free.sizes),
        "dim": free.d,
        "rate": float(free.rate),
        "shares": np.asarray(free.shares, dtype=float).tolist(),
    }
    return record if constrained else record | {"lambda_z": float(free.lambda_Z)}


def loss_record(loss: Any) -> dict[str, Any]:
    """A loss by its name and numbers."""
    name = str(loss.name).partition("(")[0]
    names = PARAMETERS.get(name, {})
    numbers = {}
    for field in dataclasses.fields(loss):
        value = np.asarray(getattr(loss, field.name))
        if value.dtype.kind in "iuf":
            numbers[names.get(field.name, field.name)] = value.tolist()
    return {"name": name, **numbers}


def point_record(point: Any) -> Any:
    """A point as nested lists, under the names of its parts; parts that are None are left out."""
    if hasattr(point, "_asdict"):
        parts = point._asdict().items()
        return {name: point_record(part) for name, part in parts if part is not None}
    if isinstance(point, Mapping):
        return {name: point_record(part) for name, part in point.items()}
    if isinstance(point, tuple | list):
        return [point_record(part) for part in point]
    return np.asarray(point, dtype=np.float64).tolist()
