"""The one way to keep a file on disk: whole or not at all, and checked when read.

A file is written under ``.<name>.<eight characters>.unfinished`` beside its place, put on the disk
and renamed. Its writer holds a lock (flock) on it, which the kernel frees however the writer ends:
what nobody holds was left by a killed one, and the next writer removes it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from experiments.errors import input_error

DAMAGED = "damaged"
UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}\.unfinished")
# The entry of a record that tells whether a bit of the others was flipped.
CHECKSUM = "checksum"
# Far more than a record, a manifest or a batch of ours has; read at once, so memory is bounded.
MOST_BYTES = 2**30


class DamagedFile(OSError):
    """A file whose content is not what was written; an error of the file system like any other.

    Example:
        >>> DamagedFile(Path("a.json")).strerror
        'damaged: its checksum does not fit its content'
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            errno.EILSEQ, "damaged: its checksum does not fit its content", os.fspath(path)
        )

    def __reduce__(self) -> tuple[type[DamagedFile], tuple[Path]]:
        return type(self), (Path(self.filename),)


def cache_folder() -> Path | None:
    """Where this user's machine keeps what can be made again; None where nothing can be written.

    Example:
        >>> folder = cache_folder()
        >>> folder is None or folder.name == "ufm-lab"
        True
    """
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(home) if home else Path.home() / ".cache") / "ufm-lab"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None  # no home, or a read-only one
    return folder if os.access(folder, os.W_OK) else None


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary stream whose content appears at ``path`` when the block ends well, else not.

    Args:
        path: the file, in an existing folder; one that is there already is replaced.

    Raises:
        OSError: the folder does not exist or cannot be written to.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder) / "a.txt") as stream:
        ...         _ = stream.write(b"all of it")
        ...     [path.read_text() for path in Path(folder).iterdir()]
        ['all of it']
    """
    folder = path.absolute().parent
    remove_unfinished(folder, path.name)
    handle, name = _begun(folder, path.name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            # Else a power cut could leave the name without the content.
            os.fsync(handle)
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(handle, 0o666 & ~umask)
            # Before the lock goes with the stream: nobody takes it for a killed writer's.
            os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _begun(folder: Path, name: str) -> tuple[int, str]:
    """A new file with its lock held; another writer may have removed it before we held it."""
    while True:
        handle, place = tempfile.mkstemp(".unfinished", f".{name}.", folder)
        with suppress(OSError):  # a file system without locks: then nobody removes anything
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, place
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` as ``whole_file`` does.

    Raises:
        OSError: the folder does not exist or cannot be written to.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder) / "a.txt", b"all of it")
        ...     (Path(folder) / "a.txt").read_bytes()
        b'all of it'
    """
    with whole_file(path) as stream:
        stream.write(content)


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers left in a folder, of one file or of all.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, ".a.txt.12345678.unfinished").touch()
        ...     remove_unfinished(Path(folder))
        ...     os.listdir(folder)
        []
    """
    with suppress(OSError):
        for entry in os.listdir(folder):
            ours = UNFINISHED.fullmatch(entry) is not None
            if ours and (name is None or entry[:-20] == f".{name}"):
                with suppress(OSError), open_regular(folder / entry, os.O_RDWR) as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(folder / entry)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> IO[bytes]:
    """A stream of a regular file; a pipe or a device, which may never end, is refused.

    Raises:
        OSError: no such file, or not a regular one.

    Example:
        >>> open_regular(Path(os.devnull))
        Traceback (most recent call last):
        OSError: [Errno 22] not a regular file: '/dev/null'
    """
    # Not blocking: opening a pipe would wait for its writer.
    handle = os.open(path, flags | os.O_NONBLOCK)
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        code = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        what = "is a folder" if stat.S_ISDIR(kind) else "not a regular file"
        raise OSError(code, what, os.fspath(path))
    return os.fdopen(handle, "rb" if flags == os.O_RDONLY else "r+b")


def read_whole(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file of at most ``most`` bytes.

    Raises:
        OSError: no such file, not a regular one, or a larger one.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder, "a"), b"four")
        ...     read_whole(Path(folder, "a"), most=4)
        b'four'
    """
    with open_regular(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", os.fspath(path))
    return content


def fingerprint(content: bytes, owner: str = "") -> str:
    """16 hex digits of blake2b that change with the content, and with whose content it is.

    Example:
        >>> fingerprint(b"a"), fingerprint(b"a", "ada") == fingerprint(b"a", "bob")
        ('a83c3044f48932c9', False)
    """
    # The owner is hashed first, because blake2b takes a key of at most 64 bytes.
    return blake2b(content, key=blake2b(owner.encode()).digest()).hexdigest()[:16]


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write what JSON can hold, with a checksum of it that belongs to this name of a file.

    Raises:
        OSError: the folder does not exist or cannot be written to.
        TypeError: something that JSON cannot hold.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_record(Path(folder, "a.json"), {"c": (1, 2)})
        ...     read_record(Path(folder, "a.json"))
        {'c': [1, 2]}
    """
    content = json.loads(json.dumps(dict(record)))
    whole = {**content, CHECKSUM: _checksum(path, content)}
    write_whole(path, (json.dumps(whole, indent=1) + "\n").encode())


def read_record(path: Path) -> dict[str, Any]:
    """The record of a file, without its checksum.

    Raises:
        OSError: no such file, one that cannot be read, or a ``DamagedFile``.
    """
    content = read_whole(path)
    try:
        record: dict[str, Any] = json.loads(content)
        if record.pop(CHECKSUM) == _checksum(path, record):
            return record
    # Whatever a flipped bit makes of JSON: another type, no text, nesting without end.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise DamagedFile(path)


def _checksum(path: Path, record: Mapping[str, Any]) -> str:
    return fingerprint(json.dumps(record, sort_keys=True).encode(), path.name)


def set_aside(path: Path, folder: Path | None = None) -> Path | None:
    """Move a file to damaged/ under a name that is free there; None if there was nothing to move.

    Args:
        path: the file.
        folder: that has damaged/; by default the one of the file.

    Raises:
        OSError: it cannot be moved.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "a.json").touch()
        ...     set_aside(Path(folder, "a.json")).relative_to(folder).as_posix()
        'damaged/a.json'
    """
    place = (path.parent if folder is None else folder) / DAMAGED
    if not os.path.lexists(path):
        return None
    place.mkdir(exist_ok=True)
    target, count = place / path.name, 0
    while os.path.lexists(target):
        count += 1
        target = place / f"{path.name}.{count}"
    with suppress(FileNotFoundError):  # moved since
        os.rename(path, target)
        return target
    return None


@contextmanager
def accessible(path: Path, rule: str, remedy: str) -> Iterator[None]:
    """Turn an error of the file system inside the block into one that names the broken ``rule``.

    Raises:
        InputError: there was an OSError.

    Example:
        >>> with accessible(Path("no"), "Need a file", "make one"):
        ...     Path("no").read_bytes()
        Traceback (most recent call last):
        ufm.errors.InputError: Need a file. Got no: No such file or directory. Remedy: make one.
    """
    try:
        yield
    except OSError as error:
        got = f"{error.filename or path}: {error.strerror or error}"
        raise input_error(rule, got, remedy) from error
