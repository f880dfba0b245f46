"""Convolutions normalised channel by channel: co-isometries, and what zeros around leave of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.instance import Instance
from proofs_check.law import Law
from ufm.conv_norm import normalised, padded, wrapped
from ufm.typing import Array

CONV_NORM = "after the public code of ConvNorm (Liu et al. 2021); derived here"


@dataclass(frozen=True)
class Kernels(Instance):
    """Two random kernels, mixed; K channels out and J in, of length r, on signals of length n."""

    K: int
    J: int
    r: int
    n: int
    angle: float
    kind: str = "kernels"

    @property
    def columns(self) -> dict[str, float]:
        """K, J, r and n."""
        return {"K": self.K, "J": self.J, "r": self.r, "n": self.n}

    @property
    def label(self) -> str:
        """The numbers in words."""
        return f"{self.kind} K={self.K} J={self.J} r={self.r} n={self.n} angle={self.angle:g}"

    @property
    def values(self) -> Array:
        """The kernels (K, J, r): cosine and sine of the angle weight the two."""
        rng = np.random.default_rng((151, self.K, self.J, self.r))
        first, second = rng.normal(size=(2, self.K, self.J, self.r))
        return np.asarray(np.cos(self.angle) * first + np.sin(self.angle) * second)

    @property
    def signals(self) -> Array:
        """Signals of one entry 1, (J n, J, n)."""
        return np.eye(self.J * self.n).reshape(-1, self.J, self.n)


def kernels(quick: bool = False) -> tuple[Kernels, ...]:
    """One channel in, fewer and more than out; even and odd lengths."""
    return tuple(Kernels(*s) for s in ((3, 2, 4, 7, 0.3), (2, 1, 3, 8, 0.9), (2, 5, 2, 6, 1.4)))


def _channels(instance: Kernels, apply: Callable[[Array], Array]) -> Array:
    """The matrices (K, outputs, J n) of a linear map of signals."""
    return np.stack([apply(x) for x in instance.signals], axis=-1)


def _grams(instance: Kernels) -> Array:
    """Eigenvalues of A_k A_k^T of every normalised channel, (K, n)."""
    made = normalised(instance.values, (instance.n,))
    return np.stack(
        [np.linalg.eigvalsh(a @ a.T) for a in _channels(instance, lambda x: wrapped(made, x))]
    )


def _raw_energies(instance: Kernels) -> Array:
    """Eigenvalues of A_k A_k^T before, from matrices of shifts, (K, n)."""
    shifts = [np.roll(np.eye(instance.n), s, axis=0) for s in range(instance.r)]
    blocks = np.einsum("kjs,sab->kjab", instance.values, shifts)
    return np.linalg.eigvalsh(np.einsum("kjab,kjcb->kac", blocks, blocks))


def _of_one_channel_in(instance: Kernels) -> tuple[float, float]:
    """Least and largest singular value of full outputs of the first channel in, zeros around it."""
    one = instance.values[:1, :1]
    full = np.stack(
        [padded(one, x, truncated=False)[0] for x in np.eye(instance.n)[:, None]], axis=-1
    )
    values = np.linalg.svd(full, compute_uv=False)
    return float(values.min()), float(values.max())


def _stacked_square(instance: Kernels) -> float:
    """Sum of the squared singular values of all channels together."""
    made = normalised(instance.values, (instance.n,))
    whole = _channels(instance, lambda x: wrapped(made, x)).reshape(-1, instance.J * instance.n)
    return float(np.sum(np.linalg.svd(whole, compute_uv=False) ** 2))


# ---- formulas


def normalised_energies(energies: Array) -> Array:
    """E (E^(-1/2))^2 at every frequency."""
    return energies * (energies**-0.5) ** 2


def _by_the_energy_itself(energies: Array) -> Array:
    return energies * (energies**-1.0) ** 2


def kept_norms() -> tuple[float, float]:
    """1 and 1."""
    return 1.0, 1.0


def _shrunk() -> tuple[float, float]:
    return 0.9, 1.0


def square_of_unit_rows(K: int, n: int) -> float:
    """K at each of n frequencies."""
    return K * n


def _of_channels_in(J: int, n: int) -> float:
    return J * n


CLAIMS = (
    Claim(
        id="conv-norm-co-isometry",
        title="Normalised convolutions: every channel out is a co-isometry",
        statement="Divided by the root of its energy at every frequency, on a grid that wraps "
        "around, a channel of a convolution has singular values 1: A_k A_k^T = I.",
        latex=r"\hat v_k=\big(\textstyle\sum_j\lvert\hat a_{kj}\rvert^2\big)^{-1/2},\ "
        r"A_kA_k^\top=I",
        source=f"CN-1; {CONV_NORM}",
        literature="proved",
        region=kernels,
        check=Law(normalised_energies, _grams, {"energies": _raw_energies}),
        tolerance=Tolerance(1e-11, "products of matrices of rows of norm 1, a few dozen entries"),
        mutant=Mutant(
            "exponent -1", Law(_by_the_energy_itself, _grams, {"energies": _raw_energies})
        ),
    ),
    Claim(
        id="conv-norm-stacked",
        title="Normalised convolutions: channels together are no isometry",
        statement="The squared singular values of all K channels on a grid of n places add up to "
        "K n: unit rows at every frequency.",
        latex=r"\sum\sigma^2=Kn",
        source=f"CN-1; {CONV_NORM}",
        literature="proved",
        region=kernels,
        check=Law(square_of_unit_rows, _stacked_square),
        tolerance=Tolerance(1e-12, "relative; sums of a few dozen squares of order 1"),
        mutant=Mutant("channels in for channels out", Law(_of_channels_in, _stacked_square)),
        uses=("conv-norm-co-isometry",),
    ),
    Claim(
        id="conv-norm-padded",
        title="Normalised convolutions: zeros around one channel in keep norms",
        statement="Normalised on the grid n + r - 1 of the full output, zeros around a signal of "
        "one channel leave an isometry.",
        latex=r"J=1:\ \lVert Ax\rVert=\lVert x\rVert",
        source=f"CN-2; {CONV_NORM}",
        literature="proved",
        region=kernels,
        check=Law(kept_norms, _of_one_channel_in),
        tolerance=Tolerance(1e-12, "transforms and singular values of order 1"),
        mutant=Mutant("some norms shrink", Law(_shrunk, _of_one_channel_in)),
    ),
)
