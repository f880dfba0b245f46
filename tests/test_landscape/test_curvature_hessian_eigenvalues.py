"""The Hessian of a cross-entropy model at its minimiser: few distinct eigenvalues, many zeros."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from landscape.curvature.lanczos import LanczosResult, hessian_eigenvalues
from ufm.errors import InputError

jax.config.update("jax_enable_x64", True)

KEY = jax.random.key(3)

# K, d, n pairwise distinct, lambda_W != lambda_H: a transposed factor or a swapped lambda shows.
K, D, N, LAMBDA_W, LAMBDA_H = 3, 5, 2, 0.03, 0.02


def cross_entropy(point: dict[str, Any]) -> Any:
    W, H = point["W"], point["H"]
    logits = W @ H
    labels = jnp.repeat(jnp.arange(K), N)
    picked = logits[labels, jnp.arange(K * N)]
    loss = jnp.mean(jax.scipy.special.logsumexp(logits, axis=0) - picked)
    return loss + LAMBDA_W / 2 * jnp.sum(W**2) + LAMBDA_H / 2 * jnp.sum(H**2)


def minimiser() -> dict[str, Any]:
    """W = w Q, h_{k,i} = h q_k with Q Q' = I - J/K and the logit gap of the closed form."""
    alpha = np.log(1 / np.sqrt(N * LAMBDA_W * LAMBDA_H) - K + 1)
    frame = np.linalg.eigh(np.eye(K) - 1 / K)[1][:, 1:]
    rows = np.linalg.qr(np.random.default_rng(0).standard_normal((D, D)))[0][: K - 1]
    Q = frame @ rows
    w = np.sqrt(alpha * np.sqrt(N * LAMBDA_H / LAMBDA_W))
    h = np.sqrt(alpha * np.sqrt(LAMBDA_W / (LAMBDA_H * N)))
    return {"W": w * Q, "H": np.repeat(h * Q.T, N, axis=1)}


def rotations(point: dict[str, Any]) -> Any:
    """All d(d-1)/2 generators W -> -W E, H -> E H; they are dependent at the minimiser."""
    columns = []
    for i in range(D):
        for j in range(i):
            E = np.zeros((D, D))
            E[i, j], E[j, i] = 1.0, -1.0
            columns.append(ravel_pytree({"W": -point["W"] @ E, "H": E @ point["H"]})[0])
    return np.stack(columns, axis=1)


def dense_spectrum(point: dict[str, Any]) -> Any:
    flat, unravel = ravel_pytree(point)
    return np.linalg.eigvalsh(jax.jit(jax.hessian(lambda x: cross_entropy(unravel(x))))(flat))


NULLITY = (K - 1) * D - K * (K - 1) // 2


@pytest.mark.slow
def test_hessian_at_the_minimiser_against_the_dense_one() -> None:
    point = minimiser()
    gradient = ravel_pytree(jax.grad(cross_entropy)(point))[0]
    assert float(jnp.linalg.norm(gradient)) < 1e-15
    dense = dense_spectrum(point)
    scale = dense[-1]
    distinct = 1 + int(np.sum(np.diff(dense) > 1e-10 * scale))
    assert 8 <= distinct <= 14  # of 45: a Krylov space closes after as many steps
    k = NULLITY + 6
    for which, expected in (("smallest", dense[:k]), ("largest", dense[-k:])):
        pairs = hessian_eigenvalues(cross_entropy, point, num_eigenvalues=k, key=KEY, which=which)
        np.testing.assert_allclose(pairs.eigenvalues, expected, rtol=0, atol=1e-14 + 1e-13 * scale)
        assert pairs.result is LanczosResult.CONFIRMED
    assert int(np.sum(np.abs(dense[:k]) < 1e-12)) == NULLITY


def test_a_closing_that_rounding_blurs_is_survived() -> None:
    """Two nearby levels: noise grows to 1e-10 before the space closes, and is no direction."""
    point = minimiser()
    dense = dense_spectrum(point)
    for seed in range(3):
        pairs = hessian_eigenvalues(
            cross_entropy, point, num_eigenvalues=9, key=jax.random.key(seed), block_size=1
        )
        np.testing.assert_allclose(pairs.eigenvalues, dense[:9], rtol=0, atol=1e-13)
        assert pairs.result is LanczosResult.CONFIRMED


def test_deflation_of_the_rotations_shows_the_gap() -> None:
    point = minimiser()
    dense = dense_spectrum(point)
    null = rotations(point)
    assert null.shape[1] > NULLITY  # dependent generators, as symmetry provides them
    with_zeros = hessian_eigenvalues(cross_entropy, point, num_eigenvalues=3, key=KEY)
    np.testing.assert_allclose(with_zeros.eigenvalues, np.zeros(3), rtol=0, atol=1e-14)
    pairs = hessian_eigenvalues(cross_entropy, point, num_eigenvalues=4, key=KEY, null_vectors=null)
    gap = dense[NULLITY : NULLITY + 4]
    np.testing.assert_allclose(pairs.eigenvalues, gap, rtol=0, atol=1e-14)
    assert pairs.eigenvalues[0] > 1e-3
    np.testing.assert_allclose(null.T @ pairs.eigenvectors, 0.0, rtol=0, atol=1e-13)
    assert pairs.null_residual < 1e-14
    with pytest.raises(InputError, match=f"num_eigenvalues <= {45 - NULLITY}"):
        hessian_eigenvalues(cross_entropy, point, num_eigenvalues=39, key=KEY, null_vectors=null)


def test_all_eigenvalues_with_deflation() -> None:
    point = minimiser()
    pairs = hessian_eigenvalues(
        cross_entropy, point, num_eigenvalues=45 - NULLITY, key=KEY, null_vectors=rotations(point)
    )
    np.testing.assert_allclose(
        pairs.eigenvalues, dense_spectrum(point)[NULLITY:], rtol=0, atol=1e-13
    )
    assert pairs.exhausted


def test_directions_that_are_not_null_are_refused() -> None:
    point = minimiser()
    with pytest.raises(InputError, match="null vectors"):
        hessian_eigenvalues(
            cross_entropy, point, num_eigenvalues=1, key=KEY, null_vectors=np.eye(45)[:, :1]
        )
