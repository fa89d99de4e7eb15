"""What the tools do, as functions."""
