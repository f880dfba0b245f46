"""The page of a comparison: one self-contained file with its figures beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.networks.comparison.claims import network_claims
from experiments.networks.comparison.curves import label_of
from experiments.networks.comparison.deviations import draw_against_theory
from experiments.networks.comparison.execute import Failure
from experiments.networks.comparison.pictures import PERCENT, pictures, theory_size
from experiments.networks.comparison.plan import Cell
from experiments.networks.comparison.table import Row, contrasts, statement, summaries
from experiments.networks.comparison.table import rows as table_rows
from experiments.networks.comparison.three_ways import deviations, figure_rows
from experiments.networks.data.user_arrays import is_own
from experiments.networks.runs import Run
from experiments.networks.training import FeatureDecay, Outcome, WeightDecay
from experiments.report.figures import Picture, picture
from experiments.report.provenance import provenance
from experiments.report.view import NO_INSTANCE, OUTSIDE, Card, Verdict, cards
from experiments.report.write import environment, save
from proofs_check.run import check_claim

PRECISIONS = {
    "float32": "trained in float32",
    "bfloat16": "features in bfloat16, parameters, classifier and loss in float32",
}
# What a theorem would fail at is a fact about runs.
OTHERWISE = Verdict("outside", "◌", "Not in all of these runs")
# Numbers of the table, in the order of the page; those that nobody has are left out.
TABLE = (
    "train_accuracy",
    "test_accuracy",
    "epoch_fitted",
    "nc1_geo",
    "nc1_fall",
    "nc2_geo",
    "nc3_geo",
    "nc4_phd",
    "square_W",
    "square_H",
    "logit_gap",
    "ece",
    "nll",
    "temperature",
    "ece_cooled",
    "separation_test",
    "auroc_softmax_noise",
    "auroc_softmax_scrambled",
)


def write_page(
    runs: Mapping[Cell, Run],
    failures: Sequence[Failure],
    folder: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Draw everything and write ``index.html`` and ``figures/`` into a folder.

    Args:
        runs: of ``execute``.
        failures: as well.
        folder: exists.
        say: told what is being drawn.
    """
    shown = pictures(runs, say)
    say("page")
    return save(render(runs, failures, shown), shown, folder)


def write_theory_page(
    runs: Mapping[Cell, Run],
    failures: Sequence[Failure],
    ways: Mapping[Cell, str],
    folder: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """The same for networks held against the model in several ways of training.

    Args:
        runs: of ``execute``.
        failures: as well.
        ways: how every run was trained.
        folder: exists.
        say: told what is being drawn.
    """
    say("figure: theory")
    rows = figure_rows(runs, ways)
    shown = picture(
        "theory",
        "Networks against the minimum of the model",
        "Deviation of four quantities from the global minimum of the unconstrained feature model, "
        "linear within 1 % (grey) and logarithmic beyond. First seed of everything.",
        [("deviations", "deviations from theory", lambda ax: draw_against_theory(rows, ax))],
        size=theory_size(rows),
    )
    one = next(iter(runs.values()))
    page = (
        environment()
        .get_template("against.html.j2")
        .render(
            title=one.request.data.source,
            runs=runs,
            failures=failures,
            stopped=[row for row in table_rows(runs) if row.outcome is Outcome.NOT_FINITE],
            lines=deviations(runs, ways),
            pictures=(shown,),
            settings=described(one, ("Data", "Training", "Precision")),
            provenance=provenance(),
        )
    )
    return save(page, (shown,), folder)


def render(runs: Mapping[Cell, Run], failures: Sequence[Failure], shown: Sequence[Picture]) -> str:
    """The page as text."""
    table = table_rows(runs)
    found = summaries(table, TABLE)
    columns = [name for name in TABLE if any(s.name == name and s.num for s in found)]
    differences = contrasts(table, "test_accuracy")
    claims = empirical(cards([check_claim(claim) for claim in network_claims(runs)]))
    one = next(iter(runs.values()))
    return (
        environment()
        .get_template("networks.html.j2")
        .render(
            title=one.request.data.source,
            runs=runs,
            failures=failures,
            columns=[(name, label_of(name)) for name in columns],
            groups=_groups(table, found, columns),
            statement=statement(differences, "test accuracy"),
            contrasts=differences,
            rows=[(row, end_of(row), _cells(row, columns)) for row in table],
            claims=claims,
            pictures=shown,
            settings=described(one),
            provenance=provenance(),
            stopped=[row for row in table if row.outcome is Outcome.NOT_FINITE],
        )
    )


def empirical(found: Sequence[Card]) -> list[Card]:
    """Cards of claims about runs: a run that does otherwise refutes nothing, and is no failure.

    A claim whose hypotheses no run meets is not applicable, whatever a theorem would be then.
    """
    words = {"failed": OTHERWISE, "refuted": OTHERWISE}
    return [
        replace(
            card,
            verdict=OUTSIDE
            if card.verdict is NO_INSTANCE
            else words.get(card.verdict.key, card.verdict),
        )
        for card in found
    ]


def end_of(row: Row) -> str:
    """How a run ended: one that had errors on the train split to the last did not fit.

    Example:
        >>> from experiments.networks.training import FeatureDecay, Outcome, WeightDecay
        >>> end_of(Row("ce", 1.0, 0, Outcome.COMPLETED, {"train_accuracy": 0.93}))
        'all epochs done, did not fit'
    """
    fitted = row.numbers.get("train_accuracy", math.nan)
    unfit = row.outcome is Outcome.COMPLETED and fitted < 1
    return row.outcome.value + (", did not fit" if unfit else "")


def decay_in_words(decay: FeatureDecay | WeightDecay) -> str:
    """The decays of a run, every digit as it was given.

    Example:
        >>> decay_in_words(FeatureDecay(5e-4, 1.5e-7))
        'lambda_W = 0.0005, lambda_H = 1.5e-07, lambda_b = 0.0; no other weight decays'
    """
    if decay.lambda_H is None:
        return f"weight_decay = {decay.lambda_W!r} on everything that is trained"
    names = ("lambda_W", "lambda_H", "lambda_b")
    return f"{', '.join(f'{n} = {getattr(decay, n)!r}' for n in names)}; no other weight decays"


def shown_number(name: str, value: float | None, spread: float = float("nan")) -> str:
    """A number as a table shows it, with its spread where it has one.

    Example:
        >>> shown_number("test_accuracy", 0.97527), shown_number("nc1_geo", 0.00012345, 2e-5)
        ('97.5 %', '0.000123 ± 2e-05')
    """
    if value is None or math.isnan(value):
        return "-"
    scale = 100.0 if name in PERCENT else 1.0
    text = f"{scale * value:.1f}" if name in PERCENT else f"{value:.3g}"
    if not math.isnan(spread):
        text += f" ± {scale * spread:.1f}" if name in PERCENT else f" ± {spread:.1g}"
    return f"{text} %" if name in PERCENT else text


def _groups(
    table: Sequence[Row], found: Sequence[Any], columns: Sequence[str]
) -> list[tuple[str, float, int, list[str]]]:
    groups = []
    for loss, width in dict.fromkeys((row.loss, row.width) for row in table):
        mine = {s.name: s for s in found if (s.loss, s.width) == (loss, width)}
        texts = []
        for name in columns:
            one = mine[name]
            text = shown_number(name, one.mean, one.std)
            if 0 < one.num < one.num_runs:
                text += f" ({one.num} of {one.num_runs})"
            texts.append(text)
        groups.append((loss, width, mine[columns[0]].num_runs if columns else 0, texts))
    return groups


def _cells(row: Row, columns: Sequence[str]) -> list[str]:
    return [shown_number(name, row.numbers.get(name)) for name in columns]


def described(run: Run, chosen: Sequence[str] = ()) -> dict[str, str]:
    """What a run was made of, in words: all of it, or the chosen parts."""
    s = run.request.settings
    every = {
        "Data": _data(run),
        "Network": f"{s.architecture.name}, {s.architecture.features} features, "
        + (f"d = {s.d}" if s.d else "d of the last hidden layer")
        + ("" if s.bias else ", no bias")
        + (", classifier fixed at a simplex ETF" if s.fixed_etf else ""),
        "Training": f"{s.epochs} epochs, batches of {s.batch_size or 'all samples'}, "
        f"{s.optimizer}, learning rate {s.first_rate:g} ({s.schedule}), momentum {s.momentum:g}",
        "Precision": PRECISIONS[s.precision] + "; what is measured on it is float64",
        "Decay": decay_in_words(s.decay) + ", decoupled from the gradient" * s.decoupled,
    }
    return {name: text for name, text in every.items() if not chosen or name in chosen}


def _data(run: Run) -> str:
    """The set, its sizes, and everything that was done to its labels."""
    data, counts = run.request.data, run.counts
    # Of a user's own arrays only the title says what they are.
    parts = [f"{data.source} ({run.title})" if is_own(data.source) else data.source]
    parts.append(f"{sum(counts)} train images of {len(counts)} classes")
    if len(set(counts)) == 1:
        parts.append("balanced")
    else:
        parts.append(f"{max(counts)} to {min(counts)} of a class")
    if data.imbalance is not None:
        parts.append(f"exponential imbalance {data.imbalance:g}")
    if data.noise:
        wrong = f"{100 * data.noise:g} % of the train labels wrong"
        parts.append(f"{wrong} ({data.noise_kind}, seed {data.seed})")
    if data.random_labels:
        parts.append(f"train labels permuted (seed {data.seed})")
    return ", ".join(parts)
