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
from itertools import accumulate, chain, combinations, count, islice, product, repeat
from pathlib import Path
from typing import Any

from flint import arb, arb_mat, ctx

# What a file may ask for: memory grows with the square of the variables. Merged samples take none.
MOST_BYTES, LONGEST_NUMBER = 8_000_000, 40
MOST_VARIABLES, MOST_SAMPLES, MOST_MERGED, MOST_MOVES, MOST_WIDTHS = 700, 700, 10**9, 1000, 20
# Bits of the balls: float64 points have 53, and the factorisations lose some of the rest.
BITS, COVER_BITS = 160, 64
# Multiples of its expected size that the error of a root is tried at; halvings beyond the list's.
REACHES, MORE_HALVINGS = (1.1, 1.5, 2.0, 3.0, 5.0, 8.0, 20.0), 10
# Parts of a box around a critical point whose Jacobians are enclosed one by one.
CELLS = 64


class NotACertificate(Exception):
    """The file is damaged, hostile, or of another kind."""


class Invalid(Exception):
    """The claim is false, and this is proved."""


class Undecided(Exception):
    """Neither the claim nor its opposite could be proved here."""


# ---- the file


class Record(dict[str, Any]):
    """An object of the file, from which only what is well formed is taken."""

    def __missing__(self, name: str) -> Any:
        raise NotACertificate(f"{name!r} is missing")

    def part(self, name: str, known: Iterable[str] = ()) -> Record:
        """An object in it; in a claim nothing may stand that this program does not check."""
        if not isinstance(self[name], Record):
            raise NotACertificate(f"{name!r} is no object")
        unknown = {*self[name]} - {*known} if known else set()
        if unknown:
            raise NotACertificate(f"unknown in the {name}: {', '.join(sorted(unknown))}")
        return Record(self[name])

    def listed(self, name: str, least: int = 0, most: int = MOST_BYTES) -> list[Any]:
        """A list of so many things."""
        if not isinstance(self[name], list) or not least <= len(self[name]) <= most:
            how = f"{most}" if least == most else f"{least} to {most}"
            raise NotACertificate(f"{name} are no list of {how} entries")
        return [*self[name]]

    def number(self, name: str, least: float = -math.inf, above: bool = False) -> float:
        """A number from (or above) a least one."""
        if type(self[name]) not in (int, float):
            raise NotACertificate(f"{name!r} is no number")
        if self[name] < least or (above and self[name] == least):
            raise NotACertificate(f"{name!r} is {self[name]!r}, out of its domain")
        return float(self[name])

    def positive(self, name: str) -> arb:
        """A positive number, or all from the first to the second of two."""
        ends = self[name] if isinstance(self[name], list) and len(self[name]) == 2 else [self[name]]
        balls = [arb(Record({name: x}).number(name, 0.0, True)) for x in ends]
        return balls[0].union(balls[-1])

    def numbers(self, name: str, rows: int, columns: int = 1) -> list[float]:
        """A matrix, row by row; a column may be written as one list."""
        listed = [x if isinstance(x, list) or columns > 1 else [x] for x in self.listed(name)]
        if [len(x) if isinstance(x, list) else -1 for x in listed] != [columns] * rows:
            raise NotACertificate(f"{name!r} is no {rows} x {columns} matrix")
        return [Record({name: x}).number(name) for row in listed for x in row]


def whole(value: Any, what: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    if type(value) is not int or not least <= value <= most:
        raise NotACertificate(f"{what} must be a whole number from {least} to {most}")
    return value


def parsed(text: str) -> Any:
    """What JSON says, with finite numbers of few digits and no name twice."""

    def number(word: str) -> float:
        if len(word) > LONGEST_NUMBER or not math.isfinite(float(word)):
            raise NotACertificate(f"{word[:LONGEST_NUMBER]} is no number of float64")
        return int(word) if word.lstrip("-").isdecimal() else float(word)

    def once(pairs: Sequence[tuple[str, Any]]) -> Record:
        if len(dict(pairs)) < len(pairs):
            raise NotACertificate("a name stands twice in one object")
        return Record(pairs)

    return json.loads(
        text, parse_float=number, parse_int=number, parse_constant=number, object_pairs_hook=once
    )


def read(path: Path) -> Record:
    """The document of a file, with nothing in it looked at but its form."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise NotACertificate(f"more than {MOST_BYTES:,} bytes")
        document = parsed(text.decode("utf-8"))
    except OSError as error:
        raise NotACertificate(f"the file cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise NotACertificate("lists within lists without end") from error
    except ValueError as error:  # also text that is not UTF-8
        raise NotACertificate(f"the file is no JSON: {error}") from error
    if not isinstance(document, Record) or document.get("format") != "ufm certificate":
        raise NotACertificate('the format is not "ufm certificate"')
    if document.get("version") != 1:
        raise NotACertificate(f"version {document.get('version')!r}; this program reads version 1")
    return document


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

    def __init__(self, at: arb_mat, made: Sequence[Any] = (), free: bool = False) -> None:
        self.at, self.born = at, next(Matrix.births)
        self.made = [(source, pull) for source, pull in made if source.free]
        self.free = free or bool(self.made)

    def __add__(self, other: Matrix) -> Matrix:
        return Matrix(self.at + other.at, [(self, lambda g: g), (other, lambda g: g)])

    def __rmul__(self, number: Any) -> Matrix:
        return Matrix(self.at * arb(number), [(self, lambda g: number * g)])

    def __mul__(self, other: Matrix) -> Matrix:  # entry by entry
        pulls = (self, lambda g: g * other), (other, lambda g: g * self)
        return Matrix(each(arb.__mul__, self.at, other.at), pulls)

    def __matmul__(self, other: Matrix) -> Matrix:
        pulls = (self, lambda g: g @ other.T), (other, lambda g: self.T @ g)
        return Matrix(self.at * other.at, pulls)

    @cached_property
    def T(self) -> Matrix:
        """The transpose."""
        return Matrix(self.at.transpose(), [(self, lambda g: g.T)])

    @cached_property
    def inverse(self) -> Matrix:
        """Of a square matrix."""
        pull = (self, lambda g: -1 * (self.inverse.T @ g @ self.inverse.T))
        return Matrix(self.at.inv(), [pull])

    @cached_property
    def exp(self) -> Matrix:
        """Of every entry."""
        return Matrix(each(arb.exp, self.at), [(self, lambda g: g * self.exp)])

    @cached_property
    def log(self) -> Matrix:
        """Of every entry, a positive number."""
        return Matrix(each(arb.log, self.at), [(self, lambda g: g * (-1 * self.log).exp)])

    def log_determinant(self) -> Matrix:
        """Of a matrix with a positive determinant, (1, 1)."""
        pull = (self, lambda g: spread(g, self.at) * self.inverse.T)
        return Matrix(arb_mat([[self.at.det().log()]]), [pull])

    def sum(self) -> Matrix:
        """Of all entries, (1, 1)."""
        return ones(1, self.at.nrows()) @ self @ ones(self.at.ncols(), 1)


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
    least = 1e-18 * max((math.fsum(x * x for x in row) for row in floats), default=0.0)
    places, basis = [], list[list[float]]()
    for place, left in enumerate(floats):
        for unit in basis:
            along = math.fsum(map(float.__mul__, left, unit))
            left = [x - along * y for x, y in zip(left, unit, strict=True)]
        square = math.fsum(x * x for x in left)
        if square > least:
            places.append(place)
            basis.append([x / math.sqrt(square) for x in left])
    return places, basis


def regular(matrix: arb_mat) -> bool:
    """Whether all M in the balls are proved to have an inverse: the powers of |I - C M| vanish."""
    try:
        off = arb_mat(matrix.nrows(), matrix.nrows(), 1) - matrix.mid().inv().mid() * matrix
    except ZeroDivisionError:
        return False
    off = each(upper_bound, off)
    for _ in range(10):
        off = each(upper_bound, off * off)
    return all(total(row) < 1 for row in off.tolist())


def krawczyk(at: arb_mat, box: arb_mat, value: arb_mat, slope: arb_mat, near: arb_mat) -> arb_mat:
    """x - C f(x) over a box, of f(at) and f' in the box: zeros of f stay where they are."""
    unit = arb_mat(at.nrows(), at.nrows(), 1)
    return at + (unit - near * slope) * (box - at) - near * value


def negative_eigenvalues(matrix: arb_mat, turned: bool = False) -> int:
    """Their number, for every symmetric matrix in the balls, which are then all nonsingular.

    By Haynsworth the inertia is that of a leading block and of its Schur complement. Where a block
    is singular, an orthogonal matrix turns them all.
    """
    rows, half = matrix.tolist(), matrix.nrows() // 2
    if not half and rows[0][0].contains(0):
        raise Undecided("an eigenvalue cannot be told from zero")
    if not half:
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
Move = tuple[Mapping[int, arb_mat], Mapping[int, arb_mat]]


class Model:
    """A function of some matrices, read from a record, with its symmetries.

    They are H, F_1, ..., F_M and the bias b, where there is one; X, V, W of an equilibrium; or the
    Z of a rate. Of merged classes the first has one column sqrt(n_k) h_k each.
    """

    def __init__(self, record: Record) -> None:
        self.family, self.rated = record["family"], record["family"] in RATES
        if self.family not in ("plain", "deep-linear", "equilibrium", *RATES):
            raise Undecided(f"no objective for models of the family {self.family!r} here")
        self.merged = record.get("merged") is True and not self.rated
        K = whole(record["num_classes"], "num_classes", 2 - self.rated, MOST_SAMPLES)
        most = MOST_MERGED if self.merged else MOST_SAMPLES
        self.counts = [whole(n, "a count", 1, most) for n in record.listed("counts", K, K)]
        columns = K if self.merged else sum(self.counts)
        deep = self.family == "deep-linear"
        widths = record.listed("widths", 1, MOST_WIDTHS) if deep else [record["dim"]]
        wide = [whole(d, "a width", 1, MOST_VARIABLES) for d in widths]
        names, self.shapes = ["h", *["w"] * len(wide)], [(wide[0], columns)]
        self.rate = arb(1)
        if self.rated:
            names = ["z"] if self.family == "rate-reduction" else []
            self.rate, self.shares = record.positive("rate"), record.numbers("shares", K)
        elif self.family == "equilibrium":
            names, self.shapes = ["x", "v", "w"], [*self.shapes, (wide[0], wide[0]), (K, wide[0])]
        else:
            self.shapes += zip([*wide[1:], K], wide, strict=True)
        self.decays = [record.positive(f"lambda_{name}") for name in names]
        self.biased = self.family == "plain" and record.get("lambda_b") is not None
        if self.biased:
            self.shapes.append((K, 1))
            self.decays.append(arb(record.number("lambda_b", 0.0)))
        whole(columns, "the number of samples", 1, MOST_SAMPLES)
        self.size = sum(rows * columns for rows, columns in self.shapes)
        if self.size > MOST_VARIABLES:
            raise NotACertificate(f"{self.size:,} variables; at most {MOST_VARIABLES} are read")
        self.labels = [k for k in range(K) for _ in range(1 if self.merged else self.counts[k])]
        self.own = arb_mat([[int(y == k) for y in self.labels] for k in range(K)])
        self.loss = Record(name="") if self.rated else record.part("loss")
        if self.loss["name"] not in ("ce", "ls", "focal", "mse") and not self.rated:
            raise Undecided(f"the loss {self.loss['name']!r} is not known to this program")
        if self.loss["name"] == "ls" and self.loss.number("smoothing", 0.0) >= 1:
            raise NotACertificate("the smoothing is not below 1")
        self.number = arb(self.loss.number("gamma", 0.0) if self.loss["name"] == "focal" else 0)

    def point(self, record: Record) -> arb_mat:
        """The numbers of the matrices, one after another and row by row, (size, 1)."""
        names = {"equilibrium": "XVW", **dict.fromkeys(RATES, "Z")}.get(self.family, "H")
        values = [record[name] for name in names]
        if names == "H":
            values += record.listed("weights") if "weights" in record else [record["W"]]
            values += [record["b"]] if self.biased else []
        Record(matrices=values).listed("matrices", len(self.shapes), len(self.shapes))
        told = Record({f"matrix {j}": value for j, value in enumerate(values)})
        numbers = [told.numbers(f"matrix {j}", *shape) for j, shape in enumerate(self.shapes)]
        return arb_mat([[x] for x in chain(*numbers)])

    def factors(self, x: arb_mat) -> list[arb_mat]:
        """The matrices of a point."""
        entries = iter(x.entries())
        return [arb_mat(*shape, [*islice(entries, shape[0] * shape[1])]) for shape in self.shapes]

    def objective(self, F: Sequence[Matrix]) -> Matrix:
        """f, (1, 1): the mean loss or the rate, and weight decay."""
        value = self.coding_rate(F[0]) if self.rated else self.mean_loss(self.logits(F))
        for decay, factor in zip(self.decays, F, strict=False):
            value = value + (decay / 2) * (factor * factor).sum()
        return value

    def coding_rate(self, Z: Matrix) -> Matrix:
        """sum_k p_k log|I + a Z_k Z_k' / p_k| / 2 - log|I + a sum_k Z_k Z_k'| / 2.

        Under the constraint every |Z_k|^2 is scaled to p_k m.
        """
        unit = Matrix(arb_mat(Z.at.nrows(), Z.at.nrows(), 1))
        value, whole = Matrix(arb_mat(1, 1)), unit
        for row, share in zip(self.own.tolist(), map(arb, self.shares), strict=True):
            kept = Z * Matrix(arb_mat([row] * Z.at.nrows()))
            gram = self.rate * (kept @ kept.T)
            if self.family == "constrained-rate":
                over = (-1 * (kept * kept).sum().log).exp
                gram = (share * len(self.labels)) * (spread(over, gram.at) * gram)
            whole = whole + gram
            value = value + (share / 2) * (unit + (1 / share) * gram).log_determinant()
        return value + arb(-0.5) * whole.log_determinant()

    def logits(self, F: Sequence[Matrix]) -> Matrix:
        """F_M ... F_1 H + b 1', or W (I - V)^-1 X; (K, columns)."""
        Z, above = F[0], F[1 : len(F) - self.biased]
        if self.family == "equilibrium":
            above = [(Matrix(arb_mat(*self.shapes[1], 1)) + -1 * F[1]).inverse, F[2]]
        for factor in above:
            Z = factor @ Z
        if self.merged:
            Z = Z * Matrix(arb_mat([[1 / arb(n).sqrt() for n in self.counts]] * len(self.counts)))
        return Z + F[-1] @ ones(1, len(self.labels)) if self.biased else Z

    def mean_loss(self, Z: Matrix) -> Matrix:
        """Over all samples."""
        weights = [self.counts[k] if self.merged else 1 for k in self.labels]
        return self.losses(Z) @ Matrix(arb_mat([[arb(n) / sum(self.counts)] for n in weights]))

    def losses(self, Z: Matrix) -> Matrix:
        """Of every column, (1, columns)."""
        K, name = len(self.counts), self.loss["name"]
        all_rows, every = ones(1, K), ones(K, len(self.labels)).at
        if name == "mse":
            off = Z + Matrix(-self.own)
            return arb(0.5) * (all_rows @ (off * off))
        logs = (all_rows @ Z.exp).log
        if name == "focal":  # (1 - p)^gamma times -log p
            surprise = logs + -1 * (all_rows @ (Z * Matrix(self.own)))
            rest = (all_rows @ (Z.exp * Matrix(every - self.own))).log + -1 * logs
            return (self.number * rest).exp * surprise
        delta = arb(self.loss["smoothing"] if name == "ls" else 0)
        target = self.own * (1 - delta) + every * (delta / K)
        return logs + -1 * (all_rows @ (Z * Matrix(target)))

    def derivatives(self, x: arb_mat) -> tuple[arb, arb_mat, arb_mat]:
        """Value, gradient (p, 1) and Hessian (p, p)."""
        F = [Matrix(y, free=True) for y in self.factors(x)]
        value = self.objective(F)
        slopes, hessian = gradient(value, arb_mat([[1]]), F), []
        for slope, (rows, columns) in zip(slopes, self.shapes, strict=True):
            for place in range(rows * columns):
                seed = arb_mat(rows, columns, [int(j == place) for j in range(rows * columns)])
                hessian.append(flat(y.at for y in gradient(slope, seed, F)))
        return value.at[0, 0], arb_mat([[y] for y in flat(y.at for y in slopes)]), arb_mat(hessian)

    def moves(self) -> Iterator[Move]:
        """Directions without change, at any point: factors by matrices on the left, on the right.

        Nothing on either side stands for one shift of all entries of the last factor.
        """
        width, columns, last = *self.shapes[0], len(self.shapes) - 1 - self.biased
        if self.rated:  # turns of all features, of those of a class, and the length of a class
            yield from (({0: A}, {}) for A in planes(range(width), width))
            for k in range(len(self.counts)):
                alike = [i for i, y in enumerate(self.labels) if y == k]
                yield from (({}, {0: A}) for A in planes(alike, columns))
                if self.family == "constrained-rate":
                    every = range(columns)
                    yield {}, {0: arb_mat([[int(i == j in alike) for j in every] for i in every])}
            return
        if self.family == "equilibrium":
            yield from (({0: -A, 1: -A}, {1: A, 2: A}) for A in planes(range(width), width))
        for a in range(1, last + 1 if self.family != "equilibrium" else 0):
            rows = self.shapes[a - 1][0]
            yield from (({a - 1: -A}, {a: A}) for A in planes(range(rows), rows))
        if self.loss["name"] != "mse":
            if self.biased and self.decays[-1] == 0:  # the loss does not see a shift
                yield {}, {}
            return
        # Squared error turns the logits of classes of one size, with a bias where Q 1 = 0.
        nth = [self.labels[:i].count(y) for i, y in enumerate(self.labels)]
        peers = arb_mat([[int(i == j) for j in nth] for i in nth])
        for n in set(self.counts):
            alike = [k for k, m in enumerate(self.counts) if m == n]
            ground = alike.pop() if self.biased else -1
            units = [[(k == j) - (k == ground) for k in range(len(self.counts))] for j in alike]
            for u, v in combinations(units, 2):
                pairs = [*zip(u, v, strict=True)]
                Q = arb_mat([[a * d - b * c for c, d in pairs] for a, b in pairs])
                mix = each(arb.__mul__, self.own.transpose() * -Q * self.own, peers)
                yield dict.fromkeys(range(last, len(self.shapes)), Q), {0: mix}

    def moved(self, x: arb_mat, move: Move) -> list[arb]:
        """The direction of one move at a point."""
        made, factors = [arb_mat(*shape) for shape in self.shapes], self.factors(x)
        for a, A in move[0].items():
            made[a] += A * factors[a]
        for a, A in move[1].items():
            made[a] += factors[a] * A
        if not any(move):
            made[-1] = ones(*self.shapes[-1]).at
        return flat(made)


def planes(members: Sequence[int], order: int) -> Iterator[arb_mat]:
    """E_st - E_ts for all pairs s < t of the members."""
    for s, t in combinations(members, 2):
        made = arb_mat(order, order)
        made[s, t], made[t, s] = arb(1), arb(-1)
        yield made


# ---- what is proved of a point

POINT_CLAIMS = ("radius", "index", "nullity", "value", "minimiser")
NEAR_CLAIMS = ("gap", "logits", "gram_w", "gram_h", "curvature", "exact")


def check_point(document: Record) -> str:
    """A critical point within a radius, alone there up to symmetry, with its index and nullity."""
    model, claim = Model(document.part("model")), document.part("claim", POINT_CLAIMS)
    x, radius = model.point(document.part("point")), claim.positive("radius")
    most = model.size + (sum(model.counts) * model.size if model.merged else 0)
    index, nullity = (whole(claim[name], name, 0, most) for name in ("index", "nullity"))
    low, high = claim.numbers("value", 2)
    if not all(decay.is_exact() for decay in (*model.decays, model.rate, radius)):
        raise NotACertificate("a certificate of one point needs decays that are numbers")
    if sum(1 for _ in islice(model.moves(), MOST_MOVES + 1)) > MOST_MOVES:
        raise NotACertificate(f"more than {MOST_MOVES:,} symmetries")
    # One move at a time: its matrices are large.
    moves, basis = independent([model.moved(x, move) for move in model.moves()])
    height, slope, curved = model.derivatives(x)
    box = each(lambda y: arb(y, radius), x)
    bare = model.derivatives(box)[2]
    # The equations gain B B^T (x - x_0), which holds the symmetries.
    held = arb_mat(basis).transpose() * arb_mat(basis) if moves else curved * 0
    try:
        near = (curved + held).mid().inv().mid()
    except ZeroDivisionError as error:
        raise Undecided("the Hessian cannot be told from a singular one") from error
    inner = krawczyk(x, box, slope, bare + held, near)
    if not all(map(arb.contains_interior, box.entries(), inner.entries())):
        for j, row in enumerate(bare.tolist()):
            least = arb(slope[j, 0].abs_lower()) - radius * total(map(upper_bound, row))
            if least > 0:
                reason = f"component {j} of the gradient is at least {float(least.mid()):.1e} there"
                raise Invalid(f"no critical point within {float(radius):g}: {reason}")
        raise Undecided("no fixed point could be proved within the radius")
    # All that follows is about the true point, which lies in this smaller box.
    true = model.derivatives(inner)[2]
    chosen = (move for place, move in enumerate(model.moves()) if place in moves)
    tangents = arb_mat([model.moved(inner, move) for move in chosen])
    if moves and not regular(tangents * arb_mat(basis).transpose()):
        raise Undecided("the directions of symmetry cannot be told from dependent ones")
    negative = negative_eigenvalues(true + held)
    if len(moves) != nullity:
        raise Invalid(f"the nullity is {len(moves)}, and {nullity} is claimed")
    negative += negative_differences(model, true)
    if negative != index:
        raise Invalid(f"the index is {negative}, and {index} is claimed")
    # |f(x) - f(true point)| <= sum_j |gradient_j| |x_j - true_j| somewhere between them.
    off = each(upper_bound, inner - x)
    drift = (each(upper_bound, slope + bare * (box - x)).transpose() * off)[0, 0]
    value = height + arb(0, drift)
    if not arb(low) <= value <= arb(high):
        reason = f"the value lies in {value}, and [{low!r}, {high!r}] is claimed"
        raise Invalid(reason) if value < arb(low) or value > arb(high) else Undecided(reason)
    counts = f"index {index}, nullity {nullity}, value in [{low!r}, {high!r}]"
    said = f"a critical point within {float(radius):g}, {counts}"
    if claim.get("minimiser") is not None:
        said += check_minimiser(model, claim.part("minimiser", NEAR_CLAIMS), x, inner, drift)
    if document.get("lower") is None:
        return said
    lower = document.part("lower")
    below, factors = lower.number("below"), model.factors(model.point(lower.part("point")))
    other = model.objective([*map(Matrix, factors)]).at[0, 0]
    if other > arb(below) or below > low:
        raise Invalid(f"the lower point has the value {other}; below {below!r} is claimed")
    if not other < arb(below):
        raise Undecided(f"the lower point's value {other} is not proved to be below {below!r}")
    return f"{said}; not global: another point has a value below {below!r}"


def negative_differences(model: Model, hessian: arb_mat) -> int:
    """Of samples of a merged class: n_k - 1 times those of the block of column k."""
    found, K = 0, len(model.counts)
    for k, n in enumerate(model.counts if model.merged else ()):
        own = range(k, K * model.shapes[0][0], K)
        found += (n - 1) * negative_eigenvalues(
            arb_mat([[hessian[i, j] for j in own] for i in own])
        )
    return found


def check_minimiser(model: Model, claim: Record, x: arb_mat, box: arb_mat, drift: arb) -> str:
    """How far the point is at most from every global minimiser."""
    invariant, exact = model.loss["name"] != "mse", claim["exact"] is True
    K, N = len(model.counts), len(model.labels)
    if model.family != "plain" or model.loss["name"] == "focal" or model.merged:
        raise Undecided("the convex problem is known for plain models with ce, ls and mse")
    (H, W, *bias), decays = model.factors(x), model.decays
    if W.ncols() < K - invariant:
        raise Undecided("in so few dimensions the minimum may lie above the convex one")
    ground = ones(K, K).at * int(invariant)
    Z = Matrix(model.logits([*map(Matrix, model.factors(x))]).at, free=True)
    losses = model.losses(Z)
    (slopes,) = gradient(losses, ones(1, N).at, [Z])
    seeds = (arb_mat([[int(j == k)] * N for j in range(K)]) for k in range(K))
    rows = [gradient(slopes, seed, [Z])[0].at.transpose().tolist() for seed in seeds]
    curvature = claim.positive("curvature")
    moved = ground - arb_mat(K, K, curvature)
    if any(negative_eigenvalues(arb_mat([row[i] for row in rows]) + moved) for i in range(N)):
        raise Invalid(f"the losses' Hessians are not above {float(curvature):g} at the point")
    claimed = [arb(claim.number(name, 0.0)) for name in NEAR_CLAIMS[:4]]
    if exact:  # a critical point of full rank
        inner = model.factors(box)
        if not regular(inner[1] * inner[1].transpose() + ground):
            raise Undecided("the rank is not proved to be full")
        off_H, off_W, *off_b = (size(a - b) for a, b in zip(inner, (H, W, *bias), strict=True))
        logits = size(W) * off_H + size(H) * off_W + off_H * off_W
        logits += total(off_b) * arb(N).sqrt()
        bounds = [drift, logits, (2 * size(W) + off_W) * off_W, (2 * size(H) + off_H) * off_H]
    else:
        bound = dual_bound(model, losses.at, slopes.at, Z.at)
        value = model.objective([*map(Matrix, model.factors(x))]).at[0, 0]
        gap, logits = upper_bound(value - bound), claimed[1]
        share, a = N * gap / curvature, arb(2).sqrt() * logits
        if not (1 - (1 + a) * (-a).exp() if invariant else logits * logits) >= 2 * share:
            raise Undecided(f"the logits are not proved to lie within {float(logits):.6g}")
        off = logits + ((2 * N * gap / decays[2]).sqrt() if bias else 0)
        if invariant:  # the columns of a minimiser sum to zero
            off += size(ones(1, K).at * W * H) / arb(K).sqrt()
        bounds = [gap, logits]
        for F, own, other in ((W, decays[1], decays[0]), (H, decays[0], decays[1])):
            bounds.append(size(F) * (2 * gap / own).sqrt() + (2 * other / own).sqrt() * off)
    for name, found, most in zip(NEAR_CLAIMS, bounds, claimed, strict=False):
        if not found <= most:
            raise Undecided(f"{name} is proved to be below {float(upper_bound(found)):.6g} only")
    what = "a global minimum" if exact else "with a global minimum near"
    return f", {what}, {claim['gap']:g} below at most, its logits within {claim['logits']:g}"


def dual_bound(model: Model, losses: arb_mat, slopes: arb_mat, Z: arb_mat) -> arb:
    """A number below the global minimum, by Fenchel's equality and L >= 0."""
    N, decays = losses.ncols(), model.decays
    if model.biased and not decays[2] > 0:
        raise Undecided("an unregularised bias needs the conjugate of the loss")
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

Box = tuple[tuple[float, float], ...]


def times(x: arb, y: arb) -> arb:
    """x y from the ends, which is narrower than the product of balls; x x is not below zero."""
    low, high = y.lower(), y.upper()
    ends = [a * b for a in (x.lower(), x.upper()) for b in (low, high)]
    whole = ends[0].union(ends[1]).union(ends[2]).union(ends[3])
    return whole.max(0) if x is y else whole


class Line:
    """Cross entropy or label smoothing on one feature: equations for the gaps u of the classifier.

    With classes in falling order w_1 >= ... >= w_K, u_i = w_i - w_{i+1}, P_i the softmax of w h_k
    summed up to i and q_ki = P_i - (1 - delta) [k <= i] - delta i / K: h_k(u) is the root of
    sum_i u_i q_ki + K n lambda_H h_k, and critical points are the zeros of
    g_i = sum_k h_k q_ki / K + lambda_W sum_l (min(i, l) - i l / K) u_l.

    Decays come as middle and step: the pairs middle + s step for all s from -1 to 1.
    """

    def __init__(self, K: int, n: int, w: Sequence[arb], h: Sequence[arb], delta: arb) -> None:
        steady = [w[0], w[0] * 0], [h[0], h[0] * 0]
        self.central = self if w[1] == h[1] == 0 else Line(K, n, *steady, delta)
        decay_w, decay_h = (middle + step * arb(0, 1) for middle, step in (w, h))
        self.steps = [w[1], n * h[1]]
        self.classes, self.price, self.gaps = K, K * n * decay_h, range(K - 1)
        own = [[(1 - delta) * (k <= i) + delta * (i + 1) / K for i in self.gaps] for k in range(K)]
        self.own, self.decay = own, decay_w
        # lambda_W |w|^2 is the mean of all <tau - p, z> <= (1 - delta) S, S e^S = (K - 1) / e, and
        # w_1 - w_K <= sqrt(2) |w|.
        pull = (1 - delta) * ((K - 1) / arb(1).exp()).lambertw()
        self.spread = arb((2 * pull / decay_w).sqrt().upper())

    def terms(self, u: Sequence[arb], h: arb, k: int) -> tuple[arb, arb, list[arb], Any]:
        """The equation of h_k, its derivative there, q_k and the covariances C_ij = P_i (1 - P_j).

        P increases in every u_i h; the derivative is the price and a variance, u' C u.
        """
        x, ends = [times(y, h) for y in u], []
        for side in (arb.lower, arb.upper):
            heads = [*accumulate((-z).exp() for z in accumulate(map(side, x), initial=arb(0)))]
            ends.append([y / heads[-1] for y in heads[:-1]])
        P = [*map(arb.union, *ends)]
        q = [p - o for p, o in zip(P, self.own[k], strict=True)]
        C = [[times(P[min(i, j)], 1 - P[max(i, j)]) for j in self.gaps] for i in self.gaps]
        bend = total(times(C[i][j], times(u[i], u[j])) for i in self.gaps for j in self.gaps)
        return total(map(times, u, q)) + self.price * h, self.price + bend.max(0), q, C

    def middle(self, u: Sequence[float], k: int) -> float:
        """A float near h_k at a point, by bisection; nothing is proved of it."""
        v, price = [sum(u[i:]) for i in range(self.classes)], float(self.price.mid())
        goal = sum(y * float(own.mid()) for y, own in zip(u, self.own[k], strict=True))
        low, high = -v[0] / price, v[0] / price
        for _ in range(64):
            h = (low + high) / 2
            masses = [math.exp(h * (y - v[0] * (h > 0))) for y in v]
            mean = sum(map(float.__mul__, masses, v)) / sum(masses)
            low, high = (low, h) if mean - goal + price * h > 0 else (h, high)
        return h

    def roots(self, u: Sequence[arb]) -> tuple[list[arb], list[arb]]:
        """Numbers near all h_k, and enclosures: from them out to where the equation has a sign."""
        middle, near, made = [float(y.mid()) for y in u], list[arb](), list[arb]()
        for k in range(self.classes):
            start = h = arb(self.middle(middle, k))
            value, bend, *_ = self.terms(u, start, k)
            most = arb((upper_bound(value) / self.price.lower()).upper())
            steps = [arb((reach * upper_bound(value / bend.mid())).upper()) for reach in REACHES]
            for sign in (-1, 1):
                ends = (start + sign * step for step in steps)
                signed = (x for x in ends if sign * self.terms(u, x, k)[0] > 0)
                h = h.union(next(signed, start + sign * most))
            near.append(start)
            made.append(h.intersection(start - value / self.terms(u, h, k)[1]))
        return near, made

    def equations(self, u: Sequence[arb], roots: Sequence[arb]) -> tuple[arb_mat, arb_mat]:
        """Those of u and of h, each over K, over a box; and their Jacobian."""
        K, L, gaps = self.classes, self.classes - 1, self.gaps
        J, value = arb_mat(L + K, L + K), arb_mat(L + K, 1)
        for i in gaps:
            for j in gaps:
                J[i, j] = self.decay * (min(i, j) + 1 - arb((i + 1) * (j + 1)) / K)
                value[i, 0] += J[i, j] * u[j]
        for k, h in enumerate(roots):
            zero, bend, q, C = self.terms(u, h, k)
            value[L + k, 0], J[L + k, L + k] = zero / K, bend / K
            for i in gaps:
                value[i, 0] += times(h, q[i]) / K
                J[i, L + k] = J[L + k, i] = (q[i] + times(h, total(map(arb.__mul__, C[i], u)))) / K
                for j in gaps:
                    J[i, j] += times(times(h, h), C[i][j]) / K
        return value, J

    def images(self, u: Sequence[arb]) -> Iterator[tuple[Sequence[arb], Sequence[arb]]]:
        """Enclosures of maps over a box, and what each has to meet where there is a zero in it."""
        near, roots = self.roots(u)
        roots = [*map(arb.union, near, roots)]  # the way to a zero from what is near it
        over, J = self.equations(u, roots)
        yield over.entries()[: len(u)], [arb(0)] * len(u)
        middle = [arb(y.mid()) for y in u]
        value, slope = self.central.equations(middle, near)
        drift, whole = self.drift(middle, near), arb(0, 1)
        # The same with h eliminated: h - near = -(value + s drift + J (u - middle)) / bend.
        off = [y - x for x, y in zip(middle, u, strict=True)] + [arb(0)] * self.classes
        mean = (value + J * arb_mat([[y] for y in off])).entries()
        gone = zip(self.without_features(J, mean), self.without_features(J, drift), strict=True)
        yield [y + z * whole for y, z in gone], [arb(0)] * len(u)
        at = arb_mat([[y] for y in (*middle, *near)])
        held = arb_mat([[y] for y in (*u, *roots)])
        near_inverse = slope.mid().inv().mid()
        image = krawczyk(at, held, value, J, near_inverse)
        moved = near_inverse * arb_mat([[y] for y in drift]) * whole
        yield (image - moved).entries(), [*u, *roots]

    def drift(self, u: Sequence[arb], h: Sequence[arb]) -> list[arb]:
        """The derivatives of all equations by s, in which they are linear."""
        w, K = self.steps[0], self.classes
        form = [[min(i, j) + 1 - arb((i + 1) * (j + 1)) / K for j in self.gaps] for i in self.gaps]
        pulled = [w * total(map(arb.__mul__, row, u)) for row in form]
        return [*pulled, *(self.steps[1] * y for y in h)]

    def without_features(self, J: arb_mat, x: Sequence[arb]) -> list[arb]:
        """What elimination of the features, whose block of J is diagonal, makes of a column."""
        gone = [(k, x[k] / J[k, k]) for k in range(len(self.gaps), J.nrows())]
        return [x[i] - total(J[i, k] * y for k, y in gone) for i in self.gaps]

    def around(self, gaps: Sequence[float], half: float) -> arb_mat:
        """The hull of all Jacobians without the features in gaps +- half, cell by cell."""
        parts, L = round(CELLS ** (1 / len(gaps))), len(gaps)
        cells = [half * arb(2 * i + 1 - parts, 1) / parts for i in range(parts)]
        grid = [[y + cell for cell in cells] for y in gaps]
        hull = list[arb]()
        for u in product(*grid):
            J = self.equations(u, self.roots(u)[1])[1]
            told = [*chain(*(self.without_features(J, row) for row in J.tolist()[:L]))]  # symmetric
            hull = [*map(arb.union, hull, told)] if hull else told
        return arb_mat(L, L, hull)

    def empty(self, box: Box, halvings: int = 0) -> bool:
        """Whether the box is proved to hold no critical point; halved where that helps."""
        if box[0][1] < box[-1][0] or total(arb(low) for low, _ in box) > self.spread:
            return True  # mirror images, and beyond the bound
        u = [arb(low).union(arb(high)) for low, high in box]
        with suppress(ZeroDivisionError):
            if any(not all(map(arb.overlaps, *both)) for both in self.images(u)):
                return True
        axis = max(self.gaps, key=lambda i: box[i][1] - box[i][0])
        return halvings > 0 and all(self.empty(x, halvings - 1) for x in halves(box, axis))

    def alone(self, gaps: Sequence[float], half: float) -> bool:
        """Whether gaps +- half holds no two critical points: all means of D in it are regular."""
        return regular(self.around(gaps, half))

    def within(self, gaps: Sequence[float], half: float) -> bool:
        """Whether a critical point lies in gaps +- half: Krawczyk's image is inside the box."""
        u, D = [*map(arb, gaps)], self.around(gaps, half)
        near, roots = self.roots(u)
        J = self.equations(u, [*map(arb.union, near, roots)])[1]
        value = self.central.equations(u, near)[0].entries()
        columns = [self.without_features(J, x) for x in (value, self.drift(u, near))]
        moved, drift = (arb_mat([[y] for y in x]) for x in columns)
        inverse, box = D.mid().inv().mid(), arb_mat([[arb(0, half)]] * len(u))
        image = krawczyk(box * 0, box, moved, D, inverse) - inverse * drift * arb(0, 1)
        return all(map(arb.contains_interior, box.entries(), image.entries()))


def halves(box: Box, axis: int) -> list[Box]:
    """The lower and the upper half; the cut belongs to both."""
    low, high = box[axis]
    middle = 0.5 * (low + high)
    return [(*box[:axis], x, *box[axis + 1 :]) for x in ((low, middle), (middle, high))]


def inside(side: tuple[float, float], middle: arb, half: float) -> bool:
    """Whether one lies in middle +- half; in balls, for a float64 sum may round towards it."""
    return bool(side[0] >= middle - half and side[1] <= middle + half)


def check_rank_one(document: Record) -> str:
    """All critical points of rank one, up to symmetry, by a cover of boxes."""
    model, tree = Model(document.part("model")), document["tree"]
    claim = document.part("claim", ("orbits", "origin", "spread"))
    K = len(model.counts)
    if model.family != "plain" or model.biased or model.loss["name"] not in ("ce", "ls") or K > 9:
        raise Undecided("rank one is covered for ce and ls, up to 9 classes, without bias or depth")
    if len(set(model.counts)) > 1:
        raise Undecided("rank one is covered for classes of one size")
    ends = [document["model"][name] for name in ("lambda_w", "lambda_h")]
    pairs = [[*map(arb, x if isinstance(x, list) else [x, x])] for x in ends]
    decay_w, decay_h = (((low + high) / 2, (high - low) / 2) for low, high in pairs)
    line = Line(K, model.counts[0], decay_w, decay_h, arb(model.loss.get("smoothing", 0.0)))
    orbits = []
    for told in claim.listed("orbits"):
        orbit = Record(orbit=told).part("orbit", ("gaps", "within", "alone"))
        u = tuple(orbit.numbers("gaps", K - 1))
        orbits.append((u, orbit.number("within", 0.0), orbit.number("alone", 0.0)))
    spread, origin = (claim.number(name, 0.0) for name in ("spread", "origin"))
    if not isinstance(tree, str) or not line.spread < arb(spread):
        raise Invalid("the boxes begin with too small a bound of the gaps")
    for u, within, alone in orbits:
        if not (within <= alone and line.within(u, within) and line.alone(u, alone)):
            false = Invalid if line.empty(tuple((y - within, y + within) for y in u)) else Undecided
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
    todo, leaves = [((0.0, spread),) * (K - 1)], 0
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
        if any(all(map(inside, box, map(arb, u), repeat(r))) for u, r in known):
            continue
        if line.empty(box, MORE_HALVINGS):
            continue
        gaps = [0.5 * (low + high) for low, high in box]
        for _ in range(20):  # where Newton's steps lead
            *_, (image, _) = line.images([*map(arb, gaps)])
            gaps = [float(x.mid()) for x in image[: K - 1]]
        near = all(x - 1e-6 <= y <= z + 1e-6 for y, (x, z) in zip(gaps, box, strict=True))
        if near and line.within(gaps, 1e-6):
            raise Invalid(f"a critical point with the gaps {gaps} is not in the list")
        raise Undecided(f"the box {box} is not proved to be empty")
    if todo:
        raise Invalid(f"{len(todo)} boxes are missing from the cover")
    return f"exactly {len(orbits)} orbits of critical points of rank one, by {leaves:,} boxes"


# ---- the answers

KINDS = {"critical point": (check_point, BITS), "rank one": (check_rank_one, COVER_BITS)}
CODES = {"VALID": 0, "UNDECIDED": 3, "INVALID": 1, "NO CERTIFICATE": 2}


def check(document: Mapping[str, Any]) -> str:
    """What a certificate proves, in words; raises Invalid, Undecided or NotACertificate."""
    told, before = parsed(json.dumps(document)), ctx.prec
    prove, bits = KINDS.get(str(told["kind"]), (None, BITS))
    if prove is None:
        raise Undecided(f"claims of the kind {told['kind']!r} are not known to this program")
    if told["digest"] != digest(told):
        raise Invalid("the file was changed after it was written: its digest is another")
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
