"""Times of instructions beside what the machine could do."""
