"""Long descents of ``ufm solve``: starts, cost, Ctrl-C; and verdicts without eigenvalues."""

import importlib

import pytest

verdict_module = importlib.import_module("landscape.verdict")  # as an attribute, the function
SMALL = "-K 3 -d 5 -n 2 --lambda 0.05"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_eigenvalues_that_convexity_did_not_need_are_computed_if_asked_for(ufm, monkeypatch):
    convexity = importlib.import_module("landscape.curvature.convexity")
    usual = convexity.count_by_convexity
    monkeypatch.setattr(
        verdict_module, "count_by_convexity", lambda *given: usual(*given, larger_than=-1)
    )
    assert ufm(f"solve {SMALL} --save point.npz").code == 0
    plain = ufm("verdict point.npz --json").json
    asked = ufm("verdict point.npz --eigenvalues --json").json
    assert (plain["route"], asked["route"]) == ("convexity", "structured")
    assert plain["gamma"] is None
    assert plain["smallest_positive"] is None
    assert asked["gamma"] == pytest.approx(asked["smallest_positive"])
    assert plain["largest"] >= asked["largest"] > 0  # a bound, and the eigenvalue
    for name in ("index", "nullity", "curvature", "rank"):
        assert plain[name] == asked[name]
    assert "--eigenvalues" in ufm("verdict point.npz").out
    assert "--eigenvalues" not in ufm("verdict point.npz --eigenvalues").out


def test_full_starts_in_all_dimensions(ufm):
    narrow, full = (ufm(f"solve {SMALL}{more} --json").json for more in ("", " --start full"))
    assert "random start in 3 of 5 dimensions" in narrow["reduction"]
    assert "random start" not in full["reduction"]
    assert full["start_objective"] is None
    assert full["objective"] == pytest.approx(narrow["objective"], abs=1e-13)


def test_an_interrupted_descent_gives_its_best_point(ufm, monkeypatch):
    """As Ctrl-C has it, between two iterations."""
    module = importlib.import_module("experiments.cli.solve")
    monkeypatch.setattr(module, "WATCHED", 0)
    usual = module.stepwise

    def interrupted(message, work, stop=None):
        if stop is None:
            raise AssertionError("nothing is judged")
        return usual(message, lambda say: work(lambda text: stop.set()), stop)

    monkeypatch.setattr(module, "stepwise", interrupted)
    told = ufm(f"solve {SMALL} --save best.npz")
    assert told.code == 130
    assert "INTERRUPTED" in told.out
    monkeypatch.setattr(module, "stepwise", usual)
    record = ufm("verdict best.npz --json").json
    assert record["curvature"] == "NOT_CRITICAL"


def test_long_work_says_what_it_will_take_and_too_much_is_refused(ufm, monkeypatch):
    cost = importlib.import_module("experiments.cost")
    monkeypatch.setattr(cost, "SHORT", 1e-9)
    monkeypatch.setattr(cost, "matrix_speed", lambda: 1e6)
    told = ufm(f"solve {SMALL}")
    assert told.code == 0
    assert "ufm: about " in told.err
    monkeypatch.setattr("experiments.memory.available_memory", lambda: 3000)
    monkeypatch.setattr("experiments.cli.flags.require_memory", lambda *given: None)
    refused = ufm(f"solve {SMALL}")
    assert refused.code == 2
    assert "memory for K=3" in refused.err
