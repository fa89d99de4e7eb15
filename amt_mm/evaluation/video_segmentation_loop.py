"""VideoSegmentationTestLoop: J and F of objects whose masks are carried through videos."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_dist_info, is_main_process
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from amt_mm.datasets.load_mask import IGNORED
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import LOOPS

from .dataset_features import has_cls, whole_image_tokens
from .features import evaluating
from .label_propagation import near_patches, patch_labels, pixel_labels, propagate
from .measuring_loop import MeasuringTestLoop
from .object_measures import contour_accuracy, region_similarity
from .occlusion import patch_size

# To which DINO rounds the longer side of a frame down.
_STEP = 64
# A frame: its normalised image (1, C, H, W) and its sample.
_Frame = tuple[Tensor, BaseDataElement]


@LOOPS.register_module()
class VideoSegmentationTestLoop(MeasuringTestLoop):
    """Carry the objects of the first frame of each video through it by the patch tokens.

    The semi-supervised task of DAVIS 2017 as DINO evaluates it (Caron et al., ICCV 2021, section
    4.2.2): without training, the labels of the first frame and of some before the frame at hand
    pass to its patches by the likeness of tokens, see
    :mod:`~amt_mm.evaluation.label_propagation`. It reports in per cent, as means over the objects
    of all videos, each a mean over the frames between the first and the last one:

    - ``video_segmentation/j``, :func:`~amt_mm.evaluation.object_measures.region_similarity`;
    - ``video_segmentation/f``, :func:`~amt_mm.evaluation.object_measures.contour_accuracy`;
    - ``video_segmentation/jf``, the mean of both.

    An object that the first frame does not show cannot be carried, and does not count: it is
    background, which the log says. So is 255.

    Args:
        *args: See :class:`~amt_mm.evaluation.measuring_loop.MeasuringTestLoop`. The data set is
            :class:`~amt_mm.datasets.DavisVideos`. Frames are encoded one at a time, whatever the
            loader's batch size, and each process takes whole videos.
        size: Shorter side of the frames that the encoder sees, in pixels, rounded down to whole
            patches; the longer side is in proportion, rounded down to a multiple of 64, or of the
            patch if that does not divide 64. Defaults to 480, as do all others to DINO's.
        frames: Frames before the one at hand that give labels, besides the first. Defaults to 7.
        radius: Largest distance over which labels pass, in patches. Defaults to 12.
        neighbours: Patches that give their labels to one. Defaults to 5.
        temperature: Of the cosines. Defaults to .1.
        **kwargs: As ``*args``.

    Raises:
        InputError: A number is out of range, a video has fewer than 3 frames, frames of different
            sizes, or no object in the first one; and see the parent.
    """

    prefix = 'video_segmentation'

    def __init__(self, *args, size: int = 480, frames: int = 7, radius: int = 12,
                 neighbours: int = 5, temperature: float = .1, **kwargs) -> None:
        if min(frames, radius) < 0 or neighbours < 1 or temperature <= 0:
            raise InputError(f'test_cfg.frames={frames}, radius={radius}, neighbours={neighbours}, '
                             f'temperature={temperature}: the first two must be 0 or more, the '
                             'others above 0')
        super().__init__(*args, **kwargs)
        self.patch = patch_size(unwrapped(self.runner).backbone)
        if size < max(_STEP, *self.patch):
            raise InputError(f'test_cfg.size={size}: give {max(_STEP, *self.patch)} or more')
        self.size, self.frames, self.radius = size, frames, radius
        self.neighbours, self.temperature = neighbours, temperature

    def measures(self) -> dict[str, float]:
        """Return J, F and their mean; each process takes its share of the videos."""
        videos = self._videos()
        rank, world_size = get_dist_info()
        mine = list(videos)[rank::world_size]
        # Of each video: sums of J and F, objects, and objects that come later.
        found = torch.zeros(len(videos), 4, dtype=torch.float64, device=self.device)
        with evaluating(unwrapped(self.runner)):
            frames = self._load([index for video in mine for index in videos[video]])
            for video, group in groupby(frames, key=lambda frame: frame[1].video):
                found[list(videos).index(video)] = self._measure(video, group)
        all_reduce(found)
        self.runner.logger.info('J&F of videos in per cent: ' + ', '.join(
            f'{video} {share:.1f}' for video, share in zip(
                videos, (50 * (found[:, 0] + found[:, 1]) / found[:, 2]).tolist(), strict=True)))
        j, f, objects, late = found.sum(dim=0).tolist()
        if late:
            self.runner.logger.info(f'{late:.0f} object(s) come after the first frame of their '
                                    f'video, and do not count beside the other {objects:.0f}')
        j, f = 100 * j / objects, 100 * f / objects
        return {'jf': (j + f) / 2, 'j': j, 'f': f}

    def _videos(self) -> dict[str, list[int]]:
        """Return the samples of each video."""
        dataset = self.dataloader.dataset
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        if 'video' not in infos[0]:
            raise InputError('VideoSegmentationTestLoop: images are no videos: give '
                             'amt_mm.DavisVideos')
        videos: dict[str, list[int]] = {}
        for index, info in enumerate(infos):
            videos.setdefault(info['video'], []).append(index)
        for video, frames in videos.items():
            if len(frames) < 3:
                raise InputError(f'{infos[frames[0]]["img_path"]}: the video {video} has '
                                 f'{len(frames)} frame(s), and 3 are needed, since the first and '
                                 'the last one are not measured')
        return videos

    def _load(self, indices: list[int]) -> Iterator[_Frame]:
        """Yield frames one at a time, since those of two videos may differ in size."""
        preprocess = unwrapped(self.runner).data_preprocessor
        loader = DataLoader(Subset(self.dataloader.dataset, indices),
                            num_workers=self.dataloader.num_workers,
                            collate_fn=self.dataloader.collate_fn,
                            # Without one, it would draw its base seed globally.
                            generator=torch.Generator())
        for batch in tqdm(loader, 'frames', disable=None if is_main_process() else True):
            sample, = batch['data_samples']
            yield preprocess(batch)['inputs'], sample

    def _measure(self, video: str, frames: Iterable[_Frame]) -> Tensor:
        """Return the sums of J and F over the objects of a video, and how many count and do not."""
        image, first = next(frames)
        original, path = image.shape[2:], first.img_path
        mask = _without_ignored(first)
        objects = [label for label in np.unique(mask).tolist() if label]
        if not objects:
            raise InputError(f'{path}: the mask of the first frame of the video {video} has no '
                             'object (1, 2, ...) to follow')
        size = self._encoded_size(*original)
        grid = size[0] // self.patch[0], size[1] // self.patch[1]
        near = near_patches(grid, self.radius).to(self.device)
        shown = torch.from_numpy(mask).to(self.device)
        known = [(self._tokens(image, size, path),
                  patch_labels(shown, torch.tensor([0, *objects], device=self.device), grid))]
        recent = deque(maxlen=self.frames)
        measures, labels = [], set(objects)
        for image, sample in frames:
            if image.shape[2:] != original:
                raise InputError(f'{sample.img_path}: is {image.shape[3]} x {image.shape[2]} '
                                 f'pixels, and the first frame is {original[1]} x {original[0]}')
            tokens = self._tokens(image, size, sample.img_path)
            sources, given = (torch.stack(part) for part in zip(*known, *recent, strict=True))
            shares = propagate(tokens, sources, given, near, self.neighbours, self.temperature)
            recent.append((tokens, shares))
            found = pixel_labels(shares, grid, size, original).cpu().numpy()
            mask = _without_ignored(sample)
            labels |= set(np.unique(mask).tolist()) - {0}
            measures.append([[measure(mask == label, found == place)
                              for place, label in enumerate(objects, 1)]
                             for measure in (region_similarity, contour_accuracy)])
        # (frames, 2, objects) -> means over frames, then sums over objects.
        j, f = np.mean(measures[:-1], axis=0).sum(axis=1)
        return torch.tensor([j, f, len(objects), len(labels) - len(objects)])

    def _encoded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the frames that the encoder sees."""
        sides = []
        for side, patch in zip((height, width), self.patch, strict=True):
            step = patch if side == min(height, width) or _STEP % patch else _STEP
            short = self.size // patch * patch
            sides.append(side * short // min(height, width) // step * step)
        return tuple(sides)

    def _tokens(self, image: Tensor, size: tuple[int, int], path: str) -> Tensor:
        """Return the patch tokens of a frame, ``(N, D)``, of length 1."""
        model = unwrapped(self.runner)
        image = F.interpolate(image, size, mode='bilinear')
        tokens = whole_image_tokens(model, image)[0, int(has_cls(model)):].float()  # (N, D)
        if not torch.isfinite(tokens).all():
            raise InputError(f'{path}: a patch token of this frame is not finite; has the training '
                             'diverged?')
        return F.normalize(tokens, dim=1)


def _without_ignored(sample: BaseDataElement) -> np.ndarray:
    """Return the mask of a frame, ``(H, W)``, with 255 as background, as the code of DAVIS does."""
    return np.where(sample.gt_seg_map == IGNORED, 0, sample.gt_seg_map)
