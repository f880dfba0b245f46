"""Everything that is measured on a network, theory included, as one record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.networks.theory.appraisal import (
    Appraisal,
    Terms,
    appraise,
    confinement,
    headline,
    quantities,
)
from experiments.networks.theory.diagnosis import FIXED, SPHERE
from experiments.networks.theory.prediction import Prediction
from experiments.networks.theory.sample_sums import Census, Meter
from ufm.collapse import Collapse, CollapseMetric, collapse
from ufm.collapse.inputs import read
from ufm.losses import CrossEntropy
from ufm.losses.user import as_loss, fixed_loss

Batch = tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True)
class Measurement:
    """Neural collapse of a network, and the theory beside it.

    Attributes:
        record: all numbers of ``ufm.collapse``.
        census: sums over the samples; None without a classifier.
        appraisal: the theory that applies; None where no decay was given.
        loss: name of the loss.
    """

    record: Collapse
    census: Census | None
    appraisal: Appraisal | None
    loss: str

    @property
    def nc2(self) -> float:
        """Distance of the class means from the frame of the theory, by default a simplex ETF."""
        theory = None if self.appraisal is None else self.appraisal.theory
        frame = theory.frame if isinstance(theory, Prediction) else ""
        orthogonal = frame == "orthogonal frame"
        return self.record.orthogonal_distance_means if orthogonal else self.record.nc2_rwu

    @property
    def headline(self) -> str:
        """How collapsed, and how far from the minimum, in one sentence."""
        return headline(self.record.nc1_rwu, self.nc2, self.record.nc1_ratio, self.appraisal)

    @property
    def sentence(self) -> str:
        """The headline with a capital and a stop."""
        return f"{self.headline[0].upper()}{self.headline[1:]}."

    def rows_of_classes(self) -> dict[str, npt.NDArray[np.float64]]:
        """Class means without their mean and rows of W without theirs, (K, d) each."""
        if self.census is None:
            return {}
        means, W = self.census.means, self.census.W
        return {
            "class means, centred": means - means.mean(axis=0),
            "rows of W, centred": W - W.mean(axis=0),
        }

    @property
    def model(self) -> str:
        """The model that the network is compared with, in one line."""
        record, made = self.record, self.appraisal
        if made is None:
            return ""
        counts = made.found.counts
        equal = min(counts) == max(counts)
        shown = ",".join(map(str, counts[:8])) + (",..." if len(counts) > 8 else "")
        samples = f"n={counts[0]}" if equal else f"counts={shown}"
        parts = [f"K={record.num_classes} d={record.num_features} {samples}", f"loss {self.loss}"]
        lambda_W, lambda_H, lambda_b = made.decays
        parts.append(made.confined if made.confined == FIXED else f"{made.confined} features")
        if made.confined != SPHERE:
            parts.append(f"lambda_W={lambda_W:g} lambda_H={lambda_H:g}")
            parts.append("no bias" if lambda_b is None else f"lambda_b={lambda_b:g}")
        if made.c is not None:
            parts.append(f"c={made.c:.6g}")
        return ", ".join(parts)

    @property
    def theory(self) -> dict[str, Any] | None:
        """The comparison as a record of plain numbers; None where there is none."""
        made = self.appraisal
        if made is None:
            return None
        theory = made.theory
        rows = []
        for name, (known, seen) in quantities(made).items():
            ratio = seen / known if known else None
            rows.append({"quantity": name, "theory": known, "measured": seen, "ratio": ratio})
        return {
            "lambda_W": made.decays[0],
            "lambda_H": made.decays[1],
            "lambda_H_balanced": made.balanced,
            "lambda_b": made.decays[2],
            "c": made.c,
            "features": made.confined,
            "source": theory.evidence if isinstance(theory, Prediction) else theory.reason,
            "frame": theory.frame if isinstance(theory, Prediction) else None,
            "refusal": made.refusal or None,
            "diagnosis": None if made.diagnosis is None else asdict(made.diagnosis),
            "notes": list(made.notes),
            "model": self.model,
            "rows": rows,
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain numbers."""
        metrics = self.record.as_dict()
        del metrics["cdnv"]  # (K, K): its mean and maximum say what a page can hold
        return {
            "headline": self.headline,
            "training_error": None if self.census is None else self.census.error,
            "metrics": metrics,
            "theory": self.theory,
        }


def measure(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    classifier: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    terms: Terms | None = None,
) -> Measurement:
    """Measure features that are in memory, and hold them against the theory that applies.

    Args:
        features: (N, d), input of the last layer, of all training samples.
        labels: (N,), 0..K-1.
        classifier: W (K, d).
        bias: b (K,).
        terms: loss and decays of the training; by default cross entropy and none, so no theory.

    Raises:
        InputError: arrays that do not fit.

    Example:
        >>> from ufm import UFM, CrossEntropy, lift
        >>> model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.01, lambda_H=0.02)
        >>> W, H, _ = lift(model, model.minimiser().point)
        >>> measure(H.T, model.labels, W, terms=Terms(CrossEntropy(), 0.01)).headline[-21:]
        'at the proved minimum'
    """
    data = read(features, labels, classifier, bias, False, None)
    terms = _complete(terms, data.counts)
    record = collapse(
        features, labels, classifier=classifier, bias=bias, lambda_W=_decay(terms, classifier)
    )
    if data.head is None:
        return Measurement(record, None, None, terms.loss.name)
    meter = Meter(terms.loss, data.head.W, None if bias is None else data.head.b)
    meter.update(data.features, data.labels)
    return _measurement(record, meter.census(), terms)


def measure_batches(
    batches: Iterable[Batch],
    classifier: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    terms: Terms | None = None,
    counts: npt.ArrayLike | None = None,
) -> Measurement:
    """The same of features that come in batches, in one pass and without keeping them.

    What compares every sample with the final class means is None (``ufm.CollapseMetric``).

    Args:
        batches: (features (B, d), labels (B,)).
        classifier: W (K, d).
        bias: b (K,).
        terms: as ``measure``.
        counts: samples per class, which losses with class sizes in them need beforehand.

    Raises:
        InputError: arrays that do not fit, or a loss whose numbers need counts.

    Example:
        >>> measure_batches([([[1.0], [-1.0]], [0, 1]), ([[3.0], [-3.0]], [0, 1])]).headline
        'not collapsed: NC1 0.12, NC2 0'
    """
    terms = _complete(terms, counts)
    if classifier is not None:  # one whose numbers come from the class sizes says so here
        terms.loss(np.zeros(len(np.asarray(classifier))), 0)
    metric = CollapseMetric(classifier, bias, _decay(terms, classifier), accuracy=False)
    meter = None if classifier is None else Meter(terms.loss, classifier, bias)
    for features, labels in batches:
        metric.update(features, labels)
        if meter is not None:
            meter.update(features, labels)
    record = metric.compute()
    if meter is None:
        return Measurement(record, None, None, terms.loss.name)
    seen = meter.census()  # which has the decisions: the logits are computed once
    return _measurement(replace(record, classifier_accuracy=1 - seen.error), seen, terms)


def _complete(terms: Terms | None, counts: npt.ArrayLike | None) -> Terms:
    terms = Terms(CrossEntropy()) if terms is None else terms
    loss = as_loss(terms.loss)
    if counts is None:
        return replace(terms, loss=loss)
    return replace(terms, loss=fixed_loss(loss, tuple(np.asarray(counts).tolist())))


def _decay(terms: Terms, classifier: npt.ArrayLike | None) -> float | None:
    """lambda_W as ``collapse`` takes it: positive, and with a classifier."""
    return terms.lambda_W if classifier is not None and terms.lambda_W else None


def _measurement(record: Collapse, seen: Census, terms: Terms) -> Measurement:
    told = terms.lambda_W is not None or terms.fixed_classifier or terms.optimizer != "sgd"
    asked = told or confinement(seen, terms)[0] == SPHERE
    made = appraise(seen, terms) if asked else None
    return Measurement(record, seen, made, terms.loss.name)


def page_facts(made: Measurement) -> dict[str, str]:
    """What a page says of the data: counts, precision, and the loss.

    Example:
        >>> page_facts(measure([[1.0], [-1.0]], [0, 1], [[1.0], [-1.0]]))["Counts"]
        '1 of every class'
    """
    facts = {"Loss": made.loss}
    if made.census is not None:
        counts, eps = made.census.counts, made.census.eps
        equal = min(counts) == max(counts)
        facts["Counts"] = (
            f"{counts[0]:,} of every class"
            if equal
            else f"{min(counts):,} to {max(counts):,} of a class"
        )
        kinds = {-52: "float64", -23: "float32", -10: "float16", -7: "bfloat16"}
        stored = kinds.get(round(math.log2(eps)), f"a type of spacing {eps:.1g} at 1")
        facts["Stored as"] = f"{stored}; what is measured is computed in float64"
    return facts


def curve_values(made: Measurement) -> Mapping[str, float]:
    """The numbers of one checkpoint among several.

    Example:
        >>> found = measure_batches([([[1.0], [-1.0]], [0, 1]), ([[3.0], [-3.0]], [0, 1])])
        >>> round(curve_values(found)["NC1"], 12)
        0.125
    """
    record, made_theory = made.record, made.appraisal
    values = {
        "NC1": record.nc1_rwu,
        "NC2": made.nc2,
        "NC3": math.nan if record.nc3_rwu is None else record.nc3_rwu,
        "error": math.nan if made.census is None else made.census.error,
        "logit gap": math.nan if made.census is None else made.census.gap,
    }
    if made_theory is not None:
        values["objective"] = made_theory.found.objective(*made_theory.decays)
    return values
