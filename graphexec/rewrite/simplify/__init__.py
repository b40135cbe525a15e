"""Passes that compute the same with fewer nodes."""
