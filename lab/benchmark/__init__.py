"""Time the training steps of several configs in turn, phase by phase."""
