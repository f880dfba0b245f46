"""Certificates of rates, equilibria and merged classes: false claims, and what is refused."""

import jax
import numpy as np
import pytest

from landscape import solve
from proofs_check import checker
from proofs_check.rigorous.certificate import PointCertificate
from proofs_check.rigorous.point import prove_critical
from tests.certificates import MODELS, at, changed


def nudged(x):
    return x + 1e-6


# Of the families that are no chain of factors: what is put where, and why it is INVALID.
OTHER_FAMILIES = {
    "rate reduction": {
        "point": ("Z", 0, 0),
        "model": {"lambda_z": nudged, "rate": nudged, "shares": lambda x: [x[1], x[0], x[2]]},
    },
    "constrained rate": {
        "point": ("Z", 0, 0),
        "model": {"rate": nudged, "shares": lambda x: [x[1], x[0]]},
    },
    "equilibrium": {
        "point": ("V", 0, 0),
        "model": {
            "lambda_w": nudged,
            "lambda_v": nudged,
            "lambda_x": nudged,
            "loss": lambda x: {"name": "ls", "smoothing": 1e-4},
        },
    },
    "merged ce": {
        "point": ("H", 0, 0),
        "model": {
            "lambda_w": nudged,
            "lambda_h": nudged,
            "counts": lambda x: [2, 1, 4],
            "loss": lambda x: {"name": "focal", "gamma": 1e-3},
        },
    },
}


@pytest.fixture(scope="module")
def others():
    """Minima of these families, as certificates."""
    made = {}
    for name in OTHER_FAMILIES:
        model = MODELS[name]
        known = model.minimiser()
        point = solve(model, key=jax.random.key(0)).point if known is None else known.point
        made[name] = PointCertificate(prove_critical(model, point)).as_dict()
    return made


@pytest.mark.parametrize("name", OTHER_FAMILIES)
def test_false_claims_of_other_families_are_invalid(others, name):
    good, told = others[name], OTHER_FAMILIES[name]
    assert "index 0" in checker.check(good)
    cases = [
        (("point", *told["point"]), lambda x: x + 1e-3, "no critical point within"),
        (("claim", "index"), lambda x: x + 1, "the index is 0, and 1 is claimed"),
        (("claim", "nullity"), lambda x: x - 1, "the nullity is"),
        (("claim", "radius"), lambda x: 1e-19, "no critical point within"),
        (("claim", "value"), lambda x: [x[0] + 1e-9, x[1] + 1e-9], "the value lies"),
    ]
    for field, change in told["model"].items():
        # Evenly spread classes stay critical at every rate: there the value gives it away.
        says = "no critical point within|the value lies"
        cases.append((("model", field), change, says))
    for path, change, reason in cases:
        false = changed(good, *path, change(at(good, *path)))
        with pytest.raises(checker.Invalid, match=reason):
            checker.check(false)


def test_an_equilibrium_that_may_not_exist_is_undecided(others):
    unit = np.eye(4).tolist()
    with pytest.raises(checker.Undecided, match="numbers that cannot be computed with"):
        checker.check(changed(others["equilibrium"], "point", "V", unit))


def test_too_many_symmetries_are_refused_before_memory_is_taken():
    """One dimension, 650 samples of one class: 210,925 turns of 650 numbers each."""
    document = {
        "format": "ufm certificate",
        "version": 1,
        "kind": "critical point",
        "model": {
            "family": "rate-reduction",
            "num_classes": 1,
            "counts": [650],
            "dim": 1,
            "rate": 1.0,
            "shares": [1.0],
            "lambda_z": 0.1,
        },
        "point": {"Z": [[1.0] * 650]},
        "claim": {"radius": 1e-9, "index": 0, "nullity": 0, "value": [0, 1]},
    }
    document["digest"] = checker.digest(document)
    with pytest.raises(checker.NotACertificate, match="more than 1,000 symmetries"):
        checker.check(document)
