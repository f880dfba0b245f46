"""ReduNet: layers that are steps of rate reduction, built forward from covariances of classes.

Features are (B, d, m): B blocks of d rows, one for vectors, and one per frequency (complex) for
images of d channels whose cyclic shifts all count as samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ufm.eigen import eigh
from ufm.errors import InputError, require_count, require_positive
from ufm.typing import AnyArray

NORMALISATIONS = ("none", "class", "sample")


class Layer(NamedTuple):
    """One layer, from the features that enter it.

    Attributes:
        expand: E (B, d, d).
        compress: C_j (K, B, d, d).
        shares: m_j / m (K,).
        scales: what the features of a class are multiplied by afterwards (K,); 1 without
            normalisation of classes.
    """

    expand: AnyArray
    compress: AnyArray
    shares: AnyArray
    scales: AnyArray


def covariances(Z: AnyArray, labels: AnyArray, num_classes: int) -> AnyArray:
    """S_j = B Z_j Z_j^*, the sum over samples and their shifts, (K, B, d, d).

    Example:
        >>> covariances(np.ones((1, 1, 3)), np.array([0, 0, 1]), 2).ravel().tolist()
        [2.0, 1.0]
    """
    parts = (Z[:, :, labels == k] for k in range(num_classes))
    return np.stack([len(Z) * part @ np.conj(np.swapaxes(part, 1, 2)) for part in parts])


def layer_of(S: AnyArray, counts: AnyArray, eps: float) -> Layer:
    """The layer of classes with these covariances and numbers of samples.

    E = a (I + a sum_j S_j)^-1,   C_j = a_j (I + a_j S_j)^-1,   a = d / (m eps^2),  a_j = a m / m_j

    Source: Chan, Yu, You, Qi, Wright & Ma 2022 (ReduNet); public code's eps is this one squared.

    Example:
        >>> layer = layer_of(np.ones((2, 1, 1, 1)), np.array([1, 3]), 1.0)
        >>> layer.expand.item(), layer.compress.ravel().round(3).tolist()  # 1/E = 1/C_0 + 1/C_1
        (0.16666666666666666, [0.5, 0.25])
    """
    K, _, d, _ = S.shape
    rates = d / (counts * eps**2)
    rate, eye = d / (counts.sum() * eps**2), np.eye(d)
    expand = rate * np.linalg.inv(eye + rate * S.sum(axis=0))
    own = rates[:, None, None, None]
    return Layer(expand, own * np.linalg.inv(eye + own * S), counts / counts.sum(), np.ones(K))


def rate_reduction(S: AnyArray, counts: AnyArray, eps: float) -> float:
    """The coding rate of all features minus that of the classes, at covariances S_j.

    logdet(I + a sum_j S_j)/2 - sum_j (m_j/m) logdet(I + a_j S_j)/2, summed over blocks: minus the
    objective of ``ufm.RateReduction`` without decay.

    Example:
        >>> round(rate_reduction(np.ones((1, 1, 1, 1)), np.array([2]), 1.0), 12)
        0.0
    """
    d = S.shape[2]
    rates, rate, eye = d / (counts * eps**2), d / (counts.sum() * eps**2), np.eye(d)
    whole = np.linalg.slogdet(eye + rate * S.sum(axis=0))[1].sum()
    own = np.linalg.slogdet(eye + rates[:, None, None, None] * S)[1].sum(axis=1)
    return float(whole - counts / counts.sum() @ own) / 2


def moved(Z: AnyArray, layer: Layer, members: AnyArray, eta: float) -> AnyArray:
    """Z + eta (E Z - sum_j (m_j/m) C_j Z diag(members_j)): a step of rate reduction (RN-1).

    Args:
        Z: (B, d, m).
        layer: of ``layer_of``.
        members: (K, m), one-hot for known labels.
        eta: step size.
    """
    change = layer.expand @ Z
    for share, own, weight in zip(layer.shares, layer.compress, members, strict=True):
        change = change - share * (own @ (Z * weight))
    return np.asarray(Z + eta * change)


def class_moves(layer: Layer, eta: float) -> AnyArray:
    """A_j = I + eta (E - (m_j/m) C_j), which all samples of class j go through, (K, B, d, d)."""
    shares = layer.shares[:, None, None, None]
    return np.asarray(
        np.eye(layer.expand.shape[1]) + eta * (layer.expand - shares * layer.compress)
    )


def memberships(Z: AnyArray, layer: Layer, sharpness: float) -> AnyArray:
    """softmax_j(-sharpness |C_j z|), the estimate where labels are not known, (K, m).

    Example:
        >>> layer = layer_of(np.array([1.0, 100.0]).reshape(2, 1, 1, 1), np.array([2, 2]), 0.5)
        >>> memberships(np.ones((1, 1, 1)), layer, 10.0).round(3).ravel().tolist()
        [0.001, 0.999]
    """
    sizes = [np.sqrt(np.sum(np.abs(own @ Z) ** 2, axis=(0, 1))) for own in layer.compress]
    return np.asarray(softmax(-sharpness * np.stack(sizes), axis=0))


def unit_columns(Z: AnyArray) -> AnyArray:
    """Every sample divided by its length; zero stays zero."""
    sizes = np.sqrt(np.sum(np.abs(Z) ** 2, axis=(0, 1)))
    return np.asarray(Z / np.where(sizes > 0, sizes, 1))


def build(
    Z: AnyArray,
    labels: AnyArray,
    *,
    eps: float,
    eta: float,
    depth: int,
    normalisation: str = "sample",
) -> tuple[list[Layer], AnyArray, list[float]]:
    """Layers forward from samples with known labels.

    Args:
        Z: (B, d, m), finite.
        labels: (m,), every class of 0..K-1 with a sample.
        eps: precision of the code, > 0.
        eta: step size > 0. With normalisation rate reduction may fall in a layer, even at 0.5.
        depth: layers, >= 1.
        normalisation: "sample": unit length; "class": |Z_j|^2 = m_j; or "none". Features that enter
            are normalised as well.

    Returns:
        The layers, the features after the last, and rate reduction before every layer and after
        the last.

    Raises:
        InputError: arguments not so.

    Example:
        >>> Z = np.array([[[1.0, 0.9, 0.1], [0.0, 0.1, 1.0]]])
        >>> layers, _, rates = build(Z, np.array([0, 0, 1]), eps=0.5, eta=0.5, depth=3)
        >>> len(layers), bool(np.all(np.diff(rates) > 0))
        (3, True)
    """
    counts = _checked(Z, labels, eps, eta, depth, normalisation)
    K = len(counts)
    Z = entering(Z, labels, counts, normalisation)
    layers, rates = [], []
    for _ in range(depth):
        layer, Z, rate = next_layer(
            Z, labels, counts, eps=eps, eta=eta, normalisation=normalisation
        )
        layers.append(layer)
        rates.append(rate)
    rates.append(rate_reduction(covariances(Z, labels, K), counts, eps))
    return layers, Z, rates


def entering(Z: AnyArray, labels: AnyArray, counts: AnyArray, normalisation: str) -> AnyArray:
    """Features as layers take them: samples of unit length, or |Z_j|^2 = m_j, or as they are.

    Example:
        >>> entering(np.full((1, 1, 2), 3.0), np.array([0, 0]), np.array([2]), "class").tolist()
        [[[1.0, 1.0]]]
    """
    if normalisation == "class":
        return np.asarray(Z * class_scales(covariances(Z, labels, len(counts)), counts)[labels])
    return unit_columns(Z) if normalisation == "sample" else Z


def next_layer(
    Z: AnyArray, labels: AnyArray, counts: AnyArray, *, eps: float, eta: float, normalisation: str
) -> tuple[Layer, AnyArray, float]:
    """One layer of ``build``, the features after it, and rate reduction before.

    Args:
        Z: (B, d, m), normalised as the layers are.
        labels: (m,).
        counts: samples of every class (K,).
        eps: as ``build``.
        eta: as ``build``.
        normalisation: as ``build``.

    Example:
        >>> Z, labels = np.array([[[1.0, 0.6, 0.0], [0.0, 0.8, 1.0]]]), np.array([0, 0, 1])
        >>> given = {"eps": 0.5, "eta": 0.5, "normalisation": "sample"}
        >>> _, after, rate = next_layer(Z, labels, np.array([2, 1]), **given)
        >>> bool(np.array_equal(after, build(Z, labels, depth=1, **given)[1])), rate > 0
        (True, True)
    """
    S = covariances(Z, labels, len(counts))
    layer, after = layer_of(S, counts, eps), np.empty_like(Z)
    for k, move in enumerate(class_moves(layer, eta)):
        after[:, :, labels == k] = move @ Z[:, :, labels == k]
    if normalisation == "class":
        layer = layer._replace(scales=class_scales(covariances(after, labels, len(counts)), counts))
        after = after * layer.scales[labels]
    if normalisation == "sample":
        after = unit_columns(after)
    return layer, after, rate_reduction(S, counts, eps)


def class_scales(S: AnyArray, counts: AnyArray) -> AnyArray:
    """What makes |Z_j|^2 = m_j, by class: sqrt(B m_j / tr S_j)."""
    B = S.shape[1]
    return np.asarray(np.sqrt(B * counts / np.trace(S, axis1=2, axis2=3).real.sum(axis=1)))


def build_from_covariances(
    S: AnyArray, counts: Sequence[int], *, eps: float, eta: float, depth: int, classes_normal: bool
) -> tuple[list[Layer], AnyArray]:
    """The same layers from covariances of classes alone: new classes need no old samples (RN-5).

    S_j <- A_j S_j A_j^*,  A_j = I + eta (E - (m_j/m) C_j),  then times m_j / tr S_j if classes are
    normalised. There is no such network where samples are normalised.

    Args:
        S: of ``covariances``, (K, B, d, d), of features that are normalised as the layers are.
        counts: samples of every class.
        eps: as ``build``.
        eta: as ``build``.
        depth: as ``build``.
        classes_normal: whether classes are normalised.

    Returns:
        The layers, and the covariances after the last.

    Example:
        >>> Z, labels = np.array([[[1.0, 0.9, 0.1], [0.0, 0.1, 1.0]]]), np.array([0, 0, 1])
        >>> given = {"eps": 0.5, "eta": 0.5, "depth": 3}
        >>> joint, _, _ = build(Z, labels, normalisation="none", **given)
        >>> S = covariances(Z, labels, 2)
        >>> alone, _ = build_from_covariances(S, [2, 1], classes_normal=False, **given)
        >>> bool(np.allclose(joint[-1].compress, alone[-1].compress, atol=1e-12))
        True
    """
    sizes = np.asarray(counts)
    layers = []
    for _ in range(depth):
        layer = layer_of(S, sizes, eps)
        move = class_moves(layer, eta)
        S = move @ S @ np.conj(np.swapaxes(move, 2, 3))
        if classes_normal:
            layer = layer._replace(scales=class_scales(S, sizes))
            S = S * layer.scales[:, None, None, None] ** 2
        layers.append(layer)
    return layers, S


def transformed(
    layers: Sequence[Layer], Z: AnyArray, *, eta: float, sharpness: float, normalisation: str
) -> AnyArray:
    """Features of samples whose labels are not known: memberships are estimated in every layer.

    Args:
        layers: of ``build``.
        Z: (B, d, m).
        eta: as in ``build``.
        sharpness: of ``memberships``.
        normalisation: as in ``build``; scales of classes are mixed by memberships.

    Example:
        >>> Z, labels = np.array([[[1.0, 0.9, 0.1], [0.0, 0.1, 1.0]]]), np.array([0, 0, 1])
        >>> layers, features, _ = build(Z, labels, eps=0.5, eta=0.5, depth=3)
        >>> told = transformed(layers, Z, eta=0.5, sharpness=200, normalisation="sample")
        >>> bool(np.abs(told - features).max() < 1e-6)
        True
    """
    Z = unit_columns(Z) if normalisation != "none" else Z
    for layer in layers:
        members = memberships(Z, layer, sharpness)
        Z = moved(Z, layer, members, eta)
        if normalisation == "sample":
            Z = unit_columns(Z)
        elif normalisation == "class":
            Z = Z * (layer.scales @ members)
    return Z


def nearest_subspace(S: AnyArray, Z: AnyArray, dimension: int) -> NDArray[np.intp]:
    """The class whose leading directions, ``dimension`` in every block, hold most of a sample.

    Args:
        S: covariances of the classes (K, B, d, d).
        Z: samples (B, d, m).
        dimension: >= 1.

    Returns:
        Classes (m,).

    Example:
        >>> S = np.stack([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])])[:, None]
        >>> nearest_subspace(S, np.array([[[0.9, 0.2], [0.1, 0.7]]]), 1).tolist()
        [0, 1]
    """
    leading = eigh(S)[1][..., -dimension:]
    held = [
        np.sum(np.abs(np.conj(np.swapaxes(own, 1, 2)) @ Z) ** 2, axis=(0, 1)) for own in leading
    ]
    return np.asarray(np.argmax(np.stack(held), axis=0))


def _checked(
    Z: AnyArray, labels: AnyArray, eps: float, eta: float, depth: int, normalisation: str
) -> AnyArray:
    require_positive(eps, "eps", "use a precision such as 0.3")
    require_positive(eta, "eta", "use a step such as 0.5")
    require_count(depth, "depth", 1, "use one layer or more")
    if normalisation not in NORMALISATIONS:
        remedy = f"use one of {', '.join(NORMALISATIONS)}"
        raise InputError("Need a normalisation of the lab", repr(normalisation), remedy)
    if Z.ndim != 3 or labels.shape != Z.shape[2:]:
        got = f"shapes {Z.shape} and {labels.shape}"
        raise InputError("Need features (B, d, m) and m labels", got, "use Z[None] for vectors")
    if not np.all(np.isfinite(Z)):
        raise InputError("Need finite features", "NaN or infinity", "clean them")
    counts = np.bincount(labels)
    if counts.min() == 0:
        got = f"none of class {int(np.argmin(counts))}"
        raise InputError("Need a sample of every class", got, "number classes from 0")
    return counts
