"""The file lock of a folder: one process at a time writes a sweep, a run or a track."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.errors import input_error
from experiments.files import accessible, remove_unfinished

LOCK = "lock"


@contextmanager
def locked(folder: Path, rule: str) -> Iterator[None]:
    """Keep other writers out of a folder, which is made if need be, and remove what was left there.

    The kernel frees the lock when the process ends, however it ends; but processes that were
    forked from it inside the block hold it too.

    Args:
        folder: with the files, or with folders of them.
        rule: what is said when another process has the folder.

    Raises:
        InputError: another process has it, or it cannot be written to.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder), "Only one writes"):
        ...     os.listdir(folder)
        ['lock']
    """
    with accessible(folder, "Need a folder that can be written to", "make room, or choose another"):
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("ab")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.close()
            got = f"{folder}, which another process has"
            remedy = "wait until it ends, stop it, or choose another folder"
            raise input_error(rule, got, remedy) from error
    with stream:
        for place in (folder, *(entry for entry in folder.iterdir() if entry.is_dir())):
            remove_unfinished(place)
        yield
