"""``ufm atlas``: every critical point modulo symmetry, and whether the list is complete."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from experiments.cli.atlas_record import atlas_notes, atlas_record, atlas_table
from experiments.cli.certify import FOLDER, certify_orbits, require_rigour, said
from experiments.cli.flags import (
    COLUMN,
    DecayFlags,
    Json,
    LossFlags,
    ModelInputs,
    Seed,
    SizeFlags,
    Width,
    resolve,
)
from experiments.cli.html_page import Html, require_page, write_page_of
from experiments.cli.output import (
    deliver,
    envelope,
    plain,
    prepare,
    require_writable,
    show,
)
from experiments.cli.prove import (
    MOST_BOXES,
    completeness_notes,
    draw_covers,
    prove_ranks,
    require_proof,
)
from experiments.cli.waiting import stepwise
from experiments.errors import input_error
from experiments.files import whole_file
from experiments.options import flag

EXAMPLES = (
    "ufm atlas -K 5 --lambda 0.02",
    "ufm atlas --counts 3,2,2,1 --loss ls --out my_atlas",
    "ufm atlas -K 6 --budget 300 --engine all --json",
    "ufm atlas -K 4 -d 3 --figures my_figures --graph flows.graphml",
    "ufm atlas -K 4 -d 3 --lambda 0.02 --animation descent.gif",
    "ufm atlas -K 100 --engine symmetric --max-groups 3",
    "ufm atlas -K 4 --lambda 0.02 --out my_atlas --certify",
    "ufm atlas -K 3 --lambda 0.02 --prove --prove-to 0.05 --out proved",
    "ufm atlas -K 4 --lambda 0.2 --prove --prove-rank 2",
)
BUDGET = 60.0
GRAPH_KINDS = (".json", ".graphml")
MAX_GROUPS = 3


class Engine(StrEnum):
    """How critical points are looked for."""

    SEARCH = "search"
    SYMMETRIC = "symmetric"
    ALL = "all"


def whole(size: SizeFlags, loss: LossFlags, decay: DecayFlags) -> ModelInputs:
    """The inputs of an atlas, which holds for every d: without -d the table shows d = K."""
    inputs = resolve(size, loss, decay)
    return inputs if size.d is not None else replace(inputs, d=inputs.build().num_classes)


def atlas(
    inputs: Any,
    budget: Annotated[
        float, typer.Option("--budget", min=0.0, help="Seconds after which no new round begins.")
    ] = BUDGET,
    engine: Annotated[
        Engine,
        typer.Option(
            "--engine",
            help="search: index-blind, up to K = 12. symmetric: points with symmetry, any K. "
            "all: both, births along lambda and folds from both its sides, compared.",
        ),
    ] = Engine.SEARCH,
    max_groups: Annotated[
        int | None,
        flag(
            "--max-groups",
            "INT",
            "Symmetric points with classes merged into at most so many groups.",
            show_default=str(MAX_GROUPS),
        ),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, flag("--out", "DIR", "Keep what is found here; a second run goes on from it.")
    ] = None,
    figures: Annotated[
        Path | None, flag("--figures", "DIR", "Draw every diagram here: PDF, SVG, PNG.")
    ] = None,
    width: Width = COLUMN,
    animation: Annotated[
        Path | None,
        flag(
            "--animation",
            "FILE.gif",
            "A film of a descent from the origin past the saddles; up to d = 3.",
        ),
    ] = None,
    graph: Annotated[
        Path | None,
        flag(
            "--graph", "FILE", "Write which orbit flows to which in dimension d: .json or .graphml."
        ),
    ] = None,
    certify: Annotated[
        bool,
        typer.Option(
            "--certify",
            help="Prove existence, index and nullity of every orbit; a certificate each beside "
            "the atlas, in d = r and d = K + 1.",
        ),
    ] = False,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="Prove that no critical point of rank 1 is missing, and for K = 3 none at all. "
            "Up to K = 5; balanced, no bias, ce or ls.",
        ),
    ] = False,
    prove_to: Annotated[
        float | None,
        flag(
            "--prove-to",
            "LAMBDA",
            "Prove it for every lambda_W up to this one, lambda_H in proportion.",
        ),
    ] = None,
    prove_rank: Annotated[
        int,
        typer.Option(
            "--prove-rank",
            min=1,
            max=2,
            help="2: prove for K = 4 that nothing of rank 2 is missing either; takes minutes, and "
            "may end undecided, with the number of boxes left open.",
        ),
    ] = 1,
    most_boxes: Annotated[
        int | None,
        flag(
            "--most-boxes",
            "INT",
            "Boxes of rank 2 after which what is open is left undecided.",
            min=1,
            show_default=f"{MOST_BOXES:,}",
        ),
    ] = None,
    html: Html = None,
    as_json: Json = False,
) -> None:
    """Search every critical point modulo symmetry, in all dimensions.

    Exit code 3 if the list is OPEN although nothing was left out on purpose (a checksum is not 1,
    or a point is degenerate), or a proof asked for is undecided.
    """
    prepare()
    from experiments.cli.atlas_folder import read_points, require_folder, write_points
    from landscape.atlas.explore import as_plain

    model = as_plain(inputs.build())
    if max_groups is not None and engine is Engine.SEARCH:
        rule = "--max-groups goes with --engine symmetric or all"
        raise input_error(rule, "--engine search", "drop it or change the engine")
    groups = MAX_GROUPS if max_groups is None else max_groups
    kept: Sequence[Any] = ()
    if out is not None:
        require_folder(out)
        require_writable(out / "atlas.json", "--out")
        kept = read_points(out, inputs)

    if certify or prove:
        require_rigour()
    require_proof(inputs, prove, prove_to, prove_rank, most_boxes)
    if certify and out is None:
        rule = "--certify writes beside the atlas"
        raise input_error(rule, "no --out", "add --out DIR")
    if figures is not None:
        require_folder(figures, "--figures")
        require_writable(figures / "ladder.svg", "--figures")
    require_graph(graph)
    require_page(html)
    require_film(animation, inputs.d)

    def work(say: Callable[[str], None]) -> tuple[Any, list[Any]]:
        def keep(found: Any) -> None:
            if out is not None:
                write_points(out, inputs, found)
            say(progress_line(found))

        if engine is Engine.SYMMETRIC:
            from landscape.atlas import symmetric_atlas

            return symmetric_atlas(model, max_groups=groups, seed=seed, progress=keep), []
        from landscape.atlas import atlas as search

        found = search(model, budget=budget, seed=seed, known=kept, progress=keep)
        if engine is Engine.SEARCH or found.proved:
            return found, []
        return compared(found, model, groups, seed, budget, say)

    found, agreements = stepwise(f"Searching K={model.num_classes}", work)
    proofs: list[dict[str, Any]] = []
    if certify and out is not None:
        whole_model = as_plain(inputs.build(merged=False))
        proving = partial(certify_orbits, whole_model, found.orbits, out / FOLDER)
        proofs = stepwise("Proving", proving)
    completeness: dict[str, Any] = {}
    covers = None
    if prove:
        whole_model = as_plain(inputs.build(merged=False))
        completeness, covers = prove_ranks(
            whole_model, found, prove_to, prove_rank, most_boxes, out
        )
        if completeness["ranks_proved"] == completeness["ranks"]:
            found = replace(found, proved=True)
    settings = {
        **inputs.as_dict(),
        "budget": budget,
        "seed": seed,
        "engine": engine.value,
        "max_groups": None if engine is Engine.SEARCH else groups,
    }
    document = envelope("atlas", settings, atlas_record(found, inputs.d, agreements, proofs))
    if prove:
        document["completeness"] = completeness
    deliver(document, as_json=as_json, out=None if out is None else out / "atlas.json")
    notes = [*atlas_notes(found, agreements), *(said(proofs) if certify else [])]
    notes += completeness_notes(completeness) if prove else []
    notes += collapse_notes(model)
    parts = f"Atlas: {inputs.headline(model)}", atlas_table(found, inputs.d, proofs), *notes
    if html is not None:
        told = f"{len(found.orbits)} orbits of critical points: {found.status.name}."
        facts = {"Model": inputs.headline(model), "Seed": str(seed)}
        pictures = stepwise("Figures", lambda say: atlas_pictures(found, inputs.d, seed, say))
        write_page_of(html, "A landscape", told, parts, facts, pictures)
    if not as_json:
        show(*parts)
    if graph is not None:
        stepwise("Following flows", partial(write_graph, found, inputs.d, graph, seed))
    if figures is not None:
        from experiments.cli.atlas_figures import write_figures

        names, left_out = stepwise(
            "Figures",
            lambda say: write_figures(found, inputs.d, figures, width=width, seed=seed, say=say),
        )
        names += [] if covers is None else draw_covers(covers, figures, width)
        if not as_json:
            show(f"{len(names)} figures in {figures}: {', '.join(names)}.", *left_out)
    if animation is not None:
        from experiments.cli.atlas_figures import write_film

        stepwise("Filming", lambda say: write_film(found, inputs.d, animation))
        if not as_json:
            show(f"Film: {animation}.")
    undecided = not all(proof["proved"] for proof in proofs)
    undecided |= prove and not {1, prove_rank} <= {*completeness["ranks_proved"]}
    if undecided or (found.status.name == "OPEN" and not found.unsearched):
        raise typer.Exit(3)


def atlas_pictures(found: Any, d: int, seed: int, say: Callable[[str], None]) -> list[Any]:
    """Every diagram that suits the atlas, for a page."""
    from experiments.cli.atlas_captions import caption_of
    from experiments.cli.atlas_figures import write_figures
    from experiments.report.self_contained import drawn

    with TemporaryDirectory() as folder:
        names, _ = write_figures(found, d, Path(folder), width=COLUMN, seed=seed, say=say)
        return [
            drawn(name, *caption_of(name), name, svg.read_bytes())
            for name in names
            for svg in [Path(folder, f"{name}.svg")]
            if svg.exists()
        ]


def require_graph(path: Path | None) -> None:
    """Refuse a file for the graph before any work is done for it.

    Raises:
        InputError: no folder for it, or a name that ends otherwise than .json or .graphml.
    """
    if path is not None and path.suffix not in GRAPH_KINDS:
        rule = f"--graph writes {' or '.join(GRAPH_KINDS)}"
        raise input_error(rule, path.name, "choose one of these endings")
    require_writable(path, "--graph")


def require_film(path: Path | None, d: int) -> None:
    """Refuse a film before any work is done for it.

    Raises:
        InputError: no folder for it, another ending than .gif, or more than three dimensions.
    """
    if path is not None and path.suffix != ".gif":
        raise input_error("--animation writes .gif", path.name, "choose this ending")
    if path is not None and d > 3:
        raise input_error("--animation shows up to three dimensions", f"d = {d}", "add -d 3")
    require_writable(path, "--animation")


def write_graph(found: Any, d: int, path: Path, seed: int, say: Callable[[str], None]) -> None:
    """Follow the flows from every orbit in dimension d and write who flows to whom."""
    import networkx

    from landscape.flows import connect

    made = connect(found, d, seed=seed, progress=lambda i, n: say(f"from {i} of {n} orbits"))
    with whole_file(path) as stream:
        if path.suffix == ".json":
            text = json.dumps(plain(made.as_dict()), indent=2, allow_nan=False)
            stream.write(f"{text}\n".encode())
        else:
            networkx.write_graphml(made.graph(), stream)


def collapse_notes(model: Any) -> list[str]:
    """Whether these are all critical points although samples of a class were merged."""
    from ufm.plain.focal_collapse import collapse_theorem

    if model.merge().lossless:
        return []
    reason = collapse_theorem(model)
    if reason:
        return [f"The loss is not convex, but samples of a class share a feature: {reason}."]
    return [
        "The loss is not convex: these are the critical points with equal features within every "
        "class. Others may exist; landscape.atlas.uncollapsed looks for them."
    ]


def compared(
    found: Any,
    model: Any,
    max_groups: int,
    seed: int,
    budget: float,
    say: Callable[[str], None],
) -> tuple[Any, list[Any]]:
    """The atlas with what the other engines found taken in, and what they say about it."""
    from landscape.atlas import compare, symmetric_atlas
    from landscape.branches import from_both_sides, grow

    say("symmetric points")
    others = symmetric_atlas(model, max_groups=max_groups, seed=seed).orbits
    found, first = compare(found, "symmetric points", others)
    say("births along lambda")
    found, second = compare(found, "births along lambda", grow(model, seed=seed).orbits)
    say("both sides of lambda")
    beside = from_both_sides(found, budget=budget, seed=seed)
    found, third = compare(found, "both sides of lambda", beside)
    return found, [first, second, third]


def progress_line(found: Any) -> str:
    """How far a search is, in one line."""
    line = f"{len(found.orbits)} orbits, {found.starts.total():,} searches"
    wrong = [d for d, value in found.checksum.items() if value != 1]
    if found.unsearched:
        return line
    if wrong:
        return f"{line}, checksum wrong at d = {', '.join(map(str, wrong))}"
    return f"{line}, checksums 1, unseen at most {found.missing_mass_bound:.2g} (95 %)"
