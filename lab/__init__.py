"""Instruments behind the figures of docs/: studies, timing, cost; no part of the wheel."""
