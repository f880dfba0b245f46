"""Figures of networks: curves, maps, and networks against theory."""
