"""Checks certificates by its own formulas: VALID, INVALID(reason) or UNDECIDED(reason).

    python checker.py FILE...

Nothing of the program that wrote a certificate is used: this one needs the standard library and
python-flint, and computes everything again, in balls that contain the exact values.
docs/certificates.md has the proof of what VALID says, and what is trusted.

Exit code 0: all VALID; 3: one is UNDECIDED; 1: one is INVALID; 2: a file is no certificate.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from types import ModuleType
from typing import Any

from flint import arb, arb_mat, ctx

if not __package__:  # run as a program: the files beside this one, and nothing of the lab
    sys.modules["proofs_check"] = ModuleType("proofs_check")
    sys.modules["proofs_check"].__path__ = [str(Path(__file__).parent)]
from proofs_check.checker_algebra import (
    Undecided,
    identity,
    independent,
    negative_eigenvalues,
    nonsingular,
    upper_bound,
)
from proofs_check.checker_line import Line, halves, inside
from proofs_check.checker_minimum import Convex

# What a file may ask for: memory grows with the square of the variables.
MOST_BYTES, MOST_VARIABLES, MOST_SAMPLES = 8_000_000, 700, 700
LONGEST_NUMBER = 40
# Bits of the balls: float64 points have 53, and the factorisations lose some of the rest.
BITS, COVER_BITS = 160, 64


class NotACertificate(Exception):
    """The file is damaged, hostile, or of another kind."""


class Invalid(Exception):
    """The claim is false, and this is proved."""


def _literal(kind: Callable[[str], float]) -> Callable[[str], float]:
    def made(text: str) -> float:
        if len(text) > LONGEST_NUMBER or not math.isfinite(float(text)):
            raise NotACertificate(f"{text[:LONGEST_NUMBER]} is no number of float64")
        return kind(text)

    return made


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise NotACertificate("a name stands twice in one object")
    return made


def read(path: Path) -> dict[str, Any]:
    """The document of a file, with nothing in it looked at but its form."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise NotACertificate(f"more than {MOST_BYTES:,} bytes")
        document = json.loads(
            text.decode("utf-8"),
            parse_float=_literal(float),
            parse_int=_literal(int),
            parse_constant=_literal(float),
            object_pairs_hook=_once,
        )
    except OSError as error:
        raise NotACertificate(f"the file cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise NotACertificate("lists within lists without end") from error
    except ValueError as error:  # also text that is not UTF-8
        raise NotACertificate(f"the file is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != "ufm certificate":
        raise NotACertificate('the format is not "ufm certificate"')
    if document.get("version") != 1:
        raise NotACertificate(f"version {document.get('version')!r}; this program reads version 1")
    return document


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of all that a certificate says, in the one way of writing it that counts."""
    said = {name: value for name, value in document.items() if name != "digest"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _field(record: Any, name: str) -> Any:
    if not isinstance(record, dict) or name not in record:
        raise NotACertificate(f"{name!r} is missing")
    return record[name]


def _known(claim: Any, names: Sequence[str]) -> None:
    """Nothing is claimed that this program does not check."""
    unknown = set(claim) - set(names) if isinstance(claim, dict) else {"claim"}
    if unknown:
        raise NotACertificate(f"unknown in the claim: {', '.join(sorted(unknown))}")


def _number(record: Any, name: str, *, least: float = -math.inf, above: bool = False) -> float:
    value = _field(record, name)
    if type(value) not in (int, float):
        raise NotACertificate(f"{name!r} is no number")
    if value < least or (above and value == least):
        raise NotACertificate(f"{name!r} is {value!r}, out of its domain")
    return float(value)


def _whole(value: Any, what: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise NotACertificate(f"{what} must be a whole number from {least} to {most}")
    return value


def _rows(record: Any, name: str, rows: int, columns: int = 1) -> list[list[float]]:
    """A matrix of numbers; a column may be written as one list."""
    value = _field(record, name)
    if columns == 1 and isinstance(value, list):
        value = [x if isinstance(x, list) else [x] for x in value]
    if (
        not isinstance(value, list)
        or [len(x) for x in value if type(x) is list] != [columns] * rows
    ):
        raise NotACertificate(f"{name!r} is no {rows} x {columns} matrix")
    return [[_number({name: x}, name) for x in row] for row in value]


# ---- the models: a chain of matrices, and a loss of each sample's logits


@dataclass(frozen=True)
class Chain:
    """f = (1/N) sum_i L(F_M ... F_1 h_i + b, y_i) + sum_a decay_a |F_a|^2 / 2, with F_0 = H.

    The plain model has M = 1. The bias, where there is one, is the last factor of shape (K, 1).
    """

    classes: int
    labels: tuple[int, ...]
    widths: tuple[int, ...]
    decays: tuple[arb, ...]
    loss: Mapping[str, Any]

    @property
    def biased(self) -> bool:
        """Whether there is a bias."""
        return len(self.decays) > len(self.widths) + 1

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Of H, F_1, ..., F_M and b."""
        inner = zip((*self.widths[1:], self.classes), self.widths, strict=True)
        made = [(self.widths[0], len(self.labels)), *inner]
        return [*made, (self.classes, 1)] if self.biased else made

    @property
    def size(self) -> int:
        """All variables."""
        return sum(rows * columns for rows, columns in self.shapes)

    def factors(self, x: Sequence[arb]) -> list[arb_mat]:
        """The matrices of a flat point, which has them one after another, row by row."""
        made, start = [], 0
        for rows, columns in self.shapes:
            ends = [(start + i * columns, start + (i + 1) * columns) for i in range(rows)]
            made.append(arb_mat([list(x[a:b]) for a, b in ends]))
            start += rows * columns
        return made


def _decay(record: Any, name: str) -> arb:
    """A positive number, or all from the first to the second of two."""
    value = _field(record, name)
    ends = value if isinstance(value, list) and len(value) == 2 else [value]
    balls = [arb(_number({name: x}, name, least=0.0, above=True)) for x in ends]
    return balls[0].union(balls[-1])


LOSSES = ("ce", "ls", "focal", "mse")


def chain_of(record: Any) -> Chain:
    """The model that a certificate names."""
    family = _field(record, "family")
    if family not in ("plain", "deep-linear"):
        raise Undecided(f"no objective for models of the family {family!r} in this program")
    classes = _whole(_field(record, "num_classes"), "num_classes", 2, MOST_SAMPLES)
    counts = _field(record, "counts")
    if not isinstance(counts, list) or len(counts) != classes:
        raise NotACertificate(f"counts are no list of {classes} numbers")
    sizes = [_whole(n, "a count", 1, MOST_SAMPLES) for n in counts]
    if sum(sizes) > MOST_SAMPLES:
        raise NotACertificate(f"{sum(sizes):,} samples; at most {MOST_SAMPLES:,} are read")
    widths = [_field(record, "dim")] if family == "plain" else _field(record, "widths")
    if not isinstance(widths, list) or not 1 <= len(widths) <= 20:
        raise NotACertificate("widths are no list of 1 to 20 numbers")
    wide = tuple(_whole(d, "a width", 1, MOST_VARIABLES) for d in widths)
    decay_w, decay_h = (_decay(record, name) for name in ("lambda_w", "lambda_h"))
    biased = family == "plain" and record.get("lambda_b") is not None
    decay_b = [arb(_number(record, "lambda_b", least=0.0))] if biased else []
    loss = _field(record, "loss")
    name = _field(loss, "name")
    if name not in LOSSES:
        raise Undecided(f"the loss {name!r} is not known to this program")
    if name == "ls" and _number(loss, "smoothing", least=0.0) >= 1:
        raise NotACertificate("the smoothing is not below 1")
    if name == "focal":
        _number(loss, "gamma", least=0.0)
    labels = tuple(k for k, n in enumerate(sizes) for _ in range(n))
    made = Chain(classes, labels, wide, (decay_h, *[decay_w] * len(wide), *decay_b), loss)
    if made.size > MOST_VARIABLES:
        raise NotACertificate(f"{made.size:,} variables; at most {MOST_VARIABLES:,} are read")
    return made


def point_of(chain: Chain, record: Any) -> list[arb]:
    """The numbers of H, F_1, ..., F_M and the bias, where there is one."""
    weights = record.get("weights") if isinstance(record, dict) else None
    if not isinstance(weights, list):
        weights = [_field(record, "W")]
    values = [_field(record, "H"), *weights, *([_field(record, "b")] if chain.biased else [])]
    if len(values) != len(chain.shapes):
        raise NotACertificate(f"{len(weights)} weight matrices for {len(chain.widths)} widths")
    rows = [
        row
        for j, (value, shape) in enumerate(zip(values, chain.shapes, strict=True))
        for row in _rows({f"factor {j}": value}, f"factor {j}", *shape)
    ]
    return [arb(x) for row in rows for x in row]


def sample_loss(
    loss: Mapping[str, Any], z: Sequence[arb], label: int
) -> tuple[arb, list[arb], list[list[arb]]]:
    """Value, gradient and Hessian in the logits of one sample."""
    K, name = len(z), loss["name"]
    own = [arb(k == label) for k in range(K)]
    if name == "mse":
        off = [x - e for x, e in zip(z, own, strict=True)]
        return sum((x * x for x in off), arb(0)) / 2, off, identity(K).tolist()
    ratios = [sum(((x - y).exp() for x in z), arb(0)) for y in z]
    p, surprise = [1 / x for x in ratios], [x.log() for x in ratios]  # and -log p
    spread = [[p[j] * ((j == k) - p[k]) for k in range(K)] for j in range(K)]
    if name in ("ce", "ls"):
        delta = arb(float(loss.get("smoothing", 0.0)))
        target = [(1 - delta) * e + delta / K for e in own]
        value = sum((t * s for t, s in zip(target, surprise, strict=True)), arb(0))
        return value, [x - t for x, t in zip(p, target, strict=True)], spread
    # phi(u) = -(1 - u)^gamma log u, with the chain rule through u = p_label.
    gamma, u, s = arb(float(loss["gamma"])), p[label], surprise[label]
    rest = sum((p[j] for j in range(K) if j != label), arb(0))
    power = (gamma * rest.log()).exp()
    first = -gamma * power / rest * s - power / u
    second = gamma * (gamma - 1) * power / rest**2 * s + 2 * gamma * power / rest / u + power / u**2
    away = [e - x for e, x in zip(own, p, strict=True)]
    bent = second * u * u + first * u
    hessian = [
        [bent * away[j] * away[k] - first * u * spread[j][k] for k in range(K)] for j in range(K)
    ]
    return power * s, [first * u * x for x in away], hessian


def _samples(chain: Chain, factors: Sequence[arb_mat]) -> list[Any]:
    """Loss, gradient and Hessian in the logits of every sample."""
    Z = factors[0]
    for factor in factors[1 : len(chain.widths) + 1]:
        Z = factor * Z
    shift = factors[-1].entries() if chain.biased else [arb(0)] * chain.classes
    columns = zip(*Z.tolist(), strict=True)
    logits = [[z + b for z, b in zip(column, shift, strict=True)] for column in columns]
    return [sample_loss(chain.loss, z, y) for z, y in zip(logits, chain.labels, strict=True)]


def _decay_of_each(chain: Chain) -> list[arb]:
    sizes = [rows * columns for rows, columns in chain.shapes]
    return [x for x, n in zip(chain.decays, sizes, strict=True) for _ in range(n)]


def objective(chain: Chain, x: Sequence[arb]) -> arb:
    """A ball around the value."""
    losses = sum((part[0] for part in _samples(chain, chain.factors(x))), arb(0))
    price = sum((c * y * y for c, y in zip(_decay_of_each(chain), x, strict=True)), arb(0))
    return losses / len(chain.labels) + price / 2


def derivatives(chain: Chain, x: Sequence[arb]) -> tuple[arb_mat, arb_mat]:
    """Gradient (p, 1) and Hessian (p, p), in the order of the flat point."""
    K, N, depth, factors = chain.classes, len(chain.labels), len(chain.widths), chain.factors(x)
    samples = _samples(chain, factors)
    G = arb_mat([[samples[i][1][k] / N for i in range(N)] for k in range(K)])
    # F_M ... F_{a+1} and F_{a-1} ... F_0 for every a, and the place where F_a begins.
    above, below, starts = [identity(K)], [identity(N)], [0]
    for a in range(depth):
        above.insert(0, above[0] * factors[depth - a])
        below.append(factors[a] * below[-1])
        starts.append(starts[-1] + factors[a].nrows() * factors[a].ncols())
    hessian = arb_mat(chain.size, chain.size)
    for i in range(N):  # through the second derivative of the loss: J_i^T S_i J_i / N
        J = arb_mat(K, chain.size)
        for a, (rows, columns) in enumerate(chain.shapes[: depth + 1]):
            for p, q, k in product(range(rows), range(columns) if a else (i,), range(K)):
                J[k, starts[a] + p * columns + q] = above[a][k, p] * below[a][q, i]
        for k in range(K if chain.biased else 0):
            J[k, chain.size - K + k] = arb(1)
        hessian += J.transpose() * (arb_mat(samples[i][2]) * J) * (arb(1) / N)
    for b, a in combinations(range(depth + 1), 2):  # through the product: <G, F .. dF_a .. dF_b ..>
        between = identity(chain.shapes[b][0])
        for factor in factors[b + 1 : a]:
            between = factor * between
        outer = above[a].transpose() * G * below[b].transpose()
        (rows, inner), (middle, columns) = chain.shapes[a], chain.shapes[b]
        for p, q, s, t in product(range(rows), range(inner), range(middle), range(columns)):
            if not between[q, s].is_zero():
                j, k = starts[a] + p * inner + q, starts[b] + s * columns + t
                hessian[j, k] += outer[p, t] * between[q, s]
                hessian[k, j] = hessian[j, k]
    slopes = [
        y
        for a in range(depth + 1)
        for y in (above[a].transpose() * G * below[a].transpose()).entries()
    ]
    slopes += [sum(row, arb(0)) for row in G.tolist()] if chain.biased else []
    decays = _decay_of_each(chain)
    for j, decay in enumerate(decays):
        hessian[j, j] += decay
    return arb_mat([[g + c * y] for g, c, y in zip(slopes, decays, x, strict=True)]), hessian


# ---- symmetries: directions in which the objective is constant, whatever the point


Move = tuple[int, Any, Any]


def _moves(chain: Chain) -> list[Move]:
    """Turns of hidden space a >= 1 in the plane (s, t); (0, 0, 0) is the shift of a free bias.

    (-1, u, v) turns logits by Q = u v' - v u', which squared error allows among classes of one
    size, and with a bias where Q 1 = 0.
    """
    planes = ((a, combinations(range(width), 2)) for a, width in enumerate(chain.widths, 1))
    moves: list[Move] = [(a, s, t) for a, pairs in planes for s, t in pairs]
    if chain.loss["name"] != "mse":
        return [*moves, (0, 0, 0)] if chain.biased and chain.decays[-1] == 0 else moves
    sizes = [chain.labels.count(k) for k in range(chain.classes)]
    for size in set(sizes):
        alike = [k for k, n in enumerate(sizes) if n == size]
        last = alike.pop() if chain.biased else -1
        units = [[(k == j) - (k == last) for k in range(chain.classes)] for j in alike]
        moves += [(-1, u, v) for u, v in combinations(units, 2)]
    return moves


def _moved(chain: Chain, x: Sequence[arb], move: Move) -> list[arb]:
    """The direction of one move at a point: F_a A and -A F_{a-1}, A = e_s e_t' - e_t e_s'."""
    a, s, t = move
    made, factors = [arb_mat(*shape) for shape in chain.shapes], chain.factors(x)
    if a < 0:
        Q = arb_mat(
            [[arb(s[j] * t[k] - t[j] * s[k]) for k in range(len(s))] for j in range(len(s))]
        )
        nth = [chain.labels[:i].count(y) for i, y in enumerate(chain.labels)]
        pairs = [*zip(chain.labels, nth, strict=True)]
        mix = arb_mat([[Q[y, z] if m == n else arb(0) for y, m in pairs] for z, n in pairs])
        made[len(chain.widths) :] = [Q * factor for factor in factors[len(chain.widths) :]]
        made[0] = factors[0] * mix
        return [y for factor in made for y in factor.entries()]
    if not a:
        made[-1] = arb_mat([[arb(1)]] * chain.classes)
    for p in range(factors[a].nrows() if a else 0):
        made[a][p, t], made[a][p, s] = factors[a][p, s], -factors[a][p, t]
    for i in range(factors[a - 1].ncols() if a else 0):
        made[a - 1][s, i], made[a - 1][t, i] = -factors[a - 1][t, i], factors[a - 1][s, i]
    return [y for factor in made for y in factor.entries()]


def check_point(document: Mapping[str, Any]) -> str:
    """A critical point within a radius, alone there up to symmetry, with its index and nullity."""
    chain, claim = chain_of(_field(document, "model")), _field(document, "claim")
    x = point_of(chain, _field(document, "point"))
    _known(claim, ("radius", "index", "nullity", "value", "minimiser"))
    radius = arb(_number(claim, "radius", least=0.0, above=True))
    index, nullity = (_whole(_field(claim, y), y, 0, chain.size) for y in ("index", "nullity"))
    (low,), (high,) = _rows(claim, "value", 2)
    if not all(decay.is_exact() for decay in chain.decays):
        raise NotACertificate("a certificate of one point needs decays that are numbers")
    moves, basis = independent([(move, _moved(chain, x, move)) for move in _moves(chain)])
    slope, curved = derivatives(chain, x)
    bare = derivatives(chain, [arb(y, radius) for y in x])[1]
    # The equations gain B B^T (x - x_0), which holds the symmetries.
    held = basis * basis.transpose() if moves else arb_mat(chain.size, chain.size)
    try:
        near = (curved + held).mid().inv().mid()
    except ZeroDivisionError as error:
        raise Undecided("the Hessian cannot be told from a singular one") from error
    step, off = near * slope, identity(chain.size) - near * (bare + held)
    moved = [
        upper_bound(step[j, 0]) + radius * sum(map(upper_bound, row), arb(0))
        for j, row in enumerate(off.tolist())
    ]
    if not all(y < radius for y in moved):
        for j, row in enumerate(bare.tolist()):
            least = arb(slope[j, 0].abs_lower()) - radius * sum(map(upper_bound, row), arb(0))
            if least > 0:
                reason = f"component {j} of the gradient is at least {float(least.mid()):.1e} there"
                raise Invalid(f"no critical point within {float(radius):g}: {reason}")
        raise Undecided("no fixed point could be proved within the radius")
    # All that follows is about the true point, which lies in this smaller box.
    inner = [arb(y, r) for y, r in zip(x, moved, strict=True)]
    true = derivatives(chain, inner)[1]
    if moves and not nonsingular(arb_mat([_moved(chain, inner, y) for y in moves]) * basis):
        raise Undecided("the directions of symmetry cannot be told from dependent ones")
    negative = negative_eigenvalues(true + held)
    if len(moves) != nullity:
        raise Invalid(f"the nullity is {len(moves)}, and {nullity} is claimed")
    if negative != index:
        raise Invalid(f"the index is {negative}, and {index} is claimed")
    # |f(x) - f(true point)| <= sum_j |gradient_j| |x_j - true_j| somewhere between them.
    reach = true * arb_mat([[arb(0, r)] for r in moved])
    slopes = zip((slope + reach).entries(), moved, strict=True)
    drift = sum((upper_bound(g) * r for g, r in slopes), arb(0))
    value = objective(chain, x) + arb(0, drift)
    if not arb(low) <= value <= arb(high):
        reason = f"the value lies in {value}, and [{low!r}, {high!r}] is claimed"
        raise Invalid(reason) if value < arb(low) or value > arb(high) else Undecided(reason)
    counts = f"index {index}, nullity {nullity}, value in [{low!r}, {high!r}]"
    said = f"a critical point within {float(radius):g}, {counts}"
    if claim.get("minimiser") is not None:
        said += check_minimiser(chain, claim["minimiser"], x, inner, upper_bound(drift))
    if document.get("lower") is None:
        return said
    below = _number(document["lower"], "below")
    other = objective(chain, point_of(chain, _field(document["lower"], "point")))
    if other > arb(below) or below > low:
        raise Invalid(f"the lower point has the value {other}; below {below!r} is claimed")
    if not other < arb(below):
        raise Undecided(f"the lower point's value {other} is not proved to be below {below!r}")
    return f"{said}; not global: another point has a value below {below!r}"


def check_minimiser(
    chain: Chain, claim: Any, x: Sequence[arb], box: Sequence[arb], drift: arb
) -> str:
    """How far the point is at most from every global minimiser."""
    names = ("gap", "logits", "gram_w", "gram_h")
    _known(claim, (*names, "curvature", "exact"))
    if len(chain.widths) > 1 or chain.loss["name"] == "focal":
        raise Undecided("the convex problem is known for plain models with ce, ls and mse")
    factors = chain.factors(x)
    convex = Convex(
        chain.classes, chain.loss["name"] != "mse", factors, _samples(chain, factors),
        chain.decays, objective(chain, x),
    )  # fmt: skip
    curvature = arb(_number(claim, "curvature", least=0.0, above=True))
    if not convex.curved(curvature):
        raise Invalid(f"the losses' Hessians are not above {float(curvature):g} at the point")
    claimed = [arb(_number(claim, name, least=0.0)) for name in names]
    exact = _field(claim, "exact")
    if exact is True:
        proved = convex.beside(chain.factors(box), drift)
    else:
        proved = convex.by_gap(curvature, claimed[1])
    for name, bound, most in zip(names, proved, claimed, strict=True):
        if not bound <= most:
            raise Undecided(f"{name} is proved to be below {float(bound):.6g} only")
    what = "a global minimum" if exact is True else "with a global minimum near"
    gap, logits = (float(y) for y in claimed[:2])
    return f", {what}, {gap:g} below at most, its logits within {logits:g}"


def check_rank_one(document: Mapping[str, Any]) -> str:
    """All critical points of rank one, up to symmetry, by a cover of boxes."""
    chain, claim, tree = (_field(document, name) for name in ("model", "claim", "tree"))
    chain = chain_of(chain)
    _known(claim, ("orbits", "origin", "spread"))
    K = chain.classes
    if chain.biased or len(chain.widths) > 1 or chain.loss["name"] == "focal" or K > 9:
        raise Undecided("rank one is covered for ce and ls, up to 9 classes, without bias or depth")
    if len({chain.labels.count(k) for k in range(K)}) > 1:
        raise Undecided("rank one is covered for classes of one size")
    decay_h, decay_w = chain.decays
    delta = arb(float(chain.loss.get("smoothing", 0.0)))
    line = Line(K, len(chain.labels) // K, decay_w, decay_h, delta)
    orbits = []
    for orbit in _field(claim, "orbits"):
        u = tuple(x[0] for x in _rows(orbit, "gaps", K - 1))
        orbits.append((u, _number(orbit, "within", least=0), _number(orbit, "alone", least=0)))
    spread, origin = (_number(claim, name, least=0.0) for name in ("spread", "origin"))
    if not isinstance(tree, str) or not line.spread < arb(spread):
        raise Invalid("the boxes begin with too small a bound of the gaps")
    for u, within, alone in orbits:
        if not (within <= alone and line.within(u, within) and line.alone(u, alone)):
            false = Invalid if line.empty([arb(y, within) for y in u]) else Undecided
            raise false(f"no single critical point is proved near the gaps {u}")
    for (u, r, _), (v, s, _) in combinations(orbits, 2):
        apart = min(max(abs(x - y) for x, y in zip(u, w, strict=True)) for w in (v, v[::-1]))
        # True gaps may be negative by a radius, and sorting moves them.
        if apart <= 2 * K * (r + s):
            raise Undecided(f"the orbits at {u} and {v} are not proved to be two")
    zero = (0.0,) * (K - 1)
    if not line.alone(zero, origin):
        raise Undecided("the origin is not proved to be alone in its box")
    known = [(v, alone) for u, _, alone in orbits for v in (u, u[::-1])] + [(zero, origin)]
    todo, leaves = [(zero, (spread,) * (K - 1))], 0
    for place, mark in enumerate(tree):
        if not todo:
            raise Invalid(f"the tree of boxes goes on after its end, at {place}")
        box = todo.pop()
        if mark.isdecimal() and int(mark) < K - 1:
            todo += reversed(halves(box, int(mark)))
            continue
        if mark != ".":
            raise Undecided(f"the box {box} was left open")
        leaves += 1
        if not any(inside(box, *one) for one in known) and not line.excluded(box):
            gaps = line.near(box)
            near = all(x - 1e-6 <= y <= z + 1e-6 for y, x, z in zip(gaps, *box, strict=True))
            if near and line.within(gaps, 1e-6):
                raise Invalid(f"a critical point with the gaps {gaps} is not in the list")
            raise Undecided(f"the box {box} is not proved to be empty")
    if todo:
        raise Invalid(f"{len(todo)} boxes are missing from the cover")
    return f"exactly {len(orbits)} orbits of critical points of rank one, by {leaves:,} boxes"


KINDS = {"critical point": (check_point, BITS), "rank one": (check_rank_one, COVER_BITS)}


def check(document: Mapping[str, Any]) -> str:
    """What a certificate proves, in words; raises Invalid, Undecided or NotACertificate."""
    kind = _field(document, "kind")
    if kind not in KINDS:
        raise Undecided(f"claims of the kind {kind!r} are not known to this program")
    if _field(document, "digest") != digest(document):
        raise Invalid("the file was changed after it was written: its digest is another")
    prove, bits = KINDS[kind]
    before, ctx.prec = ctx.prec, bits
    try:
        return prove(document)
    finally:
        ctx.prec = before


CODES = {"VALID": 0, "UNDECIDED": 3, "INVALID": 1, "NO CERTIFICATE": 2}


def answer(path: Path) -> tuple[str, str]:
    """VALID, UNDECIDED, INVALID or NO CERTIFICATE, and what is proved or why not."""
    try:
        return "VALID", check(read(path))
    except (Undecided, Invalid, NotACertificate) as reason:
        words = {Undecided: "UNDECIDED", Invalid: "INVALID", NotACertificate: "NO CERTIFICATE"}
        return words[type(reason)], str(reason)


def main(paths: Sequence[str]) -> int:
    """Check every file, one line each; the exit code is that of the worst."""
    if not paths:
        print("usage: python checker.py FILE...", file=sys.stderr)
        return 2
    answers = [answer(Path(name)) for name in paths]
    for name, (word, said) in zip(paths, answers, strict=True):
        print(f"{name}: {word}: {said}")
    return CODES[max((word for word, _ in answers), key=list(CODES).index)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
