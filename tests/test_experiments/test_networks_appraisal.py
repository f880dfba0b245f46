"""Which theory applies to arrays of unknown origin, and when none is held against them."""

import dataclasses
from functools import cache

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

from experiments.networks.theory import Terms, appraise, census, measure, measure_batches
from landscape.solvers.by_size import minimum_by_size
from ufm import MSE, UFM, CrossEntropy, InputError, LabelSmoothing, lift, logit_adjusted
from ufm.losses.columns import column_losses
from ufm.models.fixed_classifier import FixedClassifier
from ufm.models.nonnegative import nonnegative_minimiser
from ufm.models.sphere import Sphere

K, N, D = 3, 4, 5
DECAYS = {"lambda_W": 0.03, "lambda_H": 0.007}
QUANTITIES = ("objective", "loss", "W_squared", "H_squared", "gap")


@dataclasses.dataclass(frozen=True)
class Trained:
    """Arrays as a network hands them over, and what its training was."""

    H: np.ndarray
    y: np.ndarray
    W: np.ndarray
    b: np.ndarray | None
    terms: Terms

    def appraisal(self, **changes):
        loss = self.terms.loss.for_counts(np.bincount(self.y).tolist())
        terms = dataclasses.replace(self.terms, loss=loss, **changes)
        return appraise(census(loss, self.H, self.W, self.b, self.y), terms)

    def scaled(self, factor):
        return dataclasses.replace(self, H=factor * self.H)


def plain(model, nonnegative=False, solved=False):
    if solved:
        point = minimum_by_size(model)[0]
    else:
        point = (nonnegative_minimiser(model) if nonnegative else model.minimiser()).point
    W, H, b = lift(model, point)
    lambda_b = None if model.lambda_b is None else float(model.lambda_b)
    order = np.random.default_rng(0).permutation(H.shape[1])
    terms = Terms(model.loss, 0.03, None, lambda_b)
    return Trained(H.T[order], np.asarray(model.labels)[order], W, b, terms)


def fixed(counts=(N,) * K, row=1.0):
    """Rows of another norm, and features that are each the minimum of their own class."""
    model = FixedClassifier(CrossEntropy(), K, 1, DECAYS["lambda_H"] * sum(counts) / K, None, D)
    H = model.minimiser().point.H
    y = np.repeat(np.arange(K), counts)
    terms = Terms(CrossEntropy(), None, DECAYS["lambda_H"] * row**2, fixed_classifier=True)
    return Trained(H.T[y] / row, y, row * model.classifier, None, terms)


def sphere(scale=2.5):
    model = Sphere(CrossEntropy(), K, D, N, scale)
    W, H = model.minimiser().point[:2]
    return Trained(H.T, np.repeat(np.arange(K), N), scale * W, None, Terms(CrossEntropy()))


UNEQUAL = (5, 3, 2)
EXACT = {
    "simplex": (lambda: plain(UFM(CrossEntropy(), K, D, N, **DECAYS)), "free", "CE-1"),
    "smoothing": (lambda: plain(UFM(LabelSmoothing(0.2), K, D, N, **DECAYS)), "free", "LS-1"),
    "orthogonal": (
        lambda: plain(UFM(CrossEntropy(), K, D, N, **DECAYS), True),
        "non-negative",
        "R-1",
    ),
    "orthogonal, unequal": (
        lambda: plain(UFM(CrossEntropy(), counts=UNEQUAL, d=D, **DECAYS), True),
        "non-negative",
        "R-4",
    ),
    "squared, bias": (lambda: plain(UFM(MSE(), K, D, N, lambda_b=0.0, **DECAYS)), "free", "MSE-2"),
    "squared, bias with decay": (
        lambda: plain(UFM(MSE(), K, D, N, lambda_b=0.1, **DECAYS)),
        "free",
        "MSE",
    ),
    "squared, unequal": (
        lambda: plain(UFM(MSE(), counts=UNEQUAL, d=D, lambda_b=0.0, **DECAYS)),
        "free",
        "MSE-3",
    ),
    "unequal": (
        lambda: plain(UFM(CrossEntropy(), counts=UNEQUAL, d=D, **DECAYS), solved=True),
        "free",
        "duality gap",
    ),
    "fixed": (fixed, "fixed classifier", "E-1"),
    "fixed, other rows": (lambda: fixed(row=2.0), "fixed classifier", "E-1"),
    "fixed, unequal": (lambda: fixed(UNEQUAL), "fixed classifier", "E-1"),
    "sphere": (sphere, "sphere", "SP-1"),
}


@cache
def trained_at(name):
    return EXACT[name][0]()


@pytest.mark.parametrize("name", EXACT)
def test_the_optimum_of_every_theory_is_measured_as_it(name):
    trained, (_, confined, source) = trained_at(name), EXACT[name]
    made = trained.appraisal()
    assert (made.confined, made.refusal) == (confined, "")
    assert source in made.theory.evidence
    for quantity in QUANTITIES:
        assert getattr(made.comparison, quantity).ratio == pytest.approx(1, abs=1e-9)
    assert made.above == pytest.approx(0, abs=1e-9)
    if trained.b is not None and trained.b.any():
        assert made.comparison.b_squared.ratio == pytest.approx(1, abs=1e-9)
    # Every part of the diagnosis vanishes there.
    parts = dataclasses.asdict(made.diagnosis)
    assert all(part is None or abs(part) < 1e-8 for part in parts.values())


@pytest.mark.parametrize("name", [name for name in EXACT if name != "sphere"])
def test_an_optimum_scaled_by_a_per_cent_shows_it(name):
    made = trained_at(name).scaled(1.01).appraisal()
    assert made.refusal == ""
    ratios = [getattr(made.comparison, quantity).ratio for quantity in QUANTITIES]
    assert max(abs(ratio - 1) for ratio in ratios) > 2e-3
    assert made.above > 0


def test_under_a_fixed_classifier_a_descent_finds_the_same_features():
    """Unequal counts, rows of norm 2: nothing of the closed form is used."""
    trained = fixed(UNEQUAL, row=2.0)
    W, y, lambda_H = trained.W, trained.y, trained.terms.lambda_H

    def objective(flat):
        H = flat.reshape(D, len(y))
        return column_losses(CrossEntropy(), W @ H, y).mean() + lambda_H / 2 * (H**2).sum()

    start = np.random.default_rng(1).normal(size=D * len(y))
    slope = jax.jit(jax.value_and_grad(objective))
    found = minimize(slope, start, jac=True, method="BFGS", options={"gtol": 1e-8})
    theory = trained.appraisal().theory
    assert theory.objective == pytest.approx(found.fun, abs=1e-10)
    assert theory.H_squared == pytest.approx((found.x**2).sum(), rel=1e-5)


def test_the_gradient_of_the_diagnosis_is_the_gradient():
    """Against automatic differentiation in merged features, at a point that is no minimum."""
    model = UFM(CrossEntropy(), counts=UNEQUAL, d=D, lambda_b=0.05, **DECAYS)
    merged = model.merge().model
    point = merged.random_point(jax.random.key(3)).to_numpy()
    W, H, b = lift(model, point)
    trained = Trained(H.T, np.asarray(model.labels), W, b, Terms(model.loss, 0.03, 0.007, 0.05))
    made = trained.appraisal()
    gradient = jax.grad(merged.objective)(point)
    size = np.sqrt(sum(float((np.asarray(x) ** 2).sum()) for x in gradient))
    assert made.diagnosis.gradient_norm == pytest.approx(size, rel=1e-12)
    assert made.refusal.startswith("not at a minimum: ")
    assert made.diagnosis.balance == pytest.approx(
        0.03 * (W**2).sum() / (0.007 * (H**2).sum()) - 1, rel=1e-12
    )


def exchanged(y):
    """The labels with one of the first and one of the last class exchanged."""
    y, ends = y.copy(), np.argsort(y)[[0, -1]]
    y[ends] = y[ends[::-1]]
    return y


DOUBTS = {
    # Two labels exchanged, and norms that differ: else features look normalised.
    "misclassified": lambda t: dataclasses.replace(
        t,
        H=t.H * np.linspace(1, 1.001, 12)[:, None],
        y=exchanged(t.y),
    ),
    "gradient in W": lambda t: dataclasses.replace(t, W=1.3 * t.W),
    "class means": lambda t: t.scaled(1.3),
    "scatter": lambda t: dataclasses.replace(
        t, H=t.H + np.random.default_rng(2).normal(size=t.H.shape)
    ),
    "lambda_H |H|^2": lambda t: dataclasses.replace(
        t, terms=dataclasses.replace(t.terms, lambda_H=0.01)
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_is_no_minimum_is_refused_for_the_reason(doubt):
    made = DOUBTS[doubt](trained_at("simplex")).appraisal()
    assert doubt in made.refusal
    assert made.comparison is None
    assert made.above is None


def test_decoupled_decay_has_no_theory_wherever_it_ended():
    made = trained_at("simplex").appraisal(optimizer="adamw")
    assert made.refusal.startswith("no theory applies, because AdamW's decay is decoupled")
    assert trained_at("simplex").appraisal(optimizer="adam").refusal == ""
    with pytest.raises(InputError, match="optimizer among sgd, adam, adamw"):
        Terms(CrossEntropy(), optimizer="adamW")


def test_where_no_theory_is_known_the_reason_is_given():
    simplex, still = trained_at("simplex"), fixed()
    reasons = {
        "no decay to estimate": dataclasses.replace(
            still, terms=dataclasses.replace(still.terms, lambda_H=None)
        ),
        "no simplex ETF": dataclasses.replace(still, W=np.eye(K, D)),
        "equal counts only (E-1)": dataclasses.replace(fixed(UNEQUAL), b=np.zeros(K)),
        "(P 0) only": dataclasses.replace(still, H=np.abs(still.H)),
        "without weight decay": dataclasses.replace(
            simplex, terms=dataclasses.replace(simplex.terms, lambda_W=0.0)
        ),
        "rows of W are not": dataclasses.replace(sphere(), W=np.diag([1.0, 2, 3]) @ np.eye(K, D)),
        "without bias only": dataclasses.replace(sphere(), b=np.ones(K)),
        "equal counts only (SP-1)": dataclasses.replace(
            sphere(), H=sphere().H[1:], y=sphere().y[1:]
        ),
        "normalised and non-negative": dataclasses.replace(sphere(), H=np.eye(K, D)[sphere().y]),
    }
    for reason, trained in reasons.items():
        assert reason in trained.appraisal().refusal
    with pytest.raises(InputError, match="needs --lambda-w"):
        simplex.appraisal(lambda_W=None)


def test_equal_norms_mean_normalised_features_only_where_nothing_else_explains_them():
    simplex = trained_at("simplex")
    assert np.ptp(np.linalg.norm(simplex.H, axis=1)) < 1e-14
    assert simplex.appraisal().confined == "free"
    # The same norms, and classes that scatter: somebody normalised.
    moved = simplex.H + 0.1 * np.random.default_rng(0).normal(size=simplex.H.shape)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    assert dataclasses.replace(simplex, H=3 * moved).appraisal().confined == "sphere"
    single = dataclasses.replace(simplex, H=3 * moved.astype(np.float32))
    assert single.appraisal().confined == "sphere"
    # On the sphere there is no decay, and what is off shows in the loss.
    turn = np.eye(D)
    turn[:2, :2] = [[0.8, 0.6], [-0.6, 0.8]]
    off = dataclasses.replace(sphere(), H=sphere().H @ turn).appraisal()
    assert off.confined == "sphere"
    assert "class means" in off.refusal


def test_batches_give_what_all_at_once_give():
    trained = plain(UFM(CrossEntropy(), counts=UNEQUAL, d=D, **DECAYS), solved=True)
    whole = measure(trained.H, trained.y, trained.W, None, trained.terms)
    parts = [(trained.H[i : i + 3], trained.y[i : i + 3]) for i in range(0, 10, 3)]
    streamed = measure_batches(parts, trained.W, None, trained.terms)
    assert streamed.headline == whole.headline
    for one, other in zip(streamed.theory["rows"], whole.theory["rows"], strict=True):
        assert one["measured"] == pytest.approx(other["measured"], rel=1e-13)
        assert one["theory"] == pytest.approx(other["theory"], rel=1e-13)
    assert streamed.record.nc4_phd is None
    with pytest.raises(InputError, match="for_counts"):
        measure_batches(parts, trained.W, None, Terms(logit_adjusted(1.0), 0.03))
    # With the counts beforehand it is the loss of the whole.
    terms = Terms(logit_adjusted(1.0), 0.03)
    told = measure_batches(parts, trained.W, None, terms, counts=UNEQUAL)
    once = measure(trained.H, trained.y, trained.W, None, terms)
    assert told.census.loss == pytest.approx(once.census.loss, rel=1e-13)
