"""``ufm verify``: run the claims, write the report, and fail if a theorem does."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from experiments.cli.flags import Json
from experiments.cli.output import console, deliver, envelope, prepare, show
from experiments.cli.verify_output import (
    blind,
    claim_record,
    claims_table,
    filtered,
    measured,
    notes,
    summary,
)
from experiments.cli.waiting import patiently
from experiments.errors import input_error
from experiments.losses import PARAMETERS
from experiments.nearest import unknown
from experiments.options import flag

EXAMPLES = (
    "ufm verify --quick",
    "ufm verify --claim balancedness --loss focal",
    "ufm verify --claim graph-flow --details --no-figures",
    "ufm verify --claims my_theorem.py --out my_report",
    "ufm verify --model my_model.py:MyModel",
    "ufm verify --certificates my_atlas/certificates",
    "ufm verify --networks comparisons/digits --out report-networks",
)
REPORT = Path("report")
# What every command on claims takes.
Chosen = Annotated[list[str] | None, flag("--claim", "ID", "Only this claim; may be repeated.")]
OwnClaims = Annotated[
    Path | None, flag("--claims", "FILE.py", "Your own claims instead of the lab's.")
]
Advance = Callable[[str], None]
# Fewer claims than this run here: starting two processes costs five seconds.
FEW = 12


def verify(
    claim: Chosen = None,
    claims: OwnClaims = None,
    networks: Annotated[
        Path | None,
        flag(
            "--networks",
            "DIR",
            "Only what the networks in a folder of `ufm compare` or `ufm track` show (tier E).",
        ),
    ] = None,
    loss: Annotated[
        str | None, flag("--loss", "LOSS", f"Only this loss: {', '.join(PARAMETERS)}.")
    ] = None,
    model: Annotated[
        str | None,
        flag(
            "--model",
            "NAME",
            "Only this model, e.g. plain or regression; FILE.py:NAME: what your model answers "
            "about itself.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller regions.")] = False,
    out: Annotated[Path, flag("--out", "DIR", "Folder of the report.")] = REPORT,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw the pictures of the report.")
    ] = True,
    certificates: Annotated[
        Path | None,
        flag(
            "--certificates",
            "DIR",
            "Certificates to check, list in the report and copy into it, e.g. the folder of "
            "`ufm atlas --certify`.",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=2, help="1 runs every claim in this process.")
    ] = 2,
    details: Annotated[
        bool,
        typer.Option("--details", help="Say what was measured and predicted at every instance."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify the theorems, and write a page with pictures.

    Exit code 1 if a claim that should hold fails (or a refuted one holds) or has no instance, 2 if
    one could not be run, 3 if one is undecided; the same for certificates that are INVALID, none,
    or UNDECIDED. With --claims, --claim chooses among your claims
    and the lab's. What --loss and --model leave out is counted. A model of your own is checked at
    its default numbers and beside them: gradient, symmetry, flat directions, exact spectrum,
    merger, minimiser and bound, as far as it knows them.
    """
    prepare()
    if loss is not None and loss not in PARAMETERS:
        rule = "verify runs on the losses of its claims"
        remedy = f"use one of {', '.join(PARAMETERS)}; a loss of your own goes to `ufm solve`"
        raise input_error(rule, f"--loss {loss}", remedy)
    if out.exists() and not out.is_dir():
        raise input_error("Need a folder for --out", f"the file {out}", "choose another name")
    own_model = model if model is not None and ":" in model else None
    silent: tuple[str, ...] = ()
    if networks is not None:
        given: dict[str, Any] = {"--claim": claim, "--claims": claims, "--loss": loss}
        given.update({"--model": model, "--quick": quick})
        others = [flag for flag, value in given.items() if value]
        if others:
            rule = "--networks is about finished runs, which are never mixed with theorems"
            raise input_error(rule, ", ".join(others), "drop it")
        chosen, figures = _network_claims(networks), False
    elif own_model:
        chosen, silent = _model_claims(
            own_model, {"--claim": claim, "--claims": claims, "--loss": loss}
        )
    else:
        chosen = choose_claims(claim or (), claims)
    proofs = [] if certificates is None else _checked(certificates)
    from experiments.report import write_report

    began = perf_counter()
    with _beside(chosen, figures, in_lanes(chosen, processes)) as (drawn, derived):
        only = None if own_model else model
        outcomes = run_claims(chosen, quick=quick, loss=loss, model=only, processes=processes)
        seconds = perf_counter() - began
        with _steps() as step:
            page = write_report(
                outcomes,
                out,
                figures=figures,
                drawn=drawn,
                derived=derived,
                command=_again(claims, own_model, networks),
                certificates=proofs,
                progress=step,
            )
    inputs = {
        "claim": claim or [],
        "claims": None if claims is None else str(claims),
        "networks": None if networks is None else str(networks),
        "loss": loss,
        "model": model,
        "quick": quick,
        "figures": figures,
        "certificates": None if certificates is None else str(certificates),
        "processes": processes,
        "details": details,
        "out": str(out),
    }
    records = [claim_record(outcome, details=details) for outcome in outcomes]
    record: dict[str, Any] = {"claims": records, "report": str(page)}
    record["certificates"] = [
        {"file": each.name, "answer": each.answer, "said": each.said} for each in proofs
    ]
    if own_model:
        record["unknown"] = list(silent)
    deliver(envelope("verify", inputs, record), as_json=as_json, out=None)
    if not as_json:
        show(*(measured(outcome) for outcome in outcomes if details))
        show(claims_table(outcomes), *notes(outcomes), *blind(outcomes), *filtered(outcomes))
        if silent:
            show(f"Not known to the model, and so not checked: {', '.join(silent)}.")
        show(summary(outcomes, seconds))
        if proofs:
            answers = Counter(each.answer for each in proofs)
            told = ", ".join(f"{count} {word}" for word, count in answers.items())
            show(f"{len(proofs)} certificates checked: {told}.")
        show(f"Report: {page}")
    code = _worst(exit_code(outcomes), proofs)
    if code:
        raise typer.Exit(code)


def _checked(folder: Path) -> list[Any]:
    """The certificates of a folder, proved again one by one."""
    from experiments.cli.certify import require_rigour

    require_rigour()
    from experiments.report.certificates import certificate_files, checked

    files = certificate_files(folder)
    return patiently("Checking certificates", lambda: [checked(path) for path in files])


def _worst(code: int, proofs: Sequence[Any]) -> int:
    """The exit code of the claims and of the certificates together."""
    if not proofs:
        return code
    from proofs_check.checker import CODES

    codes = {code, *(CODES[each.answer] for each in proofs)}
    return next(worst for worst in (1, 2, 3, 0) if worst in codes)


def _again(claims: Path | None, own_model: str | None, networks: Path | None) -> Callable[..., str]:
    """Id of a claim -> the command that runs it again."""
    if networks is not None:
        return lambda name: f"ufm verify --networks {shlex.quote(str(networks))}"
    if own_model is not None:
        return lambda name: f"ufm verify --model {shlex.quote(own_model)} --details"
    own = "" if claims is None else f" --claims {shlex.quote(str(claims))}"

    def both(name: str) -> str:
        chosen = f"{own} --claim {name}"
        return f"ufm verify{chosen} --details\nufm falsify{chosen} --seconds 10"

    return both


def exit_code(outcomes: Sequence[Any]) -> int:
    """1: a claim came out wrong; 2: one could not be run; 3: one is undecided; 0: none of these."""
    wrong = {outcome.status.name for outcome in outcomes if not outcome.expected}
    if wrong - {"BROKEN", "UNDECIDED"}:
        return 1
    return 2 if "BROKEN" in wrong else 3 if wrong else 0


def choose_claims(ids: Sequence[str], file: Path | None) -> tuple[Any, ...]:
    """The claims to run: all of the lab's, all of a file, or those with the ids.

    Raises:
        InputError: an unknown id, or a bad file.
    """
    from proofs_check.registry import core_claims, load_claims

    own = () if file is None else load_claims(file)
    if not ids:
        return own or core_claims()
    known = {claim.id: claim for claim in (*core_claims(), *own)}
    for name in ids:
        if name not in known:
            raise unknown(name, known, "claim")
    return tuple(known[name] for name in dict.fromkeys(ids))


def _model_claims(spec: str, others: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The claims about what a user's own model answers, and what it does not know.

    Raises:
        InputError: no such model, one too large, or flags that choose among other claims.
    """
    from experiments.models import named_model
    from proofs_check.contract import contract_claims, unclaimed, varied

    given = [flag for flag, value in others.items() if value]
    if given:
        rule = "--model FILE.py:NAME has claims of its own"
        raise input_error(rule, ", ".join(given), "drop it")
    declared = named_model(spec)
    defaults = {p.name: p.default for p in declared.parameters}
    claims = contract_claims(spec.rpartition(":")[2], varied(declared.build, defaults))
    return claims, unclaimed(claims)


def _network_claims(folder: Path) -> tuple[Any, ...]:
    """The empirical claims about the runs of a comparison, or the cells of a track."""
    from experiments.networks.tracks.track import TRACK, read_track

    if (folder / TRACK).exists():
        track, _, results = read_track(folder)
        return tuple(track.claims(results))
    from experiments.networks.comparison import read_comparison
    from experiments.networks.comparison.claims import network_claims

    return network_claims(read_comparison(folder))


def run_claims(
    claims: Sequence[Any],
    *,
    quick: bool,
    loss: str | None,
    model: str | None = None,
    processes: int = 1,
) -> list[Any]:
    """Run claims with live progress on stderr, many of the lab's own in two processes."""
    from proofs_check.run import check_claim

    wanted: dict[str, Any] = {"quick": quick, "loss": loss, "model": model}
    outcomes: list[Any] = []
    with _progress(len(claims)) as (advance, finish):
        if in_lanes(claims, processes):
            from proofs_check.parallel_run import check_in_lanes

            with ExitStack() as stack:
                pools = (_process() for _ in range(processes))
                lanes = [stack.enter_context(pool) for pool in pools]
                return check_in_lanes(claims, lanes, started=advance, finished=finish, **wanted)
        for claim in claims:
            advance(claim.id)
            outcomes.append(check_claim(claim, progress=_named(claim.id, advance), **wanted))
            finish(outcomes[-1])
    return outcomes


def _named(name: str, advance: Advance) -> Advance:
    return lambda line: advance(f"{name}: {line}")


def in_lanes(claims: Sequence[Any], processes: int) -> bool:
    """Whether to check these claims in processes: many of the lab's own."""
    return processes > 1 and len(claims) > FEW and all(c.literature != "yours" for c in claims)


def _process() -> Any:
    """A process for small problems: they gain nothing from threads, which would fight for cores."""
    from experiments.pool import ONE_THREAD, Pool
    from proofs_check.parallel_run import quick_compilation

    return Pool(1, {**ONE_THREAD, **quick_compilation()})


@contextmanager
def _beside(chosen: Sequence[Any], figures: bool, beside: bool) -> Iterator[tuple[Any, Any]]:
    """Pictures and derivations made while claims are checked, or None: when the report is."""
    if not beside:
        yield None, None
        return
    from experiments.report.derivations import derivations
    from experiments.report.figures import pictures

    with _process() as pool:
        derived = pool.submit(derivations, [claim.source for claim in chosen]).result
        yield pool.submit(pictures).result if figures else None, derived


@contextmanager
def _progress(total: int) -> Iterator[tuple[Advance, Callable[[Any], None]]]:
    """A live bar on a terminal, one plain line per claim elsewhere; both on stderr."""
    stderr = console(sys.stderr)
    if not stderr.is_terminal:
        done = Counter[str]()

        def line(outcome: Any) -> None:
            done["claims"] += 1
            width = len(str(total))
            print(
                f"[{done['claims']:>{width}}/{total}] {outcome.claim.id}: {outcome.status.name}, "
                f"{outcome.instances} instances, {outcome.seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )

        yield lambda text: None, line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    text = TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True))
    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), text)
    with Progress(*columns, console=stderr, transient=True, expand=True) as bar:
        task = bar.add_task("", total=total)
        yield (
            lambda text: bar.update(task, description=text.replace("[", r"\[")),
            lambda outcome: bar.advance(task),
        )


@contextmanager
def _steps() -> Iterator[Advance]:
    """What the report is doing: a spinner on a terminal, plain lines elsewhere."""
    stderr = console(sys.stderr)
    if not stderr.is_terminal:
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    with stderr.status("writing the report") as status:
        yield lambda text: status.update(text.replace("[", r"\["))
