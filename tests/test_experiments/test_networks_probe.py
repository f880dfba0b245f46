"""The linear probe against its own optimality conditions and a descent that knows no library."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from experiments.networks.measures import probe as module
from experiments.networks.measures.probe import choose, fit
from ufm.errors import InputError

K, D, COUNTS = 3, 5, (9, 14, 18)
N = sum(COUNTS)


def sample(seed=0, spread=1.5):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(K), COUNTS))
    centres = np.random.default_rng(99).standard_normal((K, D))
    return centres[y] + spread * rng.standard_normal((N, D)) + 3, y


def gradient(probe, H, y):
    """With respect to W and b, by the formula."""
    K = len(probe.b)
    error = (softmax(H @ probe.W.T + probe.b, axis=1) - np.eye(K)[y]) / len(y)
    return error.T @ H + probe.l2 * probe.W, error.sum(axis=0)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("l2", [1e-4, 0.1, 10.0])
def test_it_is_the_minimum_of_the_formula(l2, classes) -> None:
    """Two classes too, of which the library keeps one row."""
    H, y = sample()
    H, y = H[y < classes], y[y < classes]
    probe = fit(H, y, l2, tolerance=1e-10)
    assert probe.converged
    assert abs(probe.b.sum()) < 1e-12 * (1 + np.abs(probe.b).max())
    for part in gradient(probe, H, y):
        assert np.abs(part).max() < 1e-8

    def value(theta):
        W, b = theta[: classes * D].reshape(classes, D), theta[classes * D :]
        log_p = log_softmax(H @ W.T + b, axis=1)
        return -np.mean(log_p[np.arange(len(y)), y]) + l2 / 2 * np.sum(W**2)

    other = minimize(value, np.zeros(classes * (D + 1)), tol=1e-10)
    assert value(np.concatenate([probe.W.ravel(), probe.b])) <= other.fun + 1e-12


def test_l2_and_tolerance_are_heeded(monkeypatch) -> None:
    H, y = sample()
    norms = [np.linalg.norm(fit(H, y, l2).W) for l2 in (1e-3, 1e-2, 1e-1)]
    assert norms[0] > 1.2 * norms[1] > 1.44 * norms[2]
    sizes = [
        max(np.abs(part).max() for part in gradient(fit(H, y, tolerance=t), H, y))
        for t in (1e-1, 1e-10)
    ]
    assert sizes[1] < 1e-8 < 1e-5 < sizes[0]
    monkeypatch.setattr(module, "MAX_STEPS", 2)
    assert not fit(H, y, 1e-6, tolerance=1e-10).converged


def test_scale_and_shift_of_the_features() -> None:
    """A shift changes only b; a scale s with l2 s^2 only divides W by s."""
    H, y = sample()
    base = fit(H, y, 0.01, tolerance=1e-10)
    for scale, shift in ((1e-6, 0.0), (1e6, 0.0), (1.0, 1e4)):
        other = fit(scale * H + shift, y, 0.01 * scale**2, tolerance=1e-10)
        assert other.converged
        np.testing.assert_allclose(scale * other.W, base.W, rtol=1e-6)
        np.testing.assert_allclose(
            other.logits(scale * H + shift).argmax(1), base.logits(H).argmax(1)
        )


def test_the_choice_is_the_best_on_what_is_held_out() -> None:
    H, y = (
        np.concatenate(parts) for parts in zip(*(sample(s, 4.0) for s in range(4)), strict=True)
    )
    grid = [1e-4, 10.0, 1e-2, 1.0, 0.1]
    probe, accuracies = choose(H, y, grid)
    best = max(l2 for l2, a in zip(grid, accuracies, strict=True) if a == max(accuracies))
    assert probe.l2 == best
    np.testing.assert_array_equal(probe.W, fit(H, y, best).W)  # refitted on all samples
    assert len(set(accuracies)) > 1
    # The fifth held out: accuracies are multiples of one over its size.
    assert np.array(accuracies) * round(len(y) / 5) == pytest.approx(
        np.rint(np.array(accuracies) * round(len(y) / 5)), abs=1e-9
    )
    with pytest.raises(InputError, match=r"at least one l2"):
        choose(H, y, [])
    with pytest.raises(InputError, match=r"two samples or more of every class"):
        choose([[0.0], [1.0], [2.0]], [0, 1, 1], grid)


def test_bad_arguments_are_refused() -> None:
    H, y = sample()
    probe = fit(H, y)
    for arguments, says in ((dict(l2=0.0), "l2 > 0"), (dict(tolerance=-1.0), "tolerance > 0")):
        with pytest.raises(InputError, match=says):
            fit(H, y, **arguments)
    with pytest.raises(InputError, match=r"no sample of class 0"):
        fit(H, y + 1)
    with pytest.raises(InputError, match=r"differ between samples"):
        fit(np.ones((N, D)), y)
    with pytest.raises(InputError, match=r"features of dimension 5"):
        probe.logits(H[:, :4])
