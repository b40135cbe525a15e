"""Derivatives: reverse mode over graphs, and forward mode over the source of scalar functions."""
