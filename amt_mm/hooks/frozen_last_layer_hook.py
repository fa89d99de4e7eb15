"""FrozenLastLayerHook: freeze the prototypes in the first epochs."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class FrozenLastLayerHook(Hook):
    """Freeze the head's last layer in the first epochs (DINO, app. C).

    Its gradients are computed, as distributed training expects, and discarded.

    Args:
        epochs: Defaults to 1, as in DINO, iBOT and AttMask.

    Raises:
        InputError: The head has no ``last_layer``, or the training loop is iteration-based.
    """

    def __init__(self, epochs: int = 1) -> None:
        self.epochs = epochs

    def before_train(self, runner: Runner) -> None:
        """Register a hook on the optimiser."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            raise InputError('FrozenLastLayerHook needs an epoch-based training loop, without '
                             'which the layer would stay frozen: leave the hook out')
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
        """Remove it."""
        self._handle.remove()
