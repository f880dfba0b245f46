"""The map: for every model and loss, what its critical points are and how it collapses."""
