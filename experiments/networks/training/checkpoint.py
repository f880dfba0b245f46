"""A tree of arrays in a folder, exact to the bit, in files of at most 15 MiB.

    checkpoint.json       whose it is, records, and where every array lies; replaced at once
    part-<digest>.bin     the arrays as Equinox serialises them, cut into parts named by content
    lock                  held (flock) while a process trains

Nothing is pickled, so reading a folder from elsewhere runs no code. A kill at any instant leaves
the last checkpoint or the new one: the parts of a new one have new names, and the old ones go only
when checkpoint.json names them no more. Parameters and momenta are 8 bytes a parameter: an MLP, a
ConvNet and ResNet-18 up to width 0.4 fit into one part; ResNet-18 at width 1, 11.2 million
parameters, takes six. Rounding them to fit into one would not resume exactly.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from experiments.files import (
    accessible,
    fingerprint,
    read_record,
    read_whole,
    write_record,
    write_whole,
)
from ufm.errors import InputError

MANIFEST = "checkpoint.json"
PART_BYTES = 15 * 2**20
PART = re.compile(r"part-[0-9a-f]{16}\.bin")

WRITABLE = ("Need a folder that checkpoints can be written to", "make room, or choose another one")
READABLE = ("Need a checkpoint that can be read", "give access to it, or train anew elsewhere")
DAMAGED = "train anew in another folder, or restore this one"


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint, good or damaged.

    Example:
        >>> has_checkpoint(Path("nowhere"))
        False
    """
    return (folder / MANIFEST).exists()


def save_checkpoint(folder: Path, key: str, tree: Any, about: Mapping[str, Any]) -> None:
    """Replace the checkpoint in an existing folder.

    Args:
        folder: existing.
        key: of the settings and the data, which ``load_checkpoint`` asks for.
        tree: arrays of numbers.
        about: what JSON can hold.

    Raises:
        InputError: the folder cannot be written to.
    """
    stream = io.BytesIO()
    eqx.tree_serialise_leaves(stream, tree)
    content = stream.getvalue()
    cut = [content[i : i + PART_BYTES] for i in range(0, len(content), PART_BYTES)]
    parts = [(_part_name(key, part), part) for part in cut]
    names = [name for name, _ in parts]
    manifest = {
        "key": key,
        "about": dict(about),
        "arrays": _arrays(tree),
        "parts": names,
    }
    with accessible(folder, *WRITABLE):
        for name, part in parts:
            if not (folder / name).exists():
                write_whole(folder / name, part)
        write_record(folder / MANIFEST, manifest)
        for path in folder.iterdir():
            if PART.fullmatch(path.name) and path.name not in names:
                path.unlink(missing_ok=True)


def load_checkpoint(folder: Path, key: str, template: Any) -> tuple[Any, dict[str, Any]]:
    """The tree and what was said about it.

    Args:
        folder: with a checkpoint.
        key: that the checkpoint must have been saved with.
        template: a tree of the same structure, shapes and types.

    Raises:
        InputError: no checkpoint, a damaged one, or that of another run.

    Example:
        >>> import tempfile
        >>> folder, tree = Path(tempfile.mkdtemp()), {"W": np.array([[1.0, 2.0]], np.float32)}
        >>> save_checkpoint(folder, "5eed", tree, {"epoch": 3})
        >>> load_checkpoint(folder, "5eed", tree)
        ({'W': array([[1., 2.]], dtype=float32)}, {'epoch': 3})
    """
    manifest = _read_manifest(folder)
    if manifest["key"] != key:
        got = f"{folder} with key {manifest['key']}, not {key}"
        remedy = "choose another folder, or the settings and data that it was made with"
        raise InputError("The checkpoint belongs to another run", got, remedy)
    content = b"".join(_read_part(folder, key, name) for name in manifest["parts"])
    # Equinox compares types and shapes, but not names.
    if _arrays(template) != manifest["arrays"]:
        got = f"{folder} with {len(manifest['arrays'])} arrays"
        raise InputError(
            "The checkpoint has another network's arrays", got, "choose another folder"
        )
    return eqx.tree_deserialise_leaves(io.BytesIO(content), template), manifest["about"]


def _arrays(tree: Any) -> list[list[Any]]:
    """Name, type and shape of every array."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    leaves = [(jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in flat]
    return [[path, array.dtype.name, list(array.shape)] for path, array in leaves]


def _part_name(key: str, part: bytes) -> str:
    return f"part-{fingerprint(part, key)}.bin"


def _read_manifest(folder: Path) -> dict[str, Any]:
    with accessible(folder / MANIFEST, *READABLE):
        manifest = read_record(folder / MANIFEST)
    names = manifest.get("parts")
    ours = isinstance(names, list) and all(PART.fullmatch(str(name)) for name in names)
    if not (ours and {"key", "about", "arrays"} <= manifest.keys()):
        raise InputError("Need the manifest of a checkpoint", folder / MANIFEST, DAMAGED)
    return manifest


def _read_part(folder: Path, key: str, name: str) -> bytes:
    path = folder / name
    with accessible(path, *READABLE):
        part = read_whole(path, PART_BYTES)
    if _part_name(key, part) != name:
        raise InputError("A part of a checkpoint is damaged", path, DAMAGED)
    return part
