"""Instruments behind the figures in docs/: studies, timing, cost; not part of the wheel."""
