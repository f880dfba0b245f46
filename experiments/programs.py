"""Programs kept on disk by what they are made of, so that a process need not trace them again.

A program belongs to the code of the lab, the versions and flags of JAX, the processor, the function
and the shapes and structure of its arguments; whoever has the same finds it, and gets the same
machine code. Functions of a user's own are never kept, since nobody here knows what they read.
"""

from __future__ import annotations

import os
import pickle
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from hashlib import blake2b
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

from experiments.files import fingerprint, read_whole, write_whole

# Told to the processes that are started from here.
PLACE = "UFM_PROGRAMS"
# Rooms whose code is part of what programs are kept by, and whose types may be in arguments.
ROOMS = ("ufm", "landscape")
# Folders of other versions that stay; the others are removed when a new one begins.
VERSIONS_KEPT = 4
PLAIN = (str, bytes, bool, int, float, complex, type(None))
DIGEST = 16  # hexadecimal digits before the content of a file
# How a program names what it calls outside of itself.
OUTSIDE = "custom_call"
# A flag is changed while a program is compiled.
_COMPILING = Lock()


# Told what was in the way of a folder, "reading" or "writing", and the cause.
Tell = Callable[[str, Path, str], None]


def keep_programs(folder: Path, tell: Tell = lambda doing, place, cause: None) -> None:
    """Keep the programs of this process, and of those that it starts, in a folder.

    Args:
        folder: of all versions; made when it is needed.
        tell: told of a folder that is damaged or cannot be written to.

    Example:
        >>> from tempfile import gettempdir
        >>> from ufm.kept import keep_with
        >>> keep_programs(Path(gettempdir(), "programs"))
        >>> keep_with(None)
    """
    from ufm.kept import keep_with

    keep_with(Programs(folder, tell))
    os.environ[PLACE] = str(folder)


class Programs:
    """A keeper of programs (``ufm.kept``) in a folder.

    Args:
        folder: of all versions; made when it is needed.
        tell: told of a folder that is damaged or cannot be written to.
    """

    def __init__(self, folder: Path, tell: Tell) -> None:
        self.folder, self.tell = folder, tell
        self._loaded: dict[Any, Any] = {}
        self._locks: dict[Any, Lock] = {}
        self._changing = Lock()

    def __call__(self, function: Any, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """The result of a kept function, by a program from the disk where there is one."""
        import jax

        leaves, tree = jax.tree.flatten(args)
        kinds = [_kind(leaf) for leaf in leaves]
        if None in kinds:
            return function.jitted(*args, **static)
        key = (function.name, tuple(sorted(static.items())), tree, tuple(kinds))
        run = self._loaded.get(key)
        if run is not None:
            return run(*args)
        with self._changing:
            lock = self._locks.setdefault(key, Lock())
        with lock:  # once, however many threads ask
            run = self._loaded.get(key)
            if run is None:
                self._loaded[key], found = self._begun(function, args, static, tree, kinds)
                return found
        return run(*args)

    def forget(self) -> None:
        """Let go of everything in memory."""
        with self._changing:
            self._loaded.clear()

    def _begun(
        self, function: Any, args: Any, static: dict[str, Any], tree: Any, kinds: list[Any]
    ) -> tuple[Any, Any]:
        """The program of a call, read or else compiled and written, and its first result."""
        structure = _structure(tree)
        ours = function.name.partition(".")[0] in ROOMS and structure is not None
        if not ours or not all(type(x) in PLAIN for x in static.values()):
            run = partial(function.jitted, **static)
            return run, run(*args)
        told = repr((function.name, sorted(static.items()), structure, kinds))
        path = self.folder / surroundings() / blake2b(told.encode(), digest_size=20).hexdigest()
        try:
            run = _unpacked(read_whole(path), path.name, args)
            return run, run(*args)
        except FileNotFoundError:
            pass
        except Exception as error:  # whatever XLA says of what it cannot load, or run
            with suppress(OSError):
                path.unlink()
            self.tell("reading", self.folder, str(error) or type(error).__name__)
        run, alone = _compiled(function, args, static)
        if not alone:
            return run, run(*args)
        try:
            content = _packed(run)
            if not path.parent.exists():
                _make_room(self.folder)
                path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, fingerprint(content, path.name).encode() + content)
        except OSError as error:
            self.tell("writing", self.folder, error.strerror or str(error))
        return run, run(*args)


def _kind(leaf: Any) -> tuple[Any, ...] | None:
    """Shape and type of an array or a number on the first device; None of anything else."""
    import jax
    import numpy as np

    if type(leaf) is np.ndarray:  # what JAX says of it, at a tenth of the time
        return leaf.shape, leaf.dtype, False
    if isinstance(leaf, jax.Array) and leaf.sharding.device_set != {jax.devices()[0]}:
        return None
    try:
        aval: Any = jax.typeof(leaf)
    except TypeError:
        return None
    return tuple(aval.shape), aval.dtype, bool(aval.weak_type)


def _structure(tree: Any) -> Any:
    """A tree of arguments in words; None where something in it has no words of its own."""
    node = tree.node_data()
    if node is None:  # a leaf, or nothing
        return str(tree)
    kind, data = node
    if kind.__module__.partition(".")[0] not in (*ROOMS, "builtins") or not _is_plain(data):
        return None
    inner = [_structure(child) for child in tree.children()]
    return None if None in inner else (kind.__module__, kind.__qualname__, repr(data), inner)


def _is_plain(data: Any) -> bool:
    """Whether ``repr`` says all there is."""
    if isinstance(data, tuple | list):
        return all(_is_plain(item) for item in data)
    return type(data) in PLAIN or (isinstance(data, type) and data.__module__.startswith(ROOMS))


def _compiled(function: Any, args: Any, static: dict[str, Any]) -> tuple[Any, bool]:
    """A function compiled here and now, and whether it stands alone and may be kept.

    What calls a library (LAPACK) finds it only where the same was lowered before: read from a disk
    it ends the process. And what JAX's own cache has cannot be taken apart again: an executable
    that XLA reads for CPUs is written without the code of its loops (jaxlib 0.10).
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    # Of its own: another lowering may be compiled already, by being read.
    lowered = function.anew().lower(*args, **static)
    if OUTSIDE in lowered.as_text():
        return lowered.compile(), False
    with _COMPILING:
        flags: Any = jax.config
        used = flags.jax_enable_compilation_cache
        try:
            jax.config.update("jax_enable_compilation_cache", False)
            compilation_cache.reset_cache()
            return lowered.compile(), True
        finally:
            jax.config.update("jax_enable_compilation_cache", used)
            compilation_cache.reset_cache()


def _packed(compiled: Any) -> bytes:
    """An executable and what it returns, a tree of numbers."""
    import jax
    from jax.experimental.serialize_executable import serialize

    payload, _, returned = serialize(compiled)
    return pickle.dumps((payload, jax.tree.unflatten(returned, range(returned.num_leaves))))


def _unpacked(content: bytes, name: str, args: Any) -> Any:
    """The executable in a file.

    Raises:
        ValueError: the file is damaged.
    """
    import jax
    from jax.experimental.serialize_executable import deserialize_and_load

    if content[:DIGEST] != fingerprint(content[DIGEST:], name).encode():
        raise ValueError("its checksum does not fit its content")
    payload, template = pickle.loads(content[DIGEST:])
    given, returned = jax.tree.structure((args, {})), jax.tree.structure(template)
    return deserialize_and_load(payload, given, returned)


@cache
def surroundings() -> str:
    """A digest of everything but the function: code, versions, flags, devices and processor.

    Example:
        >>> len(surroundings())
        40
    """
    import jax

    # What is kept, and how, is decided in this file.
    digest = blake2b(Path(__file__).read_bytes(), digest_size=20)
    for room in ROOMS:
        for name, content in _code(resources.files(room)):
            digest.update(f"{name} {len(content)} ".encode() + content)
    devices = [(x.platform, x.device_kind) for x in jax.devices()]
    flags: Any = jax.config
    digest.update(
        repr(
            (
                jax.__version__,
                version("jaxlib"),
                sys.version,
                platform.platform(),
                _processor(),
                devices,
                jax.process_count(),
                os.environ.get("XLA_FLAGS", ""),
                sorted((name, repr(value)) for name, value in flags.values.items()),
            )
        ).encode()
    )
    return digest.hexdigest()


def _code(folder: Any, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda x: str(x.name)):
        if entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _code(entry, f"{prefix}{entry.name}/")


def _processor() -> str:
    """What machine code may be used here."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
        wanted = ("flags", "Features", "model name", "CPU part")
        return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
    return f"{platform.machine()} {platform.processor()}"


def _make_room(folder: Path) -> None:
    """Remove the programs of versions that were used least recently."""
    with suppress(OSError):
        versions = sorted(folder.iterdir(), key=lambda x: x.stat().st_mtime)
        for place in versions[: 1 - VERSIONS_KEPT]:
            shutil.rmtree(place, ignore_errors=True)
