"""Ops that passes make out of several nodes; none of them is declared."""
