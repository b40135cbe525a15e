"""Shared by the tests: `compare` arrays, `run` ops and functions, draw `graphs`."""
