"""The store of a sweep: what is written comes back, and what is damaged is noticed."""

import csv
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.sweep.store import Scan, Store
from ufm.errors import InputError

parquet = pytest.importorskip("pyarrow.parquet")
xarray = pytest.importorskip("xarray")

MANIFEST = {"key": "5eed" * 16, "num_batches": 3, "num_cells": 9, "seeds": [1, 2]}
SIZES = (2, 3, 4)
TEXTS = ("", "ETF", "ünïcode ≠ ascii", 'a "quoted", line\nand another', "nan")


def rows(number):
    """A batch with a column of every dtype; its cells are not in order."""
    cells = np.arange(sum(SIZES[:number]), sum(SIZES[: number + 1]))[::-1]
    return {
        "cell": cells,
        "K": 3 + cells % 4,
        "gap": np.where(cells % 5 == 1, np.nan, cells / 7.0),
        "loss.delta": -1.0 * cells,
        "converged": cells % 3 == 0,
        "kind": np.array([TEXTS[cell % 5] for cell in cells], dtype=object),
        "empty": np.full(len(cells), ""),
    }


EXPECTED = {name: np.concatenate([rows(b)[name][::-1] for b in range(3)]) for name in rows(0)}


def same(got, expected=EXPECTED):
    """Equal columns in equal order; NaN in the same places, strings as Python strings."""
    assert list(got) == list(expected)
    for name, values in expected.items():
        text = values.dtype.kind in "UO"
        assert got[name].dtype == (object if text else values.dtype), name
        np.testing.assert_array_equal(got[name], values)
        assert not text or {type(x) for x in got[name]} <= {str}


def filled(folder, order=(0, 1, 2), key=MANIFEST["key"]):
    store = Store.create(folder, {**MANIFEST, "key": key})
    with store.lock():
        for number in order:
            store.write(number, rows(number))
    return store


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def store(tmp_path):
    return filled(tmp_path / "sweep")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A store that tests leave as they found it."""
    return filled(tmp_path_factory.mktemp("kept") / "sweep")


def test_every_dtype_comes_back(kept):
    same(Store.open(kept.folder).table())
    assert np.isnan(EXPECTED["gap"]).sum() == 2
    about = parquet.read_metadata(kept.scan().present[2]).metadata
    assert (about[b"ufm.key"], about[b"ufm.batch"]) == (MANIFEST["key"].encode(), b"2")


VALUES = st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.text())


@given(st.lists(VALUES, min_size=1, max_size=7))
def test_every_value_comes_back_bit_for_bit(values):
    integers, floats, bools, texts = zip(*values, strict=True)
    numbers = {"i": np.array(integers, np.int64), "f": np.array(floats), "b": np.array(bools)}
    columns = {"cell": np.arange(len(values)), "text": np.array(texts, object), **numbers}
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder), MANIFEST)
        store.write(0, columns)
        got = store.table()
    assert got["text"].tolist() == list(texts)
    assert all(got[name].tobytes() == column.tobytes() for name, column in numbers.items())


def test_the_order_of_writing_plays_no_role(kept, tmp_path):
    resumed = filled(tmp_path, (2,))
    assert resumed.table(["cell"])["cell"].tolist() == [5, 6, 7, 8]
    same(filled(tmp_path, (1, 2, 0)).table())
    names = [path.name for path in resumed.scan().present.values()]
    assert names == [path.name for path in kept.scan().present.values()]


@pytest.mark.parametrize(
    ("number", "change", "said"),
    [
        (3, {}, "number < 3"),
        (-1, {}, "batch number >= 0"),
        (0, {"gap": np.zeros(2, np.float32)}, "gap of float32"),
        (0, {"gap": np.zeros((2, 1))}, r"gap of float64 with shape \(2, 1\)"),
        (0, {"kind": np.array(["a", None])}, "kind of object"),
        (0, {"kind": np.array(["a", "\ud800"])}, "UTF-8"),
        (0, {"gap": np.zeros(3)}, "equal length"),
        (0, {"cell": np.zeros(2)}, "cell of int64"),
        (0, dict.fromkeys(rows(0), np.zeros(0, int)), "length >= 1"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path, number, change, said):
    store = Store.create(tmp_path, MANIFEST)
    with pytest.raises(InputError, match=said):
        store.write(number, {**rows(0), **change})
    assert store.scan() == Scan({}, (), (), ())


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zero bytes": lambda path: path.write_bytes(b""),
    "another batch": lambda path: shutil.copy(next(path.parent.glob("00002-*")), path),
    "folder": lambda path: (path.unlink(), path.mkdir(), (path / "inside").write_text("mine")),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "dangling": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_moved_aside_and_nothing_else(store, damage):
    path = store.scan().present[1]
    assert store.scan() == Scan({**store.scan().present, 1: path}, (), (), ())
    DAMAGE[damage](path)
    before = contents(store.folder)
    found = store.scan()
    assert (list(found.present), found.damaged, found.foreign) == ([0, 2], (path,), ())
    assert store.table(["cell"])["cell"].tolist() == [0, 1, 5, 6, 7, 8]
    with store.lock():
        assert store.set_aside(found) == 1
        assert store.set_aside(found) == 0  # already moved
    old, new = f"batches/{path.name}", f"damaged/{path.name}"
    assert contents(store.folder) == {name.replace(old, new): x for name, x in before.items()}
    assert os.path.lexists(store.folder / new)
    assert store.write(1, rows(1)) == path
    same(store.table())


def test_a_batch_of_another_number_or_sweep_is_damaged(store, tmp_path):
    path = store.scan().present[1]
    for number in ("00000", "00002", "00007", "123456"):
        wrong = path.rename(path.with_name(path.name.replace("00001", number)))
        assert store.scan().damaged == (wrong,)
        wrong.rename(path)
    for key, damaged in ((MANIFEST["key"], 0), ("0ther", 1)):
        copied = shutil.copy(filled(tmp_path / key, key=key).scan().present[1], path.parent)
        assert store.scan().damaged == (Path(copied),) * damaged
    assert list(store.scan().present) == [0, 1, 2]


@given(st.data())
def test_a_change_of_any_byte_is_noticed(kept, data):
    path = kept.scan().present[1]
    whole = path.read_bytes()
    flipped, position = bytearray(whole), data.draw(st.integers(0, len(whole) - 1))
    flipped[position] ^= data.draw(st.integers(1, 255))
    try:
        for content in (flipped, whole[:position]):
            path.write_bytes(content)
            assert kept.scan().damaged == (path,)
    finally:
        path.write_bytes(whole)
    assert kept.scan().damaged == ()


def test_writing_keeps_a_good_file_and_moves_a_damaged_one(store):
    path, before = store.scan().present[1], contents(store.folder)
    assert store.write(1, {**rows(1), "K": np.zeros(3, int)}) == path
    assert contents(store.folder) == before
    for attempt in ("first", "second"):
        path.write_text(attempt)
        assert store.write(1, rows(1)) == path
    aside = f"damaged/{path.name}"
    assert contents(store.folder) == {**before, aside: b"first", f"{aside}.1": b"second"}


def test_the_first_of_two_good_files_counts(store, tmp_path):
    other = Store.create(tmp_path, MANIFEST).write(1, {**rows(1), "K": np.full(3, 77)})
    added = Path(shutil.copy(other, store.folder / "batches"))
    first, second = sorted(store.folder.glob("batches/00001-*"))
    found = store.scan()
    assert (found.present[1], found.duplicates, found.damaged) == (first, (second,), ())
    expected = [77] * 3 if first == added else [5, 6, 3]
    assert store.table(["K"], {"cell": (2, 4)})["K"].tolist() == expected
    assert store.set_aside(found) == 1
    assert store.scan() == Scan(found.present, (), (), ())


def test_foreign_files_are_listed_and_kept(store):
    batches = store.folder / "batches"
    names = [".hidden", "000001-0123456789abcdef.parquet", "1-0123456789abcdef.parquet", "notes"]
    for name in names:
        (batches / name).write_text(name)
    (store.folder / ".hidden").write_text("mine")
    (batches / "subfolder").mkdir()
    before = contents(store.folder)
    found = store.scan()
    assert [path.name for path in found.foreign] == [*names, "subfolder"]
    assert not found.damaged
    with store.lock():
        assert store.set_aside(found) == 0
    assert contents(store.folder) == before
    same(store.table())


def test_what_a_kill_left_unfinished_is_removed_by_the_next_writer(store):
    before, clean = contents(store.folder), Scan(store.scan().present, (), (), ())
    for target in (store.scan().present[1], store.folder / "manifest.json"):
        os.close(tempfile.mkstemp(".unfinished", f".{target.name}.", target.parent)[0])
    assert store.scan() == clean
    assert len(contents(store.folder)) == len(before) + 2  # reading removes nothing
    with store.lock():
        assert contents(store.folder) == before
    assert store.scan() == clean


def test_the_first_manifest_stays(store):
    again = Store.create(store.folder, {**MANIFEST, "seeds": "others"})
    assert again.manifest == Store.open(store.folder).manifest == MANIFEST
    assert pickle.loads(pickle.dumps(again)) == store
    for name, other in (("key", "0ther"), ("num_batches", 4), ("num_cells", 10)):
        with pytest.raises(InputError, match=f"another sweep.*{name} is .*, not {other}"):
            Store.create(store.folder, {**MANIFEST, name: other})
    same(store.table())


@given(st.data())
def test_a_damaged_manifest_is_noticed(kept, data):
    path = kept.folder / "manifest.json"
    whole = path.read_bytes()
    # White space carries nothing: any other byte counts.
    places = [i for i, byte in enumerate(whole) if not chr(byte).isspace()]
    flipped, position = bytearray(whole), data.draw(st.sampled_from(places))
    flipped[position] ^= data.draw(st.integers(1, 255))
    try:
        for content in (flipped, whole[:position], b"[]", b"[" * 10**5, json.dumps(MANIFEST)):
            path.write_bytes(
                content if isinstance(content, bytes | bytearray) else content.encode()
            )
            for use in (Store.open, lambda folder: Store.create(folder, MANIFEST)):
                with pytest.raises(InputError, match=r"manifest\.json: damaged"):
                    use(kept.folder)
    finally:
        path.write_bytes(whole)
    assert Store.open(kept.folder) == Store.create(kept.folder, MANIFEST) == kept


def test_a_manifest_that_lacks_something_is_refused(tmp_path):
    bad = {"key": "", "num_batches": None, "num_cells": 0, "seeds": {1}, "more": np.nan}
    for name, value in bad.items():
        with pytest.raises(InputError, match="JSON" if name in ("seeds", "more") else name):
            Store.create(tmp_path / "new", {**MANIFEST, name: value})
    assert not (tmp_path / "new").exists()


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    for use in (Store.open, lambda folder: Store.create(folder, MANIFEST)):
        with pytest.raises(InputError, match=r"Not a directory|File exists"):
            use(tmp_path / "file")
    with pytest.raises(InputError, match="No such file"):
        Store.open(tmp_path)
    store = filled(tmp_path / "sweep", ())
    (store.folder / "batches").rmdir()
    assert store.scan() == Scan({}, (), (), ())
    (store.folder / "batches").write_text("mine")
    for act in (store.scan, lambda: store.write(0, rows(0))):
        with pytest.raises(InputError, match="Not a directory"):
            act()


WRITER = """
import sys, numpy, pathlib
from experiments.sweep.store import Store
store = Store.open(pathlib.Path(sys.argv[1]))
with store.lock():
    print("held", flush=True)
    for number in range(10**5):
        store.write(number, {"cell": numpy.array([number])})
"""


@pytest.mark.slow
def test_one_process_writes_until_it_is_killed(tmp_path):
    store = Store.create(tmp_path, {**MANIFEST, "num_batches": 10**5})
    with store.lock():
        pass  # nobody else has it
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(InputError, match="Only one process"), store.lock():
                pytest.fail("two processes hold the lock")
            deadline = time.monotonic() + 60
            while len(store.scan().present) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            process.kill()
    with store.lock():
        found = store.scan()
    assert len(found.present) >= 3
    assert found == Scan(found.present, (), (), ())
    assert store.table()["cell"].tolist() == list(range(len(found.present)))
    assert sorted(os.listdir(store.folder)) == ["batches", "lock", "manifest.json"]


@pytest.mark.parametrize(
    ("where", "cells"),
    [
        ({"K": {np.int64(5)}}, [2, 6]),
        ({"K": np.array([5, 3])}, [0, 2, 4, 6, 8]),
        ({"K": (4, 5)}, [1, 2, 5, 6]),
        ({"K": (4.5, None)}, [2, 3, 6, 7]),
        ({"loss.delta": (None, -7)}, [7, 8]),
        ({"gap": (0.5, 1.1)}, [4, 5, 7]),
        ({"gap": [0.0, np.nan]}, [0, 1, 6]),
        ({"converged": [True, np.False_]}, range(9)),
        ({"kind": ["", "nan"]}, [0, 4, 5]),
        ({"kind": "nowhere"}, []),
        ({"K": 5, "kind": "ETF"}, [6]),
    ],
)
def test_where_keeps_rows(kept, where, cells):
    chosen = list(cells)
    same(kept.table(where=where), {name: x[chosen] for name, x in EXPECTED.items()})
    same(kept.table(["kind", "K"], where), {name: EXPECTED[name][chosen] for name in ("kind", "K")})


@pytest.mark.parametrize(
    ("columns", "where", "said"),
    [
        (["convergd"], None, "Got 'convergd'. .* write 'converged'"),
        (None, {"Gap": 1.0}, "Got 'Gap'. .* write 'gap'"),
        (None, {"K": "5"}, "Need int for K"),
        (None, {"K": None}, "Got None"),
        (None, {"gap": ["0.5"]}, "Need float for gap"),
        (None, {"converged": 1}, "Need bool for converged"),
        (None, {"kind": ("a", "b")}, "Need str for kind"),
        (None, {"K": (1, 2, 3)}, r"Got \(1, 2, 3\)"),
    ],
)
def test_what_the_table_does_not_have_is_said(kept, columns, where, said):
    with pytest.raises(InputError, match=said):
        kept.table(columns, where)


def test_batches_with_other_columns_are_refused(tmp_path):
    store = Store.create(tmp_path, MANIFEST)
    with pytest.raises(InputError, match="finished batch"):
        store.table()
    store.write(0, rows(0))
    store.write(1, dict(reversed(rows(1).items())))  # another order is the same table
    assert store.table(["K"])["K"].tolist() == [3, 4, 5, 6, 3]
    store.write(2, {**rows(2), "K": np.zeros(4)})
    with pytest.raises(InputError, match=r"same columns.*another K"):
        store.table(["gap"])


def read_csv(path):
    """With Python's reader, which knows nothing of types."""
    with path.open(newline="", encoding="utf-8") as stream:
        head, *lines = csv.reader(stream)
    parse = {"b": "true".__eq__, "i": int, "f": float, "O": str, "U": str}
    columns = dict(zip(head, zip(*lines, strict=True), strict=True))
    return {
        name: np.array([*map(parse[EXPECTED[name].dtype.kind], x)]) for name, x in columns.items()
    }


def read_parquet(path):
    table = parquet.read_table(path)
    assert json.loads(table.schema.metadata[b"ufm.manifest"]) == MANIFEST
    return {name: table[name].to_numpy() for name in table.column_names}


def read_netcdf(path):
    with xarray.open_dataset(path, engine="scipy") as stored:
        assert (dict(stored.sizes), list(stored.coords)) == ({"cell": 9}, ["cell"])
        assert json.loads(stored.attrs["manifest"]) == MANIFEST
        return {name: stored[name].values for name in EXPECTED}


@pytest.mark.parametrize("read", [read_csv, read_parquet, read_netcdf])
def test_an_export_is_the_table(kept, tmp_path, read):
    path = tmp_path / {read_csv: "a.csv", read_parquet: "a.parquet", read_netcdf: "a.nc"}[read]
    path.write_text("an older one")
    kept.export(path)
    got = read(path)
    assert list(got) == list(EXPECTED)
    for name, values in EXPECTED.items():
        assert {got[name].dtype.kind, values.dtype.kind} <= set("UO") | {values.dtype.kind}
        np.testing.assert_array_equal(got[name], values)
    assert os.listdir(tmp_path) == [path.name]


def test_an_export_that_fails_leaves_the_older_file(tmp_path):
    store, path = Store.create(tmp_path / "sweep", MANIFEST), tmp_path / "table.nc"
    path.write_text("an older one")
    store.write(0, {"cell": np.arange(2), "seed": np.array([1, 2**31])})
    with pytest.raises(InputError, match=r"netCDF 3 cannot.*\.parquet"):
        store.export(path)
    assert path.read_text() == "an older one"
    with pytest.raises(InputError, match=r"\.csv, \.parquet, \.nc"):
        store.export(tmp_path / "table.xlsx")
    with pytest.raises(InputError, match="No such file"):
        store.export(tmp_path / "nowhere" / "table.csv")


def test_missing_packages_are_named(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InputError, match=r"needs xarray.*pip install '\.\[sweep\]' in the clone"):
        store.export(tmp_path / "table.nc")
    store.export(tmp_path / "table.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for act in (store.table, lambda: Store.create(tmp_path / "new", MANIFEST).write(0, rows(0))):
        with pytest.raises(
            InputError, match=r"needs pyarrow.*pip install '\.\[sweep\]' in the clone"
        ):
            act()
    assert list(store.scan().present) == [0, 1, 2]  # which needs neither
