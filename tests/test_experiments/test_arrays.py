"""Arrays in .npz files: exact, checked, and never more memory than the file is worth."""

import io
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

from experiments import arrays as module
from experiments.arrays import read_arrays, write_arrays
from experiments.memory import available_memory, require_memory
from ufm.errors import InputError

HELD = {
    "W": np.arange(15.0).reshape(3, 5) / 7,
    "n": np.array([4, 5, 6], dtype=np.int32),
    "name": np.array("ls"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.zeros((0, 3)),
}


def npy(header: str, content: bytes = b"") -> bytes:
    """A member with any header."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as held:
        for name, content in members.items():
            held.writestr(f"{name}.npy", content)
    return path


def saved(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_bits_shapes_and_types_come_back(tmp_path, compressed):
    path = tmp_path / "a.npz"
    write_arrays(path, HELD, compressed=compressed)
    found = read_arrays(path, ["W"], None)
    assert found.keys() == HELD.keys()
    for name, array in HELD.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    assert read_arrays(path, ["n"], ["W", "absent"]).keys() == {"W", "n"}
    with np.load(path, allow_pickle=False) as plain:  # the format is NumPy's
        assert np.array_equal(plain["fortran"], HELD["fortran"])


def test_other_byte_orders_are_turned(tmp_path):
    path = archive(tmp_path / "a.npz", W=saved(np.arange(3.0).astype(">f8")))
    found = read_arrays(path, ["W"])["W"]
    assert found.dtype.isnative
    assert found.tolist() == [0, 1, 2]


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    path, rng = tmp_path / "a.npz", np.random.default_rng(0)
    noticed = 0
    for compressed in (False, True):
        write_arrays(path, HELD, compressed=compressed)
        whole = path.read_bytes()
        for place in rng.integers(0, 8 * len(whole), 150):
            content = bytearray(whole)
            content[place // 8] ^= 1 << (place % 8)
            path.write_bytes(bytes(content))
            try:
                found = read_arrays(path, list(HELD), None)
            except InputError:
                noticed += 1
                continue
            assert found.keys() == HELD.keys()
            assert all(np.array_equal(found[name], HELD[name]) for name in HELD)
    assert noticed > 150


def test_arrays_that_were_changed_are_told_from_those_that_were_written(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, HELD)
    with np.load(path) as plain:
        held = dict(plain)
    np.savez(path, **{**held, "W": held["W"] + 1})
    with pytest.raises(InputError, match=r"checksum that does not fit.*leave 'checksum' out"):
        read_arrays(path, ["W"], None)
    held.pop("checksum")
    np.savez(path, **{**held, "W": held["W"] + 1})
    assert read_arrays(path, ["W"], None)["W"][0, 0] == 1


FLOAT = "{'descr': '<f8', 'fortran_order': False, 'shape': %s}"
HOSTILE = {
    "8 TB": npy(FLOAT % "(1000000000000,)", bytes(64)),
    "1e30 entries": npy(FLOAT % "(10**30,)", bytes(64)),
    "1e30 written out": npy(FLOAT % f"({10**30},)", bytes(64)),
    "negative": npy(FLOAT % "(-1, -1)", bytes(8)),
    "deep": npy("(" * 9000),
    "deep lists": npy("[" * 90 + "]" * 90),
    "no header": b"\x93NUMPY\x01\x00\xff\xff",
    "version 9": b"\x93NUMPY\x09\x00" + bytes(100),
    "pickle": saved(np.array([{"a": 1}], dtype=object)),
    "dates": saved(np.array(["2020-01-01"], dtype="M8[D]")),
    "bytes": saved(np.array([b"abc"])),
    "structs": saved(np.zeros(2, dtype=[("a", "f8"), ("b", "i4")])),
    "too short": npy(FLOAT % "(3,)", bytes(16)),
    "too long": npy(FLOAT % "(3,)", bytes(32)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_members_are_refused_in_one_line(tmp_path, content):
    path = archive(tmp_path / "a.npz", W=content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as told:
        read_arrays(path, ["W"])
    assert "\n" not in str(told.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


def test_other_files_are_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    both = (tmp_path / "array.npy").read_bytes() + archive(
        tmp_path / "b.npz", W=saved(1.0)
    ).read_bytes()
    (tmp_path / "both.npz").write_bytes(both)
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "device.npz").symlink_to("/dev/zero")
    for name, said in (
        ("array.npy", "is not one"),
        ("both.npz", "begins as another one"),
        ("text.npz", "is not one"),
        ("device.npz", "not a regular file"),
        ("absent.npz", "existing .npz"),
        ("", "the folder"),
    ):
        with pytest.raises(InputError, match=said):
            read_arrays(tmp_path / name, ["W"])


def test_what_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    write_arrays(path, HELD)
    monkeypatch.setattr("experiments.memory.available_memory", lambda: 15 * 8 - 1)
    with pytest.raises(InputError, match="Need memory for 'W'"):
        read_arrays(path, ["W"])
    assert module.read_arrays(path, ["n"])["n"].tolist() == [4, 5, 6]


def test_memory_is_bounded_by_the_container(tmp_path, monkeypatch):
    memory = "experiments.memory"
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    8 kB\n")
    monkeypatch.setattr(f"{memory}.MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(f"{memory}.CONTAINER", tmp_path)
    assert available_memory() == 8192
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory() == 8192
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_memory() == 4000
    require_memory(4000, "a point", "shrink it")
    with pytest.raises(InputError, match="shrink it"):
        require_memory(4001, "a point", "shrink it")
