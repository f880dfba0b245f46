"""The central path from the features of a trained network: two flows, two laws.

A small network with four features is trained on digits for three epochs; then its features
are whitened and moved by both flows (docs/theory.md, CP-3 and CP-4).

    python docs/examples/central_path.py central-path.svg
"""

import sys

import numpy as np
from matplotlib.figure import Figure

from experiments.networks.runs import DataRequest
from experiments.networks.training import TrainSettings, look, train
from landscape.flows.central_path import Flow, run
from landscape.plots import draw_central_path, style
from ufm.collapse.central_path import follow


def main(file: str) -> None:
    """Train, follow both flows, draw, and say how far each is from both laws."""
    data = DataRequest(per_class=40).load()
    settings = TrainSettings(d=4, epochs=3, learning_rate=0.05)
    network = train(settings, data.train.images, data.train.labels, 10).network
    seen = look(network, data.train)
    # The laws of motion grow with n = 40 samples a class; so do the times.
    times = np.linspace(0, 4e4, 17)
    paths = {flow: run(seen.features, seen.labels, times, flow) for flow in Flow}
    for flow, path in paths.items():
        for law in Flow:
            exact = follow(law.law, path.omega[0], times, 10, 40)
            error = np.abs(path.omega - exact).max()
            print(f"{flow.value} flow against the law of {law.value}: {error:.1e}")
    with style():
        figure = Figure(figsize=(5.0, 3.6), layout="constrained")
        draw_central_path(paths, 10, 40, figure.subplots())
        figure.savefig(file, metadata={"Date": None} if file.endswith(".svg") else None)


if __name__ == "__main__":
    main(sys.argv[1])
