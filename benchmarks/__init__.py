"""Measurements: see README.md beside this."""
