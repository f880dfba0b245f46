"""Files on disk: whole or not at all, checked when read, and one writer a folder."""

import fcntl
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import files
from experiments.files import (
    DamagedFile,
    read_record,
    read_whole,
    remove_unfinished,
    set_aside,
    whole_file,
    write_record,
    write_whole,
)
from experiments.lock import locked
from tests.conftest import ROOT
from ufm.errors import InputError

RECORD = {"name": "spätzle", "numbers": [1, 2.5, -3e-17, None], "more": {"deep": [True, "x"]}}


def test_bytes_and_permissions_are_those_of_a_usual_file(tmp_path):
    write_whole(tmp_path / "a", b"\x00\xff" * 1000)
    (tmp_path / "b").touch()
    assert read_whole(tmp_path / "a") == b"\x00\xff" * 1000
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"]
    assert modes[0] == modes[1]


WRITER = """
import os, sys, time
from contextlib import suppress
from pathlib import Path
from experiments.files import whole_file
with whole_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("begun", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    path = tmp_path / "a.json"
    command = [sys.executable, "-c", WRITER, str(path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"begun\n"
            (unfinished,) = tmp_path.iterdir()
            remove_unfinished(tmp_path)
            write_whole(path, b"whole")
            assert unfinished.exists()  # its writer lives
        finally:
            process.send_signal(signal.SIGKILL)
    assert unfinished.exists()
    write_whole(tmp_path / "b.json", b"another file")
    assert unfinished.exists()  # not of this file
    write_whole(path, b"again")
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json"]
    assert path.read_bytes() == b"again"


def test_a_file_that_was_taken_for_a_leftover_is_begun_again(tmp_path, monkeypatch):
    # Another process may look between our making the file and our holding it.
    lock, seen = fcntl.flock, []

    def late(handle, how):
        if not seen:
            seen.extend(tmp_path.iterdir())
            seen[0].unlink()
        lock(handle, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    write_whole(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert len(seen) == 1


def test_only_ours_are_removed(tmp_path):
    names = [".mine", ".a.json.12345678", ".a.json.1234567.unfinished", "a.12345678.unfinished"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".a.json.abcdefgh.unfinished").mkdir()
    with locked(tmp_path, "Mine"):
        pass
    assert sorted(os.listdir(tmp_path)) == sorted([*names, ".a.json.abcdefgh.unfinished", "lock"])


def test_what_never_ends_or_is_too_large_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "device"):
        with pytest.raises(OSError, match="not a regular file"):
            read_whole(path)
    with pytest.raises(IsADirectoryError):
        read_whole(tmp_path)
    write_whole(tmp_path / "a", b"12345")
    assert read_whole(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_whole(tmp_path / "a", 4)


@given(st.data())
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("record") / "a.json"
    write_record(path, RECORD)
    assert read_record(path) == RECORD
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    with suppress(DamagedFile):
        assert read_record(path) == RECORD


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"3", b"{}", b"[" * 10**5, b'{"checksum": []}', b"\xff\xfe", b"1" * 5000],
)
def test_what_is_no_record_is_damaged(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedFile):
        read_record(tmp_path / "a.json")


def test_a_record_belongs_to_its_name(tmp_path):
    write_record(tmp_path / "a.json", {"a": 1})
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    with pytest.raises(DamagedFile) as told:
        read_record(tmp_path / "b.json")
    assert pickle.loads(pickle.dumps(told.value)).filename == str(tmp_path / "b.json")
    assert set(json.loads((tmp_path / "b.json").read_text())) == {"a", "checksum"}


def test_several_damaged_files_of_one_name_are_all_kept(tmp_path):
    for content in (b"1", b"2", b"3"):
        write_whole(tmp_path / "a", content)
        set_aside(tmp_path / "a")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "damaged").iterdir()}
    assert kept == {"a": b"1", "a.1": b"2", "a.2": b"3"}
    assert set_aside(tmp_path / "a") is None


def test_one_process_has_a_folder(tmp_path):
    with (
        locked(tmp_path / "new", "Only one writes"),
        pytest.raises(InputError, match=r"Only one writes.*another process"),
        locked(tmp_path / "new", "Only one writes"),
    ):
        pytest.fail("two have it")
    with locked(tmp_path / "new", "Only one writes"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can be written"), locked(tmp_path / "file", "Mine"):
        pytest.fail("a file is no folder")


def test_many_writers_of_one_file_leave_one_whole_content(tmp_path):
    path, contents = tmp_path / "a", [bytes([i]) * 10_000 for i in range(8)]
    threads = [threading.Thread(target=write_whole, args=(path, x)) for x in contents * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_file_appears_whole_or_not_at_all(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail_half_way() -> None:
        with whole_file(path) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"
    with whole_file(path) as stream:
        stream.write(b"new")
    assert path.read_text() == "new"
