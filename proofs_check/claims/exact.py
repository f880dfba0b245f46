"""Points in closed form, enclosed by balls (tier T3), against float64 that shares no code.

What is enclosed is proved to exist, to be the only one, and to lie in a ball of 1e-20; the claim is
that the lab's own numbers, or dense Hessians, lie there too. python-flint is imported when a claim
runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from proofs_check.claim import Check, Claim, Mutant, Tolerance
from proofs_check.instance import Instance
from ufm.frames import merged_code, polygon
from ufm.losses import CrossEntropy, Focal, LabelSmoothing
from ufm.plain.model import UFM
from ufm.plain.spectra import minimiser_spectrum
from ufm.typing import Array

WIDTH = 1e-20
ROUNDING = Tolerance(1e-11, "float64 root finding: 1e-14, times the steepness of the equation")
ONE_PER_CENT = 1.01


@dataclass(frozen=True, eq=False)
class Setting(Instance):
    """Numbers of one scalar equation.

    Attributes:
        numbers: name -> number.
        kind: "scalar equation".
    """

    numbers: Mapping[str, Any]
    kind: str = "scalar equation"

    @property
    def columns(self) -> Mapping[str, Any]:
        """The numbers."""
        return self.numbers

    @property
    def floats(self) -> dict[str, float]:
        """All of them: whole ones are rounded again."""
        return {name: float(value) for name, value in self.numbers.items()}

    def varied(self, numbers: Mapping[str, float], *_: Any) -> Setting:
        """Other numbers of the same kinds."""
        kinds = ((name, type(self.numbers[name]), value) for name, value in numbers.items())
        told = {name: round(x) if kind is int else x for name, kind, x in kinds}
        return Setting(told, self.kind)

    @property
    def label(self) -> str:
        """The numbers in words."""
        return " ".join(f"{name}={value}" for name, value in self.numbers.items())


def settings(
    names: str, *rows: tuple[Any, ...], within: Callable[..., bool] = lambda **_: True
) -> Callable[[bool], tuple[Setting, ...]]:
    """A region: one setting per row of numbers; the first two are the quick ones.

    Args:
        names: of the numbers.
        rows: of numbers.
        within: whether the equation makes sense for numbers, of which others may be drawn.
    """
    every = tuple(Setting(dict(zip(names.split(), row, strict=True))) for row in rows)

    def region(quick: bool) -> tuple[Setting, ...]:
        return every[:2] if quick else every

    region.kept = (lambda case: within(**case.numbers),)  # type: ignore[attr-defined]
    return region


def strength(K: int, lambda_W: float, lambda_H: float, n: int = 1, **_: float) -> float:
    """c = K sqrt(n lambda_W lambda_H)."""
    return float(K * np.sqrt(n * lambda_W * lambda_H))


def outside(seen: Any, balls: Any) -> float:
    """How far float64 numbers lie from balls, relative to max(1, |them|).

    Infinite for a ball wider than 1e-20, and for another number of them.
    """
    seen = np.atleast_1d(np.asarray(seen, dtype=float))
    if len(seen) != len(balls):
        return float("inf")
    worst = 0.0
    for number, ball in zip(seen, balls, strict=True):
        if not 2 * ball.rad() <= WIDTH:
            return float("inf")
        worst = max(worst, float(abs(ball - float(number)).upper()) / max(1.0, abs(number)))
    return worst


def against(
    enclosed: Callable[..., Any],
    measured: Callable[[Setting], Any],
    error: Callable[[Any, Any], float] = outside,
    **altered: float,
) -> Check:
    """The error of a measurement against an enclosure; altered numbers are multiplied."""

    def check(case: Setting) -> float:
        numbers = {name: x * altered.get(name, 1) for name, x in case.numbers.items()}
        return float(error(case.once(measured), enclosed(**numbers)))

    return check


# ---- the simplex


def _loss(case: Setting) -> Any:
    delta, gamma = case.number("delta"), case.number("gamma")
    return LabelSmoothing(delta) if delta else Focal(gamma) if gamma else CrossEntropy()


def _table(case: Setting) -> tuple[Array, Array]:
    """Value and multiplicity of the library's levels, ascending."""
    K, d, n = (case.number(name) for name in ("K", "d", "n"))
    decays = {name: case.number(name) for name in ("lambda_W", "lambda_H")}
    levels = minimiser_spectrum(UFM(_loss(case), K, d, n, **decays)).levels
    values = np.array([level.value for level in levels])
    return values, np.array([level.multiplicity for level in levels])


def enclosed_spectrum(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, delta: float, gamma: float
) -> Any:
    """The levels of the simplex, in balls."""
    from proofs_check.rigorous.simplex import simplex

    told = simplex(K, d, n, lambda_W=lambda_W, lambda_H=lambda_H, smoothing=delta, gamma=gamma)
    if told.inertia()[:2] != (0, (K - 1) * d - K * (K - 1) // 2):
        return []  # flat in other directions than the rotations
    return sorted(told.levels, key=lambda level: float(level.value))


def _level_error(table: tuple[Array, Array], levels: Any) -> float:
    """Largest distance of two spectra, eigenvalue by eigenvalue."""
    values, times = table
    ends, own = np.cumsum(times), np.cumsum([level.multiplicity for level in levels])
    if not levels or ends[-1] != own[-1]:
        return float("inf")
    # The last eigenvalue of every run of equal ones, of either table.
    places = np.union1d(ends, own)
    balls = [levels[i].value for i in np.searchsorted(own, places)]
    return outside(values[np.searchsorted(ends, places)], balls)


SPECTRUM = Claim(
    id="exact-simplex-spectrum",
    title="The whole spectrum of the simplex, enclosed",
    statement="Scale, and every eigenvalue of the Hessian at the simplex with its multiplicity, "
    "lie in balls of 1e-20; all but the rotations are proved to be positive.",
    latex=r"\mathrm{spec}\,\nabla^2f\subset\bigcup_i[\mu_i\pm10^{-20}],\quad"
    r"\mathrm{null}=(K-1)d-\tfrac{K(K-1)}2",
    source="7.1; derived here",
    region=settings(
        "K d n lambda_W lambda_H delta gamma",
        (2, 3, 4, 0.01, 0.02, 0.0, 0.0),
        (5, 7, 2, 0.01, 0.005, 0.1, 0.0),
        (3, 2, 1, 0.02, 0.03, 0.0, 2.0),
        (30, 32, 50, 0.001, 0.002, 0.0, 0.0),
        within=lambda K, d, delta, **rest: d >= K - 1 and strength(K, **rest) + delta < 0.95,
    ),
    check=against(enclosed_spectrum, _table, _level_error),
    tolerance=ROUNDING,
    mutant=Mutant(
        "lambda_W larger by one per cent",
        against(enclosed_spectrum, _table, _level_error, lambda_W=ONE_PER_CENT),
    ),
    tier="T3",
    uses=("identity-pair-polynomial",),
)


# ---- saddles


def dense_hessian(W: Array, H: Array, lambda_W: float, lambda_H: float) -> Array:
    """The dense Hessian of cross entropy with one sample per class, written out in NumPy."""
    (K, d), Z = W.shape, W @ H
    p = np.exp(Z - Z.max(axis=0))
    p /= p.sum(axis=0)
    S = (np.einsum("ik,ij->kij", p, np.eye(K)) - np.einsum("ik,jk->kij", p, p)) / K
    G = (p - np.eye(K)) / K
    ww = np.einsum("kij,ak,bk->iajb", S, H, H).reshape(K * d, K * d) + lambda_W * np.eye(K * d)
    wh = np.einsum("ik,ab->iabk", G, np.eye(d)) + np.einsum("kij,jb,ak->iabk", S, W, H)
    hh = np.einsum("kij,ia,jb,kl->akbl", S, W, W, np.eye(K)).reshape(K * d, K * d)
    wh = wh.reshape(K * d, K * d)
    return np.block([[ww, wh], [wh.T, hh + lambda_H * np.eye(K * d)]])


def mean_cross_entropy(logits: Array) -> float:
    """Mean cross entropy of the columns, class by class."""
    return float(np.mean(np.log(np.exp(logits).sum(axis=0)) - np.diag(logits)))


def _polygon(case: Setting) -> tuple[float, int]:
    """The polygon of least value, its amplitude by descent on the objective itself."""
    frame = polygon(case.number("K"), case.number("d"))
    return _lowest(case, frame)


def _groups(case: Setting) -> tuple[float, int]:
    """The merged code of least value."""
    size = case.number("K") // case.number("groups")
    return _lowest(case, merged_code([size] * case.number("groups"), case.number("d")))


def _lowest(case: Setting, frame: Array) -> tuple[float, int]:
    """Least value along W = w F, H = h F^T, and the number of negative eigenvalues there."""
    lw, lh = case.number("lambda_W"), case.number("lambda_H")
    gram = frame @ frame.T
    price = float(np.sqrt(lw * lh) * np.sum(frame**2))

    def slope(a: float) -> float:
        """Of a convex function; least values alone would give a to half of the digits."""
        moved = np.sum(softmax(a * gram, axis=0) * gram, axis=0)
        return float(np.mean(moved - np.diag(gram))) + price

    best = brentq(slope, 1e-6, 50, xtol=1e-14)
    w, h = np.sqrt(best) * np.array([(lh / lw) ** 0.25, (lw / lh) ** 0.25])
    spectrum = np.linalg.eigvalsh(dense_hessian(w * frame, h * frame.T, lw, lh))
    return mean_cross_entropy(best * gram) + price * best, int(np.sum(spectrum < -1e-9))


def enclosed_polygon(K: int, d: int, lambda_W: float, lambda_H: float) -> tuple[Any, int]:
    """Value in a ball, and the index outside the plane."""
    from proofs_check.rigorous.saddles import polygon_saddle

    told = polygon_saddle(K, d, lambda_W=lambda_W, lambda_H=lambda_H)
    return told.value, told.index


def enclosed_groups(
    K: int, groups: int, d: int, lambda_W: float, lambda_H: float
) -> tuple[Any, int]:
    """Value in a ball, and the index."""
    from proofs_check.rigorous.saddles import merged_saddle

    told = merged_saddle(K, groups, d, lambda_W=lambda_W, lambda_H=lambda_H)
    return told.value, told.index


def _saddle_error(seen: tuple[float, int], said: tuple[Any, int]) -> float:
    return outside(seen[0], [said[0]]) + abs(seen[1] - said[1])


POLYGONS = Claim(
    id="exact-polygons",
    title="Polygons, enclosed",
    statement="The amplitude of a polygon is the only root of its equation, its value lies in a "
    "ball of 1e-20, and each of the d - 2 dimensions outside has exactly K - 3 falling directions.",
    latex=r"\sum_jp_j\cos\tfrac{2\pi j}K=1-c,\qquad "
    r"\mathrm{index}(d)=\mathrm{index}(2)+(K-3)(d-2)",
    source="CE-7; derived here",
    region=settings(
        "K d lambda_W lambda_H",
        (5, 3, 0.01, 0.02),
        (6, 3, 0.02, 0.02),
        (4, 3, 0.03, 0.01),
        within=lambda K, d, **rest: K > 2 and d > 1 and strength(K, **rest) < 1,
    ),
    check=against(enclosed_polygon, _polygon, _saddle_error),
    tolerance=ROUNDING,
    mutant=Mutant(
        "lambda_W larger by one per cent",
        against(enclosed_polygon, _polygon, _saddle_error, lambda_W=ONE_PER_CENT),
    ),
    tier="T3",
    uses=("polygon-is-critical",),
)

GROUPS = Claim(
    id="exact-merged-saddles",
    title="Merged saddles, enclosed",
    statement="Value and all negative eigenvalues of the saddle of classes merged in equal groups "
    "lie in balls of 1e-20; the index is proved.",
    latex=r"\beta=\log\bigl(\tfrac\Gamma u-\Gamma+1\bigr),\qquad \mathrm{index}\in"
    r"\{(K-\Gamma)d,(K-\Gamma)(d-1)\}",
    source="CE-6; derived here",
    region=settings(
        "K groups d lambda_W lambda_H",
        (6, 3, 3, 0.01, 0.02),
        (6, 3, 3, 0.05, 0.02),
        (6, 2, 3, 0.03, 0.02),
        within=lambda K, groups, d, **rest: (
            K % groups == 0 and groups < K and d >= groups - 1 and strength(K, **rest) < 1
        ),
    ),
    check=against(enclosed_groups, _groups, _saddle_error),
    tolerance=ROUNDING,
    mutant=Mutant(
        "lambda_W larger by one per cent",
        against(enclosed_groups, _groups, _saddle_error, lambda_W=ONE_PER_CENT),
    ),
    tier="T3",
    uses=("identity-block-merged-classes",),
)


CLAIMS = (SPECTRUM, POLYGONS, GROUPS)
