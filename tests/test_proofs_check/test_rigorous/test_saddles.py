"""Enclosed saddles against dense Hessians."""

import jax
import numpy as np
import pytest

from landscape.curvature.hessian import dense_hessian
from proofs_check.rigorous.saddles import merged_saddle, polygon_saddle
from ufm import UFM, CrossEntropy, LabelSmoothing
from ufm.errors import InputError
from ufm.frames import merged_code, polygon
from ufm.model import value_and_gradient
from ufm.point import Point

LW, LH = 0.01, 0.02


def spectrum_at(loss, n, frame, scale):
    """Value and dense spectrum at W = w F, H = h F^T, w h = scale, balanced."""
    K, d = frame.shape
    model = UFM(loss, K, d, n, lambda_W=LW, lambda_H=LH)
    w = np.sqrt(scale * np.sqrt(n * LH / LW))
    point = Point(w * frame, np.repeat(scale / w * frame.T, n, axis=1))
    value, slopes = value_and_gradient(model, point)
    assert all(np.linalg.norm(slope) < 1e-12 for slope in jax.tree.leaves(slopes))
    return float(value), np.linalg.eigvalsh(dense_hessian(model, point))


@pytest.mark.parametrize(
    ("K", "groups", "d", "n", "delta"),
    [
        (4, 2, 3, 1, 0.0),
        (6, 3, 2, 1, 0.0),
        (6, 3, 4, 1, 0.05),
        (6, 2, 2, 2, 0.1),
        (8, 4, 3, 1, 0.0),
    ],
)
def test_merged_groups(K, groups, d, n, delta):
    options = {"lambda_W": LW, "lambda_H": LH, "smoothing": delta}
    told = merged_saddle(K, groups, d, n, **options)
    frame = merged_code([K // groups] * groups, d)
    loss = LabelSmoothing(delta) if delta else CrossEntropy()
    value, spectrum = spectrum_at(loss, n, frame, float(told.scale))
    assert float(told.value) == pytest.approx(value, abs=1e-14)
    assert told.index == np.sum(spectrum < -1e-9)
    for level in told.levels:
        assert np.sum(np.abs(spectrum - float(level.value)) < 1e-11) >= level.multiplicity
    other = merged_saddle(K, groups, d, n, **{**options, "smoothing": delta + 0.01})
    assert abs(float(other.value) - value) > 1e-3


@pytest.mark.parametrize(("K", "d", "n"), [(4, 3, 1), (5, 2, 1), (5, 4, 2), (6, 3, 1)])
def test_polygons(K, d, n):
    told = polygon_saddle(K, d, n, lambda_W=LW, lambda_H=LH)
    value, spectrum = spectrum_at(CrossEntropy(), n, polygon(K, d), float(told.scale))
    assert float(told.value) == pytest.approx(value, abs=1e-14)
    assert told.index == (K - 3) * (d - 2) == np.sum(spectrum < -1e-9)
    for level in told.levels:
        assert np.sum(np.abs(spectrum - float(level.value)) < 1e-11) >= level.multiplicity
    other = polygon_saddle(K, d, n, lambda_W=LW, lambda_H=1.01 * LH)
    assert abs(float(other.value) - value) > 1e-5


def test_the_polygons_of_the_page():
    known = {4: 0.335888295, 5: 0.516256458, 6: 0.723142101, 7: 0.936695850}
    for K, value in known.items():
        told = polygon_saddle(K, 2, lambda_W=0.02, lambda_H=0.02)
        assert float(told.value) == pytest.approx(value, abs=6e-10)


def test_where_there_is_no_such_point():
    with pytest.raises(InputError, match="one size"):
        merged_saddle(7, 3, 2, lambda_W=LW, lambda_H=LH)
    with pytest.raises(InputError, match="below the origin"):
        merged_saddle(6, 3, 2, lambda_W=0.2, lambda_H=0.2)
    with pytest.raises(InputError, match="c = K sqrt"):
        polygon_saddle(5, 2, lambda_W=0.3, lambda_H=0.3)
    with pytest.raises(InputError, match="K <= 2000"):
        polygon_saddle(2001, 2, lambda_W="1e-9", lambda_H="1e-9")
