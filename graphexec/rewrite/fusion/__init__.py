"""Passes that make one kernel out of several nodes."""
