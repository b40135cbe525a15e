"""Ops that passes make of several nodes; nobody declares them."""
