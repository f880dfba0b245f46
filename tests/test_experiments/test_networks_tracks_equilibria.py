"""The track of equilibrium layers: the implicit solve, its slopes, the minimum, and bad input."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from experiments.networks.tracks import equilibrium_cells, stepping
from experiments.networks.tracks.equilibria import Equilibria
from experiments.networks.tracks.equilibrium_cells import (
    Decays,
    _eigenvalue,
    adam,
    make_step,
    model_for,
    own_of_model,
)
from experiments.networks.tracks.equilibrium_layer import (
    Sizes,
    contracted,
    equilibrium,
    initial_network,
    require_contraction,
)
from experiments.networks.tracks.options import EquilibriumOptions
from experiments.networks.tracks.track import STOPPED, Cell, Result
from proofs_check.run import check_claim
from tests.helpers import slow
from ufm import MSE, InputError
from ufm.models.equilibrium import equilibrium as model_of

pytestmark = pytest.mark.xdist_group("networks")

TINY = {
    "seeds": 1,
    "per_class": 8,
    "ratios": "2",
    "d": 11,
    "hidden": 13,
    "epochs": 3,
    "batch_size": 12,
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Numbers and series of every method."""
    options, track, folder = (
        EquilibriumOptions(**TINY),
        Equilibria(),
        tmp_path_factory.mktemp("deq"),
    )
    return {
        cell.method: track.measure(options, cell, folder / cell.method)
        for cell in track.cells(options)
        if not (folder / cell.method).mkdir()
    }


def layer(seed=0, N=5, d=4, size=0.8):
    """V (d, d) of a given norm and x (N, d), float64."""
    rng = np.random.default_rng(seed)
    V = rng.normal(size=(d, d))
    return jnp.asarray(size * V / np.linalg.norm(V, 2)), jnp.asarray(rng.normal(size=(N, d)))


@pytest.mark.parametrize("relu", [False, True])
def test_the_equilibrium_and_its_slopes_are_those_of_unrolling(relu):
    """Two hundred steps, differentiated through; 0.8^200 is 4e-20."""
    V, x = layer()

    def unrolled(V, x):
        def once(h, _):
            h = h @ V.T + x
            return (jax.nn.relu(h) if relu else h), None

        return jax.lax.scan(once, jnp.zeros_like(x), length=200)[0]

    weights = jnp.asarray(np.random.default_rng(1).normal(size=x.shape))
    found = equilibrium(V, x, relu)
    # The iteration stops at 1e-6; |V| / (1 - |V|) is 4.
    assert np.asarray(found) == pytest.approx(np.asarray(unrolled(V, x)), abs=5e-6)

    def slopes_of(layer):
        return jax.grad(lambda V, x: jnp.sum(weights * layer(V, x) ** 2), argnums=(0, 1))

    layers = (lambda V, x: equilibrium(V, x, relu), unrolled)
    slopes = [jax.jit(slopes_of(layer))(V, x) for layer in layers]
    for implicit, explicit in zip(*slopes, strict=True):
        scale = float(jnp.abs(explicit).max())
        assert np.asarray(implicit) == pytest.approx(np.asarray(explicit), abs=3e-5 * scale)
        assert np.abs(np.asarray(implicit)).max() > 0.1
    if not relu:
        solved = np.linalg.solve(np.eye(4) - np.asarray(V), np.asarray(x).T).T
        assert np.asarray(found) == pytest.approx(solved, abs=5e-6)


def test_a_layer_without_an_equilibrium_is_refused():
    V = 1.26 * layer()[0]
    require_contraction(0.99 * V)
    with pytest.raises(InputError, match=r"Need \|V\| < 1"):
        require_contraction(V)
    with pytest.raises(InputError, match=r"Need \|V\| < 1"):
        require_contraction(np.full((2, 2), np.nan))


def test_cutting_singular_values_leaves_smaller_ones():
    V = layer()[0]
    cut = np.asarray(contracted(V, 0.3))
    left, values, right = np.linalg.svd(np.asarray(V))
    assert cut == pytest.approx((left * np.minimum(values, 0.3)) @ right, abs=1e-12)
    assert np.asarray(contracted(V, 0.9)) == pytest.approx(np.asarray(V), abs=1e-12)


@pytest.mark.parametrize("kind", ["relu", slow("linear"), slow("explicit")])
def test_the_objective_is_that_of_the_model(kind):
    """By hand in float64, N/B samples' decay for a batch; a step reports it before it moves."""
    network = initial_network(Sizes(6, 7, 5, 3), kind, 0)
    network = dataclasses.replace(network, V=3 * network.V)
    rng = np.random.default_rng(2)
    images, labels = rng.normal(size=(4, 2, 3, 1)).astype(np.float32), np.array([0, 1, 2, 1])
    x = np.asarray(network.body(jnp.asarray(images), (), training=True)[0], np.float64)
    V, W = np.asarray(network.V, np.float64), np.asarray(network.W, np.float64)
    h = np.zeros_like(x)
    for _ in range(2 if kind == "explicit" else 200):
        h = h @ V.T + x
        h = h if kind == "linear" else np.maximum(h, 0)
    for loss in ("mse", "ce"):
        step = make_step(loss, Decays(0.3, 0.5, 0.07), 20, 0.95)
        logits = h @ W.T
        each = np.sum((logits - np.eye(3)[labels]) ** 2, axis=1) / 2
        if loss == "ce":
            each = np.log(np.sum(np.exp(logits), axis=1)) - logits[range(4), labels]
        value = each.mean() + 0.15 * np.sum(W**2) + 0.25 * np.sum(V**2)
        value += 0.035 * 20 / 4 * np.sum(x**2)
        _, told = step((network, adam().init(network)), images, labels, np.float32(0.01))
        assert float(told) == pytest.approx(value, rel=1e-5)


def test_the_layer_is_cut_after_every_step():
    network = initial_network(Sizes(6, 7, 5, 3), "relu", 0)
    rng = np.random.default_rng(2)
    images, labels = rng.normal(size=(4, 2, 3, 1)).astype(np.float32), np.array([0, 1, 2, 1])
    for bound in (0.95, 0.4):
        state = network, adam().init(network)
        step = make_step("mse", Decays(0.01, 1e-4, 0.01), 4, bound)
        for _ in range(3):
            state, _ = step(state, images, labels, np.float32(1.0))
        size = np.linalg.norm(np.asarray(state[0].V), 2)
        assert size == pytest.approx(bound, abs=1e-5)


def test_every_method_says_what_it_should(measured):
    for method, (numbers, series) in measured.items():
        assert len(series["objective"]) == 3
        assert len(series["eigenvalues"]) == 11
        assert 0 <= numbers["minority_accuracy"] <= 1
        assert ("infimum" in numbers) == (method != "explicit")
    assert measured["relu"][0]["size"] < 1
    assert measured["relu"][0]["cut"] == 0


@pytest.mark.parametrize(
    "change",
    [
        slow({"per_class": 9}),
        {"ratios": "3"},
        slow({"loss": "ce"}),
        slow({"c": 0.36}),
        slow({"layer_decay": 0.71}),
        slow({"d": 12}),
        slow({"hidden": 14}),
        {"epochs": 2},
        slow({"batch_size": 11}),
        slow({"learning_rate": 0.01}),
        {"bound": 0.05},
    ],
)
def test_options_change_numbers(measured, change, tmp_path):
    options = EquilibriumOptions(**{**TINY, **change})
    cell = next(c for c in Equilibria().cells(options) if c.method == "linear")
    assert Equilibria().measure(options, cell, tmp_path)[0] != measured["linear"][0]


def test_a_kill_between_epochs_changes_nothing(measured, tmp_path, monkeypatch):
    options, track = EquilibriumOptions(**TINY), Equilibria()
    cell = next(c for c in track.cells(options) if c.method == "relu")
    monkeypatch.setattr(equilibrium_cells, "EVERY", 2)
    whole = stepping.save_checkpoint

    def killed(*words):
        whole(*words)
        raise KeyboardInterrupt

    monkeypatch.setattr(stepping, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        track.measure(options, cell, tmp_path)
    monkeypatch.setattr(stepping, "save_checkpoint", whole)
    assert track.measure(options, cell, tmp_path)[0] == measured["relu"][0]


def test_own_logits_of_the_model_are_firm_thresholding():
    """(1 - c sqrt(R))_+ / (1 - c^2 / m), whatever the number of classes (DQ-2)."""
    options = EquilibriumOptions(c=0.3, layer_decay=0.5, d=12)
    for ratio in (1.0, 4.0, 10.0, 12.0):
        large, small = own_of_model(options, ratio)
        amplified = 1 - 0.3**2 / 0.5
        assert large == pytest.approx(0.7 / amplified, abs=1e-5)
        assert small == pytest.approx(max(0, 1 - 0.3 * math.sqrt(ratio)) / amplified, abs=1e-5)
    assert math.isnan(own_of_model(dataclasses.replace(options, loss="ce"), 2.0)[0])
    model = model_for(options, (6, 6, 3))
    assert 15 * model.sigma / math.sqrt(6) == pytest.approx(0.3, rel=1e-12)
    assert 15 * float(model.lambda_V) / 6 == pytest.approx(0.5, rel=1e-12)


@pytest.mark.slow
def test_free_inputs_of_a_relu_end_at_the_minimum_of_the_linear_model():
    """Descents through 120 unrolled steps: a non-negative frame costs squared error nothing."""
    K, d, n, c, m = 4, 6, 3, 0.35, 0.7
    N, sigma = K * n, c / (K * np.sqrt(n))
    decays = c / K, m / K, sigma**2 / (c / K)
    least = model_of(MSE(), K, d, n, *decays).minimiser().value
    Y, cuts = np.repeat(np.eye(K), n, axis=1), np.cumsum([K * d, d * d])

    @jax.jit
    def both(v):
        def value(v):
            W, V, X = (p.reshape(-1, q) for p, q in zip(jnp.split(v, cuts), (d, d, N), strict=True))
            h = jnp.zeros((d, N))
            for _ in range(120):
                h = jax.nn.relu(V @ h + X)
            squares = sum(w / 2 * jnp.sum(p**2) for w, p in zip(decays, (W, V, X), strict=True))
            return jnp.sum((W @ h - Y) ** 2) / (2 * N) + squares

        return jax.value_and_grad(value)(v)

    found = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        scales = np.repeat([0.5, 0.05, 0.5], [K * d, d * d, d * N])
        start = scales * rng.normal(size=len(scales))
        start[K * d + d * d :] += 0.5
        options = {"maxiter": 5000, "maxfun": 6000, "ftol": 1e-15, "gtol": 1e-9}
        run = minimize(
            lambda v: tuple(np.asarray(part, float) for part in both(v)),
            start,
            jac=True,
            method="L-BFGS-B",
            options=options,
        )
        found.append(float(run.fun))
    assert min(found) == pytest.approx(least, abs=1e-7)
    assert all(value > least - 1e-9 for value in found)


def result(method, rivals=(), series=(), **numbers):
    cell = Cell("10 to 1", method, 0)
    return Result(
        cell, {"own": 0.8, "cut": 0.0, "squared": 1.0, **numbers}, dict(series), dict(rivals)
    )


def test_claims_have_teeth():
    rivals = {"explicit": {"objective": 0.3}}
    about = {"own_minority_of_model": 0.0, "own_of_model": 0.8, "infimum": 0.25}
    series = {"eigenvalues": [0.4, 0.0], "predicted": [0.395, 0.0]}
    good = [
        result("relu", rivals, series, objective=0.27, own_minority=0.01, **about),
        result("linear", rivals, series, objective=0.27, own_minority=0.02, **about),
    ]
    assert len(Equilibria().claims(good)) == 4
    for claim in Equilibria().claims(good):
        outcome = check_claim(claim)
        assert (outcome.status.name, outcome.mutant_rejected) == ("VERIFIED", True), claim.id
    worse = {"eigenvalues": [0.3, 0.0], "predicted": [0.395, 0.0]}
    bad = [
        result("relu", rivals, worse, objective=0.31, own_minority=0.2, **about),
        result("linear", rivals, worse, objective=0.31, own_minority=0.2, **about),
    ]
    for claim in Equilibria().claims(bad):
        assert check_claim(claim).status.name == "COUNTEREXAMPLE", claim.id


def test_a_layer_that_was_cut_is_outside():
    series = {"eigenvalues": [0.95, 0.0], "predicted": [1.0, 0.0]}
    claim = Equilibria().claims([result("linear", series=series, cut=1.0)])[0]
    assert check_claim(claim).status.name == "NOT_APPLICABLE"
    assert check_claim(Equilibria().claims([result("linear", series=series)])[0]).counterexample
    other = Equilibria().claims([result("explicit", series=series, squared=0.0)])[0]
    assert check_claim(other).status.name == "NOT_APPLICABLE"


def test_two_steps_have_the_layer_of_least_decay_by_going_through_layers():
    for gain in (0.3, 1.7):

        def cost(v, gain=gain):
            return v**2 / 2 + gain / (1 + v)

        best = minimize_scalar(cost, bounds=(0, 3), method="bounded", options={"xatol": 1e-10}).x
        assert _eigenvalue(gain, True) == pytest.approx(best, abs=1e-6)
    assert (_eigenvalue(0.3, False), _eigenvalue(1.7, False)) == (0.3, 1.0)


def test_exact_statements_agree():
    for text, said, seen in Equilibria().exact(EquilibriumOptions()):
        assert seen == pytest.approx(said, abs=1e-9), text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--loss hinge", "Need --loss"),
        ("--ratios x", "Need --ratios"),
        ("--ratios 0.5", "Need --ratios"),
        ("--ratios 200", "Need --ratios up to"),
        ("--per-class 0", "per-class"),
        ("--c nan", "Need c"),
        ("--layer-decay 0.3", "Need --layer-decay above c"),
        ("--bound 1", "|V| >= 1"),
        ("--bound nan", "--bound"),
        ("-d 0", "d"),
        ("-d 9", "Need -d >= K = 10"),
        ("--hidden 0", "hidden"),
        ("--epochs 0", "epochs"),
        ("--batch-size -1", "batch-size"),
        ("--batch-size 2000", "Need --batch-size <= N"),
        ("--lr 0", "learning rate"),
        ("--data digitz", "write 'digits'"),
        ("--per-class 500", "at most 142"),
    ],
)
def test_bad_input_is_one_line(ufm, tmp_path, words, says):
    ran = ufm(f"track deq {words} --workers 1 --out", tmp_path / "x")
    assert ran.code == 2, ran.err
    assert says in ran.err
    assert len([line for line in ran.err.strip().splitlines() if "Measuring" not in line]) == 1


@pytest.mark.slow
def test_from_the_command_line_to_a_page(ufm, tmp_path):
    words = "track deq --per-class 8 --ratios 1,2 --epochs 2 --batch-size 10 --seeds 1 --workers 1"
    ran = ufm(f"{words} --json --out", tmp_path / "deq")
    assert ran.code == 0, ran.err
    assert [cell["case"] for cell in ran.json["cells"]] == ["balanced"] * 3 + ["2 to 1"] * 3
    assert "DQ-2" in (tmp_path / "deq" / "index.html").read_text()
    for name in ("eigenvalues", "logits"):
        assert (tmp_path / "deq" / "figures" / f"{name}.svg").exists()


def test_a_training_that_diverges_is_said(tmp_path):
    options, track = EquilibriumOptions(**{**TINY, "learning_rate": 1e30}), Equilibria()
    cell = next(c for c in track.cells(options) if c.method == "explicit")
    assert set(track.measure(options, cell, tmp_path)[0]) == {STOPPED}
