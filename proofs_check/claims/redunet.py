"""ReduNet: layers are steps of rate reduction, and covariances of classes are all they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.instance import Instance
from proofs_check.law import Law
from ufm.redunet import (
    build,
    build_from_covariances,
    class_scales,
    covariances,
    layer_of,
    rate_reduction,
)
from ufm.typing import AnyArray

SOURCE = "after Chan, Yu, You, Qi, Wright & Ma (2022); derived here"
STEP = 0.5
DEPTH = 10
DIFFERENCE = 1e-5


@dataclass(frozen=True)
class Samples(Instance):
    """Gaussian samples of several classes."""

    d: int
    counts: tuple[int, ...]
    eps: float
    classes_normal: bool = False
    kind: str = "samples"

    @property
    def columns(self) -> dict[str, Any]:
        """d, counts and eps."""
        return {"d": self.d, "counts": self.counts, "eps": self.eps}

    @property
    def label(self) -> str:
        """The numbers in words."""
        normal = ", classes normalised" if self.classes_normal else ""
        sizes = ",".join(map(str, self.counts))
        return f"{self.kind} n={sizes} d={self.d} eps={self.eps:g}{normal}"

    @property
    def labels(self) -> AnyArray:
        """(m,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def Z(self) -> AnyArray:
        """(1, d, m)."""
        rng = np.random.default_rng((97, self.d, sum(self.counts)))
        Z = rng.normal(size=(1, self.d, sum(self.counts)))
        if not self.classes_normal:
            return np.asarray(Z)
        sizes = np.array(self.counts)
        scales = class_scales(covariances(Z, self.labels, len(sizes)), sizes)
        return np.asarray(Z * scales[self.labels])


def samples(quick: bool = False) -> tuple[Samples, ...]:
    """Equal and unequal classes, more samples than dimensions and fewer."""
    settings = ((3, (4, 2), 0.6), (5, (2, 3, 1), 0.4), (4, (3, 3), 1.3), (6, (5, 2, 4, 1), 0.8))
    return tuple(Samples(*setting) for setting in settings)


def networks(quick: bool = False) -> tuple[Samples, ...]:
    """Without and with normalisation of classes."""
    return tuple(
        Samples(d, counts, eps, normal)
        for d, counts, eps in ((3, (4, 2), 0.6), (5, (2, 3, 4), 0.4))
        for normal in (False, True)
    )


def _ascent(instance: Samples) -> AnyArray:
    """The gradient of rate reduction by central differences."""
    sizes, labels = np.array(instance.counts), instance.labels
    found = np.zeros(instance.Z[0].shape)
    for place in np.ndindex(*found.shape):
        move = np.zeros(instance.Z.shape)
        move[0][place] = DIFFERENCE
        ends = [
            rate_reduction(covariances(Z, labels, len(sizes)), sizes, instance.eps)
            for Z in (instance.Z + move, instance.Z - move)
        ]
        found[place] = (ends[0] - ends[1]) / (2 * DIFFERENCE)
    return found


def _inverse(instance: Samples) -> AnyArray:
    """E^-1 of the layer."""
    S = covariances(instance.Z, instance.labels, len(instance.counts))
    return np.linalg.inv(layer_of(S, np.array(instance.counts), instance.eps).expand[0])


def _expanded(instance: Samples) -> AnyArray:
    """E z of a new sample z."""
    S = covariances(instance.Z, instance.labels, len(instance.counts))
    layer = layer_of(S, np.array(instance.counts), instance.eps)
    return np.asarray(layer.expand[0] @ instance.once(_new_sample))


def _new_sample(instance: Samples) -> AnyArray:
    return np.random.default_rng(101).normal(size=instance.d)


def _last(instance: Samples, normalisation: str) -> AnyArray:
    """C_j of the tenth layer, from samples."""
    given = {"eps": instance.eps, "eta": STEP, "depth": DEPTH}
    layers, _, _ = build(instance.Z, instance.labels, normalisation=normalisation, **given)  # type: ignore[arg-type]
    return layers[-1].compress


def _last_from_covariances(instance: Samples) -> AnyArray:
    S = covariances(instance.Z, instance.labels, len(instance.counts))
    normal = instance.classes_normal
    given: dict[str, Any] = {"eps": instance.eps, "eta": STEP, "depth": DEPTH}
    return build_from_covariances(S, instance.counts, classes_normal=normal, **given)[0][
        -1
    ].compress


def _incremental(instance: Samples) -> float:
    return _apart(instance, _last(instance, "class" if instance.classes_normal else "none"))


def _incremental_by_samples(instance: Samples) -> float:
    return _apart(instance, _last(instance, "sample"))


def _apart(instance: Samples, joint: AnyArray) -> float:
    """Relative, and in units of what ten layers make of a rounding.

    |A_j| <= 1 + eta a: so much a layer stretches what is rounded where a class has nothing.
    """
    rate = instance.d / (sum(instance.counts) * instance.eps**2)
    size = float(np.abs(joint).max()) * (1 + STEP * rate) ** DEPTH
    return float(np.abs(_last_from_covariances(instance) - joint).max()) / size


def _shifted(instance: Samples, left_out: int = 0) -> float:
    """How far E and C_j of all cyclic shifts of some signals are from commuting with a shift."""
    d, counts = instance.d, np.array(instance.counts)
    signals = np.random.default_rng((103, d)).normal(size=(len(counts), d))
    parts = [np.stack([np.roll(x, k) for k in range(d)], axis=1) for x in signals]
    parts[0] = parts[0][:, left_out:]
    S = np.stack([part @ part.T for part in parts])[:, None]
    layer = layer_of(S, np.array([part.shape[1] for part in parts]), instance.eps)
    P = np.roll(np.eye(d), 1, axis=0)
    seen = np.concatenate([layer.expand[None], layer.compress])[:, 0]
    return float(np.abs(seen @ P - P @ seen).max() / np.abs(seen).max())


def _rate_of_frequencies(instance: Samples) -> float:
    """The same of all cyclic shifts, in one block per frequency."""
    d, K = instance.d, len(instance.counts)
    signals = np.random.default_rng((103, d)).normal(size=(K, d))
    Z = np.fft.fft(signals, norm="ortho").T[:, None, :]
    return rate_reduction(covariances(Z, np.arange(K), K), np.ones(K), instance.eps)


def _rate_of_shifts(instance: Samples) -> float:
    d, K = instance.d, len(instance.counts)
    signals = np.random.default_rng((103, d)).normal(size=(K, d))
    Z = np.concatenate([[np.roll(x, k) for k in range(d)] for x in signals]).T[None]
    S = covariances(Z, np.repeat(np.arange(K), d), K)
    return rate_reduction(S, np.full(K, d), instance.eps)


def _frequencies(instance: Samples) -> float:
    return abs(_rate_of_frequencies(instance) - _rate_of_shifts(instance))


def _frequencies_of_rows(instance: Samples) -> float:
    """Without the factor that counts shifts."""
    d, K = instance.d, len(instance.counts)
    signals = np.random.default_rng((103, d)).normal(size=(K, d))
    Z = np.fft.fft(signals, norm="ortho").T[:, None, :]
    S = covariances(Z, np.arange(K), K) / d
    return abs(rate_reduction(S, np.ones(K), instance.eps) - _rate_of_shifts(instance))


# ---- formulas


def ascent(Z: AnyArray, members: AnyArray, d: int, eps: float) -> AnyArray:
    """E Z - sum_j (m_j/m) C_j Z_j."""
    m, sizes = members.sum(), members.sum(axis=1)
    rate = d / (m * eps**2)
    change = rate * np.linalg.solve(np.eye(d) + rate * Z @ Z.T, Z)
    for size, member in zip(sizes, members, strict=True):
        own, part = rate * m / size, Z * member
        change -= size / m * own * np.linalg.solve(np.eye(d) + own * part @ part.T, part)
    return np.asarray(change)


def _ascent_of_equal_weights(Z: AnyArray, members: AnyArray, d: int, eps: float) -> AnyArray:
    m, sizes = members.sum(), members.sum(axis=1)
    rate = d / (m * eps**2)
    change = rate * np.linalg.solve(np.eye(d) + rate * Z @ Z.T, Z)
    for size, member in zip(sizes, members, strict=True):
        own, part = rate * m / size, Z * member
        change -= own * np.linalg.solve(np.eye(d) + own * part @ part.T, part)
    return np.asarray(change)


def sum_of_inverses(Z: AnyArray, members: AnyArray, d: int, eps: float) -> AnyArray:
    """sum_j C_j^-1 = sum_j (m_j eps^2 / d) I + Z_j Z_j^T."""
    found = np.zeros((d, d))
    for member in members:
        part = Z * member
        found += member.sum() * eps**2 / d * np.eye(d) + part @ part.T
    return found


def _weighted_sum_of_inverses(Z: AnyArray, members: AnyArray, d: int, eps: float) -> AnyArray:
    found = np.zeros((d, d))
    for member in members:
        part = Z * member
        inverse = member.sum() * eps**2 / d * np.eye(d) + part @ part.T
        found += member.sum() / members.sum() * inverse
    return found


def ridge(Z: AnyArray, new: AnyArray, d: int, eps: float) -> AnyArray:
    """a (z - Z q), q the minimiser of a |z - Z q|^2 + |q|^2."""
    rate = d / (len(Z.T) * eps**2)
    q = np.linalg.solve(rate * Z.T @ Z + np.eye(len(Z.T)), rate * Z.T @ new)
    return np.asarray(rate * (new - Z @ q))


def _ridge_of_half(Z: AnyArray, new: AnyArray, d: int, eps: float) -> AnyArray:
    rate = d / (len(Z.T) * eps**2)
    q = np.linalg.solve(rate * Z.T @ Z + 2 * np.eye(len(Z.T)), rate * Z.T @ new)
    return np.asarray(rate * (new - Z @ q))


_GIVEN: dict[str, Any] = {
    "Z": lambda s: s.Z[0],
    "members": lambda s: (np.arange(len(s.counts))[:, None] == s.labels).astype(float),
    "new": _new_sample,
}
_INVERSES = Tolerance(1e-10, "inverses of matrices of condition below 1e3, factor 100")

CLAIMS = (
    Claim(
        id="redunet-step",
        title="ReduNet: a layer is a step of rate reduction",
        statement="The change in a layer with known labels, without normalisation, is the gradient "
        "of rate reduction times the step.",
        latex=r"\partial_Z\Delta R=EZ-\sum_j\tfrac{m_j}mC_jZ\Pi_j",
        source=f"RN-1; {SOURCE}",
        literature="proved",
        region=samples,
        check=Law(ascent, _ascent, _GIVEN),
        tolerance=Tolerance(1e-7, "differences of step 1e-5: 1e-10 of order two, 1e-10 rounding"),
        mutant=Mutant("classes of equal weight", Law(_ascent_of_equal_weights, _ascent, _GIVEN)),
    ),
    Claim(
        id="redunet-inverses",
        title="ReduNet: operators of classes add up as inverses",
        statement="The inverse of the expansion is the sum of those of the compressions, so that "
        "new classes only add to it, and the network contains its covariances.",
        latex=r"E^{-1}=\sum_jC_j^{-1}",
        source="RN-2; derived here",
        region=samples,
        check=Law(sum_of_inverses, _inverse, _GIVEN),
        tolerance=_INVERSES,
        mutant=Mutant("weighted by sizes", Law(_weighted_sum_of_inverses, _inverse, _GIVEN)),
    ),
    Claim(
        id="redunet-ridge",
        title="ReduNet: expansion is the residual of a ridge regression",
        statement="E z is a times what a ridge regression of z on the features leaves.",
        latex=r"Ez=\alpha(z-Z\hat q)",
        source=f"RN-3; {SOURCE}",
        literature="proved",
        region=samples,
        check=Law(ridge, _expanded, _GIVEN),
        tolerance=_INVERSES,
        mutant=Mutant("twice the penalty", Law(_ridge_of_half, _expanded, _GIVEN)),
    ),
    Claim(
        id="redunet-shifts",
        title="ReduNet: all shifts make convolutions",
        statement="Where the features are all cyclic shifts of some signals every operator is a "
        "circular convolution.",
        latex=r"EP=PE,\quad C_jP=PC_j",
        source=f"RN-4; {SOURCE}",
        literature="proved",
        region=samples,
        check=_shifted,
        tolerance=_INVERSES,
        mutant=Mutant("one shift left out", lambda s: _shifted(s, 1)),
    ),
    Claim(
        id="redunet-frequencies",
        title="ReduNet: all shifts, one block per frequency",
        statement="Rate reduction of all cyclic shifts is the sum over frequencies of that of "
        "Fourier coefficients, each sample counted once per shift.",
        latex=r"\Delta R=\sum_p\Delta R_p,\quad S_j(p)=d\,\hat z\hat z^\ast",
        source=f"RN-4; {SOURCE}",
        literature="proved",
        region=samples,
        check=_frequencies,
        tolerance=_INVERSES,
        mutant=Mutant("shifts not counted", _frequencies_of_rows),
        uses=("redunet-shifts",),
    ),
    Claim(
        id="redunet-incremental",
        title="ReduNet: class by class is the same as all at once",
        statement="Covariances of classes determine every layer, without normalisation and with "
        "that of classes; not with that of samples.",
        latex=r"S_j\leftarrow A_jS_jA_j^\top,\quad A_j=I+\eta\big(E-\tfrac{m_j}mC_j\big)",
        source="RN-5; after Wu et al. (2021, arXiv 2011.14593); derived here",
        region=networks,
        check=_incremental,
        tolerance=Tolerance(1e-13, "ten layers of some fifty roundings; seen 6e-16"),
        mutant=Mutant("samples normalised", _incremental_by_samples),
        uses=("redunet-step", "redunet-inverses"),
    ),
)
