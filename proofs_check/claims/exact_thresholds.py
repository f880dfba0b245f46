"""Thresholds enclosed by balls (tier T3), against float64 that shares no code with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from proofs_check.claim import COUNTING, Check, Claim, Mutant
from proofs_check.claims.exact import (
    ONE_PER_CENT,
    ROUNDING,
    WIDTH,
    Setting,
    against,
    dense_hessian,
    mean_cross_entropy,
    settings,
)
from proofs_check.claims.focal import window
from ufm.frames import merged_code
from ufm.losses.focal import focal_convexity_threshold
from ufm.plain.laws import vanishing_minority
from ufm.typing import Array


def _index_changes(factor: float) -> Callable[[Setting], float]:
    """How often the index of the dense Hessian is not that of its side of c*, one part in 1e6."""

    def check(case: Setting) -> float:
        from proofs_check.rigorous.thresholds import merging_threshold

        groups, d = case.number("groups"), case.number("d")
        K = 2 * groups
        ball = merging_threshold(groups)
        if ball is None or not 2 * ball.rad() <= WIDTH:
            return float("inf")
        frame, wrong = merged_code([2] * groups, d), 0
        for side, index in ((1 - 1e-6, (K - groups) * d), (1 + 1e-6, (K - groups) * (d - 1))):
            c = float(ball) * factor * side
            root = np.sqrt(np.log(groups / c - groups + 1)) * frame
            spectrum = np.linalg.eigvalsh(dense_hessian(root, root.T, c / K, c / K))
            wrong += abs(int(np.sum(spectrum < -1e-12)) - index)
        return float(wrong)

    return check


MERGING = Claim(
    id="exact-merged-index-drop",
    title="Where the index of merged saddles drops, enclosed",
    statement="The equation of the drop has exactly one solution, which lies in a ball of 1e-20 "
    "(for two groups none), and there the index of the dense Hessian changes.",
    latex=r"(c+\beta X)(c+u\beta P_g)=(1-\delta)^2,\quad c^\ast(3)=0.13055065088233357\ldots",
    source="CE-6; derived here",
    region=settings("groups d", (3, 3), (4, 4), within=lambda groups, d: d >= groups - 1),
    check=_index_changes(1.0),
    tolerance=COUNTING,
    mutant=Mutant("c* larger by one per cent", _index_changes(ONE_PER_CENT)),
    tier="T3",
    uses=("exact-merged-saddles",),
)


def enclosed_convexity(gamma: float) -> Any:
    """u*(gamma)."""
    from proofs_check.rigorous.thresholds import focal_convexity

    return [focal_convexity(gamma)]


def _library_convexity(case: Setting) -> float:
    return focal_convexity_threshold(case.number("gamma"))


CONVEXITY = Claim(
    id="exact-focal-convexity",
    title="Where focal loss is convex, enclosed",
    statement="The criterion of convexity is negative below one number u*, which lies in a ball of "
    "1e-20, and positive above, on all of (0, 1).",
    latex=r"(2\gamma+1)(1-u)+\gamma(1-(\gamma+1)u)\log u\ge0\iff u\ge u^\ast(\gamma)",
    source="FL-2; derived here",
    region=settings("gamma", (2.0,), (0.5,), (1.0,), (3.0,), (10.0,)),
    check=against(enclosed_convexity, _library_convexity),
    tolerance=ROUNDING,
    mutant=Mutant(
        "gamma larger by one per cent",
        against(enclosed_convexity, _library_convexity, gamma=ONE_PER_CENT),
    ),
    tier="T3",
    uses=("identity-focal-criterion",),
)


def enclosed_extreme() -> Any:
    """The largest u* of all gammas, as long as 1/18 and 1/17 are proved to lie on its sides."""
    from proofs_check.rigorous.thresholds import largest_focal_convexity

    largest, _ = largest_focal_convexity()
    return [largest] if 17 * largest < 1 < 18 * largest else []


def _extreme_mutant() -> Any:
    from proofs_check.rigorous.balls import precision

    with precision():
        return [enclosed_extreme()[0] * ONE_PER_CENT]


def _library_extreme(case: Setting) -> float:
    best = minimize_scalar(
        lambda gamma: -focal_convexity_threshold(gamma), bounds=(1, 5), method="bounded"
    )
    return float(-best.fun)


EXTREME = Claim(
    id="exact-focal-seventeen-classes",
    title="No window with seventeen classes, whatever gamma",
    statement="The largest u* of all gammas lies in a ball of 1e-20 between 1/18 and 1/17, so that "
    "focal loss has no spurious minimum at the origin for K <= 17 and any gamma.",
    latex=r"\max_{\gamma>0}u^\ast(\gamma)=0.05844443329556708\ldots\in(\tfrac1{18},\tfrac1{17})",
    source="FL-3; derived here",
    region=lambda quick: (Setting({}, "all gamma > 0"),),
    check=against(enclosed_extreme, _library_extreme),
    tolerance=ROUNDING,
    mutant=Mutant("larger by one per cent", against(_extreme_mutant, _library_extreme)),
    tier="T3",
    uses=("focal-convexity",),
)


def enclosed_window(K: int, gamma: float) -> Any:
    """c_origin and c_collapse."""
    from proofs_check.rigorous.thresholds import focal_window

    told = focal_window(K, gamma)
    return [] if told is None else [told.origin, told.collapse]


def _float_window(case: Setting) -> list[float]:
    K, gamma = case.number("K"), case.number("gamma")
    origin, collapse, _ = window(K, gamma)
    return [origin, collapse] if collapse > origin else []


WINDOW = Claim(
    id="exact-focal-window",
    title="The window of a spurious origin, enclosed",
    statement="Both ends of the window of c in which the origin is a spurious minimum of focal "
    "loss lie in balls of 1e-20; where 1/K > u* there is proved to be none.",
    latex=r"c_{\mathrm{origin}}<c<c_{\mathrm{global}}=\max_a\frac{\psi(0)-\psi(a)}a\,\frac K{K-1}",
    source="FL-3, S-3; derived here",
    region=settings("K gamma", (50, 2.0), (17, 3.0), (100, 5.0), (24, 1.5)),
    check=against(enclosed_window, _float_window),
    tolerance=ROUNDING,
    mutant=Mutant(
        "gamma larger by one per cent", against(enclosed_window, _float_window, gamma=ONE_PER_CENT)
    ),
    tier="T3",
    uses=("focal-convexity",),
)


def enclosed_minority(large: int, small: int, n_large: int, n_small: int) -> Any:
    """N sigma at which the small classes vanish."""
    from proofs_check.rigorous import thresholds as enclosed

    return [enclosed.vanishing_minority(large, small, n_large, n_small)]


def _library_minority(case: Setting) -> float:
    large, small, n_large, n_small = (float(x) for x in case.numbers.values())
    ratio = n_large / n_small
    return vanishing_minority(int(large), int(small), ratio) * float(np.sqrt(n_small))


MINORITY = Claim(
    id="exact-minority-vanishes",
    title="Where the minority vanishes, enclosed",
    statement="The equation for the decay at which the classifiers of the small classes vanish has "
    "exactly one solution, in a ball of 1e-20.",
    latex=r"KN^2\sigma^2=k_An_B+k_Bn_At^2,\quad N\sigma=2.373891692820586\ldots"
    r"\ (k_A,k_B,n_A,n_B)=(2,3,9,2)",
    source="X-4; derived here, after Hong & Ling (2024)",
    region=settings(
        "large small n_large n_small",
        (2, 3, 9, 2),
        (5, 4, 100, 10),
        (50, 40, 100, 10),
        within=lambda large, n_large, n_small, **_: large > 1 and n_large > n_small > 0,
    ),
    check=against(enclosed_minority, _library_minority),
    tolerance=ROUNDING,
    mutant=Mutant(
        "twice as many small classes", against(enclosed_minority, _library_minority, small=2)
    ),
    tier="T3",
    uses=("minority-vanishes",),
)


def _best_multiple(shape: Array, n: int, decay: float) -> float:
    """The least value of a multiple of given logits, with two weight matrices (DL-1)."""
    price = 1.5 * decay * np.sum((np.sqrt(n) * np.linalg.svd(shape, compute_uv=False)) ** (2 / 3))

    def value(a: float) -> float:
        return mean_cross_entropy(a * shape) + float(price * a ** (2 / 3))

    found = minimize_scalar(value, bounds=(2, 10), method="bounded", options={"xatol": 1e-9})
    return float(found.fun)


SHAPES = {
    "simplex": np.eye(4) - 0.25,
    "pairs": np.kron(np.eye(2), np.array([[1.0, -1.0], [-1.0, 1.0]])),
}


def _crossing(case: Setting) -> Any:
    from proofs_check.rigorous.depth import pairs_crossing

    return pairs_crossing(4, 2, case.number("n"), low="0.004", high="0.02")


def _crossing_error(factor: float) -> Check:
    """On how many sides of the crossing, one part in 1e6 away, the wrong family is lower."""

    def check(case: Setting) -> float:
        n, wrong = case.number("n"), 0
        told = case.once(_crossing)
        if told is None or not 2 * told.decay.rad() <= WIDTH:
            return float("inf")
        for side, first in ((1 - 1e-6, "simplex"), (1 + 1e-6, "pairs")):
            decay = float(told.decay) * factor * side
            values = {name: _best_multiple(shape, n, decay) for name, shape in SHAPES.items()}
            wrong += min(values, key=values.__getitem__) != first
        return float(wrong)

    return check


CROSSING = Claim(
    id="exact-depth-crossing",
    title="Where depth makes collapse lose, enclosed",
    statement="With four classes and two weight matrices the best points with classes in pairs "
    "overtake the best simplex at exactly one decay, which lies in a ball of 1e-20; above it "
    "collapse is not optimal.",
    latex=r"\lambda^\ast=0.011760498079288394177\ldots\quad(K=4,\ M=2,\ n=1)",
    source="DL-4; derived here, after Garrod & Keating (2024)",
    region=settings("n", (1,), (5,)),
    check=_crossing_error(1.0),
    tolerance=COUNTING,
    mutant=Mutant("larger by one per cent", _crossing_error(ONE_PER_CENT)),
    tier="T3",
    uses=("deep-linear-pairs",),
)

CLAIMS = (MERGING, CONVEXITY, EXTREME, WINDOW, MINORITY, CROSSING)
