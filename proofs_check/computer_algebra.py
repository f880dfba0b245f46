"""SymPy, imported at its first use: whoever looks at claims need not have run one of these."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _Sympy:
    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("sympy"), name)


sympy: Any = _Sympy()
