"""Passes that choose when, and how often, nodes run."""
