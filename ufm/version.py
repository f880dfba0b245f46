"""The version of the lab, written here and nowhere else.

The build reads it from this file, and a checkout that was never installed reads it too.
"""

__version__ = "0.1.0"
