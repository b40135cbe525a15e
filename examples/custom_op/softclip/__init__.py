"""Ops of this plugin: every module of the package is searched for them."""
