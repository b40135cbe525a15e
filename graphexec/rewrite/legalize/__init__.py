"""Passes that rewrite a function into the ops that lowering accepts."""
