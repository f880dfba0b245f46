"""Benchmarks: the lab against the solvers that people use, on one machine and in one run."""
