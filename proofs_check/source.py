"""A user's Python file, executed as it is now."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def execute(path: Path, content: bytes, name: str) -> ModuleType:
    """The module that a file makes, from exactly these bytes of it.

    Python's own import would look for byte code, which it holds for current when the seconds of the
    file's time and its size are those of the source it came from: a file that is changed twice
    within a second, to the same length, would be executed as it was before.

    Args:
        path: where the bytes were read; tracebacks name it.
        content: the source.
        name: under which the module stands in ``sys.modules``.

    Raises:
        SyntaxError: the content is not Python; and whatever the file itself raises. A module that
            stood under the name before then stands there again.

    Example:
        >>> execute(Path("half.py"), b"def half(x): return x / 2", "half").half(3.0)
        1.5
    """
    # Not with the future statements of this file.
    code = compile(content, str(path), "exec", dont_inherit=True)
    module = ModuleType(name)
    module.__file__ = str(path)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    return module
