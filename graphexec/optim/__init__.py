"""Update rules, initial values, and the update nodes of a training step."""
