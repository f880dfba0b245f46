"""Tables of small sweeps, made without the code that expands a spec, and what figures show."""

from itertools import product

import numpy as np
from matplotlib.axes import Axes

from ufm import (
    MSE,
    UFM,
    CrossEntropy,
    Focal,
    LabelSmoothing,
    RescaledMSE,
    class_weighted,
    logit_adjusted,
    vector_scaling,
)

PARAMETERS = ("smoothing", "gamma", "kappa", "target", "tau", "margin")
NAMES = {"ls": ("smoothing",), "focal": ("gamma",), "rescaled-mse": ("kappa", "target")}
NAMES |= {"logit-adjusted": ("tau",), "weighted-ce": ("gamma",), "vs": ("gamma", "tau")}
BUILDERS = {
    "ce": CrossEntropy,
    "ls": LabelSmoothing,
    "focal": Focal,
    "mse": MSE,
    "rescaled-mse": RescaledMSE,
    "logit-adjusted": logit_adjusted,
    "weighted-ce": class_weighted,
    "vs": vector_scaling,
}


def steps(K, majority, n, ratio):
    """``majority`` classes of ratio * n samples, the others of n."""
    return (round(ratio * n),) * majority + (n,) * (K - majority)


def table_of(cells):
    """A table from one mapping per cell: loss = (name, parameters...), counts, d, decays, ..."""
    rows = [_row(i, **cell) for i, cell in enumerate(cells)]
    return {
        name: np.array([row[name] for row in rows], dtype=_kind(rows[0][name])) for name in rows[0]
    }


def _kind(value):
    return {str: object, int: np.int64}.get(type(value), np.float64)


def _row(i, loss, counts, d, *, c=None, decays=None, ratio=1.0, lambda_b=np.nan, **more):
    K, N = len(counts), sum(counts)
    if decays is None:
        sigma = c / np.sqrt(K * N)
        decays = (sigma * np.sqrt(ratio), sigma / np.sqrt(ratio))
    values = dict(zip(NAMES.get(loss[0], ()), loss[1:], strict=True))
    row = {"cell": i, "loss": loss[0]}
    row |= {name: float(values.get(name, np.nan)) for name in PARAMETERS}
    equal = len(set(counts)) == 1
    row |= {"K": K, "d": d, "n": min(counts)}
    row |= {"counts": "" if equal else ",".join(map(str, counts)), "N": N}
    row |= {"imbalance": max(counts) / min(counts), "lambda_W": decays[0], "lambda_H": decays[1]}
    row |= {"lambda_b": float(lambda_b), "c": float(np.sqrt(K * N * decays[0] * decays[1]))}
    return {**row, "seed": 0, "saddle": "", "result": "CONVERGED", **more}


def plain(loss, counts, d, **more):
    """A cell."""
    return {"loss": loss, "counts": counts, "d": d, **more}


def grid(make, **axes):
    """A table with one cell for each element of a product; ``make`` turns names into a cell."""
    return table_of([make(**dict(zip(axes, v, strict=True))) for v in product(*axes.values())])


def model_of(cell):
    """The model of one such mapping."""
    row = _row(0, **cell)
    loss = BUILDERS[cell["loss"][0]](*cell["loss"][1:])
    bias = None if np.isnan(row["lambda_b"]) else row["lambda_b"]
    decays = {name: row[name] for name in ("lambda_W", "lambda_H")}
    return UFM(loss, d=cell["d"], counts=cell["counts"], lambda_b=bias, **decays)


# ---- tables

LOSSES = [("ce",), ("ls", 0.1), ("ls", 0.3), ("focal", 2.0), ("mse",), ("rescaled-mse", 2.0, 1.5)]


def repeated(values, result=("CONVERGED",) * 3, name="value"):
    """Three seeds in a cell, and one in another one."""
    table = table_of([cell(0.5, seed=s) for s in range(3)] + [cell(2.0, seed=0)])
    results = np.array([*result, "CONVERGED"], dtype=object)
    return {**table, "result": results, name: np.array(values)}


def cell(c=0.5, K=3, loss=("ce",), n=1, **more):
    return {"loss": loss, "counts": (n,) * K, "d": K, "c": c, **more}


def plane(values, **more):
    """c in 0.5, 1, 2 and K in 3, 4, with the given values in rows of equal K."""
    table = grid(lambda K, c: cell(c, K, **more), K=[3, 4], c=[0.5, 1.0, 2.0])
    return {**table, "value": np.asarray(values)}


def many_losses():
    table = grid(
        lambda loss, K, c: cell(c, K, loss), loss=LOSSES, K=[3, 4, 5], c=[0.1, 0.3, 1.0, 3.0]
    )
    return {**table, "value": np.where(table["loss"] == "mse", 10.5, 1.5) + table["c"]}


def rates(factor=1.1):
    table = grid(lambda loss, c: cell(c, loss=loss), loss=LOSSES, c=[0.01, 0.1, 0.5])
    table |= {"predicted_nc2": table["c"] / 3, "rate_nc2": table["c"] / 3}
    table |= {"predicted_nc1": table["c"], "rate_nc1": table["c"] * 1.02}
    table["rate_nc2"][4] *= factor
    return table


def found_thresholds(K=(3, 4)):
    table = grid(lambda loss, K, seed: cell(1.0, K, loss, seed=seed), loss=LOSSES, K=K, seed=[0, 1])
    theory = 1.0 + 0.1 * (table["K"] - 3)
    table |= {"c_theory": theory, "c_measured": theory * 1.002}
    return table | {"c_low": theory * 0.999, "c_high": theory * 1.004}


# ---- what a figure shows


def cells_of(ax):
    """Bounding boxes and values of the coloured cells."""
    found = next(c for c in ax.collections if c.get_array() is not None)
    corners = np.array([path.vertices[:4] for path in found.get_paths()])
    return corners.min(axis=1), corners.max(axis=1), np.asarray(found.get_array())


def value_at(ax, x, y):
    low, high, values = cells_of(ax)
    inside = np.all((low < (x, y)) & (high > (x, y)), axis=1)
    assert inside.sum() == 1
    return values[inside][0]


def legend_texts(ax):
    legend = ax.get_legend() if isinstance(ax, Axes) else ax.legends[0]
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def shown_texts(figure):
    """Every text that is drawn: headings, labels, numbers in sight, legends."""
    figure.draw_without_rendering()
    found = [*figure.texts]
    for name in ("_supxlabel", "_supylabel"):
        text = getattr(figure, name)
        found += [] if text is None or text in figure.texts else [text]
    legends = list(figure.legends)
    for ax in figure.axes:
        if not ax.get_visible():
            continue
        found += [*ax.texts, ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
        found += [axis.offsetText for axis in (ax.xaxis, ax.yaxis)]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-9 * (high - low)
            ticks = [
                t for t in axis.get_major_ticks() if low - slack <= t.get_loc() <= high + slack
            ]
            found += [text for tick in ticks for text in (tick.label1, tick.label2)]
        legends += [ax.get_legend()] if ax.get_legend() else []
    for legend in legends:
        found += [*legend.get_texts(), legend.get_title()]
    return [text for text in found if text.get_text() and text.get_visible()]


def drawn_lines(ax):
    return [line for line in ax.lines if line.get_path_effects()]
