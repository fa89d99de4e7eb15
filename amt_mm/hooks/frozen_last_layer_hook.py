"""FrozenLastLayerHook: prototypes stay where they are at first."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class FrozenLastLayerHook(Hook):
    """Leave the head's last layer out of the optimiser's steps in the first epochs (DINO, app. C).

    Its gradients are computed, as distributed training expects, and dropped.

    Args:
        epochs: Defaults to 1, DINO's, iBOT's and AttMask's.

    Raises:
        InputError: At the start of training, a head without ``last_layer``.
    """

    def __init__(self, epochs: int = 1) -> None:
        self.epochs = epochs

    def before_train(self, runner: Runner) -> None:
        """Listen to the optimiser."""
        layer = getattr(getattr(unwrapped(runner), 'head', None), 'last_layer', None)
        if layer is None:
            raise InputError('FrozenLastLayerHook: model.head has no last_layer; '
                             'amt_mm.DistillationHead has one')

        def drop(*_) -> None:
            if runner.epoch < self.epochs:
                for parameter in layer.parameters():
                    parameter.grad = None

        self._handle = runner.optim_wrapper.optimizer.register_step_pre_hook(drop)

    def after_train(self, runner: Runner) -> None:
        """Stop listening."""
        self._handle.remove()
