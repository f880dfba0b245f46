"""The falsifier: false theorems whose listed instances all pass are broken, true ones are not."""

import json
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path

import jax
import numpy as np
import pytest

from landscape.solvers.solve import solve
from landscape.verdict import Curvature, Globality, verdict
from proofs_check import core_claims, proposals
from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant
from proofs_check.claims import deep_linear, focal, thresholds
from proofs_check.falsify import Counterexample, Found, counterexample_of, falsify, margin_of
from proofs_check.instance import Instance, Specimen
from proofs_check.redraw import Draw, away_from_minima, redrawn_by
from proofs_check.specimens import where, with_c
from ufm import UFM, CrossEntropy, InputError
from ufm.plain.minimisers import thresholds as edges_of

CLAIMS = {claim.id: claim for claim in core_claims()}
TRUE = CLAIMS["threshold-cross-entropy"]


def ticking(tries):
    """A clock that lets a search go on for so many tries, however fast the machine is."""
    ticks = count()
    return {"clock": lambda: float(next(ticks)), "seconds": float(tries)}


@cache
def far_from_the_threshold(quick=False):
    """Minima at c = .4 and 1.7, where every threshold between them says the same."""
    found = []
    for c, ratio in ((0.4, 1.3), (1.7, 0.7)):
        plain = UFM(CrossEntropy(), 3, 4, 2, lambda_W=1, lambda_H=1)
        model = with_c(plain, c, ratio)
        run = solve(model, reduction=True)
        found.append(Specimen(model, run.point.to_numpy(), "minimiser", bool(run.result)))
    return tuple(found[: 1 if quick else None])


def one_per_cent_late(full_rank, K, n, lambda_W, lambda_H):
    return thresholds._rank(full_rank, thresholds.c_of(K, n, lambda_W, lambda_H), 1.01)


FALSE = replace(
    TRUE, check=thresholds._law(one_per_cent_late), region=far_from_the_threshold, id="one-per-cent"
)


def passes(claim):
    """Whether every listed instance passes, and there are some."""
    inside = [s for s in claim.region(False) if all(h.holds(s) for h in claim.hypotheses)]
    return bool(inside) and all(claim.check(s) <= claim.tolerance.value for s in inside)


def test_a_threshold_off_by_one_per_cent_is_broken_by_bisection():
    assert passes(FALSE)
    found = falsify(FALSE, **ticking(60), shrinks=0)
    assert found.found is Found.COUNTEREXAMPLE
    assert found.tried < 40
    # The other threshold is where c = K sqrt(n lambda_W lambda_H) is between 1 and 1.01.
    counts, numbers = found.first.draw.counts or (2, 2, 2), found.first.draw.numbers
    c = len(counts) * np.sqrt(counts[0] * numbers["lambda_W"] * numbers["lambda_H"])
    assert 1 <= c <= 1.01


def test_the_true_threshold_is_not_broken():
    true = replace(TRUE, region=far_from_the_threshold)
    found = falsify(true, **ticking(60))
    assert (found.found, found.counterexample) == (Found.NOTHING, None)
    assert found.tried > 40
    assert found.worst == 0


def test_equal_seeds_give_equal_counterexamples_and_others_do_not():
    first, again, other = (
        falsify(FALSE, **ticking(60), shrinks=0, seed=seed) for seed in (3, 3, 4)
    )
    assert first.first == again.first
    assert first.tried == again.tried
    assert other.first.draw != first.first.draw


def test_quick_searches_around_the_quick_region():
    # One listed instance far below the threshold: nothing lies between it and itself.
    assert falsify(FALSE, **ticking(20), quick=True).found is Found.NOTHING


def test_shrinking_makes_numbers_rounder_and_sizes_smaller_and_still_fails():
    @redrawn_by(lambda listed, model, seed: Specimen(model, model.origin(), "origin"))
    @cache
    def region(quick=False):
        models = (
            UFM(CrossEntropy(), 3, 4, 2, lambda_W=0.0123456, lambda_H=0.013),
            UFM(CrossEntropy(), 7, 9, 5, lambda_W=0.0712345, lambda_H=0.09),
        )
        return tuple(Specimen(m, m.origin(), "origin") for m in models)

    def heavy(s):
        """False from three classes, six samples and a decay of .0512 on."""
        return float(
            s.model.num_classes > 2 and s.model.num_samples > 5 and s.model.lambda_W > 0.0512
        )

    claim = made(heavy, region)
    found = falsify(claim, **ticking(200))
    first, small = found.first.draw, found.counterexample.draw
    assert 0 < found.shrinks <= 60
    assert small.counts == (2, 2, 2)
    assert small.seed == 0 < first.seed
    assert len(str(small.numbers["lambda_W"])) <= 5 < len(str(first.numbers["lambda_W"]))
    assert margin_of(claim, small) == found.counterexample.margin > 1
    unshrunk = falsify(claim, **ticking(200), shrinks=0)
    assert unshrunk.counterexample == unshrunk.first == found.first


def made(check, region, **more):
    return Claim(
        id="made-here", title="", statement="", latex="", source="", region=region, check=check,
        tolerance=COUNTING, mutant=Mutant(""), subject="", **more,
    )  # fmt: skip


@redrawn_by(lambda listed, model, seed: Specimen(model, model.origin(), "origin"))
@cache
def origins(quick=False):
    models = (UFM(CrossEntropy(), 3, 4, 2, lambda_W=x, lambda_H=0.02) for x in (0.01, 0.1))
    return tuple(Specimen(m, m.origin(), "origin") for m in models)


def test_the_search_climbs_towards_the_largest_margin(monkeypatch):
    # Fails where log(lambda_W) is within .003 of the peak, a four-hundredth of the region.
    def peak(s):
        return 0.005 * 0.004 / (1e-3 + abs(np.log(s.model.lambda_W / 0.0317)))

    claim = made(peak, origins)
    assert falsify(claim, **ticking(120)).found is Found.COUNTEREXAMPLE
    monkeypatch.setattr(proposals, "_closeness", lambda trial: 0.0)
    assert falsify(claim, **ticking(120)).found is Found.NOTHING


def test_hypotheses_and_restrictions_hold_of_what_is_drawn():
    def above(s):
        return float(s.model.lambda_W > 0.03)

    below = Hypothesis("lambda_W <= .03", lambda s: s.model.lambda_W <= 0.03)
    with_hypothesis = falsify(made(above, origins, hypotheses=(below,)), **ticking(30))
    restricted = falsify(made(above, where(origins, below.holds)), **ticking(30))
    for found in (with_hypothesis, restricted):
        assert found.found is Found.NOTHING
        assert found.tried
    assert falsify(made(above, origins), **ticking(30)).found is Found.COUNTEREXAMPLE


def test_a_failure_at_one_place_alone_is_counted_and_no_counterexample():
    seen = []

    def once(s):
        seen.append(s)
        return float(len(seen) == 3)

    found = falsify(made(once, origins), **ticking(30))
    assert (found.found, found.isolated) == (Found.NOTHING, 1)


def test_an_error_of_the_claim_is_told_and_no_counterexample():
    def raises(s):
        raise ValueError("three classes only")

    found = falsify(made(raises, origins), **ticking(5))
    assert (found.found, found.tried) == (Found.NOTHING, 0)
    assert found.raised == 4  # the first tick of five starts the clock
    assert "three classes only" in found.reason


@pytest.mark.parametrize(
    "name",
    [
        "bce-no-bias",  # one of its listed minima has one sample per class, drawn ones have more
        "deep-relu-two-layers",  # a few descents end elsewhere; the region takes the lowest of 12
        "deep-linear-output",
        "smoothing-loss-hessian",  # its hypothesis reads off how an instance was made
    ],
)
def test_claims_with_points_of_their_own_making_are_asked_at_what_is_drawn(name):
    found = falsify(CLAIMS[name], **ticking(12), quick=True)
    assert (found.found, found.raised) == (Found.NOTHING, 0), found.reason
    assert found.tried > found.outside
    assert found.worst < 1


def test_one_vs_rest_drawn_with_more_samples_than_listed_keeps_all_of_them():
    claim = CLAIMS["bce-no-bias"]
    listed = list(claim.region(True))
    i, single = next((i, s) for i, s in enumerate(listed) if s.model.n == 1)
    numbers = {"lambda_W": float(single.model.lambda_W), "lambda_H": float(single.model.lambda_H)}
    draw = Draw(i, 1, numbers, (3,) * single.model.num_classes)
    assert margin_of(claim, draw, quick=True) < 1
    # With the mutant's law for the claim's the same draw fails: something was measured.
    wrong = replace(claim, check=claim.mutant.check)
    edge = max(listed, key=lambda s: s.model.c * (s.model.num_classes == 6))
    i = next(i for i, s in enumerate(listed) if s.model.num_classes == 6 and s.model.c < 2)
    low = {name: float(getattr(edge.model, name)) * 0.75 for name in ("lambda_W", "lambda_H")}
    assert margin_of(wrong, Draw(i, 1, low, (1,) * 6), quick=True) > 1
    assert margin_of(claim, Draw(i, 1, low, (1,) * 6), quick=True) < 1


@pytest.mark.slow
def test_an_unlisted_model_has_no_other_minimum_to_be_compared_with():
    claim = CLAIMS["no-spurious-minima-below-k-minus-one"]
    model = UFM(CrossEntropy(), d=1, counts=(2, 1, 2), lambda_W=0.005, lambda_H=0.005)
    alone = Specimen(model, solve(model, reduction=True).point.to_numpy(), "minimiser")
    assert claim.check(alone) == 0


def test_instances_of_unknown_making_are_not_searched():
    pairs = CLAIMS["singular-values-invariant"]
    found = falsify(pairs, **ticking(5), quick=True)
    assert found.found is Found.NOT_SEARCHED
    assert "closed form" in found.reason


@pytest.mark.parametrize(
    "name",
    [
        "graph-chance",  # instances without a model: their numbers are changed
        "sgd-sum-of-rows",
        "exact-minority-vanishes",
        "simplex-encoded-geometry",
        "merged-class-saddles",  # closed forms that are no minimisers: made again
        "polygon-is-critical",
        "rate-reduction-index",
        "rescaled-mse-continua",
        "focal-convexity",
        "equilibrium-escape",
    ],
)
def test_what_is_drawn_beside_closed_forms_and_numbers_breaks_mutants_only(name):
    claim = CLAIMS[name]
    wrong = replace(claim, check=claim.mutant.check)
    assert falsify(wrong, **ticking(30), quick=True, shrinks=0).found is Found.COUNTEREXAMPLE
    true = falsify(claim, **ticking(12), quick=True)
    assert true.found is Found.NOTHING
    assert true.tried >= 5


@dataclass(frozen=True)
class Sized(Instance):
    n: int
    rate: float
    counts: tuple[int, ...]
    d: int
    seed: int = 0
    flag: bool = True
    kind: str = "sized"


def sized(quick=False):
    return (Sized(4, 0.5, (2, 3), 3), Sized(12, 2.0, (5, 1, 2), 5, seed=1))


def test_whole_numbers_seeds_and_sizes_of_an_instance_without_a_model_are_changed():
    first = sized()[0]
    assert (first.floats, first.sizes) == ({"n": 4.0, "rate": 0.5}, ((2, 3), 3))
    told = first.varied({"n": 6.6, "rate": 0.6}, seed=8, counts=(1, 2, 3), d=5)
    assert told == Sized(7, 0.6, (1, 2, 3), 5, 8)
    for breaks in (
        lambda s: s.n == 9,
        lambda s: s.seed > 5000,
        lambda s: len(s.counts) == 3 and min(s.counts) == 4,
        lambda s: s.d == 4 and len(s.counts) == 2,
    ):
        found = falsify(made(lambda s, breaks=breaks: float(breaks(s)), sized), **ticking(300))
        assert found.found is Found.COUNTEREXAMPLE
    assert falsify(made(lambda s: float(not s.flag), sized), **ticking(60)).found is Found.NOTHING


def test_an_instance_that_refuses_its_numbers_is_outside():
    def refuses(s):
        if s.n > 5:
            raise InputError("Need n <= 5", s.n, "take less")
        return 0.0

    found = falsify(made(refuses, sized), **ticking(40))
    assert (found.found, found.raised) == (Found.NOTHING, 0)
    assert found.tried
    assert found.outside


def test_kept_counterexamples_are_replayed_first_and_survive_a_file():
    found = falsify(FALSE, **ticking(60), shrinks=0)
    kept = counterexample_of(json.loads(json.dumps(found.counterexample.record())))
    assert kept == found.counterexample
    again = falsify(FALSE, seconds=0, known=[kept])
    assert (again.found, again.replayed, again.tried) == (Found.COUNTEREXAMPLE, True, 1)
    # What has been mended passes, and so do those of other claims and of instances that are gone.
    assert falsify(replace(FALSE, check=TRUE.check), seconds=0, known=[kept]).found is Found.NOTHING
    for other in (replace(kept, claim="another"), replace(kept, draw=replace(kept.draw, listed=9))):
        assert falsify(FALSE, seconds=0, known=[other]).found is Found.NOTHING


def test_the_replay_of_a_counterexample_is_python_that_runs(capsys):
    draw = Draw(0, numbers={"lambda_W": 0.0128, "lambda_H": 0.0128})
    exec(Counterexample("deep-linear-collapse-optimal", "", 2.0, draw, True).replay, {})
    assert float(capsys.readouterr().out) > 1


def test_the_kept_counterexamples_of_refuted_claims_still_are_some():
    records = json.loads(Path(__file__).with_name("counterexamples.json").read_text())
    kept = [counterexample_of(record) for record in records["counterexamples"]]
    assert kept
    for example in kept:
        found = falsify(CLAIMS[example.claim], seconds=0, known=[example])
        assert found.replayed
        assert not found.claim.holds


def test_classes_that_are_alone_of_their_size_are_outside_minority_collapse():
    # Found by this search: one classifier alone is no pair that could differ.
    claim = CLAIMS["minority-collapse-of-any-size"]
    model = UFM(CrossEntropy(), d=1, counts=(3, 2), lambda_W=0.1, lambda_H=0.05)
    alone = Specimen(model, solve(model, reduction=True).point.to_numpy(), "minimiser")
    assert claim.check(alone) > claim.tolerance.value
    assert not all(h.holds(alone) for h in claim.hypotheses)


@redrawn_by(deep_linear._redrawn)
@cache
def below_the_crossing(quick=False):
    """The best simplex of four classes and two matrices at decays below .0117605."""
    found = []
    for decay in (0.002, 0.0112):
        model = deep_linear.deep_linear(CrossEntropy(), 4, 5, 1, 2, decay, decay).merge().model
        point = deep_linear._best(model, deep_linear.simplex(4))
        found.append(Specimen(model, point, "closed form"))
    return tuple(found)


def test_collapse_of_deep_linear_networks_is_broken_from_decays_at_which_it_holds():
    claim = replace(CLAIMS["deep-linear-collapse-optimal"], region=below_the_crossing)
    assert passes(claim)
    found = falsify(claim, **ticking(400))
    decays = found.counterexample.draw.numbers
    # The crossing is known: the geometric mean of three decays is .0117605.
    assert (decays["lambda_W"] ** 2 * decays["lambda_H"]) ** (1 / 3) > 0.0117605
    assert found.counterexample.margin > 1


@cache
def outside_the_window(quick=False):
    """Origins of focal loss with a hundred classes, below c_origin and above c_collapse."""
    edges = edges_of(focal._origin_model(3.0, 100, 1.0).model)
    return tuple(
        focal._origin_model(3.0, 100, c) for c in (0.5 * edges.origin, 1.05 * edges.collapse)
    )


@pytest.mark.slow
def test_the_spurious_minimum_of_focal_loss_is_found_from_outside_its_window():
    claim = replace(CLAIMS["focal-only-minimum"], region=outside_the_window)
    assert passes(claim)
    found = falsify(claim, **ticking(80), shrinks=0)
    assert found.found is Found.COUNTEREXAMPLE
    assert found.counterexample.margin > 1


def spurious(s):
    told = verdict(s.model, s.point, restarts=6)
    minimum = told.curvature is Curvature.MORSE_BOTT_MINIMUM
    return float(minimum and told.globality is Globality.NOT_GLOBAL)


def best_points(d):
    @redrawn_by(away_from_minima)
    @cache
    def region(quick=False):
        found = []
        for decay in (2e-3, 4e-3):
            model = UFM(CrossEntropy(), 4, d, 1, lambda_W=decay, lambda_H=decay)
            runs = [solve(model, key=jax.random.key(i), reduction=True) for i in range(6)]
            best = min(runs, key=lambda run: run.objective)
            found.append(Specimen(model, best.point.to_numpy(), "critical"))
        return tuple(found)

    return region


@pytest.mark.slow
@pytest.mark.parametrize(("d", "found"), [(1, Found.COUNTEREXAMPLE), (3, Found.NOTHING)])
def test_spurious_minima_of_cross_entropy_are_found_on_the_line_and_not_in_space(d, found):
    claim = made(spurious, best_points(d))
    assert passes(claim)
    searched = falsify(claim, **ticking(60), shrinks=0)
    assert searched.found is found
    assert searched.tried
