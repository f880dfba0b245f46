"""Identities behind the closed forms, proved by computer algebra (tier S).

SymPy is imported when a claim runs. An identity holds when the difference of its two sides
simplifies to zero; otherwise the error is the size of the difference at rational points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from proofs_check.claim import Claim, Mutant
from proofs_check.specimens import Specimen

SUBJECT = "identities by computer algebra"


@dataclass(frozen=True)
class Symbols:
    """What an identity is about instead of a model: symbols, and no dimension.

    Attributes:
        names: the symbols, with their domain.
        d: zero, so that reports have something to sort by.
    """

    names: str
    d: int = 0


@dataclass(frozen=True)
class Identity(Specimen):
    """The one specimen of an identity: all values of its symbols at once."""

    @property
    def label(self) -> str:
        """The symbols in words."""
        return f"all {self.model.names}"


def _all(names: str) -> Callable[[bool], tuple[Specimen, ...]]:
    return lambda quick: (Identity(Symbols(names), None, "symbolic"),)


def _size(*differences: Any) -> float:
    """Zero if every expression simplifies to zero, else the largest size at rational points."""
    import sympy

    worst = 0.0
    for difference in differences:
        if sympy.simplify(difference) == 0:
            continue
        symbols = sorted(difference.free_symbols, key=lambda s: s.name)
        values = {s: sympy.Rational(3 * i + 4, 5 * i + 9) for i, s in enumerate(symbols)}
        worst = max(worst, float(sympy.Abs(difference.subs(values)).evalf(30)), 1e-300)
    return worst


@cache
def _positive(names: str) -> Any:
    import sympy

    return sympy.symbols(names, positive=True)


def _focal(slack: int = 1) -> float:
    """phi'' u (1 - u) + phi' (1 - 2u) as a positive multiple of the criterion of FL-2."""
    import sympy

    u, g = _positive("u gamma")
    phi = -((1 - u) ** g) * sympy.log(u)
    first, second = sympy.diff(phi, u), sympy.diff(phi, u, 2)
    left = second * u * (1 - u) + first * (1 - 2 * u)
    criterion = (2 * g + slack) * (1 - u) + g * (1 - (g + 1) * u) * sympy.log(u)
    return _size(sympy.expand_log(left / (1 - u) ** (g - 1) - criterion))


def _quotient(target: int = 1) -> float:
    """(e - p)^T (diag p - p p^T)^+ (e - p) = (1 - u)/u, by an explicit preimage, K = 4.

    The preimage of e - p is e / u up to a multiple of 1: (diag p - p p^T)(e_1 / u) = e_1 - p.
    """
    import sympy

    u, q, s = _positive("u q s")
    p = sympy.Matrix([u, (1 - u) * q, (1 - u) * s, (1 - u) * (1 - q - s)])
    e = sympy.Matrix([1, 0, 0, 0])
    spread = sympy.diag(*p) - p * p.T
    preimage = e / u
    image = spread * preimage - (e - p)
    return _size(*image, (preimage.T * (e - p))[0] - target * (1 - u) / u)


def _gap(shift: int = 1) -> float:
    """alpha = log(K/u - K + 1), u = c + delta, is stationary for LS (and CE at delta = 0)."""
    import sympy

    K, c, delta, a = _positive("K c delta alpha")
    other, target = 1 / (sympy.exp(a) + K - 1), 1 - delta + delta / K
    value = sympy.log(sympy.exp(a) + K - 1) - a * target + (K - 1) / K * c * a
    slope = sympy.diff(value, a)
    root = sympy.log(K / (c + delta) - K + shift)
    probability = (other - (c + delta) / K).subs(a, root)
    return _size(sympy.simplify(slope.subs(a, root)), sympy.simplify(probability))


def _block(factor: int = 4) -> float:
    """Eigenvalues of [[lw, g], [g, lh]], and the smaller one vanishes at g^2 = lw lh."""
    import sympy

    lw, lh, g, x = _positive("lw lh g x")
    root = sympy.sqrt((lw - lh) ** 2 + factor * g**2)
    small, large = (lw + lh - root) / 2, (lw + lh + root) / 2
    matrix = sympy.Matrix([[lw, g], [g, lh]])
    polynomial = (matrix - x * sympy.eye(2)).det()
    product = sympy.expand((x - small) * (x - large))
    return _size(sympy.expand(polynomial - product))


def _escape(power: int = 1) -> float:
    """CE-4: lw|A|^2 + lh|B|^2 + 2<G, AB> along the scaled pair is -2 (|G| - sigma)."""
    import sympy

    lw, lh, G = _positive("lw lh G")
    ratio = (lh / lw) ** sympy.Rational(power, 4)
    form = lw * ratio**2 + lh / ratio**2 - 2 * G
    sigma = sympy.sqrt(lw * lh)
    rayleigh = form / (ratio**2 + ratio**-2)
    expected = -2 * sigma * (G - sigma) / (lw + lh)
    return _size(form + 2 * (G - sigma), rayleigh - expected)


def _pair_block(four: int = 4) -> float:
    """The block [[lw(1 + g t), s(g t - 1)], [., lh(1 + g t)]] has the polynomial of pair(g)."""
    import sympy

    lw, lh, g, t, x = _positive("lw lh g theta x")
    edge = sympy.sqrt(lw * lh) * (g * t - 1)
    matrix = sympy.Matrix([[lw * (1 + g * t), edge], [edge, lh * (1 + g * t)]])
    characteristic = (x * sympy.eye(2) - matrix).det()
    polynomial = x**2 - (lw + lh) * (1 + g * t) * x + four * g * t * lw * lh
    return _size(sympy.expand(characteristic - polynomial))


def _mirror(sign: int = 1) -> float:
    """K = 4: the rank-one curves along (1,-1,0,0) and (1,1,-1,-1) have one objective."""
    import sympy

    t = _positive("t")
    half, quarter = t / 2, t / 4
    first = sympy.log(sympy.exp(half) + sympy.exp(-half) + 2) - half + sympy.log(4)
    second = sympy.log(2 * sympy.exp(quarter) + 2 * sympy.exp(-sign * quarter)) - quarter
    # Compare exponentials: both sides are real, so equal exponentials mean equal values.
    return _size(sympy.expand(sympy.exp(first) - sympy.exp(2 * second)))


def _claim(
    id: str,
    title: str,
    statement: str,
    latex: str,
    source: str,
    symbols: str,
    check: Callable[..., float],
    altered: Any,
    alteration: str,
) -> Claim:
    return Claim(
        id=id,
        title=title,
        statement=statement,
        latex=latex,
        source=f"{source}; derived here",
        literature="derived here",
        hypotheses=(),
        region=_all(symbols),
        check=lambda specimen: check(),
        tolerance=1e-12,
        tolerance_source="none needed: zero after symbolic simplification, or a number at rational "
        "points to thirty digits",
        tier="S",
        mutant=Mutant(alteration, lambda specimen: check(altered)),
        subject=SUBJECT,
    )


CLAIMS = (
    _claim(
        "identity-focal-criterion",
        "Focal criterion from its derivatives",
        "For phi(u) = -(1 - u)^gamma log u the condition of a positive semidefinite logit Hessian "
        "is (1 - u)^(gamma - 1) times the criterion of focal-convexity.",
        r"\varphi''u(1-u)+\varphi'(1-2u)=(1-u)^{\gamma-1}"
        r"\bigl[(2\gamma+1)(1-u)+\gamma(1-(\gamma+1)u)\log u\bigr]",
        "FL-2",
        "0 < u < 1, gamma > 0",
        _focal,
        0,
        "2 gamma instead of 2 gamma + 1",
    ),
    _claim(
        "identity-softmax-quotient",
        "The softmax covariance and the own-class direction",
        "With p = softmax and u its own-class entry, e/u is a preimage of e - p under diag p - "
        "p p^T, so the quadratic form of the pseudo-inverse is (1 - u)/u for K = 4 and any p.",
        r"(e-p)^\top(\mathrm{diag}\,p-pp^\top)^+(e-p)=\frac{1-u}u",
        "FL-2",
        "probability vectors with four entries",
        _quotient,
        2,
        "twice the quotient",
    ),
    _claim(
        "identity-logit-gap",
        "The logit gap of cross entropy and label smoothing",
        "alpha = log(K/(c + delta) - K + 1) makes the penalised loss stationary and gives every "
        "other class the probability (c + delta)/K.",
        r"\frac{d}{d\alpha}\Bigl[\log(e^\alpha+K-1)-\alpha\bigl(1-\delta+\tfrac\delta K\bigr)"
        r"+\tfrac{K-1}Kc\,\alpha\Bigr]=0",
        "CE-1, LS-1",
        "K, c, delta > 0 with c + delta < 1",
        _gap,
        2,
        "K/(c + delta) - K + 2 under the logarithm",
    ),
    _claim(
        "identity-complement-block",
        "Eigenvalues outside the row space",
        "The block [[lambda_W, g], [g, lambda_H]] has the eigenvalues of the escape direction.",
        r"\tfrac12\bigl(\lambda_W+\lambda_H\pm\sqrt{(\lambda_W-\lambda_H)^2+4g^2}\bigr)",
        "A-2, CE-4",
        "lambda_W, lambda_H, g > 0",
        _block,
        1,
        "g^2 instead of 4 g^2 under the root",
    ),
    _claim(
        "identity-escape-curvature",
        "Curvature along the explicit escape direction",
        "Along the rank-one pair scaled by (lambda_H/lambda_W)^(1/4) the second derivative is "
        "-2(|G| - sigma), and the Rayleigh quotient -2 sigma (|G| - sigma)/(lambda_W + lambda_H).",
        r"\nabla^2f[\Delta,\Delta]=-2(\|\nabla g\|-\sigma),\quad "
        r"\Delta_W=(\lambda_H/\lambda_W)^{1/4}ua^\top,\ "
        r"\Delta_H=-(\lambda_W/\lambda_H)^{1/4}av^\top",
        "CE-4, after Zhu et al. (2021)",
        "lambda_W, lambda_H, |G| > 0",
        _escape,
        2,
        "exponent 1/2 instead of 1/4",
    ),
    _claim(
        "identity-pair-polynomial",
        "The quadratic of pair(g)",
        "The 2 x 2 blocks of W and H deformations of the same shape have the characteristic "
        "polynomial of the spectrum tables.",
        r"x^2-(\lambda_W+\lambda_H)(1+g\theta)x+4g\theta\lambda_W\lambda_H",
        "THEORY 7.1",
        "lambda_W, lambda_H, g, theta > 0",
        _pair_block,
        2,
        "2 g theta instead of 4 g theta",
    ),
    _claim(
        "identity-mirror-pair",
        "Two rank-one curves with one objective",
        "For K = 4 and cross entropy the curves Z = t q q^T along (1,-1,0,0) and (1,1,-1,-1) have "
        "the same loss for every t, hence critical points with equal f and equal singular values.",
        r"\tfrac12\log(2+2\cosh\tfrac t2)-\tfrac t4+\tfrac12\log4"
        r"=\log(4\cosh\tfrac t4)-\tfrac t4",
        "A-3",
        "t > 0",
        _mirror,
        2,
        "exp(-t/2) instead of exp(-t/4)",
    ),
)
