"""Moving and selecting data."""
