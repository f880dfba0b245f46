"""The track of queries: what is asked, how it is searched, who is right, kills and bad input."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.figures import blank_figure
from experiments.networks.runs import DataRequest
from experiments.networks.tracks import queries, stepping
from experiments.networks.tracks.options import QueryOptions
from experiments.networks.tracks.queries import (
    AMBIENT,
    DATA,
    EXPLORED,
    GENERATED,
    PARTS,
    epoch_of,
    first_queries,
    image_teacher,
    start,
    synthetic_teacher,
    told,
)
from experiments.networks.tracks.teacher_guided import TeacherGuided, _draw, _slope
from experiments.networks.tracks.track import STOPPED, Cell, Result
from proofs_check.run import check_claim
from tests.helpers import slow

pytestmark = pytest.mark.xdist_group("networks")

COUNTS = (6, 9, 14)
OPTIONS = QueryOptions(
    seeds=1, manifolds="2:5", components=3, queries="6,9,14", real=7, steps=30, width=8
)
TRACK = TeacherGuided()


@pytest.fixture(scope="module")
def teacher():
    return synthetic_teacher(2, 5, 7, 0)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Numbers and series of some cells."""
    folder = tmp_path_factory.mktemp("tgt")
    wanted = [
        ("linear, k = 2", "generated, D = 5"),
        ("network, k = 2", "explored, D = 5"),
        ("images, k = 3", "generated"),
    ]
    cells = [cell for cell in TRACK.cells(OPTIONS) if (cell.case, cell.method) in wanted]
    return {cell: TRACK.measure(OPTIONS, cell, folder / cell.folder) for cell in cells}


def test_queries_come_from_where_they_are_said_to(teacher):
    made = {m: first_queries(teacher, m, COUNTS, 0) for m in queries.METHODS}
    assert all(x.shape == (3, 14, 5) for x in made.values())
    off = np.eye(5) - teacher.basis @ teacher.basis.T
    for method, on in ((GENERATED, True), (EXPLORED, True), (AMBIENT, False), (DATA, True)):
        assert (np.abs(made[method] @ off).max() < 1e-6) == on, method
    # Seven real inputs, which come again.
    assert np.array_equal(made[DATA][0, :7], made[DATA][0, 7:])
    assert np.array_equal(made[DATA][0, :7], teacher.real.astype(np.float32))
    lengths = [np.mean(np.sum(made[m] ** 2, axis=2)) for m in (GENERATED, AMBIENT)]
    # Of equal mean length: 2 each, over 42 vectors.
    assert lengths == pytest.approx([2, 2], abs=1)


def test_a_search_goes_up_the_objective_on_the_manifold_and_keeps_lengths(teacher):
    students = start(teacher, COUNTS, 8, 0)[0]
    _, searched, labelled, _ = queries._programs(teacher.label, False, 5)
    about = queries.about_of(teacher)
    z = np.random.default_rng(1).normal(size=(3, 14, 2)).astype(np.float32)
    x = np.asarray(searched(students, about, z))
    off = np.eye(5) - teacher.basis @ teacher.basis.T
    assert np.abs(x @ off).max() < 1e-5
    np.testing.assert_allclose(np.linalg.norm(x, axis=2), np.linalg.norm(z, axis=2), rtol=1e-4)

    def gap(x):
        said = queries.student_of(about[2], about[1])
        each = [
            said(_student(students, i), x[i].astype(np.float32)) - labelled(about[0], x[i])
            for i in range(3)
        ]
        return np.sum(np.square(np.array(each)), axis=2)

    before, after = gap(z @ np.asarray(about[3]).T), gap(x)
    assert after.mean() > 1.2 * before.mean()
    assert np.mean(after > before) > 0.8


def _student(students, place):
    return jax.tree.map(lambda leaf: leaf[place], students)


@pytest.mark.parametrize("method", [EXPLORED, slow(AMBIENT)])
def test_only_explored_queries_change_and_those_that_are_there_stay(teacher, method):
    both, x = start(teacher, COUNTS, 8, 0), first_queries(teacher, method, COUNTS, 0)
    part = epoch_of(OPTIONS, teacher, method, COUNTS, 0)
    state = both, x
    for number in range(2):
        state, record = part(state, number)
        assert len(record["loss"]) == 3
    changed = np.any(state[1] != x, axis=2)
    # A fifth was there in the first part; another came in in the second.
    fifths = [[round(n * share / 5) for share in (1, 2)] for n in COUNTS]
    for row, (first, second) in zip(changed, fifths, strict=True):
        assert row.tolist() == [method == EXPLORED and first <= i < second for i in range(len(row))]


def test_students_learn_of_what_they_are_told(teacher):
    counts, options = (6, 20, 60), replace(OPTIONS, steps=400)
    both, x = start(teacher, counts, 32, 0), first_queries(teacher, GENERATED, counts, 0)
    before = told(options, teacher, both[0])[0]
    state, part = (both, x), epoch_of(options, teacher, GENERATED, counts, 0)
    for number in range(PARTS):
        state, record = part(state, number)
    after, right = told(options, teacher, state[0][0])
    assert np.mean(record["loss"]) < 0.15
    assert after[-1] < 0.5 * before[-1]
    assert right == []


def test_the_decoder_of_images_is_that_of_principal_components():
    dataset = DataRequest("digits", 12).load()
    made = image_teacher(dataset, 3, 7, 0)
    X = dataset.train.images.reshape(len(dataset.train.labels), -1).astype(float)
    values = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    np.testing.assert_allclose(np.sum(made.basis**2, axis=0), values[:3], rtol=1e-9)
    assert made.spread**2 == pytest.approx(values.mean())
    assert made.real.shape == (7, 64)
    answers = np.argmax(queries._perceptron(made.weights, X.astype(np.float32)), axis=1)
    assert np.mean(answers == dataset.train.labels) > 0.95


def test_slopes_are_those_of_powers():
    found = _slope((2, 4, 8, 16), [3 * n**-1.5 for n in (2, 4, 8, 16)])
    assert found["slope"] == pytest.approx(-1.5)
    assert found["slope_high"] - found["slope_low"] < 1e-6
    noisy = _slope((2, 4, 8, 16), [1.0, 0.3, 0.4, 0.1])
    assert noisy["slope_low"] < noisy["slope"] - 0.2


def test_cells_say_what_they_should(measured):
    by_kind = {cell.case.split(",")[0]: made for cell, made in measured.items()}
    numbers, series = by_kind["linear"]
    assert numbers["off"] < 5 < numbers["off_otherwise"]
    assert numbers["last"] == pytest.approx(numbers["predicted"], rel=0.2)
    assert len(series["queries"]) >= 3
    assert by_kind["network"][1]["queries"] == [6, 9, 14]
    assert "accuracy" not in by_kind["network"][0]
    assert by_kind["images"][0]["teacher"] > 0.9
    for text, said, seen in TRACK.exact(OPTIONS):
        assert seen == pytest.approx(said, abs=0.03), text


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"steps": 36}, "network"),
        ({"learning_rate": 0.01}, "network"),
        ({"search": 2}, "network"),
        ({"queries": "6,9,15"}, "network"),
        ({"noise": 0.2}, "linear"),
        slow({"width": 9}, "network"),
        slow({"components": 4}, "images"),
        slow({"source": "mnist5k"}, "images"),
    ],
)
def test_options_change_numbers(measured, tmp_path, change, kind):
    options = replace(OPTIONS, **change)
    cell, (before, _) = next(x for x in measured.items() if x[0].case.startswith(kind))
    cell = replace(cell, case=f"images, k = {options.components}") if kind == "images" else cell
    assert TRACK.measure(options, cell, tmp_path)[0] != before


def test_real_inputs_are_as_many_as_were_asked_for(tmp_path):
    cell = Cell("network, k = 2", "real data, D = 5", 0)
    found = [TRACK.measure(replace(OPTIONS, real=n), cell, tmp_path / str(n))[0] for n in (6, 7)]
    assert found[0] != found[1]


def test_a_kill_between_parts_changes_nothing(measured, tmp_path, monkeypatch):
    cell, whole = next(x for x in measured.items() if x[0].case.startswith("network"))
    save, count = stepping.save_checkpoint, []

    def killed(*words):
        save(*words)
        count.append(words)
        if len(count) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(stepping, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        TRACK.measure(OPTIONS, cell, tmp_path)
    monkeypatch.setattr(stepping, "save_checkpoint", save)
    assert TRACK.measure(OPTIONS, cell, tmp_path) == whole


def test_claims_have_teeth():
    linear = Result(
        Cell("linear, k = 2", "generated, D = 5", 0), {"off": 2.0, "off_otherwise": 90.0}
    )
    searched, drawn = {"last": 0.1, "slope": -0.8}, {"last": 0.9, "slope": -0.1}
    cell = Cell("network, k = 2", "explored, D = 5", 0)

    def judged(numbers, k=2):
        named = replace(cell, case=f"network, k = {k}")
        made = Result(named, numbers, {}, {"ambient, D = 5": drawn})
        return [check_claim(claim) for claim in TRACK.claims([linear, made])]

    for outcome in judged(searched):
        assert (outcome.status.name, outcome.mutant_rejected) == ("VERIFIED", True), (
            outcome.claim.id
        )
    assert judged({**searched, "last": 0.8})[1].status.name == "COUNTEREXAMPLE"
    assert judged({**searched, "slope": -0.15})[2].status.name == "COUNTEREXAMPLE"
    # Of a manifold of nearly all dimensions nothing is claimed.
    assert judged({**searched, "last": 0.8}, k=4)[1].status.name == "NOT_APPLICABLE"
    off = Result(linear.cell, {"off": 6.0, "off_otherwise": 90.0})
    assert check_claim(TRACK.claims([off])[0]).status.name == "COUNTEREXAMPLE"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--manifolds 5:2", "Need --manifolds"),
        ("--manifolds 2:16,2:16", "Need --manifolds"),
        ("--manifolds 2:5000", "D <= 512"),
        ("--manifolds x", "Need --manifolds"),
        ("--queries 64,32,16", "Need --queries"),
        ("--queries 1,2", "Need --queries"),
        ("--steps 5", "steps"),
        ("--lr nan", "learning rate > 0"),
        ("--noise 0", "noise > 0"),
        ("--components 65", "Need --components <= 64"),
        ("--real 100000", "Need --real"),
        ("--search 0", "search"),
        ("--width 0", "width"),
        ("--data digitz", "write 'digits'"),
    ],
)
def test_bad_input_is_one_line(ufm, tmp_path, words, says):
    ran = ufm(f"track tgt {words} --out", tmp_path / "x")
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_training_that_diverges_is_said(tmp_path):
    cell = Cell("network, k = 2", "generated, D = 5", 0)
    numbers, _ = TRACK.measure(replace(OPTIONS, learning_rate=1e30), cell, tmp_path)
    assert set(numbers) == {STOPPED}


def test_names_lie_below_all_curves():
    """Also where the lowest curve begins at the left, where the names are."""
    series = {"queries": [32.0, 64.0, 512.0]}
    results = [
        Result(Cell("network, k = 2", f"{method}, D = 5", seed), {}, {**series, "risk": risk})
        for method in queries.METHODS
        for seed, risk in enumerate(([1e-3, 2e-3, 1.0], [3e-3, 1e-2, 0.5]))
    ]
    ax = _draw(results, "network, k = 2", "D = 5", blank_figure(4.0, 3.2).add_subplot())
    ax.figure.canvas.draw()
    lowest = min(float(line.get_window_extent().y0) for line in ax.lines)
    assert ax.get_legend().get_window_extent().y1 < lowest
