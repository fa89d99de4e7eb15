"""ChannelsDataPreprocessor: normalise images of any number of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.models import SelfSupDataPreprocessor

from amt_mm.errors import InputError
from amt_mm.registry import MODELS


@MODELS.register_module()
class ChannelsDataPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's preprocessor for any number of channels, of which its own takes 1 or 3.

    Args:
        mean: Of each channel. Defaults to None: values stay as they are.
        std: Likewise.
        **kwargs: See :class:`mmpretrain.models.SelfSupDataPreprocessor`.

    Raises:
        InputError: Not as many means as deviations.
    """

    def __init__(self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
                 **kwargs) -> None:
        if (mean is None) != (std is None) or (mean is not None and len(mean) != len(std)):
            raise InputError(f'data_preprocessor.mean={mean} and std={std} must have one number '
                             'for each channel')
        super().__init__(**kwargs)
        if mean is not None:
            self._enable_normalize = True
            for name, values in (('mean', mean), ('std', std)):
                self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1),
                                     persistent=False)
