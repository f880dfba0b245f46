"""Without float64 nothing is judged: every answer that would be a statement is refused."""

import jax
import pytest

from landscape.verdict import verdict
from ufm import (
    UFM,
    CrossEntropy,
    InputError,
    full_spectrum,
    minimiser_spectrum,
    origin_spectrum,
)
from ufm.plain.minimisers import thresholds
from ufm.precision import require_x64


@pytest.fixture
def float32():
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


MODEL = UFM(CrossEntropy(), 3, 4, 5, lambda_W=0.02, lambda_H=0.01)
POINT = MODEL.minimiser().point


def own(z, k):
    return jax.nn.logsumexp(z) - z[k]


STATEMENTS = {
    "minimiser": lambda: MODEL.minimiser(),
    "certificate": lambda: MODEL.certificate(POINT),
    "thresholds": lambda: thresholds(MODEL),
    "closed spectrum": lambda: minimiser_spectrum(MODEL),
    "at the origin": lambda: origin_spectrum(MODEL),
    "full spectrum": lambda: full_spectrum(MODEL, POINT),
    "structure": lambda: MODEL.structure(POINT),
    "verdict": lambda: verdict(MODEL, POINT),
    "own loss": lambda: UFM(own, 3, 4, lambda_W=0.02, lambda_H=0.01),
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_statements_are_refused(statement, float32):
    with pytest.raises(InputError, match=r"Need float64.*jax_enable_x64"):
        statement()


def test_float64_is_what_importing_gives():
    require_x64()
