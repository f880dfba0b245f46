"""The flags of training: every one reaches the settings, with the defaults that the library has."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from experiments.cli.network_flags import NetworkDecayFlags, make_settings, network_command
from experiments.networks.architectures import Architecture
from experiments.networks.options import (
    ArchitectureOptions,
    AugmentationOptions,
    DataOptions,
    TrainingOptions,
)
from experiments.networks.runs import DataRequest
from experiments.networks.training import Augmentation, FeatureDecay, TrainSettings, WeightDecay

K, N = 40, 120
DATASET = SimpleNamespace(num_classes=K, train=SimpleNamespace(num_samples=N))

# What each flag changes, all at once; the record keeps its field names.
FLAGS = (
    "--data idx:there --per-class 7 --imbalance 3 --unbalanced --noise 0.25 --data-seed 5 "
    "--noise-kind asymmetric "
    "--network convnet --depth 3 --features relu -d 11 --no-bias --fixed-etf "
    "--precision bfloat16 --epochs 9 --batch-size 0 --lr 0.3 --schedule step --momentum 0.5 "
    "--optimizer signsgd --decoupled --nesterov --max-gradient-norm 0 --flip --crop 2 "
    "--lambda-w 0.125 --lambda-h 0.25"
)
DATA = {
    "source": "idx:there",
    "per_class": 7,
    "imbalance": 3.0,
    "balanced": False,
    "noise": 0.25,
    "noise_kind": "asymmetric",
    "random_labels": False,
    "seed": 5,
}
SETTINGS = {
    "objective": "ce",
    "parameters": {},
    "architecture": {"name": "convnet", "width": 1.0, "depth": 3, "features": "relu"},
    "d": 11,
    "bias": False,
    "fixed_etf": True,
    "epochs": 9,
    "batch_size": 0,
    "optimizer": "signsgd",
    "decoupled": True,
    "learning_rate": 0.3,
    "schedule": "step",
    "momentum": 0.5,
    "nesterov": True,
    "max_gradient_norm": 0.0,
    "decay": {"mode": "ufm", "lambda_W": 0.125, "lambda_H": 0.25, "lambda_b": 0.0},
    "augmentation": {"crop": 2, "flip": True},
    "seed": 0,
    "precision": "bfloat16",
}


@pytest.fixture
def chosen():
    """The data request and the settings that words on the command line make."""

    def run(words):
        made = []

        @network_command
        def command(
            data: DataOptions,
            network: ArchitectureOptions,
            training: TrainingOptions,
            augmentation: AugmentationOptions,
            decay: NetworkDecayFlags,
        ) -> None:
            made.append(DataRequest(**vars(data)))
            made.append(make_settings(network, training, augmentation, decay, DATASET))

        app = typer.Typer()
        app.command()(command)
        ran = CliRunner().invoke(app, words.split(), catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        return made

    return run


def test_every_flag_reaches_the_settings(chosen):
    data, settings = chosen(FLAGS)
    assert asdict(data) == DATA
    assert settings.record() == SETTINGS
    bare = chosen("")
    changed = [name for name, value in asdict(bare[0]).items() if value == DATA[name]]
    assert changed == ["random_labels"]  # not together with --noise, see below
    same = {name for name, value in bare[1].record().items() if value == SETTINGS[name]}
    assert same == {"objective", "parameters", "seed"}  # --loss and --seed, of the commands
    assert chosen("--random-labels")[0].random_labels


def test_without_flags_settings_are_those_of_the_library(chosen):
    data, settings = chosen("")
    assert data == DataRequest()
    assert settings == TrainSettings(d=K, decay=FeatureDecay.at(0.2, 0.02, K, N))
    assert settings.architecture == Architecture()
    assert settings.augmentation == Augmentation()
    # More classes than 32: as many features. Other networks have their own.
    assert chosen("--network convnet")[1].d is None


@pytest.mark.parametrize(
    ("words", "decay"),
    [
        ("--c 0.5", FeatureDecay.at(0.5, 0.02, K, N)),
        ("--c 0.5 --lambda-w 0.1 --lambda-b 0.3", FeatureDecay.at(0.5, 0.1, K, N, 0.3)),
        ("--lambda-h 0.01", FeatureDecay(0.02, 0.01)),
        ("--decay all", WeightDecay()),
        ("--decay all --weight-decay 0.01", WeightDecay(0.01)),
    ],
)
def test_decays(chosen, words, decay):
    assert chosen(words)[1].decay == decay
