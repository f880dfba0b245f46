"""The figures of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.networks.comparison.curves import curves, label_of
from experiments.networks.comparison.deviations import Held, draw_against_theory
from experiments.networks.comparison.likeness import likeness
from experiments.networks.comparison.maps import heat_map, layer_map, likeness_map
from experiments.networks.comparison.plan import Cell
from experiments.networks.comparison.table import rows, summaries
from experiments.networks.runs import Run, run_against_theory
from experiments.report.figures import Drawing, Picture, picture

# Numbers that are shares and read best as percentages.
PERCENT = frozenset({"train_accuracy", "test_accuracy"})
CURVES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    (
        "errors",
        "Errors",
        "Share of train and test images that are missed, after each measured epoch. Lines are "
        "medians over seeds, bands go from the least to the most.",
        ("train_error", "test_error"),
    ),
    (
        "nc1",
        "NC1: variability within classes",
        "Three conventions of one label. They measure different things and must fall together.",
        ("nc1_geo", "nc1_ratio", "cdnv_mean"),
    ),
    (
        "nc23",
        "NC2 and NC3: geometry and self-duality",
        "Distances from a simplex ETF, of the class means and between classifier and means; 0 is "
        "collapse. Squared error without ties between its decays ends at an orthogonal frame, "
        "which is not 0 here.",
        ("nc2_rwu", "nc3_geo", "nc3_phd"),
    ),
    (
        "nc0",
        "NC0: the sum of classifier rows",
        "With a loss that ignores common shifts of the logits, only weight decay moves the sum. "
        "Dots: its exact course under SGD, known before training, down to where "
        "rounding takes over; other optimisers have none.",
        ("nc0",),
    ),
    (
        "sizes",
        "Norms, logit gap and curvature",
        "What a closed form predicts; see the comparison with theory below.",
        ("square_W", "logit_gap", "hessian_W_largest"),
    ),
)


def pictures(
    runs: Mapping[Cell, Run], say: Callable[[str], None] = lambda line: None
) -> tuple[Picture, ...]:
    """Every figure that the runs have numbers for."""
    made = []
    width = _middle([cell.width for cell in runs])
    grouped: dict[str, list[Run]] = {}
    for cell, run in runs.items():
        if cell.width == width:
            grouped.setdefault(cell.loss.label, []).append(run)
    measured = {name for run in runs.values() for r in run.records for name in r.measures}
    measured |= {"train_error", "test_error"} if "test_accuracy" in measured else set()
    for name, title, caption, wanted in CURVES:
        drawings = [_curve(grouped, one, first) for first, one in _flagged(wanted, measured)]
        if drawings:
            say(f"figure: {name}")
            suffix = f" Width {width:g}." if len({c.width for c in runs}) > 1 else ""
            made.append(picture(name, title, caption + suffix, drawings))
    for maker in (_theory, _heat_maps, _likenesses, layers):
        found = maker(runs)
        if found is not None:
            say(f"figure: {found.name}")
            made.append(found)
    return tuple(made)


def _flagged(wanted: Sequence[str], measured: set[str]) -> list[tuple[bool, str]]:
    there = [name for name in wanted if name in measured]
    return [(place == 0, name) for place, name in enumerate(there)]


def _curve(grouped: Mapping[str, Sequence[Run]], name: str, first: bool) -> Drawing:
    def draw(ax: Any) -> Any:
        curves(grouped, name, ax)
        if first:
            # Above the lines: there is no corner that is free in every figure.
            ax.legend(
                loc="lower left",
                bbox_to_anchor=(0.0, 1.0),
                ncols=min(4, len(ax.get_legend_handles_labels()[1])),
                fontsize=7.5,
                handlelength=1.5,
                handletextpad=0.4,
                columnspacing=0.9,
                borderaxespad=0.2,
            )
        return ax

    return name, f"{label_of(name)} against epochs, one line per objective", draw


def _theory(runs: Mapping[Cell, Run]) -> Picture | None:
    shown = [
        Held(f"width {cell.width:g}", cell.loss.label, run_against_theory(run))
        for cell, run in runs.items()
        if cell.seed == min(c.seed for c in runs)
    ]
    return picture(
        "theory",
        "Networks against the minimum of the model",
        "Deviation of four quantities from the global minimum of the unconstrained feature model "
        "with the same loss, sizes and decays, linear within 1 % (grey) and logarithmic beyond. "
        "First seed of every objective and width.",
        [("deviations", "deviations from theory", lambda ax: draw_against_theory(shown, ax))],
        size=theory_size(shown),
    )


def theory_size(shown: Sequence[Held]) -> tuple[float, float]:
    """Inches of ``draw_against_theory`` for so many rows and groups.

    Example:
        >>> theory_size([])
        (6.4, 1.3)
    """
    lines = len(shown) + len({row.group for row in shown})
    return 6.4, 1.3 + 0.27 * lines


def _heat_maps(runs: Mapping[Cell, Run]) -> Picture | None:
    if len({cell.loss.label for cell in runs}) < 2:
        return None
    found = summaries(rows(runs), ["test_accuracy", "ece"])
    there = [
        name for name in ("test_accuracy", "ece") if any(s.name == name and s.num for s in found)
    ]
    if not there:
        return None

    def drawing(name: str) -> Drawing:
        percent = name in PERCENT
        alt = f"{label_of(name)} of every objective at every width"
        return name, alt, lambda ax: heat_map(found, name, ax, percent=percent)

    return picture(
        "heat",
        "Every objective at every width",
        "Means over seeds with their standard deviation.",
        [drawing(name) for name in there],
    )


def _likenesses(runs: Mapping[Cell, Run]) -> Picture | None:
    width = _middle([cell.width for cell in runs])
    seeds = {c.seed for c, run in runs.items() if c.width == width and run.assessment is not None}
    if len(seeds) < 2:
        return None
    found = likeness(runs, width)

    def drawing(name: str) -> Drawing:
        alt = f"{label_of(name)} between objectives"
        return name, alt, lambda ax: likeness_map(found, name, ax)

    return picture(
        "likeness",
        "How alike the objectives are",
        "Between networks of different seeds: the diagonal is what another seed alone changes, so "
        "objectives with equivalent features have off-diagonal values as large as the diagonal.",
        [drawing(name) for name in ("agreement", "cka")],
    )


def layers(runs: Mapping[Cell, Run]) -> Picture | None:
    """Similarity of the layers of one network of every objective, None where there is none."""
    width = _middle([cell.width for cell in runs])
    first: dict[str, Run] = {}
    for cell, run in runs.items():
        # A network of one's own has one layer that is known, its features.
        told = run.assessment
        if cell.width == width and told is not None and told.answers and len(told.layers) > 1:
            first.setdefault(cell.loss.label, run)
    if not first:
        return None

    def drawing(label: str, run: Run) -> Drawing:
        values = run.assessment.layers if run.assessment is not None else None
        names = [f"layer {i}" for i in range(1, len(values))] + ["features"]  # type: ignore[arg-type]

        def draw(ax: Any) -> Any:
            layer_map(values, names, ax)
            ax.set_title(label)
            return ax

        return label, f"CKA between the layers trained with {label}", draw

    return picture(
        "layers",
        "Similarity of the layers",
        "Debiased linear CKA between the layers of one network on test images.",
        [drawing(label, run) for label, run in first.items()],
    )


def _middle(values: Sequence[float]) -> float:
    """The largest width that is not above 1, or the least there is: figures show one width."""
    below = [value for value in values if value <= 1]
    return max(below) if below else min(values)
