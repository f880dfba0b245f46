"""Two theorems of one's own: the first is true, the second is not (run `ufm verify --claims`)."""

import numpy as np

from proofs_check import claim


@claim("balanced-norms", "lambda_W |W|^2 = lambda_H |H|^2 at every minimum")
def balanced_norms(model, point):
    return abs(model.lambda_W * np.sum(point.W**2) - model.lambda_H * np.sum(point.H**2))


@claim("equal-rows", "the rows of W have equal norms at every minimum")
def equal_rows(model, point):
    return np.ptp(np.linalg.norm(point.W, axis=1))
