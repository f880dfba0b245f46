"""Spectra from blocks where these fit into memory, and none where not."""

import importlib

import pytest

from landscape.solvers.solve import solve
from ufm import UFM, CrossEntropy, InputError


def test_what_would_not_fit_has_no_spectrum(monkeypatch):
    """Three different classes at rank 2: a range block of order 12, and 27 logit entries."""
    model = UFM(CrossEntropy(), counts=(3, 1, 2), d=4, lambda_W=0.03, lambda_H=0.02)
    merged, point = model.merge().model, solve(model).point
    module = importlib.import_module("ufm.plain.structure")
    monkeypatch.setattr(module, "MAX_FACTORISED", 12)
    assert merged.structure(point) is not None
    monkeypatch.setattr(module, "MAX_FACTORISED", 11)
    assert merged.structure(point) is None
    reduce_module = importlib.import_module("ufm.plain.reduce")
    monkeypatch.setattr(reduce_module, "MAX_LOGIT_ENTRIES", 26)
    with pytest.raises(InputError, match=r"at most 26 numbers.*3 different classes of 3"):
        merged.structure(point)
