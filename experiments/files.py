"""Files that appear all at once or not at all, what tells them apart, and errors in our words."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO


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

    Until then it is in a file ``.<name>.<eight characters>`` beside it, which is left behind only
    when the process is killed.

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
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` as ``whole_file`` does, and to the disk before the name.

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
        stream.flush()
        # Else a power cut could leave the name without the content.
        os.fsync(stream.fileno())


def fingerprint(content: bytes, owner: str = "") -> str:
    """16 hex digits of blake2b that change with the content, and with whose content it is.

    Example:
        >>> fingerprint(b"a"), fingerprint(b"a", "ada") == fingerprint(b"a", "bob")
        ('a83c3044f48932c9', False)
    """
    # The owner is hashed first, because blake2b takes a key of at most 64 bytes.
    return blake2b(content, key=blake2b(owner.encode()).digest()).hexdigest()[:16]


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
        from ufm.errors import InputError  # not above: it brings JAX, and help must come at once

        raise InputError(rule, f"{path}: {error.strerror or error}", remedy) from error
