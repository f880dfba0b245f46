"""Claims about what a model answers: every model of the lab keeps them, and wrong ones do not."""

import dataclasses
import inspect

import jax
import numpy as np
import pytest

from proofs_check.claim import Status
from proofs_check.contract import contract_claims, unclaimed, varied
from proofs_check.run import check_claim
from tests.foreign import Spheres, TwoGraphs
from tests.helpers import slow
from ufm import MODELS, UFM, CrossEntropy, InputError, declared

PLAIN = {"num_classes": 3, "d": 2, "n": 2, "lambda_H": 0.01}
# What each model is asked with, small: name -> values beside the defaults.
SMALL = {
    "plain": PLAIN,
    "nonnegative": {"num_classes": 3, "d": 3, "n": 2},
    "multilabel": {"num_classes": 3, "d": 3},
    "soft-labels": {"targets": "0.8,0.2,0/0,0.7,0.3", "d": 3},
    "tasks": {"d": 3, "classes": "2,2"},
    "ordinal": {"thresholds": "-1,2", "n": 3, "d": 2},
}


def outcomes(name, models):
    return {
        c.id.partition("-")[2]: check_claim(c, quick=True) for c in contract_claims(name, models)
    }


# Objectives with kinks.
KINKED = ("deep-relu", "seli")
# ``make test`` asks one model of every kind of answer; these answer as others do, and take longer.
LATER = (
    "layer-peeled",
    "seli",
    "soft-labels",
    "tasks",
    "ordinal",
    "multilabel",
    "constrained-rate",
    "equilibrium",
    "graph-network",
    "deep-relu",
)


@pytest.mark.parametrize("name", [slow(x) if x in LATER else x for x in MODELS])
def test_models_of_the_lab_keep_the_contract(name):
    entry, small = MODELS[name], SMALL.get(name, {})
    models = varied(
        lambda changes: entry.build({**small, **changes}),
        {p.name: p.default for p in entry.parameters},
    )
    assert len(models) == 3
    found = outcomes(name, models[:2])
    # Smooth descents end at kinks, short of a minimum.
    assert {"gradient", "symmetry" if name in KINKED else "nullity"} <= set(found)
    for answer, outcome in found.items():
        assert outcome.status is Status.VERIFIED, (answer, outcome.reason or outcome)
        assert outcome.mutant_rejected, answer


@pytest.mark.parametrize("model", [TwoGraphs(), Spheres()], ids=["graphs", "spheres"])
def test_models_from_outside_keep_it(model):
    found = outcomes("foreign", [model])
    assert list(found) == ["gradient", "symmetry", "nullity"]
    left = unclaimed(contract_claims("foreign", [model]))
    assert left == ("structure", "merger", "minimiser", "certificate")
    assert all(o.status is Status.VERIFIED and o.mutant_rejected for o in found.values())


def scaled(told, name):
    """An answer whose number ``name`` is one per cent off."""
    return dataclasses.replace(told, **{name: 1.01 * getattr(told, name)})


def moved_levels(told):
    levels = type(told.levels).of((1.01 * v, m, block) for v, m, block in told.levels)
    return dataclasses.replace(told, levels=levels)


# Answer -> the method that gives it, and what is done to what it returns.
WRONG = {
    "gradient": (
        "value_and_gradient",
        lambda told: (told[0], jax.tree.map(lambda x: 1.01 * np.asarray(x), told[1])),
    ),
    "symmetry": ("generators", lambda told: told._replace(W=1.01 * np.asarray(told.W))),
    "nullity": ("generators", lambda told: jax.tree.map(lambda x: np.asarray(x)[:-1], told)),
    "structure": ("structure", moved_levels),
    "merger": (
        "merge",
        lambda told: dataclasses.replace(told, model=told.model.with_decays(0.0202, 0.01)),
    ),
    "minimiser": ("minimiser", lambda told: scaled(told, "value")),
    "certificate": ("certificate", lambda told: scaled(told, "bound")),
}


@pytest.mark.parametrize("answer", WRONG)
def test_a_wrong_answer_is_a_counterexample(monkeypatch, answer):
    model = UFM(CrossEntropy(), 3, 3, 2, lambda_W=0.02, lambda_H=0.01)
    claims = {c.id.partition("-")[2]: c for c in contract_claims("plain", [model])}
    right = claims[answer]
    assert check_claim(right, quick=True).status is Status.VERIFIED
    specimens = [dataclasses.replace(s) for s in right.region(True)]  # nothing measured yet
    method, wrong = WRONG[answer]
    told = getattr(UFM, method)
    monkeypatch.setattr(UFM, method, lambda *asked: wrong(told(*asked)))
    lying = dataclasses.replace(right, region=lambda quick: specimens)
    assert check_claim(lying, quick=True).status is Status.COUNTEREXAMPLE


def test_minima_in_larger_families_are_seen():
    """Non-negative features with d > K: a class owns several coordinates, in any proportion."""
    model = MODELS["nonnegative"].build({"num_classes": 3, "d": 4})
    assert outcomes("nonnegative", [model])["nullity"].status is Status.COUNTEREXAMPLE


def test_numbers_are_moved_as_far_as_the_model_takes_them():
    def narrow(share: float = 0.5, size: int = 3):
        if share > 0.6:
            raise InputError("Need share <= 0.6", share, "use less")
        return UFM(CrossEntropy(), size, 2, lambda_W=share, lambda_H=0.1)

    entry = declared("narrow", narrow)
    models = varied(entry.build, {p.name: p.default for p in entry.parameters})
    assert [float(model.lambda_W) for model in models] == [0.5, 0.35]
    assert list(inspect.signature(narrow).parameters) == ["share", "size"]


def test_large_models_are_refused():
    model = UFM(CrossEntropy(), 40, 60, lambda_W=0.02, lambda_H=0.02)
    with pytest.raises(InputError, match=r"2000 variables.*4,800 of big.*smaller defaults"):
        contract_claims("big", [model])
