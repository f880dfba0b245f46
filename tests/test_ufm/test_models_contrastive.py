"""Supervised contrastive features: the loss from its definition, bounds, frames, refusals."""

import jax
import numpy as np
import pytest

from landscape import Curvature, Globality, dense_hessian, verdict
from ufm import InputError, as_rows, contrastive
from ufm.models.contrastive import Features
from ufm.tolerance import generator_rank


@pytest.mark.parametrize("nonnegative", [False, True])
def test_the_loss_is_that_of_its_definition(nonnegative):
    model = contrastive(d=3, radius=1.2, counts="2,4,3", nonnegative=nonnegative)
    H = np.asarray(model.random_point(jax.random.key(0)).H)
    raw = H**2 if nonnegative else H
    u = 1.2 * raw / np.linalg.norm(raw, axis=0)
    labels, total = [0, 0, 1, 1, 1, 1, 2, 2, 2], 0.0
    for i in range(9):
        others = [j for j in range(9) if j != i]
        positive = [j for j in others if labels[j] == labels[i]]
        total += np.log(sum(np.exp(u[:, i] @ u[:, j]) for j in others))
        total -= np.mean([u[:, i] @ u[:, j] for j in positive])
    assert float(model.objective(Features(H))) == pytest.approx(total, abs=1e-13)
    longer = Features(H * np.arange(1, 10))
    assert float(model.objective(longer)) == pytest.approx(total, abs=1e-13)


def test_the_simplex_is_the_minimum_of_equal_classes():
    model = contrastive(3, 4, 3, 1.3)
    best = model.minimiser()
    assert best.value == pytest.approx(8.1582372001, abs=1e-10)
    assert float(model.objective(best.point)) == pytest.approx(best.value, abs=1e-14)
    stretched = Features(best.point.H * np.arange(1, 10))
    told = verdict(model, stretched)
    assert (told.curvature, told.globality) == (Curvature.MORSE_BOTT_MINIMUM, Globality.GLOBAL)
    assert told.count.nullity == told.count.predicted_nullity == 14
    values = np.linalg.eigvalsh(dense_hessian(model, stretched))
    assert np.sum(np.abs(values) < 1e-9) == 14
    assert generator_rank(as_rows(model.generators(stretched))) == 14


def test_equal_classes_in_too_few_dimensions_keep_the_bound():
    model = contrastive(4, 2, 2, 0.8)
    assert model.minimiser() is None
    told = model.certificate(model.random_point(jax.random.key(1)))
    assert told.applies
    assert told.bound == contrastive(4, 3, 2, 0.8).minimiser().value
    assert told.gap > 0


def test_unequal_classes_have_a_frame_after_a_relu_only():
    free, folded = (contrastive(d=3, counts="2,3,4", nonnegative=x) for x in (False, True))
    assert free.minimiser() is None
    assert not free.certificate(None).applies
    best = folded.minimiser()
    value = sum(n * np.log(n - 1 + (9 - n) * np.exp(-1.69)) for n in (2, 3, 4))
    assert best.value == pytest.approx(value, abs=1e-14)
    assert verdict(folded, best.point).curvature is Curvature.MORSE_BOTT_MINIMUM
    assert verdict(folded, best.point).globality is Globality.GLOBAL
    assert contrastive(d=2, counts="2,3,4", nonnegative=True).minimiser() is None


def test_features_of_length_zero_are_refused():
    model = contrastive(2, 3, 2)
    H = model.minimiser().point.H.copy()
    H[:, 1] = 0
    with pytest.raises(InputError, match="not zero"):
        model.checked(Features(H))
