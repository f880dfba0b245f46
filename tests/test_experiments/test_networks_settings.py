"""Every setting does something, wrong ones are refused, and no step computes in float64."""

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.networks.architectures import Architecture
from experiments.networks.training import (
    PARAMETERS,
    Augmentation,
    FeatureDecay,
    TrainSettings,
    WeightDecay,
    make_step,
    start,
    train,
)
from experiments.networks.training.optimisers import RATES
from tests.helpers import slow
from tests.networks import TINY, TINY_RESNET, K, N, images, labels, settings
from ufm import InputError

X, Y = images(), labels()


def traced_step(made: TrainSettings) -> str:
    state = start(made, X, Y, K).state
    arguments = (jnp.asarray(X), jnp.asarray(Y), jnp.arange(N, dtype=jnp.int32))
    rest = (np.int32(0), np.float32(0.1), jax.random.key(0))
    # The text has the type of every variable, in programs inside programs too.
    return str(jax.make_jaxpr(make_step(made, N, 4))(state, *arguments, *rest))


# Whose effect on the parameters is held against SGD by hand in test_networks_training.py.
OF_THE_OPTIMISER: list[dict[str, Any]] = [
    {"optimizer": "adam"},
    {"optimizer": "signsgd"},
    {"optimizer": "adamw"},
    {"decoupled": True},
    {"nesterov": True},
    {"momentum": 0.0},
    {"max_gradient_norm": 0.3},
    {"batch_size": 5},
    {"decay": FeatureDecay(0.02, 0.003, 0.05)},
    {"decay": WeightDecay(0.01)},
    {"schedule": "step"},
    {"learning_rate": 0.05},
    {"seed": 1},
]
OTHERS: list[dict[str, Any]] = [
    {"objective": "dropout"},
    {"parameters": {"gamma": 4.0}},
    {"architecture": Architecture("mlp", width=8 / 256, depth=1)},
    {"architecture": dataclasses.replace(TINY, depth=2)},
    {"architecture": dataclasses.replace(TINY, features="relu")},
    {"d": 6},
    {"bias": False},
    {"fixed_etf": True},
    {"augmentation": Augmentation(crop=1)},
    {"augmentation": Augmentation(flip=True)},
    {"precision": "bfloat16"},
]


FOCAL = settings("focal", epochs=2)


@cache
def usual_step() -> str:
    return traced_step(FOCAL)


@pytest.mark.parametrize("option", OTHERS, ids=str)
def test_every_other_option_changes_the_program(option: dict[str, Any]) -> None:
    other = dataclasses.replace(FOCAL, **{"parameters": {}, **option})
    assert usual_step() == traced_step(dataclasses.replace(FOCAL, epochs=3))
    assert usual_step() != traced_step(other)


@pytest.mark.slow
@pytest.mark.parametrize("option", OTHERS, ids=str)
def test_every_other_option_changes_the_curve(option: dict[str, Any]) -> None:
    other = dataclasses.replace(FOCAL, **{"parameters": {}, **option})
    usual = train(FOCAL, X, Y, K).records
    assert usual == train(FOCAL, X, Y, K).records
    assert usual[1] != train(other, X, Y, K).records[1]


def test_the_key_changes_with_every_option_and_the_record_comes_back() -> None:
    usual = FOCAL
    every = [usual, settings("focal")] + [
        dataclasses.replace(usual, **{"parameters": {}, **option})
        for option in OF_THE_OPTIMISER + OTHERS
    ]
    assert len({made.key for made in every}) == len(every)
    assert all(TrainSettings.from_record(made.record()) == made for made in every)
    with pytest.raises(InputError, match="record of training settings"):
        TrainSettings.from_record({"objective": "ce"})


def test_the_key_changes_with_the_file_of_a_users_own_loss(tmp_path: Any) -> None:
    path = tmp_path / "mine.py"
    keys = []
    for factor in (2, 3, 2):
        path.write_text(f"def mine(logits, label):\n    return -{factor} * logits[label]\n")
        keys.append(settings(f"{path}:mine").key)
    assert keys[0] == keys[2] != keys[1]


def test_crops_are_windows_and_flips_are_mirrors() -> None:
    x = jnp.asarray(X)
    padded = np.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0)))
    cropped = np.asarray(Augmentation(crop=2)(x, jax.random.key(1)))
    places = set()
    for image, source in zip(cropped, padded, strict=True):
        windows = {(i, j): source[i : i + 4, j : j + 6] for i in range(5) for j in range(5)}
        fits = [place for place, window in windows.items() if np.array_equal(window, image)]
        assert len(fits) == 1
        places.update(fits)
    assert len(places) > 5
    flipped = np.asarray(Augmentation(flip=True)(x, jax.random.key(1)))
    kinds = [
        "mirror"
        if np.array_equal(image, source[:, ::-1])
        else "same" * np.array_equal(image, source)
        for image, source in zip(flipped, X, strict=True)
    ]
    assert set(kinds) == {"mirror", "same"}


# ---- precision


class WideDecay(FeatureDecay):
    """A decay whose author forgot the type."""

    def penalty(self, network: Any, features: Any, num_samples: int) -> Any:
        return super().penalty(network, features, num_samples) * np.ones(())


@pytest.mark.parametrize("objective", PARAMETERS)
def test_no_float64_in_the_step_of_any_objective(objective: str) -> None:
    text = traced_step(settings(objective, decay=FeatureDecay(0.1, 0.1), nesterov=True))
    assert "f64" not in text
    assert "f32" in text


@pytest.mark.parametrize(
    ("architecture", "precision"),
    [
        (TINY_RESNET, "float32"),
        slow(TINY_RESNET, "bfloat16"),
        (Architecture("convnet", 0.25, 1), "float32"),
        (Architecture("convnet", 0.25, 1), "bfloat16"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_no_float64_in_the_step_of_any_network(architecture: Architecture, precision: str) -> None:
    text = traced_step(
        settings(
            architecture=architecture,
            precision=precision,
            augmentation=Augmentation(1, True),
            max_gradient_norm=1.0,
            fixed_etf=True,
        )
    )
    assert "f64" not in text
    assert ("bf16" in text) == (precision == "bfloat16")


@pytest.mark.parametrize("optimizer", ["adamw", "signsgd"])
def test_no_float64_in_the_step_of_any_optimiser(optimizer: str) -> None:
    text = traced_step(settings(optimizer=optimizer, decay=FeatureDecay(0.1, 0.1), decoupled=True))
    assert "f64" not in text


def test_what_the_optimiser_implies() -> None:
    rates = {name: settings(optimizer=name).first_rate for name in RATES}
    assert rates == {"sgd": 0.1, "adam": 0.001, "adamw": 0.001, "signsgd": 0.001}
    assert settings(optimizer="adamw", decoupled=False) == settings(
        optimizer="adamw", decoupled=True, learning_rate=0.001
    )
    wanted = [
        ({}, True),
        ({"optimizer": "adam"}, True),
        ({"optimizer": "adamw"}, False),
        ({"decoupled": True}, False),
        ({"decoupled": True, "momentum": 0.0}, True),
        ({"decoupled": True, "momentum": 0.0, "optimizer": "signsgd"}, False),
    ]
    assert [settings(**given).penalised for given, _ in wanted] == [is_so for _, is_so in wanted]


def test_a_float64_in_the_step_is_found() -> None:
    assert "f64" in traced_step(settings(decay=WideDecay(0.1, 0.1)))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"objective": "cee"}, "write 'ce'"),
        ({"parameters": {"gamma": 2.0}}, "has no parameters"),
        ({"d": 0}, "d >= 1"),
        ({"epochs": 0}, "epochs >= 1"),
        ({"batch_size": -1}, "batch_size >= 0"),
        ({"learning_rate": -0.1}, "learning_rate > 0"),
        ({"schedule": "linear"}, "cosine, step, constant"),
        ({"momentum": 1.0}, "momentum in"),
        ({"momentum": 0.0, "nesterov": True}, "nesterov needs"),
        ({"optimizer": "lion"}, "sgd, adam, adamw, signsgd"),
        ({"optimizer": "adamw", "nesterov": True}, "nesterov is of sgd"),
        ({"max_gradient_norm": -1.0}, "max_gradient_norm >= 0"),
        ({"seed": -1}, "seed >= 0"),
        ({"precision": "float64"}, "float32, bfloat16"),
        ({"bias": False, "decay": FeatureDecay(0.1, 0.1, 0.1)}, "lambda_b needs a bias"),
    ],
)
def test_wrong_settings(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        TrainSettings(**given)


def test_wrong_decays_and_augmentation() -> None:
    for make, says in (
        (lambda: FeatureDecay(0.0, 0.1), "lambda_W > 0"),
        (lambda: FeatureDecay(0.1, -0.1), "lambda_H > 0"),
        (lambda: FeatureDecay(0.1, 0.1, -1.0), "lambda_b >= 0"),
        (lambda: WeightDecay(float("nan")), "weight_decay >= 0"),
        (lambda: Augmentation(crop=-1), "crop >= 0"),
    ):
        with pytest.raises(InputError, match=says):
            make()
