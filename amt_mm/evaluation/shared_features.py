"""Features of a data set that several runs of one command measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import torch
from mmengine.logging import MMLogger

from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.distributed import from_rank0
from amt_mm.errors import InputError

from .dataset_features import LabelledFeatures


def shared_features(file: Path, encode: Callable[[], LabelledFeatures]) -> LabelledFeatures:
    """Read features that another run of the command wrote; otherwise encode and write them.

    All processes must call it. The command makes the folder and removes it at its end: nothing is
    written to a folder that is gone, nor if the disk is full, which the log says.

    Args:
        file: Of this encoder and these images alone.
        encode: Encodes them with all processes.
    """
    log = MMLogger.get_current_instance()
    if from_rank0(file.is_file):
        log.info(f'Reading the features of another run from {file}')
        return LabelledFeatures(**torch.load(file, weights_only=True))
    found = encode()

    def write() -> str | None:
        # Other runs may be writing the same.
        own = file.with_name(f'{token_hex(8)}.pth')
        try:
            with atomic_file(own) as temporary:
                torch.save(vars(found), temporary)
            own.replace(file)
        except InputError as error:
            return str(error)
        return None

    if from_rank0(file.parent.is_dir) and (refused := from_rank0(write)):
        log.warning(f'The next run encodes these images once more: {refused}')
    return found
