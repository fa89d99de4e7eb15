"""TokenLossHook: guide masks by the losses of training."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch
from mmengine.dist import all_gather
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from torch import Tensor

from amt_mm.checkpoints.newest import maps_named
from amt_mm.datasets import base_dataset, dataset_fingerprint
from amt_mm.errors import InputError
from amt_mm.models import Host
from amt_mm.models.data_preprocessor import read_crops
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS
from amt_mm.saliency import LossMap

from .map_hook import MapHook
from .map_reference import map_record, maps_folder, restore_maps


@HOOKS.register_module()
class TokenLossHook(MapHook):
    """Keep a map of each sample's losses per token, and guide the masks by it.

    After HPM (Wang et al., "Hard Patches Mining for Masked Image Modeling", CVPR 2023), but with
    the reconstruction losses themselves instead of predicted ones, so without another forward pass
    or decoder. Badly predicted tokens are more likely masked, by any generator that uses weights.

    Losses are recorded from the first iteration; masks follow them from ``begin`` and are random
    with the host's ratio before. Each process holds all maps and records the losses of all
    processes. The maps of a checkpoint are saved next to it in ``<work_dir>/saliency``. If
    ``CheckpointHook`` deletes old checkpoints (``max_keep_ckpts``), maps that no remaining
    checkpoint names are deleted at the next save.

    Args:
        begin: Epochs (or iterations) before guidance begins. Defaults to 40, as in AMT.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.
        momentum: Share of the old value that a masked cell keeps, see
            :class:`~amt_mm.saliency.loss_map.LossMap`. Defaults to .9.

    Raises:
        InputError: A setting is out of range; model, data preprocessor or generator cannot use the
            maps; there is another hook of maps; or, on resume, the map file is missing,
            damaged or of another data set.
    """

    checkpoint_key = 'amt_token_losses'

    def __init__(self, begin: int = 40, by_epoch: bool = True, momentum: float = 0.9) -> None:
        super().__init__(begin, by_epoch=by_epoch)
        if type(momentum) not in (int, float) or not 0 <= momentum < 1:
            raise InputError(f'momentum={momentum!r} must be a number, at least 0 and less than 1')
        self.momentum = momentum
        self._packed: Tensor | None = None

    def before_train(self, runner: Runner) -> None:
        """Check the set-up and ask the model for its losses; on resume, restore the maps."""
        model = unwrapped(runner)
        if not isinstance(model, Host):
            raise InputError('TokenLossHook needs a host method of amt_mm, not '
                             f'{type(model).__name__}')
        self.check_guided(runner)
        dataset = runner.train_dataloader.dataset
        self._fingerprint = dataset_fingerprint(dataset)
        self.maps = LossMap(len(base_dataset(dataset)), model.backbone.grid, self.momentum)
        if runner.iter > 0:
            if self._reference:
                store = restore_maps(runner, self._reference, self._fingerprint)
                self.maps.load(store)
                runner.logger.info(f'Restored loss maps from {store.path}')
            else:
                runner.logger.warning('The checkpoint has no loss maps: they start empty, and '
                                      'samples are masked at random until they are seen again')
        model.report_token_losses = True
        self._handle = model.register_forward_hook(self._record, with_kwargs=True)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Enable guidance from ``begin`` on."""
        if self.is_due(self.steps_done(runner)):
            unwrapped(runner).data_preprocessor.store = self.maps

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Update the maps with this iteration's losses of all processes."""
        # Here, while the device works on the backward pass, nothing waits for it.
        packed = torch.cat(all_gather(self._packed)).cpu()
        sample_idx, boxes, rest = packed.split([1, 4, packed.shape[1] - 5], dim=1)
        ids, losses = rest.chunk(2, dim=1)
        self.maps.update(sample_idx[:, 0].long(), boxes.float(),
                         unwrapped(runner).backbone.grid, ids.long(), losses.float())

    def after_train(self, runner: Runner) -> None:
        """Restore the model."""
        self._handle.remove()
        unwrapped(runner).report_token_losses = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the maps next to the checkpoint and refer to them in it."""
        path = maps_folder(runner) / f'losses_{self.maps.step}.amtmap'
        # Now all checkpoints on the disk are complete, and outdated ones already deleted.
        for old in self._outdated(runner, path.parent):
            old.unlink()
        checkpoint[self.checkpoint_key] = map_record(self.maps.save(path, self._fingerprint))

    def _record(self, model: Host, args: tuple, kwargs: dict, output: dict | tuple) -> None:
        """Store one row per sample: index, box, ids of masked tokens, their losses."""
        if not isinstance(output, dict) or 'per_token' not in output:
            return
        losses, plan = output.pop('per_token'), kwargs['plan']
        sample_idx, boxes = read_crops(kwargs['data_samples'])
        crops = torch.cat([sample_idx[:, None].double(), boxes.double()], dim=1)
        # One tensor to gather; float64 represents every index exactly.
        self._packed = torch.cat([crops.to(losses.device, non_blocking=True),
                                  plan.masked.double(), losses.double()], dim=1)

    @staticmethod
    def _outdated(runner: Runner, folder: Path) -> list[Path]:
        """Return map files that no checkpoint names, if checkpoints are deleted."""
        hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        keep = hook.max_keep_ckpts if hook else -1
        if keep <= 0 or not Path(hook.out_dir).is_dir():
            return []
        named = set()
        for checkpoint in Path(hook.out_dir).glob('*.pth'):
            # A damaged checkpoint cannot be resumed from anyway.
            with suppress(InputError):
                named |= {reference['file'] for reference in maps_named(checkpoint)}
        # By age, not by number: a run resumed from an older checkpoint counts on from there.
        files = sorted(folder.glob('losses_*.amtmap'), key=lambda path: path.stat().st_mtime_ns)
        # Always keep the newest: untrusted checkpoints cannot be read for what they name.
        return [file for file in files[:-keep] if file.name not in named]
