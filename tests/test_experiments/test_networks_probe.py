"""The linear probe against scikit-learn and against its own optimality conditions."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

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
    error = (softmax(H @ probe.W.T + probe.b, axis=1) - np.eye(K)[y]) / len(y)
    return error.T @ H + probe.l2 * probe.W, error.sum(axis=0)


@pytest.mark.parametrize("l2", [1e-4, 0.1, 10.0])
def test_scikit_learn_agrees(l2) -> None:
    H, y = sample()
    probe = fit(H, y, l2, tolerance=1e-12)
    other = LogisticRegression(C=1 / (N * l2), tol=1e-10, max_iter=10_000, solver="newton-cg")
    other.fit(H, y)
    assert probe.converged
    np.testing.assert_allclose(probe.W, other.coef_, atol=1e-6 * np.abs(other.coef_).max())
    intercept = other.intercept_ - other.intercept_.mean()
    np.testing.assert_allclose(probe.b, intercept, atol=1e-6 * np.abs(intercept).max())
    assert probe.accuracy(H, y) == other.score(H, y)
    for part in gradient(probe, H, y):
        assert np.abs(part).max() < 1e-11


def test_l2_tolerance_and_start_are_heeded() -> None:
    H, y = sample()
    norms = [np.linalg.norm(fit(H, y, l2).W) for l2 in (1e-3, 1e-2, 1e-1)]
    assert norms[0] > 1.2 * norms[1] > 1.44 * norms[2]
    loose, tight = fit(H, y, tolerance=1e-1), fit(H, y, tolerance=1e-12)
    assert tight.gradient_norm <= 1e-12 < 1e-3 < loose.gradient_norm <= 1e-1
    assert loose.objective > tight.objective
    # Started from the answer nothing moves, and the answer does not depend on the start.
    again = fit(H, y, tolerance=1e-1, start=tight)
    np.testing.assert_allclose(again.W, tight.W, rtol=1e-9)
    far = fit(H, y, tolerance=1e-12, start=fit(H, y, 1e-6))
    np.testing.assert_allclose(far.W, tight.W, rtol=1e-8)


def test_an_unreachable_tolerance_is_admitted() -> None:
    H, y = sample()
    probe = fit(H, y, tolerance=1e-30)
    assert not probe.converged
    assert probe.gradient_norm < 1e-14


def test_scale_and_shift_of_the_features() -> None:
    """A shift changes only b; a scale s with l2 s^2 only divides W by s."""
    H, y = sample()
    base = fit(H, y, 0.01, tolerance=1e-12)
    for scale, shift in ((1e-6, 0.0), (1e6, 0.0), (1.0, 1e4)):
        other = fit(scale * H + shift, y, 0.01 * scale**2, tolerance=1e-12)
        assert other.converged
        np.testing.assert_allclose(scale * other.W, base.W, rtol=1e-6)
        np.testing.assert_allclose(
            other.logits(scale * H + shift).argmax(1), base.logits(H).argmax(1)
        )


def test_separable_classes_converge_to_a_margin() -> None:
    H, y = sample(spread=0.01)
    probe = fit(H, y, l2=1e-8)
    assert probe.converged
    assert probe.accuracy(H, y) == 1
    assert probe.objective < 1e-4


def test_more_features_than_samples() -> None:
    rng = np.random.default_rng(0)
    H, y = rng.standard_normal((7, 40)), np.array([0, 1, 2, 0, 1, 2, 2])
    probe = fit(H, y, 1e-4, tolerance=1e-11)
    assert probe.converged
    for part in gradient(probe, H, y):
        assert np.abs(part).max() < 1e-10


def test_the_choice_is_the_best_on_held_out_data() -> None:
    train, held_out = sample(0, 4.0), sample(1, 4.0)
    grid = [1e-4, 10.0, 1e-2, 1.0, 0.1]
    probe, accuracies = choose(train, held_out, grid)
    alone = [fit(*train, l2, 1e-6).accuracy(*held_out) for l2 in grid]
    assert accuracies == alone
    best = max(l2 for l2, accuracy in zip(grid, alone, strict=True) if accuracy == max(alone))
    assert probe.l2 == best
    # The mutant that chooses on the train split takes another one.
    on_train = [fit(*train, l2, 1e-6).accuracy(*train) for l2 in grid]
    assert best != max(l2 for l2, a in zip(grid, on_train, strict=True) if a == max(on_train))
    with pytest.raises(InputError, match=r"at least one l2"):
        choose(train, held_out, [])


def test_bad_arguments_are_refused() -> None:
    H, y = sample()
    probe = fit(H, y)
    for arguments, says in (
        (dict(l2=0.0), "l2 > 0"),
        (dict(tolerance=-1.0), "tolerance > 0"),
        (dict(start=fit(H[:, :2], y)), r"start of shape \(3, 5\)"),
    ):
        with pytest.raises(InputError, match=says):
            fit(H, y, **arguments)
    with pytest.raises(InputError, match=r"no sample of class 0"):
        fit(H, y + 1)
    with pytest.raises(InputError, match=r"differ between samples"):
        fit(np.ones((N, D)), y)
    with pytest.raises(InputError, match=r"features of dimension 5"):
        probe.logits(H[:, :4])
