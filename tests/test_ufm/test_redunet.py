"""Layers of rate reduction, against autodiff, dense shifts and fixtures."""

import numpy as np
import pytest

from ufm import constrained_rate
from ufm.errors import InputError
from ufm.models.rate_reduction import RateReduction, Representation
from ufm.redunet import (
    build,
    build_from_covariances,
    class_scales,
    covariances,
    layer_of,
    memberships,
    moved,
    nearest_subspace,
    rate_reduction,
    transformed,
    unit_columns,
)

ANGLES = np.deg2rad([0, 10, 50, 70])
Z = np.stack([np.cos(ANGLES), np.sin(ANGLES)])[None]
LABELS = np.array([0, 0, 1, 1])
EPS = np.sqrt(0.1)


def gaussian(seed=0, d=5, counts=(4, 3, 2)):
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).normal(size=(1, d, len(labels))), labels, np.array(counts)


def test_operators_of_four_angles():
    layer = layer_of(covariances(Z, LABELS, 2), np.array([2, 2]), EPS)
    assert np.trace(layer.expand[0]) == pytest.approx(1.215418011846, abs=1e-12)
    traces = np.trace(layer.compress[:, 0], axis1=1, axis2=2)
    np.testing.assert_allclose(traces, [9.160800334152, 6.728285972498], atol=1e-12)


@pytest.mark.parametrize(
    ("normalisation", "after"),
    [
        ("none", (0.864212675595, 1.338917165451)),
        ("class", (0.792572274902, 0.846656170623)),
        ("sample", (0.793004671662, 0.846645190698)),
    ],
)
def test_rate_reduction_of_four_angles(normalisation, after):
    rates = build(Z, LABELS, eps=EPS, eta=0.5, depth=10, normalisation=normalisation)[2]
    np.testing.assert_allclose(
        [rates[0], rates[1], rates[10]], [0.586195873120, *after], atol=1e-12
    )
    # Steps of the free problem rise; normalised ones may fall again.
    assert bool(np.all(np.diff(rates) > 0)) == (normalisation == "none")
    if normalisation != "none":
        ranks, best = constrained_rate("2,2", 2, float(EPS)).best_fit()
        assert ranks == (1, 1)
        assert best == pytest.approx(0.875634053937, abs=1e-12)
        assert rates[-1] < best


def test_a_layer_is_a_gradient_step_of_the_model():
    X, labels, counts = gaussian()
    m, d = len(labels), X.shape[1]
    model = RateReduction(labels, counts / m, d / (m * 0.4**2), 0.0, d)
    S = covariances(X, labels, 3)
    assert rate_reduction(S, counts, 0.4) == pytest.approx(
        -float(model.objective(Representation(X[0]))), abs=1e-12
    )
    known = (np.arange(3)[:, None] == labels).astype(float)
    stepped = moved(X, layer_of(S, counts, 0.4), known, 0.3)
    slope = np.asarray(model.gradient(Representation(X[0])).Z)
    np.testing.assert_allclose(stepped[0], X[0] - 0.3 * slope, atol=1e-12)


@pytest.mark.parametrize("normalisation", ["none", "class"])
def test_covariances_are_enough(normalisation):
    X, labels, counts = gaussian()
    if normalisation == "class":
        X = X * class_scales(covariances(X, labels, 3), counts)[labels]
    given = {"eps": 0.5, "eta": 0.5, "depth": 12}
    joint, features, _ = build(X, labels, normalisation=normalisation, **given)
    normal = normalisation == "class"
    S = covariances(X, labels, 3)
    alone, last = build_from_covariances(S, [4, 3, 2], classes_normal=normal, **given)
    for one, two in zip(joint, alone, strict=True):
        np.testing.assert_allclose(one.compress, two.compress, atol=1e-12)
        np.testing.assert_allclose(one.expand, two.expand, atol=1e-12)
        np.testing.assert_allclose(one.scales, two.scales, atol=1e-12)
    np.testing.assert_allclose(last, covariances(features, labels, 3), rtol=1e-9, atol=1e-12)
    # Not where samples are normalised, nor with the other normalisation.
    other = build(X, labels, normalisation="sample", **given)[0][-1].compress
    assert np.abs(other - alone[-1].compress).max() > 0.1


def test_shifts_are_blocks_of_frequencies():
    rng = np.random.default_rng(2)
    channels, places, labels = 2, 5, np.array([0, 0, 1])
    signals = rng.normal(size=(channels, places, 3))
    shifts = [np.roll(signals, k, axis=1).reshape(-1, 3) for k in range(places)]
    dense = np.concatenate(shifts, axis=1)[None]
    dense_labels = np.tile(labels, places)
    blocks = np.moveaxis(np.fft.fft(signals, axis=1, norm="ortho"), 1, 0)
    given = {"eps": 0.5, "eta": 0.4, "depth": 3, "normalisation": "sample"}
    _, features, rates = build(dense, dense_labels, **given)
    _, spectra, others = build(blocks, labels, **given)
    np.testing.assert_allclose(rates, others, atol=1e-12)
    back = np.fft.ifft(np.moveaxis(spectra, 0, 1), axis=1, norm="ortho").reshape(-1, 3)
    np.testing.assert_allclose(features[0, :, :3], back.real, atol=1e-10)


def test_unknown_labels_are_estimated():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], [8, 5])
    X = np.eye(3)[:, :2][:, labels][None] + 0.05 * rng.normal(size=(1, 3, 13))
    for normalisation in ("sample", "class"):
        given = {"eta": 0.5, "normalisation": normalisation}
        layers, features, _ = build(X, labels, eps=0.3, depth=8, **given)
        told = transformed(layers, X, sharpness=200, **given)
        S = covariances(features, labels, 2)
        assert np.array_equal(nearest_subspace(S, told, 1), labels)
    members = memberships(unit_columns(X), layers[0], 200)
    assert np.array_equal(np.argmax(members, axis=0), labels)
    # Flat memberships take every class for a little of every other.
    flat = transformed(layers, X, sharpness=1e-6, **given)
    assert np.abs(flat - told).max() > 0.1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"eps": 0.0}, "eps > 0"),
        ({"eta": float("nan")}, "eta > 0"),
        ({"depth": 0}, "depth >= 1"),
        ({"normalisation": "both"}, "normalisation of the lab"),
        ({"labels": np.array([0, 0, 2, 2])}, "none of class 1"),
        ({"labels": LABELS[:3]}, "m labels"),
        ({"Z": Z * np.nan}, "finite features"),
    ],
)
def test_bad_input_is_refused(change, says):
    given = {"Z": Z, "labels": LABELS, "eps": 0.5, "eta": 0.5, "depth": 2, **change}
    with pytest.raises(InputError, match=says):
        build(given.pop("Z"), given.pop("labels"), **given)
