"""Checkpoints of this toolbox and of others: files, names, positions."""

from .files import Checkpoint, read_checkpoint, write_checkpoint
from .naming import NAMINGS, Conversion, convert, detect_naming
from .positions import fit_positions

__all__ = [
    'NAMINGS', 'Checkpoint', 'Conversion', 'convert', 'detect_naming', 'fit_positions',
    'read_checkpoint', 'write_checkpoint'
]
