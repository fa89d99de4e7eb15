"""A config's model, optimiser and batches, ready to take training steps."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmpretrain.models import MAE
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from torch import nn

from amt_mm.apis.comparison import resolved
from amt_mm.apis.judging import build_model
from amt_mm.engine.parameter_groups import merge_groups
from amt_mm.errors import InputError
from amt_mm.models import AMTDataPreprocessor, Host
from amt_mm.saliency import SaliencyStore
from lab.cost.cost import cost

from .batches import MAPS, make_maps, training_batches
from .clock import PHASES, CPUClock, CUDAClock


class Contestant:
    """Take the steps of a config's training, without its hooks.

    Guided configs are in their guided phase, with random maps in a real store. The optimiser is
    the config's own with a learning rate of 0: the same computation, and the same model in every
    round. ``bf16`` decides about mixed precision, not the config.

    Args:
        config: Config file, or ``PACKAGE::FOLDER/NAME.py``.
        batch_size: Images per step.
        images: Folder of images for the config's own training pipeline.
        scratch: Folder for the random maps; must outlive the contestant.
        read: Whether each step reads its images; else all steps use one batch.
        bf16: Autocast to bfloat16; fp32 otherwise.

    Attributes:
        name: Of the config, with its package if given by one.
        batch_size: Samples per step; more than images if a pipeline makes several crops of each.
        multiply_adds: Of one image's forward pass, by formula, or None if unknown.
        model: The model.
        optim_wrapper: MMEngine's wrapper of the optimiser.
        device: Where it runs.

    Raises:
        InputError: Not a config of pre-training.
    """

    def __init__(self, config: str, batch_size: int, images: Path, scratch: Path,
                 read: bool = False, bf16: bool = False) -> None:
        cfg = resolved(config)
        for section in ('model', 'train_dataloader', 'optim_wrapper', 'data_preprocessor'):
            if section not in cfg:
                raise InputError(f'{config} has no `{section}`: give configs of pre-training')
        package, _, path = config.rpartition('::')
        self.name = (f'{package}::' if package else '') + Path(path).stem
        self.model = build_model(cfg).train()
        if not isinstance(self.model, BaseSelfSupervisor):
            raise InputError(f'{config}: {cfg.model.type} is not a method of self-supervision; '
                             'give configs of pre-training')
        self.device = next(self.model.parameters()).device
        self.optim_wrapper = _optimiser(self.model, cfg.optim_wrapper, bf16)
        if 'runner_type' in cfg:  # as our runner does
            groups = self.optim_wrapper.optimizer.param_groups
            groups[:] = merge_groups(groups)
        has_formula = isinstance(self.model, Host) or type(self.model) is MAE
        self.multiply_adds = cost(cfg).formula if has_formula else None
        self._batches, num_samples = training_batches(cfg, batch_size, images)
        self._batch = None if read else next(self._batches)
        self._reads = read
        self.batch_size = batch_size if read else len(self._batch['data_samples'])
        self._guide(scratch, max(MAPS, num_samples))

    def _guide(self, scratch: Path, num_maps: int) -> None:
        """Enter the guided phase, if there is one."""
        preprocessor = self.model.data_preprocessor
        self._num_maps = num_maps
        if not isinstance(preprocessor, AMTDataPreprocessor):
            return
        generator = preprocessor.mask_generator
        generator.finish()
        if generator.needs_weights:
            grid = self.model.backbone.grid
            path = scratch / f'{grid[0]}x{grid[1]}-{num_maps}.amtmap'
            preprocessor.store = (SaliencyStore(path) if path.is_file()
                                  else make_maps(path, num_maps, grid))

    def step(self, clock: CPUClock | CUDAClock) -> list[float]:
        """Take a step.

        Returns:
            Seconds of each of :data:`PHASES`; NaN for the first if nothing is read.
        """
        self._scatter()
        clock.start()
        batch = next(self._batches) if self._reads else self._batch
        clock.mark()
        with self.optim_wrapper.optim_context(self.model):
            data = self.model.data_preprocessor(batch, training=True)
            clock.mark()
            losses = self.model(**data, mode='loss')
        loss, _ = self.model.parse_losses(losses)
        loss = self.optim_wrapper.scale_loss(loss)
        clock.mark()
        self.optim_wrapper.backward(loss)
        clock.mark()
        self.optim_wrapper.step()
        self.optim_wrapper.zero_grad()
        clock.mark()
        seconds = dict(zip(PHASES, clock.seconds(), strict=True))
        if self._reads:
            self.batch_size = len(batch['data_samples'])
        else:
            seconds['data'] = float('nan')
        return [seconds[phase] for phase in PHASES]

    def _scatter(self) -> None:
        """Make the one batch of all steps ask for other maps, which are not cached."""
        if not self._reads:
            ids = torch.randint(self._num_maps, (self.batch_size, )).tolist()
            for sample, index in zip(self._batch['data_samples'], ids, strict=True):
                sample.set_metainfo(dict(sample_idx=index))

    def state_bytes(self) -> int:
        """Bytes of parameters, buffers and the optimiser's moments."""
        moments = [value for state in self.optim_wrapper.optimizer.state.values()
                   for value in state.values() if isinstance(value, torch.Tensor)]
        tensors = [*self.model.parameters(), *self.model.buffers(), *moments]
        storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
                    for each in tensors if each.device.type == self.device.type}
        return sum(storages.values())


def _optimiser(model: nn.Module, config: dict, bf16: bool) -> OptimWrapper:
    config = {key: value for key, value in config.items()
              if key not in ('loss_scale', 'dtype', 'use_fsdp')}
    config['type'] = 'amt_mm.BF16OptimWrapper' if bf16 else 'OptimWrapper'
    wrapper = build_optim_wrapper(model, config)
    for group in wrapper.param_groups:
        group['lr'] = 0.0
    return wrapper
