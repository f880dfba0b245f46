"""Runs in folders: whole, resumed, damaged, foreign; and what is measured at their end."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.files import read_record, write_record
from experiments.networks.architectures import Architecture
from experiments.networks.measures.calibration import reliability
from experiments.networks.measures.separation import class_separation
from experiments.networks.runs import DataRequest, RunRequest, other_sets, perform, read_run
from experiments.networks.runs import run as module
from experiments.networks.training import FeatureDecay, Outcome, TrainSettings, look, loop, train
from tests.helpers import slow
from ufm import InputError

DATA = DataRequest(per_class=6)
TINY = Architecture("mlp", width=8 / 256, depth=1)


def request(**given) -> RunRequest:
    usual = {"architecture": TINY, "d": 12, "epochs": 4, "batch_size": 20, "learning_rate": 0.1}
    return RunRequest(DATA, TrainSettings(**{**usual, **given}))


@pytest.fixture(scope="module")
def dataset():
    return DATA.load()


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    return perform(request(), dataset, tmp_path_factory.mktemp("whole"))


class Stop(Exception):
    """What a killed process does to the loop."""


def stop_after(epoch):
    def say(progress):
        if len(progress.records) == epoch:
            raise Stop

    return say


def test_a_run_that_is_stopped_goes_on_to_the_same_numbers(dataset, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 2)
    with pytest.raises(Stop):
        perform(request(), dataset, tmp_path, say=stop_after(3))
    part = read_run(tmp_path)
    assert (part.outcome, len(part.records), part.finished) == (Outcome.RUNNING, 2, False)
    done = perform(request(), dataset, tmp_path)
    assert done.finished
    assert done.records == whole.records
    assert done.final == whole.final
    for name, values in whole.assessment.answers.items():
        assert np.array_equal(done.assessment.answers[name], values)
    # A finished one is only read.
    monkeypatch.setattr(module, "epochs", lambda *_, **__: pytest.fail("it was trained again"))
    assert perform(request(), dataset, tmp_path).final == whole.final


def test_the_end_is_measured_on_the_network(dataset, whole):
    settings = request().settings
    network = train(settings, dataset.train.images, dataset.train.labels, 10).network
    test = look(network, dataset.test)
    assert whole.final["ece"] == reliability(test.logits, test.labels).ece
    separation = class_separation(test.features, test.labels).r_squared
    assert whole.final["separation_test"] == separation
    assert np.array_equal(whole.assessment.answers["features"], test.features)
    layers = whole.assessment.layers
    assert layers.shape == (2, 2)
    assert np.diag(layers) == pytest.approx(1)
    assert 0 < layers[0, 1] < 1
    epochs, values = whole.curve("nc1_geo")
    assert epochs.tolist() == [1, 2, 3, 4]
    assert values[-1] == whole.final["nc1_geo"]
    with pytest.raises(InputError, match=r"one of .*nc1_geo"):
        whole.curve("nc7")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("run.json", b"{", "Need a whole file of a run"),
        ("run.json", b"[1]", "Need a whole file of a run"),
        ("curve.json", b'{"outcome": "LATE", "records": []}', "Need a whole file of a run"),
        ("assessment.json", b'{"numbers": {}}', "Need a whole file of a run"),
        ("answers.npz", b"PK", "answers.npz, which is not one"),
    ],
)
def test_damaged_files_are_told(whole, tmp_path, file, content, says):
    for path in whole.folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert read_run(tmp_path).finished
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_run(tmp_path)


FILES = ("run.json", "curve.json", "assessment.json", "answers.npz")


def copied(whole, folder: Path) -> Path:
    shutil.copytree(whole.folder, folder)
    return folder


def test_a_flipped_bit_never_gives_other_numbers(whole, tmp_path):
    folder, rng = copied(whole, tmp_path / "run"), np.random.default_rng(0)
    told = 0
    for name in FILES:
        content = (folder / name).read_bytes()
        for place in rng.integers(0, 8 * len(content), 40):
            flipped = bytearray(content)
            flipped[place // 8] ^= 1 << (place % 8)
            (folder / name).write_bytes(bytes(flipped))
            try:
                found = read_run(folder)
            except InputError:
                told += 1
                continue
            assert (found.request, found.counts) == (whole.request, whole.counts)
            assert (found.records, found.final) == (whole.records, whole.final)
            for key, answers in whole.assessment.answers.items():
                assert np.array_equal(found.assessment.answers[key], answers)
        (folder / name).write_bytes(content)
    assert told > 120  # of 160; the others met white space or the like


WORTHLESS = [None, [], {}, "text", -1, 2**70, float("nan"), True, [[]], {"a": {}}]


def test_hostile_records_with_right_checksums_are_refused_in_our_words(whole, tmp_path):
    folder, rng = copied(whole, tmp_path / "run"), np.random.default_rng(1)
    told = 0
    for number in range(300):
        name = FILES[number % 3]
        content = (folder / name).read_bytes()
        record = place = read_record(folder / name)
        while True:
            key = rng.choice(list(place)) if isinstance(place, dict) else rng.integers(len(place))
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            place[key] = WORTHLESS[rng.integers(len(WORTHLESS))]
            break
        write_record(folder / name, record)
        try:
            found = read_run(folder)
            json.dumps([found.final, found.seconds, found.request.key, found.finished])
        except InputError:
            told += 1
        (folder / name).write_bytes(content)
    assert told > 100


@pytest.mark.parametrize("name", FILES)
def test_what_is_damaged_is_set_aside_and_computed_anew(
    dataset, whole, tmp_path, monkeypatch, name
):
    folder = copied(whole, tmp_path / "run")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    monkeypatch.setattr(loop, "make_step", lambda *_: pytest.fail("it was trained again"))
    again = perform(request(), dataset, folder)
    assert (again.records, again.final) == (whole.records, whole.final)
    assert (folder / "damaged" / name).read_bytes() == content
    assert read_run(folder).finished


def test_a_folder_belongs_to_one_run_and_its_data(dataset, whole):
    with pytest.raises(InputError, match="other settings"):
        perform(request(seed=1), dataset, whole.folder)
    other = DataRequest(per_class=7).load()
    with pytest.raises(InputError, match="other images or labels"):
        perform(request(), other, whole.folder)
    with pytest.raises(InputError, match=r"Need a whole file of a run.*run\.json"):
        read_run(whole.folder / "nothing")
    with pytest.raises(InputError, match="Need a folder that can be written to"):
        perform(request(), dataset, whole.folder / "run.json")


def test_a_run_that_diverges_keeps_what_it_has(dataset, tmp_path):
    made = request(learning_rate=1e4, schedule="constant", epochs=30, max_gradient_norm=0.0)
    found = perform(made, dataset, tmp_path)
    assert found.outcome is Outcome.NOT_FINITE
    assert found.finished
    assert found.assessment is None
    assert len(found.records) < 30
    assert json.loads((tmp_path / "curve.json").read_text())["outcome"] == "NOT_FINITE"


def test_a_request_survives_json_and_its_key_sees_everything():
    one = RunRequest(DataRequest("digits", 5, noise=0.25), TrainSettings(epochs=7), 3)
    assert RunRequest.from_record(json.loads(json.dumps(one.record()))) == one
    changes = [
        dataclasses.replace(one, measure_every=2),
        dataclasses.replace(one, settings=TrainSettings(epochs=8)),
        *(
            dataclasses.replace(one, data=dataclasses.replace(one.data, **change))
            for change in ({"seed": 1}, {"noise": 0.5}, {"per_class": 6}, {"balanced": False})
        ),
    ]
    assert len({one.key, *(change.key for change in changes)}) == 7
    with pytest.raises(InputError, match="Need the record of a run's request"):
        RunRequest.from_record({"data": {}})


@pytest.mark.parametrize(
    ("given", "counts", "title"),
    [
        ({"balanced": False, "per_class": None}, 142, "digits, standardised"),
        ({"per_class": None}, 139, "digits, balanced, standardised"),
        ({"per_class": 10, "imbalance": 5.0}, 10, "digits, 10 per class"),
        ({"per_class": 10, "noise": 0.2}, 10, "symmetric noise 0.2, seed 0"),
        ({"per_class": 10, "random_labels": True, "seed": 3}, 10, "permuted labels, seed 3"),
    ],
)
def test_every_option_of_the_data_is_heard(given, counts, title):
    made = DataRequest(**given).load()
    assert made.counts[0] == counts
    assert title in made.title
    assert made.standardised_by is not None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"per_class": 0}, "samples per class"),
        ({"imbalance": 0.5}, "imbalance"),
        ({"noise": 2.0}, "noise rate"),
        ({"noise": 0.1, "random_labels": True}, "not both"),
        ({"seed": -1}, "seed of the data"),
    ],
)
def test_bad_requests_are_refused(given, says):
    with pytest.raises(InputError, match=says):
        DataRequest(**given)


def test_sets_made_of_the_own_images(dataset):
    noise, scrambled = other_sets(dataset)
    own = dataset.test.images
    assert noise.images.shape == scrambled.images.shape == own.shape
    assert noise.images.mean(axis=0) == pytest.approx(own.mean(axis=0), abs=0.3)
    assert noise.images.std() == pytest.approx(own.std(), rel=0.05)
    flat, mixed = (x.reshape(len(x), -1) for x in (own, scrambled.images))
    assert np.array_equal(np.sort(flat), np.sort(mixed))
    assert not np.array_equal(flat, mixed)
    assert not np.array_equal(other_sets(dataset, seed=1)[1].images, scrambled.images)
    with pytest.raises(InputError, match="other than the one trained on"):
        other_sets(dataset, ("digits",))


@pytest.mark.slow
def test_another_set_is_fitted_and_probed(dataset, tmp_path):
    (*_, other) = other_sets(dataset, ("mnist5k",))
    assert other.images.shape[1:] == (8, 8, 1)
    assert other.labelled.standardised_by == dataset.standardised_by
    made = perform(request(epochs=40), dataset, tmp_path, others=[other])
    # Digits of another hand: far above chance, below what the own test set gets.
    assert 0.4 < made.final["probe_mnist5k"] < 0.98
    assert 0.5 < made.final["auroc_softmax_mnist5k"] < 1


@pytest.mark.parametrize("c", [0.2, slow(0.5)])
def test_decay_by_c(c):
    decay = FeatureDecay.at(c, 0.02, 3, 12, 0.01)
    assert np.sqrt(3 * 12 * decay.lambda_W * decay.lambda_H) == pytest.approx(c, rel=1e-14)
    assert (decay.lambda_W, decay.lambda_b) == (0.02, 0.01)
    with pytest.raises(InputError, match="c > 0"):
        FeatureDecay.at(-1.0, 0.02, 3, 12)


def test_folders_are_written_where_one_can(tmp_path: Path, dataset):
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="batch_size <= N"):
        perform(request(batch_size=1000), dataset, tmp_path / "new")
    assert not (tmp_path / "new").exists()  # so that the next try may have it


@pytest.mark.slow
def test_over_parameterisation_leaves_wrong_labels_alone():
    """40 % of the labels wrong: cross entropy learns many of them, SOP fits the others."""
    data = DataRequest(per_class=60, noise=0.4).load()
    accuracies, fits = {}, {}
    for name, rates in (("ce", {}), ("sop", {"rate_u": 100.0, "rate_v": 1000.0})):
        settings = TrainSettings(name, rates, 32, epochs=150, learning_rate=0.05)
        network = train(settings, data.train.images, data.train.labels, 10).network
        seen = {split: look(network, getattr(data, split)) for split in ("train", "test")}
        accuracies[name], fits[name] = (
            float(np.mean(s.logits.argmax(axis=1) == s.labels))
            for s in (seen["test"], seen["train"])
        )
    assert accuracies["sop"] > accuracies["ce"] + 0.1
    assert fits["sop"] < fits["ce"] - 0.1
    assert abs(fits["sop"] - 0.6) < 0.1
