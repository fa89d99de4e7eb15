"""ResumePositionHook: save the position within the data, and continue from there on resume."""

from __future__ import annotations

from mmengine.dist import gather_object, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from amt_mm.checkpoints.records import check_record, is_step, is_step_or_none
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS

_CHECKPOINT_KEY = 'amt_position'
_GRADIENTS_KEY = 'amt_open_gradients'
_KINDS = {'number': is_step, 'batch': is_step, 'batches': is_step, 'batch size': is_step_or_none,
          'processes': is_step, 'seed': is_step_or_none, 'order seed': is_step_or_none}


@HOOKS.register_module()
class ResumePositionHook(Hook):
    """Save the training loop's position in checkpoints, and restore it on resume.

    After a checkpoint from within an epoch, training continues with the next batch; batches
    seen before are not loaded again. A checkpoint from the end of an epoch fits any batch size
    and number of processes. A checkpoint from within a cycle of gradient accumulation contains
    the gradients of each process.

    Raises:
        InputError: On resume from within a pass over the data with another batch size or number
            of processes, or from within an accumulation cycle with another number of processes.
    """

    # Before all hooks that read the iteration.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._position: dict | None = None
        self._gradients: list | None = None

    def before_train(self, runner: Runner) -> None:
        """On resume, restore the position."""
        if runner.iter > 0 and hasattr(runner.train_loop, 'take_up'):
            runner.train_loop.take_up(self._position)
        if runner.iter > 0 and self._gradients is not None:
            _take_up_gradients(runner, self._gradients)
        self._gradients = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the position."""
        if hasattr(runner.train_loop, 'position'):
            checkpoint[_CHECKPOINT_KEY] = runner.train_loop.position(checkpoint['meta'])
        # OverlayRunner gathers them from all processes; this hook runs in the first one only.
        gradients = getattr(runner, 'open_gradients', None)
        if gradients is not None:
            checkpoint[_GRADIENTS_KEY] = gradients

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read the position."""
        position = checkpoint.get(_CHECKPOINT_KEY)
        self._position = position and check_record(position, _KINDS, f'{_CHECKPOINT_KEY} of the '
                                                   'checkpoint')
        self._gradients = checkpoint.get(_GRADIENTS_KEY)


def gather_open_gradients(runner: Runner) -> list[dict[str, Tensor]] | None:
    """Gather the gradients of an unfinished accumulation cycle from all processes.

    They are averaged over processes only at the step, so each process has its own until then.
    All processes must call this.

    Args:
        runner: In training.

    Returns:
        In the first process, one dict for each process, from names to gradients on the CPU; None
        in others, and if no cycle is open.
    """
    wrapper = runner.optim_wrapper
    # Several optimisers do not accumulate.
    if not hasattr(wrapper, 'should_update') or wrapper.should_update():
        return None
    return gather_object({name: parameter.grad.cpu()
                          for name, parameter in unwrapped(runner).named_parameters()
                          if parameter.grad is not None})


def _take_up_gradients(runner: Runner, gradients: list[dict[str, Tensor]]) -> None:
    """Continue the unfinished accumulation cycle of a checkpoint."""
    parameters = dict(unwrapped(runner).named_parameters())
    own = gradients[get_rank()] if isinstance(gradients, list) and get_rank() < len(
        gradients) else None
    if not isinstance(own, dict) or not all(
            name in parameters and isinstance(gradient, Tensor)
            and gradient.shape == parameters[name].shape for name, gradient in own.items()):
        raise InputError(
            'the checkpoint lies within a cycle of accumulation, and its gradients do not fit this '
            'run: resume it with as many processes and the same model, or from a checkpoint at the '
            'end of a cycle')
    for name, gradient in own.items():
        parameter = parameters[name]
        parameter.grad = gradient.to(parameter.device, parameter.dtype, copy=True)
    runner.logger.info('Restored the gradients accumulated before the checkpoint')
