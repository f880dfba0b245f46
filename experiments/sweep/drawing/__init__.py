"""Figures of a sweep: phase diagrams and comparisons, ``(table, ax) -> Axes``."""
