"""Base class of the test loops that measure one feature of each image."""

from __future__ import annotations

from torch.utils.data import DataLoader

from amt_mm.checks import check_choice
from amt_mm.models.unwrapped import unwrapped

from .dataset_features import LabelledFeatures, has_cls, labelled_features
from .frozen_loop import FrozenTestLoop


class FeatureTestLoop(FrozenTestLoop):
    """Encode labelled training and test images to one feature each, then measure.

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.frozen_loop.FrozenTestLoop`.
        pooling: ``'cls'``, the [CLS] token, or ``'mean'``, the mean of the patch tokens. Defaults
            to None: ``'cls'``, as in DINO and AttMask, and ``'mean'`` for an encoder without
            [CLS], which the log says.

    Raises:
        InputError: An unknown ``pooling``, an image without a label or a backbone that does not
            return tokens; and see the parent.
    """

    def __init__(self, *args, pooling: str | None = None, **kwargs) -> None:
        check_choice('test_cfg.pooling', pooling, (None, 'cls', 'mean'))
        super().__init__(*args, **kwargs)
        self.pooling = pooling or self._default_pooling()

    def _default_pooling(self) -> str:
        if has_cls(unwrapped(self.runner)):
            return 'cls'
        self.runner.logger.info('The encoder has no [CLS] token: features are the mean of its '
                                'patch tokens')
        return 'mean'

    def encode(self, loader: DataLoader, progress: str) -> LabelledFeatures:
        """Return features and labels of all images."""
        return labelled_features(unwrapped(self.runner), loader, [self.pooling], progress)
