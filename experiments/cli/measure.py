"""``ufm measure``: neural collapse of somebody's features, held against the theory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.flags import (
    DecayFlags,
    Json,
    LossFlags,
    Out,
    expand_flags,
)
from experiments.cli.html_page import Html, require_page, write_page_of
from experiments.cli.measure_curves import measure_curves
from experiments.cli.measured_file import measured_file
from experiments.cli.output import (
    deliver,
    envelope,
    number,
    prepare,
    require_writable,
    show,
    table,
)
from experiments.cli.waiting import stepwise
from experiments.errors import input_error
from experiments.options import flag

EXAMPLES = (
    "ufm measure features.npz",
    "ufm measure features.safetensors --lambda-w 5e-4 --loss ls",
    "ufm measure checkpoints/ --lambda-w 5e-4 --figure curves.pdf",
    "ufm measure features.npz --lambda-w 5e-4 --optimizer adamw --all",
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
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="features (N, d) and labels (N,); optional classifier (K, d), bias (K,) and "
            "logits. The same as H (d, N), W and b, with labels or counts, will do. .npz, "
            ".safetensors, .pt, .h5, or the .npy files of all parts. Several, or a folder of "
            "checkpoints, give curves.",
        ),
    ],
    loss: LossFlags,
    decay: DecayFlags,
    optimizer: Annotated[
        str,
        flag(
            "--optimizer",
            "NAME",
            "sgd or adam: decay is part of the gradient; adamw: decoupled, no theory.",
        ),
    ] = "sgd",
    fixed_classifier: Annotated[
        bool,
        typer.Option("--fixed-classifier", help="The classifier was not trained; give --lambda-h."),
    ] = False,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="The features are (d, N), as H in the theory.")
    ] = False,
    figure: Annotated[
        Path | None, flag("--figure", "FILE", "Curves of several files (.pdf, .png or .svg).")
    ] = None,
    html: Html = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show every number under every published convention.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure how collapsed features are, and how far from what theory says of their training.

    With --lambda-w (and a classifier) the theory joins in: that of free features, of features
    after a ReLU (none is negative), of normalised ones (all of one norm) or of a fixed classifier,
    whichever is found. lambda_H is estimated from balancedness, lambda_W |W|^2 = lambda_H |H|^2,
    unless --lambda-h gives it. Ratios to theory are shown only where the network is at a minimum.
    """
    prepare()
    require_writable(out, "--out")
    require_page(html)
    from experiments.network_files import grouped
    from experiments.networks.theory import Terms
    from ufm.collapse.record import CONVENTIONS

    choice = loss.choice()
    lambda_w, lambda_h = decay.given()
    _require_decay(decay, lambda_w, fixed_classifier)
    decays = (lambda_w, lambda_h, decay.lambda_b)
    terms = Terms(choice.build(), *decays, optimizer, fixed_classifier)
    networks = grouped(files)
    inputs: dict[str, Any] = {
        "file": ", ".join(map(str, files)),
        "transposed": transposed,
        **choice.record(),
    }
    inputs.update({"lambda_W": lambda_w, "lambda_H": lambda_h, "lambda_b": decay.lambda_b})
    inputs.update({"optimizer": optimizer, "fixed_classifier": fixed_classifier})
    if len(networks) > 1 or figure is not None:
        measure_curves(networks, terms, transposed, inputs, figure, html, as_json=as_json, out=out)
        return
    file = inputs["file"]
    made, notes = stepwise(
        "measuring", lambda say: measured_file(networks[0], terms, transposed, say)
    )
    if made.appraisal is None and loss.loss is not None:
        raise _needs_decay()
    conventions = {source: made.record.convention(source) for source in CONVENTIONS}
    document = {**made.as_dict(), "conventions": conventions, "notes": notes}
    deliver(envelope("measure", inputs, document), as_json=as_json, out=out)
    record = made.record
    sizes = f"N={record.num_samples:,} samples, d={record.num_features}, K={record.num_classes}"
    parts: list[Any] = [f"Read: {note}." for note in notes]
    if every:
        parts += [_convention_table(conventions), _rest_table(document["metrics"])]
    if made.census is None:
        parts.append("Without a `classifier` in the file, what needs W is left out.")
    if document["theory"] is not None:
        parts += theory_parts(document["theory"])
    elif made.census is not None:
        parts.append("Theory joins in with --lambda-w, the weight decay of the classifier.")
    if html is not None:
        from experiments.networks.theory.measurement import page_facts
        from experiments.report.self_contained import cosines_picture

        # A page has room for every number.
        rest = () if every else (_convention_table(conventions), _rest_table(document["metrics"]))
        paged = [*parts, *rest]
        pictures = cosines_picture(made.rows_of_classes())
        facts = {"Data": f"{file}: {sizes}", **page_facts(made)}
        write_page_of(html, "Neural collapse of a network", made.sentence, paged, facts, pictures)
    if not as_json:
        show(f"Measured {file}: {sizes}", made.sentence, *parts)


def _needs_decay() -> Exception:
    rule = "The comparison with theory needs --lambda-w"
    return input_error(rule, "no --lambda-w", "add it: the weight decay of the classifier")


def _require_decay(decay: DecayFlags, lambda_w: float | None, fixed_classifier: bool) -> None:
    """Flags of the theory mean nothing without lambda_W; say so instead of ignoring them."""
    given = decay.lambda_h is not None or decay.lambda_b is not None
    if given and lambda_w is None and not fixed_classifier:
        raise _needs_decay()


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


def theory_parts(theory: Mapping[str, Any]) -> list[Any]:
    """The theory as lines and tables: the diagnosis, then what is compared, then its sources."""
    parts: list[Any] = [f"Theory at {theory['model']}"]
    compared = theory["refusal"] is None
    if theory["diagnosis"] is not None:
        parts.append(_diagnosis_table(theory["diagnosis"]))
    columns: tuple[str, ...] = ("quantity", "theory", "measured", "measured/theory")
    if not compared:
        columns = (columns[0], columns[2])
    made = table(columns, right=columns[1:])
    for row in theory["rows"]:
        cells = (number(row["theory"]), number(row["measured"]), number(row["ratio"], 4))
        made.add_row(row["quantity"], *(cells if compared else cells[1:2]))
    given, balanced = theory["lambda_H"], theory["lambda_H_balanced"]
    if compared and balanced is not None and given != balanced:
        made.add_row("lambda_H", number(given), number(balanced), number(balanced / given, 4))
    parts.append(made)
    if compared:
        parts.append(f"Theory: {theory['source']}.")
    return [*parts, *(f"Assumed: {note}." for note in theory["notes"])]


def _diagnosis_table(diagnosis: Mapping[str, float | None]) -> Any:
    """What a minimum has at 0, and how much is let pass."""
    from experiments.networks.theory.diagnosis import LIMIT, MOST_ERRORS, MOST_SCATTER

    made = table(("at a minimum 0", "here", "let pass"), right=("here", "let pass"))
    rows = {
        "error": "share of wrong training samples",
        "gradient_W": "gradient in W, over its parts",
        "gradient_H": "gradient in class means, over its parts",
        "gradient_b": "gradient in b, over its parts",
        "balance": "lambda_W |W|^2 / (lambda_H |H|^2) - 1",
        "scatter": "scatter within classes, over between",
    }
    for name, label in rows.items():
        if diagnosis[name] is not None:
            limit = {"error": MOST_ERRORS, "scatter": MOST_SCATTER}.get(name, LIMIT)
            made.add_row(label, number(diagnosis[name], 2), number(limit))
    made.add_row("|gradient|", number(diagnosis["gradient_norm"], 2), "")
    return made
