"""Models whose landscapes many tests look at."""

import numpy as np

from landscape.atlas import describe
from landscape.atlas.search import Found
from landscape.solvers.critical import find_critical
from ufm import UFM, CrossEntropy, Point


def balanced(K, decay=0.02):
    """Cross entropy, one sample a class, equal decays."""
    return UFM(CrossEntropy(), K, K, lambda_W=decay, lambda_H=decay)


def scaled(model, c):
    """The same model at another c."""
    return model.with_decays(*(c / model.c * float(x) for x in (model.lambda_W, model.lambda_H)))


def polished(model, W, H, b=None):
    """The critical point next to rounded entries, as an orbit of the merged model."""
    merged = model.as_merged(model.origin())[0].with_dimension(np.shape(W)[1])
    point, value, size, _ = find_critical(merged, Point(W, H, b), 1e-12, 100)
    return describe(merged, Found(point.to_numpy(), float(value), float(size)))
