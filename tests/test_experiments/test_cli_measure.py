"""``ufm measure``: numbers of ufm.collapse, and theory beside them."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from ufm import MSE, UFM, CrossEntropy, LabelSmoothing, collapse, lift
from ufm.models.nonnegative import nonnegative_minimiser


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Penultimate float32 features of a small network on scikit-learn's digits."""
    images, labels = load_digits(return_X_y=True)
    network = MLPClassifier((24,), alpha=1e-2, max_iter=40, random_state=0, batch_size=len(labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forty epochs are not convergence, and need not be
        network.fit(images / 16, labels)
    features = np.maximum(images / 16 @ network.coefs_[0] + network.intercepts_[0], 0)
    arrays = {
        "features": features.astype(np.float32),
        "labels": labels,
        "classifier": network.coefs_[1].T,
        "bias": network.intercepts_[1],
    }
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, **arrays)
    return path, arrays


def test_the_metrics_of_a_network_under_every_convention(ufm, digits):
    path, arrays = digits
    ran = ufm("measure --json", path)
    record = collapse(
        arrays["features"],
        arrays["labels"],
        classifier=arrays["classifier"],
        bias=arrays["bias"],
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["metrics"]["nc1_phd"] == record.nc1_phd
    assert ran.json["metrics"]["num_samples"] == 1797
    for source in ("GEO", "RMS", "ALL", "DLN", "PHD", "CLS", "RWU"):
        assert ran.json["conventions"][source] == record.convention(source)
    assert ran.json["theory"] is None


def test_the_table_groups_by_convention(ufm, digits):
    assert "GEO" not in ufm("measure", digits[0]).out
    ran = ufm("measure --all", digits[0])
    for word in ("GEO (Zhu et al. 2021)", "PHD (Papyan, Han, Donoho 2020)", "NC2 equinorm W"):
        assert word in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 100


def test_a_network_that_was_hardly_trained_gets_a_refusal_and_no_ratio(ufm, digits):
    ran = ufm("measure --lambda-w 1e-4 --json", digits[0])
    theory = ran.json["theory"]
    rows = {row["quantity"]: row for row in theory["rows"]}
    assert ran.code == 0
    assert theory["lambda_H"] == ran.json["metrics"]["lambda_H_hat"]
    assert "unregularised" in " ".join(theory["notes"])
    # Unequal counts with a bias and features after a ReLU: no closed form at all.
    assert theory["refusal"].startswith("no theory applies, because with unequal counts")
    assert set(rows) == {"logit gap", "|W|", "|H|", "|b|", "mean loss", "objective"}
    assert {row["ratio"] for row in rows.values()} == {None}
    table = ufm("measure --lambda-w 1e-4", digits[0]).out
    assert "measured/theory" not in table
    assert "from balancedness" in table
    assert ran.json["headline"][1:] in table


@pytest.mark.slow
def test_transposed_features(ufm, digits, tmp_path):
    path, arrays = digits
    np.savez(tmp_path / "t.npz", **{**arrays, "features": arrays["features"].T})
    plain = ufm("measure --json --lambda-w 1e-4", path).json
    turned = ufm("measure --json --lambda-w 1e-4 --transposed", tmp_path / "t.npz").json
    assert turned["metrics"] == plain["metrics"]
    assert turned["theory"]["rows"] == plain["theory"]["rows"]
    assert ufm("measure", tmp_path / "t.npz").code == 2


CASES = [
    (CrossEntropy(), "", {}),
    (LabelSmoothing(0.2), "--loss ls --smoothing 0.2", {}),
    (CrossEntropy(), "--lambda-b 0.1", {"lambda_b": 0.1}),
]


@pytest.mark.parametrize(("loss", "flags", "bias"), CASES)
def test_at_a_global_minimiser_measurement_and_theory_agree(ufm, tmp_path, loss, flags, bias):
    model = UFM(loss, 3, 5, 4, lambda_W=0.03, lambda_H=0.007, **bias)
    best = lift(model, model.minimiser().point)
    arrays = {"features": best.H.T, "labels": np.repeat(np.arange(3), 4), "classifier": best.W}
    if bias:
        arrays["bias"] = best.b
    np.savez(tmp_path / "m.npz", **arrays)
    record = ufm(f"measure --json --lambda-w 0.03 {flags}", tmp_path / "m.npz").json
    assert record["theory"]["lambda_H"] == pytest.approx(0.007, rel=1e-12)
    for row in record["theory"]["rows"]:
        assert row["measured"] == pytest.approx(row["theory"], rel=1e-9, abs=1e-12)
    # Another lambda_H is another minimiser.
    other = ufm(f"measure --json --lambda-w 0.03 --lambda-h 0.008 {flags}", tmp_path / "m.npz").json
    assert other["theory"]["lambda_H"] == 0.008
    assert other["theory"]["lambda_H_balanced"] == pytest.approx(0.007, rel=1e-12)
    assert other["theory"]["rows"][0]["ratio"] > 1.01
    far = ufm(f"measure --json --lambda-w 0.03 --lambda-h 0.01 {flags}", tmp_path / "m.npz").json
    assert "not at a minimum" in far["theory"]["refusal"]
    assert {row["ratio"] for row in far["theory"]["rows"]} == {None}
    wrong = "--loss focal" if "loss" not in flags else "--loss ls --smoothing 0.3"
    loss_row = ufm(f"measure --json --lambda-w 0.03 {wrong}", tmp_path / "m.npz").json["theory"]
    ratio = loss_row["rows"][0]["ratio"]
    assert ratio is None or abs(ratio - 1) > 1e-3


def test_out_gets_the_json_and_one_decay_serves_both(ufm, digits, tmp_path):
    ran = ufm("measure --json --lambda 1e-3 --out", tmp_path / "m.json", digits[0])
    assert (tmp_path / "m.json").read_text() == ran.out
    assert (ran.json["inputs"]["lambda_W"], ran.json["inputs"]["lambda_H"]) == (1e-3, 1e-3)
    assert ran.json["theory"]["lambda_H"] == 1e-3


@pytest.mark.parametrize("loss", [(CrossEntropy(), "ce"), (MSE(), "mse")])
def test_features_that_leave_a_relu_have_a_theory_of_their_own(ufm, tmp_path, loss):
    """The exact optimum with H >= 0; as if signs were free, it would be off by per cents."""
    model = UFM(loss[0], 3, 5, 4, lambda_W=0.03, lambda_H=0.007)
    best = lift(model, nonnegative_minimiser(model).point)
    arrays = {"features": best.H.T, "labels": np.repeat(np.arange(3), 4), "classifier": best.W}
    np.savez(tmp_path / "relu.npz", **arrays)
    words = f"measure --lambda-w 0.03 --loss {loss[1]} --json"
    theory = ufm(words, tmp_path / "relu.npz").json["theory"]
    assert [row["ratio"] for row in theory["rows"]] == pytest.approx([1] * 5, abs=1e-9)
    assert "non-negative" in " ".join(theory["notes"])
    # One entry below zero, and signs are free: the simplex is lower, where it is another frame.
    arrays["features"] = np.array(best.H.T)
    arrays["features"][0, -1] = -1e-12
    np.savez(tmp_path / "free.npz", **arrays)
    free = ufm(words, tmp_path / "free.npz").json["theory"]
    assert "non-negative" not in " ".join(free["notes"])
    if loss[1] == "ce":
        assert "the gradient in the class means" in free["refusal"]
    else:
        assert [row["ratio"] for row in free["rows"]] == pytest.approx([1] * 5, abs=1e-9)
    # Unequal counts have a closed form for cross entropy, near which these are; squared error
    # has none, and then nothing is called theory.
    cut = {name: value[1:] if len(value) == 12 else value for name, value in arrays.items()}
    cut["features"] = np.maximum(cut["features"], 0)
    np.savez(tmp_path / "cut.npz", **cut)
    unequal = ufm(words, tmp_path / "cut.npz").json["theory"]
    assert "R-4" in unequal["source"]
    if loss[1] == "ce":
        assert unequal["refusal"] is None
        assert 1e-3 < abs(unequal["rows"][0]["ratio"] - 1) < 0.1
        return
    assert {row["theory"] for row in unequal["rows"]} == {None}
    assert all(row["measured"] is not None for row in unequal["rows"])
    assert (
        "no theory applies" in ufm("measure --lambda-w 0.03 --loss mse", tmp_path / "cut.npz").out
    )


@pytest.mark.slow
def test_unequal_sizes_have_a_theory_at_any_number_of_classes(ufm, tmp_path):
    labels = np.repeat(np.arange(304), [1] * 300 + [2] * 4)
    rng = np.random.default_rng(0)
    arrays = {"features": rng.normal(size=(308, 304)), "classifier": rng.normal(size=(304, 304))}
    np.savez(tmp_path / "many.npz", labels=labels, **arrays)
    words = "measure --lambda-w 1e-3 --lambda-h 1e-3 --json"
    theory = ufm(words, tmp_path / "many.npz").json["theory"]
    assert theory["source"].startswith("no closed form; solved, duality gap")
    assert "not at a minimum" in theory["refusal"]


def test_measure_and_verdict_take_the_names_of_practice_and_of_theory(ufm, tmp_path):
    model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.03, lambda_H=0.007, lambda_b=0.1)
    W, H, b = lift(model, model.minimiser().point)
    y = np.repeat(np.arange(3), 4)
    np.savez(tmp_path / "practice.npz", features=H.T, classifier=W, bias=b, labels=y)
    np.savez(tmp_path / "theory.npz", H=H, W=W, b=b, labels=y)
    np.savez(tmp_path / "counts.npz", H=H, W=W, b=b, counts=np.array([4, 4, 4]))
    decays = "--lambda-w 0.03 --lambda-h 0.007 --lambda-b 0.1 --json"
    for command, part in (("measure", "theory"), ("verdict", "curvature")):
        found = [
            ufm(f"{command} {decays}", tmp_path / f"{name}.npz").json
            for name in ("practice", "theory", "counts")
        ]
        assert found[0][part] == found[1][part] == found[2][part]
    assert found[0]["curvature"] == "MORSE_BOTT_MINIMUM"


def test_a_point_that_solve_saved_is_measured(ufm, tmp_path):
    """One merged column per class, sqrt(n_k) times the mean; unequal counts."""
    saved = tmp_path / "point.npz"
    words = "-d 4 --counts 4,2,1 --lambda-w 0.03 --lambda-h 0.007"
    assert ufm(f"solve {words} --save", saved).code == 0
    theory = ufm("measure --lambda-w 0.03 --lambda-h 0.007 --json", saved).json["theory"]
    assert [row["ratio"] for row in theory["rows"]] == pytest.approx([1] * 5, abs=1e-6)
    bad = dict(np.load(saved))
    np.savez(saved, **{**bad, "counts": np.array([4, 2])})
    ran = ufm("measure", saved)
    assert (ran.code, "one merged column per class" in ran.err) == (2, True)


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory):
    """Five checkpoints on the way to the minimum of a model, and the terms of its training."""
    model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.03, lambda_H=0.007)
    best = lift(model, model.minimiser().point)
    noise = np.random.default_rng(0).normal(size=best.H.shape)
    folder = tmp_path_factory.mktemp("checkpoints")
    for epoch, size in ((2, 0.3), (10, 0.01), (1, 3.0), (5, 0.1), (20, 0.0)):
        arrays = {"classifier": best.W, "labels": np.repeat(np.arange(3), 4)}
        np.savez(folder / f"epoch{epoch}.npz", features=(best.H + size * noise).T, **arrays)
    return folder


def test_a_folder_of_checkpoints_gives_curves_with_the_line_of_theory(ufm, collapsed, tmp_path):
    figure = tmp_path / "curves.svg"
    ran = ufm("measure --lambda-w 0.03 --json --figure", figure, collapsed)
    rows = ran.json["curve"]
    assert [row["name"] for row in rows] == [f"epoch{n}" for n in (1, 2, 5, 10, 20)]
    nc1 = [row["NC1"] for row in rows]
    assert nc1 == sorted(nc1, reverse=True)
    assert rows[0]["distance"] == "not at a minimum"
    assert rows[-1]["objective"] == pytest.approx(rows[-1]["theory"]["objective"], abs=1e-12)
    assert rows[-1]["theory"]["logit gap"] == pytest.approx(rows[-1]["logit gap"], abs=1e-12)
    drawn = figure.read_text()
    assert "<svg" in drawn
    table = ufm("measure --lambda-w 0.03", *sorted(collapsed.iterdir())[:2])
    assert "Measured 2 files" in table.out
    for words, says in (("--figure a.gif", "a kind that we draw"), ("--figure no/a.svg", "folder")):
        bad = ufm(f"measure --lambda-w 0.03 {words}", collapsed)
        assert (bad.code, says in bad.err) == (2, True)


def test_large_features_are_measured_in_one_pass(ufm, collapsed, monkeypatch):
    from experiments import network_files

    whole = ufm("measure --lambda-w 0.03 --json", collapsed / "epoch10.npz").json
    monkeypatch.setattr(network_files, "LARGE", 8)
    monkeypatch.setattr(network_files, "BLOCK_ENTRIES", 5 * 5)  # twelve samples as 5, 5 and 2
    once = ufm("measure --lambda-w 0.03 --json", collapsed / "epoch10.npz").json
    assert "in one pass" in once["notes"][0]
    assert once["metrics"]["nc4_phd"] is None
    for name in ("nc1_phd", "nc2_rwu", "nc3_phd", "lambda_H_hat"):
        assert once["metrics"][name] == pytest.approx(whole["metrics"][name], rel=1e-10)
    for one, other in zip(once["theory"]["rows"], whole["theory"]["rows"], strict=True):
        for name in ("theory", "measured", "ratio"):
            assert one[name] == pytest.approx(other[name], rel=1e-10)
