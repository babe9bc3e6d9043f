"""A campaign that finds the worst: for the test of what tells of it."""

import ctypes

from .report import Report


def run(count: int, seed: int) -> Report:
    """Never comes back."""
    ctypes.string_at(0)
    raise AssertionError("still there")
