"""MMEngine's training loops, resumable within a pass over the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.registry import LOOPS as ALL_LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from amt_mm.datasets import SeededSamples
from amt_mm.datasets.seeded_sampler import (
    SeededSampler,
    SkippingBatchSampler,
    begin_pass,
    seeded_sampler,
)
from amt_mm.errors import InputError
from amt_mm.random_streams import LOADING, seed_iteration
from amt_mm.registry import LOOPS


def seeded_loader(loader: DataLoader | Mapping) -> DataLoader | dict:
    """Return a training loader's config with seeded samples and a sampler that can skip.

    Args:
        loader: The user's. A loader or batch sampler that is built already is returned unchanged,
            and :class:`amt_mm.StepSeedHook` warns of it.
    """
    if isinstance(loader, DataLoader):
        return loader
    batches = loader.get('batch_sampler')
    if batches is not None and not isinstance(batches, Mapping):
        return loader
    loader = dict(loader, dataset=dict(type=SeededSamples, dataset=loader['dataset']),
                  sampler=dict(type=SeededSampler, sampler=loader['sampler']))
    if batches is not None:
        loader['batch_sampler'] = dict(type=SkippingBatchSampler, batch_sampler=batches)
    return loader


def resumable_loop(loop: Mapping) -> dict:
    """Return a training loop's config with MMEngine's loops replaced by resumable ones.

    Args:
        loop: ``train_cfg``, with ``type`` or ``by_epoch``. Other types are unchanged.

    Raises:
        InputError: It has both ``type`` and ``by_epoch``.
    """
    loop = dict(loop)
    if 'type' in loop and 'by_epoch' in loop:
        raise InputError(f'train_cfg has both type={loop["type"]} and by_epoch={loop["by_epoch"]}: '
                         'leave one out')
    if 'by_epoch' in loop:
        loop['type'] = EpochBasedTrainLoop if loop.pop('by_epoch') else IterBasedTrainLoop
    kind = loop.get('type')
    kind = ALL_LOOPS.get(kind) if isinstance(kind, str) else kind
    ours = {EpochBasedTrainLoop: ResumableEpochLoop, IterBasedTrainLoop: ResumableIterLoop}
    if kind in ours:
        loop['type'] = ours[kind]
    return loop


class _Resumable:
    """Save and restore the position of a loop within the data."""

    runner: Runner
    dataloader: DataLoader

    def position(self, meta: Mapping) -> dict:
        """Return the position of a checkpoint within the order of the samples.

        Args:
            meta: ``epoch`` and ``iter`` of the checkpoint.

        Returns:
            ``number`` of the pass and ``batch`` within it, with the settings they depend on.
        """
        number, batch = self._place(meta)
        return {'number': number, 'batch': batch, **self._order()}

    def take_up(self, position: Mapping | None) -> None:
        """Continue from a checkpoint's position.

        Args:
            position: Of :meth:`position`; None for a checkpoint of MMEngine's runner, whose
                iteration gives the position if the settings are unchanged.

        Raises:
            InputError: The position is within a pass, and the batches or the number of processes
                have changed, so it has no meaning.
        """
        if position is None:
            self._go_to(*self._guess())
            return
        order = self._order()
        changed = [f'{what} was {position[what]} and is {order[what]}'
                   for what in ('batches', 'batch size', 'processes')
                   if position[what] != order[what]]
        if position['batch'] and changed and not getattr(self, 'fast_forward_on_resume', False):
            raise InputError(
                f'the checkpoint was saved after batch {position["batch"]} of a pass over the '
                f'data, and {", ".join(changed)}: resume it as it was, or from a checkpoint of '
                "an epoch's end")
        sampler = seeded_sampler(self.dataloader)
        if sampler is not None:
            # Without a configured seed, this run has drawn another one.
            sampler.seed = position['seed']
            if position['order seed'] is not None:
                sampler.sampler.seed = position['order seed']
        self._go_to(position['number'], position['batch'])

    def _no_batch(self) -> InputError:
        return InputError(f'train_dataloader gives no batch: {len(self.dataloader.dataset)} '
                          'samples fill none (batch_size, drop_last)')

    def _order(self) -> dict:
        loader, sampler = self.dataloader, seeded_sampler(self.dataloader)
        return {'batches': len(loader), 'batch size': loader.batch_size,
                'processes': get_world_size(), 'seed': getattr(sampler, 'seed', None),
                'order seed': getattr(getattr(sampler, 'sampler', None), 'seed', None)}

    def _from(self, number: int, batch: int) -> Iterator:
        """Yield the batches of a pass from ``batch`` on."""
        if seeded_sampler(self.dataloader) is not None:
            begin_pass(self.dataloader, number, batch)
        elif batch:
            raise InputError('a checkpoint from within a pass over the data cannot be resumed with '
                             'a train_dataloader that is already built: give its config, or '
                             "resume from a checkpoint of an epoch's end")
        batches = iter(self.dataloader)
        while True:
            # For random numbers drawn in this process while loading, such as by a collate function.
            seed_iteration(self.runner.seed, self.runner.iter, LOADING)
            try:
                yield next(batches)
            except StopIteration:
                return


@LOOPS.register_module()
class ResumableEpochLoop(_Resumable, EpochBasedTrainLoop):
    """MMEngine's loop over epochs; resumed within an epoch, it continues with the next batch.

    Samples seen earlier in the epoch are not loaded again. :class:`amt_mm.OverlayRunner`
    replaces MMEngine's loop by it.

    Args:
        *args: See :class:`mmengine.runner.EpochBasedTrainLoop`.
        **kwargs: See :class:`mmengine.runner.EpochBasedTrainLoop`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if len(self.dataloader) == 0:
            raise self._no_batch()
        # Number of batches of the epoch that are done, and the iteration at which it began.
        self._behind = self._begun = 0

    def run_epoch(self) -> None:
        """Train one epoch, or the rest of it."""
        behind, self._behind = self._behind, 0
        self._begun = self._iter - behind
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if behind < len(self.dataloader):
            for idx, data_batch in enumerate(self._from(self._epoch, behind), behind):
                self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._begun = self._iter

    def _place(self, meta: Mapping) -> tuple[int, int]:
        # A checkpoint from the end of an epoch has the number of the next one.
        same = meta['epoch'] == self._epoch
        return meta['epoch'], meta['iter'] - self._begun if same else 0

    def _guess(self) -> tuple[int, int]:
        batch = self._iter - self._epoch * len(self.dataloader)
        if 0 <= batch <= len(self.dataloader):
            return self._epoch, batch
        self.runner.logger.warning(
            'The checkpoint does not say where in its epoch it was saved, and an epoch has '
            f'another number of batches now: epoch {self._epoch + 1} starts again')
        return self._epoch, 0

    def _go_to(self, number: int, batch: int) -> None:
        self._behind = batch


@LOOPS.register_module()
class ResumableIterLoop(_Resumable, IterBasedTrainLoop):
    """MMEngine's loop over iterations; a resumed run continues with the next batch.

    A sampler that ends is restarted, in the order of its next epoch. :class:`amt_mm.OverlayRunner`
    replaces MMEngine's loop by it.

    Args:
        *args: See :class:`mmengine.runner.IterBasedTrainLoop`.
        **kwargs: The same. ``fast_forward_on_resume=True`` starts a new pass over the data on
            resume, with other crops.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.dataloader_iterator = _EndlessBatches(self)

    def run(self) -> Any:
        """Launch training."""
        if self.fast_forward_on_resume:
            # A number that no earlier pass has had.
            self.dataloader_iterator.go_to(self._iter, 0)
        return super().run()

    def _place(self, meta: Mapping) -> tuple[int, int]:
        batches = self.dataloader_iterator
        # Hooks may save before a step, whose batch has been fetched by then.
        untrained = meta['iter'] == batches.iteration
        return batches.number, batches.batch - untrained

    def _guess(self) -> tuple[int, int]:
        endless = hasattr(self.dataloader.sampler, 'skip')
        return (0, self._iter) if endless else divmod(self._iter, len(self.dataloader))

    def _go_to(self, number: int, batch: int) -> None:
        if not self.fast_forward_on_resume:
            self.dataloader_iterator.go_to(number, batch)


class _EndlessBatches:
    """Batches of successive passes over the data, for MMEngine's loop.

    Attributes:
        number: Number of the pass.
        batch: Number of its batches so far.
        iteration: That which the last one is for, None before the first.
    """

    def __init__(self, loop: ResumableIterLoop) -> None:
        self._loop = loop
        self.iteration: int | None = None
        self.go_to(0, 0)

    def go_to(self, number: int, batch: int) -> None:
        """Continue with pass ``number`` after ``batch`` of its batches."""
        self.number, self.batch, self._batches = number, batch, None

    def skip_iter(self, num_iters: int) -> None:
        """Do nothing, since the position is restored without skipping."""

    def __iter__(self) -> _EndlessBatches:
        return self

    def __next__(self) -> Any:
        while True:
            if self._batches is None:
                sampler = seeded_sampler(self._loop.dataloader)
                if sampler is not None:
                    sampler.set_epoch(self.number)
                self._batches = self._loop._from(self.number, self.batch)
            for data_batch in self._batches:
                self.batch += 1
                self.iteration = self._loop.iter
                return data_batch
            if self.batch == 0:
                raise self._loop._no_batch()
            self.go_to(self.number + 1, 0)
