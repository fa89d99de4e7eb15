"""MapsFromFileHook: guide masks by maps from a file instead of the encoder's attention."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from amt_mm.datasets import base_dataset, dataset_fingerprint
from amt_mm.datasets.whole_image import sample_names
from amt_mm.distributed import run_on_all_ranks
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS
from amt_mm.saliency import SaliencyStore, SaliencyWriter

from .given_maps import GivenMaps
from .map_hook import MapHook
from .map_reference import map_record, maps_folder, open_maps, restore_maps

# Maps that processes read between two exchanges.
_ROWS = 1024


@HOOKS.register_module()
class MapsFromFileHook(MapHook):
    """Guide masks by saliency maps of anybody's making, such as masks of objects.

    At the start of training, the maps of all training images are checked and copied to
    ``<work_dir>/saliency``. From ``begin`` on, crops read them as they read those of
    :class:`~amt_mm.guidance.SaliencyUpdateHook`: each patch gets the mean of the part of the map
    that it shows. A resumed run continues with the copy; ``path`` is not read again.

    Args:
        path: An ``.npz`` file or a folder of grey PNG files, see
            :class:`~amt_mm.guidance.given_maps.GivenMaps` for their forms, ``names``, ``maps`` and
            ``below``.
        begin: Epochs (or iterations) of random masks at the host's ratio. Defaults to 0: unlike
            attention, given maps need no trained encoder.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.
        names: Array of the file that holds the names.
        maps: Array of the file that holds the maps.
        below: Folder that the names are relative to, itself relative to the data set's root.
            Defaults to '', the root.
        grid: Rows and columns of the copies. Defaults to None: those of the array ``maps``, or,
            where each map has its own, those of the encoder, as attention has.

    Raises:
        InputError: An invalid setting; maps that are missing, ambiguous, of a wrong shape or not
            finite; a model, generator or pipeline that cannot use maps; or, on resume, a copy that
            is missing, damaged or of another data set.
    """

    file_prefix = 'given_'

    def __init__(self, path: str | os.PathLike | None, begin: int = 0, by_epoch: bool = True,
                 names: str = 'names', maps: str = 'maps', below: str = '',
                 grid: Sequence[int] | None = None) -> None:
        super().__init__(begin, by_epoch=by_epoch)
        if not path:
            raise InputError('MapsFromFileHook has no path: set overlay.hooks.saliency.path to an '
                             '.npz file or a folder of maps')
        if grid is not None and (not isinstance(grid, Sequence) or len(grid) != 2 or any(
                type(side) is not int or side < 1 for side in grid)):
            raise InputError(f'grid={grid!r} of MapsFromFileHook must be (rows, columns)')
        self.path = path
        self._form = dict(names=names, maps=maps, below=below)
        self._grid = grid and tuple(grid)

    def before_train(self, runner: Runner) -> None:
        """Check and copy the maps; on resume, restore the copy."""
        self.check_guided(runner)
        dataset = runner.train_dataloader.dataset
        fingerprint = dataset_fingerprint(dataset)
        if runner.iter > 0 and self._reference:
            self._store = restore_maps(runner, self._reference, fingerprint)
            runner.logger.info(f'Restored maps from {self._store.path}; {self.path} is not read '
                               'again')
        else:
            self._store = self._copy(runner, base_dataset(dataset), fingerprint)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Use the maps from ``begin`` on."""
        preprocessor = unwrapped(runner).data_preprocessor
        preprocessor.store = self._store if self.is_due(self.steps_done(runner)) else None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save a reference to the copy, which a run resumed before ``begin`` needs, too."""
        checkpoint[self.checkpoint_key] = map_record(self._store)

    def _copy(self, runner: Runner, dataset: Dataset, fingerprint: str) -> SaliencyStore:
        """Check the maps and copy them; all processes read, one writes."""
        path = maps_folder(runner) / f'{self.file_prefix}{self.begin}.amtmap'
        samples = list(sample_names(dataset))
        given = run_on_all_ranks(lambda: GivenMaps(self.path, **self._form))
        run_on_all_ranks(lambda: given.check(samples) if is_main_process() else None)
        grid = self._grid or given.grid or tuple(unwrapped(runner).backbone.grid)
        writer = run_on_all_ranks(lambda: SaliencyWriter(
            path, len(samples), grid, fingerprint, self.begin) if is_main_process() else None)
        flat = 0
        with writer or nullcontext():  # removes the unfinished file after an error
            for start in tqdm(range(0, len(samples), _ROWS), 'maps', delay=2, leave=False,
                              disable=None if is_main_process() else True):
                shares = [range(start + rank, min(start + _ROWS, len(samples)), get_world_size())
                          for rank in range(get_world_size())]
                read = partial(_read, given, samples, shares[get_rank()], grid)
                for rows, maps in zip(shares, all_gather_object(run_on_all_ranks(read)),
                                      strict=True):
                    if writer:
                        writer.write(torch.tensor(rows), maps)
                        flat += int((maps.amax(dim=1) <= 0).sum())
            run_on_all_ranks(lambda: writer and writer.commit())
        runner.logger.info(
            f'{len(samples)} maps of {grid[0]}x{grid[1]} cells from {self.path} guide the masks '
            f'from {"epoch" if self.by_epoch else "iteration"} {self.begin + 1} on, {flat} flat '
            'ones (random masks)')
        return open_maps(path, fingerprint, verify=False)


def _read(given: GivenMaps, samples: Sequence[str], rows: range, grid: tuple[int, int]) -> Tensor:
    """Read the maps of some samples, ``(n, rows * columns)``."""
    maps = torch.empty(len(rows), grid[0] * grid[1])
    for place, row in enumerate(rows):
        maps[place] = given.read(samples[row], grid)
    return maps
