"""PretrainedBackboneHook: start from a pre-trained encoder."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.checkpoints import check_encoder
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS

NONE = 'none'


@HOOKS.register_module()
class PretrainedBackboneHook(Hook):
    """Load a pre-trained encoder into ``model.backbone`` before the first step or test.

    A teacher that follows the encoder (:class:`~amt_mm.models.IBOT`) starts from it, too.

    A resumed run takes its encoder from its own checkpoint. What is converted, resized, reported
    and refused: see :mod:`amt_mm.checkpoints.load_backbone`.

    Args:
        checkpoint: A file with any known naming, or ``'none'`` for random weights. The empty
            default stops the run, so that weights are not random by mistake.
            ``tools/train.py --pretrained FILE`` sets it.
        encoder: ``'teacher'`` or ``'student'``, set by ``--encoder``. Defaults to None: the
            teacher if the checkpoint has one.

    Raises:
        InputError: ``checkpoint`` is empty, does not fit, lacks the encoder, or is given together
            with ``load_from``.
    """

    # Before hooks that use the encoder at the start.
    priority = 'VERY_HIGH'

    def __init__(self, checkpoint: str = '', encoder: str | None = None) -> None:
        check_encoder(encoder, 'PretrainedBackboneHook.encoder')
        self.checkpoint = checkpoint
        self.encoder = encoder

    def before_test(self, runner: Runner) -> None:
        """Load for a protocol that does not train, such as k-NN."""
        if runner._load_from is None and runner.cfg.get('train_cfg') is None:
            self.before_train(runner)

    def before_train(self, runner: Runner) -> None:
        """Load the encoder, or log why it is not loaded."""
        model = unwrapped(runner)
        if not hasattr(model, 'backbone'):
            raise InputError(f'PretrainedBackboneHook: {type(model).__name__} has no `backbone` to '
                             'load; remove the hook (default_hooks.pretrained) from the config')
        # A run may have stopped in its first refresh, at iteration 0. The runner keeps `_resume`
        # only if it has found a checkpoint.
        if runner.iter > 0 or (runner._resume and runner._load_from is not None):
            runner.logger.info(f'Resumed at iteration {runner.iter}: the encoder is that of the '
                               'run, no pre-trained one is loaded')
        elif runner._load_from is not None:
            if self.checkpoint:
                raise InputError(
                    f'load_from={runner._load_from} and default_hooks.pretrained.checkpoint='
                    f'{self.checkpoint} both name weights: give one of them')
            runner.logger.info(f'The whole model is loaded from {runner._load_from}')
        elif not self.checkpoint:
            raise InputError('default_hooks.pretrained.checkpoint is empty: give the pre-trained '
                             'encoder with --pretrained FILE, or --pretrained none for random '
                             'weights')
        elif self.checkpoint == NONE:
            if self.encoder is not None:
                raise InputError(f'default_hooks.pretrained.encoder={self.encoder}: random weights '
                                 '(checkpoint=none) have no teacher or student')
            runner.logger.info('No pre-trained encoder: its weights are random')
        else:
            load_backbone(model, self.checkpoint, self.encoder)
            # A teacher with other weights would make the student forget them.
            if hasattr(model, 'copy_to_teacher'):
                model.copy_to_teacher()
