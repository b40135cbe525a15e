"""Passes that compute the same values with fewer or cheaper nodes."""
