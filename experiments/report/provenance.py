"""Where a report comes from: versions, device, date and revision."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "matplotlib")


def provenance() -> dict[str, str]:
    """Label -> value, in the order of the page.

    Example:
        >>> list(provenance())[:2]
        ['Written', 'ufm-lab']
    """
    import jax

    from ufm.version import __version__

    device = jax.devices()[0]
    facts = {
        "Written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "ufm-lab": __version__,
        "Revision": _revision(),
        "Python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "Device": f"{device.platform} ({device.device_kind})",
        "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "Arithmetic": jax.numpy.zeros(()).dtype.name,
    }
    return {label: value for label, value in facts.items() if value}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _revision() -> str:
    """The git revision of the checkout this file is in, with a mark for local changes."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.stdout.strip()
