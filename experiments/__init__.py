"""What a person runs: the command line, the report, sweeps, networks and benchmarks."""
