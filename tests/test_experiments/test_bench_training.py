"""The row of ResNet-18: that ours and PyTorch's do the same, and that anything else is seen."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from experiments.benchmarks import training
from experiments.benchmarks.timing import Settings
from experiments.benchmarks.torch_resnet import arrays_of, torch_resnet18
from experiments.networks.training.settings import initial_network

WIDTH, FEW = 1 / 16, 8
LAYOUT = "contiguous_format"


def test_without_pytorch_its_lines_say_so_and_ours_is_timed(monkeypatch):
    monkeypatch.setattr(training, "torch_or_none", lambda: None)
    ours, *others = training.training("toy", WIDTH, FEW, Settings(quick=True, repeats=1))
    # Two blocks of every size, and a 1 x 1 shortcut where it changes.
    sizes = [4, 8, 16, 32]
    pairs = list(pairwise([4, *sizes]))
    weights = 9 * 4 + sum(9 * (a * b + 3 * b * b) + (a * b if a != b else 0) for a, b in pairs)
    scales = 2 * 4 + sum(2 * b * (5 if a != b else 4) for a, b in pairs)
    assert f"{weights + scales + 10 * 32 + 10:,} parameters, 2 images" in ours.work
    assert not ours.wrong
    assert "images/s" in ours.note
    assert [x.note for x in others] == ["not installed: pip install torch"] * 2


def test_arrays_are_those_of_pytorchs_layers():
    network = initial_network(training.settings_of(WIDTH, FEW), training.SHAPE, training.CLASSES)
    found = [x.shape for x in arrays_of(network)]
    assert found[:5] == [(4, 1, 3, 3), (4,), (4,), (4,), (4,)]
    assert found[-2:] == [(10, 32), (10,)]
    # 20 convolutions of five arrays each, and the classifier.
    assert len(found) == 20 * 5 + 2
    weight = np.asarray(network.body.blocks[2].first.weight)
    there = next(x for x in arrays_of(network) if x.shape == (8, 4, 3, 3))
    assert there[5, 3, 0, 2] == weight[0, 2, 3, 5]


def test_images_a_second_of_processors_leave_the_first_step_out():
    timed = training.Timed(iter(()))
    timed.seconds = [9.0, 0.5, 0.25, 0.5]
    assert timed.told(8, 2.0) == "4 images/s, 16 a second of processors"


# ---- beside PyTorch, where it is installed


@pytest.mark.parametrize("layout", training.FORMATS.values())
def test_two_steps_of_both_agree_to_rounding(layout):
    torch = pytest.importorskip("torch")
    assert training.difference(torch, layout) < training.tolerance_of(WIDTH)


def _altered(torch, network, change):
    made = torch_resnet18(torch, network)
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            change(layer)
    return made


def _set(name, value, layer):
    setattr(layer, name, value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"DECAY": 1.02 * training.DECAY},
        {"MOMENTUM": 1.01 * training.MOMENTUM},
        {"LEARNING_RATE": 1.01 * training.LEARNING_RATE},
        {"momentum": 0.101},
        {"eps": 2e-5},
    ],
    ids=str,
)
def test_a_slightly_different_step_is_seen(changed, monkeypatch):
    torch = pytest.importorskip("torch")
    ours = training.our_steps
    kept = {name: getattr(training, name) for name in changed if name.isupper()}
    for name, value in changed.items():
        if name in kept:
            monkeypatch.setattr(training, name, value)
        else:
            change = partial(_set, name, value)
            altered = partial(_altered, change=change)
            monkeypatch.setattr(training, "torch_resnet18", altered)

    def as_before(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in kept.items():
                patch.setattr(training, name, value)
            steps = ours(*arguments)
            # Settings are read at the first step.
            pairs = [next(steps) for _ in range(training.STEPS)]
        yield from pairs

    monkeypatch.setattr(training, "our_steps", as_before)
    assert training.difference(torch, LAYOUT) > training.tolerance_of(WIDTH)


@pytest.mark.slow
def test_other_work_is_labelled(monkeypatch):
    pytest.importorskip("torch")
    records = training.training("toy", WIDTH, FEW, Settings(repeats=1))
    assert "8 images" in records[0].work
    assert [x.wrong for x in records] == [False] * 3
    assert records[1].ratio == records[1].seconds / records[0].seconds
    assert "2 steps differ by" in records[1].note
    monkeypatch.setattr(training, "difference", lambda torch, layout: 1e-3)
    records = training.training("toy", WIDTH, FEW, Settings(quick=True, repeats=1))
    assert [x.wrong for x in records] == [False, True, True]
    assert records[1].note.startswith("NOT the same work")
    monkeypatch.undo()
    monkeypatch.setattr(training, "_count", lambda torch, width: 44_549)
    assert training.training("toy", WIDTH, FEW, Settings(quick=True, repeats=1))[1].wrong
