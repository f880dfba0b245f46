"""The tasks of a sweep against brute force: NumPy Hessians, descents and flows, closed forms."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from experiments.sweep.cells import batches, expand
from experiments.sweep.spec import make_spec
from experiments.sweep.tasks import TASKS
from experiments.sweep.tasks.minimise import descend
from experiments.sweep.tasks.rate import measured
from experiments.sweep.tasks.registry import CONDITIONS
from experiments.sweep.tasks.threshold import resolution
from experiments.sweep.tasks.verdict import own_point
from experiments.sweep.work import Work
from landscape.flows.gradient_descent import metrics
from landscape.flows.rates import Linearised
from tests.helpers import FAMILY, Problem, naive_cross_entropy
from ufm import UFM, CrossEntropy, LabelSmoothing, Point
from ufm.collapse import collapse
from ufm.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SPECS = {"ls": {"name": "ls", "smoothing": 0.1}, "focal": {"name": "focal", "gamma": 2.0}}
# At gradient norm 1e-9 and curvatures above 1e-2 a point is known to 1e-7, and so is its Hessian.
KNOWN = 1e-6

pytestmark = pytest.mark.slow


def works(task: str, axes: dict, **options: float) -> list[Work]:
    spec = make_spec({"task": task, "axes": axes, "options": options})
    cells = expand(spec)
    return [
        Work(cells.take(batch.indices), batch.shape[2], spec.options, 4, False)
        for batch in batches(cells, 512)
    ]


def table(task: str, axes: dict, **options: float) -> dict[str, np.ndarray]:
    """Cells and results, in the order of the cells."""
    found = []
    for work in works(task, axes, **options):
        columns = TASKS[task].compute(work)
        assert set(columns) == set(TASKS[task].columns)
        assert all(len(values) == len(work.cells) for values in columns.values())
        found.append({**work.cells.columns, **columns})
    whole = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    order = np.argsort(whole["cell"])
    return {name: values[order] for name, values in whole.items()}


# ---- spectrum


def extremes(matrix: np.ndarray) -> tuple[float, float]:
    values = np.linalg.eigvalsh(matrix)
    kept = values[np.abs(values) > 1e-7 * np.abs(values).max()]
    return float(kept.min()), float(kept.max())


@pytest.mark.parametrize("loss", ["ce", "ls", "mse", "focal"])
def test_the_spectrum_is_that_of_the_dense_hessian_of_the_full_problem(loss: str) -> None:
    axes = {
        "loss": SPECS.get(loss, loss),
        "counts": [[2, 2, 2], [4, 3, 2]],
        "d": 4,
        "lambda_W": 0.09,
        "lambda_H": 0.03,
    }
    (work,) = works("spectrum", axes)
    found, ends = TASKS["spectrum"].compute(work), descend(work, work.models)
    assert found["result"].tolist() == ["CONVERGED"] * 2
    for i in range(2):
        counts = work.cells.counts(i)
        problem = Problem.of(FAMILY[loss][1], counts, 4, 0.09, 0.03)
        end = own_point(work, ends, i)
        features = np.repeat(end.H / np.sqrt(counts), counts, axis=1)
        matrix = problem.hessian(problem.pack(Point(end.W, features)))
        smallest, largest = extremes(matrix)
        size = 3 * 4
        blocks = [extremes(matrix[:size, :size]), extremes(matrix[size:, size:])]
        conditions = [high / low for low, high in ((smallest, largest), *blocks)]
        lw, lh = np.full(size, 0.09), np.full(len(matrix) - size, 0.03)
        bare = matrix - np.diag(np.concatenate([lw, lh]))  # the loss without decay
        for block in (bare[:size, :size], bare[size:, size:]):
            low, high = extremes(block)
            conditions.append(high / low if low > 0 else np.nan)  # focal loss is not convex
        # Only with decay is the end a minimum, so the loss alone has no joint condition number.
        assert extremes(bare)[0] < -0.02
        expected = [smallest, largest, *conditions]
        names = ("smallest", "largest", *CONDITIONS)
        got = [found[name][i] for name in names]
        np.testing.assert_allclose(got, expected, rtol=KNOWN)
        # The blocks differ, so that a swap would show, and one sample per class is another problem.
        if len(set(counts)) > 1 or loss in ("mse", "ce"):
            other = Problem.of(FAMILY[loss][1], counts, 4, 0.03, 0.09)
            wrong = extremes(other.hessian(other.pack(Point(end.W, features))))
            assert abs(wrong[1] / largest - 1) > 100 * KNOWN


def test_blocks_of_cross_entropies_have_the_condition_number_of_ls2() -> None:
    axes = {"loss": ["ce", SPECS["ls"]], "K": 3, "d": 4, "n": 2, "c": [0.02, 0.4]}
    found = table("spectrum", axes)
    delta = np.nan_to_num(found["smoothing"])
    u = found["c"] + delta
    expected = 1 + (1 - 2 / 3 * u) * np.log(3 / u - 2) * u / found["c"]
    for name in ("condition_W", "condition_H"):
        np.testing.assert_allclose(found[name], expected, rtol=KNOWN)
    assert found["condition_W"][2] > 2 * found["condition_W"][0]  # c = 0.02: smoothing is worse
    assert found["condition_W"][3] < found["condition_W"][1]  # c = 0.4: better


def test_without_decay_smoothing_is_better_at_every_c() -> None:
    """LS-2 (a): K - (K - 1)(c + delta), of the W block and of the H block."""
    axes = {"loss": ["ce", SPECS["ls"]], "K": 3, "d": [2, 4], "n": 2, "c": [0.02, 0.4]}
    found = table("spectrum", axes)
    u = found["c"] + np.nan_to_num(found["smoothing"])
    for name in ("loss_condition_W", "loss_condition_H"):
        np.testing.assert_allclose(found[name], 3 - 2 * u, rtol=KNOWN)
    whole = table("spectrum", {"loss": ["ce", SPECS["ls"]], "K": 3, "d": 4, "n": 2, "c": [0.02]})
    assert whole["loss_condition_H"][1] < whole["loss_condition_H"][0]
    assert whole["condition_H"][1] > whole["condition_H"][0]  # with decay it is the other way round


def test_what_is_not_critical_has_no_spectrum_and_what_is_degenerate_says_so() -> None:
    axes = {"K": 3, "d": 4, "n": 2, "c": [0.4, 0.5]}
    early = table("spectrum", axes, max_iterations=3)
    assert early["result"].tolist() == ["MAX_ITERATIONS"] * 2
    assert np.isnan(early["condition"]).all()
    assert np.isnan(early["smallest"]).all()
    loose = table("spectrum", axes, tolerance=1e-3)
    assert (loose["iterations"] < table("spectrum", axes)["iterations"]).all()
    hard = {"loss": {"name": "rescaled-mse", "kappa": 15.0, "target": 30.0}, "K": 4, "d": 6, "n": 5}
    assert table("spectrum", {**hard, "c": 0.001})["result"].tolist() == ["CONVERGED"]  # polished
    at = table("spectrum", {"K": 3, "d": 4, "n": 2, "c": [1.0, 1.5]})
    assert at["result"].tolist() == ["UNDECIDED", "CONVERGED"]
    assert at["reason"][0]


# ---- threshold


def first_slopes(naive, counts) -> float:
    """sqrt(K N) times the largest singular value of the gradient in W H at the origin."""
    K, N = len(counts), sum(counts)
    G = np.stack([naive(np.zeros(K), k)[1] * counts[k] ** 0.5 / N for k in range(K)], axis=1)
    return float(np.sqrt(K * N) * np.linalg.norm(G, 2))


def test_thresholds_of_balanced_losses_are_those_of_theory() -> None:
    axes = {"loss": ["ce", SPECS["ls"], "mse"], "K": 3, "d": [1, 4], "decay_ratio": [1.0, 3.0]}
    found = table("threshold", axes)
    assert set(found["result"]) == {"CONVERGED"}
    expected = np.where(found["loss"] == "ls", 0.9, 1.0)
    for name in ("c_origin", "c_theory"):
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)
    assert (found["c_low"] < expected).all()
    assert (expected < found["c_high"]).all()
    width = (found["c_high"] - found["c_low"]) / found["c_high"]
    assert (width <= 1e-3).all()
    assert (width > 1e-4).all()
    np.testing.assert_allclose(found["c_measured"], 0.5 * (found["c_low"] + found["c_high"]))


def test_unequal_classes_have_the_threshold_of_the_first_slope() -> None:
    axes = {"loss": ["ce", "mse"], "counts": [[5, 2, 1]], "d": 4}
    found = table("threshold", axes, precision=1e-4)
    assert np.isnan(found["c_theory"]).all()
    for i, name in enumerate(("ce", "mse")):
        by_hand = first_slopes(FAMILY[name][1], (5, 2, 1))
        assert abs(found["c_origin"][i] / by_hand - 1) < 1e-12
        assert abs(found["c_measured"][i] / by_hand - 1) < 1e-4
    assert abs(found["c_origin"][1] ** 2 - 3 * 5 / 8) < 1e-12  # N sigma = sqrt(n_max)


def test_a_first_order_collapse_comes_after_the_origin_is_stable() -> None:
    found = table("threshold", {"loss": SPECS["focal"], "K": 20, "d": 19}, precision=1e-5)
    a = np.linspace(0.01, 12, 200_000)
    u = 1 / (1 + 19 * np.exp(-a))
    chord = float(np.max(((0.95**2) * np.log(20) + (1 - u) ** 2 * np.log(u)) / a) * 20 / 19)
    assert found["result"].tolist() == ["CONVERGED"]
    assert abs(found["c_measured"][0] / chord - 1) < 2e-5
    assert found["c_measured"][0] / found["c_origin"][0] > 1 + 5e-4  # outside the tolerance by 25
    assert found["c_low"][0] < chord < found["c_high"][0]


def test_options_of_the_threshold_have_effects() -> None:
    axes = {"K": 3, "d": 4}
    wide = table("threshold", axes, precision=0.1)
    assert 0.01 < (wide["c_high"] / wide["c_low"] - 1)[0] < 0.12
    assert table("threshold", axes, tolerance=1e-3)["result"].tolist() == ["UNDECIDED"]
    assert table("threshold", axes, max_iterations=2)["result"][0] != "CONVERGED"
    assert resolution(1e-6, 1e-3, 0.1, 1e-9, 0.0) < 1e-5 < resolution(1e-6, 1e-3, 0.1, 1e-3, 0.0)
    assert resolution(1e-14, 1e-3, 0.1, 1e-12, 0.0) > 1e-3  # a drop that is rounding


# ---- rate

RATES = ("nc1", "nc2", "nc3")
# A third mode of relative gap x is suppressed by e^(-2 x E) after E = 14 e-foldings and spoils a
# rate by x e^(-2 x E) <= 1 / (2 e E) = 1.3 % per unit of its strength against the first two.
SLOPE = 0.015


def errors(found: dict[str, np.ndarray], name: str) -> np.ndarray:
    return np.abs(found[f"rate_{name}"] / found[f"predicted_{name}"] - 1)


@pytest.mark.parametrize(
    "axes",
    [
        {"loss": "ce", "K": 3, "d": ["K-1", "K+1"], "c": [0.1, 0.3]},
        {"loss": {"name": "ls", "smoothing": 0.1}, "K": 4, "d": ["K-1", "K+1"], "c": 0.3},
        {"loss": "mse", "K": 3, "d": ["K-1", "K+1"], "c": 0.5, "lambda_b": 0, "decay_ratio": 0.25},
    ],
    ids=["ce", "ls", "mse"],
)
def test_measured_rates_are_the_predicted_ones(axes: dict) -> None:
    found = table("rate", {"n": 2, "decay_ratio": 1.5, **axes})
    assert set(found["result"]) == {"CONVERGED"}, found["reason"]
    for name in RATES:
        first = np.array([f"{name.upper()} ends with the square" not in x for x in found["reason"]])
        assert (errors(found, name)[first] < SLOPE).all(), (name, errors(found, name))
        assert first.sum() > len(first) / 2 - 1
    # A wrong block: the rate outside the row space, which d = K - 1 does not have.
    inside = found["d"] == found["d"].min()
    wrong = np.abs(found["rate_nc1"] / (2 * found["lambda_H"]) - 1)
    assert (wrong[inside] > 3 * SLOPE).all()
    for name in ("nc2", "nc3"):
        wrong = np.abs(found[f"rate_{name}"] / (2 * found["lambda_H"]) - 1)
        assert (wrong > SLOPE).all()


def test_a_frame_that_is_no_simplex_has_no_nc2_and_one_sample_no_nc1() -> None:
    found = table("rate", {"loss": "mse", "K": 3, "d": "K+1", "n": [1, 2], "c": 0.3})
    assert np.isnan(found["rate_nc2"]).all()
    assert np.isnan(found["predicted_nc2"]).all()
    assert "NC2" in found["reason"][0]
    assert np.isnan(found["rate_nc1"]).tolist() == [True, False]
    assert errors(found, "nc1")[1] < SLOPE
    origin = table("rate", {"loss": "mse", "K": 3, "d": "K+1", "n": 2, "c": [0.3, 1.5]})
    assert origin["result"].tolist() == ["CONVERGED", "UNDECIDED"]


def test_a_metric_blind_to_the_slowest_mode_falls_with_its_square() -> None:
    """MSE's NC3: linear terms die at 0.80, and what is left at twice the rate of 2 lambda."""
    axes = {"loss": "mse", "K": 3, "d": "K+1", "n": [1, 2], "c": 0.3}
    found = table("rate", axes, amplitude=0.05)
    step = found["step"][0]
    assert "NC3 ends with the square" in found["reason"][0]
    square = -2 * np.log(1 - step * 2 * found["lambda_W"][0]) / step
    assert abs(found["predicted_nc3"][0] / square - 1) < 1e-9
    theta = 0.7 / 0.3
    linear = -np.log(1 - step * 2 * theta * found["lambda_W"][0]) / step
    assert linear > 1.5 * square
    assert abs(found["rate_nc3"][0] / square - 1) < 0.05  # the linear terms are 1e-5 of it by then


def test_gradient_descent_by_hand_falls_alike() -> None:
    """NumPy gradients, the metrics of ``ufm.collapse``, and the slope of two points far apart."""
    axes = {"K": 3, "d": "K+1", "n": 2, "c": 0.3}
    found = table("rate", axes)
    lw, lh, step = (float(found[name][0]) for name in ("lambda_W", "lambda_H", "step"))
    model = UFM(CrossEntropy(), 3, 4, 2, lambda_W=lw, lambda_H=lh)
    problem = Problem.of(naive_cross_entropy(), (2, 2, 2), 4, lw, lh)
    base = problem.pack(model.merge().lift(model.minimiser().point))
    x = base + 1e-3 * np.random.default_rng(7).standard_normal(base.size)
    logs = []
    for t in range(46):
        x = x - step * problem.value_and_gradient(x)[1]
        if t in (20, 45):
            point = problem.unpack(x)
            seen = collapse(point.H.T, problem.labels, classifier=point.W)
            values = [seen.nc1_ratio, seen.nc2_geo, seen.nc3_geo]
            np.testing.assert_allclose(metrics(model, point), values, rtol=1e-9, atol=1e-15)
            logs.append(np.log(values))
    slopes = (logs[0] - logs[1]) / (25 * step)
    for slope, name in zip(slopes, RATES, strict=True):
        assert abs(slope / found[f"predicted_{name}"][0] - 1) < SLOPE


@pytest.mark.parametrize("loss", [CrossEntropy(), LabelSmoothing(0.2)])
def test_the_angle_modes_have_the_rate_of_ls3_and_the_mean_row_its_own(loss) -> None:
    model = UFM(loss, 4, 5, 2, lambda_W=0.03, lambda_H=0.03)
    u = model.c + getattr(loss, "delta", 0.0)
    theta = np.log(4 / u - 3) * u / (4 * model.c)
    small = model.merge().model.with_dimension(4)
    point = small.minimiser().point
    modes = Linearised(small, Point(np.asarray(point.W), np.asarray(point.H))).modes()
    close = np.abs(modes.values / (2 * 0.03 * theta) - 1) < 1e-9
    assert close.sum() == 1
    assert modes.sensitive[close].all()
    # The other one leaves W H alone: NC2 sees it, NC3 does not.
    still = np.abs(modes.values / (2 * 0.03) - 1) < 1e-9
    assert modes.sensitive[still].tolist() == [[True, False]]
    angles = 2 * 0.03 * min(1, theta)
    # GEO's NC2 and NC3 do not remove the mean row of W, which decays at lambda_W.
    shift = np.abs(modes.values / 0.03 - 1) < 1e-9
    assert modes.sensitive[shift].all()
    assert shift.any()
    assert not modes.sensitive[modes.values < min(0.03, angles) * (1 - 1e-9)].any()


def test_the_slope_is_fitted_above_rounding_only() -> None:
    t = np.linspace(0, 40, 300)
    clean = np.exp(-0.7 * t)
    assert measured(t, clean + 1e-9, 1e-6)[0] == pytest.approx(0.7, rel=SLOPE)
    assert abs(measured(t, clean + 1e-9, 1e-12)[0] / 0.7 - 1) > 0.1  # negative control
    assert measured(t, clean, 1e-30)[1] is False
    assert np.isnan(measured(t, 1 + clean, 1e-30)[0])


def test_options_of_the_rate_have_effects() -> None:
    axes = {"K": 3, "d": "K+1", "n": 2, "c": 0.3, "decay_ratio": 1.5}
    default = table("rate", axes)
    assert table("rate", axes, amplitude=1e-5)["rate_nc2"] != default["rate_nc2"]
    assert "condition" in table("rate", axes, amplitude=1e-13)["reason"][0]
    short = table("rate", axes, max_iterations=60)
    assert short["result"].tolist() == ["MAX_ITERATIONS"]
    assert table("rate", axes, tolerance=1e-4)["iterations"] < default["iterations"]


# ---- from_saddle

LEFT = {"K": 4, "d": 5, "n": 2, "decay_ratio": 2.0, "c": 0.1}


def test_escape_times_grow_like_the_logarithm_of_the_amplitude() -> None:
    # Seed 0 starts almost across the fastest directions of the last saddle: 1e-3 is far away there.
    axes = {**LEFT, "saddle": ["origin", "3|1", "2|2", "2|1|1"], "seed": 1}
    far, near, nearest = (table("from_saddle", axes, amplitude=x) for x in (1e-3, 1e-6, 1e-9))
    for found in (far, near, nearest):
        assert set(found["result"]) == {"CONVERGED"}
        np.testing.assert_allclose(found["end_objective"], found["theory"], rtol=1e-12)
    lw, lh = far["lambda_W"][0], far["lambda_H"][0]
    s = 1 / (4 * np.sqrt(2))  # CE-5 and CE-6: the same coupling at the origin and merged classes
    expected = 0.5 * (lw + lh - np.hypot(lw - lh, 2 * s))
    np.testing.assert_allclose(far["lambda_min"], expected, rtol=1e-9)
    assert far["index"].tolist() == [15, 10, 10, 5]
    for one, other in ((far, near), (near, nearest)):
        steps = other["escape_time"] - one["escape_time"]
        np.testing.assert_allclose(steps * -expected, np.log(1e3), rtol=0.01)
        assert (np.abs(steps * -expected / 2 - np.log(1e3)) > 0.3).all()  # negative control
    ratios = [found["escape_time"] / found["predicted_time"] - 1 for found in (far, near, nearest)]
    assert (np.abs(ratios[2]) < np.abs(ratios[1])).all()
    assert (np.abs(ratios[1]) < np.abs(ratios[0])).all()
    assert (np.abs(ratios[2]) < 0.03).all()


def test_the_flow_by_hand_takes_as_long() -> None:
    """Runge and Kutta's method in NumPy, the half of the fall read off."""
    axes = {**LEFT, "saddle": "origin"}
    found = table("from_saddle", axes, amplitude=1e-2)
    lw, lh = float(found["lambda_W"][0]), float(found["lambda_H"][0])
    problem = Problem.of(naive_cross_entropy(), (2,) * 4, 5, lw, lh, merged=True)
    direction = np.random.default_rng(0).standard_normal(40)
    W, H = direction[:20].reshape(4, 5), direction[20:].reshape(5, 4)
    x = 1e-2 * problem.pack(Point(W, H)) / np.linalg.norm(direction)
    half = 0.5 * (np.log(4) + found["theory"][0])

    def velocity(x):
        return -problem.value_and_gradient(x)[1]

    time, step, value = 0.0, 0.25, np.log(4)
    while value > half:
        k1 = velocity(x)
        k2 = velocity(x + step / 2 * k1)
        k3 = velocity(x + step / 2 * k2)
        x = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + velocity(x + step * k3))
        before, value = value, problem.value_and_gradient(x)[0]
        time += step
    time -= step * (half - value) / (before - value)
    assert abs(found["escape_time"][0] / time - 1) < 1e-3


def test_what_is_no_saddle_has_a_reason() -> None:
    axes = {"counts": [[3, 2, 2, 1]], "d": 4, "decay": 0.02}
    found = table("from_saddle", {**axes, "saddle": ["3|1", "1|2|1", "origin"]})
    assert found["result"].tolist() == ["UNDECIDED", "CONVERGED", "CONVERGED"]
    assert "unequal" in found["reason"][0]
    axes = {**LEFT, "d": 5}
    other = table("from_saddle", {**axes, "saddle": ["4", "1|1|1|1"]})
    assert other["result"].tolist() == ["UNDECIDED"] * 2
    high = table("from_saddle", {**axes, "c": 1.5, "saddle": ["2|2", "origin"]})
    assert high["result"].tolist() == ["UNDECIDED"] * 2
    with pytest.raises(InputError, match="add up to K=4"):
        table("from_saddle", {**axes, "saddle": "2|1"})


def test_options_of_from_saddle_have_effects() -> None:
    axes = {**LEFT, "saddle": "2|2"}
    assert table("from_saddle", axes, max_iterations=5)["result"].tolist() == ["MAX_ITERATIONS"]
    strict = table("from_saddle", axes, tolerance=1e-40)
    assert strict["result"].tolist() == ["STALLED"]
    assert np.isnan(strict["escape_time"]).all()
    seeds = table("from_saddle", {**axes, "seed": [0, 1]})
    assert seeds["escape_time"][0] != seeds["escape_time"][1]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("smoothing", 234),
        ("smoothing-rate", 140),
        ("rescaling", 442),
        ("saddles", 252),
        ("bce-phases", 1008),
        ("logit-adjustment", 2400),
    ],
)
def test_the_written_sweeps_are_whole(name: str, cells: int) -> None:
    text = (ROOT / "experiments" / "sweep" / "specs" / f"{name}.toml").read_text()
    spec = make_spec(tomllib.loads(text))
    assert len(expand(spec)) == cells
    assert spec.note
