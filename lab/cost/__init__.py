"""Arithmetic and memory of steps, refreshes and runs."""
