"""torch.compile for hosts: one static graph for each phase of masking."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan
from amt_mm.models import Host
from amt_mm.models.recompute import RecomputedBlock


class StaticGraphs:
    """A host's :meth:`~amt_mm.models.Host.losses`, compiled for full batches.

    Random and guided masks leave different numbers of tokens, so there are two graphs with static
    shapes; dynamic shapes would be slower. A smaller last batch of an epoch is not compiled.

    Args:
        losses: Function from images and plan to the dictionary of losses.
        **options: Of :func:`torch.compile`. ``dynamic`` and ``fullgraph`` default to False
            and True, so that a graph break stops the run instead of slowing it down.
    """

    def __init__(self, losses: Callable[[Tensor, MaskPlan], dict], **options) -> None:
        self.eager = losses
        self.compiled = torch.compile(losses, **{'dynamic': False, 'fullgraph': True, **options})
        self.full = 0

    def __call__(self, inputs: Tensor, plan: MaskPlan) -> dict:
        """Return the losses of a batch."""
        if len(inputs) < self.full:
            return self.eager(inputs, plan)
        self.full = len(inputs)
        return self.compiled(inputs, plan)


def compile_host(model: Host, options: bool | Mapping) -> None:
    """Compile a host by the ``compile`` of a config, which is MMEngine's.

    MMEngine would compile the whole step, including data samples, hooks and optimiser, with a
    graph break at each. Here only the network and its loss are compiled. Planning, the refresh of
    saliency and feature extraction are not, and modules keep their names and hooks.

    Args:
        model: The model without the wrapper of distributed training; changed in place.
        options: True, or options of :func:`torch.compile` such as ``mode`` and ``backend``.

    Raises:
        InputError: Options that ``torch.compile`` does not have, or a backend that cannot
            recompute blocks.
    """
    options = {} if options is True else dict(options)
    if options.get('backend') == 'eager' and any(
            isinstance(module, RecomputedBlock) for module in model.modules()):
        raise InputError("compile.backend='eager' would draw other random numbers when it "
                         "recomputes blocks (with_cp=True): use 'aot_eager' or 'inductor'")
    try:
        model.losses = StaticGraphs(model.losses, **options)
    except (TypeError, RuntimeError) as error:
        raise InputError(f'compile={options}: {str(error).splitlines()[0]}') from error
