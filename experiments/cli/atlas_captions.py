"""Heading and caption of every diagram of an atlas, for its page."""

from __future__ import annotations

# Beginning of a file name -> heading and what is seen.
CAPTIONS = {
    "ladder": (
        "Saddle ladder",
        "Objective of every orbit of critical points against the number of its descent directions.",
    ),
    "strips": (
        "Hessian spectra",
        "Eigenvalues at every orbit; left of zero those of descent directions.",
    ),
    "gram": (
        "Logits",
        "Z = W H of every orbit: blue positive, orange negative, with its objective.",
    ),
    "coverage": (
        "Coverage",
        "Orbits found against searches, and the probability mass that may still be unseen.",
    ),
    "geometry": (
        "Arrangement on principal axes",
        "Classifiers w and class means h of one orbit; where they are parallel, NC3 holds.",
    ),
    "slice-line": ("A line through two orbits", "The objective between a saddle and the minimum."),
    "slice-plane": ("A plane through a saddle", "The objective around it, along two directions."),
    "plane": ("Plane through minimum, saddle and origin", "Levels of the objective on it."),
    "surface": ("The same plane as a surface", "The objective above the plane."),
    "cosines": (
        "Cosines between classes",
        "-1/(K-1) off the diagonal at a simplex ETF: blue positive, orange negative.",
    ),
    "arrangements": ("Arrangements in space", "Classifiers of the lowest orbits."),
    "staircase": (
        "Descent from the origin",
        "Objective against time: it waits at the saddles, whose levels are the grey lines.",
    ),
    "along-decay": ("Spectrum along the decay", "Eigenvalues at the minimum against c."),
    "pathway": ("Pathways", "Which orbit flows to which, in layers of equal index."),
    "disconnectivity": ("Disconnectivity graph", "Minima, and the lowest saddle between any two."),
    "bifurcation": ("Branches along c", "Every orbit followed in the decay; births are marked."),
}


def caption_of(name: str) -> tuple[str, str]:
    """Heading and caption of a diagram, by its file name.

    Example:
        >>> caption_of("cosines-saddle")[0]
        'Cosines between classes (saddle)'
    """
    known = max((key for key in CAPTIONS if name.startswith(key)), key=len)
    heading, caption = CAPTIONS[known]
    rest = name.removeprefix(known).strip("-")
    kind, _, number = rest.partition("-")
    if kind == "rank":
        rest = f"rank {number.replace('-', ', number ')}"
    return (f"{heading} ({rest})" if rest else heading), caption
