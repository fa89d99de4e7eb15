"""OverlayRunner: MMEngine's runner with overlays, the hooks and the loops of the house."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, Runner
from torch import nn

from amt_mm.errors import InputError
from amt_mm.hooks.open_gradients import gather_open_gradients
from amt_mm.hooks.sharded_state_hook import ShardedStateHook
from amt_mm.hooks.stop_signal_hook import StopSignalHook
from amt_mm.models import Host
from amt_mm.models.sharded_model import ShardedModel
from amt_mm.registry import RUNNERS
from amt_mm.together import decided_by_first, together

from .check_settings import check_settings
from .compiling import compile_host
from .find_checkpoint import check_checkpoint, newest_whole
from .house_hooks import with_house_hooks
from .messages import warn
from .overlay import apply_overlay
from .safe_save import atomic_file
from .sharded_optimizer import ShardedOptimizer
from .train_loops import resumable_loop, seeded_loader
from .training_set import replacing_loader
from .worker_failure import worker_failure


@RUNNERS.register_module()
class OverlayRunner(Runner):
    """MMEngine's runner with overlays, the hooks and loops of the house, and whole checkpoints.

    Training loops of MMEngine are replaced by ours, and samples are seeded one by one, so
    that a resumed run equals an unbroken one: see :mod:`amt_mm.engine.train_loops`.

    Configs of amt_mm and overlay files set ``runner_type`` to this class, so every
    OpenMMLab tool that builds its runner from the config gets it.
    """

    @classmethod
    def from_cfg(cls, cfg: Config) -> OverlayRunner:
        """Build from a config; the one that is dumped to the work_dir is the merged one.

        A config that asks for guided masks must say where their maps come from.
        """
        cfg = apply_overlay(cfg)
        check_settings(cfg)
        # None leaves it out, as with other hooks.
        cfg['default_hooks'] = {'guidance': dict(type='amt_mm.GuidanceHook'),
                                **(cfg.get('default_hooks') or {})}
        return super().from_cfg(cfg)

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None
                       ) -> None:
        """Register the config's hooks and those of :mod:`amt_mm.engine.house_hooks`."""
        super().register_hooks(with_house_hooks(default_hooks, custom_hooks), custom_hooks)
        if isinstance(self.model, ShardedModel):
            self.register_hook(ShardedStateHook())

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build our loop where the config asks for MMEngine's; seed samples, replace bad images."""
        if isinstance(loop, dict):
            self._train_dataloader = replacing_loader(self, seeded_loader(self._train_dataloader))
            loop = resumable_loop(loop)
        return super().build_train_loop(loop)

    def train(self) -> nn.Module:
        """Train; a failure leaves the process listening to signals as it did before.

        Raises:
            InputError: Among others, a loading worker died or hangs; it is named.
        """
        try:
            return super().train()
        except Exception as error:
            for hook in self.hooks:
                if isinstance(hook, StopSignalHook):
                    hook.restore()
            line = None if isinstance(error, InputError) else worker_failure(error)
            if line is None:
                raise
            raise InputError(line) from error

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        """Scale the learning rate by the samples of an optimiser's step over those it is meant for.

        Unlike MMEngine's, it counts the batches whose gradients are accumulated. Where
        nothing is scaled and the two differ by more than a factor of 2, it says so.

        Args:
            optim_wrapper: Just built.
            auto_scale_lr: ``base_batch_size``, and whether to ``enable`` scaling.

        Raises:
            InputError: It shall be scaled, and the batch sampler does not say its
                ``batch_size``.
        """
        base = (auto_scale_lr or {}).get('base_batch_size')
        if base is None:
            return
        loader = self.train_dataloader
        size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
        if size is None:
            if auto_scale_lr.get('enable'):
                raise InputError('--auto-scale-lr: the batch sampler of train_dataloader does not '
                                 'say its batch_size: set optim_wrapper.optimizer.lr yourself')
            return
        for wrapper in (optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict)
                        else [optim_wrapper]):
            counts = wrapper._accumulative_counts
            ratio = self.world_size * size * counts / base
            step = (f'a step is of {self.world_size * size * counts} samples ({self.world_size} '
                    f'processes x batch_size {size} x accumulative_counts {counts}), and the '
                    f'learning rate is meant for {base} (auto_scale_lr.base_batch_size)')
            if auto_scale_lr.get('enable'):
                self.logger.info(f'{step}: it is multiplied by {ratio:g}')
                for group in wrapper.param_groups:
                    group['lr'] *= ratio
            elif not 1 / 2 <= ratio <= 2:
                self.logger.warning(f'{step}: add --auto-scale-lr (auto_scale_lr.enable=True) to '
                                    f'multiply it by {ratio:g}')

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes.

        Raises:
            InputError: Weights shall be divided, and there is one process alone.
        """
        kind = (model_wrapper_cfg or {}).get('type')
        if not self.distributed and kind in ('amt_mm.ShardedModel', ShardedModel):
            return ShardedModel(model)
        return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        """Initialise a model that is whole; a divided one was, before."""
        if not isinstance(self.model, ShardedModel):
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Load what is asked for; a resumed run without a name takes the newest whole one.

        Raises:
            InputError: The checkpoint is damaged, or all of the work folder are.
        """
        if self._has_loaded:
            return
        if self._resume and self._load_from is None:
            found = decided_by_first(lambda: newest_whole(self.work_dir, warn))
            if found is None:
                warn(f'no checkpoint in {self.work_dir} to go on from: this run starts anew')
            self._load_from, self._resume = found and str(found), found is not None
        elif self._load_from is not None and Path(self._load_from).is_file():
            decided_by_first(lambda: check_checkpoint(self._load_from))
        super().load_or_resume()

    def _maybe_compile(self, target: str) -> None:
        """Apply the config's ``compile``: to a host as :mod:`.compiling` says."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        options = self.cfg.get('compile')
        if isinstance(model, Host) and options not in (None, False):
            compile_host(model, options)
            self.logger.info('The network is compiled: the first step of each phase takes longer')
        else:
            super()._maybe_compile(target)

    def save_checkpoint(self, out_dir: str, filename: str, file_client_args: dict | None = None,
                        save_optimizer: bool = True, save_param_scheduler: bool = True,
                        meta: dict | None = None, by_epoch: bool = True,
                        backend_args: dict | None = None) -> None:
        """Save so that the file is there whole or not at all, see :mod:`.safe_save`.

        All processes must call it. Other storage than local paths, and a ``backend_args``
        of one's own, is left to MMEngine.

        Raises:
            InputError: The system refused to write; in all processes.
        """
        self.open_gradients = gather_open_gradients(self)
        arguments = dict(file_client_args=file_client_args, save_optimizer=save_optimizer,
                         save_param_scheduler=save_param_scheduler, meta=meta,
                         by_epoch=by_epoch, backend_args=backend_args)
        optimizer = getattr(self.optim_wrapper, 'optimizer', None)
        if save_optimizer and isinstance(optimizer, ShardedOptimizer):
            optimizer.consolidate_state_dict()
        for hook in self.hooks:
            if isinstance(hook, ShardedStateHook):
                hook.collect(self, save_optimizer)
        if (file_client_args or backend_args
                or not isinstance(get_file_backend(out_dir), LocalBackend)):
            super().save_checkpoint(out_dir, filename, **arguments)
            return

        def save() -> None:
            if is_main_process():
                with atomic_file(Path(out_dir, filename)) as temporary:
                    super(OverlayRunner, self).save_checkpoint(
                        str(temporary.parent), temporary.name, **arguments)

        together(save)
