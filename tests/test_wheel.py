"""What a user installs is what is tested here: the wheel, away from the checkout."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from experiments.cli.help import PAGES

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ufm", "landscape", "proofs_check", "experiments")

# One worker builds the wheel once.
pytestmark = pytest.mark.xdist_group("wheel")


class Installed(NamedTuple):
    """A wheel and the folder that it was installed into."""

    wheel: Path
    target: Path


def run(*command: str, cwd: Path, **variables: str) -> str:
    """Run a command with the variables added, and return what it printed."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    run(sys.executable, *build, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    target = folder / "target"
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target))
    run(sys.executable, *pip, str(wheel), cwd=folder, PIP_DISABLE_PIP_VERSION_CHECK="1")
    return Installed(wheel, target)


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(installed: Installed) -> None:
    """An unanchored line of .gitignore, `report/` say, would drop experiments/report silently."""
    with zipfile.ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
    held = {name for name in names if ".dist-info/" not in name}
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*"))
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts and path.name != ".DS_Store"
    }
    # The theory comes along for the report, and pages for `ufm help`.
    pages = {f"experiments/cli/pages/{name}.md" for name in PAGES}
    assert held == wanted | {"experiments/report/theory.md"} | pages
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_long_description_leads_nowhere_that_is_not_there(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        told = archive.read(name).decode()
    assert "Description-Content-Type: text/markdown" in told
    assert "License-Expression: Apache-2.0" in told
    text = told.partition("\n\n")[2]
    assert "# ufm-lab" in text
    assert "theory" in text
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert [link for link in links if not link.startswith(("http", "#"))] == []


@pytest.mark.slow
def test_the_source_distribution_builds_the_same_wheel(
    installed: Installed, tmp_path: Path
) -> None:
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path))
    run(*build, str(ROOT), cwd=tmp_path)  # the source distribution, and the wheel from it
    (source,) = tmp_path.glob("*.tar.gz")
    (wheel,) = tmp_path.glob("*.whl")
    assert source.name.startswith("ufm_lab-")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(installed.wheel) as other:
        assert set(one.namelist()) == set(other.namelist())


def test_the_installed_packages_work_without_the_checkout(
    installed: Installed, tmp_path: Path
) -> None:
    code = f"""
import importlib, importlib.metadata, pathlib
for name in {PACKAGES}:
    print(pathlib.Path(importlib.import_module(name).__file__).parent)
from ufm.version import __version__
print(__version__ == importlib.metadata.version("ufm-lab"))
"""
    # The target precedes the checkout, to which an editable install has added a path.
    away = {"PYTHONPATH": str(installed.target), "PYTHONSAFEPATH": "1"}
    printed = run(sys.executable, "-c", code, cwd=tmp_path, **away).splitlines()
    assert printed == [*(str(installed.target / name) for name in PACKAGES), "True"]
    for command in ([sys.executable, "-m", "experiments"], [str(installed.target / "bin" / "ufm")]):
        assert "verify" in run(*command, "--help", cwd=tmp_path, **away)
        assert "do not decide" in run(*command, "help", "undecided", cwd=tmp_path, **away)
