"""``ufm measure``: neural collapse of somebody's features, held against the theory."""

from __future__ import annotations

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
# A numerical minimiser of an imbalanced model takes seconds up to this many classes.
MOST_CLASSES = 300
# Gradient norm of that minimiser: the table shows six digits, and the duality gap speaks for it.
NORM = 1e-9


@expand_flags
def measure(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.npz",
            help="features (N, d) and labels (N,); optional classifier (K, d) and bias (K,).",
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
    from experiments.arrays import read_arrays
    from ufm.collapse import collapse
    from ufm.collapse.record import CONVENTIONS

    choice = loss.choice()
    lambda_w, lambda_h = decay.given()
    _require_lambda_w(loss, decay, lambda_w)
    arrays = read_arrays(file, ("features", "labels"), ("classifier", "bias"))
    record = patiently(
        "measuring ...",
        lambda: collapse(
            arrays["features"],
            arrays["labels"],
            classifier=arrays.get("classifier"),
            bias=arrays.get("bias"),
            transposed=transposed,
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
            lambda: compare(arrays, record, choice, decays, transposed),
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
    transposed: bool,
) -> dict[str, Any]:
    """Theory beside measurement: the global minimiser at these lambdas and counts.

    Raises:
        InputError: a missing classifier, or features that are zero.
    """
    import numpy as np

    from ufm.errors import InputError

    lambda_w, lambda_h, lambda_b = decays
    notes = []
    if lambda_h is None:
        lambda_h = record.lambda_H_hat
        notes.append("lambda_H from balancedness, lambda_W |W|^2 / |H|^2")
        if not (np.isfinite(lambda_h) and lambda_h > 0):
            rule = "Need non-zero W and features to estimate lambda_H"
            raise InputError(rule, lambda_h, "add --lambda-h")
    if "bias" in arrays and lambda_b is None:
        lambda_b = 0.0
        notes.append("bias taken as unregularised (--lambda-b)")
    counts = tuple(int(count) for count in np.bincount(arrays["labels"]))
    balanced = len(set(counts)) == 1
    inputs = ModelInputs(
        choice,
        record.num_features,
        lambda_w,
        lambda_h,
        lambda_b,
        len(counts),
        counts[0] if balanced else None,
        None if balanced else counts,
    )
    model = inputs.build()
    measured = _measured(arrays, transposed, model)
    predicted, source = _predicted(model)
    rows = [
        {
            "quantity": name,
            "theory": predicted.get(name),
            "measured": measured[name],
            "ratio": _ratio(measured[name], predicted.get(name)),
        }
        for name in measured
    ]
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


def _ratio(measured: float, predicted: float | None) -> float | None:
    return measured / predicted if predicted else None


def _measured(arrays: Mapping[str, Any], transposed: bool, model: Any) -> dict[str, float]:
    """Mean logit gap, norms, mean loss and objective of the features themselves."""
    import jax
    import numpy as np

    features = arrays["features"].T if transposed else arrays["features"]
    labels, W = arrays["labels"], np.asarray(arrays["classifier"], dtype=np.float64)
    bias = np.asarray(arrays.get("bias", np.zeros(len(W))), dtype=np.float64)
    loss = jax.jit(lambda Z, y: jax.vmap(model.loss)(Z, y).sum())
    gap = value = square_H = 0.0
    block = 65_536  # samples at a time: float64 copies stay small
    for start in range(0, len(labels), block):
        H = np.asarray(features[start : start + block], dtype=np.float64)
        y = labels[start : start + block]
        Z = H @ W.T + bias
        gap += _gaps(Z, y).sum()
        value += float(loss(Z, y))
        square_H += float(np.sum(H**2))
    return _quantities(
        model, gap / len(labels), float(np.sum(W**2)), square_H, value / len(labels), bias
    )


def _gaps(Z: Any, labels: Any) -> Any:
    """z_y minus the mean of the other logits, for rows of logits."""
    own = Z[range(len(Z)), labels]
    return own - (Z.sum(axis=1) - own) / (Z.shape[1] - 1)


def _quantities(
    model: Any, gap: float, square_W: float, square_H: float, loss: float, bias: Any
) -> dict[str, float]:
    decay = 0.5 * (model.lambda_W * square_W + model.lambda_H * square_H)
    if model.lambda_b is not None:
        decay += 0.5 * model.lambda_b * float((bias**2).sum())
    found = {
        "logit gap": float(gap),
        "|W|": square_W**0.5,
        "|H|": square_H**0.5,
        "mean loss": float(loss),
        "objective": float(loss + decay),
    }
    if model.lambda_b is not None:
        found["|b|"] = float((bias**2).sum() ** 0.5)
    return found


def _predicted(model: Any) -> tuple[dict[str, float], str]:
    """The same numbers at the global minimiser: in closed form, else by descent."""
    import numpy as np

    known = model.minimiser()
    if known is not None:
        point, source = known.point, f"closed form ({known.evidence}): {known.source}"
    elif model.num_classes > MOST_CLASSES:
        return {}, f"no closed form, and more than {MOST_CLASSES} classes: see `ufm solve`"
    else:
        from landscape.solvers.solve import solve

        found = solve(model, reduction=True, tolerance=NORM)
        gap = model.certificate(found.point).gap
        known_gap = "no certificate" if gap is None else f"duality gap {gap:.1e}"
        point = found.point.to_numpy()
        source = f"no closed form; descent among collapsed points, {found.result.name}, {known_gap}"
    merged, point = model.as_merged(point)
    counts = np.asarray(model.counts)
    Z = (point.W @ point.H / np.sqrt(counts)).T
    bias = np.zeros(len(counts)) if point.b is None else point.b
    gap_mean = float(_gaps(Z + bias, np.arange(len(counts))) @ counts / counts.sum())
    square_W, square_H = float(np.sum(point.W**2)), float(np.sum(point.H**2))
    objective = float(merged.objective(point))
    quantities = _quantities(model, gap_mean, square_W, square_H, 0.0, bias)
    # The objective is the loss plus the decays, so the loss is what is left of it.
    quantities["mean loss"] = objective - quantities["objective"]
    quantities["objective"] = objective
    return quantities, source


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
