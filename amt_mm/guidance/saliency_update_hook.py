"""SaliencyUpdateHook: renew every map of the training set, every so many epochs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from amt_mm.datasets import base_dataset, dataset_fingerprint
from amt_mm.distributed import run_on_all_ranks
from amt_mm.errors import InputError
from amt_mm.models import AMTDataPreprocessor
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS
from amt_mm.saliency import SaliencySource, SaliencyStore, SaliencyWriter, entropy

from .guided_masks import check_uses_weights
from .map_reference import maps_folder, open_maps, refer_to, reference_in, take_up_maps
from .refresh import Refresh

_CHECKPOINT_KEY = 'amt_saliency'


@HOOKS.register_module()
class SaliencyUpdateHook(Hook):
    """Let the encoder being trained look at every whole image, and keep what it attends to.

    Training masks at random until ``begin``; there, and every ``interval`` after
    it, the last-block [CLS] attention of all training images, or another ``source``,
    becomes the new saliency (AMT, AAAI 2023, section "attention-driven masking"). The very next
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
        source: What becomes a map: ``'cls'``, the attention of [CLS] (paper); ``'all'``, that
            received from all tokens; ``'feature'``, the deviation of features. This and the
            next three: see :class:`~amt_mm.saliency.SaliencySource`.
        layers: Blocks whose attention counts: ``'last'`` (paper), ``'mean'`` over all, or the
            index of one.
        normalize: ``'map'`` (paper) or ``'head'`` (authors' release).
        debias: Divide each map by the mean map of the data set. Defaults to False. This and
            ``source='feature'`` need means over the data set, each from one more pass over
            at most 1,024 samples, spread evenly.
        batch_size: Images a forward pass and process. Defaults to the training
            batch size: whole images without a gradient take less memory than
            crops with one, unless training recomputes its activations. Raise
            it where training's is small; nothing catches a lack of memory.
        num_workers: Loading processes. Defaults to the training loader's.
        dtype: Type of the stored maps, ``'float16'`` or, for half the size,
            ``'uint8'``.
        image_size: Height and width of the whole images, one number for a
            square, multiples of the patch. A smaller image costs less and gives
            a coarser map; position embeddings are interpolated. Defaults to
            None, the size of the crops, as in the paper.
        parts: Renew one ``parts``-th of the maps at each refresh, in turn;
            the others stay as they are. The first refresh is always whole.
            Defaults to 1: all, as in the paper.
        precision: ``'bf16'`` or ``'fp32'`` for the refresh alone (the softmax
            is fp32 anyway). Defaults to None: as training.
        max_flat: Share of flat or non-finite maps in a refresh past which the run
            stops, the maps before still in use. Single ones are harmless (their
            samples are masked by chance); most of them mean an encoder whose
            attention has collapsed or is not finite. Defaults to .5.

    Raises:
        InputError: Impossible calendar or option; at the start of training, a
            data preprocessor or pipeline that guided masking cannot use, or an
            image size, source or precision that the model cannot; on resume, a map
            file that is gone, damaged, or of another data set; at a refresh, more
            flat maps than ``max_flat`` allows.
    """

    # After StepSeedHook, before whatever reads the plan.
    priority = 'NORMAL'

    def __init__(self, begin: int = 40, interval: int = 40, end: int | None = None,
                 by_epoch: bool = True, source: str = 'cls', layers: int | str = 'last',
                 normalize: str = 'map', debias: bool = False, batch_size: int | None = None,
                 num_workers: int | None = None, dtype: str = 'float16',
                 image_size: int | Sequence[int] | None = None, parts: int = 1,
                 precision: str | None = None, max_flat: float = 0.5) -> None:
        whole = {type(step) for step in (begin, interval, end) if step is not None} == {int}
        if (not whole or None in (begin, interval) or begin < 0 or interval < 1
                or (end is not None and end <= begin)):
            raise InputError(f'begin={begin!r}, interval={interval!r}, end={end!r} is no calendar: '
                             'whole numbers, begin at least 0, interval at least 1, end after '
                             'begin')
        if type(by_epoch) is not bool:
            raise InputError(f'by_epoch={by_epoch!r} must be True or False')
        if type(parts) is not int or parts < 1:
            raise InputError(f'parts={parts!r}: give a whole number from 1 (all maps at each '
                             'refresh) on')
        if type(max_flat) not in (int, float) or not 0 <= max_flat <= 1:
            raise InputError(f'max_flat={max_flat!r} must be a share of the maps, from 0 to 1')
        self.begin = begin
        self.interval = interval
        self.end = end
        self.by_epoch = by_epoch
        self.parts = parts
        self.max_flat = max_flat
        self.settings = Refresh(SaliencySource(source, layers, normalize, debias), dtype,
                                image_size, precision, batch_size, num_workers)
        self._reference: dict | None = None
        self._seconds = 0.0

    def is_due(self, step: int) -> bool:
        """Whether a refresh belongs before epoch (or iteration) ``step``, counted from 0."""
        return (step >= self.begin and (self.end is None or step < self.end)
                and (step - self.begin) % self.interval == 0)

    def rows(self, step: int, samples: int) -> range:
        """The samples whose maps the calendar wants renewed at ``step``.

        A function of the step alone, so a resumed run goes on with the rotation. A part is
        every ``parts``-th sample, so that classes in the order of folders have equal shares.

        Args:
            step: Epoch or iteration.
            samples: Size of the data set.
        """
        turn = (step - self.begin) // self.interval - 1
        if self.parts == 1 or turn < 0 or not self.is_due(step):
            return range(samples)
        return range(turn % self.parts, samples, self.parts)

    def before_train(self, runner: Runner) -> None:
        """Check what guidance needs; on resume, take up the checkpoint's maps."""
        preprocessor = unwrapped(runner).data_preprocessor
        if not isinstance(preprocessor, AMTDataPreprocessor):
            raise InputError(f'SaliencyUpdateHook needs data_preprocessor.type='
                             f"'amt_mm.AMTDataPreprocessor', not {type(preprocessor).__name__}")
        check_uses_weights(preprocessor.mask_generator, 'SaliencyUpdateHook')
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise InputError('this training loop counts iterations: set by_epoch=False, and begin '
                             'and interval in iterations, in SaliencyUpdateHook '
                             '(overlay.hooks.saliency)')
        dataset = runner.train_dataloader.dataset
        self.settings.check(unwrapped(runner), runner.train_dataloader)
        self.settings.view(dataset)  # tells at once if the pipeline cannot serve
        self._fingerprint = dataset_fingerprint(dataset)
        self._start = time.perf_counter()
        last = runner.max_epochs if self.by_epoch else runner.max_iters
        if self.begin >= last:
            runner.logger.warning(f'SaliencyUpdateHook begins at {self.begin}, training ends at '
                                  f'{last}: masks stay random')
        self._check_parts(runner, len(base_dataset(dataset)), last)
        if runner.iter == 0:
            return
        step = runner.epoch if self.by_epoch else runner.iter
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
        store = unwrapped(runner).data_preprocessor.store
        # Resumed in the middle of this epoch: its maps are in use, made before it began.
        made = store is not None and store.step == runner.epoch
        if self.by_epoch and self.is_due(runner.epoch) and not made:
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
        self._reference = reference_in(checkpoint, _CHECKPOINT_KEY)

    def refresh(self, runner: Runner, step: int) -> None:
        """Make new maps of all training images and hand them to the preprocessor."""
        start = time.perf_counter()
        preprocessor = unwrapped(runner).data_preprocessor
        view = self.settings.view(runner.train_dataloader.dataset)
        grid = self.settings.grid(unwrapped(runner).backbone)
        rows, base = self._renewed(runner, step, len(view), grid)
        path = maps_folder(runner) / f'{"epoch" if self.by_epoch else "iter"}_{step}.amtmap'
        # One process writes; where it cannot, all stop.
        writer = run_on_all_ranks(lambda: SaliencyWriter(
            path, len(view), grid, self._fingerprint, step, self.settings.dtype, base, rows)
            if is_main_process() else None)
        evenness, flat = 0.0, 0
        with writer or nullcontext():  # a refresh that stops leaves no half file
            for sample_idx, maps in self.settings.maps(runner, view, rows):
                if writer:
                    writer.write(sample_idx, maps)
                    evenness += float(entropy(maps).sum())
                    flat += int((maps.amax(dim=1) <= 0).sum())
            run_on_all_ranks(lambda: writer and self._publish(writer, flat, len(rows)))
        preprocessor.store = open_maps(path, self._fingerprint, verify=False)
        fallbacks = _take_fallbacks(runner)
        if writer:
            self._report(runner, step, len(rows), time.perf_counter() - start,
                         evenness / len(rows), flat, fallbacks)

    def _publish(self, writer: SaliencyWriter, flat: int, renewed: int) -> None:
        if flat > self.max_flat * renewed:
            raise InputError(
                f'{flat} of {renewed} saliency maps are flat or not finite, more than '
                f'max_flat={self.max_flat} allows: attention has collapsed or the weights are not '
                'finite. The maps before stay in use: go on from an earlier checkpoint, with a '
                'lower learning rate or in fp32')
        writer.commit()

    def _renewed(self, runner: Runner, step: int, samples: int, grid: tuple[int, int]
                 ) -> tuple[range, SaliencyStore | None]:
        """The samples to renew, and the maps that the others keep, None if there are no others."""
        rows, store = self.rows(step, samples), unwrapped(runner).data_preprocessor.store
        if len(rows) == samples or store is None:
            return range(samples), None
        if store.grid != grid:
            runner.logger.warning(f'The maps so far have {store.grid[0]}x{store.grid[1]} cells, '
                                  f'those of this refresh {grid[0]}x{grid[1]}: all are renewed')
            return range(samples), None
        return rows, store

    def _check_parts(self, runner: Runner, samples: int, last: int) -> None:
        if self.parts > samples:
            raise InputError(f'SaliencyUpdateHook(parts={self.parts}): the data set has only '
                             f'{samples} samples to part')
        stop = last if self.end is None else min(last, self.end)
        later = len(range(self.begin, stop, self.interval)) - 1
        if self.parts > 1 and later < self.parts:
            runner.logger.warning(
                f'SaliencyUpdateHook(parts={self.parts}): {max(later, 0)} refreshes follow the '
                f'first, so {self.parts - max(later, 0)} of {self.parts} parts are never renewed')

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
