"""A user's own network and arrays: what the contract asks, what is refused, and both in a run."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.networks.architectures import Architecture, build_network, embed, trainable
from experiments.networks.data import load
from experiments.networks.data.user_arrays import from_arrays
from experiments.networks.training import TrainSettings
from ufm.errors import InputError

pytestmark = pytest.mark.xdist_group("networks")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/own-network.md").read_text(encoding="utf-8")
SHAPE, K, D = (2, 3, 1), 4, 5
KEY = jax.random.key(0)
# Beside the class of the page: one that cannot be used for each reason.
MORE = '''

import jax.numpy as jnp


class Pair(Net):
    def __call__(self, image):
        return super().__call__(image), image


class Narrow(Net):
    def __call__(self, image):
        return super().__call__(image)[1:]


class Broken(Net):
    def __call__(self, image):
        return super().__call__(image) / jnp.zeros(())


class Counts(Net):
    def __call__(self, image):
        return jnp.arange(self.last.out_features)


class Fails(Net):
    def __call__(self, image):
        raise ValueError("no image like that")


class Silent(eqx.Module):
    def __init__(self, key, image_shape, d):
        pass


class Unmade(Net):
    def __init__(self, key, image_shape, d):
        self.first = eqx.nn.Linear(3, 4)


class Table(Net):
    """Reads its pixels in an order that nobody trains."""

    order: jax.Array

    def __init__(self, key, image_shape, d):
        super().__init__(key, image_shape, d)
        self.order = jnp.arange(6)[::-1]

    def __call__(self, image):
        return super().__call__(image.ravel()[self.order].reshape(image.shape))


three = 3
no_module = lambda key, image_shape, d: "text"
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The class of the page, and the others."""
    (text,) = re.findall(r"^```python\n# net.py\n(.*?)^```", PAGE, re.M | re.S)
    path = tmp_path_factory.mktemp("own") / "net.py"
    path.write_text(text + MORE)
    return path


def build(file, name="Net", **changes):
    return build_network(Architecture(f"{file}:{name}", **changes), SHAPE, K, D, KEY)


def test_a_network_of_ones_own_is_the_function_it_says(file):
    network = build(file)
    images = np.random.default_rng(1).normal(size=(7, *SHAPE)).astype(np.float32)
    weights = network.body.weights
    flat = images.reshape(7, -1)
    hidden = np.maximum(flat @ np.asarray(weights.first.weight).T + weights.first.bias, 0)
    expected = hidden @ np.asarray(weights.last.weight).T + np.asarray(weights.last.bias)
    features, logits = embed(network, images)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
    assert logits.shape == (7, K)
    # Under 64-bit JAX Equinox makes float64 weights; the lab trains float32 ones.
    assert {leaf.dtype for leaf in jax.tree.leaves(network)} == {jnp.dtype("float32")}


def test_width_and_relu_reach_the_network(file):
    assert build(file, width=0.25).body.weights.first.bias.shape == (16,)
    images = np.random.default_rng(2).normal(size=(9, *SHAPE)).astype(np.float32)
    plain, cut = (embed(build(file, features=f), images)[0] for f in ("linear", "relu"))
    np.testing.assert_array_equal(cut, np.maximum(plain, 0))
    assert (plain < 0).any()


def test_arrays_of_integers_are_kept_and_not_trained(file):
    network = build(file, "Table")
    mask = trainable(network)
    assert jax.tree.leaves(mask.state) == [False]
    assert all(jax.tree.leaves(mask.body))
    images = np.random.default_rng(3).normal(size=(3, *SHAPE)).astype(np.float32)
    turned = images.reshape(3, -1)[:, ::-1].reshape(images.shape)
    np.testing.assert_allclose(embed(network, images)[0], embed(build(file), turned)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Nett", "Need a network named Nett .* use one of .*Net"),
        ("three", "to be a class of equinox.Module. Got a int"),
        ("no_module", "to make an equinox.Module. Got a str"),
        ("Pair", "2 results. Remedy: return the features alone"),
        ("Narrow", r"features of shape \(5,\) .* Got shape \(4,\)"),
        ("Broken", "finite features .* Got NaN or infinity"),
        ("Counts", "real numbers. Got type int"),
        ("Fails", "ValueError: no image like that .*net.py"),
        ("Silent", "Got no __call__"),
        ("Unmade", "to make a module. Got TypeError"),
    ],
)
def test_what_is_no_network_is_refused(file, name, says):
    with pytest.raises(InputError, match=says):
        build(file, name)


def test_what_names_no_network_is_refused(file):
    with pytest.raises(InputError, match="no argument 'depth'"):
        build(file, depth=3)
    with pytest.raises(InputError, match="no argument 'width'"):
        build(file, "Table", width=2.0)
    for name, says in (("nowhere.py:Net", "existing Python file"), ("net:Net", "FILE.py:NAME")):
        with pytest.raises(InputError, match=says):
            build_network(Architecture(name), SHAPE, K, D, KEY)
    with pytest.raises(InputError, match=r"FILE\.py:NAME"):
        Architecture("net.py")


def test_an_edited_network_is_another_run(tmp_path, file):
    path = tmp_path / "net.py"
    path.write_text(file.read_text())
    settings = TrainSettings(architecture=Architecture(f"{path}:Net"))
    before = settings.key
    assert settings.key == before
    path.write_text(file.read_text().replace("relu", "tanh"))
    assert settings.key != before


def test_rows_and_images_become_a_data_set():
    X = np.arange(40.0).reshape(20, 2)
    data = from_arrays(X, [7, -1] * 10, X[:3], [7, 7, -1])
    assert (data.image_shape, data.num_classes) == ((1, 2, 1), 2)
    np.testing.assert_array_equal(data.train.labels, [1, 0] * 10)
    np.testing.assert_array_equal(data.test.labels, [1, 1, 0])
    np.testing.assert_allclose(data.train.images.ravel(), np.arange(40) / 39, rtol=1e-6)
    # One map for both splits.
    np.testing.assert_array_equal(data.test.images, data.train.images[:3])
    assert data.title == "own, classes -1, 7, numbers from 0 to 39 mapped to 0 to 1"
    for shape, seen in (((20, 3, 4), (3, 4, 1)), ((20, 3, 4, 2), (3, 4, 2))):
        values = np.random.default_rng(0).random(shape)
        data = from_arrays(values, ["b", "a"] * 10)
        assert (data.image_shape, data.train.num_samples, data.test.num_samples) == (seen, 16, 4)
        # Numbers in [0, 1] stay what they are.
        np.testing.assert_array_equal(data.test.images.ravel()[0], np.float32(values.ravel()[0]))


GOOD = np.random.default_rng(4).normal(size=(12, 3))
TWO = np.arange(12) % 2
BAD = GOOD.copy()
BAD[5, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"X": BAD}, "finite numbers in X of own. Got NaN or infinity in 1 of 12 rows"),
        ({"X_test": BAD, "y_test": TWO}, "finite numbers in X_test"),
        ({"y": np.zeros(12, int)}, "two classes or more in y of own. Got only 0"),
        ({"y": TWO[1:]}, r"one label in y for every row of X in own. Got y of shape \(11,\)"),
        ({"X_test": GOOD}, "X_test and y_test of own, or neither. Got X_test alone"),
        ({"y_test": TWO}, "Got y_test alone"),
        ({"X_test": GOOD[:, 1:], "y_test": TWO}, "of one shape"),
        ({"X_test": GOOD, "y_test": TWO + 1}, "of every label in y_test. Got none of 2"),
        ({"y": TWO / 2 + 0.25}, "integers or texts. Got type float64"),
        ({"y": [4, *TWO[1:]]}, "two samples or more of every class of own: .* Got one of 4"),
        ({"y": np.arange(12)}, "Got one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."),
        ({"X": GOOD.astype(str)}, "real numbers in X"),
        ({"X": GOOD[0]}, r"as \(N, p\)"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(arrays, says):
    with pytest.raises(InputError, match=says):
        from_arrays(**{"X": GOOD, "y": TWO, **arrays})


def test_a_class_of_one_sample_is_enough_where_the_test_split_is_given():
    y = np.array([4, *TWO[1:]])
    assert from_arrays(GOOD, y, GOOD, TWO).counts.tolist() == [5, 6, 1]


def test_a_file_is_read_by_its_ending(tmp_path):
    path = tmp_path / "points.npz"
    np.savez(path, X=np.random.default_rng(5).random((15, 4)), y=np.arange(15) % 5 % 2)
    data = load(str(path), balanced=True)
    assert (data.name, data.num_classes, len(set(data.counts.tolist()))) == ("points.npz", 2, 1)
    with pytest.raises(InputError, match="no options"):
        load(str(path), folds=3)
    np.savez(path, X=GOOD)
    with pytest.raises(InputError, match="an array named 'y'"):
        load(str(path))
    with pytest.raises(InputError, match=r"existing \.npz"):
        load(str(tmp_path / "nothing.npz"))


@pytest.fixture
def words(tmp_path, file):
    """A short run on three kinds of trees."""
    random = np.random.default_rng(6)
    kinds = np.arange(60) % 3
    X = 3 * random.normal(size=(3, 6))[kinds] + random.normal(size=(60, 6))
    np.savez(tmp_path / "trees.npz", X=X, y=np.array(["ash", "oak", "yew"])[kinds])
    return f"--network {file}:Net --data {tmp_path}/trees.npz -d 5 --batch-size 12 --epochs 3"


@pytest.mark.slow
def test_both_in_a_run_with_the_theory_beside(ufm, tmp_path, monkeypatch, file, words):
    monkeypatch.chdir(tmp_path)
    ran = ufm(f"train {words} --json --out", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert ran.json["inputs"]["settings"]["architecture"]["name"] == f"{file}:Net"
    assert set(ran.json["theory"]) == {"objective", "|W|^2", "|H|^2", "logit gap"}
    page = (tmp_path / "run" / "index.html").read_text()
    assert "classes ash, oak, yew" in page
    ran = ufm(f"compare {words} --widths 0.25 --loss ce --loss mse --seeds 1 --workers 1 --json")
    assert (ran.code, ran.json["folder"]) == (0, "comparisons/trees")


@pytest.mark.parametrize("command", ["train", "compare"])
def test_both_are_refused_in_one_line_before_any_training(ufm, tmp_path, words, command):
    for right, wrong, says in (
        (":Net", ":Pair", "2 results"),
        ("trees.npz", "nothing.npz", "existing .npz"),
        ("-d 5", "-d 5 --depth 7", "no argument 'depth'"),
    ):
        ran = ufm(f"{command} {words.replace(right, wrong)} --out", tmp_path / "other")
        assert (ran.code, says in ran.err, len(ran.err.splitlines())) == (2, True, 1)
        assert not (tmp_path / "other").exists()
