"""Ops that passes build from several nodes; op files never declare them."""
