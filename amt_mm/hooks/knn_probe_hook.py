"""KNNProbeHook: the k-NN accuracy of the encoder being trained, every so many epochs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import Dataset, Subset

from amt_mm.checkpoints import check_encoder
from amt_mm.datasets.train_and_test import check_train_and_test
from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import (
    LabelledFeatures,
    dataset_labels,
    labelled_features,
    loader_in_order,
)
from amt_mm.evaluation.dataset_knn import knn_accuracies
from amt_mm.evaluation.drawing import draw_evenly
from amt_mm.models.unwrapped import unwrapped, whole_model
from amt_mm.random_streams import kept_random_streams
from amt_mm.registry import DATASETS, HOOKS

_POOLINGS = ('cls', 'mean')


@HOOKS.register_module()
class KNNProbeHook(Hook):
    """Measure the encoder on a labelled subset while it is pre-trained.

    After every ``interval`` epochs, and at the end, frozen features of labelled whole
    images, [CLS] and the mean of the patch tokens, are classified by k-NN with
    temperature .07. The accuracies go to the log and, as ``knn/cls_top1_k20`` and so on
    with the time it took, to every backend of the runner's visualizer, at the step
    of the training losses.

    Training takes no notice: the probe draws from no random stream of training, keeps no
    gradient and gives every module its mode back. All processes share the images and
    the search, for with one at work the others would wait.

    A config adds it with a few lines, here with the data sets that it names for
    probing; ``configs/_base_/hooks/knn_probe.py`` has those for ImageNet::

        default_hooks = dict(knn_probe=dict(
            type='amt_mm.KNNProbeHook', interval=5,
            train=_base_.probe.train, test=_base_.probe.test))

    Args:
        train: Config of the data set of the voters: whole images with labels, in
            the normal form of their pipeline.
        test: Config of the data set that is classified.
        interval: Epochs (or iterations) from one probe to the next. Defaults to 10.
        begin: The first probe comes after this many; 0 also probes the weights that
            training starts from. Defaults to None: to ``interval``.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.
        ks: Numbers of voters. Defaults to 20 alone, DINO's best.
        max_train: At most this many voters, drawn evenly over the classes. Defaults
            to 10,000: with ``max_test``, 1 % of what an epoch of ImageNet shows.
            None takes all.
        max_test: The same of the images that are classified. Defaults to 5,000,
            with which one standard error of an accuracy of 50 % is .7 points.
        seed: Of the two draws, so that all runs are probed by the same images.
        batch_size: Images a forward pass and process. Defaults to the training batch
            size, which fits in memory for sure.
        num_workers: Loading processes. Defaults to the training loader's.
        encoder: ``'teacher'`` or ``'student'``, of models that have both. Defaults to
            None: the teacher where there is one, which DINO, iBOT and AttMask evaluate.

    Raises:
        InputError: Numbers out of range; at the start of training, a data set without
            class labels, a model without such an encoder, or a loop that does not count
            what the hook counts.
    """

    def __init__(self, train: dict, test: dict, interval: int = 10, begin: int | None = None,
                 by_epoch: bool = True, ks: Sequence[int] = (20, ),
                 max_train: int | None = 10000, max_test: int | None = 5000, seed: int = 0,
                 batch_size: int | None = None, num_workers: int | None = None,
                 encoder: str | None = None) -> None:
        check_encoder(encoder, 'KNNProbeHook.encoder')
        begin = interval if begin is None else begin
        if interval < 1 or begin < 0:
            raise InputError(f'KNNProbeHook: interval={interval}, begin={begin} is no calendar: '
                             'interval must be at least 1, begin at least 0')
        if not ks or min(ks) < 1:
            raise InputError(f'KNNProbeHook: ks={ks}: give at least one number, each 1 or more')
        for name, count in (('max_train', max_train), ('max_test', max_test)):
            if count is not None and count < 1:
                raise InputError(f'KNNProbeHook: {name}={count} must be at least 1, or None for '
                                 'all images')
        self.train = train
        self.test = test
        self.interval = interval
        self.begin = begin
        self.by_epoch = by_epoch
        self.ks = tuple(ks)
        self.max_train = max_train
        self.max_test = max_test
        self.seed = seed
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.encoder = encoder
        self._probed: int | None = None

    def is_due(self, done: int) -> bool:
        """Whether a probe belongs after ``done`` epochs (or iterations)."""
        return done >= self.begin and (done - self.begin) % self.interval == 0

    def before_train(self, runner: Runner) -> None:
        """Build the data sets; probe the start, if asked to."""
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise InputError('this training loop counts iterations: set by_epoch=False, and begin '
                             'and interval in iterations, in KNNProbeHook')
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
        """Probe, if it is due after this epoch."""
        if self.by_epoch and self.is_due(runner.epoch + 1):
            self.probe(runner, runner.epoch + 1, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Probe, if it is due after this iteration."""
        if not self.by_epoch and self.is_due(runner.iter + 1):
            self.probe(runner, runner.iter + 1, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        """Probe the end of training, wherever it came."""
        done = runner.epoch if self.by_epoch else runner.iter
        if done != self._probed:
            self.probe(runner, done, runner.iter)

    def probe(self, runner: Runner, done: int, step: int = 0) -> dict[str, float]:
        """Measure the encoder as it is, and report.

        Args:
            runner: The runner, in or around training.
            done: Epochs (or iterations) of training so far.
            step: Iterations so far.

        Returns:
            Per cent, and the seconds it took, by name.
        """
        start = time.perf_counter()
        device = next(runner.model.parameters()).device
        scalars = {}
        with kept_random_streams():
            train, test = (self._features(runner, part) for part in (self._train, self._test))
            for pooling in _POOLINGS:
                found = knn_accuracies(train.features[pooling], train.labels,
                                       test.features[pooling], test.labels, self.ks,
                                       device=device)
                scalars.update({f'knn/{pooling}_{name}': value for name, value in found.items()})
        self._probed = done
        scalars['knn/seconds'] = time.perf_counter() - start
        top1 = ', '.join(f'{name.removeprefix("knn/")} {value:.2f} %'
                         for name, value in scalars.items() if 'top1' in name)
        whose = f' of the {self._chosen(runner)}' if hasattr(unwrapped(runner), 'teacher') else ''
        runner.logger.info(
            f'k-NN{whose} after {done} {"epochs" if self.by_epoch else "iterations"}: {top1} '
            f'({len(train.labels)} voters, {len(test.labels)} test images, '
            f'{scalars["knn/seconds"]:.1f} s)')
        runner.visualizer.add_scalars(scalars, step=step)
        return scalars

    def _chosen(self, runner: Runner) -> str:
        default = 'teacher' if hasattr(unwrapped(runner), 'teacher') else 'student'
        return self.encoder or default

    def _features(self, runner: Runner, dataset: Dataset) -> LabelledFeatures:
        training = runner.train_dataloader
        loader = loader_in_order(
            dataset, self.batch_size or training.batch_size,
            training.num_workers if self.num_workers is None else self.num_workers,
            training.pin_memory)
        with whole_model(runner) as model, runner.optim_wrapper.optim_context(runner.model):
            return labelled_features(model, loader, _POOLINGS, 'k-NN probe', self._chosen(runner))

    def _subset(self, part: str, cfg: dict, count: int | None) -> Dataset:
        dataset = DATASETS.build(cfg)
        labels = dataset_labels(dataset)
        if labels is None:
            raise InputError(f'KNNProbeHook: `{part}` ({type(dataset).__name__}) has images '
                             'without class labels; give one whose images all have a class')
        if count is None or count >= len(labels):
            return dataset
        return Subset(dataset, draw_evenly(labels, count, [self.seed]).tolist())
