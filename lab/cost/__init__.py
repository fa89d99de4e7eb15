"""Cost and memory of steps, refreshes and runs."""
