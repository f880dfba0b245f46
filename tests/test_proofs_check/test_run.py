"""What a claim's status means, whatever the claim: run.py, claim.py and registry.py."""

import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from proofs_check import Claim, Mutant, Status, check_claim, claim, core_claims, load_claims
from proofs_check.claim import Hypothesis, Tolerance
from proofs_check.formula_alterations import family, formula
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.specimens import embed, random_twin
from ufm import UFM, CrossEntropy, Focal, InputError, Point, Regression
from ufm.model import Model


def at_minimum(loss, K, d, n=1):
    model = UFM(loss, K, d, n, lambda_W=0.02, lambda_H=0.03)
    return Specimen(model, model.minimiser().point, "closed form")


SPECIMENS = (
    at_minimum(CrossEntropy(), 5, 4),
    at_minimum(CrossEntropy(), 3, 2, 2),
    at_minimum(CrossEntropy(), 3, 2),
    at_minimum(CrossEntropy(), 4, 6),
    at_minimum(Focal(2.0), 4, 3),
)


def region(quick):
    return SPECIMENS[:3] if quick else SPECIMENS


def balance(specimen):
    W, H = specimen.point.W, specimen.point.H
    return float(np.abs(0.02 * W.T @ W - 0.03 * H @ H.T).max())


def make(**changes):
    return Claim(
        **{
            "id": "a-claim",
            "title": "A claim",
            "statement": "Factors balance.",
            "latex": "",
            "source": "",
            "literature": "proved",
            "hypotheses": (),
            "region": region,
            "check": balance,
            "tolerance": Tolerance(1e-10, "rounding"),
            "subject": "a subject",
            "tier": "T0",
            "mutant": Mutant("altered", lambda specimen: 1.0),
            **changes,
        }
    )


def test_a_true_claim_is_verified():
    lines = []
    outcome = check_claim(make(), progress=lines.append)
    assert outcome.status is Status.VERIFIED
    assert outcome.expected
    assert (outcome.instances, outcome.outside) == (5, 0)
    assert len(lines) == 5
    assert outcome.worst_margin == pytest.approx(outcome.worst_error / 1e-10)
    assert outcome.worst_margin <= 1
    assert outcome.counterexample is None
    assert outcome.mutant_rejected
    assert outcome.losses == ("ce", "focal(2)")
    assert outcome.region == "K=3..5, d=2..6, N=3..6"
    assert check_claim(make(search=True)).status is Status.NO_COUNTEREXAMPLE
    assert check_claim(make(), quick=True).instances == 3


def test_a_wrong_claim_names_its_smallest_counterexample():
    """Only the two largest specimens pass; of the three others K, then d, then N decide."""
    outcome = check_claim(make(check=lambda s: float(s.model.num_classes == 3)))
    assert outcome.status is Status.COUNTEREXAMPLE
    assert not outcome.expected
    assert outcome.counterexample == SPECIMENS[2].label
    assert "K=3 d=2 n=1" in outcome.counterexample
    assert outcome.worst_error == pytest.approx(1.0)


def test_a_refuted_statement_is_expected_to_fail():
    wrong = make(check=lambda s: 1.0, holds=False)
    assert check_claim(wrong).expected
    assert not check_claim(replace(wrong, check=balance)).expected


def test_one_failure_is_enough_and_the_tolerance_is_included():
    exact = make(check=lambda s: 1e-10)
    assert check_claim(exact).status is Status.VERIFIED
    one = make(check=lambda s: 1.1e-10 if s is SPECIMENS[3] else 0.0)
    outcome = check_claim(one)
    assert outcome.status is Status.COUNTEREXAMPLE
    assert outcome.counterexample == outcome.worst_specimen == SPECIMENS[3].label


def test_not_a_number_fails():
    outcome = check_claim(make(check=lambda s: float("nan")))
    assert outcome.status is Status.COUNTEREXAMPLE
    assert outcome.worst_margin == np.inf


@pytest.mark.parametrize(("error", "rejected"), [(0.0, False), (99e-10, False), (101e-10, True)])
def test_a_mutant_must_miss_by_a_hundred_tolerances(error, rejected):
    outcome = check_claim(make(mutant=Mutant("altered", lambda s: error)))
    assert outcome.mutant_rejected is rejected
    assert outcome.status is (Status.VERIFIED if rejected else Status.UNDECIDED)
    assert outcome.expected is rejected


def test_a_check_without_teeth_is_undecided():
    """It passes at random points as well, so it says nothing about critical ones."""
    outcome = check_claim(make(check=lambda s: 0.0, mutant=Mutant("random points")))
    assert outcome.status is Status.UNDECIDED
    assert not outcome.mutant_rejected


def test_a_mutant_without_a_check_is_the_claim_at_random_points():
    outcome = check_claim(make(mutant=Mutant("random points")))
    assert outcome.mutant_rejected
    expected = max(balance(random_twin(s)) for s in SPECIMENS[:4]) / 1e-10
    assert outcome.mutant_margin == pytest.approx(expected)


def test_a_mutant_may_bring_its_own_region():
    seen = []

    def check(specimen):
        seen.append(specimen)
        return 1.0

    elsewhere = (at_minimum(CrossEntropy(), 2, 1),)
    outcome = check_claim(make(mutant=Mutant("elsewhere", check, lambda quick: elsewhere)))
    assert outcome.mutant_rejected
    assert seen == list(elsewhere)


def test_a_wrong_claim_is_wrong_even_if_its_mutant_passes():
    wrong = make(check=lambda s: 1.0, mutant=Mutant("altered", lambda s: 0.0))
    assert check_claim(wrong).status is Status.COUNTEREXAMPLE


def test_hypotheses_keep_specimens_out():
    small = Hypothesis("K = 3", lambda s: s.model.num_classes == 3)
    fails_for_more = make(
        hypotheses=(small,), check=lambda s: 1.0 if s.model.num_classes > 3 else 0.0
    )
    outcome = check_claim(fails_for_more)
    assert outcome.status is Status.VERIFIED
    assert (outcome.instances, outcome.outside) == (2, 3)
    both = (small, Hypothesis("n = 2", lambda s: s.model.n == 2))
    assert check_claim(make(hypotheses=both)).instances == 1


def test_a_claim_without_specimens_does_not_apply():
    never = (Hypothesis("never", lambda s: False),)
    outcome = check_claim(make(hypotheses=never))
    assert outcome.status is Status.NOT_APPLICABLE
    assert not outcome.expected  # it has shown nothing
    assert outcome.worst_margin is None
    assert outcome.outside == 5
    assert outcome.mutant_rejected is None
    assert outcome.region == "0 instances"


def test_what_a_filter_leaves_out_is_counted_and_a_claim_without_the_rest_is_not_run():
    outcome = check_claim(make(), loss="focal")
    assert (outcome.instances, outcome.losses, outcome.left_out) == (1, ("focal(2)",), 4)
    # The name of a loss, not its beginning: "c" is none.
    for wanted in ({"loss": "mse"}, {"loss": "c"}, {"model": "regression"}):
        outcome = check_claim(make(), **wanted)
        assert outcome.status is Status.NOT_RUN
        assert outcome.expected
        assert (outcome.instances, outcome.left_out) == (0, 5)
    assert check_claim(make(), model="plain").instances == 5


def test_a_claim_may_be_about_any_model():
    model = Regression(np.eye(3), 4, lambda_W=0.1, lambda_H=0.1)
    specimen = Specimen(model, model.minimiser().point, "closed form")
    assert specimen.label == "regression n=3 M=3 d=4 lw=0.1 lh=0.1, closed form"
    only = make(region=lambda quick: (specimen,), check=lambda s: 0.0)
    outcome = check_claim(only)
    assert (outcome.region, outcome.losses) == ("1 instances", ())
    assert outcome.evidence == "proved properties"
    assert check_claim(only, loss="ce").left_out == 1
    assert check_claim(only, model="regression").instances == 1


class Ring(Model):
    """(|x|^2 - radius^2)^2 on a dictionary of points: no W, no H, no loss, no merging."""

    def __init__(self, radius):
        self.radius = radius

    def objective(self, point):
        return ((point["x"] ** 2).sum() - self.radius**2) ** 2

    def random_point(self, key, scale=1.0):
        return {"x": scale * jax.random.normal(key, (3,))}

    def columns(self):
        return {"radius": float(self.radius)}


jax.tree_util.register_pytree_node(
    Ring, lambda ring: ((ring.radius,), None), lambda _, leaves: Ring(*leaves)
)


def test_a_users_claim_about_a_users_model_with_its_mutant():
    @claim("on-the-ring", "|x| = radius", models=[Ring(0.7), Ring(1.9)], tolerance=1e-6)
    def on_the_ring(model, point):
        return abs(np.linalg.norm(point["x"]) - model.radius)

    outcome = check_claim(on_the_ring)
    assert outcome.status is Status.VERIFIED
    assert (outcome.instances, outcome.mutant_rejected) == (10, True)
    assert outcome.worst_specimen.startswith("ring")

    @claim("on-another", "|x| = 0.7", models=[Ring(0.7), Ring(1.9)], tolerance=1e-6)
    def on_another(model, point):
        return abs(np.linalg.norm(point["x"]) - 0.7)

    outcome = check_claim(on_another)
    assert outcome.status is Status.COUNTEREXAMPLE
    assert outcome.counterexample.startswith("ring")
    with pytest.raises(InputError, match="models or a region"):
        claim("both", "x", models=[Ring(1.0)], region=region)(lambda model, point: 0.0)


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (lambda s: 1 // 0, "ZeroDivisionError"),
        (lambda s: None, "gave None"),
        (lambda s: True, "gave True"),
        (lambda s: np.bool_(False), "gave"),
        (lambda s: np.zeros(3), r"an array of shape (3,)"),
        (lambda s: 1j, "gave 1j"),
        (lambda s: sys.exit(), "SystemExit"),
        (lambda s: next(iter(())), "StopIteration"),
    ],
)
def test_a_claim_that_gives_no_number_is_broken_and_says_why(check, reason):
    outcome = check_claim(make(check=check))
    assert outcome.status is Status.BROKEN
    assert not outcome.expected
    assert reason in outcome.reason
    assert "\n" not in outcome.reason


def test_ctrl_c_is_no_reason():
    def interrupted(specimen):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_claim(make(check=interrupted))


@formula
def shifted(x):
    """Called by the formula below: its numbers count."""
    return x + 3


def frobenius(K, d, lambda_W, lambda_H):
    return shifted(K) * np.sqrt(lambda_H / lambda_W) ** 2 - 2 * d


def test_a_program_alters_every_number_of_a_formula():
    texts = {mutant.text for mutant in family(frobenius)}
    assert {"x + 3 -> x + 2.97", "x + 3 -> x + 4", "2 * d -> 1.98 * d"} <= texts
    assert "shifted(K) * np.sqrt(lambda_H / lambda_W) ** 2 -> shifted(K) * " not in texts
    assert any("** 1.9" in text for text in texts)
    assert any("** 0.6" in text for text in texts)
    assert {"d for K", "K for d", "lambda_H for lambda_W"} <= texts
    wide = {mutant.text: mutant.predicted for mutant in family(frobenius)}
    numbers = {"K": 5, "d": 2, "lambda_W": 0.25, "lambda_H": 1.0}
    assert frobenius(**numbers) == 28
    assert wide["x + 3 -> x + 4"](**numbers) == 32
    assert wide["2 * d -> 3 * d"](**numbers) == 26
    assert wide["d for K"](**numbers) == 16
    assert frobenius(**numbers) == 28  # the formula itself is as it was


def twice_k(K, d):
    return 2 * K + 0 * d


def test_what_no_instance_tells_from_the_claim_is_listed():
    """All specimens have d = K - 1 here, so "d + 1 for K" could not be seen; "d for K" can."""
    law = Law(twice_k, lambda s: 2 * s.model.num_classes)
    chosen = tuple(s for s in SPECIMENS if s.model.d == s.model.num_classes - 1)
    outcome = check_claim(make(check=law, region=lambda quick: chosen))
    assert outcome.status is Status.VERIFIED
    # 2 * K by one per cent and by one, d for K; "K for d" changes nothing and is listed.
    assert outcome.survivors == ("K for d",)
    assert outcome.alterations == 6
    loose = make(
        check=law, region=lambda quick: chosen, tolerance=Tolerance(1.0, "too much to see 1 %")
    )
    assert "2 * K -> 2.02 * K" in check_claim(loose).survivors


def test_measurements_are_shared_by_all_alterations():
    seen = []

    def observed(specimen):
        seen.append(specimen)
        return 2 * specimen.model.num_classes

    fresh = tuple(replace(s) for s in SPECIMENS)
    check_claim(make(check=Law(twice_k, observed), region=lambda quick: fresh))
    assert len(seen) == len(fresh)


def test_specimens_compute_once_and_lift():
    specimen = at_minimum(CrossEntropy(), 3, 2, 2)
    assert specimen.full_point.H.shape == (2, 6)
    assert Specimen(specimen.model, specimen.full_point, "full").full_point.H.shape == (2, 6)
    assert specimen.dense_eigenvalues is specimen.dense_eigenvalues
    assert len(specimen.dense_eigenvalues) == specimen.model.num_parameters
    assert specimen.verdict.globality.name == "GLOBAL"
    wider = embed(Point(np.ones((3, 1)), np.ones((1, 3)), np.ones(3)), 4)
    assert (wider.W.sum(), wider.H.shape, wider.b.sum()) == (3, (4, 3), 3)


def test_the_registry_has_every_claim_once():
    ids = [entry.id for entry in core_claims()]
    assert len(set(ids)) == len(ids) >= 25
    assert "balancedness" in ids


USER_FILE = """
import numpy as np
from proofs_check import claim


@claim("my-balance", "lw |W|^2 = lh |H|^2 at minimisers", tolerance=1e-8)
def balanced(model, point):
    return abs(model.lambda_W * np.sum(point.W**2) - model.lambda_H * np.sum(point.H**2))


@claim("my-wrong-balance", "|W|^2 = |H|^2 at minimisers", tolerance=1e-8)
def wrong(model, point):
    return abs(np.sum(point.W**2) - np.sum(point.H**2))
"""


@pytest.mark.xdist_group("claims")
@pytest.mark.slow
def test_a_users_file_of_fifteen_lines_is_judged(tmp_path: Path):
    assert len(USER_FILE.strip().splitlines()) <= 15
    path = tmp_path / "my_theorem.py"
    path.write_text(USER_FILE)
    right, wrong = load_claims(path)
    outcome = check_claim(right, quick=True)
    assert outcome.status is Status.VERIFIED
    assert outcome.mutant_rejected
    assert (outcome.claim.subject, outcome.tier) == ("your claims", "T0")
    outcome = check_claim(wrong, quick=True)
    assert outcome.status is Status.COUNTEREXAMPLE
    assert "K=2" in outcome.counterexample
    assert not outcome.expected


def test_a_users_hypotheses_region_and_mutant_are_respected():
    @claim(
        "narrow",
        "W is small",
        tolerance=10.0,
        region=region,
        hypotheses=[("K = 3", lambda model, point: model.num_classes == 3)],
        mutant=lambda model, point: 1e4,
    )
    def narrow(model, point):
        return np.abs(point.W).max()

    outcome = check_claim(narrow)
    assert outcome.status is Status.VERIFIED
    assert (outcome.instances, outcome.outside) == (2, 3)
    assert outcome.mutant_margin == pytest.approx(1e3)
    assert narrow.mutant.text == "the conclusion as altered"


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_a_tolerance_must_be_positive(tolerance):
    with pytest.raises(InputError, match="tolerance"):
        claim("x", "y", tolerance=tolerance)


def test_an_id_is_words_joined_by_dashes():
    with pytest.raises(InputError, match="words joined by dashes"):
        claim("two words", "y")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x = 1\n", "Need at least one claim"),
        ("def broken(:\n", "SyntaxError"),
        ("raise RuntimeError('no')\n", "RuntimeError: no"),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError"),
        ("x = 1\nimport sys\nsys.exit()\n", r"SystemExit \(bad.py:3\)"),
        ("raise SystemExit(0)\n", r"SystemExit: 0 \(bad.py:1\)"),
        ("raise GeneratorExit\n", r"GeneratorExit \(bad.py:1\)"),
    ],
)
def test_a_bad_file_is_a_one_line_error(tmp_path: Path, text, match):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        load_claims(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_another_kind_of_file(tmp_path: Path):
    with pytest.raises(InputError, match="Need a Python file"):
        load_claims(tmp_path / "nowhere.py")
    other = tmp_path / "claims.txt"
    other.write_text(USER_FILE)
    with pytest.raises(InputError, match=r"something\.py"):
        load_claims(other)


@pytest.mark.parametrize("name", ["identity-mirror-pair", "polygon-is-critical"])
def test_what_is_no_number_is_compared_and_not_listed(name):
    """Laws whose sides are expressions or models run like others."""
    (chosen,) = [one for one in core_claims() if one.id == name]
    outcome = check_claim(chosen, quick=True)
    assert outcome.status is Status.VERIFIED, outcome.reason
    assert {told.observed for told in outcome.measurements} == {None}
