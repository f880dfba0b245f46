"""What every registered model owes: reductions that travel, and kinks that are refused."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape import count_curvature
from ufm import MODELS, MSE, InputError, registered
from ufm.losses import as_loss

MERGING = [name for name in MODELS if registered(name).build({}).merge() is not None]
TAKING_A_LOSS = [name for name, entry in MODELS.items() if entry.loss is not None]


def hinge(logits, label):
    own = logits[label]
    return jnp.maximum(0.0, 1.0 + jnp.where(jnp.arange(3) == label, -1.0, logits - own)).sum()


@pytest.mark.parametrize("name", MERGING)
def test_a_merger_travels_by_pickle(name):
    merge = registered(name).build({}).merge()
    again = pickle.loads(pickle.dumps(merge))
    small = jax.tree.map(np.asarray, again.model.random_point(jax.random.key(0)))
    back = again.reduce(again.lift(small))
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(small), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-14)


@pytest.mark.parametrize("name", TAKING_A_LOSS)
def test_curvature_of_a_loss_with_kinks_is_refused(name):
    model = registered(name).build({"num_classes": 3, "loss": as_loss(hinge)})
    point = model.random_point(jax.random.key(1))
    with pytest.raises(InputError, match="loss without kinks"):
        count_curvature(model, point, 0.0)


@pytest.mark.parametrize("name", ["deep-linear", "equilibrium"])
def test_squared_error_of_another_curvature_is_solved_too(name):
    """3/2 |z - e_k|^2 with three times the decays is three times MSE, at the same point."""

    def thrice(logits, label):
        return 1.5 * jnp.sum((logits - jnp.eye(3)[label]) ** 2)

    entry = registered(name)
    decays = {p.name: p.default for p in entry.parameters if p.name.startswith("lambda_")}
    tripled = {key: 3 * value for key, value in decays.items()}
    plain = entry.build({"num_classes": 3, "loss": MSE()}).minimiser()
    other = entry.build({"num_classes": 3, "loss": as_loss(thrice), **tripled}).minimiser()
    assert other.value == pytest.approx(3 * plain.value, rel=1e-12)
    for one, same in zip(jax.tree.leaves(other.point), jax.tree.leaves(plain.point), strict=True):
        np.testing.assert_allclose(one, same, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("constrained-rate", {}),
        ("contrastive", {}),
        ("equilibrium", {"loss": MSE()}),
        ("seli", {}),
        ("sphere", {}),
    ],
    ids=str,
)
def test_the_gap_is_the_objective_above_the_bound(name, changes):
    model = registered(name).build(changes)
    point = model.random_point(jax.random.key(0))
    told = model.certificate(point)
    assert told.applies
    assert told.gap == pytest.approx(float(model.objective(point)) - told.bound, rel=1e-12)
