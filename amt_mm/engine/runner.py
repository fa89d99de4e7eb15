"""OverlayRunner: MMEngine's runner with overlays and the hooks and loops of amt_mm."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, LogProcessor, Runner
from torch import nn

from amt_mm.checkpoints.newest import check_checkpoint, newest_whole
from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.checkpoints.seal import seal
from amt_mm.config.check_settings import check_settings
from amt_mm.config.default_hooks import with_default_hooks
from amt_mm.config.overlay import apply_overlay
from amt_mm.config.own_imagenet import use_own_imagenet
from amt_mm.datasets.repeated import crops_per_sample
from amt_mm.distributed import from_rank0, run_on_all_ranks
from amt_mm.errors import InputError
from amt_mm.hooks.sharded_state_hook import ShardedStateHook
from amt_mm.hooks.start_average_hook import StartAverageHook
from amt_mm.hooks.teacher_update_hook import check_teacher
from amt_mm.messages import lost_connection, warn
from amt_mm.models import Host
from amt_mm.models.sharded_model import ShardedModel
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import RUNNERS
from amt_mm.reliability.peers import exchange_timeout, silence_limit, watch_peers
from amt_mm.reliability.resume_position_hook import gather_open_gradients
from amt_mm.reliability.resumed_info import check_meta, resumed_hub
from amt_mm.reliability.run_lock import RunLock
from amt_mm.reliability.safe_checkpoint_hook import SafeCheckpointHook
from amt_mm.reliability.schedules import optim_wrappers
from amt_mm.reliability.stop_signal_hook import StopSignalHook
from amt_mm.reliability.watchdog import watchdog
from amt_mm.reliability.worker_failure import dead_worker, worker_failure

from .compiling import compile_host
from .log_processor import SpeedLogProcessor
from .parameter_groups import merge_groups
from .quiet_logging import quiet
from .sharded_optimizer import ShardedOptimizer
from .train_loops import resumable_loop, seeded_loader
from .training_set import replacing_loader

# Seconds until it is known which process is lost, when an exchange has failed.
_LOST = 15


@RUNNERS.register_module()
class OverlayRunner(Runner):
    """MMEngine's runner with overlays, hooks and loops of amt_mm, and whole checkpoints.

    Training loops of MMEngine are replaced by ours, and samples are seeded one by one, so
    that a resumed run equals an unbroken one: see :mod:`amt_mm.engine.train_loops`.

    Configs of amt_mm and overlay files set ``runner_type`` to this class, so every
    OpenMMLab tool that builds its runner from the config gets it.
    """

    _owns_folder = False

    @classmethod
    def from_cfg(cls, cfg: Config) -> OverlayRunner:
        """Build from a config; the one that is dumped to the work_dir is the merged one."""
        cfg = apply_overlay(cfg)
        # One that asks for guided masks must say where their maps come from.
        check_settings(cfg)
        use_own_imagenet(cfg)
        # None leaves it out, as with other hooks.
        cfg['default_hooks'] = {'guidance': dict(type='amt_mm.GuidanceHook'),
                                **(cfg.get('default_hooks') or {})}
        return super().from_cfg(cfg)

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger, which prints neither a line for each parameter nor dumps."""
        logger = super().build_logger(*args, **kwargs)
        quiet(logger)
        return logger

    def build_log_processor(self, log_processor: LogProcessor | dict) -> LogProcessor:
        """Build the log processor; MMEngine's is replaced by one that logs images per second."""
        if isinstance(log_processor, dict) and log_processor.get('type', 'LogProcessor') in (
                'LogProcessor', 'mmengine.LogProcessor'):
            log_processor = SpeedLogProcessor(
                **{name: value for name, value in log_processor.items()
                   if name not in ('type', '_scope_')})
        return super().build_log_processor(log_processor)

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None
                       ) -> None:
        """Register the config's hooks and those of :mod:`amt_mm.config.default_hooks`."""
        super().register_hooks(with_default_hooks(default_hooks, custom_hooks), custom_hooks)
        if isinstance(self.model, ShardedModel):
            for hook in self.hooks:
                if isinstance(hook, (EMAHook, StartAverageHook)):
                    raise InputError('model_wrapper_cfg.type=amt_mm.ShardedModel does not support '
                                     f'{type(hook).__name__}, which copies weights: leave one of '
                                     'them out')
            self.register_hook(ShardedStateHook())

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the processes; those of a tool exchange heartbeats from now on."""
        if not watchdog.at_work:
            super().setup_env(env_cfg)
            return
        timeout = exchange_timeout(env_cfg).total_seconds()
        super().setup_env({**env_cfg, 'dist_cfg': {**env_cfg.get('dist_cfg', {}),
                                                   'timeout': timeout}})
        if self.world_size > 1:
            watch_peers(silence_limit(env_cfg))

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build a resumable loop for MMEngine's; seed samples, replace unreadable images."""
        if isinstance(loop, dict):
            self._train_dataloader = replacing_loader(self, seeded_loader(self._train_dataloader))
            loop = resumable_loop(loop)
        return super().build_train_loop(loop)

    def train(self) -> nn.Module:
        """Train, as the only run in its work folder.

        After a failure, the previous signal handlers are restored.

        Raises:
            InputError: Among others, another run has locked the folder, a loading worker died or
                hangs, the message names it, or no hook updates the model's teacher.
        """
        check_teacher(unwrapped(self), self.hooks)
        try:
            with ExitStack() as stack:
                run_on_all_ranks(lambda: self._lock_folders(stack))
                self._owns_folder = True
                self.dump_config()
                stack.enter_context(watchdog.watching(dead_worker))
                return super().train()
        except Exception as error:
            # First, since it prevents torch from raising again in the code below.
            line = None if isinstance(error, InputError) else worker_failure(error)
            for hook in self.hooks:
                if isinstance(hook, StopSignalHook):
                    hook.restore()
            if lost_connection(error):
                watchdog.hurry(_LOST)
            if line is None:
                raise
            raise InputError(line) from error

    def _lock_folders(self, stack: ExitStack) -> None:
        """Lock the work folder and that of the checkpoints against other runs."""
        if is_main_process():
            for folder in dict.fromkeys((Path(self.work_dir), self._checkpoint_folder())):
                stack.enter_context(RunLock(folder, warn))

    def _checkpoint_folder(self) -> Path:
        hook = next((hook for hook in self.hooks if isinstance(hook, SafeCheckpointHook)), None)
        return Path(self.work_dir) if hook is None else hook.folder(self)

    def dump_config(self) -> None:
        """Write the config to the work folder; in training, only once the folder is locked."""
        if self._owns_folder or self._train_loop is None:
            if is_main_process() and self.cfg.filename is not None:
                # A link, perhaps, which is not to be followed.
                Path(self.work_dir, Path(self.cfg.filename).name).unlink(missing_ok=True)
            super().dump_config()

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> OptimWrapper:
        """Build the optimiser with one parameter group for each set of settings."""
        wrapper = super().build_optim_wrapper(optim_wrapper)
        for optimizer in (one.optimizer for one in optim_wrappers(wrapper)):
            if not isinstance(optimizer, ShardedOptimizer):  # whose groups are linked to others
                optimizer.param_groups[:] = merge_groups(optimizer.param_groups)
        return wrapper

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        """Scale the learning rate by the samples of an optimiser's step over those it is meant for.

        Unlike MMEngine's, it counts accumulated batches and repeated crops. If scaling is off and
        the two numbers differ by more than a factor of 2, it logs a warning. ``auto_scale_lr`` has
        ``base_batch_size``, and whether to ``enable`` scaling.

        Raises:
            InputError: Scaling is on, and the batch sampler has no ``batch_size``.
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
        crops = crops_per_sample(loader.dataset)
        repeats = f' x repeats {crops}' if crops > 1 else ''
        for wrapper in optim_wrappers(optim_wrapper):
            counts = wrapper._accumulative_counts
            samples = self.world_size * size * crops * counts
            ratio = samples / base
            step = (f'a step is of {samples} samples ({self.world_size} processes x batch_size '
                    f'{size}{repeats} x accumulative_counts {counts}), and the '
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
            InputError: ``ShardedModel`` with only one process.
        """
        kind = (model_wrapper_cfg or {}).get('type')
        if not self.distributed and kind in ('amt_mm.ShardedModel', ShardedModel):
            return ShardedModel(model)
        return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        """Initialise the model; a sharded one has been initialised before."""
        if not isinstance(self.model, ShardedModel):
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Load the requested file; resuming without a name takes the newest intact checkpoint.

        Raises:
            InputError: The checkpoint is damaged, or all in the work folder are.
        """
        if self._has_loaded:
            return
        if self._resume and self._load_from is None:
            folder = self._checkpoint_folder()
            found = from_rank0(lambda: newest_whole(self.work_dir, warn, folder))
            if found is None:
                warn(f'no checkpoint in {self.work_dir} to resume from: training starts from '
                     'the beginning')
            self._load_from, self._resume = found and str(found), found is not None
        elif self._load_from is not None and Path(self._load_from).is_file():
            from_rank0(lambda: check_checkpoint(self._load_from))
        super().load_or_resume()

    def resume(self, filename: str, *args, **kwargs) -> None:
        """Resume; see :mod:`.resumed_info` for what a checkpoint may restore besides weights.

        Raises:
            InputError: The checkpoint has weights only, or its records are not those of a run.
        """
        self._resume = True
        super().resume(filename, *args, **kwargs)

    def load_checkpoint(self, filename: str, *args, **kwargs) -> dict:
        """Load a checkpoint; see :meth:`resume`."""
        checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        if self._resume:
            check_meta(checkpoint.get('meta'), filename)
            checkpoint['message_hub'] = resumed_hub(checkpoint.get('message_hub'), filename, warn)
        return checkpoint

    def _maybe_compile(self, target: str) -> None:
        """Apply the config's ``compile``; for hosts, see :mod:`.compiling`."""
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
        """Save completely or not at all, see :mod:`amt_mm.checkpoints.safe_save`.

        All processes must call this. Storage other than local paths, and custom
        ``backend_args``, are left to MMEngine.

        Raises:
            InputError: Writing failed; raised in all processes.
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
                    seal(temporary)

        run_on_all_ranks(save)
