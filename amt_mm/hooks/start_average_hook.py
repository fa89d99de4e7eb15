"""StartAverageHook: save the average of the trained encoder and the one it started from."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from amt_mm.checkpoints.files import START_AVERAGE, is_plain
from amt_mm.checks import is_number
from amt_mm.config_parts import section
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS

# A teacher that follows the encoder starts from it, and evaluation prefers it.
_AVERAGED = ('backbone.', 'teacher.backbone.')


@HOOKS.register_module()
class StartAverageHook(Hook):
    """Average the encoder's weights with those at the start, in checkpoints only.

    The average is linear, weight by weight, as in WiSE-FT (Wortsman et al., CVPR 2022). For an
    encoder that goes on from good weights, it keeps what further training loses and most of what
    training gains (docs/recipes.md). Training itself, and what is measured during it, are of the
    trained encoder. A checkpoint has it beside the average, for resumed runs, for the decoder,
    which fits it alone, and for ``--encoder student``. The encoder of a teacher is averaged, too.

    Args:
        share: Weight of the trained encoder, in (0, 1]. Defaults to 0.25, chosen on photographs
            among .15 to 1, see docs/recipes.md; 1 saves the trained encoder.

    Raises:
        InputError: ``share`` is out of range, the model has no encoder, or a run resumes from a
            checkpoint that does not tell where its encoder started.
    """

    # After PretrainedBackboneHook.
    priority = 'NORMAL'

    def __init__(self, share: float = 0.25) -> None:
        if not (is_number(share) and 0 < share <= 1):
            raise InputError(f'StartAverageHook.share={share!r} must be a number above 0 and at '
                             'most 1')
        self.share = share
        self._start: dict[str, Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        """Keep the weights of the start, unless a checkpoint had them."""
        if not self._start:
            self._start = {name: value.cpu().clone() for name, value in _encoder(runner).items()}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace the encoder by the average, and keep both parts of it."""
        state = checkpoint['state_dict']
        trained = {name: state[name] for name in self._start}
        checkpoint[START_AVERAGE] = dict(start=self._start, trained=trained)
        for name, start in self._start.items():
            state[name] = start.lerp(trained[name], self.share)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Go on from the trained encoder when a run resumes."""
        if not runner._resume:
            return
        kept = section(checkpoint.get(START_AVERAGE))
        own, parts = _encoder(runner), [section(kept.get(name)) for name in ('start', 'trained')]
        if not all(_fits(part, own) for part in parts):
            raise InputError(
                f'{runner._load_from}: it does not tell where the encoder started, which '
                'StartAverageHook needs to go on: start another run from its encoder (--pretrained '
                'FILE, another --work-dir)')
        self._start, trained = map(dict, parts)
        checkpoint['state_dict'].update(trained)


def _fits(part: Mapping, own: dict[str, Tensor]) -> bool:
    return part.keys() == own.keys() and all(
        isinstance(value, Tensor) and is_plain(value)
        and (value.shape, value.dtype) == (own[name].shape, own[name].dtype)
        for name, value in part.items())


def _encoder(runner: Runner) -> dict[str, Tensor]:
    """Weights of the encoder, and of a teacher's, by their names in the model."""
    state = unwrapped(runner).state_dict()
    found = {name: value for name, value in state.items()
             if name.startswith(_AVERAGED) and value.is_floating_point()}
    if not found:
        raise InputError('StartAverageHook: the model has no `backbone` to average; remove the '
                         'hook from the config')
    return found
