"""Models whose certificates the checker's tests share, and what is done to their files."""

import json

from proofs_check import checker
from ufm import MSE, UFM, CrossEntropy, Focal, LabelSmoothing, deep_linear
from ufm.models.constrained_rate import constrained_rate
from ufm.models.equilibrium import equilibrium
from ufm.models.rate_reduction import rate_reduction


def plain(loss, d=3, counts=(2, 1, 3), lambda_b=None):
    return UFM(loss, counts=counts, d=d, lambda_W=0.03, lambda_H=0.02, lambda_b=lambda_b)


MODELS = {
    "ce": plain(CrossEntropy()),
    "ls with a bias": plain(LabelSmoothing(0.1), lambda_b=0.05),
    "ce with a free bias": plain(CrossEntropy(), lambda_b=0.0),
    "focal": plain(Focal(2.5), counts=(2, 2)),
    "mse": plain(MSE(), counts=(2, 1, 2)),
    "mse with a bias": plain(MSE(), counts=(2, 2, 2), lambda_b=0.05),
    "deep mse": deep_linear(MSE(), 3, 3, 1, 2, 0.03, 0.02),
    "deep-linear": deep_linear(CrossEntropy(), 3, 4, 2, 3, 0.03, 0.02),
    "rate reduction": rate_reduction("3,1,2", 4, 0.5, 0.1),
    # With no room for orthogonal classes, where all but lengths would be exact.
    "constrained rate": constrained_rate("2,4", 3, 0.4),
    "equilibrium": equilibrium(None, 3, 4, 1, 0.02, 0.9, 0.03, counts="1,2,2"),
    "equilibrium of squared error": equilibrium(MSE(), 3, 4, 2, 0.02, 1.0, 0.03),
    "merged ce": plain(CrossEntropy()).merge().model,
    "merged mse": plain(MSE(), counts=(2, 5, 2)).merge().model,
    "merged deep-linear": deep_linear(
        LabelSmoothing(0.1), 3, widths="4,5", counts="2,1,6", lambda_W=0.03, lambda_H=0.02
    )
    .merge()
    .model,
    "merged equilibrium": equilibrium(None, 3, 4, 1, 0.02, 0.9, 0.03, "3,1,2").merge().model,
}


def record(told):
    """What the checker reads of it."""
    return checker.parsed(json.dumps(told))


def changed(document, *path_and_value):
    """A copy with another value somewhere, and a digest that is right again."""
    *path, last, value = path_and_value
    copy = json.loads(json.dumps(document))
    inner = copy
    for name in path:
        inner = inner[name]
    inner[last] = value
    copy["digest"] = checker.digest(copy)
    return copy


def at(document, *path):
    for name in path:
        document = document[name]
    return document
