"""StopSignalHook: save and exit when a scheduler sends a signal."""

from __future__ import annotations

import os
import signal
import threading

from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from amt_mm.errors import INTERRUPTED_STATUS, REQUEUE_STATUS, TrainingStopped
from amt_mm.registry import HOOKS

from .peers import exchange_timeout
from .safe_checkpoint_hook import SafeCheckpointHook
from .schedules import optim_wrappers
from .stop_agreement import StopAgreement
from .worker_signals import shield_forked

# SIGTERM: preemption, or the end of a job. SIGUSR1: requested by Slurm's --signal. SIGINT: Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
_STDERR = 2


@HOOKS.register_module()
class StopSignalHook(Hook):
    """On SIGTERM, SIGUSR1 or SIGINT, save after the current step and exit, to be resumed.

    All processes stop at the same step, whichever received the signal: they exchange a flag
    during each step, so stopping takes one or two steps. The checkpoint is an ordinary one,
    within an epoch named ``iter_<n>.pth``, which ``--resume`` finds. Then
    :class:`amt_mm.errors.TrainingStopped` is raised, which ends the process with status 75
    (``REQUEUE_STATUS``), or with 130 after SIGINT: a person ended the run, and no scheduler
    should restart it. A second SIGINT ends the process immediately, without saving.

    With gradient accumulation, the current step ends with the optimiser's step. A refresh or a
    validation is abandoned between two batches, after saving; the resumed run repeats the
    refresh but not the validation. A checkpoint being written and a k-NN probe are finished
    first. Before training begins, signals act as usual. Further signals while stopping have no
    effect, and neither has a signal after the last step.

    Loading processes survive the signal, see :mod:`amt_mm.reliability.worker_signals`. After
    training, the previous signal handlers are restored.

    Without a :class:`amt_mm.SafeCheckpointHook` nothing is saved, and the status is that
    of SIGTERM, 143, or of SIGINT.
    """

    # After CheckpointHook, so that the checkpoint of this step is not saved twice.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._agreement: StopAgreement | None = None
        self._told: int | None = None
        self._before: dict = {}

    def before_train(self, runner: Runner) -> None:
        """Install the signal handlers."""
        self._agreement = StopAgreement(exchange_timeout(runner.cfg.get('env_cfg')))
        loop = runner.train_loop
        self._by_epoch = isinstance(loop, EpochBasedTrainLoop)
        self._inside = not self._by_epoch or runner.iter != runner.epoch * len(loop.dataloader)
        self._told, self._process = None, os.getpid()
        # Python runs signal handlers only in the main thread.
        if threading.current_thread() is threading.main_thread():
            # A background job of a shell ignores SIGINT, since Ctrl-C is meant for others.
            self._before = {
                number: signal.signal(number, self._note) for number in SIGNALS
                if number != signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN}
            shield_forked(True)

    def after_train(self, runner: Runner) -> None:
        """Remove the signal handlers."""
        self._agreement.close()
        self._agreement = None
        self.restore()

    def restore(self) -> None:
        """Restore the signal handlers from before training."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        shield_forked(False)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Stop, unless an epoch or training ends here."""
        self._inside = True
        if not _gradients_are_used(runner):
            return  # within an accumulation cycle
        stop = self._agreement.exchange(self._told is not None)
        ends = self._by_epoch and batch_idx + 1 == len(runner.train_dataloader)
        if stop and ends:
            self._told = self._told or 0  # stops in after_train_epoch
        elif stop and runner.iter + 1 < runner.max_iters:
            self._stop(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop between epochs, before validation or a refresh begins."""
        self._inside = not self._by_epoch
        if not self._by_epoch or not _gradients_are_used(runner):
            return
        stop = self._agreement.exchange_now(self._told is not None)
        if stop and (runner.epoch + 1 < runner.max_epochs or runner.val_loop is not None):
            self._stop(runner, runner.epoch + 1, runner.iter)

    def before_val_epoch(self, runner: Runner) -> None:
        """Agree on the number of batches that all processes have."""
        if self._agreement is not None:
            self._rounds = self._agreement.least(len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                       outputs: list | None = None) -> None:
        """Abandon a validation within training."""
        if self._agreement is None or batch_idx >= self._rounds:
            return
        if self._agreement.exchange(self._told is not None):
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(runner)  # swaps the trained weights back
            self._stop(runner, runner.epoch, runner.iter)

    def between_batches(self, runner: Runner) -> None:
        """Abandon another hook's pass over images; see :func:`stop_point`."""
        if self._agreement is not None and self._agreement.exchange(self._told is not None):
            self._stop(runner, runner.epoch, runner.iter)

    def _note(self, number: int, _) -> None:
        # Forked processes inherit this handler.
        if os.getpid() != self._process:
            return
        if number == signal.SIGINT:
            # The next one ends the process even while Python cannot run handlers.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if is_main_process():
                # `print` is not reentrant, and may be what was interrupted.
                os.write(_STDERR, b'interrupted: saving after the current step; interrupt again to '
                         b'end at once, without saving\n')
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
        # torchrun ends all processes when one ends, so wait for the one that saves.
        self._agreement.close()
        runner.logger.info(stopped.line)
        runner.visualizer.close()
        raise stopped


def stop_point(runner: Runner) -> None:
    """Abandon a pass over images between two training steps if a signal has arrived.

    All processes must call it the same number of times.

    Raises:
        TrainingStopped: After saving.
    """
    for hook in runner.hooks:
        if isinstance(hook, StopSignalHook):
            hook.between_batches(runner)


def _gradients_are_used(runner: Runner) -> bool:
    """Whether the optimiser has made its step with all batches so far."""
    return all(each.should_update() for each in optim_wrappers(runner.optim_wrapper))
