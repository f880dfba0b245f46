"""``ufm measure``: neural collapse of somebody's features, held against the theory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.options import (
    DecayFlags,
    Json,
    LossFlags,
    ModelInputs,
    Out,
    expand_flags,
)
from experiments.cli.output import (
    deliver,
    envelope,
    number,
    patiently,
    prepare,
    require_writable,
    show,
    table,
)

EXAMPLES = (
    "ufm measure features.npz",
    "ufm measure features.npz --lambda-w 5e-4 --loss ls --json",
)
# Papers behind the keys of ufm.collapse.CONVENTIONS.
PAPERS = {
    "GEO": "Zhu et al. 2021",
    "RMS": "Zhou et al. 2022a",
    "ALL": "Zhou et al. 2022b",
    "DLN": "Dang et al. 2023",
    "PHD": "Papyan, Han, Donoho 2020",
    "CLS": "Guo et al. 2024",
    "RWU": "Wu, Papyan 2024",
}
REST = (
    ("rank of centred means", "rank_means"),
    ("rank of W", "rank_W"),
    ("tr Sigma_within", "trace_within"),
    ("tr Sigma_between", "trace_between"),
    ("CDNV, largest pair", "cdnv_max"),
    ("accuracy of the classifier", "classifier_accuracy"),
    ("accuracy of the nearest centre", "nc4_cls"),
)


@expand_flags
def measure(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.npz",
            help="features (N, d) and labels (N,); optional classifier (K, d) and bias (K,). "
            "The same as H (d, N), W and b, with labels or counts, will do.",
        ),
    ],
    loss: LossFlags,
    decay: DecayFlags,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="The features are (d, N), as H in the theory.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure NC1 to NC4 of features under every published convention.

    With --lambda-w (and a classifier) the theory joins in: lambda_H is estimated from
    balancedness, lambda_W |W|^2 = lambda_H |H|^2, unless --lambda-h gives it, and the logit gap,
    norms and loss of the global minimiser stand beside those measured.
    """
    prepare()
    require_writable(out, "--out")
    from experiments.cli.points import read_features
    from ufm.collapse import collapse
    from ufm.collapse.record import CONVENTIONS

    choice = loss.choice()
    lambda_w, lambda_h = decay.given()
    _require_lambda_w(loss, decay, lambda_w)
    arrays = read_features(file, transposed)
    record = patiently(
        "measuring ...",
        lambda: collapse(
            arrays["features"],
            arrays["labels"],
            classifier=arrays.get("classifier"),
            bias=arrays.get("bias"),
            lambda_W=lambda_w,
        ),
    )
    metrics = record.as_dict()
    del metrics["cdnv"]  # (K, K): its mean and maximum say what a page can hold
    conventions = {source: record.convention(source) for source in CONVENTIONS}
    theory = None
    inputs: dict[str, Any] = {"file": str(file), "transposed": transposed, "loss": choice.spec}
    inputs.update(choice.parameters)
    if lambda_w is not None:
        decays = (lambda_w, lambda_h, decay.lambda_b)
        theory = patiently(
            "computing the theory ...",
            lambda: compare(arrays, record, choice, decays),
        )
    inputs.update({"lambda_W": lambda_w, "lambda_H": lambda_h, "lambda_b": decay.lambda_b})
    document = {"metrics": metrics, "conventions": conventions, "theory": theory}
    deliver(envelope("measure", inputs, document), as_json=as_json, out=out)
    if as_json:
        return
    sizes = f"N={record.num_samples:,} samples, d={record.num_features}, K={record.num_classes}"
    show(f"Measured {file}: {sizes}", _convention_table(conventions), _rest_table(metrics))
    if "classifier" not in arrays:
        show("Without a `classifier` in the file, what needs W is left out.")
    if theory is not None:
        _show_theory(theory)


def _require_lambda_w(loss: LossFlags, decay: DecayFlags, lambda_w: float | None) -> None:
    """Flags of the theory mean nothing without lambda_W; say so instead of ignoring them."""
    if lambda_w is not None:
        return
    from ufm.errors import InputError

    if decay.lambda_h is not None or decay.lambda_b is not None or loss.loss is not None:
        rule = "The comparison with theory needs --lambda-w"
        raise InputError(rule, "no --lambda-w", "add it: the weight decay of the classifier")


def compare(
    arrays: Mapping[str, Any],
    record: Any,
    choice: Any,
    decays: tuple[float, float | None, float | None],
) -> dict[str, Any]:
    """Theory beside measurement: the global minimiser at these lambdas and counts.

    Raises:
        InputError: a missing classifier, or features that are zero.
    """
    import numpy as np

    from experiments.networks.theory import (
        NoTheory,
        compare,
        measured,
        predict_free,
        predict_nonnegative,
    )
    from ufm.errors import InputError

    lambda_w, lambda_h, lambda_b = decays
    features, bias = arrays["features"], arrays.get("bias")
    notes = []
    if lambda_h is None:
        lambda_h = record.lambda_H_hat
        notes.append("lambda_H from balancedness, lambda_W |W|^2 / |H|^2")
        if not (np.isfinite(lambda_h) and lambda_h > 0):
            rule = "Need non-zero W and features to estimate lambda_H"
            raise InputError(rule, lambda_h, "add --lambda-h")
    if bias is not None and lambda_b is None:
        lambda_b = 0.0
        notes.append("bias taken as unregularised (--lambda-b)")
    nonnegative = bool(np.min(features) >= 0)
    if nonnegative:
        notes.append("features are non-negative, as after a ReLU: theory of such features")
    counts = tuple(int(count) for count in np.bincount(arrays["labels"]))
    n = counts[0] if len(set(counts)) == 1 else None
    sizes = (len(counts), n, None if n else counts)
    inputs = ModelInputs(choice, record.num_features, lambda_w, lambda_h, lambda_b, *sizes)
    model = inputs.build()
    prediction = (predict_nonnegative if nonnegative else predict_free)(model)
    found = measured(model.loss, features, arrays["classifier"], bias, arrays["labels"])
    if isinstance(prediction, NoTheory):
        rows = _rows(found, found.objective(lambda_w, lambda_h, lambda_b), lambda_b)
        source = prediction.reason
    else:
        beside = compare(found, prediction)
        rows = _rows(beside, beside.objective, lambda_b)
        source = prediction.evidence
    return {
        "lambda_W": lambda_w,
        "lambda_H": lambda_h,
        "lambda_H_balanced": record.lambda_H_hat,
        "lambda_b": lambda_b,
        "c": model.c,
        "source": source,
        "notes": notes,
        "model": inputs.headline(model),
        "rows": rows,
    }


def _rows(found: Any, objective: Any, lambda_b: float | None) -> list[dict[str, Any]]:
    """Numbers measured, or pairs of those and the theory's; norms where squares are known."""
    from experiments.networks.theory import Quantity

    values = {
        "logit gap": found.gap,
        "|W|": found.W_squared,
        "|H|": found.H_squared,
        "mean loss": found.loss,
        "objective": objective,
    }
    if lambda_b is not None:
        values["|b|"] = found.b_squared
    rows = []
    for name, value in values.items():
        pair = value if isinstance(value, Quantity) else Quantity(value, math.nan)
        if name in ("|W|", "|H|", "|b|"):
            pair = pair.root
        row = {"theory": pair.predicted, "measured": pair.measured, "ratio": pair.ratio}
        rows.append({"quantity": name, **{key: _known(number) for key, number in row.items()}})
    return rows


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _convention_table(conventions: Mapping[str, Mapping[str, float | None]]) -> Any:
    made = table(("convention", "metric", "value"), right=("value",))
    seen: list[Mapping[str, float | None]] = []
    for values in conventions.values():
        if values in seen:
            continue
        seen.append(values)
        group = [name for name in conventions if conventions[name] == values]
        label = "; ".join(f"{name} ({PAPERS.get(name, name)})" for name in group)
        rows = [(metric, value) for metric, value in values.items() if value is not None]
        for i, (metric, value) in enumerate(rows):
            made.add_row(label if i == 0 else "", metric, number(value))
        made.add_section()
    return made


def _rest_table(metrics: Mapping[str, Any]) -> Any:
    made = table(("beside the conventions", "value"), right=("value",))
    for label, name in REST:
        if metrics[name] is not None:
            made.add_row(label, number(metrics[name]))
    return made


def _show_theory(theory: Mapping[str, Any]) -> None:
    columns = ("quantity", "theory", "measured", "measured/theory")
    made = table(columns, right=columns[1:])
    for row in theory["rows"]:
        made.add_row(
            row["quantity"], number(row["theory"]), number(row["measured"]), number(row["ratio"], 4)
        )
    given, balanced = theory["lambda_H"], theory["lambda_H_balanced"]
    if given != balanced:
        made.add_row("lambda_H", number(given), number(balanced), number(balanced / given, 4))
    show(f"Theory at {theory['model']}", made, f"Theory: {theory['source']}.")
    for note in theory["notes"]:
        show(f"Assumed: {note}.")
