"""Statements about computed points that are proved: enclosures instead of numbers.

A formula is written once, in a model; here the program that JAX makes of it is interpreted on
intervals. What is proved is docs/certificates.md.
"""

from __future__ import annotations

from ufm.errors import InputError

try:
    import flint as _flint  # noqa: F401
except ImportError as error:
    raise InputError(
        "Certificates need python-flint", error, "pip install 'ufm-lab[rigor]'"
    ) from error
