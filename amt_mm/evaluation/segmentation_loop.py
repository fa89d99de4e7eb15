"""SegmentationTestLoop: mean IoU of a linear head on the patch tokens of a frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.dist import all_reduce, broadcast, get_dist_info, is_main_process
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from amt_mm.datasets.load_mask import IGNORED, read_mask
from amt_mm.distributed import waiting_for_all
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import LOOPS

from .dataset_features import gather_in_order, whole_order
from .frozen_loop import FrozenTestLoop
from .mean_iou import class_ious, confusion, upsampled_classes
from .segmentation_head import SegmentationHead, train_segmentation
from .token_cache import cached_tokens, shared_tensor


@dataclass(frozen=True)
class SegmentedTokens:
    """Patch tokens and masks of all images of a data set, in its order.

    Attributes:
        tokens: ``(n, N, D)`` float16, in a file.
        labels: ``(n, H, W)`` uint8, at the size of the encoder's images, in a file; 255 is
            ignored.
        pixels: ``(255,)`` int64, pixels of each class in all masks at their own size.
    """

    tokens: Tensor
    labels: Tensor
    pixels: Tensor


@LOOPS.register_module()
class SegmentationTestLoop(FrozenTestLoop):
    """Train a linear head on the patch tokens of the frozen encoder, then measure it on pixels.

    Images are encoded once, whole and without augmentation, at the size of the encoder. The head
    learns from masks of that size. Logits of test images are upsampled bilinearly to the size of
    their masks, and every labelled pixel counts once. It reports in per cent:

    - ``segmentation/miou``, the mean over classes of intersection over union, each over all
      pixels of all test images; a class that is neither labelled nor predicted there is left out;
    - ``segmentation/pixel_accuracy``, the part of the labelled pixels that are right;
    - ``segmentation/constant_miou``, the mean IoU of always predicting the commonest class of the
      training images, to compare with.

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.frozen_loop.FrozenTestLoop`. Both data sets
            are :class:`~amt_mm.datasets.SegmentationFolder`.
        iterations: Of training. Defaults to 40,000, as DINOv2's.
        batch_size: Images in a batch. Defaults to 16, as DINOv2's.
        lr: Peak learning rate. Defaults to DINOv2's.
        weight_decay: Defaults to DINOv2's.
        seed: Seed of initial values and batches, whatever the seed of the run. Defaults to 0.
        cache: Folder for tokens and masks while the loop runs, on a disk of this machine. Defaults
            to None: the run's own folder.

    Raises:
        InputError: A number is out of range, the training masks show fewer than two classes; and
            see the parent and ``cached_tokens``.
    """

    prefix = 'segmentation'

    def __init__(self, *args, iterations: int = 40_000, batch_size: int = 16, lr: float = 1e-3,
                 weight_decay: float = 1e-4, seed: int = 0, cache: str | None = None, **kwargs
                 ) -> None:
        if iterations < 1 or batch_size < 1 or lr <= 0 or weight_decay < 0:
            raise InputError(f'test_cfg.iterations={iterations}, batch_size={batch_size}, lr={lr}, '
                             f'weight_decay={weight_decay}: all must be above 0, the last may be 0')
        super().__init__(*args, **kwargs)
        self.settings = dict(iterations=iterations, batch_size=batch_size, lr=lr,
                             weight_decay=weight_decay, seed=seed)
        self.cache = Path(cache or self.runner.work_dir)

    def encode(self, loader: DataLoader, progress: str) -> SegmentedTokens:
        """Return the patch tokens and masks of all images."""
        name = f'{self.runner.experiment_name}-{progress.replace(" ", "-")}'
        masks: Tensor | None = None
        pixels: list[Tensor] = []

        def look(rows: Tensor, samples: list) -> None:
            nonlocal masks
            found = torch.stack([torch.from_numpy(sample.gt_seg_map) for sample in samples])
            if masks is None:
                masks = shared_tensor(self.cache / f'{name}.masks',
                                      (len(loader.dataset), *found.shape[1:]), torch.uint8, 'masks')
            masks[rows] = found
            pixels.extend(torch.from_numpy(sample.label_pixels) for sample in samples)

        tokens = cached_tokens(unwrapped(self.runner), loader, self.cache / f'{name}.tokens',
                               progress, look)
        counts = gather_in_order(whole_order(loader), torch.stack(pixels), len(tokens))
        return SegmentedTokens(tokens, masks, counts.sum(dim=0)[:IGNORED])

    def measure(self, train: SegmentedTokens, test: SegmentedTokens) -> dict[str, float]:
        """Train the head, then return its measures."""
        shown = int((train.pixels > 0).sum())
        if shown < 2:
            raise InputError(f'the training masks show {shown} class(es), and two are needed: '
                             'write the classes as 0, 1, ... (255 is ignored)')
        # Including a class that only the test images show.
        classes = (self.dataloader.dataset.get_data_info(0)['num_classes']
                   or int((train.pixels + test.pixels).nonzero().max()) + 1)
        untrained = (train.pixels == 0) & (test.pixels > 0)
        if untrained.any():
            self.runner.logger.warning(
                f'{int(untrained.sum())} class(es) have test pixels and no training pixel, so '
                f'their IoU is 0: {", ".join(map(str, untrained.nonzero().flatten().tolist()))}')
        matrix = self._tested(self._trained(train, classes), test, classes)
        ious = class_ious(matrix)
        self.runner.logger.info('IoU of classes in per cent: ' + ', '.join(
            f'{label} {100 * iou:.1f}' for label, iou in enumerate(ious) if not iou.isnan()))
        constant = torch.zeros_like(matrix)
        constant[:, int(train.pixels.argmax())] = matrix.sum(dim=1)
        return {'miou': 100 * float(ious.nanmean()),
                'pixel_accuracy': 100 * float(matrix.diagonal().sum() / matrix.sum()),
                'constant_miou': 100 * float(class_ious(constant).nanmean())}

    def _trained(self, train: SegmentedTokens, classes: int) -> SegmentationHead:
        """Train on the main process; the others get its head."""
        grid = tuple(unwrapped(self.runner).backbone.patch_resolution)
        with waiting_for_all():
            if is_main_process():
                head = train_segmentation(
                    train.tokens, train.labels, classes, grid, **self.settings, device=self.device,
                    progress='training the head')
            else:
                head = SegmentationHead(train.tokens.shape[-1], classes, grid)
                head.to(self.device).eval()
        for tensor in head.state_dict().values():
            broadcast(tensor)
        return head

    @torch.no_grad()
    def _tested(self, head: SegmentationHead, test: SegmentedTokens, classes: int) -> Tensor:
        """Return the confusion matrix over all test images; each process takes its share."""
        rank, world_size = get_dist_info()
        matrix = torch.zeros(classes, classes, dtype=torch.long, device=self.device)
        for index in tqdm(range(rank, len(test.tokens), world_size), 'measuring', leave=False,
                          disable=None if is_main_process() else True):
            info = self.dataloader.dataset.get_data_info(index)
            mask = torch.from_numpy(read_mask(
                info['seg_map_path'], info['reduce_zero_label'], info['num_classes']))
            logits = head(test.tokens[index:index + 1].to(self.device).float())[0]  # (C, h, w)
            matrix += confusion(mask.to(self.device), upsampled_classes(logits, mask.shape),
                                classes)
        all_reduce(matrix)
        return matrix.cpu()
