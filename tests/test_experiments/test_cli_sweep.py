"""``ufm sweep``: its commands, bad input, and missing packages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import xarray

from experiments.sweep.spec import read_spec
from experiments.sweep.store import Store

pytestmark = pytest.mark.xdist_group("sweep")

ROOT = Path(__file__).resolve().parents[2]
TINY = """
note = "Where does it collapse?"
task = "minimise"

[axes]
K = [3, 4]
c = { from = 0.4, to = 1.6, num = 3 }
seed = [0, 1]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    return tmp_path


def table(folder, *, without=("seconds",)):
    found = Store.open(Path(folder)).table()
    return {name: values for name, values in found.items() if name not in without}


def same(one, other) -> bool:
    frames = (pandas.DataFrame(x) for x in (one, other))
    return next(frames).equals(next(frames))


# ---- the commands


def test_the_ready_made_sweeps_are_listed(ufm):
    ran = ufm("sweep specs")
    assert ran.code == 0
    for name in ("threshold", "losses", "low-dimension", "imbalance"):
        assert name in ran.out
    told = {item["name"]: item for item in ufm("sweep specs --json").json["specs"]}
    assert told["imbalance"]["cells"] == read_spec("imbalance").num_cells
    assert told["imbalance"]["task"] == "minimise"
    assert "X-4" in told["imbalance"]["question"]


def test_a_sweep_from_file_to_table(ufm, here):
    ran = ufm("sweep run tiny.toml")
    assert ran.code == 0, ran.err
    (folder,) = Path("sweeps").iterdir()
    assert folder.name == f"tiny-{read_spec('tiny.toml').key[:8]}"
    for said in ("12 of 12", "compiled shapes  2", f"sweep figure {folder}", "sweep export"):
        assert said in ran.out
    found = table(folder)
    assert found["rank"].tolist() == [2, 2, 2, 2, 0, 0, 3, 3, 3, 3, 0, 0]  # CE collapses at c = 1
    assert np.abs(found["excess"]).max() < 1e-12

    told = ufm("sweep status --json", folder).json
    assert told["cells"] == {"done": 12, "total": 12, "failed": 0}
    assert (told["results"], told["failures"]) == ({"CONVERGED": 12}, [])
    assert told["provenance"]["Command"] == "ufm sweep run tiny.toml"
    assert told["provenance"]["Seeds"] == "0, 1"
    assert told["provenance"]["jax"]
    said = ufm("sweep status", folder)
    assert said.code == 0
    assert "12 of 12" in said.out
    assert "axis seed" in said.out
    assert max(map(len, said.out.splitlines())) <= 100


def test_a_second_run_computes_nothing_and_says_the_same(ufm, here, monkeypatch):
    first = ufm("sweep run tiny.toml --out folder --json")
    before = {path: path.read_bytes() for path in Path("folder").rglob("*") if path.is_file()}

    def never(job):
        raise AssertionError("computed again")

    monkeypatch.setattr("experiments.sweep.run.compute", never)
    again = ufm("sweep run tiny.toml --out folder --json")
    assert again.code == 0
    assert again.json["cells"] == first.json["cells"] == {"done": 12, "total": 12, "failed": 0}
    after = {path: path.read_bytes() for path in Path("folder").rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.slow
def test_damaged_files_are_told_and_computed_again(ufm, here):
    ufm("sweep run tiny.toml --out folder")
    whole = table("folder")
    first, second = sorted(Path("folder/batches").iterdir())
    first.write_bytes(first.read_bytes()[:-7])
    Path("folder/batches/notes.txt").write_text("mine")
    told = ufm("sweep status folder --json").json
    assert told["damaged"] == [str(first)]
    assert told["foreign"] == ["folder/batches/notes.txt"]
    assert told["cells"]["done"] == 6
    said = ufm("sweep status folder").out
    assert "damaged files" in said
    assert "6 of 12" in said
    again = ufm("sweep run tiny.toml --out folder --json").json
    assert (again["damaged"], again["set_aside"]) == ([], 1)
    assert Path("folder/batches/notes.txt").exists()
    assert second.exists()
    assert same(table("folder"), whole)


@pytest.mark.slow
def test_the_table_is_exported(ufm, here):
    ufm("sweep run tiny.toml --out folder")
    kept = pandas.DataFrame(Store.open(Path("folder")).table())
    read = {
        "csv": pandas.read_csv,
        "parquet": pandas.read_parquet,
        "nc": lambda file: xarray.open_dataset(file, engine="scipy").to_dataframe(),
    }
    for kind, reader in read.items():
        ran = ufm(f"sweep export folder table.{kind}")
        assert (ran.code, ran.out) == (0, f"table.{kind}: 12 cells.\n")
        found = reader(f"table.{kind}")
        for name in ("K", "c", "objective", "rank", "seed"):
            assert found[name].tolist() == kept[name].tolist()


@pytest.mark.slow
def test_cells_that_fail_exit_3_with_their_reason(ufm, here):
    Path("short.toml").write_text(TINY + "\n[options]\nmax_iterations = 1\n")
    ran = ufm("sweep run short.toml --out short")
    assert ran.code == 3
    assert "max_iterations" in ran.out
    assert "gradient norm" in ran.out
    told = ufm("sweep status short --json").json
    assert told["cells"]["failed"] == told["results"]["MAX_ITERATIONS"] == 12
    assert len(told["failures"]) == 1  # the same reason but for its digits
    assert told["failures"][0]["cells"] == 12


@pytest.mark.slow
def test_max_failures_stops_the_run(ufm, here):
    Path("short.toml").write_text(TINY + "\n[options]\nmax_iterations = 1\n")
    ran = ufm("sweep run short.toml --out short --max-failures 2 --threads 1")
    assert ran.code == 3
    # On a slow machine a line of progress stands before it.
    assert ran.err.splitlines()[-1].startswith("ufm: Stopped after more than --max-failures 2")
    assert "Traceback" not in ran.err
    assert "--max-failures 2" in ran.err
    assert ufm("sweep status short --json").json["cells"]["done"] == 6
    assert ufm("sweep run short.toml --out short --max-failures 12").code == 3
    assert ufm("sweep status short --json").json["cells"]["done"] == 12


@pytest.mark.slow
def test_a_loss_of_ones_own(ufm, here):
    """Cross entropy of 2 z is cross entropy at half the c, by rescaling W and H."""
    Path("hot.py").write_text(
        "import jax\ndef hot(z, k):\n    return jax.nn.logsumexp(2 * z) - 2 * z[k]\n"
    )
    text = 'task = "verdict"\n[axes]\nK = 3\nn = 2\n'
    Path("own.toml").write_text(text + 'loss = "hot.py:hot"\nc = [0.4, 1.6, 2.4]\n')
    Path("ce.toml").write_text(text + "c = [0.2, 0.8, 1.2]\n")
    assert ufm("sweep run ce.toml --out ce").code == 0
    ran = ufm("sweep run own.toml --out own")
    assert ran.code == 0, ran.out
    own, known = table("own"), table("ce")
    assert own["objective"] == pytest.approx(known["objective"], abs=1e-12)
    assert own["rank"].tolist() == known["rank"].tolist() == [2, 2, 0]
    before = read_spec("own.toml").key
    Path("hot.py").write_text(Path("hot.py").read_text().replace("2 * z", "3 * z"))
    assert read_spec("own.toml").key != before
    again = ufm("sweep run own.toml --out own")
    assert again.code == 2
    assert "belongs to another sweep" in again.err


@pytest.mark.slow
def test_threads_do_not_change_the_table(ufm, here):
    for threads in (1, 3):
        assert ufm(f"sweep run tiny.toml --out t{threads} --threads {threads}").code == 0
    assert same(table("t1"), table("t3"))


@pytest.mark.slow
def test_figures_of_every_kind_that_suits_the_table(ufm, folders, tmp_path):
    begins = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}
    words = {
        "": "rank over c and K",
        "--kind profile": "rank over c",
        "--kind profile --x K --value objective --by c": "objective over K",
        "--x c --y K --value objective": "objective over c and K",
        "--kind multiples --by K --x c --y seed": "rank over c and seed, by K",
        "--x c --value objective,W_norm/H_norm": "objective, W_norm/H_norm over c",
    }
    for (flags, said), kind in zip(words.items(), (*begins, *begins), strict=False):
        file = tmp_path / f"figure.{kind}"
        file.unlink(missing_ok=True)
        ran = ufm(f"sweep figure {folders / 'many'} {file} {flags}")
        assert (ran.code, ran.err) == (0, "")
        assert said in ran.out
        assert file.read_bytes().startswith(begins[kind])
    sizes = []
    for width in (3, 6):
        file = tmp_path / "wide.png"
        assert ufm(f"sweep figure {folders / 'many'} {file} --width {width}").code == 0
        sizes.append(int.from_bytes(file.read_bytes()[16:20], "big"))
    assert sizes == [900, 1800]
    first = file.read_bytes()
    ufm(f"sweep figure {folders / 'many'} {file} --width 6")
    assert file.read_bytes() == first


@pytest.mark.slow
def test_a_sweep_says_how_its_figure_is_drawn(ufm, here):
    figure = '\n[figure]\nkind = "{}"\nx = "c"\nvalue = "objective"\n'
    for name, kind in (("own", "profile"), ("wrong", "profiel")):
        Path(f"{name}.toml").write_text(TINY + figure.format(kind))
        assert ufm(f"sweep run {name}.toml --out {name}").code == 0
    assert "objective over c" in ufm("sweep figure own f.svg").out
    assert "rank over c and K" in ufm("sweep figure own f.svg --value rank").out
    ran = ufm("sweep figure wrong f.svg")
    assert (ran.code, "write 'profile'" in ran.err) == (2, True)


@pytest.mark.slow
def test_a_figure_of_some_rows_and_several_columns(ufm, here):
    Path("own.toml").write_text(TINY)
    assert ufm("sweep run own.toml --out own").code == 0
    drawn = []
    for rows in ("", "--where K=3", "--where K=4"):
        said = ufm(f"sweep figure own f.svg --x c --value objective,rank {rows}").out
        assert "objective, rank over c" in said
        drawn.append(Path("f.svg").read_bytes())
    assert len(set(drawn)) == 3
    for flags, said in (("--where K=5", "K=5"), ("--kind phase --value rank,nc2", "one value")):
        ran = ufm(f"sweep figure own f.svg {flags}")
        assert (ran.code, said in ran.err) == (2, True), ran.err
    figure = '\n[figure]\nkind = "profile"\nx = "c"\nvalue = "objective"\nwhere = "K=4"'
    Path("rows.toml").write_text(TINY + figure)
    ufm("sweep run rows.toml --out rows")
    ufm("sweep figure rows one.svg")
    ufm("sweep figure own two.svg --kind profile --x c --value objective --where K=4")
    assert Path("one.svg").read_bytes() == Path("two.svg").read_bytes()


@pytest.mark.slow
def test_worker_processes_give_the_same_table(ufm, here):
    assert ufm("sweep run tiny.toml --out threads").code == 0
    assert ufm("sweep run tiny.toml --out workers --workers 2").code == 0
    assert same(table("threads"), table("workers"))


# ---- help, and what is missing


def test_every_command_has_help_with_an_example(ufm):
    alone = ufm("sweep")
    for command in ("specs", "run", "status", "export", "figure"):
        assert command in alone.out + alone.err
        ran = ufm(f"sweep {command} --help")
        assert ran.code == 0
        assert f"Example: ufm sweep {command}" in ran.out


@pytest.mark.parametrize(
    ("package", "words", "said"),
    [
        ("pyarrow", "run tiny.toml --out new", "needs pyarrow"),
        ("pyarrow", "status folder", "needs pyarrow"),
        ("xarray", "export folder table.nc", "needs xarray"),
        ("distributed", "run tiny.toml --out new --workers 2", "needs the package distributed"),
        ("distributed", "run tiny.toml --out new --cluster tcp://x:1", "package distributed"),
    ],
)
def test_a_missing_package_is_one_line_with_its_remedy(
    ufm, here, monkeypatch, package, words, said
):
    ufm("sweep run tiny.toml --out folder")
    monkeypatch.setitem(sys.modules, package, None)
    ran = ufm(f"sweep {words}")
    assert ran.code == 2
    (line,) = ran.err.splitlines()
    assert re.search(r"pip install '\.\[(sweep|cluster)\]' in the clone", line)
    assert re.search(said, line)
    assert not Path("new").exists()


# ---- bad input

SPEC = 'task = "minimise"\n[axes]\n'
BAD_SPECS = [
    ('taks = "minimise"', "Unknown key of a sweep. Got 'taks'. Remedy: write 'task'."),
    ('task = "minimize"', "Unknown task. Got 'minimize'. Remedy: write 'minimise'."),
    ("task = ", "Need TOML in spec.toml"),
    (f"{SPEC}K = 1\nc = 1", "K >= 2 in every cell"),
    (f'{SPEC}K = 3\nd = "K-5"\nc = 1', "d >= 1 in every cell. Got -2"),
    (f"{SPEC}K = 3\nc = 1\ndecay = 1", "The axes c and decay both say what the decays are"),
    (f"{SPEC}K = 3\nlamda_b = 1", "Unknown axis. Got 'lamda_b'. Remedy: write 'lambda_b'."),
    (f'{SPEC}K = 3\nc = 1\nloss = "absent.py:loss"', "existing Python file"),
    (f"{SPEC}K = 3\nc = 1\n[options]\ntol = 1", "Unknown option of the task minimise"),
]


@pytest.mark.parametrize(("text", "said"), BAD_SPECS, ids=[said for _, said in BAD_SPECS])
def test_a_bad_spec_is_one_line_and_leaves_no_folder(ufm, here, text, said):
    Path("spec.toml").write_text(text)
    ran = ufm("sweep run spec.toml --out new --json")
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert line.startswith("ufm: ")
    assert said in line
    assert not Path("new").exists()


BAD = [
    ("run absent.toml", "existing file for a sweep"),
    ("run treshold", "Got 'treshold'. Remedy: write 'threshold'."),
    ("run", "Missing argument 'SPEC'"),
    ("run tiny.toml --out many", "belongs to another sweep"),
    ("run tiny.toml --out tiny.toml", "folder that a sweep can be written to"),
    ("run tiny.toml --out /proc/none", "folder that a sweep can be written to"),
    ("run tiny.toml --out damaged", "manifest.json: damaged"),
    ("run tiny.toml --threads 0", "--threads"),
    ("run tiny.toml --threads 1 --workers 1", "one of --threads, --workers and --cluster"),
    ("run tiny.toml --cluster nowhere --out new", "scheduler as tcp://HOST:PORT"),
    ("run tiny.toml --colour red", "No such option"),
    ("status .", "Need the folder of a sweep"),
    ("status absent", "Need the folder of a sweep"),
    ("status damaged", "manifest.json: damaged"),
    ("export many table.xls", ".csv, .parquet, .nc"),
    ("export many absent/table.csv", "existing folder for the table"),
    ("export absent table.csv", "Need the folder of a sweep"),
    ("export empty table.csv", "finished batch"),
    ("figure many figure.jpg", ".pdf, .svg, .png"),
    ("figure many absent/figure.pdf", "existing folder for the figure"),
    ("figure many figure.pdf --kind pie", "pie"),
    ("figure many figure.pdf --width 0.1", "--width"),
    ("figure many figure.pdf --x lamda_b", "Got 'lamda_b'"),
    ("figure many figure.pdf --value rnak", "Got 'rnak'"),
    ("figure many figure.pdf --kind rate", "draws a sweep of the task rate"),
    ("figure many figure.pdf --kind phase --by loss", "--kind phase takes: --value, --x, --y"),
    ("figure many figure.pdf --y loss", "Need numbers in the column loss"),
    ("figure empty figure.pdf", "finished batch"),
    ("draw many", "No such command 'draw'"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of sweeps: one that is whole, one with a damaged manifest, one without a batch."""
    from experiments.sweep.run import run

    place = tmp_path_factory.mktemp("folders")
    (place / "many.toml").write_text(TINY.replace("from = 0.4", "from = 0.3"))
    store = run(read_spec(place / "many.toml"), place / "many")
    Store.create(place / "empty", store.manifest)
    Store.create(place / "damaged", store.manifest)
    manifest = place / "damaged" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_cells": 12', '"num_cells": 13'))
    (place / "tiny.toml").write_text(TINY)
    return place


@pytest.mark.parametrize(("words", "said"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(ufm, folders, monkeypatch, words, said):
    monkeypatch.chdir(folders)
    before = sorted(path.name for path in folders.iterdir())
    ran = ufm(f"sweep {words}")
    assert ran.code == 2, ran.out
    (line,) = ran.err.splitlines()
    assert line.startswith("ufm: ")
    assert said in line
    assert sorted(path.name for path in folders.iterdir()) == before


@pytest.mark.slow
def test_the_real_process_answers_the_same():
    command = [sys.executable, "-m", "experiments", "sweep", "run", "treshold"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "write 'threshold'" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_plain_lines_off_a_terminal(ufm, here, monkeypatch):
    monkeypatch.setattr("experiments.cli.waiting.SILENCE", -1.0)
    ran = ufm("sweep run tiny.toml --out folder --json")
    lines = [line for line in ran.err.splitlines() if line]
    assert lines
    assert all(line.startswith("Sweeping: ") for line in lines)
    assert "12/12 cells" in lines[-1]
    assert json.loads(ran.out)["command"] == "sweep run"
