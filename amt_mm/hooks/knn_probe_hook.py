"""KNNProbeHook: measure k-NN accuracy during pre-training."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mmengine.runner import Runner
from torch.utils.data import Dataset, Subset

from amt_mm.checkpoints import check_encoder
from amt_mm.datasets.train_and_test import check_train_and_test
from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import (
    LabelledFeatures,
    dataset_labels,
    has_cls,
    labelled_features,
    loader_in_order,
)
from amt_mm.evaluation.dataset_knn import knn_accuracies
from amt_mm.evaluation.drawing import draw_evenly
from amt_mm.models.unwrapped import unwrapped, whole_model
from amt_mm.random_streams import kept_random_streams
from amt_mm.registry import DATASETS, HOOKS
from amt_mm.scheduled_hook import ScheduledHook

_POOLINGS = ('cls', 'mean')


@HOOKS.register_module()
class KNNProbeHook(ScheduledHook):
    """Measure the encoder's k-NN accuracy on a labelled subset every few epochs and at the end.

    Features of whole images, [CLS] and the mean of the patch tokens, are classified by k-NN with
    temperature .07. Accuracies and time go to the log and, as ``knn/cls_top1_k20`` and so on, to
    the runner's visualizer at the step of the training losses. The probe does not affect training:
    it leaves random streams, gradients and module modes unchanged. All processes share the work.

    Example (``configs/_base_/hooks/knn_probe.py`` has the data sets for ImageNet)::

        default_hooks = dict(knn_probe=dict(
            type='amt_mm.KNNProbeHook', interval=5,
            train=_base_.probe.train, test=_base_.probe.test))

    Args:
        train: Config of the data set of neighbours: whole images with labels.
        test: Config of the data set that is classified.
        interval: Epochs (or iterations) between probes. Defaults to 10.
        begin: Epochs (or iterations) before the first probe; 0 also probes the initial weights.
            Defaults to None: ``interval``.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.
        ks: Numbers of neighbours. Defaults to 20 only, DINO's best.
        max_train: Maximum number of training images, drawn evenly over classes; None takes all.
            Defaults to 10,000: with ``max_test``, about 1 % of an epoch of ImageNet.
        max_test: The same for the test images. Defaults to 5,000, with which the standard error of
            an accuracy of 50 % is .7 points.
        seed: Seed of both draws, so that all runs are probed on the same images.
        batch_size: Images per forward pass and process. Defaults to the training batch size, which
            is known to fit in memory.
        num_workers: Loading processes. Defaults to the training loader's.
        encoder: ``'teacher'`` or ``'student'``. Defaults to None: the teacher if there is one, as
            DINO, iBOT and AttMask evaluate it.

    Raises:
        InputError: A number is out of range, a data set has no class labels, the model lacks the
            encoder, or the training loop counts iterations and the hook epochs.
    """

    def __init__(self, train: dict, test: dict, interval: int = 10, begin: int | None = None,
                 by_epoch: bool = True, ks: Sequence[int] = (20, ),
                 max_train: int | None = 10000, max_test: int | None = 5000, seed: int = 0,
                 batch_size: int | None = None, num_workers: int | None = None,
                 encoder: str | None = None) -> None:
        check_encoder(encoder, 'KNNProbeHook.encoder')
        super().__init__(interval if begin is None else begin, interval, by_epoch=by_epoch)
        if not ks or min(ks) < 1:
            raise InputError(f'KNNProbeHook: ks={ks}: give at least one number, each 1 or more')
        for name, count in (('max_train', max_train), ('max_test', max_test)):
            if count is not None and count < 1:
                raise InputError(f'KNNProbeHook: {name}={count} must be at least 1, or None for '
                                 'all images')
        self.train = train
        self.test = test
        self.ks = tuple(ks)
        self.max_train = max_train
        self.max_test = max_test
        self.seed = seed
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.encoder = encoder
        self._probed: int | None = None

    def before_train(self, runner: Runner) -> None:
        """Build the data sets; with ``begin=0``, probe the initial weights."""
        self.check_loop(runner)
        model = unwrapped(runner)
        if self.encoder == 'teacher' and not hasattr(model, 'teacher'):
            raise InputError(f'KNNProbeHook.encoder=teacher: {type(model).__name__} has no '
                             'teacher; leave encoder out')
        with kept_random_streams():
            self._train = self._subset('train', self.train, self.max_train)
            self._test = self._subset('test', self.test, self.max_test)
        check_train_and_test(self._train, self._test, 'KNNProbeHook')
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
            Accuracies in per cent and ``knn/seconds``.
        """
        start = time.perf_counter()
        device = next(runner.model.parameters()).device
        scalars = {}
        with kept_random_streams():
            train, test = (self._features(runner, part) for part in (self._train, self._test))
            for pooling in train.features:
                found = knn_accuracies(train.features[pooling], train.labels,
                                       test.features[pooling], test.labels, self.ks,
                                       device=device)
                scalars.update({f'knn/{pooling}_{name}': value for name, value in found.items()})
        self._probed = done
        scalars['knn/seconds'] = time.perf_counter() - start
        top1 = ', '.join(f'{name.removeprefix("knn/")} {value:.2f} %'
                         for name, value in scalars.items() if 'top1' in name)
        named = hasattr(unwrapped(runner), 'teacher')
        whose = f' of the {self._encoder_name(runner)}' if named else ''
        runner.logger.info(
            f'k-NN{whose} after {done} {"epochs" if self.by_epoch else "iterations"}: {top1} '
            f'({len(train.labels)} training, {len(test.labels)} test images, '
            f'{scalars["knn/seconds"]:.1f} s)')
        runner.visualizer.add_scalars(scalars, step=step)
        return scalars

    def _encoder_name(self, runner: Runner) -> str:
        default = 'teacher' if hasattr(unwrapped(runner), 'teacher') else 'student'
        return self.encoder or default

    def _features(self, runner: Runner, dataset: Dataset) -> LabelledFeatures:
        training = runner.train_dataloader
        loader = loader_in_order(
            dataset, self.batch_size or training.batch_size,
            training.num_workers if self.num_workers is None else self.num_workers,
            training.pin_memory)
        with whole_model(runner) as model, runner.optim_wrapper.optim_context(runner.model):
            return labelled_features(model, loader, _POOLINGS if has_cls(model) else ('mean', ),
                                     'k-NN probe', self._encoder_name(runner))

    def _subset(self, part: str, cfg: dict, count: int | None) -> Dataset:
        dataset = DATASETS.build(cfg)
        labels = dataset_labels(dataset)
        if labels is None:
            raise InputError(f'KNNProbeHook: `{part}` ({type(dataset).__name__}) has images '
                             'without class labels; give one whose images all have a class')
        if count is None or count >= len(labels):
            return dataset
        return Subset(dataset, draw_evenly(labels, count, [self.seed]).tolist())
