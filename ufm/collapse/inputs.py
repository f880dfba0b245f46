"""What a caller passed, checked and turned into NumPy arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from ufm.errors import InputError, require_positive

EPS_64 = float(np.finfo(np.float64).eps)

# Sums of squares of anything much larger leave the range of float64.
LARGEST = 1e100


@dataclasses.dataclass(frozen=True)
class Head:
    """A checked classifier: W (K, d), b (K,), the spacing of W's dtype, and its decay."""

    W: npt.NDArray[np.float64]
    b: npt.NDArray[np.float64]
    eps: float
    lambda_W: float | None


@dataclasses.dataclass(frozen=True)
class Measured:
    """Checked input: features (N, d) in their own dtype, labels (N,), counts (K,), classifier."""

    features: npt.NDArray[Any]
    labels: npt.NDArray[np.intp]
    counts: npt.NDArray[np.intp]
    head: Head | None
    eps_features: float


def spacing_at_one(dtype: np.dtype[Any]) -> float:
    """eps, the distance from 1 to the next number of ``dtype``, never finer than float64's.

    Found by trial because np.finfo knows only NumPy's own types, and bfloat16 is not one of
    them. Integers are exact, so float64 is what limits them.

    Example:
        >>> spacing_at_one(np.dtype(np.float32)) == 2.0**-23
        True
    """
    if dtype.kind in "iub":
        return EPS_64
    eps = 1.0
    while eps > EPS_64 and np.asarray(1.0 + eps / 2).astype(dtype) != 1:
        eps /= 2
    return eps


def on_host(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """``values`` as a NumPy array; a torch tensor may require gradients, or lie on a GPU.

    bfloat16 of torch, which NumPy does not know, becomes float32.
    """
    detach = getattr(values, "detach", None)
    if detach is None:
        return np.asarray(values)
    tensor = detach().cpu()
    try:
        return np.asarray(tensor)
    except TypeError:
        return np.asarray(tensor.float())


def real_array(values: npt.ArrayLike, name: str, ndim: int) -> npt.NDArray[Any]:
    """``values`` as a NumPy array of real numbers with ``ndim`` axes, dtype unchanged."""
    try:
        array = on_host(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Need {name} as an array that NumPy can read",
            f"{type(values).__name__} ({str(error).splitlines()[0].rstrip('.')})",
            "convert it first; for a torch tensor x.detach().cpu().float().numpy()",
        ) from error
    if not np.can_cast(array.dtype, np.float64, casting="same_kind"):
        raise InputError(f"Need {name} of real numbers", f"dtype {array.dtype}", "cast it to float")
    if array.ndim != ndim:
        raise InputError(
            f"Need {name} with {ndim} axes",
            f"shape {array.shape}",
            "reshape it; spatial axes are averaged or flattened into d by the caller",
        )
    return array


def require_finite(array: npt.NDArray[Any], name: str) -> None:
    """Raise InputError unless every entry is finite and at most LARGEST in absolute value."""
    # float(): compared in float32, LARGEST would itself become infinite.
    largest = float(np.max(np.abs(array), initial=0.0))
    if not largest <= LARGEST:  # NaN fails this comparison too
        raise InputError(
            f"Need finite {name}, at most {LARGEST:g} in absolute value",
            largest,
            "drop or repair the samples or parameters that diverged",
        )


def read_labels(labels: npt.ArrayLike, num_samples: int) -> npt.NDArray[np.intp]:
    """Labels as an intp vector of ``num_samples`` non-negative integers."""
    array = on_host(labels)
    if array.dtype.kind not in "iu":
        raise InputError(
            "Need integer labels 0..K-1", f"dtype {array.dtype}", "use labels.astype(int)"
        )
    if array.shape != (num_samples,):
        raise InputError(
            f"Need one label per sample, shape ({num_samples},)",
            f"shape {array.shape}",
            "features are (N, d), or (d, N) with transposed=True; labels are (N,)",
        )
    if array.size == 0:
        raise InputError("Need at least one sample", "0 samples", "pass non-empty features")
    if array.min() < 0:
        raise InputError(
            "Need labels in 0..K-1", f"smallest label {array.min()}", "relabel the classes from 0"
        )
    return array.astype(np.intp)


def require_rows(labels: npt.NDArray[np.intp], num_classes: int) -> None:
    """Raise InputError unless the classifier has a row for every label."""
    largest = int(labels.max())
    if largest >= num_classes:
        raise InputError(
            f"Need labels in 0..{num_classes - 1} for a classifier with {num_classes} rows",
            f"largest label {largest}",
            "relabel the classes or pass the whole classifier",
        )


def count_classes(labels: npt.NDArray[np.intp], num_classes: int) -> npt.NDArray[np.intp]:
    """Samples per class (K,), after checking that K >= 2 and that no class is empty."""
    require_rows(labels, num_classes)
    if num_classes < 2:
        raise InputError("Need K >= 2 classes", num_classes, "give samples of at least two classes")
    present = np.unique(labels)
    if present.size < num_classes:
        missing = int(np.argmax(np.append(present, -1) != np.arange(present.size + 1)))
        raise InputError(
            f"Need at least one sample of each of the {num_classes} classes",
            f"no sample of class {missing}",
            "relabel to 0..K-1 without gaps, or drop that row of the classifier",
        )
    return np.bincount(labels, minlength=num_classes)


def read(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    classifier: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    transposed: bool,
    lambda_W: float | None,
) -> Measured:
    """Check everything that can be checked without going through the features."""
    H = read_features(features, transposed)
    y = read_labels(labels, H.shape[0])
    head = read_head(classifier, bias, lambda_W, H.shape[1])
    counts = count_classes(y, int(y.max()) + 1 if head is None else len(head.W))
    return Measured(H, y, counts, head, spacing_at_one(H.dtype))


def read_features(features: npt.ArrayLike, transposed: bool = False) -> npt.NDArray[Any]:
    """Features as an array (N, d) of their own dtype."""
    H = real_array(features, "features", 2)
    if transposed:
        H = H.T
    if H.shape[1] == 0:
        raise InputError("Need d >= 1 features", f"shape {H.shape}", "pass non-empty features")
    return H


def read_head(
    classifier: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    lambda_W: float | None,
    num_features: int,
) -> Head | None:
    """The classifier, None without one."""
    if classifier is None:
        for value, name in ((bias, "bias"), (lambda_W, "lambda_W")):
            if value is not None:
                raise InputError(f"Need a classifier to use {name}", "classifier=None", "pass W")
        return None
    W = real_array(classifier, "classifier", 2)
    if W.shape[1] != num_features:
        raise InputError(
            f"Need classifier of shape (K, d) with d = {num_features}",
            f"shape {W.shape}",
            "pass W with one row per class; transpose it, or set transposed for the features",
        )
    require_finite(W, "classifier")
    num_classes = len(W)
    b = np.zeros(num_classes)
    if bias is not None:
        raw = real_array(bias, "bias", 1)
        if raw.shape != (num_classes,):
            raise InputError(
                f"Need bias of shape (K,) = ({num_classes},)", f"shape {raw.shape}", "one per class"
            )
        require_finite(raw, "bias")
        b = raw.astype(np.float64)
    if lambda_W is not None:
        lambda_W = require_positive(lambda_W, "lambda_W", "pass the weight decay of W")
    return Head(W.astype(np.float64), b, spacing_at_one(W.dtype), lambda_W)
