"""Which lines of theory are drawn over which plane, and what they are called."""

import numpy as np
import pytest

from experiments.sweep.theory.curves import MOST_LINES, curves
from experiments.sweep.theory.parameter_plane import planes
from tests.sweeps import grid, plain, steps
from ufm import InputError
from ufm.plain.laws import vanishing_minority


def laws(table, x, y):
    return [curve.law for curve in curves(table, x, y)]


def over_c_and_d(loss=("ce",), **more):
    cell = {"counts": (1,) * 4, "d": 4, **more}
    return grid(lambda c, d: {"loss": loss, **cell, "c": c, "d": d}, c=[0.1, 0.5, 2.5], d=[5, 6])


def test_no_line_where_no_law_speaks():
    assert laws(over_c_and_d(), "c", "d") == ["collapse"]
    assert laws(over_c_and_d(("own.py:mine",)), "c", "d") == []
    # Every class of another size: nothing to merge, but squared error drops them.
    uneven = {"counts": (4, 3, 2, 1)}
    assert laws(over_c_and_d(**uneven), "c", "d") == []
    assert laws(over_c_and_d(("mse",), **uneven), "c", "d") == ["first dropped", "last dropped"]
    assert laws(over_c_and_d(("mse",), **uneven, lambda_b=0.1), "c", "d") == []
    assert laws(over_c_and_d(("focal", 2.0), counts=(3, 3, 1, 1)), "c", "d") == []
    two_sizes = {"counts": (3, 3, 1, 1)}
    assert laws(over_c_and_d(**two_sizes), "c", "d") == ["minority", "vanishing", "majority"]
    biased = over_c_and_d(**two_sizes, lambda_b=0.1)
    assert laws(biased, "c", "d") == ["minority", "vanishing", "majority"]
    (line,) = (curve for curve in curves(biased, "c", "d") if curve.law == "vanishing")
    # N sigma = x sqrt(n_B) and c = N sigma sqrt(K / N).
    assert line.x == pytest.approx(vanishing_minority(2, 2, 3.0, 0.1) * np.sqrt(4 / 8), rel=1e-12)
    assert line.x != pytest.approx(vanishing_minority(2, 2, 3.0) * np.sqrt(4 / 8), rel=1e-2)
    assert laws(over_c_and_d(counts=(3, 1, 1, 1)), "c", "d") == ["minority"]
    # Two groups, groups of one class or of several sizes, and groups of another number of classes.
    six = {"counts": (1,) * 6}
    for saddle in ("origin", "3|3", "1|1|1|1|1|1", "3|2|1", "2|2|2|2"):
        assert "merged" not in laws(over_c_and_d(**six, saddle=saddle), "c", "d")
    assert "merged" in laws(over_c_and_d(**six, saddle="2|2|2"), "c", "d")


def test_no_line_outside_the_plane_or_where_c_is_not_known():
    below = grid(lambda c, d: plain(("ce",), (1,) * 4, d, c=c), c=[0.1, 0.2], d=[4, 5])
    assert laws(below, "c", "d") == []
    # Another c in every cell: its threshold is no line over K and n.
    mixed = grid(
        lambda K, n, c: plain(("ce",), (n,) * K, K, c=c), K=[3, 4], n=[1, 2], c=[0.5, 1.0, 2.0]
    )
    assert laws(mixed, "n", "K") == []
    assert laws(mixed, "c", "K") == ["collapse"]
    # One decay moves by itself.
    free = grid(
        lambda x, y, n: plain(("ce",), (n,) * 3, 3, decays=(x, y)),
        x=[0.1, 1.0, 10.0],
        y=[0.2, 0.9],
        n=[1, 2],
    )
    assert laws(free, "lambda_W", "n") == []
    assert laws(free, "lambda_W", "lambda_H") == ["collapse"] * 2  # one for each n


def test_the_minority_needs_room():
    table = grid(
        lambda c, d: plain(("ce",), (4, 4, 1, 1), d, c=c), c=[0.1, 0.5, 1.5], d=[1, 2, 3, 4]
    )
    found = {curve.law: curve for curve in curves(table, "c", "d")}
    assert found["minority"].y.tolist() == [3, 4]
    assert found["minority"].x == pytest.approx(np.sqrt([0.4, 0.4]), rel=1e-12)

    def laws_at(offset):
        return laws(
            grid(
                lambda c, K: plain(("ce",), steps(K, 2, 1, 4), K + offset, c=c),
                c=[0.1, 0.5, 1.5],
                K=[4, 5, 7],
            ),
            *("c", "K"),
        )

    assert laws_at(-1) == ["minority", "vanishing", "majority"]
    assert laws_at(-2) == []


def test_a_width_that_follows_K_keeps_the_plane_together():
    table = grid(lambda c, K: plain(("ce",), (1,) * K, K - 1, c=c), c=[0.5, 2.0], K=[3, 4, 6])
    assert len(list(planes(table, "c", "K"))) == 1
    (line,) = curves(table, "c", "K")
    assert (line.law, line.x, line.y) == ("collapse", pytest.approx(1.0, rel=1e-12), None)
    # d = K - 1 holds everywhere, and is no line anywhere.
    seeds = grid(
        lambda K, seed: plain(("ce",), (1,) * K, K - 1, c=0.1, seed=seed), K=[3, 4, 5], seed=[0, 1]
    )
    assert laws(seeds, "K", "seed") == []


@pytest.mark.slow
def test_labels_tell_the_lines_apart():
    losses = [("ce",), ("ls", 0.1), ("ls", 0.2), ("mse",), ("focal", 3.0)]
    table = grid(
        lambda loss, c, K: plain(loss, (1,) * K, 40, c=c), loss=losses, c=[0.5, 2.0], K=[4, 30]
    )
    found = {curve.label: curve for curve in curves(table, "c", "d")}
    assert found["collapse to zero, ce, mse"].source == "CE-1, MSE-1"
    assert found["collapse to zero, ls(0.2)"].x == pytest.approx(0.8, rel=1e-12)
    one, other = (found[f"collapse to zero, focal(3), $K$ = {K}"].x for K in (4, 30))
    assert found["origin becomes a minimum, focal(3), $K$ = 30"].x < other != one
    # Alone there is nothing to tell.
    assert {curve.label for curve in curves(over_c_and_d(), "c", "d")} == {"collapse to zero"}


@pytest.mark.slow
def test_a_line_in_one_row_of_cells_stays_in_it():
    table = grid(
        lambda c, K: plain(("focal", 3.0), (1,) * K, K, c=c), c=[0.9, 1.2, 1.5], K=[4, 10, 20]
    )
    found = {curve.law: curve for curve in curves(table, "c", "K")}
    assert found["collapse"].y.tolist() == [4, 10, 20]
    # Only with 20 classes is there a window.
    assert found["window"].y.tolist() == [15, 25]
    assert found["window"].x == pytest.approx(np.full(2, 1.26292), abs=5e-6)
    assert found["collapse"].x[-1] == pytest.approx(1.26431, abs=5e-6)  # FL-3, the table


def test_a_line_between_numbers_of_classes_is_told_for_neighbours_alone():
    def found(decay, K):
        table = grid(
            lambda K, seed: plain(("ce",), (1,) * K, K, decays=(decay, decay), seed=seed),
            K=K,
            seed=[0, 1],
        )
        return [curve.x for curve in curves(table, "K", "seed")]

    # c = K lambda: between 10 and 11 classes, and somewhere between 4 and 20.
    (between,) = found(0.095, [9, 10, 11, 12])
    assert 10 < between < 11
    assert found(0.095, [3, 4, 20]) == []


def test_too_many_lines_of_a_loss_are_left_out():
    def found(count):
        table = grid(
            lambda x, c, d: plain(("ls", x), (1,) * 3, d, c=c),
            x=np.linspace(0.1, 0.3, count),
            c=[0.1, 2.0],
            d=[3, 4],
        )
        return len(curves(table, "c", "d"))

    assert (found(MOST_LINES), found(MOST_LINES + 1)) == (MOST_LINES, 0)


def test_rows_without_a_value_on_an_axis_have_no_plane():
    table = grid(
        lambda loss, c: plain(loss, (1,) * 3, 3, c=c), loss=[("ce",), ("ls", 0.1)], c=[0.1, 2.0]
    )
    assert [curve.source for curve in curves(table, "smoothing", "c")] == ["LS-1"]


def test_input():
    table = over_c_and_d()
    with pytest.raises(InputError, match="write 'lambda_W'"):
        curves(table, "lamda_W", "K")
    with pytest.raises(InputError, match="Need numbers in the column loss"):
        curves(table, "c", "loss")
    with pytest.raises(InputError, match="at least one row"):
        curves({name: values[:0] for name, values in table.items()}, "c", "d")
    with pytest.raises(InputError, match="Unknown column"):
        curves({name: v for name, v in table.items() if name != "lambda_b"}, "c", "d")
