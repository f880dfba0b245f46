"""Labelled images from packages and files on this machine, and changes of them; no downloads."""

from experiments.networks.data.record import Dataset, Split, Standardisation
from experiments.networks.data.registry import SOURCES, load

__all__ = ["SOURCES", "Dataset", "Split", "Standardisation", "load"]
