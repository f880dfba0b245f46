"""The blocks of the Hessian tables: the objective differentiated twice along each basis.

Nothing of the tables enters a left side: it is the mixed second derivative, at the point, of the
objective itself along the representatives of section 7.0. One sample per class unless said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from proofs_check.identities import identity, positive

Direction = tuple[Any, Any, Any]


# ---- the objective along two directions


def _form(
    base: tuple[Any, Any],
    decays: tuple[Any, ...],
    first: Direction,
    second: Direction,
    loss: Callable[[list[Any], list[Any], list[Any], list[Any], int], Any],
) -> Any:
    """d^2 f / ds dt at (W, H, 0) + s first + t second, s = t = 0.

    The loss gets, for each column, the logits and their derivatives in s, in t and in both.
    """
    W, H = base
    (A, B, b), (A2, B2, b2) = first, second
    K, columns = W.shape[0], H.shape[1]
    Z, in_s, in_t, in_both = W * H, A * H + W * B, A2 * H + W * B2, A * B2 + A2 * B
    total = 0
    for k in range(columns):
        parts = (
            [Z[j, k] for j in range(K)],
            [in_s[j, k] + b[j] for j in range(K)],
            [in_t[j, k] + b2[j] for j in range(K)],
            [in_both[j, k] for j in range(K)],
        )
        total += loss(*parts, k)
    weights = sum(
        decay * (one.T * other).trace()
        for decay, one, other in zip(decays, first, second, strict=True)
    )
    return total / columns + weights


def _of_the_rest(curve: Callable[[Any], Any], slope: Any = 0) -> Callable[..., Any]:
    """The mixed derivative of curve(T) + slope sum_j (z_k - z_j), T = sum_(j != k) e^(z_j - z_k).

    Every logit less the own one is an integer times alpha = a^2, e^alpha = E.
    """
    import sympy

    a, E, T = positive("a E T")
    slopes = [sympy.diff(curve(T), T, order) for order in (1, 2)]

    def mixed(z: list[Any], s: list[Any], t: list[Any], both: list[Any], k: int) -> Any:
        total = in_s = in_t = in_both = linear = sympy.Integer(0)
        for j in range(len(z)):
            if j == k:
                continue
            size = E ** sympy.cancel((z[j] - z[k]) / a**2)
            one, other, pair = s[j] - s[k], t[j] - t[k], both[j] - both[k]
            total, linear = total + size, linear - pair
            in_s, in_t = in_s + size * one, in_t + size * other
            in_both += size * (pair + one * other)
        first, second = (x.subs(T, total) for x in slopes)
        return first * in_both + second * in_s * in_t + slope * linear

    return mixed


def _smoothed(K: int) -> Callable[..., Any]:
    """Label smoothing: log(1 + T) and delta/K times the sum of the gaps."""
    import sympy

    return _of_the_rest(lambda rest: sympy.log(1 + rest), positive("delta") / K)


@cache
def _simplex(K: int) -> tuple[Any, ...]:
    """W, H and decays at the simplex of label smoothing: e^alpha = E, alpha = a^2.

    sigma = p' - delta/K, lambda_W = sigma r^2, lambda_H = sigma/r^2, w = a/r, h = a r.
    """
    import sympy

    a, r, E, delta, free = positive("a r E delta lambda_b")
    P = sympy.eye(K) - sympy.ones(K, K) / K
    sigma = 1 / (E + K - 1) - delta / K
    return P * a / r, P * a * r, (sigma * r**2, sigma / r**2, free)


def _block(K: int, basis: Sequence[Direction]) -> Any:
    """The matrix of the second derivative on a basis that is normalised here."""
    import sympy

    W, H, decays = _simplex(K)
    sizes = [sum((part.T * part).trace() for part in move) for move in basis]
    found = sympy.zeros(len(basis), len(basis))
    for i in range(len(basis)):
        for j in range(i, len(basis)):
            entry = _form((W, H), decays, basis[i], basis[j], _smoothed(K))
            scale = sympy.sqrt(sizes[i] * sizes[j])
            found[i, j] = found[j, i] = sympy.cancel(sympy.together(entry)) / scale
    return found


def _unit(K: int, i: int, j: int) -> Any:
    """e_i - e_j."""
    import sympy

    vector = sympy.zeros(K, 1)
    vector[i], vector[j] = 1, -1
    return vector


def _weights(K: int, X: Any) -> Direction:
    import sympy

    return X, sympy.zeros(K, K), sympy.zeros(K, 1)


def _features(K: int, Y: Any) -> Direction:
    import sympy

    return sympy.zeros(K, K), Y, sympy.zeros(K, 1)


def _both(K: int, X: Any) -> tuple[Direction, Direction]:
    return _weights(K, X), _features(K, X)


def _pairs_of(matrix: Any) -> tuple[Any, ...]:
    return matrix.trace(), matrix.det()


def _numbers(a: Any, r: Any, E: Any, delta: Any, K: int) -> tuple[Any, ...]:
    """lambda_W, lambda_H, theta, R and q of the tables."""
    other = 1 / (E + K - 1)
    sigma = other - delta / K
    R = K * E * other
    return sigma * r**2, sigma / r**2, a**2 * other / (K * sigma), R, (R - 1) / (K - 1)


# ---- trivial, angles, rotations


def _norms_left() -> Any:
    import sympy

    K = 4
    P = sympy.eye(K) - sympy.ones(K, K) / K
    return _pairs_of(_block(K, _both(K, P)))


def _norms_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, R, _ = _numbers(a, r, E, delta, 4)
    return (lw + lh) * (1 + R * theta), 4 * R * theta * lw * lh


def _norms_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, _, _ = _numbers(a, r, E, delta, 4)
    return (lw + lh) * (1 + theta), 4 * theta * lw * lh


def _angles_left() -> Any:

    K = 4
    one, other = _unit(K, 0, 1), _unit(K, 2, 3)
    return _pairs_of(_block(K, _both(K, one * other.T + other * one.T)))


def _angles_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, _, _ = _numbers(a, r, E, delta, 4)
    return (lw + lh) * (1 + theta), 4 * theta * lw * lh


def _angles_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, _, _ = _numbers(a, r, E, delta, 4)
    return (lw + lh) * (1 + theta), 2 * theta * lw * lh


def _rotation_left() -> Any:
    import sympy

    K = 4
    skew = sympy.zeros(K, K)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        skew[i, j], skew[j, i] = 1, -1
    return _pairs_of(_block(K, _both(K, skew)))


def _rotation_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, _, _ = _numbers(a, r, E, delta, 4)
    return (lw + lh) * (1 + theta), 0


def _rotation_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, R, _ = _numbers(a, r, E, delta, 4)
    return (lw + lh) * (1 + R * theta), 0


# ---- the standard representation


def _standard(K: int) -> tuple[Direction, ...]:
    """Unequal norms of W and of H, shift of the features; last the shift of the classifiers."""
    import sympy

    u, one = _unit(K, 0, 1), sympy.ones(K, 1)
    P = sympy.eye(K) - sympy.ones(K, K) / K
    diagonal = P * sympy.diag(*u) * P
    return *_both(K, diagonal), _features(K, u * one.T), _weights(K, one * u.T)


# K - 2 is a square, so that g_12 is rational.
SQUARES = {3: 1, 6: 2}


def _unequal_left() -> Any:
    told: tuple[Any, ...] = ()
    for K in SQUARES:
        matrix = _block(K, _standard(K))
        told += tuple(matrix[i, j] for i in range(4) for j in range(i, 4))
    return told


def _b3(K: int, lw: Any, lh: Any, sigma: Any, theta: Any, q: Any) -> tuple[Any, ...]:
    """The upper triangle of B_3 (sqrt(lw lh) = sigma), with the shift of the classifiers apart."""
    g11, g12, g22 = 1 + q * (K - 2), q * SQUARES[K], 1 + q
    first = lw * (1 + g11 * theta), sigma * (g11 * theta - 1), sigma * g12 * theta, 0
    second = lh * (1 + g11 * theta), lh * g12 * theta, 0
    return *first, *second, lh * (1 + g22 * theta), 0, lw


def _unequal_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    told: tuple[Any, ...] = ()
    for K in SQUARES:
        lw, lh, theta, _, q = _numbers(a, r, E, delta, K)
        told += _b3(K, lw, lh, lw / r**2, theta, q)
    return told


def _unequal_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    told: tuple[Any, ...] = ()
    for K in SQUARES:
        lw, lh, theta, _, q = _numbers(a, r, E, delta, K)
        told += _b3(K, lw, lh, lw / r**2, theta, 101 * q / 100)
    return told


def _bias_left() -> Any:
    import sympy

    K = 4
    zero = sympy.zeros(K, K)
    shift = (zero, zero, _unit(K, 0, 1))
    common = (zero, zero, sympy.ones(K, 1))
    matrix = _block(K, (*_standard(K)[:3], shift))
    squares = tuple(matrix[i, 3] ** 2 for i in range(3))
    return (*squares, matrix[3, 3], _block(K, (common,))[0, 0])


def _bias_right(a: Any, r: Any, E: Any, delta: Any, lambda_b: Any) -> Any:
    K = 4
    lw, lh, theta, _, q = _numbers(a, r, E, delta, K)
    s2, g22 = 1 / (E + K - 1), 1 + q
    square = q**2 * (K - 2)
    edges = square * lw * theta * s2, square * lh * theta * s2, g22**2 * lh * theta * s2
    return (*edges, lambda_b + s2 * g22, lambda_b)


def _bias_wrong(a: Any, r: Any, E: Any, delta: Any, lambda_b: Any) -> Any:
    *edges, _, last = _bias_right(a, r, E, delta, lambda_b)
    return (*edges, lambda_b + 1 / (E + 3), last)


# ---- outside the row space, and within a class


def _complement_left() -> Any:
    """The row space of W is 1^perp here, so 1/sqrt(K) spans a complement."""
    import sympy

    K = 4
    u, one = _unit(K, 0, 1), sympy.ones(K, 1)
    turn = _block(K, (_weights(K, u * one.T), _features(K, one * u.T)))
    shifts = _block(K, (_weights(K, one * one.T), _features(K, one * one.T)))
    return (*_pairs_of(turn), *shifts)


def _complement_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, *_ = _numbers(a, r, E, delta, 4)
    return lw + lh, 0, lw, 0, 0, lh


def _complement_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, *_ = _numbers(a, r, E, delta, 4)
    return lw + lh, lw * lh / 100, lw, 0, 0, lh


def _within_left() -> Any:
    """Two samples of class 0 move apart, n = m^2 samples per class: sigma m = p' - delta/K.

    w^2 = alpha m/r^2; the two samples give the same, and the direction is normalised.
    """
    K = 4
    a, r, m = positive("a r m")
    W, H, (_, decay, _) = _simplex(K)
    told = []
    for move in (W[:, 0] * r / a, _unit(K, 1, 2)):
        s = list(W * move)
        curvature = m * _smoothed(K)(list(W * H[:, 0]), s, s, [0] * K, 0) / (m**2 * K)
        told.append(curvature / (move.T * move)[0] + decay / m)
    return tuple(told)


def _within_right(a: Any, r: Any, E: Any, delta: Any, m: Any) -> Any:
    _, lh, theta, R, _ = _numbers(a, r, E, delta, 4)
    lh = lh / m
    return lh * (1 + R * theta), lh * (1 + theta)


def _within_wrong(a: Any, r: Any, E: Any, delta: Any, m: Any) -> Any:
    along, across = _within_right(a, r, E, delta, m)
    return across, along


# ---- squared error


def _squared_left() -> Any:
    """Rescaled squared error at W = w I, H = h I, K = 3, M = w h + c/kappa."""
    import sympy

    K = 3
    a, r, sigma, kappa = positive("a r sigma kappa")
    goal = a**2 + K * sigma / kappa

    def loss(z: list[Any], s: list[Any], t: list[Any], both: list[Any], k: int) -> Any:
        weights = [kappa if j == k else 1 for j in range(K)]
        slopes = [z[j] - (goal if j == k else 0) for j in range(K)]
        return sum(x * (y * both[j] + s[j] * t[j]) for j, (x, y) in enumerate(zip(weights, slopes)))

    base = sympy.eye(K) * a / r, sympy.eye(K) * a * r
    decays = sigma * r**2, sigma / r**2, 0
    told: tuple[Any, ...] = ()
    edge = sympy.zeros(K, K)
    edge[0, 1] = 1
    corner = sympy.diag(1, 0, 0)
    for X in (edge - edge.T, edge + edge.T, corner):
        basis, size = _both(K, X), (X.T * X).trace()
        rows = [[_form(base, decays, x, y, loss) / size for y in basis] for x in basis]
        told += _pairs_of(sympy.Matrix(rows))
    return told


def _squared_right(a: Any, r: Any, sigma: Any, kappa: Any) -> Any:
    lw, lh, c = sigma * r**2, sigma / r**2, 3 * sigma
    theta = (a**2 + c / kappa) / c - 1 / kappa
    pairs = [((lw + lh) * (1 + g * theta), 4 * g * theta * lw * lh) for g in (1, kappa)]
    return (lw + lh) * (1 + theta), 0, *pairs[0], *pairs[1]


def _squared_wrong(a: Any, r: Any, sigma: Any, kappa: Any) -> Any:
    *first, _, _ = _squared_right(a, r, sigma, kappa)
    return (*first, *first[2:])


# ---- the origin, and merged classes


def _origin_left() -> Any:
    """Couplings of u a^T and a u^T at W = H = 0 for smoothed, focal and squared losses."""
    import sympy

    K = 4
    gamma = positive("gamma")

    def squared(z: list[Any], s: list[Any], t: list[Any], both: list[Any], k: int) -> Any:
        return sum((z[j] - int(j == k)) * both[j] + s[j] * t[j] for j in range(K))

    focal = _of_the_rest(lambda rest: (rest / (1 + rest)) ** gamma * sympy.log(1 + rest))
    u = _unit(K, 0, 1)
    a = sympy.Matrix([1] + [0] * (K - 1))
    zero = sympy.zeros(K, K)
    moves = _weights(K, u * a.T), _features(K, a * u.T)
    losses = (_smoothed(K), focal, squared)
    return tuple(_form((zero, zero), (0, 0, 0), *moves, loss) / 2 for loss in losses)


def _origin_right(delta: Any, gamma: Any) -> Any:
    import sympy

    K = sympy.Integer(4)
    rest = 1 - 1 / K
    focal = rest**gamma + gamma * rest ** (gamma - 1) * sympy.log(K) / K
    return -(1 - delta) / K, -focal / K, -1 / K


def _origin_wrong(delta: Any, gamma: Any) -> Any:
    import sympy

    K = sympy.Integer(4)
    smoothed, _, squared = _origin_right(delta, gamma)
    return smoothed, -((1 - 1 / K) ** gamma) / K, squared


def _merged_left() -> Any:
    """K = 6 in three pairs: differences inside a pair, along its code vector and across."""
    import sympy

    K, G = 6, 3
    a, r, E, delta = positive("a r E delta")
    code = sympy.eye(G) - sympy.ones(G, G) / G
    Q = sympy.Matrix([list(code[i // 2, :]) for i in range(K)])
    sigma = (G / (E + G - 1) - delta) / K
    decays = sigma * r**2, sigma / r**2, 0
    x, none = _unit(K, 0, 1), sympy.zeros(K, 1)
    told: tuple[Any, ...] = ()
    for v in (code[:, 0], _unit(G, 1, 2)):
        basis = (x * v.T, sympy.zeros(G, K), none), (sympy.zeros(K, G), v * x.T, none)
        size = (x.T * x)[0] * (v.T * v)[0]
        for i, j in ((0, 0), (0, 1), (1, 1)):
            base = Q * a / r, Q.T * a * r
            told += (_form(base, decays, basis[i], basis[j], _smoothed(K)) / size,)
    return told


def _merged_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    K, G = 6, 3
    own, other = E / (E + G - 1), 1 / (E + G - 1)
    sigma = (G * other - delta) / K
    lw, lh, w2, h2 = sigma * r**2, sigma / r**2, a**2 / r**2, a**2 * r**2
    X, pull = other + (own - other) * (G - 1) / G, -(1 - delta) / K
    along = lw + h2 * X / K, pull, lh + w2 * G * own * other / K
    return *along, lw + h2 * other / K, pull, lh + w2 * other / K


def _merged_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    *first, _, pull, last = _merged_right(a, r, E, delta)
    return *first, first[0], pull, last


SIMPLEX = "alpha = a^2, E = e^alpha, delta, lambda_W, lambda_H > 0"
CLAIMS = (
    identity(
        "block-norms",
        "Block of the norms",
        "On P/sqrt(K-1) in W and in H the second derivative of the objective at the simplex (K = 4) "
        "has the trace and determinant of pair(R).",
        r"x^2-(\lambda_W+\lambda_H)(1+R\theta)x+4R\theta\lambda_W\lambda_H",
        "7.1",
        SIMPLEX,
        _norms_left,
        _norms_right,
        _norms_wrong,
        "pair(1) for pair(R)",
    ),
    identity(
        "block-angles",
        "Block of the angles",
        "On the representative of (K-2, 2) in W and in H the second derivative at the simplex "
        "(K = 4) has the trace and determinant of pair(1).",
        r"x^2-(\lambda_W+\lambda_H)(1+\theta)x+4\theta\lambda_W\lambda_H",
        "7.1",
        SIMPLEX,
        _angles_left,
        _angles_right,
        _angles_wrong,
        "2 theta instead of 4 theta",
    ),
    identity(
        "block-rotations",
        "Block of the rotations inside the frame",
        "On a skew 3-cycle in W and in H the second derivative at the simplex (K = 4) has the "
        "eigenvalues 0 and (lambda_W + lambda_H)(1 + theta).",
        r"\{0,\ (\lambda_W+\lambda_H)(1+\theta)\}",
        "7.1",
        SIMPLEX,
        _rotation_left,
        _rotation_right,
        _rotation_wrong,
        "R theta instead of theta",
    ),
    identity(
        "block-unequal-norms",
        "Block of unequal norms and shifts",
        "On the standard representation the second derivative at the simplex (K = 4 and 5) has the "
        "characteristic polynomial of B_3, and the shift of the classifiers is apart with lambda_W.",
        r"\det(x-B_3)",
        "7.1",
        SIMPLEX,
        _unequal_left,
        _unequal_right,
        _unequal_wrong,
        "q larger by one per cent",
    ),
    identity(
        "block-bias",
        "Row of the bias",
        "With a bias the block of the standard representation gains the row of 7.2, and the common "
        "shift has lambda_b (K = 4).",
        r"\sqrt{s_2}\,[g_{12}\sqrt{\lambda_W\theta},\,g_{12}\sqrt{\lambda_H\theta},\,"
        r"g_{22}\sqrt{\lambda_H\theta}],\quad\lambda_b+s_2g_{22}",
        "7.2",
        SIMPLEX + ", lambda_b > 0",
        _bias_left,
        _bias_right,
        _bias_wrong,
        "1 for g_22 on the diagonal",
    ),
    identity(
        "block-complement",
        "Blocks outside the row space",
        "Outside the row space of the simplex (K = 4) the second derivative has the eigenvalues 0 "
        "and lambda_W + lambda_H on pairs, and lambda_W, lambda_H on common shifts.",
        r"\{0,\lambda_W+\lambda_H\},\ \lambda_W,\ \lambda_H",
        "7.1",
        SIMPLEX,
        _complement_left,
        _complement_right,
        _complement_wrong,
        "a determinant of one per cent of lambda_W lambda_H",
    ),
    identity(
        "block-within-class",
        "Blocks within a class",
        "Where two samples of a class move apart the second derivative is lambda_H (1 + R theta) "
        "along the own direction and lambda_H (1 + theta) across (K = 4, any n).",
        r"\lambda_H(1+R\theta),\ \lambda_H(1+\theta)",
        "7.1",
        SIMPLEX + ", n = m^2 > 0",
        _within_left,
        _within_right,
        _within_wrong,
        "the two exchanged",
    ),
    identity(
        "block-squared-error",
        "Blocks of (rescaled) squared error",
        "At the orthogonal frame (K = 3) skew, symmetric and diagonal directions have the "
        "eigenvalues of 7.5, which with kappa = 1 are those of 7.3.",
        r"\{0,(\lambda_W+\lambda_H)(1+\theta)\},\ \mathrm{pair}(1),\ \mathrm{pair}(\kappa),\quad"
        r"\theta=\tfrac Mc-\tfrac1\kappa",
        "7.3, 7.5",
        "a^2 = w h, sigma, kappa, lambda_W, lambda_H > 0",
        _squared_left,
        _squared_right,
        _squared_wrong,
        "pair(1) on the diagonal directions, too",
    ),
    identity(
        "origin-couplings",
        "Couplings at the origin",
        "At W = H = 0 (K = 4) the mixed second derivative along u a^T and a u^T is -g_0 for label "
        "smoothing, focal loss and squared error.",
        r"-\tfrac{1-\delta}K,\quad-\tfrac1K\bigl[(1-\tfrac1K)^\gamma+\gamma(1-\tfrac1K)^{\gamma-1}"
        r"\tfrac{\log K}K\bigr],\quad-\tfrac1K",
        "CE-5",
        "delta, gamma > 0",
        _origin_left,
        _origin_right,
        _origin_wrong,
        "focal loss without its second term",
    ),
    identity(
        "block-merged-classes",
        "Blocks of merged classes",
        "At six classes merged in three pairs the second derivative on differences inside a pair "
        "has the entries of CE-6, along its code vector and across.",
        r"\begin{pmatrix}\lambda_W+\tfrac{h_2X}N&-g_0\cr-g_0&"
        r"\lambda_H+\tfrac{w_2\Gamma P_gP'_g}N\end{pmatrix}",
        "CE-6",
        SIMPLEX,
        _merged_left,
        _merged_right,
        _merged_wrong,
        "the first entry of one block in the other",
    ),
)
