"""Figures of trained networks, ``(records, ax) -> Axes``."""
