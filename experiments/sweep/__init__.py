"""Sweeps: a spec is expanded into cells, computed in batches, and kept in a store."""
