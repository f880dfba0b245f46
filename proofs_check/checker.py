"""Checks certificates by its own formulas: VALID, INVALID(reason) or UNDECIDED(reason).

    python checker.py FILE...

Nothing of the program that wrote a certificate is used: this one file needs the standard library
and python-flint, and computes everything again, in balls that contain the exact values.
docs/certificates.md has the proof of what VALID says, and what is trusted.

Exit code 0: all VALID; 3: one is UNDECIDED; 1: one is INVALID; 2: a file is no certificate.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import accumulate, chain, combinations, count, islice, product
from pathlib import Path
from typing import Any

from flint import arb, arb_mat, ctx

# What a file may ask for: memory grows with the square of the variables. Merged samples take none.
MOST_BYTES, LONGEST_NUMBER = 8_000_000, 40
MOST_VARIABLES, MOST_SAMPLES, MOST_MERGED, MOST_MOVES, MOST_WIDTHS = 700, 700, 10**9, 1000, 20
MOST_OPEN = 1000  # boxes of a cover that wait at one time
# Bits of the balls: float64 points have 53, and the factorisations lose some of the rest.
BITS, COVER_BITS = 160, 64
# Multiples of its expected size that the error of a root is tried at; halvings beyond the list's.
REACHES, MORE_HALVINGS = (1.1, 1.5, 2.0, 3.0, 5.0, 8.0, 20.0), 10
# Parts of a box around a critical point whose Jacobians are enclosed one by one.
CELLS = 64


class Refusal(Exception):
    """Why a file is not VALID."""

    @classmethod
    def unless(cls, holds: object, reason: str) -> None:
        """Refuse where something does not hold."""
        if not holds:
            raise cls(reason)


class NotACertificate(Refusal):
    """The file is damaged, hostile, or of another kind."""


class Invalid(Refusal):
    """The claim is false, and this is proved."""


class Undecided(Refusal):
    """Neither the claim nor its opposite could be proved here."""


require = NotACertificate.unless


# ---- the file


class Record(dict[str, Any]):
    """An object of the file, from which only what is well formed is taken."""

    def __missing__(self, name: str) -> Any:
        raise NotACertificate(f"{name!r} is missing")

    def part(self, name: str, *known: str) -> Record:
        """An object in it; in a claim nothing may stand that this program does not check."""
        require(isinstance(self[name], Record), f"{name!r} is no object")
        unknown = {*self[name]} - {*known} if known else ()
        require(not unknown, f"unknown in the {name}: {', '.join(sorted(unknown))}")
        return Record(self[name])

    def listed(self, name: str, least: int = 0, most: int = MOST_BYTES) -> list[Any]:
        """A list of so many things."""
        fits = isinstance(self[name], list) and least <= len(self[name]) <= most
        require(fits, f"{name} are no list of {least} to {most} entries")
        return [*self[name]]

    def numbers(self, name: str, *shape: int) -> list[float]:
        """The entries of an array."""
        entries = [self[name]]
        for length in shape:
            fits = all(isinstance(x, list) and len(x) == length for x in entries)
            require(fits, f"{name!r} is no {' x '.join(map(str, shape))} matrix")
            entries = [y for x in entries for y in x]
        require(all(type(x) in (int, float) for x in entries), f"{name!r} is no number")
        return [*map(float, entries)]

    def number(self, name: str, least: float = -math.inf) -> float:
        """A number from a least one."""
        (number,) = self.numbers(name)
        require(number >= least, f"{name!r} is {number!r}, out of its domain")
        return number

    def positive(self, name: str) -> arb:
        """A positive number, or all from the first to the second of two."""
        ends = self.numbers(name, 2) if isinstance(self[name], list) else self.numbers(name)
        require(min(ends) > 0, f"{name!r} is {self[name]!r}, out of its domain")
        return arb(ends[0]).union(arb(ends[-1]))


def whole(value: Any, what: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    fits = type(value) is int and least <= value <= most
    require(fits, f"{what} must be a whole number from {least} to {most}")
    return int(value)


def parsed(text: str) -> Any:
    """What JSON says, with finite numbers of few digits and no name twice."""

    def number(word: str) -> float:
        fits = len(word) <= LONGEST_NUMBER and math.isfinite(float(word))
        require(fits, f"{word[:LONGEST_NUMBER]} is no number of float64")
        return int(word) if word.lstrip("-").isdecimal() else float(word)

    def once(pairs: Sequence[tuple[str, Any]]) -> Record:
        require(len(dict(pairs)) == len(pairs), "a name stands twice in one object")
        return Record(pairs)

    return json.loads(
        text, parse_float=number, parse_int=number, parse_constant=number, object_pairs_hook=once
    )


def read(path: Path) -> Record:
    """The document of a file, with nothing in it looked at but its form."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        require(len(text) <= MOST_BYTES, f"more than {MOST_BYTES:,} bytes")
        document = parsed(text.decode("utf-8"))
    except OSError as error:
        raise NotACertificate(f"the file cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise NotACertificate("lists within lists without end") from error
    except ValueError as error:  # also text that is not UTF-8
        raise NotACertificate(f"the file is no JSON: {error}") from error
    known = isinstance(document, Record) and document.get("format") == "ufm certificate"
    require(known, 'the format is not "ufm certificate"')
    version = document.get("version")
    require(version == 1, f"version {version!r}; this program reads version 1")
    return Record(document)


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of all that a certificate says, in the one way of writing it that counts."""
    said = {name: value for name, value in document.items() if name != "digest"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


# ---- matrices of balls


def total(terms: Iterable[arb]) -> arb:
    """The sum."""
    return sum(terms, arb(0))


def upper_bound(x: arb) -> arb:
    """Of |x|."""
    return arb(x.abs_upper())


def column(entries: Iterable[Any]) -> arb_mat:
    """A matrix of one column."""
    return arb_mat([[x] for x in entries])


def unit(order: int) -> arb_mat:
    """The identity."""
    return arb_mat(order, order, 1)


def each(function: Callable[..., arb], *matrices: arb_mat) -> arb_mat:
    """A function of every entry."""
    entries = [*map(function, *(matrix.entries() for matrix in matrices))]
    return arb_mat(matrices[0].nrows(), matrices[0].ncols(), entries)


def flat(matrices: Iterable[arb_mat]) -> list[arb]:
    """All entries, row by row."""
    return [*chain(*(matrix.entries() for matrix in matrices))]


def size(matrix: arb_mat) -> arb:
    """Upper bound of the Frobenius norm."""
    return upper_bound(total(upper_bound(x) ** 2 for x in matrix.entries()).sqrt())


class Matrix:
    """A matrix of balls that knows what it was made of, so that it has derivatives.

    ``made`` lists sources with their pullbacks: from d f / d (this) to what it adds to
    d f / d (source), made of matrices again, so that derivatives have derivatives.
    """

    births = count()

    def __init__(self, at: arb_mat, *made: tuple[Matrix, Any], free: bool = False) -> None:
        self.at, self.born = at, next(Matrix.births)
        self.made = [(source, pull) for source, pull in made if source.free]
        self.free: bool = free or bool(self.made)

    def __add__(self, other: Matrix) -> Matrix:
        return Matrix(self.at + other.at, (self, lambda g: g), (other, lambda g: g))

    def __rmul__(self, number: Any) -> Matrix:
        return Matrix(self.at * arb(number), (self, lambda g: number * g))

    def __mul__(self, other: Matrix) -> Matrix:  # entry by entry
        product = each(arb.__mul__, self.at, other.at)
        return Matrix(product, (self, lambda g: g * other), (other, lambda g: g * self))

    def __matmul__(self, other: Matrix) -> Matrix:
        pulls = (self, lambda g: g @ other.T), (other, lambda g: self.T @ g)
        return Matrix(self.at * other.at, *pulls)

    @cached_property
    def T(self) -> Matrix:
        """The transpose."""
        return Matrix(self.at.transpose(), (self, lambda g: g.T))

    @cached_property
    def inverse(self) -> Matrix:
        """Of a square matrix."""
        pull = (self, lambda g: -1 * (self.inverse.T @ g @ self.inverse.T))
        return Matrix(self.at.inv(), pull)

    @cached_property
    def exp(self) -> Matrix:
        """Of every entry."""
        return Matrix(each(arb.exp, self.at), (self, lambda g: g * self.exp))

    @cached_property
    def log(self) -> Matrix:
        """Of every entry, a positive number."""
        return Matrix(each(arb.log, self.at), (self, lambda g: g * (-1 * self.log).exp))

    def log_determinant(self) -> Matrix:
        """Of a matrix with a positive determinant, (1, 1)."""
        pull = (self, lambda g: spread(g, self.at) * self.inverse.T)
        return Matrix(column([self.at.det().log()]), pull)

    def square(self) -> Matrix:
        """The sum of the squares of all entries, (1, 1)."""
        return ones(1, self.at.nrows()) @ (self * self) @ ones(self.at.ncols(), 1)


def ones(rows: int, columns: int) -> Matrix:
    """All entries 1."""
    return Matrix(arb_mat(rows, columns, [1] * (rows * columns)))


def spread(number: Matrix, like: arb_mat) -> Matrix:
    """All entries one number, (1, 1)."""
    return ones(like.nrows(), 1) @ number @ ones(1, like.ncols())


def gradient(value: Matrix, seed: arb_mat, free: Sequence[Matrix]) -> list[Matrix]:
    """d <seed, value> / dx for every x of the free ones."""
    slopes, todo = {value: Matrix(seed)}, {value}
    while todo:
        node = max(todo, key=lambda x: x.born)
        todo.remove(node)
        for source, pull in node.made:
            part = pull(slopes[node])
            slopes[source] = slopes[source] + part if source in slopes else part
            todo.add(source)
    return [slopes.get(x, Matrix(x.at * 0)) for x in free]


def independent(rows: Sequence[Sequence[arb]]) -> tuple[list[int], list[list[float]]]:
    """The places of rows that Gram-Schmidt takes, and nearly orthonormal rows of the same span.

    What is left over counts as rounding below 1e-9 of the largest; the proofs do not rely on it.
    """
    floats = [[float(x.mid()) for x in row] for row in rows]
    least = 1e-9 * max((math.hypot(*row) for row in floats), default=0.0)
    places, basis = [], list[list[float]]()
    for place, left in enumerate(floats):
        for known in basis:
            along = math.fsum(map(float.__mul__, left, known))
            left = [x - along * y for x, y in zip(left, known, strict=True)]
        if (length := math.hypot(*left)) > least:
            places.append(place)
            basis.append([x / length for x in left])
    return places, basis


def regular(matrix: arb_mat) -> bool:
    """Whether all M in the balls are proved to have an inverse: the powers of |I - C M| vanish."""
    try:
        off = unit(matrix.nrows()) - matrix.mid().inv().mid() * matrix
    except ZeroDivisionError:
        return False
    for _ in range(10):
        off = each(upper_bound, off)
        off = off * off
    return all(total(map(upper_bound, row)) < 1 for row in off.tolist())


def krawczyk(at: arb_mat, off: arb_mat, value: arb_mat, slope: arb_mat, near: arb_mat) -> arb_mat:
    """x - C f(x) over the box at + off, of f(at) and f' in it: zeros of f stay where they are."""
    return at + (unit(at.nrows()) - near * slope) * off - near * value


def negative_eigenvalues(matrix: arb_mat, turned: bool = False) -> int:
    """Their number, for every symmetric matrix in the balls, which are then all nonsingular.

    By Haynsworth the inertia is that of a leading block and of its Schur complement. Where a block
    is singular, an orthogonal matrix turns them all.
    """
    rows, half = matrix.tolist(), matrix.nrows() // 2
    if not half:
        Undecided.unless(not rows[0][0].contains(0), "an eigenvalue cannot be told from zero")
        return int(rows[0][0] < 0)
    A, D = (arb_mat([row[part] for row in rows[part]]) for part in (slice(half), slice(half, None)))
    B = arb_mat([row[half:] for row in rows[:half]])
    try:
        rest = D - B.transpose() * A.solve(B)
        return negative_eigenvalues(A, True) + negative_eigenvalues(rest, True)
    except (ZeroDivisionError, Undecided):
        if turned:
            raise
    Q = arb_mat.dct(matrix.nrows())
    return negative_eigenvalues(Q * matrix * Q.transpose(), True)


# ---- the models

RATES = ("rate-reduction", "constrained-rate")
# By the names of spaces: a matrix, by its few entries, that moves all factors from and to it.
Move = Mapping[Any, Mapping[tuple[int, int], int]]


class Model:
    """A function of some matrices, read from a record, with its symmetries.

    They are H, F_1, ..., F_M and the bias b, where there is one; X, V, W of an equilibrium; or the
    Z of a rate. Of merged classes the first has one column sqrt(n_k) h_k each. ``sides`` names the
    spaces that they map to and from: the hidden ones have numbers.
    """

    def __init__(self, record: Record) -> None:
        self.family, self.rated = record["family"], record["family"] in RATES
        known = self.rated or self.family in ("plain", "deep-linear", "equilibrium")
        Undecided.unless(known, f"no objective for models of the family {self.family!r} here")
        self.merged = record.get("merged") is True and not self.rated
        K = self.classes = whole(record["num_classes"], "num_classes", 2 - self.rated, MOST_SAMPLES)
        most = MOST_MERGED if self.merged else MOST_SAMPLES
        self.counts = [whole(n, "a count", 1, most) for n in record.listed("counts", K, K)]
        # Of every class the samples that a column stands for; of every column the class.
        self.copies = self.counts if self.merged else [1] * K
        columns = [n // m for n, m in zip(self.counts, self.copies, strict=True)]
        whole(sum(columns), "the number of samples", 1, MOST_SAMPLES)
        self.labels = [k for k, n in enumerate(columns) for _ in range(n)]
        self.own = arb_mat([[int(y == k) for y in self.labels] for k in range(K)])
        deep = self.family == "deep-linear"
        told = record.listed("widths", 1, MOST_WIDTHS) if deep else [record["dim"]]
        self.widths = [whole(d, "a width", 1, MOST_VARIABLES) for d in told]
        spaces: list[Any] = [*range(len(told)), "classes"]
        self.sides, names = (
            [(0, "columns"), *zip(spaces[1:], spaces[:-1], strict=True)],
            "h" + "w" * len(told),
        )
        if self.family == "equilibrium":
            self.sides, names = [(0, "columns"), (0, 0), ("classes", 0)], "xvw"
        if self.rated:
            self.sides, names = [(0, "columns")], "z" if self.family == "rate-reduction" else ""
        self.rate = record.positive("rate") if self.rated else arb(1)
        self.shares = record.numbers("shares", K) if self.rated else []
        self.decays = [record.positive(f"lambda_{name}") for name in names]
        self.biased = self.family == "plain" and record.get("lambda_b") is not None
        if self.biased:
            self.sides.append(("classes", "one"))
            self.decays.append(arb(record.number("lambda_b", 0.0)))
        order: dict[Any, int] = dict(enumerate(self.widths))
        order |= {"columns": len(self.labels), "classes": K, "one": 1}
        self.shapes = [(order[to], order[origin]) for to, origin in self.sides]
        self.size = sum(rows * columns for rows, columns in self.shapes)
        few = self.size <= MOST_VARIABLES
        require(few, f"{self.size:,} variables; at most {MOST_VARIABLES} are read")
        loss = Record(name="") if self.rated else record.part("loss")
        self.loss = loss["name"]
        known = self.rated or self.loss in ("ce", "ls", "focal", "mse")
        Undecided.unless(known, f"the loss {self.loss!r} is not known to this program")
        self.delta = arb(loss.number("smoothing", 0.0) if self.loss == "ls" else 0)
        require(self.delta < 1, "the smoothing is not below 1")
        self.gamma = arb(loss.number("gamma", 0.0) if self.loss == "focal" else 0)

    def point(self, record: Record) -> arb_mat:
        """The numbers of the matrices, one after another and row by row, (size, 1)."""
        names = {"equilibrium": "XVW", **dict.fromkeys(RATES, "Z")}.get(self.family, "H")
        values = [record[name] for name in names]
        if names == "H":
            values += record.listed("weights") if "weights" in record else [record["W"]]
            values += [[[x] for x in record.numbers("b", self.classes)]] if self.biased else []
        Record(matrices=values).listed("matrices", len(self.shapes), len(self.shapes))
        told = Record({f"matrix {j}": value for j, value in enumerate(values)})
        numbers = [told.numbers(f"matrix {j}", *shape) for j, shape in enumerate(self.shapes)]
        return column(chain(*numbers))

    def factors(self, x: arb_mat, free: bool = False) -> list[Matrix]:
        """The matrices of a point."""
        entries = iter(x.entries())
        parts = [arb_mat(*shape, [*islice(entries, shape[0] * shape[1])]) for shape in self.shapes]
        return [Matrix(part, free=free) for part in parts]

    def objective(self, F: Sequence[Matrix]) -> Matrix:
        """f, (1, 1): the mean loss or the rate, and weight decay."""
        shares = [arb(self.copies[k]) / sum(self.counts) for k in self.labels]
        if self.rated:
            value = self.coding_rate(F[0])
        else:
            value = self.losses(self.logits(F)) @ Matrix(column(shares))
        for decay, factor in zip(self.decays, F, strict=False):
            value = value + (decay / 2) * factor.square()
        return value

    def coding_rate(self, Z: Matrix) -> Matrix:
        """sum_k p_k log|I + a Z_k Z_k' / p_k| / 2 - log|I + a sum_k Z_k Z_k'| / 2.

        Under the constraint every |Z_k|^2 is scaled to p_k m.
        """
        value, whole = Matrix(arb_mat(1, 1)), Matrix(unit(Z.at.nrows()))
        for row, share in zip(self.own.tolist(), map(arb, self.shares), strict=True):
            kept = Z * Matrix(arb_mat([row] * Z.at.nrows()))
            gram = self.rate * (kept @ kept.T)
            if self.family == "constrained-rate":
                over = (-1 * kept.square().log).exp
                gram = (share * len(self.labels)) * (spread(over, gram.at) * gram)
            whole = whole + gram
            one = Matrix(unit(Z.at.nrows())) + (1 / share) * gram
            value = value + (share / 2) * one.log_determinant()
        return value + arb(-0.5) * whole.log_determinant()

    def logits(self, F: Sequence[Matrix]) -> Matrix:
        """F_M ... F_1 H + b 1', or W (I - V)^-1 X; (K, columns)."""
        Z, above = F[0], F[1 : len(F) - self.biased]
        if self.family == "equilibrium":
            above = [(Matrix(unit(self.widths[0])) + -1 * F[1]).inverse, F[2]]
        for factor in above:
            Z = factor @ Z
        if self.merged:
            Z = Z * Matrix(arb_mat([[1 / arb(n).sqrt() for n in self.copies]] * self.classes))
        return Z + F[-1] @ ones(1, len(self.labels)) if self.biased else Z

    def losses(self, Z: Matrix) -> Matrix:
        """Of every column, (1, columns); the focal one is (1 - p)^gamma times -log p."""
        heads, every = ones(1, self.classes), ones(self.classes, len(self.labels)).at
        if self.loss == "mse":
            off = Z + Matrix(-self.own)
            return arb(0.5) * (heads @ (off * off))
        logs = (heads @ Z.exp).log
        target = self.own * (1 - self.delta) + every * (self.delta / self.classes)
        surprise = logs + -1 * (heads @ (Z * Matrix(target)))
        if self.loss != "focal":
            return surprise
        rest = (heads @ (Z.exp * Matrix(every - self.own))).log + -1 * logs
        return (self.gamma * rest).exp * surprise

    def derivatives(self, x: arb_mat) -> tuple[arb, arb_mat, arb_mat]:
        """Value, gradient (p, 1) and Hessian (p, p)."""
        F, hessian = self.factors(x, free=True), []
        value = self.objective(F)
        slopes = gradient(value, arb_mat([[1]]), F)
        for slope in slopes:
            for place in range(len(slope.at.entries())):
                seed = slope.at * 0
                seed[divmod(place, seed.ncols())] = 1
                hessian.append(flat(y.at for y in gradient(slope, seed, F)))
        return value.at[0, 0], column(flat(y.at for y in slopes)), arb_mat(hessian)

    def moves(self) -> Iterator[Move]:
        """Directions without change, at any point; an empty one is a shift of the bias."""
        for space, width in enumerate(self.widths):
            yield from ({space: turn(s, t)} for s, t in combinations(range(width), 2))
        members = [[i for i, y in enumerate(self.labels) if y == k] for k in range(self.classes)]
        if self.rated:  # turns of the features of a class, and under the constraint their length
            for alike in members:
                yield from ({"columns": turn(s, t)} for s, t in combinations(alike, 2))
                if self.family == "constrained-rate":
                    yield {"columns": {(i, i): 1 for i in alike}}
        elif self.loss == "mse":  # turns of the logits of classes of one size; with a bias Q 1 = 0
            for n in {*self.counts}:
                alike = [k for k, m in enumerate(self.counts) if m == n]
                ground = alike.pop() if self.biased else -1
                for u, v in combinations(alike, 2):
                    around = [(u, v), (v, ground), (ground, u)][: 3 if self.biased else 1]
                    Q = {place: sign for ends in around for place, sign in turn(*ends).items()}
                    peers = (zip(members[s], members[t], strict=True) for s, t in Q)
                    signs = zip(peers, Q.values(), strict=True)
                    lifted = {place: sign for pairs, sign in signs for place in pairs}
                    yield {"classes": Q, "columns": lifted}
        elif self.biased and self.decays[-1] == 0:  # the loss does not see a shift
            yield {}

    def moved(self, x: arb_mat, move: Move) -> list[arb]:
        """The direction of one move at a point: A F - F A for what maps from and to the spaces."""
        made = []
        for factor, (to, origin) in zip(self.factors(x), self.sides, strict=True):
            made.append(factor.at * 0)
            if to in move:
                made[-1] += filled(move[to], factor.at.nrows()) * factor.at
            if origin in move:
                made[-1] -= factor.at * filled(move[origin], factor.at.ncols())
        return flat(made if move else [*made[:-1], ones(*self.shapes[-1]).at])


def turn(s: int, t: int) -> dict[tuple[int, int], int]:
    """E_st - E_ts."""
    return {(s, t): 1, (t, s): -1}


def filled(entries: Mapping[tuple[int, int], int], order: int) -> arb_mat:
    """A square matrix of few entries."""
    made = arb_mat(order, order)
    for place, entry in entries.items():
        made[place] = entry
    return made


# ---- what is proved of a point

POINT_CLAIMS = ("radius", "index", "nullity", "value", "minimiser")
NEAR_CLAIMS = ("gap", "logits", "gram_w", "gram_h", "curvature", "exact")


def check_point(document: Record) -> str:
    """A critical point within a radius, alone there up to symmetry, with its index and nullity."""
    model, claim = Model(document.part("model")), document.part("claim", *POINT_CLAIMS)
    x, radius = model.point(document.part("point")), claim.positive("radius")
    most = model.size * (1 + sum(model.counts) * model.merged)
    index, nullity = (whole(claim[name], name, 0, most) for name in ("index", "nullity"))
    low, high = claim.numbers("value", 2)
    single = all(number.is_exact() for number in (*model.decays, model.rate, radius))
    require(single, "a certificate of one point needs decays that are numbers")
    moves = [*islice(model.moves(), MOST_MOVES + 1)]
    require(len(moves) <= MOST_MOVES, f"more than {MOST_MOVES:,} symmetries")
    places, basis = independent([model.moved(x, move) for move in moves])
    B = arb_mat(model.size, len(basis), [*chain(*zip(*basis, strict=True))])
    # The equations gain B B^T (x - x_0), which holds the symmetries.
    held = B * B.transpose()
    height, slope, curved = model.derivatives(x)
    off = column([arb(0, radius)] * model.size)
    try:
        near = (curved + held).mid().inv().mid()
    except ZeroDivisionError as error:
        raise Undecided("the Hessian cannot be told from a singular one") from error
    curved = model.derivatives(x + off)[2]
    inner = krawczyk(x, off, slope, curved + held, near)
    if not all(map(arb.contains_interior, (x + off).entries(), inner.entries())):
        for j, row in enumerate(curved.tolist()):
            least = arb(slope[j, 0].abs_lower()) - radius * total(map(upper_bound, row))
            reason = f"component {j} of the gradient is at least {float(least.mid()):.1e} there"
            Invalid.unless(not least > 0, f"no critical point within {float(radius):g}: {reason}")
        raise Undecided("no fixed point could be proved within the radius")
    # All that follows is about the true point, which lies in this smaller box.
    true = model.derivatives(inner)[2]
    tangents = [model.moved(inner, moves[place]) for place in places]
    transversal = not places or regular(arb_mat(tangents) * B)
    Undecided.unless(transversal, "directions of symmetry cannot be told from dependent ones")
    found, own = negative_eigenvalues(true + held) + negative_differences(model, true), len(places)
    Invalid.unless(own == nullity, f"the nullity is {own}, and {nullity} is claimed")
    Invalid.unless(found == index, f"the index is {found}, and {index} is claimed")
    # |f(x) - f(true point)| <= sum_j |gradient_j| |x_j - true_j| somewhere between them.
    steepest = each(upper_bound, slope + curved * off)
    drift = (steepest.transpose() * each(upper_bound, inner - x))[0, 0]
    value, said = height + arb(0, drift), f"value in [{low!r}, {high!r}]"
    reason = f"the value lies in {value}, and {said[9:]} is claimed"
    Invalid.unless(not (value < arb(low) or value > arb(high)), reason)
    Undecided.unless(arb(low) <= value <= arb(high), reason)
    said = f"within {float(radius):g}, index {index}, nullity {nullity}, {said}"
    if claim.get("minimiser") is not None:
        said += check_minimiser(model, claim.part("minimiser", *NEAR_CLAIMS), x, inner, drift)
    if document.get("lower") is not None:
        lower = document.part("lower")
        below, y = lower.number("below"), model.point(lower.part("point"))
        other = model.objective(model.factors(y)).at[0, 0]
        reason = f"the lower point has the value {other}; below {below!r} is claimed"
        Invalid.unless(below <= low and not other > arb(below), reason)
        Undecided.unless(other < arb(below), reason)
        said += f"; not global: another point has a value below {below!r}"
    return f"a critical point {said}"


def negative_differences(model: Model, hessian: arb_mat) -> int:
    """Of samples of a merged class: n_k - 1 times those of the block of column k."""
    found = 0
    for k, n in enumerate(model.copies):
        block = range(k, model.widths[0] * model.classes, model.classes)
        part = arb_mat([[hessian[i, j] for j in block] for i in block]) if n > 1 else unit(1)
        found += (n - 1) * negative_eigenvalues(part)
    return found


def check_minimiser(model: Model, claim: Record, x: arb_mat, box: arb_mat, drift: arb) -> str:
    """How far the point is at most from every global minimiser."""
    invariant, exact, K, N = model.loss != "mse", claim["exact"], model.classes, len(model.labels)
    known = model.family == "plain" and model.loss != "focal" and not model.merged
    Undecided.unless(known, "the convex problem is known for plain models with ce, ls and mse")
    wide = model.widths[0] >= K - invariant
    Undecided.unless(wide, "in so few dimensions the minimum may lie above the convex one")
    F, decays, ground = model.factors(x), model.decays, ones(K, K).at * int(invariant)
    Z = Matrix(model.logits(F).at, free=True)
    losses = model.losses(Z)
    (slopes,) = gradient(losses, ones(1, N).at, [Z])
    seeds = (arb_mat([[int(j == k)] * N for j in range(K)]) for k in range(K))
    rows = [gradient(slopes, seed, [Z])[0].at.transpose().tolist() for seed in seeds]
    curvature = claim.positive("curvature")
    bent = (arb_mat([row[i] for row in rows]) + ground - curvature * unit(K) for i in range(N))
    flatter = f"the losses' Hessians are not above {float(curvature):g} at the point"
    Invalid.unless(not any(map(negative_eigenvalues, bent)), flatter)
    claimed = [arb(claim.number(name, 0.0)) for name in NEAR_CLAIMS[:4]]
    H, W, *bias = (factor.at for factor in F)
    if exact is True:  # a critical point of full rank
        true = [factor.at for factor in model.factors(box)]
        full = regular(true[1] * true[1].transpose() + ground)
        Undecided.unless(full, "the rank is not proved to be full")
        off_H, off_W, *off_b = (size(a - b) for a, b in zip(true, (H, W, *bias), strict=True))
        logits = size(W) * off_H + size(H) * off_W + off_H * off_W
        logits += total(off_b) * arb(N).sqrt()
        bounds = [drift, logits, (2 * size(W) + off_W) * off_W, (2 * size(H) + off_H) * off_H]
    else:
        bound = dual_bound(model, losses.at, slopes.at, Z.at)
        gap, logits = upper_bound(model.objective(F).at[0, 0] - bound), claimed[1]
        share, a = N * gap / curvature, arb(2).sqrt() * logits
        near = (1 - (1 + a) * (-a).exp() if invariant else logits * logits) >= 2 * share
        Undecided.unless(near, f"the logits are not proved to lie within {float(logits):.6g}")
        off = logits + ((2 * N * gap / decays[2]).sqrt() if bias else 0)
        if invariant:  # the columns of a minimiser sum to zero
            off += size(ones(1, K).at * W * H) / arb(K).sqrt()
        bounds = [gap, logits]
        for factor, own, other in ((W, decays[1], decays[0]), (H, decays[0], decays[1])):
            bounds.append(size(factor) * (2 * gap / own).sqrt() + (2 * other / own).sqrt() * off)
    for name, found, most in zip(NEAR_CLAIMS, bounds, claimed, strict=False):
        proved = f"{name} is proved to be below {float(upper_bound(found)):.6g} only"
        Undecided.unless(found <= most, proved)
    what = "a global minimum" if exact is True else "with a global minimum near"
    return f", {what}, {claim['gap']:g} below at most, its logits within {claim['logits']:g}"


def dual_bound(model: Model, losses: arb_mat, slopes: arb_mat, Z: arb_mat) -> arb:
    """A number below the global minimum, by Fenchel's equality and L >= 0."""
    N, decays = losses.ncols(), model.decays
    known = not model.biased or decays[2] > 0
    Undecided.unless(known, "an unregularised bias needs the conjugate of the loss")
    power = slopes * slopes.transpose() / arb(N * N)
    for _ in range(60):  # |G|^2 <= trace((G G')^m)^(1 / m)
        power = power * power
    norm = (power.trace().log() / 2**61).exp()
    scale = ((decays[0] * decays[1]).sqrt() / norm).lower().min(1)
    bound = scale * (total(losses.entries()) - (slopes * Z.transpose()).trace()) / N
    if model.biased:
        pull = total(y * y for y in (slopes * ones(N, 1).at).entries())
        bound -= (scale / N) ** 2 * pull / (2 * decays[2])
    return bound


# ---- critical points of rank one

Box = Sequence[arb]


def times(x: arb, y: arb) -> arb:
    """x y from the ends, which is narrower than the product of balls."""
    (a, b), (c, d) = (x.lower(), x.upper()), (y.lower(), y.upper())
    return (a * c).union(a * d).union(b * c).union(b * d)


class Line:
    """Cross entropy or label smoothing on one feature: equations for the gaps u of the classifier.

    With classes in falling order w_1 >= ... >= w_K, u_i = w_i - w_{i+1}, P_i the softmax of w h_k
    summed up to i and q_ki = P_i - (1 - delta) [k <= i] - delta i / K: h_k(u) is the root of
    sum_i u_i q_ki + K n lambda_H h_k, and critical points are the zeros of
    g_i = sum_k h_k q_ki + K lambda_W sum_l (min(i, l) - i l / K) u_l,

    for all decays on the segment from one pair to another, a middle + s step with -1 <= s <= 1.
    """

    def __init__(self, record: Record, whole: bool = True) -> None:
        model = Model(record)
        known = model.family == "plain" and not model.biased and model.loss in ("ce", "ls")
        why = "rank one is covered for ce and ls, up to 9 classes, without bias or depth"
        Undecided.unless(known and model.classes <= 9, why)
        one = len({*model.counts}) == 1
        Undecided.unless(one, "rank one is covered for classes of one size")
        K, N, delta = model.classes, sum(model.counts), model.delta
        told = [record[name] for name in ("lambda_h", "lambda_w")]
        ends = [[*map(arb, x if isinstance(x, list) else [x, x])] for x in told]
        self.steps = [(high - low) / 2 for low, high in ends]
        reach = arb(0, int(whole))
        decays = [(low + high + (high - low) * reach) / 2 for low, high in ends]
        self.central = Line(record, False) if whole else self
        self.classes, self.samples, self.gaps = K, N, range(K - 1)
        self.price, self.decay = N * decays[0], decays[1]
        self.form = arb_mat([[K * min(i, j) - i * j for j in range(1, K)] for i in range(1, K)])
        ahead = [[(1 - delta) * (k <= i) for i in self.gaps] for k in range(K)]
        self.own = [[x + delta * i / K for i, x in enumerate(row, 1)] for row in ahead]
        # lambda_W |w|^2 is the mean of all <tau - p, z> <= (1 - delta) S, S e^S = (K - 1) / e, and
        # w_1 - w_K <= sqrt(2) |w|.
        pull = (1 - delta) * ((K - 1) / arb(1).exp()).lambertw()
        self.spread = (2 * pull / self.decay).sqrt()

    def slope(self, u: Box, h: arb, k: int) -> tuple[arb, list[arb], list[arb]]:
        """The equation of h_k, q_k and P, which is known from its ends: it grows with u_i h."""
        x, ends = [times(y, h) for y in u], []
        for side in (arb.lower, arb.upper):
            heads = [*accumulate((-z).exp() for z in accumulate(map(side, x), initial=arb(0)))]
            ends.append([y / heads[-1] for y in heads[:-1]])
        P = [*map(arb.union, *ends)]
        q = [p - own for p, own in zip(P, self.own[k], strict=True)]
        return total(map(times, u, q)) + self.price * h, q, P

    def bend(self, u: Box, P: Box) -> tuple[arb, list[arb], list[list[arb]]]:
        """Its derivative in h_k, C u and C_ij = P_i (1 - P_j), i <= j: a price and a variance."""
        C = [[times(P[min(i, j)], 1 - P[max(i, j)]) for j in self.gaps] for i in self.gaps]
        pull = [total(map(times, row, u)) for row in C]
        return self.price + total(map(times, u, pull)).max(0), pull, C

    def middle(self, u: Box, k: int) -> arb:
        """A float near h_k at the middle of a box, by bisection; nothing is proved of it."""
        gaps, price = [float(y.mid()) for y in u], float(self.price.mid())
        v = [*accumulate(gaps[::-1], initial=0.0)][::-1]
        goal = sum(y * float(own.mid()) for y, own in zip(gaps, self.own[k], strict=True))
        low, high = -v[0] / price, v[0] / price
        for _ in range(64):
            h = (low + high) / 2
            masses = [math.exp(h * (y - v[0] * (h > 0))) for y in v]
            mean = sum(map(float.__mul__, masses, v)) / sum(masses)
            low, high = (low, h) if mean - goal + price * h > 0 else (h, high)
        return arb(h)

    def roots(self, u: Box) -> tuple[list[arb], list[arb]]:
        """Numbers near all h_k, and enclosures: from them out to where the equation has a sign."""
        near, made = [self.middle(u, k) for k in range(self.classes)], list[arb]()
        for k, start in enumerate(near):
            value, _, P = self.slope(u, start, k)
            step, h = upper_bound(value / self.bend(u, P)[0].mid()), start
            for sign in (-1, 1):
                ends = (start + sign * arb((reach * step).upper()) for reach in REACHES)
                signed = (x for x in ends if sign * self.slope(u, x, k)[0] > 0)
                most = start + sign * arb((upper_bound(value) / self.price.lower()).upper())
                h = h.union(next(signed, most))
            bend = self.bend(u, self.slope(u, h, k)[2])[0]
            made.append(h.intersection(start - value / bend))
        return near, made

    def equations(self, u: Box, roots: Box) -> tuple[arb_mat, arb_mat]:
        """Those of u and of h over a box, and their Jacobian."""
        L, K = len(u), self.classes
        J, value = arb_mat(L + K, L + K), arb_mat(L + K, 1)
        for i in self.gaps:
            for j in self.gaps:
                J[i, j] = self.decay * self.form[i, j]
                value[i, 0] += J[i, j] * u[j]
        for k, h in enumerate(roots, L):
            value[k, 0], q, P = self.slope(u, h, k - L)
            J[k, k], pull, C = self.bend(u, P)
            for i in self.gaps:
                value[i, 0] += times(h, q[i])
                J[i, k] = J[k, i] = q[i] + times(h, pull[i])
                for j in self.gaps:
                    J[i, j] += times(times(h, h).max(0), C[i][j])
        return value, J

    def linear(self, u: Box) -> tuple[arb_mat, arb_mat, arb_mat, arb_mat, arb_mat, arb_mat]:
        """Gaps and features, a point among them, f and its slope in s there, f and f' all over."""
        near, roots = self.roots(u)
        held = [*map(arb.union, near, roots)]  # the way to a zero from what is near it
        middle = [arb(y.mid()) for y in u]
        value = self.central.equations(middle, near)[0]
        pulled = (self.form * column(middle) * self.steps[1]).entries()
        drift = column([*pulled, *(self.samples * self.steps[0] * h for h in near)])
        return column([*u, *held]), column([*middle, *near]), value, drift, *self.equations(u, held)

    def empty(self, u: Box, halvings: int = 0) -> bool:
        """Whether a box is proved to hold no critical point; halved where that helps."""
        if u[0] < u[-1] or total(y.lower() for y in u) > self.spread:
            return True  # mirror images, and beyond the bound
        box, at, value, drift, over, J = self.linear(u)
        off, L, step = box - at, len(u), drift * 0
        for k in range(L, J.nrows()):  # what its equation leaves of a feature, at s = 0 and by s
            off[k, 0] = -(value[k, 0] + total(J[k, i] * off[i, 0] for i in self.gaps)) / J[k, k]
            step[k, 0] = -drift[k, 0] / J[k, k]
        # Three enclosures that contain 0 where there is a zero.
        whole = arb(0, 1)
        images = over.entries()[:L]
        images += (value + J * off + whole * (drift + J * step)).entries()[:L]
        with suppress(ZeroDivisionError):
            near = J.mid().inv().mid()
            by = near * drift + (near * J) * step
            images += (near * value + (near * J) * off + whole * by).entries()
        if not all(x.contains(0) for x in images):
            return True
        axis = max(self.gaps, key=lambda i: float(u[i].rad()))
        return halvings > 0 and all(self.empty(x, halvings - 1) for x in halves(u, axis))

    def newton(self, u: Box) -> list[arb]:
        """Krawczyk's image of a box of gaps, at the middle of the decays."""
        box, at, value, _, _, J = self.linear(u)
        return krawczyk(at, box - at, value, J, J.mid().inv().mid()).entries()[: len(u)]

    def around(self, u: Box) -> arb_mat:
        """The hull of all Jacobians without the features in a box, cell by cell."""
        parts, hull, L = round(CELLS ** (1 / len(u))), list[arb](), len(u)
        cells = [arb(2 * i + 1 - parts, 1) / parts for i in range(parts)]
        for cell in product(*([y.mid() + arb(y.rad()) * x for x in cells] for y in u)):
            J = self.equations(cell, self.roots(cell)[1])[1]
            told = without_features(J, arb_mat([row[:L] for row in J.tolist()])).entries()
            hull = [*map(arb.union, hull, told)] if hull else told
        return arb_mat(L, L, hull)

    def alone(self, u: Box) -> bool:
        """Whether a box holds no two critical points: all means of Jacobians in it are regular."""
        return regular(self.around(u))

    def within(self, u: Box) -> bool:
        """Whether a critical point lies in a box of gaps: Krawczyk's image is inside."""
        D, (_, _, value, drift, _, J) = self.around(u), self.linear([arb(y.mid()) for y in u])
        near, box = D.mid().inv().mid(), column(arb(0, y.rad()) for y in u)
        image = krawczyk(box * 0, box, without_features(J, value), D, near)
        image += near * without_features(J, drift) * arb(0, 1)
        return all(map(arb.contains_interior, box.entries(), image.entries()))


def without_features(J: arb_mat, x: arb_mat) -> arb_mat:
    """What elimination of the features, whose block of J is diagonal, makes of columns."""
    rows, features = x.tolist(), range(J.nrows() // 2, J.nrows())
    shares = [[y / J[k, k] for y in rows[k]] for k in features]
    kept = range(J.nrows() // 2)
    gone = arb_mat([[J[i, k] for k in features] for i in kept]) * arb_mat(shares)
    return arb_mat([rows[i] for i in kept]) - gone


def halves(box: Box, axis: int) -> Iterator[Box]:
    """The lower and the upper half along an axis, and what rounding adds."""
    half = arb(box[axis].rad()) / 2
    for side in (-half, half):
        yield [*box[:axis], box[axis].mid() + side + arb(0, half), *box[axis + 1 :]]


def leaves(tree: str, box: Box) -> Iterator[Box]:
    """Where a tree in preorder ends: a digit halves along that axis, a dot ends a branch."""
    todo = [box]
    for place, mark in enumerate(tree):
        Invalid.unless(todo, f"the tree of boxes goes on after its end, at {place}")
        box = todo.pop()
        if mark.isdecimal() and int(mark) < len(box):
            todo += [*halves(box, int(mark))][::-1]
            require(len(todo) <= MOST_OPEN, f"more than {MOST_OPEN:,} boxes are open at one time")
        else:
            Undecided.unless(mark == ".", f"the box {box} was left open")
            yield box
    Invalid.unless(not todo, f"{len(todo)} boxes are missing from the cover")


def check_rank_one(document: Record) -> str:
    """All critical points of rank one, up to symmetry, by a cover of boxes."""
    line, tree = Line(document.part("model")), document["tree"]
    claim = document.part("claim", "orbits", "origin", "spread")
    spread, origin = (claim.number(name, 0.0) for name in ("spread", "origin"))
    wide = isinstance(tree, str) and line.spread < arb(spread)
    Invalid.unless(wide, "the boxes begin with too small a bound of the gaps")
    orbits, known = list[Any](), [[arb(0, origin)] * len(line.gaps)]
    Undecided.unless(line.alone(known[0]), "the origin is not proved to be alone in its box")
    for told in claim.listed("orbits"):
        orbit = Record(orbit=told).part("orbit", "gaps", "within", "alone")
        u = orbit.numbers("gaps", len(line.gaps))
        r, wider = (orbit.number(name, 0.0) for name in ("within", "alone"))
        near, around = ([arb(y, half) for y in u] for half in (r, wider))
        if not (r <= wider and line.within(near) and line.alone(around)):
            false = Invalid if line.empty(near) else Undecided
            raise false(f"no single critical point is proved near the gaps {u}")
        for v, s in orbits:
            apart = min(max(abs(x - y) for x, y in zip(u, w, strict=True)) for w in (v, v[::-1]))
            # True gaps may be negative by a radius, and sorting moves them.
            two = apart > 2 * line.classes * (r + s)
            Undecided.unless(two, f"the orbits at {u} and {v} are not proved to be two")
        orbits.append((u, r))
        known += around, around[::-1]
    start = [arb(spread / 2, spread / 2)] * len(line.gaps)
    for box in leaves(tree, start):
        held = any(all(map(arb.contains, one, box)) for one in known)
        if held or line.empty(box, MORE_HALVINGS):
            continue
        gaps = [arb(y.mid()) for y in box]
        for _ in range(20):  # where Newton's steps lead
            gaps = [arb(y.mid()) for y in line.newton(gaps)]
        near = [y + arb(0, 1e-6) for y in gaps]
        missed = all(map(arb.overlaps, near, box)) and line.within(near)
        Invalid.unless(not missed, f"a critical point near the gaps {gaps} is not in the list")
        raise Undecided(f"the box {box} is not proved to be empty")
    return (
        f"exactly {len(orbits)} orbits of critical points of rank one, by {tree.count('.'):,} boxes"
    )


# ---- the answers

KINDS = {"critical point": (check_point, BITS), "rank one": (check_rank_one, COVER_BITS)}
CODES = {"VALID": 0, "UNDECIDED": 3, "INVALID": 1, "NO CERTIFICATE": 2}


def check(document: Mapping[str, Any]) -> str:
    """What a certificate proves, in words; raises Invalid, Undecided or NotACertificate."""
    told, before = parsed(json.dumps(document)), ctx.prec
    prove, bits = KINDS.get(str(told["kind"]), (check_point, 0))
    Undecided.unless(bits, f"claims of the kind {told['kind']!r} are not known to this program")
    same = told["digest"] == digest(told)
    Invalid.unless(same, "the file was changed after it was written: its digest is another")
    try:
        ctx.prec = bits
        return prove(told)
    except (ArithmeticError, ValueError) as error:
        raise Undecided(f"numbers that cannot be computed with: {error}") from error
    finally:
        ctx.prec = before


def answer(path: Path) -> tuple[str, str]:
    """VALID, UNDECIDED, INVALID or NO CERTIFICATE, and what is proved or why not."""
    try:
        return "VALID", check(read(path))
    except Refusal as reason:
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
