"""Hostile and damaged input: one line, exit code 2, bounded memory, and never exit code 70."""

import io
import json
import resource
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from experiments.files import write_record

# Growth of the largest memory over hundreds of calls: what is compiled, and no file of 8 TB.
MOST_KIB = 2**20


def good_point() -> dict[str, object]:
    rng = np.random.default_rng(0)
    return {
        "W": rng.standard_normal((3, 5)),
        "H": rng.standard_normal((5, 3)),
        "counts": np.array([2, 2, 2]),
        "loss": np.array("ls"),
        "smoothing": np.array(0.1),
        "lambda_W": np.array(0.02),
        "lambda_H": np.array(0.03),
    }


def good_features() -> dict[str, object]:
    rng = np.random.default_rng(1)
    return {
        "features": rng.standard_normal((12, 5)),
        "labels": np.repeat(np.arange(3), 4),
        "classifier": rng.standard_normal((3, 5)),
        "bias": np.zeros(3),
    }


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': %s}"


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def saved(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=True)
    return stream.getvalue()


# What any array of a file may be replaced by: first as a member of the zip, then as a value.
MEMBERS = [
    npy(HEADER % "(1000000000000,)", bytes(64)),
    npy(HEADER % f"({10**30},)", bytes(64)),
    npy(HEADER % "(True, 3)", bytes(24)),
    npy(HEADER % "(-1,)", bytes(8)),
    npy("(" * 9000),
    npy("{'descr': '<f8'}"),
    b"\x93NUMPY\x09\x09",
    b"",
    b"not an array at all",
]
VALUES = [
    "text",
    b"bytes",
    1 + 2j,
    True,
    0,
    -1,
    2**62,
    np.uint64(2**64 - 1),
    5e-324,
    1e308,
    np.nan,
    -np.inf,
    1e-200,
    np.float32(0.1),
    np.datetime64("2020-01-01"),
    np.zeros(2, dtype=[("a", "f8")]),
    np.array([{"a": 1}], dtype=object),
    np.zeros(0),
    np.zeros((0, 0)),
    np.zeros((3, 0)),
    np.full((3, 5), np.inf),
    np.full((3, 5), 1e200),
    np.full((5, 3), 5e-324),
    np.zeros((1, 1, 1, 1)),
    np.arange(3.0),
    np.array(["a", "b", "c"]),
    np.full(3, 2**62),
    np.array([0, 0, 0]),
    np.full(12, 10**12),
]


def write_members(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


class Tally:
    """Calls by exit code; what ends in another one, or says more than a line, is kept."""

    def __init__(self, ufm):
        self.ufm, self.codes, self.wrong = ufm, Counter(), []
        self.before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def call(self, words, *arguments, what=""):
        ran = self.ufm(words, *arguments)
        self.codes[ran.code] += 1
        lines = [line for line in ran.err.splitlines() if line.startswith("ufm: ")]
        if ran.code not in (0, 2, 3) or (ran.code == 2 and len(lines) != 1):
            self.wrong.append((words, what, ran.code, ran.err[-300:]))

    def grown(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.before

    def check(self, at_least):
        tried = sum(self.codes.values())
        print(f"tried {tried}, {dict(self.codes)}, {self.grown() / 1024:.0f} MiB more")
        assert not self.wrong, "\n".join({str(case[3]): str(case) for case in self.wrong}.values())
        assert tried >= at_least
        assert self.grown() < MOST_KIB


@pytest.fixture
def tally(ufm):
    return Tally(ufm)


FILES = {
    "verdict": good_point,
    "measure": good_features,
    "measure --lambda-w 0.02 --lambda-h 0.03": good_features,
}


def spoil_arrays(tally, folder: Path, rng, number: int) -> None:
    """Files in which one or two arrays are of another kind, and files with flipped bits."""
    words = list(FILES)[number % len(FILES)]
    arrays = FILES[words]()
    members = {name: saved(value) for name, value in arrays.items()}
    for name in rng.choice(list(arrays), size=1 + number % 2, replace=False):
        pick = int(rng.integers(len(MEMBERS) + len(VALUES)))
        members[name] = MEMBERS[pick] if pick < len(MEMBERS) else saved(VALUES[pick - len(MEMBERS)])
    path = folder / "a.npz"
    write_members(path, members)
    if number % 5 == 0:
        content = bytearray(path.read_bytes())
        for place in rng.integers(0, 8 * len(content), 1 + number % 3):
            content[place // 8] ^= 1 << (place % 8)
        path.write_bytes(bytes(content))
    tally.call(words, path, what=sorted(members))


NUMBERS = (
    *("0", "-1", "1e-200", "1e200", "1e308", "5e-324", "nan", "inf", "-inf", "1e25", "0x10", "１"),
    *(
        str(2**31),
        str(2**32),
        str(2**63 - 1),
        str(2**63),
        str(2**64),
        "9" * 40,
        "9" * 5000,
        "",
        " ",
    ),
)
FLAGS = {
    "solve": [
        "-K",
        "-d",
        "-n",
        "--lambda",
        "--lambda-w",
        "--lambda-h",
        "--lambda-b",
        "--seed",
        "--tolerance",
    ],
    "spectrum": ["-K", "-d", "-n", "--lambda", "--lambda-w", "--lambda-h", "--lambda-b"],
    "solve --loss ls": ["--smoothing"],
    "solve --loss focal": ["--gamma"],
    "solve --loss rescaled-mse": ["--kappa", "--target"],
    "solve --method gd": ["--learning-rate", "--max-iterations"],
    "atlas": ["-K", "-d", "-n", "--seed", "--budget", "--width"],
    "bench --row gap-1000 --quick": ["--repeats"],
}


def spoil_numbers(tally, folder: Path, rng, number: int) -> None:
    """Flags with numbers that are too small, too large, or none."""
    words = list(FLAGS)[number % len(FLAGS)]
    flag, value = (str(rng.choice(x)) for x in (FLAGS[words], NUMBERS))
    harmless = {"--max-iterations", "--budget", "--repeats"}
    if flag in harmless and value.isdigit():
        value = "0"  # else it only takes long
    if number % 4 == 0:
        tally.call("solve --counts", f"{value},{rng.choice(NUMBERS)},1", what=value)
    else:
        tally.call(words, f"{flag}={value}" if flag.startswith("--") else flag + value, what=flag)


WORTHLESS = [None, [], {}, "text", -1, 0, 1e400, True, [[]], "\x00", 2**70, [1, 2], {"a": {}}]


def spoil_record(record: dict, rng) -> dict:
    """A record with an entry, deep or not, that is missing or of another type."""
    made = json.loads(json.dumps(record))
    place = made
    while True:
        key = rng.choice(list(place))
        inner = place[key]
        if isinstance(inner, dict) and inner and rng.random() < 0.6:
            place = inner
            continue
        if rng.random() < 0.3:
            del place[key]
        else:
            place[key] = WORTHLESS[rng.integers(len(WORTHLESS))]
        return made


TINY = """
task = "minimise"
[axes]
K = 3
c = [0.5, 1.5]
"""


@pytest.fixture
def sweep(ufm, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    folder = tmp_path / "sweep"
    assert ufm("sweep run", tmp_path / "tiny.toml", "--out", folder, "--threads", 1).code == 0
    return folder


def spoil_store(tally, folder: Path, rng, number: int) -> None:
    """Manifests and strategies with right checksums and wrong entries, or none at all."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "sweep", copy)
    name = ("manifest.json", "strategies.json")[number % 2]
    record = json.loads((copy / name).read_text())
    record.pop("checksum")
    way = number % 5
    if way == 0:
        (copy / name).write_bytes(rng.bytes(50))
    elif way == 1:
        (copy / name).write_text("[" * 100_000)
    elif way == 2:
        (copy / name).unlink()
        (copy / name).symlink_to("/dev/zero")
    else:
        write_record(copy / name, spoil_record(record, rng))
    batch = next((copy / "batches").iterdir())
    if number % 7 == 0:
        batch.write_bytes(rng.bytes(100))
    words = ("status", "export", "figure", "run")[number // 2 % 4]
    if words == "run":
        tally.call("sweep run", folder / "tiny.toml", "--out", copy, "--threads", 1, what=name)
    else:
        more = {"status": (), "export": (folder / "a.csv",), "figure": (folder / "a.png",)}[words]
        tally.call(f"sweep {words}", copy, *more, what=(name, way))


TOML = (
    *(
        "task = 3",
        "task = []",
        "axes = 3",
        "[axes]\nK = {}",
        "[axes]\nK = [[]]",
        "\x00",
        "[" * 5000,
    ),
    *("[axes]\nK = 1e400", "[axes]\nK = 99999999999999999999", "[axes]\ncounts = [[1e25, 1]]"),
    *(
        "[axes]\nc = {from = 1, to = 2, num = 99999999999}",
        "[axes]\nseed = -1",
        "[options]\nx = {}",
    ),
    *(
        "[axes]\nloss = {name = 3}",
        "[axes]\nloss = []",
        "[axes]\nd = '999999999K'",
        "[axes]\nc = nan",
    ),
    *("[axes]\nlambda_W = 1e-200\nlambda_H = 1e-200", "[figure]\nx = 3", "name = 3", "note = []"),
    *("[axes]\nsaddle = '9|9'", "[axes]\nn = 1000000\nK = 1000000", "[axes]\nc = [1e308, 1e-308]"),
)


def spoil_toml(tally, folder: Path, rng, number: int) -> None:
    """Sweeps whose file says what makes no sense, alone and beside what does."""
    wrong = TOML[number % len(TOML)]
    path = folder / "a.toml"
    beside = 'task = "minimise"\n' if not wrong.startswith("task") and number % 2 else ""
    path.write_text(beside + wrong, encoding="utf-8")
    tally.call("sweep run", path, "--out", folder / f"out{number}", "--max-failures=0", what=wrong)


OWN = (
    *(
        "raise GeneratorExit",
        "raise SystemExit",
        "raise KeyError",
        "return 1",
        "return z",
        "return 1j",
    ),
    *("return None", "return str(z)", "return z[k] > 0", "return z.sum() + k", "return z[99]"),
    *("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", "return loss(z, k)"),
    *("return z.astype(int).sum()", "return jnp.nan", "return jnp.inf * z[k]", "return [z[k]]"),
    *("del z", "return jnp.zeros((10,) * 3)", "yield z"),
)


def spoil_loss(tally, folder: Path, rng, number: int) -> None:
    """Losses that do not return a number, and those that do not return."""
    body = OWN[number % len(OWN)]
    path = folder / f"own{number}.py"
    path.write_text(f"import jax.numpy as jnp\ndef loss(z, k):\n    {body}\n")
    words = ("solve", "spectrum", "atlas --budget 1")[number // len(OWN) % 3]
    tally.call(f"{words} -K 3 --loss", f"{path}:loss", what=body)


KINDS = {
    "arrays": (spoil_arrays, 750),
    "numbers": (spoil_numbers, 500),
    "store": (spoil_store, 200),
    "toml": (spoil_toml, 2 * len(TOML)),
    "loss": (spoil_loss, 2 * len(OWN)),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a step of 1e308 overflows, and diverges
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS])
def test_hostile_input_never_surprises(tally, sweep, tmp_path, kind, monkeypatch):
    spoil, count = KINDS[kind]
    for number in range(count):
        spoil(tally, tmp_path, np.random.default_rng([7, number]), number)
    tally.check(count)


def test_what_is_spoiled_is_good_before(ufm, tmp_path):
    for words, arrays in FILES.items():
        np.savez(tmp_path / "a.npz", **arrays())
        assert ufm(words, tmp_path / "a.npz").code == 0, words


@pytest.mark.parametrize("kind", ["arrays", "store"])
def test_some_hostile_input(tally, sweep, tmp_path, kind):
    for number in range(10):
        KINDS[kind][0](tally, tmp_path, np.random.default_rng([8, number]), number)
    tally.check(10)
