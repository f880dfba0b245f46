"""Every orbit of an atlas proved, in its rank and beyond."""

import numpy as np
import pytest

from landscape import dense_hessian
from landscape.atlas import atlas
from proofs_check import checker
from proofs_check.rigorous import orbits as module
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.orbits import prove_orbits
from ufm import UFM, CrossEntropy, LabelSmoothing


def certified(loss, K, budget=60.0):
    model = UFM(loss, K, K, lambda_W=0.02, lambda_H=0.02)
    found = atlas(model, budget=budget, seed=0)
    return found, list(prove_orbits(model, found.orbits))


def agree(found, proofs):
    assert len(proofs) == 2 * len(found.orbits)
    for proof in proofs:
        assert proof.proved, proof.reason
        assert proof.reason == ""
        orbit, told = found.orbits[proof.orbit], proof.certificate.found
        assert told.index == orbit.index(proof.d)
        assert told.nullity == orbit.nullity(proof.d)
        assert told.value[0] - 1e-12 <= orbit.objective <= told.value[1] + 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("loss", [CrossEntropy(), LabelSmoothing(0.1)])
@pytest.mark.parametrize("K", [3, 4, 5])
def test_every_orbit_is_proved(loss, K):
    agree(*certified(loss, K))


def test_unequal_groups_of_classes_carry_certificates_in_all_samples():
    """Against the whole Hessian in all samples, which knows no merged class; and proved again."""
    model = UFM(CrossEntropy(), counts=(3, 3, 1), d=3, lambda_W=0.02, lambda_H=0.02)
    found = atlas(model, budget=60.0, seed=0)
    proofs = list(prove_orbits(model, found.orbits))
    agree(found, proofs)
    for proof in proofs:
        told = proof.certificate.found
        values = np.linalg.eigvalsh(np.asarray(dense_hessian(told.model, told.point)))
        assert told.model.counts_tuple == (3, 3, 1)
        assert len(values) == proof.d * (3 + 7)
        assert (told.index, told.nullity) == (np.sum(values < -1e-7), np.sum(abs(values) < 1e-7))
        document = proof.certificate.as_dict()
        assert checker.check(document)
        document["model"]["counts"] = [3, 1, 3]  # the samples then belong to other classes
        document["digest"] = checker.digest(document)
        if proof.orbit + 1 < len(found.orbits):  # at the origin no class is special
            with pytest.raises(checker.Invalid):
                checker.check(document)


def test_contradictions_and_undecided_orbits_are_said(monkeypatch):
    found, _ = certified(CrossEntropy(), 3, 1.0)
    model = UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02)
    agree(found, list(prove_orbits(model, found.orbits)))
    origin = found.orbits[-1]
    object.__setattr__(origin, "couplings", origin.couplings[1:])  # one fewer than there are
    [small, large] = prove_orbits(model, [origin])
    assert small.reason == "the search counted index 1 and nullity 0; proved are 2 and 0"
    assert large.certificate.found.index == 8

    def undecided(*_):
        raise Undecided("not today")

    monkeypatch.setattr(module, "prove_critical", undecided)
    told = list(prove_orbits(model, [origin]))
    assert [(p.proved, p.reason) for p in told] == [(False, "not today")] * 2
