"""Training: update rules, initializers, data, the loop, checkpoints."""
