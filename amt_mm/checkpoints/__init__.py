"""Checkpoints of this and other toolboxes: reading, naming, converting, saving."""

from .convert_names import Conversion, convert, detect_naming
from .encoders import check_encoder, choose_encoder
from .files import Checkpoint, read_checkpoint, write_checkpoint
from .pickles import (
    TRUST,
    NeedsTrust,
    checkpoints_are_trusted,
    read_pickle,
    trust_checkpoints,
)
from .positions import fit_positions

__all__ = [
    'TRUST', 'Checkpoint', 'Conversion', 'NeedsTrust', 'check_encoder',
    'checkpoints_are_trusted', 'choose_encoder', 'convert', 'detect_naming', 'fit_positions',
    'read_checkpoint', 'read_pickle', 'trust_checkpoints', 'write_checkpoint'
]
