"""Specs of sweeps: axes and keys; and that no spec gives a wrong kind of error."""

import math
import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.losses import PARAMETERS
from experiments.sweep.axes import AXES, expand_axis, size_of
from experiments.sweep.cells import expand
from experiments.sweep.run import cells_of
from experiments.sweep.selection import select
from experiments.sweep.spec import KEYS, Spec, make_spec, read_spec, ready_made
from experiments.sweep.tasks import TASKS
from experiments.sweep.tasks.registry import ANY_TASKS
from ufm.errors import InputError

PLAIN = {"K": 3, "c": 0.5}


def spec_of(task="minimise", options=None, **axes) -> Spec:
    return make_spec({"task": task, "axes": axes, "options": options or {}})


# ---- values of one axis


@pytest.mark.parametrize(
    ("name", "written", "values"),
    [
        ("c", 0.1, (0.1,)),
        ("c", [0.1, 2], (0.1, 2.0)),
        ("c", {"from": 0.0, "to": 1.0, "num": 3}, (0.0, 0.5, 1.0)),
        ("c", {"from": 1, "to": 2, "num": 3}, (1.0, 1.5, 2.0)),
        ("c", {"from": 1, "to": 100, "num": 3, "scale": "log"}, (1.0, 10.0, 100.0)),
        ("c", {"from": 0.1, "to": 0.35, "step": 0.1}, (0.1, 0.2, 0.3)),
        ("c", {"from": 0.05, "to": 0.4, "num": 4, "scale": "log"}, (0.05, 0.1, 0.2, 0.4)),
        ("K", {"from": 3, "to": 8, "step": 2}, (3, 5, 7)),
        ("n", {"from": 1, "to": 1000, "num": 4, "scale": "log"}, (1, 10, 100, 1000)),
        ("d", ["K-1", 7, "2K"], ("K-1", 7, "2K")),
        ("n", [2.0], (2,)),
        ("counts", [3, 2, 1], ((3, 2, 1),)),
        ("counts", [[3, 2, 1], [2, 2]], ((3, 2, 1), (2, 2))),
        ("lambda_b", ["none", 0], (None, 0.0)),
        ("saddle", "2|2", ("2|2",)),
        ("seed", {"from": 2**60, "to": 2**60 + 2}, (2**60, 2**60 + 1, 2**60 + 2)),
        ("lambda_W", {"from": 100_000, "to": 100_001, "num": 3}, (1e5, 100_000.5, 100_001.0)),
    ],
)
def test_an_axis_has_the_values_that_were_written(name, written, values):
    found = expand_axis(name, written)
    assert found == values
    assert [type(x) for x in found] == [type(x) for x in values]


def test_the_end_of_a_range_of_steps_belongs_to_it():
    found = expand_axis("c", {"from": 0.1, "to": 1.0, "step": 0.1})
    assert len(found) == 10
    assert found[-1] == pytest.approx(1.0, abs=1e-15)


def test_losses_are_multiplied_out_with_their_parameters():
    written = ["ce", {"name": "rescaled-mse", "kappa": [1, 2], "target": {"from": 1, "to": 3}}]
    found = expand_axis("loss", written)
    assert [x.spec for x in found] == ["ce"] + 6 * ["rescaled-mse"]
    told = [(x.parameters["kappa"], x.parameters["target"]) for x in found[1:]]
    assert told == list(product((1.0, 2.0), (1.0, 2.0, 3.0)))


@pytest.mark.parametrize(
    ("text", "K", "size"), [("K", 4, 4), ("K-1", 4, 3), ("2K", 4, 8), ("3*K + 1", 4, 13), (7, 4, 7)]
)
def test_a_size_follows_the_classes(text, K, size):
    assert size_of(text, K) == size


BAD_AXES = [
    ("K", [], "at least one value on the axis K"),
    ("K", 2.5, "whole numbers on the axis K. Got 2.5"),
    ("K", True, "finite number for K. Got True"),
    ("K", "three", "finite number for K"),
    ("K", 10**9, "K <= 1,000,000"),
    ("d", "2d", 'd as a number or as "K-1"'),
    ("d", "K^2", 'd as a number or as "K-1"'),
    ("c", math.nan, "finite number for c"),
    ("c", 10**400, "finite number for c. Got 1000.* ..."),
    ("c", 1 << 100_000, "Got a huge integer"),
    ("seed", 2**63, "seed <= 9,223"),
    ("c", {"from": 1}, "from and to in the range c"),
    ("c", {"from": 1, "to": 2, "nun": 3}, "Unknown key of the range c. Got 'nun'. .* 'num'"),
    ("c", {"from": 2, "to": 1}, "from <= to"),
    ("c", {"from": 0, "to": 1, "num": 3, "scale": "log"}, "from > 0"),
    ("c", {"from": 1, "to": 2, "scale": "log"}, "num in the log range"),
    ("c", {"from": 1, "to": 2, "num": 3, "scale": "cubic"}, "scale of the range c"),
    ("c", {"from": 1, "to": 2, "num": 3, "step": 1}, "num or step"),
    ("c", {"from": 1, "to": 2, "num": 0}, "1 <= num"),
    ("c", {"from": 1, "to": 2, "step": 0}, "step > 0"),
    ("c", {"from": 0, "to": 1, "step": 1e-9}, "10,000,000 values"),
    ("c", {"from": -1e308, "to": 1e308, "num": 3}, "finite number"),
    ("counts", [[2, "3"]], "counts as a list of integers"),
    ("counts", [[2, 10**7]], "counts <= 1,000,000"),
    ("saddle", 2, "saddle as"),
    ("loss", 3, "loss as"),
    ("loss", {"gamma": 1}, "loss as"),
    ("loss", "hinge", "Unknown loss. Got 'hinge'"),
    ("loss", {"name": "focal", "gama": 1}, "parameter of the loss focal. Got 'gama'. .*'gamma'"),
    (
        "loss",
        {"name": "rescaled-mse", "kappa": list(range(1, 200)), "target": list(range(200))},
        "at most 10,000 losses",
    ),
]


@pytest.mark.parametrize(
    ("name", "written", "said"), BAD_AXES, ids=[f"{name}: {said}" for name, _, said in BAD_AXES]
)
def test_a_bad_axis_is_named(name, written, said):
    with pytest.raises(InputError, match=said):
        expand_axis(name, written)


# ---- whole specs

MANY = {"from": 1, "to": 9999}
BAD_SPECS = [
    ({"taks": "minimise"}, "Unknown key of a sweep. Got 'taks'. Remedy: write 'task'"),
    ({"task": "minimize", "axes": PLAIN}, "Unknown task. Got 'minimize'. Remedy: write 'minimise'"),
    ({"task": "minimise"}, "table .axes."),
    ({"task": "minimise", "axes": {**PLAIN, "lamda_b": 0}}, "axis. Got 'lamda_b'. .*'lambda_b'"),
    ({"task": "minimise", "axes": {**PLAIN, "decay": 1}}, "c and decay both say"),
    ({"task": "minimise", "axes": {**PLAIN, "lambda_W": 1, "lambda_H": 1}}, "c and lambda_W both"),
    ({"task": "minimise", "axes": {"K": 3, "decay": 1, "decay_ratio": 2}}, "decay and decay_ratio"),
    ({"task": "minimise", "axes": {**PLAIN, "counts": [2, 2, 2]}}, "counts and K both say"),
    ({"task": "minimise", "axes": {"counts": [2, 2], "n": 1, "c": 1}}, "counts and n both"),
    ({"task": "minimise", "axes": {"counts": [2, 2], "imbalance": 1, "c": 1}}, "counts and imb"),
    ({"task": "minimise", "axes": {**PLAIN, "majority": 1}}, "majority needs imbalance"),
    ({"task": "minimise", "axes": {"c": 1}}, "the axis K or counts"),
    ({"task": "minimise", "axes": {"K": 3}}, "the axis c, decay or lambda_W"),
    ({"task": "minimise", "axes": {"K": 3, "lambda_W": 1}}, "lambda_W and lambda_H together"),
    ({"task": "minimise", "axes": {**PLAIN, "saddle": "origin"}}, "Only from_saddle"),
    ({"task": "from_saddle", "axes": PLAIN}, "needs the axis saddle"),
    ({"task": "threshold", "axes": PLAIN}, "looks for c itself"),
    (
        {"task": "minimise", "axes": PLAIN, "options": {"tolerence": 1}},
        "write 'tolerance'",
    ),
    ({"task": "minimise", "axes": PLAIN, "options": {"tolerance": 0}}, "positive float"),
    ({"task": "minimise", "axes": PLAIN, "options": {"tolerance": math.inf}}, "positive float"),
    ({"task": "minimise", "axes": PLAIN, "options": {"tolerance": True}}, "positive float"),
    ({"task": "minimise", "axes": PLAIN, "options": {"max_iterations": 1.5}}, "positive int"),
    ({"task": "minimise", "axes": PLAIN, "options": {"max_iterations": 2**40}}, "positive int"),
    ({"task": "minimise", "axes": PLAIN, "options": [1]}, "table .options."),
    ({"task": "minimise", "axes": PLAIN, "note": 3}, "text for note"),
    ({"task": "minimise", "axes": PLAIN, "figure": {"valeu": "K"}}, "write 'value'"),
    ({"task": "minimise", "axes": PLAIN, "figure": {"x": 3}}, "text for x"),
    ({"task": "minimise", "axes": PLAIN, "figure": "phase"}, "table .figure."),
    (
        {
            "task": "minimise",
            "axes": {**PLAIN, **{"seed": MANY, "n": MANY}},
        },
        "at most 10,000,000 cells",
    ),
]


@pytest.mark.parametrize(("written", "said"), BAD_SPECS)
def test_a_bad_spec_is_one_error_with_its_remedy(written, said):
    with pytest.raises(InputError, match=said):
        make_spec(written)


def test_every_ready_made_sweep_expands_and_is_small():
    known = ready_made()
    assert set(known) >= {"threshold", "losses", "low-dimension", "imbalance"}
    for name, note in known.items():
        spec = read_spec(name)
        assert (spec.name, spec.note) == (name, note)
        assert note.count("?") >= 1, "a ready-made sweep says which question it answers"
        cells = cells_of(spec)
        assert len(cells) == spec.num_cells <= 5000
        # What its figure asks for is there.
        asked = {key: value for key, value in spec.figure.items() if key not in ("kind", "where")}
        tasks = ANY_TASKS if spec.model else TASKS
        columns = {*cells.columns, *tasks[spec.task].columns}
        assert {name for names in asked.values() for name in names.split(",")} <= columns
        if "where" in spec.figure:
            assert len(select(cells.columns, spec.figure["where"])["cell"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"task = \n", "Need TOML in .*spec.toml. Got .*line 1"),
        (b"\xff\xfe", "UTF-8"),
        (b"a = " + b"9" * 5000, "Need TOML"),
        (b"a = " + b"[" * 20_000, "Need TOML"),
        (b'task = "minimise"\n[axes]\nK = 3\nc = 0x' + b"f" * 9000, "a huge integer"),
        (b'task = "minimise"\n[axes]\nc = 1\nK = 2020-01-01', "finite number for K"),
    ],
)
def test_a_file_that_is_no_sweep(tmp_path, content, said):
    path = tmp_path / "spec.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_spec(path)


def test_files_and_names_that_do_not_exist(tmp_path):
    with pytest.raises(InputError, match="existing file"):
        read_spec(tmp_path / "absent.toml")
    with pytest.raises(InputError, match=r"Got 'treshold'. Remedy: write 'threshold'"):
        read_spec("treshold")


def test_a_file_is_named_after_itself_unless_it_says_otherwise(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('task = "minimise"\n[axes]\nK = 3\nc = 1')
    assert read_spec(path).name == "mine"
    path.write_text('name = "other"\n' + path.read_text())
    assert read_spec(path).name == "other"


# ---- the key


BASE = {"K": [3, 4], "c": [0.1, 0.2]}
OTHER_KEYS = [
    {"K": [3, 5]},
    {"c": [0.1, 0.3]},
    {"c": [0.2, 0.1]},
    {"d": "K+1"},
    {"n": 2},
    {"seed": 1},
    {"loss": "mse"},
    {"loss": {"name": "ls", "smoothing": 0.2}},
    {"lambda_b": 0},
    {"lambda_b": "none"},
    {"decay_ratio": 2},
    {"imbalance": 2},
    {"imbalance": 2, "majority": 1},
]


def test_the_key_changes_with_every_axis():
    keys = [spec_of(**BASE).key, *(spec_of(**{**BASE, **other}).key for other in OTHER_KEYS)]
    decays = [{"decay": 0.1}, {"decay": 0.2}, {"lambda_W": 0.1, "lambda_H": 0.1}]
    keys += [spec_of(K=3, **decay).key for decay in decays]
    keys += [spec_of(K=3, lambda_W=0.1, lambda_H=0.2).key]
    keys += [spec_of(counts=counts, c=0.1).key for counts in ([2, 1], [1, 2])]
    keys += [spec_of("from_saddle", **BASE, saddle=x).key for x in ("origin", "1|2")]
    assert len(set(keys)) == len(keys)


def test_the_key_changes_with_the_task_and_every_option():
    axes = {"minimise": BASE, "threshold": {"K": 3}, "from_saddle": {**BASE, "saddle": "origin"}}
    keys = []
    for name, task in TASKS.items():
        own = axes.get(name, BASE)
        keys.append(spec_of(name, **own).key)
        keys += [
            spec_of(name, {option: 2 * value}, **own).key for option, value in task.options.items()
        ]
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_change_with_what_changes_no_number():
    first = spec_of(**BASE).key
    figure = {"x": "K"}
    named = make_spec(
        {"name": "x", "note": "y", "task": "minimise", "axes": BASE, "figure": figure}
    )
    assert named.key == first
    assert named.figure == figure
    whole = {"tolerance": 1e-9, "max_iterations": 20_000}
    assert spec_of("minimise", whole, **BASE).key == first  # the defaults, written out
    assert spec_of("minimise", {"tolerance": 1}, **BASE).key == (
        spec_of("minimise", {"tolerance": 1.0}, **BASE).key
    )


def test_editing_a_users_loss_changes_the_key(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("SCALE = 2\ndef hot(z, k):\n    return -SCALE * z[k]\n")
    keys = []
    for scale in (2, 3):
        file.write_text(file.read_text().replace("SCALE = 2", f"SCALE = {scale}"))
        keys += [spec_of(**BASE, loss=f"{file}:hot").key for _ in range(2)]
    assert keys[0] == keys[1] != keys[2] == keys[3]


# ---- whatever is written

SCALARS = st.one_of(
    st.integers(-3, 12),
    st.integers(-(10**30), 10**30),
    st.floats(width=64),
    st.booleans(),
    st.sampled_from(["K-1", "K", "2K", "none", "origin", "ce", "focal", "ls", "mse", "log", ""]),
    st.text(max_size=5),
    st.dates(),
)
RANGES = st.fixed_dictionaries(
    {},
    optional={
        "from": SCALARS,
        "to": SCALARS,
        "num": st.one_of(st.integers(-1, 50), SCALARS.filter(lambda x: not isinstance(x, int))),
        "step": SCALARS,
        "scale": st.sampled_from(["log", "linear", "", 3]),
    },
)
LOSSES = st.fixed_dictionaries(
    {"name": st.one_of(st.sampled_from(list(PARAMETERS)), SCALARS)},
    optional={name: SCALARS for names in PARAMETERS.values() for name in names},
)
VALUES = st.recursive(
    st.one_of(SCALARS, RANGES, LOSSES),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
SENSIBLE = {"K": st.integers(2, 5), "c": st.floats(0.01, 2), "loss": LOSSES, "n": RANGES}
AXES_WRITTEN = st.one_of(
    st.dictionaries(st.sampled_from([*AXES, "lamda", "k"]), VALUES, max_size=5),
    st.fixed_dictionaries(
        {"K": SENSIBLE["K"], "c": SENSIBLE["c"]},
        optional={name: VALUES for name in AXES if name not in ("K", "c")},
    ),
    VALUES,
)
SPECS = st.one_of(
    st.dictionaries(st.sampled_from([*KEYS, "taks"]), VALUES, max_size=4),
    st.fixed_dictionaries(
        {"task": st.sampled_from(list(TASKS)), "axes": AXES_WRITTEN},
        optional={
            "name": SCALARS,
            "note": SCALARS,
            "options": st.one_of(
                VALUES,
                st.dictionaries(
                    st.sampled_from(["tolerance", "max_iterations", "precision"]),
                    SCALARS,
                    max_size=3,
                ),
            ),
        },
    ),
)
# A range of steps may be long and right: what is measured here is that errors come at once.
LONGEST = 20_000


def gives_a_spec_or_an_input_error(written):
    began = time.monotonic()
    try:
        spec = make_spec(written)
        if spec.num_cells > LONGEST:
            return
        assert len(spec.key) == 32
        assert len(expand(spec)) == spec.num_cells
    except InputError:
        pass
    assert time.monotonic() - began < 5


@settings(max_examples=50)
@given(SPECS)
def test_whatever_is_written_gives_a_spec_or_an_input_error(written):
    gives_a_spec_or_an_input_error(written)


@pytest.mark.slow
@settings(max_examples=300)
@given(SPECS)
def test_more_that_is_written_gives_a_spec_or_an_input_error(written):
    gives_a_spec_or_an_input_error(written)


@given(st.text(max_size=60))
def test_whatever_a_file_holds_gives_a_spec_or_an_input_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "spec.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        read_spec(path)
