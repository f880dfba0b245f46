"""The command ``ufm``: its subcommands, its exit codes, and one line for every error."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version as package_version
from itertools import pairwise
from typing import Annotated, Any

import typer

from experiments.cli import (
    atlas,
    bench,
    check,
    compare,
    enclose,
    falsify,
    help,
    map,
    measure,
    models,
    solve,
    spectrum,
    sweep,
    track,
    train,
    verdict,
    verify,
)
from experiments.cli.flags import DecayFlags, LossFlags, SizeFlags, resolve
from experiments.cli.html_page import WORDS
from experiments.cli.model import asked_model, command_of
from experiments.cli.points import PlainFlags
from experiments.cli.signals import interruptible
from experiments.cli.waiting import ABANDONED

GOOD, CLAIM_FAILED, BAD_INPUT, UNDECIDED, UNEXPECTED = 0, 1, 2, 3, 70
# As shells have it: 128 and the number of the signal.
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

CODES = (
    "Exit codes: 0 fine, 1 a claim failed, 2 usage or bad input, 3 undecided or not converged, "
    "70 a fault of the lab (please report it), 130 Ctrl-C, 143 SIGTERM. UFM_DEBUG=1 shows the "
    "traceback of an error."
)

# typer carries its own click from some version on; both have these classes.
_UsageError: Any = typer.BadParameter.__bases__[0]
_ClickException: Any = _UsageError.__bases__[0]


# What a shell sets to ask for completions (click).
COMPLETION = "_UFM_COMPLETE"
FIRST = """Three things to try:

  ufm solve -K 4                          where descent ends, and that it is the global minimum
  ufm atlas -K 3 --html landscape.html    every critical point of a small landscape, as a page
  ufm measure FILE --lambda-w 5e-4        how collapsed your network is, and how far from theory

All commands: ufm --help. Completion by the tab key: ufm --install-completion."""


def versions() -> str:
    """The version of the lab, of JAX, and the devices that JAX sees, one a line.

    Example:
        >>> versions().split()[0]
        'ufm-lab'
    """
    from ufm.version import __version__

    lines = [f"ufm-lab {__version__}"]
    try:
        import jax

        lines.append(f"jax {jax.__version__}, jaxlib {package_version('jaxlib')}")
        kinds = Counter(f"{device.platform} ({device.device_kind})" for device in jax.devices())
        lines += [f"{number} x {kind}" for kind, number in kinds.items()]
    except Exception as error:  # a driver that does not answer must not hide the version
        lines.append(f"jax does not start: {(str(error).splitlines() or [''])[0]}")
    return "\n".join(lines)


def ufm(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Neural-collapse theorems on unconstrained feature models, verified numerically."""


# Commands on any model: the groups of flags of the plain one, and what they resolve to.
GROUPS = (SizeFlags, LossFlags, DecayFlags)
ON_MODELS: dict[Any, Any] = {
    solve: resolve,
    verdict: PlainFlags,
    spectrum: resolve,
    atlas: atlas.whole,
}


NAMES = {module.__name__.rpartition(".")[2] for module in ON_MODELS}
COMMANDS: tuple[Any, ...] = (
    solve, verdict, spectrum, measure, atlas, verify, falsify, check, train, compare, models, map,
    bench, help,
)  # fmt: skip


def commands(model: str | None = None, asked: str = "") -> typer.Typer:
    """The program, with the flags of the model that ``--model`` names; asked: its first word."""
    app = typer.Typer(
        name="ufm",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(epilog=CODES)(ufm)
    groups = {
        "sweep": sweep.app,
        "enclose": enclose.app(asked == "enclose"),
        "track": track.app,
    }
    names = {_named(module) for module in COMMANDS} | set(groups)

    def needed(name: str) -> bool:
        # Reading the flags of all commands takes a tenth of a second; their list needs them.
        return name == asked or asked not in names

    for module in COMMANDS:
        if not needed(_named(module)):
            continue
        core = getattr(module, _named(module))
        if module in ON_MODELS:
            core = command_of(core, ON_MODELS[module], GROUPS, model)
        lines = examples(module.EXAMPLES, _named(module), model)
        app.command(epilog="\n\n".join(f"Example: {line}" for line in lines))(core)
    for name, group in groups.items():
        if needed(name):
            app.add_typer(group, name=name)
    return app


def _named(module: Any) -> str:
    """A command is called as its module."""
    name: str = module.__name__.rpartition(".")[2]
    return name


def examples(lines: Sequence[str], command: str, model: str | None) -> tuple[str, ...]:
    """The examples that concern the model that ``--model`` names; all of them without one.

    Example:
        >>> examples(("ufm solve -K 3", "ufm solve --model graph -n 6"), "solve", "graph")
        ('ufm solve --model graph -n 6',)
        >>> examples(("ufm verdict a.npz",), "verdict", "graph")
        ('ufm solve --model graph --save point.npz && ufm verdict point.npz --model graph',)
        >>> examples(("ufm atlas -K 4",), "atlas", "graph")  # what such models have instead
        ('ufm solve --model graph --method critical --seed 1',)
    """
    if model is None:
        return tuple(lines)
    own = tuple(line for line in lines if f"--model {model} " in f"{line} ")
    named = f"--model {model}"
    made = {
        "verdict": f"ufm solve {named} --save point.npz && ufm verdict point.npz {named}",
        "atlas": f"ufm solve {named} --method critical --seed 1",
    }
    return own or (made.get(command, f"ufm {command} {named}"),)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``ufm`` and return its exit code; no input leads to a traceback.

    Args:
        arguments: words after ``ufm``, by default those of the process.

    Example:
        >>> main(["solve", "-K", "1"])
        2
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stdout is None:  # it was closed before we began
        _say("standard output is closed: redirect it to a file, or to /dev/null")
        return BAD_INPUT
    with interruptible() as came:
        code = _run(words)
    if code != INTERRUPTED:
        return code
    terminated = signal.SIGTERM in came
    _say("terminated" if terminated else "interrupted")
    code = TERMINATED if terminated else INTERRUPTED
    if ABANDONED.is_set():
        _leave(code)
    return code


def _run(words: list[str]) -> int:
    try:
        code = _performed(words)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_left()
    except _UsageError as error:
        return _usage(error, words)
    except Exception as error:
        return _failed(error)
    except BaseException as error:
        if isinstance(error, SystemExit) and COMPLETION in os.environ:
            return error.code if isinstance(error.code, int) else GOOD
        if isinstance(error.__context__, BrokenPipeError):  # how click leaves then
            return _reader_left()
        return _ended_by_user_code(error)
    return code if isinstance(code, int) else GOOD


def _performed(words: list[str]) -> Any:
    if words[:1] == ["--version"]:
        print(versions())
        return GOOD
    if not words and COMPLETION not in os.environ:
        print(FIRST)
        return GOOD
    WORDS.set(tuple(words))
    asked = words[0] if words else ""
    app = commands(asked_model(words) if asked in NAMES else None, asked)
    program: Any = typer.main.get_command(app)
    # A list of commands needs no panels, and what draws them takes a third of the time of --help.
    program.rich_markup_mode = None
    return program.main(words, prog_name="ufm", standalone_mode=False)


def _leave(code: int) -> None:
    """Compiled code cannot be stopped, and an interpreter that ends under it may crash."""
    from experiments.pool import end_all

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_all()
    os._exit(code)


def _say(message: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # full, or closed
        sys.stdout.flush()
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(f"ufm: {' '.join(message.split())}\n", end="", file=sys.stderr, flush=True)


def _usage(error: Any, words: list[str]) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return BAD_INPUT
    path = error.ctx.command_path if error.ctx is not None else "ufm"
    names = getattr(getattr(error, "param", None), "opts", ())
    got = [after for word, after in pairwise(words) if word in names]
    value = f". Got {got[-1]}" if got else ""
    _say(f"{error.format_message().rstrip('.')}{value}. See `{path} --help`.")
    return BAD_INPUT


def _failed(error: Exception) -> int:
    """One line, and the exit code: bad input has a rule or a file; the rest is our fault."""
    if os.environ.get("UFM_DEBUG", "0") not in ("", "0"):
        raise error
    if isinstance(error, OSError) and error.filename is not None:
        _say(f"{error.strerror or type(error).__name__}: {error.filename}")
        return BAD_INPUT
    if isinstance(error, OSError):  # of a stream: the disk behind standard output is full, say
        _drop_output()
        _say(f"cannot write the output: {error.strerror or error}")
        return BAD_INPUT
    if isinstance(error, MemoryError):
        _say(f"not enough memory: {error}. Use smaller sizes")
        return BAD_INPUT
    if isinstance(error, ValueError | _ClickException):
        _say(str(error) or type(error).__name__)
        return BAD_INPUT
    first = (str(error).splitlines() or [""])[0]
    _say(
        f"unexpected {type(error).__name__}: {first} (set UFM_DEBUG=1 to see the traceback, "
        "and please report it)"
    )
    return UNEXPECTED


def _reader_left() -> int:
    """The rest of the output has no reader (`ufm ... | head`), which is no error of ours."""
    _drop_output()
    return GOOD


def _drop_output() -> None:
    """Whatever is still to be written goes nowhere, so that leaving does not fail as well."""
    with suppress(OSError, ValueError):  # a stream that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ended_by_user_code(error: BaseException) -> int:
    """sys.exit() and the like in a loss or a file of claims never look like success."""
    if os.environ.get("UFM_DEBUG", "0") not in ("", "0"):
        raise error
    last = traceback.extract_tb(error.__traceback__)[-1]
    _say(
        f"{type(error).__name__} at {last.filename}:{last.lineno} ended the command. A loss or a "
        "claim must return or raise an Exception"
    )
    return BAD_INPUT
