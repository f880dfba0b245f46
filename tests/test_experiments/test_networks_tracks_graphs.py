"""The track of graph networks: forward pass by hand, resuming, options, claims, and bad input."""

import itertools

import jax
import numpy as np
import pytest

from experiments.files import read_record, write_record
from experiments.networks.tracks import stepping
from experiments.networks.tracks.graph_cells import METHODS
from experiments.networks.tracks.graphs import Graphs
from experiments.networks.tracks.message_passing import (
    TEST,
    TRAIN,
    BlockModel,
    forward,
    initial_layers,
    initial_state,
    make_step,
    squared_error,
)
from experiments.networks.tracks.options import GraphOptions
from experiments.networks.tracks.stepping import finished, stepped
from experiments.networks.tracks.track import STOPPED, TRACK, Cell, Result, execute
from landscape import solve
from proofs_check.run import check_claim
from tests.helpers import slow
from ufm import InputError
from ufm.models.graph import graph_of
from ufm.models.graph_spectra import bethe_hessian, normalised_laplacian

pytestmark = pytest.mark.xdist_group("networks")

TINY = {
    "seeds": 1,
    "cases": "2:8:1",
    "nodes": 40,
    "graphs": 3,
    "tests": 2,
    "free": 2,
    "layers": 2,
    "width": 5,
    "epochs": 2,
}
CASE = BlockModel.parse("3:2:1", 12)


def cell(method):
    return Cell("2:8:1", method, 0)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Numbers and series of every method."""
    options, track = GraphOptions(**TINY), Graphs()
    folder = tmp_path_factory.mktemp("gnn")
    return {
        method: track.measure(options, cell(method), folder / method)
        for method in METHODS
        if not (folder / method).mkdir()
    }


def test_a_forward_pass_by_hand():
    """Node by node: neighbours' mean, ReLU, and every channel normalised over the graph."""
    network = initial_layers(3, 4, 2, True, 0)
    means, inputs = CASE.sample(0, TRAIN, 0, 4)
    assert means.sum(axis=0) == pytest.approx(np.ones(12), abs=1e-6)
    features, logits = forward(network, means, inputs)

    def layer(own, mean, H):
        out = np.zeros((len(own), 12))
        for i in range(12):
            neighbours = np.flatnonzero(means[:, i])
            out[:, i] = own @ H[:, i] + mean @ H[:, neighbours].mean(axis=1)
        return out

    def normalised(out):
        out = np.maximum(out, 0)
        centred = out - out.mean(axis=1, keepdims=True)
        return centred / np.sqrt(out.var(axis=1, keepdims=True) + 1e-5)

    H = normalised(layer(network.first.own, network.first.mean, inputs))
    told = [H]
    for own, mean in zip(network.hidden.own, network.hidden.mean, strict=True):
        H = normalised(layer(own, mean, H))
        told.append(H)
    assert np.asarray(features) == pytest.approx(np.array(told), abs=2e-4)
    assert np.asarray(logits) == pytest.approx(
        layer(network.last.own, network.last.mean, H), abs=2e-4
    )
    alone = initial_layers(3, 4, 2, False, 0)
    assert alone.hidden.own is None
    assert np.array_equal(alone.hidden.mean, network.hidden.mean)


def test_the_loss_does_not_mind_names():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 12)), CASE.labels
    least = min(
        np.sum((logits - np.eye(3)[:, np.array(names)[labels]]) ** 2) / 24
        for names in itertools.permutations(range(3))
    )
    assert float(squared_error(logits, 3, 4)) == pytest.approx(least, rel=1e-6)


def test_a_step_is_that_of_torch_with_momentum_and_decay():
    network = initial_layers(3, 4, 2, True, 0)
    step = make_step(3, 4, 0.1, 0.9, 0.03)
    sample = CASE.sample(0, TRAIN, 0, 4)

    @jax.jit
    @jax.value_and_grad
    def value_and_slope(network):
        return squared_error(forward(network, *sample)[1], 3, 4)

    once, loss = step(initial_state(network), *sample)
    twice, _ = step(once, *sample)
    value, slope = value_and_slope(network)
    assert float(loss) == pytest.approx(float(value), rel=1e-5)
    first = np.asarray(slope.hidden.mean) + 0.03 * np.asarray(network.hidden.mean)
    after = np.asarray(network.hidden.mean) - 0.1 * first
    assert np.asarray(once[0].hidden.mean) == pytest.approx(after, abs=1e-5)
    slope = value_and_slope(once[0])[1]
    second = np.asarray(slope.hidden.mean) + 0.03 * after + 0.9 * first
    assert np.asarray(twice[0].hidden.mean) == pytest.approx(after - 0.1 * second, abs=1e-5)


def test_graphs_differ_by_seed_split_and_number():
    drawn = [CASE.graph(*which)[0] for which in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert all(np.any(a != b) for a, b in itertools.combinations(drawn, 2))
    assert np.array_equal(drawn[0], CASE.graph(0, 0, 0)[0])
    rates = BlockModel.parse("2:30:5", 200).graph(0, TEST, 0)[0]
    inside = rates[:100, :100].sum() / 100, rates[100:, :100].sum() / 100
    assert inside == pytest.approx((30, 5), rel=0.1)


def test_every_method_says_what_it_should(measured):
    for method in ("gnn", "gnn-w2-only"):
        numbers, series = measured[method]
        assert len(series["loss"]) == 2
        assert len(series["nc1 after 2"]) == 3
        assert 0 <= numbers["overlap"] <= 1
    for method in ("free", "free-w2-only"):
        assert 0 <= measured[method][0]["gap"] < 1e-5
    assert measured["bethe-hessian"][0]["overlap"] > 0.5
    assert "overlap_steps" in measured["laplacian"][0]


@pytest.mark.slow
def test_free_features_are_the_best_of_their_graphs(measured):
    """W2 alone on two graphs costs what the graphs cost with one classifier: a convex bound."""
    case = BlockModel.parse("2:8:1", 40)
    graphs = [case.graph(0, TRAIN, number)[0] for number in range(2)]
    singles = [graph_of(A, (20, 20), 5, 5e-3, 5e-3) for A in graphs]
    apart = np.mean([solve(single, method="lbfgs", tolerance=1e-7).objective for single in singles])
    together = measured["free-w2-only"][0]["objective"]
    # One classifier serves both, so it is not better than two, and not by much on like graphs.
    assert apart - 1e-9 <= together <= apart + 0.02
    assert measured["free"][0]["objective"] < together


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("gnn", {"graphs": 4}),
        slow("gnn", {"layers": 3}),
        slow("gnn", {"width": 6}),
        ("gnn", {"epochs": 1}),
        ("gnn", {"learning_rate": 0.02}),
        ("gnn", {"weight_decay": 0.3}),
        ("gnn", {"tests": 1}),
        slow("free", {"free": 1}),
        ("free", {"decay": 6e-3}),
        ("laplacian", {"nodes": 44}),
    ],
)
def test_options_change_numbers(measured, method, change, tmp_path):
    options = GraphOptions(**{**TINY, **change})
    assert Graphs().measure(options, cell(method), tmp_path)[0] != measured[method][0]


def test_a_kill_between_epochs_changes_nothing(measured, tmp_path, monkeypatch):
    whole, saved = stepping.save_checkpoint, []

    def killed(*words):
        whole(*words)
        saved.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(stepping, "save_checkpoint", killed)
    options, track = GraphOptions(**TINY), Graphs()
    with pytest.raises(KeyboardInterrupt):
        track.measure(options, cell("gnn"), tmp_path)
    monkeypatch.setattr(stepping, "save_checkpoint", whole)
    assert saved == [1]
    assert track.measure(options, cell("gnn"), tmp_path) == measured["gnn"]


def test_epochs_stop_where_a_number_is_not_finite(tmp_path):
    made = iter([1.0, float("nan"), 2.0])
    records = stepped({}, 3, lambda s, k: (s, {"loss": [next(made)]}), tmp_path, "5eed")[1]
    assert len(records) == 2
    assert not finished(records, 3)


def result(method, rivals=(), **numbers):
    return Result(Cell("2:8:1", method, 0), numbers, {}, dict(rivals))


def test_claims_have_teeth():
    other = {"free-w2-only": {"nc1": 0.1}}
    good = [
        result("gnn", nc1=0.01, nc1_first=4.0),
        result("free", other, nc1=0.01),
        result("laplacian", overlap=1.0, overlap_steps=0.2),
    ]
    bad = [
        result("gnn", nc1=4.0, nc1_first=0.01),
        result("free", other, nc1=0.3),
        result("laplacian", overlap=0.2, overlap_steps=1.0),
    ]
    assert len(Graphs().claims(good)) == 3
    for claim in Graphs().claims(good):
        outcome = check_claim(claim)
        assert (outcome.status.name, outcome.mutant_rejected) == ("VERIFIED", True), claim.id
    for claim in Graphs().claims(bad):
        assert check_claim(claim).status.name == "COUNTEREXAMPLE", claim.id


def test_exact_statements_agree():
    for text, said, seen in Graphs().exact(GraphOptions()):
        assert seen == pytest.approx(said, abs=1e-9), text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--cases x", "Need --cases"),
        ("--cases 2:8:1,2:8:1", "Need --cases"),
        ("--cases 1:8:1", "classes"),
        ("--cases 0:8:1", "Need --cases"),
        ("--cases 3:8:1 --nodes 40", "use 39"),
        ("--cases 2:80:1 --nodes 40", "Need mean numbers"),
        ("--cases 2:nan:1", "Need mean numbers"),
        ("--graphs 0", "graphs"),
        ("--test-graphs 0", "test-graphs"),
        ("--free-graphs 0", "free-graphs"),
        ("--layers 0", "layers"),
        ("--width 0", "width"),
        ("--epochs 0", "epochs"),
        ("--lr nan", "learning rate"),
        ("--weight-decay -1", "weight decay"),
        ("--lambda 0", "lambda"),
        ("--cases 2:0:0", "isolated"),
        ("--methods gnn,laplace", "write 'laplacian'"),
        ("--methods free,free", "Need every method once"),
    ],
)
def test_bad_input_is_one_line(ufm, tmp_path, words, says):
    ran = ufm(f"track gnn {words} --workers 1 --out", tmp_path / "x")
    assert ran.code == 2, ran.err
    assert says in ran.err
    assert len([line for line in ran.err.strip().splitlines() if "Measuring" not in line]) == 1


def test_methods_that_are_not_named_are_not_measured(ufm, tmp_path):
    """Eigenvectors alone, whose folder has neither networks nor their figures."""
    words = "track gnn --cases 2:8:1 --nodes 40 --graphs 1 --test-graphs 2 --seeds 1 --workers 1"
    ran = ufm(f"{words} --methods laplacian,bethe-hessian --json --out", tmp_path / "gnn")
    assert ran.code == 0, ran.err
    cells = ran.json["cells"]
    assert [one["method"] for one in cells] == ["laplacian", "bethe-hessian"]
    assert [path.stem for path in (tmp_path / "gnn" / "figures").glob("*.svg")] == ["methods"]
    status = {claim["id"]: claim["status"] for claim in ran.json["claims"]}
    assert status["graph-networks-collapse-by-depth"] == "NOT_APPLICABLE"
    for one, build in zip(cells, (normalised_laplacian, bethe_hessian), strict=True):
        graphs = [BlockModel.parse("2:8:1", 40).graph(0, TEST, number)[0] for number in range(2)]
        spectra = [np.linalg.eigvalsh(build(A)) for A in graphs]
        gains = [
            (np.linalg.norm(x) - x[1]) / (np.linalg.norm(x) - x[2]) for x in spectra
        ]  # |M|_F from the eigenvalues
        told = one["numbers"]
        assert told["negative"] == np.mean([np.sum(x < -1e-9) for x in spectra])
        assert told["growth"] == pytest.approx(np.mean(gains), rel=1e-12)
        assert told["growth_steps"] == pytest.approx(np.mean(np.power(gains, 32)), rel=1e-10)
        # The difference of the mean numbers of neighbours squared, over their sum.
        assert told["signal_to_noise"] == pytest.approx((8 - 1) ** 2 / 9, rel=1e-12)
        margin = (np.sqrt(8) - 1) / np.sqrt(np.log(40))
        assert told["recovery_signal"] == pytest.approx(margin, rel=1e-12)


def test_a_folder_from_before_an_option_was_there_goes_on(tmp_path):
    options = GraphOptions(**TINY, methods="laplacian")
    assert len(execute("gnn", options, tmp_path)) == 1
    about = read_record(tmp_path / TRACK)
    del about["options"]["layers"]
    write_record(tmp_path / TRACK, about)
    with pytest.raises(InputError, match="another layers"):
        execute("gnn", options, tmp_path)
    usual = GraphOptions(**{**TINY, "layers": GraphOptions().layers}, methods="laplacian")
    assert len(execute("gnn", usual, tmp_path)) == 1


@pytest.mark.slow
def test_from_the_command_line_to_a_page(ufm, tmp_path):
    words = "track gnn --cases 2:8:1,3:12:1 --nodes 60 --graphs 3 --test-graphs 2 --layers 2"
    words += " --epochs 2 --free-graphs 1 --seeds 1 --workers 1 --json --out"
    ran = ufm(words, tmp_path / "gnn")
    assert ran.code == 0, ran.err
    assert len(ran.json["cells"]) == 2 * len(METHODS)
    page = (tmp_path / "gnn" / "index.html").read_text()
    assert "GU-7" in page
    for name in ("layers-0", "layers-1", "methods"):
        assert (tmp_path / "gnn" / "figures" / f"{name}.svg").exists()


def test_a_training_that_diverges_is_said(tmp_path):
    options = GraphOptions(**{**TINY, "learning_rate": 1e30})
    numbers, _ = Graphs().measure(options, cell("gnn"), tmp_path)
    assert set(numbers) == {STOPPED}
