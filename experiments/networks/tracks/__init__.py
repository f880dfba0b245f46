"""Tracks: systems of the literature in small, each trained beside the exact statement about it.

A track is a list of cells (case, method, seed). Every cell is measured once and kept, so that a
kill loses the one in work at most; the page has means over seeds, claims of tier E, and what is
exact.
"""
