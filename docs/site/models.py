"""The page of models: their formulas and flags, as ``ufm models`` says them."""

from __future__ import annotations

from docs.site.claims import plain
from experiments.cli.models import described, known
from ufm import MODELS


def models_page() -> str:
    """Every registered model, as Markdown."""
    made = ["# Models", "", "What `ufm models` prints: every model that `--model` names.", ""]
    for declared in MODELS.values():
        said = described(declared)
        made += [f"## {said['name']}", "", plain(said["summary"]), ""]
        made += ["```text", said["formula"], "```", ""] if said["formula"] else []
        made += ["| flag | default | |", "|---|---|---|"]
        for flag in said["flags"]:
            default = "" if flag["default"] is None else plain(str(flag["default"]))
            made.append(f"| `{flag['flag']}` | {default} | {plain(flag['help'])} |")
        told = ", ".join(map(plain, known(declared))) or "nothing in closed form"
        made += ["", f"Known at the defaults: {told}.", ""]
    return "\n".join(made)
