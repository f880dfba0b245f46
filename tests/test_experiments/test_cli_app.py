"""Exit codes, sizes that no machine has, and a standard output that is full, closed or left."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.helpers import slow

TOO_LARGE = (
    *(
        "solve -K 2147483648",
        "atlas -K 2147483648",
        "spectrum -K 2000000",
        "spectrum -n 2147483648",
    ),
    *(
        "spectrum -d 9223372036854775807",
        "solve -n 99999999999999999999",
        "solve -K 3 -d 99999999999",
    ),
    "solve --counts 10000000000000000000000000,1",
)


@pytest.mark.parametrize("words", TOO_LARGE)
def test_sizes_are_refused_before_anything_is_allocated(ufm, words):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ran = ufm(words)
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "Need memory" in ran.err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("solve --seed 18446744073709551616", "18446744073709551616"),
        ("solve --lambda 1e-200", "lambda_W"),
        ("solve --lambda-b 1e308", "lambda_b"),
        ("solve --loss focal --gamma 1e308", "--gamma up to"),
        ("solve --max-iterations 99999999999999999999", "99999999999999999999"),
        ("measure /dev/zero", "not a regular file"),
        ("verdict /dev/zero", "not a regular file"),
    ],
)
def test_what_floats_and_files_cannot_hold_is_said(ufm, words, says):
    ran = ufm(words)
    assert ran.code == 2
    assert says in ran.err


def python(*arguments: str, **streams: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=env, cwd=ROOT, text=True, stderr=-1, **streams)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    "words", ["--version", "--help", slow("spectrum --json"), slow("spectrum")]
)
def test_a_full_disk_behind_stdout_is_one_line(words):
    with open("/dev/full", "w", encoding="utf-8") as full:
        ran = python(*words.split(), stdout=full)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1), ran.stderr
    assert "No space left" in ran.stderr


def test_a_closed_stdout_is_one_line():
    command = [sys.executable, "-m", "experiments", "solve", "-K", "3"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    shell = ["sh", "-c", '"$@" >&-', "sh", *command]
    ran = subprocess.run(shell, env=env, cwd=ROOT, text=True, stderr=-1, check=False)
    assert (ran.returncode, ran.stderr) == (
        2,
        "ufm: standard output is closed: redirect it to a file, or to /dev/null\n",
    )


@pytest.mark.parametrize("word", ["SystemExit", "SystemExit(0)", "GeneratorExit"])
def test_leaving_from_inside_a_loss_is_no_success(ufm, tmp_path, word):
    path = tmp_path / "own.py"
    path.write_text(f"def loss(z, k):\n    raise {word}\n")
    ran = ufm("solve -K 3 --loss", f"{path}:loss")
    assert ran.code == 2
    assert "own.py:2" in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.slow
def test_a_loss_that_closes_stdout_is_one_line(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("import sys\ndef loss(z, k):\n    sys.stdout.close()\n    return -z[k]\n")
    ran = python("spectrum", "-K", "3", "--loss", f"{path}:loss", stdout=-1)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1), ran.stderr


def test_the_default_dimension_fits_the_classes(ufm):
    for K, d in ((3, 6), (7, 7)):
        assert ufm(f"spectrum -K {K} --json").json["inputs"]["d"] == d
    assert ufm("spectrum --counts 2,2,2,2,2,2,2 --json").json["inputs"]["d"] == 7


def test_exit_codes_are_listed(ufm):
    help_text = " ".join(ufm("--help").out.split())
    for code in ("0 fine", "1 a claim", "2 usage", "3 undecided", "70 a fault", "130 Ctrl-C"):
        assert code in help_text


def test_without_words_three_things_to_try_are_shown(ufm):
    ran = ufm("")
    assert (ran.code, ran.err) == (0, "")
    tried = [line.split()[1] for line in ran.out.splitlines() if line.startswith("  ufm ")]
    assert tried == ["solve", "atlas", "measure"]


def test_the_version_comes_with_jax_and_its_devices(ufm):
    import jax

    out = ufm("--version").out.splitlines()
    assert out[0].startswith("ufm-lab ")
    assert out[1].startswith(f"jax {jax.__version__}, jaxlib ")
    assert f"x {jax.devices()[0].platform}" in out[2]


def test_a_shell_completes_commands_and_flags():
    for line, found in (("ufm so", "solve"), ("ufm measure --fixed", "--fixed-classifier")):
        asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
        env = {**os.environ, "PYTHONPATH": str(ROOT), "_UFM_COMPLETE": "complete_bash", **asked}
        command = [sys.executable, "-m", "experiments"]
        ran = subprocess.run(
            command, env=env, cwd=ROOT, text=True, capture_output=True, check=False
        )
        assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, [found], "")


def test_classes_without_room_are_told_before_the_work_with_the_flag(ufm):
    assert (
        "less than K - 1 = 4: no simplex ETF of 5 classes fits; -d 4" in ufm("solve -K 5 -d 2").err
    )
    assert "no simplex" not in ufm("solve -K 5 -d 4").err
    assert "an atlas is of every d and shows K" in " ".join(
        ufm("atlas --help").out.replace("│", " ").split()
    )
    from types import SimpleNamespace

    from experiments.cli.network_output import warn_of_narrow

    free = [SimpleNamespace(dimension=d, fixed_etf=False) for d in (8, 9)]
    # A fixed classifier without room is refused by its own rule.
    warn_of_narrow([*free, SimpleNamespace(dimension=7, fixed_etf=True)], 10)
    told = ufm("--version").err
    assert told.count("d = 8 is less than K - 1 = 9") == 1
    assert "d = 7" not in told
    assert "-d 9 or a larger --width" in told
