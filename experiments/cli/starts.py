"""Where a descent begins, and where it goes on below a saddle."""

from __future__ import annotations

from typing import Any

from experiments.errors import input_error

# Explicit points that models of K classes have in K plus so many dimensions or more.
NEEDS = {"simplex": -1, "collapse": 0}


def explicit_point(model: Any, name: str) -> Any:
    """The explicit point of a model of this name.

    Raises:
        InputError: the model has none of this name, or no room for it, or no minimiser is known.
    """
    from experiments.nearest import unknown

    point = model.explicit(name)
    if point is None and name == "minimiser":
        rule = "Need a minimiser that is known in closed form"
        raise input_error(rule, "none of this model at these numbers", "drop --start, and descend")
    if point is None:
        names = ["full", "origin", *model.candidates()]
        if model.minimiser() is not None:
            names.append("minimiser")
        told = model.columns()
        d, needed = told.get("d"), told.get("K", 0) + NEEDS.get(name, 0)
        if name in NEEDS and d is not None and d < needed:
            rule = f"The explicit point {name!r} of K={told['K']} classes needs d >= {needed}"
            raise input_error(rule, d, f"raise d, or use one of {', '.join(names)}")
        raise unknown(name, names, "explicit point")
    return point


def height_of(model: Any, point: Any) -> float:
    """The objective at a point of a model, or of its merger."""
    owner, checked = model.checked(point)
    return float(owner.objective(checked))


def way_down(judged: Any) -> tuple[Any, float] | None:
    """A point below a strict saddle along its most negative curvature, and its objective."""
    if judged.escape is None:
        return None
    point, value = judged.escape.descend(judged.model, judged.point, judged.objective)
    return (point, value) if value < judged.objective else None
