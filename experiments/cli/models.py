"""``ufm models``: the models that --model names, with their formula, flags and what is known."""

from __future__ import annotations

from typing import Annotated, Any

from experiments.cli.flags import Json, Out
from experiments.cli.model import flag_of
from experiments.cli.output import deliver, envelope, prepare, require_writable, show, table
from experiments.models import named_model
from experiments.options import flag

EXAMPLES = ("ufm models", "ufm models --model my_model.py:MyModel --json")
QUESTIONS = {
    "minimiser": "minimiser",
    "generators": "symmetry",
    "structure": "exact spectrum",
    "certificate": "bound on the minimum",
    "as_plain": "atlas",
}


def models(
    model: Annotated[
        str | None,
        flag(
            "--model",
            "NAME",
            "One model only, by name or FILE.py:NAME, and what it answers at its defaults.",
        ),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """List the models: formula, flags, and what each can answer.

    Whether it does depends on the numbers; with --model it is asked at the defaults.
    """
    prepare()
    require_writable(out, "--out")
    from ufm import MODELS

    chosen = list(MODELS.values()) if model is None else [named_model(model)]
    records = [described(declared) for declared in chosen]
    if model is not None:
        records[0]["known"] = known(chosen[0])
    deliver(envelope("models", {"model": model}, {"models": records}), as_json=as_json, out=out)
    if as_json:
        return
    for record in records:
        made = table(("flag", "default", ""))
        for one in record["flags"]:
            default = "-" if one["default"] is None else str(one["default"])
            made.add_row(one["flag"], default, one["help"])
        show(f"\n{record['name']}: {record['summary']}", f"  {record['formula']}", made)
        show(f"Answers: {', '.join(record['answers']) or 'nothing in closed form'}.")
        if "known" in record:
            show(f"At the defaults: {', '.join(record['known']) or 'nothing in closed form'}.")


def described(declared: Any) -> dict[str, Any]:
    """What can be said of a model: its declaration, and the questions that it can answer."""
    loss = declared.loss
    flags = [
        {
            "name": parameter.name,
            "flag": "--loss" if parameter.name == loss else flag_of(parameter.name),
            "kind": parameter.kind.__name__,
            "default": own_loss(declared) if parameter.name == loss else parameter.default,
            "help": parameter.help,
        }
        for parameter in declared.parameters
    ]
    return {
        "name": declared.name,
        "summary": declared.summary,
        "formula": declared.formula,
        "flags": flags,
        "answers": answers(declared),
    }


def answers(declared: Any) -> list[str]:
    """The questions to which the class of a model has an answer of its own.

    Nothing is computed, so that a list of all models comes at once.
    """
    from ufm.model import Model

    if any(parameter.required for parameter in declared.parameters):
        return []
    own = type(declared.build({}))
    return [
        told
        for question, told in QUESTIONS.items()
        if getattr(own, question) is not getattr(Model, question)
    ]


def own_loss(declared: Any) -> str:
    """The name of the loss that a model has unless another one is given."""
    if any(parameter.required for parameter in declared.parameters):
        return "ce"
    loss = getattr(declared.build({}), "loss", None)
    return "ce" if loss is None else str(loss.name)


def known(declared: Any) -> list[str]:
    """The questions that the model answers at its defaults; none where a parameter has none."""
    import jax
    import numpy as np

    if any(parameter.required for parameter in declared.parameters):
        return []
    model = declared.build({})
    point = jax.tree.map(np.asarray, model.random_point(jax.random.key(0)))
    best = model.minimiser()
    at = point if best is None else best.point
    answered = {
        "minimiser": best is not None,
        "generators": model.generators(point) is not None,
        "structure": model.structure(at) is not None,
        "certificate": model.certificate(at).applies,
        "as_plain": model.as_plain() is not None,
    }
    told = [QUESTIONS[question] for question, whether in answered.items() if whether]
    return [f"{name} ({best.evidence})" if best and name == "minimiser" else name for name in told]
