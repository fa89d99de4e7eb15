"""NanGuardHook: no optimiser step from a loss or gradient that is not finite."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

import torch
from mmengine.dist import all_gather_object, all_reduce, barrier, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.utils import get_total_norm

from amt_mm.checkpoints.records import check_record, is_step
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS
from amt_mm.sharded_tensors import gather_tensor
from amt_mm.version import __version__

from .step_record import StepRecorder, samples_of, write_step

_CHECKPOINT_KEY = 'amt_nonfinite'
# fp16 begins at a scale of 2**16 and halves it at each overflow: by then it is 2**-24, far below
# what any finite gradient needs.
_MAX_OVERFLOWS = 40
# More names than these are counted.
_MAX_NAMES = 3


@HOOKS.register_module()
class NanGuardHook(Hook):
    """Check losses and gradients before each optimiser step; stop if one is not finite.

    A step is checked as a whole: all batches whose gradients are accumulated, in all
    processes, so that all stop together. The weights are then those from before the step.
    The inputs of the step are written to ``<work_dir>/nonfinite/iter_<n>_rank<r>.pt``: the
    batches (with pixels, so that a replay needs no data set), sample ids, plans, random
    states, weights and config. The processes whose loss is not finite write a file; if only
    the gradient is not finite, all do, since it is a sum over processes.
    ``tools/analysis_tools/replay_batch.py`` repeats the step.

    With dynamic loss scaling (fp16), gradients overflow regularly, and the scaler skips such
    steps itself. The hook ignores these, but not a loss that is not finite, nor more than 40
    overflows in a row.

    A skipped step changes neither weights nor optimiser state, because the optimiser finds no
    gradients. Buffers that the forward passes changed, such as running statistics and iBOT's
    centers, are restored. Schedules and iteration counters advance. The number of skipped
    steps is logged, recorded as ``nonfinite/skipped`` and saved in checkpoints. The first
    skipped step is written to a file, and so is the one that stops the run.

    Each step costs one pass over the gradients, a copy of the model's buffers and one
    synchronisation with the device. All batches of a step stay in memory until it ends, which
    matters only with accumulation.

    Args:
        skip: Number of such steps to skip before one stops the run, counted over the whole
            run, resumed or not. Defaults to 0.

    Raises:
        InputError: ``skip`` below 0; in training, a loss or gradient that is not finite.
    """

    # After all other hooks that draw random numbers, so that the recorded state is the step's.
    priority = 'VERY_LOW'

    def __init__(self, skip: int = 0) -> None:
        if skip < 0:
            raise InputError(f'NanGuardHook: skip={skip} must be at least 0')
        self.skip = skip
        self.skipped = 0
        self._loaded: dict = {}
        # None where nothing is checked.
        self._recorder: StepRecorder | None = None

    def before_train(self, runner: Runner) -> None:
        """Register the checks with optimiser and model."""
        wrapper, model = runner.optim_wrapper, unwrapped(runner)
        if isinstance(wrapper, OptimWrapperDict):
            runner.logger.warning('NanGuardHook supports one optimiser, but this run has '
                                  f'{len(wrapper)}: losses and gradients are not checked')
            return
        self._runner = runner
        # Only a resumed run continues the count; load_from leaves the iteration at 0.
        loaded = self._loaded if runner.iter > 0 else {}
        self.skipped = loaded.get('skipped', 0)
        # If the checkpoint is from within an accumulation cycle, with those of the cycle's begin.
        self._recorder = StepRecorder(model, loaded.get('buffers'))
        self._stepped, self._overflows = False, 0
        self._found: tuple[list[str], list[str]] | None = None
        # Listed once, since walking all modules takes as long as a block of a small network.
        self._parameters = list(model.named_parameters())
        self._handle = wrapper.optimizer.register_step_pre_hook(self._before_step)
        if wrapper.clip_grad_kwargs:
            # Checked before clipping, which makes all gradients NaN or hides an infinite one.
            self._clip, wrapper.clip_func = wrapper.clip_func, self._look_and_clip

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Record the batch and the random state of this iteration."""
        if self._recorder:
            share = float(runner.optim_wrapper.scale_loss(torch.ones(())))
            self._recorder.begin_batch(data_batch, round(1 / share))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Forget a step that is complete; check one that the loss scaler has skipped."""
        if not self._recorder:
            return
        complete = runner.optim_wrapper.should_update()
        if complete and self._stepped:
            self._overflows = 0
        elif complete and hasattr(runner.optim_wrapper, 'loss_scaler'):
            self._overflows += 1
            losses = _non_finite(self._recorder.losses())
            if _anywhere(losses) or self._overflows > _MAX_OVERFLOWS:
                self._fault(losses, [])
        self._recorder.end_batch(complete)
        if complete:
            self._stepped, self._found = False, None

    def after_train(self, runner: Runner) -> None:
        """Remove the checks from model and optimiser."""
        if self._recorder:
            self._recorder.remove()
            self._handle.remove()
            if runner.optim_wrapper.clip_grad_kwargs:
                runner.optim_wrapper.clip_func = self._clip
            self._recorder = None
        if self.skipped:
            runner.logger.warning(f'{self.skipped} steps were skipped, since their loss or '
                                  'gradient was not finite')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the count and, within an accumulation cycle, the buffers to restore."""
        checkpoint[_CHECKPOINT_KEY] = kept = {'skipped': self.skipped}
        if self._recorder and not runner.optim_wrapper.should_update():
            kept['buffers'] = self._recorder.buffers

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read what the resumed run has saved."""
        kept = checkpoint.get(_CHECKPOINT_KEY) or {'skipped': 0}
        kinds = {'skipped': is_step, 'buffers': lambda value: isinstance(value, dict)}
        self._loaded = check_record(kept, {name: kinds[name] for name in kinds
                                           if name == 'skipped' or name in kept},
                                    f'{_CHECKPOINT_KEY} of the checkpoint')

    def _look(self) -> tuple[list[str], list[str]]:
        """Names of the losses and of the gradients that are not finite."""
        losses = self._recorder.losses()
        gradients = [(name, parameter.grad) for name, parameter in self._parameters
                     if parameter.grad is not None]
        # Together first: where all are finite, one wait for the device is enough.
        if not _non_finite([*losses, *gradients]):
            return [], []
        return _non_finite(losses), _non_finite(gradients)

    @torch.compiler.disable
    def _look_and_clip(self, parameters: list[Tensor], **kwargs) -> Tensor | None:
        self._found = self._look()
        return self._clip(parameters, **kwargs)

    @torch.compiler.disable
    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        # The scaler calls a fused optimiser even if gradients overflow, and sets this.
        overflow = getattr(optimizer, 'found_inf', None)
        if overflow is not None and bool(overflow):
            return
        self._stepped = True
        losses, gradients = self._found or self._look()
        if _anywhere(losses or gradients):
            self._fault(losses, gradients)
            optimizer.zero_grad(set_to_none=True)

    def _fault(self, losses: list[str], gradients: list[str]) -> None:
        """Write the step to a file; raise, or return if the step may be skipped."""
        runner = self._runner
        # A single NaN in running statistics would spoil all later steps.
        self._recorder.restore_buffers()
        ranks = all_gather_object({'losses': losses, 'samples': sum(
            (samples_of(batch.data) for batch in self._recorder.batches), [])})
        faulty = [rank for rank, of in enumerate(ranks) if of['losses']]
        what = (f'iteration {runner.iter + 1}: '
                + _describe(ranks, faulty, gradients, self._overflows))
        # More overflows than the scaler can handle are not the fault of one batch: never skipped.
        if self._stepped and self.skipped < self.skip:
            self.skipped += 1
            where = self._write(what, faulty) if self.skipped == 1 else ''
            runner.logger.warning(f'{what}. The step is skipped ({self.skipped} of at most '
                                  f'{self.skip}). {where}')
            runner.visualizer.add_scalars({'nonfinite/skipped': self.skipped},
                                          step=runner.iter + 1)
            return
        before = (f', after {self.skipped} that were skipped' if self.skipped else
                  '; default_hooks.nan_guard.skip=NUMBER skips such steps')
        raise InputError(f'{what}. Training stopped before this step{before}. '
                         f'{self._write(what, faulty)}')

    def _write(self, what: str, faulty: list[int]) -> str:
        """Write the step in the processes concerned; return a sentence on how to repeat it."""
        runner, rank = self._runner, get_rank()
        writers = faulty or list(range(get_world_size()))
        folder = Path(runner.work_dir) / 'nonfinite'
        name = 'iter_{}_rank{}.pt'.format
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        # Gathering sharded weights is a collective operation.
        state, buffers = ({key: gather_tensor(value) for key, value in tensors.items()}
                          for tensors in (unwrapped(runner).state_dict(),
                                          dict(unwrapped(runner).named_buffers())))
        failure = None
        if rank in writers:
            about = {'what': what, 'iteration': runner.iter + 1, 'epoch': runner.epoch + 1,
                     'rank': rank, 'world_size': get_world_size(), 'config': runner.cfg.pretty_text,
                     'loss_scale': float(scaler.get_scale()) if scaler else 1.0,
                     'device': str(next(iter(state.values())).device),
                     'versions': {'amt_mm': __version__, 'torch': str(torch.__version__),
                                  'python': platform.python_version()}}
            try:
                write_step(folder / name(runner.iter + 1, rank), self._recorder.batches, state,
                           buffers, about)
            except InputError as error:
                failure = str(error)
        # A launcher ends all processes when one ends, so wait until all have written.
        barrier()
        if failure:
            return f'{failure}.'
        mine = rank if rank in writers else writers[0]
        return (f'To repeat it: python tools/analysis_tools/replay_batch.py '
                f'{folder / name(runner.iter + 1, mine)}')


def _non_finite(named: list[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors with a value that is not finite; if all are, one synchronisation."""
    # Each process checks its own part of a sharded tensor.
    parts = [value.to_local() if hasattr(value, 'to_local') else value for _, value in named]
    # Fast, but squares of large finite values overflow too: only a finite norm is conclusive.
    if not parts or get_total_norm(parts).isfinite():
        return []
    return [name for (name, _), part in zip(named, parts, strict=True)
            if not part.isfinite().all()]


def _anywhere(found: object) -> bool:
    """Whether any process has found one."""
    flag = torch.tensor(float(bool(found)))
    all_reduce(flag, 'max')
    return bool(flag)


def _describe(ranks: list[dict], faulty: list[int], gradients: list[str], overflows: int) -> str:
    if faulty:
        of = ranks[faulty[0]]
        where = f' on rank {_list(faulty)} of {len(ranks)}' if len(ranks) > 1 else ''
        text = f'{_list(of["losses"])} is not finite{where}'
    elif gradients:
        text = (f'the losses are finite, but the gradient of {len(gradients)} parameters is not '
                f'({_list(gradients)})')
    else:
        text = (f'the gradients have overflowed {overflows} times in a row, whatever the loss '
                'scale')
    samples = [sample['sample_idx'] for sample in ranks[(faulty or [0])[0]]['samples']
               if 'sample_idx' in sample]
    return text + (f' (samples {_list(samples)})' if samples else '')


def _list(names: Iterable) -> str:
    names = [str(name) for name in names]
    more = len(names) - _MAX_NAMES
    return ', '.join(names[:_MAX_NAMES]) + (f' and {more} more' if more > 0 else '')
