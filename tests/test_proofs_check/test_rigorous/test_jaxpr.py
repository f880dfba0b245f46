"""Programs on enclosures: every rule against JAX itself, and what is refused."""

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import Balls, precision
from proofs_check.rigorous.floats import Floats
from proofs_check.rigorous.jaxpr import _planned, evaluate, written
from proofs_check.rigorous.rules import RULES
from ufm import InputError

FORMULAS = {
    "sums": lambda x: jnp.sum(x**2, axis=0) - jnp.mean(x, axis=1)[:3],
    "logsumexp": lambda x: jax.nn.logsumexp(x, axis=1),
    "softmax": lambda x: jax.nn.softmax(x),
    "softplus": lambda x: jax.nn.softplus(x),
    "sigmoid": lambda x: jax.nn.sigmoid(x) + jnp.tanh(x),
    "norm": lambda x: jnp.sqrt(jnp.sum(x * x, axis=1)) / (1 + jax.lax.rsqrt(1 + x[:, 0] ** 2)),
    "power": lambda x: (1 + x**2) ** 1.5 + (1 + x**2) ** -0.7 + (5 + x) ** -3,
    "gather": lambda x: x[jnp.array([2, 0]), 1:] * x[-1, ::2][:2, None],
    "scatter": lambda x: jnp.zeros((5, 3)).at[jnp.array([1, 1, 4, 0])].add(x),
    "put": lambda x: jnp.ones((5, 3)).at[jnp.array([1, 2, 4, 0])].set(x),
    "products": lambda x: jnp.einsum("ij,kj,kl->il", x, x, x) + x[0] @ x[1],
    "stacked": lambda x: jnp.concatenate([x, jnp.flip(x)], axis=1).T.reshape(4, 6),
    "pieces": lambda x: jnp.stack(jnp.split(x, 2)) + jnp.pad(x, ((1, 0), (0, 1)))[1:3, :3],
    "chosen": lambda x: jnp.where(jnp.arange(3) == 1, x, jnp.exp(-x)),
    "bounds": lambda x: jnp.maximum(x, 0.3) + jnp.minimum(x, 9.0) + jnp.max(x, 0) + jnp.abs(x),
    "clipped": lambda x: jnp.clip(x, -9.0, 9.0) + jnp.sign(x) * jnp.expm1(x) * jnp.log1p(x**2),
    "loop": lambda x: jax.lax.fori_loop(0, 3, lambda i, y: jnp.sin(y) * x + i, x),
    "scan": lambda x: jax.lax.scan(lambda c, r: (c * r + 1, c), x[0], x)[1],
    "carried": lambda x: jax.lax.scan(
        lambda c, r: ((c[0] * r + x[1], c[1] - r), (r * c[1], c[0])), (x[0], x[1]), x, reverse=True
    )[1][0],
    "repeat": lambda x: jax.lax.while_loop(lambda y: jnp.sum(y) < 50, lambda y: 2 * y, x**2),
    "branch": lambda x: jax.lax.cond(x[0, 0] > -9, jnp.cos, jnp.sin, x),
    "inner": lambda x: jax.checkpoint(jax.jit(lambda y: jnp.exp(y) / 3))(x),
    "slope": jax.grad(lambda x: jnp.sum(jax.nn.logsumexp(x @ x.T, axis=0) * x[:, 0])),
    "whole": lambda x: x * jnp.arange(3) + jnp.where(jnp.arange(3) > 1, 1, 2),
}


def positive(x):
    return x.T @ x + 3 * jnp.eye(3)


FORMULAS |= {
    "slogdet": lambda x: jnp.linalg.slogdet(positive(x) - 9 * jnp.eye(3))[1],
    "solve": lambda x: jnp.linalg.solve(5 * jnp.eye(3) + x[:3], x[1:].T),
    "inverse": lambda x: jnp.linalg.inv(jnp.stack([positive(x), 3 + positive(x)])),
    "cholesky": lambda x: jnp.linalg.cholesky(positive(x)),
    "slope of slogdet": jax.grad(lambda x: jnp.linalg.slogdet(x[:3] @ x[1:] - 9 * jnp.eye(3))[1]),
    "slope of many": jax.grad(
        lambda x: jnp.linalg.slogdet(jnp.stack([positive(x), 3 * positive(2 * x)]))[1].sum()
    ),
    "slope of cholesky": jax.grad(lambda x: jnp.linalg.cholesky(positive(x))[2, 1]),
    "curvature of slogdet": lambda x: jax.hessian(
        lambda y: jnp.linalg.slogdet(jnp.eye(3) + y.T @ y)[1]
    )(x).sum(axis=(0, 1)),
    "curvature of solve": lambda x: jax.hessian(
        lambda y: (jnp.linalg.solve(5 * jnp.eye(3) + y[:3], y[3]) ** 2).sum()
    )(x).sum(axis=(0, 1)),
    "right": lambda x: jax.lax.linalg.triangular_solve(positive(x), x, left_side=False),
    "right upper": lambda x: jax.lax.linalg.triangular_solve(
        positive(x), x, left_side=False, lower=True, transpose_a=True, unit_diagonal=True
    ),
}
COMPILED = {name: jax.jit(formula) for name, formula in FORMULAS.items()}
X = np.random.default_rng(0).normal(size=(4, 3)) + 0.05


@pytest.mark.parametrize("kind", [Floats, Balls])
@pytest.mark.parametrize("name", FORMULAS)
def test_a_box_contains_the_values_at_points_of_it(name, kind):
    program, formula = jax.make_jaxpr(FORMULAS[name])(X), COMPILED[name]
    with precision(90):
        [told] = evaluate(program, kind, [kind.around(X, 1e-7)])
        [point] = evaluate(program, kind, [kind.exact(X)])
        low, high = told.lower(), told.upper()
        rounding = 1e-12 * (1 + np.abs(formula(X)))
        assert np.all(point.upper() - point.lower() <= rounding)
        assert np.all(np.abs(point.middle() - formula(X)) <= rounding)
    rng = np.random.default_rng(1)
    for _ in range(3):
        value = formula(X + rng.choice([-1e-7, 1e-7], X.shape))
        assert np.all(low - rounding <= value)
        assert np.all(value <= high + rounding)
    assert np.all(high - low < 1e-3)


def test_a_rule_that_forgets_a_term_is_noticed(monkeypatch):
    """The comparison above has teeth: a rule for products that drops a radius is caught."""
    monkeypatch.setitem(RULES, "mul", lambda kind, x, y, **_: Floats(x.centre * y.centre, 0.0))
    program = jax.make_jaxpr(lambda x: x * x)(X)
    [told] = evaluate(program, Floats, [Floats.around(X, 1e-7)])
    assert not np.all(told.upper() >= (np.abs(X) + 1e-7) ** 2)


def test_a_primitive_without_enclosure_is_named():
    program = jax.make_jaxpr(lambda x: jnp.linalg.eigvalsh(x @ x.T))(X)
    with pytest.raises(InputError, match="'eigh'"):
        evaluate(program, Floats, [Floats.exact(X)])


def test_what_an_enclosure_does_not_settle_is_undecided():
    relu = jax.make_jaxpr(lambda x: jnp.where(x > 0, x, 0.0))(X)
    with pytest.raises(Undecided, match="comparison"):
        evaluate(relu, Floats, [Floats.around(np.zeros_like(X), 1e-3)])
    twice = jax.make_jaxpr(lambda x: jnp.zeros(3).at[jnp.array([1, 1])].set(x))(X[0, :2])
    with pytest.raises(Undecided, match="one place"):
        evaluate(twice, Floats, [Floats.exact(X[0, :2])])
    endless = jax.make_jaxpr(lambda x: jax.lax.while_loop(lambda y: y < 2, lambda y: y, x))(1.0)
    with pytest.raises(Undecided, match="loop"):
        evaluate(endless, Floats, [Floats.exact(1.0)])


@pytest.mark.parametrize("kind", [Floats, Balls])
def test_a_matrix_that_may_be_singular_is_undecided(kind):
    for formula in (jnp.linalg.inv, jnp.linalg.cholesky):
        program = jax.make_jaxpr(formula)(np.eye(3))
        with pytest.raises(Undecided):
            evaluate(program, kind, [kind.around(np.diag([1.0, 1e-9, 2.0]), 1e-8)])


@pytest.mark.parametrize("kind", [Floats, Balls])
def test_inverses_and_determinants_of_all_matrices_in_the_intervals(kind):
    """Against exact arithmetic, at corners of the box."""
    rng = np.random.default_rng(3)
    A, spread = rng.normal(size=(4, 4)) + 2 * np.eye(4), 1e-6
    program = jax.make_jaxpr(lambda x: (jnp.linalg.inv(x), jnp.linalg.slogdet(x)[1]))(A)
    with precision(90):
        inverse, height = evaluate(program, kind, [kind.around(A, spread)])
        low, high = inverse.lower(), inverse.upper()
        ends = float(height.lower()), float(height.upper())
    for _ in range(20):
        corner = A + 0.999 * spread * rng.choice([-1.0, 1.0], A.shape)
        with precision(200):
            exact = flint.arb_mat(corner.tolist())
            told = np.array(exact.inv().tolist(), dtype=object).astype(float)
            size = float(abs(exact.det()).log())
        assert np.all((low - 1e-14 <= told) & (told <= high + 1e-14))
        assert ends[0] - 1e-14 <= size <= ends[1] + 1e-14
    assert np.all(high - low < 100 * spread)


def test_an_elimination_that_forgets_a_radius_is_noticed(monkeypatch):
    """The comparison above has teeth: products without radii give factors that are too narrow."""
    honest = Floats.__mul__
    monkeypatch.setattr(
        Floats, "__mul__", lambda x, y: Floats(honest(x, y).centre, 0.0 * x.centre * y.centre)
    )
    program = jax.make_jaxpr(lambda x: jnp.linalg.slogdet(x)[1])(np.eye(2))
    A = np.array([[2.0, 1.0], [1.0, 1.0]])
    [told] = evaluate(program, Floats, [Floats.around(A, 1e-6)])
    worst = A + 1e-6 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert float(told.upper()) < np.log(np.linalg.det(worst)) - 1e-7


def test_what_is_computed_in_vain_is_not_looked_at():
    """The derivative of a maximum would ask which entry it is; a shift needs no answer."""

    def formula(x):
        jnp.linalg.eigvalsh(x @ x.T)
        return jax.nn.logsumexp(x)

    program = jax.make_jaxpr(jax.hessian(formula))(np.zeros((2, 2)))
    [told] = evaluate(program, Floats, [Floats.around(np.zeros((2, 2)), 1e-6)])
    assert abs(float(told.middle()[0, 0, 0, 0]) - 3 / 16) < 1e-9


def test_numbers_of_tracing_stand_for_what_was_rounded():
    share = 1 / 3
    told = written(Floats, share)
    assert float(told.lower()) < share < float(told.upper())
    assert float(told.upper() - told.lower()) < 3e-16
    for exact in (0.0, 0.5, -12.0, 2.0**-60, -np.inf):
        assert float(written(Floats, exact).radius) == 0


@pytest.mark.parametrize(
    ("formula", "steps"),
    [
        (lambda x: jnp.sin(x) + jnp.sin(x), 2),  # one sine and one sum
        (lambda x: jnp.sin(x) + jnp.cos(x), 3),
        (lambda x: x**2 + x**3, 3),  # one operation with two parameters
        (lambda x: (x * 0.5) + (x * 0.25), 3),
        (lambda x: (x * 0.5) + (x * 0.5), 2),
    ],
)
def test_what_is_computed_twice_is_computed_once(formula, steps):
    program = jax.make_jaxpr(formula)(1.0)
    assert len(_planned(program, (True,)).steps) == steps
    [told] = evaluate(program, Floats, [Floats.exact(0.7)])
    assert told.lower() <= float(formula(0.7)) <= told.upper()
