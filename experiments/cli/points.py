"""Points in and out of files, with the settings of their model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.cli.flags import DECAY, DecayFlags, LossFlags, ModelInputs, SizeFlags
from experiments.cli.model import SETTINGS, read_general, settings_of, stored_inputs
from experiments.errors import input_error
from experiments.losses import PARAMETERS, LossChoice

POINT_SCHEMA = 1


def save_point(path: Path, found: Any, inputs: ModelInputs) -> None:
    """Write W, H, b and the settings of the model to an .npz file.

    H has one column per class (merged, sqrt(n_k) times the class mean) or one per sample.
    """
    import numpy as np

    from experiments.arrays import write_arrays

    point, model = found.point.to_numpy(), found.original
    arrays: dict[str, Any] = {
        "W": point.W,
        "H": point.H,
        "counts": np.array(model.counts_tuple, dtype=np.int64),
        "merged": np.array(bool(found.model.merged)),
        "lambda_W": np.array(float(inputs.lambda_w)),
        "lambda_H": np.array(float(inputs.lambda_h)),
        "schema": np.array(POINT_SCHEMA),
    }
    arrays.update({name: np.array(value) for name, value in inputs.loss.record().items()})
    if point.b is not None:
        arrays.update({"b": point.b, "lambda_b": np.array(float(inputs.lambda_b or 0.0))})
    write_arrays(path, arrays)


@dataclass(frozen=True)
class PlainFlags:
    """The flags of the plain model, which complete what a file does not say."""

    size: SizeFlags
    loss: LossFlags
    decay: DecayFlags


def read_for(path: Path, inputs: Any) -> tuple[Any, Any, Any]:
    """The point of a file, the inputs of its model, and the model."""
    if isinstance(inputs, PlainFlags):
        point, resolved = read_point(path, inputs.size, inputs.loss, inputs.decay)
        return point, resolved, resolved.build()
    completed = stored_inputs(path, inputs)
    model = completed.build()
    return read_general(path, model), completed, model


def read_point(
    path: Path, size: SizeFlags, loss: LossFlags, decay: DecayFlags
) -> tuple[Any, ModelInputs]:
    """A point of a file and the model that flags, file and defaults (in this order) make.

    Samples may come in any order with ``labels``; they are sorted by class.

    Raises:
        InputError: a bad file, arrays that are not float64, or contradictory settings.
    """
    import numpy as np

    from experiments.network_files import read_named
    from ufm.point import Point

    settings = {name for names in PARAMETERS.values() for name in names}
    scalars = ("loss", "lambda_W", "lambda_H", "lambda_b", *sorted(settings))
    told = read_named(path, (), (SETTINGS,))
    if SETTINGS in told:
        name = settings_of(told).get("model", "NAME")
        rule = "A point of another model than the plain one is judged with --model"
        raise input_error(rule, f"a point of {name}", f"add --model {name}")
    arrays = read_named(path, ("W", "H"), ("b", "labels", "counts", "merged", "schema", *scalars))
    for name in ("W", "H", "b"):
        if name in arrays:
            _require_float64(name, arrays[name], 1 if name == "b" else 2)
    for name in scalars:
        if name in arrays:
            kind, what = ("U", "name") if name == "loss" else ("iuf", "real number")
            held = arrays[name]
            if held.ndim or held.dtype.kind not in kind:
                got = f"{held.dtype} of shape {held.shape}"
                raise input_error(f"Need one {what} in {name!r}", got, "save it again")
    stored = {name: arrays[name].item() for name in scalars if name in arrays}
    W, H = arrays["W"], arrays["H"]
    notes: list[str] = []
    counts, H = _counts_and_columns(arrays, size, W.shape[0], H, notes)
    lambda_w, lambda_h = decay.given()
    lambda_b = stored.get("lambda_b") if decay.lambda_b is None else decay.lambda_b
    if "b" in arrays and lambda_b is None:
        lambda_b = 0.0
        notes.append("bias unregularised (assumed; --lambda-b)")
    if "b" not in arrays and lambda_b is not None:
        rule = "Need an array 'b' in the file to use --lambda-b"
        raise input_error(rule, f"{path} without it", "drop --lambda-b, or save the bias as b")
    choice = loss.choice(_stored_loss(stored, loss.loss))
    decays = []
    for name, flag in (("lambda_W", lambda_w), ("lambda_H", lambda_h)):
        value = stored.get(name) if flag is None else flag
        if value is None:
            notes.append(f"{name}={DECAY} (assumed; --lambda, --{name.lower().replace('_', '-')})")
        decays.append(DECAY if value is None else value)
    if loss.loss is None and "loss" not in stored:
        notes.append("cross entropy (assumed; --loss)")
    classes = W.shape[0] if size.classes is None else size.classes
    balanced = len(set(counts)) == 1
    inputs = ModelInputs(
        choice,
        W.shape[1] if size.d is None else size.d,
        decays[0],
        decays[1],
        lambda_b,
        classes,
        counts[0] if balanced else None,
        None if balanced else counts,
        tuple(notes),
    )
    return Point(W, np.ascontiguousarray(H), arrays.get("b")), inputs


def _require_float64(name: str, array: Any, axes: int) -> None:
    if array.ndim != axes:
        raise input_error(f"Need {name!r} with {axes} axes", f"shape {array.shape}", "reshape it")
    if array.dtype != "float64":
        raise input_error(
            "A verdict needs float64 arrays",
            f"{name} in {array.dtype}",
            f"save {name}.astype(numpy.float64), and polish the point: float32 is rarely critical",
        )


def _stored_loss(stored: Mapping[str, Any], asked: str | None) -> LossChoice | None:
    """The loss of a saved point. A file of numbers must not choose which code is run."""
    if "loss" not in stored:
        return None
    spec = str(stored["loss"])
    if spec in PARAMETERS:
        kept = {name: float(stored[name]) for name in PARAMETERS[spec] if name in stored}
        return LossChoice(spec, kept)
    if asked is None:
        raise input_error(
            "A point of a user's own loss is judged with --loss, because a data file never chooses "
            "code to run",
            f"a point saved with --loss {spec}",
            f"add --loss {spec} if you trust that code",
        )
    return None


def _counts_and_columns(
    arrays: Mapping[str, Any], size: SizeFlags, classes: int, H: Any, notes: list[str]
) -> tuple[tuple[int, ...], Any]:
    """Samples per class, and H with its columns class by class."""
    import numpy as np

    from experiments.network_files import integer_counts
    from ufm.collapse.inputs import count_classes, read_labels

    asked = size.sizes()
    if asked is None and size.n is not None:
        asked = (size.n,) * classes
    if "labels" in arrays:
        labels = read_labels(arrays["labels"], H.shape[1])
        counts = tuple(int(count) for count in count_classes(labels, classes))
        if asked is not None and asked != counts:
            rule = "The labels in the file give other counts than -n or --counts"
            raise input_error(rule, f"{counts} from the labels", "drop -n and --counts")
        return counts, H[:, np.argsort(labels, kind="stable")]
    if asked is not None:
        return asked, H
    if "counts" in arrays:
        return integer_counts(arrays["counts"]), H
    if H.shape[1] != classes:
        raise input_error(
            f"Need labels, counts or -n for H with {H.shape[1]} columns and K={classes} classes",
            "none of them",
            "add -n or --counts if columns are class by class, or save labels",
        )
    notes.append("one sample per class (assumed; -n, --counts)")
    return (1,) * classes, H
