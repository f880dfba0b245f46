"""Flows on the central path: against their exact laws, and against plain discrete steps."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from landscape.flows.central_path import Flow, covariance, gradient, run, velocity, whitened
from landscape.plots import draw_central_path
from tests.drawing import panel
from ufm import InputError
from ufm.collapse.central_path import decompose, follow, signal_to_noise

K, N_PER, D = 3, 4, 5
Y = np.repeat(np.arange(K), N_PER)
TIMES = np.array([0.0, 15.0, 400.0])


def features(seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((K, D))[Y] + 0.5 * rng.standard_normal((K * N_PER, D))


def loss(H):
    parts = decompose(H, Y, np.zeros((K, H.shape[1])))
    return parts.nc1 + parts.nc23


def test_the_gradient_is_that_of_the_loss():
    H, rng = features(), np.random.default_rng(5)
    for _ in range(3):
        step = rng.standard_normal(H.shape)
        slope = (loss(H + 1e-5 * step) - loss(H - 1e-5 * step)) / 2e-5
        assert np.sum(gradient(H, Y) * step) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("flow", Flow)
def test_a_flow_keeps_its_law(flow):
    path = run(features(), Y, TIMES, flow)
    exact = follow(flow.law, path.omega[0], TIMES, K, N_PER)
    assert path.omega == pytest.approx(exact, rel=1e-8)
    assert path.drift < 1e-8
    other = next(x for x in Flow if x is not flow)
    assert np.abs(follow(other.law, path.omega[0], TIMES, K, N_PER) - path.omega).max() > 0.05


def test_the_tangent_flow_freezes_deviations_and_singular_vectors():
    path = run(features(), Y, TIMES)
    deviations = [X - np.repeat(X.reshape(K, N_PER, D).mean(axis=1), N_PER, axis=0)
                  for X in path.features]  # fmt: skip
    assert np.abs(deviations[-1] - deviations[0]).max() < 1e-9
    means = [X.reshape(K, N_PER, D).mean(axis=1) for X in path.features]
    turns = [np.linalg.svd(M - M.mean(axis=0))[2][: K - 1] for M in means]
    assert np.abs(np.abs(turns[0] @ turns[-1].T) - np.eye(K - 1)).max() < 1e-7
    assert path.omega[-1].max() / path.omega[-1].min() < path.omega[0].max() / path.omega[0].min()


@pytest.mark.parametrize("flow", Flow)
def test_discrete_steps_converge_to_the_flow(flow):
    """Plain Euler steps that know of no law; the re-whitened ones as one would program them."""
    total = 4.0
    exact = run(features(), Y, [0.0, total], flow).omega[-1]
    errors = []
    for count in (40, 80):
        X = whitened(features(), Y)
        for _ in range(count):
            if flow is Flow.REWHITENED:
                X = whitened(X - total / count * gradient(X, Y), Y)
            else:
                X = X + total / count * velocity(X, Y, flow)
        errors.append(np.abs(signal_to_noise(X, Y) - exact).max())
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)  # of first order in the step
    assert errors[1] < 1e-2


def test_velocities_keep_the_covariance():
    X = whitened(features(), Y)
    assert covariance(X, Y) == pytest.approx(np.eye(D), abs=1e-13)
    for flow in Flow:
        step = 1e-6 * velocity(X, Y, flow)
        assert np.abs(covariance(X + step, Y) - np.eye(D)).max() < 1e-11
    # The bare gradient does not.
    assert np.abs(covariance(X - 1e-6 * gradient(X, Y), Y) - np.eye(D)).max() > 1e-9


def test_bad_input():
    with pytest.raises(InputError, match="increasing times"):
        run(features(), Y, [1.0, 0.5])
    with pytest.raises(InputError, match="invertible"):
        run(features()[:, :1] * np.ones((1, 3)), Y, [0.0, 1.0])


def test_a_figure_has_dots_on_the_lines_of_their_law():
    times = [0.0, 4.0, 20.0]
    paths = {flow: run(features(), Y, times, flow) for flow in Flow}
    ax = draw_central_path(paths, K, N_PER, panel())
    lines = [line for line in ax.lines if line.get_linestyle() == "-"]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert len(lines) == len(dots) == 2 * (K - 1)
    for line, dot in zip(lines, dots, strict=True):
        for x, y in zip(*dot.get_data(), strict=True):
            nearest = np.interp(x, *line.get_data())
            assert nearest == pytest.approx(y, rel=1e-3)  # between 200 points
    # The flows differ, so a law in the place of the other would be seen.
    last = [dot.get_ydata()[-1] for dot in dots]
    assert min(abs(a - b) for a, b in zip(last[: K - 1], last[K - 1 :], strict=True)) > 1e-2
    with pytest.raises(InputError, match="path to draw"):
        draw_central_path({}, K, N_PER, panel())


@pytest.mark.slow
def test_the_example_on_features_of_a_network(tmp_path, capsys):
    example = Path(__file__).parents[2] / "docs" / "examples" / "central_path.py"
    file = tmp_path / "path.png"
    runpy.run_path(str(example))["main"](str(file))
    assert file.stat().st_size > 10_000
    errors = [float(line.rpartition(" ")[2]) for line in capsys.readouterr().out.splitlines()]
    assert max(errors[0], errors[3]) < 1e-8 < 1 < min(errors[1], errors[2])
