"""The registry is a value: the core's claims, and those of a user's file."""

from __future__ import annotations

from pathlib import Path

from proofs_check import source
from proofs_check.claim import Claim
from proofs_check.source import execute
from ufm.errors import InputError
from ufm.losses.program import described


def core_claims() -> tuple[Claim, ...]:
    """Every claim of the core, in the order of the report.

    Example:
        >>> len({c.id for c in core_claims()}) == len(core_claims())
        True
    """
    from proofs_check.claims import SUBJECTS

    return tuple(claim for subject in SUBJECTS for claim in subject)


def load_claims(path: str | Path) -> tuple[Claim, ...]:
    """The claims of a user's Python file: every Claim among its module-level names.

    Raises:
        InputError: no such file, an error while it runs, or no claim in it.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("Need a Python file of claims", str(path), "check the path")
    if file.suffix != ".py":
        raise InputError("Need a Python file of claims", str(path), "name it something.py")
    try:
        module = execute(file, file.read_bytes(), f"claims_{file.stem}")
    # sys.exit() in a file would otherwise end the command as if all were well.
    except (Exception, SystemExit, GeneratorExit) as error:
        rule = f"{file.name} must run without error"
        got = described(error, __file__, source.__file__)
        raise InputError(rule, got, "fix it") from error
    claims = tuple(value for value in vars(module).values() if isinstance(value, Claim))
    if not claims:
        remedy = "decorate a function of (model, point) with proofs_check.claim"
        raise InputError("Need at least one claim in the file", f"none in {file.name}", remedy)
    return claims
