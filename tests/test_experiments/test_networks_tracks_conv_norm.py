"""The track of normalised convolutions: attacks, bounds, claims, kills and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.networks.architectures import Architecture, build_network, embed
from experiments.networks.architectures.layers import Conv
from experiments.networks.tracks.normalised_convolutions import NormalisedConvolutions
from experiments.networks.tracks.options import ConvNormOptions
from experiments.networks.tracks.robustness import attacked, bounds, layer_values, stages_of
from experiments.networks.tracks.track import Cell, Result
from experiments.networks.training import loop
from proofs_check.run import check_claim
from tests.helpers import slow

pytestmark = pytest.mark.xdist_group("networks")

TRACK = NormalisedConvolutions()
TINY = {
    "seeds": 1,
    "per_class": 20,
    "noises": "0.1",
    "width": 0.25,
    "epochs": 10,
    "batch_size": 20,
    "reaches": "0.05,0.1,0.3",
    "attack_steps": 3,
}
OPTIONS = ConvNormOptions(**TINY)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Numbers and series of one method."""
    folder = tmp_path_factory.mktemp("convnorm")
    cell = next(c for c in TRACK.cells(OPTIONS) if c.method == "circular")
    return cell, TRACK.measure(OPTIONS, cell, folder)


@pytest.fixture(scope="module")
def network():
    architecture = Architecture("convnet", width=0.25, normalisation="batch")
    return build_network(architecture, (6, 5, 2), 3, 7, jax.random.key(1))


def losses(network, x, y):
    logits = embed(network, x)[1]
    return np.log(np.sum(np.exp(logits - logits[range(len(y)), y, None]), axis=1))


def test_attacks_stay_within_reach_and_the_box_and_raise_the_loss(network):
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 2, size=(9, 6, 5, 2)).astype(np.float32)
    y, reach = rng.integers(0, 3, size=9), np.array([0.1, 0.2], np.float32)
    box = np.array([-1.0, -0.9], np.float32), np.array([2.0, 1.9], np.float32)
    before = losses(network, images, y)
    worst = []
    for steps in (1, 10):
        x = attacked(network, images, y, reach, box, steps, 0)
        inside = np.clip(images, box[0], box[1])
        assert np.abs(x - inside).max(axis=(0, 1, 2)) == pytest.approx(reach, abs=1e-5)
        assert np.all((x >= box[0]) & (x <= box[1]))
        assert np.mean(losses(network, x, y) > before) > 0.8
        worst.append(losses(network, x, y).mean())
    # More steps go further, and another seed starts elsewhere.
    assert worst[1] > worst[0]
    other = attacked(network, images, y, reach, box, 10, 1)
    assert not np.array_equal(other, x)


def test_values_of_layers_are_those_of_their_matrices():
    conv = Conv(jax.random.key(0), 2, 3, bias=True)
    units = np.eye(40, dtype=np.float32).reshape(40, 4, 5, 2)
    A = np.asarray(conv(jnp.asarray(units)), float).reshape(40, 20, 3)
    norm, least, most = layer_values(lambda x: conv(x) + 1.5, (4, 5, 2))
    assert norm == pytest.approx(np.linalg.norm(A.reshape(40, 60), 2), rel=1e-5)
    values = [np.linalg.svd(A[:, :, k])[1] for k in range(3)]
    assert (least, most) == pytest.approx((np.min(values), np.max(values)), rel=1e-4)


def test_no_difference_grows_by_more_than_the_bound(network):
    found = bounds(network, (6, 5, 2))
    rng = np.random.default_rng(2)
    x, move = (rng.normal(size=(200, 6, 5, 2)).astype(np.float32) for _ in range(2))
    far = embed(network, x + 0.01 * move)[1] - embed(network, x)[1]
    gains = np.linalg.norm(far, axis=1) / np.linalg.norm(0.01 * move.reshape(200, -1), axis=1)
    assert gains.max() < found["lipschitz"]
    # By hand: both stages, with their batch normalisation, the feature layer and the classifier.
    shapes = ((6, 5, 2), (3, 2, 4))
    stages = [
        layer_values(stage, shape)[0]
        for stage, shape in zip(stages_of(network), shapes, strict=True)
    ]
    rest = [np.linalg.norm(np.asarray(W), 2) for W in (network.body.last.weight, network.head.W)]
    assert found["lipschitz"] == pytest.approx(np.prod(stages) * np.prod(rest), rel=1e-5)
    assert found["layer_norm"] == pytest.approx(max(stages))


def test_a_cell_says_what_it_should(measured):
    numbers, series = measured[1]
    assert (numbers["channel_least"], numbers["channel_most"]) == pytest.approx((1, 1), abs=1e-4)
    assert 0 < numbers["gain"] < numbers["lipschitz"]
    assert numbers["radius"] > 0
    assert series["eps"] == [0.05, 0.1, 0.3]
    assert numbers["pgd"] == series["pgd"][1]
    assert series["fgsm"][0] > series["fgsm"][2]
    for text, said, seen in TRACK.exact(OPTIONS):
        assert seen == pytest.approx(said, abs=1e-5), text


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 9},
        {"attack_steps": 4},
        slow({"per_class": 21}),
        slow({"noises": "0.3"}),
        slow({"width": 0.125}),
        slow({"batch_size": 25}),
        slow({"learning_rate": 0.02}),
        slow({"weight_decay": 5e-3}),
        slow({"reaches": "0.05,0.15,0.3"}),
        slow({"network": "resnet18", "width": 0.03125}),
    ],
)
def test_options_change_numbers(measured, tmp_path, change):
    options = ConvNormOptions(**{**TINY, **change})
    cell = next(c for c in TRACK.cells(options) if c.method == "circular")
    assert TRACK.measure(options, cell, tmp_path)[0] != measured[1][0]


def test_a_kill_in_training_changes_nothing(measured, tmp_path, monkeypatch):
    cell, whole = measured
    save = loop.save_checkpoint

    def killed(*words):
        save(*words)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        TRACK.measure(OPTIONS, cell, tmp_path)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    assert TRACK.measure(OPTIONS, cell, tmp_path) == whole


def test_claims_have_teeth():
    circular = {
        "accuracy": 0.95,
        "fitted": 0.85,
        "channel_least": 1 - 1e-6,
        "channel_most": 1.0,
        "gain": 20.0,
        "lipschitz": 150.0,
    }
    padded = {**circular, "channel_least": 0.1}
    rivals = {"none": {"accuracy": 0.96}, "batch": {"fitted": 0.93}, "padded": padded}

    def judged(change, share):
        cell = Cell(f"{share} % wrong labels", "circular", 0)
        result = Result(cell, {**circular, **change}, {}, rivals)
        return {c.id: check_claim(c) for c in TRACK.claims([result])}

    outside = {0: "conv-norm-noise", 20: "conv-norm-accuracy"}
    for share, id in outside.items():
        found = judged({}, share)
        assert found.pop(id).status.name == "NOT_APPLICABLE"
        assert all(o.status.name == "VERIFIED" and o.mutant_rejected for o in found.values())
    for change, share, id in (
        ({"channel_least": 0.99}, 0, "conv-norm-trained"),
        ({"gain": 160.0}, 0, "conv-norm-bound"),
        ({"accuracy": 0.9}, 0, "conv-norm-accuracy"),
        ({"fitted": 0.93}, 20, "conv-norm-noise"),
    ):
        assert judged(change, share)[id].status.name == "COUNTEREXAMPLE"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--network mlp", "Need --network"),
        ("--noises 1", "Need --noises"),
        ("--eps 0.2,0.1", "rising"),
        ("--eps nan", "Need --eps"),
        ("--attack-steps 1", "attack-steps"),
        ("--lr nan", "learning_rate"),
        ("--width 0", "width > 0"),
        ("--epochs 0", "epochs"),
        ("--batch-size 100000", "Need --batch-size"),
        ("--per-class 100000", "samples of class"),
        ("--data digitz", "write 'digits'"),
    ],
)
def test_bad_input_is_one_line(ufm, tmp_path, words, says):
    ran = ufm(f"track convnorm {words} --out", tmp_path / "x")
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 1
