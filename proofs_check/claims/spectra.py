"""Hessian spectra in closed form (THEORY, section 7) against dense Hessians of the full problem."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.specimens import Region, Specimen
from ufm.losses import MSE, CrossEntropy, Focal, LabelSmoothing, Loss, RescaledMSE
from ufm.plain.minimisers import thresholds
from ufm.plain.model import UFM
from ufm.plain.spectra import symmetric_spectrum
from ufm.point import Point
from ufm.spectrum import pair

Array = NDArray[np.float64]
Rows = list[tuple[float, int]]
SUBJECT = "Hessian spectra"


def loss_is(words: str, *kinds: type[Loss]) -> Hypothesis:
    """The hypothesis that the loss is one of some kinds.

    Example:
        >>> loss_is("the loss is MSE", MSE).text
        'the loss is MSE'
    """
    return Hypothesis(words, lambda s: isinstance(s.model.loss, kinds))


EQUAL_COUNTS = Hypothesis("the classes have equal size", lambda s: bool(s.model.balanced))
BIAS_FREE = Hypothesis("there is no bias", lambda s: s.model.lambda_b is None)
WITH_BIAS = Hypothesis("there is a bias", lambda s: s.model.lambda_b is not None)
FREE_BIAS = Hypothesis("the bias is unregularised", lambda s: s.model.lambda_b == 0)
BELOW = Hypothesis("c is below the collapse threshold", lambda s: s.note == "below threshold")
CROSS_ENTROPIES = loss_is("the loss is CE or label smoothing", CrossEntropy, LabelSmoothing)
LOGIT_LOSSES = loss_is("the loss is CE, LS or focal", CrossEntropy, LabelSmoothing, Focal)
SQUARED = loss_is("the loss is MSE", MSE)
FULL_FRAME = Hypothesis("d >= K", lambda s: s.model.d >= s.model.num_classes)

# (lambda_W, lambda_H): far below the thresholds, nearer to them, and above all of them.
DECAYS = ((8e-3, 5e-3), (2e-2, 4.5e-2), (0.9, 0.6))


def closed_form(model: UFM) -> Specimen | None:
    """The closed-form symmetric minimiser of a model as a specimen, None where there is none."""
    found = model.minimiser()
    if found is None or found.code is None:
        return None
    note = "below threshold" if model.c < thresholds(model).origin else "above threshold"
    point = Point(*(None if x is None else np.asarray(x) for x in found.point))
    return Specimen(model, point, "closed form", note=note)


@cache
def closed_forms(quick: bool = False) -> tuple[Specimen, ...]:
    """Closed-form minimisers of eight losses: four shapes, three pairs of decays, three biases."""
    losses: tuple[Loss, ...] = (CrossEntropy(), LabelSmoothing(0.1), LabelSmoothing(0.25))
    losses += (Focal(2.0), Focal(1.0), MSE(), RescaledMSE(3.0, 2.0), RescaledMSE(0.5, 1.5))
    shapes = [(3, 5, 2, (None,)), (4, 5, 2, (0.0, 0.03))]
    shapes += [(4, 6, 1, (None,)), (5, 4, 2, (None,))]
    found = []
    for K, d, n, biases in shapes[: 2 if quick else 4]:
        for loss in losses if K < 5 else (CrossEntropy(), MSE()):
            for lambda_b in biases:
                for lw, lh in DECAYS:
                    model = UFM(loss, K, d, n, lambda_W=lw, lambda_H=lh, lambda_b=lambda_b)
                    found.append(closed_form(model))
    return tuple(specimen for specimen in found if specimen is not None)


def table_error(rows: Iterable[tuple[float, int]], specimen: Specimen) -> float:
    """Largest difference between a table (value, multiplicity) and the dense eigenvalues.

    Relative to the largest |eigenvalue|; infinite when the multiplicities do not add up.
    """
    kept = [(value, times) for value, times in rows if times]
    if any(times < 0 for _, times in kept):
        return float("inf")
    table = np.sort(np.repeat([v for v, _ in kept], [m for _, m in kept]))
    dense = specimen.dense_eigenvalues
    if table.shape != dense.shape:
        return float("inf")
    return float(np.abs(table - dense).max() / np.abs(dense).max())


def theta_and_ratio(model: UFM) -> tuple[float, float]:
    """(theta, R) = (alpha s2 / c, s1 / s2) of THEORY 7.0, by hand for each loss."""
    K, c, loss = model.num_classes, model.c, model.loss
    if isinstance(loss, RescaledMSE):
        return float(loss.M) / c - 1 / float(loss.kappa), float(loss.kappa)
    if isinstance(loss, MSE):
        return (1 - c) / c, 1.0
    if isinstance(loss, Focal):
        found = model.minimiser()
        alpha = found.code.a if found is not None and found.code is not None else np.nan
        g = float(loss.gamma)
        u = 1 / (1 + (K - 1) * np.exp(-alpha))
        rest, log_u = 1 - u, np.log(u)
        first = g * rest ** (g - 1) * log_u - rest**g / u
        second = -g * (g - 1) * rest ** (g - 2) * log_u + 2 * g * rest ** (g - 1) / u
        second += rest**g / u**2
        s2 = -first * u * rest / (K - 1)
        s1 = (second * u * rest + first * (1 - 2 * u)) * u * rest * K / (K - 1)
        return float(alpha * s2 / c), float(s1 / s2)
    u = c + float(getattr(loss, "delta", 0.0))
    return float(np.log(K / u - K + 1) * u / (K * c)), float(K - (K - 1) * u)


def _pair(model: UFM, g: float) -> tuple[float, float]:
    """Roots of x^2 - (lw + lh)(1 + g) x + 4 g lw lh, for g = theta or R theta."""
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    trace = (lw + lh) * (1 + g)
    large = 0.5 * (trace + np.sqrt(trace**2 - 16 * g * lw * lh))
    return float(4 * g * lw * lh / large), float(large)


def _logit_rows(specimen: Specimen, theta: float, R: float, coupled: bool = True) -> Rows:
    """Table 7.1, with the fourth row and column of 7.2 where there is a bias."""
    model = specimen.model
    K, d, n = model.num_classes, model.d, model.n
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    out, turns = d - K + 1, (K - 1) * (K - 2) // 2
    rows = [
        (lh, K * (n - 1) * out),
        (lh * (1 + theta), K * (n - 1) * (K - 2)),
        (lh * (1 + R * theta), K * (n - 1)),
        (0.0, (K - 1) * out + turns),
        (lw + lh, (K - 1) * out),
        (lw, out + K - 1),
        (lh, out),
        ((lw + lh) * (1 + theta), turns),
    ]
    rows += [(x, 1) for x in _pair(model, R * theta)]
    rows += [(x, K * (K - 3) // 2) for x in _pair(model, theta)]
    q = (R - 1) / (K - 1)
    a, b, e = 1 + q * (K - 2), q * np.sqrt(K - 2), 1 + q
    form = np.array([[1 + a * theta, a * theta - 1], [a * theta - 1, 1 + a * theta]])
    form = np.block([[form, np.full((2, 1), b * theta)], [np.full((1, 2), b * theta), 1.0]])
    form[2, 2] += e * theta
    form *= np.outer(np.sqrt([lw, lh, lh]), np.sqrt([lw, lh, lh]))
    if model.lambda_b is not None:
        lb, s2 = float(model.lambda_b), _other_curvature(model, theta)
        edge = np.sqrt(theta * s2) * np.array([b * np.sqrt(lw), b * np.sqrt(lh), e * np.sqrt(lh)])
        edge = edge[:, None] if coupled else np.zeros((3, 1))
        form = np.block([[form, edge], [edge.T, np.array([[lb + s2 * e]])]])
        rows.append((lb, 1))
    return rows + [(float(x), K - 1) for x in np.linalg.eigvalsh(form)]


def _other_curvature(model: UFM, theta: float) -> float:
    """s2 = theta c / alpha, with alpha from the minimiser."""
    found = model.minimiser()
    alpha = found.code.a if found is not None and found.code is not None else np.nan
    return float(theta * model.c / alpha)


def _logit_table(specimen: Specimen) -> float:
    return table_error(_logit_rows(specimen, *theta_and_ratio(specimen.model)), specimen)


def _saturated(specimen: Specimen) -> float:
    theta, _ = theta_and_ratio(specimen.model)
    return table_error(_logit_rows(specimen, theta, specimen.model.num_classes), specimen)


def _uncoupled(specimen: Specimen) -> float:
    rows = _logit_rows(specimen, *theta_and_ratio(specimen.model), coupled=False)
    return table_error(rows, specimen)


def _frame_rows(specimen: Specimen, theta: float, kappa: float) -> Rows:
    """Tables 7.3 (kappa = 1) and 7.5: an orthogonal frame, bias-free, d >= K."""
    model = specimen.model
    K, d, n = model.num_classes, model.d, model.n
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    rows = [
        (lh * (1 + theta), K * (n - 1) * (K - 1)),
        (lh * (1 + kappa * theta), K * (n - 1)),
        (lh, K * (n - 1) * (d - K)),
        (0.0, K * (d - K) + K * (K - 1) // 2),
        (lw + lh, K * (d - K)),
        ((lw + lh) * (1 + theta), K * (K - 1) // 2),
    ]
    rows += [(x, K * (K - 1) // 2) for x in _pair(model, theta)]
    return rows + [(x, K) for x in _pair(model, kappa * theta)]


def _frame_table(specimen: Specimen) -> float:
    theta, kappa = theta_and_ratio(specimen.model)
    return table_error(_frame_rows(specimen, theta, kappa), specimen)


def _frame_without_shrinkage(specimen: Specimen) -> float:
    theta, kappa = theta_and_ratio(specimen.model)
    return table_error(_frame_rows(specimen, theta + 1 / kappa, kappa), specimen)


def _centred_rows(specimen: Specimen, standard: float = 1.0) -> Rows:
    """Table 7.4: MSE with an unregularised bias, a simplex ETF, d >= K - 1."""
    model = specimen.model
    K, d, n = model.num_classes, model.d, model.n
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    theta, out, turns = (1 - model.c) / model.c, d - K + 1, (K - 1) * (K - 2) // 2
    edge = np.sqrt(lh * theta)
    bias = np.linalg.eigvalsh(np.array([[lh * (1 + theta), edge], [edge, 1.0]]))
    rows = [
        (lh * (1 + theta), K * (n - 1) * (K - 1)),
        (lh, K * (n - 1) * out + out),
        (0.0, (K - 1) * out + turns),
        (lw + lh, (K - 1) * out),
        (lw, out),
        (lw * (1 + standard * theta), K - 1),
        ((lw + lh) * (1 + theta), turns),
        (1.0, 1),
    ]
    rows += [(x, K * (K - 1) // 2) for x in _pair(model, theta)]
    return rows + [(float(x), K - 1) for x in bias]


def _origin(specimen: Specimen) -> Specimen:
    model = specimen.model
    return Specimen(model, model.as_merged(model.origin())[1], "origin")


@cache
def _origins(quick: bool = False) -> tuple[Specimen, ...]:
    return tuple(_origin(s) for s in closed_forms(quick) if s.model.lambda_b is None)


def _origin_rows(specimen: Specimen, power: float = 0.5) -> Rows:
    """CE-5: pairs with s = |gradient| at the origin, r0 = K - 1 (K for bias-free MSE)."""
    model = specimen.model
    K, d, N, loss = model.num_classes, model.d, model.num_samples, model.loss
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    s, rank = 1.0, K - 1
    if isinstance(loss, LabelSmoothing):
        s = 1 - float(loss.delta)
    elif isinstance(loss, Focal):
        g, rest = float(loss.gamma), 1 - 1 / K
        s = rest**g + g * rest ** (g - 1) * np.log(K) / K
    elif isinstance(loss, MSE):
        rank = K
    small, large = pair(lw, lh, s / (K * model.n**power))
    return [
        (small, rank * d),
        (large, rank * d),
        (lw, (K - rank) * d),
        (lh, (N - rank) * d),
    ]


def _library(specimen: Specimen) -> float:
    """The library's general table at a symmetric solution, whatever the loss and the bias."""
    found = specimen.model.minimiser()
    if found is None or found.code is None:
        return float("nan")
    levels = symmetric_spectrum(specimen.model, found.code)
    return table_error([(x, times) for x, times, _ in levels], specimen)


def _library_halved(specimen: Specimen) -> float:
    found = specimen.model.minimiser()
    if found is None or found.code is None:
        return float("nan")
    levels = symmetric_spectrum(specimen.model, found.code)
    rows = [(0.5 * x if "own-class" in name else x, m) for x, m, name in levels]
    return table_error(rows, specimen)


def _claim(
    id: str,
    title: str,
    statement: str,
    latex: str,
    source: str,
    hypotheses: tuple[Hypothesis, ...],
    check: Callable[[Specimen], float],
    mutant: Mutant,
    region: Region = closed_forms,
) -> Claim:
    return Claim(
        id=id,
        title=title,
        statement=statement,
        latex=latex,
        source=f"{source}; derived here",
        literature="derived here",
        hypotheses=hypotheses,
        region=region,
        check=check,
        tolerance=1e-12,
        tolerance_source="size eps max|eigenvalue| of a dense symmetric eigensolver (P <= 80), "
        "with room for the rounding of automatic differentiation; relative to max|eigenvalue|",
        tier="T1",
        mutant=mutant,
        subject=SUBJECT,
    )


CLAIMS = (
    _claim(
        "spectrum-logit-losses",
        "Spectrum at the minimiser: CE, LS, focal",
        "Without bias the Hessian at the simplex minimiser of CE, label smoothing and focal loss "
        "has the dozen eigenvalues of the (theta, R) table, with its multiplicities.",
        r"\theta=\frac{\alpha s_2}{c},\ R=\frac{s_1}{s_2};\quad x^2-(\lambda_W+\lambda_H)"
        r"(1+g\theta)x+4g\theta\lambda_W\lambda_H=0",
        "THEORY 7.1",
        (LOGIT_LOSSES, BIAS_FREE, BELOW),
        _logit_table,
        Mutant("R = K, as if every sample were fitted perfectly", _saturated),
    ),
    _claim(
        "spectrum-with-bias",
        "Spectrum at the minimiser with bias: CE, LS, focal",
        "A bias adds the eigenvalue lambda_b once and a fourth row and column, coupled to unequal "
        "norms and common feature shifts, to the block of the standard representation.",
        r"\sqrt N\,(G_{12}\sqrt{\lambda_W\theta g_2},\,G_{12}\sqrt{\lambda_H\theta g_2},\,"
        r"G_{22}\sqrt{\lambda_H\theta g_2}),\quad \lambda_b+N g_2G_{22},\ g_2=s_2/N",
        "THEORY 7.2",
        (LOGIT_LOSSES, WITH_BIAS, BELOW),
        _logit_table,
        Mutant("the bias decoupled from W and H", _uncoupled),
    ),
    _claim(
        "spectrum-mse",
        "Spectrum at the minimiser: MSE without bias",
        "Bias-free MSE, d >= K: six eigenvalues; the frame contributes lambda/c and the roots of "
        "one quadratic.",
        r"\theta=\frac{1-c}{c}:\ \lambda_H/c,\ \lambda_H,\ 0,\ \lambda_W+\lambda_H,\ "
        r"(\lambda_W+\lambda_H)/c,\ \mathrm{pair}(1)",
        "THEORY 7.3",
        (SQUARED, BIAS_FREE, FULL_FRAME, BELOW),
        _frame_table,
        Mutant("theta = 1/c instead of (1 - c)/c", _frame_without_shrinkage),
    ),
    _claim(
        "spectrum-mse-free-bias",
        "Spectrum at the minimiser: MSE with unregularised bias",
        "MSE with lambda_b = 0, d >= K - 1: the bias couples to common shifts of the class means "
        "in a 2 x 2 block, and common shifts of W cost lambda_W / c.",
        r"\begin{pmatrix}\lambda_H(1+\theta)&\sqrt{\lambda_H\theta}\\"
        r"\sqrt{\lambda_H\theta}&1\end{pmatrix}\times(K-1),\ \lambda_W(1+\theta)\times(K-1)",
        "THEORY 7.4",
        (SQUARED, FREE_BIAS, BELOW),
        lambda s: table_error(_centred_rows(s), s),
        Mutant(
            "common shifts of W cost lambda_W, as for cross entropy",
            lambda s: table_error(_centred_rows(s, standard=0.0), s),
        ),
    ),
    _claim(
        "spectrum-rescaled-mse",
        "Spectrum at the minimiser: rescaled MSE",
        "Bias-free rescaled MSE, d >= K: the table of MSE with theta = M/c - 1/kappa, and the K "
        "own-class pairs at kappa theta.",
        r"\theta=\frac Mc-\frac1\kappa:\ \mathrm{pair}(1)\times\tbinom K2,\ "
        r"\mathrm{pair}(\kappa)\times K",
        "THEORY 7.5",
        (loss_is("the loss is rescaled MSE", RescaledMSE), BIAS_FREE, FULL_FRAME, BELOW),
        _frame_table,
        Mutant("theta = M/c, without the shrinkage 1/kappa", _frame_without_shrinkage),
    ),
    _claim(
        "spectrum-origin",
        "Spectrum at the origin",
        "At W = H = 0 the Hessian has two eigenvalues for each of r0 d directions, r0 = K - 1 (K "
        "for MSE), and the decays elsewhere.",
        r"\tfrac12\bigl(\lambda_W+\lambda_H\pm\sqrt{(\lambda_W-\lambda_H)^2+4s^2}\bigr)"
        r"\times r_0d,\quad s=\frac{1-\delta}{K\sqrt n}",
        "CE-5",
        (loss_is("the loss is CE, LS, focal or MSE", CrossEntropy, LabelSmoothing, Focal, MSE),),
        lambda s: table_error(_origin_rows(s), s),
        Mutant("s = (1 - delta)/(K n)", lambda s: table_error(_origin_rows(s, 1.0), s)),
        _origins,
    ),
    _claim(
        "spectrum-by-representations",
        "Spectrum at any symmetric minimiser, by isotypic blocks",
        "The blocks of the class permutations' irreducible representations, computed by automatic "
        "differentiation of the loss alone, give the full spectrum: all losses, all biases, above "
        "and below the threshold.",
        r"\mathbb R^{K\times K}=2\cdot\mathbf 1\oplus 3V\oplus S^{(K-2,2)}\oplus\Lambda^2V",
        "THEORY 7.0",
        (EQUAL_COUNTS,),
        _library,
        Mutant("own-class within-class curvature halved", _library_halved),
    ),
)
