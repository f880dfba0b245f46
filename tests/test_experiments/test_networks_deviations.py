"""The figure of networks against the model: marks where the numbers say, and no overlaps."""

import dataclasses

import numpy as np
import pytest

from experiments.networks.comparison.deviations import (
    MORE,
    QUANTITIES,
    Held,
    draw_against_theory,
)
from experiments.networks.theory import Comparison, NoTheory, Prediction, Quantity
from tests.drawing import boxes, overlapping, panel
from ufm import InputError


def comparison(objective, W, H, gap, predicted=2.0):
    pairs = [Quantity(predicted * ratio, predicted) for ratio in (objective, W, H, gap)]
    numbers = dict.fromkeys(("objective", "W_squared", "H_squared", "gap"), predicted)
    known = {"b_squared": 0.0, "threshold": 1.0, "evidence": "", "c": 0.2, "counts": (1, 1)}
    prediction = Prediction(**numbers, **known, frame="simplex ETF", decays=(0.02, 0.02, None))
    names = ("objective", "W_squared", "H_squared", "gap")
    rest = {"loss": pairs[0], "b_squared": Quantity(0.0, 0.0), "gap_spread": 0.0}
    rest |= {"lambda_H": 1e-3, "estimated": False, "prediction": prediction}
    return Comparison(**dict(zip(names, pairs, strict=True)), **rest)


ROWS = (
    Held("linear features", "ce", comparison(1.001, 1.003, 0.998, 0.995)),
    Held("linear features", "mse", comparison(1.02, 1.05, 0.9, 0.8)),
    Held("ReLU features", "ls(0.1)", NoTheory("no closed form is known for unequal counts")),
)


def marks(ax):
    """x of every marker by its shape, from top to bottom."""
    lines = sorted(
        (line for line in ax.lines if line.get_marker() != "None"),
        key=lambda one: one.get_ydata()[0],
    )
    shapes = {marker: [] for _, _, marker, _ in QUANTITIES}
    for line in lines:
        shapes[line.get_marker()].append(float(line.get_xdata()[0]))
    return shapes


def test_marks_stand_at_the_deviations():
    drawn = marks(draw_against_theory(ROWS, panel()))
    for number, (_, _, marker, _) in enumerate(QUANTITIES):
        expected = [(0.001, 0.003, -0.002, -0.005)[number], (0.02, 0.05, -0.1, -0.2)[number]]
        np.testing.assert_allclose(drawn[marker], expected, atol=1e-12)


def test_groups_losses_and_reasons_are_named():
    ax = draw_against_theory(ROWS, panel(5, 4))
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "cross entropy",
        "MSE",
        "label smoothing",
    ]
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("linear features") == texts.count("ReLU features") == 1
    assert "no theory: no closed form is known for unequal counts" in texts
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        name for _, name, _, _ in QUANTITIES
    ]
    found = boxes([*ax.texts, *ax.get_yticklabels(), *ax.get_xticklabels()])
    assert overlapping(found) == 0


def test_the_scale_holds_what_is_far_and_says_what_is_beyond():
    near = draw_against_theory(ROWS[:1], panel())
    assert near.get_xlim()[1] < 0.2
    far = Held("all weights", "ce", comparison(1.5, 3.0, 50.0, 0.0))
    ax = draw_against_theory([far], panel())
    drawn = marks(ax)
    assert drawn["s"] == [2.0]
    assert drawn["o"] == [MORE]  # at the edge
    assert drawn["^"] == [-1.0]
    ax.figure.draw_without_rendering()
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert {"\N{MINUS SIGN}100", "0", "+1000"} <= set(labels)
    assert "\N{MINUS SIGN}1000" not in labels


def test_a_group_with_estimated_decay_says_so():
    estimated = dataclasses.replace(comparison(1, 1, 1, 1), estimated=True)
    for outcomes, said in (((estimated,), True), ((estimated, comparison(1, 1, 1, 1)), False)):
        rows = [Held("all weights", "ce", outcome) for outcome in outcomes]
        header = draw_against_theory(rows, panel()).texts[0].get_text()
        assert ("estimated" in header) is said


def test_a_theory_at_the_origin_has_no_ratio():
    ax = draw_against_theory([Held("linear", "ce", comparison(1, 1, 1, 1, predicted=0.0))], panel())
    assert "theory is at the origin" in [text.get_text() for text in ax.texts]
    with pytest.raises(InputError, match="no rows"):
        draw_against_theory([], panel())
