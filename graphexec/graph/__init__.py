"""Graphs that people build, read and write: `Graph` and its files."""
