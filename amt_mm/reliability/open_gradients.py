"""Gradients of batches that an optimiser has not stepped for yet, kept in checkpoints."""

from __future__ import annotations

from mmengine.dist import gather_object, get_rank
from mmengine.runner import Runner
from torch import Tensor

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped


def gather_open_gradients(runner: Runner) -> list[dict[str, Tensor]] | None:
    """Gradients of a cycle of accumulation that has not ended, of each process.

    Between steps they differ from process to process, so each has its own. All processes
    must call it.

    Args:
        runner: In training.

    Returns:
        Name -> gradient on the CPU, one dict a process, in the first process; None in
        others, and where no cycle is open.
    """
    wrapper = runner.optim_wrapper
    # Wrappers of several optimisers do not accumulate.
    if not hasattr(wrapper, 'should_update') or wrapper.should_update():
        return None
    return gather_object({name: parameter.grad.cpu()
                          for name, parameter in unwrapped(runner).named_parameters()
                          if parameter.grad is not None})


def take_up_gradients(runner: Runner, gradients: list[dict[str, Tensor]]) -> None:
    """Go on with the open cycle of a checkpoint.

    Args:
        runner: A runner that has loaded its checkpoint.
        gradients: What :func:`gather_open_gradients` gave.

    Raises:
        InputError: They are of another number of processes, of other parameters, or no gradients.
    """
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
