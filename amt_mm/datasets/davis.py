"""DAVIS 2017: videos with the objects of each frame."""

from __future__ import annotations

import os.path as osp
from pathlib import Path

from mmpretrain.datasets import BaseDataset

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .download import clone_command


@DATASETS.register_module()
class DavisVideos(BaseDataset):
    """Frames and masks of DAVIS 2017 (Pont-Tuset et al., 2017) at 480p, as published.

    ::

        root/ImageSets/2017/val.txt                names of the videos, one a line
        root/JPEGImages/480p/bear/00000.jpg        frames, in the order of their names
        root/Annotations/480p/bear/00000.png       mask of each: 0 is background, 1, 2, ... objects

    A sample is a frame. The frames of a video follow each other, and ``video`` names it; the other
    keys are those of :class:`~amt_mm.datasets.SegmentationFolder`.

    Args:
        data_root: The folder.
        split: Name of the list of videos. Defaults to ``'val'``.
        **kwargs: Of :class:`mmpretrain.datasets.BaseDataset`: ``pipeline``, ...

    Raises:
        InputError: The list, a video or the mask of a frame is missing.
    """

    def __init__(self, data_root: str = '', split: str = 'val', **kwargs) -> None:
        self.split = split
        super().__init__(ann_file='', data_root=osp.expanduser(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the frames of all videos."""
        root = Path(self.data_root)
        names = root / 'ImageSets/2017' / f'{self.split}.txt'
        if not names.is_file():
            command = clone_command(self.data_root) if not root.exists() else None
            raise InputError(f'{names}: does not exist; '
                             + (f'get it by: {command}' if command else 'set data_root to the '
                                'folder of the images (JPEGImages/), Annotations/ and ImageSets/'))
        with open(names, encoding='utf-8-sig', errors='surrogateescape') as file:
            videos = dict.fromkeys(filter(None, map(str.strip, file)))
        samples = [sample for video in videos for sample in self._frames(root, video)]
        if not samples:
            raise InputError(f'{names}: names no video')
        return samples

    def _frames(self, root: Path, video: str) -> list[dict]:
        if '/' in video or video == '..':
            raise InputError(f'{root}: ImageSets/2017/{self.split}.txt lists {video!r}, which is '
                             'not the name of a folder in JPEGImages/480p')
        folder = root / 'JPEGImages/480p' / video
        frames = sorted(folder.glob('*.jpg'))
        if not frames:
            raise InputError(f'{folder}: has no frames (*.jpg), and '
                             f'ImageSets/2017/{self.split}.txt lists this video')
        masks = [root / 'Annotations/480p' / video / f'{frame.stem}.png' for frame in frames]
        missing = [mask for mask in masks if not mask.is_file()]
        if missing:
            raise InputError(f'{missing[0]}: does not exist ({len(missing)} of {len(frames)} '
                             'frames of the video have no mask), and every frame is measured; '
                             'videos of test-dev have masks of their first frames only')
        return [dict(img_path=str(frame), seg_map_path=str(mask), reduce_zero_label=False,
                     num_classes=None, video=video)
                for frame, mask in zip(frames, masks, strict=True)]
