"""Figures in memory, and boxes of their texts."""

from matplotlib.figure import Figure
from matplotlib.text import Text


def panel(width=3.4, height=3.0, **options):
    """Axes of a figure of so many inches."""
    return Figure(figsize=(width, height), layout="constrained").subplots(**options)


def boxes(texts):
    """Boxes of texts as they are finally laid out."""
    texts = [text for text in texts if text.get_visible() and text.get_text()]
    texts[0].figure.canvas.figure.draw_without_rendering()
    return [Text.get_window_extent(text) for text in texts]


def overlapping(found, others=None):
    """How many boxes overlap."""
    if others is None:
        return sum(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])
    return sum(a.overlaps(b) for a in found for b in others)


def within(found, ax):
    """Whether boxes lie inside axes, to a pixel."""
    frame = ax.get_window_extent().padded(1)
    return all(frame.contains(*box.min) and frame.contains(*box.max) for box in found)
