"""The documentation, and the program that makes a site of it.

A package, so that no module called ``site`` comes before Python's own.
"""
