"""TokenLossHook: guide masks by the losses that training computes anyway."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch
from mmengine.dist import all_gather
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from amt_mm.checkpoints.newest import maps_named
from amt_mm.datasets import base_dataset, dataset_fingerprint
from amt_mm.errors import InputError
from amt_mm.models import AMTDataPreprocessor, Host
from amt_mm.models.data_preprocessor import read_crops
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS
from amt_mm.saliency import LossMap

from .guided_masks import check_uses_weights
from .map_reference import maps_folder, refer_to, reference_in, take_up_maps
from .saliency_update_hook import SaliencyUpdateHook

_CHECKPOINT_KEY = 'amt_token_losses'


@HOOKS.register_module()
class TokenLossHook(Hook):
    """Keep a map of each sample's losses, token by token, and guide the masks by it.

    After HPM (Wang et al., "Hard Patches Mining for Masked Image Modeling", CVPR
    2023), with the reconstruction's own losses in place of predicted ones: no
    further forward pass and no further decoder. What is predicted badly is more
    likely masked, by whatever generator reads weights (AMT's, the annealed one).

    Losses are taken up from the first iteration on; masks follow them from
    ``begin``, and are random by the host's ratio before. Each process holds all
    maps and takes up the losses of all processes, so they are the same everywhere.
    Beside every checkpoint its maps are saved in ``<work_dir>/saliency``, and the
    checkpoint names them. Where ``CheckpointHook`` deletes checkpoints by its
    ``max_keep_ckpts``, maps that no checkpoint on the disk names are deleted when the
    next one is saved.

    Args:
        begin: Guidance begins after this many epochs (or iterations). Defaults to
            40, when AMT's begins.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.
        momentum: Share of the old value that a masked cell keeps; see
            :class:`~amt_mm.saliency.loss_map.LossMap`. Defaults to .9.

    Raises:
        InputError: ``begin`` below 0 or ``momentum`` out of range; at the start of
            training, a model, data preprocessor or generator that has no use for
            the maps, or a SaliencyUpdateHook beside this one; on resume, a map
            file that is gone, damaged, or of another data set.
    """

    def __init__(self, begin: int = 40, by_epoch: bool = True, momentum: float = 0.9) -> None:
        if type(begin) is not int or begin < 0:
            raise InputError(f'begin={begin!r} must be a whole number, at least 0')
        if type(by_epoch) is not bool:
            raise InputError(f'by_epoch={by_epoch!r} must be True or False')
        if type(momentum) not in (int, float) or not 0 <= momentum < 1:
            raise InputError(f'momentum={momentum!r} must be a number, at least 0 and less than 1')
        self.begin = begin
        self.by_epoch = by_epoch
        self.momentum = momentum
        self._reference: dict | None = None
        self._packed: Tensor | None = None

    def before_train(self, runner: Runner) -> None:
        """Check what is needed, ask the model for its losses; on resume, take up the maps."""
        model = unwrapped(runner)
        self._check(runner, model)
        dataset = runner.train_dataloader.dataset
        self._fingerprint = dataset_fingerprint(dataset)
        self.maps = LossMap(len(base_dataset(dataset)), model.backbone.grid, self.momentum)
        if runner.iter > 0:
            if self._reference:
                store = take_up_maps(runner, self._reference, self._fingerprint)
                self.maps.load(store)
                runner.logger.info(f'Maps of losses taken up from {store.path}')
            else:
                runner.logger.warning('The checkpoint names no maps of losses: they begin empty, '
                                      'and samples are masked at random until they are seen again')
        model.report_token_losses = True
        self._handle = model.register_forward_hook(self._note, with_kwargs=True)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Let the maps guide, once guidance has begun."""
        if (runner.epoch if self.by_epoch else runner.iter) >= self.begin:
            unwrapped(runner).data_preprocessor.store = self.maps

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Take up this iteration's losses, of all processes."""
        # Not before: the backward pass is under way by now, and no device waits for this.
        packed = torch.cat(all_gather(self._packed)).cpu()
        sample_idx, boxes, rest = packed.split([1, 4, packed.shape[1] - 5], dim=1)
        ids, losses = rest.chunk(2, dim=1)
        self.maps.update(sample_idx[:, 0].long(), boxes.float(),
                         unwrapped(runner).backbone.grid, ids.long(), losses.float())

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was."""
        self._handle.remove()
        unwrapped(runner).report_token_losses = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the maps beside the checkpoint and name them in it."""
        path = maps_folder(runner) / f'losses_{self.maps.step}.amtmap'
        # Before this checkpoint: those on the disk are whole and outdated ones deleted by now.
        for old in self._outdated(runner, path.parent):
            old.unlink()
        checkpoint[_CHECKPOINT_KEY] = refer_to(self.maps.save(path, self._fingerprint))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember which maps the checkpoint was trained with."""
        self._reference = reference_in(checkpoint, _CHECKPOINT_KEY)

    def _note(self, model: Host, args: tuple, kwargs: dict, output: dict | tuple) -> None:
        """Keep what the model said of its tokens: (index, box, ids, losses) a sample."""
        if not isinstance(output, dict) or 'per_token' not in output:
            return
        losses, plan = output.pop('per_token'), kwargs['plan']
        sample_idx, boxes = read_crops(kwargs['data_samples'])
        crops = torch.cat([sample_idx[:, None].double(), boxes.double()], dim=1)
        # One array to gather; double precision holds every index.
        self._packed = torch.cat([crops.to(losses.device, non_blocking=True),
                                  plan.masked.double(), losses.double()], dim=1)

    @staticmethod
    def _outdated(runner: Runner, folder: Path) -> list[Path]:
        """Map files that no checkpoint names, where old checkpoints are deleted."""
        hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        keep = hook.max_keep_ckpts if hook else -1
        if keep <= 0 or not Path(hook.out_dir).is_dir():
            return []
        named = set()
        for checkpoint in Path(hook.out_dir).glob('*.pth'):
            # A damaged one cannot be resumed from anyway.
            with suppress(InputError):
                named |= {reference['file'] for reference in maps_named(checkpoint)}
        # By age, not by number: a run resumed from an older checkpoint counts from there.
        files = sorted(folder.glob('losses_*.amtmap'), key=lambda path: path.stat().st_mtime_ns)
        # The newest in any case: checkpoints that need trust do not tell what they name.
        return [file for file in files[:-keep] if file.name not in named]

    @staticmethod
    def _check(runner: Runner, model: nn.Module) -> None:
        preprocessor = model.data_preprocessor
        if not isinstance(model, Host) or not isinstance(preprocessor, AMTDataPreprocessor):
            raise InputError('TokenLossHook needs a host method of amt_mm with data_preprocessor.'
                             f"type='amt_mm.AMTDataPreprocessor', not {type(model).__name__} with "
                             f'{type(preprocessor).__name__}')
        check_uses_weights(preprocessor.mask_generator, 'TokenLossHook')
        if any(isinstance(hook, SaliencyUpdateHook) for hook in runner.hooks):
            raise InputError('TokenLossHook and SaliencyUpdateHook would both guide the masks: '
                             'leave one of them out')
