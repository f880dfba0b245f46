"""The decomposition of squared error and the laws of motion, against brute force."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from ufm import InputError
from ufm.collapse.central_path import (
    decompose,
    follow,
    rewhitened_time,
    signal_to_noise,
    tangent_time,
)

K, N_PER, D = 3, 4, 5


def sample(counts=(N_PER,) * K, d=D, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = rng.standard_normal((len(counts), d))
    return centres[labels] + 0.5 * rng.standard_normal((len(labels), d)), labels


def objective(flat, H, labels, decay, bias_decay, K):
    W = flat.reshape(K, -1)
    scores = H @ W[:, :-1].T + W[:, -1]
    error = np.sum((scores - np.eye(K)[labels]) ** 2) / len(H)
    penalty = decay * np.sum(W[:, :-1] ** 2) + bias_decay * np.sum(W[:, -1] ** 2)
    return 0.5 * error + 0.5 * penalty


@pytest.mark.parametrize("counts", [(4, 4, 4), (5, 3, 2)])
@pytest.mark.parametrize(("decay", "bias_decay"), [(0.0, 0.0), (0.07, 0.07), (0.07, 0.02)])
def test_the_parts_add_up_and_the_classifier_is_best(counts, decay, bias_decay):
    H, labels = sample(counts)
    rng = np.random.default_rng(1)
    W, b = rng.standard_normal((K, D)), rng.standard_normal(K)
    decays = {"decay": decay, "bias_decay": bias_decay}
    parts = decompose(H, labels, W, b, **decays)
    whole = objective(np.hstack([W, b[:, None]]).ravel(), H, labels, decay, bias_decay, K)
    assert parts.total == pytest.approx(whole, rel=1e-13)
    assert min(parts.nc1, parts.nc23, parts.perpendicular) > 0
    start = np.zeros(K * (D + 1))
    arguments = (H, labels, decay, bias_decay, K)
    found = minimize(objective, start, arguments, method="BFGS", options={"gtol": 1e-10})
    # The value is second order in the optimiser's error of 1e-5.
    assert parts.nc1 + parts.nc23 == pytest.approx(found.fun, abs=1e-9)
    best = parts.classifier
    on = decompose(H, labels, best[:, :-1], best[:, -1], **decays)
    assert on.perpendicular < 1e-28
    # Neither the bias nor a decay is ignored; without one of its own the bias has that of W.
    assert decompose(H, labels, W, **decays).total != pytest.approx(parts.total, rel=1e-6)
    raised = decompose(H, labels, W, b, decay=decay + 0.1, bias_decay=bias_decay)
    assert parts.total < raised.total < decompose(H, labels, W, b, decay=decay + 0.1).total


def test_the_loss_on_the_path_follows_from_the_singular_values():
    H, labels = sample()
    omega = signal_to_noise(H, labels)
    parts = decompose(H, labels, np.zeros((K, D)))
    assert omega.shape == (K - 1,)
    told, less = (np.sum(1 / (K + w**2)) / 2 for w in (omega, 1.01 * omega))
    assert told == pytest.approx(parts.nc1 + parts.nc23, rel=1e-12)
    assert less < told * (1 - 1e-4)
    # Invertible maps of the features, and shifts, change nothing.
    A = np.random.default_rng(3).standard_normal((D, D))
    assert signal_to_noise(H @ A + 7.0, labels) == pytest.approx(omega, rel=1e-9)


RATES = {
    tangent_time: lambda w, n: w / (K + w**2) ** 2 / n,
    rewhitened_time: lambda w, n: w / (K + w**2) / (K * n),
}


@pytest.mark.parametrize("law", RATES)
def test_the_laws_solve_their_equations(law):
    start, times = np.array([0.4, 1.3]), np.array([0.0, 3.0, 70.0])
    found = follow(law, start, times, K, N_PER)
    numeric = solve_ivp(
        lambda _, w: RATES[law](w, N_PER), (0, 70), start, t_eval=times, rtol=1e-11, atol=1e-13
    ).y.T
    assert found == pytest.approx(numeric, rel=1e-8)
    other = next(x for x in RATES if x is not law)
    assert np.abs(follow(other, start, times, K, N_PER) - numeric).max() > 0.01
    assert np.abs(follow(law, start, times, K, N_PER + 1) - numeric).max() > 0.01


def test_the_values_grow_as_their_powers_say():
    late = np.array([1e9])
    (tangent,), (white,) = (follow(law, [0.5], late, K, N_PER)[0] for law in RATES)
    assert tangent == pytest.approx((4 * 1e9 / N_PER) ** 0.25, rel=0.02)
    assert white == pytest.approx((2 * 1e9 / (K * N_PER)) ** 0.5, rel=0.02)


def test_bad_input():
    H, labels = sample()
    with pytest.raises(InputError, match="equal size"):
        signal_to_noise(*sample((5, 3, 2)))
    with pytest.raises(InputError, match="invertible within-class"):
        signal_to_noise(np.hstack([H, H[:, :1]]), labels)
    with pytest.raises(InputError, match="decay >= 0"):
        decompose(H, labels, np.zeros((K, D)), decay=-1.0)
    with pytest.raises(InputError, match="omega > 0"):
        follow(tangent_time, [0.0], [1.0], K, 2)
    with pytest.raises(InputError, match="times >= 0"):
        follow(tangent_time, [1.0], [-1.0], K, 2)
