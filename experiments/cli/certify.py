"""``--certify``: certificates of orbits and of points, as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.files import write_whole

FOLDER = "certificates"


def require_rigour() -> None:
    """Refuse at once where certificates cannot be made.

    Raises:
        InputError: python-flint is missing.
    """
    import proofs_check.rigorous  # noqa: F401


def certify_orbits(
    model: Any, orbits: Sequence[Any], folder: Path, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One file per orbit and dimension; what became of each, in the order of the orbits."""
    from proofs_check.rigorous.orbits import prove_orbits

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("orbit-*.json"):
        old.unlink()  # of an earlier search, whose list was another
    told = []
    for proof in prove_orbits(model, orbits):
        say(f"orbit {proof.orbit + 1} of {len(orbits)} in d = {proof.d}")
        name = f"orbit-{proof.orbit + 1:03d}-d{proof.d}.json"
        if proof.certificate is not None:
            write_whole(folder / name, proof.certificate.text().encode())
        told.append({"orbit": proof.orbit, **_row(proof.d, proof.certificate, proof.reason, name)})
    return told


def certify_point(model: Any, point: Any, others: Sequence[Any], path: Path) -> dict[str, Any]:
    """A file for one point, or why there is none."""
    from proofs_check.rigorous.arithmetic import Undecided
    from proofs_check.rigorous.certificate import PointCertificate
    from proofs_check.rigorous.lower import prove_lower
    from proofs_check.rigorous.merged import fitting
    from proofs_check.rigorous.minimiser import prove_minimiser
    from proofs_check.rigorous.point import prove_critical

    model, point = fitting(model, point)
    others = [fitting(model, other)[1] for other in others]
    try:
        found = prove_critical(model, point)
    except Undecided as undecided:
        return _row(None, None, str(undecided), path.name)
    lower, reason = None, ""
    try:
        lower = prove_lower(found, others)
    except Undecided as undecided:
        reason = str(undecided) if others else ""
    nearness = None
    if found.minimum and lower is None:
        with suppress(Undecided):
            nearness = prove_minimiser(found)
    certificate = PointCertificate(found, lower, nearness)
    try:
        text = certificate.text()
    except Undecided as undecided:
        return _row(None, None, str(undecided), path.name)
    write_whole(path, text.encode())
    return _row(None, certificate, reason, path.name)


def _row(d: int | None, certificate: Any, reason: str, name: str) -> dict[str, Any]:
    where = {} if d is None else {"d": d}
    if certificate is None:
        return {**where, "proved": False, "reason": reason, "file": None}
    from proofs_check.rigorous.certificate import nearness_record

    found, near = certificate.found, certificate.nearness
    return {
        **where,
        "proved": True,
        "reason": reason,
        "file": name,
        "index": found.index,
        "nullity": found.nullity,
        "radius": found.radius,
        "distance": found.distance,
        "not_global": certificate.lower is not None,
        "minimiser": None if near is None else nearness_record(near),
    }


def nearness_words(proof: dict[str, Any]) -> str:
    """What is proved of the distance to the global minimiser, in words; "" where nothing is.

    Example:
        >>> near = {"exact": False, "gap": 1e-9, "logits": 2e-4, "gram_w": 1e-3, "gram_h": 3e-3}
        >>> nearness_words({"minimiser": near})
        'within 1e-09 of the global minimum, its logits within 0.0002 of the minimiser, Grams 0.003'
    """
    near = proof.get("minimiser")
    if near is None:
        return ""
    grams = max(near["gram_w"], near["gram_h"])
    where = (
        "a global minimum" if near["exact"] else f"within {near['gap']:.2g} of the global minimum"
    )
    return f"{where}, its logits within {near['logits']:.2g} of the minimiser, Grams {grams:.2g}"


def said(proofs: Sequence[dict[str, Any]]) -> list[str]:
    """How many are proved and how many undecided, and why."""
    good = [proof for proof in proofs if proof["proved"]]
    lines = [
        f"{len(good)} of {len(proofs)} certificates written (existence, index and nullity proved), "
        f"{len(proofs) - len(good)} undecided."
    ]
    lines += [
        f"Orbit {proof['orbit'] + 1} in d = {proof['d']}: {nearness_words(proof)}."
        for proof in good
        if nearness_words(proof)
    ]
    lines += [
        f"Orbit {proof['orbit'] + 1} in d = {proof['d']}: {proof['reason']}."
        for proof in proofs
        if proof["reason"]
    ]
    return lines
