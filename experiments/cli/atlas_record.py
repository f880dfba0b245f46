"""What ``ufm atlas`` says: the JSON record, the table and the notes under it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from experiments.cli.output import number, table

# Orbits in a table on a terminal; the JSON has them all.
MAX_ROWS = 80
# Dimensions for which the JSON spells out every orbit: more are spelled out for the one asked for.
MAX_DIMENSIONS = 16


def atlas_record(
    found: Any, d: int, agreements: Sequence[Any] = (), proofs: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """An atlas as it goes into the JSON; per orbit d runs from its rank to K, and d itself.

    With many classes only the rank, the ranks next to it, K - 1, K and d are spelled out: index and
    nullity are linear in between. ``proofs`` say what became of the certificates asked for.
    """
    top = found.model.num_classes
    records = [_orbit_record(orbit, _dimensions(orbit.rank, top, d)) for orbit in found.orbits]
    for proof in proofs:
        kept = {name: value for name, value in proof.items() if name != "orbit"}
        records[proof["orbit"]].setdefault("certificates", []).append(kept)
    return {
        "orbits": records,
        "checksum": {} if found.unsearched else found.checksum,
        "inequalities": {} if found.unsearched else found.inequalities,
        "missing_mass": found.missing_mass,
        "missing_mass_bound": found.missing_mass_bound,
        "doubts": [] if found.unsearched else found.doubts,
        "status": found.status.name,
        "unsearched": found.unsearched,
        "agreement": {
            said.engine: {"shared": said.shared, "new": len(said.new)} for said in agreements
        },
        "starts": found.starts,
        "failures": {
            rank: {reason.name: count for reason, count in reasons.items()}
            for rank, reasons in found.failures.items()
        },
        "rounds": [
            {"searches": r.searches, "orbits": r.orbits, "checksum": r.checksum}
            for r in found.history
        ],
        "seconds": found.seconds,
    }


def _dimensions(rank: int, top: int, d: int) -> list[int]:
    low = max(1, rank)
    if top - low > MAX_DIMENSIONS:
        chosen = {low, low + 1, top - 1, top, d}
    else:
        chosen = {*range(low, top + 1), d}
    return sorted(x for x in chosen if x >= low)


def _orbit_record(orbit: Any, ds: Sequence[int]) -> dict[str, Any]:
    return {
        "objective": orbit.objective,
        "rank": orbit.rank,
        "index_range": orbit.range_index,
        "overshoot": orbit.overshoot,
        "count": orbit.count,
        "family_dimension": max(0, len(orbit.betti) - 1),
        "stabiliser_order": orbit.stabiliser,
        "label": orbit.label,
        "gradient_norm": orbit.gradient_norm,
        "index": {d: orbit.index(d) for d in ds},
        "nullity": {d: orbit.nullity(d) for d in ds},
        "predicted_nullity": {d: orbit.predicted_nullity(d) for d in ds},
        "lambda_min": {d: orbit.smallest(d) for d in ds},
        "verdict": {d: orbit.curvature(d).name for d in ds},
        "global": orbit.certified,
        "hits": orbit.hits,
        "hits_eliminated": orbit.hits_eliminated,
    }


def atlas_table(found: Any, d: int, proofs: Sequence[dict[str, Any]] = ()) -> Any:
    """One row per orbit, lowest objective first; what is proved, where that was asked for."""
    numbers = (
        "objective",
        "rank r",
        "index\nd = r",
        "per\nnew d",
        "matrices\nZ",
        f"index\nd = {d}",
    )
    proved = ("proved\nin d =",) if proofs else ()
    made = table((*numbers, "verdict", *proved, "symmetry"), right=numbers)
    made.columns[6].no_wrap = True
    for place, orbit in enumerate(found.orbits[:MAX_ROWS]):
        fits = d >= orbit.rank
        made.add_row(
            f"{orbit.objective:.9f}",
            number(orbit.rank),
            number(orbit.range_index),
            f"+{orbit.overshoot}",
            _count(orbit),
            number(orbit.index(d) if fits else None),
            _verdict(orbit, d) if fits else "needs a larger d",
            *([_proved(proofs, place)] if proofs else []),
            orbit.label,
        )
    return made


def _proved(proofs: Sequence[dict[str, Any]], place: int) -> str:
    """The dimensions in which an orbit is proved, and a dash for none."""
    good = (proof["d"] for proof in proofs if proof["orbit"] == place and proof["proved"])
    return ", ".join(map(str, good)) or "-"


def _count(orbit: Any) -> str:
    """Matrices Z of an orbit; a continuum has none to count."""
    if orbit.is_continuum:
        return "continuum"
    return number(orbit.count) if orbit.count < 10**7 else f"{Decimal(orbit.count):.1e}"


def _verdict(orbit: Any, d: int) -> str:
    name = orbit.curvature(d).name
    if name == "MORSE_BOTT_MINIMUM":
        return "global minimum" if orbit.certified else "minimum"
    return str(name.lower().replace("_", " "))


def atlas_notes(found: Any, agreements: Sequence[Any] = ()) -> list[str]:
    """The checks of completeness, and what the failed searches ended in."""
    reasons: Counter[Any] = sum(found.failures.values(), Counter())
    failed = "; ".join(f"{count:,} {reason.value}" for reason, count in reasons.most_common())
    continua = any(orbit.is_continuum for orbit in found.orbits)
    matrices = number_of(sum(orbit.count for orbit in found.orbits))
    kinds = "critical manifolds" if continua else f"orbits ({matrices} matrices Z)"
    reason = found.unsearched or found.status.value
    lines = [f"{len(found.orbits):,} {kinds}, {found.status.name}: {reason}."]
    if len(found.orbits) > MAX_ROWS:
        lines.insert(0, f"The {MAX_ROWS} lowest are shown; --json has them all.")
    if not found.unsearched:
        lines += _checks(found)
    if found.starts:
        lines.append(
            f"{found.starts.total():,} searches in {found.seconds:.1f} s"
            + (f", of which {failed}." if failed else ".")
        )
    lines += [f"{said.text}." for said in agreements]
    if not found.unsearched:
        lines += found.doubts
    flat = [orbit.label for orbit in found.orbits if not orbit.morse_bott]
    if flat:
        lines.append(
            "Zero eigenvalues that symmetry does not explain (UNDECIDED where the index is 0): "
            + ", ".join(flat[:5])
            + (f" and {len(flat) - 5} more." if len(flat) > 5 else ".")
        )
    return lines


def number_of(count: int) -> str:
    """A count with separators, or in powers of ten."""
    return number(count) if count < 10**9 else f"{Decimal(count):.1e}"


def _checks(found: Any) -> list[str]:
    sums = ", ".join(f"d={d}: {value}" for d, value in found.checksum.items())
    hold = "hold" if all(found.inequalities.values()) else "FAIL"
    line = f"Euler checksum (1 for a complete list): {sums}; Morse inequalities {hold}."
    if found.starts:
        line += (
            " Searches expected to end at an unseen orbit: at most "
            f"{found.missing_mass_bound:.0%} (confidence 95 %, the worst rank)."
        )
    return [line]
