"""The same network in every format that people have, and files that would rather do something."""

import json
import os
import pickle
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from experiments import array_formats, network_files
from experiments.array_formats import stored_arrays
from experiments.network_files import class_numbers, grouped, read_named, read_network
from ufm import InputError

K, D = 3, 5
RNG = np.random.default_rng(0)
Y = np.array([2, 0, 1, 0, 2, 1, 0])
NETWORK = {
    "features": RNG.normal(size=(7, D)).astype(np.float32),
    "labels": Y,
    "classifier": RNG.normal(size=(K, D)).astype(np.float32),
    "bias": RNG.normal(size=K).astype(np.float32),
}
SAFE = {"float32": "F32", "int64": "I64", "float16": "F16", "bfloat16": "BF16"}


def by_hand(arrays):
    """The format of safetensors, written from its description."""
    header, body = {}, b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        place = [len(body), len(body) + len(data)]
        header[name] = {
            "dtype": SAFE[str(array.dtype)],
            "shape": array.shape,
            "data_offsets": place,
        }
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def write(kind, folder, arrays):
    path = folder / f"network.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "npz-small":
        path = folder / "small.npz"
        np.savez_compressed(path, **arrays)
    elif kind == "npy":
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        return tuple(folder / f"{name}.npy" for name in arrays)
    elif kind == "safetensors":
        path.write_bytes(by_hand(arrays))
    elif kind == "pt":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(np.array(x)) for name, x in arrays.items()}, path)
    elif kind == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return (path,)


KINDS = ("npz", "npz-small", "npy", "safetensors", "pt", "h5")


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_holds_the_same_network(kind, tmp_path, monkeypatch):
    paths = write(kind, tmp_path, NETWORK)
    found = read_network(paths)
    for name, array in NETWORK.items():
        held = getattr(found, name)
        assert np.array_equal(held, array)
        assert held.dtype == array.dtype
    # And in blocks, that never hold it: 7 rows as 3, 3 and 1.
    monkeypatch.setattr(network_files, "LARGE", 8)
    monkeypatch.setattr(network_files, "BLOCK_ENTRIES", 3 * D)
    large = read_network(paths)
    assert not isinstance(large.features, np.ndarray)
    blocks = list(large.batches())
    assert [len(block) for block, _ in blocks] == [3, 3, 1]
    assert np.array_equal(np.concatenate([block for block, _ in blocks]), NETWORK["features"])
    assert np.array_equal(np.concatenate([labels for _, labels in blocks]), Y)


def test_features_named_H_with_a_row_per_label_are_not_held_either(tmp_path, monkeypatch):
    # H is (d, N) in the theory; the labels say which of the two this is, before it is read.
    monkeypatch.setattr(network_files, "LARGE", 8)
    rows, columns = tmp_path / "rows.npz", tmp_path / "columns.npz"
    np.savez(rows, H=NETWORK["features"], labels=Y)
    np.savez(columns, H=NETWORK["features"].T, labels=Y)
    large, turned = read_network([rows]), read_network([columns])
    assert not isinstance(large.features, np.ndarray)
    assert "a row per label" in large.notes[0]
    assert np.array_equal(np.concatenate([block for block, _ in large.batches()]), turned.features)


def test_the_writer_of_safetensors_itself_is_read(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file(
        {**NETWORK, "half": np.float16([1.5])}, tmp_path / "a.safetensors", {"by": "us"}
    )
    found = stored_arrays(tmp_path / "a.safetensors")
    assert {name: array.whole().tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in {**NETWORK, "half": np.float16([1.5])}.items()
    }


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_read_as_it_is(dtype, tmp_path):
    half = NETWORK["features"].astype(dtype if dtype == "float16" else ml_dtypes.bfloat16)
    (tmp_path / "h.safetensors").write_bytes(by_hand({**NETWORK, "features": half}))
    found = read_network((tmp_path / "h.safetensors",))
    assert str(found.features.dtype) == dtype
    assert np.array_equal(found.features.astype(np.float32), half.astype(np.float32))
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in NETWORK.items()}
    tensors["features"] = tensors["features"].to(getattr(torch, dtype))
    torch.save(tensors, tmp_path / "h.pt")
    other = read_network((tmp_path / "h.pt",)).features
    assert np.array_equal(other.astype(np.float32), half.astype(np.float32))


ALIASES = [
    {"features": "H", "classifier": "W", "bias": "b", "labels": "y"},
    {"features": "embeddings", "classifier": "weight", "bias": "bias", "labels": "targets"},
    {
        "features": "net.x",
        "classifier": "head.fc.weight",
        "bias": "head.fc.bias",
        "labels": "run.y",
    },
]


@pytest.mark.parametrize("names", ALIASES)
def test_names_of_habit_are_known(names, tmp_path):
    arrays = {names[name]: array for name, array in NETWORK.items()}
    if "H" in arrays:
        arrays["H"] = arrays["H"].T
    # A layer of another size stands beside the last one in a state dictionary.
    arrays["net.0.weight"] = np.zeros((4, 9), np.float32)
    (path,) = write("safetensors", tmp_path, arrays)
    if "head.fc.weight" not in arrays:
        arrays.pop("net.0.weight")
        (path,) = write("safetensors", tmp_path, arrays)
    found = read_network((path,))
    for name, array in NETWORK.items():
        assert np.array_equal(getattr(found, name), array)


def test_two_arrays_that_could_be_the_classifier_are_not_chosen_between(tmp_path):
    arrays = {"features": NETWORK["features"], "labels": Y}
    arrays |= {"a.weight": np.zeros((3, D), np.float32), "b.weight": np.ones((4, D), np.float32)}
    (path,) = write("safetensors", tmp_path, arrays)
    with pytest.raises(InputError, match=r"a.weight \(3, 5\), b.weight \(4, 5\).*as 'classifier'"):
        read_network((path,))


def test_spatial_axes_of_length_one_are_dropped_and_others_are_not(tmp_path):
    (path,) = write("npz", tmp_path, {**NETWORK, "features": NETWORK["features"][..., None, None]})
    found = read_network((path,))
    assert np.array_equal(found.features, NETWORK["features"])
    assert "(7, 5, 1, 1)" in found.notes[0]
    (path,) = write("npz", tmp_path, {**NETWORK, "features": np.zeros((7, D, 2, 1))})
    assert read_network((path,)).features.ndim == 4  # which measuring refuses


@pytest.mark.parametrize(
    ("raw", "rows", "numbers"),
    [
        (["cat", "dog", "ant"], None, [1, 2, 0]),
        ([10, -3, 10], 2, [1, 0, 1]),
        ([1, 2, 3], 3, [0, 1, 2]),
        ([1, 2, 2], 3, [1, 2, 2]),  # rows of the classifier, of which one has no sample
        ([0.0, 2.0, 1.0], None, [0, 2, 1]),
        ([[0], [1], [0]], None, [0, 1, 0]),
        ([[0, 1, 0], [1, 0, 0], [0, 0, 1]], None, [1, 0, 2]),
        ([0.5, 1.0], None, [0.5, 1.0]),
    ],
)
def test_labels_of_any_kind_are_numbered(raw, rows, numbers):
    assert class_numbers(np.array(raw), rows).tolist() == numbers


def test_renamed_labels_are_told_and_must_fit_the_classifier(tmp_path):
    texts = np.array(["c", "a", "b", "a", "c", "b", "a"])
    (path,) = write("npz", tmp_path, {**NETWORK, "labels": texts})
    found = read_network((path,))
    assert found.labels.tolist() == [2, 0, 1, 0, 2, 1, 0]
    assert found.notes == ("labels a, b, c are classes 0 to 2, in this order",)
    (path,) = write("npz", tmp_path, {**NETWORK, "labels": np.array(list("abababa"))})
    with pytest.raises(InputError, match="2 labels and 3 rows"):
        read_network((path,))


def test_logits_tell_features_of_another_layer(tmp_path):
    logits = NETWORK["features"] @ NETWORK["classifier"].T + NETWORK["bias"]
    (path,) = write("npz", tmp_path, {**NETWORK, "logits": logits})
    assert np.array_equal(read_network((path,)).features, NETWORK["features"])
    (path,) = write("npz", tmp_path, {**NETWORK, "logits": logits - NETWORK["bias"]})
    with pytest.raises(InputError, match="what goes into the last layer"):
        read_network((path,))


def test_files_are_grouped_by_network(tmp_path):
    for name in ("epoch10.npz", "epoch9.npz", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [paths[0].name for paths in grouped([tmp_path])] == ["epoch9.npz", "epoch10.npz"]
    with pytest.raises(InputError, match="npy files of one network"):
        grouped([tmp_path / "a.npy", tmp_path / "b.npz"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"an ending among \.npz"):
        grouped([tmp_path / "empty"])


class Hostile:
    """Unpickled, it makes a folder."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("kind", ["npz", "npy", "pt", "pth", "bare"])
def test_code_in_a_file_is_never_run(kind, tmp_path):
    target, bad = tmp_path / "was-run", Hostile(tmp_path / "was-run")
    path = tmp_path / f"bad.{'pt' if kind == 'bare' else kind}"
    if kind == "npz":
        np.savez(path, features=np.array([bad, 1], dtype=object), labels=Y)
    elif kind == "npy":
        np.save(path, np.array([bad, 1], dtype=object), allow_pickle=True)
    elif kind == "bare":
        pytest.importorskip("torch")
        path.write_bytes(pickle.dumps({"features": bad}))
    else:
        torch = pytest.importorskip("torch")
        torch.save({"features": torch.ones(2, 2), "labels": bad}, path)
    with pytest.raises(InputError):
        read_network((path,))
    assert not target.exists()
    # The control: whoever unpickles it runs it.
    pickle.loads(pickle.dumps(bad))
    assert target.exists()


def spoiled(arrays, **changes):
    """A header that says something else of the first array."""
    text = by_hand(arrays)
    (length,) = struct.unpack("<Q", text[:8])
    header = json.loads(text[8 : 8 + length])
    header["features"].update(changes)
    new = json.dumps(header).encode()
    return struct.pack("<Q", len(new)) + new + text[8 + length :]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 5) + b"nope!",
        spoiled(NETWORK, shape=[10**9, 10**9]),
        spoiled(NETWORK, shape=[-7, D]),
        spoiled(NETWORK, data_offsets=[0, 10**6]),
        spoiled(NETWORK, data_offsets=[-8, 7 * D * 4 - 8]),
        by_hand(NETWORK)[:-4],
    ],
)
def test_damaged_safetensors_are_refused(content, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="undamaged"):
        read_network((tmp_path / "a.safetensors",))


def test_hdf5_reads_no_other_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(8 * 7 * D))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["labels"] = Y
        place = [(str(tmp_path / "secret"), 0, 8 * 7 * D)]
        file.create_dataset("features", (7, D), np.float64, external=place)
    with pytest.raises(InputError, match="in others that it names"):
        read_network((tmp_path / "a.h5",))


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *rest):
        if name in ("torch", "h5py"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for name, says in (("a.pt", "pip install torch"), ("a.h5", r"\.\[formats\]")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=says):
            stored_arrays(tmp_path / name)
    assert set(array_formats.READERS) >= {Path(name).suffix for name in ("a.pt", "a.h5")}


def test_verdict_reads_the_same_files(tmp_path):
    arrays = {"head.weight": np.eye(3, D), "x": np.ones((3, D))}
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_named(tmp_path / "a.npz", ("W", "H"), ("b",))
    assert found["W"].shape == (3, D)
    assert found["H"].shape == (D, 3)


@pytest.mark.parametrize("name", ["features", "labels", "classifier", "bias"])
def test_a_single_number_is_no_array(name, tmp_path):
    (path,) = write("npz", tmp_path, {**NETWORK, name: np.float64(1.5)})
    with pytest.raises(InputError, match="axes"):
        read_network((path,))
