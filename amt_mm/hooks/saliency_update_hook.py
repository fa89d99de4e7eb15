"""SaliencyUpdateHook: renew every map of the training set, every so many epochs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.dist import all_gather, all_reduce, barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from amt_mm.datasets import dataset_fingerprint, whole_image_view
from amt_mm.errors import InputError
from amt_mm.models import AMTDataPreprocessor
from amt_mm.registry import HOOKS
from amt_mm.saliency import SaliencyWriter, cls_saliency, entropy

from .map_reference import maps_folder, open_maps, refer_to, take_up_maps
from .unwrapped import unwrapped

_CHECKPOINT_KEY = 'amt_saliency'


@HOOKS.register_module()
class SaliencyUpdateHook(Hook):
    """Let the encoder being trained look at every whole image, and keep what it attends to.

    Training masks at random until ``begin``; there, and every ``interval`` after
    it, the last-block [CLS] attention of all training images becomes the new
    saliency (AMT, AAAI 2023, section "attention-driven masking"). The very next
    batch is planned with it. Each refresh leaves a versioned file in
    ``<work_dir>/saliency``; a checkpoint names the one it was trained with, so a
    resumed run goes on with the same maps as an unbroken one. The refresh draws
    no random number that training would miss.

    Args:
        begin: First refresh, after this many epochs (or iterations). Defaults to
            40, the paper's for MAE (10 % of 400).
        interval: From one refresh to the next. Defaults to 40, the paper's.
        end: No refresh from here on; guidance goes on with the last maps.
            Defaults to None: to the end of training.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.
        normalize: ``'map'`` (paper) or ``'head'`` (authors' release), see
            :func:`amt_mm.saliency.cls_saliency`.
        batch_size: Images a forward pass and process. Defaults to the training
            batch size, which fits in memory for sure: no gradient is kept.
        num_workers: Loading processes. Defaults to the training loader's.
        dtype: Type of the stored maps, ``'float16'`` or, for half the size,
            ``'uint8'``.

    Raises:
        InputError: Impossible calendar; at the start of training, a data
            preprocessor or pipeline that guided masking cannot use; on resume,
            a map file that is gone, damaged, or of another data set.
    """

    # After EpochSeedHook, before whatever reads the plan.
    priority = 'NORMAL'

    def __init__(self, begin: int = 40, interval: int = 40, end: int | None = None,
                 by_epoch: bool = True, normalize: str = 'map', batch_size: int | None = None,
                 num_workers: int | None = None, dtype: str = 'float16') -> None:
        if begin < 0 or interval < 1 or (end is not None and end <= begin):
            raise InputError(f'begin={begin}, interval={interval}, end={end} is no calendar: begin '
                             'must be at least 0, interval at least 1, end after begin')
        if normalize not in ('map', 'head'):
            raise InputError(f"normalize={normalize!r} is unknown: use 'map' or 'head'")
        self.begin = begin
        self.interval = interval
        self.end = end
        self.by_epoch = by_epoch
        self.normalize = normalize
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.dtype = dtype
        self._reference: dict | None = None
        self._seconds = 0.0

    def is_due(self, step: int) -> bool:
        """Whether a refresh belongs before epoch (or iteration) ``step``, counted from 0."""
        return (step >= self.begin and (self.end is None or step < self.end)
                and (step - self.begin) % self.interval == 0)

    def before_train(self, runner: Runner) -> None:
        """Check what guidance needs; on resume, take up the checkpoint's maps."""
        preprocessor = unwrapped(runner).data_preprocessor
        if not isinstance(preprocessor, AMTDataPreprocessor):
            raise InputError(f'SaliencyUpdateHook needs data_preprocessor.type='
                             f"'amt_mm.AMTDataPreprocessor', not {type(preprocessor).__name__}")
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise InputError('this training loop counts iterations: set by_epoch=False, and begin '
                             'and interval in iterations, in SaliencyUpdateHook '
                             '(overlay.hooks.saliency)')
        dataset = runner.train_dataloader.dataset
        whole_image_view(dataset)  # tells at once if the pipeline cannot serve
        self._fingerprint = dataset_fingerprint(dataset)
        self._start = time.perf_counter()
        last = runner.max_epochs if self.by_epoch else runner.max_iters
        if self.begin >= last:
            runner.logger.warning(f'SaliencyUpdateHook begins at {self.begin}, training ends at '
                                  f'{last}: masks stay random')
        step = runner.epoch if self.by_epoch else runner.iter
        if step == 0:
            return
        if self._reference:
            store = take_up_maps(runner, self._reference, self._fingerprint)
            preprocessor.store = store
            runner.logger.info(f'Saliency of step {store.step} taken up from {store.path}')
        elif step > self.begin and not self.is_due(step):
            runner.logger.warning('The checkpoint names no saliency maps although guidance has '
                                  'begun: they are made now, with its weights')
            self.refresh(runner, step)

    def before_train_epoch(self, runner: Runner) -> None:
        """Refresh if this epoch begins with one."""
        if self.by_epoch and self.is_due(runner.epoch):
            self.refresh(runner, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Refresh if this iteration begins with one."""
        if not self.by_epoch and self.is_due(runner.iter):
            self.refresh(runner, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Say how many crops fell back to chance after the last refresh."""
        fallbacks = _take_fallbacks(runner)
        if fallbacks:
            runner.logger.warning(f'{fallbacks} crops were planned by chance since the last '
                                  'refresh: their maps are flat or not finite')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Name the maps in use."""
        store = unwrapped(runner).data_preprocessor.store
        checkpoint[_CHECKPOINT_KEY] = store and refer_to(store)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember which maps the checkpoint was trained with."""
        self._reference = checkpoint.get(_CHECKPOINT_KEY)

    def refresh(self, runner: Runner, step: int) -> None:
        """Make new maps of all training images and hand them to the preprocessor."""
        start = time.perf_counter()
        model = unwrapped(runner)
        view = whole_image_view(runner.train_dataloader.dataset)
        grid = model.backbone.grid
        path = maps_folder(runner) / f'{"epoch" if self.by_epoch else "iter"}_{step}.amtmap'
        writer = None
        if is_main_process():
            writer = SaliencyWriter(path, len(view), grid, self._fingerprint, step, self.dtype)
        evenness, flat = 0.0, 0
        for sample_idx, maps in self._maps(runner, model, view):
            if writer:
                writer.write(sample_idx, maps)
                evenness += float(entropy(maps).sum())
                flat += int((maps.amax(dim=1) <= 0).sum())
        if writer:
            writer.commit()
        barrier()
        model.data_preprocessor.store = open_maps(path, self._fingerprint, verify=False)
        fallbacks = _take_fallbacks(runner)
        if writer:
            self._report(runner, step, len(view), time.perf_counter() - start,
                         evenness / len(view), flat, fallbacks)

    def _maps(self, runner: Runner, model: nn.Module, view: torch.utils.data.Dataset
              ) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices ``(n,)`` and maps ``(n, N)`` of all processes, on the CPU, batch by batch."""
        training = runner.train_dataloader
        loader = DataLoader(
            view, batch_size=self.batch_size or training.batch_size,
            # Equal shares; the last ones are filled up with first samples again. Without a seed,
            # though it never shuffles, it would take one from the stream training goes on with.
            sampler=DefaultSampler(view, shuffle=False, seed=0, round_up=True),
            num_workers=training.num_workers if self.num_workers is None else self.num_workers,
            collate_fn=default_collate, pin_memory=training.pin_memory,
            # Else the loader would draw its base seed from the stream that training goes on with.
            generator=torch.Generator())
        seen = 0
        with tqdm(total=len(view), desc='saliency', unit='image', leave=False,
                  disable=None if is_main_process() else True) as bar:
            for batch in loader:
                with torch.no_grad(), runner.optim_wrapper.optim_context(runner.model):
                    inputs = model.data_preprocessor(batch)['inputs']
                    maps = cls_saliency(model.backbone, inputs, self.normalize)
                index = torch.tensor([sample.sample_idx for sample in batch['data_samples']],
                                     device=maps.device)
                index, maps = torch.cat(all_gather(index)).cpu(), torch.cat(all_gather(maps)).cpu()
                # Drop the filling, so that each image counts once.
                fresh = min(len(index), len(view) - seen)
                index, maps = self._in_order(index, maps, fresh)
                seen += fresh
                bar.update(fresh)
                yield index, maps

    @staticmethod
    def _in_order(index: Tensor, maps: Tensor, fresh: int) -> tuple[Tensor, Tensor]:
        """The ``fresh`` samples that come last in the data set: fillings are its first ones."""
        order = index.argsort(descending=True)[:fresh]
        return index[order], maps[order]

    def _report(self, runner: Runner, step: int, images: int, seconds: float, evenness: float,
                flat: int, fallbacks: int) -> None:
        self._seconds += seconds
        share = self._seconds / max(time.perf_counter() - self._start, 1e-9)
        runner.logger.info(
            f'Saliency refreshed before {"epoch" if self.by_epoch else "iteration"} {step + 1}: '
            f'{images} images in {seconds:.1f} s ({share:.1%} of training so far), '
            f'mean entropy {evenness:.3f} of uniform, {flat} flat or non-finite maps, '
            f'{fallbacks} crops planned by chance since the last refresh')
        runner.visualizer.add_scalars(
            {'saliency/entropy': evenness, 'saliency/flat_maps': flat,
             'saliency/fallbacks': fallbacks, 'saliency/seconds': seconds}, step=runner.iter)


def _take_fallbacks(runner: Runner) -> int:
    """Number of crops planned by chance in all processes; counting starts anew."""
    preprocessor = unwrapped(runner).data_preprocessor
    total = preprocessor.fallbacks.to(preprocessor.device, copy=True)
    all_reduce(total)
    preprocessor.fallbacks = torch.zeros_like(total)
    return int(total)
