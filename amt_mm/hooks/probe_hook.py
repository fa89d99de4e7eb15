"""Base class of hooks that measure the encoder during pre-training."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

from mmengine.runner import Runner
from torch.utils.data import Dataset

from amt_mm.checkpoints import check_encoder
from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import has_cls, loader_in_order
from amt_mm.evaluation.features import POOLINGS
from amt_mm.models.unwrapped import unwrapped, whole_model
from amt_mm.random_streams import kept_random_streams
from amt_mm.scheduled_hook import ScheduledHook

_T = TypeVar('_T')


class ProbeHook(ScheduledHook):
    """Measure features of whole images every few epochs and at the end.

    Results and time go to the log and to the runner's visualizer, at the step of the training
    losses. The probe does not affect training: it leaves random streams, gradients and module
    modes unchanged. All processes share the work.

    Args:
        interval: Epochs (or iterations) between probes. Defaults to 10.
        begin: Epochs (or iterations) before the first probe; 0 also probes the initial weights.
            Defaults to None: ``interval``.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.
        seed: Seed of all draws, so that all runs are probed on the same images.
        batch_size: Images per forward pass and process. Defaults to the training batch size, which
            is known to fit in memory.
        num_workers: Loading processes. Defaults to the training loader's.
        encoder: ``'teacher'`` or ``'student'``. Defaults to None: the teacher if there is one, as
            DINO, iBOT and AttMask evaluate it.

    Raises:
        InputError: A number is out of range, the model lacks the encoder, or the training loop
            counts iterations and the hook epochs.
    """

    # Name in the log, and of the time among the scalars.
    title: str
    prefix: str

    def __init__(self, interval: int = 10, begin: int | None = None, by_epoch: bool = True,
                 seed: int = 0, batch_size: int | None = None, num_workers: int | None = None,
                 encoder: str | None = None) -> None:
        check_encoder(encoder, f'{type(self).__name__}.encoder')
        super().__init__(interval if begin is None else begin, interval, by_epoch=by_epoch)
        self.seed = seed
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.encoder = encoder
        self._probed: int | None = None
        # What the log said last, for the model card.
        self.line: str | None = None

    @abstractmethod
    def build(self) -> None:
        """Build the data sets. Random streams are restored afterwards."""

    @abstractmethod
    def measure(self, runner: Runner) -> dict[str, float]:
        """Return scalars by their names in the visualizer, the same in all processes."""

    @abstractmethod
    def describe(self, scalars: dict[str, float]) -> tuple[str, str]:
        """Return what the log says of the scalars, and of the images."""

    def before_train(self, runner: Runner) -> None:
        """Build the data sets; with ``begin=0``, probe the initial weights."""
        self.check_loop(runner)
        model, name = unwrapped(runner), type(self).__name__
        if self.encoder == 'teacher' and not hasattr(model, 'teacher'):
            raise InputError(f'{name}.encoder=teacher: {type(model).__name__} has no teacher; '
                             'leave encoder out')
        with kept_random_streams():
            self.build()
        if self.begin == 0 and runner.iter == 0:
            self.probe(runner, 0)

    def after_train_epoch(self, runner: Runner) -> None:
        """Probe if due after this epoch."""
        if self.by_epoch and self.is_due(runner.epoch + 1):
            self.probe(runner, runner.epoch + 1, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Probe if due after this iteration."""
        if not self.by_epoch and self.is_due(runner.iter + 1):
            self.probe(runner, runner.iter + 1, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        """Probe at the end, unless just done."""
        if self.steps_done(runner) != self._probed:
            self.probe(runner, self.steps_done(runner), runner.iter)

    def probe(self, runner: Runner, done: int, step: int = 0) -> dict[str, float]:
        """Measure the encoder and log the result.

        Args:
            runner: The runner.
            done: Finished epochs (or iterations).
            step: Finished iterations.

        Returns:
            What :meth:`measure` returns, and ``<prefix>/seconds``.
        """
        start = time.perf_counter()
        with kept_random_streams():
            scalars = self.measure(runner)
        self._probed = done
        found, images = self.describe(scalars)
        scalars[f'{self.prefix}/seconds'] = seconds = time.perf_counter() - start
        named = hasattr(unwrapped(runner), 'teacher')
        whose = f' of the {self._encoder_name(runner)}' if named else ''
        self.line = (f'{self.title}{whose} after {done} '
                     f'{"epochs" if self.by_epoch else "iterations"}: {found} ({images}')
        runner.logger.info(f'{self.line}, {seconds:.1f} s)')
        self.line += ')'
        runner.visualizer.add_scalars(scalars, step=step)
        return scalars

    def encode(self, runner: Runner, dataset: Dataset, function: Callable[..., _T],
               **kwargs) -> _T:
        """Encode a data set by ``labelled_features`` or ``image_features``.

        Args:
            runner: The runner.
            dataset: Whole images.
            function: One of the two, of :mod:`amt_mm.evaluation.dataset_features`.
            **kwargs: Further arguments of the function.
        """
        training = runner.train_dataloader
        loader = loader_in_order(
            dataset, self.batch_size or training.batch_size,
            training.num_workers if self.num_workers is None else self.num_workers,
            training.pin_memory)
        with whole_model(runner) as model, runner.optim_wrapper.optim_context(runner.model):
            return function(model, loader, tuple(POOLINGS) if has_cls(model) else ('mean', ),
                            f'{self.title} probe',
                            self._encoder_name(runner), **kwargs)

    def _encoder_name(self, runner: Runner) -> str:
        default = 'teacher' if hasattr(unwrapped(runner), 'teacher') else 'student'
        return self.encoder or default
