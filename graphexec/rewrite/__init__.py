"""Rewrites of an order before it is lowered."""
