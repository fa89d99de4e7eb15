"""Base classes of the test loops that measure features of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import DataLoader

from amt_mm.checks import check_choice
from amt_mm.models.unwrapped import unwrapped

from .dataset_features import LabelledFeatures, has_cls, labelled_features
from .frozen_loop import FrozenTestLoop
from .shared_features import shared_features


class ImageFeatureTestLoop(FrozenTestLoop):
    """Encode labelled training and test images to their pooled tokens, then measure.

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.frozen_loop.FrozenTestLoop`.
        features: Folder of features that other runs of a command measure, too, of the same encoder
            and images, which nothing checks: leave it to ``amt evaluate``. Defaults to None: this
            run encodes the images for itself.
    """

    def __init__(self, *args, features: str | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.features = None if features is None else Path(features)

    def poolings(self) -> tuple[str, ...]:
        """Return the names of all features of the encoder."""
        return ('cls', 'mean') if has_cls(unwrapped(self.runner)) else ('mean', )

    def encode(self, loader: DataLoader, progress: str,
               pooling: Sequence[str] | None = None) -> LabelledFeatures:
        """Return features and labels of all images.

        Args:
            loader: Loads one part of the images.
            progress: Title of the progress bar.
            pooling: Names of the features. Defaults to None: all.
        """
        model = unwrapped(self.runner)
        if self.features is None:
            return labelled_features(model, loader, pooling or self.poolings(), progress)
        # Other runs may want other features.
        found = shared_features(
            self.features / f'{progress}.pth',
            lambda: labelled_features(model, loader, self.poolings(), progress))
        return found if pooling is None else LabelledFeatures(
            {name: found.features[name] for name in pooling}, found.labels, found.names)


class FeatureTestLoop(ImageFeatureTestLoop):
    """Encode labelled training and test images to one feature each, then measure.

    Args:
        *args, **kwargs: See :class:`ImageFeatureTestLoop`.
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
        """Return the feature and the label of all images."""
        return super().encode(loader, progress, [self.pooling])
