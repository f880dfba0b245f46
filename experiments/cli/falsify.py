"""``ufm falsify``: search for counterexamples of claims, replaying those that were kept first."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.flags import Json, Seed
from experiments.cli.output import deliver, envelope, number, prepare, show, table
from experiments.cli.verify import Chosen, OwnClaims, choose_claims
from experiments.errors import input_error
from experiments.files import write_whole
from experiments.options import flag

EXAMPLES = (
    "ufm falsify --claim threshold-cross-entropy --seconds 10",
    "ufm falsify --claims my_theorem.py",
    "ufm falsify --seconds 0",
)
KEPT = Path("counterexamples.json")


def falsify(
    claim: Chosen = None,
    claims: OwnClaims = None,
    seconds: Annotated[
        float,
        typer.Option("--seconds", min=0.0, max=86400.0, help="Budget per claim; 0: only replay."),
    ] = 3.0,
    seed: Seed = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Around smaller regions.")] = False,
    kept: Annotated[
        Path, flag("--kept", "FILE", "Counterexamples: replayed first, and new ones added.")
    ] = KEPT,
    as_json: Json = False,
) -> None:
    """Try to break the theorems: instances between and around those that verify runs.

    Decays, parameters of losses, class sizes and dimensions are drawn, the search climbs towards
    failure and bisects between different counts, and what fails is shrunk. Exit code 1 if a claim
    that should hold fails; that nothing was found proves nothing.
    """
    prepare()
    from proofs_check.falsify import falsify as search

    chosen = choose_claims(claim or (), claims)
    known = read_kept(kept)
    searches = []
    for i, each in enumerate(chosen, start=1):
        found = search(each, seconds=seconds, seed=seed, quick=quick, known=known)
        searches.append(found)
        print(f"[{i}/{len(chosen)}] {each.id}: {found.found.name}, {found.tried} instances, "
              f"{found.seconds:.1f} s", file=sys.stderr, flush=True)  # fmt: skip
    keep(kept, known, searches)
    inputs = {
        "claim": claim or [],
        "claims": None if claims is None else str(claims),
        "seconds": seconds,
        "seed": seed,
        "quick": quick,
        "kept": str(kept),
    }
    records = [search_record(found) for found in searches]
    deliver(envelope("falsify", inputs, {"claims": records}), as_json=as_json, out=None)
    if not as_json:
        again = "ufm falsify" + ("" if claims is None else f" --claims {claims}")
        show(_table(searches), *_notes(searches, again, kept), _summary(searches))
    if any(found.claim.holds and found.counterexample for found in searches):
        raise typer.Exit(1)


def read_kept(path: Path) -> tuple[Any, ...]:
    """Counterexamples of a file, none where there is no file.

    Raises:
        InputError: a file that holds anything else.
    """
    from proofs_check.falsify import FORMAT, counterexample_of

    if not path.exists():
        return ()
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["counterexamples"]
        if any(record["format"] != FORMAT for record in records):
            raise ValueError(f"a format other than {FORMAT}")
        return tuple(counterexample_of(record) for record in records)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        rule, remedy = "Need a file of counterexamples", "choose another --kept, or delete it"
        raise input_error(rule, f"{path} ({type(error).__name__}: {error})", remedy) from error


def keep(path: Path, known: Sequence[Any], searches: Sequence[Any]) -> None:
    """Add what was found to a file; untouched where nothing new was."""
    new = [s.counterexample for s in searches if s.counterexample and not s.replayed]
    if new:
        records = [example.record() for example in (*known, *new)]
        write_whole(path, (json.dumps({"counterexamples": records}, indent=1) + "\n").encode())


def search_record(found: Any) -> dict[str, Any]:
    """One search as it goes into the JSON."""
    example = found.counterexample
    return {
        "id": found.claim.id,
        "found": found.found.name,
        "holds": found.claim.holds,
        "tried": found.tried,
        "outside": found.outside,
        "isolated": found.isolated,
        "raised": found.raised,
        "worst_margin": found.worst,
        "replayed": found.replayed,
        "counterexample": None if example is None else example.record(),
        "first": None if found.first is None else found.first.record(),
        "replay": None if example is None else example.replay,
        "shrinks": found.shrinks,
        "reason": found.reason or None,
        "seconds": found.seconds,
    }


def _table(searches: Sequence[Any]) -> Any:
    columns = ("claim", "instances", "outside", "isolated", "worst\nmargin", "found")
    made = table(columns, right=columns[1:5])
    for found in searches:
        known = "" if found.claim.holds or not found.counterexample else " (known)"
        made.add_row(
            found.claim.id,
            number(found.tried),
            number(found.outside),
            number(found.isolated),
            number(found.worst, 2),
            found.found.name + known,
        )
    return made


def _notes(searches: Sequence[Any], again: str, kept: Path) -> list[str]:
    notes = []
    for found in searches:
        example = found.counterexample
        if example is not None:
            how = "replayed" if found.replayed else f"found as {found.first.label}"
            notes.append(f"{found.claim.id}: COUNTEREXAMPLE {example.label} ({how})")
            notes.append(f"  again: {again} --claim {found.claim.id} --seconds 0 --kept {kept}")
        elif found.reason:
            notes.append(f"{found.claim.id}: {found.reason}")
    return notes


def _summary(searches: Sequence[Any]) -> str:
    drawn = [found for found in searches if found.found.name != "NOT_SEARCHED"]
    # Nothing was asked of a claim none of whose draws was an instance.
    searched = [found for found in drawn if found.tried]
    idle = f" ({len(drawn) - len(searched)} met no instance)" if len(drawn) > len(searched) else ""
    broken = [found for found in searched if found.claim.holds and found.counterexample]
    refuted = sum(bool(found.counterexample) for found in searched) - len(broken)
    tried = sum(found.tried for found in searches)
    end = f"{len(broken)} BROKEN" if broken else "none that should hold was broken"
    return (
        f"{len(searched)} of {len(searches)} claims searched{idle}, {tried:,} instances: {end}, "
        f"{refuted} false ones refuted."
    )
