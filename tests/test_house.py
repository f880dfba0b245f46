"""The house itself: which Python .ci/environment takes, when it makes .venv anew, what make runs.

Nothing here installs anything. Candidates for the interpreter are scripts on a PATH of our own:
some run this very Python under another version number, some answer in the words of the probe.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SH = shutil.which("sh") or "/bin/sh"

# Runs the probe in this Python, which is told that its version is another one.
POSES_AS = """#!{sh}
exec {python} -c 'import sys; sys.version_info = {version}; exec(sys.argv[1])' "$2"
"""

# Answers the probe, makes a .venv whose python is itself, and notes every pip install.
PRETENDS = """#!{sh}
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip") echo "$@" >>pip-calls; echo "pip was here"; exit "${{PIP_STATUS:-0}}" ;;
    "-c ") exit 0 ;;
    *) echo "good {version} $0" ;;
esac
"""


def script(path: Path, text: str) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def poses_as(path: Path, *version: int) -> Path:
    return script(path, POSES_AS.format(sh=SH, python=sys.executable, version=(*version, 0, 0)))


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of what .ci/environment reads, an empty bin/ and an empty home/."""
    root = tmp_path / "house"
    for name in (".ci/environment", "pyproject.toml", "constraints/tested.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "home").mkdir()
    return root


def environment(
    house: Path, *arguments: str, tools: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run .ci/environment with nothing but bin/ on PATH, and the system's tools if asked for."""
    path = str(house.parent / "bin")
    if tools:
        # By link, for the system's own python3 must stay out of sight.
        for name in ("cat", "cksum", "cp", "mkdir", "rm", "tail"):
            link = house.parent / "bin" / name
            if not link.exists():
                link.symlink_to(str(shutil.which(name)))
    env = {"PATH": path, "HOME": str(house.parent / "home"), **variables}
    return subprocess.run(
        [SH, str(house / ".ci" / "environment"), *arguments],
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_a_shim_that_fails_and_an_old_python_are_passed_over(house: Path) -> None:
    bin_dir = house.parent / "bin"
    script(
        bin_dir / "python3.13",
        f"#!{SH}\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n",
    )
    poses_as(bin_dir / "python3.11", 3, 10, 4)
    poses_as(bin_dir / "python3", 3, 12, 1)
    result = environment(house, "--find")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == base_executable()


def base_executable() -> str:
    """The Python that the one running the tests was made from."""
    inside = sys.prefix != sys.base_prefix
    return sys._base_executable if inside else sys.executable


def test_the_python_of_an_environment_stands_for_the_one_it_was_made_from(house: Path) -> None:
    result = environment(house, "--find", PYTHON=sys.executable)
    assert result.stdout.strip() == base_executable()


def test_a_python_of_a_version_manager_is_found_outside_path(house: Path) -> None:
    versions = house.parent / "home" / ".pyenv" / "versions"
    poses_as(versions / "3.9.18" / "bin" / "python", 3, 9, 18)
    assert "which is too old" in environment(house, "--find").stderr
    poses_as(versions / "3.13.0" / "bin" / "python", 3, 13, 0)
    assert environment(house, "--find").returncode == 0


def test_without_any_python_the_message_says_what_to_do(house: Path) -> None:
    poses_as(house.parent / "bin" / "python3", 3, 8, 2)
    result = environment(house, "--find")
    assert result.returncode == 1
    assert "3.11 or newer" in result.stderr
    assert "python3: Python 3.8.2, which is too old" in result.stderr
    assert "PYTHON=" in result.stderr
    assert result.stdout == ""


def test_a_python_that_cannot_make_environments_is_named(house: Path) -> None:
    script(
        house.parent / "bin" / "python3",
        f"#!{SH}\nexec {sys.executable} -c "
        '\'import sys; sys.modules["ensurepip"] = None; exec(sys.argv[1])\' "$2"\n',
    )
    result = environment(house, "--find")
    assert result.returncode == 1
    assert "without venv or ensurepip" in result.stderr


def test_a_wrong_python_is_an_error_even_when_a_good_one_is_there(house: Path) -> None:
    poses_as(house.parent / "bin" / "python3", 3, 12, 1)
    for wrong, reason in (("no-such-python", "does not run"), ("python2.7", "too old")):
        poses_as(house.parent / "bin" / "python2.7", 2, 7, 18)
        result = environment(house, "--find", PYTHON=wrong)
        assert result.returncode == 1
        assert f"PYTHON={wrong} cannot be used" in result.stderr
        assert reason in result.stderr


def test_the_floor_is_the_one_in_pyproject(house: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    match = re.fullmatch(r">=3\.(\d+)", project["requires-python"])
    assert match is not None
    minor = int(match[1])
    python = house.parent / "bin" / "python3"
    poses_as(python, 3, minor - 1, 99)
    assert "which is too old" in environment(house, "--find").stderr
    poses_as(python, 3, minor, 0)
    assert environment(house, "--find").returncode == 0


def installs(house: Path) -> int:
    calls = house / "pip-calls"
    return len(calls.read_text().splitlines()) if calls.exists() else 0


@pytest.fixture
def pretender(house: Path) -> str:
    python = script(house.parent / "bin" / "python3", PRETENDS.format(sh=SH, version="3.12.1"))
    return str(python)


def test_a_second_run_installs_nothing(house: Path, pretender: str) -> None:
    first = environment(house, tools=True)
    assert first.returncode == 0, first.stderr
    assert "Making .venv with Python 3.12.1" in first.stderr
    call = (house / "pip-calls").read_text()
    assert "--constraint constraints/tested.txt" in call
    assert "--editable . " in f"{call.strip()} "
    assert "dev" not in call.partition("--editable")[2]
    assert "--no-compile" in call
    second = environment(house, tools=True)
    assert (second.returncode, second.stderr, installs(house)) == (0, "", 1)
    # The interpreter it was made with may be named, and need not be.
    assert environment(house, tools=True, PYTHON="python3").returncode == 0
    assert installs(house) == 1


def test_what_the_tests_need_is_added_once(house: Path, pretender: str) -> None:
    environment(house, tools=True)
    kept = house / ".venv" / "kept"
    kept.touch()
    added = environment(house, "--dev", tools=True)
    assert added.returncode == 0, added.stderr
    assert "Adding what the tests need" in added.stderr
    assert ".[dev]" in (house / "pip-calls").read_text().splitlines()[-1]
    assert kept.exists()
    # Enough for both from then on.
    for arguments in ((), ("--dev",)):
        assert environment(house, *arguments, tools=True).stderr == ""
    assert installs(house) == 2


def test_what_the_documentation_needs_holds_what_the_tests_need(
    house: Path, pretender: str
) -> None:
    environment(house, "--dev", tools=True)
    added = environment(house, "--docs", tools=True)
    assert "Adding what the documentation needs" in added.stderr
    assert ".[dev,docs]" in (house / "pip-calls").read_text().splitlines()[-1]
    for arguments in ((), ("--dev",), ("--docs",)):
        assert environment(house, *arguments, tools=True).stderr == ""
    assert installs(house) == 2


def test_an_interrupted_addition_is_redone(house: Path, pretender: str) -> None:
    environment(house, tools=True)
    assert environment(house, "--dev", tools=True, PIP_STATUS="3").returncode == 1
    assert environment(house, "--dev", tools=True).returncode == 0
    assert installs(house) == 3


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints/tested.txt"])
def test_changed_requirements_install_again(house: Path, pretender: str, name: str) -> None:
    environment(house, tools=True)
    with (house / name).open("a") as file:
        file.write("# changed\n")
    assert environment(house, tools=True).returncode == 0
    assert installs(house) == 2


def test_another_python_installs_again(house: Path, pretender: str) -> None:
    environment(house, tools=True)
    other = script(house.parent / "other" / "python", PRETENDS.format(sh=SH, version="3.13.0"))
    result = environment(house, tools=True, PYTHON=str(other))
    assert f"Making .venv with Python 3.13.0 ({other})" in result.stderr
    # Without PYTHON the new one stays.
    assert environment(house, tools=True).stderr == ""
    assert installs(house) == 2


def test_an_interrupted_install_is_redone(house: Path, pretender: str) -> None:
    failed = environment(house, tools=True, PIP_STATUS="3")
    assert failed.returncode == 1
    assert "pip was here" in failed.stderr
    assert "pip could not install" in failed.stderr
    leftover = house / ".venv" / "leftover"
    leftover.touch()
    assert environment(house, tools=True).returncode == 0
    assert installs(house) == 2
    assert not leftover.exists()


def test_an_environment_that_lost_its_python_or_was_moved_is_redone(
    house: Path, pretender: str
) -> None:
    environment(house, tools=True)
    (house / ".venv" / "bin" / "python").unlink()
    assert environment(house, tools=True).returncode == 0
    assert installs(house) == 2
    moved = house.rename(house.with_name("moved"))
    assert environment(moved, tools=True).returncode == 0
    assert installs(moved) == 3


def recipe(*arguments: str) -> str:
    """What make would run, without running it and without what an outer make passes down."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "WORKERS")}
    command = ["make", "--dry-run", "--directory", str(ROOT), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_make_passes_its_choices_on() -> None:
    assert "-n 2 " in recipe("test")
    assert "-n 5 " in recipe("test", "WORKERS=5")
    assert "-m 'not slow'" in recipe("test")
    assert "not slow" not in recipe("test-all")
    for target, command in (("verify", "ufm verify"), ("bench", "ufm bench")):
        steps = recipe(target)
        assert 0 <= steps.find(".ci/environment") < steps.find(command)


def test_the_version_is_the_same_everywhere() -> None:
    """Read from one file; the citation cannot read it, so it is compared."""
    from ufm.version import __version__

    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation
    year = re.search(r"^date-released: (\d{4})-\d\d-\d\d$", citation, re.MULTILINE)
    (entry,) = re.findall(r"```bibtex\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert year is not None
    for field in (
        f"version = {{{__version__}}}",
        f"year    = {{{year[1]}}}",
        "{{The ufm-lab authors}}",
    ):
        assert field in entry, field


def test_a_checkout_needs_no_installed_metadata(tmp_path: Path) -> None:
    """Run from the folder alone, as on a machine where the lab was never installed."""
    code = """
import importlib.metadata as metadata

find = metadata.Distribution.from_name

def without_the_lab(name):
    if name.replace("_", "-").lower() == "ufm-lab":
        raise metadata.PackageNotFoundError(name)
    return find(name)

metadata.Distribution.from_name = without_the_lab
try:
    metadata.version("ufm-lab")
except metadata.PackageNotFoundError:
    print("hidden")
import ufm, landscape, proofs_check, experiments
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "hidden\n"


def bare_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return match[0].lower()


def test_the_constraints_are_plain_pins_of_every_requirement() -> None:
    """No address of an index and no hash, so that they hold wherever packages come from."""
    lines = (ROOT / "constraints" / "tested.txt").read_text().splitlines()
    pin = r'([a-z0-9-]+)==[0-9][\w.]*( ; python_version (<|>=) "3\.12")?'
    matches = [re.fullmatch(pin, line) for line in lines if not line.startswith("#")]
    assert None not in matches, lines[matches.index(None)]
    pinned = {match[1] for match in matches if match}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["docs"]]
    assert {bare_name(requirement) for requirement in wanted} <= pinned


LARGEST_FILE = 300_000


def large_files(root: Path) -> list[str]:
    """Tracked files that are no source: a package that was downloaded, data of one machine."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True)
    names = [name for name in listed.stdout.decode().split("\0") if name]
    there = [root / name for name in names if (root / name).is_file()]
    return [str(path.relative_to(root)) for path in there if path.stat().st_size > LARGEST_FILE]


def test_nothing_large_is_tracked(tmp_path: Path) -> None:
    if (ROOT / ".git").exists():
        assert large_files(ROOT) == []
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "small.py").write_text("x")
    (tmp_path / "package.whl").write_bytes(bytes(LARGEST_FILE + 1))
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert large_files(tmp_path) == ["package.whl"]
