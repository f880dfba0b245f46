"""Image sets in files: what is written comes back, and what is damaged or missing is refused."""

import gzip
import pickle
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.networks.data import SOURCES, load, registry
from experiments.networks.data.cifar import MAX_BYTES, read_records
from experiments.networks.data.idx import MAX_ENTRIES, read_idx, read_split
from tests.images import IDX_NAMES, idx_bytes, write_cifar10, write_cifar100, write_idx
from ufm.errors import InputError

ARRAY = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
GOOD = idx_bytes(ARRAY)
# No array of the tests has a thousandth of this; a header that is believed asks for far more.
MOST_MEMORY = 2**23


def refuse(path: Path, ndim: int = 3) -> InputError | None:
    """The error of reading a file, after checking how much memory it took."""
    tracemalloc.start()
    try:
        read_idx(path, ndim)
    except InputError as error:
        return error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_MEMORY
    return None


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("inside", ["", "idx"])
def test_idx_files_come_back(tmp_path, suffix, inside) -> None:
    (images, labels), (test_images, _) = write_idx(tmp_path / inside, suffix=suffix)
    data = load("idx", tmp_path)
    assert (data.num_classes, data.image_shape, data.name) == (3, (7, 5, 1), "idx")
    assert (data.train.num_samples, data.test.num_samples) == (6, 4)
    np.testing.assert_array_equal(data.train.labels, labels)
    np.testing.assert_array_equal(data.train.images[..., 0], np.float32(images) / np.float32(255))
    np.testing.assert_array_equal(np.rint(data.test.images[..., 0] * 255), test_images)


def test_names_with_a_dot_and_compressed_content_without_a_suffix_are_read(tmp_path) -> None:
    write_idx(tmp_path, suffix=".gz")
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx").removesuffix(".gz"))
    assert load("idx", tmp_path).train.num_samples == 6


def test_the_folder_may_stand_in_the_name(tmp_path) -> None:
    write_idx(tmp_path)
    assert load(f"idx:{tmp_path}").fingerprint == load("idx", str(tmp_path)).fingerprint


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist_and_its_namesake_need_images_of_28_by_28(tmp_path, name) -> None:
    write_idx(tmp_path, 28, 28, (11, 3), 10, ".gz")
    data = load(name, tmp_path)
    assert (data.name, data.num_classes, data.image_shape) == (name, 10, (28, 28, 1))
    write_idx(tmp_path, 28, 27, (11, 3), 10, ".gz")
    with pytest.raises(InputError, match=r"28 x 28 pixels in .*Got 28 x 27.*under the name idx"):
        load(name, tmp_path)


def test_fashion_mnist_has_a_default_folder(tmp_path, monkeypatch) -> None:
    assert SOURCES["fashion-mnist"].default_folder == Path("/usr/share/datasets/fashion-mnist")
    write_idx(tmp_path, 28, 28, (11, 3), 10)
    source = registry.Source(**{**vars(SOURCES["fashion-mnist"]), "default_folder": tmp_path})
    monkeypatch.setattr(registry, "SOURCES", {**SOURCES, "fashion-mnist": source})
    assert load("fashion-mnist").train.num_samples == 11


def test_an_environment_variable_has_the_folders_of_sets(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UFM_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"in a folder.*--data idx:FOLDER, .*, UFM_DATA"):
        load("idx")
    write_idx(tmp_path / "idx")
    assert load("idx").train.num_samples == 6
    # A folder that is named goes before.
    with pytest.raises(InputError, match="is no folder"):
        load("idx", tmp_path / "elsewhere")


def test_a_class_without_a_sample_is_named(tmp_path) -> None:
    write_idx(tmp_path, 28, 28, (11, 3), 9)
    with pytest.raises(InputError, match=r"each of the 10 classes of mnist. Got no sample of cla"):
        load("mnist", tmp_path)


def test_missing_files_are_named_with_what_to_do(tmp_path) -> None:
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz.*is no folder.*dataset-fas"):
        load("fashion-mnist", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has none of them.*--data mnist:FOLDER"):
        load("mnist", tmp_path)
    write_idx(tmp_path)
    (tmp_path / IDX_NAMES[1][0]).unlink()
    with pytest.raises(InputError, match=r"Got .* without t10k-images-idx3-ubyte\."):
        load("idx", tmp_path)
    with pytest.raises(InputError, match=r"Need the files of mnist.*Got no folder"):
        load("mnist")


def test_one_label_per_image(tmp_path) -> None:
    (tmp_path / "images").write_bytes(GOOD)
    (tmp_path / "labels").write_bytes(idx_bytes(np.zeros(3)))
    with pytest.raises(InputError, match=r"Got 3 labels and 4 images"):
        read_split(tmp_path / "images", tmp_path / "labels")


def damaged_header(*values: int, magic: bytes = b"\0\0\x08\x03") -> bytes:
    return magic + struct.pack(">3I", *values) + GOOD[16:]


CUT = gzip.compress(GOOD)[:-9]
FLIPPED = bytes([*gzip.compress(GOOD)[:-6], 255, 255, *gzip.compress(GOOD)[-4:]])
BODY = bytes([*gzip.compress(GOOD)[:10], gzip.compress(GOOD)[10] ^ 255, *gzip.compress(GOOD)[11:]])

REFUSED = [
    ("empty", b"", "first bytes .none."),
    ("text", b"<html>Not found", "first bytes 3c 68 74 6d"),
    ("short header", GOOD[:15], "whole header of 16 bytes .* Got 15 bytes"),
    ("truncated", GOOD[:-1], "exactly 24 bytes .* 4 x 3 x 2 .* Got 23 bytes"),
    ("trailing", GOOD + b"\0", "exactly 24 bytes .* Got more"),
    ("labels", idx_bytes(ARRAY.ravel()), "1 axes instead of 3.*swapped"),
    ("int32", damaged_header(4, 3, 2, magic=b"\0\0\x0c\x03"), "entries of type 0x0c"),
    ("huge", damaged_header(2**32 - 1, 2**32 - 1, 2**32 - 1), "4,294,967,295 x"),
    ("large", damaged_header(2**30, 1, 1), "Got 24 bytes"),
    ("too large", damaged_header(2**30 + 1, 1, 1), f"between 1 and {MAX_ENTRIES:,} entries"),
    ("no image", damaged_header(0, 28, 28), "a header for 0 x 28 x 28"),
    ("cut gzip", CUT, "undamaged gzip data .*ended before"),
    ("flipped gzip", FLIPPED, "undamaged gzip data .*CRC"),
    ("more gzip", gzip.compress(GOOD + b"\0"), "Got more"),
    ("flipped body", BODY, "undamaged gzip data .*decompressing"),
    ("after gzip", gzip.compress(GOOD) + b"rest", "undamaged gzip data"),
]


@pytest.mark.parametrize(("content", "says"), [x[1:] for x in REFUSED], ids=[x[0] for x in REFUSED])
def test_a_damaged_idx_file_is_refused(tmp_path, content, says) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    error = refuse(path)
    assert error is not None
    assert str(path) in str(error)
    with pytest.raises(InputError, match=says):
        raise error


def test_an_undamaged_file_passes_where_those_were_refused(tmp_path) -> None:
    for content in (GOOD, gzip.compress(GOOD)):
        (tmp_path / "images").write_bytes(content)
        assert refuse(tmp_path / "images") is None
        np.testing.assert_array_equal(read_idx(tmp_path / "images", 3), ARRAY)


def test_a_folder_or_nothing_in_place_of_a_file(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match=r"Need an IDX file that can be read"):
            read_idx(path, 1)


flips = st.lists(st.integers(0, 8 * 16 - 1), min_size=1, max_size=3, unique=True)


@given(flips, st.booleans())
@example([8 * 4], True)
def test_flipped_bits_in_the_header_never_pass(bits, compressed) -> None:
    content = bytearray(GOOD)
    for bit in bits:
        content[bit // 8] ^= 1 << bit % 8
    shape = struct.unpack(">3I", content[4:16])
    harmless = content[:4] == GOOD[:4] and np.prod(shape, dtype=object) == ARRAY.size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images"
        path.write_bytes(gzip.compress(bytes(content)) if compressed else bytes(content))
        assert (refuse(path) is None) == harmless


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3))
def test_any_truncation_is_refused(length, rest) -> None:
    content = GOOD[:length] + rest
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images"
        path.write_bytes(content)
        whole = len(content) == len(GOOD) and length >= 16
        assert (refuse(path) is None) == (whole or content == GOOD)


@given(st.data())
def test_damaged_gzip_data_never_escape_as_another_error(data) -> None:
    packed = bytearray(gzip.compress(GOOD, mtime=0))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    content = bytes(packed[: data.draw(st.integers(0, len(packed)))])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images"
        path.write_bytes(content)
        # What passes (a flip in the time stamp, say) is the very array.
        if refuse(path) is None:
            np.testing.assert_array_equal(read_idx(path, 3), ARRAY)


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_cifar10_comes_back(tmp_path, inside) -> None:
    made = write_cifar10(tmp_path / inside)
    data = load("cifar-10", tmp_path)
    assert (data.num_classes, data.image_shape) == (10, (32, 32, 3))
    for which, split in (("train", data.train), ("test", data.test)):
        pixels, labels = made[which]
        np.testing.assert_array_equal(split.images, np.float32(pixels) / np.float32(255))
        np.testing.assert_array_equal(split.labels, labels)


def test_cifar100_has_classes_and_superclasses(tmp_path) -> None:
    write_cifar100(tmp_path / "cifar-100-binary")
    fine, coarse = load("cifar-100", tmp_path), load("cifar-100", tmp_path, coarse=True)
    assert (fine.num_classes, coarse.num_classes) == (100, 20)
    np.testing.assert_array_equal(fine.train.labels, np.arange(101) % 100)
    np.testing.assert_array_equal(coarse.train.labels, np.arange(101) % 100 % 20)
    assert coarse.title == "cifar-100, superclasses"


def test_damaged_cifar_files_are_refused(tmp_path) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    good = path.read_bytes()
    bad_label = bytearray(good)
    bad_label[3073] = 10
    for content, says in (
        (good[:-1], r"records of 3073 bytes in .*data_batch_3.bin. Got 6,145 bytes"),
        (b"", "Got 0 bytes"),
        (bytes(bad_label), r"labels in 0..9 in byte 0 .* Got 10 in record 1"),
        (good[:3073], "equally many records .* 1 in data_batch_3.bin"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=says):
            load("cifar-10", tmp_path)
    path.write_bytes(good)
    assert load("cifar-10", tmp_path).train.num_samples == 10
    path.unlink()
    with pytest.raises(InputError, match=r"without data_batch_3.bin.*cifar-10-binary.tar.gz"):
        load("cifar-10", tmp_path)


def test_a_huge_file_is_not_read(tmp_path) -> None:
    path = tmp_path / "train.bin"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a hole: no disk is used
    tracemalloc.start()
    with pytest.raises(InputError, match=r"Got 1,537,000,001 bytes"):
        read_records(path, (20, 100))
    assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    tracemalloc.stop()


class Bomb:
    """Its pickle, when loaded, leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("name", "pickled"),
    [("cifar-10", "data_batch_1"), ("cifar-100", "train"), ("cifar-10", "cifar-10-python.tar.gz")],
)
def test_pickles_are_never_opened(tmp_path, name, pickled) -> None:
    mark = tmp_path / "was-here"
    (tmp_path / pickled).write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError, match=f"pickles are never opened.*{pickled}.*binary.tar.gz"):
        load(name, tmp_path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()  # so the bomb works


def test_the_binary_version_is_read_where_pickles_lie_beside_it(tmp_path) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(b"")
    assert load("cifar-10", tmp_path).num_classes == 10


RECORD = 2 + 3072


@given(st.integers(0, 2 * RECORD), st.integers(0, 255), st.integers(0, 255), st.integers(0, 1))
def test_cut_cifar_files_and_labels_out_of_range_are_refused(length, coarse, fine, row) -> None:
    content = bytearray(2 * RECORD)
    content[row * RECORD : row * RECORD + 2] = bytes([coarse, fine])
    good = length in (RECORD, 2 * RECORD) and (
        row * RECORD >= length or (coarse < 20 and fine < 100)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.bin"
        path.write_bytes(content[:length])
        if good:
            assert len(read_records(path, (20, 100))[0]) == length // RECORD
        else:
            with pytest.raises(InputError, match=path.name):
                read_records(path, (20, 100))
