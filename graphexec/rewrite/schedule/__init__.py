"""Passes that decide what is computed again, and in which order nodes run."""
