"""Exact critical points in forty digits, with their inertia: truth without code of the lab.

Derived here. Without bias, W H (K, K) on class means z_k = W h_k / sqrt(n_k), f is the sum of
n_k/N L(z_k) and the decays; inertia does not change when W is scaled up and H down, so that
lambda_W = lambda_H = sigma on merged columns. At a critical point of rank r the Hessian falls into
the block inside the row space (2 K r variables, assembled entry by entry and diagonalised), d - r
copies of [[sigma, G], [G', sigma]] with G the gradient in W H, whose eigenvalues are sigma +- its
singular values, r of which are sigma, and n_k - 1 copies for each class of W' S_k W / N + sigma (r)
and of sigma. ``tests/test_landscape/test_verdict_adversarial.py`` holds it against dense Hessians.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import mpmath
import numpy as np

mp = mpmath.mp.clone()
mp.dps = 40
# An eigenvalue below this of the largest is zero in float64.
FLOAT_ZERO = mp.mpf("1e-13")


def derivatives(name: str, parameter: float) -> Any:
    """Value, gradient and Hessian of a loss on logits in forty digits: (z, k) -> three answers."""

    def at(z: list[Any], k: int) -> tuple[Any, list[Any], Any]:
        K, p = len(z), mp.mpf(parameter)
        if name == "mse":
            e = [z[i] - (i == k) for i in range(K)]
            return sum(x * x for x in e) / 2, e, mp.eye(K)
        top = max(z)
        weights = [mp.exp(x - top) for x in z]
        total = sum(weights)
        q = [w / total for w in weights]
        logs = [x - top - mp.log(total) for x in z]
        spread = mp.matrix(K, K)
        for i in range(K):
            for j in range(K):
                spread[i, j] = q[i] * (i == j) - q[i] * q[j]
        if name == "ls":
            target = [(1 - p) * (i == k) + p / K for i in range(K)]
            value = -sum(t * x for t, x in zip(target, logs, strict=True))
            return value, [q[i] - target[i] for i in range(K)], spread
        # focal: F(s) at s = log q_k, F = -(1 - e^s)^p s; dz s = e_k - q, d2z s = -spread
        s, u = logs[k], q[k]
        rest = sum(q[i] for i in range(K) if i != k)
        value = -(rest**p) * s
        first = p * rest ** (p - 1) * u * s - rest**p
        second = -p * (p - 1) * rest ** (p - 2) * u**2 * s + p * rest ** (p - 1) * u * (s + 2)
        e = [(i == k) - q[i] for i in range(K)]
        hessian = mp.matrix(K, K)
        for i in range(K):
            for j in range(K):
                hessian[i, j] = second * e[i] * e[j] - first * spread[i, j]
        return value, [first * x for x in e], hessian

    return at


def singular_values(M: Any) -> list[Any]:
    """Descending: the upper half of the eigenvalues of [[0, M], [M', 0]] (its SVD may not end)."""
    rows, columns = M.rows, M.cols
    both = mp.matrix(rows + columns, rows + columns)
    for i in range(rows):
        for j in range(columns):
            both[i, rows + j] = both[rows + j, i] = M[i, j]
    values = sorted(mp.eigsy(both, eigvals_only=True), reverse=True)
    return values[: min(rows, columns)]


@dataclass
class Site:
    """A model and one of its critical points, exact, with what is true of it.

    Attributes:
        name, parameter: of the loss.
        counts, d: sizes.
        decays: lambda_W, lambda_H as the floats that the model gets.
        W, H: (K, r), (r, K) in forty digits, in the scale in which both decays are sigma.
        twins: extra dimensions of the orbit, from rotations of classes (MSE).
        value, gradient: of f there, the second a bound of what forty digits leave.
        index: eigenvalues that are negative in float64, and those that are negative.
        tiny: eigenvalues that are not of the orbit and zero in float64.
        orbit: dimension of the symmetry orbit.
        soft: smallest eigenvalue in absolute value that is not of the orbit.
        radius: largest absolute eigenvalue.
    """

    name: str
    parameter: float
    counts: tuple[int, ...]
    d: int
    decays: tuple[float, float]
    W: Any
    H: Any
    twins: int = 0
    value: Any = None
    gradient: Any = None
    index: tuple[int, int] = (0, 0)
    tiny: int = 0
    orbit: int = 0
    soft: Any = None
    radius: Any = None

    @property
    def rank(self) -> int:
        """Rank of W H."""
        return self.W.cols

    @cached_property
    def thinnest(self) -> float:
        """The smallest singular value of W."""
        return float(singular_values(self.W)[-1])

    @property
    def degenerate(self) -> bool:
        """Zeros, to float64, that are not of the orbit."""
        return self.tiny > 0

    def judge(self) -> Site:
        """Fill in what is true."""
        K, r, d = len(self.counts), self.rank, self.d
        N = sum(self.counts)
        sigma = mp.sqrt(mp.mpf(self.decays[0]) * mp.mpf(self.decays[1]))
        at = derivatives(self.name, self.parameter)
        G, S = mp.matrix(K, K), []
        self.value = mp.mpf(0)
        for k, n in enumerate(self.counts):
            z = [sum((self.W[i, a] * self.H[a, k] for a in range(r)), mp.mpf(0)) for i in range(K)]
            value, slope, hessian = at([x / mp.sqrt(n) for x in z], k)
            self.value += value * n / N
            S.append(hessian)
            for i in range(K):
                G[i, k] = slope[i] * mp.sqrt(n) / N
        if r:
            self.value += sigma / 2 * (mp.mnorm(self.W, "f") ** 2 + mp.mnorm(self.H, "f") ** 2)
            left = mp.mnorm(G * self.H.T + sigma * self.W, "f")
            right = mp.mnorm(self.W.T * G + sigma * self.H, "f")
            self.gradient = left + right
        else:
            self.gradient = mp.mpf(0)
        # (eigenvalue, how often): the orbit's are taken out at the end.
        levels = [(x, 1) for x in self._inside(G, S, sigma, N)]
        couplings = singular_values(G)
        for _ in range(r):  # sigma itself, r times
            couplings.remove(min(couplings, key=lambda x: abs(x - sigma)))
        levels += [(sigma - x, d - r) for x in couplings] + [(sigma + x, d - r) for x in couplings]
        levels += [(mp.mpf(0), r * (d - r)), (2 * sigma, r * (d - r))]
        for k, n in enumerate(self.counts):
            if r and n > 1:
                block = self.W.T * S[k] * self.W / N + sigma * mp.eye(r)
                levels += [(x, n - 1) for x in mp.eigsy(block, eigvals_only=True)]
            levels.append((sigma, (n - 1) * (d - r)))
        levels = [(x, m) for x, m in levels if m > 0]
        self.orbit = r * (r - 1) // 2 + r * (d - r) + self.twins
        levels.sort(key=lambda level: abs(level[0]))
        left, rest = self.orbit, []
        for x, m in levels:
            taken = min(left, m)
            left -= taken
            assert taken == 0 or abs(x) < mp.mpf("1e-25"), (x, self)
            if m > taken:
                rest.append((x, m - taken))
        self.soft = rest[0][0]
        self.radius = abs(rest[-1][0])
        zero = FLOAT_ZERO * self.radius
        self.index = sum(m for x, m in rest if x < -zero), sum(m for x, m in rest if x < 0)
        self.tiny = sum(m for x, m in rest if abs(x) <= zero)
        return self

    def _inside(self, G: Any, S: list[Any], sigma: Any, N: int) -> list[Any]:
        """Eigenvalues of the block inside the row space: x = (W by rows, H by columns)."""
        K, r = len(self.counts), self.rank
        if not r:
            return []
        size = 2 * K * r
        A = sigma * mp.eye(size)
        for k in range(K):
            # dz_i = dW_i . h_k + W_i . dh_k, with weight 1 / N (n_k / N and 1 / sqrt(n_k) twice)
            J = mp.matrix(K, size)
            for i in range(K):
                for a in range(r):
                    J[i, i * r + a] = self.H[a, k]
                    J[i, K * r + k * r + a] = self.W[i, a]
                    A[i * r + a, K * r + k * r + a] += G[i, k]
                    A[K * r + k * r + a, i * r + a] += G[i, k]
            used = [i * r + a for i in range(K) for a in range(r)]
            used += [K * r + k * r + a for a in range(r)]
            small = mp.matrix(K, len(used))
            for i in range(K):
                for c, column in enumerate(used):
                    small[i, c] = J[i, column]
            added = small.T * S[k] * small / N
            for p, row in enumerate(used):
                for q, column in enumerate(used):
                    A[row, column] += added[p, q]
        return list(mp.eigsy(A, eigvals_only=True))

    def floats(self) -> tuple[Any, Any]:
        """W (K, d) and merged H (d, K) of the model, rounded to float64."""
        tilt = mp.sqrt(mp.sqrt(mp.mpf(self.decays[1]) / mp.mpf(self.decays[0])))
        W, H = np.zeros((len(self.counts), self.d)), np.zeros((self.d, len(self.counts)))
        for i in range(len(self.counts)):
            for a in range(self.rank):
                W[i, a], H[a, i] = self.W[i, a] * tilt, self.H[a, i] / tilt
        return W, H


def simplex(K: int) -> Any:
    """(K, K-1) with E E' = I - 1 1'/K: Helmert's columns."""
    E = mp.matrix(K, K - 1)
    for a in range(1, K):
        length = mp.sqrt(a * (a + 1))
        for i in range(a):
            E[i, a - 1] = 1 / length
        E[a, a - 1] = -a / length
    return E


def grouped(groups: int, each: int) -> Any:
    """(groups * each, groups - 1): classes of a group share a row, groups form a simplex."""
    small = simplex(groups)
    E = mp.matrix(groups * each, groups - 1)
    for i in range(groups * each):
        for a in range(groups - 1):
            E[i, a] = small[i // each, a] / mp.sqrt(each)
    return E


def pull(name: str, parameter: float, E: Any, n: int, t: Any) -> Any:
    """The sigma at which W = sqrt(t) E, H = W' is critical, n samples in each of K classes.

    E' G E = -sigma I, and the classes are alike: sigma = -(1 / (r sqrt(n))) <slope_0, E E' e_0>.
    """
    P = E * E.T
    z = [t * P[i, 0] / mp.sqrt(n) for i in range(P.rows)]
    slope = derivatives(name, parameter)(z, 0)[1]
    return -sum(slope[i] * P[i, 0] for i in range(P.rows)) / (E.cols * mp.sqrt(n))


def split(sigma: Any, ratio: float) -> tuple[float, float]:
    """Two floats lambda_W, lambda_H whose product is about sigma^2."""
    return float(sigma * ratio), float(sigma / mp.mpf(ratio))


def on_frame(
    name: str, parameter: float, E: Any, n: int, d: int, t: Any, ratio: float
) -> Site | None:
    """The site at about W = sqrt(t) E, H = W'; None where no root is near (the end of a branch)."""
    t = mp.mpf(t)
    decays = split(pull(name, parameter, E, n, t), ratio)
    if not 1e-11 < min(decays) <= max(decays) < 30:
        return None
    sigma = mp.sqrt(mp.mpf(decays[0]) * mp.mpf(decays[1]))
    try:
        root = mp.findroot(
            lambda s: pull(name, parameter, E, n, s) / sigma - 1, (t, t * (1 + mp.mpf("1e-5")))
        )
    except ValueError:
        return None
    if not abs(root / t - 1) < mp.mpf("1e-2"):
        return None
    W = mp.sqrt(root) * E
    twins = E.cols * (E.rows - E.cols) if name == "mse" else 0
    return Site(name, parameter, (n,) * E.rows, d, decays, W, W.T, twins).judge()


def steepest(name: str, parameter: float, counts: tuple[int, ...]) -> Any:
    """The largest singular value of the gradient in W H at the origin: its sigma of instability."""
    K, N = len(counts), sum(counts)
    G = mp.matrix(K, K)
    for k, n in enumerate(counts):
        slope = derivatives(name, parameter)([mp.mpf(0)] * K, k)[1]
        for i in range(K):
            G[i, k] = slope[i] * mp.sqrt(n) / N
    return singular_values(G)[0]


def at_origin(
    name: str, parameter: float, counts: tuple[int, ...], d: int, sigma: Any, ratio: float
) -> Site:
    """The origin, with a given sigma."""
    K = len(counts)
    nothing = mp.matrix(K, 0), mp.matrix(0, K)
    return Site(name, parameter, counts, d, split(sigma, ratio), *nothing).judge()


def squared(counts: tuple[int, ...], on: tuple[int, ...], d: int, sigma: Any, ratio: float) -> Site:
    """MSE: modes sqrt(n_k) - N sigma of the classes that are on."""
    K, N, decays = len(counts), sum(counts), split(sigma, ratio)
    exact = mp.sqrt(mp.mpf(decays[0]) * mp.mpf(decays[1]))
    W = mp.matrix(K, len(on))
    for a, k in enumerate(on):
        W[k, a] = mp.sqrt(mp.sqrt(counts[k]) - N * exact)
    twins = 0
    for n in set(counts):
        alike = sum(count == n for count in counts)
        lit = sum(counts[k] == n for k in on)
        twins += lit * (alike - lit)
    return Site("mse", 0.0, counts, d, decays, W, W.T, twins).judge()
