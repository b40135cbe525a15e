"""Passes that lowering requires."""
