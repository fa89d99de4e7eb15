"""SaliencyUpdateHook: refresh the saliency maps of the training set every few epochs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from amt_mm.datasets import base_dataset, dataset_fingerprint
from amt_mm.distributed import run_on_all_ranks
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS
from amt_mm.saliency import SaliencySource, SaliencyStore, SaliencyWriter, entropy

from .map_hook import MapHook, pop_fallbacks
from .map_reference import maps_folder, open_maps, restore_maps
from .refresh import Refresh


@HOOKS.register_module()
class SaliencyUpdateHook(MapHook):
    """Refresh the saliency of all training images with the encoder being trained.

    Masks are random until ``begin``; then and every ``interval`` after it, the last-block [CLS]
    attention on all whole images, or another ``source``, becomes the new saliency (AMT, AAAI 2023,
    section "attention-driven masking"), which the next batch already uses. Each refresh writes a
    file to ``<work_dir>/saliency``. A checkpoint refers to its file, so a resumed run continues
    with the same maps. The refresh consumes no random numbers of training.

    Args:
        begin: Epochs (or iterations) before the first refresh. Defaults to 40, as in the paper for
            MAE (10 % of 400).
        interval: Epochs (or iterations) between refreshes. Defaults to 40, as in the paper.
        end: Epoch (or iteration) from which maps are no longer refreshed; the last ones stay in
            use. Defaults to None: the end of training.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.
        source: What becomes a map: ``'cls'``, the attention of [CLS] (paper); ``'all'``, that of
            all tokens; ``'feature'``, the deviation of features. For this and the next three see
            :class:`~amt_mm.saliency.SaliencySource`.
        layers: Blocks whose attention is used: ``'last'`` (paper), ``'mean'`` over all, or an
            index.
        normalize: ``'map'`` (paper) or ``'head'`` (authors' release).
        debias: Divide each map by the data set's mean map. Defaults to False. This and
            ``source='feature'`` each need one more pass over at most 1,024 evenly spaced samples.
        batch_size: Images per forward pass and process. Defaults to the training batch size:
            unless training recomputes activations, whole images without gradients need less memory
            than crops with gradients. Raise it if training's is small.
        num_workers: Loading processes. Defaults to the training loader's.
        dtype: Type of the stored maps, ``'float16'`` or, for half the size, ``'uint8'``.
        image_size: Height and width of the whole images, or one number for a square; multiples of
            the patch size. Smaller images are cheaper and give coarser maps; position embeddings
            are interpolated. Defaults to None: the size of the crops, as in the paper.
        parts: Refresh one ``parts``-th of the maps each time, in turn, after a complete first
            refresh. Defaults to 1: all, as in the paper.
        precision: ``'bf16'`` or ``'fp32'`` for the refresh only (the softmax is always fp32).
            Defaults to None: as in training.
        max_flat: Share of flat or non-finite maps above which a refresh stops the run. A few are
            harmless (their samples are masked at random); many mean that attention has collapsed
            or is not finite. Defaults to .5.

    Raises:
        InputError: An invalid schedule or option; a data preprocessor, pipeline, image size, source
            or precision that cannot be used; on resume, a map file that is missing, damaged or of
            another data set; at a refresh, more flat maps than ``max_flat`` allows.
    """

    def __init__(self, begin: int = 40, interval: int = 40, end: int | None = None,
                 by_epoch: bool = True, source: str = 'cls', layers: int | str = 'last',
                 normalize: str = 'map', debias: bool = False, batch_size: int | None = None,
                 num_workers: int | None = None, dtype: str = 'float16',
                 image_size: int | Sequence[int] | None = None, parts: int = 1,
                 precision: str | None = None, max_flat: float = 0.5) -> None:
        super().__init__(begin, interval, end, by_epoch)
        if type(parts) is not int or parts < 1:
            raise InputError(f'parts={parts!r} must be an integer, at least 1 (all maps at each '
                             'refresh)')
        if type(max_flat) not in (int, float) or not 0 <= max_flat <= 1:
            raise InputError(f'max_flat={max_flat!r} must be a share of the maps, from 0 to 1')
        self.parts = parts
        self.max_flat = max_flat
        self.settings = Refresh(SaliencySource(source, layers, normalize, debias), dtype,
                                image_size, precision, batch_size, num_workers)
        self._seconds = 0.0

    def rows(self, step: int, samples: int) -> range:
        """Return which of ``samples`` samples are refreshed at ``step``.

        This depends only on the step, so a resumed run continues the rotation. A part is every
        ``parts``-th sample, so that classes sorted by folder are spread evenly.
        """
        turn = (step - self.begin) // self.interval - 1
        if self.parts == 1 or turn < 0 or not self.is_due(step):
            return range(samples)
        return range(turn % self.parts, samples, self.parts)

    def file_name(self, step: int) -> str:
        """Name of the file of the maps made at a step."""
        return f'{"epoch" if self.by_epoch else "iter"}_{step}.amtmap'

    def check_settings(self, runner: Runner) -> None:
        """Raise InputError for what would fail at a refresh."""
        self.settings.check(unwrapped(runner), runner.train_dataloader)

    def before_train(self, runner: Runner) -> None:
        """Check the set-up; on resume, restore the checkpoint's maps."""
        preprocessor = self.check_guided(runner)
        dataset = runner.train_dataloader.dataset
        self.check_settings(runner)
        self._fingerprint = dataset_fingerprint(dataset)
        self._start = time.perf_counter()
        last = runner.max_epochs if self.by_epoch else runner.max_iters
        if self.begin >= last:
            runner.logger.warning(f'SaliencyUpdateHook begins at {self.begin}, training ends at '
                                  f'{last}: masks stay random')
        self._check_parts(runner, len(base_dataset(dataset)), last)
        if runner.iter == 0:
            return
        step = self.steps_done(runner)
        if self._reference:
            store = restore_maps(runner, self._reference, self._fingerprint)
            preprocessor.store = store
            runner.logger.info(f'Restored saliency of step {store.step} from {store.path}')
        elif step > self.begin and not self.is_due(step):
            runner.logger.warning('The checkpoint has no saliency maps although guidance has '
                                  'begun: they are computed now, with its weights')
            self.refresh(runner, step)

    def before_train_epoch(self, runner: Runner) -> None:
        """Refresh if due before this epoch."""
        store = unwrapped(runner).data_preprocessor.store
        # After resuming within this epoch, its maps are already in use.
        made = store is not None and store.step == runner.epoch
        if self.by_epoch and self.is_due(runner.epoch) and not made:
            self.refresh(runner, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Refresh if due before this iteration."""
        if not self.by_epoch and self.is_due(runner.iter):
            self.refresh(runner, runner.iter)

    def refresh(self, runner: Runner, step: int) -> None:
        """Compute, write and open new maps, and log their statistics."""
        start = time.perf_counter()
        preprocessor = unwrapped(runner).data_preprocessor
        view = self.settings.view(runner.train_dataloader.dataset)
        grid = self.settings.grid(self.settings.encoder(unwrapped(runner)))
        rows, base = self._rows_and_base(runner, step, len(view), grid)
        path = maps_folder(runner) / self.file_name(step)
        # One process writes; if it fails, all stop.
        writer = run_on_all_ranks(lambda: SaliencyWriter(
            path, len(view), grid, self._fingerprint, step, self.settings.dtype, base, rows)
            if is_main_process() else None)
        evenness, flat = 0.0, 0
        with writer or nullcontext():  # removes the unfinished file after an error
            for sample_idx, maps in self.settings.maps(runner, view, rows):
                if writer:
                    writer.write(sample_idx, maps)
                    evenness += float(entropy(maps).sum())
                    flat += int((maps.amax(dim=1) <= 0).sum())
            run_on_all_ranks(lambda: writer and self._publish(writer, flat, len(rows)))
        preprocessor.store = open_maps(path, self._fingerprint, verify=False)
        fallbacks = pop_fallbacks(runner)
        if writer:
            self._report(runner, step, len(rows), time.perf_counter() - start,
                         evenness / len(rows), flat, fallbacks)

    def _publish(self, writer: SaliencyWriter, flat: int, renewed: int) -> None:
        if flat > self.max_flat * renewed:
            raise InputError(
                f'{flat} of {renewed} saliency maps are flat or not finite, more than '
                f'max_flat={self.max_flat} allows: attention has collapsed or the weights are not '
                'finite. The previous maps stay in use: resume from an earlier checkpoint, with a '
                'lower learning rate or in fp32')
        writer.commit()

    def _rows_and_base(self, runner: Runner, step: int, samples: int, grid: tuple[int, int]
                 ) -> tuple[range, SaliencyStore | None]:
        """Return the samples to refresh, and the store of the others' maps, None without others."""
        rows, store = self.rows(step, samples), unwrapped(runner).data_preprocessor.store
        if len(rows) == samples or store is None:
            return range(samples), None
        if store.grid != grid:
            runner.logger.warning(
                f'The previous maps have {store.grid[0]}x{store.grid[1]} cells, those of this '
                f'refresh {grid[0]}x{grid[1]}: all are refreshed')
            return range(samples), None
        return rows, store

    def _check_parts(self, runner: Runner, samples: int, last: int) -> None:
        if self.parts > samples:
            raise InputError(f'SaliencyUpdateHook(parts={self.parts}): the data set has only '
                             f'{samples} samples')
        stop = last if self.end is None else min(last, self.end)
        later = len(range(self.begin, stop, self.interval)) - 1
        if self.parts > 1 and later < self.parts:
            runner.logger.warning(
                f'SaliencyUpdateHook(parts={self.parts}): {max(later, 0)} refreshes follow the '
                f'first, so {self.parts - max(later, 0)} of {self.parts} parts are never refreshed')

    def _report(self, runner: Runner, step: int, images: int, seconds: float, evenness: float,
                flat: int, fallbacks: int) -> None:
        self._seconds += seconds
        share = self._seconds / max(time.perf_counter() - self._start, 1e-9)
        runner.logger.info(
            f'Saliency refreshed before {"epoch" if self.by_epoch else "iteration"} {step + 1}: '
            f'{images} images in {seconds:.1f} s ({share:.1%} of training so far), '
            f'mean entropy {evenness:.3f} of uniform, {flat} flat or non-finite maps, '
            f'{fallbacks} crops masked at random since the last refresh')
        runner.visualizer.add_scalars(
            {'saliency/entropy': evenness, 'saliency/flat_maps': flat,
             'saliency/fallbacks': fallbacks, 'saliency/seconds': seconds}, step=runner.iter)
