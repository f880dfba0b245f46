"""Comparisons: pairing, tables, tests of differences, claims with mutants, and the pages."""

import dataclasses
import sys

import numpy as np
import pytest

from experiments.networks.architectures import Architecture
from experiments.networks.comparison import (
    LossSpec,
    Plan,
    Row,
    contrasts,
    execute,
    read_loss_spec,
    rows,
    summaries,
)
from experiments.networks.comparison.claims import network_claims
from experiments.networks.comparison.curves import curves
from experiments.networks.comparison.execute import _held as accepting
from experiments.networks.comparison.likeness import likeness
from experiments.networks.comparison.page import described, write_page
from experiments.networks.comparison.pictures import layers
from experiments.networks.comparison.table import holm, matrix, statement
from experiments.networks.runs import DataRequest, prediction_of, read_run
from experiments.networks.training import EpochRecord, FeatureDecay, Outcome, TrainSettings
from proofs_check.claim import Status
from proofs_check.run import check_claim
from tests.drawing import panel
from ufm import InputError

# One process performs the runs that most of these tests look at.
pytestmark = pytest.mark.xdist_group("comparison")

# Imported by a worker process it ends it.
KILLER = """
import os, sys
if os.path.basename(sys.argv[0]) == "pool.py":
    os._exit(0)
import jax

def hot(z, k):
    return jax.nn.logsumexp(z) - z[k]
"""
DATA = DataRequest(per_class=6)
SETTINGS = TrainSettings(
    architecture=Architecture("mlp", width=1.0, depth=1),
    d=12,
    epochs=8,
    batch_size=20,
    learning_rate=0.1,
    max_gradient_norm=1.0,
    decay=FeatureDecay(0.02, 1e-3),
)
LOSSES = (LossSpec("ce"), LossSpec("mse"))
PLAN = Plan(DATA, SETTINGS, LOSSES, (1 / 8, 1 / 4), (0, 1))


@pytest.fixture(scope="module")
def performed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    told = []
    cells = PLAN.cells
    runs, failures = execute(cells, folder, say=lambda done, total: told.append((done, total)))
    assert failures == ()
    assert told == [(done, 8) for done in range(9)]
    return folder, cells, runs


def test_cells_are_paired_and_runs_do_not_depend_on_the_rest(performed):
    folder, cells, runs = performed
    assert [(c.loss.label, c.width, c.seed) for c in cells[:5]] == [
        ("ce", 1 / 8, 0),
        ("mse", 1 / 8, 0),
        ("ce", 1 / 4, 0),
        ("mse", 1 / 4, 0),
        ("ce", 1 / 8, 1),
    ]
    alone = Plan(DATA, SETTINGS, LOSSES[1:], (1 / 4,), (1,)).cells[0]
    twin = next(c for c in cells if c.folder == alone.folder)
    assert (twin.loss.label, twin.width, twin.seed) == ("mse", 1 / 4, 1)
    assert len({c.folder for c in cells}) == 8
    # Seeds, widths and losses are heard.
    accuracies = [run.final["test_loss"] for run in runs.values()]
    assert len(set(accuracies)) == 8
    assert read_run(folder / cells[0].folder).final == runs[cells[0]].final


def test_what_is_done_is_not_done_again(performed, monkeypatch):
    folder, cells, runs = performed
    module = sys.modules["experiments.networks.comparison.execute"]
    monkeypatch.setattr(module, "_perform", lambda *_: pytest.fail("again"))
    again, _ = execute(cells, folder)
    assert [run.final for run in again.values()] == [run.final for run in runs.values()]


def test_a_failure_is_told_and_stops_nobody(tmp_path):
    too_large = dataclasses.replace(SETTINGS, batch_size=1000)
    cells = (
        *Plan(DATA, too_large, LOSSES[:1], (1 / 8,)).cells,
        *Plan(DATA, SETTINGS, LOSSES[:1], (1 / 8,)).cells,
    )
    runs, failures = execute(cells, tmp_path)
    assert [failure.cell for failure in failures] == [cells[0]]
    assert "batch_size" in failures[0].message
    assert list(runs) == [cells[1]]
    with pytest.raises(InputError, match="Need runs that can be performed"):
        execute(cells[:1], tmp_path / "alone")
    with pytest.raises(InputError, match="data set"):
        execute(Plan(DataRequest("digitz")).cells, tmp_path)


@pytest.mark.slow
def test_a_folder_is_that_of_one_comparison(performed, tmp_path):
    folder, cells, runs = performed
    more = Plan(DATA, SETTINGS, (*LOSSES, LossSpec("focal")), (1 / 2,), (7,)).cells
    with accepting(folder, more):  # other objectives, widths and seeds may be added
        pass
    fewer, epochs = DataRequest(per_class=5), dataclasses.replace(SETTINGS, epochs=9)
    for plan, says in (
        (Plan(fewer, SETTINGS), "another data"),
        (Plan(DATA, epochs), "another epochs"),
        (Plan(DATA, SETTINGS, measure_every=3), "another measure_every"),
    ):
        before = sorted(folder.iterdir())
        with pytest.raises(InputError, match=says):
            execute(plan.cells, folder)
        assert sorted(folder.iterdir()) == before
    assert read_run(folder / cells[0].folder).final == runs[cells[0]].final


def test_two_comparisons_do_not_share_a_folder(tmp_path):
    """The second is refused before it has written anything."""
    with accepting(tmp_path, PLAN.cells):
        before = sorted(tmp_path.iterdir())
        with pytest.raises(InputError, match="Only one comparison at a time"):
            execute(PLAN.cells, tmp_path)
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_a_run_that_kills_its_process_is_told_and_stops_nobody(tmp_path):
    """As running out of memory would; and the same command goes on from there."""
    file = tmp_path / "killer.py"
    file.write_text(KILLER)
    losses = (LossSpec("ce"), LossSpec(f"{file}:hot"), LossSpec("mse"))
    cells = Plan(DATA, SETTINGS, losses, (1 / 8,)).cells
    runs, failures = execute(cells, tmp_path / "c", workers=2)
    assert [cell.loss.name for cell in runs] == ["ce", "mse"]
    assert [failure.cell for failure in failures] == [cells[1]]
    assert "exit code 0" in failures[0].message
    runs, failures = execute(cells, tmp_path / "c")
    assert (len(runs), failures) == (3, ())


@pytest.mark.slow
def test_processes_do_not_change_a_run(performed, tmp_path):
    _, cells, runs = performed
    spread, _ = execute(cells[:4], tmp_path, workers=2)
    assert [run.records for run in spread.values()] == [runs[c].records for c in cells[:4]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "name of an objective"),
        ("focla", "write 'focal'"),
        ("focal gamma", "NAME=VALUE"),
        ("focal gamma=x", "NAME=VALUE"),
        ("focal smoothing=0.1", "parameter of focal"),
        ("ls smoothing=2", "smoothing|delta"),
    ],
)
def test_bad_objectives(text, says):
    with pytest.raises(InputError, match=says):
        read_loss_spec(text)


def test_bad_plans():
    for given in ({"losses": ()}, {"widths": (1.0, 1.0)}, {"seeds": ()}):
        with pytest.raises(InputError, match="Need at least one"):
            Plan(**given)
    with pytest.raises(InputError, match="seed"):
        Plan(seeds=(-1,))


# ---- tables


def table(shift, num=6, noise=0.0):
    rng = np.random.default_rng(0)
    return [
        Row(loss, width, seed, Outcome.COMPLETED, {"a": 0.9 + by + noise * rng.standard_normal()})
        for loss, by in (("ce", 0.0), ("mse", shift))
        for width in (0.5, 1.0)
        for seed in range(num)
    ]


def test_runs_that_stopped_are_in_no_mean_and_are_counted():
    made = [*table(0.0, 2), Row("ce", 0.5, 7, Outcome.NOT_FINITE, {"a": -5.0})]
    found = next(s for s in summaries(made, ["a"]) if (s.loss, s.width) == ("ce", 0.5))
    assert (found.mean, found.num, found.num_runs) == (pytest.approx(0.9), 2, 3)
    losses, widths, values = matrix(summaries(made, ["a"]), "a")
    assert (losses, widths, values.shape) == (["ce", "mse"], [0.5, 1.0], (2, 2))
    with pytest.raises(InputError, match="number of the table"):
        matrix(summaries(made, ["a"]), "b")


def test_a_difference_is_seen_and_none_is_not():
    alike, apart = contrasts(table(0.0, noise=0.01), "a"), contrasts(table(-0.05, noise=0.01), "a")
    assert alike[0].num == apart[0].num == 12
    assert alike[0].adjusted > 0.05 > apart[0].adjusted == 2.0**-11
    assert "None of 1 pairs" in statement(alike, "a")
    assert "1 of 1 pairs of objectives differ significantly in a" in statement(apart, "a")
    few = contrasts(table(-0.05, num=1), "a")
    assert "could not have told" in statement(few, "a")
    many = contrasts(table(-0.05, num=15, noise=0.01), "a")
    assert many[0].num == 30
    assert many[0].p_value < 1e-4
    assert contrasts(table(0.0, num=15, noise=0.01), "a")[0].p_value > 0.05


def test_holm_by_its_definition():
    rng = np.random.default_rng(1)
    p = rng.random(7)
    for level in (0.05, 0.2, 0.5):
        # Step down: reject while the i-th smallest is at most level / (m - i).
        rejected = set()
        for i, index in enumerate(np.argsort(p)):
            if p[index] > level / (len(p) - i):
                break
            rejected.add(int(index))
        assert {i for i, q in enumerate(holm(p.tolist())) if q <= level} == rejected


def test_likeness_compares_other_seeds_only(performed):
    _, _, runs = performed
    found = likeness(runs, 1 / 4)
    assert found.losses == ("ce", "mse")
    assert found.pairs.tolist() == [[1, 2], [2, 1]]
    guesses = {
        (c.loss.label, c.seed): r.assessment.answers["guesses"]
        for c, r in runs.items()
        if c.width == 1 / 4
    }
    assert found.agreement[0, 0] == np.mean(guesses["ce", 0] == guesses["ce", 1])
    across = [guesses["ce", s] == guesses["mse", 1 - s] for s in (0, 1)]
    assert found.agreement[0, 1] == found.agreement[1, 0] == pytest.approx(np.mean(across))
    assert np.all(np.abs(found.cka) <= 1)


# ---- what the runs show


def with_curve(run, falls, accuracy=0.98):
    """The run with a curve in which every convention falls by a factor, train error zero at 2."""
    names = ("nc1_geo", "nc1_phd", "nc1_ratio", "cdnv_mean", "nc2_rwu", "nc3_geo", "nc3_phd")
    records = []
    for epoch in range(1, 9):
        numbers = {name: 0.5 * falls.get(name, falls["all"]) ** -(epoch - 2) for name in names}
        fit = {"train_accuracy": 1.0 if epoch > 1 else 0.9, "test_accuracy": accuracy}
        last = run.records[-1].measures
        records.append(EpochRecord(epoch, 0.1, 1.0, 1.0, 1.0, measures={**last, **numbers, **fit}))
    return dataclasses.replace(run, records=tuple(records))


def answers(runs):
    return {claim.id: check_claim(claim) for claim in network_claims(runs)}


def test_claims_about_curves(performed):
    _, _, runs = performed
    collapsed = {cell: with_curve(run, {"all": 6.0}) for cell, run in runs.items()}
    found = answers(collapsed)
    for name in ("network-collapse", "network-conventions"):
        assert found[name].status is Status.VERIFIED, name
        assert found[name].mutant_rejected
        assert found[name].tier == "E"
        assert found[name].evidence == "what was seen"
    cell = list(runs)[3]
    for claim, falls in (
        ("network-collapse", {"all": 1.2}),
        ("network-conventions", {"all": 6.0, "nc3_phd": 0.9}),
    ):
        bad = answers({**collapsed, cell: with_curve(runs[cell], falls)})[claim]
        assert bad.status is Status.COUNTEREXAMPLE
        assert bad.counterexample == "mse, width 0.25, seed 0"


def with_accuracies(runs, behind, seeds=8):
    """Runs of many seeds, MSE behind by some points, with a little chance in every pair."""
    made = {}
    for cell, run in runs.items():
        if cell.seed == 0:
            for seed in range(seeds):
                chance = 1e-3 * (-1) ** seed * (cell.loss.label == "mse")
                shift = behind if cell.loss.label == "mse" else 0.0
                one = dataclasses.replace(cell, seed=seed)
                made[one] = with_curve(run, {"all": 6.0}, 0.98 - shift + chance)
    return made


@pytest.mark.slow
def test_the_claim_about_accuracy_and_the_sentence_never_disagree(performed):
    """A lag is one that the test of the sentence tells from chance, and of more than 2 points."""
    _, _, runs = performed
    for behind, status, differ in (
        (0.0, Status.VERIFIED, False),
        (0.015, Status.VERIFIED, True),
        (0.03, Status.COUNTEREXAMPLE, True),
    ):
        made = with_accuracies(runs, behind)
        found = answers(made)["network-accuracy"]
        said = statement(contrasts(rows(made), "test_accuracy"), "test accuracy")
        assert found.status is status
        assert ("1 of 1 pairs of objectives differ" in said) is differ
    assert found.counterexample.startswith("mse")
    assert answers(with_accuracies(runs, 0.0))["network-accuracy"].mutant_rejected
    # Five pairs cannot tell: then nothing is claimed, however far behind.
    few = {c: r for c, r in with_accuracies(runs, 0.3, 5).items() if c.width == 1 / 4}
    assert answers(few)["network-accuracy"].status is Status.NOT_APPLICABLE
    assert "run more seeds" in statement(contrasts(rows(few), "test_accuracy"), "test accuracy")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "digits, 60 train images of 10 classes, balanced"),
        ({"noise": 0.4, "seed": 3}, "40 % of the train labels wrong (symmetric, seed 3)"),
        ({"random_labels": True}, "train labels permuted (seed 0)"),
        ({"imbalance": 3.0}, "exponential imbalance 3"),
    ],
)
def test_pages_say_what_was_done_to_the_data(performed, changes, says):
    _, cells, runs = performed
    run = runs[cells[0]]
    data = dataclasses.replace(run.request.data, **changes)
    request = dataclasses.replace(run.request, data=data)
    counts = (9, 7, 5, 3) if "imbalance" in changes else run.counts
    told = described(dataclasses.replace(run, request=request, counts=counts))
    assert says in told["Data"]
    assert ("9 to 3 of a class" in told["Data"]) == ("imbalance" in changes)
    assert told["Precision"].startswith("trained in float32")


def test_layers_of_every_objective_are_drawn(performed):
    _, cells, runs = performed
    one = runs[cells[0]]
    labels = ("ce", "ls smoothing=0.05", "ls smoothing=0.1", "mse", "sigmoid")
    made = {dataclasses.replace(cells[0], loss=read_loss_spec(text)): one for text in labels}
    shown = layers(made)
    assert len({one.alt for one in shown.panels}) == len({one.source for one in shown.panels}) == 5


def test_claims_about_theory_and_features(performed):
    _, _, runs = performed
    found = answers(runs)
    assert found["network-norms"].status is Status.COUNTEREXAMPLE  # eight epochs are too few
    assert found["network-norms"].instances == 8
    twins = {}
    for cell, run in runs.items():
        same = next(r for c, r in runs.items() if c.width == cell.width).assessment
        twins[cell] = dataclasses.replace(run, assessment=same)
    alike = answers(twins)["network-features"]
    assert (alike.status, alike.mutant_rejected) == (Status.VERIFIED, True)
    alone = {c: run for c, run in runs.items() if c.loss.label == "ce" and c.seed == 0}
    assert answers(alone)["network-features"].status is Status.NOT_APPLICABLE


def test_a_run_at_the_minimum_of_its_model_is_seen(performed):
    """Numbers of the closed form in place of those of the network."""
    _, _, runs = performed
    ideal = {}
    for cell, run in runs.items():
        best = prediction_of(run.request.settings, run.counts, (1.0, 1.0))
        numbers = {
            **run.records[-1].measures,
            "square_W": best.W_squared,
            "square_H": best.H_squared,
            "logit_gap": best.gap,
        }
        last = dataclasses.replace(run.records[-1], measures=numbers)
        ideal[cell] = dataclasses.replace(run, records=(*run.records[:-1], last))
    found = answers(ideal)["network-norms"]
    assert found.status is Status.VERIFIED
    assert found.worst_error < 1e-20
    assert found.mutant_rejected


# ---- pages and figures


@pytest.mark.slow
def test_the_page_has_every_run(performed, tmp_path):
    _, cells, runs = performed
    stopped = dataclasses.replace(
        runs[cells[0]], outcome=Outcome.NOT_FINITE, assessment=None, records=()
    )
    page = write_page({**runs, cells[0]: stopped}, (), tmp_path).read_text()
    assert page.count('<tr><th scope="row">mse</th>') == 2 + 4
    assert "Stopped, because a number was no longer finite:</strong> ce, width 0.125" in page
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"errors.svg", "nc1.png", "theory.svg", "heat.svg", "likeness.png"} <= names
    assert "http" not in page.replace("http://www.w3.org", "")


def test_an_exact_law_stands_on_its_line_as_dots(performed):
    _, _, runs = performed
    run = with_curve(next(iter(runs.values())), {"all": 1.1})
    plain = {"nc0": 0.5}
    for law, ends in (({"nc0_law": 0.1}, "log"), ({"nc0_law": 0.4}, "linear"), ({}, "linear")):
        records = tuple(
            dataclasses.replace(record, measures={**plain, **(law if record.epoch < 6 else {})})
            for record in run.records
        )
        member = dataclasses.replace(run, records=records)
        ax = curves({"ce": [member], "ls": [member]}, "nc0", panel())
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert [line.get_ydata()[0] for line in dots] == 2 * list(law.values())
        assert all(len(line.get_xdata()) == 5 for line in dots)
        wanted = ["ce", "ls", *(["exact law"] if law else [])]
        assert ax.get_legend_handles_labels()[1] == wanted
        assert ax.get_yscale() == ends


def test_a_curve_has_a_band_from_least_to_most(performed):
    _, _, runs = performed
    members = [run for cell, run in runs.items() if cell.loss.label == "ce" and cell.width == 1 / 4]
    ax = curves({"ce": members}, "test_error", panel())
    (line,) = ax.lines
    finals = [1 - run.final["test_accuracy"] for run in members]
    assert line.get_ydata()[-1] == pytest.approx(np.median(finals))
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() >= max(finals)
    assert curves({"ce": members}, "nc1_geo", panel()).get_yscale() == "log"
    with pytest.raises(InputError, match="some run has measured"):
        curves({"ce": members}, "path_distance", panel())
