"""AttentiveTestLoop: accuracy of classifiers that pool the patch tokens by attention."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from torch import Tensor
from torch.utils.data import DataLoader

from amt_mm.checks import check_numbers
from amt_mm.datasets.train_and_test import files_of_images
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import LOOPS

from .accuracy import accuracy
from .attentive_heads import AttentiveHeads
from .attentive_probe import KINDS, Rate, accuracies, predictions, train_heads
from .checks import count_classes
from .dataset_features import dataset_labels
from .drawing import check_held_out, held_out
from .frozen_loop import FrozenTestLoop
from .kept import keep, keep_predictions, shown_rows
from .shared_work import shared_numbers
from .token_cache import LabelledTokens, labelled_tokens

# What held-out images select, for messages.
_SELECTED = 'the learning rate'


@LOOPS.register_module()
class AttentiveTestLoop(FrozenTestLoop):
    """Train attentive classifiers on the patch tokens of the frozen encoder, then test them.

    Images are encoded once, without augmentation. On four fifths of the training images one
    classifier is trained for each combination of ``lrs`` and ``weight_decays``; the remaining fifth
    of every class selects one, which is trained again on all training images. The test images only
    measure it. It reports for each kind ``attentive/<kind>_top1``, the accuracy on the held-out
    images ``<kind>_held_out``, and ``<kind>_lr`` and ``<kind>_weight_decay``, which were selected.

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.frozen_loop.FrozenTestLoop`.
        kinds: ``'ep'`` and ``'aim'``, see :mod:`~amt_mm.evaluation.attentive_heads`. Defaults to
            both.
        queries: Queries of ``'ep'``. Defaults to 32, as in the authors' benchmark.
        heads: Heads of ``'aim'``. Defaults to None: as many as the encoder has.
        lrs: Peak learning rates. The default spans 3e-4 to 1e-1.
        weight_decays: Weight decays. Defaults to none and .1.
        epochs: Passes over the tokens. Defaults to 30.
        batch_size: Images in a batch. Defaults to 256.
        seed: Seed of initial values and batches, whatever the seed of the run. Defaults to 0.
        cache: Folder for the patch tokens while the loop runs, on a disk of this machine. Defaults
            to None: the run's own folder.

    Raises:
        InputError: An unknown kind, a number that is out of range, no class with five training
            images; and see the parent, ``labelled_tokens`` and ``train_heads``.
    """

    prefix = 'attentive'

    def __init__(self, *args, kinds: Sequence[str] = tuple(KINDS), queries: int = 32,
                 heads: int | None = None,
                 lrs: Sequence[float] = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
                 weight_decays: Sequence[float] = (0.0, 0.1), epochs: int = 30,
                 batch_size: int = 256, seed: int = 0, cache: str | None = None, **kwargs) -> None:
        if not kinds or not set(kinds) <= set(KINDS):
            raise InputError(f'test_cfg.kinds={kinds!r}: give a list of {", ".join(KINDS)}')
        check_numbers('test_cfg.lrs', lrs)
        check_numbers('test_cfg.weight_decays', weight_decays)
        if not lrs or min(lrs) <= 0 or not weight_decays or min(weight_decays) < 0:
            raise InputError(f'test_cfg.lrs={lrs}, weight_decays={weight_decays}: give at least '
                             'one of each, rates above 0 and decays of 0 or more')
        if epochs < 1 or batch_size < 2:
            raise InputError(f'test_cfg.epochs={epochs}, batch_size={batch_size}: give at least 1 '
                             'epoch and 2 images, the fewest that batch norm works with')
        super().__init__(*args, **kwargs)
        self.kinds = tuple(kinds)
        self.queries = queries
        self.heads = heads or unwrapped(self.runner).backbone.arch_settings['num_heads']
        self.rates = [Rate(*both) for both in itertools.product(sorted(lrs), weight_decays)]
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed
        self.cache = Path(cache or self.runner.work_dir)
        self.files = files_of_images(self.train_dataloader.dataset)
        labels = dataset_labels(self.train_dataloader.dataset)
        if labels is not None:  # known before anything is encoded
            check_held_out(labels, self.files, _SELECTED)
        for kind in self.kinds:  # refuses queries that do not divide the width
            KINDS[kind](1, unwrapped(self.runner).backbone.embed_dims, self._queries(kind), 1)

    def encode(self, loader: DataLoader, progress: str) -> LabelledTokens:
        """Return the patch tokens and labels of all images."""
        name = f'{self.runner.experiment_name}-{progress.replace(" ", "-")}.tokens'
        return labelled_tokens(unwrapped(self.runner), loader, self.cache / name, progress)

    def measure(self, train: LabelledTokens, test: LabelledTokens) -> dict[str, float]:
        """Select the rate of each kind, then return its accuracy."""
        chosen = {kind: self.choose(kind, train) for kind in self.kinds}
        classes = count_classes(train.labels, test.labels)

        def tested(kinds: Sequence[str]) -> list[float]:
            return [self._test(kind, self._train(kind, train, torch.arange(len(train.labels)),
                                                 [chosen[kind][0]], classes), test)
                    for kind in kinds]

        result = {}
        for kind, top1 in zip(self.kinds, shared_numbers(tested, self.kinds, self.device).tolist(),
                              strict=True):
            rate, reached = chosen[kind]
            result.update({f'{kind}_top1': top1, f'{kind}_held_out': reached,
                           f'{kind}_lr': rate.lr, f'{kind}_weight_decay': rate.weight_decay})
        return result

    def choose(self, kind: str, train: LabelledTokens) -> tuple[Rate, float]:
        """Return the best rate on held-out training images and its accuracy on them.

        Of equally good ones it is the lowest learning rate.
        """
        check_held_out(train.labels, self.files, _SELECTED)
        aside = held_out(train.labels, self.files)
        rest, aside = ((~aside).nonzero()[:, 0], aside.nonzero()[:, 0])
        classes = count_classes(train.labels)

        def reached(rates: Sequence[Rate]) -> list[float]:
            heads = self._train(kind, train, rest, rates, classes)
            return accuracies(heads, train.tokens, train.labels, aside)

        found = shared_numbers(reached, self.rates, self.device)
        if is_main_process():
            keep(self.runner, f'sweep_{kind}', held_out=found.tolist(),
                 lrs=[rate.lr for rate in self.rates],
                 weight_decays=[rate.weight_decay for rate in self.rates])
        rate = self.rates[int(found.argmax())]
        log = self.runner.logger
        log.info(f'{kind}: {found.max():.2f} % of {len(aside)} held-out training images at '
                 f'lr={rate.lr:g}, weight_decay={rate.weight_decay:g}, the best of '
                 f'{len(self.rates)} settings')
        ends = {self.rates[-1].lr: 'highest', self.rates[0].lr: 'lowest'}
        if rate.lr in ends and len(ends) == 2:
            log.warning(f'{kind}: the best learning rate is the {ends[rate.lr]} tried; extend '
                        'test_cfg.lrs')
        return rate, float(found.max())

    @torch.no_grad()
    def _test(self, kind: str, heads: AttentiveHeads, test: LabelledTokens) -> float:
        """Return the accuracy of the chosen classifier; keep its answers and where it looks."""
        found, = predictions(heads, test.tokens, torch.arange(len(test.labels)))
        keep_predictions(self.runner, f'{self.prefix}/{kind}_top1', found, test.labels, test.names)
        rows = shown_rows(self.dataloader.dataset)
        maps = heads.attention(test.tokens[rows].to(self.device).float())[:, 0]  # (r, M, N)
        keep(self.runner, f'queries_{kind}', rows=rows, maps=maps.cpu(),
             grid=list(unwrapped(self.runner).backbone.patch_resolution))
        return accuracy(found, test.labels)

    def _train(self, kind: str, train: LabelledTokens, images: Tensor, rates: Sequence[Rate],
               classes: int) -> AttentiveHeads:
        return train_heads(
            kind, train.tokens, train.labels, images, rates, classes, self._queries(kind),
            self.epochs, self.batch_size, self.seed, self.device,
            f'{kind}, {len(rates)} at once' if is_main_process() else None)

    def _queries(self, kind: str) -> int:
        return self.queries if kind == 'ep' else self.heads
