"""The first sweep over a model: a TOML file with every parameter, to be edited."""

from __future__ import annotations

import json

from ufm.registered import Registered

# From a fifth of the default to five times it, so that a collapse is likely to be in between.
SPREAD, STEPS = 5.0, 9
# The plain model has axes of its own (docs/sweeps.md).
PLAIN = "plain"
PLAIN_SWEEP = """task = "verdict"

[axes]
loss = "ce"
K = 4
d = 6
n = 1
c = { from = 0.1, to = 1.3, num = 9 }
seed = [0, 1]"""


def template(declared: Registered) -> str:
    """A sweep over the first decimal parameter of a model, all others at their defaults.

    Example:
        >>> from ufm.registered import registered
        >>> print(template(registered("regression")).splitlines()[2])
        model = "regression"
    """
    numbers = [p for p in declared.parameters if p.kind is float and p.default]
    if declared.name == PLAIN:
        return PLAIN_SWEEP
    swept = numbers[0].name if numbers else None
    lines = [
        f"note = {json.dumps(declared.summary)}",
        'task = "verdict"',
        f"model = {json.dumps(declared.name)}",
        "",
        "[axes]",
    ]
    for parameter in declared.parameters:
        value = parameter.default
        if parameter.name == declared.loss:
            lines.append(f'# loss = "mse"  # {parameter.help}')
            continue
        if parameter.name == "counts" and value is not None:
            value = [[int(n) for n in value.split(",")]]
        text = json.dumps(value)
        if parameter.name == swept:
            low, high = value / SPREAD, value * SPREAD
            text = f'{{ from = {low:g}, to = {high:g}, num = {STEPS}, scale = "log" }}'
        idle = "# " if value is None or parameter.required else ""
        hint = f"  # {parameter.help}" if parameter.help else ""
        lines.append(f"{idle}{parameter.name} = {text if value is not None else '...'}{hint}")
    if "seed" not in {parameter.name for parameter in declared.parameters}:
        lines.append("seed = [0, 1]")
    return "\n".join(lines)
