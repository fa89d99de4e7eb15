"""SafeCheckpointHook: at any time there is a complete checkpoint on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process, master_only
from mmengine.fileio import BaseStorageBackend, LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from amt_mm.checkpoints.safe_save import remove_leftovers, write_text
from amt_mm.registry import HOOKS
from amt_mm.saliency.map_file import replace_durably

# Entries of the message hub, which is saved in checkpoints: which checkpoints a resumed run has to
# delete, regular ones and those saved between (see `save_between`), and the latest of the second
# kind. Numbers instead of names, so that a file from elsewhere cannot choose what is deleted.
_STEPS, _ITERATIONS, _BETWEEN = 'outdated_steps', 'outdated_iters', 'between_iter'


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook in an order that survives a crash at any moment.

    First the new checkpoint is written completely (by our runner, see
    :func:`amt_mm.checkpoints.safe_save.atomic_file`), then ``last_checkpoint`` names it, then
    old ones are deleted; MMEngine deletes first. For a moment there is thus one checkpoint more
    than ``max_keep_ckpts``, or a second best one. Deletions that a crash prevented are made on
    resume. Our runner replaces ``CheckpointHook`` by this hook, with its settings.

    Maps of ``SaliencyUpdateHook`` are never deleted: in a run of 400 epochs with the paper's
    refresh schedule they take 5 GB for ImageNet-1K (10 of 502 MB).

    Args:
        *args, **kwargs: See MMEngine's :class:`~mmengine.hooks.CheckpointHook`. With
            ``backend_args`` or an ``out_dir`` that is not a local path, files are written as
            MMEngine writes them, and only the order above holds.

    Raises:
        InputError: A checkpoint could not be written; the message names what is left and where.
    """

    def before_train(self, runner: Runner) -> None:
        """Remove incomplete files of a killed run, and those that it did not get to delete."""
        self._saved: tuple[int, int] | None = None
        hub, info = runner.message_hub, runner.message_hub.runtime_info
        step = runner.epoch if self.by_epoch else runner.iter
        # A checkpoint must not cause deletion of newer ones.
        if 'keep_ckpt_ids' in info:
            hub.update_info('keep_ckpt_ids', [each for each in info['keep_ckpt_ids']
                                              if each <= step])
        super().before_train(runner)
        self._take_over_best(runner)
        if is_main_process() and os.path.isdir(self.out_dir):
            for file in remove_leftovers(self.out_dir):
                runner.logger.warning(f'{file}: half written by a killed run, removed')
        self._delete(self._names([each for each in info.get(_STEPS, ()) if each < step],
                                 [each for each in info.get(_ITERATIONS, ())
                                  if each < runner.iter]))

    def folder(self, runner: Runner) -> Path:
        """Folder of the checkpoints, also before training: ``out_dir`` as MMEngine reads it."""
        work_dir = Path(runner.work_dir)
        # MMEngine adds the name of the work folder, in before_train.
        return work_dir if self.out_dir in (None, runner.work_dir) else Path(
            self.out_dir, work_dir.name)

    def _take_over_best(self, runner: Runner) -> None:
        """Look for the best checkpoint so far in this run's folder, whatever its saved path."""
        def here(path: str | None) -> str | None:
            name = os.path.basename(path or '')
            if name.startswith('best_') and os.path.isfile(os.path.join(self.out_dir, name)):
                return self.file_backend.join_path(self.out_dir, name)
            if path:
                runner.logger.warning(f'the best checkpoint so far, {name!r}, is not in '
                                      f'{self.out_dir}: it will not be deleted for a better one')
            return None

        if self.save_best is not None and isinstance(self.file_backend, LocalBackend):
            self.best_ckpt_path = here(getattr(self, 'best_ckpt_path', None))
            for name, path in getattr(self, 'best_ckpt_path_dict', {}).items():
                self.best_ckpt_path_dict[name] = here(path)

    def save_between(self, runner: Runner, epoch: int, iteration: int, inside: bool) -> str:
        """Save between regular checkpoints, unless the last one has this very state.

        In a run that counts epochs, a state within an epoch is saved as ``iter_<n>.pth``; with
        ``max_keep_ckpts``, it is deleted when the next checkpoint is complete. All processes must
        call this.

        Args:
            runner: A runner between two steps.
            epoch: Complete epochs.
            iteration: Complete steps.
            inside: Whether the state is within an epoch.

        Returns:
            The file.
        """
        if self._saved != (epoch, iteration):
            meta = dict(epoch=epoch, iter=iteration)
            if self.by_epoch and inside:
                self._save_as(runner, self._names([], [iteration])[0], meta, [], between=True)
            else:
                self._save_checkpoint_with_step(runner, epoch if self.by_epoch else iteration, meta)
        return self.last_ckpt

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Override MMEngine's: save, name and delete, in this order."""
        outdated = []
        if self.max_keep_ckpts > 0 and step not in list(self.keep_ckpt_ids)[-1:]:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self._save_as(runner, self.filename_tmpl.format(step), meta, outdated)

    def _save_as(self, runner: Runner, name: str, meta: dict, steps: list[int],
                 between: bool = False) -> None:
        hub, state = runner.message_hub, (meta['epoch'], meta['iter'])
        outdated: list[str] = []
        if self.max_keep_ckpts > 0:
            before, now = hub.runtime_info.get(_BETWEEN), meta['iter'] if between else None
            iterations = [before] if before not in (None, now) else []
            outdated = self._names(steps, iterations)
            # Saved with the checkpoint, so that a resumed run deletes them after a crash.
            hub.update_info_dict({_STEPS: steps, _ITERATIONS: iterations, _BETWEEN: now})
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, **self.args)
        self._saved = state
        if is_main_process():
            # Without the folder, so that a copied folder does not lead back to this one.
            write_text(Path(runner.work_dir) / 'last_checkpoint', name)
        self._delete(outdated)

    def _names(self, steps: list[int], iterations: list[int]) -> list[str]:
        """Files of regular checkpoints, and of those saved between."""
        return [*(self.filename_tmpl.format(step) for step in steps),
                *(f'iter_{iteration}.pth' for iteration in iterations)]

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """As in MMEngine, but delete the former best after saving."""
        self.file_backend = postponing = _Postponing(self.file_backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = postponing.backend
        # If a resumed run repeats an epoch, the new one may have the former one's name.
        best = [getattr(self, 'best_ckpt_path', None),
                *getattr(self, 'best_ckpt_path_dict', {}).values()]
        self._delete(os.path.basename(path) for path in postponing.removed if path not in best)

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        """As in MMEngine, but in a temporary folder; the file is moved when it is complete."""
        path = Path(ckpt_path)
        if not path.is_file():  # elsewhere than on a local disk
            super()._publish_model(runner, ckpt_path)
            return
        with tempfile.TemporaryDirectory(dir=path.parent, prefix='.publishing-') as folder:
            aside = Path(folder, path.name)
            aside.symlink_to(path.absolute())
            super()._publish_model(runner, str(aside))
            aside.unlink()
            for file in Path(folder).iterdir():
                replace_durably(file, path.with_name(file.name))
                runner.logger.info(f'{file.name} is complete and now in {path.parent}')

    @master_only
    def _delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.file_backend.join_path(self.out_dir, name)
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # as sharded training saves
                self.file_backend.rmtree(path)


class _Postponing:
    """A storage backend that records removals instead of making them."""

    def __init__(self, backend: BaseStorageBackend) -> None:
        self.backend = backend
        self.removed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        """Record a file."""
        self.removed.append(path)

    def rmtree(self, path: str) -> None:
        """Record a folder."""
        self.removed.append(path)
