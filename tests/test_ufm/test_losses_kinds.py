"""Kinds of classes: a loss with numbers per class leaves exactly the symmetry of its numbers."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape import solve, verdict
from landscape.atlas import atlas
from tests.helpers import Problem
from tests.test_ufm.test_losses_adjusted import naive_adjusted
from ufm import (
    BCE,
    UFM,
    AdjustedCrossEntropy,
    CrossEntropy,
    InputError,
    UserLoss,
    ldam,
    logit_adjusted,
    vector_scaling,
)
from ufm.losses import Scaled
from ufm.plain.quadratic_form import quadratic_form
from ufm.plain.reduce import full_spectrum, reduced
from ufm.plain.relabelling import matching
from ufm.plain.symmetry import turned_classes

K = 4
PARTS = {
    "weights": [1.0, 2.0, 1.0, 1.0],
    "scales": [1.0, 1.0, 0.5, 1.0],
    "offsets": [0.3, 0.0, 0.0, 0.3],
    "margins": [0.0, 0.0, 0.7, 0.7],
}
SYMMETRIC = {"weights": [0, 1, 0, 0], "scales": [1, 1, 0, 1], "offsets": [1, 0, 0, 1]}
SYMMETRIC["margins"] = [0, 0, 1, 1]


def kept(loss):
    """All permutations that leave the values of a loss, found at random logits."""
    z = np.random.default_rng(0).normal(size=(3, K))
    of = jax.jit(jax.vmap(loss))

    def moves(p):
        # (P z)[p_j] = z_j and the label goes along.
        moved = np.empty_like(z)
        moved[:, p] = z
        return any(
            np.abs(of(moved, np.full(3, p[k])) - of(z, np.full(3, k))).max() > 1e-9
            for k in range(K)
        )

    return {p for p in permutations(range(K)) if not moves(list(p))}


@pytest.mark.parametrize("name", PARTS)
def test_kinds_are_the_permutations_that_leave_the_loss(name):
    loss = AdjustedCrossEntropy(K, **{name: PARTS[name]})
    kinds = loss.kinds(K)
    assert kinds.tolist() == SYMMETRIC[name]
    allowed = {p for p in permutations(range(K)) if (kinds[list(p)] == kinds).all()}
    assert kept(loss) == allowed
    assert 1 < len(allowed) < 24
    assert Scaled(loss, 3.0).kinds(K).tolist() == kinds.tolist()


def test_kinds_of_the_other_losses():
    assert BCE().kinds(K).tolist() == [0] * K
    partial = UserLoss(lambda z, k: jax.nn.logsumexp(z) - z[k] + 0.5 * z[0] ** 2)
    assert partial.kinds(K).tolist() == [0, 1, 2, 3]  # what is not known is not assumed
    assert logit_adjusted(1.0).for_counts((3, 1, 3)).kinds(3).tolist() == [1, 0, 1]
    assert vector_scaling(0.3).for_counts((2, 2, 2)).kinds(3).tolist() == [0, 0, 0]


def test_kinds_of_a_model_join_sizes_and_loss():
    decays = {"d": 2, "lambda_W": 0.1, "lambda_H": 0.1}
    weights = AdjustedCrossEntropy(K, weights=PARTS["weights"])
    assert UFM(weights, counts=(2, 2, 2, 1), **decays).kinds.tolist() == [1, 2, 1, 0]
    assert UFM(CrossEntropy(), counts=(2, 5, 2, 1), **decays).kinds.tolist() == [1, 2, 1, 0]
    assert UFM(weights, K, **decays).merge().model.kinds.tolist() == [0, 1, 0, 0]
    swapped = np.diag([2.0, 1.0, 1.0, 1.0])
    model = UFM(weights, K, **decays)
    assert matching(swapped, np.diag([1.0, 1.0, 1.0, 2.0]), model.kinds) is not None
    assert matching(swapped, np.diag([1.0, 2.0, 1.0, 1.0]), model.kinds) is None


def test_only_classes_of_one_kind_are_merged_in_a_spectrum():
    """A-5 at the origin of the row space: all classes coincide, and their curvatures do not."""
    loss, counts = AdjustedCrossEntropy(K, weights=[1.0, 3.0, 1.0, 1.0]), (2, 2, 2, 1)
    model = UFM(loss, counts=counts, d=3, lambda_W=0.03, lambda_H=0.05)
    groups = [group.tolist() for group in reduced(model, model.origin()).groups]
    assert groups == [[0, 2], [1], [3]]
    naive = naive_adjusted(weights=[1.0, 3.0, 1.0, 1.0])
    brute = Problem.of(naive, counts, 3, 0.03, 0.05).spectrum(model.origin())
    found = full_spectrum(model, model.origin()).expand()
    np.testing.assert_allclose(np.sort(found), np.sort(brute), atol=1e-14)


def test_an_atlas_counts_by_the_symmetry_that_is_left():
    """Balanced classes, one of them heavier: orbits of S_2 x S_1, and the checksum is 1."""
    decays = {"d": 3, "lambda_W": 0.03, "lambda_H": 0.03}
    heavy = UFM(AdjustedCrossEntropy(3, weights=[1.0, 1.0, 1.02]), 3, **decays)
    found, plain = atlas(heavy), atlas(UFM(CrossEntropy(), 3, **decays))
    assert {orbit.count for orbit in plain.orbits} == {1, 3}
    assert {orbit.count for orbit in found.orbits} == {1, 2}
    assert all(value == 1 for rank, value in found.checksum.items() if rank)
    matrices = sum(orbit.count for orbit in found.orbits)
    assert matrices == sum(orbit.count for orbit in plain.orbits)  # each moves a little


def test_a_target_per_class_is_no_isotropic_quadratic():
    """|z - M_k e_k|^2 / 2 has equal Hessians and no class rotations."""
    targets = jnp.array([1.0, 2.0, 1.0])
    loss = UserLoss(lambda z, k: 0.5 * jnp.sum((z - targets[k] * jax.nn.one_hot(k, 3)) ** 2))
    assert not loss.properties(3).isometric
    assert quadratic_form(loss.at(3), 3) is None
    model = UFM(loss, 3, 3, lambda_W=0.1, lambda_H=0.1)
    assert model.minimiser() is None
    assert len(turned_classes(loss, model.counts, model.labels, 3)[0]) == 0


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.1])
def test_unequal_scales_have_a_shift_of_their_own(lambda_b):
    """L(z + t / scales) = L(z): a zero mode of a free bias, and rank K - 1, as for equal ones."""
    scales = np.array([1.0, 0.5, 2.0])
    loss = AdjustedCrossEntropy(3, scales=scales, offsets=[0.0, 0.4, 0.1])
    z = np.array([0.3, -1.0, 0.7])
    assert float(loss(z + 0.9 / scales, 1)) == pytest.approx(float(loss(z, 1)), abs=1e-14)
    assert abs(float(loss(z + 0.9, 1)) - float(loss(z, 1))) > 0.1
    decays = {"lambda_W": 0.03, "lambda_H": 0.02, "lambda_b": lambda_b}
    model = UFM(loss, counts=(3, 2, 1), d=4, **decays)
    run = solve(model, key=jax.random.key(1))
    told = verdict(model, run.point)
    assert (told.curvature.name, told.globality.name) == ("MORSE_BOTT_MINIMUM", "GLOBAL")
    assert told.count.predicted_nullity == 5 + (lambda_b == 0)  # rank 2 in R^4: 1 + 2 * 2
    naive = naive_adjusted(scales=scales, offsets=np.array([0.0, 0.4, 0.1]))
    brute = Problem.of(naive, (3, 2, 1), 4, 0.03, 0.02, lambda_b)
    values = brute.spectrum(model.merge().lift(model.merge().reduce(run.point.to_numpy())))
    assert np.sum(np.abs(values) < 1e-9) == told.count.predicted_nullity


def test_numbers_for_other_classes_are_refused():
    with pytest.raises(InputError, match="numbers for 4 classes"):
        UFM(AdjustedCrossEntropy(K, weights=PARTS["weights"]), 3, 2, lambda_W=0.1, lambda_H=0.1)
    assert UFM(ldam(0.5), counts=(16, 1), d=2, lambda_W=0.1, lambda_H=0.1).loss.margins[0] == 0.25
