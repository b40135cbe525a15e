"""Arithmetic, comparisons and functions of one element."""
