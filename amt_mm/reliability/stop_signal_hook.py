"""StopSignalHook: save and end when a scheduler sends a signal."""

from __future__ import annotations

import os
import signal
import threading

from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from amt_mm.errors import INTERRUPTED_STATUS, REQUEUE_STATUS, TrainingStopped
from amt_mm.registry import HOOKS

from .peers import exchange_timeout
from .safe_checkpoint_hook import SafeCheckpointHook
from .stop_agreement import StopAgreement
from .worker_signals import shield_forked

# SIGTERM: preemption, or the end of a job. SIGUSR1: what Slurm's --signal is asked for. SIGINT:
# Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
_STDERR = 2


@HOOKS.register_module()
class StopSignalHook(Hook):
    """On SIGTERM, SIGUSR1 or SIGINT, save after the step at hand and end, to be resumed.

    All processes stop at the same step: any one of them may have got the signal, and one
    flag is exchanged during each step, so it takes one or two steps. The checkpoint is an
    ordinary one, inside an epoch named ``iter_<n>.pth``, which ``--resume`` finds. Then
    :class:`amt_mm.errors.TrainingStopped` is raised, which ends the process with status
    75 (``REQUEUE_STATUS``), after SIGINT 130: a person has ended the run, and no scheduler
    shall start it again. A second SIGINT ends the process at once, without saving.

    With gradient accumulation, the step at hand ends with the optimiser's. A refresh or a
    validation is given up between two batches, and what was trained until then is saved;
    the resumed run refreshes then, while a validation is not made up for. A checkpoint
    that is being written, and a k-NN probe, are finished. A signal before training
    has begun ends the process as usual; other ones while it stops change nothing. A
    run that has made its last step ends as if nothing had been said.

    Loading processes outlive the signal, see :mod:`amt_mm.reliability.worker_signals`. After
    training, what signals did before is restored.

    Without a :class:`amt_mm.SafeCheckpointHook` nothing is saved, and the status is that
    of SIGTERM, 143, or of SIGINT.
    """

    # After CheckpointHook, so that what it saves at this step is not saved again.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._agreement: StopAgreement | None = None
        self._told: int | None = None
        self._before: dict = {}

    def before_train(self, runner: Runner) -> None:
        """Begin to listen."""
        self._agreement = StopAgreement(exchange_timeout(runner.cfg.get('env_cfg')))
        loop = runner.train_loop
        self._by_epoch = isinstance(loop, EpochBasedTrainLoop)
        self._inside = not self._by_epoch or runner.iter != runner.epoch * len(loop.dataloader)
        self._told, self._process = None, os.getpid()
        # Python hears signals in the main thread alone.
        if threading.current_thread() is threading.main_thread():
            # A run in the background of a shell ignores SIGINT: Ctrl-C is not for it.
            self._before = {
                number: signal.signal(number, self._note) for number in SIGNALS
                if number != signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN}
            shield_forked(True)

    def after_train(self, runner: Runner) -> None:
        """Listen no longer."""
        self._agreement.close()
        self._agreement = None
        self.restore()

    def restore(self) -> None:
        """Let signals do what they did before training."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        shield_forked(False)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Stop here, unless an epoch or training ends here."""
        self._inside = True
        if not _gradients_are_used(runner):
            return  # gradients of these batches are in no checkpoint
        stop = self._agreement.exchange(self._told is not None)
        ends = self._by_epoch and batch_idx + 1 == len(runner.train_dataloader)
        if stop and ends:
            self._told = self._told or 0  # heard of; it is dealt with in a moment
        elif stop and runner.iter + 1 < runner.max_iters:
            self._stop(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop between epochs, before anything else begins there."""
        self._inside = not self._by_epoch
        if not self._by_epoch or not _gradients_are_used(runner):
            return
        stop = self._agreement.exchange_now(self._told is not None)
        if stop and (runner.epoch + 1 < runner.max_epochs or runner.val_loop is not None):
            self._stop(runner, runner.epoch + 1, runner.iter)

    def before_val_epoch(self, runner: Runner) -> None:
        """Count for how many batches all processes are still there."""
        if self._agreement is not None:
            self._rounds = self._agreement.least(len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                       outputs: list | None = None) -> None:
        """Give up a validation within training."""
        if self._agreement is None or batch_idx >= self._rounds:
            return
        if self._agreement.exchange(self._told is not None):
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(runner)  # the trained weights back in their place
            self._stop(runner, runner.epoch, runner.iter)

    def between_batches(self, runner: Runner) -> None:
        """Give up a pass of another hook between two steps; all processes must call it alike."""
        if self._agreement is not None and self._agreement.exchange(self._told is not None):
            self._stop(runner, runner.epoch, runner.iter)

    def _note(self, number: int, _) -> None:
        # A forked process has this handler too, and nothing to stop.
        if os.getpid() != self._process:
            return
        if number == signal.SIGINT:
            # The next one ends the process even where Python would not come to hear it.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if is_main_process():
                # `print` may be what was interrupted, and cannot be entered twice.
                os.write(_STDERR, b'interrupted: saves after the step at hand and ends; once more '
                         b'ends it at once, without saving\n')
        if self._told is None or number == signal.SIGINT:
            self._told = number

    def _stop(self, runner: Runner, epoch: int, iteration: int) -> None:
        reason = signal.Signals(self._told).name if self._told else 'a signal to another process'
        hook = next((hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)), None)
        interrupted = self._told == signal.SIGINT
        if hook is None:
            stopped = TrainingStopped(
                f'stopped by {reason} after iteration {iteration}; nothing was saved, as the run '
                'has no SafeCheckpointHook',
                INTERRUPTED_STATUS if interrupted else 128 + signal.SIGTERM)
        else:
            path = hook.save_between(runner, epoch, iteration, self._inside)
            status = INTERRUPTED_STATUS if interrupted else REQUEUE_STATUS
            stopped = TrainingStopped(f'stopped by {reason} after iteration {iteration}, saved in '
                                      f'{path}; continue with --resume', status)
        # None may end before the one that saves has done so: torchrun would end that, too.
        self._agreement.close()
        runner.logger.info(stopped.line)
        runner.visualizer.close()
        raise stopped


def stop_point(runner: Runner) -> None:
    """Where a pass over images between two steps may be given up, if a signal asks for it.

    All processes must call it the same number of times.

    Raises:
        TrainingStopped: After saving.
    """
    for hook in runner.hooks:
        if isinstance(hook, StopSignalHook):
            hook.between_batches(runner)


def _gradients_are_used(runner: Runner) -> bool:
    """Whether the optimiser has made its step with all batches so far."""
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return all(each.should_update() for each in wrappers)
