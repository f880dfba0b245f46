"""Certificates to download with a report, each with the answer of the program that checks them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from experiments.report.view import FAILED, UNDECIDED, VERIFIED, Verdict
from proofs_check import checker
from ufm.errors import InputError

# Folder of the copies, in the report; also that of `ufm atlas --certify`, in its own.
FOLDER = "certificates"
BADGES = {"VALID": VERIFIED, "UNDECIDED": UNDECIDED}


@dataclass(frozen=True)
class Certificate:
    """A certificate as it was checked.

    Attributes:
        name: its file name.
        answer: VALID, UNDECIDED, INVALID or NO CERTIFICATE.
        said: what is proved, or why not.
        content: the file; nothing where it is no certificate, and not copied.
    """

    name: str
    answer: str
    said: str
    content: bytes = b""

    @property
    def address(self) -> str:
        """Where it is in the report."""
        return f"{FOLDER}/{self.name}"

    @property
    def verdict(self) -> Verdict:
        """The badge with its answer."""
        badge = BADGES.get(self.answer, FAILED)
        return Verdict(badge.key, badge.icon, self.answer)


def certificate_files(folder: Path) -> tuple[Path, ...]:
    """The certificates of a folder, or of the folder ``certificates`` in it.

    Raises:
        InputError: there are none.
    """
    within = folder / FOLDER
    files = tuple(sorted((within if within.is_dir() else folder).glob("*.json")))
    if not files:
        remedy = "write some with `ufm atlas --out DIR --certify`"
        raise InputError("Need a folder with certificates", f"no .json in {folder}", remedy)
    return files


def checked(path: Path) -> Certificate:
    """Prove a certificate again by the program that shares nothing with the lab."""
    answer, said = checker.answer(path)
    # The checker has bounded its size; what it refuses to read is not read here either.
    content = b"" if answer == "NO CERTIFICATE" else path.read_bytes()
    return Certificate(path.name, answer, said, content)
