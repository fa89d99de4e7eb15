"""RanksAgreeHook: all processes of a run have the same config, data and weights."""

from __future__ import annotations

from pathlib import Path

import mmpretrain
import numpy as np
import torch
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from amt_mm.checkpoints.records import MAP_KEYS
from amt_mm.datasets import dataset_fingerprint
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS
from amt_mm.version import __version__

from .agreement import check_agreement, check_configs, check_shared, weights_checksum


@HOOKS.register_module()
class RanksAgreeHook(Hook):
    """Stop all processes at the start of training where they disagree.

    They must see the same work folder. Versions, config, seed, the loaded checkpoint (iteration,
    weights, names of maps) and the training set (its fingerprint: number, names and order of
    samples) are compared; and before the first step, when all hooks have loaded their parts, the
    weights. Distributed training itself does not notice such differences: it averages the
    gradients that it is given, and copies rank 0's weights to all processes when the model is
    wrapped, before checkpoints are loaded.

    The path of data (``data_root``) may differ between machines. Maps are compared whenever they
    are opened (:func:`amt_mm.guidance.map_reference.open_maps`). Of weights and checkpoints, the
    first 1024 values of each entry are compared; sharded ones are not. A single process compares
    nothing.

    Raises:
        InputError: In all processes: names the item, the processes and both values.
    """

    # Before hooks that load, refresh, or communicate between processes.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._checkpoint: dict[str, object] = {}
        self._begun = False

    def before_run(self, runner: Runner) -> None:
        """Check that all see the same work folder, before they look for a checkpoint there."""
        if get_world_size() > 1:
            check_shared(Path(runner.work_dir))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Record what identifies the checkpoint."""
        if get_world_size() == 1:
            return
        maps = {key: checkpoint[key] for key in MAP_KEYS if checkpoint.get(key)}
        self._checkpoint = {
            'the iteration of the checkpoint': (checkpoint.get('meta') or {}).get('iter'),
            'the weights of the checkpoint': weights_checksum(
                checkpoint.get('state_dict', checkpoint)),
            'the maps of the checkpoint': maps or None}

    def before_train(self, runner: Runner) -> None:
        """Compare versions, config, checkpoint and data."""
        if get_world_size() == 1:
            return
        check_agreement({'the version of amt_mm': __version__,
                         'the version of torch': torch.__version__,
                         'the version of mmpretrain': mmpretrain.__version__,
                         'the version of numpy': np.__version__})
        check_configs(runner.cfg.to_dict())
        check_agreement({
            'the seed': _common_seed(runner), 'the iteration to go on from': runner.iter,
            **dict.fromkeys(('the iteration of the checkpoint', 'the weights of the checkpoint',
                             'the maps of the checkpoint')), **self._checkpoint})
        dataset = runner.train_dataloader.dataset
        check_agreement({'the number of training samples': len(dataset)})
        prints = [dataset_fingerprint(part) if _has_names(part) else None
                  for part in _parts(dataset)]
        check_agreement({'the training set (fingerprint)': ' '.join(filter(None, prints))})
        if None in prints:
            runner.logger.warning('a part of the training set has no names of samples, so '
                                  'processes compared only their number')

    def before_train_epoch(self, runner: Runner) -> None:
        """Compare the initial weights, once."""
        whole = isinstance(runner.model, DistributedDataParallel) or not is_model_wrapper(
            runner.model)
        if get_world_size() > 1 and not self._begun and whole:
            check_agreement({'the weights to begin with (checksum)': weights_checksum(
                unwrapped(runner).state_dict())})
        self._begun = True


def _parts(dataset: Dataset) -> list[Dataset]:
    """Data sets without wrappers; several for a concatenation."""
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    if isinstance(dataset, ConcatDataset):
        return [part for child in dataset.datasets for part in _parts(child)]
    return [dataset]


def _has_names(dataset: Dataset) -> bool:
    """Whether samples can be identified by their images."""
    return isinstance(dataset, BaseDataset) and len(dataset) > 0 and not {
        'img', 'img_path'}.isdisjoint(dataset.get_data_info(0))


def _common_seed(runner: Runner) -> int:
    """The seed from which those of the processes are derived."""
    return runner.seed - (runner.rank if runner._randomness_cfg.get('diff_rank_seed') else 0)
