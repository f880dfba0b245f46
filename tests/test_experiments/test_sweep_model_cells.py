"""Sweeps over any model: foreign ones by FILE.py:NAME, against single solves and dense Hessians."""

import jax
import numpy as np
import pytest

from experiments.sweep.cells import batches
from experiments.sweep.model_cells import axes_of, expand_any
from experiments.sweep.run import cells_of, run
from experiments.sweep.spec import make_spec
from landscape import dense_hessian, solve
from tests.foreign import Spheres, TwoGraphs
from tests.helpers import slow
from ufm import InputError, LabelSmoothing

FOREIGN = "tests/foreign.py"
SPHERES = {
    "task": "verdict",
    "model": f"{FOREIGN}:Spheres",
    "axes": {"K": [3, 4], "d": 3, "tau": [1.0, 2.0, 4.0], "seed": [1]},
}


@pytest.fixture(scope="module")
def spheres(tmp_path_factory):
    return run(make_spec(SPHERES), tmp_path_factory.mktemp("spheres")).table(None)


def test_cells_of_one_structure_run_as_one_program():
    cells = cells_of(make_spec(SPHERES))
    cut = batches(cells, 512)
    assert len(cells) == 6
    assert [len(batch.indices) for batch in cut] == [3, 3]  # one a K: it is structure, tau is not
    assert len({batch.shape for batch in cut}) == 2
    assert cells.model(0).tau != cells.model(1).tau


@pytest.mark.slow
def test_every_cell_is_what_a_single_solve_finds(spheres):
    order = np.argsort(spheres["cell"])
    assert spheres["cell"][order].tolist() == list(range(6))
    for i in order:
        model = Spheres(int(spheres["K"][i]), 3, float(spheres["tau"][i]))
        alone = solve(model, key=jax.random.key(int(spheres["seed"][i])))
        assert spheres["result"][i] == "CONVERGED"
        assert spheres["objective"][i] == pytest.approx(alone.objective, abs=1e-9)
        values = np.linalg.eigvalsh(dense_hessian(model, alone.point))
        assert spheres["index"][i] == np.sum(values < -1e-8) == 0
        assert spheres["nullity"][i] == np.sum(np.abs(values) < 1e-8)
        assert spheres["curvature"][i] == "MORSE_BOTT_MINIMUM"
        assert spheres["globality"][i] == "UNKNOWN"
        assert np.isnan(spheres["theory"][i])


@pytest.mark.slow
def test_a_registered_model_is_held_against_its_closed_form(tmp_path):
    axes = {"num_classes": 3, "lambda_H": [0.05, 0.2], "loss": ["ce", {"name": "ls"}]}
    store = run(
        make_spec({"task": "minimise", "model": "fixed-classifier", "axes": axes}), tmp_path
    )
    table = store.table(None)
    assert len(table["cell"]) == 4
    assert np.abs(table["excess"]).max() < 1e-10
    assert sorted(set(table["loss"])) == ["ce", "ls"]
    assert len(set(np.round(table["theory"], 6))) == 4


@pytest.mark.slow
def test_counts_are_an_axis_and_ends_have_a_size(tmp_path):
    axes = {"counts": [[4, 2, 3], [3, 3, 2]], "d": 3, "lambda_Z": [0.1, 5.0], "seed": [0, 1, 2, 3]}
    spec = make_spec({"task": "minimise", "model": "rate-reduction", "axes": axes})
    table = run(spec, tmp_path).table(None)
    cells = cells_of(spec)
    assert len(table["cell"]) == 16
    assert (table["result"] == "CONVERGED").all()
    for i, cell in enumerate(table["cell"]):
        model = cells.model(int(cell))
        best = model.minimiser()
        assert table["theory"][i] == best.value
        assert table["theory_size"][i] == pytest.approx(np.linalg.norm(best.point.Z), rel=1e-12)
    best = table["excess"] < 1e-9
    assert set(table["lambda_Z"][best]) == {0.1, 5.0}
    assert table["size"][best] == pytest.approx(table["theory_size"][best], abs=1e-5)
    assert (np.abs(table["size"] - table["theory_size"])[~best] > 1e-2).all()
    assert set(table["counts"]) == {"(4, 2, 3)", "(3, 3, 2)"}
    assert (table["size"][table["lambda_Z"] == 5.0] == 0).all()  # not a rounding of zero
    assert (table["size"][table["lambda_Z"] == 0.1] > 1).all()


@pytest.mark.slow
def test_a_sweep_goes_on_where_it_was_left(tmp_path):
    spec = make_spec({**SPHERES, "task": "minimise", "axes": {"tau": [1.0, 2.0], "d": 3}})
    first = run(spec, tmp_path / "a").table(None)
    again = run(spec, tmp_path / "a").table(None)
    other = run(spec, tmp_path / "b").table(None)
    for name in set(first) - {"seconds"}:
        np.testing.assert_array_equal(first[name], again[name])
        np.testing.assert_array_equal(first[name], other[name])


def test_the_key_follows_a_users_file_and_its_numbers(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("from tests.foreign import Spheres\n")
    written = {"task": "minimise", "model": f"{file}:Spheres", "axes": {"tau": [1.0, 2.0]}}
    key = make_spec(written).key
    assert make_spec(written).key == key
    assert make_spec({**written, "axes": {"tau": [1.0, 2.5]}}).key != key
    file.write_text("from tests.foreign import Spheres  # changed\n")
    assert make_spec(written).key != key
    plain = {"task": "minimise", "axes": {"K": 3, "c": 0.1}}
    assert make_spec(plain).key == make_spec({**plain, "model": "plain"}).key


BAD = [
    ({"model": "nonesuch"}, "Unknown model"),
    ({"task": "threshold"}, "task of the model"),
    ({"axes": {"temperature": 1.0}}, "axis of the model"),
    ({"axes": {"tau": [[1, 2]]}}, "tau"),
    ({"axes": {}}, r"table \[axes\]"),
    ({"axes": {"K": {"from": 2, "to": 4000}, "d": {"from": 1, "to": 4000}}}, "cells"),
]


@pytest.mark.parametrize(("change", "says"), BAD)
def test_a_bad_sweep_over_a_model_names_what_is_wrong(change, says):
    with pytest.raises(InputError, match=says):
        make_spec({**SPHERES, **change})


def test_axes_take_losses_sizes_and_ranges():
    axes = axes_of(f"{FOREIGN}:TwoGraphs", {"loss": "ls", "d": {"from": 1, "to": 3}})
    cells = expand_any(f"{FOREIGN}:TwoGraphs", axes)
    assert cells.columns["d"].tolist() == [1, 2, 3]
    assert cells.columns["smoothing"].tolist() == [0.1] * 3
    model = cells.model(2)
    assert isinstance(model, TwoGraphs) or type(model).__name__ == "TwoGraphs"
    assert model.d == 3
    assert model.loss == LabelSmoothing(0.1)


def test_the_command_runs_and_draws_a_sweep_over_a_foreign_model(ufm, tmp_path):
    toml = tmp_path / "spheres.toml"
    toml.write_text(
        f'task = "minimise"\nmodel = "{FOREIGN}:Spheres"\n[axes]\ntau = [1.0, 2.0, 3.0]\nd = 3\n'
    )
    folder, figure = tmp_path / "out", tmp_path / "f.png"
    assert ufm(f"sweep run {toml} --out {folder}").code == 0
    assert ufm(f"sweep figure {folder} {figure} --x tau --value objective").code == 0
    assert figure.stat().st_size > 5000
    assert ufm(f"sweep figure {folder} {figure}").code == 0  # what varies is found by itself
    shown = ufm(f"sweep status {folder}")
    assert "3 of 3" in shown.out


@pytest.mark.parametrize("workers", [slow(2)])
def test_workers_find_a_users_model(ufm, tmp_path, workers):
    toml = tmp_path / "spheres.toml"
    toml.write_text(f'task = "minimise"\nmodel = "{FOREIGN}:Spheres"\n[axes]\ntau = [1.0, 2.0]\n')
    ran = ufm(f"sweep run {toml} --out {tmp_path / 'out'} --workers {workers}")
    assert ran.code == 0, ran.err
