"""Bad input: one line on stderr, nothing on stdout, exit code 2, and never a traceback."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.cli import main
from experiments.cli.app import commands
from experiments.cli.output import plain
from tests.helpers import slow

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("jax", "numpy", "scipy", "matplotlib", "sympy", "ufm", "landscape", "proofs_check")
# Beside those of a drawing, a sweep, a claim or a network.
UNUSED = (
    "scipy.linalg", "scipy.optimize", "scipy.special", "scipy.stats", "matplotlib", "optax",
    "sympy", "networkx", "flint", "jinja2", "pyarrow", "pandas", "distributed", "equinox",
    "sklearn", "proofs_check", "landscape.plots", "landscape.flows", "landscape.branches",
    "experiments.sweep.run", "experiments.benchmarks.rows",
)  # fmt: skip

LOSSES = """
import jax.numpy as jnp
NUMBER = 3
def vector(logits, label): return logits
def nan(logits, label): return jnp.nan * logits[label]
def raising(logits, label): raise RuntimeError("first line\\nsecond line")
def leaving(logits, label): raise SystemExit
def closing(logits, label): raise GeneratorExit
class Silent(Exception):
    def __str__(self): raise RuntimeError
def silent(logits, label): raise Silent
def whole(logits, label): return label
def complex_(logits, label): return logits[label] + 0j
def numpy(logits, label):
    import numpy as np
    return np.exp(logits).sum() - logits[label]
def narrow(logits, label): return jnp.sum(logits.astype("float32")) - logits[label]
def one_hot(logits, label): return -jnp.sum(label * logits)
def hinge(logits, label): return jnp.sum(jnp.maximum(0, 1 + logits - logits[label]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with good and bad files."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    W, H, wide = rng.normal(size=(3, 5)), rng.normal(size=(5, 3)), rng.normal(size=(5, 6))
    features, labels = rng.normal(size=(6, 5)), np.array([0, 1, 2, 0, 1, 2])
    Path("losses.py").write_text(LOSSES)
    Path("broken.py").write_text("def (:")
    Path("text.npz").write_text("no archive")
    np.save("array.npy", W)
    np.savez("pickled.npz", W=np.array([{}, 1], dtype=object), H=H)
    np.savez("float32.npz", W=W.astype(np.float32), H=H)
    np.savez("nan.npz", W=W * np.nan, H=H)
    np.savez("shapes.npz", W=W, H=H[:4])
    np.savez("bias_shape.npz", W=W, H=H, b=np.zeros(4))
    np.savez("vector.npz", W=W[0], H=H)
    np.savez("no_W.npz", H=H)
    np.savez("good.npz", W=W, H=H)
    np.savez("wide.npz", W=W, H=wide)
    np.savez("labels_5.npz", W=W, H=wide, labels=np.array([0, 1, 2, 0, 1, 5]))
    np.savez("labelled.npz", W=W, H=wide, labels=labels)
    np.savez("own.npz", W=W, H=H, loss=np.array("losses.py:vector"))
    damaged = bytearray(Path("good.npz").read_bytes())
    damaged[60:90] = bytes(30)
    Path("damaged.npz").write_bytes(damaged)
    np.savez("features.npz", features=features, labels=labels)
    np.savez("nan_features.npz", features=features * np.nan, labels=labels)
    np.savez("float_labels.npz", features=features, labels=labels / 2)
    np.savez("gap.npz", features=features, labels=labels * 2, classifier=np.ones((5, 5)))
    Path("bad.safetensors").write_bytes(b"\xff" * 20)
    np.savez("classifier.npz", features=features, labels=labels, classifier=np.ones((3, 4)))
    Path("exits.py").write_text("import sys\nsys.exit()")
    Path("closes.py").write_text("raise GeneratorExit")
    Path("raises.py").write_text("1 / 0")
    Path("empty.py").write_text("")


BAD = [
    ("solve -K 1", "K >= 2. Got 1"),
    ("solve -d 0", "d >= 1. Got 0"),
    ("solve -n 0", "n >= 1. Got 0"),
    ("solve -K 2.5", "'-K'.*Got 2.5"),
    ("solve --lambda 0", "lambda_W > 0 .* Got 0"),
    ("solve --lambda nan", "lambda_W > 0 .* Got nan"),
    ("solve --lambda-w -1", "lambda_W > 0 .* Got -1"),
    ("solve --lambda-h inf", "lambda_H > 0 .* Got inf"),
    ("solve --lambda-b nan", "lambda_b >= 0 .* Got nan"),
    ("solve --loss ls --smoothing 1", r"\[0, 1\). Got 1"),
    ("solve --loss ls --smoothing nan", r"\[0, 1\). Got nan"),
    ("solve --loss focal --gamma -1", "gamma >= 0. Got -1"),
    ("solve --loss rescaled-mse --kappa 0", "kappa > 0 .* Got 0"),
    ("solve --loss rescaled-mse --target inf", "finite target M. Got inf"),
    ("solve --loss logit-adjusted --tau inf", "finite tau. Got inf"),
    ("solve --counts 3,2 --loss weighted-ce --gamma -1e99", "Need finite weights. Got inf"),
    ("solve --loss bce --margin 1", "--margin belongs to --loss ldam. Got --loss bce"),
    ("solve --gamma 3", "--gamma belongs to --loss focal or weighted-ce or vs. Got --loss ce"),
    ("solve --loss mse --target 3", "--target belongs to --loss rescaled-mse"),
    ("solve --counts 3,2 -K 3", "K=3. Got 2 counts"),
    ("solve --counts 3,0,1", "count >= 1. Got 0"),
    ("solve --counts 3,x", "Got '3,x'"),
    ("solve --counts 3,2 -n 2", "-n or --counts, not both"),
    ("solve --lambda 1 --lambda-w 1", "Got --lambda and --lambda-w"),
    ("solve --lambda 1 --lambda-h 1", "Got --lambda and --lambda-h"),
    ("solve --loss hinge", "Unknown loss. Got 'hinge'"),
    ("solve --loss absent.py:loss", "existing Python file. Got absent.py"),
    ("solve --loss absent_module:loss", "absent_module to import"),
    ("solve --loss broken.py:loss", "SyntaxError"),
    ("solve --loss losses.py:absent", "no such name. Remedy: use one of .*nan, .*vector"),
    ("solve --loss losses.py:", "add the name"),
    ("solve --loss losses.py:NUMBER", "function of .logits, label.. Got a int"),
    ("solve --loss losses.py:vector", "finite scalar.*Got shape .4,"),
    ("solve --loss losses.py:nan", "finite scalar.*Got nan"),
    ("solve --loss losses.py:raising", r"RuntimeError: first line \(losses.py:6\)"),
    ("solve --loss losses.py:leaving", r"SystemExit \(losses.py:7\)"),
    ("solve --loss losses.py:closing", r"GeneratorExit \(losses.py:8\)"),
    ("solve --loss losses.py:silent", r"Silent: .*cannot be shown\) \(losses.py:11\)"),
    ("solve --loss losses.py:whole", "Got a value of type int64"),
    ("solve --loss losses.py:complex_", "Got a value of type complex128"),
    ("solve --loss losses.py:numpy", r"Got TracerArray.*\(losses.py:16\). Remedy: use jnp"),
    ("solve --loss losses.py:narrow", r"float64.*Got float32 in .*\(losses.py:17\)"),
    ("solve --loss losses.py:one_hot", "depends on the logit of its label"),
    ("spectrum --loss losses.py:hinge", "without kinks.*softplus"),
    ("solve --loss exits.py:loss", r"SystemExit \(exits.py:2\)"),
    ("solve --loss closes.py:loss", r"GeneratorExit \(closes.py:1\)"),
    ("solve --lambda 1e155", "lambda_W from 1e-100 to 1e.100"),
    ("solve --lambda 1e-200", "lambda_W from"),
    ("atlas --lambda 1e-200", "lambda_W from"),
    ("solve --tolerance 0", "tolerance > 0"),
    ("solve --method annealing", "annealing"),
    ("solve --learning-rate 0.1", "--learning-rate belongs to"),
    ("solve --method critical -K 40 -d 60", "dense Hessians of at most 2,?000"),
    ("solve --save absent/p.npz", "existing folder for --save. Got .*absent"),
    ("solve --out .", "file name for --out"),
    ("solve --seed -1", "'--seed'.*Got -1"),
    ("solve --colour red", "No such option"),
    ("verdict", "Missing argument"),
    ("verdict absent.npz", "existing .npz file. Got absent.npz"),
    ("verdict .", "the folder"),
    ("verdict text.npz", "an .npz file. Got text.npz"),
    ("verdict array.npy", "named 'W' in array.npy. Got array"),
    ("measure array.npy", "named 'features' in array.npy"),
    ("measure bad.safetensors", "undamaged .safetensors file .* Got bad.safetensors: a header of"),
    ("measure absent.h5", "existing file of arrays. Got absent.h5"),
    ("measure features.npz array.npy", "npy files of one network"),
    ("verdict pickled.npz", "never pickled objects"),
    ("verdict damaged.npz", "undamaged"),
    ("verdict no_W.npz", "named 'W' in no_W.npz. Got H"),
    ("verdict float32.npz", "float64 arrays. Got W in float32. Remedy: .*astype"),
    ("verdict nan.npz", "finite arrays. Got NaN"),
    ("verdict shapes.npz", r"Got W \(3, 5\), H \(4, 3\)"),
    ("verdict bias_shape.npz", r"Got .* b \(4,\)"),
    ("verdict vector.npz", r"'W' with 2 axes. Got shape \(5,\)"),
    ("verdict good.npz -K 4", r"Got W \(3, 5\)"),
    ("verdict good.npz -d 4", r"Got W \(3, 5\)"),
    ("verdict good.npz --lambda-b 0", "'b' in the file"),
    ("verdict wide.npz", "labels, counts or -n for H with 6 columns"),
    ("verdict wide.npz --counts 1,2,2", r"H \(5, 5\) or merged \(5, 3\)"),
    ("verdict labels_5.npz", "largest label 5"),
    ("verdict labelled.npz -n 1", "other counts"),
    ("verdict own.npz", "add --loss losses.py:vector if you trust"),
    ("spectrum -K 5 -d 2", "d=2, K=5.*ufm solve"),
    ("spectrum --counts 3,2,1", "Got --counts 3,2,1.*ufm solve"),
    ("spectrum --at saddle", "saddle"),
    ("measure good.npz", "named 'labels'"),
    ("measure nan_features.npz", "finite features"),
    ("measure float_labels.npz", "integer labels"),
    ("measure gap.npz", "no sample of class 1"),
    ("measure classifier.npz", r"classifier of shape \(K, d\)"),
    ("measure features.npz --transposed", "one label per sample"),
    ("measure features.npz --lambda-w 0.1", "classifier to use lambda_W"),
    ("measure features.npz --lambda-h 0.1", "needs --lambda-w"),
    ("measure features.npz --lambda-b 0", "needs --lambda-w"),
    ("measure features.npz --loss ls", "needs --lambda-w"),
    ("verify --loss hinge", "Got --loss hinge"),
    ("verify --claim balancednes", "Unknown claim. Got 'balancednes'.*balancedness"),
    ("verify --claims absent.py", "absent.py"),
    ("verify --claims raises.py", "ZeroDivisionError"),
    ("verify --claims empty.py", "at least one claim"),
    ("verify --out array.npy", "folder for --out"),
    ("prove", "No such command 'prove'"),
]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("words", "says"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(ufm, words, says):
    ran = ufm(words)
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert line.startswith("ufm: ")
    assert re.search(says, line), line


COMMANDS = (
    "solve -K 3",
    "spectrum -K 3",
    "verdict good.npz",
    "measure features.npz",
    "atlas -K 3",
    "models",
    "verify",
    "train",
    "compare",
    "bench",
    "sweep run decay-cloud",
)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_refuses_float32(ufm, words):
    jax.config.update("jax_enable_x64", False)
    try:
        ran = ufm(words)
    finally:
        jax.config.update("jax_enable_x64", True)
    assert (ran.code, ran.out) == (2, "")
    assert re.match("ufm: Need float64. Got jax_enable_x64 = False.", ran.err), ran.err


def test_an_unexpected_error_is_one_line_and_names_the_way_to_the_traceback(ufm, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("landscape.solvers.solve.solve", broken)
    ran = ufm("solve -K 3")
    assert (ran.code, len(ran.err.splitlines())) == (70, 1)
    assert "KeyError" in ran.err
    assert "UFM_DEBUG=1" in ran.err
    monkeypatch.setenv("UFM_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["solve", "-K", "3"])


def python(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_help_imports_nothing_heavy():
    program = (
        "import sys, experiments.cli as cli\n"
        "code = cli.main(['solve', '--help'])\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules], code)"
    )
    ran = python("-c", program)
    assert ran.stdout.splitlines()[-1] == "HEAVY [] 0", ran.stderr


def test_solve_imports_only_what_it_needs():
    """What takes long to import, and a minimum of cross entropy has no use for."""
    program = (
        "import sys, experiments.cli as cli\n"
        "code = cli.main(['solve', '-K', '3', '-d', '4'])\n"
        f"print('UNUSED', [name for name in {UNUSED} if name in sys.modules], code)"
    )
    ran = python("-c", program)
    assert ran.stdout.splitlines()[-1] == "UNUSED [] 0", ran.stderr


def test_only_the_command_that_is_asked_for_is_built():
    def built(asked):
        app = commands(asked=asked)
        names = [x.callback.__name__ for x in app.registered_commands]
        return names, [x.name for x in app.registered_groups]

    assert built("spectrum") == (["spectrum"], [])
    assert built("track") == ([], ["track"])
    for everything in ("", "--help", "spektrum"):
        names, groups = built(everything)
        assert len(names) == 14
        assert groups == ["sweep", "enclose", "track"]


def test_the_module_runs_and_bad_input_has_no_traceback():
    ran = python("-m", "experiments", "solve", "--loss", "hinge")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("left_by", ["sys.exit(0)", "raise GeneratorExit"])
def test_a_loss_that_leaves_is_no_success(tmp_path, ufm, left_by):
    file = tmp_path / "own.py"
    file.write_text(f"import sys\n\ndef hot(z, k):\n    {left_by}\n")
    ran = ufm(f"solve -K 3 --loss {file}:hot")
    assert ran.code not in (0, 1, 3)
    assert "Exit" in ran.err


@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [(signal.SIGINT, 130, "ufm: interrupted"), slow(signal.SIGTERM, 143, "ufm: terminated")],
)
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_is_answered_inside_compiled_code(tmp_path, sent, code, says):
    program = (
        "import os, signal, sys, threading, ufm, landscape\n"
        "from experiments.cli import main\n"
        # A shell that starts the tests in the background has them ignore SIGINT, and so this.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"interrupt = lambda: os.kill(os.getpid(), {int(sent)})\n"
        "threading.Timer(2.0, interrupt).start()\n"
        "words = 'solve -K 3 -d 5 --method gd --lambda 1e-9 --max-iterations 2000000000'\n"
        f"sys.exit(main([*words.split(), '--save', {str(tmp_path / 'p.npz')!r}]))"
    )
    ran = python("-c", program)
    assert (ran.returncode, ran.stderr.strip(), ran.stdout) == (code, says, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    "where", [slow("while True: pass"), slow("def loss(z, k):\n    while True: pass")]
)
def test_ctrl_c_ends_a_loss_that_never_ends(tmp_path, where):
    (tmp_path / "endless.py").write_text(where)
    program = (
        "import os, signal, sys, threading, ufm\n"
        "from experiments.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"interrupt = lambda: os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "threading.Timer(3.0, interrupt).start()\n"
        f"sys.exit(main(['solve', '--loss', {str(tmp_path / 'endless.py')!r} + ':loss']))"
    )
    ran = python("-c", program)
    assert (ran.returncode, ran.stderr.strip(), ran.stdout) == (130, "ufm: interrupted", "")


def test_what_json_cannot_carry_becomes_null_or_plain():
    values = {"a": float("inf"), "b": np.array([1.0, np.nan]), "c": np.int64(3), "d": Path("x")}
    assert plain(values) == {"a": "Infinity", "b": [1.0, None], "c": 3, "d": "x"}


def test_every_command_has_help_with_an_example(ufm):
    for command in ("solve", "verdict", "spectrum", "measure", "verify"):
        ran = ufm(f"{command} --help")
        assert ran.code == 0
        assert f"Example: ufm {command}" in ran.out or "Example: ufm solve --save" in ran.out
    assert ufm("--version").out.startswith("ufm-lab ")
