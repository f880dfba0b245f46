"""The plain unconstrained feature model, and everything that only it knows."""
