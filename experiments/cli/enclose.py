"""``ufm enclose``: scalar systems of the theory, solved in balls to as many digits as asked for.

One command a system, with flags derived from its signature and its docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer

from experiments.cli.certify import require_rigour
from experiments.cli.flags import Json, Out, expand_flags
from experiments.cli.model import flags_of
from experiments.cli.output import deliver, envelope, number, require_writable, show, table
from experiments.errors import input_error

EXAMPLES = (
    "ufm enclose simplex -K 1000000 -d 1000000 -n 1281 --lambda-w 5e-9 --lambda-h 5e-9",
    "ufm enclose merging-threshold --groups 3 --digits 60",
    "ufm enclose pairs-crossing -K 4 --matrices 2 --json",
)
# The most digits: a proof at this precision takes a second.
MOST = 200
Digits = Annotated[
    int,
    typer.Option("--digits", min=1, max=MOST, help="Proved digits of numbers of the size of one."),
]


def app(names_of_systems: bool) -> typer.Typer:
    """The commands; the systems themselves are imported where one of them is asked for."""
    made = typer.Typer(
        no_args_is_help=True,
        help="Enclose what hangs on a scalar equation: thresholds, simplices, saddles of any size.",
        epilog="\n\n".join(f"Example: {line}" for line in EXAMPLES),
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_systems)  # so that one system alone would be a command, too
    if names_of_systems:
        require_rigour()
        from proofs_check.rigorous.systems import SYSTEMS

        for name, system in SYSTEMS.items():
            made.command(name)(_command(name, system))
    return made


def _systems() -> None:
    """Nothing of its own."""


def _command(name: str, system: Callable[..., Any]) -> Callable[..., None]:
    from ufm.registered import parameters_of

    declared = [p for p in parameters_of(name, system, anything=str) if p.name != "bits"]
    own, renamed = flags_of(declared)

    def command(group: Any, digits: int, out: Any, as_json: bool) -> None:
        require_writable(out, "--out")
        given = {renamed[item.name]: getattr(group, item.name) for item in fields(group)}
        chosen = {name: value for name, value in given.items() if value is not None}
        missing = [p for p in declared if p.required and p.name not in chosen]
        if missing:
            from experiments.cli.model import flag_of

            rule = f"{name} needs {', '.join(flag_of(p.name) for p in missing)}"
            raise input_error(rule, "none", f"see `ufm enclose {name} --help`")
        _answer(name, {**{p.name: p.default for p in declared}, **chosen}, digits, out, as_json)

    command.__doc__ = (inspect.getdoc(system) or "").partition("\n")[0]
    empty = inspect.Parameter.empty
    flags = {"group": (own, empty), "digits": (Digits, 20), "out": (Out, None)}
    flags["as_json"] = (Json, False)
    command.__annotations__ = {each: hint for each, (hint, _) in flags.items()}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                each, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
            )
            for each, (hint, default) in flags.items()
        ]
    )
    return expand_flags(command)


def _answer(name: str, values: dict[str, Any], digits: int, out: Any, as_json: bool) -> None:
    from proofs_check.rigorous.arithmetic import Undecided
    from proofs_check.rigorous.systems import enclose

    try:
        told = enclose(name, digits, **values)
    except Undecided as reason:
        record: dict[str, Any] = {"answer": "UNDECIDED", "reason": str(reason)}
        deliver(envelope("enclose", {"system": name, **values}, record), as_json=as_json, out=out)
        if not as_json:
            show(f"UNDECIDED: {reason}.")
        raise typer.Exit(3) from reason
    numbers = {each: _record(ball, digits) for each, ball in told.numbers.items()}
    levels = [
        {**_record(level.value, digits), "multiplicity": level.multiplicity, "block": level.block}
        for level in told.levels
    ]
    record = {"answer": "PROVED" if numbers else "NONE", "numbers": numbers, "levels": levels}
    settings = {"system": name, **values, "digits": digits}
    deliver(envelope("enclose", settings, record), as_json=as_json, out=out)
    if as_json:
        return
    if not numbers:
        show("There is none: proved.")
        return
    for each, ball in numbers.items():
        exact = ball["radius"] == "0"
        show(f"{each} = {ball['value']}" + ("" if exact else f", within {ball['radius']}"))
    if levels:
        made = table(("eigenvalue", "multiplicity", "block"), right=("eigenvalue", "multiplicity"))
        for level in levels:
            made.add_row(str(level["value"]), number(level["multiplicity"]), str(level["block"]))
        show(made)
    show("Proved: each number lies within its distance from the value printed.")


def _record(ball: Any, digits: int) -> dict[str, str]:
    """A ball in decimals: digits that are printed, and a bound of the distance to the number."""
    import flint

    from proofs_check.rigorous.balls import precision
    from proofs_check.rigorous.systems import bits_of

    if isinstance(ball, int):
        return {"value": f"{ball:,}", "radius": "0"}
    with precision(bits_of(digits)):
        text = ball.mid().str(digits, radius=False)
        off = (ball - flint.arb(text)).abs_upper()
        return {"value": text, "radius": "0" if off.is_zero() else off.str(2, radius=False)}
