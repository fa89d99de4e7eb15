"""What races; each file is a program of its own, started by ``python -m``."""

from amt_mm.dependencies import declare_torchvision_operators

# Before a library of the peers imports torchvision.
declare_torchvision_operators()
