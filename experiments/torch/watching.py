"""One pass of a loader through a model: how collapsed it is, and how far from theory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.networks.theory import Measurement, Terms, measure_batches
from experiments.torch.batches import Forward, classifier_of, feature_batches, head_of
from experiments.torch.terms import terms_of


@dataclass(frozen=True)
class Watched:
    """What was seen of a model.

    Attributes:
        measurement: all numbers.
        notes: how loss and decays were translated, and what was seen of the data.
        facts: of the page: model, head, precision, data.
    """

    measurement: Measurement
    notes: tuple[str, ...]
    facts: dict[str, str]

    @property
    def headline(self) -> str:
        """How collapsed, and how far from the minimum, in one sentence."""
        return self.measurement.headline

    def write_page(self, path: str | Path) -> Path:
        """Write one self-contained page, and return its place.

        Raises:
            OSError: the folder does not exist or cannot be written to.
        """
        from experiments.cli.measure import theory_parts
        from experiments.networks.theory.measurement import page_facts
        from experiments.report.self_contained import OwnPage, cosines_picture, part_of, write_own

        made, place = self.measurement, Path(path)
        shown = theory_parts(made.theory) if made.theory is not None else []
        parts = [*(f"Read: {note}." for note in self.notes), *(part_of(part) for part in shown)]
        facts = {**self.facts, **page_facts(made)}
        pictures = cosines_picture(made.rows_of_classes())
        title = "Neural collapse of a network"
        write_own(OwnPage(title, made.sentence, "", parts, facts, pictures), place)
        return place

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and words."""
        return {**self.measurement.as_dict(), "notes": list(self.notes), "facts": self.facts}


def watch(
    model: Any,
    head: Any = None,
    loader: Iterable[Any] = (),
    *,
    optimizer: Any = None,
    loss: Any = None,
    lambda_H: float | None = None,
    terms: Terms | None = None,
    forward: Forward | None = None,
) -> Watched:
    """Measure a PyTorch model on its training set, in one pass that keeps no features.

    A forward pre-hook on the last layer hands what goes into it to ``ufm.CollapseMetric`` and to
    the sums that theory needs; the model is in evaluation mode meanwhile, and afterwards as it was.

    Args:
        model: a ``torch.nn.Module``.
        head: its last layer, by name or itself; None for the last linear one.
        loader: of the training set, all of it, without augmentation.
        optimizer: that it was trained with; its param groups say the decays.
        loss: that it was trained with: of ``torch.nn``, or of ``ufm``; by default cross entropy.
        lambda_H: a penalty of the features themselves, if there was one.
        terms: instead of optimizer, loss and lambda_H.
        forward: (model, batch) -> labels, for batches of another form.

    Raises:
        InputError: a head, a loss or a batch that is not understood.
    """
    layer = head_of(model, head)
    W, b = classifier_of(layer)
    if terms is None:
        terms, notes = terms_of(optimizer, layer, loss, len(W), lambda_H)
    else:
        notes = ("decays as given",)
    seen: dict[str, str] = {}

    def batches() -> Any:
        for features, labels in feature_batches(model, layer, loader, forward):
            seen.setdefault("features", str(features.dtype))
            yield features, labels

    made = measure_batches(batches(), W, b, terms)
    record = made.record
    size = getattr(getattr(loader, "dataset", None), "__len__", lambda: record.num_samples)()
    if size != record.num_samples:
        left = f"{record.num_samples:,} of {size:,} samples of the data set were seen"
        notes = (*notes, f"{left}: theory needs all of them (drop_last, or a sampler?)")
    facts = {
        "Model": f"{type(model).__name__}, head {type(layer).__name__}({W.shape[1]}, {W.shape[0]})"
        + ("" if b is not None else " without bias"),
        "Data": f"{record.num_samples:,} samples of {record.num_classes} classes",
        "Precision": f"features in {seen.get('features', '?')}, classifier in {W.dtype}; "
        "what is measured on them is float64",
    }
    return Watched(made, tuple(notes), facts)
