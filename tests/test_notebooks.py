"""The notebooks: they run from the first cell to the last, and are kept without what they print."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def kept_outputs(notebook):
    """Cells that hold what a run left: outputs, or the number of the run."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"]]


def test_there_are_three_without_outputs_and_the_first_has_five_cells():
    assert len(NOTEBOOKS) == 3
    loaded = [json.loads(path.read_text(encoding="utf-8")) for path in NOTEBOOKS]
    assert [kept_outputs(each) for each in loaded] == [[], [], []]
    assert len(loaded[0]["cells"]) == 5
    ran = {"cell_type": "code", "id": "a", "outputs": [{}], "execution_count": None}
    assert kept_outputs({"cells": [ran]}) == ["a"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="needs the extra [docs]")
    nbformat = pytest.importorskip("nbformat", reason="needs the extra [docs]")
    pytest.importorskip("ipykernel", reason="needs the extra [docs]")
    # The kernel is this Python, in a folder of its own, with this checkout before what is there.
    monkeypatch.setenv("PYTHONPATH", str(path.parents[2]))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=110, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs
