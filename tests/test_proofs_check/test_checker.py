"""The program that checks certificates: its formulas, its refusals, and that it stands alone."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flint import arb, arb_mat, ctx

from landscape import dense_hessian, solve
from proofs_check import checker
from proofs_check.rigorous.certificate import (
    PointCertificate,
    model_record,
    nearness_record,
    point_record,
)
from proofs_check.rigorous.lower import prove_lower
from proofs_check.rigorous.minimiser import near_minimiser, prove_minimiser
from proofs_check.rigorous.point import prove_critical
from tests.certificates import MODELS, at, changed, plain, record
from tests.helpers import slow
from ufm import UFM, CrossEntropy
from ufm.model import value_and_gradient

FOLDER = Path(checker.__file__).parent


def arguments(model, point):
    """The checker's model, and its flat point."""
    told = checker.Model(record(model_record(model)))
    return told, told.point(record(point_record(point)))


def order(model, point):
    """Places of the lab's flat coordinates in the checker's order: H, W_1, ..., W_M, b; X, V, W."""
    named = point._asdict()
    sizes = {
        name: sum(map(np.size, jax.tree.leaves(part)))
        for name, part in named.items()
        if part is not None
    }
    ends = np.cumsum([0, *sizes.values()])
    places = {name: np.arange(*ends[i : i + 2]) for i, name in enumerate(sizes)}
    turned = [name for name in ("H", "X", "V", "weights", "W", "b", "Z") if name in places]
    return np.concatenate([places[name] for name in turned])


@pytest.mark.parametrize("name", MODELS)
def test_its_derivatives_are_those_of_the_lab(name):
    model = MODELS[name]
    point = model.random_point(jax.random.key(3))
    told, x = arguments(model, point)
    assert told.size == sum(np.size(leaf) for leaf in jax.tree.leaves(point))
    value, slope, curved = told.derivatives(x)
    places = order(model, point)
    height, gradient = value_and_gradient(model, point)
    expected = np.concatenate([np.ravel(y) for y in jax.tree.leaves(gradient)])
    told = np.array([float(y.mid()) for y in slope.entries()])
    np.testing.assert_allclose(told, expected[places], atol=1e-14)
    dense = np.asarray(dense_hessian(model, point))[np.ix_(places, places)]
    matrix = np.array([[float(y.mid()) for y in row] for row in curved.tolist()])
    np.testing.assert_allclose(matrix, dense, atol=1e-14)
    assert float(value.mid()) == pytest.approx(float(height), abs=1e-14)


@pytest.mark.parametrize("name", MODELS)
def test_minima_of_the_lab_are_valid(name):
    model = MODELS[name]
    found = solve(model, key=jax.random.key(0)).point
    document = PointCertificate(prove_critical(model, found)).as_dict()
    said, nullity = checker.check(document), document["claim"]["nullity"]
    assert said.startswith(f"a critical point within 1e-09, index 0, nullity {nullity}, value in")


NEAR = ("ce", "ls with a bias", "ce with a free bias", "mse", "mse with a bias")


@pytest.fixture(scope="module")
def near():
    """Minima with their distance to the global minimiser: by rank, and by the duality gap."""
    made = {}
    for name in NEAR:
        model = MODELS[name]
        found = prove_critical(model, solve(model, key=jax.random.key(0)).point)
        made[name] = PointCertificate(found, None, prove_minimiser(found)).as_dict()
        if name != "ce with a free bias":
            by_gap = near_minimiser(model, found.point)
            made[name, "gap"] = PointCertificate(found, None, by_gap).as_dict()
    return made


def test_distances_to_the_minimiser_are_proved_again(near):
    for document in near.values():
        said = checker.check(document)
        exact = document["claim"]["minimiser"]["exact"]
        assert (", a global minimum" if exact else ", with a global minimum near") in said


# What is claimed less of, by rank or by the gap, and what is said.
LESS = {
    "exact gap": ("ls with a bias", "gap", 1e-25, "gap is proved to be below"),
    "exact logits": ("ls with a bias", "logits", 1e-25, "logits is proved to be below"),
    "exact gram": ("mse", "gram_h", 1e-25, "gram_h is proved to be below"),
    "curvature": ("ce", "curvature", 1.0001, "not above"),
    "logits": (("ce", "gap"), "logits", 1e-12, "not proved to lie within"),
    "gap": (("mse", "gap"), "gap", 1e-12, "gap is proved to be below"),
    "gram": (("ce", "gap"), "gram_w", 1e-12, "gram_w is proved to be below"),
    "not critical": (("mse with a bias", "gap"), "exact", None, "rank is not proved to be full"),
}


@pytest.mark.parametrize("name", LESS)
def test_a_distance_that_is_too_small_is_not_valid(near, name):
    which, field, factor, says = LESS[name]
    document = near[which]
    value = True if factor is None else document["claim"]["minimiser"][field] * factor
    with pytest.raises((checker.Invalid, checker.Undecided), match=says):
        checker.check(changed(document, "claim", "minimiser", field, value))


def test_half_the_distance_from_a_gap_is_not_valid():
    """Where the gap is no rounding, both programs bound it alike, and half is too little."""
    model = UFM(CrossEntropy(), 3, 2, lambda_W=0.03, lambda_H=0.02)
    found = prove_critical(model, solve(model, key=jax.random.key(0)).point)
    rng = np.random.default_rng(0)
    moved = type(found.point)(*(np.asarray(y) + 1e-4 * rng.normal(size=np.shape(y))
                                for y in found.point[:2]))  # fmt: skip
    told = near_minimiser(model, moved)
    claim = record(nearness_record(told))
    own, x = arguments(model, moved)
    before, ctx.prec = ctx.prec, checker.BITS
    try:
        assert "a global minimum near" in checker.check_minimiser(own, claim, x, x, arb(0))
        for name in ("gap", "logits", "gram_w", "gram_h"):
            half = record(claim | {name: claim[name] / 2})
            with pytest.raises(checker.Undecided):
                checker.check_minimiser(own, half, x, x, arb(0))
    finally:
        ctx.prec = before


@pytest.fixture(scope="module")
def saddle():
    """A saddle padded with zeros, with a lower point."""
    model = plain(CrossEntropy(), d=3, counts=(1, 1, 1))
    line = UFM(CrossEntropy(), 3, 1, 1, lambda_W=0.03, lambda_H=0.02)
    found = solve(line, key=jax.random.key(1)).point
    wide = type(found)(np.pad(found.W, ((0, 0), (0, 2))), np.pad(found.H, ((0, 2), (0, 0))))
    proved = prove_critical(model, wide)
    lower = prove_lower(proved, [solve(model, key=jax.random.key(0)).point])
    return PointCertificate(proved, lower).as_dict()


def test_a_saddle_is_valid_with_its_lower_point(saddle):
    claim = saddle["claim"]
    assert claim["index"] > 0
    assert claim["nullity"] == 2
    assert "not global: another point has a value below" in checker.check(saddle)


# Where, what is put there (of what was there), and why it is INVALID.
FALSE = {
    "a coordinate moved": (("point", "W", 0, 0), lambda x: x + 1e-3, "no critical point within"),
    "the index off by one": (("claim", "index"), lambda x: x + 1, "the index is"),
    "the nullity off by one": (("claim", "nullity"), lambda x: x - 1, "the nullity is"),
    "another lambda_w": (("model", "lambda_w"), lambda x: x + 1e-6, "no critical point within"),
    "another lambda_h": (("model", "lambda_h"), lambda x: x + 1e-6, "no critical point within"),
    "a digit of the radius": (("claim", "radius"), lambda x: 1e-19, "no critical point within"),
    "a higher value": (("claim", "value"), lambda x: [x[0] + 1e-9, x[1] + 1e-9], "the value lies"),
    "another loss": (
        ("model", "loss"),
        lambda x: {"name": "ls", "smoothing": 1e-4},
        "no critical point within",
    ),
    "a lower point that is not": (("lower", "below"), lambda x: x / 4, "the lower point has"),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_slightly_false_claim_is_invalid_with_its_reason(saddle, name):
    path, change, reason = FALSE[name]
    false = changed(saddle, *path, change(at(saddle, *path)))
    with pytest.raises(checker.Invalid, match=reason):
        checker.check(false)


def test_a_file_that_was_changed_says_so(saddle):
    false = changed(saddle, "claim", "radius", 9e-9)
    assert checker.check(false)  # a larger radius is true as well
    false["digest"] = saddle["digest"]
    with pytest.raises(checker.Invalid, match="its digest is another"):
        checker.check(false)


def test_what_it_cannot_decide_is_undecided(saddle):
    with pytest.raises(checker.Undecided, match="no fixed point could be proved within"):
        checker.check(changed(saddle, "claim", "radius", 3.0))
    for name, value, says in (
        ("family", "sphere", "no objective for models of the family 'sphere'"),
        ("loss", {"name": "bce"}, "the loss 'bce' is not known"),
    ):
        with pytest.raises(checker.Undecided, match=says):
            checker.check(changed(saddle, "model", name, value))
    with pytest.raises(checker.Undecided, match="claims of the kind 'magic'"):
        checker.check(changed(saddle, "kind", "magic"))


# ---- bounds: cases built to exceed what a weaker one would accept


def balls(rows):
    return arb_mat([[x if isinstance(x, arb) else arb(x) for x in row] for row in rows])


def test_a_matrix_that_may_be_singular_has_no_inertia():
    near = arb(1, 1e-9)
    with pytest.raises(checker.Undecided, match="cannot be told from zero"):
        checker.negative_eigenvalues(balls([[1, near], [near, 1]]))
    assert checker.negative_eigenvalues(balls([[1, arb(1.1, 0.05)], [arb(1.1, 0.05), 1]])) == 1
    assert checker.negative_eigenvalues(balls([[0, 1], [1, 0]])) == 1  # no pivot on the diagonal
    assert not checker.regular(balls([[1, near], [near, 1]]))
    assert checker.regular(balls([[1, arb(0.9, 0.05)], [arb(0.9, 0.05), 1]]))


def test_a_matrix_a_little_beyond_regular_is_not():
    """1.01^1024 is 3e4: a bound of the powers that is not below 1 proves nothing."""
    assert not checker.regular(balls([[arb(1, 1.01)]]))
    assert checker.regular(balls([[arb(1, 0.99)]]))


def test_an_image_that_leaves_its_box_proves_no_zero():
    """x - 0.7 with slopes from 1/2 to 3/2 on [-1, 1]: the image is [0.2, 1.2]."""
    at, off, value, slope = (balls([[x]]) for x in (0, arb(0, 1), -0.7, arb(1, 0.5)))
    image = checker.krawczyk(at, off, value, slope, slope.mid().inv())[0, 0]
    assert image.overlaps(arb(1.19))
    assert not image.overlaps(arb(1.21))


def test_a_singular_leading_block_is_no_obstacle():
    """The first half is zero: its inertia alone means nothing."""
    half = np.eye(15)
    A = np.block([[np.zeros((15, 15)), half], [half, 3 * half]])
    assert checker.negative_eigenvalues(balls(A.tolist())) == 15


@pytest.mark.parametrize("order", [7, 31, slow(64)])
def test_inertia_of_matrices_with_known_spectra(order):
    rng = np.random.default_rng(order)
    Q = np.linalg.qr(rng.normal(size=(order, order)))[0]
    values = np.sign(rng.normal(size=order)) * 10.0 ** rng.uniform(-6, 3, order)
    A = Q @ np.diag(values) @ Q.T
    with ctx.workprec(checker.BITS):
        told = checker.negative_eigenvalues(balls(((A + A.T) / 2).tolist()))
    assert told == np.sum(values < 0)


def test_a_box_with_two_critical_points_is_not_one():
    """d = 1: mirror images w, -w, both in a box that is wide enough."""
    line = UFM(CrossEntropy(), 2, 1, 1, lambda_W=0.24, lambda_H=0.24)
    found = prove_critical(line, solve(line, key=jax.random.key(0)).point)
    document = PointCertificate(found).as_dict()
    reach = 3 * max(abs(x) for row in document["point"]["H"] for x in row)
    assert checker.check(document)
    with pytest.raises(checker.Undecided):
        checker.check(changed(document, "claim", "radius", reach))


# ---- files


HOSTILE = {
    "empty": ("", "no JSON"),
    "truncated": ('{"format": "ufm certificate", "version": 1', "no JSON"),
    "binary": (b"\xff\xfe\x00", "no JSON"),
    "a list": ("[1, 2]", "the format is not"),
    "another format": ('{"format": "x"}', "the format is not"),
    "another version": (
        '{"format": "ufm certificate", "version": 2}',
        "this program reads version 1",
    ),
    "NaN": ('{"format": NaN}', "no number of float64"),
    "infinite": ('{"format": 1e999}', "no number of float64"),
    "a million digits": ('{"format": ' + "9" * 10**6 + "}", "no number of float64"),
    "twice": ('{"format": 1, "format": 2}', "a name stands twice"),
    "deep": ("[" * 10**6, "lists within lists"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_line_and_exit_code_2(tmp_path, capsys, name):
    text, says = HOSTILE[name]
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert checker.main([str(path)]) == 2
    told = capsys.readouterr().out
    assert says in told
    assert len(told.splitlines()) == 1
    assert len(told) < 1000


def test_a_large_file_is_refused_unread(tmp_path, capsys):
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(10**10)
    assert checker.main([str(path)]) == 2
    assert "more than 8,000,000 bytes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("num_classes", 10**9, "num_classes must be a whole number from 2 to 700"),
        ("counts", [1, 1, 600], "variables; at most 700 are read"),
        ("counts", [1, 1], "counts are no list of 3"),
        ("dim", 650, "variables; at most 700 are read"),
        ("dim", 2.5, "a width must be a whole number"),
        ("lambda_w", -0.02, "'lambda_w' is -0.02, out of its domain"),
        ("lambda_w", "0.02", "'lambda_w' is no number"),
        ("lambda_w", [0.02, 0.03], "needs decays that are numbers"),
        ("loss", {"name": "ls", "smoothing": 1.0}, "smoothing is not below 1"),
    ],
)
def test_a_claim_beyond_memory_or_reason_is_no_certificate(saddle, name, value, says):
    false = changed(saddle, "model", name, value)
    with pytest.raises(checker.NotACertificate, match=says):
        checker.check(false)


def test_nothing_is_claimed_that_is_not_checked(saddle):
    with pytest.raises(checker.NotACertificate, match="unknown in the claim: global"):
        checker.check(changed(saddle, "claim", "global", True))


MALFORMED = {
    "a model that is a list": (("model",), [1], "'model' is no object"),
    "a kind that is a list": (("kind",), [1], "not known to this program"),
    "a family that is an object": (("model", "family"), {"a": 1}, "no objective for models"),
    "a loss that is a word": (("model", "loss"), "ce", "'loss' is no object"),
    "a name of a loss that is a list": (("model", "loss", "name"), ["ce"], "is not known"),
    "weights that are a number": (("point", "weights"), 5, "weights are no list"),
    "too few weights": (("point", "weights"), [], "matrices are no list of 2"),
    "a matrix of words": (("point", "W", 0, 0), "x", "is no number"),
    "a ragged matrix": (("point", "W", 0), [1.0], "is no 3 x 3 matrix"),
    "numbers beyond all bounds": (("point", "W", 0, 0), 1e300, "told from a singular one"),
    "a radius beyond all bounds": (("claim", "radius"), 1e300, "cannot be|no fixed point"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_has_a_reason(saddle, name):
    path, value, says = MALFORMED[name]
    with pytest.raises((checker.NotACertificate, checker.Undecided, checker.Invalid), match=says):
        checker.check(changed(saddle, *path, value))


def test_it_stands_alone(saddle, tmp_path):
    path = tmp_path / "saddle.json"
    path.write_text(json.dumps(saddle))
    script = tmp_path / "alone" / "checker.py"
    script.parent.mkdir()
    shutil.copy(checker.__file__, script)
    code = """
import runpy, sys
script, sys.argv = sys.argv[1], sys.argv[1:]
sys.path.insert(0, script.rpartition("/")[0])
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end.code
lab = {"jax", "numpy", "scipy", "ufm", "landscape", "experiments"}
print(sorted({name.partition(".")[0] for name in sys.modules} & lab))
"""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", code, str(script), str(path)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    first, last = ran.stdout.splitlines()
    assert "VALID: a critical point within" in first
    assert last == "[]"


def test_it_is_one_file_with_the_standard_library_and_flint_only():
    assert [path.name for path in FOLDER.glob("checker*")] == ["checker.py"]
    tree = ast.parse(Path(checker.__file__).read_text())
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(str(node.module).partition(".")[0])
    assert roots - sys.stdlib_module_names == {"flint"}


def test_the_precision_of_others_is_left_alone(saddle):
    before, ctx.prec = ctx.prec, 77
    try:
        checker.check(saddle)
        assert ctx.prec == 77
    finally:
        ctx.prec = before
